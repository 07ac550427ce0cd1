"""`guestwire demo` as a process."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.journey.test_cli_kit import Cli, ended, line_with


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


def test_the_demo_loses_and_doubles_nothing(cli: Cli) -> None:
    """Its last line is one object, the conversation goes to stderr, and the emulator stays up until Ctrl-C."""
    began = time.monotonic()
    process = cli.start("demo", "--json", "--compare", "--keep")
    line_with(process.stderr, "→")
    line_with(process.stderr, "←")
    first_s = time.monotonic() - began
    result = json.loads(line_with(process.stdout, "messages"))
    assert result["messages"] == result["shown"] >= 300
    assert (result["lost"], result["duplicates"], result["out_of_order"], result["changed"]) == (0, 0, 0, 0)
    assert sum(result["faults"].values()) == 18
    assert result["unknown"] == sum(result["settled"].values())
    assert result["seconds"] < 30
    assert result["tutorial_client"]["messages"] == result["messages"]
    assert first_s < 2 * 2.5  # 2 s on a quiet machine; here other tests run beside it
    url = line_with(process.stderr, "stays up at").split("stays up at ")[1].split(";")[0]
    assert cli("send", "--gateway", url, "--guest", "1", "x").code == 0
    assert ended(process, signal.SIGINT).code == 0


def test_the_demo_kills_its_own_relay(cli: Cli) -> None:
    """Killed five times with SIGKILL as messages flow: each time another one takes over; the verdict is the same."""
    process = cli.start("demo", "--json", "--chaos")
    line_with(process.stderr, "is killed with SIGKILL (1 of 5)")
    line_with(process.stderr, "has taken over after")
    result = json.loads(line_with(process.stdout, "messages"))
    assert ended(process).code == 0
    assert result["messages"] == result["shown"] >= 300
    assert (result["lost"], result["duplicates"], result["out_of_order"], result["changed"]) == (0, 0, 0, 0)
    assert result["kills"] == len(result["takeover_s"]) == 5
    assert result["unknown"] > 18  # more than the mishaps alone leave behind


def test_the_demo_can_be_interrupted(cli: Cli) -> None:
    """Exit code 130, no traceback, nothing left in the temporary folder."""
    process = cli.start("demo", TMPDIR=str(cli.folder))
    line_with(process.stdout, "→")
    assert ended(process, signal.SIGINT).code == 130
    assert not list(cli.folder.glob("guestwire-demo-*"))
