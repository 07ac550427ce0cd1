"""
What a lost answer costs: how often one message is on the wire when a server reads all of it and the connection breaks.

The vendor's SDK as it is, the same SDK under guestwire, and guestwire's own HTTP client send one Open Messaging message
each, once, to the same server, which resets every connection after it has read a whole POST. Nobody is asked what
became of it yet: all that is counted leaves by itself.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import socket
import struct
import tempfile
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.measure import machine
from guestwire.clock import SystemClock
from guestwire.net import Http, Unreachable
from guestwire.protocol.openmessaging import Call
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.calls import Caller, HttpCaller
from guestwire.transports.oauth import Tokens
from guestwire.transports.sdk import sdk_caller_of

INTEGRATION = "3b0a7c52-0d5e-4c0a-9d2b-7f0e1a2b3c4d"
BODY = {
    "channel": {"from": {"id": "guest-42", "idType": "Opaque"}, "time": "2026-03-04T05:06:07.089Z"},
    "text": "Where is my order NL-48213?",
}
CALL = Call("POST", f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/message", BODY)


def main() -> None:
    """Print how many POSTs each of them made of one message."""
    try:
        version = importlib.metadata.version("PureCloudPlatformClientV2")
    except importlib.metadata.PackageNotFoundError:
        print("lost_answer: the vendor's SDK is not installed (pip install 'guestwire[sdk]')")
        return
    print(f"one message whose answer is lost, {machine()}")
    server = _Server()
    bare = server.count(lambda: _bare(server.url))
    under = server.count(lambda: asyncio.run(_through(_sdk_caller, server.url)))
    own = server.count(lambda: asyncio.run(_through(_http_caller, server.url)))
    print(f"  SDK {version} bare: {_posts(bare)}; guestwire through the SDK: {under}; guestwire: {own}")


def _posts(number: int) -> str:
    return f"{number} POST{'' if number == 1 else 's'}"


def _sdk() -> Any:
    """Import the SDK away from the settings of whoever is at home here."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        os.environ["HOME"] = folder
        try:
            import PureCloudPlatformClientV2
        finally:
            del os.environ["HOME"]
            os.environ.update(before)
    return PureCloudPlatformClientV2


def _client(url: str) -> Any:
    client = _sdk().ApiClient(host=url)
    client.access_token = "token"  # noqa: S105 - nobody looks at it
    return client


def _bare(url: str) -> None:
    """Send with the SDK's own method."""
    from urllib3.exceptions import HTTPError

    api = _sdk().ConversationsApi(_client(url))
    try:
        api.post_conversations_message_inbound_open_message(INTEGRATION, BODY)
    except HTTPError:
        return
    raise AssertionError("there was an answer")


def _sdk_caller(url: str) -> Caller:
    to = Destination(name="kiosk", transport="openmessaging", url=url, integration_id=INTEGRATION)
    return sdk_caller_of(to, _client(url), clock=SystemClock(), timing=RelaySettings())


def _http_caller(url: str) -> Caller:
    http = Http(tls=None, proxy=None, timeout_s=10)
    return HttpCaller(url, http, Tokens(None, whose="the benchmark", clock=SystemClock(), given="token"))


async def _through(make: Callable[[str], Caller], url: str) -> None:
    caller = make(url)
    try:
        await _expect_nothing(caller.call(CALL))
    finally:
        await caller.close()


async def _expect_nothing(calling: Awaitable[Any]) -> None:
    try:
        await calling
    except Unreachable:
        return
    raise AssertionError("there was an answer")


class _Server:
    """Reads whole requests and resets their connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._read = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def count(self, send: Callable[[], None]) -> int:
        """Return how many requests came of it."""
        before = self._read
        send()
        return self._read - before

    def _serve(self) -> None:
        while True:
            link, _ = self._listener.accept()
            with link, link.makefile("rb") as lines:
                length = 0
                while line := lines.readline().strip().lower():
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                self._read += len(lines.read(length)) == length > 0
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
