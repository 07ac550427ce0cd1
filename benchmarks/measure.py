"""What benchmarks share: rounds, medians, ratios."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")

ROUNDS = 5


def machine() -> str:
    """The machine in a line."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Run every contender once a round, in alternating order; one unmeasured round first."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        names = list(contenders)
        for name in names if number % 2 else reversed(names):
            value = contenders[name]()
            if number:
                found[name].append(value)
    return found


def spread(values: Sequence[float], unit: str) -> str:
    """Median with min and max."""
    return f"{statistics.median(values):8.1f} {unit} ({min(values):.1f} .. {max(values):.1f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median of the ratios within rounds, with min and max."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} .. {max(ratios):.2f})"


def cpu_s() -> float:
    """CPU seconds of this process, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def wall_ms(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """How long a command takes as a whole process, in milliseconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return (time.perf_counter() - began) * 1000


def python(*arguments: str) -> list[str]:
    """A command for this Python."""
    return [sys.executable, *arguments]


def ran(module: str, *arguments: str, into: type[T]) -> T:
    """Run a module in a process of its own; what it prints is JSON."""
    output = subprocess.run(python("-m", module, *arguments), check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(output, type=into)
