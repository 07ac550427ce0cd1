"""What the store keeps of a policy: which version, what it found, and whoever waits for a person because of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guestwire.errors import Finding, Rejected
from guestwire.model import Ticket
from guestwire.store.base import Intake, Person
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.stores import ACCEPTED, CANCELLED, PARKED, QUEUED, intake
from tests.contract.test_store import Hand

ANN = Person("ann", "looked at it")
FOUND = (
    Finding("list.words", "text", "holds a word", action="park", span=(0, 3)),
    Finding("personal.card", "text", "holds a card", action="redact", span=(4, 8)),
)


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    """A store with one destination and one relay."""
    hand = Hand(SqliteStore(Folder(tmp_path / "store"), min_free_disk_mb=0))
    hand.register()
    hand.take_over()
    yield hand
    hand.store.close()


def doubted(text: str = "m", parts: int = 1, **changes: Any) -> Intake:
    """A message that a rule parks."""
    given = intake(text=text, parts=parts, **changes)
    return msgspec.structs.replace(given, findings=FOUND, policy="7/abc", parked_by="list.words")


def release(hand: Hand, ticket: Ticket) -> None:
    """Ann wants it sent."""
    with hand.store.transaction():
        hand.store.release(ticket.message_id, ANN, hand.now)


def test_the_journal_names_policy_and_findings(hand: Hand) -> None:
    """Rules and what followed from them; no place and no text."""
    (ticket,) = hand.add(doubted(parts=2))
    first, second = map(hand.store.journal_of, ticket.part_ids)
    assert [entry.event for entry in first] == ["part.queued", "part.parked"]
    assert first[0].detail["policy"] == second[0].detail["policy"] == "7/abc"
    assert first[0].detail["findings"] == {"list.words": "park", "personal.card": "redact"}
    assert first[1].detail == {"attempt": 0, "reason": "policy: list.words", "parked_for": "policy"}
    assert ticket.findings == FOUND


def test_it_waits_in_its_place_and_goes_when_a_person_says_so(hand: Hand) -> None:
    """What the guest says next stays behind it: the order is his."""
    first, doubt, last = hand.add(intake(text="1"), doubted("2", parts=2), intake(text="3"))
    assert hand.texts_in_lane_order(first.guest_ref) == ["1"]
    assert hand.states(doubt) == [PARKED, PARKED]
    assert [part.parked_for for part in map(hand.part, doubt.part_ids)] == ["policy", "policy"]
    release(hand, doubt)
    assert hand.texts_in_lane_order(first.guest_ref) == ["2 0", "2 1", "3"]
    assert hand.states(last) == [ACCEPTED]


def test_one_that_is_cancelled_lets_the_others_pass(hand: Hand) -> None:
    """Nothing of it leaves."""
    doubt, last = hand.add(doubted("1"), intake(text="2"))
    with hand.store.transaction():
        hand.store.cancel(doubt.message_id, ANN, hand.now)
    assert hand.states(doubt) == [CANCELLED]
    assert hand.texts_in_lane_order(last.guest_ref) == ["2"]


@pytest.mark.parametrize("released_first", [True, False])
def test_one_for_later_waits_for_both(hand: Hand, released_first: bool) -> None:
    """For its time and for a person, whichever comes first."""
    (doubt,) = hand.add(doubted("later", not_before=2000.0))
    if released_first:
        release(hand, doubt)
        assert hand.states(doubt) == [QUEUED]
        assert hand.texts_in_lane_order(doubt.guest_ref) == []
    hand.now = 2000.0
    hand.enter()
    if not released_first:
        assert hand.states(doubt) == [PARKED]
        release(hand, doubt)
    assert hand.texts_in_lane_order(doubt.guest_ref) == ["later"]


def test_one_of_a_batch_waits_for_both(hand: Hand) -> None:
    """For the batch to be stored whole, and for a person."""
    doubt, other = hand.add(doubted("1"), intake(text="2"), held_by="batch")
    release(hand, doubt)
    assert hand.texts_in_lane_order(doubt.guest_ref) == []
    with hand.store.transaction():
        hand.store.let_go("batch", 10, hand.now)
    assert hand.texts_in_lane_order(other.guest_ref) == ["1", "2"]


def test_one_that_was_known_and_is_gone_is_not_stored_without_its_parts(hand: Hand) -> None:
    """It was looked at while its key was known; in between it was let go."""
    gone = msgspec.structs.replace(
        doubted(key="k"), bodies=(), findings=(Finding("list.words", "text", "holds a word"),)
    )
    with pytest.raises(Rejected) as caught:
        hand.add(gone)
    assert [finding.rule for finding in caught.value.findings] == ["list.words"]
