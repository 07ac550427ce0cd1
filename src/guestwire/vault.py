"""
Keys at rest: a data key per guest, so that erasing a guest is destroying one key.

`keys.db` lies beside the store and is never part of a backup. It holds a master key and, wrapped by it, one AES-256
key per guest. What the store keeps of a guest (his key, session token, texts, replies) is sealed with that key;
the additional data of every seal names table, column and row, so that a sealed value cannot be moved to another place.

A guest's key is committed here before anything sealed with it is committed there. The other way round, a crash
between the two commits would leave rows that nobody can read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guestwire.errors import StoreError
from guestwire.model import GuestRef

_NONCE_BYTES = 12
_CACHED_KEYS = 20_000


class Vault:
    """
    The keys of one store. Not safe for use from two threads at once: every store thread opens its own.

    Args:
        path: Where `keys.db` lies; made with mode 0600 if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        is_new = not path.exists()
        if is_new:
            # The mode has to be right before the first key is written, so the file is made here and not by SQLite.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        elif path.stat().st_mode & 0o077:
            raise StoreError(
                f"the keys of the store ('{path}') can be read by other users",
                code="GW-S010",
                hint=f"chmod 600 '{path}', and think about who may have read it",
            )
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(5_000)
        # EXTRA: a commit here is the removal of a file, and FULL does not wait until its folder knows of that. After a
        # power loss the removed journal would come back and take the newest keys away, of messages that are stored.
        # Fetched, because apsw stops at the first row (a pragma's answer) and runs the rest when the next is asked for.
        self._db.execute("PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA; PRAGMA secure_delete=ON").fetchall()
        if self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'master'").fetchone() is None:
            self._make_tables()
        ((self._master_version, master),) = self._db.execute(
            "SELECT version, key FROM master ORDER BY version DESC LIMIT 1"
        )
        self._master = AESGCM(master)
        self._index_key = hashlib.blake2b(master, person=b"gw-index", digest_size=32).digest()
        self._keys: dict[GuestRef, AESGCM] = {}

    def _make_tables(self) -> None:
        with self._transaction():
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS master (version INTEGER PRIMARY KEY, key BLOB NOT NULL) STRICT;"
                "CREATE TABLE IF NOT EXISTS guest_keys ("
                " guest_ref TEXT PRIMARY KEY, master INTEGER NOT NULL, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID"
            )
            self._db.execute("INSERT INTO master VALUES (1, ?) ON CONFLICT DO NOTHING", (os.urandom(32),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: a transaction that reads before it writes is refused at once where another process writes, however
        # long it was told to wait.
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                with suppress(apsw.Error):  # what failed first is what is told
                    self._db.execute("ROLLBACK")
            raise

    def __repr__(self) -> str:
        return f"<Vault {self._path.name}>"

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- names without meaning ---

    def index(self, *parts: str) -> bytes:
        """
        Return a keyed digest of some words: equal for equal words, meaningless without `keys.db`.

        Used where the store has to find something personal again (a guest by the caller's key) without holding it.
        """
        digest = hashlib.blake2b(key=self._index_key, digest_size=16)
        for part in parts:
            # Whoever looks for a guest may have read his key with the wrong encoding: he finds nobody, and no crash.
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(4, "big") + data)
        return digest.digest()

    def digest(self, guest: GuestRef, content: bytes) -> str:
        """Return a keyed digest of a guest's file: the same file of two guests has two, and nobody else can make it."""
        digest = hashlib.blake2b(key=self._index_key, digest_size=20, person=b"gw-blob")
        digest.update(guest.encode() + b"\0" + content)
        return digest.hexdigest()

    # --- keys ---

    def add(self, guests: Iterable[GuestRef]) -> None:
        """Make and commit keys for new guests, all in one transaction."""
        rows = []
        for guest in guests:
            key = os.urandom(32)
            nonce = os.urandom(_NONCE_BYTES)
            wrapped = nonce + self._master.encrypt(nonce, key, guest.encode())
            rows.append((guest, self._master_version, wrapped))
            self._remember(guest, AESGCM(key))
        if rows:
            with self._transaction():
                self._db.executemany("INSERT INTO guest_keys VALUES (?, ?, ?)", rows)

    def guests(self) -> set[GuestRef]:
        """Return all who have a key."""
        return {GuestRef(str(guest)) for (guest,) in self._db.execute("SELECT guest_ref FROM guest_keys")}

    def _key(self, guest: GuestRef) -> AESGCM:
        key = self._keys.get(guest)
        if key is None:
            row = self._db.execute("SELECT wrapped FROM guest_keys WHERE guest_ref = ?", (guest,)).fetchone()
            if row is None:
                raise StoreError(
                    f"the store holds data of guest {guest}, but '{self._path}' has no key for it",
                    code="GW-S011",
                    hint="the guest was erased, or keys.db is not the one that belongs to this store",
                )
            wrapped: bytes = row[0]
            key = AESGCM(_decrypt(self._master, guest.encode(), wrapped, f"guest_keys.{guest}"))
            self._remember(guest, key)
        return key

    def _remember(self, guest: GuestRef, key: AESGCM) -> None:
        if len(self._keys) >= _CACHED_KEYS:
            self._keys.clear()
        self._keys[guest] = key

    # --- sealing ---

    def seal(self, guest: GuestRef, place: str, data: bytes) -> bytes:
        """
        Encrypt something of a guest.

        Args:
            guest: Whose key to use.
            place: Table, column and row, such as ``parts.body.<id>``; the value opens nowhere else.
            data: The plain bytes.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._key(guest).encrypt(nonce, data, place.encode())

    def open(self, guest: GuestRef, place: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made for the same guest and place."""
        return _decrypt(self._key(guest), place.encode(), sealed, place)


def _decrypt(key: AESGCM, bound_to: bytes, sealed: bytes, name: str) -> bytes:
    try:
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as error:  # ValueError: cut off inside the nonce
        raise StoreError(
            f"'{name}' does not open with its key: the row was changed, or belongs to other keys",
            code="GW-S012",
            hint="restore the store together with the keys.db that it was written with",
        ) from error
