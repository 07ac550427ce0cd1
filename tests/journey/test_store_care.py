"""A store that is looked after: backed up in the middle of its work, moved away, restored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from guestwire import Attachment, GuestWire, Message, StoreError, Ticket
from guestwire.settings import RetrySettings
from guestwire.store.backup import Manifest, back_up
from guestwire.store.base import Doubted, Person
from guestwire.store.restore import restore
from guestwire.store.sqlite import SqliteStore
from guestwire.testing import FakeClock, emulator
from tests.journey.auditor import audit, events_of
from tests.journey.kit import (
    FAST,
    PATIENCE_S,
    inbound,
    journal_of,
    make_wire,
    own_gateway,
    say,
    settled,
    until,
    wired,
)


async def test_a_store_that_is_moved_away_ends_the_relay(tmp_path: Path) -> None:
    """Nobody is told "queued" of what would lie in a folder that nobody looks into; whoever waits is told why."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path / "store") as wire:
            await settled(wire, await say(wire, "before"))
            genesys.inject("lose_echo")
            ticket = await say(wire, "on its way")
            (tmp_path / "store").rename(tmp_path / "aside")
            with pytest.raises(StoreError) as caught:
                await say(wire, "after")
            assert caught.value.code == "GW-S034"
            with pytest.raises(StoreError) as caught:
                async with asyncio.timeout(PATIENCE_S):
                    await wire.wait(ticket)
            assert caught.value.code == "GW-S034"
        async with wired(genesys, tmp_path / "aside") as wire:
            assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["before", "on its way"]


async def test_a_backup_of_the_middle_of_a_run(tmp_path: Path) -> None:
    """
    The store goes on and sends everything; the backup, restored, sends none of it a second time.

    Every part that had not ended is looked up and found: nothing lost, nothing doubled, nothing possibly doubled.
    """
    async with emulator(**FAST, limits="off") as genesys:
        async with wired(genesys, tmp_path / "store", pace=False) as wire:
            told = await submit(wire, 40)
            await until(wire, "part.accepted", times=10)
            manifest = await asyncio.to_thread(copy_of, wire)
            assert set(await settled(wire, *told)) == {"accepted"}
        left = manifest.counts["parts"] - manifest.states.get("accepted", 0)
        assert left > 5  # else this would prove nothing
        done = restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        assert done.doubted.checking == left
        async with wired(genesys, tmp_path / "new", pace=False) as wire:
            assert set(await settled(wire, *told)) == {"accepted"}
            journal = await journal_of(wire)
        found = audit(genesys.messages(), journal, told)
        assert (found.violations, found.waiting, found.duplicates) == ([], [], 0)
        assert events_of(journal)["part.possible_duplicate"] == 0


async def test_a_file_that_went_since_is_found(tmp_path: Path) -> None:
    """Under whichever id it went: the backup knows none, and what comes behind it is found as well."""
    async with emulator(**FAST, limits="off") as genesys:
        async with wired(genesys, tmp_path / "store", relay="never", pace=False) as wire:
            told = [
                await say(wire, f"text {n}", attachments=(Attachment("a.txt", b"%d" % n),) if n % 2 == 0 else ())
                for n in range(6)
            ]
            await asyncio.to_thread(copy_of, wire)
        async with wired(genesys, tmp_path / "store", pace=False) as wire:
            assert set(await settled(wire, *told)) == {"accepted"}
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with wired(genesys, tmp_path / "new", pace=False) as wire:
            assert set(await settled(wire, *told)) == {"accepted"}
        assert inbound(genesys) == [f"text {n}" for n in range(6)]


async def test_what_is_sent_again_hides_nothing_behind_it(tmp_path: Path) -> None:
    """A message that was cancelled since goes out, for the backup cannot know it; those behind it are found."""
    person = Person("test")
    async with emulator(**FAST, limits="off") as genesys:
        async with wired(genesys, tmp_path / "store", relay="never", pace=False) as wire:
            told = [await say(wire, f"text {n}") for n in range(4)]
            await asyncio.to_thread(copy_of, wire)
            await wire.store_write(lambda store: store.cancel(told[0].message_id, person, time.time()))
        async with wired(genesys, tmp_path / "store", pace=False) as wire:
            assert await settled(wire, *told[1:]) == ["accepted"] * 3
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with wired(genesys, tmp_path / "new", pace=False) as wire:
            assert await settled(wire, *told) == ["accepted"] * 4
            after = await say(wire, "after")
            assert await settled(wire, after) == ["accepted"]
            assert events_of(await journal_of(wire))["part.possible_duplicate"] == 1
        assert inbound(genesys) == ["text 1", "text 2", "text 3", "text 0", "after"]


async def test_the_auditor_sees_a_backup_that_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: restored as it is, the same run doubles messages without a word, and the auditor says so."""
    nothing = Doubted(checking=0, parked=0, waiting=0, errands=0, erased=0)
    monkeypatch.setattr(SqliteStore, "doubt", lambda store, made_at, now: nothing)
    async with emulator(**FAST, limits="off") as genesys:
        async with wired(genesys, tmp_path / "store", relay="never", pace=False) as wire:
            told = await submit(wire, 8)
            await asyncio.to_thread(copy_of, wire)
        for place in ("store", "new"):
            if place == "new":
                keys = tmp_path / "store" / "keys.db"
                restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=keys)
            async with wired(genesys, tmp_path / place, pace=False) as wire:
                assert set(await settled(wire, *told)) == {"accepted"}
                journal = await journal_of(wire)
        found = audit(genesys.messages(), journal, told)
        assert len(found.unexplained) == 8


async def test_a_backup_of_a_run_that_was_never_finished(tmp_path: Path) -> None:
    """The machine is lost half-way: what it had sent since is found, the rest is sent, all of it on record."""
    slow: dict[str, Any] = {"echo_delay_ms": "40-60", "history_lag_s": 0.02}
    async with emulator(**slow, limits="off") as genesys:
        async with wired(genesys, tmp_path / "store", pace=False) as wire:
            told = await submit(wire, 40)
            await until(wire, "part.accepted", times=4)
            await asyncio.to_thread(copy_of, wire)
            await until(wire, "part.accepted", times=4)
        sent = len(inbound(genesys))
        assert 8 <= sent < 40
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with wired(genesys, tmp_path / "new", pace=False) as wire:
            assert set(await settled(wire, *told)) == {"accepted"}
            journal = await journal_of(wire)
        found = audit(genesys.messages(), journal, told)
        assert (found.violations, found.waiting, found.duplicates) == ([], [], 0)
        assert events_of(journal)["part.possible_duplicate"] == 40 - sent  # absent is no proof


async def test_a_backup_where_no_history_can_be_read(tmp_path: Path) -> None:
    """The tutorial contract has none: whatever may have been sent is sent again, and each is counted before."""
    async with emulator(**FAST) as genesys:
        to = own_gateway(genesys, pace=False, retry=RetrySettings(base_s=0.01))
        async with make_wire(to, tmp_path / "store") as wire:
            told = await submit(wire, 12, conversation="c1")
            await until(wire, "part.accepted", times=3)
            manifest = await asyncio.to_thread(copy_of, wire)
            assert set(await settled(wire, *told)) == {"accepted"}
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with make_wire(to, tmp_path / "new") as wire:
            assert set(await settled(wire, *told)) == {"accepted"}
            status = await wire.status()
            journal = await journal_of(wire)
    left = manifest.counts["parts"] - manifest.states.get("accepted", 0)
    assert 0 < left <= 9
    assert status.store.possible_duplicates == left == events_of(journal)["part.possible_duplicate"]


async def test_at_most_once_is_kept_by_a_restored_store(tmp_path: Path) -> None:
    """What no history can settle waits for a person instead of being sent again."""
    async with emulator(**FAST) as genesys:
        to = own_gateway(genesys)
        async with make_wire(to, tmp_path / "store", relay="never") as wire:
            ticket = await say(wire, "once", conversation="c1", delivery="at_most_once")
            await asyncio.to_thread(copy_of, wire)
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with make_wire(to, tmp_path / "new") as wire:
            assert await settled(wire, ticket) == ["parked"]
        assert inbound(genesys) == []


async def test_what_is_old_in_a_backup_is_still_sent(tmp_path: Path) -> None:
    """A message that was never sent from here has not been tried for too long, however old the backup is."""
    clock = FakeClock(time.time() - 10 * 86_400)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path / "store", relay="never", clock=clock) as wire:
            ticket = await say(wire, "ten days old")
            await asyncio.to_thread(copy_of, wire)
        restore(tmp_path / "backup", tmp_path / "new", now=time.time(), keys=tmp_path / "store" / "keys.db")
        async with wired(genesys, tmp_path / "new") as wire:
            assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["ten days old"]


async def submit(wire: GuestWire, count: int, **more: Any) -> list[Ticket]:
    """Submit messages of four guests."""
    return await wire.submit_many(Message(guest=f"guest-{n % 4}", text=f"message {n}", **more) for n in range(count))


def copy_of(wire: GuestWire) -> Manifest:
    """Back its store up, beside it."""
    return back_up(wire.folder, wire.folder.path.parent / "backup", now=time.time())
