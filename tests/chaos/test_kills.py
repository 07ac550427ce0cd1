"""SIGKILL at random instants, on every way out: of whoever relays, of submitters, and of the connections between."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.chaos.kit import Stage, plan, record, stage
from tests.chaos.zygote import Child

LONG = os.environ.get("GUESTWIRE_EXAMPLES") == "long"
#: Runs; stories that go on side by side in each, because most of it is waiting; kills in each of those.
RUNS, AT_ONCE, KILLS = 20 if LONG else 1, 4, 25
#: How a connection ends at its next request: before the platform has done what it was asked, or after.
CUTS = ("drop_before_accept", "drop_after_accept", "http_drop_before", "http_drop_after")
SUBMITTERS = ("sue", "tom")


class Cast:
    """Who is alive: one that relays, and those that submit."""

    def __init__(self, made: Stage, draw: random.Random) -> None:
        self.made = made
        self.draw = draw
        self.relay: Child
        self.submitters: dict[str, Child] = {}
        self.killed = {"relay": 0, "early": 0, "submitter": 0, "link": 0}

    async def start(self) -> None:
        """Everybody begins."""
        self.relay = await self.made.start()
        for name in SUBMITTERS:
            self.submitters[name] = await self.made.start(name=name, relay="never")

    async def instant(self) -> None:
        """
        Wait for an instant of the run: so many steps from now, and a little later.

        What is between two steps is waited for by the clock: nothing announces it.
        """
        await self.made.step(times=self.draw.randrange(1, 25))
        await asyncio.sleep(self.draw.uniform(0.0, 0.004))

    async def kill(self) -> None:
        """Kill somebody, and let somebody else take the place."""
        match self.draw.random():
            case chance if chance < 0.5:
                await self.instant()
                await self._kill_relay("relay")
            case chance if chance < 0.65:
                # The new one dies in its turn: while it opens the store, takes over, connects, checks what was left.
                await self._kill_relay("early")
                await asyncio.sleep(self.draw.uniform(0.0, 0.15))
                await self._kill_relay("early")
            case chance if chance < 0.8:
                await self.instant()
                name = self.draw.choice(SUBMITTERS)
                await self.made.kill(self.submitters[name])
                self.submitters[name] = await self.made.start(name=name, relay="never")
                self.killed["submitter"] += 1
            case _:
                await self.instant()
                self.made.genesys.inject(self.draw.choice(CUTS))
                self.killed["link"] += 1

    async def _kill_relay(self, when: str) -> None:
        await self.made.kill(self.relay)
        self.relay = await self.made.start()
        self.killed[when] += 1


@pytest.mark.parametrize("run", range(RUNS))
async def test_killed_at_random_instants(tmp_path: Path, run: int) -> None:
    """
    Whoever dies, whenever: 0 lost, 0 unexplained duplicates, 0 out of order, no two relays at once, the files intact.

    Messages go on all three ways out of one store, some with files; their senders die as well.
    """
    async with asyncio.TaskGroup() as group:
        for place in range(AT_ONCE):
            group.create_task(kill_again_and_again(tmp_path / f"{place}", run * AT_ONCE + place))


async def kill_again_and_again(folder: Path, seed: int) -> None:
    """One store, and so many kills."""
    async with stage(folder) as made:
        cast = Cast(made, plan(seed))
        await cast.start()
        while sum(cast.killed.values()) < KILLS or not all(cast.killed.values()):
            await cast.kill()
        for child in (cast.relay, *cast.submitters.values()):
            await made.kill(child)
        await made.finish(*SUBMITTERS)
        found, journal = await made.audit()
        left = [int(entry.detail["left_sending"]) for entry in journal if entry.event == "relay.started"]
        record(
            "kills", seed=seed, **cast.killed, messages=len(made.told), relays=len(left), left_sending=sum(left),
            duplicates=found.duplicates, violations=len(found.violations),
        )  # fmt: skip
        assert not found.violations, await made.explain(found, f"seed {seed}")
        assert found.waiting == []
        assert made.without_file() == []
        assert sum(left) > 0  # some died with a message on its way: else this would prove nothing
        made.integrity()
