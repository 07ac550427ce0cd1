"""
What becomes of a part after an attempt, or after a check of an unknown one.

Two decisions, both pure: `decide` reads the outcome of an attempt, `decide_unsettled` what to do when no history could
say whether the attempt arrived. Being throttled costs no attempt, and neither does a shutdown.
"""

from __future__ import annotations

import msgspec

from guestwire.model import Accepted, Delivery, Failed, Outcome, ParkedFor, PartState, Refused, Throttled, Unknown
from guestwire.settings import RetrySettings

#: A throttle is believed up to an hour; an absurd one must not stop a guest for ever.
MAX_THROTTLE_S = 3_600.0


class Settle(msgspec.Struct, frozen=True):
    """The gateway took it."""

    outcome: Accepted


class Retry(msgspec.Struct, frozen=True):
    """Back to the head of its lane; due at `at`, in seconds since the epoch."""

    at: float
    reason: str
    spent: bool = True
    """Whether the attempt counts."""
    possible_duplicate: bool = False
    """An earlier attempt may have arrived as well."""


class Check(msgspec.Struct, frozen=True):
    """Look into the guest's history before anything is sent again."""

    at: float
    reason: str


class GiveUp(msgspec.Struct, frozen=True):
    """The end: `dead`, `expired` or `parked`."""

    state: PartState
    reason: str
    parked_for: ParkedFor | None = None
    """Why a person is waited for, where one is."""


Decision = Settle | Retry | Check | GiveUp


def decide(
    outcome: Outcome,
    *,
    attempt: int,
    now: float,
    age_from: float,
    jitter: float,
    policy: RetrySettings,
) -> Decision:
    """
    Say what becomes of a part after one attempt.

    Args:
        outcome: What the transport learned about this attempt.
        attempt: 1 for the first try, or for the first since a person released it. Throttled attempts are not counted.
        now: Seconds since the Unix epoch, UTC.
        age_from: When the part entered its lane, or was released.
        jitter: A draw from [0, 1), made by the caller.
        policy: Bounds on attempts and on age, and what follows at their end.

    Returns:
        Settle, Retry, Check or GiveUp. Pure: the same arguments give the same answer.
    """
    match outcome:
        case Accepted():
            return Settle(outcome)
        case Throttled(retry_after_s=wait_s, reason=reason):
            # The far side's word is a lower bound: a queue that comes back on the same instant is throttled again.
            return Retry(now + min(wait_s, MAX_THROTTLE_S) + 0.1 * jitter, reason, spent=False)
        case Refused(reason=reason):
            return _poisoned(reason, policy)
        case Failed(reason=reason, retry_after_s=wait_s):
            return _again_or_never(
                reason, attempt, now=now, age_from=age_from, jitter=jitter, policy=policy, wait_s=wait_s
            )
        case Unknown(reason=reason):
            return Check(now, reason)


def decide_unsettled(
    reason: str,
    *,
    delivery: Delivery,
    attempt: int,
    now: float,
    age_from: float,
    jitter: float,
    policy: RetrySettings,
    is_sudden: bool = False,
) -> Decision:
    """
    Say what becomes of a part whose last attempt may or may not have arrived, after its check.

    Args:
        reason: What the check said: absent, or why it could not say.
        delivery: The caller's choice between seen twice and perhaps never.
        attempt: As for `decide`.
        now: Seconds since the Unix epoch, UTC.
        age_from: As for `decide`.
        jitter: A draw from [0, 1), made by the caller.
        policy: Bounds on attempts and on age.
        is_sudden: Nothing could be looked up. A check has taken its time; without one the next attempt must.
    """
    if delivery is Delivery.AT_MOST_ONCE:
        return GiveUp(PartState.PARKED, f"outcome unknown: {reason}", "unknown")
    jitter = jitter if is_sudden else 0.0
    decision = _again_or_never(reason, attempt, now=now, age_from=age_from, jitter=jitter, policy=policy)
    return msgspec.structs.replace(decision, possible_duplicate=True) if isinstance(decision, Retry) else decision


def _again_or_never(
    reason: str,
    attempt: int,
    *,
    now: float,
    age_from: float,
    jitter: float,
    policy: RetrySettings,
    wait_s: float = 0.0,
) -> Retry | GiveUp:
    """Say when the next attempt is, not before `wait_s` seconds from now; or that there is none."""
    if attempt >= policy.max_attempts:
        return _poisoned(f"{reason}; given up after {attempt} attempts", policy)
    pause_s = backoff_s(attempt, jitter, base_s=policy.base_s, cap_s=policy.cap_s, floor_s=policy.floor_s)
    at = now + max(pause_s, min(wait_s, MAX_THROTTLE_S))
    if at - age_from > policy.max_age_s:
        return _poisoned(f"{reason}; given up after {policy.max_age_s:.0f} s", policy)
    return Retry(at, reason)


def _poisoned(reason: str, policy: RetrySettings) -> GiveUp:
    """It will never be taken as it is. Either the guest's next message goes without it, or a person looks first."""
    if policy.poison == "stop_guest":
        return GiveUp(PartState.PARKED, reason, "poison")
    return GiveUp(PartState.DEAD, reason)


def backoff_s(attempt: int, jitter: float, *, base_s: float, cap_s: float, floor_s: float = 0.0) -> float:
    """
    Return a delay in seconds: full jitter under a bound that doubles with each attempt, and above a floor.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
    """
    # The exponent is bounded before it is used: 2 ** 10_000 is a number that no float holds.
    bound_s = min(cap_s, base_s * 2.0 ** min(max(attempt - 1, 0), 60))
    return floor_s + jitter * max(0.0, bound_s - floor_s)
