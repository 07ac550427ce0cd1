"""The tutorial contract: ``POST /api/v2/conversations/messaging/messages``, exactly as the tutorial has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.test_emulator_rest_kit import CONTRACT, MESSAGES, hook, open_messaging

FILE = {
    "contentType": "application/pdf",
    "url": "https://cdn.example.com/a.pdf",
    "fileName": "a.pdf",
    "size": 1000,
}


def said(text: str = "hello", conversation: str = "conv-def-456", **more: Any) -> dict[str, Any]:
    """A body as the tutorial builds it."""
    return {
        "from": {"id": "guest-abc-123", "type": "user"},
        "to": {"id": conversation, "type": "conversation"},
        "body": {"contentType": "text/plain", "content": text},
        **more,
    }


async def test_the_cycle_of_the_tutorial() -> None:
    """The tutorial's request gets the tutorial's answer, field by field, and agents see the message."""
    async with open_messaging() as (genesys, client):
        metadata = {"readReceipt": True, "transmissionTimestamp": "2024-01-15T10:30:00Z"}
        answer = await client.ask("POST", CONTRACT, said("Validated transmission payload", metadata=metadata))
        assert answer.status == 200
        assert set(answer.json) == {"id", "from", "to", "body", "sentTime", "deliveryStatus"}
        assert answer.json["from"] == {"id": "guest-abc-123", "type": "user"}
        assert answer.json["to"] == {"id": "conv-def-456", "type": "conversation"}
        assert answer.json["body"] == {"contentType": "text/plain", "content": "Validated transmission payload"}
        assert answer.json["deliveryStatus"] == "delivered"
        assert answer.headers["X-RateLimit-Remaining"] == "99"
        assert answer.headers["X-Request-Id"].startswith("req-")
        (seen,) = genesys.messages()
        expected = {
            "conversation_id": "conv-def-456",
            "platform": "Contract",
            "guest_id": "guest-abc-123",
            "direction": "Inbound",
            "id": answer.json["id"],
            "text": "Validated transmission payload",
            "time": answer.json["sentTime"],
            "metadata": metadata,
        }
        assert {name: seen[name] for name in expected} == expected


async def test_any_name_is_a_conversation() -> None:
    """It begins when it is first named, and goes on also after an agent has ended it."""
    async with open_messaging() as (genesys, client):
        for conversation in ("one", "two", "one"):
            assert (await client.ask("POST", CONTRACT, said(conversation=conversation))).status == 200
        assert [(each["conversation_id"], each["messages"]) for each in genesys.conversations()] == [
            ("one", 2),
            ("two", 1),
        ]
        genesys.disconnect(conversation_id="one", read_only=True)
        assert genesys.conversations()[0]["ended_at"] is not None
        genesys.advance(1e7)
        client.token = (await client.log_in()).json["access_token"]
        assert (await client.ask("POST", CONTRACT, said(conversation="one"))).status == 200
        first = genesys.conversations()[0]
        assert (first["ended_at"], first["messages"], first["read_only"]) == (None, 3, False)
        genesys.say("hi", conversation_id="one")
        assert (await client.ask("GET", f"{MESSAGES}/one")).status == 200


async def test_several_may_write_in_one_conversation() -> None:
    """Each message stays its sender's; an agent answers who wrote last."""
    async with open_messaging() as (genesys, client):
        for guest in ("ann", "ben"):
            assert (await client.ask("POST", CONTRACT, {**said(), "from": {"id": guest, "type": "user"}})).status == 200
        genesys.say("hi", guest="ben")
        assert [seen["guest_id"] for seen in genesys.messages()] == ["ann", "ben", "ben"]
        assert len(genesys.conversations()) == 1


async def test_a_conversation_of_another_channel_is_not_this_ones() -> None:
    """The id of an Open Messaging conversation is refused."""
    async with open_messaging() as (genesys, client):
        taken = (await client.say("hello")).json["conversationId"]
        assert (await client.ask("POST", CONTRACT, said(conversation=taken))).status == 400
        assert len(genesys.messages()) == 1


async def test_attachments_are_noted() -> None:
    """Name, type, size and address stand with the message; nothing is fetched."""
    async with open_messaging() as (genesys, client):
        answer = await client.ask("POST", CONTRACT, said(attachments=[FILE, {**FILE, "contentType": "image/png"}]))
        assert answer.status == 200
        files = genesys.messages()[0]["attachments"]
        assert [(each["filename"], each["mime"], each["fileSize"], each["url"]) for each in files] == [
            ("a.pdf", "application/pdf", 1000, "https://cdn.example.com/a.pdf"),
            ("a.pdf", "image/png", 1000, "https://cdn.example.com/a.pdf"),
        ]


def without(*path: str) -> dict[str, Any]:
    """A body without what stands at a path."""
    body = json.loads(json.dumps(said(attachments=[FILE], metadata={})))
    place: Any = body
    for name in path[:-1]:
        place = place[int(name) if name.isdigit() else name]
    del place[path[-1]]
    return dict(body)


@pytest.mark.parametrize(
    "body",
    [
        without("from"),
        without("to"),
        without("body"),
        without("from", "id"),
        without("to", "type"),
        without("body", "content"),
        without("body", "contentType"),
        without("attachments", "0", "contentType"),
        without("attachments", "0", "url"),
        without("attachments", "0", "fileName"),
        without("attachments", "0", "size"),
        said(body={"contentType": "application/x-hologram", "content": "x"}),
        said(body="hello"),
        said(""),
        {**said(), "from": {"id": "g", "type": "agent"}},
        said(to={"id": "x" * 257, "type": "conversation"}),
        said(attachments={}),
        said(attachments=["a.pdf"]),
        said(attachments=[{**FILE, "contentType": "video/mp4"}]),
        said(attachments=[{**FILE, "size": -1}]),
        said(attachments=[{**FILE, "size": "1000"}]),
        said(attachments=[{**FILE, "url": "ftp://cdn.example.com/a.pdf"}]),
        said(attachments=[{**FILE, "url": "https://[::1"}]),
        said(metadata=[]),
        said(metadata={"readReceipt": "yes"}),
        [],
    ],
)
async def test_bodies_that_are_refused(body: Any) -> None:
    """What is missing, not supported or malformed gets 400 with a sentence, and nobody sees a message."""
    async with open_messaging() as (genesys, client):
        answer = await client.ask("POST", CONTRACT, body)
        assert (answer.status, answer.json["code"]) == (400, "bad.request")
        assert answer.json["message"]
        assert genesys.messages() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (said("ä" * 2048), 200),
        (said("ä" * 2048 + "x"), 413),
        (said(attachments=[{**FILE, "size": 25 * 1024 * 1024}]), 200),
        (said(attachments=[{**FILE, "size": 25 * 1024 * 1024 + 1}]), 413),
        (said(body={"contentType": "text/html", "content": "<b>x</b>"}), 200),
        (said("", attachments=[FILE]), 200),
    ],
)
async def test_sizes(body: Any, status: int) -> None:
    """4,096 bytes of UTF-8 and 25 MB of a file are the most."""
    async with open_messaging() as (_, client):
        assert (await client.ask("POST", CONTRACT, body)).status == status


async def test_who_may_send() -> None:
    """401 without a token, 403 without the scope; both name their request."""
    async with open_messaging(missing_permissions="messaging:conversation:write") as (genesys, client):
        refused = await client.ask("POST", CONTRACT, said(), token="wrong")
        assert (refused.status, refused.json["code"]) == (401, "bad.credentials")
        forbidden = await client.ask("POST", CONTRACT, said())
        assert (forbidden.status, forbidden.json["code"]) == (403, "missing.permissions")
        assert forbidden.headers["X-Request-Id"] != refused.headers["X-Request-Id"]
        assert genesys.messages() == []


async def test_the_rate_is_per_client_and_second() -> None:
    """One more than the limit within a second waits for a second, whatever the token, which has its own rate."""
    async with open_messaging(contract_requests_per_second=2, token_requests_per_minute=1) as (genesys, client):
        other = (await client.log_in()).json["access_token"]
        answers = [await client.ask("POST", CONTRACT, said(), token=token) for token in (client.token, other, other)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
        assert answers[2].headers["Retry-After"] == "1"
        genesys.advance(1)
        assert (await client.ask("POST", CONTRACT, said())).status == 200
        assert genesys.state()["throttles"] == {"contract_requests_per_second": 1}


async def test_read_receipts_come_over_the_webhook() -> None:
    """Who asks for one gets it, about the id of the answer, after `contract_read_after_ms`; others get none."""
    async with (
        hook() as webhook,
        open_messaging(webhook_url=webhook.url, contract_read_after_ms=60_000) as (
            genesys,
            client,
        ),
    ):
        await client.ask("POST", CONTRACT, said("no", metadata={"readReceipt": False}))
        await client.ask("POST", CONTRACT, said("no"))
        asked = (await client.ask("POST", CONTRACT, said("yes", metadata={"readReceipt": True}))).json
        genesys.advance(59)
        assert genesys.webhooks() == []
        genesys.advance(1)
        got = await webhook.next()
        assert (got.json["type"], got.json["status"], got.json["id"]) == ("Receipt", "Read", asked["id"])
        assert got.json["channel"]["from"] == {"id": "guest-abc-123"}
        assert got.is_signed(genesys.webhook_secret)
        assert len(genesys.webhooks()) == 1


async def test_agents_answers_come_over_the_webhook() -> None:
    """They are addressed to the guest, from the conversation."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.ask("POST", CONTRACT, said())
        genesys.say("hi", guest="guest-abc-123")
        got = (await webhook.next()).json
        assert (got["text"], got["channel"]["to"], got["channel"]["id"]) == (
            "hi",
            {"id": "guest-abc-123"},
            "conv-def-456",
        )
