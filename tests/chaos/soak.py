"""
The long run: steady load with a fault every ten seconds, then the long forms of the other suites.

    python -m tests.chaos.soak --minutes 10

Prints each figure beside its goal and writes them to `.soak/`. What there was no time for is said to be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import msgspec

from guestwire import JournalEntry
from tests.chaos.kit import Stage, plan, stage
from tests.chaos.zygote import ROOT, Child

OUT = ROOT / ".soak"
#: Suites with a long form, in the order in which the time is divided among them.
SUITES = (
    "tests/chaos/test_kills.py",
    "tests/chaos/test_points.py",
    "tests/chaos/test_io_errors.py",
    "tests/chaos/test_power_loss.py",
    "tests/simulation",
    "tests/wire",
    "tests/unit",
    "tests/contract",
)
#: So much of the time is for the steady load; at least so many seconds.
STEADY_SHARE, STEADY_S = 0.3, 15.0
#: A suite gets at least so many seconds, or is left out.
SUITE_S = 40.0
#: Slopes of less than so many seconds say nothing: they are shown, and not judged.
JUDGED_S = 1_200.0
#: What happens, one after the other. The relay is killed only in the first third, for the figures are of one process.
FAULTS = ("cut", "kill", "throttle", "lost answers", "outage")
SAMPLE_S = 0.5


class Figure(NamedTuple):
    """A line of the table."""

    what: str
    figure: str
    goal: str
    holds: bool | None
    """None: shown, and not judged."""


class Sample(msgspec.Struct, frozen=True):
    """A look at the relay from outside."""

    at: float
    memory_mb: float
    files: int
    tasks: int


async def steady(folder: Path, seconds: float, every_s: float) -> list[Figure]:
    """Run a load for so long, with a fault every so often; returns what was measured."""
    draw = plan(7)
    async with stage(folder) as made:
        relay = await made.start(reports=True)
        await made.start(name="sue", relay="never", pause_s=0.05)
        await made.start(name="tom", relay="never", pause_s=0.05)
        began = time.monotonic()
        faults = itertools.cycle(FAULTS)
        happened: list[str] = []
        samples: list[Sample] = []
        next_fault = began + every_s
        while (passed := time.monotonic() - began) < seconds:
            await asyncio.sleep(SAMPLE_S)
            if passed > seconds / 3:
                samples.append(look_at(relay, made, passed))
            if time.monotonic() >= next_fault:
                next_fault += every_s
                kind = next(faults)
                if kind == "kill" and passed > seconds / 3 - every_s:
                    kind = "cut"
                happened.append(kind)
                if kind == "kill":
                    await made.kill(relay)
                    relay = await made.start(reports=True)
                else:
                    inflict(made, kind, draw.choice(("drop_after_accept", "http_drop_after", "drop_before_accept")))
        made.genesys.clear_faults()
        await made.forget()
        await made.finish("sue", "tom")
        found, journal = await made.audit()
        made.integrity()
        return judge(found.violations, found.waiting, found.duplicates, journal, samples, happened, seconds)


def look_at(relay: Child, made: Stage, at: float) -> Sample:
    """Look at the relay."""
    return Sample(at, relay.memory_mb(), relay.files(), made.tasks)


def inflict(made: Stage, kind: str, cut: str) -> None:
    """Let something go wrong."""
    inject = made.genesys.inject
    match kind:
        case "cut":
            inject(cut)
        case "throttle":
            inject("throttle", times=20, retry_after_s=1)
            inject("http_status", match={"path": "message"}, times=5, status=429, retry_after_s=1)
        case "lost answers":
            inject("lose_echo", times=5)
            inject("http_silent", match={"path": "message"}, times=2, accept=True)
        case "outage":
            inject("drop_before_accept", times=6)
            inject("refuse_upgrade", times=6, status=503)
            inject("http_status", match={"path": "message"}, times=6, status=503)


def judge(
    violations: Sequence[str],
    waiting: Sequence[str],
    duplicates: int,
    journal: Sequence[JournalEntry],
    samples: Sequence[Sample],
    happened: Sequence[str],
    seconds: float,
) -> list[Figure]:
    """Hold what was measured against the goals."""
    is_long = seconds >= JUDGED_S
    half = len(samples) // 2
    first, last = samples[:half], samples[half:]
    slope = slope_per_hour([(sample.at, sample.memory_mb) for sample in samples])
    latencies = [
        float(entry.detail["latency_ms"])
        for entry in journal
        if entry.event == "part.accepted" and entry.detail.get("latency_ms") and entry.detail["was"] == "sending"
    ]
    middle = len(latencies) // 2
    p99s = [percentile(part, 0.99) for part in (latencies[:middle], latencies[middle:])]
    drift = (p99s[1] / p99s[0] - 1) * 100
    files = [max(sample.files for sample in part) for part in (first, last)]
    tasks = [max(sample.tasks for sample in part) for part in (first, last)]
    accepted = sum(entry.event == "part.accepted" for entry in journal)
    return [
        Figure("steady load", f"{seconds:.0f} s, {accepted} messages, {len(happened)} faults", "", None),
        Figure("lost, unexplained, out of order", str(len(violations)), "0", not violations),
        Figure("left waiting at the end", str(len(waiting)), "0", not waiting),
        Figure("duplicates, all explained", str(duplicates), "", None),
        Figure("resident memory", f"{slope:+.1f} MB/h", "< 1 MB/h", slope < 1 if is_long else None),
        Figure("open files, halves", f"{files[0]}, {files[1]}", "no more", files[1] <= files[0] + 5),
        Figure("tasks, halves", f"{tasks[0]}, {tasks[1]}", "no more", tasks[1] <= tasks[0] + 10),
        Figure(
            "p99 of acceptance, halves",
            f"{p99s[0]:.0f} ms, {p99s[1]:.0f} ms ({drift:+.0f} %)",
            "< +10 %",
            drift < 10 if is_long else None,
        ),
    ]


def slope_per_hour(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through some points, per hour."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope * 3600


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all values lies."""
    return sorted(values)[int(share * (len(values) - 1))]


# --- the other suites ---


def run_suite(path: str, seconds: float) -> Figure:
    """Run the long form of a suite for so long at most."""
    environment = {**os.environ, "GUESTWIRE_EXAMPLES": "long", "GUESTWIRE_FIGURES": str(OUT / "figures.jsonl")}
    pytest = [sys.executable, "-m", "pytest", "-q", path]
    collected = subprocess.run(
        [*pytest, "--collect-only"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    there_are = int(found[1]) if (found := re.search(r"(\d+) tests? collected", collected.stdout)) else 0
    name = path.replace("/", "-")
    report = OUT / f"{name}.xml"
    report.unlink(missing_ok=True)
    with (OUT / f"{name}.log").open("wb") as log:
        command = [*pytest, "-n", "auto", "--dist", "loadgroup", f"--junitxml={report}"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        cut_off = False
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            cut_off = True
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    ran, failed = counts(report)
    words = f"{ran} of {there_are} run" + (f", {failed} failed" if failed else "")
    if ran < there_are:
        words += "; no time for the rest" if cut_off else "; the rest did not run"
    # Cut off before its first test had ended it shows nothing; ended by itself without a test it is broken.
    holds = failed == 0 if ran else None if cut_off else False
    return Figure(path, words, "0 failed", holds)


def counted() -> list[Figure]:
    """What the suites wrote down of themselves, as far as they came to the end of a story."""
    path = OUT / "figures.jsonl"
    told = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    kills = [each for each in told if each["what"] == "kills"]
    points = [each for each in told if each["what"] == "points"]
    figures = []
    if kills:
        number = sum(each[who] for each in kills for who in ("relay", "early", "submitter", "link"))
        left = sum(each["left_sending"] for each in kills)
        wrong = sum(each["violations"] for each in kills)
        words = f"{number} in {len(kills)} stores; {left} messages were on their way; {wrong} violations"
        figures.append(Figure("kills at random instants", words, "0 violations", wrong == 0))
    if points:
        met = sum(each["met"] for each in points)
        figures.append(Figure("deaths at named points", f"{met} in {len(points)} stores", "0 violations", True))
    return figures


def counts(report: Path) -> tuple[int, int]:
    """Return how many tests a report tells of, and how many of them failed."""
    if not report.exists():
        return 0, 0
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest wrote it just now
    ran = sum(int(suite.get("tests", "0")) for suite in suites)
    return ran, sum(int(suite.get(kind, "0")) for suite in suites for kind in ("failures", "errors"))


def table(figures: Sequence[Figure]) -> str:
    """The figures, as a table of a page."""
    signs = {True: "yes", False: "**NO**", None: "–"}
    rows = [(*figure[:3], signs[figure.holds]) for figure in figures]
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [("what", "figure", "goal", "holds"), ("---",) * 4, *rows]
    )


def main() -> int:
    """Divide the minutes; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N")
    minutes: float = parser.parse_args().minutes
    ends_at = time.monotonic() + minutes * 60
    OUT.mkdir(exist_ok=True)
    (OUT / "figures.jsonl").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="guestwire-soak-") as folder:
        figures = asyncio.run(steady(Path(folder), max(STEADY_S, minutes * 60 * STEADY_SHARE), 10.0))
    suites = [path for path in SUITES if (ROOT / path).exists()]
    for place, path in enumerate(suites):
        left_s = ends_at - time.monotonic()
        if left_s >= SUITE_S:
            figures.append(run_suite(path, max(SUITE_S, left_s / (len(suites) - place))))
        else:
            figures.append(Figure(path, "not run: no time was left", "0 failed", None))
        sys.stderr.write(f"{figures[-1].what}: {figures[-1].figure}\n")
    figures += counted()
    written: dict[str, Any] = {
        "command": f"make soak MINUTES={minutes:g}",
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip(),
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "rows": [
            {
                "suite": figure.what,
                "figure": figure.figure,
                "goal": figure.goal or "–",
                "held": figure.holds,
            }
            for figure in figures
        ],
    }
    (OUT / "soak-report.json").write_bytes(msgspec.json.format(msgspec.json.encode(written)))
    (OUT / "soak-report.md").write_text(f"# {minutes:g} minutes\n\n{table(figures)}\n")
    sys.stdout.write(table(figures) + "\n")
    return int(any(figure.holds is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
