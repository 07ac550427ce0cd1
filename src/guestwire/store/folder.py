"""
The folder of a store: what lies in it, whether it may be used, and who is the relay.

    store.db     messages, parts, journal (WAL: also store.db-wal, store.db-shm)
    blobs/       files of messages
    keys.db      the guests' keys; no part of a backup unless it is asked for
    relay.lock   held by the one process that sends
    relay.json   what it says of itself, for `status`; worth nothing without it
    files.lock   held by whoever copies files, or removes them
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import weakref
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from guestwire.errors import StoreError

#: File systems on which SQLite's locks or `mmap` of the WAL index are not dependable.
#: Source: sqlite.org/wal.html ("does not work over a network filesystem") and sqlite.org/lockingv3.html.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "gfs2", "ocfs2"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "davfs", "fuse.davfs2", "virtiofs"}
)


class Folder:
    """
    A store's folder, made if it does not exist.

    Args:
        path: The folder. Refused when it cannot be written or lies on a network file system.

    Attributes:
        warnings: What the user should know about the place, in sentences.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.warnings: list[str] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(
                f"the data folder '{self.path}' cannot be made: {error.strerror}",
                code="GW-S001",
                hint="set store.path (or --store) to a folder that you may write to",
            ) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StoreError(
                f"the data folder '{self.path}' cannot be written",
                code="GW-S001",
                hint="set store.path (or --store) to a folder that you may write to",
            )
        refuse_network_disk(
            self.path, "use a local disk; to share a store between machines, share a service that owns it"
        )
        if str(self.path.resolve()).startswith(("/tmp/", "/var/tmp/", "/dev/shm/")):  # noqa: S108 - the point is to warn
            self.warnings.append(
                f"the data folder '{self.path}' lies in a temporary place: what is queued may not survive a reboot"
            )

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """
        Let one connection after another be opened.

        SQLite's waiting does not cover everything that happens to a new file: of two processes that turn it to WAL
        in the same instant, one may be told at once that the database is locked.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def keeping_files(self) -> Iterator[None]:
        """Let nobody remove a file of a message meanwhile: they are being copied. Several may."""
        fd = os.open(self.path / "files.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def removing_files(self) -> Iterator[bool]:
        """Say whether files of messages may be removed; while they are being copied, they may not. Never waits."""
        fd = os.open(self.path / "files.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def sync_names(self) -> None:
        """
        Let the way to this folder survive a loss of power: what lies in it is no use without its name.

        To be called before the store is made: where there is one, this was done.
        """
        for folder in self.path.parents:
            with contextlib.suppress(OSError):  # one that we may not read was not made by us
                sync_folder(folder)

    @property
    def store(self) -> Path:
        """The database."""
        return self.path / "store.db"

    @property
    def keys(self) -> Path:
        """The keys."""
        return self.path / "keys.db"

    @property
    def blobs(self) -> Path:
        """Files of messages."""
        return self.path / "blobs"


class RelayLock:
    """
    The right to send out of a store, held for the life of the process.

    An `flock`, because the kernel frees it at the very moment the process dies, by whatever signal: no time lease
    to wait for, no stale pid file to clean up.
    """

    def __init__(self, folder: Folder) -> None:
        self._path = folder.path / "relay.lock"
        self._fd: int | None = None
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if nobody holds it."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"'{self._path}' cannot be opened: {error.strerror}",
                code="GW-S001",
                hint="set store.path (or --store) to a folder that you may write to",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk: the number is only for error texts
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        return True

    @property
    def is_held(self) -> bool:
        """Whether this process relays."""
        return self._fd is not None

    def is_held_elsewhere(self) -> bool:
        """Whether another process relays. Asks without taking: a moment's lock would turn a real relay away."""
        if self._fd is not None:
            return False
        try:
            file = self._path.stat()
            locks = Path("/proc/locks").read_text()
        except OSError:
            return False
        # Source: proc_locks(5): "major:minor:inode", the device in hexadecimal.
        name = f" {os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino} "
        return any(name in line for line in locks.splitlines() if "FLOCK" in line)

    def holder(self) -> int | None:
        """Return the process id that the lock's last holder wrote; for error texts."""
        try:
            return int(self._path.read_text().strip())
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Let go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def exclusively(folder: Folder) -> Iterator[None]:
    """
    Let nobody relay meanwhile.

    Raises:
        StoreError: GW-S007, somebody does.
    """
    lock = RelayLock(folder)
    if not lock.acquire():
        raise StoreError(
            f"process {lock.holder()} relays out of '{folder.path}'",
            code="GW-S007",
            hint="end it first; what is queued stays queued",
        )
    try:
        yield
    finally:
        lock.release()


_locks: weakref.WeakSet[RelayLock] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A forked child shares the parent's lock until it closes it; the parent's death must free it at once."""
    for lock in list(_locks):
        lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)


def sync_folder(path: Path) -> None:
    """Let the names in a folder survive a loss of power; a sync of a file is about its contents alone."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def file_system(path: Path, mountinfo: Path) -> str:
    """
    Return the type of the file system that holds a path, such as ``ext4``; empty where it cannot be told.

    Args:
        path: An existing folder.
        mountinfo: `/proc/self/mountinfo`, or a file of its form.
    """
    try:
        # A mount point is any bytes.
        lines = mountinfo.read_text("utf-8", "surrogateescape").splitlines()
        path = path.resolve()
    except OSError:
        return ""
    longest, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # Of two on the same place the later one covers the earlier: an automounter's, then the real one.
        if len(mount) >= longest and path.is_relative_to(mount):
            longest, kind = len(mount), right.split()[0]
    return kind


def refuse_network_disk(path: Path, hint: str) -> None:
    """Refuse a folder whose file system's locks cannot be trusted."""
    kind = file_system(path, Path("/proc/self/mountinfo"))
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"the data folder '{path}' lies on a network file system ({kind}), where locks cannot be trusted",
            code="GW-S002",
            hint=hint,
        )


def migrations() -> list[tuple[int, str]]:
    """Return the numbered migrations, in order."""
    folder = resources.files("guestwire.store") / "sql"
    found = [
        (int(file.name[:4]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", file.name)
    ]
    return sorted(found)


def statements() -> dict[str, str]:
    """Return the named statements of `statements.sql`."""
    text = (resources.files("guestwire.store") / "sql" / "statements.sql").read_text("utf-8")
    blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(blocks[1::2], blocks[2::2], strict=True)}
