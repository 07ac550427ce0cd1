"""
For comparison: a small client with the tutorial's retry rule.

Up to three attempts on any exception, waits of 2 to 10 seconds that double, no look at what became of the attempt
before. Everything else is as careful as one would write it in an afternoon: one connection a guest, one message at a
time, the echo awaited.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from guestwire.cli.batchfile import Row

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 3
#: As the tutorial's decorator: multiplier 1, at least 2 s, at most 10 s.
MIN_WAIT_S, MAX_WAIT_S = 2.0, 10.0


async def transmit(ws_url: str, deployment_id: str, rows: Sequence[Row], *, answer_s: float) -> list[str]:
    """Send every row; returns the `tracingId` of each. Failures are given up, as the rule says."""
    import aiohttp

    names = [str(uuid.uuid4()) for _ in rows]
    guests: dict[str, list[tuple[str, Row]]] = {}
    for name, row in zip(names, rows, strict=True):
        guests.setdefault(row.draft.guest, []).append((name, row))
    url = f"{ws_url}?{urlencode({'deploymentId': deployment_id})}"
    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(_Guest(http, url, deployment_id, answer_s).send_all(each) for each in guests.values()))
    return names


class _Guest:
    """One guest's connection."""

    def __init__(self, http: aiohttp.ClientSession, url: str, deployment_id: str, answer_s: float) -> None:
        self._http = http
        self._url = url
        self._deployment_id = deployment_id
        self._answer_s = answer_s
        self._token = str(uuid.uuid4())
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def send_all(self, messages: Sequence[tuple[str, Row]]) -> None:
        """Send a guest's messages, one after the other."""
        for name, row in messages:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._send(name, row)
                    break
                except Exception:
                    await self._close()
                    if attempt < ATTEMPTS:
                        await asyncio.sleep(min(MAX_WAIT_S, max(MIN_WAIT_S, 2.0 ** (attempt - 1))))
        await self._close()

    async def _send(self, name: str, row: Row) -> None:
        if self._socket is None:
            self._socket = await self._http.ws_connect(self._url)
            configure = {"action": "configureSession", "deploymentId": self._deployment_id, "token": self._token}
            await self._ask({**configure, "tracingId": str(uuid.uuid4())})
        message = {"type": "Text", "text": row.draft.text}
        await self._ask({"action": "onMessage", "token": self._token, "tracingId": name, "message": message})

    async def _ask(self, request: dict[str, object]) -> None:
        assert self._socket is not None  # noqa: S101 - connected just before
        await self._socket.send_str(msgspec.json.encode(request).decode())
        async with asyncio.timeout(self._answer_s):
            while True:
                frame = msgspec.json.decode(await self._socket.receive_str())
                if frame.get("code") != 200 or frame.get("class") == "SessionExpiredEvent":
                    raise RuntimeError(f"the gateway answers {frame.get('code')}")
                if frame.get("tracingId") == request["tracingId"]:
                    return

    async def _close(self) -> None:
        if self._socket is not None:
            socket, self._socket = self._socket, None
            await socket.close()
