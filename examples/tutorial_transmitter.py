"""The tutorial's transmitter over guestwire, which retries, paces, renews tokens and keeps the audit log itself."""

# ruff: noqa: T201, D101, D102, D103, S310 - a script: it prints, and its names are the tutorial's
import json
import os
import re
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

from guestwire import Finding, GuestWireError, Message, Rejected, RemoteFile
from guestwire.blocking import GuestWire

BLOCKED = r"<script[^>]*>.*?</script>|malware\.exe|blocked_keyword"
REMEDIES = {"400": "compare the payload with what the gateway takes: content types, ids, addresses",
            "413": "split the text into several messages, or make the file smaller",
            "429": "guestwire waits as it is told and sends again; or lower limits.messages_per_s"}  # fmt: skip
MessageBody = namedtuple("MessageBody", ["content_type", "content"])
AttachmentMetadata = namedtuple("AttachmentMetadata", ["content_type", "url", "file_name", "size_bytes"])
TransmissionPayload = namedtuple("TransmissionPayload", [
    "guest_id", "conversation_id", "body", "attachments", "read_receipt_trigger"], defaults=[(), True])  # fmt: skip


class MessageTransmitter:
    def __init__(self, wire: GuestWire, analytics_webhook_url: str) -> None:
        self.wire, self.webhook, self.accepted, self.ended = wire, analytics_webhook_url, 0, 0

    def transmit_message(self, payload: TransmissionPayload) -> dict[str, object]:
        if re.search(BLOCKED, payload.body.content, re.IGNORECASE | re.DOTALL):
            raise Rejected([Finding("content.blocked", "text", "holds what may not be sent", "take it out")])
        files = tuple(RemoteFile(type=a[0], url=a[1], name=a[2], size=a[3]) for a in payload.attachments)
        ticket = self.wire.submit(Message(
            guest=payload.guest_id, conversation=payload.conversation_id, text=payload.body.content,
            content_type=payload.body.content_type, attachments=files, read_receipt=payload.read_receipt_trigger,
        ))  # fmt: skip
        self.wire.wait(ticket, timeout_s=60)  # raises if nobody gets in; the message stays queued all the same
        (*_, part), journal = self.wire.find(ticket.message_id)  # of a long text, its last part
        for answer in {str(entry.detail.get("reason")) for entry in journal}:
            if remedy := REMEDIES.get(answer[:3]):
                print(f"the gateway answered {answer}\n  {remedy}")
        status = "transmitted" if part.gateway_id else str(part.state)
        latency_ms = next((entry.detail["latency_ms"] for entry in journal if entry.event == "part.accepted"), 0.0)
        self.accepted, self.ended = self.accepted + bool(part.gateway_id), self.ended + bool(part.ended_at)
        self._sync_analytics({
            "event_type": "message_transmission", "guest_id": payload.guest_id, "latency_ms": latency_ms,
            "conversation_id": payload.conversation_id, "timestamp": datetime.now(UTC).isoformat(),
            "status": "success" if part.gateway_id else "failed" if part.ended_at else status, "error": part.reason,
        })  # fmt: skip
        return {"status": status, "latency_ms": latency_ms, "message_id": part.gateway_id}

    def _sync_analytics(self, event: dict[str, object]) -> None:
        headers = {"Content-Type": "application/json", "X-Source": "genesys-transmitter"}
        try:
            urlopen(Request(self.webhook, json.dumps(event).encode(), headers), timeout=5).close()
        except OSError as failure:  # which is no failure of the message
            print(f"warning: the analytics receiver was not told: {type(failure).__name__}")

    def get_delivery_rate(self) -> float:
        return 100.0 * self.accepted / (self.ended or 1)


def run_transmitter() -> None:
    os.environ.setdefault("GUESTWIRE_DESTINATIONS__GATE__TRANSPORT", "rest-contract")
    dotenv = Path(".env").read_text() if Path(".env").exists() else ""  # guestwire reads the GENESYS_ names there
    found = re.search(r"^ANALYTICS_WEBHOOK_URL=(\S+)", dotenv, re.MULTILINE)
    webhook = os.environ.get("ANALYTICS_WEBHOOK_URL") or (found[1] if found else "https://analytics.internal/webhook")
    body = MessageBody("text/plain", "Transmitting validated message with session reference.")
    payload = TransmissionPayload("guest-session-9f8e7d", "conv-web-msg-1234", body)
    try:
        with GuestWire.open("gate") as wire:
            transmitter = MessageTransmitter(wire, webhook)
            print(f"Transmission: {transmitter.transmit_message(payload)}")
            print(f"Delivery confirmation rate: {transmitter.get_delivery_rate():.2f}%")
    except (GuestWireError, ValueError) as error:
        print(f"error: {error}\n  {getattr(error, 'hint', '')}")


if __name__ == "__main__":
    run_transmitter()
