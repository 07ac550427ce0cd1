"""
Asks a scanner about a file: a command that gets the content on its standard input, and says by its exit code.

0 is clean, 1 infected; anything else, and silence, is no answer, and a file without an answer is not taken. What the
command prints is not read: it may be long, it may quote the file, and it decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from guestwire.errors import Finding
from guestwire.media.frames import Lost, write_all

#: Of the environment, the command gets this, and nothing that may be a secret.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


class Scanner:
    """
    Has files looked at by a command, such as ``("clamdscan", "-")``.

    Args:
        command: Program and arguments. No shell reads them.
        timeout_s: For one file, in seconds. Whatever the command has started by then is ended with it.
        at_once: As many files are looked at at the same time; the others wait, and their time has not begun.
    """

    def __init__(self, command: Sequence[str], *, timeout_s: float = 60.0, at_once: int = 4) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._turn = asyncio.Semaphore(at_once)

    async def scan(self, content: bytes, *, path: str = "attachments") -> tuple[Finding, ...]:
        """
        Ask about a content without holding up the loop; see `scan_now`.

        A call that is cancelled ends the command.
        """
        async with self._turn:
            running: list[subprocess.Popen[bytes]] = []
            work = asyncio.ensure_future(asyncio.to_thread(self._scan, content, path, running))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                work.cancel()  # where no thread has it yet
                for process in running:
                    _end(process)
                raise

    def scan_now(self, content: bytes, *, path: str = "attachments") -> tuple[Finding, ...]:
        """
        Ask about a content.

        Args:
            content: All of it goes to the command.
            path: The field that the file stands in, for findings.

        Returns:
            Nothing: it is clean. Otherwise a finding, ``file.infected`` or ``file.not_scanned``; both reject.
        """
        return self._scan(content, path, [])

    def _scan(self, content: bytes, path: str, running: list[subprocess.Popen[bytes]]) -> tuple[Finding, ...]:
        try:
            is_infected = self._ask(content, running)
        except _Silent as silent:
            return (
                Finding(
                    "file.not_scanned",
                    f"{path}.content",
                    f"the scanner did not look at the file: {silent}",
                    "try again later; whoever operates the scanner finds the reason in its log",
                ),
            )
        if not is_infected:
            return ()
        return (
            Finding(
                "file.infected",
                f"{path}.content",
                "the scanner says that the file is infected",
                "do not open it; it is not sent",
            ),
        )

    def _ask(self, content: bytes, running: list[subprocess.Popen[bytes]]) -> bool:
        until = time.monotonic() + self._timeout_s
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _Silent("it cannot be started") from error
        running.append(process)
        with process:
            try:
                assert process.stdin is not None  # noqa: S101 - asked for above
                os.set_blocking(process.stdin.fileno(), False)
                # A scanner may know enough before the end: then nobody reads the rest, and its code still counts.
                with contextlib.suppress(Lost):
                    write_all(process.stdin.fileno(), content, until=until)
                process.stdin.close()
                code = process.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                raise _Silent(f"no answer in {self._timeout_s:.0f} s") from None
            finally:
                _end(process)
        if code in (0, 1):
            return code == 1
        raise _Silent(f"it ended with {code}" if code >= 0 else f"signal {-code} ended it")


class _Silent(Exception):
    """The scanner gave no answer: why, in words."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command, if it has not ended by itself, and whatever it has started that is still in its group."""
    if process.returncode is not None:
        return  # its number may be somebody else's by now
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
