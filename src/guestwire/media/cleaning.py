"""
Cleans pictures in a process of their own.

A decoder is a large program in C that reads what strangers wrote. So it runs where it can reach nothing and may take
only so much memory and time, and whatever becomes of it there is a finding about one file: the process is ended, the
next file gets a fresh one, and this process has seen bytes go out and come back.

The pipes are served by a thread, with plain system calls: nothing of it needs an event loop, or minds one.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from guestwire.errors import ConfigError, Finding
from guestwire.media.frames import (
    ENVELOPE_BYTES,
    Answer,
    Change,
    Done,
    Form,
    Job,
    Lost,
    Ready,
    Refused,
    decode_answer,
    framed,
    read_frame,
    write_all,
)
from guestwire.model import Attachment
from guestwire.policy.kinds import BMP, GIF, JPEG, PNG, WEBP, Family, Kind, kind_of
from guestwire.policy.media import MAX_PIXELS, too_many_pixels, unreadable

_FORMS: Final[dict[Kind, Form]] = {
    PNG: "PNG",
    JPEG: "JPEG",
    GIF: "GIF",
    WEBP: "WEBP",
    BMP: "BMP",
}
#: Of the parent's environment, the worker gets this: where its modules are, and nothing that is anybody's secret.
_ENVIRONMENT: Final = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
#: As `max_bytes` where none is asked for.
_ANY_SIZE: Final = 2**31 - 1


class MediaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the cleaning of one picture may cost."""

    memory_mb: int = 1024
    """Of address space, in megabytes of 1,000,000 bytes; about 30 are taken before the first file."""
    cpu_s: int = 20
    """Processor time for one file, in seconds."""
    wall_s: float = 40.0
    """Time for one file, in seconds."""
    start_s: float = 30.0
    """Time for a worker to start, in seconds."""
    max_input_bytes: int = 64_000_000
    """Largest file that a worker is given."""
    max_pixels: int = MAX_PIXELS
    """Of a picture, or of all frames of an animated one."""
    max_frames: int = 500
    """Of an animated picture."""
    files: int = 200
    """A worker cleans so many, then the next one takes over."""
    keep_exif: bool = False
    """Keep what the camera wrote, its place among it. Orientation is applied all the same."""


class Cleaned(msgspec.Struct, frozen=True):
    """A file that may go on."""

    attachment: Attachment
    changed: tuple[Change, ...] = ()
    """What was done to it that somebody may notice; a picture is written anew in any case."""
    warnings: tuple[Finding, ...] = ()
    """What was not done to it."""


class MediaWorker:
    """
    Cleans pictures, one at a time. The process starts with the first of them and stays for the next ones.

    Use it as ``async with``, or call `close` in the end. Its methods may be called from any thread and any loop.

    Args:
        limits: What one picture may cost.
        command: Another program than our own worker, for tests of what becomes of a broken one.

    Raises:
        ConfigError: Pillow is not installed.
    """

    def __init__(self, limits: MediaLimits | None = None, *, command: tuple[str, ...] | None = None) -> None:
        if importlib.util.find_spec("PIL") is None:
            raise ConfigError(
                "pictures cannot be cleaned: Pillow is not installed",
                code="GW-C090",
                hint="pip install 'guestwire[media]'",
            )
        self._limits = limits or MediaLimits()
        self._command = command or (
            *(sys.executable, "-P", "-m", "guestwire.media.worker"),
            str(self._limits.memory_mb * 1_000_000),
            str(self._limits.max_input_bytes + ENVELOPE_BYTES),
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0
        self._turn = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    async def __aenter__(self) -> MediaWorker:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def pid(self) -> int | None:
        """The worker's process, for whoever watches it; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    async def clean(
        self, attachment: Attachment, *, max_bytes: int | None = None, path: str = "attachments"
    ) -> Cleaned | tuple[Finding, ...]:
        """
        Clean a file without holding up the loop; see `clean_now`.

        A call that is cancelled ends the worker's process, so that nothing goes on in it.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="guestwire-media")
        work = self._pool.submit(self.clean_now, attachment, max_bytes=max_bytes, path=path)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            if work.running():
                self._kill()
            raise

    def clean_now(
        self, attachment: Attachment, *, max_bytes: int | None = None, path: str = "attachments"
    ) -> Cleaned | tuple[Finding, ...]:
        """
        Write a picture anew, turned as it is meant to be seen, without what it tells beside what it shows.

        PNG, JPEG, GIF, WebP and BMP are cleaned. Every other file comes back as it is, with a warning where it is a
        picture of another kind: that keeps what it tells.

        Args:
            attachment: The file; `guestwire.policy.media.check_media` has found nothing in it.
            max_bytes: A larger picture loses quality, then size, until it fits. None: any size.
            path: The field that the file stands in, for findings.

        Returns:
            The file, clean; or what is wrong with it.
        """
        path = f"{path}.content"
        content = attachment.content
        most = _ANY_SIZE if max_bytes is None else max_bytes
        kind = kind_of(content)
        form = None if kind is None else _FORMS.get(kind)
        if kind is None or form is None:
            if len(content) > most:
                return (_too_large(len(content), most, path),)
            return Cleaned(attachment, warnings=_not_cleaned(kind, path))
        if len(content) > self._limits.max_input_bytes:
            return (_too_large(len(content), self._limits.max_input_bytes, path),)
        limits = self._limits
        job = Job(content, form, most, limits.max_pixels, limits.max_frames, limits.cpu_s, limits.keep_exif)
        with self._turn:
            answer = self._ask(job, kind)
        if isinstance(answer, Done):
            return Cleaned(msgspec.structs.replace(attachment, content=answer.content), answer.changed)
        return (_finding(answer, limits, most, path),)

    def close(self) -> None:
        """End the worker's process."""
        self._is_closed = True
        self._kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        with self._turn:
            self._drop()

    def _ask(self, job: Job, kind: Kind) -> Done | Refused | Lost:
        """Have one job done; `Lost`: the worker is, and why."""
        try:
            process = self._started()
        except Lost as error:
            self._drop()
            return _NotStarted(str(error))
        except OSError:
            self._drop()
            return _NotStarted("the system does not start it")
        most = min(job.max_bytes, self._limits.max_input_bytes * 4)
        try:
            answer = _exchange(process, framed(job), most=most, until=time.monotonic() + self._limits.wall_s)
        except Lost as error:
            return Lost(self._drop() or str(error))
        self._files += 1
        if isinstance(answer, Refused):
            if answer.reason == "memory" or self._files >= self._limits.files:
                self._drop()
            return answer
        if isinstance(answer, Done) and len(answer.content) <= job.max_bytes and kind_of(answer.content) is kind:
            if self._files >= self._limits.files:
                self._drop()
            return answer
        self._drop()
        return Lost("the worker talked nonsense")

    def _started(self) -> subprocess.Popen[bytes]:
        """The process, ready for a job."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._drop()
        if self._is_closed:
            raise Lost("it is closed")
        self._process = process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a decoder's words may quote the file
            bufsize=0,
            cwd="/",
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the parent, which says when it is over
        )
        if self._is_closed:
            raise Lost("it is closed")  # in this very moment, and whoever did it has not seen the process
        self._files = 0
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None  # noqa: S101 - asked for above
            os.set_blocking(pipe.fileno(), False)
        if not isinstance(_exchange(process, b"", most=0, until=time.monotonic() + self._limits.start_s), Ready):
            raise Lost("it talks nonsense")
        return process

    def _kill(self) -> None:
        """End the process; whoever reads from it learns of that by itself."""
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def _drop(self) -> str | None:
        """Let go of the process. Returns what it died of, where that is known and was not us."""
        process, self._process = self._process, None
        if process is None:
            return None
        code = process.poll()
        if code is None:
            # It may be dying: its pipe closes a moment before it can be waited for.
            process.kill()
            process.wait()
            code = process.returncode
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return "it takes too much processor time" if code == -_SIGXCPU else None


_SIGXCPU: Final = 24


class _NotStarted(Lost):
    """There is no worker; the file has nothing to do with it."""


def _exchange(process: subprocess.Popen[bytes], data: bytes, *, most: int, until: float) -> Answer:
    """Say something to a worker, and hear its answer; with a file of so many bytes at most."""
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    write_all(process.stdin.fileno(), data, until=until)
    frame = read_frame(process.stdout.fileno(), most=most + ENVELOPE_BYTES, until=until)
    try:
        answer: Answer = decode_answer(frame)
    except (msgspec.DecodeError, UnicodeError):
        raise Lost("the worker talked nonsense") from None
    return answer


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    if "PYTHONPATH" in found:  # the worker stands in another folder
        found["PYTHONPATH"] = os.pathsep.join(
            str(Path(one).absolute()) for one in found["PYTHONPATH"].split(os.pathsep)
        )
    return found


def _not_cleaned(kind: Kind | None, path: str) -> tuple[Finding, ...]:
    if kind is None or kind.family is not Family.PICTURE:
        return ()
    words = f"{kind.name} goes out as it is, with what it tells of where and when it was taken"
    return (Finding("file.not_cleaned", path, words, "send it as JPEG or PNG", action="warn"),)


def _too_large(size: int, most: int, path: str) -> Finding:
    return Finding(
        "file.too_large",
        path,
        f"{size // 1000} kB are more than {most // 1000}, and it cannot be made smaller here",
        "make it smaller, or send a link to it",
    )


def _finding(answer: Refused | Lost, limits: MediaLimits, most: int, path: str) -> Finding:
    if isinstance(answer, _NotStarted):
        return Finding(
            "file.no_worker",
            path,
            f"the worker that cleans pictures does not start: {answer}",
            "try again later; 'python -m guestwire.media.worker 1024000000 64000000' tells its operator why",
        )
    if isinstance(answer, Lost):
        return unreadable(path=path, why=str(answer))
    if answer.reason == "pixels":
        return too_many_pixels(answer.width, answer.height, limits.max_pixels, path=path)
    if answer.reason == "frames":
        return Finding(
            "file.too_many_frames",
            path,
            f"it moves for more than {limits.max_frames} pictures, or {limits.max_pixels:,} pixels of all of them",
            "send a shorter one, or a video",
        )
    if answer.reason == "too_large":
        return Finding(
            "file.too_large", path, f"it cannot be made to fit into {most // 1000} kB", "send a smaller picture"
        )
    why = "it needs too much memory" if answer.reason == "memory" else "it is damaged, or cut off"
    return unreadable(path=path, why=why)
