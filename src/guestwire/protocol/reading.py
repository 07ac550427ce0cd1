"""
What the platform gives, in the words of the house: replies, history entries, the deployment's flags.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from guestwire.model import Entity, GatewayMessageId, PartId, Reply
from guestwire.protocol import codec
from guestwire.protocol.frames import Message


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of a deployment that its guests' clients keep to. All of them are off where nothing is said."""

    is_active: bool = True
    """False only where it says `Inactive`."""
    auto_start: bool = False
    clear: bool = False
    disconnect: Literal["Send", "ReadOnly"] | None = None
    """How the agent's side ends a conversation; None: it does not."""
    typing: bool = False
    """Guests may show that they type."""
    attachments: bool | None = None
    """False: no files. True: the session says which; None: `file_types` and `max_file_kb` say it."""
    file_types: tuple[str, ...] = ()
    max_file_kb: float | None = None
    sign_in: bool = False
    """Only guests who have signed in may send."""
    step_up: bool = False
    """An anonymous guest may sign in during a conversation."""


def config_of(raw: object) -> DeploymentConfig:
    """Read a deployment's `config.json`. Nothing in it is required, nothing unknown is an error."""
    conversations = _at(raw, "messenger", "apps", "conversations")
    upload = _at(raw, "messenger", "fileUpload")
    enabled = upload.get("enableAttachments")
    modes = [mode for mode in upload.get("modes") or () if isinstance(mode, dict)]
    disconnect = _at(conversations, "conversationDisconnect")
    kind = disconnect.get("type")
    sizes = [size for mode in modes if isinstance(size := mode.get("maxFileSizeKB"), int | float)]
    return DeploymentConfig(
        is_active=_at(raw).get("status") != "Inactive",
        auto_start=_at(conversations, "autoStart").get("enabled") is True,
        clear=_at(conversations, "conversationClear").get("enabled") is True,
        disconnect=kind if disconnect.get("enabled") is True and kind in ("Send", "ReadOnly") else None,
        typing=conversations.get("showUserTypingIndicator") is True,
        attachments=enabled if isinstance(enabled, bool) else None,
        file_types=tuple(
            kind.lower() for mode in modes for kind in mode.get("fileTypes") or () if isinstance(kind, str)
        ),
        max_file_kb=max(sizes, default=None),
        sign_in=_at(raw, "auth").get("enabled") is True,
        step_up=_at(raw, "auth").get("allowSessionUpgrade") is True,
    )


def _at(raw: object, *keys: str) -> dict[str, Any]:
    """Return the object under some keys; an empty one where there is none."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def reply_of(message: Message, source: Literal["live", "history"] = "live") -> Reply | None:
    """Make a reply of what the platform says to a guest; None for what is only live (typing)."""
    # Its `id`: the one name that live frames and the history have in common for what comes from the platform.
    name = message.id or message.key or _name_of(message)
    kinds = {event.event_type for event in message.events or ()}
    if message.type == "Event" and kinds <= {"Typing"}:
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
        source=source,
    )


def _name_of(message: Message) -> str:
    """Name a message that has none by what it holds: the same once more is the same, and none is lost."""
    return "unnamed-" + hashlib.blake2b(msgspec.json.encode(codec.write(message)), digest_size=12).hexdigest()


def said_to_guest(raw: object) -> Reply | None:
    """Make a reply of a history entry; None for what the guest himself said, and for what is no entry."""
    if not isinstance(raw, dict):
        return None
    message = codec.read(Message, raw)
    return reply_of(message, "history") if message.direction == "Outbound" else None


def typing_s(message: Message) -> float | None:
    """How long an agent types, in seconds, if that is what the message says: 5 s where it names no time."""
    for event in message.events or ():
        if event.event_type == "Typing" and event.typing is not None and event.typing.type != "Off":
            duration = event.typing.duration
            return 5.0 if duration is None or not 0 < duration < 600_000 else duration / 1000
    return None


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
        _marks(message),
    )


def _marks(message: Message) -> tuple[str, ...]:
    """Ids of attachments and payloads of answers: see `writing.marks_of`."""
    marks: list[str] = []
    for content in message.content or ():
        if content.attachment is not None and content.attachment.id:
            marks.append(content.attachment.id)
        buttons = [content.button_response]
        if content.form is not None:
            buttons += [answer.component.button_response for answer in content.form.response or () if answer.component]
        marks += [button.payload for button in buttons if button is not None and button.payload]
    return tuple(sorted(marks))


def retry_after_s(value: str | None) -> float | None:
    """Read a `Retry-After` in seconds; bounded, because an absurd one must not stop a check for ever."""
    return min(float(value), 120.0) if value is not None and value.isdecimal() else None
