"""
The errors a user of guestwire can meet.

    GuestWireError
    ├── ConfigError            a setting, a file, a flag               GW-C…   exit 4 (2 for usage)
    ├── AuthenticationError    the far side does not let us in         GW-A…   exit 4
    ├── Rejected               our rules refuse a message, all findings GW-R…  exit 3
    ├── StoreError             the data folder cannot be used          GW-S…   exit 4
    └── NotFound               no such message, guest, destination     GW-N…   exit 2

What happens to a message on its way is never an exception: see `guestwire.model.Outcome`.
Each code has its place in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """What a rule says of a message."""

    rule: str
    """Stable name of the rule, such as ``text.too_long``."""
    path: str
    """The field it is about, such as ``text`` or ``attributes.topic``."""
    text: str
    """What is wrong, in one clause; quotes no message text."""
    fix: str = ""
    action: Literal["reject", "redact", "park", "warn"] = "reject"
    """What follows: nothing of the message is stored; the place is masked; it waits for a person; it is noted."""
    span: tuple[int, int] | None = None
    """Where in the field, in characters from 0; the end is the first that does not belong to it."""


class GuestWireError(Exception):
    """
    Something that the caller has to know, with what to do about it.

    Args:
        message: What is wrong and why, in one sentence, naming the value. Never a secret, never message text.
        code: Stable, such as ``GW-C012``; docs/errors.md has an entry for each.
        hint: What to do, in one sentence. May be empty.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class ConfigError(GuestWireError):
    """A setting, a file or a flag cannot be used as it stands."""


class AuthenticationError(GuestWireError):
    """The far side does not let us in with what we have."""


class StoreError(GuestWireError):
    """The store cannot be opened, or cannot be written."""


class NotFound(GuestWireError):
    """Nothing by that name is known here."""


class Rejected(GuestWireError):
    """
    Our own rules refuse the message; nothing of it was stored.

    Attributes:
        findings: Every reason at once, not the first one.
    """

    def __init__(self, findings: Sequence[Finding], *, code: str = "GW-R001") -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        reasons = "; ".join(f"{finding.path}: {finding.text}" for finding in self.findings)
        super().__init__(
            f"the message was not accepted: {reasons}",
            code=code,
            hint="; ".join(dict.fromkeys(finding.fix for finding in self.findings if finding.fix)),
        )
