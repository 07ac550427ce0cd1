"""
When a backlog will be through, before it is begun.

An estimate from the limits alone, with its assumptions stated: every guest's messages go one after the other, guests
go side by side, and nothing is throttled, lost or slow beyond `echo_s`. Over a session the limits are each guest's;
over REST they are the token's, and all guests share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from guestwire.settings import Limits

#: Time from sending a message to its echo that is assumed, in seconds.
ECHO_S = 0.2


class Forecast(msgspec.Struct, frozen=True):
    """How long, and because of what."""

    duration_s: float
    binding: str
    """The limit that decides the duration: a name of the settings, or ``echo`` when only the round trips take time."""
    assumptions: str


def forecast(
    messages_by_guest: Iterable[int], limits: Limits, *, by_token: bool = False, echo_s: float = ECHO_S
) -> Forecast:
    """
    Estimate how long a backlog takes.

    Args:
        messages_by_guest: How many messages each guest has.
        limits: Of the destination.
        by_token: They count by token, not by guest.
        echo_s: Assumed round trip of one message, in seconds.
    """
    counts = sorted(messages_by_guest, reverse=True)
    if by_token:
        duration_s, binding = _token(counts, limits, echo_s)
        return Forecast(
            round(duration_s, 1),
            binding,
            f"every answer within {echo_s:g} s, no throttling, no losses, nobody else uses the token",
        )
    longest, binding = 0.0, "echo"
    for position, count in enumerate(counts):
        # Whoever has most to say is connected first here; the relay connects in order of entry, so this is the least.
        connect_s = 60.0 * (position // limits.connects_per_min)
        lane_s, lane_binding = _lane(count, limits, echo_s)
        total_s = connect_s + lane_s
        if total_s > longest:
            longest = total_s
            binding = "connects_per_min" if connect_s > lane_s else lane_binding
    return Forecast(
        round(longest, 1),
        binding,
        f"every echo within {echo_s:g} s, no throttling, no losses, guests side by side",
    )


def checks_s(count: int, *, per_min: int | None, requests: int, settle_s: float) -> float:
    """
    Estimate how long it takes at least until so many unknown outcomes are settled.

    Each takes requests of the kind that `per_min` bounds (a connection, or looks at a conversation), and is believed to
    be absent only after two looks, each after a pause.

    Args:
        count: How many.
        per_min: The bound, for all of them together; None: there is none.
        requests: How many each of them takes.
        settle_s: The pause before each look, in seconds.
    """
    if not count:
        return 0.0
    return 2 * settle_s + (0.0 if per_min is None else 60.0 * count * requests / per_min)


def _token(counts: list[int], limits: Limits, echo_s: float) -> tuple[float, str]:
    """How long all messages of a token take, and what decides it."""
    total = sum(counts)
    if not total:
        return 0.0, "echo"
    per_min = max(1, limits.requests_per_min - limits.reserve_per_min)
    return max(
        (counts[0] * echo_s, "echo"),
        (math.ceil(total / limits.max_in_flight) * echo_s, "max_in_flight"),
        ((total - 1) // limits.messages_per_s * 1.0 + echo_s, "messages_per_s"),
        ((total - 1) // per_min * 60.0 + echo_s, "requests_per_min"),
        key=lambda each: each[0],
    )


def _lane(count: int, limits: Limits, echo_s: float) -> tuple[float, str]:
    """How long one guest's messages take, and what decides it."""
    by_echo = count * echo_s
    by_second = max(0, (count - 1) // limits.messages_per_s) * 1.0 + echo_s
    # The configure request counts against the same minute.
    by_minute = max(0, count // limits.requests_per_min) * 60.0 + echo_s
    # The first of the longest: a limit binds only where it takes longer than the round trips.
    return max(
        (by_echo, "echo"), (by_second, "messages_per_s"), (by_minute, "requests_per_min"), key=lambda each: each[0]
    )
