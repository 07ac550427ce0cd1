"""
A process that forks others: each is a process of its own, with its own memory, sockets and locks, and begins within
milliseconds, because everything is imported already. A hundred kills would else be a minute of imports.

    python -m tests.chaos.zygote FD
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from tests.chaos.worker import Order, begin

ROOT = Path(__file__).parents[2]
MAX_ORDER = 65_536
PR_SET_PDEATHSIG = 1


class Child:
    """A process that was forked for us, and what it says."""

    def __init__(self, pid: int, said: asyncio.StreamReader) -> None:
        self.pid = pid
        self._said = said
        # A number may be given to another process; this names ours for as long as we hold it.
        self._fd = os.pidfd_open(pid)

    async def line(self) -> bytes | None:
        """The next whole line; None: it has ended. Killed as it spoke, half a line tells nobody anything."""
        line = await self._said.readline()
        return line[:-1] if line.endswith(b"\n") else None

    async def hear(self, *words: bytes) -> bytes:
        """Wait for a line that begins with one of these words."""
        while (line := await self.line()) is not None:
            if line.startswith(words):
                return line
        raise AssertionError(f"it ended before it said any of {words!r}")

    def signal(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; to one that has ended already, none."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def memory_mb(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def files(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def close(self) -> None:
        """End it, and forget it."""
        if self._fd >= 0:
            self.signal(signal.SIGCONT)
            self.signal()
            os.close(self._fd)
            self._fd = -1


class Zygote:
    """Forks processes for a test."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours = ours
        self._children: list[Child] = []
        self._pipes: list[asyncio.ReadTransport] = []

    async def fork(self, order: Order) -> Child:
        """Begin a process that carries out an order."""
        read, write = os.pipe()
        socket.send_fds(self._ours, [msgspec.json.encode(order)], [write])
        os.close(write)
        pid = int.from_bytes(self._ours.recv(8), "big")
        said = asyncio.StreamReader(limit=2**20)
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), os.fdopen(read, "rb"))
        self._pipes.append(pipe)
        child = Child(pid, said)
        self._children.append(child)
        return child

    def close(self) -> None:
        """End whoever is left."""
        for child in self._children:
            child.close()
        for pipe in self._pipes:
            pipe.close()
        self._ours.close()


@contextlib.asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """Have processes forked for the length of the block; none outlives it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.chaos.zygote", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)  # noqa: ASYNC220 - once, and it is quick
    theirs.close()
    forks = Zygote(ours)
    try:
        yield forks
    finally:
        forks.close()
        await asyncio.to_thread(process.wait)


def serve(asked: socket.socket) -> None:
    """Fork for every order; end when nobody asks any more, and everybody with us."""
    while True:
        order, fds, _, _ = socket.recv_fds(asked, MAX_ORDER, 1)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not order:
            return
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            asked.close()
            os.dup2(fds[0], sys.stdout.fileno())
            os.close(fds[0])
            code = 1
            try:
                begin(msgspec.json.decode(order, type=Order))
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(fds[0])
        asked.send(pid.to_bytes(8, "big"))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
