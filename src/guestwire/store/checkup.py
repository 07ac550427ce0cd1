"""
Whether a store, or a backup of one, is what it should be.

Everything is read at one moment, beside whoever sends and submits, and nothing is written. A check that cannot be made
says so; one that finds something names the first few rows by their ids, never by what they hold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import apsw
import msgspec

from guestwire.errors import StoreError
from guestwire.model import GuestRef, PartBody, PartState
from guestwire.store import backup
from guestwire.store.blobs import SEAL_BYTES, Blobs
from guestwire.store.connection import KEYS_PROOF
from guestwire.store.folder import Folder, migrations
from guestwire.store.lanes import ready_at
from guestwire.store.schema import newest
from guestwire.vault import Vault

Status = Literal["ok", "fail", "skip"]

#: Rows of each kind whose seals are opened, and files that are read, where not all are asked for: the newest.
SAMPLE_ROWS = 500
SAMPLE_FILES = 50
#: Findings of one check that are told; the rest is counted.
TOLD = 5

#: What the journal says a part has become.
STATE_OF_EVENT = {
    "part.queued": PartState.QUEUED,
    "part.sending": PartState.SENDING,
    "part.checking": PartState.CHECKING,
    "part.requeued": PartState.QUEUED,
    "part.throttled": PartState.QUEUED,
    "part.possible_duplicate": PartState.QUEUED,
    "part.released": PartState.QUEUED,
    **{
        f"part.{state.value}": state
        for state in PartState
        if state not in (PartState.QUEUED, PartState.SENDING, PartState.CHECKING)
    },
}

#: Each sealed column: its name, and a statement for the newest rows' guest, place and value.
SEALED = {
    "guests.guest_key": "SELECT guest_ref, 'guests.guest_key.' || guest_ref, guest_key FROM guests LIMIT ?",
    "guests.token": "SELECT guest_ref, 'guests.token.' || guest_ref, token FROM guests LIMIT ?",
    "guests.auth": "SELECT guest_ref, 'guests.auth.' || guest_ref, auth FROM guests WHERE auth IS NOT NULL LIMIT ?",
    "parts.body": "SELECT guest_ref, 'parts.body.' || id, body FROM parts WHERE body IS NOT NULL"
    " ORDER BY seq DESC LIMIT ?",
    "replies.body": "SELECT guest_ref, 'replies.body.' || guest_ref || '.' || gateway_id, body FROM replies"
    " WHERE body IS NOT NULL ORDER BY seq DESC LIMIT ?",
    "errands.body": "SELECT guest_ref, 'errands.body.' || seq, body FROM errands ORDER BY seq DESC LIMIT ?",
    "errands.result": "SELECT guest_ref, 'errands.result.' || seq, result FROM errands WHERE result IS NOT NULL"
    " ORDER BY seq DESC LIMIT ?",
}


class Checked(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def check_store(folder: Folder, *, min_free_disk_mb: float = 0, deep: bool = False) -> list[Checked]:
    """
    Look at a store, beside whoever uses it.

    Args:
        folder: Where it is; it must exist.
        min_free_disk_mb: Less free disk than this is a finding.
        deep: Open every seal and read every file, instead of the newest.
    """
    found = []
    free = shutil.disk_usage(folder.path).free
    space = f"{free // 1_000_000:,} MB free"
    if free < min_free_disk_mb * 1_000_000:
        fix = "free some disk, or lower store.min_free_disk_mb"
        found.append(Checked("disk", "fail", f"{space}: nothing new is accepted", fix))
    else:
        found.append(Checked("disk", "ok", space))
    with folder.keeping_files():
        return found + _examine(folder.store, folder.blobs, folder.keys, deep=deep)


def check_backup(
    path: Path, *, keys: Path | None = None, deep: bool = False, may_lack_guests: bool = False
) -> list[Checked]:
    """
    Look at a backup: its files against the manifest, then what they hold.

    Args:
        path: The folder.
        keys: The `keys.db` that belongs to it, where it has none itself.
        deep: As for `check_store`.
        may_lack_guests: That guests have no key is no finding: they were erased since.

    Raises:
        StoreError: GW-S032, it is no backup.
    """
    manifest = backup.read_manifest(path)
    wrong = backup.damage_of(path, manifest)
    fix = "take an older backup: a file was changed after it was written"
    facts = f"{len(manifest.files):,} files as they were written, {manifest.made_at}"
    if manifest.missing:
        facts += f"; {len(manifest.missing):,} of messages were gone already"
    found = [Checked("files", "fail", each, fix) for each in wrong] or [Checked("files", "ok", facts)]
    if "store.db" not in manifest.files or not (path / "store.db").is_file():
        return found
    own = path / "keys.db" if keys is None and manifest.has_keys else keys
    return found + _examine(
        path / "store.db",
        path / "blobs",
        own,
        deep=deep,
        may_lack_guests=may_lack_guests,
        may_lack_files=manifest.missing,
    )


def _examine(
    database: Path,
    blobs: Path,
    keys: Path | None,
    *,
    deep: bool,
    may_lack_guests: bool = False,
    may_lack_files: Collection[str] = (),
) -> list[Checked]:
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.Error as error:
        return [Checked("integrity", "fail", f"the database cannot be opened: {error}", RESTORE)]
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # nothing is written, not even what is due
        connection.set_busy_timeout(5_000)
        examination = Examination(connection, blobs, keys, deep=deep)
        examination.may_lack_guests = may_lack_guests
        examination.may_lack_files = may_lack_files
        return examination.run()
    except apsw.Error as error:
        return [Checked("integrity", "fail", f"the database cannot be read: {error}", RESTORE)]
    finally:
        connection.close()


RESTORE = "stop what uses the store, then 'guestwire store restore BACKUP --replace'; do not delete keys.db"
REPORT = "'guestwire store backup' keeps what there is; please report it with the ids, and restore a sound backup"


class Examination:
    """
    The checks of one database, at one moment.

    Args:
        connection: To it.
        blobs: The folder of its files.
        keys: Its `keys.db`; None: nobody has it here, so no seal is opened.
        deep: Every seal and every file.
    """

    def __init__(self, connection: apsw.Connection, blobs: Path, keys: Path | None, *, deep: bool) -> None:
        self._db = connection
        self._blobs = blobs
        self._keys = keys
        self._deep = deep
        #: That guests have no key is no finding.
        self.may_lack_guests = False
        #: Nor that these files are missing.
        self.may_lack_files: Collection[str] = ()
        self._vault: Vault | None = None
        #: Who has a key.
        self._known: set[GuestRef] = set()
        self._checks: tuple[tuple[str, Callable[[], Iterable[str]], str], ...] = (
            ("integrity", self._integrity, RESTORE),
            ("references", self._references, REPORT),
            ("settings", self._settings, "it was changed by another program; restore a backup, or report it"),
            ("lanes", self._lanes, REPORT),
            ("journal", self._journal, REPORT),
            ("keys", self._own_keys, "put the keys.db that belongs to this store back, mode 0600"),
            ("files", self._files, "restore them from a backup, or send those messages again with their files"),
            ("seals", self._seals, "restore store and keys.db together, as they were written"),
        )

    def run(self) -> list[Checked]:
        """Make every check."""
        self._db.execute("BEGIN")
        try:
            version = self._value("PRAGMA user_version")
            oldest = migrations()[0][0]
            if not oldest <= version <= newest():
                reason = f"the store is at schema {version}, this guestwire knows {oldest} to {newest()}"
                return [Checked("schema", "fail", reason, "use the guestwire that wrote it, or a newer one")]
            found = [Checked("schema", "ok", f"{version}")]
            if version < newest():
                wanted = f"{version}, and {newest()} is wanted"
                found = [Checked("schema", "fail", wanted, "run 'guestwire store migrate'")]
            for name, check, fix in self._checks:
                found += self._made(name, check, fix)
            return found
        finally:
            if self._vault is not None:
                self._vault.close()

    def _made(self, name: str, check: Callable[[], Iterable[str]], fix: str) -> list[Checked]:
        if self._keys is None and name in ("keys", "seals"):
            return [Checked(name, "skip", "there is no keys.db here")]
        if self._vault is None and name == "seals":
            return [Checked(name, "skip", "without its own keys.db nothing opens")]
        wrong: list[str] = []
        more = 0
        try:
            for each in check():
                if len(wrong) < TOLD:
                    wrong.append(each)
                else:
                    more += 1
        except (apsw.Error, OSError) as error:
            wrong.append(f"could not be looked at: {error}")
        if more:
            wrong.append(f"and {more:,} more")
        return [Checked(name, "fail", each, fix) for each in wrong] or [Checked(name, "ok", self._said(name))]

    def _said(self, name: str) -> str:
        """How much a check looked at, where nothing is wrong."""
        match name:
            case "lanes" | "journal":
                count = self._value("SELECT count(*) FROM parts")
                return f"{count:,} parts"
            case "files":
                count = self._value("SELECT count(*) FROM blobs")
                read = "all" if self._deep else f"up to {SAMPLE_FILES}"
                return f"{count:,}, {'none' if self._vault is None else read} of them read"
            case "seals":
                return "every one opens" if self._deep else f"the newest {SAMPLE_ROWS} of each kind open"
            case _:
                return "as it should be"

    # --- the checks ---

    def _integrity(self) -> Iterator[str]:
        for (line,) in self._rows("PRAGMA integrity_check(20)"):
            if line != "ok":
                yield f"SQLite: {line}"

    def _references(self) -> Iterator[str]:
        for table, row, parent, _ in self._rows("PRAGMA foreign_key_check"):
            yield f"a row of {table} ({row}) names one of {parent} that does not exist"
        for (message,) in self._rows(
            "SELECT id FROM messages m WHERE NOT EXISTS (SELECT 1 FROM parts p WHERE p.message_id = m.id)"
        ):
            yield f"message {message} has no parts"
        for (part,) in self._rows(
            "SELECT p.id FROM parts p JOIN messages m ON m.id = p.message_id WHERE m.guest_ref <> p.guest_ref"
        ):
            yield f"part {part} is of another guest than its message"
        for (part,) in self._rows(
            "SELECT id FROM parts p WHERE blob IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = p.blob)"
        ):
            yield f"part {part} names a file that the store does not know"

    def _settings(self) -> Iterator[str]:
        # Those that a file keeps. `secure_delete` and `synchronous` belong to each connection, which sets them.
        if (vacuum := self._value("PRAGMA auto_vacuum")) != 2:
            yield f"auto_vacuum is {vacuum}, not 2: what is deleted would never leave the disk"
        mode = self._value("PRAGMA journal_mode")
        is_backup = (self._blobs.parent / backup.MANIFEST).exists()
        if mode != ("delete" if is_backup else "wal"):
            yield f"journal_mode is {mode}: a store is written with a log (wal), a backup is one file (delete)"

    def _lanes(self) -> Iterator[str]:
        boot = self._value("SELECT value FROM meta WHERE key = 'boot'") or 0
        for guest, stored, state, due_at, attempt, queued_at, priority in self._rows(
            "SELECT g.guest_ref, g.next_at, h.state, h.next_at, h.attempt, h.queued_at, m.priority FROM guests g"
            " LEFT JOIN parts h ON h.seq = (SELECT seq FROM parts WHERE guest_ref = g.guest_ref"
            "   AND lane_seq IS NOT NULL AND state IN ('queued', 'sending', 'checking', 'parked')"
            "   ORDER BY lane_seq LIMIT 1)"
            " LEFT JOIN messages m ON m.id = h.message_id"
        ):
            wanted = None if state is None else ready_at(PartState(state), due_at, attempt, queued_at, priority)
            if stored != wanted:
                yield f"guest {guest} is due at {stored} in the ready index, by its lane's head at {wanted}"
        for part, fence in self._rows("SELECT id, fence FROM parts WHERE state = 'sending' AND fence <> ?", (boot,)):
            yield f"part {part} is sending under relay {fence}, and {boot} is the newest"
        for (part,) in self._rows(
            "SELECT p.id FROM parts p JOIN messages m ON m.id = p.message_id"
            " WHERE p.lane_seq IS NULL AND m.enters_at IS NULL"
            " AND p.state IN ('queued', 'sending', 'checking')"  # one that is parked may be set aside
        ):
            yield f"part {part} is neither in its lane nor does it wait for a time"

    def _journal(self) -> Iterator[str]:
        events = msgspec.json.encode(list(STATE_OF_EVENT)).decode()
        for part, state, ended_at, event in self._rows(
            "SELECT p.id, p.state, p.ended_at, (SELECT event FROM journal j WHERE j.part_id = p.id"
            "   AND j.event IN (SELECT value FROM json_each(?)) ORDER BY j.seq DESC LIMIT 1) FROM parts p",
            (events,),
        ):
            if event is None and ended_at is not None:
                continue  # its journal has been pruned
            if event is None or STATE_OF_EVENT[event] != state:
                yield f"part {part} is {state}, and the last that the journal says is {event}"

    def _files(self) -> Iterator[str]:
        used = dict(self._rows("SELECT blob, count(*) FROM parts WHERE blob IS NOT NULL GROUP BY blob"))
        for digest, refs in self._rows("SELECT digest, refs FROM blobs"):
            if used.get(digest, 0) != refs:
                yield f"file {digest} is counted {refs} times and used {used.get(digest, 0)} times"
        for number, (digest, guest, size) in enumerate(
            self._rows("SELECT b.digest, b.guest_ref, b.size FROM blobs b WHERE b.refs > 0")
        ):
            try:
                on_disk = (self._blobs / digest).stat().st_size
            except FileNotFoundError:
                if digest not in self.may_lack_files:
                    yield f"file {digest} is missing"
                continue
            if on_disk != size + SEAL_BYTES:
                yield f"file {digest} has {on_disk:,} bytes instead of {size + SEAL_BYTES:,}"
            elif self._vault is not None and guest in self._known and (self._deep or number < SAMPLE_FILES):
                try:
                    content = Blobs(self._blobs, self._vault).get(guest, digest)
                except StoreError as error:
                    yield f"file {digest}: {error.message}"
                else:
                    if self._vault.digest(guest, content) != digest:
                        yield f"file {digest} holds something else"

    def _own_keys(self) -> Iterator[str]:
        assert self._keys is not None  # noqa: S101 - looked at before
        if not self._keys.exists():
            yield f"'{self._keys}' is missing: without it nothing that is stored can be read"
            return
        try:
            self._open_vault()
        except StoreError as error:
            yield error.message
            return
        except apsw.Error as error:
            yield f"'{self._keys}' cannot be read: {error}"
            return
        if self._vault is None:
            yield f"'{self._keys}' is not the one that this store was written with"
            return
        self._known = self._vault.guests()
        for (guest,) in self._rows("SELECT guest_ref FROM guests"):
            if guest not in self._known and not self.may_lack_guests:
                yield f"guest {guest} has no key"

    def _open_vault(self) -> None:
        """Open the keys, if they are those of this store."""
        if self._vault is not None or self._keys is None or not self._keys.exists():
            return
        vault = Vault(self._keys)
        if vault.index(KEYS_PROOF).hex() == self._value("SELECT value FROM meta WHERE key = 'keys'"):
            self._vault = vault
        else:
            vault.close()

    def _seals(self) -> Iterator[str]:
        assert self._vault is not None  # noqa: S101 - looked at before
        limit = -1 if self._deep else SAMPLE_ROWS
        for column, statement in SEALED.items():
            for guest, place, sealed in self._rows(statement, (limit,)):
                if guest not in self._known:
                    continue  # told with the keys
                try:
                    opened = self._vault.open(GuestRef(guest), place, sealed)
                    if column == "parts.body":
                        msgspec.json.decode(opened, type=PartBody)
                except StoreError as error:
                    yield error.message
                except msgspec.DecodeError:
                    yield f"'{place}' opens, and holds nothing that this guestwire knows"

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        yield from self._db.execute(sql, values)

    def _value(self, sql: str) -> Any:
        row = self._db.execute(sql).fetchone()
        return None if row is None else row[0]
