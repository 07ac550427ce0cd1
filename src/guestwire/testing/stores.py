"""
What every store guarantees: a suite for your own, under pytest.

    from guestwire.testing.stores import OpenStore, StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def open_store(self, tmp_path: Path) -> OpenStore:
            return lambda: MyStore(tmp_path)

It knows a store by its verbs alone (`guestwire.store.base.Store`). `guestwire.testing.machine` tries any interleaving
of them, where hypothesis is installed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from guestwire.errors import ConfigError, NotFound, Rejected
from guestwire.model import (
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
from guestwire.store.base import (
    Change,
    Confirm,
    Copied,
    End,
    Hear,
    Intake,
    LaneRow,
    Note,
    PartView,
    Pause,
    Requeue,
    Sending,
    Step,
    StepResult,
    Store,
    Suspect,
)

S = TypeVar("S", bound=Store)
#: Opens your store; each call gives another connection to the same one.
OpenStore = Callable[[], Store]

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


class HandOf(Generic[S]):
    """Hands verbs to a store, each in a transaction of its own, at a time that a test sets."""

    def __init__(self, store: S) -> None:
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


Hand = HandOf[Store]

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


def replayed(store: Store) -> dict[PartId, PartState]:
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
    """
    The behaviours that the relay and the client build on.

    A subclass whose name begins with ``Test`` brings the fixture `open_store`: a function that opens the store, again
    and again, at one place, so that one connection sees what another has committed. Destinations ``web`` and ``chat``
    of transport ``webmessaging`` are registered by the tests; less disk than the store wants must not be in its way.
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Yours."""
        raise NotImplementedError("a subclass of StoreContract brings the fixture 'open_store', which opens your store")

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
        # Of its database, in whatever words: a program registers its destinations before it submits to them.
        with pytest.raises(Exception), hand.store.transaction():  # noqa: B017, PT011
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

    def test_a_time_that_was_said_is_not_moved(self, hand: Hand) -> None:
        """A part that was sent has said when it entered its lane: the history is asked for that time later on."""
        hand.now += 3600.0
        sent, waiting = hand.submit("anna"), hand.submit("ben")
        said_at = hand.now
        hand.begin(sent.guest_ref)
        hand.step(Requeue(sent.part_ids[0], 1, hand.now + 20.0, "busy"))
        hand.now -= 3600.0
        hand.take_over()
        hand.now += 20.0
        assert [hand.begin(each.guest_ref).queued_at for each in (sent, waiting)] == [said_at, said_at - 3600.0]

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

    def test_copies_that_nobody_has_seen_are_counted(self, hand: Hand) -> None:
        """A part that was sent again without knowing may stand in the history twice, until the second copy is seen."""
        sure, ticket = hand.add(intake("anna"), intake("anna"))
        hand.begin(sure.guest_ref)
        hand.step(Confirm(sure.part_ids[0], accepted("g0")))
        part, guest = ticket.part_ids[0], ticket.guest_ref
        hand.begin(guest)
        hand.step(Suspect(part, 1, "lost"))
        hand.step(Requeue(part, 1, hand.now, "absent", possible_duplicate=True), begins=(guest,))
        assert hand.store.copied(guest) == []
        hand.step(Confirm(part, accepted("g2")))
        assert hand.store.copied(guest) == [Copied(PartBody("hello"), hand.now, 1, ("g2", None))]
        hand.step(Confirm(part, accepted("g1")))
        assert hand.store.copied(guest) == []

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

    def test_what_is_about_to_leave_is_known_to_the_next_relay(self, hand: Hand, open_store: OpenStore) -> None:
        """Whatever the journal does not tell of, between two moments; attempts are told with it, as of their end."""
        ticket = hand.submit()
        guest = ticket.guest_ref
        with hand.store.transaction():
            hand.store.spend("connect", "web", guest, 990.0)
            hand.store.spend("history", "web", guest, 1000.0)
            hand.store.spend("typing", "web", guest, 1000.0)
        hand.begin(guest)
        hand.step(Confirm(ticket.part_ids[0], accepted("g1")))
        found = sorted(open_store().uses(995.0, 1060.0), key=lambda use: use.kind)
        assert [(use.kind, use.at, use.ahead) for use in found] == [
            ("history", 1000.0, True),
            ("message", hand.now, False),
            ("typing", 1000.0, True),
        ]
        assert {(use.destination, use.guest_ref) for use in found} == {("web", guest)}

    def test_what_has_left_long_ago_is_forgotten(self, hand: Hand) -> None:
        """No window is longer than some minutes; nor is what a clock wrote that was ahead kept until it is right."""
        guest = hand.submit().guest_ref
        for now in (1000.0, 2000.0, 1500.0, 500.0):
            with hand.store.transaction():
                hand.store.spend("history", "web", guest, now)
        assert [use.at for use in hand.store.uses(0.0, 1_000_000.0)] == [500.0]

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
