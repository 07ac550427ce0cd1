"""
A backup becomes a store again.

What had not ended when the backup was made may have been sent since, by the store that it was made of. So every such
part is in check, and each is looked up in its guest's history before anything is sent.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from guestwire.errors import StoreError
from guestwire.store.backup import (
    Manifest,
    copy_database,
    copy_file,
    made_whole,
    read_manifest,
    reading,
    require_room,
    sync_folder,
    unusable,
)
from guestwire.store.base import Doubted
from guestwire.store.checkup import check_backup
from guestwire.store.connection import KEYS_PROOF, explained
from guestwire.store.folder import Folder, exclusively, refuse_network_disk
from guestwire.store.schema import bring_up, require_known
from guestwire.store.sqlite import SqliteStore
from guestwire.vault import Vault

#: What may lie in a folder that holds no store: keys that wait for one, and locks.
NO_STORE = frozenset({"keys.db", "relay.lock", "relay.json", "files.lock"})

#: How long to wait for whoever writes into the store that is replaced, in milliseconds.
WAIT_MS = 10_000


class Restored(msgspec.Struct, frozen=True):
    """What came of a backup."""

    manifest: Manifest
    doubted: Doubted
    aside: Path | None
    """Where the folder lies that was there before; None: there was none."""


def restore(backup: Path, target: Path, *, now: float, keys: Path | None = None, replace: bool = False) -> Restored:
    """
    Make a store of a backup.

    Args:
        backup: The folder that `guestwire.store.backup` made.
        target: Where the store is to be.
        now: Seconds since the epoch.
        keys: Its `keys.db`; None: the one in `target`, else the one in the backup. That order, because a guest who was
            erased since has no key any more.
        replace: Put aside what is in `target`. Without it, a store there is refused.

    Raises:
        StoreError: GW-S032, the backup is damaged; GW-S004, it is of a newer guestwire; GW-S033, nobody has its keys;
            GW-S030, there is a store; GW-S007, somebody relays out of that; GW-S031, there is no room.
    """
    backup, target = backup.expanduser().absolute(), target.expanduser().absolute()
    manifest = read_manifest(backup)
    require_known(manifest.schema, backup / "store.db")
    _require_place(target, replace=replace)
    require_room(target.parent, sum(entry.size for entry in manifest.files.values()))
    own = _keys_of(manifest, backup, target, keys)
    found = check_backup(backup, keys=own, may_lack_guests=True)
    # An older schema is brought up on the way.
    if wrong := [each.detail for each in found if each.status == "fail" and each.name != "schema"]:
        raise unusable(backup, "; ".join(wrong))
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    staged = target.with_name(f"{target.name}.restored-{stamp}")
    with contextlib.ExitStack() as stack:
        if target.exists():
            stack.enter_context(exclusively(Folder(target)))
        with made_whole(staged) as partial:
            doubted = _fill(partial, backup, manifest, own, now)
        with _written_by_nobody(target, staged):
            aside = _put_in_place(staged, target, target.with_name(f"{target.name}.before-restore-{stamp}"))
    return Restored(manifest, doubted, aside)


def _require_place(target: Path, *, replace: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    refuse_network_disk(target.parent, "restore it onto a local disk")
    if target.exists() and not target.is_dir():
        raise StoreError(f"'{target}' is no folder", code="GW-S030", hint="name another place with --store")
    is_taken = target.is_dir() and any(each.name not in NO_STORE for each in target.iterdir())
    if is_taken and not replace:
        raise StoreError(
            f"there is something in '{target}' already",
            code="GW-S030",
            hint="restore into another folder with --store, or put this one aside with --replace",
        )


def _keys_of(manifest: Manifest, backup: Path, target: Path, keys: Path | None) -> Path:
    """Find the keys that belong to a backup."""
    for candidate in (target / "keys.db", backup / "keys.db") if keys is None else (keys,):
        # One that is damaged may be why a backup is needed.
        with contextlib.suppress(apsw.Error):
            if candidate.exists() and _proof_of(candidate) == manifest.keys:
                return candidate
    where = f"'{target}' nor in the backup" if keys is None else f"'{keys}'"
    raise StoreError(
        f"the keys of this backup are {'neither in' if keys is None else 'not'} {where}; without them nothing in it"
        " can be read",
        code="GW-S033",
        hint="name the keys.db of the store that it was made of with --keys",
    )


def _proof_of(keys: Path) -> str:
    vault = Vault(keys)
    try:
        return vault.index(KEYS_PROOF).hex()
    finally:
        vault.close()


def _fill(folder: Path, backup: Path, manifest: Manifest, keys: Path, now: float) -> Doubted:
    """Make a store out of copies, as it will be used."""
    for name in manifest.files:
        if name != "keys.db":
            (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            copy_file(backup / name, folder / name)
    with reading(keys) as source:
        copy_database(source, folder / "keys.db")
    new = Folder(folder)
    with explained(new):
        database = apsw.Connection(str(new.store))
        try:
            bring_up(database, new.store)
        finally:
            database.close()
    store = SqliteStore(new, min_free_disk_mb=0)
    try:
        with store.transaction():
            return store.doubt(manifest.made_at, now)
    finally:
        store.close()


@contextlib.contextmanager
def _written_by_nobody(target: Path, staged: Path) -> Iterator[None]:
    """Let nobody write into the store that is there, while another takes its place: he would be told "queued"."""
    if not (target / "store.db").exists():
        yield
        return
    database = apsw.Connection(str(target / "store.db"))
    try:
        database.set_busy_timeout(WAIT_MS)
        # A store that cannot be read can also not be written: that may be why it is replaced.
        try:
            with explained(Folder(target)), contextlib.suppress(apsw.NotADBError, apsw.CorruptError, apsw.IOError):
                database.execute("BEGIN IMMEDIATE")
        except StoreError:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        yield
    finally:
        database.close()


def _put_in_place(staged: Path, target: Path, aside: Path) -> Path | None:
    """Give a finished store its name. Killed between the two steps it lies beside, whole, under the staged name."""
    moved = target.exists()
    try:
        if moved:
            target.rename(aside)
        staged.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            f"the restored store lies, whole, in '{staged}', and could not be renamed: {error.strerror}",
            code="GW-S031",
            hint=f"rename it to '{target}' yourself" + (f"; what was there is in '{aside}'" if moved else ""),
        ) from error
    return aside if moved else None
