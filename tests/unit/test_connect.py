"""When a connection is tried again, and what a refused one means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.errors import AuthenticationError
from guestwire.policy.connect import judge_upgrade, reconnect_delay_s


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "GW-A001"),
        (400, "GW-A002"),
        (401, "GW-A002"),
        (404, "GW-A002"),
        (410, "GW-A002"),
        (426, "GW-A002"),
        (301, "GW-A002"),
        (302, "GW-A002"),
        (399, "GW-A002"),
    ],
)
def test_a_refusal_that_would_repeat_itself_stops_the_destination(status: int, code: str) -> None:
    """Nobody who asks again gets another answer until a person has mended something: the error says what, and where."""
    refused = judge_upgrade(status, "webmessaging.example")
    assert refused is not None
    assert isinstance(refused.error, AuthenticationError)
    assert refused.error.code == code
    assert "webmessaging.example" in refused.error.message
    assert str(status) in refused.error.message
    assert refused.error.hint
    assert refused.retry_s == 60.0


@pytest.mark.parametrize("status", [200, 408, 429, 500, 502, 503, 504])
def test_what_may_pass_by_itself_is_simply_tried_again(status: int) -> None:
    """A gateway that is down or busy is no reason to stop."""
    assert judge_upgrade(status, "webmessaging.example") is None


@given(status=st.integers(100, 599))
def test_any_status_has_a_meaning(status: int) -> None:
    """A redirect is never followed silently, and 5xx never stops a destination."""
    refused = judge_upgrade(status, "h")
    if 300 <= status < 400:
        assert refused is not None
    if status >= 500:
        assert refused is None


@given(failures=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_reconnects_spread_under_a_bound_that_doubles(failures: int, jitter: float) -> None:
    """The first try after a loss waits up to the base already: a thousand guests lose their connection together."""
    delay_s = reconnect_delay_s(failures, jitter, base_s=0.5, cap_s=30.0)
    assert 0 <= delay_s <= min(30.0, 0.5 * 2.0 ** min(failures, 100))
    if jitter > 0.5:
        assert delay_s > 0.2
