"""
Where `now` comes from.

Everything that decides takes `now` as an argument; the relay and the transports ask a `Clock` for it and wait
on it. A test hands them a clock that it moves by hand (`guestwire.testing.FakeClock`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC; never runs backwards."""

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Return when `wake` is set or when `now()` has reached `until`; None waits for `wake` alone."""


class SystemClock:
    """
    The machine's clock, read once and then carried on by the monotonic one.

    A wall clock that is set forward or back by an administrator or by NTP must neither release a backlog at
    once nor hold it for an hour, so a running process follows the monotonic clock from its start: where there is one,
    the one that goes on while the machine sleeps.

    Args:
        ahead_s: So many seconds ahead of the machine's; for tests of clocks that are wrong.
    """

    def __init__(self, ahead_s: float = 0.0) -> None:
        self._offset_s = time.time() - _since_boot() + ahead_s

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        return self._offset_s + _since_boot()

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Return when `wake` is set or the time has come, whichever is first."""
        if wake.is_set():
            return
        if until is None:
            await wake.wait()
            return
        delay_s = until - self.now()
        if delay_s <= 0:
            return
        # A timer and the event cost no task; `wait_for` would make one for every wait.
        timer = asyncio.get_running_loop().call_later(delay_s, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()


def _since_boot() -> float:
    """Seconds that only rise. Linux's monotonic clock stands still in suspend; what is due afterwards was due then."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
