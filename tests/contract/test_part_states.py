"""
The table of a part's life, held against the real store: every event happens to a part in every state.

The store asks the table itself where a relay's word is concerned; the rest (facts, ends at the head, what a dead
process left) stands in its own statements, and is held to the table here.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guestwire.model import (
    OPEN_STATES,
    TAKEN_STATES,
    Accepted,
    GatewayMessageId,
    GuestKey,
    PartId,
    PartState,
    Receipt,
    Ticket,
)
from guestwire.policy.states import ENDED_STATES, ENDINGS, FACTS, MEANINGS, TRANSITIONS, PartEvent, after
from guestwire.store.base import Confirm, End, Expire, Person, Requeue, Suspect
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.stores import intake
from tests.contract.test_store import Hand

S, E = PartState, PartEvent
#: A person's verbs reach the store under names of their own; where it has none yet, the table is ahead of it.
BY_A_PERSON = frozenset({E.RELEASE, E.CANCEL})
TOLD = Accepted(GatewayMessageId("g1"), "c1", "2026-01-01T00:00:00Z")
EXPIRES_AT = 1_500.0


@contextlib.contextmanager
def a_hand() -> Iterator[Hand]:
    """A store with one destination and one relay, in a folder of its own."""
    with tempfile.TemporaryDirectory() as place:
        hand = Hand(SqliteStore(Folder(Path(place) / "store"), min_free_disk_mb=0))
        # No machine loses its power here, and hundreds of syncs would only take time.
        hand.store._db.execute("PRAGMA synchronous=OFF").fetchall()
        hand.register()
        hand.take_over()
        yield hand
        hand.store.close()


@pytest.fixture
def hand() -> Iterator[Hand]:
    """One of them."""
    with a_hand() as hand:
        yield hand


def receive(hand: Hand, part: PartId, status: str, *, proof: bool = False) -> None:
    """A receipt for the part comes in; with `proof` it holds the platform's own name for it."""
    receipt = Receipt(status, "g1" if proof else None, part)
    with hand.store.transaction():
        hand.store.receive("web", GuestKey("anna"), receipt, hand.now, report=False)


def bring_into(hand: Hand, state: PartState, *, expires_at: float | None = None) -> Ticket:
    """Make a part, and let happen to it what leads to a state."""
    ticket = hand.submit(expires_at=expires_at)
    (part,) = ticket.part_ids
    if state is S.QUEUED:
        return ticket
    if state is S.CANCELLED:
        cancelled(hand, ticket)
        return ticket
    if state is S.EXPIRED:
        # By its row, as the verbs write it: time must not have passed for what happens next.
        hand.store._run("finish", (state.value, hand.now, hand.now, "the end", None, part))
        return ticket
    attempt = hand.begin(ticket.guest_ref).attempt
    if state is S.CHECKING:
        hand.step(Suspect(part, attempt, "lost"))
    elif state in ENDINGS:
        hand.step(End(part, attempt, state, "the end"))
    elif state in TAKEN_STATES:
        hand.step(Confirm(part, TOLD))
        if state is not S.ACCEPTED:
            receive(hand, part, state.value)
    return ticket


def attempt_of(hand: Hand, ticket: Ticket) -> int:
    """The attempt that the relay last saw."""
    return hand.part(ticket.part_ids[0]).attempt


def ended(hand: Hand, ticket: Ticket, state: PartState) -> None:
    """The relay gives it up, whether it was begun or not."""
    (part,) = ticket.part_ids
    hand.step(End(part, attempt_of(hand, ticket), state, "the end", unsent=hand.part(part).state is S.QUEUED))


def grown_old(hand: Hand, ticket: Ticket) -> None:
    """Its time is over: whoever looks at the lane's head ends it, and a relay's own word for it is heard too."""
    hand.now = EXPIRES_AT + 1
    hand.step(Expire(ticket.guest_ref))
    hand.step(End(ticket.part_ids[0], attempt_of(hand, ticket), S.EXPIRED, "too old"))


def cancelled(hand: Hand, ticket: Ticket) -> None:
    """A person does not want it any more."""
    with hand.store.transaction():
        hand.store.cancel(ticket.message_id, Person(), hand.now)


def released(hand: Hand, ticket: Ticket) -> None:
    """A person wants it sent."""
    with hand.store.transaction():
        hand.store.release(ticket.message_id, Person(), hand.now)


def restored(hand: Hand) -> None:
    """The store was made of a backup."""
    with hand.store.transaction():
        hand.store.doubt("2026-01-01T00:00:00Z", hand.now)


#: How each event reaches the store.
HAPPENS: dict[PartEvent, Callable[[Hand, Ticket], object]] = {
    E.BEGIN: lambda hand, ticket: hand.step(begins=(ticket.guest_ref,)),
    E.AGAIN: lambda hand, ticket: hand.step(Requeue(ticket.part_ids[0], attempt_of(hand, ticket), hand.now, "again")),
    E.UNKNOWN: lambda hand, ticket: hand.step(Suspect(ticket.part_ids[0], attempt_of(hand, ticket), "lost")),
    E.CRASHED: lambda hand, ticket: hand.take_over(),
    E.PARK: lambda hand, ticket: ended(hand, ticket, S.PARKED),
    E.RESTORED: lambda hand, ticket: restored(hand),
    E.GIVE_UP: lambda hand, ticket: ended(hand, ticket, S.DEAD),
    E.TOO_OLD: grown_old,
    E.ACCEPTED: lambda hand, ticket: hand.step(Confirm(ticket.part_ids[0], TOLD)),
    E.DELIVERED: lambda hand, ticket: receive(hand, ticket.part_ids[0], "Delivered"),
    E.READ: lambda hand, ticket: receive(hand, ticket.part_ids[0], "Read"),
    E.FAILED: lambda hand, ticket: receive(hand, ticket.part_ids[0], "Failed"),
    E.RELEASE: released,
    E.CANCEL: cancelled,
}


@pytest.mark.parametrize("state", PartState)
def test_every_event_in_every_state_does_what_the_table_says(state: PartState) -> None:
    """It leads where the table has an arrow, and changes nothing where it has none."""
    for event, happens in HAPPENS.items():
        # A store of its own for each: nothing of one pair may reach the next.
        with a_hand() as hand:
            ticket = bring_into(hand, state, expires_at=EXPIRES_AT)
            assert hand.states(ticket) == [state]
            happens(hand, ticket)
            assert (event, hand.states(ticket)) == (event, [after(state, event) or state])


@pytest.mark.parametrize("state", PartState)
@pytest.mark.parametrize("event", [E.DELIVERED, E.READ, E.FAILED])
def test_a_receipt_that_names_the_message_is_two_events(hand: Hand, state: PartState, event: PartEvent) -> None:
    """What has a receipt was accepted: whatever state it was in, that happens first."""
    ticket = bring_into(hand, state)
    receive(hand, ticket.part_ids[0], event.value, proof=True)
    taken = after(state, E.ACCEPTED)
    assert taken is not None
    assert hand.states(ticket) == [after(taken, event) or taken]


def test_the_rest_of_a_message_is_set_aside_with_a_part_that_ends(hand: Hand) -> None:
    """The parts behind it are queued, and the table lets a queued part be parked, or grow too old."""
    (ticket,) = hand.add(intake(parts=3))
    sending = hand.begin(ticket.guest_ref)
    hand.step(End(sending.part_id, sending.attempt, S.DEAD, "refused"))
    assert hand.states(ticket) == [S.DEAD, *[after(S.QUEUED, E.PARK)] * 2]


# --- the table itself ---


def test_every_state_has_its_row_and_every_event_its_words() -> None:
    """Nothing that exists is left out, every event can happen somewhere, every state can be reached."""
    assert set(TRANSITIONS) == set(PartState)
    assert set(MEANINGS) == set(PartEvent) == {event for row in TRANSITIONS.values() for event in row}
    reached = {target for state, row in TRANSITIONS.items() for target in row.values() if target is not state}
    assert reached == set(PartState)
    assert set(HAPPENS) == set(PartEvent)


def test_a_fact_holds_from_every_state_and_takes_nothing_back() -> None:
    """The gateway's word leads to *accepted* at least; of what is taken, no event makes less."""
    for state in PartState:
        assert after(state, E.ACCEPTED) == (state if state in TAKEN_STATES else S.ACCEPTED)
    for state in TAKEN_STATES:
        assert set(TRANSITIONS[state]) == set(FACTS)
        assert set(TRANSITIONS[state].values()) <= TAKEN_STATES
        assert S.ACCEPTED not in TRANSITIONS[state].values() or state is S.ACCEPTED


def test_what_was_sent_and_is_not_settled_never_expires_and_is_never_cancelled() -> None:
    """Whether it arrived is an open question, which neither age nor a person's wish can answer."""
    for state in (S.SENDING, S.CHECKING):
        assert after(state, E.TOO_OLD) is None
        assert after(state, E.CANCEL) is None


def test_a_person_can_release_or_cancel_what_is_parked_and_cancel_what_is_queued() -> None:
    """And nothing else: a replay of a dead message is another message."""
    allowed = {(state, event): after(state, event) for state in PartState for event in BY_A_PERSON}
    assert {pair: target for pair, target in allowed.items() if target is not None} == {
        (S.PARKED, E.RELEASE): S.QUEUED,
        (S.PARKED, E.CANCEL): S.CANCELLED,
        (S.QUEUED, E.CANCEL): S.CANCELLED,
    }


def test_an_ended_part_is_left_by_the_gateways_word_alone() -> None:
    """Dead, expired and cancelled stay what they are, unless the gateway had it all the same."""
    assert {S.DEAD, S.EXPIRED, S.CANCELLED} == ENDED_STATES
    assert all(TRANSITIONS[state] == {E.ACCEPTED: S.ACCEPTED} for state in ENDED_STATES)
    assert not ENDED_STATES & (OPEN_STATES | TAKEN_STATES)
