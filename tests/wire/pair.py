"""
A guest and a gateway that talk to each other in memory, so that a test reads as a conversation.

    pair = SessionPair()
    pair.open()
    pair.say("hello")
    assert pair.pump() == [Answered(PartId("part-1"), Accepted(...))]
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec

from guestwire.model import PartBody, PartId
from guestwire.protocol.events import SessionEvent
from guestwire.protocol.frames import (
    Channel,
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    Echo,
    GetJwt,
    JwtResponse,
    Message,
    Node,
    OnMessage,
    Request,
    SessionResponse,
)
from guestwire.protocol.gateway import Asked, GatewaySession
from guestwire.protocol.gateway import Refused as RequestRefused
from guestwire.protocol.guest import Control, GuestSession, Timing
from guestwire.protocol.writing import message_of


def saying(part_id: PartId, text: str, *, attempt: int = 1, attributes: dict[str, str] | None = None) -> Message:
    """A text as the transport hands it to a session."""
    return message_of(part_id, PartBody(text, attributes or {}), attempt=attempt)


TOKEN = "canary-token-5b1f"
DEPLOYMENT = "11111111-2222-3333-4444-555555555555"
JWT = "canary-jwt-77aa"
#: When conversations begin; nothing looks at a real clock.
START = 1_700_000_000.0
#: The gateway's time in every echo.
AT = "2026-01-02T03:04:05.678Z"


class Owner:
    """Answers what a gateway is asked: accepts everything, unless told otherwise."""

    def __init__(self) -> None:
        self.session = SessionResponse(connected=True, new_session=True, read_only=False)
        self.health_metadata: dict[str, str] = {}
        self.jwt_expires_at = START + 60
        #: Requests of these types get no answer; they wait in `held`.
        self.hold: set[type[Request]] = set()
        self.held: list[Request] = []
        #: Requests of these types get an error: code and text.
        self.refuse: dict[type[Request], tuple[int, str]] = {}
        #: Whether echoes carry the `tracingId` on the envelope, and our metadata in the body.
        self.echo_tracing_id = True
        self.echo_metadata = True
        self.refused: list[RequestRefused] = []
        self.asked: list[Request] = []
        self._ids = itertools.count(1)

    def answer(self, gateway: GatewaySession, request: Request) -> None:
        """Answer one request, in the way that is set."""
        self.asked.append(request)
        if type(request) in self.hold:
            self.held.append(request)
        elif type(request) in self.refuse:
            code, text = self.refuse[type(request)]
            if isinstance(request, ConfigureSession | ConfigureAuthenticatedSession):
                gateway.refuse_session(request, code, text)
            else:
                gateway.refuse(request, code, text)
        else:
            self._grant(gateway, request)

    def _grant(self, gateway: GatewaySession, request: Request) -> None:
        match request:
            case ConfigureSession(start_new=start_new) | ConfigureAuthenticatedSession(start_new=start_new):
                body = self.session
                if start_new:
                    body = msgspec.structs.replace(body, new_session=True, read_only=False)
                gateway.grant_session(request, body)
            case OnMessage(message=Message() as message):
                gateway.push(self.echo(message), request.tracing_id if self.echo_tracing_id else None)
            case Echo():
                metadata = self.health_metadata or None
                gateway.answer(
                    request.tracing_id,
                    Message(type="Text", text="ping", direction="Inbound", id="echo", metadata=metadata),
                )
            case GetJwt():
                gateway.answer(request.tracing_id, JwtResponse(jwt=JWT, exp=self.jwt_expires_at))
            case CloseSession():
                gateway.end_session(
                    request.tracing_id, SessionResponse(connected=False, new_session=False, read_only=True)
                )
            case _:
                gateway.refuse(request, 400, "Request failed.")

    def echo(self, message: Message) -> Message:
        """Make the echo of a guest's message."""
        number = next(self._ids)
        return msgspec.structs.replace(
            message,
            id=f"{number:032x}",
            direction="Inbound",
            channel=Channel(time=AT, message_id=f"00000000-0000-0000-0000-{number:012x}"),
            metadata=message.metadata if self.echo_metadata else None,
        )


class SessionPair:
    """
    Both halves of one connection.

    Args:
        errors_carry_tracing_id: Whether `string` errors of the gateway carry the request's `tracingId`.
        timing: The guest's patience.
    """

    def __init__(self, *, errors_carry_tracing_id: bool = True, timing: Timing | None = None) -> None:
        numbers = itertools.count(1)
        self.now = START
        self.owner = Owner()
        self.gateway = GatewaySession(errors_carry_tracing_id=errors_carry_tracing_id)
        self.guest = GuestSession(
            deployment_id=DEPLOYMENT, token=TOKEN, new_id=lambda: f"request-{next(numbers)}", timing=timing
        )
        #: What the guest wrote, as JSON, since the beginning.
        self.written: list[dict[str, Any]] = []
        self.pings = 0
        self.answers_pings = True

    def open(self) -> list[SessionEvent]:
        """Open the WebSocket on both sides and let them talk."""
        self.gateway.connection_opened()
        self.guest.connection_opened(self.now)
        return self.pump()

    def lose(self, reason: str = "socket closed (1006)") -> list[SessionEvent]:
        """Cut the WebSocket; what was on its way is gone."""
        self.guest.connection_lost(self.now, reason)
        self.gateway.connection_lost()
        return self.guest.events()

    def send(self, part_id: str, text: str = "hello", *, attempt: int = 1) -> list[SessionEvent]:
        """Send a message, and let both talk."""
        self.guest.send_message(PartId(part_id), saying(PartId(part_id), text, attempt=attempt), self.now)
        return self.pump()

    def push(self, body: Node, tracing_id: str | None = None) -> list[SessionEvent]:
        """Let the gateway push something."""
        self.gateway.push(body, tracing_id)
        return self.pump()

    def say(self, frame: dict[str, Any] | bytes) -> list[SessionEvent]:
        """Let the gateway send a frame exactly as given."""
        self.gateway.send_raw(frame)
        return self.pump()

    def pump(self) -> list[SessionEvent]:
        """Carry frames both ways until nobody has anything to say; return what the guest learned."""
        while True:
            to_gateway = self.guest.frames_to_send()
            for item in to_gateway:
                if item is Control.PING:
                    self.pings += 1
                    if self.answers_pings:
                        self.guest.pong_received(self.now)
                elif isinstance(item, bytes):
                    self.written.append(json.loads(item))
                    self.gateway.receive_frame(item)
            for event in self.gateway.events():
                if isinstance(event, Asked):
                    self.owner.answer(self.gateway, event.request)
                else:
                    self.owner.refused.append(event)
            to_guest = self.gateway.frames_to_send()
            for frame in to_guest:
                self.guest.receive_frame(frame, self.now)
            if not to_gateway and not to_guest:
                return self.guest.events()

    def wait(self, seconds: float) -> list[SessionEvent]:
        """Let time pass, ticking whenever the guest asked for it."""
        until = self.now + seconds
        events: list[SessionEvent] = []
        while (at := self.guest.next_tick_at()) <= until:
            # A tick that is due already would not move time; then the end is reached.
            self.now = max(self.now, at)
            self.guest.tick(self.now)
            events += self.pump()
            if self.guest.next_tick_at() <= self.now:
                break
        self.now = until
        self.guest.tick(self.now)
        return events + self.pump()
