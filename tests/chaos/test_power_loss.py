"""
The power is cut.

A day of the store is recorded once, and then its power is cut at many moments: before and after each sync, and between
writes. On what the disk then holds a store is opened: everything that had been promised by that moment is there, with
its keys and its files, and nothing is there by halves. A store that is a little less careful is found out.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from guestwire.errors import StoreError
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from tests.chaos.day import Day, Promise, examine, intake
from tests.chaos.power import MODES, Mode, Model, Promised, Record, Sync, SyncFolder, Write

CUTS = 5_000 if os.environ.get("GUESTWIRE_EXAMPLES") == "long" else 100
SLICES = CUTS // 25


class Cut(NamedTuple):
    """After so many events the power is lost, and this is left of what was not synced."""

    after: int
    mode: Mode


async def recorded(root: Path, prepare: Callable[[SqliteStore], None] = lambda store: None) -> tuple[Record, Day]:
    """Live a day, two folders deep, and record what reaches the disk."""
    record = Record(root)
    with record.running():
        day = Day(root / "deep" / "store", prepare)
        day.promised = lambda: record.events.append(Promised(len(day.promises)))
        await day.pass_by()
        await day.close()
    assert day.refusals == []
    return record, day


def cuts(record: Record, wanted: int, piece: int) -> list[Cut]:
    """Spread cuts over a day: two of three beside a sync, the third between two writes, in each mode in turn."""
    draw = random.Random(piece)  # noqa: S311 - to be had again
    syncs = [number for number, event in enumerate(record.events) if isinstance(event, Sync | SyncFolder)]
    beside = sorted({*syncs, *(number + 1 for number in syncs)})
    writes = [number for number, event in enumerate(record.events) if isinstance(event, Write)]
    found = []
    for number in range(wanted):
        points = beside if number % 3 else writes
        at = points[(number * len(points) // min(wanted, len(points)) + draw.randrange(len(points))) % len(points)]
        found.append(Cut(at, MODES[number % len(MODES)]))
    return sorted(found)


def left_after(record: Record, wanted: list[Cut], into: Path) -> Iterator[tuple[Cut, Path, int]]:
    """Cut the power again and again; gives each time where what is left lies, and how much had been promised."""
    model = Model(record.root)
    draw = random.Random(1)  # noqa: S311 - to be had again
    happened = 0
    for number, cut in enumerate(wanted):
        for event in record.events[happened : cut.after]:
            model.happen(event)
        happened = cut.after
        place = into / f"{number}"
        place.mkdir(parents=True)
        model.cut(cut.mode, draw, place)
        yield cut, place / "deep" / "store", model.promised
        shutil.rmtree(place)


def go_on(path: Path) -> None:
    """A new relay and a new message."""
    store = SqliteStore(Folder(path), min_free_disk_mb=0)
    try:
        with store.transaction():
            store.register("web", "webmessaging", "of web", is_emulator=True)
            store.take_over(9000.0)
        with store.transaction():
            tickets = store.add([intake("web", "ann", "after the cut")], 9000.0)
    finally:
        store.close()
    examine(path, [Promise(texts=((tickets[0].part_ids[0], "after the cut 1/1"),))])


@pytest.mark.parametrize("piece", range(SLICES))
async def test_what_was_promised_survives_a_loss_of_power(tmp_path: Path, piece: int) -> None:
    """At every moment: promises are a subset of what is recovered, which is whole; and the store goes on from there."""
    record, day = await recorded(tmp_path / "day")
    tried: Counter[Mode] = Counter()
    for cut, path, promised in left_after(record, cuts(record, CUTS // SLICES, piece), tmp_path / "cut"):
        try:
            examine(path, day.promises[:promised])
            go_on(path)
        except (AssertionError, StoreError) as error:
            error.add_note(f"{cut}, before {record.events[cut.after : cut.after + 1]!r:.200}")
            raise
        tried[cut.mode] += 1
    assert tried.total() == CUTS // SLICES
    assert set(tried) == set(MODES)


def without_sync(store: SqliteStore) -> None:
    """The database leaves it to the system when its log reaches the disk."""
    store._db.execute("PRAGMA synchronous=OFF").fetchall()


def with_sync_of_checkpoints_alone(store: SqliteStore) -> None:
    """The log is synced when it is folded in, and not at each commit: SQLite's own advice for WAL."""
    store._db.execute("PRAGMA synchronous=NORMAL").fetchall()


def without_sync_of_keys(store: SqliteStore) -> None:
    """A commit of a key does not wait for the removal of its journal: what others call full."""
    store._vault._db.execute("PRAGMA synchronous=FULL").fetchall()


@pytest.mark.parametrize("careless", [without_sync, with_sync_of_checkpoints_alone, without_sync_of_keys])
async def test_a_store_that_syncs_less_is_found_out(tmp_path: Path, careless: Callable[[SqliteStore], None]) -> None:
    """The same cuts, with a store that saves a sync: something that was promised is lost, or cannot be opened."""
    record, day = await recorded(tmp_path / "day", careless)
    assert loses(record, day, tmp_path / "cut")


@pytest.mark.parametrize("name", ["guestwire.store.blobs.sync_folder", "guestwire.store.folder.sync_folder"])
async def test_a_folder_that_is_not_synced_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The names of files, and that of the store's own folder, are promised too."""
    monkeypatch.setattr(name, lambda path: None)
    record, day = await recorded(tmp_path / "day")
    assert loses(record, day, tmp_path / "cut")


def loses(record: Record, day: Day, into: Path) -> bool:
    """Whether some cut takes something away that was promised. What was never synced is gone; that is enough."""
    moments = [number + 1 for number, event in enumerate(record.events) if isinstance(event, Promised)]
    for _, path, promised in left_after(record, [Cut(at, "nothing") for at in moments], into):
        try:
            examine(path, day.promises[:promised])
        except (AssertionError, StoreError):
            return True
    return False
