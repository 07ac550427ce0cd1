"""
What the processes of this suite do: relay, or submit numbered messages and wait for them, or both; on several ways out.

Everything that somebody may have to know of it goes to stdout in whole lines: "ticket", "step", "done" and the like.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import sys
import time
import traceback
import uuid
from pathlib import Path
from typing import Any, Literal

import msgspec

from guestwire import Attachment, Destination, GuestWire, Message, Ticket, relay
from guestwire.clock import SystemClock
from guestwire.errors import GuestWireError, StoreError
from guestwire.model import Draft
from guestwire.settings import Limits, RetrySettings, Secret, StoreSettings
from guestwire.webhook import WebhookServer
from tests.chaos.points import arm
from tests.journey.kit import QUICK
from tests.journey.worker import say

WAYS = ("webmessaging", "openmessaging", "rest-contract")
#: Retries at once; and nothing of a year is too old.
AGAIN = RetrySettings(base_s=0.01, cap_s=0.05, max_age_s=3e7)
#: How long a submitter waits before it asks again what was refused, in seconds.
REFUSED_S = 0.05
#: How often it reports, in seconds.
REPORT_EVERY_S = 0.5
#: How long it leaves a session alone, in seconds.
ERRAND_EVERY_S = 0.2


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a process is to do."""

    folder: str
    place: dict[str, str]
    """Where the emulator is, and how to get in."""
    relay: Literal["auto", "required", "never"] = "auto"
    ways: tuple[str, ...] = WAYS
    name: str = ""
    """Of a submitter, whose guests and messages are his own; empty: it only relays."""
    first: int = 0
    """Number of his next message."""
    burst: int = 9
    """Messages of his that may be on their way together."""
    bursts: int | None = None
    """After so many he says "done" and ends; None: never."""
    waits: bool = True
    """Whether he waits for the end of a burst before the next one."""
    pause_s: float = 0.0
    """Between bursts."""
    reports: bool = False
    """It says how many tasks it has, every now and then."""
    guests: int = 3
    """On each way."""
    files: bool = True
    busy: bool = False
    """It does everything else that there is beside: batches, errands, webhooks, receipts, messages for later."""
    signs_in: bool = False
    """Its guests sign in before they say anything."""
    max_lanes: int | None = None
    """So many lanes of a destination may be in memory; None: as many as the product says."""
    point: str = ""
    """Where it dies by its own hand, see `points`; and at which passage."""
    nth: int = 1
    ahead_s: float = 0.0
    """Of its clock."""
    patience: dict[str, float] = {}
    limits: dict[str, Any] | None = None
    """None: it sends as fast as it can."""
    min_free_disk_mb: int = 0
    max_files: int | None = None


def destinations(order: Order) -> list[Destination]:
    """The ways out."""
    place = order.place
    known: dict[str, Any] = {
        "url": place["url"],
        "client_id": place["client_id"],
        "client_secret": Secret(place["client_secret"]),
        "webhook_secret": Secret(place["webhook_secret"]),
        "retry": AGAIN,
        "pace": order.limits is not None,
        "limits": Limits(**order.limits or {}),
    }
    session = {name: value for name, value in known.items() if not name.endswith(("_id", "_secret"))}
    every = {
        "webmessaging": Destination(name="webmessaging", deployment_id=place["deployment_id"], **session),
        "openmessaging": Destination(
            name="openmessaging", transport="openmessaging", integration_id=place["integration_id"], **known
        ),
        "rest-contract": Destination(name="rest-contract", transport="rest-contract", **known),
    }
    return [every[way] for way in order.ways]


def wiring(order: Order) -> GuestWire:
    """A program; not started."""
    folder = Path(order.folder)
    return GuestWire(
        destinations(order),
        store=folder,
        relay=order.relay,
        store_settings=StoreSettings(path=folder, min_free_disk_mb=order.min_free_disk_mb),
        relay_settings=msgspec.structs.replace(QUICK, **order.patience),
        clock=SystemClock(order.ahead_s),
    )


def begin(order: Order) -> None:
    """Carry out an order; what goes wrong is said."""
    try:
        if order.point:
            arm(order.point, order.nth)
        if order.max_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (order.max_files, order.max_files))
        if order.max_lanes is not None:
            relay.MAX_LANES = order.max_lanes
        asyncio.run(main(order))
    except GuestWireError as error:
        say(f"ended {error.code} {error.message}")
    except BaseException:
        say(f"broken {traceback.format_exc().encode()!r}")
        raise


async def be_busy(wire: GuestWire, order: Order) -> None:
    """Begin what goes on beside the messages; it ends with the process."""
    server = WebhookServer(wire)
    await server.start()
    say(f"webhook {server.url}")

    async def acknowledge() -> None:
        async for reply in wire.replies(reorder_s=0):
            await wire.acknowledge(reply, status="read")

    async def run_errands() -> None:
        for number in itertools.count():
            guest = f"{order.name} {number % order.guests}"
            await wire.guests.follow(guest)
            with contextlib.suppress(GuestWireError):  # there may be no conversation to clear
                await (wire.guests.close, wire.guests.clear, wire.guests.start_new)[number % 3](guest)
            await asyncio.sleep(ERRAND_EVERY_S)

    wire.beside = [asyncio.create_task(acknowledge()), asyncio.create_task(run_errands())]  # type: ignore[attr-defined]


async def main(order: Order) -> None:
    """Relay, or submit, or both."""
    async with wiring(order) as wire:
        say("open")
        telling = asyncio.create_task(tell_steps(wire))
        reporting = asyncio.create_task(report()) if order.reports else None
        if order.name and order.busy:
            await be_busy(wire, order)
        if order.signs_in:
            for number in range(order.guests):
                code = uuid.uuid4().hex  # each is good for one exchange
                await wire.guests.sign_in(f"{order.name} {number}", code=code, redirect_uri="https://shop.example/back")
        if order.name:
            await submit(wire, order)
            say("done")
        else:
            await asyncio.Event().wait()
        telling.cancel()
        if reporting is not None:
            reporting.cancel()


async def report() -> None:
    """Say how many tasks there are."""
    while True:
        say(f"tasks {len(asyncio.all_tasks())}")
        await asyncio.sleep(REPORT_EVERY_S)


async def submit(wire: GuestWire, order: Order) -> None:
    """Submit burst after burst, and tell every ticket; each message has a key: a second time changes nothing."""
    number = order.first
    burst = 0
    while order.bursts is None or burst < order.bursts:
        drafts = [draft(order, number + place) for place in range(order.burst)]
        if order.busy and number // order.burst % 3 == 2:  # by its number: whoever comes after us does it the same way
            tickets = await accepted_as_batch(wire, drafts, f"{order.name} {number}")
        elif burst % 2:
            tickets = await accepted(wire, drafts)
        else:
            tickets = [ticket for each in drafts for ticket in await accepted(wire, [each])]
        for place, ticket in enumerate(tickets):
            say(f"ticket {order.name} {number + place} {msgspec.json.encode(ticket).decode()}")
        if order.waits:
            await wire.wait_many(tickets)
        number += order.burst
        burst += 1
        await asyncio.sleep(order.pause_s)


async def accepted(wire: GuestWire, drafts: list[Draft]) -> list[Ticket]:
    """Submit until it is accepted. What refuses it is said, once."""
    said = ""
    while True:
        try:
            return await wire.submit_many(drafts)
        except StoreError as error:
            if error.code != said:
                said = error.code
                say(f"refused {error.code} {error.message}")
            await asyncio.sleep(REFUSED_S)


async def accepted_as_batch(wire: GuestWire, drafts: list[Draft], batch: str) -> list[Ticket]:
    """Submit so that either all of them enter their lanes or none."""
    tickets = await wire.submit_held(drafts, batch)
    await wire.let_go(batch, batch, batch, len(drafts))
    return tickets


def draft(order: Order, number: int) -> Draft:
    """The submitter's message of a number: its way and its guest follow from it."""
    way = order.ways[number % len(order.ways)]
    guest = f"{order.name} {number // len(order.ways) % order.guests}"
    if order.busy and number % 12 == 10:
        guest = f"{order.name} later {number}"  # nobody else's: when it enters its lane is another order
    with_file = order.files and way == "webmessaging" and number % 5 == 4
    message = Message(
        guest=guest,
        text=f"{order.name} {number}",
        key=f"{order.name} {number}",
        conversation=f"c {guest}" if way == "rest-contract" else None,
        attachments=(Attachment("a.txt", f"file {order.name} {number}".encode()),) if with_file else (),
    ).to_draft(way)
    if not order.busy:
        return message
    now = time.time()
    return msgspec.structs.replace(
        message,
        not_before=now + 0.05 if number % 12 == 10 else None,
        expires_at=now + 0.03 if number % 12 == 11 else None,
    )


async def tell_steps(wire: GuestWire) -> None:
    """A line for each entry of the journal from now on: instants for whoever wants to kill us."""
    async for entry in wire.journal():
        say(f"step {entry.event}")


if __name__ == "__main__":
    begin(msgspec.json.decode(sys.stdin.buffer.read(), type=Order))
    os._exit(0)
