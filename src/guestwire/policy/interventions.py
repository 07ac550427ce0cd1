"""
What a person may decide about a message, and what of it moves then.

Three verbs. *Cancel* ends what has not left. *Release* sends what waits for a person. *Retry* makes a new message of
what has ended without being accepted: the old one stays as it is, so that its story can still be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from guestwire.model import OPEN_STATES, ParkedFor, PartId, PartState
from guestwire.policy.states import PartEvent, after

Verb = Literal["cancel", "release", "retry"]

_GIVEN_UP = frozenset({PartState.DEAD, PartState.EXPIRED})


class Standing(msgspec.Struct, frozen=True):
    """A part as far as a person's decision depends on it."""

    part_id: PartId
    state: PartState
    parked_for: ParkedFor | None = None
    is_doubtful: bool = False
    """An attempt of it had an unknown outcome: the gateway may have taken it."""
    has_content: bool = True
    """Its content is kept still."""
    is_too_old: bool = False
    """It would expire instead of being sent."""


class Plan(msgspec.Struct, frozen=True):
    """What a decision does to a message."""

    moves: tuple[PartId, ...] = ()
    left: tuple[tuple[PartId, str], ...] = ()
    """Parts that stay as they are, and why."""
    doubtful: int = 0
    """Of those that move: the gateway may have taken so many of them. Sent again, they may be seen twice; cancelled,
    they may have been seen nevertheless."""


def plan(verb: Verb, parts: Sequence[Standing]) -> Plan:
    """
    Say what of a message moves.

    Args:
        verb: The decision.
        parts: All of the message's, in order.
    """
    why_not = _WHY_NOT[verb](parts)
    left = [(part, why_not(part)) for part in parts]
    moves = [part for part, why in left if why is None]
    return Plan(
        tuple(part.part_id for part in moves),
        tuple((part.part_id, why) for part, why in left if why is not None),
        sum(part.is_doubtful for part in moves),
    )


WhyNot = Callable[[Standing], str | None]


def _cancel(parts: Sequence[Standing]) -> WhyNot:
    def why_not(part: Standing) -> str | None:
        if after(part.state, PartEvent.CANCEL) is not None:
            return None
        if part.state in OPEN_STATES:
            return f"{part.state.value}: it is on its way, or may have arrived; when that is known it can be cancelled"
        return f"{part.state.value} already"

    return why_not


def _release(parts: Sequence[Standing]) -> WhyNot:
    is_half = any(part.state in _GIVEN_UP for part in parts)

    def why_not(part: Standing) -> str | None:
        if after(part.state, PartEvent.RELEASE) is None:
            return f"{part.state.value}, not parked"
        if is_half:
            return "another part of the message is given up: 'retry' sends that one too"
        if part.is_too_old:
            return "it would expire at once; 'cancel' it, or submit it anew"
        return None

    return why_not


def _retry(parts: Sequence[Standing]) -> WhyNot:
    is_given_up = any(part.state in _GIVEN_UP for part in parts)

    def why_not(part: Standing) -> str | None:
        takes_part = part.state in _GIVEN_UP or (is_given_up and part.state is PartState.PARKED)
        if not takes_part:
            return f"{part.state.value}, not given up"
        return None if part.has_content else "its content is not kept any more"

    return why_not


_WHY_NOT: dict[Verb, Callable[[Sequence[Standing]], WhyNot]] = {
    "cancel": _cancel,
    "release": _release,
    "retry": _retry,
}
