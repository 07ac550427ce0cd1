"""
What people decide about messages: `wire.messages`.

    await wire.messages.cancel(ticket, why="ordered twice")
    for message in await wire.messages.choose(["dead"], since=outage_began):
        await wire.messages.retry(message)

Each decision is in the journal, with who and why. Any process may decide, beside the one that relays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from guestwire.guests import Wire
from guestwire.model import GuestRef, MessageId, PartState, Ticket
from guestwire.policy.interventions import Verb
from guestwire.store.base import Intervention, Person
from guestwire.store.sqlite import SqliteStore

#: Messages of one transaction: the relay's own steps have to come in between.
SLICE = 200

_VERBS: dict[Verb, Callable[[SqliteStore, MessageId, Person, float], Intervention]] = {
    "cancel": SqliteStore.cancel,
    "release": SqliteStore.release,
    "retry": SqliteStore.retry,
}


class Messages:
    """
    What can be decided about messages that are stored.

    Args:
        wire: Whose messages.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def cancel(self, message: Ticket | str, *, by: str = "", why: str = "") -> Intervention:
        """
        End what of a message has not left. What is on its way, or in check, stays: see `Intervention.left`.

        Args:
            message: A ticket, or the id of a message or part, or the beginning of one.
            by: Who decides.
            why: Why; `by` and `why` stand in the journal, so that they must not be personal.

        Raises:
            NotFound: There is no such message.
        """
        return await self._one("cancel", message, Person(by, why))

    async def release(self, message: Ticket | str, *, by: str = "", why: str = "") -> Intervention:
        """
        Send a parked message, with its tries anew. As `cancel`.

        One that was parked because its outcome is unknown may be seen twice then; the journal counts it.
        """
        return await self._one("release", message, Person(by, why))

    async def retry(self, message: Ticket | str, *, by: str = "", why: str = "") -> Intervention:
        """
        Send what of a message was given up, as a new message at the end of its guest's lane. As `cancel`.

        Asked twice, it is sent once: the second answer names the message of the first.
        """
        return await self._one("retry", message, Person(by, why))

    async def decide(self, verb: Verb, messages: Sequence[MessageId], person: Person) -> list[Intervention]:
        """Carry out one decision about many messages, in their order; committed in slices of 200."""
        done: list[Intervention] = []
        for start in range(0, len(messages), SLICE):
            slice_, now = messages[start : start + SLICE], self._wire.clock.now()
            done += await self._wire.store_write(partial(_decide, verb=verb, messages=slice_, person=person, now=now))
        return done

    async def weigh(self, verb: Verb, messages: Sequence[MessageId]) -> list[Intervention]:
        """Say what a decision about these messages would do; nothing is done."""
        now = self._wire.clock.now()
        return await self._wire.store_read(lambda store: [store.weigh(verb, message, now) for message in messages])

    async def choose(
        self,
        states: Collection[PartState | str],
        *,
        since: float = 0.0,
        to: str | None = None,
        guest: str | None = None,
    ) -> list[MessageId]:
        """
        Return messages with a part in one of these states, in the order in which they were stored.

        Args:
            states: Such as ``dead``.
            since: It came into that state then or later, in seconds since the epoch.
            to: Only those to this destination.
            guest: Only those of this guest, by the caller's key.
        """
        wanted = {PartState(state) for state in states}
        guest_ref: GuestRef | None = None if guest is None else await self._wire.guest_ref(guest, to=to)
        return await self._wire.store_read(
            lambda store: store.choose(wanted, since=since, destination=to, guest=guest_ref)
        )

    async def _one(self, verb: Verb, message: Ticket | str, person: Person) -> Intervention:
        name = message.message_id if isinstance(message, Ticket) else message
        found = await self._wire.store_read(lambda store: store.message_of(name.strip().lower()))
        return (await self.decide(verb, [found], person))[0]


def _decide(
    store: SqliteStore, *, verb: Verb, messages: Sequence[MessageId], person: Person, now: float
) -> list[Intervention]:
    return [_VERBS[verb](store, message, person, now) for message in messages]
