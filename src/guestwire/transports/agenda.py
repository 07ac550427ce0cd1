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

    async def run(self) -> None:
        """Run until cancelled. What a function raises is logged: the others have their time all the same."""
        while True:
            now = self._clock.now()
            while self._entries and self._entries[0][0] <= now:
                do = heapq.heappop(self._entries)[2]
                try:
                    do()
                except Exception:
                    logger.exception("a timer failed", extra={"action": "timer_failed"})
            self._wake.clear()
            await self._clock.wait(self._wake, self._entries[0][0] if self._entries else None)
