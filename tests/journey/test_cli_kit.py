"""What the tests of the command line share: real processes, with a home of their own."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

#: The command beside this Python.
GUESTWIRE = str(Path(sys.executable).parent / "guestwire")
#: How long a test waits for what must come, in seconds.
PATIENCE_S = 60.0
#: A relay in a hurry.
QUICK = {
    "GUESTWIRE_RELAY__ANSWER_S": "0.4",
    "GUESTWIRE_RELAY__SETTLE_S": "0.1",
    "GUESTWIRE_RELAY__RECONNECT_BASE_S": "0.02",
    "GUESTWIRE_RELAY__RECONNECT_CAP_S": "0.2",
    "GUESTWIRE_RELAY__SHUTDOWN_S": "1",
}


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """The lines of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> Any:
        """The one line of stdout as JSON."""
        (found,) = self.objects
        return found

    @property
    def complaint(self) -> list[str]:
        """Stderr without the warning about the place, which is true of every test."""
        return [line for line in self.err.splitlines() if "lies in a temporary place" not in line]


class Cli:
    """Runs commands with a home, a state folder and a working folder of their own, and no settings but those given."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "COLUMNS": "80",
            "PYTHONIOENCODING": "utf-8",
            "GUESTWIRE_STORE__MIN_FREE_DISK_MB": "1",
            **QUICK,
            **environment,
        }

    def __call__(self, *arguments: str | Path, stdin: str | bytes = b"", **environment: str) -> Said:
        """Run a command to its end."""
        done = subprocess.run(
            [GUESTWIRE, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in said.err, said.err
        return said

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Start a command that goes on; its output is read line by line."""
        return subprocess.Popen(
            [GUESTWIRE, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, content: str | bytes) -> Path:
        """Make a file in the working folder."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def ended(process: subprocess.Popen[str], *signals: signal.Signals) -> Said:
    """Send signals to a command, if any, and return what it left behind."""
    for number in signals:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in err, err
    return Said(process.returncode, out, err)


def line_with(stream: Any, *words: str) -> str:
    """Read lines until one holds all of these words."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        line: str = stream.readline()
        assert line, f"the output ended before {words}"
        if all(word in line for word in words):
            return line
    raise AssertionError(f"no line with {words}")


def texts(genesys: Any) -> list[str]:
    """What agents see of the guests' messages, in visible order."""
    return [message["text"] for message in genesys.messages() if message["direction"] == "Inbound"]


def tokens_in(text: str, genesys: Any) -> list[str]:
    """Every session token of the emulator's guests that stands in a text. It knows them by their digests alone."""
    digests = {request["token_sha256"] for request in genesys.requests() if request["token_sha256"]}
    assert digests, "nobody has shown a token yet"
    words = re.findall(r"(?=([\w-]{36}))", text)
    return [word for word in words if hashlib.sha256(word.encode()).hexdigest() in digests]


def on_terminal(cli: Cli, arguments: list[str], typed: bytes = b"", **environment: str) -> str:
    """Run a command on a terminal of its own; returns everything it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [GUESTWIRE, *arguments],
        cwd=cli.folder,
        env={**cli.environment, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    while True:
        try:
            block = os.read(ours, 65_536)
        except OSError:  # EIO: the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    process.wait(PATIENCE_S)
    return shown.decode()
