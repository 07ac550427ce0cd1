"""
`GuestSession`: the guest's half of the protocol, without any I/O.

In: `connection_opened`, `receive_frame`, `pong_received`, `connection_lost`, `tick`, each with `now`; and what the
guest wants to do: `send_message`, `join`, `clear`, `type`, `request_jwt`, `request_upload`, `request_download`,
`delete_upload`, `start_new`, `sign_in`, `close_session`. Out: `frames_to_send()` and
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
from typing import Any

import msgspec

from guestwire.model import Accepted, Failed, GatewayMessageId, Outcome, PartId, Unknown
from guestwire.protocol import codec, codes, writing
from guestwire.protocol.events import (
    Answered,
    Cleared,
    Configured,
    ConfigureRefused,
    ConversationEnded,
    DownloadGranted,
    Expired,
    FileDone,
    HealthChecked,
    Heard,
    Joined,
    JwtGranted,
    JwtRefused,
    Media,
    Other,
    PeerSilent,
    Released,
    SessionEnded,
    SessionEvent,
    Typed,
    Unexpected,
    UploadGranted,
)
from guestwire.protocol.frames import (
    AllowedMedia,
    AttachmentDeletedResponse,
    AuthorizationData,
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    ConnectionClosedEvent,
    DeleteAttachment,
    Echo,
    ErrorBody,
    Frame,
    GenerateUrlError,
    GetAttachment,
    GetJwt,
    JwtResponse,
    LogoutEvent,
    Malformed,
    Message,
    OnAttachment,
    OnMessage,
    PresignedUrlResponse,
    Request,
    SessionClearedEvent,
    SessionExpiredEvent,
    SessionResponse,
    UnknownBody,
    UploadFailureEvent,
    UploadSuccessEvent,
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
    typing_s: float = 1.0
    """How long an error without `tracingId` may be about typing: nobody promises an answer to it."""
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
    CLEAR = "clear"
    TYPING = "typing"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    DELETE = "delete"


#: What concerns one file: answered under the file's id as well as under the `tracingId`.
ABOUT_FILES = frozenset({RequestKind.UPLOAD, RequestKind.DOWNLOAD, RequestKind.DELETE})


class Unanswered(msgspec.Struct, frozen=True):
    """A request on its way."""

    kind: RequestKind
    deadline: float
    file_id: str | None = None
    """The file that it is about."""


class GuestSession:
    """
    One connection of one guest.

    Args:
        deployment_id: The Messenger deployment's UUID.
        token: The session token: identity and credential of the guest. A secret.
        new_id: Makes a fresh tracing id for each request that is not a message.
        timing: Patience, in seconds.
        jwt: Of a guest who has signed in; None: an anonymous guest. A secret. The owner may renew it.
    """

    def __init__(
        self,
        *,
        deployment_id: str,
        token: str,
        new_id: Callable[[], str],
        timing: Timing | None = None,
        jwt: str | None = None,
    ) -> None:
        self.jwt = jwt
        self._is_signing_in = False
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
        return self.state is ConnectionState.CONFIGURED and not self.is_busy

    @property
    def is_asking(self) -> bool:
        """Whether something of ours that is no message waits for its answer, and keeps messages waiting."""
        # Asked several times a message, and mostly there is nothing: worth not to begin a generator.
        return bool(self.unanswered) and any(
            request.kind not in (RequestKind.MESSAGE, RequestKind.TYPING) for request in self.unanswered.values()
        )

    @property
    def is_busy(self) -> bool:
        """Whether something of ours waits for its answer. Typing does not count: nobody promises an answer to it."""
        return bool(self.unanswered) and any(
            request.kind is not RequestKind.TYPING for request in self.unanswered.values()
        )

    def send_message(self, part_id: PartId, message: Message, now: float) -> None:
        """Send what `writing.message_of` made of a part. `part_id` becomes the `tracingId`."""
        if not self.may_send_message:
            raise LocalProtocolError(f"a message may not go out now: {self!r}")
        self._request(
            OnMessage(token=self._token, tracing_id=part_id, message=message), RequestKind.MESSAGE, Step.MESSAGE, now
        )

    def join(self, now: float, attributes: dict[str, str] | None = None) -> None:
        """Start the flow. Only on a new session of a deployment with autoStart: a second Join is wrong."""
        self._say(writing.join(attributes), RequestKind.JOIN, Step.MESSAGE, now)

    def clear(self, now: float) -> None:
        """Have the conversation forgotten, for good. Allowed in a read-only session too."""
        self._say(writing.clear(), RequestKind.CLEAR, Step.REQUEST, now)

    def type(self, now: float) -> None:
        """Tell that the guest is typing. Not while a message is on its way: an error could be about either."""
        if not self.may_send_message:
            raise LocalProtocolError(f"typing may not go out now: {self!r}")
        self._say(writing.typing(), RequestKind.TYPING, Step.MESSAGE, now)

    def request_upload(self, file_id: str, name: str, type_: str, size: int, now: float) -> None:
        """Ask where a file may be put. `size` in bytes; errors are asked for as objects, which name the file."""
        request = OnAttachment(
            token=self._token,
            tracing_id=self._new_id(),
            attachment_id=file_id,
            file_name=name,
            file_type=type_,
            file_size=size,
            errors_as_json=True,
        )
        self._request(request, RequestKind.UPLOAD, Step.REQUEST, now, file_id)

    def request_download(self, file_id: str, now: float) -> None:
        """Ask where a file may be fetched: an address lives for ten minutes."""
        request = GetAttachment(token=self._token, tracing_id=self._new_id(), attachment_id=file_id)
        self._request(request, RequestKind.DOWNLOAD, Step.REQUEST, now, file_id)

    def delete_upload(self, file_id: str, now: float) -> None:
        """Take a file back that no message has carried."""
        request = DeleteAttachment(token=self._token, tracing_id=self._new_id(), attachment_id=file_id)
        self._request(request, RequestKind.DELETE, Step.REQUEST, now, file_id)

    def sign_in(self, jwt: str, now: float) -> None:
        """Go on as a person who is known: on this connection, with the history of the anonymous guest."""
        self.jwt = jwt
        self._configure(now, start_new=False)

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
            self._give_up_on(tracing_id, request, f"connection lost: {reason}")
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
        at = (
            self._heard_at + self._timing.ping_after_s
            if self._pinged_at is None
            else self._pinged_at + self._timing.dead_after_s
        )
        for request in self.unanswered.values():
            at = min(at, request.deadline)
        if self._expires_at is not None and self.may_send_message:
            at = min(at, self._health_check_at())
        return at

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
            case PresignedUrlResponse(attachment_id=str() as file_id, url=str() as url):
                self._presigned(file_id, url, frame)
            case UploadSuccessEvent(attachment_id=str() as file_id):
                self._file_done(file_id, RequestKind.UPLOAD, frame, None)
            case AttachmentDeletedResponse(attachment_id=str() as file_id):
                self._file_done(file_id, RequestKind.DELETE, frame, None)
            case GenerateUrlError() | UploadFailureEvent():
                self._file_error(frame)
            case _ if (outcome := codes.outcome_of_frame(frame)) is not None:
                self._error(frame, outcome, now)
            case JwtResponse() | PresignedUrlResponse():
                self._unreadable(frame)
            case UnknownBody():
                self._unexpected(f"a frame of class {_printable(frame.class_)} that we do not know")
                self._events.append(Other(frame))
            case _:
                self._events.append(Other(frame))

    def _unreadable(self, frame: Frame) -> None:
        """An answer without what was asked for: the request has had its answer all the same."""
        self._unexpected(f"a {_printable(frame.class_)} without what was asked for")
        request = self.unanswered.pop(frame.tracing_id or "", None)
        if request is not None:
            self._give_up_on(frame.tracing_id or "", request, "an answer that cannot be read")

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
                    expires_at=self._expires_at,
                    media=media_of(body),
                    duration_s=None if body.duration_seconds is None else _finite(body.duration_seconds),
                    signed_in=self._is_signing_in,
                    cleared_others=bool(body.cleared_existing_session),
                )
            )

    def _message(self, body: Message, frame: Frame) -> None:
        if frame.code is not None and frame.code != 200:
            self._unexpected(f"a StructuredMessage with code {frame.code}")
        if body.direction not in ("Inbound", "Outbound") and (frame.tracing_id or (body.metadata or {}).get("id")):
            # Under a name of ours, and yet not said by us as far as it tells: neither an echo nor a reply.
            self._unexpected("a message under a tracingId of ours that does not say which way it goes")
            return
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
        elif request and request.kind is RequestKind.TYPING:
            self.unanswered.pop(ours or "", None)
            self._events.append(Typed(_accepted(body)))
        elif (request and request.kind is RequestKind.CLEAR) or (not ours and "Clear" in body.presence()):
            if self._pop(RequestKind.CLEAR, ours):
                self._events.append(Cleared(_accepted(body)))
        elif request and request.kind is not RequestKind.MESSAGE:
            # That request still waits for an answer of its own kind: taking it off here would wait for nothing.
            self._unexpected(f"an inbound message under the tracingId of our {request.kind.value}")
        elif ours and body.type != "Event":
            self.unanswered.pop(ours, None)
            self._lapsed.discard(ours)
            self._events.append(Answered(PartId(ours), _accepted(body)))

    def _presigned(self, file_id: str, url: str, frame: Frame) -> None:
        """The vendor's rule: an answer to `getAttachment` has no headers and a size. Ours first: what was asked."""
        body = frame.body
        assert isinstance(body, PresignedUrlResponse)  # noqa: S101 - the caller's match
        if self._pop_file(RequestKind.UPLOAD, file_id, frame.tracing_id):
            self._events.append(UploadGranted(file_id, url, body.headers or {}))
        elif self._pop_file(RequestKind.DOWNLOAD, file_id, frame.tracing_id):
            self._events.append(DownloadGranted(file_id, url))
        else:
            self._unexpected("an address for a file that we did not ask for")

    def _file_done(self, file_id: str, kind: RequestKind, frame: Frame, outcome: Outcome | None) -> None:
        self._pop_file(kind, file_id, frame.tracing_id)
        self._events.append(FileDone(file_id, outcome))

    def _file_error(self, frame: Frame) -> None:
        """About a file, whatever else is on its way, and whatever the envelope's code says; never about a message."""
        outcome = codes.outcome_of_frame(frame) or _upload_failed(frame)
        named = getattr(frame.body, "attachment_id", None)
        if named is None and isinstance(frame.body, ErrorBody):
            named = frame.body.extra.get("attachmentId")
        request = self.unanswered.get(frame.tracing_id or "")
        file_id = request.file_id if request is not None and request.file_id is not None else named
        if not isinstance(file_id, str):
            waiting = [one.file_id for one in self.unanswered.values() if one.kind in ABOUT_FILES]
            file_id = waiting[0] if len(waiting) == 1 else None
        if not isinstance(file_id, str):
            self._unexpected("an error about a file that is not named")
            return
        for tracing_id, one in list(self.unanswered.items()):
            if one.kind in ABOUT_FILES and one.file_id == file_id:
                del self.unanswered[tracing_id]
        self._lapsed.discard(frame.tracing_id or "")
        self._events.append(FileDone(file_id, outcome))

    def _pop_file(self, kind: RequestKind, file_id: str, tracing_id: str | None) -> bool:
        """Take the request about a file that an answer settles: by `tracingId`, else by the file's id."""
        self._lapsed.discard(tracing_id or "")
        for name, request in self.unanswered.items():
            if request.kind is kind and (name == tracing_id or request.file_id == file_id):
                del self.unanswered[name]
                return True
        return False

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
            case RequestKind.CLEAR:
                self._events.append(Cleared(outcome))
            case RequestKind.TYPING:
                self._events.append(Typed(outcome))
            case RequestKind.UPLOAD | RequestKind.DOWNLOAD | RequestKind.DELETE:
                self._events.append(FileDone(request.file_id or "", outcome))
            case RequestKind.HEALTH:
                self._unexpected(f"error {code} answers our health check")
            case RequestKind.CLOSE:
                self._unexpected(f"error {code} answers our close")
                if code not in (4006, 4007):
                    self._not_closed(outcome, now)
        if code in (4006, 4007) and request.kind is not RequestKind.CONFIGURE:
            self._expire(f"code {code}")

    def _expired(self, frame: Frame, reason: str) -> None:
        """
        `SessionExpiredEvent` is code 4006 in another dress, and settles what code 4006 would settle.

        Also where it was pushed: a message that had been accepted would have prolonged the session.
        """
        tracing_id = frame.tracing_id if frame.tracing_id is not None else self._only_unanswered()
        request = self.unanswered.get(tracing_id) if tracing_id is not None else None
        if tracing_id is not None and request is not None and request.kind is RequestKind.MESSAGE:
            del self.unanswered[tracing_id]
            self._events.append(Answered(PartId(tracing_id), codes.outcome_of(4006, reason)))
        self._expire(reason)

    def _expire(self, reason: str) -> None:
        # A session that is over is closed.
        self.unanswered = {name: one for name, one in self.unanswered.items() if one.kind is not RequestKind.CLOSE}
        self._forget_requests(reason)
        self._expires_at = None
        before = self.state
        if self._go(Step.EXPIRED) and self.state is not before:
            self._events.append(Expired(reason))

    def _released(self, cause: str) -> None:
        """Report the first cause only: a clear is followed by a ConnectionClosedEvent, which is no eviction."""
        if cause == "cleared" and self._pop(RequestKind.CLEAR, None):
            self._events.append(Cleared(Accepted(GatewayMessageId(""))))  # its echo was lost, or comes later
        self._forget_requests(cause)
        before = self.state
        if self._go(Step.RELEASED) and self.state is not before:
            self._events.append(Released(cause))

    def _forget_requests(self, reason: str) -> None:
        """The session is over for this connection: no request of it will be answered any more."""
        for tracing_id, request in self.unanswered.items():
            self._give_up_on(tracing_id, request, f"no answer before: {reason}")
        self._lapsed.update(self.unanswered)
        self.unanswered.clear()
        self._configure_new_after_end = False

    # --- helpers ---

    def _not_closed(self, outcome: Outcome, now: float) -> None:
        """`startNew` alone replaces the session; a close before it is a courtesy. Any other was meant as it stood."""
        if not self._configure_new_after_end:
            self._events.append(SessionEnded(outcome))
        elif self.state is ConnectionState.READ_ONLY:
            self._configure_new_after_end = False
            self._configure(now, start_new=True)

    def _only_unanswered(self) -> str | None:
        """The one request that a frame without `tracingId` can be meant for; None where there may be others."""
        return next(iter(self.unanswered)) if len(self.unanswered) == 1 and not self._lapsed else None

    def _configure(self, now: float, *, start_new: bool) -> None:
        fields: dict[str, Any] = {
            "token": self._token,
            "tracing_id": self._new_id(),
            "deployment_id": self._deployment_id,
            "start_new": True if start_new else None,
        }
        self._is_signing_in = self.jwt is not None
        request: Request = ConfigureSession(**fields)
        if self.jwt is not None:
            # Named after the code of the sign-in, and yet it is the JWT that the code was exchanged for.
            request = ConfigureAuthenticatedSession(**fields, data=AuthorizationData(code=self.jwt))
        self._request(request, RequestKind.CONFIGURE, Step.CONFIGURE, now)

    def _say(self, message: Message, kind: RequestKind, step: Step, now: float) -> None:
        """Send an event that is no message of the guest's."""
        self._request(OnMessage(token=self._token, tracing_id=self._new_id(), message=message), kind, step, now)

    def _request(self, request: Request, kind: RequestKind, step: Step, now: float, file_id: str | None = None) -> None:
        following = after(self.state, step)
        if following is None:
            raise LocalProtocolError(f"{kind.value} is not allowed while {self.state.value}")
        encoded = codec.encode_request(request)
        self.state = following
        patience_s = self._timing.answer_s if kind is RequestKind.MESSAGE else self._timing.request_s
        if kind is RequestKind.TYPING:
            patience_s = min(patience_s, self._timing.typing_s)
        assert request.tracing_id is not None  # noqa: S101 - every request of ours carries one
        self.unanswered[request.tracing_id] = Unanswered(kind, now + patience_s, file_id)
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
            if request.kind is RequestKind.TYPING:
                continue  # nobody promises an answer to it
            self._lapsed.add(tracing_id)
            reason = f"no answer to {request.kind.value} in time"
            match request.kind:
                case RequestKind.CONFIGURE:
                    self._go(Step.CONFIGURE_REFUSED)
                    self._events.append(ConfigureRefused(Unknown(reason), None))
                case RequestKind.JOIN:
                    self._events.append(Joined(Unknown(reason)))
                case RequestKind.HEALTH:
                    self._unexpected(reason)
                case RequestKind.CLOSE:
                    self._unexpected(reason)
                    self._not_closed(Unknown(reason), now)
                case _:
                    self._give_up_on(tracing_id, request, reason)

    def _give_up_on(self, tracing_id: str, request: Unanswered, reason: str) -> None:
        """Tell whoever waits for the answer to a request that there will be none."""
        match request.kind:
            case RequestKind.MESSAGE:
                self._events.append(Answered(PartId(tracing_id), Unknown(reason)))
            case RequestKind.JWT:
                self._events.append(JwtRefused(Failed(reason)))
            case RequestKind.CLEAR:
                self._events.append(Cleared(Unknown(reason)))
            case RequestKind.CLOSE if not self._configure_new_after_end:
                self._events.append(SessionEnded(Unknown(reason)))
            case RequestKind.UPLOAD | RequestKind.DOWNLOAD | RequestKind.DELETE:
                self._events.append(FileDone(request.file_id or "", Failed(reason)))
            case _:
                pass  # what a new connection begins with anyway

    def _health_check_at(self) -> float:
        if self._expires_at is None:
            return float("inf")
        return max(
            self._expires_at + self._timing.health_check_after_expiry_s,
            self._checked_at + self._timing.health_check_every_s,
        )

    def _unexpected(self, what: str) -> None:
        self._events.append(Unexpected(what))


def media_of(body: SessionResponse) -> Media:
    """Read what a session takes out of its answer; any of it may be absent, or half there."""
    inbound = (body.allowed_media or AllowedMedia()).inbound
    limit = inbound.max_file_size_kb if inbound else None
    types = inbound.file_types if inbound else None
    attributes = None if body.max_custom_data_bytes is None else _finite(body.max_custom_data_bytes)
    return Media(
        None if limit is None else _finite(limit),
        None if types is None else tuple(one.type.lower() for one in types if one.type),
        tuple(name.lower() for name in body.blocked_extensions or ()),
        None if attributes is None else int(attributes),
    )


def _upload_failed(frame: Frame) -> Outcome:
    """An error about a file whose envelope says 200, as the vendor's fixtures have it."""
    code = getattr(frame.body, "error_code", None)
    if not isinstance(code, int):
        return Failed("the upload failed, without a code")
    return codes.outcome_of(code, (getattr(frame.body, "error_message", None) or "")[:200])


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
