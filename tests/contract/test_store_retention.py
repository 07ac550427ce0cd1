"""What is over is let go when its time has come: contents, records, files, pages; and nothing else, ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from guestwire.errors import ConfigError
from guestwire.model import Attachment, PartState, Receipt, Reply, Ticket
from guestwire.model import GatewayMessageId as GatewayId
from guestwire.settings import RetentionSettings
from guestwire.store import retention
from guestwire.store.base import Confirm, EndErrand, Hear
from guestwire.store.checkup import check_store
from guestwire.store.folder import Folder
from guestwire.store.retention import Terms, prune
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.testing import FakeClock
from guestwire.testing.stores import accepted, intake
from guestwire.upkeep import FIRST_S, Upkeep
from tests.contract.test_store import Hand

DAY = 86_400.0
START = 1_800_000_000.0
SETTINGS = RetentionSettings()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The folder of a store."""
    return Folder(tmp_path / "store")


@pytest.fixture
def hand(folder: Folder) -> Iterator[Hand]:
    """A store on its first day."""
    hand = Hand(SqliteStore(folder, min_free_disk_mb=0))
    hand.now = START
    hand.register()
    hand.take_over()
    yield hand
    hand.store.close()


def send(hand: Hand, text: str = "hello", guest: str = "anna", **more: Any) -> Ticket:
    """Submit a message, and let the gateway accept it."""
    ticket = hand.submit(guest, text, **more)
    if more.get("attachments"):
        hand.store._run("upload", ("u1", ticket.part_ids[0]))
    part = hand.begin(ticket.guest_ref).part_id
    hand.step(Confirm(part, accepted(f"g-{part}")))
    return ticket


def hear(hand: Hand, number: int) -> None:
    """The platform says something to anna."""
    guest = hand.store.find_guest("web", intake().draft.guest)
    assert guest is not None
    hand.step(Hear(guest, Reply(gateway_id=GatewayId(f"r{number}"), kind="text", text=f"reply {number}")))


def acknowledge(hand: Hand, sink: str, *numbers: int) -> None:
    """A reader has dealt with these."""
    with hand.store.transaction():
        hand.store.know_reader(sink)
        for number in numbers:
            hand.store.acknowledge(sink, number)


def pruned(hand: Hand, days: float, settings: RetentionSettings = SETTINGS) -> dict[str, int]:
    """Walk through the store so many days after its first; returns what was let go."""
    now = START + days * DAY
    hand.now = now
    terms = Terms.of(settings, now)
    would = prune(hand.store, terms, now, dry_run=True)
    changes = hand.store.changes()
    found = prune(hand.store, terms, now)
    if not any(would.values()):
        assert hand.store.changes() == changes  # nothing due, nothing written
    return {name: count for name, count in found.items() if count}


def test_a_text_goes_thirty_days_after_its_message_has_ended(hand: Hand, folder: Folder) -> None:
    """Not before; what became of the message stays, and what has not ended stays whole, however old it is."""
    done = send(hand)
    waiting = hand.submit("ben", "not sent yet")
    hand.now = START + 5 * DAY
    later = send(hand, "later")
    assert pruned(hand, 29.9) == {}
    assert pruned(hand, 30.1) == {"parts": 1}
    assert hand.part(done.part_ids[0]).text is None
    assert (hand.part(done.part_ids[0]).state, hand.part(done.part_ids[0]).size) == (PartState.ACCEPTED, 5)
    assert hand.events(done.part_ids[0]) == ["part.queued", "part.sending", "part.accepted"]
    assert pruned(hand, 390) == {"parts": 1}
    assert [hand.part(ticket.part_ids[0]).text for ticket in (later, waiting)] == [None, "not sent yet"]
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}


def test_what_is_gone_is_shown_as_gone(hand: Hand) -> None:
    """A transcript has its line without a text; lists and views go on."""
    ticket = send(hand)
    hear(hand, 1)
    pruned(hand, 31)
    (line,) = hand.store.transcript(ticket.guest_ref)
    assert (line.part_id, line.state, line.body) == (ticket.part_ids[0], PartState.ACCEPTED, None)
    assert hand.store.body_of(ticket.part_ids[0]) is None
    assert len(hand.store.list_guests(destination=None, guest=None, limit=10)) == 1
    assert hand.store.status().parts == {"accepted": 1}


def test_a_file_goes_with_the_last_message_that_needs_it(hand: Hand, folder: Folder) -> None:
    """From the disk too; but not while somebody copies files."""
    file = (Attachment("a.txt", b"a file"),)
    send(hand, attachments=file)
    hand.now = START + 10 * DAY
    send(hand, attachments=file)
    assert len(list(folder.blobs.iterdir())) == 1
    assert pruned(hand, 35) == {"parts": 1}
    assert len(list(folder.blobs.iterdir())) == 1
    with folder.keeping_files():
        assert pruned(hand, 41) == {"parts": 1}
        assert len(list(folder.blobs.iterdir())) == 1
        assert {each.status for each in check_store(folder, deep=True)} == {"ok"}
    assert pruned(hand, 42) == {"files": 1}
    assert list(folder.blobs.iterdir()) == []
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}
    send(hand, attachments=file)
    assert len(list(folder.blobs.iterdir())) == 1


def test_two_who_let_go_at_once_count_a_file_once(hand: Hand, folder: Folder) -> None:
    """A person and the relay may walk at the same time: what one has let go, the other leaves alone."""
    file = (Attachment("a.txt", b"a file"),)
    send(hand, attachments=file)
    hand.submit("anna", "still waits", attachments=file)
    terms = Terms.of(SETTINGS, START + 31 * DAY)
    old = hand.store.find_old("parts", None, terms)
    for expected in (1, 0):
        with hand.store.transaction():
            assert hand.store.forget("parts", old.changes) == expected
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}


def test_a_key_is_known_as_long_as_the_record_of_its_message(hand: Hand) -> None:
    """400 days after it has ended the same key is a new message; before, it is the old one, also without its text."""
    first = send(hand, key="order-1")
    pruned(hand, 399)
    same = hand.submit(key="order-1")
    assert (same.fresh, same.message_id) == (False, first.message_id)
    assert pruned(hand, 401)["messages"] == 1
    again = hand.submit(key="order-1")
    assert (again.fresh, again.message_id == first.message_id) == (True, False)


def test_records_and_journal_go_after_400_days(hand: Hand, folder: Folder) -> None:
    """Of what has ended. What waits keeps all that the journal says of it."""
    send(hand)
    hear(hand, 1)
    waiting = hand.submit("ben", "not sent yet")
    with hand.store.transaction():
        errand = hand.store.ask(waiting.guest_ref, "sign_in", {}, hand.now)
        done = hand.store.ask(waiting.guest_ref, "download", {}, hand.now)
        hand.store.note_batch("/a.csv", "digest", 3, hand.now)
        hand.store.receive(
            "web", intake("ben").draft.guest, Receipt("Delivered", "unknown", None), hand.now, report=False
        )
    hand.step(EndErrand(done, True, {}, {"url": "https://x.example"}))
    assert pruned(hand, 31) == {"parts": 1, "replies": 1, "errands": 1}
    assert pruned(hand, 399) == {}
    found = pruned(hand, 401)
    assert {name: found[name] for name in ("replies", "errands", "receipts", "messages", "batches")} == {
        "replies": 1, "errands": 1, "receipts": 1, "messages": 1, "batches": 1,
    }  # fmt: skip
    assert {entry.part_id for entry in hand.store.journal(0, 1000)} == {waiting.part_ids[0]}
    assert hand.store.errand(errand) == ("queued", None)
    assert pruned(hand, 10_000) == {}
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}


def test_in_short_stretches_it_is_the_same(hand: Hand, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, a stretch is short; the walk goes on where the last one ended."""
    monkeypatch.setattr(retention, "STRETCH", 3)
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    for number in range(10):
        send(hand, f"text {number}", f"guest-{number}", attachments=(Attachment("a.txt", b"%d" % number),))
    for number in range(10):
        hand.add(intake("anna", f"waits {number}"))
    assert pruned(hand, 31) == {"parts": 10, "files": 10}
    assert pruned(hand, 401)["messages"] == 10
    assert len(hand.parts()) == 10
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}


def test_nothing_goes_where_it_is_kept_for_ever(hand: Hand) -> None:
    """0 days."""
    send(hand)
    hear(hand, 1)
    assert pruned(hand, 10_000, RetentionSettings(contents_days=0, records_days=0)) == {}


@pytest.mark.parametrize("given", [{"contents_days": 500}, {"contents_days": 0}, {"records_days": 20}])
def test_no_content_is_kept_longer_than_its_record(given: dict[str, int]) -> None:
    """Two settings that contradict each other."""
    with pytest.raises(ConfigError) as caught:
        RetentionSettings(**given)
    assert caught.value.code == "GW-C012"


# --- readers ---


def test_a_reply_waits_for_its_readers(hand: Hand) -> None:
    """What each has acknowledged goes; what one has not read stays, up to a week longer."""
    send(hand)
    for number in (1, 2, 3):
        hear(hand, number)
    acknowledge(hand, "replies:crm", 1, 2, 3)
    acknowledge(hand, "replies:slow", 1)
    assert pruned(hand, 31) == {"parts": 1, "replies": 1}
    assert [reply.seq for reply in hand.store.replies(0, 10)] == [2, 3]
    assert hand.store.unacknowledged("replies:slow")[0] == 2
    assert pruned(hand, 36.9) == {}
    assert pruned(hand, 37.1) == {"gaps": 2, "replies": 2}
    (gap,) = [entry.detail for entry in hand.store.journal(0, 1000) if entry.event == "sink.gap"]
    assert gap == {"sink": "replies:slow", "after": 1, "up_to": 3, "count": 2}
    assert hand.store.cursor("replies:slow") == (3, set())
    hear(hand, 4)
    assert hand.store.unacknowledged("replies:slow")[0] == 1


def test_a_reader_who_has_read_nothing_yet_is_waited_for(hand: Hand) -> None:
    """And what he acknowledged out of order is not counted as missed."""
    send(hand)
    for number in (1, 2, 3):
        hear(hand, number)
    acknowledge(hand, "replies:new", 2)
    assert pruned(hand, 31) == {"parts": 1}
    assert pruned(hand, 38) == {"gaps": 2, "replies": 3}


def test_the_journal_waits_for_its_readers(hand: Hand) -> None:
    """As replies do: a sink that reads the journal holds it for a week, then it has a gap."""
    send(hand)
    with hand.store.transaction():
        hand.store._run("set_cursor", ("audit", 1))
    count = hand.store.journal_seq()
    assert pruned(hand, 401) == {"parts": 1, "messages": 1, "journal": 1}
    assert pruned(hand, 408) == {"gaps": count - 1, "journal": count - 1}
    assert [entry.event for entry in hand.store.journal(0, 1000)] == ["sink.gap"]


# --- the disk ---


def test_what_is_free_leaves_the_disk(hand: Hand, folder: Folder) -> None:
    """All but a megabyte, that is, for what comes next."""
    for number in range(60):
        send(hand, "x" * 60_000, f"guest-{number}")
    size = page_count(folder)
    pruned(hand, 31)
    assert page_count(folder) < size / 2
    assert {each.status for each in check_store(folder, deep=True)} == {"ok"}


def page_count(folder: Folder) -> int:
    """Pages of the database."""
    database = apsw.Connection(str(folder.store))
    try:
        ((pages,),) = database.execute("PRAGMA page_count")
        assert isinstance(pages, int)
        return pages
    finally:
        database.close()


# --- by itself ---


class Household:
    """An `Upkeep` over a store, on a clock of its own."""

    def __init__(self, folder: Folder, settings: RetentionSettings = SETTINGS) -> None:
        self.clock = FakeClock(START + 60 * DAY)
        self.threads = [StoreThread(lambda: SqliteStore(folder, min_free_disk_mb=0), folder) for _ in range(2)]
        self.is_ours = True
        self.is_busy = False
        self.upkeep = Upkeep(
            *self.threads,
            clock=self.clock,
            settings=settings,
            is_ours=lambda: self.is_ours,
            is_busy=lambda: self.is_busy,
        )

    async def __aenter__(self) -> Household:
        for thread in self.threads:
            await thread.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for thread in self.threads:
            await thread.close()

    async def until(self, task: asyncio.Task[None]) -> list[float]:
        """Move the clock from pause to pause until the task is done; returns the pauses in seconds."""
        pauses = []
        async with asyncio.timeout(20):
            while not task.done():
                if self.clock.next_at is not None:
                    pauses.append(round(self.clock.next_at - self.clock.now(), 3))
                    self.clock.advance(self.clock.next_at - self.clock.now())
                await asyncio.sleep(0)
        await task
        return pauses


async def test_the_relay_lets_go_by_itself(hand: Hand, folder: Folder) -> None:
    """A minute after its start, in stretches with pauses between them; longer ones while something is on its way."""
    for number in range(2 * retention.AT_ONCE):
        send(hand, guest=f"guest-{number}")
    async with Household(folder) as household:
        household.is_busy = True
        pauses = await household.until(asyncio.create_task(household.upkeep.walk()))
        assert pauses == [1.0, 1.0]  # two transactions
        task = asyncio.create_task(household.upkeep.run())
        await asyncio.sleep(0)
        assert household.clock.next_at == household.clock.now() + FIRST_S
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {part.text for part in hand.parts()} == {None}


async def test_who_does_not_relay_lets_go_of_nothing(hand: Hand, folder: Folder) -> None:
    """That is the business of the process that does."""
    send(hand)
    async with Household(folder) as household:
        household.is_ours = False
        await household.until(asyncio.create_task(household.upkeep.walk()))
    assert [part.text for part in hand.parts()] == ["hello"]


async def test_a_reader_holds_no_more_than_so_much(hand: Hand, folder: Folder) -> None:
    """What is due and not read is bounded in bytes too, before its week is over."""
    send(hand)
    hear(hand, 1)
    acknowledge(hand, "replies:slow", 1)
    hand.now = START + 25 * DAY  # due since five days
    for number in (2, 3):
        hear(hand, number)
    async with Household(folder, RetentionSettings(lag_mb=1)) as household:
        await household.until(asyncio.create_task(household.upkeep.walk()))
        assert [reply.seq for reply in hand.store.replies(0, 10)] == [2, 3]
    async with Household(folder, RetentionSettings(lag_mb=0)) as household:
        await household.until(asyncio.create_task(household.upkeep.walk()))
    assert hand.store.cursor("replies:slow") == (3, set())
