"""The relays of `guestwire demo --chaos`: processes of their own, one at work, one that stands by; killed in turn."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from guestwire.model import JournalEntry

#: The relay that is at work dies after so many messages were accepted.
KILL_AFTER = (25, 80, 140, 200, 260)
#: Patience of the relays: thirty seconds are all there is. The emulator's history lags a second behind.
PATIENCE = {
    "GUESTWIRE_RELAY__ANSWER_S": "2",
    "GUESTWIRE_RELAY__SETTLE_S": "2",
    "GUESTWIRE_RELAY__RECONNECT_CAP_S": "1",
}
#: What of the environment may lead a relay elsewhere than to the emulator.
LEADS_AWAY = ("GUESTWIRE_", "GENESYS", "XDG_")


class Relays:
    """
    Two processes of `guestwire up --standby`; as a context manager, for the length of the block.

    Args:
        url: Of the emulator.
        folder: Of the store.
        say: Takes a line for whoever watches.
    """

    def __init__(self, url: str, folder: Path, say: Callable[[str], None]) -> None:
        self._command = [
            sys.executable, "-c", "from guestwire.cli import main; main()",
            "up", "--standby", "--gateway", url, "--store", str(folder),
        ]  # fmt: skip
        self._folder = folder
        self._say = say
        self._alive: dict[int, subprocess.Popen[bytes]] = {}
        self._accepted = 0
        self._killed_at: float | None = None
        self.kills = 0
        self.takeovers_s: list[float] = []
        """From each kill to the moment at which we see that another one is at work, in seconds."""

    async def __aenter__(self) -> Self:
        self._start()
        self._start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for process in self._alive.values():
            process.kill()
        for process in self._alive.values():
            process.wait()

    def _start(self) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(LEADS_AWAY) and not name.lower().endswith("_proxy")
        }
        process = subprocess.Popen(  # noqa: S603 - ourselves
            self._command,
            cwd=self._folder,
            env={**kept, **PATIENCE, "HOME": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._alive[process.pid] = process

    def see(self, entry: JournalEntry, relay_pid: int | None) -> None:
        """Something happened: perhaps it is time for the next kill, or a kill is over."""
        if entry.event == "relay.started" and self._killed_at is not None:
            self.takeovers_s.append(round(time.monotonic() - self._killed_at, 2))
            self._killed_at = None
            left = entry.detail["left_sending"]
            self._say(
                f"           ☤  process {relay_pid} has taken over after {self.takeovers_s[-1]:.1f} s:"
                f" {left} messages were on their way, and are looked up"
            )
            self._start()
        self._accepted += entry.event == "part.accepted"
        is_time = self.kills < len(KILL_AFTER) and self._accepted >= KILL_AFTER[self.kills]
        if is_time and self._killed_at is None and relay_pid in self._alive:
            self._kill(relay_pid)

    def _kill(self, pid: int) -> None:
        self._killed_at = time.monotonic()
        self.kills += 1
        process = self._alive.pop(pid)
        process.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        self._say(f"           ✗  the relay, process {pid}, is killed with SIGKILL ({self.kills} of {len(KILL_AFTER)})")
