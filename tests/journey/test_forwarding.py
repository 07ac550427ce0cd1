"""Replies from the store to a receiver: acknowledged there, told again after a restart, never twice without need."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from guestwire.client import GuestWire
from guestwire.emulator.app import Emulator
from guestwire.errors import ConfigError
from guestwire.forwarding import forward, lag_of
from guestwire.settings import ReplyForwarding
from guestwire.testing import emulator
from tests.journey.kit import FAST, PATIENCE_S, journal_of, say, settled, until, wired


class Receiver:
    """Answers with the statuses that it is given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        """One POST."""
        event = json.loads(await request.read())
        self.came.put_nowait(event)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    async def next(self) -> dict[str, Any]:
        """The next event's data."""
        async with asyncio.timeout(PATIENCE_S):
            data: dict[str, Any] = (await self.came.get())["data"]
            return data


@contextlib.asynccontextmanager
async def listening(receiver: Receiver, folder: Path) -> AsyncIterator[ReplyForwarding]:
    """The settings of a receiver that listens."""
    runner = web.ServerRunner(web.Server(receiver.take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    secret = folder / "secret"
    secret.write_text("whsec_" + "A" * 32)
    secret.chmod(0o600)
    try:
        yield ReplyForwarding(
            url=f"http://127.0.0.1:{port}/hook", secret_file=secret, allow=(f"127.0.0.1:{port}",), consumer="crm"
        )
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def forwarding(wire: GuestWire, settings: ReplyForwarding) -> AsyncIterator[asyncio.Task[None]]:
    """A program forwards."""
    task = asyncio.create_task(forward(wire, settings))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def replied(wire: GuestWire, genesys: Emulator, guest: str, text: str) -> None:
    """A guest says something, and hears of it."""
    assert await settled(wire, await say(wire, "hello", guest)) == ["accepted"]
    before = len([entry for entry in await journal_of(wire) if entry.event == "reply.received"])
    genesys.say(text)
    await until(wire, "reply.received", times=before + 1)


async def taken(wire: GuestWire, settings: ReplyForwarding) -> None:
    """Wait until the receiver is not behind any more."""
    async with asyncio.timeout(PATIENCE_S):
        while (await lag_of(wire, settings))[0]:  # noqa: ASYNC110 - acknowledging is no event
            await asyncio.sleep(0)


async def test_what_is_not_acknowledged_goes_out_after_a_restart(tmp_path: Path) -> None:
    """Under the caller's own key of the guest; what was taken does not come again."""
    receiver = Receiver()
    async with emulator(**FAST) as genesys, listening(receiver, tmp_path) as settings:
        async with wired(genesys, tmp_path / "store") as wire:
            await replied(wire, genesys, "ann", "one")
            count, oldest_at = await lag_of(wire, settings)
            assert count == 1
            assert oldest_at is not None
            async with forwarding(wire, settings):
                assert (await receiver.next())["guest"] == "ann"
                await taken(wire, settings)
            await replied(wire, genesys, "bob", "two")
        async with wired(genesys, tmp_path / "store") as wire:
            assert (await lag_of(wire, settings))[0] == 1
            async with forwarding(wire, settings):
                assert (await receiver.next())["guest"] == "bob"
                await taken(wire, settings)
            assert await lag_of(wire, settings) == (0, None)
    assert receiver.came.empty()


async def test_what_the_receiver_does_not_take_is_noted_with_its_guest(tmp_path: Path) -> None:
    """So that the guest's own journal tells of it; the next attempt is taken."""
    receiver = Receiver(500)
    async with (
        emulator(**FAST) as genesys,
        listening(receiver, tmp_path) as settings,
        wired(genesys, tmp_path / "store") as wire,
    ):
        await replied(wire, genesys, "ann", "one")
        async with forwarding(wire, settings):
            noted = await until(wire, "reply.not_forwarded")
            assert noted.guest_ref == await wire.guest_ref("ann")
            assert noted.detail["reason"] == "HTTP 500"
            assert [(await receiver.next())["text"] for _ in range(2)] == ["one", "one"]
            await taken(wire, settings)


async def test_a_receiver_that_is_gone_ends_it(tmp_path: Path) -> None:
    """And nothing counts as taken."""
    receiver = Receiver(410)
    async with (
        emulator(**FAST) as genesys,
        listening(receiver, tmp_path) as settings,
        wired(genesys, tmp_path / "store") as wire,
    ):
        await replied(wire, genesys, "ann", "one")
        async with forwarding(wire, settings) as task, asyncio.timeout(PATIENCE_S):
            await task
        assert (await lag_of(wire, settings))[0] == 1
        await until(wire, "reply.forwarding_stopped")


async def test_a_receiver_that_may_not_be_reached_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    settings = ReplyForwarding(url="https://127.0.0.1/hook", secret_file=tmp_path / "secret")
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path / "store") as wire:
        with pytest.raises(ConfigError, match="loopback"):
            await forward(wire, settings)
