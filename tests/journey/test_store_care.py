"""A store that is looked after: backed up in the middle of its work, moved away, restored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from guestwire import StoreError
from guestwire.testing import emulator
from tests.journey.kit import FAST, PATIENCE_S, inbound, say, settled, wired


async def test_a_store_that_is_moved_away_ends_the_relay(tmp_path: Path) -> None:
    """Nobody is told "queued" of what would lie in a folder that nobody looks into; whoever waits is told why."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path / "store") as wire:
            await settled(wire, await say(wire, "before"))
            genesys.inject("lose_echo")
            ticket = await say(wire, "on its way")
            (tmp_path / "store").rename(tmp_path / "aside")
            with pytest.raises(StoreError) as caught:
                await say(wire, "after")
            assert caught.value.code == "GW-S034"
            with pytest.raises(StoreError) as caught:
                async with asyncio.timeout(PATIENCE_S):
                    await wire.wait(ticket)
            assert caught.value.code == "GW-S034"
        async with wired(genesys, tmp_path / "aside") as wire:
            assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["before", "on its way"]
