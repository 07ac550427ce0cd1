"""
The sessions of one deployment's guests: connected, configured, greeted, caught up, watched, let go.

Per guest a `Line`: the sans-I/O `GuestSession`, the WebSocket it speaks through, and why it is or is not ready. The
protocol decides in `GuestSession`, policy in `guestwire.policy`; here is what follows from what a session says. Files,
errands and histories have modules of their own beside this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import msgspec
from picows import WSMsgType

from guestwire.clock import Clock
from guestwire.model import Accepted, CaughtUp, Failed, GuestRef, Outcome, PartId, SessionChanged, SessionState
from guestwire.net import Http, guard_of, tls_of
from guestwire.policy.pace import Pace
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
from guestwire.protocol.guest import Control, GuestSession, Timing
from guestwire.protocol.reading import reply_of, typing_s
from guestwire.protocol.states import ConnectionState
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.agenda import Agenda, Alarm
from guestwire.transports.base import (
    Attempted,
    Emit,
    HeardReply,
    HeardTyping,
    LaneHeld,
    LaneInfo,
    LaneReady,
    Noted,
    Spend,
    spend_nothing,
)
from guestwire.transports.connector import Connector, Way
from guestwire.transports.errands import CONFIGURABLE, DONE, Errands
from guestwire.transports.histories import CATCH_UP_READS, Histories, Owner
from guestwire.transports.line import Line
from guestwire.transports.reads import Heard as IsHeard
from guestwire.transports.reads import Reads
from guestwire.transports.uploads import Uploads

logger = logging.getLogger("guestwire.transports.sessions")

#: So many oddities of a connection are each told.
TOLD_ODDITIES = 16
#: When a session expires is looked at as often as this, in seconds.
WATCH_EVERY_S = 600.0
#: The vendor's client renews a JWT this often before it gives up.
MAX_REFRESHES = 3


class Sessions:
    """
    The lines of one deployment.

    Args:
        destination: Where and how.
        timing: The relay's patience.
        pace: The windows of the destination; shared with the relay, which asks it before it begins a message.
        clock: The time.
        emit: Takes what is learned.
        draw: Random numbers from [0, 1), for jitter.
        heard: Which replies are known already; default: none.
        spend: Writes down what leaves beside messages, for the relay after this one; default: nothing.
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
        heard: IsHeard | None = None,
        spend: Spend = spend_nothing,
    ) -> None:
        self.clock = clock
        self._destination = destination
        self._timing = timing
        self._pace = pace
        self._emit = emit
        self._draw = draw
        self._spend = spend
        self._lines: dict[GuestRef, Line] = {}
        self._media: dict[Media, Media] = {}
        self._followed: set[GuestRef] = set()
        secure = destination.websocket_url.startswith("wss:")
        tls = tls_of(destination) if secure else None
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
            spend=spend,
        )
        self._reads = Reads(
            way,
            pace=pace,
            clock=clock,
            timeout_s=timing.connect_timeout_s,
            tell=lambda reason: emit(Noted("config.unreadable", None, {"reason": reason})),
            spend=spend,
        )
        # Where files go is the far side's word, so a guard looks at it.
        guarded = Http(tls=tls, proxy=way.proxy, timeout_s=timing.upload_s, guard=guard_of(destination))
        self._uploads = Uploads(
            guarded, clock=clock, agenda=self._agenda, emit=emit, spawn=self._spawn, patience_s=timing.upload_s
        )
        self._http = Http(tls=tls, proxy=way.proxy, timeout_s=timing.connect_timeout_s)
        self._errands = Errands(
            destination,
            self._http,
            clock=clock,
            emit=emit,
            spawn=self._spawn,
            go_on=self._go_on_with,
            forget=self._forget_sign_in,
        )
        self._histories = Histories(
            self._reads,
            pace=pace,
            clock=clock,
            agenda=self._agenda,
            emit=emit,
            heard=heard or _knows_nothing,
            settle_s=timing.settle_s,
            owner=Owner(lambda line: self.can_look(line.guest), self.drain, self._spawn, self._caught_up),
        )
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._reconnects = 0
        self._unexpected = 0

    # --- readiness ---

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether the guest's session is configured and nothing of it is on its way."""
        line = self._lines.get(guest)
        return line is not None and line.ready and line.ws is not None and line.session.may_send_message

    def can_look(self, guest: GuestRef) -> bool:
        """Whether the guest's history may be asked for: a read-only session still gives it, a new one never will."""
        line = self._lines.get(guest)
        if line is None or line.ws is None or line.session.is_busy or line.reading:
            return False
        # Not before a new session was greeted: Join has to find it with nothing else on its way.
        return line.ready or line.session.state is ConnectionState.READ_ONLY

    # --- connecting ---

    def _line_for(self, lane: LaneInfo) -> Line:
        line = self._lines.get(lane.guest_ref)
        if line is None:
            session = self._new_session(lane.token, None if lane.auth is None else lane.auth.jwt)
            line = self._lines[lane.guest_ref] = Line(self, lane, session)
            line.followed = lane.guest_ref in self._followed
        line.lane = lane
        return line

    def _come(self, line: Line) -> None:
        """Connect a line that is not about to be."""
        if line.ws is None and not line.connecting and not line.asked:
            self._connector.ask(line)

    def follow(self, lane: LaneInfo) -> None:
        """Keep the guest's session open, whatever happens, until `unfollow`."""
        line = self._lines.get(lane.guest_ref) or self._line_for(lane)
        self._followed.add(lane.guest_ref)
        line.followed = True
        self._come(line)

    def unfollow(self, guest: GuestRef) -> None:
        """The guest's session may close when nobody wants it."""
        self._followed.discard(guest)
        line = self._lines.get(guest)
        if line is not None and line.followed:
            line.followed = False
            self._linger(line, self.clock.now() + self._timing.linger_s)

    def _go_on_with(self, line: Line) -> None:
        """A call over HTTP has changed what a line wants."""
        line.wanted = True
        self._come(line)
        self.drain(line)

    def _forget_sign_in(self, line: Line) -> None:
        """The guest has signed out. Where the platform has said so on the socket, there is nothing left to forget."""
        if line.auth is not None:
            self._replace_token(line, "signed_out")
            line.wanted = False
            line.hang_up("the guest has signed out")

    def _new_session(self, token: str, jwt: str | None) -> GuestSession:
        """Make the protocol half of a line."""
        timing = self._timing
        return GuestSession(
            deployment_id=self._destination.deployment_id,
            token=token,
            new_id=lambda: str(uuid.UUID(bytes=os.urandom(16), version=4)),
            timing=Timing(ping_after_s=timing.ping_after_s, dead_after_s=timing.dead_after_s, answer_s=timing.answer_s),
            jwt=jwt,
        )

    def line_lost(self, line: Line, reason: str) -> None:
        """A socket is gone. Whoever is wanted connects again, after a jittered while."""
        line.ready = line.is_attached = line.was_asking = False
        line.joined = None
        line.new_after_reading = False
        line.answer_slots(self.clock.now())
        self._histories.failed(line, reason, 0.5)
        self._errands.lost(line, f"connection lost: {reason}")
        if not line.behind:
            line.complete_until = self.clock.now()
        if self._closing or self._lines.get(line.guest) is not line:
            return
        self._emit(Noted("session.lost", line.guest, {"reason": reason}))
        if line.needed:
            self._reconnects += 1
            self._connector.ask_later(line, reason)
        else:
            del self._lines[line.guest]

    def note_broken(self, line: Line, what: str) -> None:
        """The peer broke the WebSocket protocol: told in the journal, and met like any lost socket."""
        self._odd(line, what)

    def _odd(self, line: Line, what: str) -> None:
        """Told in the journal; of a peer who goes on and on, the 2nd, 4th, 8th time is enough."""
        self._unexpected += 1
        line.oddities += 1
        if line.oddities <= TOLD_ODDITIES or not line.oddities & (line.oddities - 1):
            self._emit(Noted("wire.unexpected", line.guest, {"what": what, "times": line.oddities}))

    def _linger(self, line: Line, until: float) -> None:
        """Look at the line again at `until`; one timer a line, however often it is left."""
        if not line.lingering:
            line.lingering = True
            self._agenda.at(until, lambda: self._maybe_let_go(line))

    def _maybe_let_go(self, line: Line) -> None:
        line.lingering = False
        if line.needed or self._lines.get(line.guest) is not line:
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
        idle = [line for line in self._lines.values() if not line.needed and line.ws is not None]
        if not idle:
            return False
        self._let_go(min(idle, key=lambda line: line.heard_at))
        return True

    def _let_go(self, line: Line) -> None:
        del self._lines[line.guest]
        if line.ready and not line.behind:
            self._emit(CaughtUp(line.guest))
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
        if line.behind:
            self._histories.catch_up(line)
        was_asking, line.was_asking = line.was_asking, line.session.is_asking
        if was_asking and not line.was_asking:
            self._free_again(line)
        self._schedule_tick(line)

    def _handle(self, line: Line, event: SessionEvent) -> None:
        match event:
            case Answered(part_id, outcome):
                self._answered(line, part_id, outcome)
            case Heard(message):
                line.spoke_at = self.clock.now()
                if (reply := reply_of(message)) is not None:
                    self._emit(HeardReply(line.guest, reply))
                elif (seconds := typing_s(message)) is not None:
                    self._emit(HeardTyping(line.guest, seconds))
            case Configured():
                self._configured(line, event)
            case ConfigureRefused():
                self._configure_refused(line, event)
            case Joined(outcome):
                self._joined(line, outcome)
            case JwtGranted(jwt):
                self._histories.granted(line, jwt)
            case JwtRefused(outcome):
                self._histories.failed(line, str(getattr(outcome, "reason", "refused")), 1.0)
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
                self._odd(line, what)
            case HealthChecked(expires_at):
                self._watch_expiry(line, expires_at)
            case Cleared(outcome):
                self._errands.ended(line, "clear", outcome)
            case Typed(outcome):
                if not isinstance(outcome, Accepted):
                    self._emit(Noted("typing.refused", line.guest, {"reason": outcome.reason}))
            case UploadGranted() | DownloadGranted() | FileDone():
                self._file(line, event)
            case SessionEnded(None):
                self._session_ended(line)
            case SessionEnded(not_ended):
                self._errands.ended(line, "close", not_ended or DONE)
            case Other():
                pass
        line.answer_slots(self.clock.now())

    def _file(self, line: Line, event: UploadGranted | DownloadGranted | FileDone) -> None:
        match event:
            case UploadGranted():
                self._uploads.granted(line, event)
            case DownloadGranted(file_id, url):
                if not self._uploads.found(line, event):
                    self._errands.fetched(line, file_id, DONE, {"url": url})
            case FileDone(file_id, outcome):
                if not self._uploads.done(line, event) and outcome is not None:
                    self._errands.fetched(line, file_id, outcome)

    def _answered(self, line: Line, part_id: PartId, outcome: Outcome) -> None:
        line.spoke_at = self.clock.now()
        self._emit(Attempted(line.guest, part_id, outcome))
        code = outcome.code if isinstance(outcome, Failed) else None
        if code == 409 and line.session.state is ConnectionState.CONFIGURED:
            # The session is read-only, and nobody had told us: begin the next conversation.
            line.ready = False
            line.session.start_new(self.clock.now())
        elif code in (401, 403):
            self._unauthorized(line, code)

    def _free_again(self, line: Line) -> None:
        """Whoever came while something else was asked found the session busy."""
        if line.ready:
            self._emit(LaneReady(line.guest, replaced=False))

    def _session_ended(self, line: Line) -> None:
        """Our `closeSession` was answered; where it leads to the next conversation, the protocol goes on by itself."""
        if line.session.state is not ConnectionState.ENDED:
            return
        line.ready = False
        line.known_as = SessionState.NONE
        self._emit(SessionChanged(line.guest, SessionState.NONE, "session.closed"))
        self._errands.ended(line, "close", DONE)
        line.wanted = line.followed = line.visiting = False
        line.hang_up("the session was closed")

    def _joined(self, line: Line, outcome: Outcome) -> None:
        line.joined = outcome
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
        self._errands.ended(line, "close", DONE)
        if line.needed:
            line.session.configure_again(self.clock.now())

    def _configured(self, line: Line, event: Configured) -> None:
        now = self.clock.now()
        line.refreshes = 0
        line.media = self._media.setdefault(event.media, event.media)
        # A session that is known may have been spoken to while nobody listened; a new one has nothing to tell.
        is_known = line.known_as is not SessionState.NONE or line.behind > 0
        if event.new_session or not is_known:
            line.behind = 0
        elif not line.is_attached:
            line.behind, line.behind_until = CATCH_UP_READS, 0.0
        line.is_attached = True
        if event.new_session and line.known_as is not SessionState.NONE:
            line.replaced = True
        if event.read_only:
            line.known_as = SessionState.READ_ONLY
            self._emit(SessionChanged(line.guest, SessionState.READ_ONLY, "session.read_only"))
            self._errands.ended(line, "start_new", Failed("the session is read-only as before"))
            if event.signed_in:
                self._errands.ended(line, "sign_in", DONE)
            if line.lane.urgent:
                # A message is in check: the history first. The next conversation would take it out of reach.
                self._emit(LaneReady(line.guest, line.replaced))
                line.replaced = False
            elif line.wanted and not line.behind:
                line.session.start_new(now)
            elif line.wanted:
                line.new_after_reading = True
            return
        # Only now: a gateway that opens sockets and refuses sessions is met with growing pauses too.
        line.failures = 0
        line.known_as = SessionState.LIVE
        detail = {"new_session": event.new_session}
        self._emit(SessionChanged(line.guest, SessionState.LIVE, "session.configured", event.expires_at, detail=detail))
        line.duration_s = event.duration_s or 0.0
        self._watch_expiry(line, event.expires_at)
        if event.cleared_others:
            self._emit(Noted("session.others_cleared", line.guest, {}))
        self._uploads.reconnected(line, same_session=not event.new_session)
        self._errands.ended(line, "start_new", DONE)
        if event.signed_in:
            self._errands.ended(line, "sign_in", DONE)
        elif line.auth is not None:
            # The tokens came while an anonymous configure was on its way.
            line.session.sign_in(line.auth.jwt, now)
            return
        if event.new_session:
            # Nothing was said in it yet.
            line.visiting = False
            line.complete_until = now
            self._emit(CaughtUp(line.guest))
            self._spawn(self._greet(line))
        else:
            self._become_ready(line)
        if not line.needed:
            self._linger(line, now + self._timing.linger_s)

    def _watch_expiry(self, line: Line, expires_at: float | None) -> None:
        """Warn in time. One timer a line: what is said meanwhile moves the moment on, which the timer finds out."""
        if expires_at is None:
            return
        is_watched, line.expires_at = line.expires_at is not None, expires_at
        if not is_watched:
            self._look_at_expiry(line)

    def _look_at_expiry(self, line: Line) -> None:
        if line.ws is None or line.expires_at is None:
            line.expires_at = None
            return
        now = self.clock.now()
        expires_at = max(line.expires_at, line.spoke_at + line.duration_s)
        warn_at = expires_at - self._timing.expiry_warning_s
        if warn_at <= now:
            line.expires_at = None
            self._emit(Noted("session.expiring", line.guest, {"expires_at": expires_at}))
            return
        if line.ready and not line.behind:
            # Also for whoever comes after a crash of ours: so far the history need not be read again.
            line.complete_until = now
            self._emit(CaughtUp(line.guest))
        # In short steps and by name: a timer of three days must not keep a line that was let go.
        at = line.watch_at = min(warn_at, now + WATCH_EVERY_S)
        self._agenda.at(at, partial(self._watched, line.guest, at))

    def _watched(self, guest: GuestRef, at: float) -> None:
        line = self._lines.get(guest)
        if line is not None and line.watch_at == at:
            self._look_at_expiry(line)

    async def _greet(self, line: Line) -> None:
        """On a new session of a deployment with autoStart, Join comes before the first message."""
        config = await self._reads.config()
        if not config.is_active:
            self._emit(Noted("deployment.inactive", None, {}))
        if config.auto_start:
            await self._spend("message", line.guest)  # Join goes like one
        self._greet_when_free(line, config.auto_start)

    def _greet_when_free(self, line: Line, auto_start: bool) -> None:
        if line.session.state is not ConnectionState.CONFIGURED or line.ready:
            return  # lost or replaced in the meantime; the next Configured decides anew
        now = self.clock.now()
        if line.session.is_busy or (auto_start and self._pace.admits(line.keys("messages_per_s"), now)):
            self._agenda.at(now + 0.1, lambda: self._greet_when_free(line, auto_start))
        elif auto_start:
            line.slots.append(self._pace.take(line.keys("messages_per_s"), now))
            line.joined_with = line.lane.join
            line.session.join(now, line.lane.join)
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
        if event.code == 401 and line.auth is not None and line.refreshes < MAX_REFRESHES:
            line.refreshes += 1
            self._spawn(self._sign_in_again(line, reason))
            return
        self._errands.ended(line, "sign_in", event.outcome)
        if event.code == 4017:
            self._replace_token(line, "4017")
        line.hang_up(f"configure refused: {reason}")

    def _unauthorized(self, line: Line, code: int) -> None:
        """A message was turned away because of who sends it: renew, begin anew, or wait for the guest to sign in."""
        if line.auth is not None and line.refreshes < MAX_REFRESHES:
            line.refreshes += 1
            line.ready = False
            self._spawn(self._sign_in_again(line, f"code {code}"))
        elif code == 401:
            line.hang_up("the session's credentials were refused")
        else:
            self._wait_for_sign_in(line, f"code {code}")

    def _wait_for_sign_in(self, line: Line, reason: str) -> None:
        """Trying again and again would use up the message's attempts: the lane waits, and a sign-in wakes it."""
        self._emit(Noted("session.sign_in_needed", line.guest, {"reason": reason}))
        until = self.clock.now() + self._timing.evicted_retry_s
        self._emit(LaneHeld(line.guest, until, "the guest has to sign in"))

    async def _sign_in_again(self, line: Line, reason: str) -> None:
        """The JWT is too old: renew it, and configure on the same socket."""
        outcome = await self._errands.refresh(line)
        if isinstance(outcome, Accepted):
            self._configure_again(line)
        elif isinstance(outcome, Failed):
            line.hang_up(f"the sign-in could not be renewed: {outcome.reason}")  # the next connection tries again
        else:
            self._errands.ended(line, "sign_in", Failed(f"401: {reason}", 401))
            self._wait_for_sign_in(line, reason)
            line.wanted = False
            line.hang_up("the guest has to sign in again")

    def _configure_again(self, line: Line) -> None:
        """As soon as nothing else is asked."""
        if line.session.is_busy:
            self._agenda.at(self.clock.now() + 0.1, lambda: self._configure_again(line))
        elif line.ws is not None and line.session.state in (ConnectionState.OPEN, *CONFIGURABLE):
            line.session.configure_again(self.clock.now())
            self.drain(line)

    def _released(self, line: Line, cause: str) -> None:
        """The gateway let go of this connection. Coming back at once would evict somebody else, for ever."""
        line.ready = False
        line.wanted = line.visiting = False
        if cause in ("logged_out", "signed_in"):
            self._errands.ended(line, "sign_out", DONE)
            self._replace_token(line, cause)
        elif cause == "evicted":
            line.known_as = SessionState.EVICTED
            self._emit(SessionChanged(line.guest, SessionState.EVICTED, "session.evicted"))
        else:
            self._emit(SessionChanged(line.guest, SessionState.LIVE, "session.cleared"))
        wait_s = self._timing.evicted_retry_s * (1.0 + 0.2 * self._draw()) if cause == "evicted" else 0.0
        self._errands.ended(line, "clear", DONE if cause == "cleared" else Failed(f"released: {cause}"))
        # Whatever is under way would bring the connection back at once.
        self._uploads.give_up(line, f"released: {cause}")
        self._errands.lost(line, f"released: {cause}")
        self._emit(LaneHeld(line.guest, self.clock.now() + wait_s, f"the gateway closed the connection: {cause}"))
        if line.followed:
            # Coming back at once would evict somebody else, for ever: the same pause as for a message.
            line.followed = False
            lane = line.lane
            self._agenda.at(self.clock.now() + max(wait_s, 1.0), lambda: self._follow_again(lane))
        line.hang_up(f"released: {cause}")

    def _follow_again(self, lane: LaneInfo) -> None:
        if not self._closing and lane.guest_ref in self._followed:
            self.follow(lane)

    def _replace_token(self, line: Line, cause: str) -> None:
        """The old session token must not be used again (logged out, or a signed-in guest's now)."""
        token = str(uuid.UUID(bytes=os.urandom(16), version=4))
        line.lane = msgspec.structs.replace(line.lane, token=token, auth=None)
        line.session = self._new_session(token, None)
        line.auth = None
        line.behind = 0
        line.known_as = SessionState.NONE
        event = SessionChanged(
            line.guest, SessionState.NONE, "session.token_replaced", token=token, detail={"cause": cause}
        )
        self._emit(event)

    def _caught_up(self, line: Line) -> None:
        """Whoever waited for the history to be read goes on."""
        if line.new_after_reading:
            line.new_after_reading = False
            if line.session.state is ConnectionState.READ_ONLY and not line.session.is_busy:
                line.session.start_new(self.clock.now())
                self.drain(line)
        elif line.ready or line.session.state is ConnectionState.READ_ONLY:
            self._emit(LaneReady(line.guest, replaced=False))
        if not line.needed:
            self._linger(line, self.clock.now() + self._timing.linger_s)

    # --- timers ---

    def _schedule_tick(self, line: Line) -> None:
        if line.alarm is None:
            line.alarm = Alarm(self._agenda, lambda: self._tick(line))
        line.alarm.set(line.session.next_tick_at())

    def _tick(self, line: Line) -> None:
        if line.ws is not None:
            line.session.tick(self.clock.now())
            self.drain(line)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that is rare: a greeting, a history read. Never per message."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _knows_nothing(_guest: GuestRef, _names: Iterable[str], _before: float) -> set[str]:
    return set()
