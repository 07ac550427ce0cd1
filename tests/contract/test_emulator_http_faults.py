"""Every way in which plain HTTP goes wrong on demand, seen by a third party's client and by a bare socket."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest

from guestwire.emulator.app import Emulator
from tests.contract.test_emulator_kit import http
from tests.contract.test_emulator_rest_kit import CONTRACT, PATIENCE_S, Rest, message, open_messaging, until

BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


async def raw(genesys: Emulator, client: Rest, text: str) -> bytes:
    """Send a message over a bare socket and return every byte that comes back, to the end."""
    body = json.dumps(message(text)).encode()
    head = (
        f"POST {client.inbound()} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(genesys.url.rpartition(":")[2]))
    writer.write(head.encode() + body)
    got = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while part := await reader.read(65536):
                got += part
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return got


def texts(genesys: Emulator) -> list[Any]:
    """What agents see."""
    return [seen["text"] for seen in genesys.messages()]


async def test_before_and_after_acceptance() -> None:
    """Without an answer either way; only what was dropped after acceptance is seen, and the log tells them apart."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_drop_before", match={"path": "inbound/open/message", "text": "before"})
        genesys.inject("http_drop_after", match={"path": "inbound/open/message", "text": "after"})
        for text in ("before", "after"):
            with pytest.raises(BROKEN):
                await client.say(text)
        assert (await client.say("fine")).status == 202
        assert texts(genesys) == ["after", "fine"]
        assert [each["answered"] for each in genesys.requests()[1:]] == ["dropped", 202, 202]
        assert genesys.state()["faults_fired"] == {"http_drop_before": 1, "http_drop_after": 1}


async def test_what_is_refused_anyway_is_not_dropped_afterwards() -> None:
    """A fault behind acceptance waits for something that is accepted."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_drop_after")
        assert (await client.ask("POST", client.inbound(), {})).status == 400
        with pytest.raises(BROKEN):
            await client.say("hello")
        assert texts(genesys) == ["hello"]


async def test_a_reset_within_the_answer() -> None:
    """So many bytes of the answer come, and no more; the message is seen."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_reset_at", bytes=0)
        assert await raw(genesys, client, "none of it") == b""
        genesys.inject("http_reset_at", bytes=20, times=2)
        assert b"HTTP/1.1 202 Accepted".startswith(await raw(genesys, client, "a part of it"))
        with pytest.raises(BROKEN):
            await client.say("by a client")
        assert texts(genesys) == ["none of it", "a part of it", "by a client"]


async def test_an_answer_that_trickles() -> None:
    """It is whole in the end, and the connection is then closed."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_slow_answer", delay_ms=0, times=2)
        answer = await client.say("hello")
        assert (answer.status, answer.json["text"]) == (202, "hello")
        head, _, body = (await raw(genesys, client, "again")).partition(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert json.loads(body)["text"] == "again"


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize(
    ("kind", "parameters", "status", "content_type"),
    [
        ("http_status", {"status": 500}, 500, "application/json"),
        ("http_html", {}, 502, "text/html"),
        ("http_truncated_json", {"status": 202}, 202, "application/json"),
        ("http_gzip_bomb", {"megabytes": 3}, 200, "application/json"),
    ],
)
async def test_something_else_than_the_answer(
    kind: str, parameters: dict[str, Any], status: int, content_type: str, accept: bool
) -> None:
    """With `accept` the message is seen nevertheless; the next request is answered as ever."""
    async with open_messaging() as (genesys, client):
        genesys.inject(kind, match={"action": "POST open/message"}, accept=accept, **parameters)
        async with aiohttp.ClientSession(genesys.url, auto_decompress=False) as session:
            headers = {"Authorization": f"Bearer {client.token}"}
            async with session.post(client.inbound(), json=message("hello"), headers=headers) as answer:
                body = await answer.read()
                assert (answer.status, answer.content_type) == (status, content_type)
        if kind == "http_gzip_bomb":
            assert len(body) < 10_000
            assert len(gzip.decompress(body)) > 3_000_000
        elif kind == "http_status":
            assert json.loads(body)["code"] == "internal.server.error"
        else:
            with pytest.raises(json.JSONDecodeError):
                json.loads(body)
        assert texts(genesys) == (["hello"] if accept else [])
        assert genesys.requests()[-1]["answered"] == (202 if accept else status)
        assert (await client.say("again")).status == 202


async def test_an_answer_of_ones_own() -> None:
    """Body, media type and headers as asked for: a proxy's page, a Retry-After that is a date, nonsense or missing."""
    async with open_messaging() as (genesys, client):
        date = "Wed, 21 Oct 2026 07:28:00 GMT"
        genesys.inject("http_status", status=429, headers={"Retry-After": date})
        genesys.inject("http_status", status=503, retry_after_s=7, body="<p>busy</p>", content_type="text/html")
        genesys.inject("http_status", status=429, headers={"Retry-After": "-5"})
        genesys.inject("http_status", status=429)
        answers = [await client.say("hello") for _ in range(4)]
        assert [(each.status, each.headers.get("Retry-After")) for each in answers] == [
            (429, date),
            (503, "7"),
            (429, "-5"),
            (429, None),
        ]
        assert (answers[1].headers["Content-Type"], answers[1].raw) == ("text/html", b"<p>busy</p>")
        assert answers[3].json["code"] == "too.many.requests"
        assert answers[3].json["contextId"] == answers[3].headers["ININ-Correlation-Id"]
        assert texts(genesys) == []


async def test_a_redirect() -> None:
    """307 to an address, and nothing is accepted."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_redirect", location="http://127.0.0.1:9/elsewhere")
        answer = await client.say("hello")
        assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")
        assert texts(genesys) == []


@pytest.mark.parametrize("accept", [False, True])
async def test_never_an_answer(accept: bool) -> None:
    """The request is read; nothing comes until the emulator is reset or ends."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_silent", accept=accept)
        waiting = asyncio.create_task(client.say("hello"))
        await until(lambda: len(genesys.requests()) == 2)
        assert not waiting.done()
        assert genesys.requests()[-1]["answered"] == (202 if accept else "dropped")
        assert texts(genesys) == (["hello"] if accept else [])
        assert (await client.say("another")).status == 202
        genesys.reset()
        with pytest.raises(BROKEN):
            await waiting


async def test_faults_find_their_request() -> None:
    """By action, part of the path, text, or the token's SHA-256; of the contract and the login as well."""
    async with open_messaging() as (genesys, client):
        genesys.inject("http_status", match={"action": "oauth/token"})
        genesys.inject("http_status", match={"path": "messaging/messages", "text": "gateway"})
        genesys.inject("http_status", match={"token_sha256": genesys.requests()[-1]["token_sha256"] or "none"})
        assert (await client.say("hello")).status == 202
        assert (await client.log_in()).status == 503
        body = {
            "from": {"id": "g", "type": "user"},
            "to": {"id": "c", "type": "conversation"},
            "body": {"contentType": "text/plain", "content": "to the gateway"},
        }
        assert [(await client.ask("POST", CONTRACT, body)).status for _ in range(2)] == [503, 200]
        mine = genesys.requests()[-1]["token_sha256"]
        genesys.inject("http_status", match={"token_sha256": mine})
        other = (await client.log_in()).json["access_token"]
        assert (await client.ask("POST", client.inbound(), message("x"), token=other)).status == 202
        assert (await client.say("x")).status == 503


async def test_faults_strike_whatever_is_served() -> None:
    """Other routes than the messaging ones as well; the admin API never."""
    async with open_messaging() as (genesys, _), http(genesys) as session:
        path = f"/webdeployments/v1/deployments/{genesys.deployment_id}/config.json"
        genesys.inject("http_drop_after", match={"path": "config.json"}, times=2)  # the client asks again by itself
        genesys.inject("http_html", match={"path": "config.json", "nth": 3})
        with pytest.raises(BROKEN):
            await session.get(path)
        async with session.get(path) as answer:
            assert answer.status == 502
        async with session.get(path) as answer:
            assert answer.status == 200
        genesys.inject("http_status", times=None)
        async with session.get("/_emulator/state") as answer:
            assert answer.status == 200
