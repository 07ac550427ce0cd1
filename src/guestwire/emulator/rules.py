"""What the platform refuses: pure checks of a guest's message against the settings."""

from __future__ import annotations

from guestwire.emulator.records import Problem, Session
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import Message, OnMessage

BAD_REQUEST = Problem(400, "Request failed.")
_UNAUTHENTICATED = Problem(403, "Session authentication failed")
#: None: the browser client leaves `type` out of an attachment-only message, and is understood.
_MESSAGE_TYPES = (None, "Text", "Structured", "Event", "Message")


def message_problem(settings: EmulatorSettings, session: Session, request: OnMessage) -> Problem | None:
    """Say why a message is refused, or None. Its attachments are looked at elsewhere."""
    message = request.message
    if message is None or message.type not in _MESSAGE_TYPES:
        return BAD_REQUEST
    if settings.auth_enabled and not session.authenticated:
        return _UNAUTHENTICATED
    if message.type == "Event":
        return _event_problem(settings, message) or _attributes_problem(settings, request)  # a Join may carry some
    text = message.text or ""
    length = len(text.encode()) if settings.text_unit == "bytes" else len(text)
    if length > settings.max_text:
        return Problem(4011, f"Message length {length} is larger than {settings.max_text}")
    if not text and not message.content and not request.attachment_ids:
        return BAD_REQUEST
    return _attributes_problem(settings, request)


def _event_problem(settings: EmulatorSettings, message: Message) -> Problem | None:
    if not message.events:
        return BAD_REQUEST
    if "Clear" in message.presence() and not settings.clear_enabled:
        return Problem(403, "Presence events Conversation Clear are not supported")
    if any(event.event_type == "Typing" for event in message.events) and not settings.typing_enabled:
        return Problem(403, "Turn on the Feature Toggle or fix the configuration.")
    return None


def _attributes_problem(settings: EmulatorSettings, request: OnMessage) -> Problem | None:
    limit = settings.max_attributes_bytes
    attributes = attributes_of(settings, request)
    if sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items()) <= limit:
        return None
    return Problem(4013, f"Custom Attributes in channel metadata is larger than {limit} bytes")


def attributes_of(settings: EmulatorSettings, request: OnMessage) -> dict[str, str]:
    """The custom attributes of a message, from the place that counts."""
    channel = request.message.channel if request.message else None
    attributes = channel.metadata.custom_attributes if channel and channel.metadata else None
    older = request.channel.metadata if request.channel else None
    if attributes is None and older is not None and settings.accept_top_level_attributes:
        attributes = older.custom_attributes
    return attributes or {}


def message_id_of(request: OnMessage) -> str | None:
    """The `channel.messageId` that a client chose itself; what the platform makes of it is not known."""
    channel = request.message.channel if request.message else None
    return channel.message_id if channel else None


def attachment_ids_of(request: OnMessage) -> list[str]:
    """The files that a message refers to, in `content` or in the legacy list."""
    ids = list(request.attachment_ids or ())
    for content in (request.message.content if request.message else None) or ():
        if content.content_type == "Attachment":
            ids.append((content.attachment.id if content.attachment else None) or "")
    return ids
