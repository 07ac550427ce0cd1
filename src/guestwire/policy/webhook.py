"""
What becomes of a delivery to a receiver of the user's own, after each attempt.

There is no last attempt: a receiver that is down for a week gets everything when it is back. Only its own word that it
is gone for ever ends the deliveries to it.
"""

from __future__ import annotations

import email.utils
from datetime import UTC

import msgspec

from guestwire.policy.retry import backoff_s

#: First and longest pause after failures. The longest one is what a receiver waits at most once it is back.
BASE_S = 1.0
CAP_S = 60.0
#: A receiver that asks for more patience than this gets this much.
MAX_RETRY_AFTER_S = 300.0
#: Those who were told to come back at one instant come back spread over this long.
SPREAD_S = 1.0


class Taken(msgspec.Struct, frozen=True):
    """The receiver has it."""


class Gone(msgspec.Struct, frozen=True):
    """The receiver wants nothing any more."""

    reason: str


class Again(msgspec.Struct, frozen=True):
    """The same delivery, under the same id, goes out again."""

    at: float
    """When, in seconds since the epoch."""
    reason: str
    for_all: bool = False
    """Whether the receiver turned away whoever comes, and not this delivery: then all the others wait too."""


Verdict = Taken | Gone | Again


def judge(status: int, retry_after: str | None, *, attempt: int, now: float, jitter: float) -> Verdict:
    """
    Say what an answer means.

    Args:
        status: Of the HTTP answer. 2xx is taken; 410 is gone; 429 turns away everybody; all else is tried again,
            redirects too, since they are not followed.
        retry_after: The header as it came, or None. Counts for 429 and 503, up to `MAX_RETRY_AFTER_S`.
        attempt: 1 for the first.
        now: Seconds since the Unix epoch, UTC.
        jitter: A draw from [0, 1), made by the caller.
    """
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Taken()
    if status == 410:
        return Gone(reason)
    wait_s = patience_s(retry_after, now) if status in (429, 503) else None
    if wait_s is None:
        return missed(reason, attempt=attempt, now=now, jitter=jitter)
    return Again(now + wait_s + SPREAD_S * jitter, reason, for_all=status == 429)


def missed(reason: str, *, attempt: int, now: float, jitter: float) -> Again:
    """Say when an attempt without a usable answer is followed by the next: full jitter under a bound that doubles."""
    return Again(now + backoff_s(attempt, jitter, base_s=BASE_S, cap_s=CAP_S), reason)


def patience_s(retry_after: str | None, now: float) -> float | None:
    """Read a `Retry-After`, seconds or a date, as seconds from now, bounded; None where there is none that is one."""
    if retry_after is None:
        return None
    value = retry_after.strip()
    if value.isascii() and value.isdecimal():
        # Compared before it is converted: no float holds a number of 400 digits.
        return MAX_RETRY_AFTER_S if len(value) > 6 else min(float(value), MAX_RETRY_AFTER_S)
    try:
        parsed = email.utils.parsedate_to_datetime(value)
        # A date without a zone is GMT (RFC 9110, section 5.6.7), whatever this machine's zone is.
        at = (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return min(max(at - now, 0.0), MAX_RETRY_AFTER_S)
