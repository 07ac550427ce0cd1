"""
One guest's WebSocket: bytes in, frames out.

picows calls us synchronously for every frame and leaves to us what it says it leaves: fragments are put together up
to 1 MiB, UTF-8 is checked, a CLOSE is answered, nothing is raised into it, and reading pauses while the peer does not
read what we write. What the bytes mean is decided in `GuestSession`; what follows from it, by the line's owner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from guestwire.clock import Clock
from guestwire.model import Errand, Outcome
from guestwire.policy.pace import Key, Slot
from guestwire.protocol.codes import closing
from guestwire.protocol.events import Media
from guestwire.protocol.guest import GuestSession
from guestwire.transports.agenda import Alarm
from guestwire.transports.base import LaneInfo

if TYPE_CHECKING:
    from guestwire.transports.uploads import ActiveUpload

logger = logging.getLogger("guestwire.transports.line")

#: Of a session that has not said what it takes.
NO_MEDIA = Media()
#: Longest text message that is put together of fragments, in bytes.
MAX_FRAME_BYTES = 1024 * 1024


class Owner(Protocol):
    """Who a line reports to."""

    clock: Clock

    def drain(self, line: Line) -> None:
        """The session has something to write or to tell."""

    def line_lost(self, line: Line, reason: str) -> None:
        """The socket is gone."""

    def note_broken(self, line: Line, what: str) -> None:
        """The peer broke the WebSocket protocol, which is why the socket is gone."""


class Line(WSListener):
    """One guest's way to the gateway. Everything here runs on the event loop."""

    # Thousands of these are idle at once; with a dictionary each would be 1.4 KB larger.
    __slots__ = (
        "_fragments",
        "alarm",
        "anchor",
        "asked",
        "auth",
        "behind",
        "behind_until",
        "closed_by_us",
        "complete_until",
        "connecting",
        "duration_s",
        "errand",
        "expires_at",
        "failures",
        "followed",
        "guest",
        "heard_at",
        "is_attached",
        "joined",
        "joined_with",
        "known_as",
        "lane",
        "lingering",
        "media",
        "new_after_reading",
        "oddities",
        "owner",
        "read_failures",
        "read_number",
        "reading",
        "ready",
        "refreshes",
        "replaced",
        "session",
        "slots",
        "spoke_at",
        "upload",
        "visiting",
        "wanted",
        "was_asking",
        "watch_at",
        "ws",
    )

    def __init__(self, owner: Owner, lane: LaneInfo, session: GuestSession) -> None:
        self.owner = owner
        self.lane = lane
        self.guest = lane.guest_ref
        self.session = session
        #: What the gateway last told, now or in an earlier process.
        self.known_as = lane.session_state
        self.ws: WSTransport | None = None
        self.connecting = False
        #: It will be connected, now or after a pause.
        self.asked = False
        #: By the relay, for a message or an errand.
        self.wanted = False
        #: For ever.
        self.followed = False
        #: For one look at what was said meanwhile.
        self.visiting = False
        #: Something may have been said to the guest that is not known here: so many reads of the history to go.
        self.behind = 0
        #: Replies that were here then were all there were: what came since proves nothing about a gap.
        self.complete_until = float("-inf") if lane.seen_at is None else lane.seen_at
        #: What the key to the history is wanted for: a check's look, or to catch up.
        self.reading: Literal["", "look", "catch_up"] = ""
        #: Counts reads, so that one that comes too late is known as such.
        self.read_number = 0
        #: In a row.
        self.read_failures = 0
        #: Things outside the protocol that this peer has done.
        self.oddities = 0
        #: Configured since the socket opened: whatever is said comes live.
        self.is_attached = False
        #: When it was last looked at, something that is no message was unanswered.
        self.was_asking = False
        #: Of the last time that the session was configured.
        self.media = NO_MEDIA
        #: What became of the Join on this connection; None: there was none.
        self.joined: Outcome | None = None
        self.joined_with: dict[str, str] | None = None
        self.auth = lane.auth
        #: Tokens renewed in vain, in a row.
        self.refreshes = 0
        self.upload: ActiveUpload | None = None
        self.errand: Errand | None = None
        #: When the session ends unless something is said, and how long it lives from each message on.
        self.expires_at: float | None = None
        #: When that is looked at next.
        self.watch_at = 0.0
        self.duration_s = 0.0
        self.spoke_at = 0.0
        #: What was missed is not read before this.
        self.behind_until = 0.0
        #: The conversation was ended; the next begins when what was said in it has been read.
        self.new_after_reading = False
        #: Not wanted for now, and a timer will look whether it may be closed.
        self.lingering = False
        self.ready = False
        self.replaced = False
        self.failures = 0
        self.closed_by_us = ""
        #: What this guest's unanswered requests hold in the windows.
        self.slots: list[Slot] = []
        self.anchor: str | None = None
        #: Looks at the session in time.
        self.alarm: Alarm | None = None
        self.heard_at = 0.0
        self._fragments: bytearray | None = None

    # --- what picows calls; nothing may be raised into it ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade was granted."""
        self.ws = transport
        self._guarded(self.session.connection_opened)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame came."""
        if self.closed_by_us:
            return  # the rest of what was on its way when we, or the gateway, closed
        kind = frame.msg_type
        if kind is WSMsgType.TEXT and frame.fin and self._fragments is None:
            self._text(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._fragment(frame.get_payload_as_bytes(), first=kind is WSMsgType.TEXT, last=frame.fin)
        elif kind is WSMsgType.PONG or kind is WSMsgType.PING:
            # picows answers pings by itself; either is a sign of life.
            self._guarded(self.session.pong_received)
        elif kind is WSMsgType.CLOSE:
            # RFC 6455, 5.5.1: the code is the first two bytes, if there are any; it may be none that we know.
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big") or 1005
            self.closed_by_us = self.closed_by_us or f"closed by the gateway ({closing(code)})"
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        else:
            self.hang_up("a binary frame", WSCloseCode.UNSUPPORTED_DATA)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone, by whatever way."""
        # Where the peer broke the protocol, picows keeps the error for whoever waits; asyncio logs one nobody took.
        waiting = asyncio.ensure_future(transport.wait_disconnected())
        waiting.add_done_callback(lambda done: None if done.cancelled() else self._broken(done.exception()))
        reason = self.closed_by_us or "the socket closed (1006)"
        self.ws = None
        self.closed_by_us = ""
        self._fragments = None
        self._guarded(lambda now: self.session.connection_lost(now, reason))
        self.owner.line_lost(self, reason)

    def _broken(self, error: BaseException | None) -> None:
        if error is not None:
            self.owner.note_broken(self, f"{type(error).__name__}: {error}"[:200])

    def pause_writing(self) -> None:
        """The peer does not read; so we do not read either, and our own buffers stay bounded."""
        if self.ws is not None:
            self.ws.underlying_transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self.ws is not None:
            self.ws.underlying_transport.resume_reading()

    # --- frames ---

    def _text(self, data: bytes) -> None:
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                # RFC 6455, 8.1: text that is not UTF-8 fails the connection.
                self.hang_up("a text frame that is not UTF-8", WSCloseCode.INVALID_TEXT)
                return
        self._guarded(lambda now: self.session.receive_frame(data, now))

    def _fragment(self, data: bytes, *, first: bool, last: bool) -> None:
        if first == (self._fragments is not None):
            self.hang_up("fragments out of order", WSCloseCode.PROTOCOL_ERROR)
            return
        whole = self._fragments = bytearray() if self._fragments is None else self._fragments
        whole += data
        if len(whole) > MAX_FRAME_BYTES:
            self.hang_up("a message of more than 1 MiB", WSCloseCode.MESSAGE_TOO_BIG)
        elif last:
            self._fragments = None
            self._text(bytes(whole))

    def _guarded(self, step: Callable[[float], None]) -> None:
        """Do something to the session, then write and tell what came of it."""
        try:
            step(self.owner.clock.now())
            self.owner.drain(self)
        except Exception:
            # A bug of ours must not run through picows, which would drop the reason with the socket.
            logger.exception("a frame could not be handled", extra={"action": "line_failed", "guest_ref": self.guest})
            self.hang_up("an error of our own", WSCloseCode.INTERNAL_ERROR)

    def hang_up(self, reason: str, code: WSCloseCode = WSCloseCode.OK) -> None:
        """Close the socket from our side; `on_ws_disconnected` does the rest."""
        self.closed_by_us = self.closed_by_us or reason
        if self.ws is not None:
            self.ws.send_close(code)
            self.ws.disconnect()

    def drop(self, reason: str) -> None:
        """Let the socket go without a word: the peer is not there to hear it."""
        self.closed_by_us = self.closed_by_us or reason
        if self.ws is not None:
            self.ws.disconnect(graceful=False)

    @property
    def needed(self) -> bool:
        """Whether anybody wants this guest connected, or something is under way for him."""
        return self.wanted or self.followed or self.visiting or self.upload is not None or self.errand is not None

    # --- what this guest's uses count against ---

    def keys(self, *names: str) -> tuple[Key, ...]:
        """Windows of this guest."""
        return tuple((name, self.guest) for name in names)

    def answer_slots(self, now: float) -> None:
        """Windows slide from the answers on; until all is answered, all of the guest's uses count as in flight."""
        if not self.session.is_busy:
            for slot in self.slots:
                slot.answered(now)
            self.slots.clear()
