"""
Files of messages at rest: sealed with their guest's key, each under a keyed digest that means nothing elsewhere.

A file is on disk, whole, before the transaction that names it is committed. The other way round, a crash between the
two would leave a message whose file nobody has. What a crash leaves behind here is a file that no message names; the
next relay sweeps it away.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from guestwire.errors import StoreError
from guestwire.model import GuestRef
from guestwire.store.folder import sync_folder
from guestwire.vault import Vault

#: A file that no message names is kept so long, in seconds: its message may be about to be committed.
ORPHAN_LIFE_S = 3600.0
#: What the seal adds to a file: a nonce, and the tag of AES-GCM.
SEAL_BYTES = 12 + 16


class Blobs:
    """
    The files of one store.

    Args:
        folder: Where they lie; made when the first one comes.
        vault: Seals them.
    """

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault

    def put(self, guest: GuestRef, content: bytes) -> str:
        """Keep a file; returns its digest. When this returns, it is on disk."""
        digest = self._vault.digest(guest, content)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not (self._folder / digest).exists():
                self._write(digest, self._vault.seal(guest, f"blobs.{digest}", content))
            # Also where it is there already: another process may have made it in this moment, or this one just before
            # a sync that failed.
            sync_folder(self._folder)
            sync_folder(self._folder.parent)
        except OSError as error:
            raise StoreError(
                f"a file could not be kept in '{self._folder}': {error.strerror}",
                code="GW-S020",
                hint="free some disk; the message was not accepted",
            ) from error
        return digest

    def _write(self, digest: str, sealed: bytes) -> None:
        partial = self._folder / f"{digest}.{os.getpid()}"
        fd = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(sealed)
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        partial.rename(self._folder / digest)

    def get(self, guest: GuestRef, digest: str) -> bytes:
        """
        Return a file.

        Raises:
            StoreError: It is gone (GW-S014), or does not open.
        """
        try:
            sealed = (self._folder / digest).read_bytes()
        except OSError as error:
            raise StoreError(
                f"the file of a message is gone from '{self._folder}': {error.strerror}",
                code="GW-S014",
                hint="restore it from a backup, or send the message again with its file",
            ) from error
        return self._vault.open(guest, f"blobs.{digest}", sealed)

    def sweep(self, known: set[str], now: float) -> int:
        """Remove what no message names; returns how many there were. `now` by the file system's clock."""
        if not self._folder.is_dir():
            return 0
        swept = 0
        for entry in self._folder.iterdir():
            if entry.name in known:
                continue
            # Whatever cannot be removed, or is no file of ours, is no reason not to start.
            with contextlib.suppress(OSError):
                if entry.is_file() and entry.stat().st_mtime < now - ORPHAN_LIFE_S:
                    entry.unlink()
                    swept += 1
        return swept
