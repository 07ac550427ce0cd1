"""
An HTTP port for a platform's webhook: `guestwire up --webhook-port`.

It speaks plain HTTP on this machine: the platform wants HTTPS on port 443, which a reverse proxy or a tunnel gives. The
path does not matter; the signature says whose it is. A server of one's own calls `GuestWire.receive_webhook` instead.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from guestwire.client import GuestWire
from guestwire.errors import ConfigError
from guestwire.receiving import MAX_BODY_BYTES, WebhookAnswer

if TYPE_CHECKING:
    from aiohttp import web

#: A sender gets this long for its body, in seconds: the platform sends a few kilobytes at once.
READ_S = 10.0
#: What is being answered at the end gets this long, in seconds.
CLOSE_S = 2.0


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
        self._host = host
        self.port = port
        self._runner: web.AppRunner | None = None
        self._sweeper: asyncio.Task[None] | None = None
        #: Connections on which a whole request has come.
        self._spoken: set[object] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

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
        from aiohttp import web

        self._wire.receiver.require()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S, keepalive_timeout=READ_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self.close()
            taken = error.errno == errno.EADDRINUSE
            raise ConfigError(
                f"port {self.port} of {self._host} cannot be had: {'it is taken' if taken else error.strerror}",
                code="GW-C051",
                hint="choose another --webhook-port; below 1024 needs rights that a reverse proxy has",
            ) from error
        self.port = self._runner.addresses[0][1]
        self._sweeper = asyncio.create_task(self._sweep(self._runner))

    async def _sweep(self, runner: web.AppRunner) -> None:
        """Close connections that have said nothing, or half a word: each takes a file that sending may need."""
        silent: set[object] = set()
        while True:
            await asyncio.sleep(READ_S)
            server = runner.server
            open_now = set(server.connections) if server is not None else set()
            for connection in open_now:
                if connection in silent and connection.transport is not None:
                    connection.transport.abort()
            self._spoken &= open_now
            silent = {connection for connection in open_now if connection not in self._spoken}

    async def _handle(self, request: web.Request) -> web.Response:
        from aiohttp import web

        self._spoken.add(request.protocol)
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
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def _response(answer: WebhookAnswer) -> web.Response:
    from aiohttp import web

    return web.Response(status=answer.status, body=answer.body, content_type="text/plain")
