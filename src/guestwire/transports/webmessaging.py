"""
The Guest API over WebSocket.

Per guest a `Line`: the sans-I/O `GuestSession`, the WebSocket it speaks through, and why it is or is not ready. The
protocol decides in `GuestSession`, policy in `guestwire.policy`; here is the wiring: connects, timers, what follows
from what a session says, and the two reads over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from picows import WSCloseCode, WSMsgType

from guestwire.clock import Clock
from guestwire.model import Accepted, Failed, GuestRef, Outcome, PartId, SessionState
from guestwire.net import tls_context
from guestwire.policy.pace import Pace
from guestwire.protocol.guest import (
    Answered,
    Configured,
    ConfigureRefused,
    Control,
    ConversationEnded,
    Expired,
    GuestSession,
    HealthChecked,
    Heard,
    Joined,
    JwtGranted,
    JwtRefused,
    Other,
    PeerSilent,
    Released,
    SessionEnded,
    SessionEvent,
    Timing,
    Unexpected,
)
from guestwire.protocol.reading import reply_of
from guestwire.protocol.states import ConnectionState
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import (
    Attempt,
    Attempted,
    Emit,
    HeardReply,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneInfo,
    LaneReady,
    Noted,
    SessionChanged,
)
from guestwire.transports.connector import Connector, Way
from guestwire.transports.line import Line
from guestwire.transports.reads import Reads, Unreadable

logger = logging.getLogger("guestwire.transports.webmessaging")

#: How long a peer may take to let a socket go that we close, in seconds.
CLOSE_PATIENCE_S = 1.0


class WebMessagingTransport:
    """
    The Guest API of one deployment.

    Args:
        destination: Where and how.
        timing: The relay's patience.
        pace: The windows of the destination; shared with the relay, which asks it before it begins a message.
        clock: The time.
        emit: Takes what is learned.
        draw: Random numbers from [0, 1), for jitter.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        timing: RelaySettings,
        pace: Pace,
        clock: Clock,
        emit: Emit,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self._destination = destination
        self._timing = timing
        self._pace = pace
        self._emit = emit
        self._draw = draw
        self._lines: dict[GuestRef, Line] = {}
        secure = destination.websocket_url.startswith("wss:")
        ca_file = None if destination.ca_file is None else str(destination.ca_file)
        tls = tls_context(ca_file, verify=destination.tls.verify) if secure else None
        way = Way(destination, tls, destination.proxy_for(destination.host))
        self._agenda = Agenda(clock)
        self._connector = Connector(
            way,
            timing=timing,
            pace=pace,
            clock=clock,
            agenda=self._agenda,
            emit=emit,
            draw=draw,
            has_room=self._has_room,
        )
        self._reads = Reads(
            way,
            pace=pace,
            clock=clock,
            timeout_s=timing.connect_timeout_s,
            tell=lambda reason: emit(Noted("config.unreadable", None, {"reason": reason})),
        )
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._reconnects = 0
        self._unexpected = 0

    def __repr__(self) -> str:
        return f"<WebMessagingTransport {self._destination.name}, {len(self._lines)} lines>"

    # --- the shape of a transport ---

    async def open(self) -> None:
        """Start the timers. Connects nothing yet."""
        self._timer = asyncio.create_task(self._agenda.run())

    def want(self, lane: LaneInfo) -> None:
        """Connect and configure a guest, or start his next conversation where the last one was ended."""
        line = self._lines.get(lane.guest_ref)
        if line is None:
            line = self._lines[lane.guest_ref] = Line(self, lane, self._new_session(lane.token))
            self._connector.ask(line)
            return
        line.lane = lane
        if not line.wanted:
            line.wanted = True
            self._connector.ask(line)
        if line.session.state is ConnectionState.READ_ONLY and not line.session.unanswered and not lane.urgent:
            line.session.start_new(self.clock.now())
            self.drain(line)
        elif line.session.state is ConnectionState.EXPIRED:
            line.session.configure_again(self.clock.now())
            self.drain(line)

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether the guest's session is configured and nothing of it is on its way."""
        line = self._lines.get(guest)
        return line is not None and line.ready and line.ws is not None and line.session.may_send_message

    def can_look(self, guest: GuestRef) -> bool:
        """Whether the guest's history may be asked for: a read-only session still gives it, a new one never will."""
        line = self._lines.get(guest)
        if line is None or line.ws is None or line.session.unanswered:
            return False
        # Not before a new session was greeted: Join has to find it with nothing else on its way.
        return line.ready or line.session.state is ConnectionState.READ_ONLY

    def send(self, attempt: Attempt) -> None:
        """Write one message. Its echo, its error, a lost socket or the time-out answer it."""
        line = self._lines.get(attempt.guest_ref)
        if line is None or not self.is_ready(attempt.guest_ref):
            # The socket was lost while the attempt was being written ahead: nothing left this process.
            self._emit(Attempted(attempt.guest_ref, attempt.part_id, Failed("the connection was lost before sending")))
            return
        now = self.clock.now()
        line.slots.append(self._pace.take(line.keys("messages_per_s"), now))
        line.session.send_message(
            attempt.part_id, attempt.body.text, attempt=attempt.number, now=now, attributes=attempt.body.attributes
        )
        self.drain(line)

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Ask for the key to the history; the pages follow when it comes."""
        line = self._lines.get(guest)
        now = self.clock.now()
        if line is None or not self.can_look(guest):
            self._emit(HistoryUnreadable(guest, "the session is not configured", 1.0))
            return
        held = self._pace.admits(line.keys("requests_per_min", "history_per_min"), now)
        if held is not None:
            wait_s = min(held.until - now, 60.0)
            self._emit(HistoryUnreadable(guest, f"held by the limit {held.limit}", wait_s))
            return
        line.anchor = anchor
        line.looking = True
        line.session.request_jwt(now)
        self.drain(line)

    def leave(self, guest: GuestRef) -> None:
        """Keep the guest's connection for `linger_s` after its last frame, for replies; then let it go."""
        line = self._lines.get(guest)
        if line is None:
            return
        line.wanted = False
        self._linger(line, self.clock.now() + self._timing.linger_s)

    def figures(self) -> dict[str, float]:
        """Counters since the start, and how many guests are connected."""
        connected = sum(line.ws is not None for line in self._lines.values())
        return {
            "connects": float(self._connector.connects),
            "reconnects": float(self._reconnects),
            "history_reads": float(self._reads.history_reads),
            "frames_unexpected": float(self._unexpected),
            "sessions": float(connected),
        }

    async def close(self) -> None:
        """Close every socket; what is unanswered ends `Unknown`."""
        self._closing = True
        handshakes = self._connector.close()
        for line in list(self._lines.values()):
            line.wanted = False
            line.hang_up("shutting down", WSCloseCode.OK)
        waits = [asyncio.ensure_future(line.ws.wait_disconnected()) for line in self._lines.values() if line.ws]
        if waits:
            # All at once: an outage of the network leaves every peer silent, and a shutdown has ten seconds in all.
            await asyncio.wait(waits, timeout=CLOSE_PATIENCE_S)
        for line in list(self._lines.values()):
            if line.ws is not None:
                line.drop("shutting down")  # the peer does not read: what is buffered for it would never leave
        tasks = [task for task in (*waits, *self._tasks, *handshakes, self._timer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reads.close()

    # --- connecting ---

    def _new_session(self, token: str) -> GuestSession:
        """Make the protocol half of a line."""
        timing = self._timing
        return GuestSession(
            deployment_id=self._destination.deployment_id,
            token=token,
            new_id=lambda: str(uuid.UUID(bytes=os.urandom(16), version=4)),
            timing=Timing(ping_after_s=timing.ping_after_s, dead_after_s=timing.dead_after_s, answer_s=timing.answer_s),
        )

    def line_lost(self, line: Line, reason: str) -> None:
        """A socket is gone. Whoever is wanted connects again, after a jittered while."""
        line.ready = False
        line.answer_slots(self.clock.now())
        if line.looking:
            line.looking = False
            self._emit(HistoryUnreadable(line.guest, reason, 0.5))
        if self._closing or self._lines.get(line.guest) is not line:
            return
        self._emit(Noted("session.lost", line.guest, {"reason": reason}))
        if line.wanted:
            self._reconnects += 1
            self._connector.ask_later(line, reason)
        else:
            del self._lines[line.guest]

    def _linger(self, line: Line, until: float) -> None:
        """Look at the line again at `until`; one timer a line, however often it is left."""
        if not line.lingering:
            line.lingering = True
            self._agenda.at(until, lambda: self._maybe_let_go(line))

    def _maybe_let_go(self, line: Line) -> None:
        line.lingering = False
        if line.wanted or self._lines.get(line.guest) is not line:
            return
        idle_until = line.heard_at + self._timing.linger_s
        if line.ws is None:
            del self._lines[line.guest]
        elif self.clock.now() >= idle_until:
            self._let_go(line)
        else:
            self._linger(line, idle_until)

    def _has_room(self, connecting: int) -> bool:
        """Whether one more session may be open; if not, the longest idle one that only lingers is closed."""
        most = self._destination.limits.max_sessions
        if len(self._lines) <= most:
            return True
        if connecting + sum(line.ws is not None for line in self._lines.values()) < most:
            return True
        idle = [line for line in self._lines.values() if not line.wanted and line.ws is not None]
        if not idle:
            return False
        self._let_go(min(idle, key=lambda line: line.heard_at))
        return True

    def _let_go(self, line: Line) -> None:
        del self._lines[line.guest]
        line.hang_up("not needed for now")

    # --- what sessions say ---

    def drain(self, line: Line) -> None:
        """Write what the session wants written, tell what it learned, look when it has to be ticked next."""
        while True:
            for outgoing in line.session.frames_to_send():
                if line.ws is None:
                    continue
                if outgoing is Control.PING:
                    line.ws.send_ping()
                else:
                    line.slots.append(self._pace.take(line.keys("requests_per_min"), self.clock.now()))
                    line.ws.send(WSMsgType.TEXT, outgoing)
            events = line.session.events()
            if not events:
                break
            line.heard_at = self.clock.now()
            for event in events:
                self._handle(line, event)
        self._schedule_tick(line)

    def _handle(self, line: Line, event: SessionEvent) -> None:
        match event:
            case Answered(part_id, outcome):
                self._answered(line, part_id, outcome)
            case Heard(message):
                if (reply := reply_of(message)) is not None:
                    self._emit(HeardReply(line.guest, reply))
            case Configured():
                self._configured(line, event)
            case ConfigureRefused():
                self._configure_refused(line, event)
            case Joined(outcome):
                self._joined(line, outcome)
            case JwtGranted(jwt):
                if line.looking:
                    self._spawn(self._read_history(line, jwt))
            case JwtRefused(outcome):
                self._history_failed(line, str(getattr(outcome, "reason", "refused")), 1.0)
            case ConversationEnded(read_only):
                self._conversation_ended(line, read_only)
            case Expired(reason):
                self._expired(line, reason)
            case Released(cause):
                self._released(line, cause)
            case PeerSilent(silent_s):
                self._emit(Noted("session.silent", line.guest, {"silent_s": silent_s}))
                line.drop(f"no sign of life for {silent_s:.0f} s")
            case Unexpected(what):
                self._unexpected += 1
                self._emit(Noted("wire.unexpected", line.guest, {"what": what}))
            case HealthChecked():
                if line.ready:  # whoever came while it was asked found the session busy
                    self._emit(LaneReady(line.guest, replaced=False))
            case SessionEnded() | Other():
                pass
        line.answer_slots(self.clock.now())

    def _answered(self, line: Line, part_id: PartId, outcome: Outcome) -> None:
        self._emit(Attempted(line.guest, part_id, outcome))
        code = outcome.code if isinstance(outcome, Failed) else None
        if code == 409 and line.session.state is ConnectionState.CONFIGURED:
            # The session is read-only, and nobody had told us: begin the next conversation.
            line.ready = False
            line.session.start_new(self.clock.now())
        elif code == 401:
            line.hang_up("the session's credentials were refused")

    def _joined(self, line: Line, outcome: Outcome) -> None:
        if isinstance(outcome, Accepted):
            self._emit(Noted("session.joined", line.guest, {}))
        else:
            self._emit(Noted("wire.unexpected", line.guest, {"what": f"join: {outcome.reason}"}))
        self._become_ready(line)

    def _conversation_ended(self, line: Line, read_only: bool) -> None:
        if not read_only:
            self._emit(Noted("session.disconnected", line.guest, {}))
            return
        line.ready = False
        line.known_as = SessionState.READ_ONLY
        self._emit(SessionChanged(line.guest, SessionState.READ_ONLY, "session.read_only"))
        self._emit(LaneHeld(line.guest, None, "the agent's side ended the conversation"))

    def _expired(self, line: Line, reason: str) -> None:
        line.ready = False
        self._emit(SessionChanged(line.guest, line.known_as, "session.expired", detail={"reason": reason}))
        if line.wanted:
            line.session.configure_again(self.clock.now())

    def _configured(self, line: Line, event: Configured) -> None:
        now = self.clock.now()
        if event.new_session and line.known_as is not SessionState.NONE:
            line.replaced = True
        if event.read_only:
            line.known_as = SessionState.READ_ONLY
            self._emit(SessionChanged(line.guest, SessionState.READ_ONLY, "session.read_only"))
            if line.lane.urgent:
                # A message is in check: the history first. The next conversation would take it out of reach.
                self._emit(LaneReady(line.guest, line.replaced))
                line.replaced = False
            else:
                line.session.start_new(now)
            return
        # Only now: a gateway that opens sockets and refuses sessions is met with growing pauses too.
        line.failures = 0
        line.known_as = SessionState.LIVE
        detail = {"new_session": event.new_session}
        self._emit(SessionChanged(line.guest, SessionState.LIVE, "session.configured", event.expires_at, detail=detail))
        if event.new_session:
            self._spawn(self._greet(line))
        else:
            self._become_ready(line)

    async def _greet(self, line: Line) -> None:
        """On a new session of a deployment with autoStart, Join comes before the first message."""
        auto_start = await self._reads.auto_start()
        if line.session.state is not ConnectionState.CONFIGURED or line.ready:
            return  # lost or replaced in the meantime; the next Configured decides anew
        if line.session.unanswered:
            self._agenda.at(self.clock.now() + 0.1, lambda: self._spawn(self._greet(line)))
        elif auto_start:
            line.session.join(self.clock.now())
            self.drain(line)
        else:
            self._become_ready(line)

    def _become_ready(self, line: Line) -> None:
        if line.session.state is ConnectionState.CONFIGURED:
            line.ready = True
            replaced, line.replaced = line.replaced, False
            self._emit(LaneReady(line.guest, replaced))

    def _configure_refused(self, line: Line, event: ConfigureRefused) -> None:
        reason = getattr(event.outcome, "reason", "refused")
        self._emit(Noted("session.refused", line.guest, {"code": event.code, "reason": reason}))
        if event.code == 4017:
            self._replace_token(line, "4017")
        line.hang_up(f"configure refused: {reason}")

    def _released(self, line: Line, cause: str) -> None:
        """The gateway let go of this connection. Coming back at once would evict somebody else, for ever."""
        line.ready = False
        line.wanted = False
        if cause in ("logged_out", "signed_in"):
            self._replace_token(line, cause)
        elif cause == "evicted":
            line.known_as = SessionState.EVICTED
            self._emit(SessionChanged(line.guest, SessionState.EVICTED, "session.evicted"))
        else:
            self._emit(SessionChanged(line.guest, SessionState.LIVE, "session.cleared"))
        wait_s = self._timing.evicted_retry_s * (1.0 + 0.2 * self._draw()) if cause == "evicted" else 0.0
        self._emit(LaneHeld(line.guest, self.clock.now() + wait_s, f"the gateway closed the connection: {cause}"))
        line.hang_up(f"released: {cause}")

    def _replace_token(self, line: Line, cause: str) -> None:
        """The old session token must not be used again (logged out, or a signed-in guest's now)."""
        token = str(uuid.UUID(bytes=os.urandom(16), version=4))
        line.lane = msgspec.structs.replace(line.lane, token=token)
        line.session = self._new_session(token)
        line.known_as = SessionState.NONE
        event = SessionChanged(
            line.guest, SessionState.NONE, "session.token_replaced", token=token, detail={"cause": cause}
        )
        self._emit(event)

    # --- the history ---

    async def _read_history(self, line: Line, jwt: str) -> None:
        try:
            entities = await self._reads.history(jwt, line.anchor, line.keys("history_per_min"))
        except Unreadable as error:
            self._history_failed(line, error.reason, error.retry_s)
        except Exception as error:
            # A history that nobody foresaw must not leave the check waiting for ever.
            logger.exception("a history could not be read", extra={"action": "history_failed", "guest": line.guest})
            self._history_failed(line, type(error).__name__, 5.0)
        else:
            line.looking = False
            self._emit(HistoryRead(line.guest, entities))

    def _history_failed(self, line: Line, reason: str, retry_s: float) -> None:
        if line.looking:
            line.looking = False
            self._emit(HistoryUnreadable(line.guest, reason, retry_s))

    # --- timers ---

    def _schedule_tick(self, line: Line) -> None:
        at = line.session.next_tick_at()
        if at < line.tick_at:
            line.tick_at = at
            self._agenda.at(at, lambda: self._tick(line))

    def _tick(self, line: Line) -> None:
        line.tick_at = float("inf")
        if line.ws is not None:
            line.session.tick(self.clock.now())
            self.drain(line)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that is rare: a greeting, a history read. Never per message."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
