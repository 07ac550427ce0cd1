"""
`GatewaySession`: the platform's half of one connection, without any I/O.

It reads requests, refuses what the state of the connection forbids, and hands the rest to its owner (the
emulator's world) as `Asked` events. The owner decides what is true (is the session new, is the text
too long, is a limit passed) and answers with the verbs below; each adds the frame that the guest will see.

In: `connection_opened`, `receive_frame`, `connection_lost`. Out: `frames_to_send()`, `events()`; both drain.
"""

from __future__ import annotations

import msgspec

from guestwire.protocol import codec
from guestwire.protocol.frames import (
    BODIES,
    STRING,
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    ConnectionClosedEvent,
    Frame,
    JsonObject,
    Malformed,
    Message,
    Node,
    OnMessage,
    Request,
    SessionExpiredEvent,
    SessionResponse,
    StringBody,
    TooManyRequestsErrorMessage,
    UnknownRequest,
)
from guestwire.protocol.states import ConnectionState, LocalProtocolError, Step, after

_CLASS_OF: dict[type[Node], str] = {}
for _class, _type in BODIES.items():
    _CLASS_OF.setdefault(_type, _class)


class Asked(msgspec.Struct, frozen=True):
    """A request that the state of the connection allows. The owner answers it."""

    request: Request


class Refused(msgspec.Struct, frozen=True):
    """A request that was answered here with an error; for the owner's counters."""

    code: int
    action: str


GatewayEvent = Asked | Refused


class GatewaySession:
    """
    One connection as the platform sees it.

    Args:
        errors_carry_tracing_id: Whether `string` errors copy the request's `tracingId`; unknown for production.
    """

    def __init__(self, *, errors_carry_tracing_id: bool = True) -> None:
        self._errors_carry_tracing_id = errors_carry_tracing_id
        self._outgoing: list[bytes] = []
        self._events: list[GatewayEvent] = []
        self.state = ConnectionState.CLOSED
        #: The guest's token, once a configure request was accepted.
        self.token: str | None = None

    def __repr__(self) -> str:
        return f"<GatewaySession {self.state.value}>"

    def frames_to_send(self) -> list[bytes]:
        """Return, once, the frames to write, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events(self) -> list[GatewayEvent]:
        """Return, once, what was asked since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- what happens ---

    def connection_opened(self) -> None:
        """The upgrade was granted."""
        self._step(Step.OPENED)

    def connection_lost(self) -> None:
        """The WebSocket is gone; what was not written never will be."""
        self._outgoing.clear()
        self._step(Step.LOST)

    def receive_frame(self, data: bytes | str) -> None:
        """Take one text frame from the guest: an `Asked` event, or an error frame. Never raises."""
        self.receive_request(codec.decode_request(data))

    def receive_request(self, request: Request | Malformed) -> None:
        """Take one frame that the owner has decoded already, for its limits and faults. Never raises."""
        if isinstance(request, Malformed):
            self._refuse_request(None, "", 400, "Request failed.")
        elif isinstance(request, UnknownRequest):
            self._refuse_request(request.tracing_id, "unknown", 400, "Request failed.")
        elif isinstance(request, ConfigureSession | ConfigureAuthenticatedSession):
            self._receive_configure(request)
        else:
            self._receive_request(request)

    def _receive_configure(self, request: ConfigureSession | ConfigureAuthenticatedSession) -> None:
        if not request.token or not request.deployment_id:
            self._refuse_request(request.tracing_id, request.action, 4020, "Missing parameter")
        elif after(self.state, Step.CONFIGURE) is None:
            self._refuse_request(request.tracing_id, request.action, 400, "Request failed.")
        else:
            self._step(Step.CONFIGURE)
            self._events.append(Asked(request))

    def _receive_request(self, request: Request) -> None:
        is_message = isinstance(request, OnMessage)
        if self.token is None or self.state in (
            ConnectionState.OPEN,
            ConnectionState.CONFIGURING,
            ConnectionState.ENDED,
            # The gateway let go of this connection: it is attached to no session any more.
            ConnectionState.RELEASED,
            ConnectionState.CLOSED,
        ):
            self._refuse_request(request.tracing_id, request.action, 4007, "session not found error message")
        elif self.state is ConnectionState.EXPIRED:
            self._refuse_request(request.tracing_id, request.action, 4006, "session expired error message")
        elif request.token is not None and request.token != self.token:
            # A third-party client sends `echo` without a token and is answered; a wrong one is another matter.
            self._refuse_request(request.tracing_id, request.action, 401, "User is unauthorized")
        elif request.token is None and is_message:
            self._refuse_request(request.tracing_id, request.action, 401, "User is unauthorized")
        elif (
            isinstance(request, CloseSession)
            or after(self.state, Step.MESSAGE if is_message else Step.REQUEST) is not None
            or (isinstance(request, OnMessage) and _is_clear(request))
        ):
            self._events.append(Asked(request))
        else:
            self._refuse_request(request.tracing_id, request.action, 409, "Session is read-only")

    # --- what the owner answers ---

    def grant_session(self, request: ConfigureSession | ConfigureAuthenticatedSession, body: SessionResponse) -> None:
        """Answer a configure request: the connection is attached to the guest's session."""
        self._step(Step.SESSION_READ_ONLY if body.read_only else Step.SESSION)
        self.token = request.token
        self.answer(request.tracing_id, body)

    def refuse_session(self, request: Request, code: int, text: str) -> None:
        """Answer a configure request with an error."""
        self._step(Step.CONFIGURE_REFUSED)
        self._refuse_request(request.tracing_id, request.action, code, text)

    def end_session(self, tracing_id: str | None, body: SessionResponse) -> None:
        """Answer a `closeSession`."""
        self._step(Step.SESSION_ENDED)
        self.answer(tracing_id, body)

    def answer(self, tracing_id: str | None, body: Node, *, code: int = 200) -> None:
        """Answer a request with an object; its class follows from its type."""
        self._send(Frame(type="response", class_=_CLASS_OF[type(body)], code=code, body=body, tracing_id=tracing_id))

    def push(self, body: Node, tracing_id: str | None = None) -> None:
        """Send an event. With a `tracing_id`: the echo of the guest's own message."""
        self._send(Frame(type="message", class_=_CLASS_OF[type(body)], code=200, body=body, tracing_id=tracing_id))

    def push_disconnect(self, body: Message, *, read_only: bool) -> None:
        """Tell the guest that the conversation is over."""
        if read_only:
            self._step(Step.DISCONNECTED)
        self.push(body)

    def expire(self) -> None:
        """Tell the guest that the session is over."""
        self._step(Step.EXPIRED)
        self.push(SessionExpiredEvent())

    def release(self, body: Node | None = None) -> None:
        """Let the connection go: `ConnectionClosedEvent` (default), `LogoutEvent` or `SessionClearedEvent`."""
        self._step(Step.RELEASED)
        self.push(body or ConnectionClosedEvent())

    def refuse(self, request: Request, code: int, text: str) -> None:
        """Answer a request with a `string` error."""
        self._refuse_request(request.tracing_id, request.action, code, text)

    def refuse_with(self, request: Request, code: int, body: Node, *, envelope_code: int) -> None:
        """Answer a request with an error object; `code` is what it means, whatever the envelope says."""
        self._events.append(Refused(code, request.action))
        tracing_id = request.tracing_id if self._errors_carry_tracing_id else None
        self.answer(tracing_id, body, code=envelope_code)

    def throttle(self, request: Request, retry_after_s: float) -> None:
        """Answer a request with the limit's own error; the connection goes on."""
        body = TooManyRequestsErrorMessage(
            retry_after=retry_after_s,
            error_code=4029,
            error_message="Message rate too high for this session",
        )
        self.refuse_with(request, 429, body, envelope_code=429)

    def send_raw(self, data: JsonObject | bytes) -> None:
        """Send something that is no frame of the protocol: for faults."""
        self._outgoing.append(data if isinstance(data, bytes) else msgspec.json.encode(data))

    # --- helpers ---

    def _refuse_request(self, tracing_id: str | None, action: str, code: int, text: str) -> None:
        self._events.append(Refused(code, action))
        self._send(
            Frame(
                type="response",
                class_=STRING,
                code=code,
                body=StringBody(text),
                tracing_id=tracing_id if self._errors_carry_tracing_id else None,
            )
        )

    def _send(self, frame: Frame) -> None:
        self._outgoing.append(codec.encode_frame(frame))

    def _step(self, step: Step) -> None:
        following = after(self.state, step)
        if following is None:
            raise LocalProtocolError(f"{step.name} while {self.state.value}")
        self.state = following


def _is_clear(request: OnMessage) -> bool:
    return request.message is not None and "Clear" in request.message.presence()
