"""
The Guest API over WebSocket, as a way out: the shape of a transport over `Sessions`.
"""

from __future__ import annotations

import asyncio

from picows import WSCloseCode

from guestwire.model import CaughtUp, Errand, Failed, GuestRef, Refused, Throttled
from guestwire.policy.pace import Slot
from guestwire.policy.rules import check_attributes
from guestwire.protocol.reading import DeploymentConfig
from guestwire.protocol.states import ConnectionState
from guestwire.protocol.writing import message_of
from guestwire.transports.base import (
    Attempt,
    Attempted,
    ErrandEnded,
    HistoryUnreadable,
    LaneInfo,
    Noted,
    Upload,
    Uploaded,
)
from guestwire.transports.histories import CATCH_UP_READS
from guestwire.transports.line import Line
from guestwire.transports.sessions import Sessions

#: Errands after which what was said before cannot be read any more.
ENDS_SESSION = frozenset({"close", "clear", "start_new"})
#: For so long it is tried to read it first, in seconds.
READ_FIRST_S = 10.0
#: An errand that has not ended by itself ends after this, in seconds; the relay tries again.
ERRAND_S = 60.0
#: A sign of typing that waited longer for the disk, in seconds, says nothing any more.
STALE_TYPING_S = 1.0
#: How long a peer may take to let a socket go that we close, in seconds.
CLOSE_PATIENCE_S = 1.0


class WebMessagingTransport(Sessions):
    """
    The Guest API of one deployment.

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

    def __repr__(self) -> str:
        return f"<WebMessagingTransport {self._destination.name}, {len(self._lines)} lines>"

    # --- the shape of a transport ---

    async def open(self) -> None:
        """Start the timers. Connects nothing yet."""
        self._timer = asyncio.create_task(self._agenda.run())

    def want(self, lane: LaneInfo) -> None:
        """Connect and configure a guest, or start his next conversation where the last one was ended."""
        line = self._line_for(lane)
        line.wanted = True
        if line.ws is None:
            self._come(line)
            return
        if line.session.state is ConnectionState.READ_ONLY and not line.session.is_busy and not lane.urgent:
            if not line.reading:
                line.session.start_new(self.clock.now())
                self.drain(line)
        elif line.session.state is ConnectionState.EXPIRED:
            line.session.configure_again(self.clock.now())
            self.drain(line)

    def visit(self, lane: LaneInfo) -> None:
        """Fetch what was said to a guest whose connection was let go."""
        line = self._lines.get(lane.guest_ref) or self._line_for(lane)
        line.visiting, line.behind = True, CATCH_UP_READS
        self._come(line)
        self.drain(line)

    def leave(self, guest: GuestRef) -> None:
        """Keep the guest's connection for `linger_s` after its last frame, for replies; then let it go."""
        line = self._lines.get(guest)
        if line is None:
            return
        line.wanted = False
        self._linger(line, self.clock.now() + self._timing.linger_s)
        if line.behind:
            self.drain(line)

    def send(self, attempt: Attempt) -> None:
        """Write one message. Its echo, its error, a lost socket or the time-out answer it."""
        line = self._lines.get(attempt.guest_ref)
        if line is None or not self.is_ready(attempt.guest_ref):
            # The socket was lost, or a key asked for, while the attempt was being written ahead: nothing has left, so
            # it costs no attempt, and says nothing of the destination.
            outcome = Throttled("session", 0.0, "the session was not free any more")
            self._emit(Attempted(attempt.guest_ref, attempt.part_id, outcome))
            return
        most = line.media.max_attributes_bytes
        if most is not None and attempt.body.attributes:
            for finding in check_attributes(attempt.body.attributes, most):
                # The session takes less than the settings say. Nothing leaves that it would refuse.
                self._emit(Attempted(attempt.guest_ref, attempt.part_id, Refused(4013, f"4013: {finding.text}")))
                return
        now = self.clock.now()
        line.slots.append(self._pace.take(line.keys("messages_per_s"), now))
        message = message_of(attempt.part_id, attempt.body, attempt=attempt.number, upload_id=attempt.upload_id)
        line.session.send_message(attempt.part_id, message, now)
        self.drain(line)

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Ask for the key to the history; the pages follow when it comes."""
        line = self._lines.get(guest)
        if line is None or not self.can_look(guest):
            self._emit(HistoryUnreadable(guest, "the session is not configured", 1.0))
        else:
            self._histories.look(line, anchor)

    def upload(self, upload: Upload) -> None:
        """Bring a part's file to the platform. Asking for the same part twice is once."""
        line = self._lines.get(upload.guest_ref)
        if line is not None and line.upload is not None and line.upload.upload.part_id == upload.part_id:
            return
        if line is None or not self.is_ready(upload.guest_ref):
            outcome = Failed("the connection was lost before the file was asked for")
            self._emit(Uploaded(upload.guest_ref, upload.part_id, "", outcome))
            return
        self._spawn(self._begin_upload(line, upload))

    async def _begin_upload(self, line: Line, upload: Upload) -> None:
        config = await self._reads.config()
        if self.is_ready(line.guest):
            self._uploads.begin(line, upload, config)
            self.drain(line)
        else:
            self._emit(Uploaded(line.guest, upload.part_id, "", Failed("the connection was lost before the upload")))

    def discard(self, guest: GuestRef, upload_id: str) -> None:
        """Take a file back that no message will carry, if the session is free for it and the limits admit it."""
        line, now = self._lines.get(guest), self.clock.now()
        if line is None or not self.can_look(guest) or self._pace.admits(line.keys("requests_per_min"), now):
            return
        line.session.delete_upload(upload_id, now)
        self._emit(Noted("upload.discarded", guest, {"upload": upload_id}))
        self.drain(line)

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """Do an errand. A sign-in begins without a connection: its first one may be made by a person who is known."""
        self._spawn(self._begin_errand(self._line_for(lane), errand))

    async def _begin_errand(self, line: Line, errand: Errand) -> None:
        config = await self._reads.config() if errand.kind == "clear" else DeploymentConfig()
        if errand.kind in ENDS_SESSION:
            await self._read_before_it_is_gone(line)
        if errand.kind == "clear":
            await self._spend("message", line.guest)  # it goes like one
        if errand.kind != "sign_in" and not self.can_look(line.guest):
            self._emit(ErrandEnded(line.guest, errand.seq, Failed("the connection was lost before the errand")))
            return
        if errand.kind == "clear":
            line.slots.append(self._pace.take(line.keys("messages_per_s"), self.clock.now()))
        self._errands.carry_out(line, errand, may_clear=config.clear)
        self._agenda.at(self.clock.now() + ERRAND_S, lambda: self._too_late(line, errand))
        self.drain(line)

    async def _read_before_it_is_gone(self, line: Line) -> None:
        """What was said meanwhile is out of reach once the session is replaced: it is read first, if it can be."""
        until = self.clock.now() + READ_FIRST_S
        while line.behind and line.ws is not None and self.clock.now() < until and not line.read_failures:
            self._histories.catch_up(line, at_once=True)
            await self.clock.wait(asyncio.Event(), self.clock.now() + 0.05)
        if line.behind == CATCH_UP_READS:
            self._emit(Noted("replies.gap", line.guest, {"read": 0}))

    def _too_late(self, line: Line, errand: Errand) -> None:
        if line.errand is errand:
            self._errands.end(line, errand, Failed(f"not done within {ERRAND_S:.0f} s"))
            self._free_again(line)

    def type(self, guest: GuestRef) -> bool:
        """Tell that the guest is typing: once in `typing_every_s` at most, and the first thing to be left out."""
        line, config, now = self._lines.get(guest), self._reads.known_config, self.clock.now()
        if config is None:
            self._spawn(self._read_config())
            return False
        if line is None or not config.typing or not self._may_type(line, now):
            return False
        if not self._pace.room(line.keys("typing"), now):
            return False
        self._spawn(self._type(line, self._pace.take(line.keys("typing"), now)))
        return True

    def _may_type(self, line: Line, now: float) -> bool:
        """Say whether there is a place: a message that comes in the next moment needs its own more than this does."""
        if not self.is_ready(line.guest):
            return False
        return self._pace.admits((*line.keys("requests_per_min"), *line.keys("messages_per_s")), now) is None

    async def _type(self, line: Line, slot: Slot) -> None:
        asked_at = self.clock.now()
        try:
            await self._spend("typing", line.guest)
            now = self.clock.now()
            if now - asked_at < STALE_TYPING_S and self._may_type(line, now):
                line.slots.append(self._pace.take(line.keys("messages_per_s"), now))
                line.session.type(now)
                self.drain(line)
        finally:
            slot.answered(self.clock.now())

    async def _read_config(self) -> None:
        await self._reads.config()

    def figures(self) -> dict[str, float]:
        """Counters since the start, and how many guests are connected."""
        connected = sum(line.ws is not None for line in self._lines.values())
        return {
            "connects": float(self._connector.connects),
            "connects_waiting": float(self._connector.waiting),
            "reconnects": float(self._reconnects),
            "history_reads": float(self._reads.history_reads),
            "frames_unexpected": float(self._unexpected),
            "sessions": float(connected),
            "followed": float(sum(line.followed for line in self._lines.values())),
        }

    async def close(self) -> None:
        """Close every socket; what is unanswered ends `Unknown`."""
        self._closing = True
        handshakes = self._connector.close()
        for line in list(self._lines.values()):
            if line.ready and not line.behind:
                self._emit(CaughtUp(line.guest))
            line.wanted = line.followed = line.visiting = False
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
        await self._uploads.close()
        await self._http.close()
