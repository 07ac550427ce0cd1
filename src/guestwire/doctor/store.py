"""Whether a store's folder can be used: whether it opens, how full its disk is, who sends out of it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from guestwire.doctor.checks import PATIENCE_S, Check
from guestwire.errors import GuestWireError
from guestwire.settings import StoreSettings
from guestwire.store.folder import NETWORK_FILE_SYSTEMS, Folder, RelayLock, file_system


async def examine_store(
    folder: Path, settings: StoreSettings, *, origin: str = "default", timeout_s: float = PATIENCE_S
) -> Check:
    """
    Look at the folder of a store: whether it opens, how full its disk is, who sends out of it.

    Args:
        folder: Where it is, or will be.
        settings: Of the store.
        origin: Where its place comes from.
        timeout_s: In all; a dead network disk answers never.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(_look, folder, settings, origin)
    except TimeoutError:
        return Check("store", "fail", f"'{folder}' did not answer within {timeout_s:g} s", "look at the disk under it")
    except GuestWireError as error:
        return Check("store", "fail", error.message, error.hint)


def _look(path: Path, settings: StoreSettings, origin: str) -> Check:
    existing = path.expanduser().absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    kind = file_system(existing, Path("/proc/self/mountinfo"))
    if kind in NETWORK_FILE_SYSTEMS:
        fix = "set store.path to a folder on a local disk; to share a store between machines, share a service"
        return Check("store", "fail", f"'{path}' is on a network file system ({kind}), where locks do not hold", fix)
    free_mb = shutil.disk_usage(existing).free / 1_000_000
    where = f"'{path}'" + (f" ({origin})" if origin != "default" else "")
    return disk_check(
        f"{where}, {free_mb:,.0f} MB free, {_use_of(path, settings)}", free_mb, min_free_mb=settings.min_free_disk_mb
    )


def _use_of(path: Path, settings: StoreSettings) -> str:
    """Open the store, if there is one, and say who sends out of it; raises as the store does."""
    if not (path / "store.db").exists():
        return "made with the first message"
    folder = Folder(path)
    from guestwire.store.sqlite import SqliteStore

    SqliteStore(folder, busy_timeout_s=settings.busy_timeout_s).close()
    lock = RelayLock(folder)
    return f"process {lock.holder()} sends" if lock.is_held_elsewhere() else "nobody sends just now"


def disk_check(detail: str, free_mb: float, *, min_free_mb: int) -> Check:
    """Judge a disk by its free megabytes, of 1,000,000 bytes: the double of what is needed gives time to act."""
    if free_mb < min_free_mb:
        fix = f"free some disk: below {min_free_mb:,} MB (store.min_free_disk_mb) no message is taken in"
        return Check("store", "fail", detail, fix)
    if free_mb < 2 * min_free_mb:
        return Check("store", "warn", detail, f"below {min_free_mb:,} MB no message is taken in")
    return Check("store", "ok", detail)
