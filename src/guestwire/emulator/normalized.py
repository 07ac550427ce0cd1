"""What is in the ledger, in the platform's normalized form: answers, webhooks and the reading routes show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guestwire.emulator.ids import iso_time
from guestwire.emulator.records import Entry
from guestwire.emulator.restguest import RestGuest
from guestwire.protocol import codec
from guestwire.protocol.frames import Message

#: The name of the integration: agents without a name of their own speak under it.
INTEGRATION_NAME = "Emulated Open"
#: What the answer to an inbound message repeats of its attachment and of its sender.
_ATTACHMENT = ("id", "mediaType", "url", "mime", "text", "sha256", "filename")
_SENDER = ("nickname", "id", "idType", "firstName", "lastName")


def of(body: Message) -> dict[str, Any]:
    """Spell a message."""
    return codec.write(body)


def inbound_answer(inbound: Message) -> dict[str, Any]:
    """Answer what came in with the form that it was accepted in; a few fields of it do not come back."""
    body = of(inbound)
    body.pop("direction", None)
    channel = body["channel"]
    channel.pop("metadata", None)
    channel["from"] = _only(channel["from"], _SENDER)
    if "content" in body:
        body["content"] = [
            {**item, "attachment": _only(item["attachment"], _ATTACHMENT)} if "attachment" in item else item
            for item in body["content"]
        ]
    return body


def outbound(entry: Entry, *, typing: bool) -> dict[str, Any] | None:
    """
    Spell for the webhook what an agent says; None for what is never posted: presence, co-browsing, and typing unless
    that is enabled.
    """
    body = of(entry.body)
    sender = body["channel"].setdefault("from", {})
    sender.setdefault("nickname", INTEGRATION_NAME)
    if entry.body.type == "Event":
        events = [event for event in body.get("events", ()) if event.get("eventType") == "Typing"]
        body.pop("originatingEntity", None)
        return {**body, "events": events} if events and typing else None
    body.setdefault("text", "")
    for item in body.get("content", ()):
        attachment = item.get("attachment")
        if attachment is not None and "fileSize" in attachment:
            attachment["contentSizeBytes"] = attachment.pop("fileSize")
    return body


def receipt(entry: Entry, status: str, now: float, message_id: str | None = None) -> dict[str, Any]:
    """
    Spell what the platform tells the sender of an inbound message about it.

    Args:
        entry: The message.
        status: Such as Published, Failed, Read.
        now: Seconds since the epoch.
        message_id: Another id than the message's own.
    """
    guest = entry.session
    channel = entry.body.channel
    provider_id = channel.message_id if channel else None
    assert isinstance(guest, RestGuest)  # noqa: S101 - nobody else gets any
    return {
        "id": message_id or entry.body.id,
        "channel": {
            "id": guest.channel_id,
            "platform": "Open",
            "type": "Private",
            "to": {"id": guest.channel_id},
            "from": guest.address,
            "time": iso_time(now),
            **({} if provider_id is None or message_id is not None else {"messageId": provider_id}),
        },
        "type": "Receipt",
        "status": status,
        "isFinalReceipt": True,
        "direction": "Inbound",
    }


def _only(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}
