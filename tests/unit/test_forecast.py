"""When a backlog will be through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.policy.forecast import forecast
from guestwire.settings import LIMITS_OF, Limits


@pytest.mark.parametrize(
    ("counts", "duration_s", "binding"),
    [
        ([4], 1.1, "echo"),
        ([20], 4.9, "messages_per_s"),
        ([300], 301.3, "requests_per_min"),
        ([1] * 2500, 121.1, "connects_per_min"),
        ([], 0.0, "echo"),
    ],
)
def test_the_binding_limit_is_named(counts: list[int], duration_s: float, binding: str) -> None:
    """Round trips, requests a minute of one guest, or connects a minute of all."""
    found = forecast(counts, Limits())
    assert (found.duration_s, found.binding) == (duration_s, binding)


def test_a_slower_second_binds_where_answers_are_quick() -> None:
    """With one message a second and answers at once, the second decides."""
    found = forecast([10], Limits(messages_per_s=1), echo_s=0.01)
    assert found.binding == "messages_per_s"
    # Nine times a second and the answer before it; the last answer; the session.
    assert found.duration_s == pytest.approx(9 * 1.01 + 0.01 + 0.3, abs=0.05)


@given(st.lists(st.integers(1, 500), max_size=30), st.integers(1, 500))
def test_more_messages_never_take_less_time(counts: list[int], more: int) -> None:
    """Neither does a slower answer; and the assumptions are said."""
    less = forecast(counts, Limits())
    assert forecast([*counts, more], Limits()).duration_s >= less.duration_s
    assert forecast(counts, Limits(), echo_s=1.0).duration_s >= less.duration_s
    assert "every echo within 0.2 s" in less.assumptions


@pytest.mark.parametrize(
    ("counts", "duration_s", "binding"),
    [
        ([], 0.0, "echo"),
        ([1], 0.2, "echo"),
        ([285], 57.0, "echo"),
        ([1] * 285, 1.0, "max_in_flight"),
        ([1] * 286, 60.4, "requests_per_min"),
        ([1] * 500_000, 105_591.2, "requests_per_min"),
    ],
)
def test_a_token_carries_five_a_second_whatever_the_guests(counts: list[int], duration_s: float, binding: str) -> None:
    """500,000 messages are 29 hours with the reserve, and no client can change that."""
    found = forecast(counts, LIMITS_OF["openmessaging"], by_token=True)
    assert (found.duration_s, found.binding) == (duration_s, binding)
    assert "nobody else uses the token" in found.assumptions
