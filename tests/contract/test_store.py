"""
What every store guarantees, and what this one adds.

`StoreContract` knows a store only by its verbs. Another store is plugged in by a subclass whose fixture `open_store`
opens it, again and again, at one place.
"""

from __future__ import annotations

import itertools
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guestwire.errors import ConfigError, GuestWireError, NotFound, Rejected, StoreError
from guestwire.model import (
    OPEN_STATES,
    Accepted,
    Delivery,
    Draft,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    MessageId,
    PartBody,
    PartId,
    PartState,
    Reply,
    SessionChanged,
    SessionState,
    Ticket,
)
from guestwire.policy.interventions import Verb
from guestwire.store.base import (
    Change,
    Confirm,
    End,
    Hear,
    Intake,
    LaneRow,
    Note,
    PartView,
    Pause,
    Person,
    Requeue,
    Sending,
    Step,
    StepResult,
    Suspect,
)
from guestwire.store.folder import Folder, statements
from guestwire.store.sqlite import SqliteStore

AnyStore = SqliteStore  # a union, once there is a second one
OpenStore = Callable[[], AnyStore]

QUEUED, SENDING, CHECKING, PARKED = PartState.QUEUED, PartState.SENDING, PartState.CHECKING, PartState.PARKED
ACCEPTED, DEAD, EXPIRED = PartState.ACCEPTED, PartState.DEAD, PartState.EXPIRED
CANCELLED = PartState.CANCELLED


def intake(guest: str = "anna", text: str = "hello", *, parts: int = 1, **changes: Any) -> Intake:
    """Make a message that passed every rule; with several parts, each says which it is."""
    draft = Draft(destination="web", guest=GuestKey(guest), text=text, **changes)
    bodies = [PartBody(text if parts == 1 else f"{text} {number}", draft.attributes) for number in range(parts)]
    return Intake(draft, tuple(bodies), draft.delivery or Delivery.AT_LEAST_ONCE)


def accepted(name: str, channel: str | None = None) -> Accepted:
    """The gateway's answer under a name."""
    return Accepted(GatewayMessageId(name), channel, "2026-01-01T00:00:00Z")


class Hand:
    """Hands verbs to a store, each in a transaction of its own, at a time that a test sets."""

    def __init__(self, store: AnyStore) -> None:
        self.store = store
        self.now = 1000.0
        self.fence = 0

    def register(self, name: str = "web", fingerprint: str = "f1", *, is_emulator: bool = True) -> None:
        """Know a destination."""
        with self.store.transaction():
            self.store.register(name, "webmessaging", fingerprint, is_emulator=is_emulator)

    def add(self, *intakes: Intake, held_by: str | None = None) -> list[Ticket]:
        """Add messages in one call."""
        with self.store.transaction():
            return self.store.add(intakes, self.now, held_by=held_by)

    def add_and_fail(self, *intakes: Intake) -> None:
        """Add messages in a transaction that fails afterwards."""
        with self.store.transaction():
            self.store.add(intakes, self.now)
            raise KeyError

    def submit(self, guest: str = "anna", text: str = "hello", **changes: Any) -> Ticket:
        """Add one message."""
        (ticket,) = self.add(intake(guest, text, **changes))
        return ticket

    def take_over(self) -> int:
        """Become the relay."""
        with self.store.transaction():
            self.fence = self.store.take_over(self.now)
        return self.fence

    def step(self, *changes: Change, begins: tuple[GuestRef, ...] = (), fence: int | None = None) -> StepResult:
        """Carry out one tick of the relay; under an older or foreign fence where one is given."""
        with self.store.transaction():
            return self.store.step(Step(changes, begins), fence=self.fence if fence is None else fence, now=self.now)

    def begin(self, guest: GuestRef) -> Sending:
        """Begin the head of a lane, which must be ready."""
        (sending,) = self.step(begins=(guest,)).begun
        return sending

    def enter(self) -> list[str]:
        """Let in what has come due; returns what the journal says of it."""
        with self.store.transaction():
            return [entry.event for entry in self.store.enter(self.now)]

    def let_go(self, batch: str, limit: int = 100) -> int:
        """Let a batch go."""
        with self.store.transaction():
            return self.store.let_go(batch, limit, self.now)

    # --- looking ---

    def part(self, part_id: PartId) -> PartView:
        """Return a part as shown to people."""
        (view,) = [view for view in self.parts() if view.id == part_id]
        return view

    def parts(self) -> list[PartView]:
        """Return every part, in the order of their ids."""
        views = self.store.list_parts(state=None, guest=None, limit=10_000, with_text=True)
        return sorted(views, key=lambda view: view.id)

    def states(self, ticket: Ticket) -> list[PartState]:
        """Return the states of a message, part by part."""
        return [view.state for view in self.store.message_parts(ticket.message_id, with_text=False)]

    def lane(self, guest: GuestRef) -> LaneRow:
        """Return a lane as the relay takes it in."""
        (row,) = self.store.lanes([guest])
        return row

    def events(self, part_id: PartId) -> list[str]:
        """Return what the journal says of a part."""
        return [entry.event for entry in self.store.journal_of(part_id)]

    def due(self) -> list[GuestRef]:
        """Return the lanes that are due now."""
        return self.store.due(self.now, 100, "web").guests

    def texts_in_lane_order(self, guest: GuestRef) -> list[str]:
        """Send everything that a lane holds; returns the texts as they leave."""
        left: list[str] = []
        for number in itertools.count():
            begun = self.step(begins=(guest,)).begun
            if not begun:
                return left
            left.append(begun[0].body.text)
            self.step(Confirm(begun[0].part_id, accepted(f"{begun[0].part_id}-{number}")))
        raise AssertionError("not reached")


#: What the journal says a part has become.
STATE_OF_EVENT = {
    "part.queued": QUEUED,
    "part.sending": SENDING,
    "part.checking": CHECKING,
    "part.requeued": QUEUED,
    "part.throttled": QUEUED,
    "part.possible_duplicate": QUEUED,
    "part.accepted": ACCEPTED,
    "part.parked": PARKED,
    "part.dead": DEAD,
    "part.expired": EXPIRED,
    "part.cancelled": CANCELLED,
    "part.released": QUEUED,
    "part.delivered": PartState.DELIVERED,
    "part.read": PartState.READ,
    "part.failed": PartState.FAILED,
}
#: What it says beside that, without any change of state.
REMARKS = {"part.entered", "part.deferred", "part.duplicate_seen", "part.accepted_after_end", "part.replayed"} | {
    "receipt.received"
}


def replayed(store: AnyStore) -> dict[PartId, PartState]:
    """Work out the state of every part from the journal alone; every row must be a change, or a known remark."""
    states: dict[PartId, PartState] = {}
    for entry in store.journal(0, 1_000_000):
        if entry.part_id is None or entry.event in REMARKS:
            continue
        state = STATE_OF_EVENT[entry.event]
        assert states.get(entry.part_id) is not state, f"{entry.event} told twice"
        states[entry.part_id] = state
    return states


class StoreContract:
    """The behaviours that the relay and the client build on. A subclass brings the fixture `open_store`."""

    @pytest.fixture
    def hand(self, open_store: OpenStore) -> Hand:
        """A store with one destination and one relay."""
        hand = Hand(open_store())
        hand.register()
        hand.take_over()
        return hand

    # --- intake ---

    def test_what_was_added_is_on_disk(self, hand: Hand, open_store: OpenStore) -> None:
        """After the commit another connection sees it whole: ids, text, guest, attributes."""
        ticket = hand.submit(text="hällo\n\N{MAN}", attributes={"topic": "order"}, priority=2)
        other = Hand(open_store())
        (view,) = other.store.message_parts(ticket.message_id, with_text=True)
        assert ticket.fresh
        assert (view.id, view.guest_ref, view.destination) == (ticket.part_ids[0], ticket.guest_ref, "web")
        assert (view.text, view.guest, view.size) == ("hällo\n\N{MAN}", "anna", len("hällo\n\N{MAN}".encode()))
        assert (view.state, view.attempt, view.queued_at, view.sent_at) == (QUEUED, 0, 1000.0, None)
        other.fence = hand.fence
        assert other.begin(ticket.guest_ref).body == PartBody("hällo\n\N{MAN}", {"topic": "order"})

    def test_what_was_rolled_back_was_never_there(self, hand: Hand, open_store: OpenStore) -> None:
        """An error after an add, in the same transaction: no message, no guest, no journal row, no due lane."""
        before = hand.store.journal_seq()
        with pytest.raises(KeyError):
            hand.add_and_fail(intake())
        assert hand.parts() == []
        assert hand.store.journal_seq() == before
        assert hand.store.find_guest("web", GuestKey("anna")) is None
        assert hand.due() == []
        assert hand.submit().fresh
        assert Hand(open_store()).states(Ticket(MessageId("none"), (), GuestRef("none"))) == []

    def test_a_guest_is_found_again(self, hand: Hand) -> None:
        """The same key is the same guest, with the same session; another key is another; both within one call too."""
        tickets = hand.add(intake("anna"), intake("ben"), intake("anna"), intake(" anna"))
        again = hand.submit("anna")
        refs = [ticket.guest_ref for ticket in tickets]
        assert refs[0] == refs[2] == again.guest_ref == hand.store.find_guest("web", GuestKey("anna"))
        assert len(set(refs)) == 3
        assert hand.store.guest_key(refs[0]) == "anna"
        assert hand.lane(refs[0]).token != hand.lane(refs[1]).token
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", hand.lane(refs[0]).token)

    def test_a_guest_of_another_destination_is_another_lane(self, hand: Hand) -> None:
        """Same key, other destination: neither session nor order is shared."""
        hand.register("chat", "f2")
        one = hand.submit()
        draft = Draft(destination="chat", guest=GuestKey("anna"), text="hello")
        (other,) = hand.add(Intake(draft, (PartBody("hello"),)))
        assert one.guest_ref != other.guest_ref
        assert hand.lane(other.guest_ref).destination == "chat"

    def test_the_same_key_and_content_is_one_message(self, hand: Hand) -> None:
        """Handed in again, in another call or within one, it is the ticket of then, and nothing is stored."""
        first, inside = hand.add(intake(key="k1", attributes={"a": "1", "b": "2"}), intake("ben", key="k2"))
        before = hand.store.journal_seq()
        again = hand.submit(key="k1", attributes={"b": "2", "a": "1"})
        assert (first.fresh, again.fresh, inside.fresh) == (True, False, True)
        assert (again.message_id, again.part_ids, again.guest_ref) == (
            first.message_id,
            first.part_ids,
            first.guest_ref,
        )
        assert hand.store.journal_seq() == before
        twice = hand.add(intake(key="k3"), intake(key="k3"), intake(key="k1", attributes={"a": "1", "b": "2"}))
        assert [ticket.fresh for ticket in twice] == [True, False, False]
        assert twice[0].message_id == twice[1].message_id
        assert len(hand.parts()) == 3

    @pytest.mark.parametrize(
        "other",
        [intake(text="other", key="k"), intake("ben", key="k"), intake(key="k", attributes={"a": "1"})],
        ids=["text", "guest", "attributes"],
    )
    def test_the_same_key_with_other_content_is_refused(self, hand: Hand, other: Intake) -> None:
        """The whole call is refused, with nothing stored of it; within one call as well."""
        hand.submit(key="k")
        before = hand.store.journal_seq()
        for call in ([intake("carl"), other], [intake("carl", key="new"), intake("carl", "x", key="new")]):
            with pytest.raises(Rejected, match="GW-R002") as caught, hand.store.transaction():
                hand.store.add(call, hand.now)
            assert caught.value.findings[0].path == "key"
        assert len(hand.parts()) == 1
        assert hand.store.journal_seq() == before
        assert hand.store.find_guest("web", GuestKey("carl")) is None

    def test_a_refusal_comes_before_the_first_write(self, hand: Hand) -> None:
        """Inside somebody else's transaction a refused add leaves nothing to roll back."""
        hand.submit(key="k")
        with hand.store.transaction():
            before = hand.store.changes()
            with pytest.raises(Rejected):
                hand.store.add([intake("carl"), intake(text="other", key="k")], hand.now)
            assert hand.store.changes() == before
            hand.store.add([intake("dora")], hand.now)
        assert len(hand.parts()) == 2

    def test_a_key_belongs_to_its_destination(self, hand: Hand) -> None:
        """The same key at another destination is another message."""
        hand.register("chat", "f2")
        hand.submit(key="k")
        draft = Draft(destination="chat", guest=GuestKey("ben"), text="other", key="k")
        (ticket,) = hand.add(Intake(draft, (PartBody("other"),)))
        assert ticket.fresh
        assert hand.store.holds_same(draft) is True
        assert hand.store.holds_same(intake(text="x", key="k").draft) is False
        assert hand.store.holds_same(intake(key="unknown").draft) is None

    def test_an_unknown_destination_is_refused(self, hand: Hand) -> None:
        """A message for nowhere is not stored."""
        draft = Draft(destination="nowhere", guest=GuestKey("anna"), text="hello")
        with pytest.raises((GuestWireError, apsw.Error)), hand.store.transaction():
            hand.store.add([Intake(draft, (PartBody("hello"),))], hand.now)
        assert hand.parts() == []

    # --- lanes ---

    def test_a_lane_keeps_the_order_of_entry(self, hand: Hand) -> None:
        """Within a call, over calls, and over the parts of a message; another guest's lane has its own."""
        hand.add(intake(text="a"), intake("ben", "x"), intake(text="b", parts=2))
        ticket = hand.submit(text="c", priority=0)
        assert hand.texts_in_lane_order(ticket.guest_ref) == ["a", "b 0", "b 1", "c"]

    def test_nothing_passes_a_head_that_waits(self, hand: Hand) -> None:
        """Whatever the head waits for (time, check, person), no part behind it is begun."""
        first, second = hand.add(intake(text="a"), intake(text="b"))
        guest = first.guest_ref
        sending = hand.begin(guest)
        assert hand.step(begins=(guest,)).begun == []
        hand.step(Suspect(sending.part_id, 1, "lost"))
        assert hand.step(begins=(guest,)).begun == []
        hand.step(Requeue(sending.part_id, 1, 2000.0, "later"))
        assert hand.step(begins=(guest,)).begun == []
        hand.now = 2000.0
        sending = hand.begin(guest)
        hand.step(End(sending.part_id, 2, PARKED, "why"))
        assert hand.step(begins=(guest,)).begun == []
        hand.step(Confirm(sending.part_id, accepted("late")))
        assert hand.begin(guest).part_id == second.part_ids[0]

    def test_at_most_one_part_of_a_guest_is_on_its_way(self, hand: Hand) -> None:
        """The same lane twice in one step, and again in the next: it is begun once."""
        guest = hand.add(intake(text="a"), intake(text="b"))[0].guest_ref
        assert len(hand.step(begins=(guest, guest)).begun) == 1
        assert hand.step(begins=(guest,)).begun == []
        assert hand.lane(guest).head is not None
        assert [view.state for view in hand.parts()] == [SENDING, QUEUED]

    def test_not_before_decides_when_a_message_enters(self, hand: Hand) -> None:
        """Later entries of the lane go first; those whose time has come enter in the order of that time."""
        late, soon, now = hand.add(
            intake(text="late", not_before=3000.0), intake(text="soon", not_before=2000.0), intake(text="now")
        )
        guest = now.guest_ref
        assert hand.texts_in_lane_order(guest) == ["now"]
        assert hand.enter() == []
        assert hand.due() == []
        assert hand.store.due(hand.now, 10, "web").next_at == 2000.0
        assert hand.lane(guest).head is None
        hand.now = 2000.0
        assert hand.enter() == ["part.entered"]
        assert hand.enter() == []
        assert hand.due() == [guest]
        hand.now = 3500.0
        assert hand.enter() == ["part.entered"]
        assert hand.texts_in_lane_order(guest) == ["soon", "late"]
        assert hand.events(late.part_ids[0])[:3] == ["part.queued", "part.entered", "part.sending"]
        assert soon.part_ids != late.part_ids

    def test_entering_together_is_in_the_order_of_their_times(self, hand: Hand) -> None:
        """After a pause of the relay several have come due: the earlier time enters first, whoever came in first."""
        guest = hand.submit(text="late", not_before=3000.0, parts=2).guest_ref
        hand.submit(text="soon", not_before=2000.0)
        hand.now = 5000.0
        hand.submit(text="new")
        hand.enter()
        assert hand.texts_in_lane_order(guest) == ["new", "soon", "late 0", "late 1"]

    def test_a_not_before_in_the_past_enters_at_once(self, hand: Hand) -> None:
        """What may be sent already is."""
        ticket = hand.submit(not_before=999.0)
        assert hand.due() == [ticket.guest_ref]
        assert hand.enter() == []

    def test_age_counts_from_the_entry_into_the_lane(self, hand: Hand) -> None:
        """A message for next week is not too old to be tried again when its week comes."""
        ticket = hand.submit(not_before=600_000.0)
        hand.now = 600_000.0
        hand.enter()
        assert hand.begin(ticket.guest_ref).queued_at == 600_000.0

    def test_a_batch_enters_whole_and_in_order(self, hand: Hand) -> None:
        """Held messages are in no lane until they are let go, slice by slice, in the order they were stored."""
        tickets = hand.add(*(intake(text=f"{number}") for number in range(5)), held_by="file.csv")
        guest = tickets[0].guest_ref
        hand.add(intake(text="later", not_before=4000.0), held_by="file.csv")
        hand.submit(text="direct")
        hand.now = 2000.0
        assert hand.enter() == []
        assert hand.store.status().held == 6
        assert hand.texts_in_lane_order(guest) == ["direct"]
        assert hand.let_go("other.csv") == 0
        assert [hand.let_go("file.csv", 4) for _ in range(3)] == [4, 2, 0]
        assert hand.texts_in_lane_order(guest) == ["0", "1", "2", "3", "4"]
        assert hand.store.due(hand.now, 10, "web").next_at == 4000.0
        hand.now = 4000.0
        hand.enter()
        assert hand.texts_in_lane_order(guest) == ["later"]

    def test_a_stored_file_is_remembered(self, hand: Hand) -> None:
        """By path; the newest digest wins."""
        assert hand.store.batch("a.csv") is None
        for digest, rows in (("d1", 3), ("d2", 4)):
            with hand.store.transaction():
                hand.store.note_batch("a.csv", digest, rows, hand.now)
            assert hand.store.batch("a.csv") == (digest, rows)

    def test_due_lanes_come_earliest_first(self, hand: Hand) -> None:
        """At most as many as asked for, with word of more, and of when there will be others."""
        refs = []
        for number in range(4):
            hand.now = 1000.0 + number
            refs.append(hand.submit(f"guest {number}").guest_ref)
        sending = hand.begin(refs[0])
        hand.step(Requeue(sending.part_id, 1, 9000.0, "later"))
        due = hand.store.due(hand.now, 2, "web")
        assert (due.guests, due.more, due.next_at) == (refs[1:3], True, 9000.0)
        due = hand.store.due(hand.now, 3, "web")
        assert (due.guests, due.more) == (refs[1:4], False)
        assert hand.store.due(9000.0, 10, "web").next_at is None

    def test_what_a_clock_ahead_of_ours_wrote_is_due(self, hand: Hand) -> None:
        """A message of a process whose clock is an hour ahead can be begun at once, by the clock of the relay."""
        hand.now += 3600.0
        ticket = hand.submit("anna")
        hand.now -= 3600.0
        assert hand.begin(ticket.guest_ref).attempt == 1

    def test_a_relay_moves_back_what_the_last_one_wrote_ahead(self, hand: Hand) -> None:
        """Times of heads that were written later than now are moved by the difference: what is to wait still waits."""
        hand.now += 3600.0
        new, old, doubtful = hand.submit("anna"), hand.submit("ben"), hand.submit("carl")
        hand.step(begins=(old.guest_ref, doubtful.guest_ref))
        hand.step(Requeue(old.part_ids[0], 1, hand.now + 20.0, "busy"), Suspect(doubtful.part_ids[0], 1, "lost"))
        hand.now -= 3600.0
        assert hand.due() == []
        hand.take_over()
        assert set(hand.due()) == {new.guest_ref, doubtful.guest_ref}
        heads = [hand.lane(ticket.guest_ref).head for ticket in (new, old, doubtful)]
        assert [head.due_at - hand.now for head in heads if head] == [0.0, 20.0, 0.0]
        assert {head.changed_at for head in heads if head} == {hand.now}
        hand.now += 20.0
        assert old.guest_ref in hand.due()

    def test_a_lane_is_due_only_while_it_can_move_by_itself(self, hand: Hand) -> None:
        """Queued and checking heads are due; on its way, parked or empty, the lane waits for somebody else."""
        ticket = hand.submit()
        guest, part = ticket.guest_ref, ticket.part_ids[0]
        assert guest in hand.due()
        hand.begin(guest)
        assert hand.lane(guest).next_at is None
        hand.now = 1001.0
        hand.step(Suspect(part, 1, "lost"))
        assert hand.lane(guest).next_at == 1001.0
        hand.step(End(part, 1, PARKED, "unknown"))
        assert hand.lane(guest).next_at is None
        hand.step(Confirm(part, accepted("a")))
        assert (hand.lane(guest).next_at, hand.lane(guest).head) == (None, None)
        assert hand.store.lanes([GuestRef("nobody")]) == []

    def test_a_head_says_what_a_check_needs(self, hand: Hand) -> None:
        """Content, delivery, attempt and the moment of the loss, for a part in check; no content for others."""
        ticket = hand.submit(text="hello", delivery=Delivery.AT_MOST_ONCE)
        head = hand.lane(ticket.guest_ref).head
        assert head is not None
        assert (head.state, head.body, head.due_at) == (QUEUED, None, 1000.0)
        hand.begin(ticket.guest_ref)
        hand.now = 1010.0
        head = hand.step(Suspect(ticket.part_ids[0], 1, "lost")).lanes[ticket.guest_ref]
        assert head is not None
        assert (head.state, head.attempt, head.changed_at) == (CHECKING, 1, 1010.0)
        assert (head.body, head.delivery) == (PartBody("hello"), Delivery.AT_MOST_ONCE)

    # --- begin ---

    def test_begin_writes_the_attempt_ahead(self, hand: Hand, open_store: OpenStore) -> None:
        """Before any byte leaves, the disk says: sending, which attempt, since when."""
        ticket = hand.submit()
        hand.now = 1005.0
        sending = hand.begin(ticket.guest_ref)
        assert (sending.part_id, sending.message_id, sending.attempt) == (*ticket.part_ids, ticket.message_id, 1)
        assert (sending.queued_at, sending.delivery) == (1000.0, Delivery.AT_LEAST_ONCE)
        view = Hand(open_store()).part(sending.part_id)
        assert (view.state, view.attempt, view.sent_at) == (SENDING, 1, 1005.0)

    def test_settling_and_beginning_are_one_step(self, hand: Hand) -> None:
        """The echo of one part and the write-ahead of the next share a transaction, and are told together."""
        guest = hand.add(intake(text="a"), intake(text="b"))[0].guest_ref
        first = hand.begin(guest)
        result = hand.step(Confirm(first.part_id, accepted("g1")), begins=(guest,))
        assert [sending.body.text for sending in result.begun] == ["b"]
        assert result.lanes == {}
        assert [entry.event for entry in result.entries] == ["part.accepted", "part.sending"]
        assert result.entries == hand.store.journal(hand.store.journal_seq() - 2, 10)

    def test_what_is_too_old_is_not_begun(self, hand: Hand) -> None:
        """It expires when its turn comes, however many there are, and the next one that may is begun."""
        hand.add(*(intake(text=f"old {number}", expires_at=1500.0) for number in range(1500)))
        ticket = hand.submit(text="young", expires_at=2001.0)
        hand.now = 1500.0
        result = hand.step(begins=(ticket.guest_ref,))
        assert [sending.body.text for sending in result.begun] == ["young"]
        assert {view.state for view in hand.parts()} == {EXPIRED, SENDING}
        assert replayed(hand.store) == {view.id: view.state for view in hand.parts()}

    def test_what_was_tried_may_still_expire_and_what_is_checked_may_not(self, hand: Hand) -> None:
        """A part in check is never called too old: it may have arrived."""
        ticket = hand.submit(expires_at=1500.0)
        sending = hand.begin(ticket.guest_ref)
        hand.step(Suspect(sending.part_id, 1, "lost"))
        hand.now = 1600.0
        hand.step(begins=(ticket.guest_ref,))
        assert hand.states(ticket) == [CHECKING]
        hand.step(Requeue(sending.part_id, 1, 1600.0, "absent"), begins=(ticket.guest_ref,))
        assert hand.states(ticket) == [EXPIRED]

    # --- confirm ---

    @pytest.mark.parametrize("state", [QUEUED, SENDING, CHECKING, PARKED, DEAD])
    def test_an_acceptance_holds_from_every_state(self, hand: Hand, state: PartState) -> None:
        """The gateway took it: a fact, not an opinion, however late it is heard and whoever says it."""
        ticket = hand.submit()
        guest, part = ticket.guest_ref, ticket.part_ids[0]
        hand.begin(guest)
        match state:
            case PartState.QUEUED:
                hand.step(Requeue(part, 1, 1000.0, "again"))
            case PartState.CHECKING:
                hand.step(Suspect(part, 1, "lost"))
            case PartState.PARKED | PartState.DEAD:
                hand.step(End(part, 1, state, "over"))
        hand.now = 1002.0
        result = hand.step(Confirm(part, accepted("g1", "c1")), fence=hand.fence + 7)
        view = hand.part(part)
        assert (view.state, view.gateway_id, view.gateway_time) == (ACCEPTED, "g1", "2026-01-01T00:00:00Z")
        assert (view.ended_at, view.reason) == (1002.0, None)
        assert result.lanes == {guest: None}
        assert hand.lane(guest).anchor in ("g1", "c1")
        assert hand.events(part)[-1] == "part.accepted"
        assert ("part.accepted_after_end" in hand.events(part)) == (state is DEAD)
        detail = hand.store.journal_of(part)[-1].detail
        assert (detail["was"], detail["latency_ms"], detail["source"]) == (state, 2000.0, "echo")

    def test_an_acceptance_of_somebody_elses_message_changes_nothing(self, hand: Hand) -> None:
        """Another client of the same session has tracingIds of its own."""
        before = hand.store.journal_seq()
        assert hand.step(Confirm(PartId("unknown"), accepted("g1"))) == StepResult([], {}, [])
        assert hand.store.journal_seq() == before

    def test_the_same_acceptance_twice_is_one(self, hand: Hand) -> None:
        """By either of its names, from any socket: joined with what is known."""
        ticket = hand.submit()
        part = ticket.part_ids[0]
        hand.begin(ticket.guest_ref)
        hand.step(Confirm(part, accepted("g1", "c1")))
        before = hand.store.journal_seq()
        for again in (accepted("g1", "c1"), accepted("g1"), accepted("c1"), accepted("g1", "other")):
            hand.step(Confirm(part, again))
        assert hand.store.journal_seq() == before

    def test_a_second_entry_of_a_part_is_a_duplicate_that_was_seen(self, hand: Hand) -> None:
        """Counted once, however often its echo comes; the first entry stays the part's own."""
        ticket = hand.submit()
        part = ticket.part_ids[0]
        hand.begin(ticket.guest_ref)
        hand.step(Confirm(part, accepted("g1", "c1")))
        for _ in range(3):
            hand.step(Confirm(part, accepted("g2", "c2")))
        assert hand.events(part)[-1] == "part.duplicate_seen"
        assert hand.events(part).count("part.duplicate_seen") == 1
        hand.step(Confirm(part, accepted("g3")))
        assert hand.store.status().duplicates_seen == 2
        assert hand.part(part).gateway_id == "g1"

    def test_an_entry_that_belongs_to_a_part_is_taken(self, hand: Hand) -> None:
        """By either name, for this guest; names of another guest's entries say nothing about this one."""
        one, other = hand.add(intake("anna"), intake("ben"))
        hand.begin(one.guest_ref)
        hand.step(Confirm(one.part_ids[0], accepted("g1", "c1")))
        names = ["g1", "c1", "g2"]
        assert hand.store.taken(one.guest_ref, names) == {"g1", "c1"}
        assert hand.store.taken(other.guest_ref, names) == set()
        assert hand.store.taken(one.guest_ref, []) == set()

    # --- requeue, suspect, end ---

    @pytest.mark.parametrize(("spent", "next_attempt"), [(True, 2), (False, 1)])
    def test_a_throttle_costs_no_attempt(self, hand: Hand, spent: bool, next_attempt: int) -> None:
        """Back to the head of its lane until its time; what was not spent is not counted."""
        first, _ = hand.add(intake(text="a"), intake(text="b"))
        hand.begin(first.guest_ref)
        change = Requeue(first.part_ids[0], 1, 1010.0, "slow", spent=spent, evidence={"code": 429})
        head = hand.step(change).lanes[first.guest_ref]
        assert head is not None
        assert (head.part_id, head.state, head.due_at) == (first.part_ids[0], QUEUED, 1010.0)
        assert hand.due() == []
        hand.now = 1010.0
        assert hand.begin(first.guest_ref).attempt == next_attempt
        entry = hand.store.journal_of(first.part_ids[0])[-2]
        assert (entry.event, entry.detail["code"]) == ("part.requeued" if spent else "part.throttled", 429)

    def test_a_possible_duplicate_is_counted(self, hand: Hand) -> None:
        """Sent again although the last attempt may have arrived: the journal says so, and so does the part."""
        ticket = hand.submit()
        hand.begin(ticket.guest_ref)
        hand.step(Suspect(ticket.part_ids[0], 1, "lost"))
        hand.step(Requeue(ticket.part_ids[0], 1, 1000.0, "absent", possible_duplicate=True))
        assert hand.part(ticket.part_ids[0]).possible_duplicates == 1
        assert hand.store.status().possible_duplicates == 1
        assert hand.events(ticket.part_ids[0])[-1] == "part.possible_duplicate"

    def test_stale_opinions_are_ignored(self, hand: Hand) -> None:
        """About another attempt, a part that moved on, or one nobody knows: nothing changes, nothing is told."""
        ticket = hand.submit()
        guest, part = ticket.guest_ref, ticket.part_ids[0]

        def opinions(attempt: int, name: PartId = part) -> list[Change]:
            return [
                Requeue(name, attempt, 5000.0, "stale"),
                Suspect(name, attempt, "stale"),
                End(name, attempt, DEAD, "stale"),
            ]

        for change in (*opinions(0), *opinions(1)):
            hand.step(change)  # still queued
        hand.begin(guest)
        hand.step(Requeue(part, 1, 1000.0, "again"))
        hand.begin(guest)
        before = hand.store.journal_seq()
        for change in (*opinions(1), *opinions(3), *opinions(2, PartId("unknown"))):
            hand.step(change)
        assert hand.states(ticket) == [SENDING]
        hand.step(Confirm(part, accepted("g1")))
        for change in opinions(2):
            hand.step(change)
        assert hand.states(ticket) == [ACCEPTED]
        assert hand.store.journal_seq() == before + 1

    def test_a_part_in_check_is_not_suspected_again(self, hand: Hand) -> None:
        """The loss was told once: neither a second journal row nor a later moment of the loss."""
        ticket = hand.submit()
        hand.begin(ticket.guest_ref)
        hand.step(Suspect(ticket.part_ids[0], 1, "lost"))
        hand.now += 3
        head = hand.step(Suspect(ticket.part_ids[0], 1, "lost again")).lanes[ticket.guest_ref]
        assert head is not None
        assert head.changed_at == 1000.0
        assert hand.events(ticket.part_ids[0]).count("part.checking") == 1

    def test_a_part_that_waits_for_a_person_stops_its_message_and_its_guest(self, hand: Hand) -> None:
        """Half a message is worse than none: what is left waits too, and what comes behind waits with it."""
        (ticket, behind) = hand.add(intake(text="m", parts=3), intake(text="behind"))
        guest = ticket.guest_ref
        first = hand.begin(guest)
        second = hand.step(Confirm(first.part_id, accepted("g1")), begins=(guest,)).begun[0]
        head = hand.step(End(second.part_id, 1, PARKED, "refused", parked_for="poison")).lanes[guest]
        assert hand.states(ticket) == [ACCEPTED, PARKED, PARKED]
        assert hand.states(behind) == [QUEUED]
        assert head is not None
        assert head.part_id == second.part_id
        assert hand.due() == []
        assert hand.part(second.part_id).reason == "refused"
        assert hand.part(second.part_id).ended_at is None
        assert [hand.part(part).parked_for for part in ticket.part_ids] == [None, "poison", "poison"]
        assert hand.part(ticket.part_ids[2]).reason == "another part of the message is parked"
        assert hand.events(ticket.part_ids[2]) == ["part.queued", "part.parked"]

    def test_a_dead_part_stops_its_message_and_not_its_guest(self, hand: Hand) -> None:
        """What is left of the message is set aside for a person; the guest's next message goes."""
        (ticket, behind) = hand.add(intake(text="m", parts=3), intake(text="behind"))
        guest = ticket.guest_ref
        first = hand.begin(guest)
        second = hand.step(Confirm(first.part_id, accepted("g1")), begins=(guest,)).begun[0]
        begun = hand.step(End(second.part_id, 1, DEAD, "refused"), begins=(guest,)).begun
        assert [sending.part_id for sending in begun] == list(behind.part_ids)
        assert hand.states(ticket) == [ACCEPTED, DEAD, PARKED]
        assert hand.part(second.part_id).ended_at is not None
        assert hand.part(ticket.part_ids[2]).parked_for == "poison"
        assert hand.part(ticket.part_ids[2]).reason == "another part of the message is dead"

    def test_a_message_expires_whole(self, hand: Hand) -> None:
        """Where nothing of it was sent, nothing of it waits for a person."""
        (ticket, behind) = hand.add(intake(text="m", parts=2, expires_at=1001.0), intake(text="behind"))
        hand.now = 1002.0
        assert hand.begin(ticket.guest_ref).part_id == behind.part_ids[0]
        assert hand.states(ticket) == [EXPIRED, EXPIRED]

    def test_the_end_of_a_message_lets_the_next_go(self, hand: Hand) -> None:
        """A dead part holds nobody up."""
        first, second = hand.add(intake(text="a"), intake(text="b"))
        hand.begin(first.guest_ref)
        result = hand.step(End(first.part_ids[0], 1, DEAD, "refused"), begins=(first.guest_ref,))
        assert [sending.part_id for sending in result.begun] == list(second.part_ids)

    # --- who relays ---

    def test_a_new_relay_checks_what_the_old_one_left(self, hand: Hand, open_store: OpenStore) -> None:
        """What was on its way is in check at once, due now; what was queued starts at once; fences rise."""
        left, waiting = hand.add(intake("anna"), intake("ben"))
        hand.begin(left.guest_ref)
        heir = Hand(open_store())
        heir.now = 1100.0
        assert heir.take_over() == hand.fence + 1
        assert heir.states(left) == [CHECKING]
        assert heir.states(waiting) == [QUEUED]
        assert sorted(heir.due()) == sorted([left.guest_ref, waiting.guest_ref])
        head = heir.lane(left.guest_ref).head
        assert head is not None
        assert (head.attempt, head.changed_at, head.body) == (1, 1100.0, PartBody("hello"))
        heir.step(Requeue(left.part_ids[0], 1, 1100.0, "absent"))
        assert heir.begin(left.guest_ref).attempt == 2

    def test_a_replaced_relay_can_only_report_facts(self, hand: Hand, open_store: OpenStore) -> None:
        """It begins nothing and moves nothing; what the gateway took it may still say. Its lanes come back empty."""
        lost, arrived, queued = hand.add(intake("anna"), intake("ben"), intake("carl"))
        hand.step(begins=(lost.guest_ref, arrived.guest_ref))
        heir = Hand(open_store())
        heir.take_over()
        for change in (
            Requeue(lost.part_ids[0], 1, 1000.0, "stale"),
            Suspect(lost.part_ids[0], 1, "stale"),
            End(lost.part_ids[0], 1, DEAD, "stale"),
        ):
            hand.step(change)
        result = hand.step(Confirm(arrived.part_ids[0], accepted("g1")), begins=(queued.guest_ref,))
        assert (result.begun, result.replaced) == ([], True)
        assert result.lanes == {arrived.guest_ref: None, queued.guest_ref: None}
        assert [heir.states(ticket) for ticket in (lost, arrived, queued)] == [[CHECKING], [ACCEPTED], [QUEUED]]
        assert heir.due() == [queued.guest_ref, lost.guest_ref] or set(heir.due()) == {
            lost.guest_ref,
            queued.guest_ref,
        }

    # --- sessions, pauses, replies ---

    def test_a_session_is_remembered(self, hand: Hand, open_store: OpenStore) -> None:
        """State and token for the next process; a new token ends what the old history could say."""
        ticket = hand.submit()
        guest = ticket.guest_ref
        hand.begin(guest)
        hand.step(Confirm(ticket.part_ids[0], accepted("g1")))
        token = hand.lane(guest).token
        hand.step(SessionChanged(guest, SessionState.LIVE, "session.configured", 5000.0, detail={"new": True}))
        row = Hand(open_store()).lane(guest)
        assert (row.session_state, row.token, row.anchor) == (SessionState.LIVE, token, "g1")
        hand.step(SessionChanged(guest, SessionState.NONE, "session.replaced", token="new-token"))
        row = Hand(open_store()).lane(guest)
        assert (row.session_state, row.token, row.anchor) == (SessionState.NONE, "new-token", None)
        assert [entry.event for entry in hand.store.journal(0, 100)][-2:] == ["session.configured", "session.replaced"]

    def test_a_pause_and_a_note_are_remembered(self, hand: Hand) -> None:
        """A paused lane says until when; both stand in the journal."""
        guest = hand.submit().guest_ref
        result = hand.step(Pause(guest, 1300.0, "evicted"), Note("something.seen", None, None, {"code": 7}))
        assert hand.lane(guest).paused_until == 1300.0
        assert [(entry.event, entry.detail) for entry in result.entries] == [
            ("lane.paused", {"until": 1300.0, "reason": "evicted"}),
            ("something.seen", {"code": 7}),
        ]

    def test_a_reply_is_kept_once(self, hand: Hand) -> None:
        """Live and from the history, on two sockets: one reply, one journal row; other guests have their own names."""
        anna, ben = (ticket.guest_ref for ticket in hand.add(intake("anna"), intake("ben")))
        reply = Reply(gateway_id=GatewayMessageId("r1"), kind="text", text="hi", content=[{"a": [1, None, "x"]}])
        again = Reply(gateway_id=GatewayMessageId("r1"), kind="text", text="hi", source="history")
        result = hand.step(Hear(anna, reply), Hear(anna, again), Hear(ben, reply))
        hand.step(Hear(anna, reply))
        assert [entry.event for entry in result.entries] == ["reply.received"] * 2
        first, second = hand.store.replies(0, 10)
        assert (first.guest_ref, first.text, first.content, first.source) == (anna, "hi", reply.content, "live")
        assert [entry.detail["reply"] for entry in result.entries] == [first.seq, second.seq]
        assert hand.store.replies(first.seq, 10) == [second]
        assert hand.store.replies(0, 10, ben) == [second]
        assert hand.store.replies(0, 1) == [first]

    # --- the journal and people ---

    def test_journal_numbers_rise_without_a_gap(self, hand: Hand) -> None:
        """Over commits and rollbacks; a reader that asks after a number misses nothing."""
        hand.submit()
        with pytest.raises(KeyError):
            hand.add_and_fail(intake("ben"))
        hand.submit("carl")
        entries = hand.store.journal(0, 1000)
        assert [entry.seq for entry in entries] == list(range(1, hand.store.journal_seq() + 1))
        assert hand.store.journal(entries[0].seq, 1) == entries[1:2]
        assert hand.store.journal(entries[-1].seq, 10) == []

    def test_messages_are_found_by_the_beginning_of_a_name(self, hand: Hand) -> None:
        """By the id of the message or of a part, whole or not; what is no name finds nothing and matches no pattern."""
        one = hand.submit(parts=2)
        hand.submit("ben")
        for name in (one.message_id, *one.part_ids, one.part_ids[0][:-1]):
            assert hand.store.message_of(name) == one.message_id
        for name in (
            "",
            "*",
            "?",
            "zzz",
            one.message_id + "0",
            "[0-9]",
            "%",
            "'; DROP TABLE parts; --",
            one.message_id[:2],
        ):
            with pytest.raises(NotFound, match="GW-N002"):
                hand.store.message_of(name)

    def test_the_figures_add_up(self, hand: Hand) -> None:
        """Parts by state, guests, the oldest that is open, replies; all zero in an empty store."""
        empty = hand.store.status()
        assert (empty.kind, empty.parts, empty.guests, empty.oldest_open_at) == ("emulator", {}, 0, None)
        first, second = hand.add(intake("anna"), intake("ben"))
        hand.begin(first.guest_ref)
        hand.step(Confirm(first.part_ids[0], accepted("g1")))
        hand.now = 1100.0
        hand.submit("carl")
        status = hand.store.status()
        assert (status.parts, status.guests, status.oldest_open_at) == ({"accepted": 1, "queued": 2}, 3, 1000.0)
        assert status.destinations == {"web": {"queued": 2}}
        assert hand.store.message_states(first.message_id) == {ACCEPTED: 1}
        everything = [*first.part_ids, *second.part_ids, PartId("unknown")]
        assert hand.store.unsettled(everything) == set(second.part_ids)

    def test_content_is_shown_only_where_it_was_asked_for(self, hand: Hand) -> None:
        """A list without text holds neither text nor guest."""
        ticket = hand.submit("canary-guest", "canary-text")
        assert "canary" not in repr(hand.store.message_parts(ticket.message_id, with_text=False))
        assert "canary" not in repr(hand.store.list_parts(state=QUEUED, guest=None, limit=9, with_text=False))
        (view,) = hand.store.list_parts(state=None, guest=ticket.guest_ref, limit=9, with_text=True)
        assert (view.guest, view.text) == ("canary-guest", "canary-text")
        assert hand.store.list_parts(state=DEAD, guest=None, limit=9, with_text=True) == []
        with pytest.raises(NotFound, match="GW-N003"):
            hand.store.guest_key(GuestRef("nobody"))

    # --- destinations ---

    def test_emulator_and_live_never_share_a_store(self, hand: Hand) -> None:
        """Test messages must not reach customers, nor customers' messages an emulator."""
        with pytest.raises(ConfigError, match="GW-C040"):
            hand.register("prod", "f9", is_emulator=False)
        with pytest.raises(ConfigError, match="GW-C040"):
            hand.register("web", "f1", is_emulator=False)
        hand.register("second", "f2")

    def test_a_destination_that_moved_is_refused(self, hand: Hand) -> None:
        """The same name at the same place is welcome; at another place it needs another name."""
        hand.register("web", "f1")
        with pytest.raises(ConfigError, match="GW-C041"):
            hand.register("web", "f2")
        hand.register("web", "f1")


class TestSqliteStore(StoreContract):
    """The contract, and what belongs to files."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Folder:
        """Where the store lies."""
        return Folder(tmp_path / "store")

    @pytest.fixture
    def open_store(self, folder: Folder) -> Iterator[OpenStore]:
        """Open one more connection."""
        stores: list[AnyStore] = []

        def open_it() -> AnyStore:
            stores.append(SqliteStore(folder, min_free_disk_mb=0))
            return stores[-1]

        yield open_it
        for store in stores:
            store.close()

    def test_nothing_personal_lies_in_the_files(self, hand: Hand, folder: Folder) -> None:
        """Neither in the database nor beside it, neither before nor after the log is folded in."""
        canaries = ["guest", "text", "attribute", "token", "reply", "key", "channel"]
        ticket = hand.submit(
            "canary-guest", "canary-text", attributes={"canary-attribute": "canary-attribute"}, key="canary-key"
        )
        hand.add(intake("canary-guest", "canary-text-held", not_before=9e9), held_by="file")
        guest = ticket.guest_ref
        token = hand.lane(guest).token
        hand.begin(guest)
        reply = Reply(
            gateway_id=GatewayMessageId("r1"),
            kind="text",
            text="canary-reply",
            nickname="canary-reply",
            metadata={"a": "canary-reply"},
        )
        hand.step(
            Hear(guest, reply),
            SessionChanged(guest, SessionState.LIVE, "session.configured", token="canary-token"),
            Suspect(ticket.part_ids[0], 1, "lost"),
        )

        def look() -> None:
            files = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
            assert {"store.db", "keys.db"} <= set(files)
            for name, content in files.items():
                for canary in (*(f"canary-{word}" for word in canaries), token):
                    assert canary.encode() not in content, (name, canary)

        assert (folder.path / "store.db-wal").stat().st_size > 0
        look()
        hand.store.close()
        look()
        other = Hand(SqliteStore(folder, min_free_disk_mb=0))
        other.fence = hand.fence
        assert other.lane(guest).token == "canary-token"
        assert other.store.replies(0, 9)[0].text == "canary-reply"
        assert other.store.find_guest("web", GuestKey("canary-guest")) == guest
        assert not other.submit(
            "canary-guest", "canary-text", attributes={"canary-attribute": "canary-attribute"}, key="canary-key"
        ).fresh
        other.store.close()

    def test_the_files_are_their_owners_alone(self, hand: Hand, folder: Folder) -> None:
        """Also those that SQLite makes beside them."""
        hand.submit()
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
        assert {"store.db", "store.db-wal", "store.db-shm", "keys.db"} <= set(files)
        assert set(files.values()) == {0o600}

    def test_what_is_committed_has_reached_the_disk(self, hand: Hand) -> None:
        """WAL with a sync at every commit, and deleted content is overwritten."""
        pragmas = {
            name: hand.store._value(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "secure_delete")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
        assert hand.store._value("PRAGMA auto_vacuum") == 2
        assert hand.store._value("PRAGMA foreign_keys") == 1

    def test_a_killed_process_loses_nothing_it_was_told_is_stored(self, folder: Folder) -> None:
        """SIGKILL right after the commit, without closing anything: the next process finds it, and a sound file."""
        program = (
            "import os, signal, sys; from pathlib import Path\n"
            "from guestwire.store.folder import Folder; from guestwire.store.sqlite import SqliteStore\n"
            "from guestwire.store.base import Intake; from guestwire.model import Draft, PartBody\n"
            "store = SqliteStore(Folder(Path(sys.argv[1])), min_free_disk_mb=0)\n"
            "with store.transaction():\n"
            "    store.register('web', 'webmessaging', 'f1', is_emulator=True)\n"
            "    store.add([Intake(Draft(destination='web', guest='anna', text='hello'), (PartBody('hello'),))], 1.0)\n"
            "unfinished = store.transaction(); unfinished.__enter__()\n"
            "store.add([Intake(Draft(destination='web', guest='ben', text='never'), (PartBody('never'),))], 1.0)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(folder.path)], check=False, timeout=60)
        assert done.returncode == -9
        store = SqliteStore(folder, min_free_disk_mb=0)
        assert [view.text for view in Hand(store).parts()] == ["hello"]
        assert store._value("PRAGMA integrity_check") == "ok"
        store.close()

    def test_a_newer_schema_is_refused(self, hand: Hand, folder: Folder) -> None:
        """It does not guess what a later guestwire meant."""
        hand.store._db.execute("PRAGMA user_version=99")
        with pytest.raises(StoreError, match="GW-S004") as caught:
            SqliteStore(folder)
        assert "99" in caught.value.message

    def test_a_schema_of_before_the_first_release_is_refused(self, hand: Hand, folder: Folder) -> None:
        """It would open, and then nothing could ever be sent."""
        hand.store._db.execute("PRAGMA user_version=1")
        with pytest.raises(StoreError, match="GW-S015"):
            SqliteStore(folder)

    @pytest.mark.parametrize("name", ["store.db", "keys.db"])
    @pytest.mark.parametrize("content", [b"not a database at all, but a long enough text\n" * 200, b"\0" * 8192])
    def test_a_file_that_is_no_database_is_refused(self, folder: Folder, name: str, content: bytes) -> None:
        """Said as what it is, and the file is left as it was."""
        (folder.path / name).write_bytes(content)
        (folder.path / name).chmod(0o600)
        with pytest.raises(StoreError, match="GW-S005"):
            SqliteStore(folder)
        assert (folder.path / name).read_bytes() == content

    def test_keys_of_another_store_are_refused(self, hand: Hand, folder: Folder) -> None:
        """A lost keys.db is not silently replaced: what was stored could never be read again."""
        hand.submit()
        folder.keys.rename(folder.path / "elsewhere.db")
        with pytest.raises(StoreError, match="GW-S013"):
            SqliteStore(folder)
        (folder.path / "elsewhere.db").replace(folder.keys)
        SqliteStore(folder).close()

    def test_keys_that_others_can_read_are_refused(self, hand: Hand, folder: Folder) -> None:
        """Before the store is opened."""
        folder.keys.chmod(0o644)
        with pytest.raises(StoreError, match="GW-S010"):
            SqliteStore(folder)

    def test_a_full_disk_refuses_intake_and_lets_sending_go_on(self, hand: Hand, folder: Folder) -> None:
        """What was accepted is sent while new messages are turned away, with both numbers."""
        ticket = hand.submit()
        tight = Hand(SqliteStore(folder, min_free_disk_mb=10**9))
        tight.fence = hand.fence
        with pytest.raises(StoreError, match="GW-S021") as caught:
            tight.submit()
        assert "1000000000" in caught.value.message
        sending = tight.begin(ticket.guest_ref)
        tight.step(Confirm(sending.part_id, accepted("g1")))
        assert tight.states(ticket) == [ACCEPTED]
        tight.store.close()

    def test_running_out_of_room_rolls_back_and_says_so(self, hand: Hand) -> None:
        """A commit that does not fit takes nothing with it, and the error under it is the disk's, not a rollback's."""
        pages = hand.store._value("PRAGMA page_count")
        hand.store._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(apsw.FullError):
            hand.add(*(intake(text="x" * 4000) for _ in range(4000)))
        hand.store._db.execute("PRAGMA max_page_count=1000000")
        assert hand.submit().fresh
        assert replayed(hand.store) == {view.id: view.state for view in hand.parts()}

    def test_an_error_after_sqlite_rolled_back_by_itself_is_not_hidden(self, hand: Hand) -> None:
        """A failing disk may end the transaction from below: whoever asked is told why it failed."""

        def fail() -> None:
            with hand.store.transaction():
                hand.store._db.execute("ROLLBACK")
                raise KeyError("the real reason")

        with pytest.raises(KeyError, match="the real reason"):
            fail()
        assert hand.submit().fresh

    def test_the_index_says_no_to_a_second_part_on_its_way(self, hand: Hand) -> None:
        """Whatever the code above believes, the database refuses it."""
        tickets = hand.add(intake(text="a"), intake(text="b"))
        hand.begin(tickets[0].guest_ref)
        with pytest.raises(apsw.ConstraintError):
            hand.store._db.execute("UPDATE parts SET state = 'sending' WHERE id = ?", tickets[1].part_ids)

    def test_many_processes_may_open_a_new_store_at_once(self, folder: Folder) -> None:
        """Schema, log mode and keys are made once; nobody is turned away."""
        program = (
            "import sys; from pathlib import Path\n"
            "from guestwire.store.folder import Folder; from guestwire.store.sqlite import SqliteStore\n"
            "sys.stdin.readline(); SqliteStore(Folder(Path(sys.argv[1]))); print('opened')\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(5)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in processes] == ["opened\n"] * 5

    #: What the relay asks over and over, each with how many values it takes.
    HOT = (
        ("due", 3),
        ("next_due", 2),
        ("head", 1),
        ("held", 2),
        ("entering", 1),
        ("next_entering", 0),
        ("taken", 2),
        ("part", 1),
        ("guest", 1),
        ("siblings", 2),
        ("part_ids", 1),
        ("find_guest", 2),
        ("find_by_key", 2),
        ("journal", 2),
        ("journal_of_part", 1),
        ("begin", 4),
        ("accept", 7),
        ("requeue", 6),
        ("suspect", 4),
        ("finish", 6),
        ("set_aside", 1),
        ("lane", 5),
        ("anchor", 3),
        ("errand_before", 2),
        ("waiting_receipts", 2),
        ("place_receipts", 3),
        ("reply_receipt", 1),
        ("wants_receipts", 1),
        ("received", 4),
    )

    @pytest.mark.parametrize(("name", "values"), HOT)
    def test_what_the_relay_asks_is_never_a_scan(self, hand: Hand, name: str, values: int) -> None:
        """With a million rows a scan would cost a second; the plan of each such statement is a search in an index."""
        rows = hand.store._db.execute("EXPLAIN QUERY PLAN " + statements()[name], (1,) * values)
        plan = [str(row[3]) for row in rows]
        assert plan
        for line in plan:
            assert line.startswith("SEARCH"), plan
            assert "TEMP B-TREE" not in line, plan

    def test_nothing_on_a_message_s_way_is_a_scan_or_parsed_twice(self, hand: Hand) -> None:
        """Whichever statement is executed from intake to acceptance: what it looks for is in an index; parsed once."""
        parsed_again: dict[str, int] = {}

        def note(event: dict[str, Any]) -> None:
            parsed_again[event["sql"]] = event["stmt_status"]["SQLITE_STMTSTATUS_REPREPARE"]

        hand.store._db.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
        for number in range(20):
            tickets = hand.add(intake("anna", key=f"a{number}"), intake("ben", parts=2, expires_at=9e9))
            hand.store.lanes(hand.due())
            refs = tuple(ticket.guest_ref for ticket in tickets)
            begun = hand.step(begins=refs).begun
            hand.step(Requeue(begun[0].part_id, 1, hand.now, "", spent=False), begins=refs[:1])
            hand.step(*(Confirm(sending.part_id, accepted(f"{number}-{sending.part_id}")) for sending in begun))
            hand.texts_in_lane_order(refs[1])
        hand.store._db.trace_v2(0, None)
        assert len(parsed_again) > 15
        # Once for each is not too many: the first parse may have been before the schema was.
        assert {sql: times for sql, times in parsed_again.items() if times > 1} == {}
        for sql in parsed_again:
            if sql.startswith(("SELECT", "UPDATE", "DELETE")):
                info = apsw.ext.query_info(hand.store._db, sql, explain_query_plan=True)
                assert info.query_plan is not None
                plan = [step.detail for step in info.query_plan.sub or ()]
                assert plan
                assert not [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line], (sql, plan)


class LaneMachine(RuleBasedStateMachine):
    """
    Any interleaving of the verbs, with relays that are replaced and stores that are reopened.

    The machine remembers only what it was told (tickets, entries, attempts) and compares it with what the store shows.
    """

    guests = st.sampled_from(["anna", "ben", "carl"])

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.folder = Folder(Path(self.place.name) / "store")
        self.hand = Hand(SqliteStore(self.folder, min_free_disk_mb=0))
        # No machine loses its power here, and thousands of syncs would only take time.
        self.hand.store._db.execute("PRAGMA synchronous=OFF").fetchall()
        self.hand.register()
        self.hand.take_over()
        self.stored: set[PartId] = set()
        self.sent: dict[PartId, tuple[GuestRef, int]] = {}
        """Every part that was ever begun, with its lane and its last attempt."""
        self.lanes: dict[GuestRef, list[PartId]] = {}
        """The parts of each lane in the order of their entry."""
        self.read_up_to = 0
        self.names = itertools.count()

    def teardown(self) -> None:
        """Close and remove the store."""
        self.hand.store.close()
        self.place.cleanup()

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
        self.hand.store = SqliteStore(self.folder, min_free_disk_mb=0)
        self.hand.store._db.execute("PRAGMA synchronous=OFF").fetchall()

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


TestLanes = LaneMachine.TestCase
TestLanes.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
