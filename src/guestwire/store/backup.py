"""
Copies of a store, made while others use it.

    store.db        a copy of the database as it was at one moment, in one file, without a log beside it
    blobs/          every file that this copy names
    keys.db         only where it was asked for: without it nobody reads what the copy holds
    manifest.json   what the copy is, and a digest of each file

The order is what makes it whole. First nobody may remove a file any more; then the database is read at one moment;
then the files that it names at that moment are copied, and last the keys. A file is on disk before the transaction
that names it is committed, and a key before what is sealed with it, so the copy lacks neither.

It is written under a name of its own and renamed when all of it is on disk: what is called as it was wished is whole.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from guestwire.errors import StoreError
from guestwire.settings import VERSION
from guestwire.store.connection import explained
from guestwire.store.folder import Folder, refuse_network_disk

MANIFEST = "manifest.json"
#: Pages of the database that are copied at once; a megabyte.
SLICE_PAGES = 256
#: So much more than the copy takes has to be free, in bytes: a disk that is full to the last byte serves nobody.
SPARE_BYTES = 16_000_000
#: What a backup counts, so that one sees what is in it.
COUNTED = ("guests", "messages", "parts", "replies", "errands", "journal", "blobs")


class FileEntry(msgspec.Struct, frozen=True):
    """A file of a backup."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is. Nothing in it is personal."""

    format: int = 1
    guestwire: str
    made_at: str
    """Of the moment that it shows; ISO 8601, UTC."""
    schema: int
    kind: str
    """``emulator``, ``live``, or ``empty``."""
    keys: str
    """Tells whose `keys.db` belongs to it; no key."""
    counts: dict[str, int]
    states: dict[str, int]
    """Parts by state."""
    journal_seq: int
    files: dict[str, FileEntry]
    """By path, relative to the manifest."""
    missing: tuple[str, ...] = ()
    """Files that the store had lost already: their messages are parked when it is their turn."""
    damage: str | None = None
    """What SQLite finds wrong with the copy; None: nothing. A store that is damaged has a damaged copy, or none."""

    @property
    def has_keys(self) -> bool:
        """Whether its keys are in it."""
        return "keys.db" in self.files


def back_up(folder: Folder, target: Path, *, now: float, with_keys: bool = False) -> Manifest:
    """
    Copy a store while others use it.

    Args:
        folder: Of the store.
        target: The folder to make.
        now: Seconds since the epoch.
        with_keys: Copy `keys.db` too. Whoever has both can read everything.

    Raises:
        StoreError: GW-S030, the target exists; GW-S031, there is no room for it; or the store cannot be read.
    """
    target = target.expanduser().absolute()
    with explained(folder), folder.keeping_files(), reading(folder.store) as source:
        _require_place(target, _size_of(folder, source, with_keys=with_keys))
        with made_whole(target) as partial:
            files = {"store.db": copy_database(source, partial / "store.db")}
            copied = apsw.Connection(str(partial / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                facts = _facts(copied)
                # One that nobody uses any more may be gone before its row is.
                used = copied.execute("SELECT digest FROM blobs WHERE refs > 0 ORDER BY digest")
                named = [str(digest) for (digest,) in used]
            finally:
                copied.close()
            if named:
                (partial / "blobs").mkdir(mode=0o700)
            missing = []
            for digest in named:
                try:
                    files[f"blobs/{digest}"] = copy_file(folder.blobs / digest, partial / "blobs" / digest)
                except FileNotFoundError:
                    missing.append(digest)
            if with_keys:
                with reading(folder.keys) as keys:
                    files["keys.db"] = copy_database(keys, partial / "keys.db")
            made_at = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds")
            manifest = Manifest(guestwire=VERSION, made_at=made_at, files=files, missing=tuple(missing), **facts)
            write(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection]:
    """Open a database at one moment: whatever others commit meanwhile is not seen, and they do not wait."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # whoever only looks leaves every byte where it is
        connection.set_busy_timeout(5_000)
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # here the moment begins
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


def _size_of(folder: Folder, source: apsw.Connection, *, with_keys: bool) -> int:
    database: Any
    ((database, files),) = source.execute(
        "SELECT page_count * page_size, (SELECT coalesce(sum(size), 0) FROM blobs WHERE refs > 0)"
        " FROM pragma_page_count, pragma_page_size"
    )
    return int(database + files) + (folder.keys.stat().st_size if with_keys else 0)


def _require_place(target: Path, needed: int) -> None:
    """Refuse a place where no backup can be, before the first byte is written."""
    if os.path.lexists(target):
        raise StoreError(
            f"'{target}' exists already", code="GW-S030", hint="name a folder that does not exist; nothing is replaced"
        )
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK | os.X_OK):
        raise StoreError(
            f"'{target.parent}' is no folder that can be written",
            code="GW-S001",
            hint="make it, or mount what belongs there, first",
        )
    refuse_network_disk(target.parent, "make it on a local disk, then copy the finished folder wherever you like")
    require_room(target.parent, needed)


def require_room(place: Path, needed: int) -> None:
    """Refuse to begin what will not fit."""
    free = shutil.disk_usage(place).free
    if free < needed + SPARE_BYTES:
        raise StoreError(
            f"a copy takes {-(-needed // 1_000_000):,} MB, and {free // 1_000_000:,} MB are free at '{place}'",
            code="GW-S031",
            hint="free some disk, or name another place",
        )


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """
    Make a folder under another name; it gets its own when all of it is on disk, and is gone if anything fails.

    A process that is killed meanwhile leaves a folder whose name begins with a dot and ends in ``.partial``.
    """
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700)
        yield partial
        for folder in (*(each for each in partial.iterdir() if each.is_dir()), partial):
            sync_folder(folder)
        if os.path.lexists(target):
            raise StoreError(f"'{target}' exists already", code="GW-S030", hint="somebody made it meanwhile")
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreError(
            f"'{target}' could not be written: {error.strerror or error}",
            code="GW-S031",
            hint="free some disk, or name another place; nothing was left there",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def copy_database(source: apsw.Connection, path: Path) -> FileEntry:
    """
    Copy what a connection sees, in slices, into a file that is whole by itself.

    The source has a transaction open: else each commit of another process would let the copy begin anew.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    copy = apsw.Connection(str(path))
    try:
        with copy.backup("main", source, "main") as slices:
            while not slices.done:
                slices.step(SLICE_PAGES)
        # The mode travels with the pages. A file that is put away wants no log beside it.
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()
    finally:
        copy.close()
    return digest_of(path, sync=True)


def copy_file(source: Path, path: Path) -> FileEntry:
    """Copy a file that nobody writes, onto the disk; its owner's alone."""
    with source.open("rb") as original:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as copy:
            shutil.copyfileobj(original, copy, 1 << 20)
    return digest_of(path, sync=True)


def write(path: Path, data: bytes) -> None:
    """Write a small file, onto the disk; its owner's alone."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def digest_of(path: Path, *, sync: bool = False) -> FileEntry:
    """Read a file; with `sync`, after it is on disk."""
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(file.tell(), digest.hexdigest())


def sync_folder(path: Path) -> None:
    """Have the names in a folder on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _facts(copied: apsw.Connection) -> dict[str, Any]:
    """Count what was copied: the copy itself, because what it came from goes on."""

    def value(sql: str) -> Any:
        row = copied.execute(sql).fetchone()
        return None if row is None else row[0]

    return {
        "schema": value("PRAGMA user_version"),
        "kind": value("SELECT value FROM meta WHERE key = 'kind'") or "empty",
        "keys": value("SELECT value FROM meta WHERE key = 'keys'") or "",
        "journal_seq": value("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'"),
        "damage": None if (said := value("PRAGMA quick_check(1)")) == "ok" else said,
        "counts": {table: value(f"SELECT count(*) FROM {table}") for table in COUNTED},  # noqa: S608 - our own names
        "states": {
            str(state): count for state, count in copied.execute("SELECT state, count(*) FROM parts GROUP BY state")
        },
    }


def read_manifest(backup: Path) -> Manifest:
    """
    Read what a backup says of itself.

    Raises:
        StoreError: GW-S032, it is none.
    """
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise unusable(backup, f"it has no {MANIFEST}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise unusable(backup, f"its {MANIFEST} cannot be read: {error}") from error
    if manifest.format != 1:
        raise unusable(backup, f"it is of a form ({manifest.format}) that this guestwire does not know")
    return manifest


def unusable(backup: Path, reason: str) -> StoreError:
    """Return the error for a folder that is no backup, or no whole one."""
    return StoreError(
        f"'{backup}' cannot be used as a backup: {reason}",
        code="GW-S032",
        hint="name the folder that 'guestwire store backup' made; of one that is damaged take an older one",
    )


def damage_of(backup: Path, manifest: Manifest) -> list[str]:
    """Compare each file with the manifest; returns what is wrong, in clauses. Reads every byte."""
    wrong = []
    for name, entry in manifest.files.items():
        path = backup / name
        if not _is_inside(name):
            wrong.append(f"the manifest names a file outside of it, '{name}'")
        elif not path.is_file():
            wrong.append(f"'{name}' is missing")
        elif path.stat().st_size != entry.size:
            wrong.append(f"'{name}' has {path.stat().st_size:,} bytes instead of {entry.size:,}")
        elif digest_of(path) != entry:
            wrong.append(f"'{name}' is not what was written: its digest differs")
    if "store.db" not in manifest.files:
        wrong.append("the manifest names no database")
    return wrong


def _is_inside(name: str) -> bool:
    """Whether a name is one that a backup has; a manifest may come from anywhere."""
    folder, _, file = name.rpartition("/")
    return name in ("store.db", "keys.db") or (folder == "blobs" and file.isalnum())
