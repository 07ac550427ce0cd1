"""
What Open Messaging refuses: pure checks of raw JSON, as the vendor's field tables have it.

Own code on purpose. Nothing here is shared with what writes such requests: a mistake made twice would be found by
nobody. Unknown fields are let through, as the platform does. The wording follows the one message that users quote.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from guestwire.emulator.calls import Refusal, bad_request, invalid_value
from guestwire.emulator.settings import EmulatorSettings

ID_TYPES = ("Email", "Phone", "Opaque")
MEDIA_TYPES = ("Image", "Video", "Audio", "File", "Link")
BUTTON_TYPES = ("Button", "QuickReply", "DatePicker")
STATUSES = ("Sent", "Delivered", "Failed", "Published", "Removed")
REASONS = (
    "MessageExpired",
    "RateLimited",
    "MessageNotAllowed",
    "GeneralError",
    "UnsupportedMessage",
    "UnknownMessage",
    "InvalidMessageStructure",
    "InvalidDestination",
    "ServerError",
    "MediaTypeNotAllowed",
    "InvalidMediaContentLength",
    "RecipientOptedOut",
    "DataFiltered",
)

_DOCUMENTED_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_ANY_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")
_NO_TEXT = (
    "should have required property 'content', should have required property '.text', should match some schema in anyOf"
)

Json = Mapping[str, Any]


def check_message(settings: EmulatorSettings, data: Any) -> None:
    """Look at a body of ``inbound/open/message``. Raises Refusal."""
    data = _object(data, "")
    _check_channel(settings, data, "from")
    text, content = data.get("text"), data.get("content")
    if text is not None and not isinstance(text, str):
        raise bad_request(".text should be string")
    if content is not None:
        _check_content(settings, content)
    if not text and not content:
        raise bad_request(_NO_TEXT)
    if settings.open_max_text and len(text or "") > settings.open_max_text:
        raise bad_request(f".text should NOT be longer than {settings.open_max_text} characters")
    _check_strings(data, "metadata", "")


def check_event(settings: EmulatorSettings, data: Any) -> None:
    """Look at a body of ``inbound/open/event``: typing, and nothing else. Raises Refusal."""
    data = _object(data, "")
    _check_channel(settings, data, "from")
    events = _required(data, "events", "")
    if not isinstance(events, list) or not events:
        raise bad_request(".events should be array with at least 1 item")
    for place, event in enumerate(events):
        _check_enum(_object(event, f".events[{place}]"), "eventType", ("Typing",), f".events[{place}]")


def check_receipt(settings: EmulatorSettings, data: Any) -> None:
    """Look at a body of ``inbound/open/receipt``. Raises Refusal."""
    data = _object(data, "")
    _text(data, "id", "")
    _check_channel(settings, data, "to")
    _check_enum(data, "status", STATUSES, "")
    reasons = data.get("reasons")
    if reasons is not None and not isinstance(reasons, list):
        raise bad_request(".reasons should be array")
    for place, reason in enumerate(reasons or ()):
        where = f".reasons[{place}]"
        _text(_object(reason, where), "message", where)
        if reason.get("code") is not None:
            _check_enum(reason, "code", REASONS, where)
    if not isinstance(data.get("isFinalReceipt", False), bool):
        raise bad_request(".isFinalReceipt should be boolean")


def check_structured(settings: EmulatorSettings, data: Any) -> None:
    """Look at a body of ``inbound/open/structured/response``. Raises Refusal."""
    data = _object(data, "")
    _check_channel(settings, data, "from")
    button = _object(_required(data, "buttonResponse", ""), ".buttonResponse")
    _check_enum(button, "type", BUTTON_TYPES, ".buttonResponse")
    _text(button, "text", ".buttonResponse")
    _text(button, "payload", ".buttonResponse")
    _text(data, "originatingMessageId", "")


def media_allowed(settings: EmulatorSettings, mime: str) -> bool:
    """Whether the supported content profile lets a MIME type in."""
    family = mime.partition("/")[0]
    return any(
        allowed.lower() in ("*/*", mime.lower(), f"{family.lower()}/*") for allowed in settings.open_allowed_media
    )


def attributes_of(data: Json) -> dict[str, str]:
    """Participant data of a message that has been checked: ``channel.metadata.customAttributes``."""
    metadata = data["channel"].get("metadata") or {}
    return dict(metadata.get("customAttributes") or {})


# --- parts ---


def _check_channel(settings: EmulatorSettings, data: Json, side: str) -> None:
    channel = _object(_required(data, "channel", ""), ".channel")
    person = _object(_required(channel, side, ".channel"), f".channel.{side}")
    where = f".channel.{side}"
    _text(person, "id", where)
    if side == "from" or person.get("idType") is not None:
        _check_enum(person, "idType", ID_TYPES, where)
    for name in ("nickname", "firstName", "lastName", "image", "email"):
        if not isinstance(person.get(name, ""), str | None):
            raise bad_request(f"{where}.{name} should be string")
    _check_time(settings, _required(channel, "time", ".channel"))
    message_id = channel.get("messageId")
    if message_id is not None and not (isinstance(message_id, str) and message_id):
        raise bad_request(".channel.messageId should be string")
    metadata = channel.get("metadata")
    if metadata is not None:
        _check_strings(_object(metadata, ".channel.metadata"), "customAttributes", ".channel.metadata")


def _check_time(settings: EmulatorSettings, time: Any) -> None:
    wanted = _ANY_TIME if settings.any_iso_time else _DOCUMENTED_TIME
    if isinstance(time, str) and wanted.fullmatch(time) and _is_date(time):
        return
    raise Refusal(
        400,
        "invalid.date",
        f"Value [{str(time)[:60]}] is not a valid date. The expected format is yyyy-MM-ddTHH:mm:ss[.mmm]Z",
    )


def _is_date(time: str) -> bool:
    try:
        datetime.datetime.strptime(time[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return True


def _check_content(settings: EmulatorSettings, content: Any) -> None:
    if not isinstance(content, list) or not content:
        raise bad_request(".content should be array with at least 1 item")
    if len(content) > settings.open_max_attachments:
        raise bad_request(f".content should NOT have more than {settings.open_max_attachments} items")
    for place, item in enumerate(content):
        where = f".content[{place}].attachment"
        attachment = _object(_required(_object(item, f".content[{place}]"), "attachment", f".content[{place}]"), where)
        _check_enum(attachment, "mediaType", MEDIA_TYPES, where)
        _text(attachment, "mime", where)
        url = _split(_text(attachment, "url", where), where)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise bad_request(f"{where}.url should match format uri")


def _split(url: str, where: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise bad_request(f"{where}.url should match format uri") from None


def _check_strings(data: Json, name: str, where: str) -> None:
    found = data.get(name)
    if found is None:
        return
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise bad_request()  # as users have seen it: nested metadata, and no word of where


def _check_enum(data: Json, name: str, allowed: tuple[str, ...], where: str) -> None:
    value = _required(data, name, where)
    if not isinstance(value, str) or value.lower() not in {each.lower() for each in allowed}:
        raise invalid_value(value, name, allowed)


def _text(data: Json, name: str, where: str) -> str:
    value = _required(data, name, where)
    if not isinstance(value, str) or not value:
        raise bad_request(f"{where}.{name} should be string with at least 1 character")
    return value


def _required(data: Json, name: str, where: str) -> Any:
    value = data.get(name)
    if value is None:
        raise bad_request(f"{where} should have required property '{name}'".strip())
    return value


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise bad_request(f"{where} should be object".strip() if where else None)
    return value
