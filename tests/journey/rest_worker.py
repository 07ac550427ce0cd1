"""
A program of its own that sends over REST, to be killed.

    python -m tests.journey.rest_worker FOLDER < destinations and texts, as JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from guestwire import Message, Ticket
from tests.journey.test_rest_faults import ways_to, wiring
from tests.journey.worker import say


async def main(folder: Path, order: dict[str, Any]) -> None:
    """Let every guest say everything, one text after the other, on both ways; tells each ticket, and what settled."""
    async with wiring(ways_to(**order["place"]), folder) as wire:
        for text in order["texts"]:
            tickets: list[Ticket] = await wire.submit_many(
                Message(
                    guest=guest, text=f"{text} {way}", conversation=f"c {guest}" if way == "rest-contract" else None
                ).to_draft(way)
                for way in order["ways"]
                for guest in order["guests"]
            )
            for ticket in tickets:
                say(msgspec.json.encode(ticket).decode())
            await wire.wait_many(tickets)
            say("settled")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.load(sys.stdin)))
