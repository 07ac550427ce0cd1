"""A relay whose disk fails for a while: nothing is lost or doubled, and it goes on by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from guestwire.errors import StoreError
from guestwire.model import GuestRef, PartId, PartState, Ticket
from guestwire.testing.stores import replayed
from tests.chaos.failing import WRITES, FailingDisk, Fault, Place, failing_disk
from tests.chaos.test_machine import ROWS
from tests.journey.recovery import seconds_of, stated
from tests.journey.test_scripted_relay import Bench, bench

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

#: Where it begins, and what then fails until the disk is sound again, by the names of docs/faults.md.
WAYS_TO_FAIL = {
    "full": Fault(Place("xWrite", "store.db-wal"), 1, "SQLITE_FULL", 10**9),
    "cut_off": Fault(Place("xWrite", "store.db-wal"), 20, "short", 10**9),
    "unsynced": Fault(Place("xSync", "store.db-wal"), 2, "SQLITE_IOERR_FSYNC", 10**9),
    "unreadable": Fault(Place("xRead", "store.db-wal"), 3, "SQLITE_IOERR_READ", 10**9),
    "gone": Fault(Place("xSync", "store.db-wal"), 3, "SQLITE_IOERR_FSYNC", 10**9, everywhere=True),
    "read_only": Fault(Place("xWrite", "store.db-wal"), 5, "SQLITE_IOERR_WRITE", 10**9, kinds=WRITES),
}
FAILING = {
    row.words("staged by")[0].removeprefix("failing "): row for row in ROWS if "`failing " in row.cells["staged by"]
}


async def submit_one(made: Bench, guest: str, text: str, tickets: list[Ticket]) -> bool:
    """Submit as a program does; False where it is told that its message was not stored."""
    try:
        tickets += await made.submit((guest, text))
    except StoreError:
        return False
    return True


async def fail_for_a_while(made: Bench, disk: FailingDisk, tickets: list[Ticket]) -> int:
    """Go on submitting and let time pass until the disk has failed often; returns how many were refused."""
    refused = 0
    async with asyncio.timeout(30):
        while disk.failures < 10:
            refused += not await submit_one(made, f"guest {disk.failures % 4}", f"meanwhile {refused}", tickets)
            made.clock.advance(0.5)
            assert made.task is not None
            assert not made.task.done(), made.task
    return refused


def test_every_way_to_fail_is_a_row() -> None:
    """What is prepared here stands in the page, and nothing stands there that nobody executes."""
    assert set(FAILING) == set(WAYS_TO_FAIL)


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
async def test_a_disk_that_fails_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str) -> None:
    """While it fails callers are told; afterwards each message is shown once, in order, within the stated time."""
    folder = tmp_path / "store"
    at_most, _ = stated(FAILING[way].cells["within"])
    with failing_disk(folder) as disk:
        async with bench(folder) as made:
            tickets: list[Ticket] = []
            for number in range(20):
                assert await submit_one(made, f"guest {number % 4}", f"before {number}", tickets)
            disk.arm(WAYS_TO_FAIL[way])
            refused = await fail_for_a_while(made, disk, tickets)
            disk.heal()
            assert "store_failed" in {record.__dict__.get("action") for record in caplog.records}  # the relay's own
            await accepted_within(made, seconds_of(at_most), tickets)
            for number in range(8):
                assert await submit_one(made, f"guest {number % 4}", f"after {number}", tickets)
            states = await made.until_settled(tickets)
            assert states == [PartState.ACCEPTED] * len(tickets)
            assert refused or "may be refused" in FAILING[way].cells["meanwhile"]
            shown = [attempt.part_id for attempt in made.transport.visible]
            assert Counter(shown) == Counter(ticket.part_ids[0] for ticket in tickets)
            for guest in {ticket.guest_ref for ticket in tickets}:
                assert of_guest(made, guest) == [ticket.part_ids[0] for ticket in tickets if ticket.guest_ref == guest]
            await made.stop()
            assert set((await made.reader.read(replayed)).values()) == {PartState.ACCEPTED}


async def accepted_within(made: Bench, seconds: float, tickets: list[Ticket]) -> None:
    """Wait until all are accepted, with no more time passing than this, and none but what somebody waits for."""
    by = made.clock.now() + seconds
    async with asyncio.timeout(30):
        while set(await made.states(tickets)) != {PartState.ACCEPTED}:
            next_at = made.clock.next_at
            if next_at is not None and next_at <= by:
                made.clock.advance(max(0.0, next_at - made.clock.now()))


def of_guest(made: Bench, guest: GuestRef) -> list[PartId]:
    """What was shown of a guest, in order."""
    return [attempt.part_id for attempt in made.transport.visible if attempt.guest_ref == guest]
