"""
An HTTP port for a platform's webhook: `guestwire up --webhook-port`.

It speaks plain HTTP on this machine: the platform wants HTTPS on port 443, which a reverse proxy or a tunnel gives. The
path does not matter; the signature says whose it is. A server of one's own calls `GuestWire.receive_webhook` instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guestwire.client import GuestWire
from guestwire.ports import READ_S, HttpPort
from guestwire.receiving import MAX_BODY_BYTES, WebhookAnswer

if TYPE_CHECKING:
    from aiohttp import web


class WebhookServer:
    """
    Receives for a `GuestWire`; as a context manager, for the length of the block.

    Args:
        wire: Open.
        host: Address to listen on.
        port: 0: a free one; see `port` after the start.
    """

    def __init__(self, wire: GuestWire, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._wire = wire
        self._port = HttpPort(self._handle, host=host, port=port, flag="--webhook-port", max_body_bytes=MAX_BODY_BYTES)

    @property
    def port(self) -> int:
        """On which it listens."""
        return self._port.port

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._port.url

    async def __aenter__(self) -> WebhookServer:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def start(self) -> None:
        """
        Open the port.

        Raises:
            ConfigError: GW-C047, there is no secret to know the platform by; GW-C051, the port cannot be had.
        """
        self._wire.receiver.require()
        await self._port.open()

    async def _handle(self, request: web.Request) -> web.Response:
        from aiohttp import web

        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"}, text="a platform's webhook: POST to it\n")
        try:
            async with asyncio.timeout(READ_S):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="the body took too long\n")
        except web.HTTPRequestEntityTooLarge:
            return _response(await self._wire.receiver.refuse(413, f"larger than {MAX_BODY_BYTES} bytes"))
        return _response(await self._wire.receive_webhook(request.headers, body))

    async def close(self) -> None:
        """Close the port. What is being stored is answered first."""
        await self._port.close()


def _response(answer: WebhookAnswer) -> web.Response:
    from aiohttp import web

    return web.Response(status=answer.status, body=answer.body, content_type="text/plain")
