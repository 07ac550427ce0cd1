"""
The schema of a store: which one a database has, which ones this guestwire knows, and the way from one to the next.

A new store gets the newest. One that is older is brought up by `guestwire store migrate` and by nobody else: others may
be using it with the program that wrote it, and a program that has just been updated must not pull it from under them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw

from guestwire.errors import StoreError
from guestwire.store.folder import migrations


def version_of(database: apsw.Connection) -> int:
    """Return the schema of a database; 0 for one that is empty."""
    ((version,),) = database.execute("PRAGMA user_version")
    assert isinstance(version, int)  # noqa: S101 - SQLite's word
    return version


def newest() -> int:
    """Return the newest schema that this guestwire knows."""
    return migrations()[-1][0]


def require_known(version: int, path: Path) -> None:
    """Refuse a schema that this guestwire cannot bring up: a newer one, or one of before the first release."""
    known = migrations()
    if version > known[-1][0]:
        raise StoreError(
            f"the store '{path}' is at schema {version}, this guestwire knows {known[-1][0]}",
            code="GW-S004",
            hint="use the guestwire that wrote it, or a newer one",
        )
    if 0 < version < known[0][0]:
        raise StoreError(
            f"the store '{path}' is at schema {version}, of a guestwire before its first release",
            code="GW-S015",
            hint="send what it holds with the guestwire that wrote it, then begin another folder with --store",
        )


def require_newest(version: int, path: Path) -> None:
    """Refuse a schema that has to be brought up first."""
    if version < newest():
        raise StoreError(
            f"the store '{path}' is at schema {version}, this guestwire needs {newest()}",
            code="GW-S035",
            hint="stop what uses it and run 'guestwire store migrate'; a backup is made first",
        )


def bring_up(database: apsw.Connection, path: Path) -> None:
    """
    Bring a database to the newest schema: each migration in a transaction of its own, with its number in it.

    Whatever ends the program on the way leaves the last schema that was reached, whole. A new database gets all of them
    in one transaction, and is empty or ready: nobody would think of migrating what was never used.
    """
    # A migration may have to write a table anew, which others name. Has no effect inside a transaction.
    database.execute("PRAGMA foreign_keys=OFF").fetchall()
    together = [migrations()] if version_of(database) == 0 else [[one] for one in migrations()]
    for some in together:
        try:
            database.execute("BEGIN IMMEDIATE")
            for number, script in some:
                # Another process may have been faster while we waited for the lock.
                if version_of(database) < number:
                    _migrate(database, path, number, script)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                with contextlib.suppress(apsw.Error):  # what failed first is what is told
                    database.execute("ROLLBACK")
            raise
    database.execute("PRAGMA foreign_keys=ON").fetchall()


def _migrate(database: apsw.Connection, path: Path, number: int, script: str) -> None:
    database.execute(script).fetchall()
    if broken := len(database.execute("PRAGMA foreign_key_check").fetchall()):
        raise StoreError(
            f"'{path}' cannot be brought to schema {number}: {broken} rows name others that do not exist",
            code="GW-S005",
            hint="it is as it was; see 'guestwire store check'",
        )
    database.execute(f"PRAGMA user_version={number}")
