"""
What a disk holds after its power was lost: a model, by the letter of POSIX.

Everything the product writes below a folder is recorded while it happens, in order: through SQLite (a VFS that passes
everything on) and beside it (`os.write` and its like, which are passed on as well). Afterwards the power can be cut at
any moment of the record, as often as one likes. What was synced is there. Of what was not, anything may be there: none
of it, all of the names and no contents, all of the contents and no names, or any sectors of any of it.

A sync of a file is about its contents and its length; its name is in its folder, and is there for good when the folder
was synced. SQLite's own VFS syncs the folder together with the first sync of a journal or a log that it has made
(`os_unix.c`, "UNIXFILE_DIRSYNC"), and where it deletes a file and is asked to; so does the model.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apsw
import pytest

Mode = Literal["nothing", "names", "contents", "sectors 512", "sectors 4096"]
MODES: tuple[Mode, ...] = ("nothing", "names", "contents", "sectors 512", "sectors 4096")


class Write(NamedTuple):
    """Bytes of a file."""

    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file is as long as this."""

    file: int
    size: int


class Sync(NamedTuple):
    """What a file holds is there for good."""

    file: int


class Link(NamedTuple):
    """A name, and what it is the name of; None: it is free. A rename is two at once."""

    names: tuple[tuple[str, int | None], ...]


class SyncFolder(NamedTuple):
    """The names in a folder are there for good."""

    path: str


class Promised(NamedTuple):
    """So many promises had been made."""

    number: int


Event = Write | Truncate | Sync | Link | SyncFolder | Promised

FOLDER = 0
"""What stands for a folder in place of a file's number."""


class Record:
    """
    What happened to the files below a folder, in order.

    Args:
        root: The folder; made here, and on the disk from the start.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = str(root)
        self.events: list[Event] = []
        self.names: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._descriptors: dict[int, str] = {}
        #: Logs and journals whose folder is synced together with them.
        self.fresh: set[int] = set()

    def covers(self, path: object) -> bool:
        """Whether a path lies below the folder."""
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.root + "/")

    def made(self, path: str) -> int:
        """A file was opened, and made if it was not there; returns its number."""
        if path not in self.names:
            self.names[path] = next(self._numbers)
            self.events.append(Link(((path, self.names[path]),)))
        return self.names[path]

    def removed(self, path: str) -> None:
        """A name is free."""
        if self.names.pop(path, None) is not None:
            self.events.append(Link(((path, None),)))

    def synced(self, number: int, path: str) -> None:
        """A file was synced."""
        self.events.append(Sync(number))
        if number in self.fresh:
            self.fresh.discard(number)
            self.events.append(SyncFolder(os.path.dirname(path)))  # noqa: PTH120 - names are strings here

    @contextlib.contextmanager
    def running(self) -> Iterator[Record]:
        """Record for the length of the block."""
        disk = RecordedDisk(self)
        with pytest.MonkeyPatch.context() as patch:
            self._beside_sqlite(patch)
            try:
                yield self
            finally:
                disk.unregister()

    def _beside_sqlite(self, patch: pytest.MonkeyPatch) -> None:
        real = {
            name: getattr(os, name) for name in ("open", "write", "ftruncate", "fsync", "rename", "mkdir", "unlink")
        }

        def open_(path: Any, flags: int, *args: Any, **more: Any) -> int:
            fd: int = real["open"](path, flags, *args, **more)
            self._descriptors.pop(fd, None)
            if self.covers(path) or os.fspath(path) == self.root:
                self._descriptors[fd] = os.fspath(path)
                if not flags & os.O_DIRECTORY:
                    number = self.made(os.fspath(path))
                    if flags & os.O_TRUNC:
                        self.events.append(Truncate(number, 0))
            return fd

        def write(fd: int, data: Any) -> int:
            path = self._descriptors.get(fd)
            offset = 0 if path is None else os.lseek(fd, 0, os.SEEK_CUR)
            count: int = real["write"](fd, data)
            if path is not None:
                self.events.append(Write(self.names[path], offset, bytes(data[:count])))
            return count

        def ftruncate(fd: int, size: int) -> None:
            real["ftruncate"](fd, size)
            if fd in self._descriptors:
                self.events.append(Truncate(self.names[self._descriptors[fd]], size))

        def fsync(fd: int) -> None:
            real["fsync"](fd)
            path = self._descriptors.get(fd)
            if path in self.names:
                self.synced(self.names[path], path)
            elif path is not None:
                self.events.append(SyncFolder(path))

        def rename(source: Any, target: Any, **more: Any) -> None:
            real["rename"](source, target, **more)
            if self.covers(target):
                number = self.names.pop(os.fspath(source))
                self.names[os.fspath(target)] = number
                self.events.append(Link(((os.fspath(source), None), (os.fspath(target), number))))

        def mkdir(path: Any, *args: Any, **more: Any) -> None:
            real["mkdir"](path, *args, **more)
            if self.covers(path):
                self.events.append(Link(((os.fspath(path), FOLDER),)))

        def unlink(path: Any, **more: Any) -> None:
            real["unlink"](path, **more)
            if self.covers(path):
                self.removed(os.fspath(path))

        recorded = {"open": open_, "write": write, "ftruncate": ftruncate, "fsync": fsync}
        recorded |= {"rename": rename, "mkdir": mkdir, "unlink": unlink}
        for name, function in recorded.items():
            patch.setattr(os, name, function)


class RecordedDisk(apsw.VFS):
    """SQLite's way to the disk, recorded."""

    def __init__(self, record: Record) -> None:
        self._record = record
        super().__init__("guestwire-recorded", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Open a file."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        if not self._record.covers(path):
            return apsw.VFSFile("unix", name, flags)
        return RecordedFile(self._record, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Remove a file, and let its folder forget it for good where that is asked for."""
        super().xDelete(filename, syncdir)
        self._record.removed(filename)
        if syncdir and self._record.covers(filename):
            self._record.events.append(SyncFolder(os.path.dirname(filename)))  # noqa: PTH120


class RecordedFile(apsw.VFSFile):
    """One open file of it."""

    def __init__(self, record: Record, path: str, name: Any, flags: list[int]) -> None:
        self._record = record
        self._path = path
        is_new = path not in record.names
        super().__init__("unix", name, flags)
        self._number = record.made(path)
        if is_new and flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL):
            record.fresh.add(self._number)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        """Write to it."""
        super().xWrite(data, offset)
        self._record.events.append(Write(self._number, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cut it off."""
        super().xTruncate(newsize)
        self._record.events.append(Truncate(self._number, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Let it reach the disk: in the model, which is the only disk whose power is ever cut."""
        self._record.synced(self._number, self._path)


class Model:
    """The disk as it would be, moved on event by event."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._now: dict[int, bytearray] = {}
        self._kept: dict[int, bytes] = {}
        self._pending: dict[int, list[Write | Truncate]] = {}
        self._names: dict[str, int] = {}
        self._pending_names: list[Link] = []
        self.promised = 0

    def happen(self, event: Event) -> None:
        """Move on."""
        match event:
            case Write(file) | Truncate(file):
                _apply(self._now.setdefault(file, bytearray()), event)
                self._pending.setdefault(file, []).append(event)
            case Sync(file):
                self._kept[file] = bytes(self._now.get(file, b""))
                self._pending.pop(file, None)
            case Link():
                self._pending_names.append(event)
            case SyncFolder(path):
                self._sync_names(path)
            case Promised(number):
                self.promised = number

    def _sync_names(self, folder: str) -> None:
        waiting: list[Link] = []
        for link in self._pending_names:
            if any(os.path.dirname(name) == folder for name, _ in link.names):  # noqa: PTH120
                _name(self._names, link)
            else:
                waiting.append(link)
        self._pending_names = waiting

    def cut(self, mode: Mode, draw: random.Random, into: Path) -> None:
        """Lose the power; what is left is laid into a folder."""
        names = dict(self._names)
        for link in self._pending_names:
            if mode == "names" or (mode.startswith("sectors") and draw.random() < 0.5):
                _name(names, link)
        for name, number in sorted(names.items()):
            place = into / os.path.relpath(name, self._root)
            # A file whose folder was lost is lost with it.
            if not place.parent.is_dir() or self._folder_is_lost(name, names):
                continue
            if number == FOLDER:
                place.mkdir(0o700)
            else:
                place.write_bytes(self._content(number, mode, draw))
                place.chmod(0o600)

    def _folder_is_lost(self, name: str, names: dict[str, int]) -> bool:
        parent = os.path.dirname(name)  # noqa: PTH120
        return parent != self._root and names.get(parent) != FOLDER

    def _content(self, number: int, mode: Mode, draw: random.Random) -> bytes:
        if mode == "contents":
            return bytes(self._now.get(number, b""))
        content = bytearray(self._kept.get(number, b""))
        if mode.startswith("sectors"):
            sector = int(mode.split()[1])
            for change in self._pending.get(number, []):
                if isinstance(change, Truncate):
                    if draw.random() < 0.5:
                        _apply(content, change)
                    continue
                for piece in _sectors(change, sector):
                    if draw.random() < 0.5:
                        _apply(content, piece)
        return bytes(content)


def _name(names: dict[str, int], link: Link) -> None:
    for name, number in link.names:
        if number is None:
            names.pop(name, None)
        else:
            names[name] = number


def _apply(content: bytearray, change: Write | Truncate) -> None:
    size = change.size if isinstance(change, Truncate) else change.offset
    if len(content) < size:
        content.extend(bytes(size - len(content)))  # a hole reads as zeros
    if isinstance(change, Truncate):
        del content[size:]
    else:
        content[size : size + len(change.data)] = change.data


def _sectors(write: Write, size: int) -> Iterator[Write]:
    start = write.offset
    while start < write.offset + len(write.data):
        end = min((start // size + 1) * size, write.offset + len(write.data))
        yield Write(write.file, start, write.data[start - write.offset : end - write.offset])
        start = end
