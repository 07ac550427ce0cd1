"""A guest made of a third party's WebSocket client and raw JSON: nothing of ours judges the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import websockets
from websockets.asyncio.client import ClientConnection, connect

from guestwire.emulator.app import Emulator

#: How long a test waits for a frame that must come, in seconds.
PATIENCE_S = 5.0

Json = dict[str, Any]


class RawGuest:
    """A guest's client that knows the wire and nothing else."""

    def __init__(self, socket: ClientConnection, deployment_id: str, token: str) -> None:
        self.socket = socket
        self.deployment_id = deployment_id
        self.token = token

    async def send(self, action: str, **fields: Any) -> None:
        """Send a request; a field that is None is left out, the token too."""
        frame = {"action": action, "token": self.token, **fields}
        await self.socket.send(json.dumps({key: value for key, value in frame.items() if value is not None}))

    async def recv(self) -> Json:
        """Return the next frame."""
        async with asyncio.timeout(PATIENCE_S):
            frame: Json = json.loads(await self.socket.recv())
            return frame

    async def ask(self, action: str, **fields: Any) -> Json:
        """Send a request and return the next frame."""
        await self.send(action, **fields)
        return await self.recv()

    async def configure(self, **fields: Any) -> Json:
        """Open, resume or replace the session."""
        return await self.ask("configureSession", deploymentId=self.deployment_id, **fields)

    async def say(self, text: str, tracing_id: str | None = None, **message: Any) -> Json:
        """Send a text and return the next frame."""
        return await self.ask("onMessage", tracingId=tracing_id, message={"type": "Text", "text": text, **message})

    async def settle(self) -> Json:
        """Ask for something harmless: when its answer is there, everything before it is too."""
        return await self.ask("getConfiguration", deploymentId=self.deployment_id, tracingId="settle")

    async def lost(self) -> int:
        """Wait for the end of the connection and return its close code; 1006: none came."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    await self.socket.recv()
        await self.socket.wait_closed()
        code = self.socket.close_code
        assert code is not None
        return code


@contextlib.asynccontextmanager
async def raw_guest(
    genesys: Emulator, token: str | None = None, *, configure: bool = True, **options: Any
) -> AsyncIterator[RawGuest]:
    """Connect a guest; `configure` also opens his session."""
    url = f"{genesys.ws_url}?deploymentId={genesys.deployment_id}"
    async with connect(url, ping_interval=None, **options) as socket:
        guest = RawGuest(socket, genesys.deployment_id, token or str(uuid.uuid4()))
        if configure:
            answer = await guest.configure()
            assert answer["class"] == "SessionResponse", answer
        yield guest


@contextlib.asynccontextmanager
async def http(genesys: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Talk HTTP to the emulator."""
    async with aiohttp.ClientSession(genesys.url) as session:
        yield session


async def history(genesys: Emulator, guest: RawGuest, **query: Any) -> Json:
    """Read a page of the guest's history as a client does: key first, then REST."""
    jwt = (await guest.ask("getJwt"))["body"]["jwt"]
    async with http(genesys) as session:
        url = "/api/v2/webmessaging/messages"
        async with session.get(url, params=query, headers={"Authorization": f"Bearer {jwt}"}) as answer:
            assert answer.status == 200, await answer.text()
            page: Json = await answer.json()
            return page
