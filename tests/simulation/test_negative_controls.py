"""A simulation that finds nothing proves nothing: each mistake made on purpose is found out, and by its own mark."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, made
from tests.simulation.world import simulate

#: Each has been found within 60 worlds; whatever changes the plans shuffles them.
WORLDS = 250


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_found_out(name: str) -> None:
    """Within a few worlds the auditor names the very promise that the mistake breaks; without it, all is well."""
    marks = MUTANTS[name][1]
    for seed in range(WORLDS):
        with made(name):
            wrong = simulate(seed).wrong
        if any(mark in each for mark in marks for each in wrong):
            assert not simulate(seed).wrong
            return
    pytest.fail(f"{WORLDS} worlds, and '{name}' was not found out")
