"""
The Nth call to the disk fails.

A day of the store is lived once on a sound disk, to count its calls. Then it is lived again and again, and each time
another call fails: once, or for a while; with an I/O error, a full disk, or half of what was asked for. Whoever asked
the store for something is told in its words that it failed; whoever was promised something finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from guestwire.errors import StoreError
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from tests.chaos.day import Day, examine, intake
from tests.chaos.failing import ERRORS, FailingDisk, Fault, Place, failing_disk

#: A connection that could not be closed is closed by the collector, which has nobody to tell that it fails again.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

#: Fault points per run of this file, in slices that several processes can share, and that end where time is short.
POINTS = 10_000 if os.environ.get("GUESTWIRE_EXAMPLES") == "long" else 200
SLICES = POINTS // 25
#: How long a disk fails: once, for some calls of the same kind, for some of every kind.
LASTING = ((0, False), (0, False), (5, False), (40, True))


def points(calls: Counter[Place], wanted: int) -> list[Fault]:
    """Spread faults over the calls of a day: each kind of call on each kind of file, then evenly over all of them."""
    faults: list[Fault] = []
    while len(faults) < wanted:
        for place, count in sorted(calls.items()):
            turn = len(faults)
            # A share of the points that grows with the calls, and never none.
            share = max(1, round(min(wanted, 200) * count / calls.total()))
            for number in range(share):
                nth = 1 + (number * count // share + turn * 7) % count
                errors = ERRORS[place.call]
                lasting, everywhere = LASTING[(turn + number) % len(LASTING)]
                error = errors[(turn + number) % len(errors)]
                if error == "SQLITE_BUSY":
                    lasting = min(lasting, 5)  # SQLite waits between its tries, in real time
                faults.append(Fault(place, nth, error, lasting, everywhere))
    return faults


async def count_calls(folder: Path) -> Counter[Place]:
    """Live a day on a sound disk."""
    with failing_disk(folder) as disk:
        day = Day(folder)
        await day.pass_by()
        await day.close()
        calls = disk.calls.copy()
        assert day.refusals == []
    examine(folder, day.promises)
    return calls


async def live_through(
    disk: FailingDisk, folder: Path, fault: Fault, thread_type: type[StoreThread] = StoreThread
) -> Day:
    """Live a day in which a call fails, and see that it goes on by itself; the store stays open."""
    disk.arm(fault)
    day = Day(folder, thread_type=thread_type)
    await day.pass_by()
    failures = disk.failures
    disk.heal()
    for refusal in day.refusals:
        assert isinstance(refusal, StoreError)
        assert refusal.code.startswith("GW-S0")
        assert refusal.hint
    if not day.is_open:
        await day.opening()
    tickets = await day.add(intake("web", "later", "the disk is sound again"))
    assert tickets, (fault, day.refusals)
    disk.failures = failures
    return day


@pytest.mark.parametrize("piece", range(SLICES))
async def test_no_failing_call_takes_back_a_promise(tmp_path: Path, piece: int) -> None:
    """Each is answered with an error of the store's own; what was promised is there, and nothing by halves."""
    calls = await count_calls(tmp_path / "sound")
    faults = points(calls, POINTS)[piece::SLICES][: POINTS // SLICES]
    for number, fault in enumerate(faults):
        folder, copy = tmp_path / f"{number}", tmp_path / f"{number}-killed"
        with failing_disk(folder) as disk:
            day = await live_through(disk, folder, fault)
            while not disk.failures:
                # Names are random, and so is how many pages are looked at: the last calls of a kind may be missing.
                fault = fault._replace(nth=max(1, fault.nth * 2 // 3))  # noqa: PLW2901
                await day.close()
                shutil.rmtree(folder)
                day = await live_through(disk, folder, fault)
            # As after a kill: what the process had not closed stands in the log.
            shutil.copytree(folder, copy)
            await day.close()
        for path in (copy, folder):
            try:
                examine(path, day.promises)
            except (AssertionError, StoreError) as error:
                error.add_note(f"after {fault} in '{path}'; told: {day.refusals}")
                raise
            shutil.rmtree(path)


async def test_every_kind_of_call_has_its_faults(tmp_path: Path) -> None:
    """Of the points of a run none is left out: every call on every file, with every error that it knows."""
    calls = await count_calls(tmp_path / "sound")
    faults = [fault for piece in range(SLICES) for fault in points(calls, POINTS)[piece::SLICES][: POINTS // SLICES]]
    assert len(faults) == POINTS
    assert {fault.place for fault in faults} == set(calls)
    assert {(fault.place.call, fault.error) for fault in faults} == {
        (place.call, error) for place in calls for error in ERRORS[place.call]
    }


class HastyThread(StoreThread):
    """Promises before the disk has answered."""

    def _carry_out(self, store: SqliteStore, jobs: list[Any]) -> list[Any]:
        told: list[Any] = []
        with contextlib.suppress(Exception), store.transaction():
            told = [(future, verb(store), None) for verb, future, _ in jobs]
        return told or super()._carry_out(store, jobs)


async def test_the_suite_sees_promises_that_were_made_too_early(tmp_path: Path) -> None:
    """A thread that tells its callers before the commit is found out by the first commit that fails."""
    fault = Fault(Place("xSync", "store.db-wal"), 10, "SQLITE_IOERR_FSYNC")
    with failing_disk(tmp_path / "store") as disk:
        day = await live_through(disk, tmp_path / "store", fault, HastyThread)
        await day.close()
    with pytest.raises(AssertionError, match="promised and lost"):
        examine(day.path, day.promises)


async def test_a_disk_that_fails_while_the_store_is_closed_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing ends, says what went wrong in the log, and takes nothing back."""
    with failing_disk(tmp_path / "store") as disk:
        day = Day(tmp_path / "store")
        await day.opening()
        await day.add(intake("web", "ann", "hello"))
        disk.arm(Fault(Place("xClose", "store.db-wal"), 1, "SQLITE_IOERR_CLOSE", 100, everywhere=True))
        async with asyncio.timeout(10):
            await day.close()
        assert disk.failures
    assert [record.__dict__["code"] for record in caplog.records if record.name == "guestwire.store"] == ["GW-S022"]
    examine(day.path, day.promises)


@pytest.mark.parametrize("name", ["store.db", "keys.db"])
async def test_a_transaction_that_could_not_be_ended_ends_with_the_next(tmp_path: Path, name: str) -> None:
    """A disk that fails at the wrong moment leaves one open: the next verb is refused, and the one after is not."""
    folder = tmp_path / "store"
    day = Day(folder)
    await day.opening()

    def leave_open(store: SqliteStore) -> None:
        (store if name == "store.db" else store._vault)._db.execute("BEGIN")

    await day.read(leave_open)
    assert await day.add(intake("web", "ann", "refused")) == []
    assert "within a transaction" in day.refusals[-1].message
    assert await day.add(intake("web", "ann", "taken"))
    await day.close()
    examine(folder, day.promises)


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "rename"])
async def test_a_file_that_cannot_be_kept_is_its_messages_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Files of messages go past SQLite: whichever of their calls fails, the caller is told, and may come again."""
    day = Day(tmp_path / "store")
    await day.opening()
    real, failed = getattr(os, call), 0

    def fail_once(what: Any, *args: Any, **more: Any) -> Any:
        nonlocal failed
        path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else os.fspath(what)
        if "/blobs" in path and not failed:
            failed += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(what, *args, **more)

    monkeypatch.setattr(os, call, fail_once)
    assert await day.add(intake("web", "ann", "a file", content=b"x" * 100)) == []
    assert (failed, day.refusals[-1].code) == (1, "GW-S020")
    assert await day.add(intake("web", "ann", "a file", content=b"x" * 100))
    await day.close()
    examine(day.path, day.promises)
