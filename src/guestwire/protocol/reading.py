"""
What the platform gives, in the words of the house: replies, history entries, the deployment's flags.
"""

from __future__ import annotations

from guestwire.model import Entity, GatewayMessageId, PartId, Reply
from guestwire.protocol import codec
from guestwire.protocol.frames import Message


def auto_start_of(config: object) -> bool:
    """Read `messenger.apps.conversations.autoStart.enabled`; false by default, as every flag there."""
    for key in ("messenger", "apps", "conversations", "autoStart", "enabled"):
        if not isinstance(config, dict):
            return False
        config = config.get(key)
    return config is True


def reply_of(message: Message) -> Reply | None:
    """Make a reply of what the platform says to a guest; None for what is only live (typing) or has no name."""
    name = message.key
    kinds = {event.event_type for event in message.events or ()}
    if name is None or (message.type == "Event" and kinds <= {"Typing"}):
        return None
    if message.type == "Event":
        kind = "presence" if "Presence" in kinds else "other"
    else:
        kind = "structured" if message.content else "text"
    author = message.originating_entity or ""
    return Reply(
        gateway_id=GatewayMessageId(name),
        kind=kind,  # type: ignore[arg-type]
        text=message.text,
        at=message.channel.time if message.channel else None,
        author=author if author in ("Human", "Bot") else "",  # type: ignore[arg-type]
        nickname=message.channel.from_.nickname if message.channel and message.channel.from_ else None,
        content=[codec.write(content) for content in message.content or ()],
        events=[codec.write(event) for event in message.events or ()],
        metadata=dict(message.metadata or {}),
    )


def entity_of(raw: object) -> Entity | None:
    """Make an entity of a history entry that a guest wrote; None for everything else."""
    if not isinstance(raw, dict):
        return None
    message = codec.read(Message, raw)
    if message.direction != "Inbound" or message.type == "Event":
        return None
    channel = message.channel
    name = message.id or (channel.message_id if channel else None)
    if name is None:
        return None
    metadata = message.metadata or {}
    attempt = metadata.get("attempt", "")
    return Entity(
        GatewayMessageId(name),
        channel.message_id if channel else None,
        message.text,
        channel.time if channel else None,
        PartId(metadata["id"]) if "id" in metadata else None,
        int(attempt) if attempt.isdecimal() and len(attempt) < 10 else None,
    )


def retry_after_s(value: str | None) -> float | None:
    """Read a `Retry-After` in seconds; bounded, because an absurd one must not stop a check for ever."""
    return min(float(value), 120.0) if value is not None and value.isdecimal() else None
