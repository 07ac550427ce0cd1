"""The one timer of a transport: what is to be done, and when."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable

from guestwire.clock import Clock

logger = logging.getLogger("guestwire.transports.agenda")


class Agenda:
    """
    Calls functions at their time, one after the other, on the event loop.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Call `do` at `when`, in seconds since the epoch, or at once if that has passed."""
        heapq.heappush(self._entries, (when, next(self._order), do))
        if self._entries[0][0] >= when:
            self._wake.set()

    def __len__(self) -> int:
        """How many calls are to come."""
        return len(self._entries)

    def call_due(self) -> None:
        """Call what is due by now."""
        now = self._clock.now()
        while self._entries and self._entries[0][0] <= now:
            do = heapq.heappop(self._entries)[2]
            try:
                do()
            except Exception:
                logger.exception("a timer failed", extra={"action": "timer_failed"})

    async def run(self) -> None:
        """Run until cancelled. What a function raises is logged: the others have their time all the same."""
        while True:
            self.call_due()
            self._wake.clear()
            await self._clock.wait(self._wake, self._entries[0][0] if self._entries else None)


class Alarm:
    """
    Calls one function, at the earliest of the times that were asked for; whoever is called asks for the next.

    A call that stands there for later is not taken back by an earlier one: it comes, finds nothing to do and asks anew.
    So none is added behind another, and a line that is used for days has two or three in the agenda.

    Args:
        agenda: Of the transport.
        do: What is called; a call may be too early.
    """

    __slots__ = ("_agenda", "_do", "_times")

    def __init__(self, agenda: Agenda, do: Callable[[], None]) -> None:
        self._agenda = agenda
        self._do = do
        #: Of its calls, the next one last.
        self._times: list[float] = []

    def set(self, when: float) -> None:
        """Have it called at `when`, in seconds since the epoch, or earlier; infinity is never."""
        if when < (self._times[-1] if self._times else float("inf")):
            self._times.append(when)
            self._agenda.at(when, self._go_off)

    def _go_off(self) -> None:
        self._times.pop()
        self._do()
