"""
P5: what a message costs while a million others wait, against a thousand.

The same hundred guests, the same far side; a round tops the queue up by as much as is delivered, so that it stays as
long as it was: intake and delivery both meet a store of that size. CPU of the client process, all threads, a message.
That no statement on the way is a scan is held by a test (`tests/contract/test_store.py`).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.durable import destination_of
from benchmarks.far import emulating
from benchmarks.measure import cpu_s, interleaved, machine, ran, ratio, spread
from benchmarks.wire import TEXT
from guestwire import GuestWire, JournalEntry, Message

GOAL = 1.10
LENGTHS = {"a thousand wait": 1_000, "a million wait": 1_000_000}
GUESTS = 100
#: Delivered in a round, and how many of them at most before the queue is topped up.
MESSAGES, SLICE = 5_000, 500
#: Messages of a round before the measure begins: connections and first-time work.
WARM = 500


class Spent(msgspec.Struct, frozen=True):
    """Microseconds of CPU a message."""

    us: float


def main() -> None:
    """Print what a message costs with a long queue beside a short one."""
    print(f"a long queue (P5), client CPU per message, {machine()}")
    with tempfile.TemporaryDirectory() as folder, emulating() as far:
        stores = {name: Path(folder) / str(length) for name, length in LENGTHS.items()}
        for name, length in LENGTHS.items():
            ran("benchmarks.backlog", "fill", far, str(stores[name]), str(length), into=Spent)
        found = interleaved({name: _round(far, store) for name, store in stores.items()})
    for name, values in found.items():
        print(f"  {name:<16} {spread(values, 'us')}")
    print(f"  long / short     {ratio(found['a million wait'], found['a thousand wait'])}  goal {GOAL:.2f}x")


def _round(far: str, store: Path) -> Callable[[], float]:
    def run() -> float:
        return ran("benchmarks.backlog", "deliver", far, str(store), "0", into=Spent).us

    return run


def wired(far: str, store: Path, *, relays: bool) -> GuestWire:
    """A program with the local Genesys as its gateway."""
    to = destination_of("webmessaging", far)
    return GuestWire([to], store=store, relay="required" if relays else "never")


def said(numbers: Sequence[int]) -> list[Message]:
    """What guests say, each in his turn."""
    return [Message(guest=f"guest-{number % GUESTS}", text=TEXT) for number in numbers]


async def fill(far: str, store: Path, messages: int) -> Spent:
    """Queue so many."""
    async with wired(far, store, relays=False) as wire:
        for start in range(0, messages, 10_000):
            await wire.submit_many(said(range(start, min(messages, start + 10_000))))
    return Spent(0.0)


async def deliver(far: str, store: Path, _: int) -> Spent:
    """Deliver a round's messages, and queue as many."""
    async with wired(far, store, relays=True) as wire:
        with wire.feed.watch() as news:
            await _delivered(wire, news, WARM)
            began = cpu_s()
            await _delivered(wire, news, MESSAGES)
            return Spent((cpu_s() - began) / MESSAGES * 1e6)


async def _delivered(wire: GuestWire, news: asyncio.Queue[Sequence[JournalEntry]], messages: int) -> None:
    """Wait for so many, and queue one for each."""
    for _ in range(messages // SLICE):
        missing = SLICE
        while missing > 0:
            missing -= sum(entry.event == "part.accepted" for entry in await news.get())
        await wire.submit_many(said(range(SLICE - missing)))


if __name__ == "__main__":
    import uvloop

    _, work, far, store, number = sys.argv
    do = {"fill": fill, "deliver": deliver}[work]
    print(msgspec.json.encode(uvloop.run(do(far, Path(store), int(number)))).decode())
