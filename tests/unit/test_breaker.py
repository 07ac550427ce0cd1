"""A destination that fails is left alone, and tried again by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.model import Accepted, Failed, GatewayMessageId, Outcome, Refused, Throttled, Unknown
from guestwire.policy.breaker import Breaker, is_alive
from guestwire.policy.turns import STEP_S, turn_at


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Accepted(GatewayMessageId("x")), True),
        (Refused(4011, "no"), True),
        (Throttled("session", 1.0), True),
        (Throttled("destination", 0.0, "not sent"), None),
        (Failed("a code of the gateway's own", 4013), True),
        (Failed("unavailable", 503), False),
        (Failed("no code"), False),
        (Unknown("no answer"), False),
    ],
)
def test_what_an_outcome_says_of_the_destination(outcome: Outcome, expected: bool | None) -> None:
    """No answer, or one that only says that it is unwell, is a failure. Whoever refuses or throttles is alive."""
    assert is_alive(outcome) is expected


def test_it_opens_after_failures_in_a_row() -> None:
    """A success in between begins the count anew; the last failure opens it, for half of its bound at least."""
    breaker = Breaker(3, base_s=1.0, cap_s=30.0)
    for _ in range(2):
        assert not breaker.failed("anna", 100.0, 0.0)
    assert not breaker.succeeded()
    assert [breaker.failed(who, 100.0, 0.0) for who in ("anna", "ben", "anna")] == [False, False, True]
    assert (breaker.state, breaker.until) == ("open", 100.5)
    assert not breaker.admits(100.4)


def test_one_probe_at_a_time() -> None:
    """After the pause one goes; nobody else, until his outcome is there; stragglers say nothing new."""
    breaker = Breaker(1, base_s=1.0, cap_s=30.0)
    breaker.failed("anna", 100.0, 1.0)
    assert breaker.admits(101.0)
    breaker.begun("anna")
    assert (breaker.state, breaker.admits(999.0)) == ("half_open", False)
    assert not breaker.failed("ben", 101.0, 1.0)  # under way since before
    assert not breaker.admits(999.0)
    assert breaker.failed("anna", 102.0, 1.0)
    assert (breaker.state, breaker.until) == ("open", 104.0)  # the pause has doubled
    breaker.begun("ben")
    breaker.unused("ben")
    assert breaker.admits(104.0)
    breaker.begun("cleo")
    assert breaker.succeeded()
    assert breaker.is_closed
    assert breaker.admits(104.0)


@given(st.lists(st.sampled_from(["fail", "succeed", "go", "wait"]), max_size=60), st.integers(1, 5))
def test_whatever_happens(steps: list[str], trip_after: int) -> None:
    """Never two probes; a pause lies between half its bound and the cap; a success always closes it."""
    breaker = Breaker(trip_after, base_s=1.0, cap_s=8.0)
    now, probes = 100.0, 0
    for number, step in enumerate(steps):
        if step == "wait":
            now += 1.0
        elif step == "go" and breaker.admits(now):
            assert breaker.is_closed or not probes
            probes = 0 if breaker.is_closed else 1
            breaker.begun(f"guest {number}")
            last = f"guest {number}"
        elif step == "fail" and (probes or breaker.is_closed):
            if breaker.failed(last if probes else "anyone", now, 0.5):
                assert 0.5 <= breaker.until - now <= 8.0
            probes = 0
        elif step == "succeed":
            breaker.succeeded()
            probes = 0
            assert breaker.is_closed


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1e9), st.floats(0, 1e5))
def test_nobody_starves(high: int, low: int, at: float, waited_s: float) -> None:
    """Who has waited long enough goes before whoever comes now, whatever the priorities."""
    assert turn_at(at, min(high, low)) <= turn_at(at, max(high, low))
    if waited_s > STEP_S * 9:
        assert turn_at(at, low) < turn_at(at + waited_s, high)
