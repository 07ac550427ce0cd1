"""A line against a WebSocket server made of bytes: whatever comes, the line survives, and nothing is raised."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from guestwire.clock import SystemClock
from guestwire.model import GuestRef, SessionChanged, SessionState
from guestwire.policy.pace import Pace
from guestwire.protocol.reading import DeploymentConfig
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.base import HeardReply, LaneInfo, LaneReady, Noted, TransportEvent
from guestwire.transports.line import MAX_FRAME_BYTES
from guestwire.transports.webmessaging import WebMessagingTransport

GUEST = GuestRef("g0")
TEXT, CONTINUATION, BINARY, CLOSE, PING = 0x1, 0x0, 0x2, 0x8, 0x9


def frame(kind: int, payload: bytes, *, last: bool = True) -> bytes:
    """One frame as a server writes it (RFC 6455, 5.2)."""
    first = kind | (0x80 if last else 0)
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def says(text: str) -> bytes:
    """What an agent says, as a frame's payload."""
    message = {"id": text[:20] or "empty", "direction": "Outbound", "type": "Text", "text": text}
    return json.dumps(
        {"type": "message", "class": "StructuredMessage", "code": 200, "body": message}, ensure_ascii=False
    ).encode()


class Peer:
    """A client as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def handshake(self) -> None:
        """Grant the upgrade."""
        request = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key")
        )
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()  # noqa: S324 - RFC 6455
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    async def read(self) -> tuple[int, bytes]:
        """Return kind and payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))

    async def configure(self) -> None:
        """Read the configure request and grant it."""
        _, payload = await self.read()
        body = {"connected": True, "newSession": True, "readOnly": False}
        answer = {"type": "response", "class": "SessionResponse", "code": 200, "body": body}
        self.writer.write(frame(TEXT, json.dumps({**answer, "tracingId": json.loads(payload)["tracingId"]}).encode()))


class Bench:
    """A transport with one guest, and what it says."""

    def __init__(self, port: int) -> None:
        self.told: list[TransportEvent] = []
        self.news = asyncio.Event()
        self.destination = Destination(
            name="raw", url=f"http://127.0.0.1:{port}", deployment_id="3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
        )
        self.transport = WebMessagingTransport(
            self.destination,
            timing=RelaySettings(reconnect_base_s=0.01, reconnect_cap_s=0.02, connect_timeout_s=0.5),
            pace=Pace([]),
            clock=SystemClock(),
            emit=self._hear,
        )

    def _hear(self, event: TransportEvent) -> None:
        self.told.append(event)
        self.news.set()

    async def until(self, condition: Callable[[TransportEvent], bool]) -> TransportEvent:
        """Wait for something that the transport says."""
        async with asyncio.timeout(10):
            while True:
                for event in self.told:
                    if condition(event):
                        return event
                self.news.clear()
                await self.news.wait()

    async def until_lost(self) -> str:
        """Wait until the socket is gone; returns why."""
        event = await self.until(lambda event: isinstance(event, Noted) and event.event == "session.lost")
        assert isinstance(event, Noted)
        return str(event.detail["reason"])

    async def until_heard(self, count: int) -> list[str | None]:
        """Wait until the agent was heard so often; returns his words."""
        await self.until(lambda _: sum(isinstance(event, HeardReply) for event in self.told) >= count)
        return [event.reply.text for event in self.told if isinstance(event, HeardReply)]


@contextlib.asynccontextmanager
async def bench(serve: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[Bench]:
    """Run a server whose first connection is served by `serve`; the next ones only configure."""
    served: list[Peer] = []
    ended = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        served.append(peer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if len(served) == 1:
                await serve(peer)
            else:
                await peer.handshake()
                await peer.configure()
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made = Bench(server.sockets[0].getsockname()[1])
    # The deployment's public configuration is not what this is about.
    made.transport._reads._config = asyncio.get_running_loop().create_task(no_auto_start())
    made.transport._reads._config_at = made.transport.clock.now()
    await made.transport.open()
    try:
        made.transport.want(LaneInfo(GUEST, "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c51", SessionState.NONE))
        yield made
    finally:
        await made.transport.close()
        server.close()
        for peer in served:
            peer.writer.close()
        await server.wait_closed()


async def no_auto_start() -> DeploymentConfig:
    """A deployment without autoStart."""
    return DeploymentConfig()


def speaking(*frames: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A server that configures and then writes this."""

    async def serve(peer: Peer) -> None:
        await peer.handshake()
        await peer.configure()
        peer.writer.writelines(frames)

    return serve


async def test_fragments_are_put_together() -> None:
    """A text in fragments, cut inside a character, with a ping in between, is one message."""
    payload = says("Grüße 👋")
    cut = payload.index("ü".encode()) + 1
    frames = [
        frame(TEXT, payload[:cut], last=False),
        frame(PING, b"alive?"),
        frame(CONTINUATION, payload[cut : cut + 5], last=False),
        frame(CONTINUATION, b"", last=False),
        frame(CONTINUATION, payload[cut + 5 :]),
        frame(TEXT, says("after")),
    ]
    async with bench(speaking(*frames)) as made:
        assert await made.until_heard(2) == ["Grüße 👋", "after"]


async def test_a_message_of_one_byte_fragments() -> None:
    """A large message, a byte at a time, costs its length and not the square of it."""
    payload = says("x" * 200_000)
    frames = [frame(TEXT, payload[:1], last=False)]
    frames += [frame(CONTINUATION, payload[n : n + 1], last=False) for n in range(1, len(payload) - 1)]
    frames += [frame(CONTINUATION, payload[-1:])]
    async with bench(speaking(b"".join(frames))) as made, asyncio.timeout(5):
        (text,) = await made.until_heard(1)
        assert text == "x" * 200_000


@pytest.mark.parametrize(
    ("frames", "reason", "code"),
    [
        ([frame(TEXT, b'"\xff"')], "UTF-8", 1007),
        ([frame(TEXT, b'"\xc3', last=False), frame(CONTINUATION, b'"')], "UTF-8", 1007),
        ([frame(BINARY, b"bytes")], "binary", 1003),
        ([frame(CONTINUATION, b"text")], "fragments out of order", 1002),
        ([frame(TEXT, b"a", last=False), frame(TEXT, b"b")], "fragments out of order", 1002),
        ([frame(TEXT, b"x" * 600_000, last=False), frame(CONTINUATION, b"x" * 600_000)], "1 MiB", 1009),
    ],
    ids=["invalid UTF-8", "invalid in fragments", "binary", "nothing to continue", "a text in a text", "too large"],
)
async def test_what_no_gateway_may_send(frames: list[bytes], reason: str, code: int) -> None:
    """What breaks the WebSocket protocol ends the connection with the right code; the line connects again."""
    closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(peer: Peer) -> None:
        await speaking(*frames, frame(TEXT, says("not heard any more")))(peer)
        kind, payload = await peer.read()
        closed.set_result(int.from_bytes(payload[:2], "big") if kind == CLOSE else -kind)

    async with bench(serve) as made, asyncio.timeout(10):
        assert reason in await made.until_lost()
        assert await closed == code
        await made.until(lambda _: sum(isinstance(event, LaneReady) for event in made.told) == 2)
        assert not [event for event in made.told if isinstance(event, HeardReply)]


async def test_a_single_frame_beyond_the_bound() -> None:
    """A frame larger than 1 MiB is not even read."""
    async with bench(speaking(frame(TEXT, b"x" * (MAX_FRAME_BYTES + 1)))) as made:
        assert await made.until_lost()


@pytest.mark.parametrize("payload", [b"", struct.pack("!H", 1000), struct.pack("!H", 4321) + b"why", b"\x03"])
async def test_a_close_is_answered(payload: bytes) -> None:
    """A close frame with any code, or none, is answered with a close, and the line connects again."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(peer: Peer) -> None:
        await speaking(frame(CLOSE, payload))(peer)
        answered.set_result((await peer.read())[0])

    async with bench(serve) as made, asyncio.timeout(10):
        assert "closed by the gateway" in await made.until_lost() or len(payload) == 1
        assert await answered == CLOSE
        await made.until(lambda _: sum(isinstance(event, LaneReady) for event in made.told) == 2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 ",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 abc def\r\n\r\n",
        b"\x00" * 100_000,
    ],
    ids=["nothing", "half a line", "SSH", "200", "101 alone", "wrong accept", "no number", "zeros"],
)
async def test_whatever_answers_the_upgrade(answer: bytes) -> None:
    """A handshake that is answered with anything at all ends in another try, not in a lane that stands still."""

    async def serve(peer: Peer) -> None:
        peer.writer.write(answer)
        peer.writer.close()

    async with bench(serve) as made:
        await made.until(lambda event: isinstance(event, LaneReady))


async def test_a_handshake_that_never_ends() -> None:
    """A gateway that takes the connection and says nothing is given up after `connect_timeout_s`."""

    async def serve(peer: Peer) -> None:
        await peer.reader.read()

    async with bench(serve) as made:
        await made.until(lambda event: isinstance(event, LaneReady))


async def test_closing_in_the_middle_of_a_handshake() -> None:
    """`close` does not wait for a handshake, and leaves nothing behind."""
    connected = asyncio.Event()

    async def serve(peer: Peer) -> None:
        connected.set()
        await peer.reader.read()

    async with bench(serve), asyncio.timeout(5):
        await connected.wait()


async def test_closing_with_a_peer_that_does_not_read() -> None:
    """`close` ends although what is buffered for the peer never leaves."""

    async def serve(peer: Peer) -> None:
        await peer.handshake()
        await peer.configure()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async with bench(serve) as made, asyncio.timeout(8):
        await made.until(lambda event: isinstance(event, LaneReady))
        line = made.transport._lines[GUEST]
        assert line.ws is not None
        line.ws.underlying_transport.write(b"\x89\x00" * 8_000_000)


async def test_a_session_is_told_once() -> None:
    """Configured means: told to the journal, then ready."""
    async with bench(speaking()) as made:
        await made.until(lambda event: isinstance(event, LaneReady))
        kinds = [type(event) for event in made.told]
        assert kinds.index(SessionChanged) < kinds.index(LaneReady)
