"""One connection to the database of a store: opening it, its transactions, the journal's pen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import apsw
import msgspec

from guestwire.errors import StoreError
from guestwire.model import GuestRef, IdMaker, JournalEntry, PartBody, PartId
from guestwire.store.blobs import Blobs
from guestwire.store.folder import Folder, statements
from guestwire.store.schema import bring_up, newest, require_known, require_newest, version_of
from guestwire.vault import Vault

SQL = statements()
Row = tuple[Any, ...]
#: What a store's keys digest, so that it knows them again.
KEYS_PROOF = "proof"
#: Statements whose rows are written together, in the order of their writing: what others name comes first. The order of
#: their calls is only that of rows of a kind, so what is put of one row must not depend on another kind before it.
TOGETHER = ("add_message", "add_part", "let_go", "entered", "enter_part", "accept", "begin", "anchor", "lane", "note")
_body_decoder = msgspec.json.Decoder(PartBody)


class Connection:
    """
    One connection to a store; belongs to one thread.

    Args:
        folder: Where it lies.
        min_free_disk_mb: Below this, new messages are refused while sending goes on.
        busy_timeout_s: How long to wait for another process's transaction.
    """

    def __init__(self, folder: Folder, *, min_free_disk_mb: float = 200, busy_timeout_s: float = 5.0) -> None:
        self._folder = folder
        self._min_free_bytes = int(min_free_disk_mb * 1_000_000)
        self._entries: list[JournalEntry] = []
        #: Rows that wait to be written, by the statement that writes them; see `_put`.
        self._unwritten: dict[str, list[Row]] = {name: [] for name in TOGETHER}
        #: The number of the newest journal row of this transaction; None: it has none yet.
        self._noted: int | None = None
        #: Of destinations, which never change it.
        self._transports: dict[str, str] = {}
        self._new_id = IdMaker()
        with explained(folder), folder.opening():
            self._vault = Vault(folder.keys)
            self._blobs = Blobs(folder.blobs, self._vault)
            if not folder.store.exists():
                folder.sync_names()
                os.close(os.open(folder.store, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = apsw.Connection(str(folder.store))
            self._db.set_busy_timeout(int(busy_timeout_s * 1000))
            self._prepare()
            self._require_own_keys()

    def _prepare(self) -> None:
        version = version_of(self._db)
        if version == 0:
            # Takes effect only before the first table exists; later it would change nothing, and write all the same.
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        # Fetched, because apsw stops at the first row (a pragma's answer) and runs the rest when the next is asked for.
        self._db.execute("PRAGMA secure_delete=ON; PRAGMA journal_mode=WAL").fetchall()
        self._db.execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON").fetchall()
        require_known(version, self._folder.store)
        if version == 0:
            bring_up(self._db, self._folder.store)
        else:
            require_newest(version, self._folder.store)
        self._version = newest()
        self._file = self._named_file()

    def _named_file(self) -> tuple[int, int] | None:
        """Return what the store's name stands for now; None: nothing."""
        try:
            file = self._folder.store.stat()
        except OSError:
            return None
        return file.st_dev, file.st_ino

    def _require_unchanged(self) -> None:
        """
        Refuse to write into what is not the store any more, instead of saying "queued" of what nobody will find.

        Asked inside each transaction: whoever puts another store in its place, or brings it to another schema, holds
        the lock while he does.
        """
        if self._named_file() != self._file:
            raise StoreError(
                f"'{self._folder.store}' was moved, deleted or replaced while it was in use",
                code="GW-S034",
                hint="start again; what was written into it before lies where it was moved to",
            )
        if version_of(self._db) != self._version:
            raise StoreError(
                f"the store '{self._folder.store}' was brought to another schema while it was in use",
                code="GW-S004",
                hint="start again, with the guestwire that brought it there",
            )

    def _require_own_keys(self) -> None:
        """A lost or foreign `keys.db` must not be taken for a new one: old rows could never be read again."""
        proof = self._vault.index(KEYS_PROOF).hex()
        known = self._meta("keys")
        if known is None:
            with self.transaction():
                self._run("set_meta", ("keys", proof))
        elif known != proof:
            raise StoreError(
                f"'{self._folder.keys}' is not the one that '{self._folder.store}' was written with",
                code="GW-S013",
                hint="put the keys.db that belongs to this store back; without it what was stored cannot be read",
            )

    def close(self) -> None:
        """Close the files. Nothing is lost if this fails, or is never called."""
        try:
            self._db.close()
        finally:
            self._vault.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is committed to disk together, or not at all."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._noted = None  # others have written since
            self._require_unchanged()
            yield
            self._write_out()
            self._db.execute("COMMIT")
        except BaseException:
            self._entries.clear()
            self._unwritten = {name: [] for name in TOGETHER}
            # It may still be open, also where the disk failed at its very begin or end, and would refuse every later
            # one; or SQLite has rolled it back by itself, as it does when a disk is full.
            if self._db.in_transaction:
                with suppress(apsw.Error):  # what failed first is what is told
                    self._db.execute("ROLLBACK")
            raise

    def changes(self) -> int:
        """Rows changed since the connection was opened: whether a verb has written anything."""
        self._write_out()
        return self._db.total_changes()

    # --- for the verbs ---

    def _note(self, now: float, event: str, guest_ref: str | None, part_id: str | None, detail: dict[str, Any]) -> int:
        """Write a journal row; returns its number."""
        row = (now, event, guest_ref, part_id, msgspec.json.encode(detail).decode())
        if self._noted is None:  # the first of a transaction is told its number, and the others count on from it
            self._run("note", (None, *row))
            seq = self._db.last_insert_rowid()
        else:
            seq = self._noted + 1
            self._put("note", (seq, *row))
        self._noted = seq
        self._entries.append(
            JournalEntry(
                seq,
                now,
                event,
                None if guest_ref is None else GuestRef(guest_ref),
                None if part_id is None else PartId(part_id),
                detail,
            )
        )
        return seq

    def _drain(self) -> list[JournalEntry]:
        entries, self._entries = self._entries, []
        return entries

    def _open_body(self, guest_ref: str, part_id: str, sealed: bytes) -> PartBody:
        opened = self._vault.open(GuestRef(guest_ref), f"parts.body.{part_id}", sealed)
        try:
            return _body_decoder.decode(opened)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"the body of part {part_id} is none that this guestwire knows",
                code="GW-S012",
                hint="it was written by another version; the part waits for a person",
            ) from error

    def _meta(self, key: str) -> Any:
        row = self._row("meta", (key,))
        return None if row is None else row[0]

    def _put(self, name: str, values: Row) -> None:
        """
        Write a row together with others of its kind: before anything else is asked of the database, or at the end.

        A statement that runs for many rows costs two thirds of as many statements. `name` is one of `TOGETHER`.
        """
        self._unwritten[name].append(values)

    def _write_out(self) -> None:
        for name, rows in self._unwritten.items():
            if rows:
                self._unwritten[name] = []
                self._db.executemany(SQL[name], rows)

    def _run(self, name: str, values: Row) -> None:
        self._write_out()
        self._db.execute(SQL[name], values)

    def _rows(self, name: str, values: Row) -> list[Row]:
        self._write_out()
        return self._db.execute(SQL[name], values).fetchall()

    def _row(self, name: str, values: Row) -> Row | None:
        self._write_out()
        return self._db.execute(SQL[name], values).fetchone()

    def _value(self, sql: str, values: Row = ()) -> Any:
        self._write_out()
        row = self._db.execute(sql, values).fetchone()
        return None if row is None else row[0]


@contextmanager
def explained(folder: Folder) -> Iterator[None]:
    """Turn SQLite's errors at opening into one that says what to do."""
    try:
        yield
    except apsw.Error as error:
        raise explain(error, folder) from error


def explain(error: Exception, folder: Folder) -> StoreError:
    """Return a `StoreError` for an error of SQLite."""
    place = f"the store '{folder.path}'"
    match error:
        case apsw.FullError():
            return StoreError(f"{place} is out of disk", code="GW-S020", hint="free some disk; nothing queued is lost")
        case apsw.BusyError() | apsw.LockedError():
            return StoreError(f"{place} is held by another process", code="GW-S003", hint="try again in a moment")
        case apsw.NotADBError() | apsw.CorruptError():
            return StoreError(
                f"{place} cannot be read as a database: {error}",
                code="GW-S005",
                hint="restore it from a backup; do not delete keys.db",
            )
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError() | apsw.AuthError():
            return StoreError(
                f"{place} cannot be written: {error}",
                code="GW-S001",
                hint="set store.path (or --store) to a folder that you may write to",
            )
        case _:
            return StoreError(f"{place} failed: {error}", code="GW-S022", hint="see the journal of the machine's disk")
