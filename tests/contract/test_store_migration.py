"""A store of an older schema is brought up when somebody says so, whole or not at all; nobody writes past it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import apsw
import pytest

from guestwire.errors import StoreError
from guestwire.model import Draft, GuestKey, PartBody
from guestwire.store import schema
from guestwire.store.base import Intake
from guestwire.store.checkup import check_backup, check_store
from guestwire.store.folder import Folder, RelayLock, migrations
from guestwire.store.migration import migrate
from guestwire.store.sqlite import SqliteStore
from tests.contract.test_store import Hand

STORES = Path(__file__).parents[1] / "stores"
NEXT = migrations()[-1][0] + 1
#: What a later guestwire may want: a column, an index, a table written anew that others name.
LATER = """
ALTER TABLE parts ADD COLUMN colour TEXT NOT NULL DEFAULT 'none';
CREATE INDEX parts_by_colour ON parts (colour);
CREATE TABLE new_destinations (
    name TEXT PRIMARY KEY, transport TEXT NOT NULL, fingerprint TEXT NOT NULL, note TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO new_destinations SELECT name, transport, fingerprint, NULL FROM destinations;
DROP TABLE destinations;
ALTER TABLE new_destinations RENAME TO destinations;
"""


@pytest.fixture
def old(tmp_path: Path) -> Folder:
    """A store as guestwire 0.1.0 left it at schema 2: accepted, queued and scheduled messages, a file, a reply."""
    with tarfile.open(STORES / "schema-2.tar.xz") as archive:
        archive.extractall(tmp_path / "store", filter="data")
    return Folder(tmp_path / "store")


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guestwire that knows one schema more."""
    monkeypatch.setattr(schema, "migrations", lambda: [*migrations(), (NEXT, LATER)])


def content_of(folder: Folder) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, without the columns that a later schema adds."""
    database = apsw.Connection(str(folder.store), flags=apsw.SQLITE_OPEN_READONLY)
    found: dict[str, list[tuple[object, ...]]] = {}
    with tarfile.open(STORES / "schema-2.tar.xz") as archive:
        archive.extract("./store.db", folder.path.parent / "original", filter="data")
    original = apsw.Connection(str(folder.path.parent / "original" / "store.db"))
    for (table,) in original.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ):
        columns = ", ".join(str(column[1]) for column in original.execute(f"PRAGMA table_info({table})"))
        found[str(table)] = database.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - our own names
    original.close()
    database.close()
    shutil.rmtree(folder.path.parent / "original")
    return found


def in_old(text: str) -> Intake:
    """Make a message for the destination that the old store knows."""
    return Intake(Draft(destination="emulator", guest=GuestKey("guest-0"), text=text), (PartBody(text),))


@pytest.mark.usefixtures("newer")
def test_an_older_store_is_refused_until_it_is_brought_up(old: Folder) -> None:
    """Opening it changes nothing: others may be using it. The error names the command."""
    before = content_of(old)
    with pytest.raises(StoreError, match="needs") as caught:
        SqliteStore(old)
    assert (caught.value.code, "guestwire store migrate" in caught.value.hint) == ("GW-S035", True)
    assert content_of(old) == before
    assert [each.name for each in check_store(old) if each.status == "fail"] == ["schema"]


@pytest.mark.usefixtures("newer")
def test_a_store_is_brought_up_with_every_row(old: Folder) -> None:
    """Its rows are what they were, what waited can be sent, and the backup of before is whole."""
    before = content_of(old)
    done = migrate(old, now=1_800_000_000.0)
    assert (done.before, done.after) == (2, NEXT)
    assert content_of(old) == before
    assert done.backup == old.path / "backups" / "schema-2-20270115T080000Z"
    assert done.backup is not None
    assert {each.status for each in check_store(old, deep=True)} == {"ok"}
    kept = {each.name: each.status for each in check_backup(done.backup, keys=old.keys, deep=True)}
    assert kept.pop("schema") == "fail"  # that is what it is for
    assert set(kept.values()) == {"ok"}
    hand = Hand(SqliteStore(old, min_free_disk_mb=0))
    hand.now = 1_800_000_000.0
    hand.take_over()
    guest = hand.store.find_guest("emulator", GuestKey("guest-new"))
    assert guest is not None
    assert hand.texts_in_lane_order(guest) == ["waits too"]
    hand.store.close()
    again = migrate(old, now=1_800_000_001.0)
    assert (again.before, again.after, again.backup) == (NEXT, NEXT, None)


def test_the_oldest_store_opens_today(old: Folder) -> None:
    """A real file of the first schema, by this guestwire's own migrations."""
    before = content_of(old)
    migrate(old, now=1_800_000_000.0)
    assert content_of(old) == before
    assert {each.status for each in check_store(old, deep=True)} == {"ok"}


@pytest.mark.parametrize("script", ["ALTER TABLE parts ADD COLUMN x TEXT; SELECT nonsense();", "DELETE FROM guests;"])
def test_a_migration_that_fails_leaves_the_store_as_it_was(
    old: Folder, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """A statement that fails, or rows that would name others that are gone: the guestwire of before goes on with it."""
    migrate(old, now=0.0)
    before = content_of(old)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: [*migrations(), (NEXT, script)])
        with pytest.raises(StoreError):
            migrate(old, now=1_800_000_000.0)
    assert content_of(old) == before
    assert {each.status for each in check_store(old, deep=True)} == {"ok"}
    SqliteStore(old).close()


def test_a_migration_that_is_killed_leaves_the_store_as_it_was(old: Folder) -> None:
    """SIGKILL between two statements of a migration; then the guestwire of before, and another try."""
    migrate(old, now=0.0)
    before = content_of(old)
    code = f"""
import os, sys, apsw
from pathlib import Path
from guestwire.store import schema
from guestwire.store.folder import Folder, migrations
from guestwire.store.migration import migrate
apsw.connection_hooks.append(lambda db: db.create_scalar_function("die", lambda: os.kill(os.getpid(), 9)))
script = {LATER!r} + "SELECT die();"
schema.migrations = lambda: [*migrations(), ({NEXT}, script)]
migrate(Folder(Path(sys.argv[1])), now=1_800_000_000.0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(old.path)], check=False)
    assert done.returncode == -9
    assert content_of(old) == before
    SqliteStore(old).close()
    assert {each.status for each in check_store(old, deep=True)} == {"ok"}


@pytest.mark.usefixtures("newer")
def test_nobody_relays_while_a_store_is_brought_up(old: Folder) -> None:
    """It is refused, and nothing has changed."""
    lock = RelayLock(old)
    assert lock.acquire()
    with pytest.raises(StoreError) as caught:
        migrate(old, now=0.0)
    lock.release()
    assert caught.value.code == "GW-S007"
    assert not (old.path / "backups").exists()


def test_a_newer_store_is_refused(old: Folder) -> None:
    """By whoever opens it, and by `migrate`."""
    database = apsw.Connection(str(old.store))
    database.execute(f"PRAGMA user_version={NEXT}")
    database.close()
    for attempt in (lambda: SqliteStore(old), lambda: migrate(old, now=0.0)):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert caught.value.code == "GW-S004"


def test_whoever_had_it_open_goes_no_further(old: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of before, still running, is told at its next write, and nothing of that is stored."""
    migrate(old, now=0.0)
    hand = Hand(SqliteStore(old, min_free_disk_mb=0))
    hand.add(before := in_old("before"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: [*migrations(), (NEXT, LATER)])
        migrate(old, now=1_800_000_000.0)
        count = len(content_of(old)["messages"])
        with pytest.raises(StoreError, match="while it was in use") as caught:
            hand.add(before)
    assert caught.value.code == "GW-S004"
    assert len(content_of(old)["messages"]) == count
    hand.store.close()


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_nobody_writes_into_what_is_not_the_store_any_more(tmp_path: Path, how: str) -> None:
    """A folder that was moved, deleted or replaced under a program: it says so, and never says "queued"."""
    folder = Folder(tmp_path / "store")
    hand = Hand(SqliteStore(folder, min_free_disk_mb=0))
    hand.register()
    ticket = hand.submit()
    if how == "deleted":
        shutil.rmtree(folder.path)
    else:
        folder.path.rename(tmp_path / "aside")
    if how == "replaced":
        SqliteStore(Folder(tmp_path / "store")).close()
    with pytest.raises(StoreError) as caught:
        hand.submit(text="lost?")
    assert caught.value.code == "GW-S034"
    if how != "deleted":
        assert hand.states(ticket)
        assert len(hand.parts()) == 1
    hand.store.close()
