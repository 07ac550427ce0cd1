"""What becomes of a part after an attempt, and after a check."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.model import (
    Accepted,
    Delivery,
    Failed,
    GatewayMessageId,
    Outcome,
    PartState,
    Refused,
    Throttled,
    Unknown,
)
from guestwire.policy.retry import (
    MAX_THROTTLE_S,
    Check,
    Decision,
    GiveUp,
    Retry,
    Settle,
    backoff_s,
    decide,
    decide_unsettled,
)
from guestwire.settings import RETRY_OF, RetrySettings

law = settings(deadline=None)
POLICY = RetrySettings(max_attempts=3, max_age_s=100.0, base_s=1.0, cap_s=8.0)
ACCEPTED = Accepted(GatewayMessageId("g1"))

reasons = st.text(max_size=20)
jitters = st.floats(0, 1, exclude_max=True)
times = st.floats(0, 4e9)
ages = st.floats(0, 1e6)
attempts = st.integers(1, 100_000)
policies = st.builds(
    lambda max_attempts, max_age_s, base_s, more_s: RetrySettings(
        max_attempts=max_attempts, max_age_s=max_age_s, base_s=base_s, cap_s=min(base_s + more_s, 366 * 86_400)
    ),
    st.integers(1, 50),
    st.floats(0.1, 1e6),
    st.floats(0.001, 1000),
    st.floats(0, 1e5),
)
throttles = st.builds(Throttled, st.just("session"), st.floats(0, 1e12), reasons)
outcomes = st.one_of(
    st.just(ACCEPTED),
    throttles,
    st.builds(Refused, st.integers(), reasons),
    st.builds(Failed, reasons),
    st.builds(Unknown, reasons),
)


@pytest.mark.parametrize(
    ("outcome", "attempt", "age_s", "decision"),
    [
        (ACCEPTED, 1, 0, Settle(ACCEPTED)),
        (ACCEPTED, 99, 1e9, Settle(ACCEPTED)),
        (Throttled("session", 2.0, "429"), 1, 0, Retry(1002.05, "429", spent=False)),
        (Throttled("session", 2.0, "429"), 99, 1e6, Retry(1002.05, "429", spent=False)),
        (Throttled("session", 1e12, "429"), 1, 0, Retry(1000.05 + MAX_THROTTLE_S, "429", spent=False)),
        (Refused(4002, "too long"), 1, 0, GiveUp(PartState.DEAD, "too long")),
        (Failed("503"), 1, 0, Retry(1000.5, "503")),
        (Failed("503"), 2, 0, Retry(1001.0, "503")),
        (Failed("503"), 3, 0, GiveUp(PartState.DEAD, "503; given up after 3 attempts")),
        (Failed("503"), 1, 99, Retry(1000.5, "503")),
        (Failed("503"), 1, 99.6, GiveUp(PartState.DEAD, "503; given up after 100 s")),
        (Unknown("no echo"), 99, 1e9, Check(1000.0, "no echo")),
    ],
)
def test_table_of_outcomes(outcome: Outcome, attempt: int, age_s: float, decision: Decision) -> None:
    """Each outcome, at the borders of attempts and age; a jitter of one half, at second 1000."""
    assert decide(outcome, attempt=attempt, now=1000.0, age_from=1000.0 - age_s, jitter=0.5, policy=POLICY) == decision


@pytest.mark.parametrize(
    ("delivery", "attempt", "age_s", "decision"),
    [
        (Delivery.AT_LEAST_ONCE, 1, 0, Retry(1000.0, "absent", possible_duplicate=True)),
        (Delivery.AT_LEAST_ONCE, 3, 0, GiveUp(PartState.DEAD, "absent; given up after 3 attempts")),
        (Delivery.AT_LEAST_ONCE, 1, 101, GiveUp(PartState.DEAD, "absent; given up after 100 s")),
        (Delivery.AT_MOST_ONCE, 1, 0, GiveUp(PartState.PARKED, "outcome unknown: absent", "unknown")),
        (Delivery.AT_MOST_ONCE, 99, 1e9, GiveUp(PartState.PARKED, "outcome unknown: absent", "unknown")),
    ],
)
def test_table_of_the_unsettled(delivery: Delivery, attempt: int, age_s: float, decision: Decision) -> None:
    """After a check that settled nothing: again at once, the check has taken its time; or a person."""
    assert decision == decide_unsettled(
        "absent",
        delivery=delivery,
        attempt=attempt,
        now=1000.0,
        age_from=1000.0 - age_s,
        jitter=0.5,
        policy=POLICY,
    )


@given(outcome=outcomes, attempt=attempts, now=times, age_s=ages, jitter=jitters, policy=policies)
@law
def test_laws_of_decide(
    outcome: Outcome, attempt: int, now: float, age_s: float, jitter: float, policy: RetrySettings
) -> None:
    """Pure; a throttle spends nothing; Refused is the end; Unknown is checked; retries are bounded and never early."""
    queued_at = now - age_s
    decision = decide(outcome, attempt=attempt, now=now, age_from=queued_at, jitter=jitter, policy=policy)
    assert decision == decide(outcome, attempt=attempt, now=now, age_from=queued_at, jitter=jitter, policy=policy)
    match outcome, decision:
        case Accepted(), Settle(settled):
            assert settled is outcome
        case Throttled(retry_after_s=wait_s), Retry(at, spent=spent, possible_duplicate=double):
            assert not spent
            assert not double
            assert at >= now + min(wait_s, MAX_THROTTLE_S)
        case Refused(), GiveUp(state):
            assert state is PartState.DEAD
        case Failed(), Retry(at, spent=spent, possible_duplicate=double):
            assert spent
            assert not double
            assert attempt < policy.max_attempts
            assert now <= at <= now + policy.cap_s
            assert at - queued_at <= policy.max_age_s
        case Failed(), GiveUp(state):
            assert state is PartState.DEAD
            assert attempt >= policy.max_attempts or age_s + policy.cap_s > policy.max_age_s
        case Unknown(), Check(at):
            assert at == now
        case _:
            raise AssertionError((outcome, decision))


@given(
    delivery=st.sampled_from(Delivery),
    attempt=attempts,
    now=times,
    age_s=ages,
    jitter=jitters,
    policy=policies,
)
@law
def test_laws_of_decide_unsettled(
    delivery: Delivery, attempt: int, now: float, age_s: float, jitter: float, policy: RetrySettings
) -> None:
    """At most once is never sent again; at least once says of each further attempt that it may double an earlier."""
    decision = decide_unsettled(
        "why", delivery=delivery, attempt=attempt, now=now, age_from=now - age_s, jitter=jitter, policy=policy
    )
    if delivery is Delivery.AT_MOST_ONCE:
        assert decision == GiveUp(PartState.PARKED, "outcome unknown: why", "unknown")
    elif isinstance(decision, Retry):
        assert decision.possible_duplicate
        assert decision.spent
        assert attempt < policy.max_attempts
        assert now <= decision.at <= now + policy.cap_s
    else:
        assert isinstance(decision, GiveUp)
        assert decision.state is PartState.DEAD


@pytest.mark.parametrize(
    ("outcome", "attempt"), [(Refused(4002, "too long"), 1), (Failed("503"), 3), (Failed("503"), 99)]
)
def test_what_nobody_takes_can_wait_for_a_person(outcome: Outcome, attempt: int) -> None:
    """Where a guest is to stop with it: parked in place of dead, whether it was refused or has used up its tries."""
    stop = msgspec.structs.replace(POLICY, poison="stop_guest")
    given: dict[str, float] = {"now": 1000.0, "age_from": 1000.0, "jitter": 0.5}
    dead = decide(outcome, attempt=attempt, policy=POLICY, **given)
    parked = decide(outcome, attempt=attempt, policy=stop, **given)
    assert isinstance(dead, GiveUp)
    assert parked == GiveUp(PartState.PARKED, dead.reason, "poison")


@given(policy=policies, jitter=jitters, now=times)
@law
def test_a_part_that_always_fails_ends(policy: RetrySettings, jitter: float, now: float) -> None:
    """Attempt after attempt, there are no more than the policy allows."""
    queued_at, made = now, 0
    while made <= policy.max_attempts:
        made += 1
        decision = decide(Failed("no"), attempt=made, now=now, age_from=queued_at, jitter=jitter, policy=policy)
        if isinstance(decision, GiveUp):
            break
        assert isinstance(decision, Retry)
        now = decision.at
    assert made <= policy.max_attempts


@given(attempt=st.integers(0, 10**9), jitter=jitters, base_s=st.floats(0.001, 1e6), more_s=st.floats(0, 1e6))
@law
def test_delays_lie_under_a_bound_that_doubles(attempt: int, jitter: float, base_s: float, more_s: float) -> None:
    """From nothing up to the bound, which doubles with each attempt and stops at the cap, however many there were."""
    cap_s = base_s + more_s
    bound_s = min(cap_s, base_s * 2.0 ** min(max(attempt, 1) - 1, 100))
    delay_s = backoff_s(attempt, jitter, base_s=base_s, cap_s=cap_s)
    assert 0 <= delay_s <= bound_s
    assert delay_s == pytest.approx(jitter * bound_s)


@given(attempt=st.integers(1, 100), jitter=jitters, base_s=st.floats(0.001, 1e3), floor_s=st.floats(0, 1e3))
@law
def test_a_floor_is_never_undercut(attempt: int, jitter: float, base_s: float, floor_s: float) -> None:
    """Between the floor and the bound, or at the floor where the bound lies below it."""
    bound_s = base_s * 2.0 ** (attempt - 1)
    delay_s = backoff_s(attempt, jitter, base_s=base_s, cap_s=1e300, floor_s=floor_s)
    assert floor_s <= delay_s <= max(floor_s, bound_s) * (1 + 1e-12)


@given(jitter=jitters, now=times)
@law
def test_the_tutorials_numbers_are_a_preset(jitter: float, now: float) -> None:
    """Three attempts, two seconds after each of the first two, whatever the dice say; then it is dead."""
    made_at = [now]
    for attempt in (1, 2, 3):
        decision = decide(
            Failed("no"), attempt=attempt, now=made_at[-1], age_from=now, jitter=jitter, policy=RETRY_OF["tutorial"]
        )
        if not isinstance(decision, Retry):
            break
        made_at.append(decision.at)
    assert isinstance(decision, GiveUp)
    assert decision == GiveUp(PartState.DEAD, "no; given up after 3 attempts")
    assert made_at == [now, now + 2.0, now + 2.0 + 2.0]


@pytest.mark.parametrize(("attempt", "longest_s"), [(1, 2), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (99, 10)])
def test_with_more_attempts_the_tutorials_pauses_are_bounds(attempt: int, longest_s: float) -> None:
    """2, 2, 4, 8, 10, 10: its exponential wait between 2 s and 10 s is the upper bound, 2 s the lower one."""
    policy = RETRY_OF["tutorial"]
    least, most = (
        backoff_s(attempt, jitter, base_s=policy.base_s, cap_s=policy.cap_s, floor_s=policy.floor_s)
        for jitter in (0.0, 1.0)
    )
    assert (least, most) == (2.0, longest_s)


@given(wait_s=st.floats(0, 1e12), attempt=st.integers(1, 9), age_s=ages, now=times, jitter=jitters, policy=policies)
@law
def test_a_wait_that_is_asked_for_is_bounded_by_age_too(
    wait_s: float, attempt: int, age_s: float, now: float, jitter: float, policy: RetrySettings
) -> None:
    """Not before the far side asked for, up to an hour; and never after the part has become too old."""
    failed = Failed("no", 503, retry_after_s=wait_s)
    decision = decide(failed, attempt=attempt, now=now, age_from=now - age_s, jitter=jitter, policy=policy)
    if isinstance(decision, Retry):
        assert decision.at >= now + min(wait_s, MAX_THROTTLE_S)
        assert decision.at - (now - age_s) <= policy.max_age_s
        assert attempt < policy.max_attempts
