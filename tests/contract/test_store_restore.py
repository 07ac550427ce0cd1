"""A backup becomes a store again, and nothing in it that had not ended is believed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from guestwire.errors import StoreError
from guestwire.model import Attachment, GuestKey, PartId, PartState, Ticket
from guestwire.store.backup import back_up
from guestwire.store.base import Confirm, End
from guestwire.store.checkup import check_store
from guestwire.store.folder import Folder, RelayLock
from guestwire.store.restore import Restored, restore
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.stores import accepted, intake
from tests.contract.test_store import Hand

QUEUED, SENDING, CHECKING, PARKED, ACCEPTED = (
    PartState.QUEUED,
    PartState.SENDING,
    PartState.CHECKING,
    PartState.PARKED,
    PartState.ACCEPTED,
)
STORES = Path(__file__).parents[1] / "stores"
NOW = 1_800_000_000.0


class Scene:
    """A store with a part in every state, and what was told of each."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.hand = Hand(SqliteStore(folder, min_free_disk_mb=0))
        self.hand.register()
        self.hand.take_over()
        self.tickets: dict[str, Ticket] = {}
        self.say("accepted")
        self.hand.step(Confirm(self.begin("accepted"), accepted("g1")))
        self.say("parked")
        self.hand.step(End(self.begin("parked"), 1, PARKED, "outcome unknown"))
        self.say("sending", attachments=(Attachment("a.txt", b"a file"),))
        self.say("queued")
        self.say("later", not_before=NOW + 1000)
        self.say("was due", not_before=NOW - 1000)
        self.tickets["held"] = self.hand.add(intake("held", "held"), held_by="file")[0]
        for kind in ("clear", "receipt"):
            with self.hand.store.transaction():
                self.hand.store.ask(self.tickets["queued"].guest_ref, kind, {}, self.hand.now)

    def say(self, name: str, **more: object) -> None:
        """A message of a guest of the same name."""
        self.tickets[name] = self.hand.submit(name, name, **more)

    def begin(self, name: str) -> PartId:
        """Begin it."""
        return self.hand.begin(self.tickets[name].guest_ref).part_id


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A store in the middle of its work."""
    scene = Scene(Folder(tmp_path / "store"))
    yield scene
    scene.hand.store.close()


def restored(scene: Scene, place: str = "new", *, with_keys: bool = True, keys: Path | None = None) -> Restored:
    """Back up, and restore somewhere else."""
    path = scene.folder.path.parent
    back_up(scene.folder, path / "backup", now=NOW - 5000, with_keys=with_keys)
    return restore(path / "backup", path / place, now=NOW, keys=keys)


def opened(path: Path) -> Hand:
    """The store there."""
    hand = Hand(SqliteStore(Folder(path), min_free_disk_mb=0))
    hand.now = NOW
    return hand


def test_what_had_not_ended_is_in_check(scene: Scene, tmp_path: Path) -> None:
    """All but what a person holds and what could not be sent yet; the journal says so of each, and of the whole."""
    done = restored(scene)
    assert (done.doubted.checking, done.doubted.parked, done.doubted.waiting, done.doubted.errands) == (4, 1, 1, 1)
    assert (done.aside, done.doubted.erased) == (None, 0)
    hand = opened(tmp_path / "new")
    states = {name: hand.states(ticket)[0] for name, ticket in scene.tickets.items()}
    assert states == {
        "accepted": ACCEPTED,
        "parked": PARKED,
        "sending": CHECKING,
        "queued": CHECKING,
        "later": QUEUED,
        "was due": CHECKING,
        "held": CHECKING,
    }
    reason = hand.part(scene.tickets["queued"].part_ids[0]).reason
    assert reason == "restored from a backup of 2027-01-15T06:36:40.000+00:00: it may have been sent since"
    parked = hand.part(scene.tickets["parked"].part_ids[0]).reason
    assert parked == f"outcome unknown; {reason}"
    *_, last = hand.store.journal(0, 10_000)
    assert (last.event, last.detail["checking"], last.detail["made_at"]) == (
        "store.restored",
        4,
        "2027-01-15T06:36:40.000+00:00",
    )
    hand.store.close()
    assert {each.status for each in check_store(Folder(tmp_path / "new"), deep=True)} == {"ok"}


def test_nothing_of_it_is_begun_before_it_was_looked_up(scene: Scene, tmp_path: Path) -> None:
    """A relay that begins finds checks at the heads of the lanes; found, they are accepted without being sent."""
    restored(scene)
    hand = opened(tmp_path / "new")
    hand.take_over()
    for name in ("sending", "queued"):
        ticket = scene.tickets[name]
        assert hand.step(begins=(ticket.guest_ref,)).begun == []
        lane = hand.lane(ticket.guest_ref)
        assert lane.head is not None
        assert lane.head.body is not None
        assert (lane.head.state, lane.head.body.text) == (CHECKING, name)
        hand.step(Confirm(ticket.part_ids[0], accepted(f"g-{name}")))
        assert hand.states(ticket) == [ACCEPTED]
    assert hand.events(scene.tickets["queued"].part_ids[0]) == ["part.queued", "part.checking", "part.accepted"]
    hand.store.close()


def test_no_number_is_given_twice(scene: Scene, tmp_path: Path) -> None:
    """Whoever noted the number of an entry, or of a reply, never finds another one under it."""
    restored(scene)
    told_since = scene.hand.store.journal_seq() + 100
    hand = opened(tmp_path / "new")
    assert next(entry.seq for entry in hand.store.journal(0, 10_000) if entry.event == "part.checking") > told_since
    hand.store.close()
    database = apsw.Connection(str(tmp_path / "new" / "store.db"))
    assert database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'replies'").fetchall() == [(1_000_000,)]
    database.close()


def test_errands_are_not_done_twice(scene: Scene, tmp_path: Path) -> None:
    """A conversation that was cleared since is not cleared again; a receipt may be told twice."""
    restored(scene)
    hand = opened(tmp_path / "new")
    errands = [(errand.kind, errand.state) for errand in hand.store.errands_of(scene.tickets["queued"].guest_ref)]
    assert errands == [("clear", "failed"), ("receipt", "queued")]
    hand.store.close()


def test_the_rest_of_a_message_does_not_go_alone(scene: Scene, tmp_path: Path) -> None:
    """Of a message in parts whose first ends as dead, the others wait for a person, in check or not."""
    (ticket,) = scene.hand.add(intake("long", "long", parts=3))
    restored(scene)
    hand = opened(tmp_path / "new")
    hand.take_over()
    hand.step(End(ticket.part_ids[0], 0, PartState.DEAD, "gone"))
    assert hand.states(ticket) == [PartState.DEAD, PARKED, PARKED]
    hand.store.close()


@pytest.mark.parametrize("where", ["in place", "named", "in the backup"])
def test_the_keys_are_found(scene: Scene, tmp_path: Path, where: str) -> None:
    """In the folder, where they wait for a store; by name; in the backup itself."""
    if where == "in place":
        (tmp_path / "new").mkdir()
        shutil.copy2(scene.folder.keys, tmp_path / "new")
    restored(scene, with_keys=where == "in the backup", keys=scene.folder.keys if where == "named" else None)
    hand = opened(tmp_path / "new")
    assert hand.part(scene.tickets["queued"].part_ids[0]).text == "queued"
    hand.store.close()


def test_without_its_keys_a_backup_is_refused(scene: Scene, tmp_path: Path) -> None:
    """None, or those of another store: nothing is made, and the error names the way out."""
    SqliteStore(Folder(tmp_path / "other")).close()
    back_up(scene.folder, tmp_path / "backup", now=NOW)
    for keys in (None, tmp_path / "other" / "keys.db", tmp_path / "missing"):
        with pytest.raises(StoreError) as caught:
            restore(tmp_path / "backup", tmp_path / "new", now=NOW, keys=keys)
        assert caught.value.code == "GW-S033"
        assert "--keys" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_who_was_erased_stays_erased(scene: Scene, tmp_path: Path) -> None:
    """His key is gone from the store's keys.db: those of the backup, which still has it, are not used."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    scene.hand.store.close()
    vault = apsw.Connection(str(scene.folder.keys))
    vault.execute("DELETE FROM guest_keys WHERE guest_ref = ?", (scene.tickets["sending"].guest_ref,))
    vault.close()
    done = restore(tmp_path / "backup", scene.folder.path, now=NOW, replace=True)
    assert (done.doubted.erased, done.doubted.checking) == (1, 3)
    hand = opened(scene.folder.path)
    assert hand.store.find_guest("web", GuestKey("sending")) is None
    assert hand.states(scene.tickets["sending"]) == []
    assert len(hand.store.list_guests(destination=None, guest=None, limit=100)) == 6
    hand.store.close()
    assert {each.status for each in check_store(scene.folder, deep=True)} == {"ok"}


def test_a_store_that_is_there_is_put_aside_and_kept(scene: Scene, tmp_path: Path) -> None:
    """Only when that was said; whoever had it open is told at his next write, and the old one is whole."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    with pytest.raises(StoreError) as caught:
        restore(tmp_path / "backup", scene.folder.path, now=NOW)
    assert caught.value.code == "GW-S030"
    since = scene.hand.submit("since")
    done = restore(tmp_path / "backup", scene.folder.path, now=NOW, replace=True)
    assert done.aside == tmp_path / "store.before-restore-20270115T080000Z"
    with pytest.raises(StoreError) as caught:
        scene.hand.submit("too late")
    assert caught.value.code == "GW-S034"
    for path, states in ((done.aside, [QUEUED]), (scene.folder.path, [])):
        hand = opened(path)
        assert hand.states(since) == states
        hand.store.close()
        assert {each.status for each in check_store(Folder(path), deep=True)} == {"ok"}


def test_a_restore_that_is_killed_loses_nothing(scene: Scene, tmp_path: Path) -> None:
    """SIGKILL between the two renames: the old store lies aside, the new one beside it, and another try succeeds."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    scene.hand.store.close()
    code = f"""
import os, sys
from pathlib import Path
from guestwire.store import restore
real = Path.rename
Path.rename = lambda self, to: os.kill(os.getpid(), 9) if ".restored-" in self.name and self.name[0] != "." and (
    Path(to).name == "store") else real(self, to)
restore.restore(Path(sys.argv[1]), Path(sys.argv[2]), now={NOW}, replace=True)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "backup"), str(scene.folder.path)]
    assert subprocess.run(command, check=False).returncode == -9
    names = ["store.before-restore-20270115T080000Z", "store.restored-20270115T080000Z"]
    assert sorted(each.name for each in tmp_path.glob("store*")) == names
    for name in names:
        assert {each.status for each in check_store(Folder(tmp_path / name), deep=True)} == {"ok"}
    restore(tmp_path / "backup", scene.folder.path, now=NOW + 1)
    assert {each.status for each in check_store(scene.folder, deep=True)} == {"ok"}


def test_a_store_that_cannot_be_read_is_replaced(scene: Scene, tmp_path: Path) -> None:
    """That is what backups are for."""
    back_up(scene.folder, tmp_path / "backup", now=NOW)
    scene.hand.store.close()
    scene.folder.store.write_bytes(b"no database" * 1000)
    done = restore(tmp_path / "backup", scene.folder.path, now=NOW, replace=True)
    assert done.aside is not None
    assert {each.status for each in check_store(scene.folder, deep=True)} == {"ok"}


def test_nothing_is_replaced_under_a_relay(scene: Scene, tmp_path: Path) -> None:
    """The process that sends is named; nothing has changed."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    lock = RelayLock(scene.folder)
    assert lock.acquire()
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(StoreError) as caught:
        restore(tmp_path / "backup", scene.folder.path, now=NOW, replace=True)
    lock.release()
    assert caught.value.code == "GW-S007"
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_nothing_is_replaced_under_a_transaction(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody is about to call queued is on the side of the old store or refused; never lost in between."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    monkeypatch.setattr("guestwire.store.restore.WAIT_MS", 10)
    before = sorted(each.name for each in tmp_path.iterdir())
    with scene.hand.store.transaction():
        (ticket,) = scene.hand.store.add([intake("late")], scene.hand.now)
        with pytest.raises(StoreError) as caught:
            restore(tmp_path / "backup", scene.folder.path, now=NOW, replace=True)
    assert caught.value.code == "GW-S003"
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    assert scene.hand.states(ticket) == [QUEUED]


def test_a_damaged_backup_makes_no_store(scene: Scene, tmp_path: Path) -> None:
    """A byte less in its database: refused before anything is made."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    with (tmp_path / "backup" / "store.db").open("r+b") as file:
        file.truncate(40_000)
    with pytest.raises(StoreError) as caught:
        restore(tmp_path / "backup", tmp_path / "new", now=NOW)
    assert caught.value.code == "GW-S032"
    assert not (tmp_path / "new").exists()


def test_a_backup_of_a_newer_guestwire_is_refused(scene: Scene, tmp_path: Path) -> None:
    """It may hold what this one would lose."""
    back_up(scene.folder, tmp_path / "backup", now=NOW, with_keys=True)
    path = tmp_path / "backup" / "manifest.json"
    path.write_text(path.read_text().replace('"schema": ', '"schema": 9'))
    with pytest.raises(StoreError) as caught:
        restore(tmp_path / "backup", tmp_path / "new", now=NOW)
    assert caught.value.code == "GW-S004"


def test_a_backup_of_an_older_schema_is_brought_up_on_the_way(tmp_path: Path) -> None:
    """The backup stays what it is."""
    with tarfile.open(STORES / "schema-2.tar.xz") as archive:
        archive.extractall(tmp_path / "old", filter="data")
    made = back_up(Folder(tmp_path / "old"), tmp_path / "backup", now=NOW, with_keys=True)
    assert made.schema == 2
    restore(tmp_path / "backup", tmp_path / "new", now=NOW)
    assert {each.status for each in check_store(Folder(tmp_path / "new"), deep=True)} == {"ok"}
