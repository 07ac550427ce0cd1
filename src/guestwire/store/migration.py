"""Bringing a store to the schema of this guestwire: nobody sends meanwhile, and a backup is made first."""

from __future__ import annotations

import datetime
from pathlib import Path

import apsw
import msgspec

from guestwire.store.backup import back_up
from guestwire.store.connection import explained
from guestwire.store.folder import Folder, exclusively
from guestwire.store.schema import bring_up, newest, require_known, version_of
from guestwire.store.sqlite import SqliteStore


class Migrated(msgspec.Struct, frozen=True):
    """What became of a store."""

    before: int
    """Its schema."""
    after: int
    backup: Path | None
    """Where it lies as it was; None where there was nothing to do."""


def migrate(folder: Folder, *, now: float) -> Migrated:
    """
    Bring a store to the newest schema.

    Other programs that have it open go no further: at their next write they are told that it has changed.

    Args:
        folder: Of the store, which exists.
        now: Seconds since the epoch; for the backup's name.

    Raises:
        StoreError: GW-S007, somebody relays; GW-S004, it is newer than this guestwire; or the backup failed. Then it is
            as it was.
    """
    with exclusively(folder), explained(folder), folder.opening():
        database = apsw.Connection(str(folder.store), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            database.set_busy_timeout(5_000)
            before = version_of(database)
            require_known(before, folder.store)
            copy = None
            if before < (after := newest()):
                stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
                copy = folder.path / "backups" / f"schema-{before}-{stamp}"
                copy.parent.mkdir(mode=0o700, exist_ok=True)
                back_up(folder, copy, now=now)
                bring_up(database, folder.store)
        finally:
            database.close()
    SqliteStore(folder).close()  # as everybody will open it from now on
    return Migrated(before, after, copy)
