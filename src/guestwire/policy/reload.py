"""
What of new settings holds at once, while a relay runs, and what only after a restart.

At once: how much is sent and how patiently. After a restart: where to, as whom, over which connections, out of which
store; a session that is open must not be lost over a typing mistake. A destination that would lead elsewhere takes none
of its new settings before that, since they are meant for another place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from guestwire.settings import Destination, Limits, RelaySettings, RetrySettings
from guestwire.settings.tree import Section, fields_of

S = TypeVar("S", bound=Section)

#: Of a destination. Not among them is what connections were made with: for how many, and when they give up.
LIVE: Final = frozenset(
    {
        "pace",
        "max_new_guests_per_min",
        "delivery",
        "probe_links",
        "min_link_life_s",
        "allow_links",
        *(
            f"retry.{name}"
            for name in RetrySettings.__struct_fields__
            if name not in ("trip_after", "trust_unavailable")
        ),
        *(f"limits.{name}" for name in Limits.__struct_fields__ if name not in ("max_sessions", "max_in_flight")),
    }
)
#: Of the relay: what the loop itself waits for. The rest was handed to connections.
LIVE_RELAY: Final = frozenset({"settle_s", "check_for_s", "shutdown_s", "poll_replies_s", "reorder_s"})
#: No settings, but what they are worked out from: under the name of what they decide.
_CALLED: Final = {"ambient": "proxy", "credentials_from": None, "name": None}


class Changes(msgspec.Struct, frozen=True):
    """Keys that differ, by dotted name."""

    live: tuple[str, ...] = ()
    """In force from now on."""
    restart: tuple[str, ...] = ()
    """In force after a restart."""

    def __add__(self, other: Changes) -> Changes:
        return Changes(self.live + other.live, self.restart + other.restart)


def changed_destination(old: Destination, new: Destination) -> tuple[Destination, Changes]:
    """Return the destination as it is to be from now on, and what differs between the two."""
    live = LIVE if old.fingerprint == new.fingerprint else frozenset()
    return _merged(old, new, live), _sorted_by(f"destinations.{old.name}.", old, new, live)


def changed_destinations(
    old: Mapping[str, Destination], new: Mapping[str, Destination]
) -> tuple[dict[str, Destination], Changes]:
    """Return the destinations as they are to be from now on; one more, or one less, needs a restart."""
    merged, changes = dict(old), Changes(restart=tuple(f"destinations.{name}" for name in sorted({*old} ^ {*new})))
    for name in old:
        if name in new:
            merged[name], found = changed_destination(old[name], new[name])
            changes += found
    return merged, changes


def changed_relay(old: RelaySettings, new: RelaySettings) -> tuple[RelaySettings, Changes]:
    """Return the relay's settings as they are to be from now on, and what differs between the two."""
    return _merged(old, new, LIVE_RELAY), _sorted_by("relay.", old, new, LIVE_RELAY)


def differences(old: Section, new: Section) -> Iterator[str]:
    """Give the dotted names of the keys in which two sections differ; never a value."""
    for name, _, _ in fields_of(type(old)):
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if isinstance(before, Section):
            yield from (f"{name}.{key}" for key in differences(before, after))
        elif (called := _CALLED.get(name, name)) is not None:
            yield called


def _sorted_by(prefix: str, old: Section, new: Section, live: Collection[str]) -> Changes:
    found = list(dict.fromkeys(differences(old, new)))
    return Changes(
        tuple(prefix + key for key in found if key in live), tuple(prefix + key for key in found if key not in live)
    )


def _merged(old: S, new: S, live: Collection[str], prefix: str = "") -> S:
    """Return `old` with those keys of `new` that are `live`."""
    taken = {}
    for name, _, _ in fields_of(type(old)):
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Section):
            taken[name] = _merged(before, after, live, f"{prefix}{name}.")
        elif prefix + name in live:
            taken[name] = after
    return msgspec.structs.replace(old, **taken)
