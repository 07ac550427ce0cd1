"""
Transmit guest messages into Genesys Cloud, in order, without losing or doubling them.

    import asyncio
    from guestwire import GuestWire, Message

    async def main() -> None:
        async with GuestWire.open(to="web") as wire:
            ticket = await wire.submit(Message(guest="42", text="Where is my order?"))
            print(await wire.wait(ticket, timeout_s=30))

    asyncio.run(main())

The names below are the public ones; they are imported when they are first used, so that `import guestwire` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guestwire.answers import Answer, Option
    from guestwire.checking import check
    from guestwire.client import GuestWire, MessageStatus, Status
    from guestwire.errors import (
        AuthenticationError,
        ConfigError,
        Finding,
        GuestWireError,
        NotFound,
        Rejected,
        StoreError,
    )
    from guestwire.message import Message
    from guestwire.model import (
        Attachment,
        Delivery,
        Draft,
        JournalEntry,
        PartState,
        Profile,
        RemoteFile,
        Reply,
        Ticket,
    )
    from guestwire.settings import Destination, Limits, RelaySettings, Settings

_HOMES = {
    "guestwire.answers": ("Answer", "Option"),
    "guestwire.checking": ("check",),
    "guestwire.client": ("GuestWire", "MessageStatus", "Status"),
    "guestwire.errors": (
        "AuthenticationError",
        "ConfigError",
        "Finding",
        "GuestWireError",
        "NotFound",
        "Rejected",
        "StoreError",
    ),
    "guestwire.message": ("Message",),
    "guestwire.model": (
        "Attachment",
        "Delivery",
        "Draft",
        "JournalEntry",
        "PartState",
        "Profile",
        "RemoteFile",
        "Reply",
        "Ticket",
    ),
    "guestwire.settings": ("Destination", "Limits", "RelaySettings", "Settings"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "Attachment",
    "AuthenticationError",
    "ConfigError",
    "Delivery",
    "Destination",
    "Draft",
    "Finding",
    "GuestWire",
    "GuestWireError",
    "JournalEntry",
    "Limits",
    "Message",
    "MessageStatus",
    "NotFound",
    "Option",
    "PartState",
    "Profile",
    "Rejected",
    "RelaySettings",
    "RemoteFile",
    "Reply",
    "Settings",
    "Status",
    "StoreError",
    "Ticket",
    "check",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'guestwire' has no attribute '{name}'")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
