"""`RestGuest`: a guest without a connection, who comes over REST and is told things by webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from guestwire.emulator.limits import NoWindow
from guestwire.emulator.records import Platform, Session, SessionKey
from guestwire.protocol import codec
from guestwire.protocol.frames import Channel, Message, Recipient

#: What `channel.to` of a webhook repeats of the guest.
_ADDRESS = ("id", "idType")


class RestGuest(Session):
    """
    A guest over REST.

    Args:
        key: What names him.
        platform: Open or Contract.
        channel_id: The integration, or the conversation of the tutorial contract.
        sender: His `from`, as last sent.
        life_s: How long silence may last, in seconds.
        name: Parts of the name of his draws.
    """

    def __init__(
        self,
        key: SessionKey,
        platform: Platform,
        channel_id: str,
        sender: Mapping[str, Any],
        life_s: float,
        name: tuple[object, ...],
    ) -> None:
        super().__init__(key, 0.0, messages=NoWindow(), configures=NoWindow(), history_reads=NoWindow(), name=name)
        self.platform = platform
        self.channel_id = channel_id
        self.sender = sender
        self.life_s = life_s

    @property
    def address(self) -> dict[str, Any]:
        """His id, and of which type it is."""
        return {name: self.sender[name] for name in _ADDRESS if name in self.sender}

    def addressed(self, body: Message) -> Message:
        """Complete what an agent says: from the integration, to the guest, with the platform's own message id."""
        channel = body.channel or Channel()
        nickname = channel.from_.nickname if channel.from_ else None
        channel = msgspec.structs.replace(
            channel,
            message_id=body.id,
            to=codec.read(Recipient, self.address),
            from_=Recipient(nickname=nickname, extra={"id": self.channel_id, "idType": "Opaque"}),
            extra={"id": self.channel_id, "platform": "Open"},
        )
        metadata = {name: value for name, value in (body.metadata or {}).items() if name != "correlationId"}
        return msgspec.structs.replace(body, channel=channel, metadata=metadata or None)


def guest_id_of(body: Message) -> str | None:
    """Whose message this is, or whom it is for: the id that a guest over REST gave himself in it."""
    channel = body.channel or Channel()
    person = channel.from_ if body.direction == "Inbound" else channel.to
    return person.extra.get("id") if person is not None else None
