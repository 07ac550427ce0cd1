"""How a user's code type-checks: never run, only read by mypy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import assert_type

from guestwire import (
    AuthenticationError,
    Delivery,
    Destination,
    Draft,
    Finding,
    GuestWire,
    GuestWireError,
    JournalEntry,
    Message,
    MessageStatus,
    PartState,
    Rejected,
    RelaySettings,
    Reply,
    Status,
    Ticket,
    blocking,
)
from guestwire.clock import Clock
from guestwire.emulator.app import Emulator
from guestwire.model import Accepted, GuestKey, MessageId, Outcome, PartId, Unknown
from guestwire.testing import FakeClock, ScriptedTransport, emulator
from guestwire.transports.base import Attempt, Transport, TransportEvent


async def submits() -> None:
    """The example of the front page."""
    async with GuestWire.open(to="web") as wire:
        assert_type(wire, GuestWire)
        ticket = await wire.submit(Message(guest="42", text="Where is my order?"))
        assert_type(ticket, Ticket)
        assert_type(ticket.part_ids, tuple[PartId, ...])
        status = await wire.wait(ticket, timeout_s=30)
        assert_type(status, MessageStatus)
        assert_type(status.is_accepted, bool)
        tickets = await wire.submit_many([Message(guest="42", text="One"), Message(guest="42", text="Two")])
        assert_type(tickets, list[Ticket])
        assert_type(await wire.wait_many(tickets), list[MessageStatus])
        assert_type(await wire.status(), Status)
        # A message id is no string of one's own making.
        await wire.message("018f")  # type: ignore[arg-type]
        await wire.message(MessageId("018f"))


async def listens(wire: GuestWire) -> None:
    """Replies, progress and the journal are asynchronous generators: they can be closed."""
    assert_type(wire.replies("42"), AsyncGenerator[Reply, None])
    async with contextlib.aclosing(wire.replies("42", after=7)) as replies:
        async for reply in replies:
            assert_type(reply.text, str | None)
    async for entries in wire.progress([]):
        assert_type(entries, Sequence[JournalEntry])
    async for entry in wire.journal(after=0):
        assert_type(entry.event, str)


async def goes_wrong(wire: GuestWire) -> None:
    """Every error is a `GuestWireError` with a code; a rejection carries its findings."""
    try:
        await wire.submit(Message(guest="42", text=""))
    except Rejected as refused:
        assert_type(refused.findings, tuple[Finding, ...])
    except AuthenticationError as error:
        assert_type(error.hint, str)
    except GuestWireError as error:
        assert_type(error.code, str)


def blocks() -> None:
    """The same without a loop."""
    with blocking.GuestWire.open(gateway="http://127.0.0.1:8080", deployment_id="…") as wire:
        ticket = wire.submit(Draft(destination="web", guest=GuestKey("42"), text="Hello"))
        assert_type(wire.wait(ticket), MessageStatus)
        assert_type(wire.replies("42"), list[Reply])


def configures(folder: Path) -> GuestWire:
    """Everything by hand."""
    to = Destination(name="web", region="eu-west-1", deployment_id="…", delivery=Delivery.AT_MOST_ONCE)
    clock: Clock = FakeClock()
    Destination("web")  # type: ignore[call-arg]
    return GuestWire([to], store=folder, relay="never", relay_settings=RelaySettings(answer_s=5), clock=clock)


async def tests_his_program() -> None:
    """With our emulator, clock and transport."""
    async with emulator(limits="off") as genesys:
        assert_type(genesys, Emulator)
        genesys.inject("lose_echo", match={"text": "hello"})
    told: list[TransportEvent] = []

    def script(attempt: Attempt) -> Outcome | None:
        return Unknown("lost") if attempt.number == 1 else transport.show(attempt)

    transport = ScriptedTransport(told.append, script)
    shape: Transport = transport
    assert_type(shape.figures(), dict[str, float])
    assert_type(transport.show(transport.sent[0]), Accepted)
    clock = FakeClock(now=0.0)
    clock.advance(1.5)
    await clock.wait(asyncio.Event(), until=None)


def reads_states(status: MessageStatus) -> int:
    """States are a closed set."""
    return status.parts.get(PartState.ACCEPTED, 0)
