"""
What a webhook costs: signed bodies into the store, against a server that looks at the signature and forgets them.

Both servers are processes of their own, on aiohttp and uvloop. A third process has signed its bodies beforehand and
sends them over `CONNECTIONS` connections, on each the next when the last is answered: every one has an id of its own,
from one of a hundred guests. CPU is that of the server process, all threads; times are those of the sender, who waits
in a queue of 32, and both share the machine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
from aiohttp import web

from benchmarks.far import INTEGRATION
from benchmarks.measure import cpu_s, interleaved, machine, python, ratio, spread
from guestwire import Destination, GuestWire
from guestwire.protocol.openmessaging import SIGNATURE_HEADER, is_signed, signature_of
from guestwire.settings import Secret
from guestwire.webhook import WebhookServer

SECRET = "a secret of the benchmark"  # noqa: S105 - nobody else's
CONNECTIONS = 32
WEBHOOKS = 5_000
#: Before the measure begins: guests are made, code is warm.
WARM = 500
GUESTS = 100


class Sent(msgspec.Struct, frozen=True):
    """What a sender saw."""

    per_s: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Print rate, latency and CPU of both."""
    print(f"webhooks, signed, {CONNECTIONS} connections, {machine()}")
    sent: dict[str, list[Sent]] = {"signature alone": [], "durable": []}
    found = interleaved({name: _round(name, sent[name]) for name in sent})
    for name, values in found.items():
        seen = sent[name][1:]  # the first round is not measured
        print(f"  {name:<18} {spread(values, 'us')} of CPU each")
        print(f"  {'':<18} {spread([one.per_s for one in seen], '/s')}")
        print(f"  {'':<18} {spread([one.p50_ms for one in seen], 'ms')} p50")
        print(f"  {'':<18} {spread([one.p99_ms for one in seen], 'ms')} p99")
    print(f"  durable / signature alone, CPU  {ratio(found['durable'], found['signature alone'])}")


def _round(name: str, sent: list[Sent]) -> Callable[[], float]:
    """Return what runs a server and a sender, and gives the server's CPU for each webhook, in microseconds."""

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = python("-m", "benchmarks.webhook", "serve", name, folder)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdin is not None
                assert server.stdout is not None
                port = server.stdout.readline().strip()
                _send_from(port, 0, WARM)
                began = _ask(server)
                sent.append(_send_from(port, WARM, WEBHOOKS))
                spent = _ask(server) - began
                server.stdin.close()
                assert server.wait() == 0
        return spent / WEBHOOKS * 1e6

    return run


def _ask(server: subprocess.Popen[str]) -> float:
    """Ask a server how much CPU it has used."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def _send_from(port: str, first: int, number: int) -> Sent:
    command = python("-m", "benchmarks.webhook", "send", port, str(first), str(number))
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(output, type=Sent)


# --- the servers ---


async def _serve_durable(folder: Path) -> None:
    to = Destination(
        name="kiosk",
        transport="openmessaging",
        url="http://127.0.0.1:9",  # nothing is sent
        integration_id=INTEGRATION,
        access_token=Secret("token"),
        webhook_secret=Secret(SECRET),
    )
    async with GuestWire([to], store=folder / "store", relay="required") as wire, WebhookServer(wire) as server:
        await _tell(server.port)
        assert (await wire.status()).store.replies == WARM + WEBHOOKS  # "taken" is also what nobody can use


async def _serve_bare(_: Path) -> None:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if not is_signed(SECRET, body, request.headers.get(SIGNATURE_HEADER)):
            return web.Response(status=403)
        return web.Response(text="taken\n")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await _tell(runner.addresses[0][1])
    await runner.cleanup()


async def _tell(port: int) -> None:
    """Print the port; then, for each line that comes, the CPU used so far, in seconds."""
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(cpu_s(), flush=True)


SERVERS = {"durable": _serve_durable, "signature alone": _serve_bare}


# --- the sender ---


def request_of(number: int) -> bytes:
    """Write one signed webhook as it goes over the wire."""
    name = f"{number:032x}"
    channel = {
        "id": INTEGRATION,
        "platform": "Open",
        "type": "Private",
        "to": {"id": f"guest-{number % GUESTS}", "idType": "Opaque"},
        "from": {"nickname": "Acme Open", "id": INTEGRATION, "idType": "Opaque"},
        "time": "2026-03-04T05:06:07.089Z",
        "messageId": name,
    }
    text = "It is on its way, and should be with you on Thursday."
    message = {"id": name, "channel": channel, "type": "Text", "text": text, "originatingEntity": "Human"}
    body = json.dumps({**message, "direction": "Outbound"}).encode()
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{SIGNATURE_HEADER}: {signature_of(SECRET, body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Link(asyncio.Protocol):
    """One connection: the next goes when the last is answered."""

    def __init__(self, waiting: list[bytes], took_s: list[float], ended: asyncio.Event, total: int) -> None:
        self._waiting = waiting
        self._took_s = took_s
        self._ended = ended
        self._total = total
        self._data = b""
        self._began = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def next(self) -> None:
        if self._waiting:
            self._began = time.perf_counter()
            self._transport.write(self._waiting.pop())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._data.endswith(b"taken\n"):  # the whole body of both servers
            return
        if not self._data.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(self._data)
        self._data = b""
        self._took_s.append(time.perf_counter() - self._began)
        if len(self._took_s) == self._total:
            self._ended.set()
        self.next()


async def send(port: int, first: int, number: int) -> Sent:
    """Send so many, the first of this number."""
    waiting = [request_of(one) for one in reversed(range(first, first + number))]
    took_s: list[float] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    links: Sequence[_Link] = [
        (await loop.create_connection(lambda: _Link(waiting, took_s, ended, number), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    for link in links:
        link.next()
    async with asyncio.timeout(120):
        await ended.wait()
    per_s = number / (time.perf_counter() - began)
    slices = statistics.quantiles(took_s, n=100)
    return Sent(per_s, slices[49] * 1000, slices[98] * 1000)


if __name__ == "__main__":
    import uvloop

    if sys.argv[1] == "serve":
        uvloop.run(SERVERS[sys.argv[2]](Path(sys.argv[3])))
    else:
        print(msgspec.json.encode(uvloop.run(send(*map(int, sys.argv[2:5])))).decode())
