"""
`GuestSession`: the guest's half of the protocol, without any I/O.

In: `connection_opened`, `receive_frame`, `pong_received`, `connection_lost`, `tick`, each with `now`; and what the
guest wants to do: `send_message`, `join`, `request_jwt`, `start_new`, `close_session`. Out: `frames_to_send()` and
`events()`, both drain and return a list. After every call the owner writes the one and reads the other, and calls
`tick` no later than `next_tick_at()`.

Decided here: what answers what (by the envelope's `tracingId`; an echo also by our id in its metadata), what an
error proves (`codes`), when a silent peer is dead, when a health check is due. Not decided here: when to connect,
when to send.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import msgspec

from guestwire.model import Accepted, Failed, GatewayMessageId, Outcome, PartId, Unknown
from guestwire.protocol import codec, codes
from guestwire.protocol.frames import (
    Channel,
    ChannelMetadata,
    CloseSession,
    ConfigureSession,
    ConnectionClosedEvent,
    Echo,
    Event,
    Frame,
    GenerateUrlError,
    GetJwt,
    JwtResponse,
    LogoutEvent,
    Malformed,
    Message,
    OnMessage,
    Presence,
    Request,
    SessionClearedEvent,
    SessionExpiredEvent,
    SessionResponse,
    UnknownBody,
    UploadFailureEvent,
)
from guestwire.protocol.states import ConnectionState, LocalProtocolError, Step, after

#: Fixed by the vendor's mobile client, whose servers may special-case it: base64 of "HealthCheckMessageId".
HEALTH_CHECK_ID = "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ="


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Patience of a connection, in seconds."""

    ping_after_s: float = 15.0
    """Silence after which we ping. The vendor's mobile client pings every 15 s."""
    dead_after_s: float = 15.0
    """Further silence after which the peer counts as gone."""
    answer_s: float = 10.0
    """How long an unanswered message is waited for before its outcome counts as unknown."""
    request_s: float = 10.0
    """The same for configure, getJwt and the others."""
    health_check_after_expiry_s: float = 2.0
    """The vendor's client asks 2 s after `expirationDate` whether the session is really over."""
    health_check_every_s: float = 30.0
    """At most two a minute and connection (limits page)."""


class Control(enum.Enum):
    """What a session wants from its WebSocket, besides text frames."""

    PING = "ping"


class RequestKind(enum.Enum):
    """What kind of answer a request waits for."""

    CONFIGURE = "configure"
    MESSAGE = "message"
    JOIN = "join"
    JWT = "jwt"
    HEALTH = "health"
    CLOSE = "close"


class Unanswered(msgspec.Struct, frozen=True):
    """A request on its way."""

    kind: RequestKind
    deadline: float


# --- events ---


class Configured(msgspec.Struct, frozen=True):
    """The session is there. `new_session` after a loss means that the old one, with its history, is gone."""

    new_session: bool
    read_only: bool
    max_custom_data_bytes: int | None
    expires_at: float | None


class ConfigureRefused(msgspec.Struct, frozen=True):
    """The gateway does not let this session in. `outcome` is Refused where no retry can help."""

    outcome: Outcome
    code: int | None


class Answered(msgspec.Struct, frozen=True):
    """One attempt has its outcome. Also for an echo that comes late, on another connection of the session."""

    part_id: PartId
    outcome: Outcome


class Heard(msgspec.Struct, frozen=True):
    """The platform says something to the guest: text, structured content, typing, presence."""

    message: Message


class ConversationEnded(msgspec.Struct, frozen=True):
    """The agent's side disconnected; `read_only` says whether the guest may go on writing."""

    read_only: bool


class JwtGranted(msgspec.Struct, frozen=True):
    """The key to the history. A secret; `expires_at` in seconds since the epoch."""

    jwt: str
    expires_at: float

    def __repr__(self) -> str:
        return f"JwtGranted(jwt=***, expires_at={self.expires_at})"


class HealthChecked(msgspec.Struct, frozen=True):
    """The session lives; `expires_at` where the gateway said."""

    expires_at: float | None


class Joined(msgspec.Struct, frozen=True):
    """The flow knows that the guest is there; `outcome` says if it really does."""

    outcome: Outcome


class SessionEnded(msgspec.Struct, frozen=True):
    """`closeSession` was answered."""


class Expired(msgspec.Struct, frozen=True):
    """The session is over. Configuring again makes a new one."""

    reason: str


class Released(msgspec.Struct, frozen=True):
    """The gateway lets go of this connection; reconnecting at once is wrong (see `states`)."""

    cause: str
    """``evicted``, ``signed_in``, ``logged_out`` or ``cleared``."""


class JwtRefused(msgspec.Struct, frozen=True):
    """No key to the history."""

    outcome: Outcome


class PeerSilent(msgspec.Struct, frozen=True):
    """No pong, no frame: drop the socket."""

    silent_s: float


class Other(msgspec.Struct, frozen=True):
    """A frame for whoever understands it: uploads, configuration."""

    frame: Frame


class Unexpected(msgspec.Struct, frozen=True):
    """The far side did something outside the protocol. Reported, survived, never raised."""

    what: str
    """Without content: class, code, sizes."""


SessionEvent = (
    Configured
    | ConfigureRefused
    | Answered
    | Heard
    | ConversationEnded
    | JwtGranted
    | JwtRefused
    | HealthChecked
    | Joined
    | SessionEnded
    | Expired
    | Released
    | PeerSilent
    | Other
    | Unexpected
)


class GuestSession:
    """
    One connection of one guest.

    Args:
        deployment_id: The Messenger deployment's UUID.
        token: The session token: identity and credential of the guest. A secret.
        new_id: Makes a fresh tracing id for each request that is not a message.
        timing: Patience, in seconds.
    """

    def __init__(
        self,
        *,
        deployment_id: str,
        token: str,
        new_id: Callable[[], str],
        timing: Timing | None = None,
    ) -> None:
        self._deployment_id = deployment_id
        self._token = token
        self._new_id = new_id
        self._timing = timing or Timing()
        self._outgoing: list[bytes | Control] = []
        self._events: list[SessionEvent] = []
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._checked_at = float("-inf")
        self._expires_at: float | None = None
        self._configure_new_after_end = False
        self.state = ConnectionState.CLOSED
        #: Requests on their way, by tracing id. The owner may read it.
        self.unanswered: dict[str, Unanswered] = {}
        # Requests of this connection that we stopped waiting for. The gateway may still answer them, so as long as
        # there is one, an error without `tracingId` may be meant for it and proves nothing about another request.
        self._lapsed: set[str] = set()

    def __repr__(self) -> str:
        return f"<GuestSession {self.state.value}, {len(self.unanswered)} unanswered>"

    # --- draining ---

    def frames_to_send(self) -> list[bytes | Control]:
        """Return, once, what the owner must write to the WebSocket now, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events(self) -> list[SessionEvent]:
        """Return, once, what happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- what the guest wants ---

    @property
    def may_send_message(self) -> bool:
        """
        Whether a message may go out now.

        Nothing else may be on its way: an error frame without `tracingId` could not be told apart.
        """
        return self.state is ConnectionState.CONFIGURED and not self.unanswered

    def send_message(
        self,
        part_id: PartId,
        text: str,
        *,
        attempt: int,
        now: float,
        attributes: dict[str, str] | None = None,
    ) -> None:
        """
        Send a text. `part_id` becomes the `tracingId` and, with the attempt, the message's metadata.

        Custom attributes go out in the nested form alone: the platform ignores the top-level one since 2026-06-05.
        """
        if not self.may_send_message:
            raise LocalProtocolError(f"a message may not go out now: {self!r}")
        channel = Channel(metadata=ChannelMetadata(custom_attributes=attributes)) if attributes else None
        message = Message(
            type="Text",
            text=text,
            metadata={"id": part_id, "attempt": str(attempt)},
            channel=channel,
        )
        self._request(
            OnMessage(token=self._token, tracing_id=part_id, message=message),
            RequestKind.MESSAGE,
            Step.MESSAGE,
            now,
        )

    def join(self, now: float, attributes: dict[str, str] | None = None) -> None:
        """Start the flow. Only on a new session of a deployment with autoStart: a second Join is wrong."""
        channel = Channel(metadata=ChannelMetadata(custom_attributes=attributes)) if attributes else None
        event = Event(event_type="Presence", presence=Presence(type="Join"))
        self._request(
            OnMessage(
                token=self._token,
                tracing_id=self._new_id(),
                message=Message(type="Event", events=[event], channel=channel),
            ),
            RequestKind.JOIN,
            Step.MESSAGE,
            now,
        )

    def request_jwt(self, now: float) -> None:
        """Ask for the key to the history. Not while a message is on its way."""
        if any(request.kind is RequestKind.MESSAGE for request in self.unanswered.values()):
            raise LocalProtocolError("getJwt while a message is on its way")
        self._request(GetJwt(token=self._token, tracing_id=self._new_id()), RequestKind.JWT, Step.REQUEST, now)

    def close_session(self, now: float, *, everywhere: bool) -> None:
        """End the session, on every connection of the guest if `everywhere`."""
        self._request(
            CloseSession(token=self._token, tracing_id=self._new_id(), close_all_connections=everywhere),
            RequestKind.CLOSE,
            Step.REQUEST,
            now,
        )

    def start_new(self, now: float) -> None:
        """Leave a read-only or ended conversation and begin another: close, then configure with `startNew`."""
        if self.state is ConnectionState.READ_ONLY:
            self._configure_new_after_end = True
            self.close_session(now, everywhere=True)
        else:
            self._configure(now, start_new=True)

    def configure_again(self, now: float) -> None:
        """Configure on the same socket: after `Expired`, this makes a new session."""
        self._configure(now, start_new=False)

    # --- what happens ---

    def connection_opened(self, now: float) -> None:
        """The WebSocket is open: configure, the only request that may come first."""
        self._go(Step.OPENED)
        self._heard_at = now
        self._pinged_at = None
        self._configure(now, start_new=False)

    def connection_lost(self, now: float, reason: str) -> None:
        """
        The WebSocket is gone. Whatever was unanswered has an unknown outcome, and nothing of it will be replayed.

        Args:
            now: Unused by the decision; given for symmetry and for the record.
            reason: For the journal, such as ``socket closed (1006)``.
        """
        del now
        for tracing_id, request in self.unanswered.items():
            if request.kind is RequestKind.MESSAGE:
                self._events.append(Answered(PartId(tracing_id), Unknown(f"connection lost: {reason}")))
            elif request.kind is RequestKind.JWT:
                self._events.append(JwtRefused(Failed(f"connection lost: {reason}")))
        self.unanswered.clear()
        self._lapsed.clear()
        self._outgoing.clear()
        self._configure_new_after_end = False
        self._pinged_at = None
        self._expires_at = None
        self._go(Step.LOST)

    def pong_received(self, now: float) -> None:
        """Any sign of life counts, a pong as much as a frame."""
        self._heard_at = now
        self._pinged_at = None

    def receive_frame(self, data: bytes | str, now: float) -> None:
        """Take one text frame from the WebSocket. Whatever it holds, this only ever adds events."""
        self.pong_received(now)
        acknowledgement = codec.decode_acknowledgement(data)
        if acknowledgement is not None:
            request = self.unanswered.get(acknowledgement.tracing_id)
            if request is not None and request.kind is RequestKind.MESSAGE:
                del self.unanswered[acknowledgement.tracing_id]
                self._events.append(
                    Answered(
                        PartId(acknowledgement.tracing_id),
                        Accepted(
                            GatewayMessageId(acknowledgement.gateway_id),
                            acknowledgement.channel_message_id,
                            acknowledgement.at,
                        ),
                    )
                )
                return
        frame = codec.decode_frame(data)
        if isinstance(frame, Malformed):
            self._unexpected(f"a frame of {frame.size} bytes: {frame.reason}")
            return
        self._receive(frame, now)

    def tick(self, now: float) -> None:
        """Let time pass: give up on answers, ping a silent peer, ask whether an expired session still lives."""
        if self.state is ConnectionState.CLOSED:
            return
        self._give_up_on_answers(now)
        if self._pinged_at is not None and now - self._pinged_at >= self._timing.dead_after_s:
            self._pinged_at = None
            self._events.append(PeerSilent(round(now - self._heard_at, 3)))
            return
        if self._pinged_at is None and now - self._heard_at >= self._timing.ping_after_s:
            self._pinged_at = now
            self._outgoing.append(Control.PING)
        if self._health_check_at() <= now and self.may_send_message:
            self._checked_at = now
            self._request(
                Echo(
                    token=self._token,
                    tracing_id=HEALTH_CHECK_ID,
                    message=Message(type="Text", text="ping"),
                ),
                RequestKind.HEALTH,
                Step.REQUEST,
                now,
            )

    def next_tick_at(self) -> float:
        """When `tick` has to be called at the latest; infinity while there is no connection."""
        if self.state is ConnectionState.CLOSED:
            return float("inf")
        alive = (
            self._heard_at + self._timing.ping_after_s
            if self._pinged_at is None
            else self._pinged_at + self._timing.dead_after_s
        )
        deadlines = (request.deadline for request in self.unanswered.values())
        health = self._health_check_at() if self.may_send_message else float("inf")
        return min(alive, health, *deadlines)

    # --- frames ---

    def _receive(self, frame: Frame, now: float) -> None:
        match frame.body:
            case SessionResponse() as body if codes.error_code(frame) is None:
                self._session_response(body, frame, now)
            case Message() as body:
                self._message(body, frame)
            case JwtResponse(jwt=str() as jwt, exp=int() | float() as exp):
                self._pop(RequestKind.JWT, frame.tracing_id)
                self._events.append(JwtGranted(jwt, _finite(exp) or 0.0))
            case SessionExpiredEvent():
                self._expired(frame, "SessionExpiredEvent")
            case ConnectionClosedEvent() as body:
                why = body.reason or body.reason_code
                self._released("signed_in" if why == "signedIn" else "evicted")
            case LogoutEvent():
                self._released("logged_out")
            case SessionClearedEvent():
                self._released("cleared")
            case GenerateUrlError() | UploadFailureEvent():
                # About an upload, whatever else is on its way; a message can never be meant.
                self._events.append(Other(frame))
            case _ if (outcome := codes.outcome_of_frame(frame)) is not None:
                self._error(frame, outcome, now)
            case UnknownBody():
                self._unexpected(f"a frame of class {_printable(frame.class_)} that we do not know")
                self._events.append(Other(frame))
            case _:
                self._events.append(Other(frame))

    def _session_response(self, body: SessionResponse, frame: Frame, now: float) -> None:
        if body.expiration_date is not None:
            self._expires_at = _finite(body.expiration_date)
        if not body.connected:
            if self.state is ConnectionState.CONFIGURING and frame.tracing_id in self._lapsed:
                self._lapsed.discard(frame.tracing_id or "")
                self._unexpected("the answer to a close that we no longer waited for")
                return
            closed = self._pop(RequestKind.CLOSE, frame.tracing_id)
            # Nothing of ours was closed, so this is the answer to the configure that waits: it was not let in.
            refused = not closed and self._pop(RequestKind.CONFIGURE, frame.tracing_id)
            if self._go(Step.SESSION_ENDED):
                self._events.append(
                    ConfigureRefused(Failed("configure was answered with connected: false"), None)
                    if refused
                    else SessionEnded()
                )
                if self._configure_new_after_end:
                    self._configure_new_after_end = False
                    self._configure(now, start_new=True)
            return
        configuring = self.state is ConnectionState.CONFIGURING
        self._pop(RequestKind.CONFIGURE, frame.tracing_id)
        if self._go(Step.SESSION_READ_ONLY if body.read_only else Step.SESSION) and configuring:
            self._events.append(
                Configured(
                    new_session=bool(body.new_session),
                    read_only=bool(body.read_only),
                    max_custom_data_bytes=(
                        None if body.max_custom_data_bytes is None else int(body.max_custom_data_bytes)
                    ),
                    expires_at=self._expires_at,
                )
            )

    def _message(self, body: Message, frame: Frame) -> None:
        if frame.code is not None and frame.code != 200:
            self._unexpected(f"a StructuredMessage with code {frame.code}")
        if body.direction != "Inbound":
            self._events.append(Heard(body))
            if "Disconnect" in body.presence():
                read_only = (body.metadata or {}).get("readOnly") == "true"
                if read_only:
                    self._go(Step.DISCONNECTED)
                self._events.append(ConversationEnded(read_only))
            return
        # What the guest said: the echo of our own message, of our other requests, or of another connection's.
        metadata = body.metadata or {}
        ours = frame.tracing_id or metadata.get("id")
        request = self.unanswered.get(ours) if ours else None
        if ours == HEALTH_CHECK_ID or (request and request.kind is RequestKind.HEALTH):
            self.unanswered.pop(HEALTH_CHECK_ID, None)
            self._lapsed.discard(HEALTH_CHECK_ID)
            self._expires_at = _seconds(metadata.get("expirationDate")) or self._expires_at
            self._events.append(HealthChecked(self._expires_at))
        elif (request and request.kind is RequestKind.JOIN) or (not ours and "Join" in body.presence()):
            if request is None:
                self._pop(RequestKind.JOIN, None)
            else:
                self.unanswered.pop(ours or "", None)
            self._events.append(Joined(_accepted(body)))
        elif request and request.kind is not RequestKind.MESSAGE:
            # That request still waits for an answer of its own kind: taking it off here would wait for nothing.
            self._unexpected(f"an inbound message under the tracingId of our {request.kind.value}")
        elif ours and body.type != "Event":
            self.unanswered.pop(ours, None)
            self._lapsed.discard(ours)
            self._events.append(Answered(PartId(ours), _accepted(body)))

    def _error(self, frame: Frame, outcome: Outcome, now: float) -> None:
        """Find the request that an error answers, by `tracingId` or because it is the only one; tell its owner."""
        code = codes.error_code(frame)
        if frame.tracing_id is not None and frame.tracing_id in self.unanswered:
            tracing_id = frame.tracing_id
        elif frame.tracing_id is None and (only := self._only_unanswered()) is not None:
            tracing_id = only
        else:
            self._lapsed.discard(frame.tracing_id or "")
            self._unexpected(f"error {code} that answers no request of ours")
            if code in (4006, 4007):
                self._expire(f"code {code}")
            return
        request = self.unanswered.pop(tracing_id)
        match request.kind:
            case RequestKind.MESSAGE:
                self._events.append(Answered(PartId(tracing_id), outcome))
            case RequestKind.CONFIGURE:
                self._go(Step.CONFIGURE_REFUSED)
                self._events.append(ConfigureRefused(outcome, code))
            case RequestKind.JWT:
                self._events.append(JwtRefused(outcome))
            case RequestKind.JOIN:
                self._events.append(Joined(outcome))
            case RequestKind.HEALTH:
                self._unexpected(f"error {code} answers our health check")
            case RequestKind.CLOSE:
                self._unexpected(f"error {code} answers our close")
                if code not in (4006, 4007):
                    self._start_new_without_answer(now)
        if code in (4006, 4007) and request.kind is not RequestKind.CONFIGURE:
            self._expire(f"code {code}")

    def _expired(self, frame: Frame, reason: str) -> None:
        """`SessionExpiredEvent` is code 4006 in another dress, and settles what code 4006 would settle."""
        tracing_id = frame.tracing_id if frame.tracing_id is not None else self._only_unanswered()
        request = self.unanswered.get(tracing_id) if tracing_id is not None else None
        if tracing_id is not None and request is not None and request.kind is RequestKind.MESSAGE:
            del self.unanswered[tracing_id]
            self._events.append(Answered(PartId(tracing_id), codes.outcome_of(4006, reason)))
        self._expire(reason)

    def _expire(self, reason: str) -> None:
        self._forget_requests(reason)
        self._expires_at = None
        before = self.state
        if self._go(Step.EXPIRED) and self.state is not before:
            self._events.append(Expired(reason))

    def _released(self, cause: str) -> None:
        """Report the first cause only: a clear is followed by a ConnectionClosedEvent, which is no eviction."""
        self._forget_requests(cause)
        before = self.state
        if self._go(Step.RELEASED) and self.state is not before:
            self._events.append(Released(cause))

    def _forget_requests(self, reason: str) -> None:
        """The session is over for this connection: no request of it will be answered any more."""
        for tracing_id, request in self.unanswered.items():
            if request.kind is RequestKind.MESSAGE:
                self._events.append(Answered(PartId(tracing_id), Unknown(f"no answer before: {reason}")))
            elif request.kind is RequestKind.JWT:
                self._events.append(JwtRefused(Failed(f"no answer before: {reason}")))
        self._lapsed.update(self.unanswered)
        self.unanswered.clear()
        self._configure_new_after_end = False

    # --- helpers ---

    def _start_new_without_answer(self, now: float) -> None:
        """`startNew` alone replaces the session; the close before it is a courtesy that nobody answered."""
        if self._configure_new_after_end and self.state is ConnectionState.READ_ONLY:
            self._configure_new_after_end = False
            self._configure(now, start_new=True)

    def _only_unanswered(self) -> str | None:
        """The one request that a frame without `tracingId` can be meant for; None where there may be others."""
        return next(iter(self.unanswered)) if len(self.unanswered) == 1 and not self._lapsed else None

    def _configure(self, now: float, *, start_new: bool) -> None:
        self._request(
            ConfigureSession(
                token=self._token,
                tracing_id=self._new_id(),
                deployment_id=self._deployment_id,
                start_new=True if start_new else None,
            ),
            RequestKind.CONFIGURE,
            Step.CONFIGURE,
            now,
        )

    def _request(self, request: Request, kind: RequestKind, step: Step, now: float) -> None:
        following = after(self.state, step)
        if following is None:
            raise LocalProtocolError(f"{kind.value} is not allowed while {self.state.value}")
        encoded = codec.encode_request(request)
        self.state = following
        patience_s = self._timing.answer_s if kind is RequestKind.MESSAGE else self._timing.request_s
        assert request.tracing_id is not None  # noqa: S101 - every request of ours carries one
        self.unanswered[request.tracing_id] = Unanswered(kind, now + patience_s)
        self._outgoing.append(encoded)

    def _go(self, step: Step) -> bool:
        """Take a step that the far side or the network caused; report one that the table does not know."""
        following = after(self.state, step)
        if following is None:
            self._unexpected(f"{step.name} while {self.state.value}")
            return False
        self.state = following
        return True

    def _pop(self, kind: RequestKind, tracing_id: str | None) -> bool:
        """Take the request that an answer of this kind settles: the one it names, else the oldest of its kind."""
        self._lapsed.discard(tracing_id or "")
        named = self.unanswered.get(tracing_id or "")
        if tracing_id is not None and named is not None:
            if named.kind is kind:
                del self.unanswered[tracing_id]
            return named.kind is kind
        for known, request in self.unanswered.items():
            if request.kind is kind:
                del self.unanswered[known]
                return True
        return False

    def _give_up_on_answers(self, now: float) -> None:
        for tracing_id, request in list(self.unanswered.items()):
            if request.deadline > now:
                continue
            del self.unanswered[tracing_id]
            self._lapsed.add(tracing_id)
            reason = f"no answer to {request.kind.value} in time"
            match request.kind:
                case RequestKind.MESSAGE:
                    self._events.append(Answered(PartId(tracing_id), Unknown(reason)))
                case RequestKind.CONFIGURE:
                    self._go(Step.CONFIGURE_REFUSED)
                    self._events.append(ConfigureRefused(Unknown(reason), None))
                case RequestKind.JOIN:
                    self._events.append(Joined(Unknown(reason)))
                case RequestKind.JWT:
                    self._events.append(JwtRefused(Failed(reason)))
                case RequestKind.HEALTH:
                    self._unexpected(reason)
                case RequestKind.CLOSE:
                    self._unexpected(reason)
                    self._start_new_without_answer(now)

    def _health_check_at(self) -> float:
        if self._expires_at is None:
            return float("inf")
        return max(
            self._expires_at + self._timing.health_check_after_expiry_s,
            self._checked_at + self._timing.health_check_every_s,
        )

    def _unexpected(self, what: str) -> None:
        self._events.append(Unexpected(what))


def _accepted(body: Message) -> Outcome:
    channel = body.channel
    return Accepted(
        GatewayMessageId(body.id or (channel.message_id if channel else None) or ""),
        channel.message_id if channel else None,
        channel.time if channel else None,
    )


def _seconds(text: str | None) -> float | None:
    """Read a number that travels as a string; None for anything else."""
    try:
        return _finite(float(text)) if text is not None else None
    except ValueError:
        return None


def _finite(number: float) -> float | None:
    """A number of the far side as a time; None for what is none (JSON integers know no bound, `float` does)."""
    try:
        seconds = float(number)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _printable(name: str | None) -> str:
    """A name from the far side, safe for a log line."""
    return "(none)" if name is None else ascii(name[:60])
