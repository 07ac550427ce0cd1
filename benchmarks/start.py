"""P8: how soon it is there. Whole processes, wall time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile

from benchmarks.measure import interleaved, machine, python, spread, wall_ms

GOALS_MS = {"import guestwire": 150, "guestwire --help": 250, "guestwire send": 600, "guestwire send, known guest": 600}


def main() -> None:
    """Print each start beside its goal."""
    print(f"start (P8), whole processes, {machine()}")
    run = ["-c", "from guestwire.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        home = {**os.environ, "HOME": folder, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        emulator = subprocess.Popen(
            python(*run, "emulate", "--port", "0", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert emulator.stdout is not None
            url = json.loads(emulator.stdout.readline())["url"]
            guests = iter(range(1_000_000))
            send = python(*run, "send", "--gateway", url, "hello", "--guest")
            found = interleaved(
                {
                    "python -c pass": lambda: wall_ms(python("-c", "pass")),
                    "import guestwire": lambda: wall_ms(python("-c", "import guestwire")),
                    "import guestwire, GuestWire": lambda: wall_ms(python("-c", "from guestwire import GuestWire")),
                    "guestwire --help": lambda: wall_ms(python(*run, "--help")),
                    "guestwire send": lambda: wall_ms([*send, f"g{next(guests)}"], home),
                    "guestwire send, known guest": lambda: wall_ms([*send, "g0"], home),
                }
            )
        finally:
            emulator.terminate()
            emulator.wait()
    for name, values in found.items():
        goal = f"goal {GOALS_MS[name]} ms" if name in GOALS_MS else ""
        print(f"  {name:<30} {spread(values, 'ms')}  {goal}")
