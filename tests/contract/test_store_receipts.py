"""Receipts both ways: what far sides report of parts, and what is reported of replies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.errors import NotFound
from guestwire.model import (
    Accepted,
    Delivery,
    Draft,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    PartBody,
    PartId,
    PartState,
    Receipt,
    Reply,
    Ticket,
)
from guestwire.store.base import Confirm, End, Intake, Step
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore

ANN = GuestKey("ann")


class Kiosk:
    """A store with one Open Messaging destination, and one of web messaging."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(Folder(folder), min_free_disk_mb=0)
        with self.store.transaction():
            self.store.register("kiosk", "openmessaging", "f1", is_emulator=True)
            self.store.register("web", "webmessaging", "f2", is_emulator=True)
            self.fence = self.store.take_over(1000.0)

    def submit(self, *, to: str = "kiosk", **changes: Any) -> Ticket:
        """Queue a message."""
        draft = Draft(destination=to, guest=ANN, text="hello", **changes)
        with self.store.transaction():
            (ticket,) = self.store.add([Intake(draft, (PartBody("hello"),), Delivery.AT_LEAST_ONCE)], 1000.0)
        return ticket

    def begin(self, ticket: Ticket) -> PartId:
        """Send it: from here on its outcome is awaited."""
        self.step(begins=[ticket.guest_ref])
        return ticket.part_ids[0]

    def step(self, *changes: Any, begins: list[GuestRef] | None = None) -> None:
        """One tick of the relay."""
        with self.store.transaction():
            self.store.step(Step(changes, begins or []), fence=self.fence, now=1001.0)

    def confirm(self, part: PartId, gateway_id: str = "m1") -> None:
        """The answer came."""
        accepted = Accepted(GatewayMessageId(gateway_id), source="response", conversation_id="c1")
        self.step(Confirm(part, accepted))

    def receive(self, said: Reply | Receipt, *, to: str = "kiosk", report: bool = False) -> GuestRef:
        """The webhook brought something."""
        with self.store.transaction():
            return self.store.receive(to, ANN, said, 1002.0, report=report)

    def note(self, reply: int, status: Any) -> bool:
        """Say what became of a reply."""
        with self.store.transaction():
            return self.store.note_receipt(reply, status, 1003.0)

    def state(self, part: PartId) -> PartState:
        """Where a part stands."""
        return next(
            view.state
            for view in self.store.list_parts(state=None, guest=None, limit=10, with_text=False)
            if view.id == part
        )

    def events(self) -> list[str]:
        """The journal."""
        return [entry.event for entry in self.store.journal(0, 1000)]

    def errands(self) -> list[dict[str, Any]]:
        """What is queued for the platform."""
        (row,) = self.store.lanes([self.store.guest_for("kiosk", ANN)])
        return [errand.body for errand in row.errands]


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[Kiosk]:
    """A fresh store."""
    made = Kiosk(tmp_path / "store")
    yield made
    made.store.close()


def reply(gateway_id: str = "r1") -> Reply:
    """What an agent says."""
    return Reply(gateway_id=GatewayMessageId(gateway_id), kind="text", text="hi")


def receipt(status: str, part: PartId | None = None, gateway_id: str | None = "m1", *reasons: str) -> Receipt:
    """What the platform reports."""
    return Receipt(status, gateway_id, part, "2026-03-04T05:06:07.089Z", reasons)


# --- of parts ---


def test_a_receipt_moves_an_accepted_part(kiosk: Kiosk) -> None:
    """Delivered, then read; the journal says which receipt it was."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    kiosk.receive(receipt("Delivered"))
    assert kiosk.state(part) is PartState.DELIVERED
    kiosk.receive(receipt("Read"))
    assert kiosk.state(part) is PartState.READ
    assert kiosk.events()[-4:] == ["receipt.received", "part.delivered", "receipt.received", "part.read"]


@pytest.mark.parametrize("status", ["Sent", "Published", "SomethingNew"])
def test_a_receipt_that_says_no_more_than_accepted_moves_nothing(kiosk: Kiosk, status: str) -> None:
    """ "Published" is not "delivered": it is kept as it came, and nothing is made of it."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    kiosk.receive(receipt(status))
    assert kiosk.state(part) is PartState.ACCEPTED
    assert kiosk.events()[-1] == "receipt.received"


def test_a_failure_is_told_with_its_reasons(kiosk: Kiosk) -> None:
    """An accepted message that was not delivered is *failed*, and says why."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    kiosk.receive(receipt("Failed", None, "m1", "MessageExpired", "GeneralError"))
    (view,) = kiosk.store.list_parts(state=PartState.FAILED, guest=None, limit=10, with_text=False)
    assert (view.id, view.reason) == (part, "MessageExpired, GeneralError")


@pytest.mark.parametrize("order", list(itertools.permutations(["Published", "Delivered", "Read"])))
def test_receipts_in_any_order_end_the_same(kiosk: Kiosk, order: tuple[str, ...]) -> None:
    """They are joined, not assigned: a late *delivered* does not take back *read*."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    for status in order:
        kiosk.receive(receipt(status))
    assert kiosk.state(part) is PartState.READ


def test_the_same_receipt_again_is_no_news(kiosk: Kiosk) -> None:
    """The platform sends what it believes to be lost up to five times more."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    kiosk.receive(receipt("Delivered"))
    before = kiosk.events()
    kiosk.receive(receipt("Delivered"))
    assert kiosk.events() == before


def test_a_receipt_before_the_answer_is_proof_of_acceptance(kiosk: Kiosk) -> None:
    """The webhook may be faster than the POST's own answer, or that one is lost: nobody has to check any more."""
    ticket = kiosk.submit()
    part = kiosk.begin(ticket)
    kiosk.receive(receipt("Delivered", part, "m9"))
    assert kiosk.state(part) is PartState.DELIVERED
    assert kiosk.store.lanes([ticket.guest_ref])[0].head is None
    kiosk.confirm(part, "m9")  # the answer, late
    assert kiosk.state(part) is PartState.DELIVERED
    assert "part.duplicate_seen" not in kiosk.events()


def test_a_receipt_by_the_gateways_name_alone_waits_for_the_answer(kiosk: Kiosk) -> None:
    """Until the answer names the message nobody knows whose it is; then it counts."""
    part = kiosk.begin(kiosk.submit())
    kiosk.receive(receipt("Read", None, "m5"))
    assert kiosk.state(part) is PartState.SENDING
    assert kiosk.events()[-1] == "receipt.unmatched"
    kiosk.confirm(part, "m5")
    assert kiosk.state(part) is PartState.READ


def test_a_receipt_for_nothing_we_know_is_kept_and_told(kiosk: Kiosk) -> None:
    """It may be about a message of another program; it harms nothing and is not lost."""
    kiosk.receive(receipt("Delivered", PartId("no such part"), "m404"))
    assert kiosk.events()[-1] == "receipt.unmatched"


def test_a_receipt_for_another_guests_part_moves_nothing(kiosk: Kiosk) -> None:
    """A part is found by its name *and* its guest: a forged or confused name reaches nobody else's message."""
    part = kiosk.begin(kiosk.submit())
    kiosk.confirm(part)
    with kiosk.store.transaction():
        kiosk.store.receive("kiosk", GuestKey("ben"), receipt("Failed", part), 1002.0, report=False)
    assert kiosk.state(part) is PartState.ACCEPTED


@given(st.lists(st.sampled_from(["Published", "Delivered", "Read", "Failed", "Sent", "answer"]), max_size=8))
def test_a_status_never_goes_backwards(told: list[str]) -> None:
    """Whatever comes in whatever order, early, late or twice."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        kiosk = Kiosk(Path(place) / "store")
        part = kiosk.begin(kiosk.submit())
        rank = {"sending": 0, "accepted": 1, "delivered": 2, "read": 3, "failed": 3}
        reached = 0
        for status in told:
            if status == "answer":
                kiosk.confirm(part)
            else:
                kiosk.receive(receipt(status, part))
            now = rank[kiosk.state(part).value]
            assert now >= reached
            reached = now
        kiosk.store.close()


# --- of replies ---


def test_a_reply_is_reported_once_however_often_it_is_noted(kiosk: Kiosk) -> None:
    """Delivered goes to the platform; read stays here, because the platform takes no more."""
    kiosk.receive(reply())
    assert kiosk.note(1, "delivered") is True
    assert kiosk.note(1, "delivered") is False
    assert kiosk.note(1, "read") is True
    assert kiosk.note(1, "delivered") is False
    assert [body["status"] for body in kiosk.errands()] == ["Delivered"]
    assert [event for event in kiosk.events() if event.startswith("reply.")] == [
        "reply.received",
        "reply.delivered",
        "reply.read",
    ]


def test_a_reply_that_is_read_at_once_was_delivered(kiosk: Kiosk) -> None:
    """The platform hears of the one thing that it takes."""
    kiosk.receive(reply())
    assert kiosk.note(1, "read") is True
    assert [(body["gateway_id"], body["status"]) for body in kiosk.errands()] == [("r1", "Delivered")]


def test_a_reply_that_was_delivered_cannot_fail_any_more(kiosk: Kiosk) -> None:
    """And one that failed stays so."""
    kiosk.receive(reply("r1"))
    kiosk.receive(reply("r2"))
    assert kiosk.note(1, "delivered")
    assert not kiosk.note(1, "failed")
    assert kiosk.note(2, "failed")
    assert not kiosk.note(2, "read")
    assert [body["status"] for body in kiosk.errands()] == ["Delivered", "Failed"]


def test_nobody_reports_a_reply_that_is_not_there(kiosk: Kiosk) -> None:
    """A number of no reply is an error with a code."""
    with pytest.raises(NotFound) as caught:
        kiosk.note(99, "read")
    assert caught.value.code == "GW-N008"


def test_web_messaging_takes_no_receipts(kiosk: Kiosk) -> None:
    """What became of a reply is noted in the journal, and nothing is queued for a platform that would not take it."""
    kiosk.receive(reply(), to="web")
    assert kiosk.note(1, "read")
    (row,) = kiosk.store.lanes([kiosk.store.guest_for("web", ANN)])
    assert row.errands == ()


@pytest.mark.parametrize(
    ("asked", "report", "reported"),
    [(None, False, False), (None, True, True), (True, False, True), (False, False, False)],
)
def test_replies_are_reported_by_themselves_where_it_was_asked_for(
    kiosk: Kiosk, asked: bool | None, report: bool, reported: bool
) -> None:
    """By the message that the guest sent, or by the destination."""
    kiosk.submit(read_receipt=asked)
    kiosk.receive(reply(), report=report)
    assert bool(kiosk.errands()) is reported


def test_a_redelivered_reply_is_kept_and_reported_once(kiosk: Kiosk) -> None:
    """The platform repeats a webhook whose answer it did not get."""
    for _ in range(3):
        kiosk.receive(reply(), report=True)
    assert len(kiosk.store.replies(0, 10)) == 1
    assert len(kiosk.errands()) == 1


def test_a_reply_to_a_guest_whom_nobody_knows_makes_him_known(kiosk: Kiosk) -> None:
    """An agent may write first; nothing is lost because we have not."""
    guest_ref = kiosk.receive(reply())
    assert kiosk.store.guest_key(guest_ref) == ANN
    assert kiosk.store.replies(0, 10)[0].guest_ref == guest_ref


# --- what a lane knows ---


def test_a_lane_knows_its_guest_and_conversation_where_the_way_out_needs_them(kiosk: Kiosk) -> None:
    """Web messaging lanes keep the caller's key sealed; a REST platform knows guests by it."""
    ticket = kiosk.submit()
    part = kiosk.begin(ticket)
    kiosk.confirm(part)
    (row,) = kiosk.store.lanes([ticket.guest_ref])
    assert (row.guest, row.conversation_id) == (ANN, "c1")
    (other,) = kiosk.store.lanes([kiosk.submit(to="web").guest_ref])
    assert (other.guest, other.conversation_id) == ("", None)
    assert "ann" not in repr(row)


@pytest.mark.parametrize("source", ["history", "receipt", "response"])
def test_a_receipt_that_came_first_is_joined_however_the_part_is_accepted(kiosk: Kiosk, source: str) -> None:
    """The answer may be lost: then a check, or another receipt, names the message, and the first receipt counts."""
    ticket = kiosk.submit()
    part = kiosk.begin(ticket)
    kiosk.receive(receipt("Failed", None, "m5", "GeneralError"))
    if source == "receipt":
        kiosk.receive(receipt("Published", part, "m5"))
    else:
        accepted = Accepted(GatewayMessageId("m5"), source=source)  # type: ignore[arg-type]
        kiosk.step(Confirm(part, accepted))
    assert kiosk.state(part) is PartState.FAILED


def test_a_body_that_nobody_can_read_parks_its_part_and_stops_no_other(kiosk: Kiosk) -> None:
    """A row of another version, or one that was changed: a person decides, and the next guest goes on."""
    bad = kiosk.submit()
    other = Draft(destination="kiosk", guest=GuestKey("ben"), text="hello")
    with kiosk.store.transaction():
        (good,) = kiosk.store.add([Intake(other, (PartBody("hello"),), Delivery.AT_LEAST_ONCE)], 1000.0)
    sealed = kiosk.store._vault.seal(bad.guest_ref, f"parts.body.{bad.part_ids[0]}", b'{"text": 4711}')
    with kiosk.store.transaction():
        kiosk.store._db.execute("UPDATE parts SET body = ? WHERE id = ?", (sealed, bad.part_ids[0]))
    kiosk.step(begins=[bad.guest_ref, good.guest_ref])
    assert kiosk.state(bad.part_ids[0]) is PartState.PARKED
    assert kiosk.state(good.part_ids[0]) is PartState.SENDING


def test_due_lanes_are_found_by_destination(kiosk: Kiosk) -> None:
    """A process that opens one destination is not shown what waits for another."""
    here, there = kiosk.submit(), kiosk.submit(to="web")
    assert kiosk.store.due(2000.0, 10, "kiosk").guests == [here.guest_ref]
    assert kiosk.store.due(2000.0, 10, "web").guests == [there.guest_ref]


def test_a_receipt_for_a_part_that_was_given_up_is_proof_all_the_same(kiosk: Kiosk) -> None:
    """Whoever replays what is dead must see that it arrived."""
    part = kiosk.begin(kiosk.submit())
    kiosk.step(End(part, 1, PartState.DEAD, "given up"))
    kiosk.receive(receipt("Delivered", part, "m9"))
    assert kiosk.state(part) is PartState.DELIVERED
    assert "part.accepted_after_end" in kiosk.events()
