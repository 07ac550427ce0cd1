"""
Bad input over REST: settings that cannot be right, and whatever may come to a webhook.

Each mistake gets one clear line, its exit code, and gives no secret away. Whatever comes to the webhook is answered as
it deserves, told in the journal, and keeps nobody: nothing is lost, nothing comes twice, and guests go on talking.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from guestwire import GuestWire, JournalEntry, Message, PartState, Reply
from guestwire.emulator.app import Emulator
from guestwire.settings import Secret
from guestwire.testing import emulator
from guestwire.webhook import WebhookServer
from tests.journey.kit import eventually, journal_of, settled, until
from tests.journey.test_cli_kit import Cli
from tests.journey.test_fault_matrix import CANARY, check_logs
from tests.journey.test_rest_faults import place_of, ways_to, wiring

# --- settings that cannot be right ---

UUID = "11111111-2222-4333-8444-555555555555"
WRONG = "wrong-secret-0123456789"
PREFIX = "GUESTWIRE_DESTINATIONS__KIOSK__"


class Case(NamedTuple):
    """A destination that is not as it should be, and what `guestwire send` says of it."""

    name: str
    changes: dict[str, str]
    code: int
    words: tuple[str, ...]
    """In stderr."""
    stored: bool = True
    """The message is queued, and the command says under which id."""
    missing: str = ""
    """A permission that the client lacks."""

    def __str__(self) -> str:
        return self.name


CASES = [
    Case(
        "wrong secret",
        {"CLIENT_SECRET": WRONG},
        4,
        ("GW-A010", "'kiosk'", f"{PREFIX}CLIENT_SECRET", "client id and secret"),
    ),
    Case("unknown client", {"CLIENT_ID": UUID}, 4, ("GW-A010", UUID, f"{PREFIX}CLIENT_SECRET", "the region")),
    Case(
        "missing permission",
        {},
        4,
        ("GW-A014", "lacks the permission conversation:message:receive", "OAuth > Roles"),
        missing="conversation:message:receive",
    ),
    Case(
        "missing permission of the tutorial contract",
        {"TRANSPORT": "rest-contract"},
        4,
        ("GW-A014", "messaging:conversation:write"),
        missing="messaging:conversation:write",
    ),
    Case("wrong integration", {"INTEGRATION_ID": UUID}, 4, ("GW-C046", UUID, "Admin > Message > Platforms")),
    Case("wrong organisation", {"EXPECT_ORG_ID": UUID}, 4, ("GW-C045", "expect_org_id", "nothing was sent")),
    Case(
        "wrong region", {"REGION": "eu-wst-1", "URL": ""}, 4, ("GW-C010", f"{PREFIX}REGION", "eu-west-1"), stored=False
    ),
    Case(
        "no such profile",
        {"PROFILE": "shop", "CLIENT_ID": "", "CLIENT_SECRET": ""},
        4,
        ("GW-C015", "'shop'", f"{PREFIX}PROFILE"),
        stored=False,
    ),
    Case("half of the credentials", {"CLIENT_SECRET": ""}, 4, ("GW-C011", "client_secret"), stored=False),
    Case(
        "token that is none",
        {"CLIENT_ID": "", "CLIENT_SECRET": "", "ACCESS_TOKEN": WRONG},
        4,
        ("GW-A011", f"{PREFIX}ACCESS_TOKEN"),
    ),
    Case("nobody there", {"URL": "http://127.0.0.1:9"}, 6, ("GW-A003", "stays queued", "Connect call failed")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_setting_that_cannot_be_right_is_named(tmp_path: Path, case: Case) -> None:
    """One line says what is wrong and one what to do; exit code 4; the message waits; no secret is shown."""
    async with emulator(missing_permissions=(case.missing,) if case.missing else ()) as genesys:
        given = {
            "TRANSPORT": "openmessaging",
            "URL": genesys.url,
            "INTEGRATION_ID": genesys.integration_id,
            "CLIENT_ID": genesys.client_id,
            "CLIENT_SECRET": genesys.client_secret,
        } | case.changes
        cli = Cli(tmp_path, **{PREFIX + name: value for name, value in given.items() if value})
        where = ("--conversation", "c1") if given["TRANSPORT"] == "rest-contract" else ()
        said = await asyncio.to_thread(cli, "send", "--guest", "guest-42", *where, "--timeout", "1", f"hello {CANARY}")
        assert said.code == case.code, said.err
        assert all(words in said.err for words in case.words), said.err
        assert ("stays queued" in said.err) == case.stored
        shown = said.out + said.err
        assert not [secret for secret in (WRONG, genesys.client_secret, CANARY, "guest-42") if secret in shown]
        assert genesys.messages() == []


# --- what comes to the webhook ---


class Desk(NamedTuple):
    """A program with a webhook, and the platform that POSTs to it."""

    genesys: Emulator
    wire: GuestWire
    server: WebhookServer
    way: str

    async def say(self, text: str, guest: str = "ann") -> None:
        """Let a guest say something that is accepted."""
        conversation = f"c {guest}" if self.way == "rest-contract" else None
        ticket = await self.wire.submit(Message(guest=guest, text=text, conversation=conversation))
        assert await settled(self.wire, ticket) == ["accepted"]

    async def answered(self, number: int) -> str:
        """Wait until a delivery has its end; returns it, with the status of its last attempt."""
        await eventually(lambda: len(self.genesys.webhooks()) > number)
        await eventually(lambda: self.genesys.webhooks()[number]["last_status"] is not None)
        notice = self.genesys.webhooks()[number]
        return f"{notice['state']} {notice['last_status']}"

    async def heard(self) -> list[Reply]:
        """Every reply, in the order in which they came."""
        return [reply async for reply in self.wire.replies(follow=False, reorder_s=0)]

    async def told(self, *events: str) -> list[JournalEntry]:
        """What the journal says of these."""
        return [entry for entry in await journal_of(self.wire) if entry.event in events]

    async def post(self, body: bytes, *, signed: bool = True, **headers: str) -> int:
        """POST something to the webhook; returns the status."""
        digest = hmac.digest(self.genesys.webhook_secret.encode(), body, hashlib.sha256)
        if signed:
            headers["X-Hub-Signature-256"] = f"sha256={base64.b64encode(digest).decode()}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.server.url, data=body, headers=headers) as found,
        ):
            return found.status


@contextlib.asynccontextmanager
async def desk(folder: Path, way: str = "openmessaging", **settings: Any) -> AsyncIterator[Desk]:
    """A guest has written, and the platform may answer."""
    async with emulator(webhook_retry_s=0.01, webhook_retries=1, **settings) as genesys:
        places = ways_to(**place_of(genesys), webhook_secret=Secret(genesys.webhook_secret))
        (to,) = [place for place in places if place.name == way]
        async with wiring([to], folder) as wire, WebhookServer(wire) as server:
            genesys.set_webhook(server.url)
            found = Desk(genesys, wire, server, way)
            await found.say(f"hello {CANARY}")
            yield found


WAYS = pytest.mark.parametrize("way", ["openmessaging", "rest-contract"])


@WAYS
async def test_what_is_not_signed_is_refused(tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wrong, hex in place of base64, or none: 403, nothing is kept, and the journal hears of it once a minute."""
    caplog.set_level(logging.DEBUG)
    async with desk(tmp_path, way) as at:
        for number, form in enumerate(("wrong", "hex", "missing")):
            at.genesys.inject("webhook_bad_signature", form=form)
            at.genesys.say(f"forged {CANARY}")
            assert await at.answered(number) == "failed 403"
        at.genesys.say("true")
        assert await at.answered(3) == "delivered 200"
        assert [reply.text for reply in await at.heard()] == ["true"]
        (refused,) = await at.told("webhook.refused")
        assert refused.detail == {"reason": "wrong signature", "count": 1}
        await at.say("and on")
    check_logs({CANARY, at.genesys.webhook_secret}, caplog)


@WAYS
async def test_what_comes_again_or_late_is_kept_once(tmp_path: Path, way: str) -> None:
    """Repeated, repeated after an hour, out of order: each reply once, under its own name."""
    async with desk(tmp_path, way) as at:
        at.genesys.inject("webhook_twice")
        at.genesys.say("twice")
        assert [await at.answered(0), await at.answered(1)] == ["delivered 200"] * 2
        at.genesys.inject("webhook_reorder", delay_ms=10_000)
        at.genesys.say("first")
        at.genesys.advance(1.0)
        at.genesys.say("second")
        await eventually(lambda: all(one["state"] == "delivered" for one in at.genesys.webhooks()))
        at.genesys.advance(3600.0)
        at.genesys.trigger("duplicate")
        assert await at.answered(4) == "delivered 200"
        assert [reply.text for reply in await at.heard()] == ["twice", "second", "first"]
        in_order = [reply.text async for reply in at.wire.replies(follow=False, reorder_s=5.0)]
        assert in_order == ["twice", "first", "second"]
        assert len(await at.told("reply.received")) == 3
        await at.say("and on")


#: Well signed, and of no use: what is sent, and what the journal says of it.
JUNK = {
    "not_json": "webhook.unreadable",
    "no_object": "webhook.unreadable",
    "content_type": "webhook.unreadable",
    "unknown_type": "webhook.unreadable",
}


async def test_what_is_well_signed_and_of_no_use_is_answered_and_told(tmp_path: Path) -> None:
    """The platform must not try it again, so it is answered with 200; the journal says that it came, not what."""
    async with desk(tmp_path) as at:
        for number, (junk, event) in enumerate(JUNK.items()):
            at.genesys.trigger("webhook_junk", junk=junk)
            assert await at.answered(number) == "delivered 200"
            assert len(await at.told(event)) == number + 1
        at.genesys.trigger("webhook_junk", junk="huge")
        assert await at.answered(len(JUNK)) == "failed 413"
        (refused,) = await at.told("webhook.refused")
        assert "larger than" in refused.detail["reason"]
        assert await at.heard() == []
        await at.say("and on")


def outbound(at: Desk, **body: Any) -> dict[str, Any]:
    """What the platform would POST."""
    integration = at.genesys.integration_id
    channel = {
        "id": integration,
        "platform": "Open",
        "type": "Private",
        "from": {"id": integration},
        "to": {"id": "ann", "idType": "Opaque"},
        "time": "2026-03-04T05:06:07.089Z",
    }
    return {"id": "6f3c9e21b84d47c5", "channel": channel, "type": "Text", "direction": "Outbound", **body}


async def test_bent_bodies_bend_nothing(tmp_path: Path) -> None:
    """Fields of wrong types, deep nesting, strangers: always 200, what can be read is kept, never an error of ours."""
    async with desk(tmp_path) as at:
        bodies: list[Any] = [
            outbound(at, text=17),
            outbound(at, text="x", content={"a": 1}),
            outbound(at, text="x", events="Typing"),
            outbound(at, channel=None),
            outbound(at, channel=[1, 2]),
            outbound(at, channel={"to": "ann", "from": 3}),
            outbound(at, channel={"to": {"id": 42}, "from": {"id": at.genesys.integration_id}}),
            outbound(at, type="Receipt"),
            outbound(at, type="Receipt", status={"a": 1}),
            outbound(at, type=None),
            outbound(at, id=None, text="no id"),
            outbound(at, id="y" * 5_000, text="long id"),
            outbound(at, id="stranger", channel={"id": UUID, "from": {"id": UUID}, "to": {"id": "ann"}}),
            {"channel": None, "a": 10**400},
        ]
        raw = [json.dumps(body).encode() for body in bodies]
        raw += [
            b"",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b'{"id":"\\ud800"}',
            json.dumps("x" * 900_000).encode(),
        ]
        raw.append(json.dumps(outbound(at, id="deep", text="deep", more=nested(90))).encode())
        statuses = [await at.post(body) for body in raw]
        assert statuses == [200] * len(raw)
        assert await at.post(json.dumps(outbound(at, id="last", text="last")).encode()) == 200
        texts = [reply.text for reply in await at.heard()]
        assert texts[-1] == "last"
        assert {"no id", "long id", "deep"} <= set(texts)
        assert len(await at.told("webhook.unroutable")) == 1
        await at.say("and on")


async def test_an_unknown_type_is_a_reply_of_another_kind(tmp_path: Path) -> None:
    """Something new is said: it is kept as `other`, nobody takes it for a text, and it is not reported as delivered."""
    async with desk(tmp_path) as at:
        assert await at.post(json.dumps(outbound(at, type="Hologram", hologram={"depth": 3})).encode()) == 200
        (reply,) = await at.heard()
        assert (reply.kind, reply.text) == ("other", None)
        await at.say("and on")


def nested(depth: int) -> Any:
    """Lists in lists."""
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


async def test_odd_requests_are_answered_as_they_deserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GET is 405; a body that never comes is 408, and keeps nobody; one that breaks off is nobody's."""
    monkeypatch.setattr("guestwire.webhook.READ_S", 0.2)
    async with desk(tmp_path) as at:
        async with aiohttp.ClientSession() as session, session.get(at.server.url) as found:
            assert (found.status, found.headers["Allow"]) == (405, "POST")
        reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        at.genesys.say("meanwhile")
        assert await at.answered(0) == "delivered 200"
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        _, broken = await asyncio.open_connection("127.0.0.1", at.server.port)
        broken.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        broken.transport.abort()
        assert await at.post(b"{}", signed=False) == 403
        assert await at.post(b"{}", signed=False, **{"X-Hub-Signature-256": "sha256=\xe4\xff"}) == 403
        assert [reply.text for reply in await at.heard()] == ["meanwhile"]
        await at.say("and on")


# --- receipts ---


async def test_a_receipt_for_nobody_is_kept_and_changes_nothing(tmp_path: Path) -> None:
    """Of a message that nobody knows: told as unmatched, once however often it comes."""
    async with desk(tmp_path) as at:
        at.genesys.trigger("receipt", id="unknown", status="Delivered")
        assert await at.answered(0) == "delivered 200"
        (unmatched,) = await at.told("receipt.unmatched")
        assert unmatched.detail["status"] == "Delivered"
        assert await at.told("part.delivered") == []
        await at.say("and on")


@pytest.mark.parametrize("status", ["Published", "Delivered", "Failed"])
async def test_a_receipt_before_its_message_waits_for_it(tmp_path: Path, status: str) -> None:
    """It names what is yet to be sent: when that is accepted, the receipt is joined with it, as the last word."""
    async with desk(tmp_path) as at:
        at.genesys.trigger("receipt", id="future", status=status)
        assert await at.answered(0) == "delivered 200"
        assert len(await at.told("receipt.unmatched")) == 1
        ticket = await at.wire.submit(Message(guest="ann", text="the one it is about"))
        await settled(at.wire, ticket)
        (received,) = await at.told("receipt.received")
        assert received.part_id == ticket.part_ids[0]
        wanted = {"Published": PartState.ACCEPTED, "Delivered": PartState.DELIVERED, "Failed": PartState.FAILED}[status]
        assert (await at.wire.message(ticket.message_id)).parts == {wanted: 1}
        await at.say("and on")


async def test_a_receipt_that_overtakes_the_answer_settles_the_message(tmp_path: Path) -> None:
    """The answer to the POST is lost, and a receipt says that the message is there: no check, no second copy."""
    async with desk(tmp_path, webhook_receipts=True) as at:
        at.genesys.inject("http_silent", match={"text": "overtaken"}, accept=True)
        ticket = await at.wire.submit(Message(guest="ann", text="overtaken"))
        behind = await at.wire.submit(Message(guest="ann", text="behind"))
        assert await settled(at.wire, ticket, behind) == ["accepted"] * 2
        await until(at.wire, "receipt.received", times=3)
        await eventually(lambda: at.genesys.state()["requests"]["POST open/message"] == 3)
        entries = [entry for entry in await journal_of(at.wire) if entry.part_id == ticket.part_ids[0]]
        assert [entry.event for entry in entries] == [
            "part.queued",
            "part.sending",
            "part.accepted",
            "receipt.received",
        ]
        assert entries[2].detail["source"] == "receipt"
        assert [message["text"] for message in at.genesys.messages()][1:] == ["overtaken", "behind"]
