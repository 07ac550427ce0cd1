"""
What a program holds messages against beside the limits: its policy file, read again when it changes, and its own rules.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from guestwire.clock import Clock
from guestwire.errors import ConfigError
from guestwire.settings.files import read_text
from guestwire.settings.policy import Policy, parse_policy

if TYPE_CHECKING:
    from guestwire.policy.content import Content
    from guestwire.policy.verdict import Rule

logger = logging.getLogger("guestwire.policy")

#: So often at most the file is looked at, in seconds.
LOOK_EVERY_S = 1.0


class Rulebook:
    """
    The policy in force, and the rules of the program.

    Args:
        clock: The time.
        file: The policy file; None: the default policy.
        rules: The program's own.

    Raises:
        ConfigError: The file cannot be used. Later, when it changes, that is logged, and the old one stays in force.
    """

    def __init__(self, clock: Clock, file: Path | None = None, rules: Sequence[Rule] = ()) -> None:
        self._clock = clock
        self._file = file
        self.rules = tuple(rules)
        self._looked_at = float("-inf")
        self._seen: list[tuple[int, ...] | None] = []
        self._content: Content | None = None
        if file is not None:
            self._content = read_policy(file)
            self._seen = self._states(file)

    @property
    def content(self) -> Content:
        """The policy in force, ready to look."""
        now = self._clock.now()
        if self._file is not None and not self._looked_at <= now < self._looked_at + LOOK_EVERY_S:
            self._looked_at = now
            self._look_again(self._file)
        if self._content is None:
            from guestwire.policy.content import Content

            self._content = Content(Policy())
        return self._content

    def _look_again(self, file: Path) -> None:
        states = self._states(file)
        if states == self._seen:
            return
        self._seen = states
        try:
            self._content = read_policy(file)
        except ConfigError as error:
            logger.error("the policy stays as it was: %s", error, extra={"action": "policy_refused"})
        else:
            self._seen = self._states(file)  # it may name other lists now
            logger.info("policy %s is in force", self._content.policy.name, extra={"action": "policy_read"})

    def _states(self, file: Path) -> list[tuple[int, ...] | None]:
        """Return what tells a changed file from an unchanged one: of the policy, and of the lists that it names."""
        lists = () if self._content is None else self._content.policy.lists.values()
        return [_state_of(one) for one in (file, *(file.parent / name for words in lists for name in words.files))]


def read_policy(file: Path) -> Content:
    """
    Read a policy file and make it ready.

    Raises:
        ConfigError: With the line, where it is certain, and the reason.
    """
    from guestwire.policy.content import Content

    return Content(parse_policy(read_text(file), file, read_text))


def find_rules(names: Sequence[str]) -> tuple[Rule, ...]:
    """
    Import the program's own rules.

    Args:
        names: Each as ``module:function``.

    Raises:
        ConfigError: GW-C023, there is no such function.
    """
    return tuple(_find(name) for name in names)


def _find(name: str) -> Rule:
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(import_module(module), function)
    except Exception as error:  # whatever a module does when it is imported
        raise ConfigError(
            f"the rule {name!a} cannot be found: {type(error).__name__}: {error}",
            code="GW-C023",
            hint="name it as module:function, and have the module where Python finds it",
        ) from error
    if not callable(found):
        raise ConfigError(f"{name!a} is no function", code="GW-C023", hint="name it as module:function")
    return cast("Rule", found)


def _state_of(file: Path) -> tuple[int, ...] | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
