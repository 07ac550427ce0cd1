"""
The tree of settings as dotted names: ``destinations.web.limits.max_text``, and its environment variable.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from guestwire.errors import ConfigError
from guestwire.settings.tree import (
    Ambient,
    Destination,
    FileSettings,
    LogSettings,
    PolicySettings,
    RelaySettings,
    Section,
    SinkSettings,
    StoreSettings,
    fields_of,
)
from guestwire.settings.values import shown

PREFIX = "GUESTWIRE_"
#: Fields of a destination that are no settings.
NOT_SET = frozenset({"name", "credentials_from"})


class Key(NamedTuple):
    """A setting by its dotted name; ``*`` stands for the name of a destination."""

    path: str
    kind: Any
    """Its type, with its range."""
    default: Any
    """`msgspec.NODEFAULT` where there is none, or where `guestwire.settings.sources` works it out."""


@functools.cache
def known_keys() -> Mapping[str, Key]:
    """Every setting, by dotted name, in the order of the tree."""
    keys: dict[str, Key] = {}

    def walk(prefix: str, section: type[Section]) -> None:
        for name, kind, default in fields_of(section):
            if isinstance(kind, type) and issubclass(kind, Section):
                walk(f"{prefix}.{name}", kind)
            elif kind is not Ambient and not (section is Destination and name in NOT_SET):
                keys[f"{prefix}.{name}"] = Key(f"{prefix}.{name}", kind, default)

    walk("destinations.*", Destination)
    walk("store", StoreSettings)
    walk("relay", RelaySettings)
    walk("sinks", SinkSettings)
    walk("log", LogSettings)
    walk("policy", PolicySettings)
    walk("files", FileSettings)
    return keys


def variable_of(key: str) -> str:
    """The environment variable for a dotted key."""
    return PREFIX + key.replace(".", "__").replace("-", "_").upper()


def pattern_of(key: str) -> str:
    """The key with ``*`` in place of the name of a destination."""
    first, *rest = key.split(".")
    return ".".join((first, "*", *rest[1:])) if first == "destinations" and rest else key


def find_key(key: str, source: str) -> Key:
    """The setting that a dotted key names; GW-C005 where there is none."""
    known = known_keys().get(pattern_of(key))
    if known is None:
        refuse_unknown(key, source)
    return known


def refuse_unknown(key: str, source: str) -> NoReturn:
    """Refuse a key that is not a setting, with the nearest one that is."""
    segments = key.split(".")
    pattern = pattern_of(key)
    near: str | None = None
    for known in known_keys():  # right name, wrong table
        if known.rpartition(".")[2] == segments[-1] and known.startswith(pattern.partition(".")[0]):
            near = known
    near = near or nearest(pattern, list(known_keys()))
    if near is not None and segments[0] == "destinations" and len(segments) > 1:
        near = near.replace("*", segments[1], 1)
    raise ConfigError(
        f"{shown(key)[1:-1]} is not a setting ({source})",
        code="GW-C005",
        hint=f"did you mean {near}?" if near else "docs/configuration.md lists every setting",
    )


def nearest(name: str, names: list[str]) -> str | None:
    """The name that was probably meant, if one is near enough."""
    import difflib

    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.6)), None)
