"""
P4: what it costs until a message is on disk, nobody relaying.

`guestwire batch` in its parts: reading and judging a file of rows, storing them (held), letting them go; CPU of the
process, all threads, a row. And one `submit` after the other, by the clock, beside the same disk's append and `fsync`.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.measure import cpu_s, interleaved, machine, ran, ratio, spread
from benchmarks.wire import TEXT
from guestwire import Destination, GuestWire, Message
from guestwire.cli import batch
from guestwire.cli.batchfile import BatchFile

#: Microseconds of CPU a row, until it is on disk.
GOAL_US = 40.0
#: Times one fsync: a `submit`, p50.
GOAL_FSYNC = 3.0
ROWS, GUESTS = 100_000, 1_000
SUBMITS = 500
#: What one commit of a message appends to the log, about: pages of 4 KiB.
APPENDED = b"x" * 4096 * 8
TO = Destination(name="far", url="http://127.0.0.1:9", deployment_id="00000000-0000-4000-8000-000000000001")


class Spent(msgspec.Struct, frozen=True):
    """Microseconds of CPU a row."""

    judged: float
    """The file read, every row against every rule; then that none is known with another content."""
    stored: float
    let_go: float


class Waited(msgspec.Struct, frozen=True):
    """Milliseconds, p50."""

    submit: float
    fsync: float


def main() -> None:
    """Print what intake costs beside the goals."""
    print(f"intake (P4), {ROWS:,} rows of {GUESTS:,} guests, {machine()}")
    seen: list[Spent] = []
    found = interleaved({"batch": lambda: _batch(seen)})
    print(f"  {'a row, until it is on disk':<28} {spread(found['batch'], 'us')} of CPU  goal {GOAL_US:.0f} us", end="")
    print(f", {ratio(found['batch'], [GOAL_US] * len(found['batch']))} of it")
    parts: dict[str, Callable[[Spent], float]] = {
        "read and judged": lambda one: one.judged,
        "stored": lambda one: one.stored,
        "and then let go": lambda one: one.let_go,
    }
    for name, part in parts.items():
        print(f"    {name:<26} {spread([part(one) for one in seen[1:]], 'us')}")
    waited: list[Waited] = []
    interleaved({"submit": lambda: _submits(waited)})
    submits, fsyncs = ([getattr(one, name) for one in waited[1:]] for name in ("submit", "fsync"))
    print(f"  {'one submit, p50':<28} {spread(submits, 'ms')}")
    print(f"  {'append and fsync, p50':<28} {spread(fsyncs, 'ms')}")
    print(f"  {'submit / fsync':<28} {ratio(submits, fsyncs)}  goal {GOAL_FSYNC:.0f}x")


def _batch(seen: list[Spent]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        seen.append(ran("benchmarks.intake", "batch", folder, into=Spent))
    return seen[-1].judged + seen[-1].stored


def _submits(seen: list[Waited]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        seen.append(ran("benchmarks.intake", "submit", folder, into=Waited))
    return seen[-1].submit


# --- processes of their own ---


async def rows_stored(folder: Path) -> Spent:
    """Do what `guestwire batch --wait none` does."""
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "guest", "text"))
        writer.writerows((f"row-{n}", f"guest-{n % GUESTS}", f"{TEXT} ({n})") for n in range(ROWS))
    began = cpu_s()
    rows = BatchFile(path, TO.name)
    async with GuestWire([TO], store=folder / "store", relay="never") as wire:
        batch.survey(rows, wire)
        await batch.refuse_changed(rows, wire)
        judged = cpu_s()
        names = await batch.hold(rows, wire, rows.digest)
        stored = cpu_s()
        await wire.let_go(rows.digest, str(path), rows.digest, len(names))
        gone = cpu_s()
        assert (await wire.status()).store.parts == {"queued": ROWS}
    return Spent(*(spent / ROWS * 1e6 for spent in (judged - began, stored - judged, gone - stored)))


async def submits_timed(folder: Path) -> Waited:
    """Submit one message after the other, and after each one append to a file of the same disk and sync it."""
    submits: list[float] = []
    fsyncs: list[float] = []
    fd = os.open(folder / "appended", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    async with GuestWire([TO], store=folder / "store", relay="never") as wire:
        for number in range(SUBMITS):
            message = Message(guest=f"guest-{number % 10}", text=TEXT)
            began = time.perf_counter()
            await wire.submit(message)
            between = time.perf_counter()
            os.write(fd, APPENDED)
            os.fsync(fd)
            submits.append(between - began)
            fsyncs.append(time.perf_counter() - between)
    os.close(fd)
    return Waited(*(statistics.median(times) * 1000 for times in (submits, fsyncs)))


if __name__ == "__main__":
    import uvloop

    work = {"batch": rows_stored, "submit": submits_timed}[sys.argv[1]]
    print(msgspec.json.encode(uvloop.run(work(Path(sys.argv[2])))).decode())
