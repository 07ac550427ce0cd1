"""A backup is whole, whatever others do meanwhile; and says so, or says what is missing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from guestwire.errors import StoreError
from guestwire.model import Attachment, MessageId, Reply
from guestwire.model import GatewayMessageId as GatewayId
from guestwire.store import backup
from guestwire.store.backup import back_up, read_manifest
from guestwire.store.base import Confirm, Hear
from guestwire.store.checkup import Checked, check_backup, check_store
from guestwire.store.folder import Folder
from guestwire.store.restore import restore
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.stores import accepted, intake
from tests.contract.test_store import Hand


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The folder of a store."""
    return Folder(tmp_path / "store")


@pytest.fixture
def hand(folder: Folder) -> Iterator[Hand]:
    """A store in the middle of its work: one part accepted, one on its way, one queued, a file, a reply."""
    store = SqliteStore(folder, min_free_disk_mb=0)
    hand = Hand(store)
    hand.register()
    hand.take_over()
    done = hand.submit("ben", "done", key="order-1")
    hand.step(Confirm(hand.begin(done.guest_ref).part_id, accepted("g1")))
    hand.begin(hand.submit("anna", "on its way").guest_ref)
    hand.submit("anna", "waits", attachments=(Attachment("a.txt", b"the content of a file"),))
    reply = Reply(gateway_id=GatewayId("r1"), kind="text", text="hello ben", source="live")
    hand.step(Hear(done.guest_ref, reply))
    yield hand
    store.close()


def wrong(found: list[Checked]) -> dict[str, str]:
    """What failed, by the name of its check."""
    failed = [each for each in found if each.status == "fail"]
    return {each.name: "; ".join(other.detail for other in failed if other.name == each.name) for each in failed}


def files_of(path: Path) -> dict[str, int]:
    """Every file below a folder with its mode."""
    return {
        str(each.relative_to(path)): stat.S_IMODE(each.stat().st_mode) for each in path.rglob("*") if each.is_file()
    }


def test_a_backup_has_everything_but_the_keys(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """Database and files, nobody else may read them, and the manifest counts what is in it."""
    manifest = back_up(folder, tmp_path / "copy", now=1_000_000_000.0)
    assert manifest == read_manifest(tmp_path / "copy")
    assert manifest.made_at == "2001-09-09T01:46:40.000+00:00"
    assert (manifest.kind, manifest.has_keys, manifest.states) == (
        "emulator",
        False,
        {"accepted": 1, "queued": 1, "sending": 1},
    )
    assert manifest.counts == {
        "guests": 2, "messages": 3, "parts": 3, "replies": 1, "errands": 0, "blobs": 1,
        "journal": hand.store.journal_seq(),
    }  # fmt: skip
    (blob,) = [name for name in manifest.files if name.startswith("blobs/")]
    assert files_of(tmp_path / "copy") == dict.fromkeys(("manifest.json", "store.db", blob), 0o600)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    assert [each.name for each in tmp_path.iterdir() if ".partial" in each.name] == []


def test_a_backup_with_keys_can_be_read_by_itself(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """Every seal and every file opens; without the keys nothing of it does, and that is said as a skip."""
    back_up(folder, tmp_path / "whole", now=hand.now, with_keys=True)
    back_up(folder, tmp_path / "bare", now=hand.now)
    assert files_of(tmp_path / "whole")["keys.db"] == 0o600
    shutil.rmtree(folder.path)
    whole = check_backup(tmp_path / "whole", deep=True)
    assert {each.status for each in whole} == {"ok"}
    skipped = [each.name for each in check_backup(tmp_path / "bare", deep=True) if each.status != "ok"]
    assert skipped == ["keys", "seals"]
    given = check_backup(tmp_path / "bare", keys=tmp_path / "whole" / "keys.db", deep=True)
    assert {each.status for each in given} == {"ok"}


def test_a_backup_shows_one_moment_while_others_submit(
    hand: Hand, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed before is in it, and what is committed between two slices neither tears it nor stops it."""
    monkeypatch.setattr(backup, "SLICE_PAGES", 1)
    before = [ticket.message_id for ticket in hand.add(*(intake(f"guest-{n}") for n in range(50)))]
    other = Hand(SqliteStore(folder, min_free_disk_mb=0))
    submitted: list[MessageId] = []
    stop = threading.Event()

    def submit() -> None:
        while not stop.is_set():
            file = Attachment("b.txt", f"file {len(submitted)}".encode())
            submitted.append(other.submit(f"busy-{len(submitted)}", attachments=(file,)).message_id)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        for number in range(3):
            back_up(folder, tmp_path / f"copy-{number}", now=hand.now, with_keys=True)
    finally:
        stop.set()
        thread.join()
        other.store.close()
    assert len(submitted) > 3
    for number in range(3):
        copy = tmp_path / f"copy-{number}"
        assert wrong(check_backup(copy, deep=True)) == {}
        database = apsw.Connection(str(copy / "store.db"))
        inside = {str(message) for (message,) in database.execute("SELECT id FROM messages")}
        database.close()
        assert inside.issuperset(before)
        assert submitted[: len(inside.intersection(submitted))] == [each for each in submitted if each in inside]


def test_no_file_is_removed_while_files_are_copied(hand: Hand, folder: Folder) -> None:
    """A relay that begins sweeps what nobody names; but not under the hands of a backup."""
    orphan = folder.blobs / "0123456789abcdef"
    orphan.write_bytes(b"nobody names it")
    os.utime(orphan, (0, 0))
    with folder.keeping_files():
        hand.take_over()
        assert orphan.exists()
    hand.take_over()
    assert not orphan.exists()


def test_a_place_that_is_taken_is_left_alone(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """A file, a folder, a link to nowhere: refused, and not touched. So is a folder above it that does not exist."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, code in (("file", "GW-S030"), ("folder", "GW-S030"), ("link", "GW-S030"), ("no/where", "GW-S001")):
        with pytest.raises(StoreError) as caught:
            back_up(folder, tmp_path / name, now=hand.now)
        assert caught.value.code == code
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


def test_without_room_nothing_is_begun(
    hand: Hand, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes are known before the first byte is written."""
    free = SimpleNamespace(free=backup.SPARE_BYTES + 10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError, match="are free at") as caught:
        back_up(folder, tmp_path / "copy", now=hand.now)
    assert caught.value.code == "GW-S031"
    assert sorted(tmp_path.iterdir()) == before


def test_what_fails_half_way_leaves_nothing(
    hand: Hand, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when the files are copied: there is no backup, and the reason is said."""

    def full(source: Path, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(backup, "copy_file", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError, match="No space left") as caught:
        back_up(folder, tmp_path / "copy", now=hand.now)
    assert caught.value.code == "GW-S031"
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_that_is_killed_is_none(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """SIGKILL between the database and the files: nothing has the name that was given, and another try succeeds."""
    code = """
import os, sys
from pathlib import Path
from guestwire.store import backup
from guestwire.store.folder import Folder
from guestwire.store.restore import restore
backup.copy_file = lambda source, path: os.kill(os.getpid(), 9)
backup.back_up(Folder(Path(sys.argv[1])), Path(sys.argv[2]), now=0.0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder.path), str(tmp_path / "copy")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "copy").exists()
    back_up(folder, tmp_path / "copy", now=hand.now, with_keys=True)
    assert wrong(check_backup(tmp_path / "copy", deep=True)) == {}


def test_a_store_that_has_lost_a_file_can_still_be_backed_up(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """The backup says which, and is no less whole for it: it shows what there was."""
    (blob,) = folder.blobs.iterdir()
    blob.unlink()
    manifest = back_up(folder, tmp_path / "copy", now=hand.now, with_keys=True)
    assert manifest.missing == (blob.name,)
    found = check_backup(tmp_path / "copy", deep=True)
    assert wrong(found) == {}
    assert "1 of messages were gone already" in found[0].detail
    restore(tmp_path / "copy", tmp_path / "new", now=hand.now)


def test_a_damaged_store_makes_a_copy_that_says_so(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """What can be kept is kept, and nobody takes it for sound."""
    hand.add(*(intake(f"guest-{n}", "x" * 2000) for n in range(20)))
    hand.store.close()
    database = apsw.Connection(str(folder.store))
    ((page,),) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'parts_by_message'")
    database.close()
    assert isinstance(page, int)
    flip(folder.store, (page - 1) * 4096 + 4)  # how many rows are on it
    manifest = back_up(folder, tmp_path / "copy", now=hand.now)
    assert manifest.damage
    assert "integrity" in wrong(check_backup(tmp_path / "copy"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda copy: (copy / "store.db").unlink(), "'store.db' is missing"),
        (lambda copy: next((copy / "blobs").iterdir()).unlink(), "is missing"),
        (lambda copy: os.truncate(copy / "store.db", 8192), "bytes instead of"),
        (lambda copy: flip(copy / "keys.db", 5000), "its digest differs"),
        (lambda copy: flip(next((copy / "blobs").iterdir()), 20), "its digest differs"),
    ],
)
def test_a_damaged_backup_is_told(hand: Hand, folder: Folder, tmp_path: Path, damage: object, says: str) -> None:
    """One file less, one byte less, one bit else: the manifest knows."""
    back_up(folder, tmp_path / "copy", now=hand.now, with_keys=True)
    assert callable(damage)
    damage(tmp_path / "copy")
    assert says in wrong(check_backup(tmp_path / "copy"))["files"]


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("text", [None, "", "[]", '{"format": 1}', "\x00", '{"format":2'])
def test_what_is_no_backup_is_refused(tmp_path: Path, text: str | None) -> None:
    """Any folder, and any manifest: an error that says so."""
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        check_backup(tmp_path)
    assert caught.value.code == "GW-S032"


def test_a_manifest_reads_no_file_of_others(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """A backup may come from anybody: a name that leads out of it is a finding."""
    back_up(folder, tmp_path / "copy", now=hand.now)
    path = tmp_path / "copy" / "manifest.json"
    path.write_text(path.read_text().replace('"blobs/', '"blobs/../../'))
    assert "outside" in wrong(check_backup(tmp_path / "copy"))["files"]


# --- check ---


def test_a_store_at_work_is_sound(hand: Hand, folder: Folder) -> None:
    """Beside the connection that works in it, and without writing anything."""
    before = {name: (folder.path / name).stat().st_mtime_ns for name in ("store.db", "keys.db")}
    found = check_store(folder, deep=True)
    assert {each.status for each in found} == {"ok"}
    assert {name: (folder.path / name).stat().st_mtime_ns for name in before} == before


def test_a_disk_that_is_nearly_full_is_told(hand: Hand, folder: Folder) -> None:
    """As intake judges it."""
    assert "nothing new is accepted" in wrong(check_store(folder, min_free_disk_mb=1e9))["disk"]


@pytest.mark.parametrize(
    ("damage", "name", "says"),
    [
        ("UPDATE guests SET next_at = NULL", "lanes", "by its lane's head at"),
        ("UPDATE guests SET next_at = 5", "lanes", "is due at 5"),
        ("UPDATE meta SET value = 7 WHERE key = 'boot'", "lanes", "is sending under relay 1, and 7 is the newest"),
        ("UPDATE parts SET lane_seq = NULL WHERE state = 'queued'", "lanes", "neither in its lane"),
        ("UPDATE parts SET state = 'dead' WHERE state = 'queued'", "journal", "is dead, and the last"),
        ("DELETE FROM journal WHERE event = 'part.queued'", "journal", "the journal says is None"),
        ("UPDATE journal SET event = 'part.queued' WHERE event = 'part.accepted'", "journal", "is part.queued"),
        ("DELETE FROM parts WHERE state = 'queued'", "references", "has no parts"),
        ("UPDATE messages SET guest_ref = 'x' WHERE id = (SELECT max(id) FROM messages)", "references", "names one of"),
        ("UPDATE parts SET guest_ref = 'x' WHERE state = 'queued'", "references", "of another guest"),
        ("DELETE FROM blobs", "references", "a file that the store does not know"),
        ("UPDATE blobs SET refs = 2", "files", "is counted 2 times and used 1 times"),
        ("UPDATE blobs SET size = 1", "files", "bytes instead of 29"),
        ("UPDATE meta SET value = 'ff' WHERE key = 'keys'", "keys", "is not the one"),
        ("UPDATE parts SET body = zeroblob(40) WHERE state = 'sending'", "seals", "parts.body."),
        ("UPDATE guests SET token = guest_key", "seals", "guests.token."),
        ("UPDATE guests SET guest_key = token", "seals", "guests.guest_key."),
        ("UPDATE replies SET gateway_id = 'r2'", "seals", "replies.body."),
        ("PRAGMA journal_mode=DELETE", "settings", "journal_mode is delete"),
        ("PRAGMA user_version=1", "schema", "the store is at schema 1"),
        ("PRAGMA user_version=99", "schema", "the store is at schema 99"),
    ],
)
def test_damage_in_the_database_is_found(hand: Hand, folder: Folder, damage: str, name: str, says: str) -> None:
    """Each kind of it, done to a real store by hand."""
    hand.submit("carl", "due")
    hand.store.close()
    database = apsw.Connection(str(folder.store))
    database.execute(damage).fetchall()
    database.close()
    assert says in wrong(check_store(folder))[name]


def test_pages_that_were_overwritten_are_found(hand: Hand, folder: Folder) -> None:
    """SQLite's own check says so; nothing crashes on the way."""
    hand.add(*(intake(f"guest-{n}", "x" * 2000) for n in range(20)))
    hand.store.close()
    pages = folder.store.stat().st_size // 4096
    with folder.store.open("r+b") as file:
        for page in range(20, pages, 5):
            file.seek(page * 4096)
            file.write(b"\xa5" * 512)
    assert "integrity" in wrong(check_store(folder))


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_file_that_is_no_database_is_found(folder: Folder, content: bytes) -> None:
    """Also an empty one, which SQLite would take for a new database."""
    folder.store.write_bytes(content)
    assert wrong(check_store(folder))


def test_a_store_that_does_not_vacuum_is_found(hand: Hand, folder: Folder) -> None:
    """What is deleted from it would never leave the disk."""
    hand.store.close()
    database = apsw.Connection(str(folder.store))
    database.execute("PRAGMA journal_mode=DELETE").fetchall()
    database.execute("PRAGMA auto_vacuum=NONE").fetchall()
    database.execute("VACUUM")
    database.execute("PRAGMA journal_mode=WAL").fetchall()
    database.close()
    assert wrong(check_store(folder)) == {
        "settings": "auto_vacuum is 0, not 2: what is deleted would never leave the disk"
    }


def test_files_that_are_missing_or_changed_are_found(hand: Hand, folder: Folder) -> None:
    """The file of a message that still waits."""
    (blob,) = folder.blobs.iterdir()
    flip(blob, 20)
    assert "does not open with its key" in wrong(check_store(folder))["files"]
    blob.unlink()
    assert "is missing" in wrong(check_store(folder))["files"]


def test_keys_that_are_missing_foreign_or_open_to_all_are_found(hand: Hand, folder: Folder, tmp_path: Path) -> None:
    """And nothing is made in their place: a new keys.db would be taken for the right one."""
    folder.keys.chmod(0o644)
    assert "can be read by other users" in wrong(check_store(folder))["keys"]
    folder.keys.chmod(0o600)
    vault = apsw.Connection(str(folder.keys))
    vault.execute("DELETE FROM guest_keys WHERE guest_ref = (SELECT min(guest_ref) FROM guest_keys)")
    vault.close()
    assert "has no key" in wrong(check_store(folder))["keys"]
    other = Folder(tmp_path / "other")
    SqliteStore(other).close()
    folder.keys.unlink()
    assert "is missing" in wrong(check_store(folder))["keys"]
    assert not folder.keys.exists()
    shutil.copy(other.keys, folder.keys)
    assert "is not the one" in wrong(check_store(folder))["keys"]
    folder.keys.write_bytes(b"no database at all" * 100)
    assert "cannot be read" in wrong(check_store(folder))["keys"]


def test_no_finding_tells_what_is_stored(hand: Hand, folder: Folder) -> None:
    """Ids alone: a report of what is broken goes to whoever mends it."""
    hand.store.close()
    database = apsw.Connection(str(folder.store))
    database.execute("UPDATE guests SET token = guest_key, next_at = 1; UPDATE parts SET body = zeroblob(3)").fetchall()
    database.close()
    told = " ".join(f"{each.detail} {each.fix}" for each in check_store(folder))
    assert not any(word in told for word in ("anna", "ben", "waits", "on its way"))
