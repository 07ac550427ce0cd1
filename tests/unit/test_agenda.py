"""The timer of a transport, on a clock that is moved by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guestwire.testing import FakeClock
from guestwire.transports.agenda import Agenda, Alarm

DAY_S = 86_400.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 100)), min_size=1, max_size=60))
def test_an_alarm_is_never_late(steps: list[tuple[int, int]]) -> None:
    """Whatever times are asked for in whatever order: at each of them it has been called, and is not asleep."""
    clock = FakeClock(0.0)
    agenda = Agenda(clock)
    wanted: list[float] = []

    def look() -> None:
        wanted[:] = [time for time in wanted if time > clock.now()]
        if wanted:
            alarm.set(min(wanted))

    alarm = Alarm(agenda, look)
    for pause, ahead in steps:
        for _ in range(pause):
            clock.advance(1.0)
            agenda.call_due()
            assert all(time > clock.now() for time in wanted)
        wanted.append(clock.now() + ahead)
        alarm.set(min(wanted))
    for _ in range(101):
        clock.advance(1.0)
        agenda.call_due()
    assert not wanted
    assert len(agenda) == 0


def test_a_line_that_is_used_all_day_has_a_handful_of_calls_to_come() -> None:
    """A message has to be answered in ten seconds, silence is looked at after four minutes; neither heaps up."""
    clock = FakeClock(0.0)
    agenda = Agenda(clock)
    answer_by: list[float] = []

    def next_at() -> float:
        return answer_by[0] if answer_by else clock.now() + 240.0

    def look() -> None:
        answer_by.clear()
        alarm.set(next_at())

    alarm = Alarm(agenda, look)
    most = 0
    while clock.now() < DAY_S:
        answer_by[:] = [clock.now() + 10.0]
        alarm.set(next_at())
        clock.advance(7.0)
        answer_by.clear()  # answered
        alarm.set(next_at())
        clock.advance(6.0)
        agenda.call_due()
        most = max(most, len(agenda))
    assert most <= 3


def test_never_is_not_put_on_the_agenda() -> None:
    """A session without a connection has nothing to look at."""
    agenda = Agenda(FakeClock())
    Alarm(agenda, lambda: None).set(float("inf"))
    assert len(agenda) == 0
