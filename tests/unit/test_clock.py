"""The machine's clock: where `now` comes from, and waiting for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from guestwire.clock import SystemClock


def test_it_says_the_time_of_day() -> None:
    """Seconds since the epoch, as the wall clock said at the start."""
    assert SystemClock().now() == pytest.approx(time.time(), abs=5)


def test_setting_the_wall_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forward or back, by hand or by NTP, neither releases a backlog nor holds it."""
    clock = SystemClock()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: before + 3600)
    assert clock.now() - before < 60
    monkeypatch.setattr(time, "time", lambda: before - 3600)
    assert clock.now() >= before


async def test_waiting_ends_when_somebody_wakes_it() -> None:
    """With a time far away, and with none: the event alone ends the wait."""
    clock = SystemClock()
    for until in (clock.now() + 3600, None):
        wake = asyncio.Event()
        waiting = asyncio.create_task(clock.wait(wake, until))
        await asyncio.sleep(0)
        assert not waiting.done()
        wake.set()
        await asyncio.wait_for(waiting, 5)


async def test_waiting_ends_when_the_time_has_come() -> None:
    """It returns at the time it was told, not before."""
    clock = SystemClock()
    until = clock.now() + 0.01
    await asyncio.wait_for(clock.wait(asyncio.Event(), until), 5)
    assert clock.now() >= until - 0.002  # a loop's timers may be rounded to a millisecond


async def test_what_is_due_is_not_waited_for() -> None:
    """A time in the past, or an event that is set: it returns in the same turn of the loop."""
    clock = SystemClock()
    wake = asyncio.Event()
    await asyncio.wait_for(clock.wait(wake, clock.now() - 1), 5)
    assert not wake.is_set()
    wake.set()
    await asyncio.wait_for(clock.wait(wake, None), 5)


async def test_a_wait_that_ended_leaves_no_timer_behind() -> None:
    """Neither waking nor cancelling it leaves a timer that would set the event later."""
    clock = SystemClock()
    wake = asyncio.Event()
    waiting = asyncio.create_task(clock.wait(wake, clock.now() + 0.01))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(clock.wait(asyncio.Event(), clock.now() + 0.03), 5)
    assert not wake.is_set()
