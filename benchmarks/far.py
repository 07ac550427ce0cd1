"""
A far side as light as can be, in a process of its own: what the clients under measure talk to.

HTTP/1.1 with keep-alive and canned answers: a token, the acceptance of Open Messaging, that of the tutorial contract,
and 200 for everything else. It looks at nothing but the path and whether the token was revoked; every message gets an
id of its own, as from a platform.

`python -m benchmarks.far` prints the port. `GET /counts` tells what came; `POST /revoke` makes all tokens so far bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import cast

from benchmarks.measure import python

INTEGRATION = "3b0a7c52-0d5e-4c0a-9d2b-7f0e1a2b3c4d"
#: The tutorial's path of messages.
CONTRACT = "/api/v2/conversations/messaging/messages"

TOKEN = '{"access_token":"token-%d","token_type":"bearer","expires_in":86399}'  # noqa: S105 - a template
OPEN = (
    '{"id":"%032x","channel":{"id":"3b0a7c52-0d5e-4c0a-9d2b-7f0e1a2b3c4d","platform":"Open","type":"Private",'
    '"messageId":"01a204fe-1e65-783c-a64d-da302ce99f69","to":{"id":"3b0a7c52-0d5e-4c0a-9d2b-7f0e1a2b3c4d"},'
    '"from":{"id":"guest-42","idType":"Opaque"},"time":"2026-03-04T05:06:07.089Z"},"type":"Text",'
    '"text":"Where is my order NL-48213? It should have come on Tuesday.",'
    '"conversationId":"9d6f2a40-1c1e-4f0b-8c55-20b9a6f3d702"}'
)
TAKEN = (
    '{"id":"msg-%x","from":{"id":"guest-42","type":"user"},"to":{"id":"conv-42","type":"conversation"},'
    '"body":{"contentType":"text/plain","content":"Where is my order NL-48213? It should have come on Tuesday."},'
    '"sentTime":"2026-03-04T05:06:07.089Z","deliveryStatus":"delivered"}'
)
UNAUTHORIZED = '{"message":"The token is not taken.","code":"bad.credentials","status":401}'
HEADERS = (
    "HTTP/1.1 %s\r\nContent-Type: application/json\r\nININ-Correlation-Id: 7e0f5b7a-42d9-4a9b-9d60-1f6d1c2b3a4d\r\n"
    "inin-ratelimit-count: 1\r\ninin-ratelimit-allowed: 300\r\ninin-ratelimit-reset: 61\r\n"
    "Cache-Control: no-cache, no-store, must-revalidate\r\nContent-Length: %d\r\n\r\n"
)


class _Far:
    """What all connections share."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tokens = 0
        self.revoked = 0

    def answer(self, head: bytes) -> tuple[str, str]:
        """Return status and body for a request, by its head."""
        path = head[: head.index(b"\r\n")].split(b" ")[1].decode().partition("?")[0]
        if path == "/counts":
            return "200 OK", json.dumps(self.counts)
        if path == "/revoke":
            self.revoked = self.tokens
            return "200 OK", "{}"
        if path == "/oauth/token":
            self.counts["tokens"] += 1
            self.tokens += 1
            return "200 OK", TOKEN % self.tokens
        self.counts["messages"] += 1
        if self.revoked and self._is_revoked(head):
            self.counts["unauthorized"] += 1
            return "401 Unauthorized", UNAUTHORIZED
        if path.endswith("/inbound/open/message"):
            return "202 Accepted", OPEN % self.counts["messages"]
        return "200 OK", TAKEN % self.counts["messages"] if path == CONTRACT else "{}"

    def _is_revoked(self, head: bytes) -> bool:
        number = head.partition(b"Bearer token-")[2].partition(b"\r\n")[0]
        return number.isdigit() and int(number) <= self.revoked


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, far: _Far) -> None:
        self._far = far
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = _length(head)
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            status, body = self._far.answer(head)
            self._transport.write((HEADERS % (status, len(body)) + body).encode())


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


async def serve() -> None:
    """Print the port, then answer until the process is ended."""
    far = _Far()
    server = await asyncio.get_running_loop().create_server(lambda: _Link(far), "127.0.0.1", 0, backlog=2_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run one for the length of the block; yields its base address."""
    server = subprocess.Popen(python("-m", "benchmarks.far"), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def emulating() -> Iterator[str]:
    """Run an emulator without limits for the length of the block; yields JSON of what it says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        run = ["-c", "from guestwire.cli import main; main()", "emulate", "--port", "0", "--json", "--limits", "off"]
        emulator = subprocess.Popen(
            python(*run),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HOME": folder, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder},
        )
        try:
            assert emulator.stdout is not None
            yield emulator.stdout.readline()
        finally:
            emulator.terminate()
            emulator.wait()


def counts(url: str) -> Counter[str]:
    """What came so far."""
    with urllib.request.urlopen(f"{url}/counts") as answer:  # noqa: S310 - our own server
        return Counter(json.load(answer))


def revoke(url: str) -> None:
    """Make every token so far a bad one."""
    request = urllib.request.Request(f"{url}/revoke", b"", method="POST")  # noqa: S310 - our own server
    urllib.request.urlopen(request).close()  # noqa: S310


if __name__ == "__main__":
    import uvloop

    sys.exit(uvloop.run(serve()))
