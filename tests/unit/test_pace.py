"""
How fast: no window ever holds more than its limit, whenever the gateway counts.

Times are whole numbers of eighths of a second, so that sums are exact and borders can be hit.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.policy.pace import Held, Key, Limit, Pace, Slot

TICK_S = 1 / 8
SECOND: Key = ("per_second", "anna")
MINUTE: Key = ("per_minute", "anna")


class Counter:
    """The gateway's own book: when it counted what. Knows nothing of how the pace is kept."""

    def __init__(self) -> None:
        self.counted: dict[Key, list[float]] = {}

    def count(self, keys: Sequence[Key], at: float) -> None:
        """Write a use down."""
        for key in keys:
            self.counted.setdefault(key, []).append(at)

    def most(self, key: Key, period_s: float) -> int:
        """The most uses in any half-open window of the period, found by trying the window at every use."""
        times = sorted(self.counted.get(key, []))
        return max((sum(end - period_s < at <= end for at in times) for end in times), default=0)


class Use(msgspec.Struct, frozen=True):
    """One thing a caller does: wait, then try to start a use whose answer takes a while, counted on the way."""

    wait: int
    guest: str
    nested: bool
    latency: int
    counted_after: float
    """Where between start and answer the gateway counts it, from 0 to 1."""
    unused: bool


uses = st.builds(
    Use,
    wait=st.integers(0, 12),
    guest=st.sampled_from("ab"),
    nested=st.booleans(),
    latency=st.integers(0, 40),
    counted_after=st.sampled_from([0.0, 0.5, 1.0]),
    unused=st.sampled_from([False, False, False, True]),
)


@given(plan=st.lists(uses, min_size=1, max_size=80), short=st.integers(1, 3), long=st.integers(1, 6))
@settings(deadline=None)
def test_no_window_ever_exceeds_its_limit(plan: list[Use], short: int, long: int) -> None:
    """Whatever the latencies, and wherever between start and answer the gateway counts: every window stays legal."""
    limits = [Limit("short", short, 1.0), Limit("long", long, 4.0), Limit("all", long + 2, 2.0)]
    pace, gateway = Pace(limits), Counter()
    answers: list[tuple[float, int]] = []
    slots: dict[int, Slot] = {}
    now = 1000.0
    for number, use in enumerate(plan):
        now += use.wait * TICK_S
        while answers and answers[0][0] <= now:
            at, answered = heapq.heappop(answers)
            slots.pop(answered).answered(at)
        keys: tuple[Key, ...] = (("short", use.guest), ("all", "everybody"))
        if use.nested:
            keys = (*keys, ("long", use.guest))
        if pace.admits(keys, now) is not None:
            continue
        slot = pace.take(keys, now)
        if use.unused:
            slot.unused()
            continue
        latency_s = use.latency * TICK_S
        gateway.count(keys, now + latency_s * use.counted_after)
        slots[number] = slot
        heapq.heappush(answers, (now + latency_s, number))
    for limit in limits:
        for guest in ("a", "b", "everybody"):
            assert gateway.most((limit.name, guest), limit.period_s) <= limit.count


@given(plan=st.lists(uses, max_size=30), short=st.integers(1, 3), long=st.integers(1, 6))
@settings(deadline=None)
def test_the_time_it_names_is_the_first_that_admits(plan: list[Use], short: int, long: int) -> None:
    """With nothing in flight, asking at the named time is answered with yes, and a moment before with no."""
    pace = Pace([Limit("short", short, 1.0), Limit("long", long, 4.0)])
    now = 1000.0
    for use in plan:
        now += use.wait * TICK_S
        keys: tuple[Key, ...] = (("short", use.guest), ("long", use.guest))
        held = pace.admits(keys, now)
        if held is None:
            pace.take(keys, now).answered(now)
            continue
        assert now < held.until <= now + 4.0
        assert pace.admits(keys, held.until - TICK_S) is not None
        assert pace.admits(keys, held.until) is None
        now = held.until


@pytest.mark.parametrize(
    ("limits", "per_minute"),
    [
        ([Limit("per_second", 5, 1.0)], 300),
        ([Limit("per_second", 5, 1.0), Limit("per_minute", 60, 60.0)], 60),
        ([Limit("per_second", 1, 1.0), Limit("per_minute", 1000, 60.0)], 60),
        ([Limit("per_second", 3, 0.125), Limit("per_minute", 7, 1.0)], 420),
    ],
)
def test_a_backlog_uses_what_is_allowed(limits: list[Limit], per_minute: int) -> None:
    """With work at hand and answers at once, at least 95 % of the tightest limit is used, over ten minutes."""
    pace, now, begin, sent = Pace(limits), 1000.0, 1000.0, 0
    while True:
        held = pace.admits((SECOND, MINUTE), now)
        if held is not None:
            now = held.until
            if now >= begin + 600:
                break
            continue
        pace.take((SECOND, MINUTE), now).answered(now)
        sent += 1
    assert 0.95 * per_minute * 10 <= sent <= per_minute * 10


def test_a_use_exactly_one_period_old_is_out() -> None:
    """The window is half open: at the border itself the slot is free again."""
    pace = Pace([Limit("per_second", 1, 1.0)])
    pace.take((SECOND,), 10.0).answered(10.0)
    assert pace.admits((SECOND,), 10.875) == Held("per_second", 11.0)
    assert pace.admits((SECOND,), 11.0) is None


def test_uses_in_flight_push_the_next_one_back() -> None:
    """Of three slots two are used, one is in flight: the next waits for the first use; with two, the second."""
    pace = Pace([Limit("per_second", 3, 1.0)])
    pace.take((SECOND,), 10.0).answered(10.0)
    pace.take((SECOND,), 10.0).answered(10.5)
    pace.take((SECOND,), 10.5)
    assert pace.admits((SECOND,), 10.5) == Held("per_second", 11.0)
    pace.take((SECOND,), 11.0)
    assert pace.admits((SECOND,), 11.0) == Held("per_second", 11.5)
    pace.take((SECOND,), 11.0)  # taken without asking: over the limit by one
    assert pace.admits((SECOND,), 11.0) == Held("per_second", math.inf)


def test_a_slot_slides_from_its_answer() -> None:
    """In flight it is held without end; the period begins with the answer, not with the start."""
    pace = Pace([Limit("per_second", 1, 1.0)])
    slot = pace.take((SECOND,), 10.0)
    assert pace.admits((SECOND,), 500.0) == Held("per_second", math.inf)
    slot.answered(500.0)
    assert pace.admits((SECOND,), 500.5) == Held("per_second", 501.0)
    assert pace.admits((SECOND,), 501.0) is None


def test_answered_twice_is_once() -> None:
    """An echo on two sockets neither counts twice nor frees a slot of somebody else; nor does `unused` after it."""
    pace = Pace([Limit("per_second", 2, 1.0)])
    slot = pace.take((SECOND,), 10.0)
    slot.answered(10.0)
    slot.answered(10.5)
    slot.unused()
    assert pace.admits((SECOND,), 10.5) is None
    pace.take((SECOND,), 10.5)
    assert pace.admits((SECOND,), 10.5) == Held("per_second", 11.0)


def test_unused_gives_the_slot_back() -> None:
    """What was never sent counts nowhere, and an answer after that changes nothing."""
    pace = Pace([Limit("per_second", 1, 1.0)])
    slot = pace.take((SECOND,), 10.0)
    slot.unused()
    slot.unused()
    slot.answered(10.0)
    assert pace.admits((SECOND,), 10.0) is None


def test_all_windows_or_none() -> None:
    """The latest of several limits binds, and asking takes nothing from the ones that would have said yes."""
    pace = Pace([Limit("per_second", 1, 1.0), Limit("per_minute", 2, 60.0)])
    pace.take((SECOND, MINUTE), 0.0).answered(0.0)
    pace.take((SECOND, MINUTE), 1.0).answered(1.0)
    assert pace.admits((SECOND, MINUTE), 1.5) == Held("per_minute", 60.0)
    for _ in range(10):
        assert pace.admits((SECOND, MINUTE), 30.0) == Held("per_minute", 60.0)
    assert pace.admits((SECOND,), 30.0) is None
    assert pace.held == {"per_minute": 11}


def test_guests_do_not_hold_each_other() -> None:
    """A window belongs to one guest; a limit that is not set holds nobody."""
    pace = Pace([Limit("per_second", 1, 1.0)])
    pace.take((("per_second", "anna"),), 10.0)
    assert pace.admits((("per_second", "ben"),), 10.0) is None
    for _ in range(100):
        pace.take((("unlimited", "anna"),), 10.0).answered(10.0)
    assert pace.admits((("unlimited", "anna"),), 10.0) is None


def test_a_pause_holds_its_key_and_no_other() -> None:
    """A throttle holds until its time, also where no limit is set; a shorter one does not end a longer one."""
    pace = Pace([Limit("per_second", 5, 1.0)])
    for key in (SECOND, ("unlimited", "anna")):
        pace.throttled(key, 20.0, 10.0)
        pace.throttled(key, 15.0, 10.0)
        assert pace.admits((key,), 16.0) == Held(key[0], 20.0)
        assert pace.admits((key,), 20.0) is None
    assert pace.admits((("per_second", "ben"),), 16.0) is None


def test_a_pause_and_a_full_window_both_bind() -> None:
    """Whichever ends later is the answer."""
    pace = Pace([Limit("per_second", 1, 1.0)])
    pace.take((SECOND,), 10.0).answered(10.0)
    pace.throttled(SECOND, 10.5, 10.0)
    assert pace.admits((SECOND,), 10.0) == Held("per_second", 11.0)
    pace.throttled(SECOND, 12.0, 10.0)
    assert pace.admits((SECOND,), 10.0) == Held("per_second", 12.0)


def _room(pace: Pace, now: float) -> int:
    return pace.room((SECOND,), now)


def test_repeated_throttles_halve_and_quiet_minutes_double() -> None:
    """One throttle pauses; another after its pause halves the window, down to one use; each quiet minute doubles it."""
    pace = Pace([Limit("per_second", 8, 1.0)])
    now = 1_000.0
    rooms = []
    for _ in range(5):
        pace.throttled(SECOND, now + 2.0, now)
        now += 2.0
        rooms.append(_room(pace, now))
    assert rooms == [8, 4, 2, 1, 1]
    assert [_room(pace, now + after) for after in (59.9, 60.0, 119.9, 120.0, 180.0, 9_999.0)] == [1, 2, 2, 4, 8, 8]
    pace.throttled(SECOND, now + 9_999.0, now + 9_999.0)
    assert _room(pace, now + 9_999.0) == 8  # the first one after a long time


def test_throttles_of_attempts_that_were_on_their_way_together_are_one() -> None:
    """Sixty answers that all say "enough" at once, or while it pauses anyway, do not close the window."""
    pace = Pace([Limit("per_second", 8, 1.0)])
    for number in range(60):
        pace.throttled(SECOND, 1_000.0, 1_000.0 + number / 100)
    assert _room(pace, 1_002.0) == 8
    pace.throttled(SECOND, 1_030.0, 1_002.0)
    for number in range(20):
        pace.throttled(SECOND, 1_030.0, 1_003.0 + number)
    assert _room(pace, 1_030.0) == 4


def test_uses_of_before_this_process_count() -> None:
    """What an earlier process has sent fills the window, in whatever order it is told."""
    pace = Pace([Limit("per_second", 3, 1.0), Limit("per_minute", 100, 60.0)])
    for at in (9.9, 9.5, 9.7):
        pace.remember((SECOND, MINUTE, ("unlimited", "anna")), at)
    assert pace.admits((SECOND, MINUTE), 10.0) == Held("per_second", 10.5)
    assert pace.admits((SECOND, MINUTE), 10.5) is None


def test_the_limit_that_binds_has_a_name() -> None:
    """The one that held most lately; nothing binds where nobody was held for a while."""
    pace = Pace([Limit("per_second", 1, 1.0), Limit("per_minute", 1, 60.0)])
    assert pace.binding(100.0) is None
    pace.take((SECOND, MINUTE), 100.0).answered(100.0)
    pace.admits((SECOND,), 100.1)
    for _ in range(3):
        pace.admits((MINUTE,), 100.2)
    assert pace.binding(101.0) == "per_minute"
    assert pace.binding(106.0) == "per_minute"
    assert pace.binding(111.0) is None
    assert pace.held == {"per_second": 1, "per_minute": 3}


class SmallPace(Pace):
    """Sweeps early."""

    SWEEP_AT = 8


def test_sweeping_forgets_only_what_no_longer_counts() -> None:
    """Windows of quiet guests go; a use in flight, one within its period and a pause stay, and hold."""
    pace = SmallPace([Limit("per_minute", 1, 60.0)])
    in_flight = pace.take((("per_minute", "in flight"),), 0.0)
    pace.throttled(("per_minute", "paused"), 5000.0, 0.0)
    pace.take((("per_minute", "recent"),), 990.0).answered(990.0)
    for number in range(1000):
        pace.take((("per_minute", f"quiet {number}"),), float(number)).answered(float(number))
    assert len(pace._windows) < 200
    assert pace.admits((("per_minute", "in flight"),), 1000.0) == Held("per_minute", math.inf)
    assert pace.admits((("per_minute", "paused"),), 1000.0) == Held("per_minute", 5000.0)
    assert pace.admits((("per_minute", "recent"),), 1000.0) == Held("per_minute", 1050.0)
    in_flight.answered(1000.0)
    assert pace.admits((("per_minute", "in flight"),), 1000.0) == Held("per_minute", 1060.0)
