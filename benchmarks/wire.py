"""
The wire alone: what a guest session costs on top of a bare WebSocket loop, without store and relay.

Three clients send the same messages to the same server (a process of its own that answers each with a canned echo), one
in flight on each connection: a bare picows loop, a bare `websockets` loop on uvloop, and `GuestSession` on picows. CPU
of the client process per message, all threads; connecting is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.measure import cpu_s, interleaved, machine, python, ratio, spread
from guestwire.model import PartBody, PartId
from guestwire.protocol.events import Answered, Configured
from guestwire.protocol.guest import Control, GuestSession
from guestwire.protocol.writing import message_of

TEXT = "Where is my order NL-48213? It should have come on Tuesday."
BODY = PartBody(TEXT)
MESSAGE = json.dumps(
    {
        "action": "onMessage",
        "token": "0d1c6c1e-2f1a-4c59-9b5f-6b7a4f3f2c11",
        "tracingId": "01a204fe-1e65-783c-a64d-da302ce99f69",
        "message": {"type": "Text", "text": TEXT, "metadata": {"id": "01a204fe-1e65-783c-a64d-da302ce99f69"}},
    }
).encode()
SESSION = b'{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true,"newSession":false}}'
ECHO = (
    b'{"type":"message","class":"StructuredMessage","code":200,"body":{"text":"%s","direction":"Inbound",'
    b'"id":"0123456789abcdef0123456789abcdef","channel":{"time":"2026-11-22T19:24:26.704Z",'
    b'"messageId":"6f0e6f4e-8a55-4a39-a8f4-1d2f1c3b5a77"},"type":"Text","metadata":{"id":"%s"}},"tracingId":"%s"}'
)


class _Server(WSListener):
    """Answers configure with a session and every message with its echo."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()
            return
        data = frame.get_payload_as_bytes()
        if b'"configureSession"' in data:
            transport.send(WSMsgType.TEXT, SESSION)
            return
        start = data.index(b'"tracingId":') + 12
        start = data.index(b'"', start) + 1
        name = data[start : data.index(b'"', start)]
        transport.send(WSMsgType.TEXT, ECHO % (TEXT.encode(), name, name))


async def serve() -> None:
    """Print the port, then answer until the process is ended."""
    server = await ws_create_server(lambda _: _Server(), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


class _Bare(WSListener):
    """A bare picows loop: an echo sends the next message."""

    def __init__(self, messages: int, done: Callable[[], None]) -> None:
        self._left = messages
        self._done = done

    def begin(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, MESSAGE)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        frame.get_payload_as_bytes()
        self._left -= 1
        if self._left:
            transport.send(WSMsgType.TEXT, MESSAGE)
        else:
            self._done()


class _Session(WSListener):
    """`GuestSession` on picows: configure, then messages one after the other, each echo understood."""

    def __init__(self, messages: int, done: Callable[[], None]) -> None:
        self._left = messages
        self._done = done
        self._session = GuestSession(deployment_id="d", token="t" * 36, new_id=lambda: "c0ffee")
        self._loop = asyncio.get_running_loop()

    def begin(self, transport: WSTransport) -> None:
        self._session.connection_opened(self._loop.time())
        self._write(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = self._loop.time()
        self._session.receive_frame(frame.get_payload_as_bytes(), now)
        for event in self._session.events():
            if isinstance(event, Answered):
                self._left -= 1
            elif not isinstance(event, Configured):
                continue
            if not self._left:
                self._done()
                return
            name = PartId(f"01a204fe-1e65-783c-a64d-{self._left:012d}")
            self._session.send_message(name, message_of(name, BODY, attempt=1), now)
        self._write(transport)

    def _write(self, transport: WSTransport) -> None:
        for outgoing in self._session.frames_to_send():
            if outgoing is not Control.PING:
                transport.send(WSMsgType.TEXT, outgoing)


async def _picows(make: Any, url: str, connections: int, messages: int) -> float:
    waiting = connections
    ended = asyncio.Event()

    def done() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            ended.set()

    links: list[tuple[WSTransport, Any]] = [
        await ws_connect(lambda: make(messages, done), url) for _ in range(connections)
    ]
    began = cpu_s()
    for transport, listener in links:
        listener.begin(transport)
    await ended.wait()
    spent = cpu_s() - began
    for transport, _ in links:
        transport.disconnect()
    return spent


async def _websockets(url: str, connections: int, messages: int) -> float:
    text = MESSAGE.decode()

    async def one(socket: ClientConnection) -> None:
        for _ in range(messages):
            await socket.send(text)
            await socket.recv()

    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(url, compression=None)) for _ in range(connections)]
        began = cpu_s()
        await asyncio.gather(*(one(socket) for socket in sockets))
        return cpu_s() - began


CLIENTS: dict[str, Callable[[str, int, int], Awaitable[float]]] = {
    "picows": lambda url, connections, messages: _picows(_Bare, url, connections, messages),
    "websockets": _websockets,
    "session": lambda url, connections, messages: _picows(_Session, url, connections, messages),
}


def client(kind: str, url: str, connections: int, messages: int) -> None:
    """Send, and print the CPU per message in microseconds."""
    import uvloop

    async def run() -> float:
        return await CLIENTS[kind](url, connections, messages)

    spent = uvloop.run(run())
    print(spent / (connections * messages) * 1e6)


def main() -> None:
    """Print the three clients side by side."""
    print(f"wire, client CPU per message, {machine()}")
    with serving() as port:
        for connections, messages in ((1, 20_000), (100, 300)):
            found = interleaved({kind: bare(kind, port, connections, messages) for kind in CLIENTS})
            print(f" {connections} connection(s), one in flight on each")
            for kind, values in found.items():
                print(f"  {kind:<12} {spread(values, 'us')}")
            print(f"  session / picows      {ratio(found['session'], found['picows'])}")
            print(f"  session / websockets  {ratio(found['session'], found['websockets'])}")


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Run the server for the length of the block; yields its port."""
    server = subprocess.Popen(python("-m", "benchmarks.wire", "serve"), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


def bare(kind: str, port: int, connections: int, messages: int) -> Callable[[], float]:
    """Return what runs one of `CLIENTS` in a process of its own, for `interleaved`."""
    url = f"ws://127.0.0.1:{port}/v1"
    command = python("-m", "benchmarks.wire", "client", kind, url, str(connections), str(messages))
    return lambda: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        client(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
