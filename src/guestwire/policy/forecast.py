"""
When a backlog will be through, before it is begun.

An estimate from the limits alone, with its assumptions stated: every guest's messages go one after the other, guests
go side by side, and nothing is throttled, lost or slow beyond `ECHO_S`. Over a session the limits are each guest's, and
connects are the deployment's; over REST they are the token's, and all guests share them.

A window slides from answers on (`policy.pace`), so what fills it goes again one period after its first *answer*: the
round trip comes on top of every period. `tests/unit/test_forecast_run.py` holds the estimate against the relay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from guestwire.settings import Destination, Limits

#: Time from sending a message to its echo, or its answer, that is assumed, in seconds.
ECHO_S = 0.2
#: Time from asking for a connection to a configured session that is assumed, in seconds.
CONNECT_S = 0.3


class Forecast(msgspec.Struct, frozen=True):
    """How long, and because of what."""

    duration_s: float
    binding: str
    """The limit that decides the duration: a name of the settings, or ``echo`` when only the round trips take time."""
    assumptions: str


#: How long something takes, and what decides it.
_Span = tuple[float, str]


def forecast_for(messages_by_guest: Iterable[int], destination: Destination) -> Forecast:
    """Estimate how long a backlog takes at a destination; see `forecast`."""
    return forecast(
        messages_by_guest,
        destination.limits if destination.pace else _unpaced(destination.limits),
        by_token=not destination.has_sessions,
        new_guests_per_min=destination.max_new_guests_per_min if destination.pace else None,
    )


def forecast(
    messages_by_guest: Iterable[int],
    limits: Limits,
    *,
    by_token: bool = False,
    new_guests_per_min: int | None = None,
    echo_s: float = ECHO_S,
    connect_s: float = CONNECT_S,
) -> Forecast:
    """
    Estimate how long a backlog takes.

    Args:
        messages_by_guest: How many messages each guest has, in the order in which they come.
        limits: Of the destination.
        by_token: They count by token, not by guest.
        new_guests_per_min: Bound on new sessions, where there is one; every guest is taken for a new one.
        echo_s: Assumed round trip of one message, in seconds.
        connect_s: Assumed time for a connection and its session, in seconds.
    """
    counts = [count for count in messages_by_guest if count]
    if by_token:
        duration_s, binding = _token(counts, limits, echo_s)
        return Forecast(
            round(duration_s, 1),
            binding,
            f"every answer within {echo_s:g} s, no throttling, no losses, nobody else uses the token",
        )
    duration_s, binding = 0.0, "echo"
    for position, count in enumerate(counts):
        connect = _connected(position, limits, new_guests_per_min, connect_s)
        lane = _lane(count, limits, echo_s)
        if connect[0] + lane[0] > duration_s:
            duration_s = connect[0] + lane[0]
            binding = connect[1] if connect[0] - connect_s > lane[0] else lane[1]
    told = (
        f"every echo within {echo_s:g} s, every session within {connect_s:g} s, no throttling, no losses, "
        "guests side by side"
    )
    if new_guests_per_min is not None:
        told += ", every guest a new one"
    return Forecast(round(duration_s, 1), binding, told)


def _unpaced(limits: Limits) -> Limits:
    """Nothing is counted but how many are on their way."""
    without = 1_000_000_000
    return msgspec.structs.replace(
        limits, messages_per_s=without, requests_per_min=without, connects_per_min=without, reserve_per_min=0
    )


def checks_s(count: int, *, per_min: int | None, requests: int, settle_s: float) -> float:
    """
    Estimate how long it takes at least until so many unknown outcomes are settled.

    Each takes requests of the kind that `per_min` bounds (a connection, or looks at a conversation), and is believed to
    be absent only after two looks, each after a pause.

    Args:
        count: How many need such requests; those that have a connection need none.
        per_min: The bound, for all of them together; None: there is none.
        requests: How many each of them takes.
        settle_s: The pause before each look, in seconds.
    """
    return 2 * settle_s + (0.0 if per_min is None else 60.0 * count * requests / per_min)


def _connected(position: int, limits: Limits, new_guests_per_min: int | None, connect_s: float) -> _Span:
    """When the guest in a place of the queue has his session."""
    period_s = 60.0 + connect_s
    found = [(position // limits.connects_per_min * period_s + connect_s, "connects_per_min")]
    if new_guests_per_min is not None:
        found.append((position // new_guests_per_min * period_s + connect_s, "max_new_guests_per_min"))
    return max(found, key=_longest)


def _lane(count: int, limits: Limits, echo_s: float) -> _Span:
    """How long one guest's messages take, one after the other."""

    def second(uses: int) -> _Span:
        return _windowed(uses, limits.messages_per_s, 1.0, lambda some: some * echo_s, echo_s, "messages_per_s", "echo")

    # The configure request counts against the same minute: it is the first use of the first one, answered before.
    full, rest = divmod(count, limits.requests_per_min)
    if not full:
        return second(count)
    fastest_s = second(limits.requests_per_min)[0]
    until_s = max(60.0, fastest_s) + (full - 1) * max(60.0 + echo_s, fastest_s)
    return until_s + second(rest + 1)[0], "requests_per_min"


def _token(counts: list[int], limits: Limits, echo_s: float) -> _Span:
    """How long all messages of a token take."""
    if not counts:
        return 0.0, "echo"
    # A guest's messages go one after the other, so there are never more on their way than guests.
    at_once = min(limits.max_in_flight, len(counts))
    width = "max_in_flight" if at_once == limits.max_in_flight else "echo"

    def waves(uses: int) -> float:
        return math.ceil(uses / at_once) * echo_s

    def second(uses: int) -> _Span:
        return _windowed(uses, limits.messages_per_s, 1.0, waves, echo_s, "messages_per_s", width)

    per_min = max(1, limits.requests_per_min - limits.reserve_per_min)
    total = sum(counts)
    full, rest = divmod(total - 1, per_min)
    found = second(rest + 1)
    if full:
        per_window_s = max(60.0 + echo_s, second(per_min)[0])
        # Guests take turns, so those with much to say are left for the last window, where they are fewer.
        left_s = (max(counts) - _level(counts, total - rest - 1)) * echo_s
        found = full * per_window_s + max(found[0], left_s), "requests_per_min"
    return max((max(counts) * echo_s, "echo"), found, key=_longest)


def _level(counts: list[int], done: int) -> int:
    """How many messages of each guest are through, if he has so many, when `done` of all are: they take turns."""
    low, high = 0, max(counts)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(count, middle) for count in counts) <= done:
            low = middle
        else:
            high = middle - 1
    return low


def _windowed(
    uses: int, limit: int, period_s: float, alone: Callable[[int], float], echo_s: float, name: str, otherwise: str
) -> _Span:
    """
    How long uses take that a window holds.

    Args:
        uses: How many.
        limit: How many of them the window admits.
        period_s: In so many seconds.
        alone: How long some uses would take without the window.
        echo_s: Round trip of one.
        name: Of the window.
        otherwise: What decides where the window does not.
    """
    full, rest = divmod(uses - 1, limit)
    if not full or alone(limit) >= period_s + echo_s:
        return alone(uses), otherwise
    return full * (period_s + echo_s) + alone(rest + 1), name


def _longest(span: _Span) -> float:
    return span[0]
