"""A relay that is looked at while it works: what it says of itself, here and from another process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path

import aiohttp
import msgspec

from guestwire.cli.operating import patting
from guestwire.cli.supervisor import Supervisor
from guestwire.client import GuestWire
from guestwire.health import HealthServer
from guestwire.settings import Limits, RetrySettings, StoreSettings
from guestwire.testing import FakeClock, emulator
from guestwire.vitals import FILE_NAME, STUCK_S, DestinationVitals, Vitals
from tests.journey.kit import (
    FAST,
    PATIENCE_S,
    QUICK,
    destination,
    eventually,
    kiosk,
    make_wire,
    own_gateway,
    say,
    settled,
    until,
    wired,
)


def of(wire: GuestWire) -> DestinationVitals:
    """What is said of the only destination."""
    told = wire.vitals()
    assert told is not None
    (only,) = told.destinations.values()
    return only


async def test_another_process_is_told(tmp_path: Path) -> None:
    """Who relays, since when, what it did in the last minute; after its clean end nothing is left that says it."""
    async with emulator(**FAST) as genesys:
        async with make_wire(destination(genesys), tmp_path, relay="never") as looker:
            assert (looker.vitals(), (await looker.status()).vitals) == (None, None)
            async with wired(genesys, tmp_path) as wire:
                assert await settled(wire, await say(wire, "one")) == ["accepted"]
                await eventually(lambda: looker.vitals() is not None and of(looker).last_min.get("accepted") == 1)
                told = (await looker.status()).vitals
                assert told is not None
                assert (told.pid, told.fence, told.stopping, told.store) == (os.getpid(), 1, False, None)
                assert told.destinations["emulator"].figures["connects"] == 1.0
                assert wire.obstacles() == []
                assert wire.still_s < 5
            assert not (tmp_path / FILE_NAME).exists()
            assert looker.vitals() is None
        assert [each.code for each in wire.obstacles()] == ["no_relay"]


async def test_a_dead_relays_last_words_are_not_believed(tmp_path: Path) -> None:
    """A file that is fresh, while nobody holds the lock, or somebody else does."""
    async with emulator(**FAST) as genesys, make_wire(destination(genesys), tmp_path, relay="never") as looker:
        async with wired(genesys, tmp_path) as wire:
            await eventually(lambda: looker.vitals() is not None)
            last_words = (tmp_path / FILE_NAME).read_bytes()
            (tmp_path / "relay.lock").write_text(f"{os.getpid() + 1}\n")
            assert looker.vitals() is None
            assert wire.vitals() is not None
        (tmp_path / FILE_NAME).write_bytes(last_words)
        assert looker.vitals() is None


async def test_the_limit_that_binds_is_named(tmp_path: Path) -> None:
    """With the time of the next place; and how many messages the last minute took."""
    async with (
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path, limits=Limits(messages_per_s=1)) as wire,
    ):
        for number in range(3):
            await say(wire, str(number))
        await eventually(lambda: of(wire).binding == "messages_per_s")
        told = wire.vitals()
        assert told is not None
        until_at = told.destinations["emulator"].binding_until
        assert until_at is None or told.at - 1 < until_at < told.at + 1.5
        assert wire.obstacles() == []


async def test_an_open_breaker_is_an_obstacle(tmp_path: Path) -> None:
    """Attempts in a row without an answer: the destination is named, with the time of the next try."""
    retry = RetrySettings(trip_after=2, base_s=0.02, cap_s=0.05)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=retry) as wire:
        genesys.inject("drop_after_accept", times=10)
        for number in range(4):
            await say(wire, "hello", f"g{number}")
        tripped = await until(wire, "destination.tripped")
        await eventually(
            lambda: [each.code for each in wire.obstacles()][:1] in (["breaker_open"], ["breaker_half_open"])
        )
        told = of(wire)
        assert told.breaker_until is not None
        assert told.breaker_until >= tripped.detail["until"]


async def test_unknown_outcomes_have_an_expected_time(tmp_path: Path) -> None:
    """Guests in check, and how long their connections alone will take."""
    patience = msgspec.structs.replace(QUICK, settle_s=30.0)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        genesys.inject("lose_echo", times=2)
        genesys.inject("history_truncate", times=100)
        for number in range(2):
            await say(wire, "hello", f"g{number}")
        await until(wire, "part.checking", times=2)
        await eventually(lambda: of(wire).checking == 2)
        seconds = of(wire).checks_s
        assert seconds is not None
        assert 60.0 <= seconds <= 60.0 + 2 * 60 / 1000


async def test_a_store_without_room_is_an_obstacle(tmp_path: Path) -> None:
    """Less free disk than is asked for: new messages would be refused, so it is not ready."""
    async with emulator(**FAST) as genesys:
        settings = StoreSettings(path=tmp_path, min_free_disk_mb=1_000_000_000)
        async with GuestWire([destination(genesys)], store=tmp_path, store_settings=settings) as wire:
            await eventually(lambda: [each.code for each in wire.obstacles()] == ["GW-S021"])


async def test_a_store_that_cannot_be_written_is_an_obstacle(tmp_path: Path) -> None:
    """Noticed within a second though nothing is to be stored, and over within a second of its mend."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await eventually(lambda: wire.obstacles() == [])
        (tmp_path / FILE_NAME).unlink(missing_ok=True)
        (tmp_path / FILE_NAME).mkdir()
        (tmp_path / FILE_NAME / "in the way").touch()
        await eventually(lambda: [each.code for each in wire.obstacles()] == ["GW-S001"])
        (tmp_path / FILE_NAME / "in the way").unlink()
        (tmp_path / FILE_NAME).rmdir()
        await eventually(lambda: wire.obstacles() == [])
        told = json.loads((tmp_path / FILE_NAME).read_bytes())
        assert set(told) == set(Vitals.__struct_fields__)


async def test_a_loop_that_is_stuck_is_not_alive(tmp_path: Path) -> None:
    """503 while its store does not answer for ten seconds, and no pat for the watchdog; all is well once it has."""
    clock = FakeClock(time.time())
    gate = threading.Event()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.setblocking(False)
    supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200"})
    async with (
        contextlib.AsyncExitStack() as stack,
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path / "store", clock=clock) as wire,
        HealthServer(wire) as server,
        patting(wire, supervisor),
        aiohttp.ClientSession() as http,
    ):
        stack.callback(manager.close)

        def patted() -> bool:
            """Whether the watchdog has heard of us since it was asked last."""
            heard = False
            with contextlib.suppress(BlockingIOError):
                while manager.recv(100) == b"WATCHDOG=1":
                    heard = True
            return heard

        async def answer(page: str) -> tuple[int, str]:
            async with http.get(server.url + page) as found:
                return found.status, (await found.json())["status"]

        await until(wire, "relay.started")
        await eventually(lambda: wire.obstacles() == [])
        assert (await answer("/healthz"), await answer("/readyz")) == ((200, "ok"), (200, "ready"))
        try:
            stuck = wire.store_read(lambda _: gate.wait(PATIENCE_S))
            async with asyncio.timeout(PATIENCE_S):
                while (await answer("/healthz")) == (200, "ok"):  # until it has come to the store, and stays there
                    clock.advance(STUCK_S)
            patted()
            for _ in range(20):  # in which it would have been patted many times
                assert await answer("/healthz") == (503, "stuck")
            assert not patted()
        finally:
            gate.set()
        assert await stuck
        async with asyncio.timeout(PATIENCE_S):
            while (await answer("/healthz")) != (200, "ok"):
                clock.advance(1.0)
        await eventually(patted)


async def test_new_settings_hold_while_it_relays(tmp_path: Path) -> None:
    """A token's window, shared by two destinations, is retuned for both; what is in line goes sooner."""
    async with emulator(**FAST) as genesys:
        slow = Limits(messages_per_s=1, requests_per_min=60, reserve_per_min=1)
        first, second = (kiosk(genesys, limits=slow), own_gateway(genesys, limits=slow))
        settings = StoreSettings(path=tmp_path, min_free_disk_mb=1)
        async with GuestWire([first, second], store=tmp_path, store_settings=settings, relay_settings=QUICK) as wire:
            tickets = [await say(wire, str(number), f"g{number}") for number in range(20)]
            quick = msgspec.structs.replace(slow, messages_per_s=100, requests_per_min=1_000)
            new = [msgspec.structs.replace(each, limits=quick) for each in (first, second)]
            changes = wire.reconfigure(new, msgspec.structs.replace(QUICK, settle_s=0.2, ping_after_s=3.0))
            assert {"destinations.kiosk.limits.messages_per_s", "relay.settle_s"} <= set(changes.live)
            assert changes.restart == ("relay.ping_after_s",)
            assert await settled(wire, *tickets) == ["accepted"] * 20
            assert wire.reconfigure(new, msgspec.structs.replace(QUICK, settle_s=0.2)).live == ()
