"""
Any interleaving of the verbs of a store: a state machine of hypothesis's, for your own store as well.

    from guestwire.testing.machine import StoreMachine

    class MyMachine(StoreMachine):
        def open_store(self) -> MyStore:
            return MyStore(self.folder)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

import itertools

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guestwire.model import OPEN_STATES, GuestRef, PartId, PartState
from guestwire.policy.interventions import Verb
from guestwire.store.base import Change, Confirm, End, Person, Requeue, Step, StepResult, Store, Suspect
from guestwire.testing.stores import (
    ACCEPTED,
    CANCELLED,
    CHECKING,
    DEAD,
    PARKED,
    QUEUED,
    SENDING,
    Hand,
    accepted,
    replayed,
)


class StoreMachine(RuleBasedStateMachine):
    """
    Any interleaving of the verbs, with relays that are replaced and stores that are reopened.

    The machine remembers only what it was told (tickets, entries, attempts) and compares it with what the store shows.
    A subclass brings `open_store`.
    """

    guests = st.sampled_from(["anna", "ben", "carl"])

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand(self.open_store())
        self.hand.register()
        self.hand.take_over()
        self.stored: set[PartId] = set()
        self.sent: dict[PartId, tuple[GuestRef, int]] = {}
        """Every part that was ever begun, with its lane and its last attempt."""
        self.lanes: dict[GuestRef, list[PartId]] = {}
        """The parts of each lane in the order of their entry."""
        self.read_up_to = 0
        self.names = itertools.count()

    def open_store(self) -> Store:
        """Open your store: an empty one of this machine's own, and the same one again whenever it was closed."""
        raise NotImplementedError("a subclass of StoreMachine brings 'open_store'")

    def teardown(self) -> None:
        """Close the store."""
        self.hand.store.close()

    def note_entries(self) -> None:
        """Read on in the journal, as a sink does: who entered which lane."""
        for entry in self.hand.store.journal(self.read_up_to, 10_000):
            assert entry.seq == self.read_up_to + 1
            self.read_up_to = entry.seq
            at_once = entry.event == "part.queued" and "not_before" not in entry.detail
            if entry.guest_ref is None or entry.part_id is None:
                continue
            lane = self.lanes.setdefault(entry.guest_ref, [])
            if at_once or entry.event == "part.entered":
                lane.append(entry.part_id)
            elif entry.event == "part.parked" and entry.detail.get("aside"):
                lane.remove(entry.part_id)
            elif entry.event == "part.released" and entry.part_id not in lane:
                lane.append(entry.part_id)

    def note_begun(self, result: StepResult, before: dict[PartId, PartState]) -> None:
        """What was begun was the oldest of its lane that had not ended."""
        self.note_entries()
        states = {view.id: view.state for view in self.hand.parts()}
        for sending in result.begun:
            assert before[sending.part_id] is QUEUED
            lane = self.lanes[sending.guest_ref]
            earlier = lane[: lane.index(sending.part_id)]
            assert not {states[part] for part in earlier} & OPEN_STATES
            self.sent[sending.part_id] = (sending.guest_ref, sending.attempt)

    def states(self) -> dict[PartId, PartState]:
        """Return the state of every part."""
        return {view.id: view.state for view in self.hand.parts()}

    @rule(
        guest=guests, parts=st.integers(1, 3), wait=st.sampled_from([0, 0, 5, 20]), age=st.sampled_from([None, 1, 30])
    )
    def add(self, guest: str, parts: int, wait: int, age: int | None) -> None:
        """Somebody submits a message, perhaps for later, perhaps with an end."""
        now = self.hand.now
        ticket = self.hand.submit(
            guest,
            parts=parts,
            not_before=now + wait if wait else None,
            expires_at=None if age is None else now + wait + age,
        )
        self.stored.update(ticket.part_ids)
        self.note_entries()

    @rule(seconds=st.sampled_from([0.5, 3, 25]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.hand.now += seconds

    @rule()
    def enter(self) -> None:
        """What has come due enters its lane."""
        self.hand.enter()
        self.note_entries()

    @rule()
    def begin_all(self) -> None:
        """The relay begins whatever is due."""
        before = self.states()
        self.note_begun(self.hand.step(begins=tuple(self.hand.due())), before)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def begin_any(self, data: st.DataObject) -> None:
        """It may ask for lanes that cannot move, and twice for one."""
        guests = data.draw(st.lists(st.sampled_from(list(self.lanes)), max_size=4))
        before = self.states()
        self.note_begun(self.hand.step(begins=tuple(guests)), before)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), kind=st.sampled_from(["confirm", "retry", "throttle", "suspect", "dead", "park"]))
    def settle(self, data: st.DataObject, kind: str) -> None:
        """What a relay may say of an attempt, of the last one or of one long past, with the next begin beside it."""
        part = data.draw(st.sampled_from(sorted(self.sent)))  # ids rise, so this is the order of their making
        guest, last = self.sent[part]
        attempt = last - data.draw(st.sampled_from([0, 0, 0, 1]))
        at = self.hand.now + data.draw(st.sampled_from([0, 4]))
        fence = self.hand.fence - data.draw(st.sampled_from([0, 0, 0, 1]))
        changes: dict[str, Change] = {
            "confirm": Confirm(part, accepted(f"g{next(self.names)}")),
            "retry": Requeue(part, attempt, at, "failed", possible_duplicate=data.draw(st.booleans())),
            "throttle": Requeue(part, attempt, at, "slow", spent=False),
            "suspect": Suspect(part, attempt, "lost"),
            "dead": End(part, attempt, DEAD, "refused"),
            "park": End(part, attempt, PARKED, "unknown"),
        }
        before = self.states()
        fresh = attempt == last and fence == self.hand.fence and before[part] in (SENDING, CHECKING)
        begins = (guest,) if data.draw(st.booleans()) else ()
        with self.hand.store.transaction():
            result = self.hand.store.step(Step([changes[kind]], ()), fence=fence, now=self.hand.now)
        after = self.states()
        if kind == "confirm":
            assert after[part] is ACCEPTED
        elif fresh:
            wanted = {"retry": QUEUED, "throttle": QUEUED, "suspect": CHECKING, "dead": DEAD, "park": PARKED}
            assert after[part] is wanted[kind]
        elif not fresh:
            assert after == before
            assert result.entries == []
        if kind == "throttle" and fresh:
            self.sent[part] = (guest, last - 1)
        self.note_begun(self.hand.step(begins=begins), after)

    @precondition(lambda self: self.stored)
    @rule(data=st.data(), verb=st.sampled_from(["cancel", "release", "retry"]))
    def decide(self, data: st.DataObject, verb: Verb) -> None:
        """A person decides about a message: what was foreseen happens, and nothing else moves."""
        part = self.hand.part(data.draw(st.sampled_from(sorted(self.stored))))
        before = self.states()
        foreseen = self.hand.store.weigh(verb, part.message_id, self.hand.now)
        with self.hand.store.transaction():
            done = getattr(self.hand.store, verb)(part.message_id, Person("ann", "tired"), self.hand.now)
        after = self.states()
        assert (done.doubtful, len(done.parts)) == (
            foreseen.doubtful,
            len(foreseen.parts) if not foreseen.replay else 0,
        )
        if verb == "retry":
            self.stored.update(done.parts)
            assert all(after[made] is QUEUED for made in done.parts)
            with self.hand.store.transaction():
                again = self.hand.store.retry(part.message_id, Person(), self.hand.now)
            assert (again.parts, again.replay) == ((), done.replay)
        moved = {changed for changed, state in before.items() if after[changed] is not state}
        wanted = {"cancel": CANCELLED, "release": QUEUED, "retry": CANCELLED}
        assert moved == set(done.parts) if verb != "retry" else all(before[each] is PARKED for each in moved)
        assert all(after[each] is wanted[verb] for each in moved)

    @rule()
    def another_relay(self) -> None:
        """What was on its way goes to check; nothing else changes."""
        before = self.states()
        self.hand.take_over()
        after = self.states()
        for part, state in before.items():
            assert after[part] is (CHECKING if state is SENDING else state)

    @rule()
    def reopen(self) -> None:
        """The process starts again."""
        self.hand.now += 0.002  # ids of two makers rise only from one millisecond to the next
        self.hand.store.close()
        self.hand.store = self.open_store()

    @invariant()
    def nothing_is_lost_and_the_journal_knows_all(self) -> None:
        """Every part of every ticket is there, in the state that the journal tells."""
        states = self.states()
        assert set(states) == self.stored
        assert replayed(self.hand.store) == states

    @invariant()
    def at_most_one_part_of_a_guest_is_on_its_way(self) -> None:
        """On the wire or in check: never two of one lane."""
        on_its_way = [view.guest_ref for view in self.hand.parts() if view.state in (SENDING, CHECKING)]
        assert len(on_its_way) == len(set(on_its_way))

    @invariant()
    def the_ready_index_agrees_with_the_heads(self) -> None:
        """A lane's place in the index is that of its oldest open part."""
        self.note_entries()
        parts = {view.id: view for view in self.hand.parts()}
        for guest in {view.guest_ref for view in parts.values()}:
            row = self.hand.lane(guest)
            head = next((part for part in self.lanes.get(guest, []) if parts[part].state in OPEN_STATES), None)
            assert (None if row.head is None else row.head.part_id) == head
            if head is None or parts[head].state not in (QUEUED, CHECKING):
                assert row.next_at is None
                continue
            due_at = parts[head].next_at
            assert due_at is not None
            assert row.next_at is not None
            assert (guest in self.hand.due()) == (due_at <= self.hand.now)
            # Its place among those that are due may be an earlier one; it has none before it is due.
            assert row.next_at == due_at or (row.next_at < due_at <= self.hand.now)
