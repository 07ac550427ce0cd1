"""
What stands before a gateway on the way to it: a TCP port, with or without TLS, that hands everything on, or does not.

It takes the place of a platform for `raw_place.Place`, so that certificates and proxies are made as for REST.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


class Front:
    """
    A port on 127.0.0.1 before an emulator.

    Args:
        to: The emulator's port.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._kept: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        #: What is done to whoever comes, by a name of `TRICKS`; empty: he is let through.
        self.how = ""
        #: Who has come so far.
        self.came = 0

    @property
    def url(self) -> str:
        """Where it listens, without TLS."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, from the second time on at the same port."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more, and keep the port: whoever knocks is refused, and nobody else can take it."""
        await self.shut()
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", self.port))

    async def shut(self) -> None:
        """Listen no more, and break every line."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self) -> None:
        """Let everybody through who comes from now on."""
        self.how = ""

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.came += 1
        try:
            await TRICKS[self.how](self, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def through(self, reader: Reader, writer: Writer, *, size: int = 65536) -> None:
        """Hand everything on."""
        near, far = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            await _first(_copy(reader, far, size=size), _copy(near, writer, size=size))
        finally:
            far.close()

    async def in_single_bytes(self, reader: Reader, writer: Writer) -> None:
        """Hand everything on, one byte at a time, both ways."""
        await self.through(reader, writer, size=1)

    async def reset(self, reader: Reader, writer: Writer) -> None:
        """Break the line at once."""
        _reset(writer)

    async def reset_unanswered(self, reader: Reader, writer: Writer) -> None:
        """Break the line when the request has been read."""
        await reader.readuntil(b"\r\n\r\n")
        _reset(writer)

    async def reset_within(self, reader: Reader, writer: Writer) -> None:
        """Break the line in the middle of the answer."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switch")
        await writer.drain()
        _reset(writer)

    async def end_unanswered(self, reader: Reader, writer: Writer) -> None:
        """Close when the request has been read."""
        await reader.readuntil(b"\r\n\r\n")

    async def end_within(self, reader: Reader, writer: Writer) -> None:
        """Close in the middle of the answer."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs")
        await writer.drain()

    async def silence(self, reader: Reader, writer: Writer) -> None:
        """Read, and say nothing."""
        await reader.read()

    async def slow(self, reader: Reader, writer: Writer) -> None:
        """Answer for ever, a byte at a time."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def page(self, reader: Reader, writer: Writer) -> None:
        """Show a page in place of the upgrade."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_PAGE)
        await writer.drain()

    async def wrong_key(self, reader: Reader, writer: Writer) -> None:
        """Grant an upgrade that nobody asked for."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        )
        await writer.drain()
        await reader.read()


TRICKS: dict[str, Callable[[Front, Reader, Writer], Awaitable[None]]] = {
    "": Front.through,
    "bytes": Front.in_single_bytes,
    "reset": Front.reset,
    "reset_unanswered": Front.reset_unanswered,
    "reset_within": Front.reset_within,
    "end_unanswered": Front.end_unanswered,
    "end_within": Front.end_within,
    "silence": Front.silence,
    "slow": Front.slow,
    "page": Front.page,
    "wrong_key": Front.wrong_key,
}


def _reset(writer: Writer) -> None:
    """End a line with a reset in place of a farewell."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _copy(reader: Reader, writer: Writer, *, size: int) -> None:
    while data := await reader.read(size):
        writer.write(data)
        await writer.drain()


async def _first(*pumps: Awaitable[None]) -> None:
    """Run until one direction has ended."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
