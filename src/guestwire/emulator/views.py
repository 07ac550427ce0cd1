"""What there is to see, as plain data: shared by the admin API, `Emulator`'s own methods and the feed of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from guestwire.emulator.faults import Fault, Occurrence
from guestwire.emulator.ids import iso_time
from guestwire.emulator.records import Conversation, Entry, Session, sha256
from guestwire.emulator.restguest import RestGuest, guest_id_of
from guestwire.protocol import codec
from guestwire.protocol.frames import Message

if TYPE_CHECKING:
    from guestwire.emulator.world import World

_LIMITS = (
    "messages_per_second",
    "requests_per_minute",
    "configures_per_minute",
    "connects_per_minute",
    "health_checks_per_minute",
    "history_per_minute",
    "token_requests_per_minute",
    "tokens_per_minute",
    "contract_requests_per_second",
)


def state_of(world: World, now: float) -> dict[str, Any]:
    """Counters since the start or the last reset, the deployment's id, limits in force."""
    settings = world.settings
    return {
        **msgspec.to_builtins(world.tally),
        "deployment_id": world.deployment_id,
        "organization_id": world.platform.conversations.organization_id,
        "integration_id": world.platform.guests.integration_id,
        "client_id": world.platform.oauth.client_id,
        "client_secret": world.platform.oauth.client_secret,
        "webhook_secret": world.webhooks.secret,
        "webhook_url": world.webhooks.url,
        "seed": settings.seed,
        "now": now,
        "connections_open": len(world.connections),
        "sessions": len(world.sessions),
        "conversations": len(world.conversations),
        "messages": sum(entry.is_message for entry in world.entries),
        "limits": {name: getattr(settings, name) if settings.limits == "documented" else None for name in _LIMITS},
        "settings": msgspec.to_builtins(settings),
    }


def conversations_of(world: World) -> list[dict[str, Any]]:
    """All conversations that are kept, oldest first."""
    return [conversation_view(conversation) for conversation in world.conversations.values()]


def conversation_view(conversation: Conversation) -> dict[str, Any]:
    """One line of the list of conversations."""
    return {
        "conversation_id": conversation.id,
        **_guest(conversation.session),
        "started_at": conversation.started_at,
        "ended_at": conversation.ended_at,
        "read_only": conversation.session.read_only,
        "human": conversation.human,
        "messages": conversation.messages,
        "connections": len(conversation.session.connections),
        "custom_attributes": conversation.attributes,
    }


def messages_of(world: World, *, conversation_id: str | None = None, token: str | None = None) -> list[dict[str, Any]]:
    """What an agent sees, in visible order, duplicates included; events are no messages."""
    wanted = sha256(token) if token is not None else None
    return [
        message_view(entry)
        for entry in world.entries
        if entry.is_message
        and (conversation_id is None or entry.conversation.id == conversation_id)
        and (wanted is None or entry.session.key.token_sha256 == wanted)
    ]


def message_view(entry: Entry) -> dict[str, Any]:
    """One message, as an agent and an auditor see it."""
    body = entry.body
    content = [codec.write(item) for item in body.content or ()]
    return {
        "conversation_id": entry.conversation.id,
        **_guest(entry.session),
        "guest_id": guest_id_of(body) if isinstance(entry.session, RestGuest) else None,
        "direction": body.direction,
        "author": body.originating_entity,
        "nickname": _nickname(body),
        "id": body.id,
        "channel_message_id": body.channel.message_id if body.channel else None,
        "tracing_id": entry.tracing_id,
        "type": body.type,
        "text": body.text,
        "content": [item for item in content if item.get("contentType") != "Attachment"],
        "attachments": [item["attachment"] for item in content if "attachment" in item],
        "custom_attributes": entry.custom_attributes,
        "metadata": body.metadata or {},
        "time": body.channel.time if body.channel else iso_time(entry.received_at),
        "received_at": entry.received_at,
        "status": entry.status,
        "receipts": entry.receipts,
    }


def _guest(session: Session) -> dict[str, Any]:
    """Which guest, and how he came: by the token of a deployment, or by his own id over REST."""
    is_rest = isinstance(session, RestGuest)
    return {
        "platform": session.platform,
        "deployment_id": None if is_rest else session.key.deployment_id,
        "token_sha256": session.key.token_sha256,
        "guest_id": session.sender["id"] if isinstance(session, RestGuest) else None,
    }


def _nickname(body: Message) -> str | None:
    return body.channel.from_.nickname if body.channel and body.channel.from_ else None


def event_view(conversation: Conversation, body: Message) -> dict[str, Any]:
    """Typing or presence of either side: no message, and not in the list of them."""
    return {
        "conversation_id": conversation.id,
        "token_sha256": conversation.session.key.token_sha256,
        "direction": body.direction,
        "events": [codec.write(event) for event in body.events or ()],
    }


def requests_of(world: World) -> list[dict[str, Any]]:
    """Every request and its answer, oldest first, for auditors who count windows themselves."""
    return [logged._asdict() for logged in world.log]


def fault_view(fault: Fault, occurrence: Occurrence) -> dict[str, Any]:
    """A fault that has just fired, and at what."""
    return {
        "id": fault.id,
        "kind": fault.kind,
        "point": occurrence.point,
        "action": occurrence.action,
        "token_sha256": occurrence.token_sha256,
        "path": occurrence.path,
    }
