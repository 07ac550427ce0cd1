"""What people decide about messages that are stored: cancel, release, retry; and that a paused lane goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guestwire.errors import NotFound
from guestwire.model import Attachment, MessageId, Ticket
from guestwire.store.base import Confirm, End, Intervention, Note, NoteUpload, Pause, Person, Requeue, Suspect
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.stores import (
    ACCEPTED,
    CANCELLED,
    CHECKING,
    DEAD,
    EXPIRED,
    PARKED,
    QUEUED,
    SENDING,
    accepted,
    intake,
)
from tests.contract.test_store import Hand

ANN = Person("ann", "ordered twice")


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    """A store with one destination and one relay."""
    hand = Hand(SqliteStore(Folder(tmp_path / "store"), min_free_disk_mb=0))
    hand.register()
    hand.take_over()
    yield hand
    hand.store.close()


def cancel(hand: Hand, ticket: Ticket) -> Intervention:
    """Ann does not want it any more."""
    with hand.store.transaction():
        return hand.store.cancel(ticket.message_id, ANN, hand.now)


def release(hand: Hand, ticket: Ticket) -> Intervention:
    """Ann wants it sent."""
    with hand.store.transaction():
        return hand.store.release(ticket.message_id, ANN, hand.now)


def retry(hand: Hand, message: MessageId) -> Intervention:
    """Ann wants it sent again."""
    with hand.store.transaction():
        return hand.store.retry(message, ANN, hand.now)


def kill(hand: Hand, ticket: Ticket) -> None:
    """Its first part is refused."""
    sending = hand.begin(ticket.guest_ref)
    assert sending.part_id == ticket.part_ids[0]
    hand.step(End(sending.part_id, sending.attempt, DEAD, "refused"))


# --- cancel ---


def test_what_has_not_left_is_cancelled_and_the_lane_goes_on(hand: Hand) -> None:
    """The head of a lane, or what stands behind it; the journal says who and why."""
    first, second, third = hand.add(intake(text="1"), intake(text="2"), intake(text="3"))
    done = cancel(hand, first)
    assert (done.parts, done.left, done.doubtful) == (first.part_ids, (), 0)
    assert cancel(hand, second).parts == second.part_ids
    assert hand.states(first) == hand.states(second) == [CANCELLED]
    (entry,) = [entry for entry in hand.store.journal_of(first.part_ids[0]) if entry.event == "part.cancelled"]
    assert entry.detail == {
        "by": "ann",
        "why": "ordered twice",
        "was": "queued",
        "attempt": 0,
        "reason": "ordered twice",
    }
    assert hand.texts_in_lane_order(first.guest_ref) == ["3"]
    assert hand.states(third) == [ACCEPTED]


def test_what_is_on_its_way_or_in_check_is_not_cancelled(hand: Hand) -> None:
    """It may have arrived: only what stands behind it in its message is ended, and the answer says which."""
    (ticket,) = hand.add(intake(text="m", parts=3))
    sending = hand.begin(ticket.guest_ref)
    done = cancel(hand, ticket)
    assert done.parts == ticket.part_ids[1:]
    assert [part for part, _ in done.left] == [ticket.part_ids[0]]
    assert done.left[0][1].startswith("sending: it is on its way")
    assert hand.states(ticket) == [SENDING, CANCELLED, CANCELLED]
    hand.step(Suspect(sending.part_id, 1, "lost"))
    assert cancel(hand, ticket).left[0][1].startswith("checking: ")
    assert hand.states(ticket)[0] is CHECKING
    hand.step(Confirm(sending.part_id, accepted("g")))
    assert cancel(hand, ticket).left[0] == (ticket.part_ids[0], "accepted already")


def test_a_cancelled_message_for_later_never_enters_its_lane(hand: Hand) -> None:
    """Neither when its time comes, nor when its batch is stored whole."""
    (later,) = hand.add(intake(text="later", not_before=2000.0))
    (held,) = hand.add(intake(text="held"), held_by="batch")
    cancel(hand, later)
    cancel(hand, held)
    with hand.store.transaction():
        hand.store.let_go("batch", 10, hand.now)
    hand.now = 3000.0
    hand.enter()
    assert hand.states(later) == hand.states(held) == [CANCELLED]
    assert hand.due() == []


def test_one_that_may_have_arrived_is_counted(hand: Hand) -> None:
    """An attempt of it had an unknown outcome; the echo that comes late is recorded all the same."""
    (ticket,) = hand.add(intake())
    sending = hand.begin(ticket.guest_ref)
    hand.step(Suspect(sending.part_id, 1, "lost"))
    hand.step(Requeue(sending.part_id, 1, hand.now, "absent", possible_duplicate=True))
    assert cancel(hand, ticket).doubtful == 1
    hand.step(Confirm(sending.part_id, accepted("late")))
    assert hand.states(ticket) == [ACCEPTED]
    assert "part.accepted_after_end" in hand.events(ticket.part_ids[0])


def test_a_file_that_is_at_the_platform_is_named_so_that_it_is_taken_back(hand: Hand) -> None:
    """The relay discards what no message will carry."""
    (ticket,) = hand.add(intake(attachments=(Attachment("a.png", b"png"),)))
    hand.step(NoteUpload(ticket.part_ids[0], "upload-1"))
    cancel(hand, ticket)
    assert hand.store.journal_of(ticket.part_ids[0])[-1].detail["upload"] == "upload-1"


# --- release ---


def test_a_released_head_goes_first_with_its_tries_anew(hand: Hand) -> None:
    """Attempts go on counting up on the wire; for giving up, tries and age begin at the release."""
    first, second = hand.add(intake(text="1"), intake(text="2"))
    sending = hand.begin(first.guest_ref)
    hand.step(End(sending.part_id, 1, PARKED, "refused", parked_for="poison"))
    assert hand.due() == []
    hand.now = 5000.0
    assert release(hand, first).parts == first.part_ids
    again = hand.begin(first.guest_ref)
    assert (again.part_id, again.attempt, again.tries_from, again.age_from) == (first.part_ids[0], 2, 1, 5000.0)
    assert again.queued_at == 1000.0
    assert hand.part(again.part_id).parked_for is None
    assert hand.part(again.part_id).possible_duplicates == 0
    hand.step(Confirm(again.part_id, accepted("g")))
    assert hand.texts_in_lane_order(first.guest_ref) == ["2"]
    assert hand.states(second) == [ACCEPTED]


def test_a_release_of_an_unknown_one_is_a_possible_duplicate(hand: Hand) -> None:
    """It is counted, here and in the journal."""
    (ticket,) = hand.add(intake())
    sending = hand.begin(ticket.guest_ref)
    hand.step(Suspect(sending.part_id, 1, "lost"))
    hand.step(End(sending.part_id, 1, PARKED, "outcome unknown: absent", parked_for="unknown"))
    foreseen = hand.store.weigh("release", ticket.message_id, hand.now)
    assert foreseen.doubtful == release(hand, ticket).doubtful == 1
    assert hand.part(sending.part_id).possible_duplicates == 1
    entry = hand.store.journal_of(sending.part_id)[-1]
    assert entry.event == "part.released"
    assert entry.detail == {
        "by": "ann",
        "why": "ordered twice",
        "was": "unknown",
        "attempt": 1,
        "possible_duplicate": True,
    }


def test_half_a_message_is_not_released(hand: Hand) -> None:
    """Where another part is dead, what is left of the message would make no sense alone."""
    (ticket,) = hand.add(intake(text="m", parts=2))
    kill(hand, ticket)
    done = release(hand, ticket)
    assert done.parts == ()
    assert done.left[1] == (
        ticket.part_ids[1],
        "another part of the message is given up: 'retry' sends that one too",
    )
    assert hand.states(ticket) == [DEAD, PARKED]


def test_what_would_expire_at_once_is_not_released(hand: Hand) -> None:
    """The person is told, in place of a message that ends behind his back."""
    (ticket,) = hand.add(intake(expires_at=1500.0))
    sending = hand.begin(ticket.guest_ref)
    hand.step(End(sending.part_id, 1, PARKED, "refused", parked_for="poison"))
    hand.now = 1501.0
    assert "expire at once" in release(hand, ticket).left[0][1]
    assert hand.states(ticket) == [PARKED]


# --- retry ---


def test_a_dead_message_is_sent_again_as_a_new_one_at_the_end_of_its_lane(hand: Hand) -> None:
    """Only what of it was not accepted; the old one stays as it is and names the new one."""
    (ticket, behind) = hand.add(intake(text="m", parts=3), intake(text="behind"))
    first = hand.begin(ticket.guest_ref)
    second = hand.step(Confirm(first.part_id, accepted("g1")), begins=(ticket.guest_ref,)).begun[0]
    hand.step(End(second.part_id, 1, DEAD, "refused"))
    done = retry(hand, ticket.message_id)
    assert done.replay is not None
    assert [why for _, why in done.left] == ["accepted, not given up"]
    assert hand.states(ticket) == [ACCEPTED, DEAD, CANCELLED]
    assert hand.part(ticket.part_ids[2]).reason == f"replayed as {done.replay}"
    assert hand.texts_in_lane_order(ticket.guest_ref) == ["behind", "m 1", "m 2"]
    views = hand.store.message_parts(done.replay, with_text=True)
    assert [view.id for view in views] == list(done.parts)
    assert {view.replay_of for view in views} == {ticket.message_id}
    assert {view.possible_duplicates for view in views} == {0}
    assert hand.events(ticket.part_ids[1])[-1] == "part.replayed"
    assert hand.states(behind) == [ACCEPTED]


def test_a_message_is_replayed_once(hand: Hand) -> None:
    """Whoever asks again hears what became of it; nor is it chosen by its state any more."""
    (ticket,) = hand.add(intake())
    kill(hand, ticket)
    assert hand.store.choose([DEAD]) == [ticket.message_id]
    first = retry(hand, ticket.message_id)
    again = retry(hand, ticket.message_id)
    assert (again.parts, again.replay) == ((), first.replay)
    assert again.left == ((ticket.part_ids[0], f"replayed as {first.replay} already"),)
    assert hand.store.choose([DEAD]) == []


def test_a_replay_that_dies_is_replayed_itself(hand: Hand) -> None:
    """Outage after outage."""
    (ticket,) = hand.add(intake(text="stubborn"))
    kill(hand, ticket)
    first = retry(hand, ticket.message_id)
    sending = hand.begin(ticket.guest_ref)
    hand.step(End(sending.part_id, 1, DEAD, "refused"))
    assert first.replay is not None
    second = retry(hand, first.replay)
    assert second.replay not in (None, first.replay)
    assert hand.texts_in_lane_order(ticket.guest_ref) == ["stubborn"]


def test_a_replay_of_one_that_may_have_arrived_may_be_seen_twice(hand: Hand) -> None:
    """Counted before (`--dry-run`) and after."""
    (ticket,) = hand.add(intake())
    sending = hand.begin(ticket.guest_ref)
    hand.step(Suspect(sending.part_id, 1, "lost"))
    hand.step(End(sending.part_id, 1, DEAD, "given up after 1 attempts"))
    assert hand.store.weigh("retry", ticket.message_id, hand.now).doubtful == 1
    done = retry(hand, ticket.message_id)
    assert done.doubtful == 1
    assert hand.part(done.parts[0]).possible_duplicates == 1


def test_an_expired_message_is_sent_again_without_its_end(hand: Hand) -> None:
    """Who asks for it wants it sent."""
    (ticket,) = hand.add(intake(text="late", expires_at=1001.0, priority=2))
    hand.now = 1002.0
    hand.step(begins=(ticket.guest_ref,))
    assert hand.states(ticket) == [EXPIRED]
    done = retry(hand, ticket.message_id)
    head = hand.lane(ticket.guest_ref).head
    assert head is not None
    assert (head.part_id, head.expires_at, head.priority) == (done.parts[0], None, 2)


def test_a_replay_has_the_file_of_the_old_one(hand: Hand) -> None:
    """The same bytes, kept for as long as either needs them."""
    (ticket,) = hand.add(intake(attachments=(Attachment("a.png", b"png"),)))
    hand.step(NoteUpload(ticket.part_ids[0], "upload-1"))
    kill(hand, ticket)
    done = retry(hand, ticket.message_id)
    assert hand.store.file_of(done.parts[0]) == hand.store.file_of(ticket.part_ids[0])


def test_what_waits_by_itself_is_not_replayed(hand: Hand) -> None:
    """A queued or accepted message has nothing to send again."""
    (ticket,) = hand.add(intake())
    assert retry(hand, ticket.message_id).left == ((ticket.part_ids[0], "queued, not given up"),)
    assert hand.states(ticket) == [QUEUED]


def test_a_message_that_there_is_not_is_named(hand: Hand) -> None:
    """Instead of doing nothing without a word."""
    with pytest.raises(NotFound, match="no message nothing"):
        retry(hand, MessageId("nothing"))


# --- which ---


def test_messages_are_chosen_by_state_time_guest_and_destination(hand: Hand) -> None:
    """In the order in which they were stored, each once, whatever the number of its parts."""
    hand.register("kiosk", "f2")
    old, new = hand.add(intake("old", parts=2), intake("new"))
    kill(hand, old)
    hand.now = 2000.0
    kill(hand, new)
    assert hand.store.choose([DEAD, PARKED]) == [old.message_id, new.message_id]
    assert hand.store.choose([DEAD], since=1500.0) == [new.message_id]
    assert hand.store.choose([DEAD], guest=old.guest_ref) == [old.message_id]
    assert hand.store.choose([DEAD], destination="kiosk") == []
    assert hand.store.choose([QUEUED]) == []


# --- pauses ---


def test_a_paused_lane_goes_on(hand: Hand) -> None:
    """And nobody is told of a lane that was not paused."""
    guest = hand.submit().guest_ref
    hand.step(Pause(guest, 1300.0, "evicted"), Note("session.evicted", guest, None, {}))
    with hand.store.transaction():
        assert hand.store.resume(guest, ANN, hand.now)
    with hand.store.transaction():
        assert not hand.store.resume(guest, ANN, hand.now)
    assert hand.lane(guest).paused_until == 0.0
    events = [entry.event for entry in hand.store.journal_of_guest(guest)]
    assert events.count("lane.resumed") == 1
