"""What an import pulls in: the paths that must start fast leave the heavy libraries alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("aiohttp", "pydantic", "typer", "rich", "hypothesis", "pytest", "PIL", "puremagic", "guestwire.emulator")
WORLD = ("apsw", "cryptography", "picows", "asyncio", "socket", "ssl")


def pulled_in_by(statement: str, candidates: tuple[str, ...]) -> list[str]:
    """Return which modules a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint([name for name in {candidates!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    answer: list[str] = eval(done.stdout)  # noqa: S307 - our own list, printed by our own program
    return answer


def test_the_package_itself_is_light() -> None:
    """`import guestwire` loads no library that does I/O: whoever only wants an error class pays for nothing else."""
    assert pulled_in_by("import guestwire", (*HEAVY, *WORLD)) == []


@pytest.mark.parametrize(
    "module", ["guestwire.client", "guestwire.relay", "guestwire.store.thread", "guestwire.settings"]
)
def test_the_sending_path_is_without_heavy_libraries(module: str) -> None:
    """What every `guestwire send` loads leaves aiohttp, pydantic, typer and the emulator to those who need them."""
    assert pulled_in_by(f"import {module}", HEAVY) == []


@pytest.mark.parametrize(
    "module",
    [
        "guestwire.protocol.guest",
        "guestwire.protocol.gateway",
        "guestwire.policy.check",
        "guestwire.policy.media",
        "guestwire.policy.pace",
        "guestwire.policy.personal",
        "guestwire.policy.retry",
        "guestwire.policy.rules",
        "guestwire.model",
        "guestwire.errors",
    ],
)
def test_thought_needs_no_world(module: str) -> None:
    """Protocol, policy and words load neither a loop nor a socket nor a database."""
    assert pulled_in_by(f"import {module}", (*HEAVY, *WORLD)) == []


def test_the_pytest_plugin_waits_until_it_is_asked() -> None:
    """It is loaded in every test run of everybody who has guestwire installed."""
    loaded = pulled_in_by("import guestwire.pytest_plugin", ("aiohttp", "pydantic", "guestwire.emulator", "apsw"))
    assert loaded == []


def test_no_decoder_is_loaded_where_messages_are() -> None:
    """Pictures are decoded in a process of their own; the one that asks for it knows Pillow by name only."""
    assert pulled_in_by("import guestwire.media.cleaning, guestwire.media.scanning", HEAVY) == []
