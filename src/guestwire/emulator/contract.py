"""
`Contract`: the tutorial contract's one route, ``POST /api/v2/conversations/messaging/messages``.

Genesys has no such route. A tutorial describes it, people write clients to it, and a gateway of one's own may serve it;
here it is exactly as described. Any `to.id` is a conversation, which begins when it is first named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from guestwire.emulator import normalized
from guestwire.emulator.calls import Answer, Call, bad_request, json_of, too_large
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.guests import Guests
from guestwire.emulator.ids import iso_time
from guestwire.emulator.limits import Window, window
from guestwire.emulator.oauth import too_many
from guestwire.emulator.restguest import RestGuest
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.webhooks import Webhooks
from guestwire.protocol.frames import Attachment, Channel, Content, Message, Recipient

#: UTF-8 bytes of `body.content`.
MAX_TEXT_BYTES = 4096
#: Of one attachment.
MAX_FILE_BYTES = 25 * 1024 * 1024
#: Longest id that names a conversation or a guest, characters. Our choice.
MAX_ID = 256

Json = Mapping[str, Any]


class Contract:
    """The route and its rate. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings, guests: Guests, delivery: Delivery, webhooks: Webhooks) -> None:
        self._settings = settings
        self._guests = guests
        self._delivery = delivery
        self._webhooks = webhooks
        self._requests = window(settings, settings.contract_requests_per_second, 1.0)

    def admit(self, now: float) -> Window:
        """
        Count a request of the one client there is.

        Raises:
            Refusal: 429.
        """
        if not self._requests.admit(now):
            raise too_many(self._requests, now, "messaging.client.rate.per.second", "messaging")
        return self._requests

    def message(self, call: Call) -> Answer:
        """POST a message."""
        data = json_of(call, self._settings.max_request_bytes)
        _check(self._settings, data)
        guest = self._guests.over_contract(data["to"]["id"], data["from"], call.now)
        if guest is None:
            raise bad_request("to.id names a conversation of another channel.")
        entry = self._guests.accept(guest, _message(guest, data, call.now), {}, call.now)
        metadata = data.get("metadata") or {}
        if metadata.get("readReceipt") is True:
            lane = guest.key.token_sha256
            self._delivery.at(
                call.now + self._settings.contract_read_after_ms / 1000,
                lambda at: self._webhooks.send(normalized.receipt(entry, "Read", at), lane, at),
            )
        return Answer(
            200,
            {
                "id": entry.body.id,
                "from": data["from"],
                "to": data["to"],
                "body": data["body"],
                "sentTime": iso_time(call.now),
                "deliveryStatus": "delivered",
            },
        )


def _message(guest: RestGuest, data: Json, now: float) -> Message:
    attachments = [
        Attachment(
            url=item["url"],
            mime=item["contentType"],
            filename=item["fileName"],
            file_size=item["size"],
            media_type="Image" if item["contentType"].startswith("image/") else "File",
        )
        for item in data.get("attachments") or ()
    ]
    return Message(
        id=guest.draws.hex32(),
        type="Text",
        direction="Inbound",
        text=data["body"]["content"],
        channel=Channel(
            time=iso_time(now),
            type="Private",
            from_=Recipient(extra=dict(data["from"])),
            to=Recipient(extra=dict(data["to"])),
            extra={"id": guest.channel_id, "platform": "Open"},
        ),
        content=[Content(content_type="Attachment", attachment=each) for each in attachments] or None,
        metadata=data.get("metadata") or None,
    )


# --- what is refused ---


def _check(settings: EmulatorSettings, data: Any) -> None:
    if not isinstance(data, dict):
        raise bad_request()
    _check_person(data, "from", "user")
    _check_person(data, "to", "conversation")
    body = data.get("body")
    if not isinstance(body, dict) or not isinstance(body.get("content"), str):
        raise bad_request("body must have contentType and content.")
    if body.get("contentType") not in settings.contract_content_types:
        raise bad_request(f"body.contentType must be one of {', '.join(settings.contract_content_types)}.")
    metadata = data.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata must be an object.")
    if not isinstance((metadata or {}).get("readReceipt", False), bool):
        raise bad_request("metadata.readReceipt must be true or false.")
    attachments = data.get("attachments")
    if attachments is not None and not isinstance(attachments, list):
        raise bad_request("attachments must be a list.")
    for place, item in enumerate(attachments or ()):
        _check_attachment(settings, item, f"attachments[{place}]")
    if len(body["content"].encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise too_large(MAX_TEXT_BYTES)
    if not body["content"] and not attachments:
        raise bad_request("body.content is empty.")


def _check_person(data: Json, name: str, type_: str) -> None:
    person = data.get(name)
    if not isinstance(person, dict):
        raise bad_request(f"{name} is missing.")
    if not (isinstance(person.get("id"), str) and 0 < len(person["id"]) <= MAX_ID):
        raise bad_request(f"{name}.id must be text of 1 to {MAX_ID} characters.")
    if person.get("type") != type_:
        raise bad_request(f"{name}.type must be {type_}.")


def _check_attachment(settings: EmulatorSettings, item: Any, where: str) -> None:
    if not isinstance(item, dict):
        raise bad_request(f"{where} must be an object.")
    for name in ("contentType", "url", "fileName"):
        if not (isinstance(item.get(name), str) and item[name]):
            raise bad_request(f"{where}.{name} is missing.")
    if item["contentType"] not in settings.contract_attachment_types:
        raise bad_request(f"{where}.contentType must be one of {', '.join(settings.contract_attachment_types)}.")
    try:
        url = urlsplit(item["url"])
    except ValueError:
        raise bad_request(f"{where}.url is no address.") from None
    if url.scheme not in ("http", "https") or not url.netloc:
        raise bad_request(f"{where}.url must be an http or https address.")
    if type(item.get("size")) is not int or item["size"] < 0:
        raise bad_request(f"{where}.size must be a whole number of bytes.")
    if item["size"] > MAX_FILE_BYTES:
        raise too_large(MAX_FILE_BYTES)
