"""What the journeys share: a program's side of an emulator, and waiting for what must come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from guestwire import Destination, GuestWire, JournalEntry, Message, RelaySettings, Ticket
from guestwire.client import RelayMode
from guestwire.clock import Clock
from guestwire.emulator.app import Emulator
from guestwire.emulator.settings import EmulatorSettings
from guestwire.settings import Secret, StoreSettings
from guestwire.store.sqlite import SqliteStore
from guestwire.testing import FakeClock

#: How long a test waits for what must come, in seconds.
PATIENCE_S = 15.0
#: Patience of a relay in a hurry. The order of sizes is that of the defaults.
QUICK = RelaySettings(
    answer_s=0.3, settle_s=0.1, reconnect_base_s=0.02, reconnect_cap_s=0.2, shutdown_s=2.0, reorder_s=0.05
)
#: An emulator in a hurry.
FAST: dict[str, Any] = {"echo_delay_ms": "0-2", "history_lag_s": 0.02}


def destination(genesys: Emulator, **changes: Any) -> Destination:
    """Where the emulator is."""
    return Destination(name="emulator", url=genesys.url, deployment_id=genesys.deployment_id, **changes)


def kiosk(genesys: Emulator, **changes: Any) -> Destination:
    """The emulator's Open Messaging integration."""
    return rest_destination(
        genesys, name="kiosk", transport="openmessaging", integration_id=genesys.integration_id, **changes
    )


def own_gateway(genesys: Emulator, **changes: Any) -> Destination:
    """The emulator as a gateway that serves the tutorial contract."""
    return rest_destination(genesys, name="tutorial", transport="rest-contract", **changes)


def rest_destination(genesys: Emulator, **changes: Any) -> Destination:
    """A destination with the emulator's OAuth client and webhook secret, where nothing else is said."""
    known: dict[str, Any] = {
        "url": genesys.url,
        "client_id": genesys.client_id,
        "client_secret": Secret(genesys.client_secret),
        "webhook_secret": Secret(genesys.webhook_secret),
    }
    return Destination(**(known | changes))


def make_wire(
    to: Destination,
    folder: Path,
    *,
    relay: RelayMode = "auto",
    patience: RelaySettings = QUICK,
    clock: Clock | None = None,
    busy_timeout_s: float = 5.0,
) -> GuestWire:
    """Wire a program to a destination; not started."""
    return GuestWire(
        [to],
        store=folder,
        relay=relay,
        store_settings=StoreSettings(path=folder, min_free_disk_mb=1, busy_timeout_s=busy_timeout_s),
        relay_settings=patience,
        clock=clock,
    )


@contextlib.asynccontextmanager
async def wired(
    genesys: Emulator,
    folder: Path,
    *,
    relay: RelayMode = "auto",
    patience: RelaySettings = QUICK,
    clock: Clock | None = None,
    **changes: Any,
) -> AsyncIterator[GuestWire]:
    """A program with a store, wired to the emulator."""
    async with make_wire(destination(genesys, **changes), folder, relay=relay, patience=patience, clock=clock) as wire:
        yield wire


async def say(wire: GuestWire, text: str, guest: str = "ann", **more: Any) -> Ticket:
    """Submit one message."""
    return await wire.submit(Message(guest=guest, text=text, **more))


async def settled(wire: GuestWire, *tickets: Ticket) -> list[str]:
    """Wait until nothing more will happen to any of these by itself; returns the state of each message."""
    async with asyncio.timeout(PATIENCE_S):
        statuses = await wire.wait_many(tickets)
    return ["+".join(sorted(status.parts)) for status in statuses]


async def journal_of(wire: GuestWire) -> list[JournalEntry]:
    """The whole journal."""
    return await wire.store_read(lambda store: store.journal(0, 1_000_000))


async def story_of(wire: GuestWire, ticket: Ticket) -> list[str]:
    """What the journal says of a message's first part, without its prefix."""
    part_id = ticket.part_ids[0]
    entries = await wire.store_read(lambda store: SqliteStore.journal_of(store, part_id))
    return [entry.event.removeprefix("part.") for entry in entries]


async def until(wire: GuestWire, *events: str, after: int = 0, times: int = 1) -> JournalEntry:
    """Wait until the journal has one of these events, so many times; returns the last of them."""
    async with asyncio.timeout(PATIENCE_S):
        async with contextlib.aclosing(wire.journal(after=after)) as entries:
            async for entry in entries:
                if entry.event in events:
                    times -= 1
                    if times == 0:
                        return entry
    raise AssertionError("unreachable")


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds that nobody announces; gives the loop to others meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


def inbound(genesys: Emulator) -> list[str]:
    """The texts that an agent sees from guests, in visible order."""
    return [message["text"] for message in genesys.messages() if message["direction"] == "Inbound"]


@contextlib.asynccontextmanager
async def on_one_clock(clock: FakeClock, **settings: Any) -> AsyncIterator[Emulator]:
    """An emulator whose time is ours."""
    genesys = Emulator(EmulatorSettings.checked(settings), clock=clock.now)
    try:
        await genesys.start()
        yield genesys
    finally:
        await genesys.close()
