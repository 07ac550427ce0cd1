"""What a gateway has counted it counts after a restart, whatever it was: the next relay goes by it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from guestwire import GuestWire, Limits, Message
from guestwire.emulator.app import Emulator
from guestwire.lane import Route
from guestwire.policy.pace import Key
from guestwire.testing import emulator
from tests.journey.kit import FAST, destination, eventually, kiosk, make_wire, say, settled

#: More than any of these tests needs.
LIMITS = Limits(history_per_min=50, connects_per_min=50, configures_per_min=50, requests_per_min=500)
CALLS = ("GET organization", "POST open/message", "POST open/event")


def counted(genesys: Emulator, *actions: str) -> int:
    """How many requests of these kinds the gateway saw."""
    return sum(logged["action"] in actions for logged in genesys.requests())


def route_of(wire: GuestWire) -> Route:
    """Return the only route of a program that relays."""
    assert wire._relay is not None
    (route,) = wire._relay.routes.values()
    return route


async def knows(wire: GuestWire, key: Key, used: int) -> None:
    """Wait until a relay that has just begun knows how much of a window was used before it."""

    def is_known() -> bool:
        route = route_of(wire)
        limit = route.pace.limit(key[0])
        assert limit is not None
        return route.pace.room((key,), wire.clock.now()) == limit.count - used

    await eventually(lambda: wire._relay is not None and is_known())


async def typed(wire: GuestWire, guest: str) -> None:
    """Tell that a guest types, as soon as it may be told."""
    async with asyncio.timeout(10):
        while not await wire.guests.typing(guest):  # noqa: ASYNC110 - the deployment's flags are being read
            await asyncio.sleep(0)


async def test_reads_connects_and_typing_of_a_session(tmp_path: Path) -> None:
    """Also handshakes that came to nothing, of which no journal tells, and reads that a check has made."""
    async with emulator(**FAST) as genesys:
        to = destination(genesys, limits=LIMITS)
        async with make_wire(to, tmp_path) as wire:
            genesys.inject("refuse_upgrade", status=503, times=2)
            genesys.inject("lose_echo")
            ticket = await say(wire, "hello")
            assert await settled(wire, ticket) == ["accepted"]
            await typed(wire, "ann")
            sent = counted(genesys, "onMessage")
            await eventually(lambda: counted(genesys, "onMessage") == sent + 1)
        reads, connects = counted(genesys, "history"), counted(genesys, "connect")
        assert (reads > 0, connects > 2) == (True, True)
        async with make_wire(to, tmp_path) as wire:
            await knows(wire, ("history_per_min", ticket.guest_ref), reads)
            await knows(wire, ("connects_per_min", to.name), connects)
            await knows(wire, ("configures_per_min", ticket.guest_ref), connects)
            await knows(wire, ("typing", ticket.guest_ref), 1)


async def test_calls_of_a_token_that_are_no_messages(tmp_path: Path) -> None:
    """Typing and asking for the organisation: with the messages they are all that the platform has counted."""
    async with emulator(**FAST) as genesys:
        to = kiosk(genesys, limits=LIMITS, expect_org_id=genesys.organization_id)
        async with make_wire(to, tmp_path) as wire:
            ticket = await wire.submit(Message(guest="ann", text="hello"))
            assert await settled(wire, ticket) == ["accepted"]
            await typed(wire, "ann")
            await eventually(lambda: counted(genesys, "POST open/event"))
        async with make_wire(to, tmp_path) as wire:
            await eventually(lambda: wire._relay is not None)
            shared = route_of(wire).shared
            assert shared is not None
            await knows(wire, shared.errand_keys[0], counted(genesys, *CALLS))
            await knows(wire, ("typing", ticket.guest_ref), 1)
