"""Dead at every point: before and after each durable step, and in each state of a way out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from guestwire.emulator.records import AgentError
from guestwire.store.base import Change
from tests.chaos.kit import Stage, plan, record, stage
from tests.chaos.points import APART, CHANGES, ONCE, POINTS
from tests.chaos.worker import wiring

LONG = os.environ.get("GUESTWIRE_EXAMPLES") == "long"
#: The table is gone through so often, each time cut into so many stories that go on side by side: most is waiting.
TIMES = 20 if LONG else 1
AT_ONCE = 4
#: What may happen to the next message, or file.
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("drop_before_accept", {}),
    ("drop_after_accept", {}),
    ("lose_echo", {}),
    ("expire_session", {}),
    ("throttle", {"retry_after_s": 0}),
    ("error_frame", {"code": 4000}),
    ("error_frame", {"code": 401}),
    ("error_frame", {"code": 5000, "match": {"action": "onAttachment"}}),
    ("http_drop_before", {}),
    ("http_drop_after", {}),
    ("http_status", {"status": 400}),
    ("http_status", {"status": 503, "retry_after_s": 1}),
    ("http_status", {"status": 500, "accept": True}),
)
#: What the far side may do to a guest. No session expires between a message and its echo: had the message been
#: accepted, the session would have lived on (docs/faults.md).
TRIGGERS = ("evict", "read_only", "disconnect", "clear", "drop")
SETTINGS: dict[str, Any] = {"clear_enabled": True, "conversation_disconnect": "read_only", "auto_start": False}
PATIENCE = {"evicted_retry_s": 0.2, "reconnect_cap_s": 0.05}
EVERY_S = 0.03


async def pester(made: Stage, draw: random.Random) -> None:
    """Let things happen at the far side, one after the other: so that every point is passed."""
    while True:
        with contextlib.suppress(AgentError):  # nobody is there to whom it could happen
            conversations = made.genesys.conversations()
            newest = [each["conversation_id"] for each in conversations[-9:]]
            open_ones = [each["conversation_id"] for each in conversations if each["connections"]]
            match draw.randrange(6):
                case 0 | 1 if newest:
                    made.genesys.say("an answer", conversation_id=draw.choice(newest))
                case 2 | 3 if open_ones:
                    made.genesys.trigger(draw.choice(TRIGGERS), conversation_id=draw.choice(open_ones))
                case _ if not made.genesys.faults() or draw.random() < 0.3:
                    kind, parameters = draw.choice(FAULTS)
                    made.genesys.inject(kind, **{"match": {"text": "sue"}, **parameters})
        await asyncio.sleep(EVERY_S)


@contextlib.asynccontextmanager
async def pestered(made: Stage, draw: random.Random) -> AsyncIterator[None]:
    """As `pester`, for the length of the block."""
    task = asyncio.create_task(pester(made, draw))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        made.genesys.clear_faults()


@pytest.mark.parametrize("seed", range(TIMES))
async def test_dead_at_every_point(tmp_path: Path, seed: int) -> None:
    """Every point of the table is met, and whatever died there: 0 lost, 0 unexplained duplicates, 0 out of order."""
    draw = plan(seed)
    points = draw.sample(POINTS, len(POINTS))
    async with asyncio.TaskGroup() as group:
        for place in range(AT_ONCE):
            group.create_task(die_at(points[place::AT_ONCE], tmp_path / f"{place}", plan(seed * AT_ONCE + place)))


async def die_at(points: Sequence[str], folder: Path, draw: random.Random) -> None:
    """Die at one point after the other, in one continuing traffic."""
    async with stage(folder, **SETTINGS) as made:
        async with pestered(made, draw):
            for point in points:
                nth = 1 if point in ONCE or not LONG else draw.randrange(1, 5)
                child = await made.start(name="sue", busy=True, point=point, nth=nth, patience=PATIENCE, burst=12)
                await made.ended(child)
                assert made.died_at[-1:] == [point], made.broken
                found, _ = await made.audit()
                # What was accepted and could not be told any more is a stranger, until the next one submits it again.
                wrong = [*found.lost, *found.unexplained, *found.disorder]
                assert not wrong, await made.explain(found, point)
        await made.finish("sue", patience=PATIENCE, busy=True, burst=12)
        found, _ = await made.audit()
        record("points", met=len(made.died_at), messages=len(made.told), duplicates=found.duplicates)
        assert made.died_at == points
        assert not found.violations, await made.explain(found, "at the end")
        assert found.waiting == []
        made.integrity()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_dead_as_a_sign_in_is_kept(tmp_path: Path, when: str) -> None:
    """Its tokens are in the store from the commit on; before it the guest signs in again, and all goes on."""
    async with stage(tmp_path, ("webmessaging",), auth_enabled=True) as made:
        one: dict[str, Any] = {"guests": 1, "files": False, "signs_in": True}
        child = await made.start(name="sue", point=f"sign-in kept {when} commit", **one)
        await made.ended(child)
        assert made.died_at, made.broken
        async with wiring(made.order(relay="never")) as wire:
            guest_ref = await wire.guest_ref("sue 0")
            (lane,) = await wire.store_read(lambda store: store.lanes([guest_ref]))
        assert (lane.auth is not None) == (when == "after")
        if when == "after":
            await made.finish("sue", **{**one, "signs_in": False})  # nobody is asked again
        await made.finish("sue", **one)
        await judged(made)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_dead_as_a_lane_is_moved_back(tmp_path: Path, when: str) -> None:
    """With more lanes than there is room for, all of them written by a clock ahead, each goes out all the same."""
    async with stage(tmp_path, ("webmessaging",)) as made:
        many: dict[str, Any] = {"guests": 6, "burst": 12, "files": False}
        child = await made.start(point=f"moved back {when} commit", max_lanes=1)
        submitter = await made.start(name="sue", relay="never", ahead_s=3600.0, **many)
        await made.ended(child)
        assert made.died_at, made.broken
        await made.kill(submitter)
        await made.finish("sue", max_lanes=1, **many)
        await judged(made)


async def judged(made: Stage) -> None:
    """Nothing lost, doubled without record or out of order, and the files are whole."""
    found, _ = await made.audit()
    assert not found.violations, await made.explain(found, made.died_at[-1])
    assert found.waiting == []
    made.integrity()


def test_points_are_named_once() -> None:
    """No two have one name, and whoever is met once is met at all."""
    assert len({*POINTS, *APART}) == len(POINTS) + len(APART)
    assert set(ONCE) <= set(POINTS)


def test_every_change_is_a_point() -> None:
    """Whatever a step of the relay may bring to disk, a process has died before it and after."""
    assert set(CHANGES.values()) == set(get_args(Change))
