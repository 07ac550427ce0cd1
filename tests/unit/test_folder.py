"""The folder of a store: where it may lie, and who may send out of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestwire.errors import StoreError
from guestwire.store.folder import NETWORK_FILE_SYSTEMS, Folder, RelayLock, file_system, migrations, statements

HOLDER = """
import sys
from pathlib import Path
from guestwire.store.folder import Folder, RelayLock
lock = RelayLock(Folder(Path(sys.argv[1])))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


# --- the place ---


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """A folder that does not exist is made, parents too; nobody else may look into it."""
    folder = Folder(tmp_path / "state" / "guestwire")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert (folder.store.name, folder.keys.name) == ("store.db", "keys.db")


def test_a_path_is_understood_as_people_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder, and a relative path is made absolute once, whatever becomes of the working folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Folder(Path("~/one")).path == tmp_path / "one"
    assert Folder(Path("two")).path == tmp_path / "two"


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """The error names the folder and the setting."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="GW-S001") as caught:
            Folder(path)
        assert str(path) in caught.value.message
        assert "store.path" in caught.value.hint


def test_a_folder_without_permission_is_refused() -> None:
    """Said at the start, not at the first message. Asked as a user who is not root: root may write everywhere."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o555)
        assert as_nobody(lambda: Folder(path)) == "GW-S001"


def as_nobody(act: Callable[[], object]) -> str:
    """Do something without root's rights, in a child; returns the code of the `StoreError` it raises, if any."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "no error"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65_534)
                os.setuid(65_534)
            act()
        except StoreError as error:
            said = error.code
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def test_a_temporary_place_is_warned_about(tmp_path: Path) -> None:
    """What is queued under /tmp may be gone after a reboot; that is said, not forbidden."""
    folder = Folder(tmp_path)
    assert bool(folder.warnings) == str(tmp_path.resolve()).startswith(("/tmp/", "/var/tmp/", "/dev/shm/"))  # noqa: S108
    assert all(str(tmp_path) in warning for warning in folder.warnings)


# --- which file system ---


def mounts(path: Path, *lines: tuple[str, str]) -> Path:
    """Write a file of the form of /proc/self/mountinfo: (mount point as the kernel escapes it, type)."""
    rows = [
        f"{number} 1 8:{number} / {point} rw,relatime shared:1 - {kind} /dev/x rw\n"
        for number, (point, kind) in enumerate(lines, 20)
    ]
    path.write_bytes(b"".join(row.encode("utf-8", "surrogateescape") for row in rows))
    return path


def test_the_nearest_mount_decides(tmp_path: Path) -> None:
    """Of all mount points above a folder the longest is its own; a neighbour with a like name is not."""
    data = tmp_path / "data" / "guestwire"
    data.mkdir(parents=True)
    info = tmp_path / "mountinfo"
    root, near, like = ("/", "ext4"), (f"{tmp_path}/data", "nfs4"), (f"{tmp_path}/dat", "tmpfs")
    assert file_system(data, mounts(info, root, near, like)) == "nfs4"
    assert file_system(data, mounts(info, near, like, root)) == "nfs4"
    assert file_system(data, mounts(info, root, like)) == "ext4"
    assert file_system(data, mounts(info, like)) == ""


def test_escapes_of_a_mount_point_are_read(tmp_path: Path) -> None:
    """The kernel writes blank, tab, newline and backslash in octal."""
    data = tmp_path / "my data\\x\ty" / "g"
    data.mkdir(parents=True)
    info = tmp_path / "mountinfo"
    point = f"{tmp_path}/my\\040data\\134x\\011y"
    assert file_system(data, mounts(info, ("/", "ext4"), (point, "cifs"))) == "cifs"


def test_of_two_mounts_on_one_place_the_later_covers_the_earlier(tmp_path: Path) -> None:
    """An automounter's entry stands before that of the network file system it put there."""
    info = tmp_path / "mountinfo"
    assert (
        file_system(tmp_path, mounts(info, ("/", "ext4"), (str(tmp_path), "autofs"), (str(tmp_path), "nfs"))) == "nfs"
    )


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    """A folder that is a link into a network file system is on that file system."""
    far = tmp_path / "far" / "data"
    far.mkdir(parents=True)
    link = tmp_path / "near"
    link.symlink_to(far)
    info = tmp_path / "mountinfo"
    assert file_system(link, mounts(info, ("/", "ext4"), (f"{tmp_path}/far", "fuse.sshfs"))) == "fuse.sshfs"


def test_a_strange_mountinfo_says_nothing(tmp_path: Path) -> None:
    """Missing, empty, cut off, or with a mount point that is no UTF-8: no type, or the right one, and no crash."""
    info = tmp_path / "mountinfo"
    assert file_system(tmp_path, tmp_path / "missing") == ""
    for content in ("", "\n\n", "a b - c\n", "20 1 8:1 / / rw\n", "20 1 8:1 / / rw -"):
        info.write_text(content)
        assert file_system(tmp_path, info) == ""
    assert file_system(tmp_path, mounts(info, ("/", "ext4"), ("/mnt/\udcff\udcfe", "vfat"))) == "ext4"


def test_this_machine_has_a_file_system(tmp_path: Path) -> None:
    """The kernel's own file is understood."""
    assert file_system(tmp_path, Path("/proc/self/mountinfo")) not in NETWORK_FILE_SYSTEMS | {""}


# --- who relays ---


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A store's folder."""
    return Folder(tmp_path / "store")


@pytest.fixture
def holder(folder: Folder) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the relay's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_turned_away(folder: Folder, holder: subprocess.Popen[str]) -> None:
    """It learns so at once, can say who holds the lock, and asking takes nothing."""
    lock = RelayLock(folder)
    assert lock.is_held_elsewhere()
    assert not lock.acquire()
    assert not lock.acquire()
    assert lock.holder() == holder.pid


def test_a_killed_process_lets_go_at_once(folder: Folder, holder: subprocess.Popen[str]) -> None:
    """SIGKILL gives it no chance to clean up; the kernel frees the lock with the process."""
    lock = RelayLock(folder)
    assert not lock.acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    assert not lock.is_held_elsewhere()
    assert lock.acquire()
    assert lock.holder() == os.getpid()
    lock.release()


def test_a_stopped_process_keeps_it(folder: Folder, holder: subprocess.Popen[str]) -> None:
    """Suspended is not dead: it may go on sending the moment it is woken."""
    holder.send_signal(signal.SIGSTOP)
    assert not RelayLock(folder).acquire()
    holder.send_signal(signal.SIGCONT)


def test_two_relays_of_one_process_exclude_each_other(folder: Folder) -> None:
    """The lock belongs to who took it, not to the process."""
    first, second = RelayLock(folder), RelayLock(folder)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert second.is_held_elsewhere()
    assert not first.is_held_elsewhere()
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_a_folder_that_nobody_relayed_has_no_holder(folder: Folder) -> None:
    """No lock file, an empty one, or one with something else in it: nobody."""
    lock = RelayLock(folder)
    assert not lock.is_held_elsewhere()
    for content in (None, "", "pid"):
        if content is not None:
            (folder.path / "relay.lock").write_text(content)
        assert lock.holder() is None


# --- what comes with the package ---


def test_migrations_are_numbered_without_a_gap() -> None:
    """From 2 on (1 was before the first release), each once."""
    assert [number for number, _ in migrations()] == list(range(2, len(migrations()) + 2))


def test_statements_are_one_statement_each() -> None:
    """Named, not empty, and no value is built into one."""
    named = statements()
    assert len(named) > 30
    for sql in named.values():
        bare = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
        assert bare.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}
        assert ";" not in bare
