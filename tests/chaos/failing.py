"""
A disk that fails when it is told to: a VFS of SQLite's, between the store and the real one.

It is the process's default while it is mounted, so that the product opens its files as it always does. Only files of
one folder are touched. The shared memory of a WAL goes past it: SQLite's interface for it cannot be reached from
Python, and nothing in it outlives a process.

It is harder than a real disk in one thing: what SQLite forgives (a checkpoint after a commit that fails, a close) apsw
raises all the same, so that a caller may be told that something failed which is on disk.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

T = TypeVar("T")

#: What each call can answer where it fails; "short": it wrote half of it, and said that the disk is full. A read that
#: is short is no error to SQLite but the end of the file; nothing can hold against a disk that lies about that.
ERRORS: dict[str, tuple[str, ...]] = {
    "xOpen": ("SQLITE_CANTOPEN",),
    "xRead": ("SQLITE_IOERR_READ", "SQLITE_IOERR_CORRUPTFS"),
    "xWrite": ("SQLITE_IOERR_WRITE", "SQLITE_FULL", "short"),
    "xSync": ("SQLITE_IOERR_FSYNC", "SQLITE_FULL"),
    "xTruncate": ("SQLITE_IOERR_TRUNCATE",),
    "xFileSize": ("SQLITE_IOERR_FSTAT",),
    "xLock": ("SQLITE_IOERR_LOCK", "SQLITE_BUSY"),
    "xUnlock": ("SQLITE_IOERR_UNLOCK",),
    "xDelete": ("SQLITE_IOERR_DELETE",),
    "xAccess": ("SQLITE_IOERR_ACCESS",),
    "xCheckReservedLock": ("SQLITE_IOERR_CHECKRESERVEDLOCK",),
    "xFileControl": ("SQLITE_IOERR", "SQLITE_FULL"),
    "xClose": ("SQLITE_IOERR_CLOSE",),
}
#: Hints and questions, whose answers SQLite does not look at, are passed on; these it relies on:
#: SIZE_HINT, SYNC, COMMIT_PHASETWO.
CONTROLS = frozenset({apsw.SQLITE_FCNTL_SIZE_HINT, apsw.SQLITE_FCNTL_SYNC, apsw.SQLITE_FCNTL_COMMIT_PHASETWO})
#: What a file system does not do any more once it is read-only; what is open stays open.
WRITES = frozenset({"xWrite", "xTruncate", "xDelete"})
#: The kernel lets go of a file or a lock even where it reports an error.
DONE_ANYWAY = frozenset({"xClose", "xUnlock"})


class Place(NamedTuple):
    """A kind of call on a kind of file, such as ``xSync`` of ``store.db-wal``."""

    call: str
    file: str


class Fault(NamedTuple):
    """What goes wrong, and when."""

    place: Place
    nth: int
    """The first call of its place is 1."""
    error: str
    lasting: int = 0
    """So many calls after it fail as well."""
    everywhere: bool = False
    """Those after it are of every kind and file; else of the same kind of call."""
    kinds: frozenset[str] = frozenset()
    """Those after it are of these kinds, of whatever file."""


class FailingDisk(apsw.VFS):
    """
    Passes everything on, counts it, and fails where a fault says so.

    Args:
        folder: Whose files it is about.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.calls: Counter[Place] = Counter()
        #: How often it has failed.
        self.failures = 0
        self._fault: Fault | None = None
        self._left = 0
        super().__init__("guestwire-failing", "unix", makedefault=True)

    def excepthook(self, *_: object) -> bool:
        """Some calls cannot report what went wrong; SQLite goes on, and so do we."""
        return True

    def arm(self, fault: Fault | None) -> None:
        """Let something go wrong from now on; None: the disk is sound again."""
        self.calls.clear()
        self.failures = self._left = 0
        self._fault = fault

    def heal(self) -> None:
        """Nothing fails any more."""
        self._fault, self._left = None, 0

    def passing(self, call: str, path: str, act: Callable[[], T], half: Callable[[], object] | None = None) -> T:
        """Carry a call out, or fail as told."""
        if not path.startswith(self._folder):
            return act()
        place = Place(call, Path(path).name)
        self.calls[place] += 1
        error = self._error_for(place)
        if error is None:
            return act()
        self.failures += 1
        if error == "short":
            if half is not None:
                half()
            error = "SQLITE_FULL"
        elif call in DONE_ANYWAY:
            act()
        raise apsw.exception_for(getattr(apsw, error))

    def _error_for(self, place: Place) -> str | None:
        fault = self._fault
        if fault is None:
            return None
        if fault.place == place and self.calls[place] == fault.nth:
            self._left = fault.lasting
            return fault.error
        if self._left > 0 and (fault.everywhere or place.call in (fault.kinds or {fault.place.call})):
            self._left -= 1
            return fault.error if fault.error in ERRORS[place.call] else ERRORS[place.call][0]
        return None

    # --- of files by name ---

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Open a file."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        return self.passing("xOpen", path, lambda: FailingFile(self, path, name, flags))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Remove a file."""
        return self.passing("xDelete", filename, lambda: super(FailingDisk, self).xDelete(filename, syncdir))

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        """Say whether a file is there."""
        return self.passing("xAccess", pathname, lambda: super(FailingDisk, self).xAccess(pathname, flags))


class FailingFile(apsw.VFSFile):
    """One open file of it."""

    def __init__(self, disk: FailingDisk, path: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = path
        super().__init__("unix", name, flags)

    def excepthook(self, *_: object) -> bool:
        """As its disk's."""
        return True

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Read from it."""
        return self._disk.passing("xRead", self._path, lambda: super(FailingFile, self).xRead(amount, offset))

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        """Write, or half of it."""
        write = super().xWrite
        self._disk.passing(
            "xWrite", self._path, lambda: write(data, offset), lambda: write(bytes(data)[: len(data) // 2], offset)
        )

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Say that it has reached the disk. Nobody loses power here, and thousands of syncs would only take time."""
        self._disk.passing("xSync", self._path, lambda: None)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cut it off."""
        self._disk.passing("xTruncate", self._path, lambda: super(FailingFile, self).xTruncate(newsize))

    def xFileSize(self) -> int:  # noqa: N802
        """Say how long it is."""
        return self._disk.passing("xFileSize", self._path, super().xFileSize)

    def xLock(self, level: int) -> None:  # noqa: N802
        """Lock it."""
        self._disk.passing("xLock", self._path, lambda: super(FailingFile, self).xLock(level))

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """Let go of the lock."""
        self._disk.passing("xUnlock", self._path, lambda: super(FailingFile, self).xUnlock(level))

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        """Say whether somebody is about to write."""
        return self._disk.passing("xCheckReservedLock", self._path, super().xCheckReservedLock)

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802
        """Hints and questions."""
        control = super().xFileControl
        if op not in CONTROLS:
            return control(op, ptr)
        return self._disk.passing("xFileControl", self._path, lambda: control(op, ptr))

    def xClose(self) -> None:  # noqa: N802
        """Close it."""
        self._disk.passing("xClose", self._path, super().xClose)


@contextlib.contextmanager
def failing_disk(folder: Path) -> Iterator[FailingDisk]:
    """Mount a failing disk under a folder for the length of the block."""
    disk = FailingDisk(folder)
    try:
        yield disk
    finally:
        disk.heal()
        disk.unregister()
