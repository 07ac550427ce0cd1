"""
A guest's history, read for two reasons: a check looks for a message, a line that comes back catches up with replies.

Each read needs a key, which the session asks for, and then pages over HTTP. One read of a line is under way at a time.
A check's look brings replies too, so whoever is about to be looked into does not catch up on his own. The history lags:
what is missing is looked for twice, with a pause between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from guestwire.clock import Clock
from guestwire.model import CaughtUp, GuestRef, Reply
from guestwire.policy.pace import Pace
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import Emit, HeardReply, HistoryRead, HistoryUnreadable, Noted
from guestwire.transports.line import Line
from guestwire.transports.reads import Heard, History, Reads, Unreadable

logger = logging.getLogger("guestwire.transports.histories")

#: The history is read so often after a gap.
CATCH_UP_READS = 2
#: One that could not be read for replies is tried again after this, in seconds, twice as late each time.
CATCH_UP_EVERY_S = 5.0
CATCH_UP_AT_LEAST_EVERY_S = 300.0


class Owner(NamedTuple):
    """What of a transport is needed here."""

    can_look: Callable[[Line], bool]
    drain: Callable[[Line], None]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    caught_up: Callable[[Line], None]
    """Called when a line has been read for replies, or could not be: whoever waited for that goes on."""


class Histories:
    """
    Reads the histories of one destination's guests.

    Args:
        reads: Over HTTP.
        pace: The windows of the destination.
        clock: The time.
        agenda: The transport's timer.
        emit: Takes what is learned.
        heard: Which replies are known already.
        settle_s: How far a history lags at most, in seconds.
        owner: The transport.
    """

    def __init__(
        self,
        reads: Reads,
        *,
        pace: Pace,
        clock: Clock,
        agenda: Agenda,
        emit: Emit,
        heard: Heard,
        settle_s: float,
        owner: Owner,
    ) -> None:
        self._reads = reads
        self._pace = pace
        self._clock = clock
        self._agenda = agenda
        self._emit = emit
        self._heard = heard
        self._settle_s = settle_s
        self._owner = owner

    def look(self, line: Line, anchor: str | None) -> None:
        """Read for a check, down to an anchor. `HistoryRead` or `HistoryUnreadable` follows."""
        wait_s = self._ask(line, "look")
        if wait_s is None:
            line.anchor = anchor
        else:
            self._emit(HistoryUnreadable(line.guest, "held by a limit of requests or reads", min(wait_s, 60.0)))

    def catch_up(self, line: Line, *, at_once: bool = False) -> None:
        """Read what was said while nobody listened, as soon as nothing is in the way; `at_once` whoever else may."""
        if line.ws is None or line.behind_until > self._clock.now() or not self._owner.can_look(line):
            return
        if line.wanted and line.lane.urgent and not at_once:
            return  # a check is about to read the same pages
        wait_s = self._ask(line, "catch_up")
        if wait_s is not None:
            self._catch_up_later(line, min(wait_s, 60.0))

    def _ask(self, line: Line, why: str) -> float | None:
        """Ask for a key; returns how long to wait instead, in seconds, where a limit does not admit it."""
        now = self._clock.now()
        held = self._pace.admits(line.keys("requests_per_min", "history_per_min"), now)
        if held is not None:
            return held.until - now
        line.reading = "look" if why == "look" else "catch_up"
        line.session.request_jwt(now)
        self._owner.drain(line)
        return None

    def _catch_up_later(self, line: Line, wait_s: float) -> None:
        line.behind_until = self._clock.now() + wait_s
        self._agenda.at(line.behind_until, lambda: self._owner.drain(line))

    def granted(self, line: Line, jwt: str) -> None:
        """The key has come."""
        if line.reading:
            line.read_number += 1
            self._owner.spawn(self._read(line, jwt, line.read_number))

    async def _read(self, line: Line, jwt: str, number: int) -> None:
        is_known = partial(self._were_known, line.guest, line.complete_until)
        try:
            if line.reading == "look":
                history = await self._reads.history(line.guest, jwt, line.anchor, is_known)
            else:
                history = await self._reads.missed(line.guest, jwt, is_known)
        except Unreadable as error:
            reason, retry_s = error.reason, error.retry_s
        except Exception as error:
            # A history that nobody foresaw must not leave the check waiting for ever.
            logger.exception("a history could not be read", extra={"action": "history_failed", "guest_ref": line.guest})
            reason, retry_s = type(error).__name__, 5.0
        else:
            # Oldest first, as it was said. What is known already the store knows by its name.
            for reply in reversed(history.replies):
                self._emit(HeardReply(line.guest, reply))
            if line.read_number == number:
                self._done(line, history)
            return
        if line.read_number == number:
            self.failed(line, reason, retry_s)

    async def _were_known(self, guest: GuestRef, until: float, replies: list[Reply]) -> bool:
        names = {reply.gateway_id for reply in replies}
        return bool(names) and len(await self._heard(guest, names, until)) == len(names)

    def _done(self, line: Line, history: History) -> None:
        reading, line.reading = line.reading, ""
        line.read_failures = 0
        if not history.is_complete and reading == "catch_up":
            self._emit(Noted("replies.gap", line.guest, {"read": len(history.replies)}))
        if line.behind and (history.is_complete or reading == "catch_up"):
            line.behind -= 1
            if line.behind:
                self._catch_up_later(line, self._settle_s)
            else:
                line.visiting = False
                line.complete_until = self._clock.now()
                self._emit(CaughtUp(line.guest))
        if reading == "look":
            self._emit(HistoryRead(line.guest, history.entities))
        elif reading == "catch_up":
            self._owner.caught_up(line)

    def failed(self, line: Line, reason: str, retry_s: float) -> None:
        """The read that is under way, if any, comes to nothing; `retry_s` is the least time to wait."""
        reading, line.reading = line.reading, ""
        line.read_number += 1
        if reading == "look":
            self._emit(HistoryUnreadable(line.guest, reason, retry_s))
        elif reading == "catch_up":
            if not line.read_failures:
                self._emit(Noted("replies.unreadable", line.guest, {"reason": reason}))
            line.visiting = False
            line.read_failures += 1
            wait_s = min(CATCH_UP_EVERY_S * 2 ** (line.read_failures - 1), CATCH_UP_AT_LEAST_EVERY_S)
            self._catch_up_later(line, max(retry_s, wait_s))
            self._owner.caught_up(line)
