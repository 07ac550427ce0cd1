"""
The policy file: what may be said, in the words of whoever is responsible for it.

A file of its own, because others write it than those who write `guestwire.toml`, and because it is read again whenever
it changes. docs/policy.md has every key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from guestwire.errors import ConfigError
from guestwire.settings.files import parse_toml, source_in
from guestwire.settings.keys import nearest
from guestwire.settings.tree import Section
from guestwire.settings.values import NAME, Misfit, shown

#: What follows when a rule finds something.
Action = Literal["reject", "redact", "park", "warn", "off"]


class Words(Section, frozen=True, kw_only=True):
    """A list of words and phrases, which are found in whatever spelling a reader would recognise."""

    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Files with one word a line, beside the policy file; empty lines and lines with ``#`` do not count."""
    whole_words: bool = True
    """Off: also inside of longer words."""
    action: Action = "reject"
    fix: str = ""
    """What whoever is rejected is told to do."""


class Patterns(Section, frozen=True, kw_only=True):
    """Regular expressions (RE2's language: no look-around, no back-references, linear time)."""

    patterns: tuple[str, ...] = ()
    case: bool = False
    """Tell capitals from small letters."""
    action: Action = "reject"
    fix: str = ""


class Links(Section, frozen=True, kw_only=True):
    """Where links in a text may lead."""

    allow: tuple[str, ...] = ()
    """Domains, each with everything below it; none: everywhere but to `deny`."""
    deny: tuple[str, ...] = ()
    """Domains, each with everything below it; found without ``https://`` too."""
    action: Action = "reject"
    fix: str = ""


class Personal(Section, frozen=True, kw_only=True):
    """What follows when a text holds personal data, or a key that opens something."""

    email: Action = "off"
    phone: Action = "off"
    """Needs the extra ``phone``."""
    card: Action = "warn"
    api_key: Action = "warn"
    region: str | None = None
    """Two letters, such as ``NL``: of which country a phone number without ``+`` is."""


class Allowed(Section, frozen=True, kw_only=True):
    """What is never found, though a list, a pattern or a detector would: the whole finding has to be inside of it."""

    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class Group(Section, frozen=True, kw_only=True):
    """Guests for whom other actions hold."""

    guests: tuple[str, ...] = ()
    """Their keys; ``*`` stands for anything."""
    actions: dict[str, Action] = msgspec.field(default_factory=dict)
    """By the name of a rule, such as ``list.competitors`` or ``personal.card``."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy file. The default is that of somebody who has none."""

    version: str = "default"
    """The responsible person's own word for it; it stands in the journal of each message."""
    digest: str = ""
    """Of the file and the lists beside it, eight hexadecimal digits."""
    script: Action = "reject"
    """When a text holds an HTML element that runs code."""
    lists: dict[str, Words] = {}
    patterns: dict[str, Patterns] = {}
    links: Links = Links()
    personal: Personal = Personal()
    allow: Allowed = Allowed()
    groups: dict[str, Group] = {}
    source: str = ""
    """Where it was read; for errors."""

    @property
    def name(self) -> str:
        """Version and digest, as the journal has them."""
        return f"{self.version}/{self.digest}" if self.digest else self.version


_TABLES: dict[str, type[Section]] = {"links": Links, "personal": Personal, "allow": Allowed}
_FAMILIES: dict[str, type[Section]] = {"lists": Words, "patterns": Patterns, "groups": Group}
_PLAIN = ("version", "script")


def parse_policy(text: str, path: Path, read: Callable[[Path], str]) -> Policy:
    """
    Read a policy file.

    Args:
        text: Of the file.
        path: Where it lies: for errors, and for the lists beside it.
        read: Reads such a list.

    Raises:
        ConfigError: GW-C004, it is not TOML; GW-C005, a key is unknown; GW-C006, a value does not fit; GW-C003, a list
            cannot be read. Each with the line where it is certain.
    """
    return _Reading(text, path, read).policy()


class _Reading:
    def __init__(self, text: str, path: Path, read: Callable[[Path], str]) -> None:
        self._text = text
        self._path = path
        self._read = read
        self._digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4)

    def policy(self) -> Policy:
        found: dict[str, Any] = {}
        for name, value in parse_toml(self._text, self._path).items():
            if name in _PLAIN:
                found[name] = self._plain(name, value)
            elif name in _TABLES:
                found[name] = self._table((name,), _TABLES[name], value)
            elif name in _FAMILIES:
                found[name] = dict(self._family(name, value))
            else:
                self._unknown((name,), [*_PLAIN, *_TABLES, *_FAMILIES])
        for name, words in found.get("lists", {}).items():
            found["lists"][name] = self._with_files(name, words)
        found["version"] = found.get("version", "unnamed")
        return Policy(**found, digest=self._digest.hexdigest(), source=str(self._path))

    def _plain(self, name: str, value: object) -> Any:
        kind: Any = str if name == "version" else Action
        try:
            result = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            wanted = "text" if name == "version" else "one of reject, redact, park, warn, off"
            raise self._error((name,), f"{shown(value)} is not {wanted}") from None
        if name == "version" and (not result.isprintable() or not 0 < len(result) <= 64):
            raise self._error((name,), "is not 1 to 64 printable characters")
        return result

    def _family(self, family: str, value: object) -> Iterator[tuple[str, Section]]:
        for name, table in self._as_table((family,), value).items():
            if not NAME.fullmatch(name):
                raise self._error((family, name), "is no name: use lower-case letters, digits, '-' and '_'")
            yield name, self._table((family, name), _FAMILIES[family], table)

    def _table(self, place: tuple[str, ...], section: type[Section], value: object) -> Section:
        table = self._as_table(place, value)
        for key, given in table.items():
            if key not in section.__struct_fields__:
                self._unknown((*place, key), list(section.__struct_fields__))
            if isinstance(given, list):
                table = {**table, key: tuple(given)}
        try:
            return section(**table)
        except Misfit as misfit:
            raise self._error((*place, misfit.key), misfit.problem) from None

    def _as_table(self, place: tuple[str, ...], value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(place, f"{shown(value)} is not a table")
        return value

    def _with_files(self, name: str, words: Words) -> Words:
        more: list[str] = []
        for file in words.files:
            try:
                text = self._read(self._path.parent / file)
            except (OSError, ConfigError) as error:
                reason = error.strerror if isinstance(error, OSError) else error.message
                problem = f"{shown(file)} cannot be read: {reason}"
                raise self._error(("lists", name, "files"), problem, "GW-C003") from None
            self._digest.update(text.encode("utf-8", "surrogatepass"))
            lines = (line.strip() for line in text.splitlines())
            more += [line for line in lines if line and not line.startswith("#")]
        return msgspec.structs.replace(words, words=(*words.words, *more))

    def _unknown(self, place: tuple[str, ...], known: list[str]) -> None:
        near = nearest(place[-1], known)
        hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(sorted(known))}"
        raise ConfigError(
            f"{'.'.join(place)} is no key of a policy ({source_in(self._path, self._text, place)})",
            code="GW-C005",
            hint=hint,
        )

    def _error(self, place: tuple[str, ...], problem: str, code: str = "GW-C006") -> ConfigError:
        return ConfigError(
            f"{'.'.join(place)} {problem} ({source_in(self._path, self._text, place)})",
            code=code,
            hint="docs/policy.md has every key; 'guestwire policy check' reads a file without using it",
        )
