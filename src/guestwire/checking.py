"""`guestwire.check`: what our rules say of a message, without a store and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from guestwire.clock import SystemClock
from guestwire.errors import Finding
from guestwire.model import Draft
from guestwire.rulebook import Rulebook
from guestwire.settings import Destination, Limits

if TYPE_CHECKING:
    from guestwire.message import Message
    from guestwire.policy.verdict import Rule

#: Web messaging, wherever it may be.
ANYWHERE = Destination(name="anywhere", url="http://127.0.0.1", deployment_id="00000000-0000-4000-8000-000000000000")


def check(
    message: Message | Draft,
    limits: Limits | Destination | None = None,
    *,
    policy: Path | None = None,
    rules: Sequence[Rule] = (),
) -> tuple[Finding, ...]:
    """
    Say everything that our rules find in a message; `Finding.action` says what would follow.

    Args:
        message: What would be submitted.
        limits: Of its way out, or the way out itself; None: web messaging with its defaults.
        policy: A policy file; None: the default policy.
        rules: Rules of one's own: pure functions of a draft and the limits, that return findings.

    Raises:
        ConfigError: The policy file cannot be used.
    """
    from guestwire.policy.verdict import judge

    destination = limits if isinstance(limits, Destination) else ANYWHERE
    if isinstance(limits, Limits):
        destination = msgspec.structs.replace(destination, limits=limits)
    draft = message if isinstance(message, Draft) else message.to_draft(destination.name)
    clock = SystemClock()
    book = Rulebook(clock, policy, rules)
    return judge(draft, destination, book.content, book.rules, now=clock.now()).findings
