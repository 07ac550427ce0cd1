"""
`OpenMessaging`: the routes through which a middleware brings in what end users say over Open Messaging.

Shapes: the vendor's SDK models. What is accepted stands in the same ledger as everything else, under `platform` Open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from guestwire.emulator import normalized, openrules
from guestwire.emulator.calls import Answer, Call, bad_request, json_of, refusal
from guestwire.emulator.guests import Guests
from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.records import Entry
from guestwire.emulator.restguest import RestGuest
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.webhooks import Webhooks
from guestwire.protocol import codec
from guestwire.protocol.frames import Channel, ChannelMetadata, Content, Event, Message, Recipient, Typing

#: What a receipt of the guest's side makes of an agent's message.
STATUS_OF_RECEIPT = {
    "Sent": "sent",
    "Delivered": "delivery-success",
    "Failed": "delivery-failed",
    "Published": "published",
    "Removed": "removed",
}
_TYPING_MS = 5000


class OpenMessaging:
    """Inbound messages, events, receipts and structured responses, and the integration itself."""

    def __init__(self, settings: EmulatorSettings, guests: Guests, ledger: Ledger, webhooks: Webhooks) -> None:
        self._settings = settings
        self._guests = guests
        self._ledger = ledger
        self._webhooks = webhooks

    # --- routes ---

    def message(self, call: Call) -> Answer:
        """POST ``…/{integrationId}/inbound/open/message``."""
        data = self._read(call, openrules.check_message)
        entry = self._take(data, call.now, self._message_body)
        return self._accepted(entry, prefetch=call.query.get("prefetchConversationId", "").lower() == "true")

    def structured(self, call: Call) -> Answer:
        """POST ``…/{integrationId}/inbound/open/structured/response``."""
        data = self._read(call, openrules.check_structured)
        entry = self._take(data, call.now, self._structured_body)
        body = normalized.inbound_answer(entry.body)
        button = dict(body["content"][0]["buttonResponse"])
        button.pop("originatingMessageId", None)
        body["content"] = [{"contentType": "ButtonResponse", "buttonResponse": button}]
        return self._answer({**body, "direction": "Inbound", "metadata": {}})

    def event(self, call: Call) -> Answer:
        """POST ``…/{integrationId}/inbound/open/event``: typing, shown to agents if an admin has switched that on."""
        data = self._read(call, openrules.check_event)
        guest = self._guests.over_open(data["channel"]["from"], call.now)
        events = [Event(event_type="Typing", typing=Typing(type="On", duration=_TYPING_MS)) for _ in data["events"]]
        body = self._envelope(guest, data, "Event", events=events)
        if self._settings.open_typing_enabled and guest.conversation is not None:
            self._ledger.tell_event(guest.conversation, body)
        return self._answer(normalized.inbound_answer(body))

    def receipt(self, call: Call) -> Answer:
        """POST ``…/{integrationId}/inbound/open/receipt``: what became of an agent's message."""
        data = self._read(call, openrules.check_receipt)
        entry = self._ledger.by_id.get(data["id"])
        if entry is None or entry.session.platform != "Open" or entry.body.direction != "Outbound":
            raise refusal(404)
        status = str(data["status"]).capitalize()
        final = {"isFinalReceipt": data["isFinalReceipt"]} if "isFinalReceipt" in data else {}
        reasons = {"reasons": data["reasons"]} if data.get("reasons") else {}
        entry.receipts.append(
            {"id": data["id"], "type": "Receipt", "status": status, **reasons, **final, "direction": "Outbound"}
        )
        entry.status = STATUS_OF_RECEIPT[status]
        to = data["channel"]["to"]
        channel = {
            "id": self._guests.integration_id,
            "platform": "Open",
            "type": "Private",
            "to": {name: to[name] for name in ("id", "idType") if name in to},
            "from": {"id": self._guests.integration_id, "idType": "Opaque"},
            "time": data["channel"]["time"],
        }
        body = {"id": data["id"], "channel": channel, "type": "Receipt", "status": status}
        return self._answer({**body, **reasons, **final, "direction": "Outbound"})

    def legacy(self, call: Call) -> Answer:
        """POST ``…/messages/inbound/open``, deprecated: the integration stands in the body. Messages only."""
        data = json_of(call, self._settings.max_request_bytes)
        channel = data.get("channel") if isinstance(data, dict) else None
        if not isinstance(channel, dict):
            raise bad_request()
        to = channel.get("to")
        named = (to.get("id") if isinstance(to, dict) else None) or channel.get("id")
        self._require_integration(named if isinstance(named, str) else "")
        if data.get("type") not in ("Text", "Structured"):
            raise bad_request(".type should be equal to one of the allowed values: Text, Structured")
        openrules.check_message(self._settings, data)
        entry = self._take(data, call.now, self._message_body)
        status, body, _ = self._accepted(entry, prefetch=False)
        return Answer(status, {**body, "direction": "Inbound"}, {"Deprecation": "true"})

    def integration(self, call: Call) -> Answer:
        """GET ``/api/v2/conversations/messaging/integrations/open/{integrationId}``."""
        self._require_integration(call.names["integrationId"])
        return Answer(200, self._integration())

    # --- taking ---

    def _read(self, call: Call, check: Callable[[EmulatorSettings, Any], None]) -> dict[str, Any]:
        data = json_of(call, self._settings.max_request_bytes)
        self._require_integration(call.names["integrationId"])
        check(self._settings, data)
        checked: dict[str, Any] = data
        return checked

    def _require_integration(self, integration_id: str) -> None:
        if integration_id.lower() != self._guests.integration_id.lower():
            raise refusal(404)

    def _take(
        self, data: Mapping[str, Any], now: float, body_of: Callable[[RestGuest, Mapping[str, Any]], Message]
    ) -> Entry:
        """Accept a message that has been checked; a repetition, where it is noticed, is the message it repeats."""
        guest = self._guests.over_open(data["channel"]["from"], now)
        message_id = data["channel"].get("messageId")
        known = self._ledger.known_id(guest, message_id)
        if known is not None:
            return known
        entry = self._guests.accept(guest, body_of(guest, data), openrules.attributes_of(data), now)
        self._ledger.remember_id(message_id, entry)
        if self._settings.webhook_receipts:
            self._webhooks.send(normalized.receipt(entry, "Published", now), guest.key.token_sha256, now)
        return entry

    def _message_body(self, guest: RestGuest, data: Mapping[str, Any]) -> Message:
        attachments = [item["attachment"] for item in data.get("content") or ()]
        content = [
            codec.read(Content, {"contentType": "Attachment", "attachment": attachment})
            for attachment in attachments
            if openrules.media_allowed(self._settings, attachment["mime"])
        ]
        return self._envelope(
            guest,
            data,
            "Text",
            text=data.get("text"),
            content=content or None,
            metadata=data.get("metadata") or None,
        )

    def _structured_body(self, guest: RestGuest, data: Mapping[str, Any]) -> Message:
        button = {name: value for name, value in data["buttonResponse"].items() if name != "id"}
        button["originatingMessageId"] = data["originatingMessageId"]
        content = [codec.read(Content, {"contentType": "ButtonResponse", "buttonResponse": button})]
        return self._envelope(guest, data, "Structured", content=content)

    def _envelope(self, guest: RestGuest, data: Mapping[str, Any], type_: str, **body: Any) -> Message:
        attributes = openrules.attributes_of(data)
        sender = {name: value for name, value in data["channel"]["from"].items() if value is not None}
        channel = Channel(
            time=data["channel"]["time"],
            type="Private",
            message_id=data["channel"].get("messageId"),
            from_=codec.read(Recipient, sender),
            to=Recipient(extra={"id": guest.channel_id}),
            metadata=ChannelMetadata(custom_attributes=attributes) if attributes else None,
            extra={"id": guest.channel_id, "platform": "Open"},
        )
        return Message(id=guest.draws.hex32(), type=type_, direction="Inbound", channel=channel, **body)

    # --- answering ---

    def _accepted(self, entry: Entry, *, prefetch: bool) -> Answer:
        body = normalized.inbound_answer(entry.body)
        if prefetch:
            body["conversationId"] = entry.conversation.id
        return self._answer(body)

    def _answer(self, body: Mapping[str, Any]) -> Answer:
        return Answer(self._settings.inbound_status, body)

    def _integration(self) -> dict[str, Any]:
        draws = Draws(self._settings.seed, "integration facts")
        support, setting, user = draws.uuid(), draws.uuid(), draws.uuid()
        integration_id, made = self._guests.integration_id, iso_time(0.0)
        return {
            "id": integration_id,
            "name": normalized.INTEGRATION_NAME,
            "supportedContent": {
                "id": support,
                "name": "Default",
                "selfUri": f"/api/v2/conversations/messaging/supportedcontent/{support}",
            },
            "messagingSetting": {"id": setting, "name": "Default"},
            "outboundNotificationWebhookUrl": self._webhooks.url,
            "outboundNotificationWebhookSignatureSecretToken": "********",
            "webhookHeaders": {
                name.strip(): value.strip()
                for name, _, value in (header.partition(":") for header in self._settings.webhook_headers)
            },
            "status": "Active",
            "recipient": {"id": integration_id, "name": normalized.INTEGRATION_NAME},
            "dateCreated": made,
            "dateModified": made,
            "createdBy": {"id": user},
            "modifiedBy": {"id": user},
            "createStatus": "Completed",
            "selfUri": f"/api/v2/conversations/messaging/integrations/open/{integration_id}",
        }
