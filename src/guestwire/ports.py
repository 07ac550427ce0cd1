"""An HTTP port on this machine: opened, kept free of those who say nothing, closed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from guestwire.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

#: A sender gets this long for its request, in seconds.
READ_S = 10.0
#: What is being answered at the end gets this long, in seconds.
CLOSE_S = 2.0


class HttpPort:
    """
    Serves one handler for every method and path.

    Args:
        handle: Answers.
        host: Address to listen on.
        port: 0: a free one; see `port` after the start.
        flag: Of the command line, for the words of an error.
        max_body_bytes: Of a request.
    """

    def __init__(
        self,
        handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
        *,
        host: str,
        port: int,
        flag: str,
        max_body_bytes: int,
    ) -> None:
        self._answer = handle
        self._host = host
        self.port = port
        self._flag = flag
        self._max_body_bytes = max_body_bytes
        self._runner: web.AppRunner | None = None
        self._sweeper: asyncio.Task[None] | None = None
        #: Connections on which a whole request has come.
        self._spoken: set[object] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def open(self) -> None:
        """
        Open the port.

        Raises:
            ConfigError: GW-C051, it cannot be had.
        """
        from aiohttp import web

        app = web.Application(client_max_size=self._max_body_bytes)
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
                hint=f"choose another {self._flag}; below 1024 needs rights that a reverse proxy has",
            ) from error
        self.port = self._runner.addresses[0][1]
        self._sweeper = asyncio.create_task(self._sweep(self._runner))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._spoken.add(request.protocol)
        return await self._answer(request)

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

    async def close(self) -> None:
        """Close the port. What is being answered is answered first."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
