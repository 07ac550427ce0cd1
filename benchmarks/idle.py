"""
P7: what an idle guest costs. Guests followed over TLS, product state and store included; then nothing is said.

The local Genesys runs in a process of its own, without limits. Two clients hold the same number of connections to it:
bare picows sockets that have configured a session, and a `GuestWire` that follows its guests. Memory is the growth of
the client process (resident, after a collection) from a few warm guests to all of them, divided by their number; CPU is
that of the client process, all threads, pings included. At the end an agent says something to one guest who has been
idle all the time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.measure import cpu_s, machine, python
from guestwire import Destination, GuestWire, Limits, Reply
from guestwire.net import tls_context
from guestwire.settings import TlsSettings

GUESTS = 5_000
GOAL_KB = 60
#: How long nothing is said, in seconds: two rounds of pings.
IDLE_S = 30
#: Guests that are connected before the first look at memory: imports, pools and caches are no guest's.
WARM = 200
#: Files that a process has open beside its guests' sockets.
SPARE_FILES = 300
#: Where Linux tells how much memory a process has.
STATM = Path("/proc/self/statm")
#: How long is waited for what must come, in seconds.
PATIENCE_S = 60


class Found(msgspec.Struct):
    """What a client measured."""

    kb_each: float
    """Resident memory, KiB a guest, after the idle time."""
    connects_per_s: float
    idle_cpu: float
    """Share of one core."""
    reply_ms: float | None = None


def main(guests: int = GUESTS) -> None:
    """Print what an idle guest costs beside the goal."""
    if not STATM.exists():
        print(f"idle: {STATM}, where memory is read, is not on this system")
        return
    guests = _affordable(guests)
    print(f"idle guests over TLS (P7), {guests:,} guests, {IDLE_S} s, {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        run = ["-c", "from guestwire.cli import main; main()", "emulate", "--port", "0", "--json"]
        emulator = subprocess.Popen(
            python(*run, "--limits", "off", "--set", "tls=generated"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HOME": folder, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder},
        )
        try:
            assert emulator.stdout is not None
            far = emulator.stdout.readline()
            for name in ("bare picows", "followed"):
                command = python("-m", "benchmarks.idle", name, far, str(guests), folder)
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                _print(name, msgspec.json.decode(output, type=Found))
        finally:
            emulator.terminate()
            emulator.wait()


def _affordable(guests: int) -> int:
    """Raise the limit of open files, here and in what is started from here; fewer guests where it does not reach."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        most = guests + WARM + SPARE_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    possible = most - WARM - SPARE_FILES
    if guests > possible:
        print(f"idle: {most} open files are allowed here (ulimit -Hn): {possible:,} guests instead of {guests:,}")
    return min(guests, possible)


def _print(name: str, found: Found) -> None:
    goal = "" if found.reply_ms is None else f"  {found.kb_each / GOAL_KB:.2f}x of the goal, {GOAL_KB} KB"
    print(f"  {name:<12} {found.kb_each:6.1f} KB each{goal}")
    print(f"  {'':<12} {found.connects_per_s:6.0f} connects/s, {found.idle_cpu:.1%} of a core while idle")
    if found.reply_ms is not None:
        print(f"  {'':<12} {found.reply_ms:6.1f} ms from an agent's word to the program of a guest who was idle")


# --- a client process ---


async def _measure(guests: int, connect: Callable[[int], Awaitable[None]]) -> Found:
    """Connect some, look, connect all, look again, and again when they have been idle."""
    await connect(WARM)
    before = _resident_kb()
    began = time.perf_counter()
    await connect(WARM + guests)
    took_s = time.perf_counter() - began
    spent_s, began = cpu_s(), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    idle_cpu = (cpu_s() - spent_s) / (time.perf_counter() - began)
    return Found((_resident_kb() - before) / guests, guests / took_s, idle_cpu)


def _resident_kb() -> float:
    """Memory of this process that is in RAM, in KiB, without what Python could give back."""
    gc.collect()
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


class _Bare(WSListener):
    """A socket that has configured a session, and pings."""

    def __init__(self, deployment_id: str, configured: Callable[[], None]) -> None:
        self._deployment_id = deployment_id
        self._configured = configured

    def on_ws_connected(self, transport: WSTransport) -> None:
        token = f"00000000-0000-4000-8000-{random.getrandbits(48):012x}"
        request = {"action": "configureSession", "deploymentId": self._deployment_id, "token": token}
        transport.send(WSMsgType.TEXT, json.dumps(request).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self._configured()


async def _bare(far: dict[str, str], guests: int, _folder: Path) -> Found:
    tls = tls_context(far["ca_file"], verify=True)
    url = f"ws{far['url'].removeprefix('http')}/v1?deploymentId={far['deployment_id']}"
    links: list[Any] = []
    configured = 0

    def heard() -> None:
        nonlocal configured
        configured += 1

    async def one() -> None:
        links.append(
            await ws_connect(
                lambda: _Bare(far["deployment_id"], heard),
                url,
                ssl_context=tls,
                read_buffer_init_size=1024,
                enable_auto_ping=True,
                auto_ping_idle_timeout=15,
                websocket_handshake_timeout=PATIENCE_S,
            )
        )

    async def connect(up_to: int) -> None:
        while len(links) < up_to:
            await asyncio.gather(*(one() for _ in range(min(64, up_to - len(links)))))
        while configured < up_to:  # noqa: ASYNC110 - a benchmark may look
            await asyncio.sleep(0.01)

    found = await _measure(guests, connect)
    for transport, _ in links:
        transport.disconnect()
    return found


async def _followed(far: dict[str, str], guests: int, folder: Path) -> Found:
    destination = Destination(
        name="idle",
        url=far["url"],
        deployment_id=far["deployment_id"],
        pace=False,
        limits=Limits(max_sessions=guests + WARM),
        tls=TlsSettings(ca_file=Path(far["ca_file"])),
    )
    async with GuestWire([destination], store=folder / "store", relay="required") as wire:
        known = 0

        async def connect(up_to: int) -> None:
            nonlocal known
            names = [f"g{number}" for number in range(known, up_to)]
            known = up_to
            with wire.feed.watch() as news:
                await asyncio.gather(*(wire.guests.follow(name) for name in names))
                missing = len(names)
                while missing:
                    missing -= sum(entry.event == "session.configured" for entry in await news.get())

        found = await _measure(guests, connect)
        guest = f"g{secrets.randbelow(guests)}"
        found.reply_ms = await asyncio.wait_for(_say_to(wire, guest, far), PATIENCE_S)
        return found


async def _say_to(wire: GuestWire, guest: str, far: dict[str, str]) -> float:
    """Be the agent, and return how long it took until the program had it, in milliseconds."""
    guest_ref = await wire.guest_ref(guest)
    (lane,) = await wire.store_read(lambda store: store.lanes([guest_ref]))
    body = json.dumps({"token": lane.token, "text": "Are you still there?"}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own emulator
        f"{far['url']}/_emulator/agent", body, {"Content-Type": "application/json"}
    )
    tls = tls_context(far["ca_file"], verify=True)
    waiting = asyncio.create_task(_next_reply(wire, guest))
    began = time.perf_counter()
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, context=tls).close())  # noqa: S310
    reply = await waiting
    assert reply.text == "Are you still there?"
    return (time.perf_counter() - began) * 1000


async def _next_reply(wire: GuestWire, guest: str) -> Reply:
    async for reply in wire.replies(guest, reorder_s=0):
        return reply
    raise AssertionError("replies that are followed do not end")


CLIENTS = {"bare picows": _bare, "followed": _followed}


def client(arguments: Sequence[str]) -> None:
    """Measure, and print what was found."""
    import uvloop

    name, far, guests, folder = arguments
    found = uvloop.run(CLIENTS[name](json.loads(far), int(guests), Path(folder)))
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    client(sys.argv[1:])
