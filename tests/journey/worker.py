"""
A program of its own, to be killed: submits numbered messages, tells each ticket, waits for the end.

    python -m tests.journey.worker URL DEPLOYMENT_ID FOLDER COUNT GUESTS [never] [careless]
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from guestwire import Attachment, Destination, GuestWire, Message
from guestwire.settings import RetrySettings
from guestwire.store.sqlite import SqliteStore
from tests.journey.kit import QUICK, make_wire

#: What `begin` would do without a write-ahead: the attempt leaves no trace on disk.
NO_WRITE_AHEAD = "UPDATE parts SET fence = ?1, sent_at = ?2, changed_at = ?3 WHERE id = ?4"


def forget_to_write_ahead() -> None:
    """Break the store on purpose: for a negative control."""
    put = SqliteStore._put

    def careless(self: SqliteStore, name: str, values: tuple[Any, ...]) -> None:
        if name == "begin":
            self._db.execute(NO_WRITE_AHEAD, values)
        else:
            put(self, name, values)

    SqliteStore._put = careless  # type: ignore[assignment]


async def main(url: str, deployment_id: str, folder: str, count: int, guests: int, *flags: str) -> None:
    """Run it."""
    if "careless" in flags:
        forget_to_write_ahead()
    to = Destination(
        name="emulator", url=url, deployment_id=deployment_id, pace=False, retry=RetrySettings(base_s=0.01, cap_s=0.05)
    )
    async with make_wire(to, Path(folder), relay="never" if "never" in flags else "auto", patience=QUICK) as wire:
        telling = asyncio.create_task(tell_steps(wire))
        tickets = []
        for number in range(count):
            message = Message(
                guest=f"guest {number % guests}",
                text=f"text {number}",
                key=f"key {number}",
                attachments=(Attachment("a.txt", f"file {number}".encode()),) if number % 5 == 4 else (),
            )
            tickets.append(await wire.submit(message))
            say(msgspec.json.encode(tickets[-1]).decode())
        if "never" not in flags:
            await wire.wait_many(tickets)
        telling.cancel()
        say("done")


async def tell_steps(wire: GuestWire) -> None:
    """A line for each entry of the journal: instants for whoever wants to kill us."""
    async for entry in wire.journal(after=0):
        say(f"step {entry.event}")


def say(line: str) -> None:
    """A line in one write, so that a kill leaves it whole or cut at its end, never without its beginning."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    url, deployment_id, folder, count, guests, *flags = sys.argv[1:]
    asyncio.run(main(url, deployment_id, folder, int(count), int(guests), *flags))
