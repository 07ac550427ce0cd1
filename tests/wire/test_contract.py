"""The tutorial contract: its own example word for word, and what its answer claims."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from guestwire.model import Accepted, GatewayMessageId, GuestKey, PartBody, RemoteFile, Throttled
from guestwire.protocol.contract import PATH, accepted_of, message_call
from guestwire.protocol.platform import refusal_of
from tests.wire.strategies import json_objects

#: As the tutorial prints them.
REQUEST = {
    "from": {"id": "guest-abc-123", "type": "user"},
    "to": {"id": "conv-def-456", "type": "conversation"},
    "body": {"contentType": "text/plain", "content": "Validated transmission payload"},
    "metadata": {"readReceipt": True, "transmissionTimestamp": "2024-01-15T10:30:00Z"},
}
RESPONSE = {
    "id": "msg-001-transmitted",
    "from": {"id": "guest-abc-123", "type": "user"},
    "to": {"id": "conv-def-456", "type": "conversation"},
    "body": {"contentType": "text/plain", "content": "Validated transmission payload"},
    "sentTime": "2024-01-15T10:30:00.123Z",
    "deliveryStatus": "delivered",
}
HEADERS = {"Content-Type": "application/json", "X-RateLimit-Remaining": "499", "X-Request-Id": "req-789xyz"}
NOW = datetime.datetime(2024, 1, 15, 10, 30, tzinfo=datetime.UTC).timestamp()
GUEST = GuestKey("guest-abc-123")


def read(raw: object, status: int = 200, headers: dict[str, str] | None = None) -> Accepted | None:
    """What an answer is, as an acceptance."""
    return accepted_of(status, CIMultiDict(HEADERS if headers is None else headers), json.dumps(raw).encode())


def test_the_request_is_the_tutorial_s() -> None:
    """Word for word; the time is the same instant, with its milliseconds."""
    body = PartBody("Validated transmission payload", conversation="conv-def-456", read_receipt=True)
    call = message_call(GUEST, body, now=NOW)
    assert (call.method, call.path, call.query) == ("POST", "/api/v2/conversations/messaging/messages", ())
    assert call.path == PATH
    written: Any = json.loads(json.dumps(call.plain))
    time = written["metadata"].pop("transmissionTimestamp")
    wanted: Any = json.loads(json.dumps(REQUEST))
    assert datetime.datetime.fromisoformat(time) == datetime.datetime.fromisoformat(
        wanted["metadata"].pop("transmissionTimestamp")
    )
    assert time == "2024-01-15T10:30:00.000Z"
    assert written == wanted
    assert "Validated" not in repr(call)
    assert GUEST not in repr(call)


def test_files_html_and_no_receipt() -> None:
    """The rest of what the tutorial's code writes; a size that nobody knows is 0, because the field is wanted."""
    files = (
        RemoteFile(url="https://cdn.example.com/a.png", name="shown.png", size=2_048, caption="not carried"),
        RemoteFile(url="https://cdn.example.com/folder/b%20c.pdf?sig=1"),
    )
    body = PartBody("<p>hi</p>", content_type="text/html", conversation="c", remote_files=files)
    written: Any = message_call(GUEST, body, now=NOW).plain
    assert written["body"] == {"contentType": "text/html", "content": "<p>hi</p>"}
    assert written["metadata"]["readReceipt"] is False
    assert written["attachments"] == [
        {"contentType": "image/png", "url": "https://cdn.example.com/a.png", "fileName": "shown.png", "size": 2_048},
        {
            "contentType": "application/pdf",
            "url": "https://cdn.example.com/folder/b%20c.pdf?sig=1",
            "fileName": "b c.pdf",
            "size": 0,
        },
    ]
    assert set(written) == {"from", "to", "body", "metadata", "attachments"}


def test_the_answer_is_an_acceptance_and_its_claims_are_claims() -> None:
    """`deliveryStatus` and `sentTime` are evidence: the acceptance is an acceptance, and says nothing of delivery."""
    assert read(RESPONSE) == Accepted(
        GatewayMessageId("msg-001-transmitted"),
        at="2024-01-15T10:30:00.123Z",
        source="response",
        conversation_id="conv-def-456",
        evidence={
            "http_status": 200,
            "correlation_id": "req-789xyz",
            "claimed_status": "delivered",
            "claimed_sent_at": "2024-01-15T10:30:00.123Z",
            "rate_remaining": 499,
        },
    )


def test_the_id_is_all_that_is_needed() -> None:
    """Claims and headers that are missing, or of another type, are not there."""
    odd = {"id": "m", "to": "c", "sentTime": 5, "deliveryStatus": ["delivered"]}
    assert read(odd, headers={"X-RateLimit-Remaining": "-1"}) == Accepted(
        GatewayMessageId("m"), source="response", evidence={"http_status": 200}
    )


def test_a_claim_has_a_bound() -> None:
    """Evidence goes into the journal; a gateway may write anything."""
    found = read({"id": "m", "deliveryStatus": "d" * 1_000, "sentTime": "t" * 1_000})
    assert found is not None
    assert len(found.evidence["claimed_status"]) == 40
    assert len(found.evidence["claimed_sent_at"]) == 40


@pytest.mark.parametrize(
    ("status", "raw"),
    [(200, {}), (200, []), (200, {"id": ""}), (200, {"id": 5}), (202, RESPONSE), (201, RESPONSE), (400, RESPONSE)],
)
def test_everything_else_is_no_acceptance(status: int, raw: object) -> None:
    """The contract has one status, and an id."""
    assert read(raw, status) is None


def test_a_limit_is_waited_for() -> None:
    """The contract's 429 names its wait in `Retry-After`; its request id is evidence."""
    found = refusal_of(429, CIMultiDict({"Retry-After": "2", **HEADERS}), b"", now=NOW, trust_unavailable=True)
    assert isinstance(found, Throttled)
    assert (found.retry_after_s, found.evidence["correlation_id"]) == (2.0, "req-789xyz")


@given(
    json_objects.map(lambda raw: json.dumps(raw).encode()) | st.binary(max_size=100),
    st.dictionaries(st.sampled_from(["X-RateLimit-Remaining", "X-Request-Id"]), st.text(max_size=20)),
)
def test_any_answer_is_read(body: bytes, headers: dict[str, str]) -> None:
    """None, or an acceptance with an id: never an exception."""
    found = accepted_of(200, headers, body)
    assert found is None or found.gateway_id
