"""Talking REST to the emulator, and being its webhook, with a third party's HTTP and raw JSON."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from guestwire.emulator.app import Emulator
from guestwire.emulator.settings import EmulatorSettings

#: How long a test waits for what must come, in seconds.
PATIENCE_S = 10.0
#: When it is, in seconds since the epoch.
NOW = 1_800_000_000.0
MESSAGES = "/api/v2/conversations/messages"
CONTRACT = "/api/v2/conversations/messaging/messages"

Json = dict[str, Any]

_ORACLE = os.environ.get("GUESTWIRE_ORACLE", "")
FIXTURES = pathlib.Path(_ORACLE) / "platform-api-fixtures" if _ORACLE else None
needs_fixtures = pytest.mark.skipif(
    FIXTURES is None or not FIXTURES.is_dir(),
    reason="GUESTWIRE_ORACLE is not set: the outside fixtures are not on this machine",
)


def fixture(name: str) -> Any:
    """Read an outside fixture."""
    assert FIXTURES is not None
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def shape(value: Any) -> Any:
    """Say of which fields JSON consists, without their values; of a list, what its first item consists of."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Any, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.raw)


class Rest:
    """A client of the REST routes that knows nothing but HTTP."""

    def __init__(self, genesys: Emulator, session: aiohttp.ClientSession) -> None:
        self.genesys = genesys
        self.session = session
        self.token = ""

    async def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any) -> Answer:
        """Send a request, with a JSON body if there is one."""
        headers = dict(more.pop("headers", {}))
        bearer = self.token if token is None else token
        if bearer:
            headers.setdefault("Authorization", f"Bearer {bearer}")
        if body is not None:
            more["data"] = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if "data" in more:
            more["data"] = io.BytesIO(more["data"])
        async with self.session.request(method, path, headers=headers, allow_redirects=False, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def log_in(self, client_id: str | None = None, secret: str | None = None) -> Answer:
        """Ask for a token as the official SDK does."""
        pair = f"{client_id or self.genesys.client_id}:{secret or self.genesys.client_secret}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self.ask("POST", "/oauth/token", headers=headers, data=b"grant_type=client_credentials")

    def inbound(self, what: str = "message") -> str:
        """The path of an inbound Open Messaging route."""
        return f"{MESSAGES}/{self.genesys.integration_id}/inbound/open/{what}"

    async def say(self, text: str, guest: str = "guest-42", message_id: str | None = None, **body: Any) -> Answer:
        """Bring in what a guest says over Open Messaging; asks for the conversation's id."""
        return await self.ask(
            "POST", f"{self.inbound()}?prefetchConversationId=true", message(text, guest, message_id, **body)
        )


def message(text: str | None, guest: str = "guest-42", message_id: str | None = None, **body: Any) -> Json:
    """A body of ``inbound/open/message``."""
    channel: Json = {"from": {"id": guest, "idType": "Opaque"}, "time": "2026-03-04T05:06:07.089Z"}
    if message_id is not None:
        channel["messageId"] = message_id
    return {"channel": channel, **({} if text is None else {"text": text}), **body}


@contextlib.asynccontextmanager
async def rest(genesys: Emulator) -> AsyncIterator[Rest]:
    """Log in, and talk."""
    async with aiohttp.ClientSession(genesys.url) as session:
        client = Rest(genesys, session)
        answer = await client.log_in()
        assert answer.status == 200, answer.raw
        client.token = answer.json["access_token"]
        yield client


@contextlib.asynccontextmanager
async def open_messaging(**settings: Any) -> AsyncIterator[tuple[Emulator, Rest]]:
    """An emulator whose clock only `advance` moves, and a client that has logged in."""
    genesys = Emulator(EmulatorSettings.checked({"history_lag_s": 0, **settings}), clock=lambda: NOW)
    await genesys.start()
    try:
        async with rest(genesys) as client:
            yield genesys, client
    finally:
        await genesys.close()


class Delivered:
    """One POST that the webhook got."""

    def __init__(self, headers: Any, raw: bytes) -> None:
        self.headers = headers
        self.raw = raw

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.raw)

    def is_signed(self, secret: str) -> bool:
        """Whether the signature is that of the vendor's page: base64 of the HMAC of the raw body."""
        digest = hmac.new(secret.encode(), self.raw, hashlib.sha256).digest()
        return bool(self.headers.get("X-Hub-Signature-256") == f"sha256={base64.b64encode(digest).decode()}")


class Hook:
    """A webhook: what it got, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.got: asyncio.Queue[Delivered] = asyncio.Queue()
        #: Statuses of the next answers; then 200. None: no answer until the test lets go.
        self.answers: list[int | None] = []
        self.let_go = asyncio.Event()

    async def next(self) -> Delivered:
        """Wait for the next POST."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.got.get()

    async def serve(self, request: web.Request) -> web.Response:
        """Take a POST."""
        raw = await request.read()
        status = self.answers.pop(0) if self.answers else 200
        self.got.put_nowait(Delivered(request.headers, raw))
        if status is None:
            await self.let_go.wait()
            status = 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@contextlib.asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    """A webhook on a port of its own."""
    receiver = Hook()
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_post("/hook", receiver.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}/hook"
        yield receiver
    finally:
        receiver.let_go.set()
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    """Let the emulator, which runs in this loop, go on until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the emulator signals nothing to Python
            await asyncio.sleep(0)


async def settled(genesys: Emulator, state: str, count: int = 1) -> list[Json]:
    """Wait until so many deliveries are in a state, and return all of them."""
    await until(lambda: sum(each["state"] == state for each in genesys.webhooks()) >= count)
    return genesys.webhooks()


async def attempted(genesys: Emulator, attempts: int) -> Json:
    """Wait until the newest delivery has so many attempts that have ended, and return it."""
    await until(lambda: sum(each["status"] is not None for each in genesys.webhooks()[-1]["attempts"]) >= attempts)
    return genesys.webhooks()[-1]
