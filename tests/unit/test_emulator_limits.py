"""Sliding windows of the emulator."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guestwire.emulator.limits import NoWindow, Window


@given(
    limit=st.integers(1, 6),
    gaps=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 1.5]), max_size=60),
)
def test_no_span_holds_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    """However requests come, any second holds at most the limit, and what is refused would have been too much."""
    window = Window(limit, 1.0)
    now, admitted = 1000.0, list[float]()
    for gap in gaps:
        now += gap
        recent = [at for at in admitted if at > now - 1.0]
        assert window.admit(now) is (len(recent) < limit)
        if len(recent) < limit:
            admitted.append(now)


def test_no_bucket() -> None:
    """A pause saves nothing up: five after a long silence, then no more within the second."""
    window = Window(5, 1.0)
    assert [window.admit(100.0 + place / 10) for place in range(7)] == [True] * 5 + [False] * 2
    assert window.admit(101.0)


def test_off() -> None:
    """A limit that is off admits everything."""
    window = NoWindow()
    assert all(window.admit(1.0) for _ in range(1000))
    assert repr(window) == "<NoWindow>"
    assert repr(Window(5, 1.0)) == "<Window 0 of 5 in 1.0 s>"
