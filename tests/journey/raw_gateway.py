"""
The emulator with a hand on the line: what no gateway of good manners does, done to the bytes on their way to the guest.

A `RawGateway` listens in front of an emulator and passes everything on. A `Meddle` takes frames of its choice out of
the stream to the guest and puts bytes of its own in their place; an answer over HTTP can be replaced too. So the
emulator stays the judge of what was accepted, and the guest's client meets a gateway that it has no reason to trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from guestwire.emulator.app import Emulator

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 0x1, 0x0, 0x2, 0x8, 0x9, 0xA

Json = dict[str, Any]
#: Takes a frame on its way to the guest; returns the bytes that go out in its place, None: as it came.
Meddle = Callable[["Link", Json], bytes | None]


def frame(kind: int, payload: bytes, *, last: bool = True, reserved: int = 0) -> bytes:
    """One frame as a server writes it (RFC 6455, 5.2)."""
    first = kind | (0x80 if last else 0) | reserved
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def text(*objects: object) -> bytes:
    """Text frames, each with one JSON value; bytes stand for themselves."""
    return b"".join(frame(TEXT, one if isinstance(one, bytes) else json.dumps(one).encode()) for one in objects)


def http(body: bytes, status: str = "200 OK", kind: str = "application/json", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


class Link:
    """One WebSocket of a guest."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Put bytes of our own into the stream to the guest."""
        if not self._writer.is_closing():
            self._writer.write(data)

    def close(self) -> None:
        """End the line when what was written is on its way."""
        self._writer.close()

    def abort(self) -> None:
        """Cut the line."""
        self._writer.transport.abort()


class RawGateway:
    """An emulator behind a hand on the line; see the module."""

    def __init__(self, genesys: Emulator) -> None:
        self._genesys = genesys
        self._port = 0
        self.deployment_id = genesys.deployment_id
        #: Looked at in order; the first that answers has the frame.
        self.meddles: list[Meddle] = []
        #: Whole answers in place of the next ones over HTTP, by a part of their path.
        self.answers: list[tuple[str, bytes]] = []
        #: Every WebSocket so far.
        self.links: list[Link] = []
        #: Close codes that guests gave.
        self.closed_with: list[int] = []
        #: How many pongs came from guests.
        self.pongs = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where to connect instead of the emulator."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=4 * 1024 * 1024)
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def stop(self, server: asyncio.Server) -> None:
        """Cut every line."""
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            target = head.split(" ", 2)[1]
            for place, (path, answer) in enumerate(self.answers):
                if path in target:
                    del self.answers[place]
                    writer.write(answer)
                    await writer.drain()
                    return
            host, port = self._genesys.url.removeprefix("http://").split(":")
            near, far = await asyncio.open_connection(host, int(port), limit=4 * 1024 * 1024)
            is_socket = "upgrade: websocket" in head.lower()
            if not is_socket:
                # One request a connection, so that each of them passes here.
                head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            far.write(head.encode("latin-1"))
            if is_socket and b" 101 " in (granted := await near.readuntil(b"\r\n\r\n")):
                writer.write(granted)
                link = Link(len(self.links), writer)
                self.links.append(link)
                await _first(self._to_gateway(reader, far), self._to_guest(near, link))
            else:
                await _first(_copy(reader, far), _copy(near, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side is gone, and so will be the other
        finally:
            for one in (writer, far):
                if one is not None:
                    with contextlib.suppress(OSError):
                        one.close()

    async def _to_guest(self, near: asyncio.StreamReader, link: Link) -> None:
        while True:
            kind, payload, raw = await _read(near)
            if kind == TEXT:
                # Files go where this gateway is: what the emulator says of itself would lead past it.
                here = payload.replace(self._genesys.url.encode(), self.url.encode())
                message = json.loads(here)
                found = next((made for meddle in self.meddles if (made := meddle(link, message)) is not None), None)
                raw = frame(TEXT, here) if found is None else found
            link.write(raw)

    async def _to_gateway(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        while True:
            kind, payload, raw = await _read(reader)
            if kind == CLOSE:
                self.closed_with.append(int.from_bytes(payload[:2], "big"))
            self.pongs += kind == PONG
            far.write(raw)


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Return kind, payload and bytes of the next frame; neither the emulator nor picows fragments."""
    raw = await reader.readexactly(2)
    size = raw[1] & 0x7F
    if size >= 126:
        length = await reader.readexactly(2 if size == 126 else 8)
        size = int.from_bytes(length, "big")
        raw += length
    mask = b"\0\0\0\0"
    if raw[1] & 0x80:
        mask = await reader.readexactly(4)
        raw += mask
    data = await reader.readexactly(size)
    raw += data
    if any(mask):
        data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    return raw[0] & 0x0F, data, raw


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _first(*pumps: Any) -> None:
    """Run until one direction has ended."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def raw_gateway(genesys: Emulator) -> AsyncIterator[RawGateway]:
    """Put a hand on the line of an emulator for the length of the block."""
    gateway = RawGateway(genesys)
    server = await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop(server)
