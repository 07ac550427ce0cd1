"""Worlds of many seeds: whatever happens, nothing is lost, doubled without a word, overtaken or sent too fast."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.simulation.gateway import CALM
from tests.simulation.plan import POINTS, Plan, draw_destinations, draw_plan
from tests.simulation.world import Verdict, simulate

#: Worlds of one test, so that several processes share them.
CHUNK = 25
SEEDS = 100_000 if os.environ.get("GUESTWIRE_EXAMPLES") == "long" else 500
#: A world with every kind of route, in which much goes on.
BUSY = 106
#: Deaths at each point.
DEATHS = 12


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


@pytest.mark.parametrize("point", POINTS)
def test_death_at_every_point(point: str) -> None:
    """A process that dies there, the first time, the second, the third …: the promise holds, and the point is met."""
    met = 0
    for nth in range(1, DEATHS + 1):
        plan = msgspec.structs.replace(draw_plan(BUSY), kill_at={point: nth}, happenings=())
        verdict = simulate(BUSY, plan=plan)
        assert not verdict.wrong, (nth, explain(verdict))
        met += point in verdict.died_at
    assert met >= 3  # a relay that nobody kills opens its three routes once


@pytest.mark.parametrize("route", ["web", "kiosk"])
def test_the_rate_is_used(route: str) -> None:
    """With a backlog and a sound gateway at least 95 % of the allowed rate is used, and never more than all of it."""
    plan = backlog_plan(route)
    verdict = simulate(plan.seed, plan=plan)
    assert not verdict.wrong
    began_at, minutes = verdict.messages_at[0], 5
    sent = [at for at in verdict.messages_at if at < began_at + 60.0 * minutes]
    assert verdict.messages_at[-1] > began_at + 60.0 * minutes
    assert len(sent) >= 0.95 * minutes * plan.destinations[0].limits.requests_per_min


def backlog_plan(route: str) -> Plan:
    """A world without faults: more than five minutes of messages at 60 a minute, all of them at the beginning."""
    drawn = draw_plan(BUSY)
    known = {each.name: each for each in draw_destinations(random.Random(BUSY))}  # noqa: S311 - a simulation
    limits = msgspec.structs.replace(
        known[route].limits, messages_per_s=5, requests_per_min=60, reserve_per_min=0, max_in_flight=8
    )
    return msgspec.structs.replace(
        drawn,
        destinations=(msgspec.structs.replace(known[route], limits=limits),),
        moods={route: CALM},
        workers=1,
        guests=1 if route == "web" else 5,
        span_s=10.0,
        calls=tuple(number * 0.02 for number in range(140)),
        happenings=(),
        kill_at={},
        slow_disk=0.0,
        verbs=("submit",),
    )


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
