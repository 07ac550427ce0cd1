"""
What callers do, from processes of their own.

A verb of the store that people may call at any time belongs here: write a function that takes a `Caller` and add it to
`VERBS` with its weight. It runs at moments that the seed chooses, on a caller's own clock and connection, and tells the
world what it was told (`world.promise`), for the auditor.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from guestwire.errors import StoreError
from guestwire.model import Delivery, Draft, GuestKey, MessageId, PartBody, Ticket
from guestwire.store.base import Intake, Intervention, Person
from guestwire.store.sqlite import SqliteStore
from tests.simulation.clockwork import ProcessClock
from tests.simulation.host import Process
from tests.simulation.plan import LATER_S

if TYPE_CHECKING:
    from tests.simulation.world import World


class Caller(Process):
    """A program that submits."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        #: What a verb draws from: its own, so that one verb more changes no other seed's world than it must.
        self.script = random.Random(f"script {name} {world.plan.seed}")  # noqa: S311 - a simulation

    async def add(self, intakes: list[Intake]) -> list[Ticket]:
        """Have messages stored."""
        return await self.writer.write(lambda store: store.add(intakes, self.clock.now()))

    def intake(self) -> Intake:
        """Make up a message."""
        draw, now, plan = self.script, self.clock.now(), self.world.plan
        words = "again and again" if plan.same_texts else f"{self.name} says {draw.getrandbits(40):x}"
        parts = draw.choices((1, 2, 3), (8, 1, 1))[0]
        not_before = now + draw.uniform(-1.0, LATER_S) if draw.random() < 0.15 else None
        expires_at = now + draw.uniform(0.5, LATER_S) if draw.random() < 0.15 else None
        if not_before is not None and expires_at is not None:
            expires_at = max(expires_at, not_before + 0.5)
        draft = Draft(
            destination=draw.choice(plan.destinations).name,
            guest=GuestKey(f"guest {draw.randrange(plan.guests)}"),
            text=words,
            key=f"key {draw.getrandbits(60):x}" if draw.random() < 0.4 else None,
            not_before=not_before,
            expires_at=expires_at,
            priority=draw.choice((0, 5, 5, 5, 9)),
        )
        bodies = tuple(PartBody(words if parts == 1 else f"{words} {number}") for number in range(parts))
        return Intake(draft, bodies, draw.choices(list(Delivery), (3, 2))[0])


async def submit(caller: Caller) -> None:
    """Submit some messages at once; one who is told that the store failed may try again."""
    world, draw = caller.world, caller.script
    intakes = [caller.intake() for _ in range(draw.choice((1, 1, 2, 4, 12)))]
    for _ in range(draw.choice((1, 2, 6))):
        try:
            tickets = await caller.add(intakes)
        except StoreError:
            intakes = [intake for intake in intakes if intake.draft.key is not None]  # the others might come twice
            if not intakes:
                return
            await caller.clock.wait(world.never, caller.clock.now() + 1.0)
        else:
            world.promise(caller, intakes, tickets)
            return


async def submit_again(caller: Caller) -> None:
    """Submit messages with keys that were given before: each is the message that it was."""
    known = [intake for intake in caller.world.promised_intakes if intake.draft.key is not None]
    if not known:
        return await submit(caller)
    intakes = caller.script.sample(known, min(len(known), 3))
    try:
        tickets = await caller.add(intakes)
    except StoreError:
        return
    caller.world.promise_again(intakes, tickets)


async def cancel(caller: Caller) -> None:
    """Cancel a message."""
    await _decide(caller, SqliteStore.cancel)


async def release(caller: Caller) -> None:
    """Release a message that waits for a person, if it does."""
    await _decide(caller, SqliteStore.release)


async def retry(caller: Caller) -> None:
    """Replay a message that was given up, if it was."""
    await _decide(caller, SqliteStore.retry)


async def resume(caller: Caller) -> None:
    """Let a guest's paused lane go on."""
    world = caller.world
    if world.tickets:
        guest = caller.script.choice(list(world.tickets.values())).guest_ref
        with contextlib.suppress(StoreError):
            await caller.writer.write(lambda store: store.resume(guest, PERSON, caller.clock.now()))


async def _decide(caller: Caller, verb: Callable[[SqliteStore, MessageId, Person, float], Intervention]) -> None:
    world = caller.world
    for ticket in caller.script.sample(list(world.tickets.values()), min(len(world.tickets), 4)):
        with contextlib.suppress(StoreError):
            message = ticket.message_id
            done = await caller.writer.write(partial(_carry_out, verb, message, caller.clock))
            world.decided(ticket, done)


def _carry_out(
    verb: Callable[[SqliteStore, MessageId, Person, float], Intervention],
    message: MessageId,
    clock: ProcessClock,
    store: SqliteStore,
) -> Intervention:
    return verb(store, message, PERSON, clock.now())


PERSON = Person("somebody", "the script says so")
Verb = Callable[[Caller], Awaitable[None]]
#: What a caller may do, and how often compared with the others.
VERBS: dict[str, tuple[Verb, int]] = {
    "submit": (submit, 8),
    "submit again": (submit_again, 2),
    "cancel": (cancel, 1),
    "release": (release, 2),
    "retry": (retry, 2),
    "resume": (resume, 1),
}
