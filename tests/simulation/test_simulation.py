"""Worlds of many seeds: whatever happens, nothing is lost, doubled without a word, overtaken or sent too fast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import Verdict, simulate

#: Worlds of one test, so that several processes share them.
CHUNK = 25
SEEDS = 100_000 if os.environ.get("GUESTWIRE_EXAMPLES") == "long" else 500


def explain(verdict: Verdict) -> str:
    """Say what was wrong, and how to see it again."""
    return "\n".join(
        [f"seed {verdict.seed}; its story: python -m tests.simulation {verdict.seed} -v", *verdict.wrong[:20]]
    )


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_worlds(first: int) -> None:
    """In every world of the chunk the promise holds, and everything comes to rest."""
    wrong = [verdict for seed in range(first, first + CHUNK) if (verdict := simulate(seed)).wrong]
    assert not wrong, "\n\n".join(explain(verdict) for verdict in wrong[:3])


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 8])
def test_a_seed_is_a_world(seed: int) -> None:
    """The same seed gives the same journal, entry by entry, and the same conversations."""
    assert simulate(seed).digest == simulate(seed).digest


def test_a_seed_is_a_world_in_every_process(tmp_path: Path) -> None:
    """Nothing depends on the order of a set: another process, with other hashes, tells the same story to the end."""
    stories = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "14", "-v"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            check=True,
            capture_output=True,
        ).stdout
        for hashes in ("1", "2")
    }
    (story,) = stories
    assert b"relay.started" in story
    assert b"seed 14:" in story
