"""Open Messaging word for word: requests, acceptances, looking back, and whatever comes to the webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from guestwire.answers import Answer, Choice
from guestwire.model import Accepted, Entity, GuestKey, PartBody, PartId, Profile, Receipt, RemoteFile, Reply
from guestwire.policy import check
from guestwire.protocol import openmessaging, writing
from guestwire.protocol.openmessaging import (
    MAX_DEPTH,
    Address,
    Brought,
    Unreadable,
    accepted_of,
    bulk_call,
    conversation_call,
    entities_of,
    entity_of_data,
    is_signed,
    iso_time,
    message_call,
    message_ids_of,
    read_webhook,
    receipt_call,
    signature_of,
    typing_call,
)
from tests.wire import derive_facts
from tests.wire.strategies import json_objects, json_values, mutated, texts

INTEGRATION = "3b0a6e1c-5d0f-4b57-9a3e-7f0c2d9e1a11"
PLATFORM_ID = "6f3c9e21b84d47c5a0e1d2f3a4b5c6d7"
CONVERSATION = "9d6f2a40-1c1e-4f0b-8c55-20b9a6f3d702"
#: 2026-03-04T05:06:07.089Z
AT = 1_772_600_767.089
TIME = "2026-03-04T05:06:07.089Z"
ANN = Address(INTEGRATION, GuestKey("guest-42"), "Opaque")
MAIL = Address(INTEGRATION, GuestKey("guest-42@example.com"), "Email")
ADA = Profile(
    nickname="Ada",
    first_name="Ada",
    last_name="Byron",
    email="guest-42@example.com",
    image="https://cdn.example.com/ada.png",
)
FROM = {"id": "guest-42", "idType": "Opaque"}
FULL_FROM = {
    "nickname": "Ada",
    "id": "guest-42@example.com",
    "idType": "Email",
    "firstName": "Ada",
    "lastName": "Byron",
    "image": "https://cdn.example.com/ada.png",
    "email": "guest-42@example.com",
}

requires_oracle = pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside examples are not on this machine",
)


def outside(name: str) -> Any:
    """One of the outside examples."""
    folder = derive_facts.oracle()
    assert folder is not None
    return json.loads((folder / "platform-api-fixtures" / f"{name}.json").read_bytes())


def written(body: PartBody, where: Address = ANN, part: str = "ext-0001") -> Any:
    """A part as JSON of the wire."""
    return message_call(where, PartId(part), body, at=AT, prefetch=False).plain


# --- requests, word for word ---


def test_a_text() -> None:
    """The least that there is, and where it goes."""
    call = message_call(ANN, PartId("ext-0001"), PartBody("hello"), at=AT, prefetch=True)
    assert (call.method, call.path, call.query) == (
        "POST",
        f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/message",
        (("prefetchConversationId", "true"),),
    )
    assert call.plain == {"channel": {"from": FROM, "time": TIME, "messageId": "ext-0001"}, "text": "hello"}
    assert message_call(ANN, PartId("p"), PartBody("hello"), at=AT, prefetch=False).query == ()


def test_a_text_with_attributes_and_a_profile() -> None:
    """Attributes stand where participant data is read from, the profile with the sender."""
    assert written(PartBody("hi", {"plan": "gold"}, profile=ADA), MAIL) == {
        "channel": {
            "from": FULL_FROM,
            "time": TIME,
            "messageId": "ext-0001",
            "metadata": {"customAttributes": {"plan": "gold"}},
        },
        "text": "hi",
    }


def test_a_half_profile_leaves_out_what_is_not_known() -> None:
    """No nulls, no empty names."""
    sender = written(PartBody("hi", profile=Profile(nickname="Ada")))["channel"]["from"]
    assert sender == {**FROM, "nickname": "Ada"}


def test_a_file_goes_by_its_address() -> None:
    """With a caption and a text beside it, or alone; each kind under the word that the platform has for it."""
    pdf = RemoteFile(url="https://cdn.example.com/doc.pdf")
    assert written(PartBody(remote_files=(pdf,))) == {
        "channel": {"from": FROM, "time": TIME, "messageId": "ext-0001"},
        "content": [
            {
                "attachment": {
                    "mediaType": "File",
                    "url": "https://cdn.example.com/doc.pdf",
                    "mime": "application/pdf",
                    "filename": "doc.pdf",
                }
            }
        ],
    }
    picture = RemoteFile(url="https://cdn.example.com/1?s=2", name="a.png", size=9, caption="a caption")
    both = written(PartBody("look", remote_files=(picture,)))
    assert both["text"] == "look"
    assert both["content"] == [
        {
            "attachment": {
                "mediaType": "Image",
                "url": "https://cdn.example.com/1?s=2",
                "mime": "image/png",
                "filename": "a.png",
                "text": "a caption",
            }
        }
    ]


@pytest.mark.parametrize(
    ("mime", "kind"),
    [("image/webp", "Image"), ("video/mp4", "Video"), ("audio/ogg", "Audio"), ("text/plain", "File"), ("odd", "File")],
)
def test_every_kind_of_file_has_its_word(mime: str, kind: str) -> None:
    """By the first half of its type."""
    file = RemoteFile(url="https://cdn.example.com/x", type=mime)
    assert written(PartBody(remote_files=(file,)))["content"][0]["attachment"]["mediaType"] == kind


@pytest.mark.parametrize(
    ("answer", "button"),
    [
        (
            Answer(kind="quick_reply", choices=(Choice("Yes", "yes-payload"),), to=PLATFORM_ID, text="Yes"),
            {"type": "QuickReply", "text": "Yes", "payload": "yes-payload"},
        ),
        (
            Answer(kind="button", choices=(Choice("Buy", "buy"),), to=PLATFORM_ID, text="Buy"),
            {"type": "Button", "text": "Buy", "payload": "buy"},
        ),
        (
            Answer(kind="date", choices=(Choice("30 Jun", "2026-06-30T17:30:00.000Z"),), to=PLATFORM_ID),
            {"type": "DatePicker", "text": "30 Jun", "payload": "2026-06-30T17:30:00.000Z"},
        ),
    ],
    ids=["quick reply", "button", "date"],
)
def test_an_answer_has_a_route_of_its_own(answer: Answer, button: dict[str, str]) -> None:
    """Anywhere else the platform refuses it; there is no text beside it, and no conversation to prefetch."""
    call = message_call(ANN, PartId("ext-0003"), PartBody(answer=answer), at=AT, prefetch=True)
    assert call.path == f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/structured/response"
    assert call.query == ()
    assert call.plain == {
        "channel": {"from": FROM, "time": TIME, "messageId": "ext-0003"},
        "buttonResponse": button,
        "originatingMessageId": PLATFORM_ID,
    }


def test_typing() -> None:
    """An event without any detail: the schema has none."""
    call = typing_call(ANN, at=AT)
    assert call.path == f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/event"
    assert call.plain == {"channel": {"from": FROM, "time": TIME}, "events": [{"eventType": "Typing"}]}


def test_receipts() -> None:
    """What became of a message of the platform's: delivered, or why not."""
    call = receipt_call(MAIL, PLATFORM_ID, "Delivered", at=AT)
    assert call.path == f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/receipt"
    delivered = {
        "id": PLATFORM_ID,
        "channel": {"to": {"id": "guest-42@example.com", "idType": "Email"}, "time": TIME},
        "status": "Delivered",
        "isFinalReceipt": True,
    }
    assert call.plain == delivered
    assert receipt_call(MAIL, PLATFORM_ID, "Failed", at=AT, reason="InvalidDestination").plain == {
        **delivered,
        "status": "Failed",
        "reasons": [{"code": "InvalidDestination", "message": "InvalidDestination"}],
    }


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (AT, TIME),
        (1_772_600_767.0, "2026-03-04T05:06:07.000Z"),
        (1_772_600_767.9999, "2026-03-04T05:06:07.999Z"),
        (951_782_399.5, "2000-02-28T23:59:59.500Z"),
    ],
)
def test_time_is_written_as_documented(at: float, text: str) -> None:
    """UTC, three digits of a second, `Z`; whatever zone this machine is in."""
    assert iso_time(at) == text


@given(st.floats(0, 4e9))
def test_a_part_says_the_same_on_every_attempt(at: float) -> None:
    """The same time and the same id: the one chance that a repeated one is recognised."""
    assert message_call(ANN, PartId("p"), PartBody("x"), at=at, prefetch=True) == message_call(
        ANN, PartId("p"), PartBody("x"), at=at, prefetch=True
    )


@requires_oracle
def test_our_requests_are_the_outside_ones() -> None:
    """Field for field the outside examples, apart from what we never write: checksums, thumbnails, ids of media."""
    least = outside("open_inbound_message_min")
    least["channel"]["messageId"] = "ext-0001"  # optional there; ours always names the part
    assert written(PartBody("hello")) == least
    pdf = RemoteFile(url="https://cdn.example.com/doc.pdf")
    assert written(PartBody(remote_files=(pdf,)), part="ext-0002") == outside("open_inbound_message_attachment_only")
    full = outside("open_inbound_message_full")
    for key in ("id", "sha256", "thumbnail"):
        del full["content"][0]["attachment"][key]
    del full["channel"]["metadata"]["subType"], full["metadata"]
    picture = RemoteFile(url="https://cdn.example.com/a.png", caption="a caption")
    ours = PartBody("Please look at this", {"plan": "gold"}, remote_files=(picture,), profile=ADA)
    assert written(ours, MAIL) == full
    answer = outside("open_inbound_structured_response")
    del answer["buttonResponse"]["id"]  # deprecated
    yes = Answer(kind="quick_reply", choices=(Choice("Yes", "yes-payload"),), to=PLATFORM_ID, text="Yes")
    assert written(PartBody(answer=yes), part="ext-0003") == answer
    typing = outside("open_inbound_event_typing")
    typing["channel"]["from"] = {key: typing["channel"]["from"][key] for key in ("id", "idType")}
    assert typing_call(MAIL, at=AT).plain == typing
    delivered = outside("open_inbound_receipt_delivered")
    delivered["channel"]["to"] = {key: delivered["channel"]["to"][key] for key in ("id", "idType")}
    assert receipt_call(MAIL, PLATFORM_ID, "Delivered", at=AT).plain == delivered
    failed = outside("open_inbound_receipt_failed")
    failed["reasons"][0]["message"] = "InvalidDestination"
    assert receipt_call(MAIL, PLATFORM_ID, "Failed", at=AT, reason="InvalidDestination").plain == failed


# --- acceptances ---

ACCEPTANCE = {
    "id": PLATFORM_ID,
    "channel": {
        "id": INTEGRATION,
        "platform": "Open",
        "type": "Private",
        "messageId": "ext-0001",
        "to": {"id": INTEGRATION},
        "from": FROM,
        "time": TIME,
    },
    "type": "Text",
    "text": "hello",
}


@pytest.mark.parametrize("status", [200, 202])
def test_the_documented_acceptance(status: int) -> None:
    """Both statuses; the conversation where it was asked for; the correlation id as evidence, and none of the words."""
    headers = CIMultiDict({"inin-correlation-id": "c-1", "inin-ratelimit-count": "1"})
    found = accepted_of(status, headers, json.dumps(ACCEPTANCE).encode())
    assert found == Accepted(
        PLATFORM_ID,  # type: ignore[arg-type]
        at=TIME,
        source="response",
        evidence={"http_status": status, "correlation_id": "c-1"},
    )
    told = accepted_of(status, headers, json.dumps({**ACCEPTANCE, "conversationId": CONVERSATION}).encode())
    assert told is not None
    assert told.conversation_id == CONVERSATION
    assert "hello" not in json.dumps(told.evidence)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (202, b""),
        (200, b"<html>welcome</html>"),
        (200, b"[]"),
        (200, b'{"id":"trunca'),
        (200, b"{}"),
        (200, b'{"id":""}'),
        (200, b'{"id":5}'),
        (200, b'{"id":null}'),
        (201, json.dumps(ACCEPTANCE).encode()),
        (204, b""),
        (302, json.dumps(ACCEPTANCE).encode()),
        (400, json.dumps(ACCEPTANCE).encode()),
        (503, json.dumps(ACCEPTANCE).encode()),
    ],
)
def test_everything_else_is_no_acceptance(status: int, body: bytes) -> None:
    """Another status, no JSON, no id: somebody on the way may have said it."""
    assert accepted_of(status, {}, body) is None


def test_an_acceptance_needs_its_id_alone() -> None:
    """Whatever else is missing, or is of another type."""
    found = accepted_of(202, {}, b'{"id":"x","channel":[1],"conversationId":7}')
    assert found is not None
    assert (found.gateway_id, found.at, found.conversation_id) == ("x", None, None)


@given(st.sampled_from([200, 202]), json_objects.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=100))
def test_any_success_is_read(status: int, body: bytes) -> None:
    """None, or an acceptance with an id: never an exception."""
    found = accepted_of(status, {}, body)
    assert found is None or found.gateway_id


@requires_oracle
def test_the_outside_acceptances() -> None:
    """With and without the conversation; those of typing, receipts and answers are read the same way."""
    for name in ("message_response", "event_response", "receipt_response", "structured_response_response"):
        raw = outside(f"open_inbound_{name}")
        found = accepted_of(202, {}, json.dumps(raw).encode())
        assert found is not None
        assert (found.gateway_id, found.at, found.conversation_id) == (raw["id"], TIME, None)
    prefetched = accepted_of(200, {}, json.dumps(outside("open_inbound_message_response_prefetch")).encode())
    assert prefetched is not None
    assert prefetched.conversation_id == CONVERSATION


# --- looking back ---


PART = "0198a1b2-0000-7000-8000-000000000001"


def data(part: str = PART, **more: Any) -> dict[str, Any]:
    """A message of a guest's, as the platform lists it."""
    normalized = {
        "id": PLATFORM_ID,
        "channel": {"id": INTEGRATION, "messageId": part, "from": FROM, "to": {"id": INTEGRATION}, "time": TIME},
        "type": "Text",
        "text": "hello",
        "direction": "Inbound",
    }
    return {
        "id": PLATFORM_ID,
        "timestamp": "2026-03-04T05:06:08.000Z",
        "direction": "inbound",
        "messengerType": "open",
        "status": "received",
        "normalizedMessage": {**normalized, **more.pop("normalized", {})},
        "conversationId": CONVERSATION,
        **more,
    }


def test_questions_about_a_conversation() -> None:
    """Two routes; an id that holds what a path must not is no other path."""
    assert conversation_call(CONVERSATION).path == f"/api/v2/conversations/messages/{CONVERSATION}"
    call = bulk_call(CONVERSATION, ["a", "b"])
    assert (call.method, call.path, call.plain) == (
        "POST",
        f"/api/v2/conversations/messages/{CONVERSATION}/messages/bulk",
        ["a", "b"],
    )
    assert conversation_call("../x?y#z").path == "/api/v2/conversations/messages/..%2Fx%3Fy%23z"
    assert bulk_call("a/b c", []).path == "/api/v2/conversations/messages/a%2Fb%20c/messages/bulk"


def test_a_conversation_s_messages_newest_first() -> None:
    """Of all participants, each id once; what has no time comes last, what has no id not at all."""
    conversation = {
        "id": CONVERSATION,
        "participants": [
            {
                "purpose": "customer",
                "messages": [
                    {"messageId": "m1", "messageTime": "2026-03-04T05:06:07.089Z", "messageStatus": "received"},
                    {"messageId": "m3", "messageTime": "2026-03-04T05:06:09.000Z"},
                    {"messageId": "m0"},
                ],
            },
            {
                "purpose": "agent",
                "messages": [
                    {"messageId": "m2", "messageTime": "2026-03-04T05:06:08.000Z"},
                    {"messageId": "m3", "messageTime": "2026-03-04T05:06:09.000Z"},
                    {"messageTime": "2026-03-04T05:06:10.000Z"},
                    {"messageId": ""},
                ],
            },
            {"purpose": "acd"},
        ],
    }
    assert message_ids_of(conversation) == ["m3", "m2", "m1", "m0"]
    assert message_ids_of({}) == []


def test_a_part_is_found_by_the_id_that_went_out_with_it() -> None:
    """`channel.messageId` comes back: the surest match there is."""
    (entity,) = entities_of({"entities": [data(PART)]})
    assert entity == Entity(
        PLATFORM_ID,  # type: ignore[arg-type]
        None,
        "hello",
        "2026-03-04T05:06:08.000Z",
        PartId(PART),
        said_at=entity.said_at,
    )
    assert entity.said_at == datetime.fromisoformat(TIME).timestamp()
    found = check.find(PartId(PART), PartBody("other words"), [entity], lambda _: False)
    assert found is entity
    assert check.find(PartId("part-2"), PartBody("hello"), [entity], lambda _: False) is None


def test_our_id_is_found_in_either_of_its_places() -> None:
    """Where the channel holds the platform's own id, the provider's id stands beside it."""
    listed = data(PLATFORM_ID, providerMessageId=PART)
    entity = entity_of_data(listed)
    assert entity is not None
    assert entity.part_id == PART
    bare = entity_of_data(data(PLATFORM_ID, providerMessageId=PLATFORM_ID))
    assert bare is not None
    assert bare.part_id is None


def test_a_part_without_its_id_is_found_by_what_it_said() -> None:
    """Text, address of a file, payload of an answer: what the platform gives back of a part tells it apart."""
    file = RemoteFile(url="https://cdn.example.com/a.png")
    yes = Answer(kind="quick_reply", choices=(Choice("Yes", "yes-payload"),), to="m", text="Yes")
    for body, normalized in (
        (PartBody("hello"), {}),
        (
            PartBody("look", remote_files=(file,)),
            {"text": "look", "content": [{"contentType": "Attachment", "attachment": {"url": file.url}}]},
        ),
        (
            PartBody(answer=yes),
            {
                "type": "Structured",
                "text": "Yes",
                "content": [
                    {
                        "contentType": "ButtonResponse",
                        "buttonResponse": {"type": "QuickReply", "text": "Yes", "payload": "yes-payload"},
                    }
                ],
            },
        ),
    ):
        entity = entity_of_data(data(PLATFORM_ID, normalized=normalized))
        assert entity is not None
        marks = writing.marks_of(body, None)
        assert check.find(PartId("p"), body, [entity], lambda _: False, marks) is entity
        assert check.find(PartId("p"), PartBody("else"), [entity], lambda _: False, marks) is None


def test_a_guest_s_own_messages_alone_newest_first() -> None:
    """What agents say, events and receipts are no message of his."""
    older = data(PART, id="older", timestamp="2026-03-04T05:06:07.000Z")
    newer = data("part-2", id="newer", timestamp="2026-03-04T05:06:09.000Z")
    listing = [
        older,
        data("x", direction="outbound"),
        data("x", normalized={"type": "Event", "events": [{"eventType": "Typing"}]}),
        data("x", normalized={"type": "Receipt", "status": "Delivered"}),
        data("x", normalizedMessage=None),
        data("x", direction=["inbound"]),
        {"id": "m", "direction": "inbound"},
        "odd",
        newer,
    ]
    assert [entity.gateway_id for entity in entities_of({"entities": listing})] == ["newer", "older"]
    assert entities_of({"entities": {"id": "m"}}) == []
    assert entities_of({}) == []


def test_an_entry_without_an_id_has_that_of_its_message() -> None:
    """And where neither has one, it is no entry."""
    raw = data()
    del raw["id"]
    entity = entity_of_data(raw)
    assert entity is not None
    assert entity.gateway_id == PLATFORM_ID
    del raw["normalizedMessage"]["id"]
    assert entity_of_data(raw) is None


@given(mutated([data(PART), data(PLATFORM_ID, normalized={"content": [{"attachment": {"url": "u"}}]})]))
def test_any_listing_is_read(raw: dict[str, Any]) -> None:
    """Entities with an id, or nothing."""
    for entity in entities_of({"entities": [raw, raw]}):
        assert entity.gateway_id
        assert all(entity.marks)


@given(json_objects, json_values)
def test_any_conversation_is_read(raw: dict[str, Any], value: Any) -> None:
    """Nothing in it is required, and nothing is of the type it should be."""
    for odd in (
        raw,
        {"participants": value, "entities": value},
        {"participants": [{"messages": value}, value], "entities": [value]},
        {"participants": [{"messages": [raw, {"messageId": value, "messageTime": value}]}]},
    ):
        assert all(message_ids_of(odd))
        entities_of(odd)
        entity_of_data(odd)


@requires_oracle
def test_an_agent_s_message_is_none_of_the_guest_s() -> None:
    """The outside example is outbound; turned round, it is the guest's."""
    raw = outside("agent_message_response_MessageData")
    assert entities_of({"entities": [raw]}) == []
    entity = entity_of_data({**raw, "direction": "inbound"})
    assert entity is not None
    assert (entity.gateway_id, entity.text, entity.part_id) == (raw["id"], "Hello, how can I help?", None)


# --- the webhook: signatures ---

SECRET = "a-secret-longer-than-15-chars"


def test_a_signature_is_base64_over_the_bytes_as_they_came() -> None:
    """Held against an own computation, and against what is often done in its place."""
    body = '{"text":"Grüße 😀"}'.encode()
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256)
    right = "sha256=" + base64.b64encode(digest.digest()).decode()
    assert signature_of(SECRET, body) == right
    assert is_signed(SECRET, body, right)
    assert is_signed(SECRET, body, f" {right} ")
    assert not is_signed(SECRET, body, "sha256=" + digest.hexdigest())
    assert not is_signed(SECRET, body, right.removeprefix("sha256="))
    assert not is_signed(SECRET, body, right[:-1])
    assert not is_signed(SECRET, body, right + "=")
    assert not is_signed(SECRET, body, "")
    assert not is_signed(SECRET, body, None)
    assert not is_signed(SECRET, body + b" ", right)
    assert not is_signed(SECRET + "x", body, right)
    escaped = json.dumps(json.loads(body)).encode()
    assert not is_signed(SECRET, escaped, right), "the same JSON, written anew, has another signature"


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_header_is_compared(header: str) -> None:
    """Bytes that are no UTF-8 come as lone surrogates: a wrong signature, not an exception."""
    assert not is_signed(SECRET, b"{}", header)
    assert not is_signed(SECRET, b"{}", "sha256=\udcff")


@requires_oracle
def test_the_outside_signatures() -> None:
    """Computed by others, one of them over a body that is not ASCII; and the hexadecimal one, which is wrong."""
    vectors = outside("webhook_signature_vectors")
    assert vectors["header"] == openmessaging.SIGNATURE_HEADER
    assert len(vectors["vectors"]) == 2
    for vector in vectors["vectors"]:
        body = vector["raw_body"].encode()
        assert signature_of(vectors["secret"], body) == vector["signature"]
        assert is_signed(vectors["secret"], body, vector["signature"])
        assert not is_signed(vectors["secret"], body, vectors["wrong_encoding_hex_example"])


# --- the webhook: bodies ---


def outbound(**more: Any) -> dict[str, Any]:
    """What an agent says to the guest, as the platform posts it."""
    return {
        "id": PLATFORM_ID,
        "channel": {
            "id": INTEGRATION,
            "platform": "Open",
            "type": "Private",
            "to": {"id": "guest-42@example.com", "idType": "Email"},
            "from": {"nickname": "Acme", "id": INTEGRATION, "idType": "Opaque"},
            "time": TIME,
            "messageId": PLATFORM_ID,
        },
        "type": "Text",
        "text": "Hello, how can I help?",
        "originatingEntity": "Human",
        "direction": "Outbound",
        **more,
    }


def receipt(status: str = "Published", **more: Any) -> dict[str, Any]:
    """What the platform reports about a message of the guest's."""
    return {
        "id": PLATFORM_ID,
        "channel": {
            "id": INTEGRATION,
            "platform": "Open",
            "type": "Private",
            "to": {"id": INTEGRATION},
            "from": {"id": "guest-42@example.com", "idType": "Email"},
            "time": TIME,
            "messageId": PART,
        },
        "type": "Receipt",
        "status": status,
        "isFinalReceipt": True,
        "direction": "Inbound",
        **more,
    }


def brought(raw: dict[str, Any]) -> Brought:
    """What a webhook that can be read brought."""
    found = read_webhook(json.dumps(raw).encode())
    assert isinstance(found, Brought)
    assert (found.guest, found.integration_id) == ("guest-42@example.com", INTEGRATION)
    return found


def test_what_an_agent_says() -> None:
    """A reply with all that is told about it; what may end in a log shows neither guest nor text."""
    found = brought(outbound())
    assert found.said == Reply(
        gateway_id=PLATFORM_ID,  # type: ignore[arg-type]
        kind="text",
        text="Hello, how can I help?",
        at=TIME,
        author="Human",
        nickname="Acme",
    )
    assert "guest" not in repr(found)
    assert "Hello" not in repr(found)


def test_content_comes_through_word_for_word() -> None:
    """Known kinds, and those that nobody here has heard of."""
    content = [
        {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y", "action": "Message", "new": [1]}},
        {
            "contentType": "Attachment",
            "attachment": {"id": "a", "url": "u", "mime": "image/png", "thumbnail": {"w": 1}},
        },
        {"contentType": "Hologram", "hologram": {"depth": 10**40}},
    ]
    found = brought(outbound(type="Structured", content=content))
    assert isinstance(found.said, Reply)
    assert found.said.kind == "structured"
    assert found.said.content == content
    assert found.said.options[0].payload == "y"


@pytest.mark.parametrize("status", ["Published", "Sent", "Delivered", "Read", "Failed", "Brand-new"])
def test_receipts_for_what_the_guest_said(status: str) -> None:
    """With its status as it came, both names of the message, and the codes of its reasons: never their words."""
    reasons = [{"code": "MessageExpired", "message": "too late for Ann"}, {"message": "no code"}, "odd", {"code": 5}]
    found = brought(receipt(status, reasons=reasons))
    assert found.said == Receipt(status, PLATFORM_ID, PART, TIME, ("MessageExpired",))


def test_the_words_of_a_receipt_have_a_bound() -> None:
    """They go into the journal, and anybody who knows the secret may write them."""
    found = brought(receipt("s" * 1_000, reasons=[{"code": "c" * 1_000}]))
    assert found.said == Receipt("s" * 40, PLATFORM_ID, PART, TIME, ("c" * 40,))


@pytest.mark.parametrize(
    "raw",
    [
        receipt(status=None),  # type: ignore[arg-type]
        receipt(id=None, channel={"id": INTEGRATION, "from": {"id": "g"}, "to": {"id": INTEGRATION}}),
    ],
)
def test_a_receipt_that_says_nothing(raw: dict[str, Any]) -> None:
    """Without a status, or without any name of the message."""
    assert read_webhook(json.dumps(raw).encode()) == Unreadable("a receipt without a status or an id")


@pytest.mark.parametrize(
    ("typing", "seconds"),
    [
        ({"type": "On", "duration": 5000}, 5.0),
        ({"type": "On"}, 5.0),
        ({"type": "On", "duration": 2500}, 2.5),
        ({"type": "On", "duration": -1}, 5.0),
        ({"type": "On", "duration": 10**9}, 5.0),
        ({}, 5.0),
    ],
)
def test_somebody_types(typing: dict[str, Any], seconds: float) -> None:
    """For as long as it says, within reason."""
    raw = outbound(type="Event", events=[{"eventType": "Typing", "typing": typing}])
    del raw["text"]
    assert brought(raw).said == seconds


def test_somebody_stops_typing() -> None:
    """No time at all: whoever shows it ends."""
    raw = outbound(type="Event", events=[{"eventType": "Typing", "typing": {"type": "Off"}}])
    assert brought(raw).said == 0.0


def test_typing_does_not_swallow_a_text() -> None:
    """A text that comes with an event of typing is a text."""
    found = brought(outbound(events=[{"eventType": "Typing", "typing": {"type": "On"}}]))
    assert isinstance(found.said, Reply)
    assert found.said.text == "Hello, how can I help?"


def test_other_events_and_unknown_types_are_replies() -> None:
    """So that nothing that was said to a guest is lost."""
    presence = brought(outbound(type="Event", events=[{"eventType": "Presence", "presence": {"type": "Disconnect"}}]))
    assert isinstance(presence.said, Reply)
    assert presence.said.kind == "presence"
    unknown = brought(outbound(type="Hologram"))
    assert isinstance(unknown.said, Reply)
    assert unknown.said.text == "Hello, how can I help?"
    odd = brought(outbound(type="Event", events=[{"eventType": "Newest"}, {"eventType": "Typing"}]))
    assert isinstance(odd.said, Reply)
    assert odd.said.kind == "other"


def test_the_sides_are_told_apart_by_the_channel() -> None:
    """The channel is the integration: the other side is the guest, whatever the direction says, or does not say."""
    for direction in ("Inbound", "inbound", "Outbound", None, ["Inbound"], 5):
        assert isinstance(brought(receipt(direction=direction)).said, Receipt)
        assert isinstance(brought(outbound(direction=direction)).said, Reply)


def test_the_sides_are_told_apart_by_the_direction_where_no_channel_is_named() -> None:
    """Inbound: from the guest; everything else is to him."""
    for raw in (receipt(), outbound()):
        del raw["channel"]["id"]
        brought(raw)


@pytest.mark.parametrize("names_channel", [True, False])
def test_what_the_guest_himself_said_is_no_reply(names_channel: bool) -> None:
    """A webhook that repeats his own words must not answer him with them."""
    raw = outbound(direction="Inbound")
    channel = raw["channel"]
    channel["from"], channel["to"] = channel["to"], channel["from"]
    if not names_channel:
        del channel["id"]
    assert isinstance(read_webhook(json.dumps(raw).encode()), Unreadable)


@pytest.mark.parametrize(
    "foreign", ["order-4711", "6f3c9e21b84d47c5a0e1d2f3a4b5c6d8", "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"]
)
def test_an_id_that_is_none_of_ours_leaves_the_content_to_tell(foreign: str) -> None:
    """The platform may give another id back than the one that went out; then the text is compared."""
    entity = entity_of_data(data(foreign))
    assert entity is not None
    assert entity.part_id is None


def test_a_reply_without_any_name_is_named_by_what_it_holds() -> None:
    """The same once more is the same, and none is lost."""
    raw = outbound(id=None)
    del raw["channel"]["messageId"]
    first, again = brought(raw), brought(raw)
    assert isinstance(first.said, Reply)
    assert first == again
    assert first.said.gateway_id.startswith("unnamed-")
    other = brought({**raw, "text": "Something else"})
    assert isinstance(other.said, Reply)
    assert other.said.gateway_id != first.said.gateway_id


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff\xfe{}", "not a JSON object"),
        (b'{"text":"\xff"}', "not a JSON object"),
        (b'{"text":"\\ud800"}', "not a JSON object"),
        (b'{"a":1e999}', "not a JSON object"),
        (b'{"a":' + b"9" * 5_000 + b"}", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a JSON object"),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", f"nested more than {MAX_DEPTH} deep"),
        (b"{}", "it names no guest"),
        (b'{"channel":[]}', "it names no guest"),
        (b'{"channel":{"to":{"id":""}}}', "it names no guest"),
        (b'{"channel":{"to":{"id":7}}}', "it names no guest"),
        (b'{"channel":{"to":"g"}}', "it names no guest"),
        (b'{"channel":{"to":{"id":"g"}},"type":"Event"}', "an event of no kind"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, reason: str) -> None:
    """In words of ours: the body may hold anything."""
    assert read_webhook(body) == Unreadable(reason)


@pytest.mark.parametrize("depth", [*range(MAX_DEPTH - 4, MAX_DEPTH + 2), 500, 950, *range(985, 1_001), 5_000])
@pytest.mark.parametrize("place", ["content", "direction", "metadata", "id", "new"])
def test_what_is_read_can_be_written_again(place: str, depth: int) -> None:
    """However deep something is nested: a reply that was read survives being stored, deeper in the stack or not."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        nested = opening * depth + b"1" + closing * depth
        raw = outbound(id=None)
        del raw["channel"]["messageId"], raw[place if place in raw else "text"]
        body = json.dumps(raw).encode()[:-1] + b',"' + place.encode() + b'":' + nested + b"}"
        found = read_webhook(body)
        if isinstance(found, Brought):
            assert depth < MAX_DEPTH
            assert isinstance(found.said, Reply)
            json.dumps(found.said.content)
        else:
            assert depth >= MAX_DEPTH - 1


def test_a_body_of_five_megabytes() -> None:
    """Long, or with a great many members: how much is taken is decided before, by whoever reads the bytes."""
    long = brought(outbound(text="ä" * 2_500_000))
    assert isinstance(long.said, Reply)
    assert len(long.said.text or "") == 2_500_000
    many = brought(outbound(new=[[]] * 1_000_000))
    assert isinstance(many.said, Reply)


_EXAMPLES = [
    outbound(),
    receipt("Failed", reasons=[{"code": "MessageExpired", "message": "m"}]),
    outbound(type="Event", events=[{"eventType": "Typing", "typing": {"type": "On", "duration": 5000}}]),
    outbound(type="Structured", content=[{"contentType": "QuickReply", "quickReply": {"text": "a", "payload": "b"}}]),
]


@given(
    mutated(_EXAMPLES).map(lambda raw: json.dumps(raw).encode())
    | json_values.map(lambda raw: json.dumps(raw).encode())
    | st.binary(max_size=200)
    | texts.map(str.encode)
)
def test_any_body_is_read(body: bytes) -> None:
    """A value and never an exception; whatever is brought has a guest, and a reply has a name and can be written."""
    found = read_webhook(body)
    if isinstance(found, Unreadable):
        assert found.reason
        return
    assert found.guest
    match found.said:
        case Reply(gateway_id=name, content=content, events=events, metadata=metadata):
            assert name
            json.dumps([content, events, metadata]).encode()
        case Receipt(status=status, gateway_id=name, channel_message_id=ours):
            assert len(status) <= 40
            assert name is not None or ours is not None
        case seconds:
            assert 0 <= seconds < 600  # none: the agent has stopped


@requires_oracle
def test_the_outside_webhooks() -> None:
    """Each example is read as what it is; all content types there are come through word for word."""
    folder = derive_facts.oracle()
    assert folder is not None
    names = {file.stem for file in Path(folder / "platform-api-fixtures").glob("webhook_outbound_*.json")}
    said = {name.removeprefix("webhook_outbound_"): brought(outside(name)).said for name in names}
    assert set(said) == {"text", "attachment", "quickreplies", "typing", "receipt_for_inbound"}
    assert said["typing"] == 5.0
    assert said["receipt_for_inbound"] == Receipt("Published", PLATFORM_ID, "ext-0001", TIME)
    text, attachment, replies = said["text"], said["attachment"], said["quickreplies"]
    assert isinstance(text, Reply)
    assert (text.kind, text.text, text.author, text.nickname) == (
        "text",
        "Hello, how can I help?",
        "Human",
        "Acme Open",
    )
    assert isinstance(attachment, Reply)
    assert [(file.name, file.type) for file in attachment.attachments] == [("receipt.png", "image/png")]
    assert isinstance(replies, Reply)
    assert [(option.label, option.payload) for option in replies.options] == [
        ("Yes", "yes-payload"),
        ("No", "no-payload"),
    ]
    everything = outside("normalized_message_all_content_types")
    found = read_webhook(json.dumps(everything).encode())
    assert isinstance(found, Brought)
    assert found.guest == "guest-42"
    assert isinstance(found.said, Reply)
    assert found.said.content == everything["content"]
    assert found.said.events == everything["events"]
