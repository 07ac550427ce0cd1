"""
P10: how soon a killed relay is back at work, with a long queue.

`guestwire up` relays out of a store and is killed (SIGKILL) when some messages have arrived. Then it is started again:
by the clock, from the start of the process to the first message that the local Genesys has read from it. With a long
queue, and beside it with a short one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measure import ROUNDS, machine, python, ratio, spread
from benchmarks.wire import TEXT
from guestwire import GuestWire, Message
from guestwire.emulator.app import Emulator
from guestwire.settings import ad_hoc
from guestwire.testing import emulator

GOAL_S = 1.0
#: Messages of the two queues, and their guests.
QUEUES = {"a short queue": (1_000, 1_000), "a long queue": (100_000, 1_000)}
#: The relay is killed when so many have arrived.
KILL_AFTER = 20
PATIENCE_S = 60


def main() -> None:
    """Print how long it takes beside the goal."""
    print(f"restart after SIGKILL (P10), 'guestwire up', {machine()}")
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # sockets of a process that was killed
    found = asyncio.run(_measure())
    for name, values in found.items():
        print(f"  {name:<16} {QUEUES[name][0]:>7,} messages  {spread([value * 1000 for value in values], 'ms')}")
    print(f"  long / short     {ratio(found['a long queue'], found['a short queue'])}")
    goal = [GOAL_S] * ROUNDS
    print(f"  long / goal      {ratio(found['a long queue'], goal)}  goal {GOAL_S:.0f} s")


async def _measure() -> dict[str, list[float]]:
    """Return, by queue, the seconds from each second start to its first message."""
    found: dict[str, list[float]] = {name: [] for name in QUEUES}
    async with emulator() as genesys:
        with tempfile.TemporaryDirectory() as folder:
            stores = {name: Path(folder) / name for name in QUEUES}
            for name, store in stores.items():
                await _fill(genesys, store, *QUEUES[name])
            for number in range(ROUNDS):
                for name in QUEUES if number % 2 else reversed(QUEUES):
                    copy = Path(folder) / "copy"
                    shutil.copytree(stores[name], copy)
                    genesys.reset()
                    await _relayed(genesys, copy, KILL_AFTER)
                    found[name].append(await _relayed(genesys, copy, 1))
                    shutil.rmtree(copy)
    return found


async def _fill(genesys: Emulator, store: Path, messages: int, guests: int) -> None:
    to = ad_hoc(gateway=genesys.url, deployment_id=genesys.deployment_id)
    async with GuestWire([to], store=store, relay="never") as wire:
        for start in range(0, messages, 10_000):
            numbers = range(start, min(messages, start + 10_000))
            await wire.submit_many([Message(guest=f"guest-{n % guests}", text=TEXT) for n in numbers])


async def _relayed(genesys: Emulator, store: Path, messages: int) -> float:
    """Relay until so many messages have come, then kill; returns how long that took, in seconds."""
    command = python("-c", "from guestwire.cli import main; main()", "up", "--gateway", genesys.url)
    home = str(store)
    environment = {**os.environ, "HOME": home, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home}
    seen = genesys.world.tally.requests["onMessage"]
    began = time.perf_counter()
    up = subprocess.Popen(  # noqa: ASYNC220 - a benchmark of this very process
        [*command, "--deployment-id", genesys.deployment_id, "--store", store],
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while genesys.world.tally.requests["onMessage"] < seen + messages:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.001)
        return time.perf_counter() - began
    finally:
        up.send_signal(signal.SIGKILL)
        await asyncio.to_thread(up.wait)
        while genesys.world.connections:  # noqa: ASYNC110 - what it had written before its end is no word of the next
            await asyncio.sleep(0.001)
