"""Virtual time: an event loop that never waits, and the clock that a process of the simulation looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class NothingLeft(RuntimeError):
    """Everybody waits, and for nothing that can come."""


class Spinning(RuntimeError):
    """Somebody does something again and again, and lets no time pass."""


#: So many turns of the loop are enough for a second of the busiest world, and for all of it.
TURNS_A_SECOND, TURNS = 20_000, 300_000


class _NoSockets:
    """In a selector's place: there is nothing to select from, so waiting is moving the time on."""

    def __init__(self) -> None:
        self.now = 0.0
        self._second = 0
        self._turns = self._all_turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        """Let so much time pass, at once."""
        if timeout is None:
            raise NothingLeft("nothing is scheduled any more")
        self.now += max(timeout, 0.0)
        self._turns += 1
        self._all_turns += 1
        if (second := int(self.now)) != self._second:
            self._second, self._turns = second, 0
        if self._turns > TURNS_A_SECOND or self._all_turns > TURNS:
            turns, self._all_turns, self._turns = self._all_turns, 0, 0  # for the end, which has to come
            raise Spinning(f"{turns} turns of the loop within {self.now:.0f} s")
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time passes only while nobody has anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSockets()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds since the world began."""
        return self._selector.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets, so there are no events."""

    def _write_to_self(self) -> None:
        """There are no other threads that could wake this one."""


class Wall:
    """The machine's wall clock, which somebody sets now and then. New processes read it once, at their start."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float = 1_800_000_000.0) -> None:
        self._loop = loop
        self._offset_s = start

    def now(self) -> float:
        """Seconds since the epoch, or so the machine believes."""
        return self._offset_s + self._loop.time()

    def jump(self, seconds: float) -> None:
        """Somebody sets it."""
        self._offset_s += seconds

    @property
    def offset_s(self) -> float:
        """What the machine adds to the time since the world began."""
        return self._offset_s


class ProcessClock:
    """
    A `guestwire.clock.Clock` over virtual time, as `SystemClock` is over the machine's: read once, then carried on.

    Args:
        loop: Its time.
        wall: Read now, and never again.
        deliver: How a timer reaches the process: a dead one never, one that stands still when it goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: Wall, deliver: Callable[..., None]) -> None:
        self._loop = loop
        self._offset_s = wall.offset_s
        self._deliver = deliver

    def now(self) -> float:
        """Seconds since the Unix epoch, as this process believes."""
        return self._offset_s + self._loop.time()

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Return when `wake` is set or the time has come."""
        if wake.is_set():
            return
        if until is None:
            await wake.wait()
            return
        delay_s = until - self.now()
        if delay_s <= 0:
            return
        timer = self._loop.call_later(delay_s, self._deliver, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()
