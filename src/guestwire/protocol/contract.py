"""
The tutorial contract: the REST interface of a widespread tutorial on guest messaging, word for word.

No such route stands in the vendor's documentation or SDK; it is served for gateways that were built to it. Its
acceptance claims `deliveryStatus` "delivered" and a `sentTime`: both are recorded as claims, with the answer as their
source, and neither makes a message delivered.
"""

from __future__ import annotations

from collections.abc import Mapping

from guestwire.model import Accepted, GatewayMessageId, GuestKey, PartBody
from guestwire.protocol.openmessaging import Call, iso_time
from guestwire.protocol.platform import evidence_of, json_of

PATH = "/api/v2/conversations/messaging/messages"


def message_call(guest: GuestKey, body: PartBody, *, now: float) -> Call:
    """Write a part as a request; `now`, in seconds since the epoch, is the time of the transmission."""
    request: dict[str, object] = {
        "from": {"id": guest, "type": "user"},
        "to": {"id": body.conversation, "type": "conversation"},
        "body": {"contentType": body.content_type, "content": body.text},
        "metadata": {"readReceipt": body.read_receipt, "transmissionTimestamp": iso_time(now)},
    }
    if body.remote_files:
        request["attachments"] = [
            {"contentType": file.mime, "url": file.url, "fileName": file.file_name, "size": file.size or 0}
            for file in body.remote_files
        ]
    return Call("POST", PATH, request)


def accepted_of(status: int, headers: Mapping[str, str], body: bytes) -> Accepted | None:
    """Read the documented acceptance; None for everything else."""
    parsed = json_of(body) if status == 200 else None
    if parsed is None or not isinstance(parsed.get("id"), str) or not parsed["id"]:
        return None
    evidence = evidence_of(status, headers, None)
    for claim, name in (("deliveryStatus", "claimed_status"), ("sentTime", "claimed_sent_at")):
        if isinstance(parsed.get(claim), str):
            evidence[name] = parsed[claim][:40]
    remaining = headers.get("X-RateLimit-Remaining")
    if remaining is not None and remaining.isdecimal():
        evidence["rate_remaining"] = int(remaining[:9])
    sent_at = parsed.get("sentTime")
    return Accepted(
        GatewayMessageId(parsed["id"]),
        at=sent_at if isinstance(sent_at, str) else None,
        source="response",
        conversation_id=_id_in(parsed.get("to")),
        evidence=evidence,
    )


def _id_in(raw: object) -> str | None:
    """Return the id that an object of the contract holds."""
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) and found else None
