"""The thread around a store: what shares a commit, who is told what, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from guestwire.errors import Rejected, StoreError
from guestwire.model import GuestKey, Ticket
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import MAX_GROUP, StoreThread
from guestwire.testing.stores import intake


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where the store lies."""
    return Folder(tmp_path / "store")


def maker(folder: Folder) -> Callable[[], SqliteStore]:
    """Say how the thread opens its store."""
    return lambda: SqliteStore(folder, min_free_disk_mb=0)


@pytest.fixture
async def thread(folder: Folder) -> AsyncIterator[StoreThread]:
    """An open thread whose store knows a destination."""
    made = StoreThread(maker(folder), folder)
    await made.open()
    await made.write(lambda store: store.register("web", "webmessaging", "f1", is_emulator=True))
    yield made
    await made.close()


def add(guest: str, *, key: str | None = None, text: str = "hello") -> Callable[[SqliteStore], Ticket]:
    """Return a verb that adds one message."""
    return lambda store: store.add([intake(guest, text, key=key)], 1000.0)[0]


class Gate:
    """Holds the thread inside a verb that only reads, so that what is handed in meanwhile gathers."""

    def __init__(self, thread: StoreThread) -> None:
        self.opened = threading.Event()
        self.waiting = thread.read(lambda _: self.opened.wait(30))


def stored(folder: Folder) -> list[str]:
    """Return the guests whose messages another connection sees."""
    store = SqliteStore(folder, min_free_disk_mb=0)
    try:
        return [str(view.guest) for view in store.list_parts(state=None, guest=None, limit=9999, with_text=True)][::-1]
    finally:
        store.close()


async def test_a_write_is_on_disk_when_it_is_done(thread: StoreThread, folder: Folder) -> None:
    """Whoever is told sees it through another connection."""
    ticket = await thread.write(add("anna"))
    assert ticket.fresh
    assert stored(folder) == ["anna"]


async def test_what_gathers_shares_one_commit(thread: StoreThread, folder: Folder) -> None:
    """A hundred verbs handed in while the thread was busy: one transaction, in the order of handing in."""
    gate = Gate(thread)
    before = thread.commits
    writes = [thread.write(add(f"guest {number}")) for number in range(100)]
    gate.opened.set()
    tickets = await asyncio.gather(*writes)
    assert thread.commits == before + 1
    assert len({ticket.message_id for ticket in tickets}) == 100
    assert stored(folder) == [f"guest {number}" for number in range(100)]


async def test_a_group_has_a_bound(thread: StoreThread) -> None:
    """More than a group's worth is carried out in several, and nothing is left over."""
    gate = Gate(thread)
    await asyncio.sleep(0)
    before = thread.commits
    writes = [thread.write(lambda store: store.journal_seq()) for _ in range(MAX_GROUP + 10)]
    gate.opened.set()
    await asyncio.gather(*writes)
    assert thread.commits == before + 2


async def test_reading_commits_nothing(thread: StoreThread) -> None:
    """A read needs no transaction."""
    before = thread.commits
    assert await thread.read(lambda store: store.find_guest("web", GuestKey("nobody"))) is None
    assert thread.commits == before


async def test_a_refusing_verb_fails_alone(thread: StoreThread, folder: Folder) -> None:
    """Refused before its first write: its neighbours in the same transaction are committed."""
    await thread.write(add("anna", key="k"))
    gate = Gate(thread)
    before = thread.commits
    writes = [
        thread.write(add("ben")),
        thread.write(add("anna", key="k", text="other")),
        thread.write(add("carl")),
    ]
    gate.opened.set()
    ben, refused, carl = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(refused, Rejected)
    assert isinstance(ben, Ticket)
    assert isinstance(carl, Ticket)
    assert thread.commits == before + 1
    assert stored(folder) == ["anna", "ben", "carl"]


def break_after_writing(store: SqliteStore) -> None:
    """A verb with a bug: it writes, and then SQLite refuses."""
    store.add([intake("half")], 1000.0)
    store._db.execute("INSERT INTO parts (seq) VALUES (NULL)")


def refuse_after_writing(store: SqliteStore) -> None:
    """A verb with a bug: it writes before it refuses."""
    store.add([intake("half")], 1000.0)
    raise StoreError("too late", code="GW-S099")


def out_of_disk(store: SqliteStore) -> None:
    """The disk fails under a verb that has written nothing yet."""
    raise apsw.FullError("disk full")


def bug(store: SqliteStore) -> None:
    """A programming error, after the first write."""
    store.add([intake("half")], 1000.0)
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("verb", "code"),
    [(break_after_writing, "GW-S022"), (refuse_after_writing, "GW-S099"), (out_of_disk, "GW-S020"), (bug, "GW-S022")],
)
async def test_an_error_inside_takes_everything_back_and_everybody_is_told(
    thread: StoreThread, folder: Folder, verb: Callable[[SqliteStore], None], code: str
) -> None:
    """No caller believes to be stored what was rolled back; the thread goes on with the next transaction."""
    gate = Gate(thread)
    writes: list[asyncio.Future[Any]] = [thread.write(add("ben")), thread.write(verb), thread.write(add("carl"))]
    gate.opened.set()
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        assert isinstance(result, StoreError)
        assert result.code == code
    assert stored(folder) == []
    assert (await thread.write(add("dora"))).fresh
    assert stored(folder) == ["dora"]


async def test_a_bug_before_any_write_is_its_callers_alone(thread: StoreThread, folder: Folder) -> None:
    """Whoever made the mistake gets it; the neighbours, the relay's step among them, are committed."""

    def wrong(store: SqliteStore) -> None:
        raise ZeroDivisionError

    gate = Gate(thread)
    writes: list[asyncio.Future[Any]] = [thread.write(add("ben")), thread.write(wrong), thread.write(add("carl"))]
    gate.opened.set()
    ben, mistake, carl = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(ben, Ticket)
    assert isinstance(mistake, ZeroDivisionError)
    assert isinstance(carl, Ticket)
    assert stored(folder) == ["ben", "carl"]


async def test_an_error_of_sql_before_any_write_fails_alone(thread: StoreThread, folder: Folder) -> None:
    """A statement that was refused changed nothing: the neighbours are committed."""
    gate = Gate(thread)
    writes: list[asyncio.Future[Any]] = [
        thread.write(add("ben")),
        thread.write(lambda store: store._value("SELECT nonsense")),
    ]
    gate.opened.set()
    ben, failed = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(ben, Ticket)
    assert isinstance(failed, StoreError)
    assert stored(folder) == ["ben"]


@pytest.mark.parametrize("error", [ValueError("bug"), apsw.IOError("disk"), apsw.CorruptError("rot"), KeyError("x")])
async def test_a_read_that_fails_is_its_callers_alone(thread: StoreThread, error: Exception) -> None:
    """Whatever it raises, the thread lives on, and what was handed in beside it is carried out."""

    def fail(_: SqliteStore) -> None:
        raise error

    gate = Gate(thread)
    failed, read, written = thread.read(fail), thread.read(lambda store: store.journal_seq()), thread.write(add("ben"))
    gate.opened.set()
    with pytest.raises(StoreError if isinstance(error, apsw.Error) else type(error)):
        await asyncio.wait_for(failed, 10)
    assert await asyncio.wait_for(read, 10) == 0
    assert (await asyncio.wait_for(written, 10)).fresh


async def test_closing_finishes_what_was_handed_in(folder: Folder) -> None:
    """What was handed in before `close` is committed and told; closing twice is closing once."""
    thread = StoreThread(maker(folder), folder)
    await thread.open()
    await thread.write(lambda store: store.register("web", "webmessaging", "f1", is_emulator=True))
    gate = Gate(thread)
    writes = [thread.write(add(f"guest {number}")) for number in range(20)]
    closing = asyncio.create_task(thread.close())
    gate.opened.set()
    await closing
    await thread.close()
    assert all(ticket.fresh for ticket in await asyncio.gather(*writes))
    assert len(stored(folder)) == 20


async def test_nothing_is_taken_before_opening_or_after_closing(folder: Folder) -> None:
    """It says so at once, instead of waiting for a thread that is not there."""
    thread = StoreThread(maker(folder), folder)
    for _ in range(2):
        with pytest.raises(StoreError, match="GW-S006"):
            thread.write(add("anna"))
        with pytest.raises(StoreError, match="GW-S006"):
            thread.read(lambda store: store.journal_seq())
        await thread.open()
        await thread.close()


async def test_a_store_that_cannot_be_opened_says_why(folder: Folder) -> None:
    """`open` raises what the store raised; after that nothing is taken, and closing has nothing to do."""
    folder.store.write_bytes(b"no database\n" * 1000)
    thread = StoreThread(maker(folder), folder)
    with pytest.raises(StoreError, match="GW-S005"):
        await thread.open()
    with pytest.raises(StoreError, match="GW-S006"):
        thread.write(add("anna"))
    await thread.close()


async def test_a_waiter_who_went_away_breaks_nothing(thread: StoreThread, folder: Folder) -> None:
    """Cancelled before its turn or during it: what was handed in is committed, and the others are told."""
    gate = Gate(thread)
    gone, stays = thread.write(add("gone")), thread.write(add("stays"))
    gone.cancel()
    gate.waiting.cancel()
    gate.opened.set()
    assert (await stays).fresh
    assert gone.cancelled()
    assert stored(folder) == ["gone", "stays"]


async def test_a_lock_of_another_process_is_told_to_everybody(folder: Folder) -> None:
    """A writer that holds the database longer than the patience: each caller hears of it, and later it works."""
    thread = StoreThread(lambda: SqliteStore(folder, min_free_disk_mb=0, busy_timeout_s=0.01), folder)
    await thread.open()
    await thread.write(lambda store: store.register("web", "webmessaging", "f1", is_emulator=True))
    other = apsw.Connection(str(folder.store))
    other.execute("BEGIN IMMEDIATE")
    gate = Gate(thread)
    writes = [thread.write(add("anna")), thread.write(add("ben"))]
    gate.opened.set()
    for result in await asyncio.gather(*writes, return_exceptions=True):
        assert isinstance(result, StoreError)
        assert result.code == "GW-S003"
    other.execute("ROLLBACK")
    other.close()
    assert (await thread.write(add("carl"))).fresh
    assert stored(folder) == ["carl"]
    await thread.close()


async def test_two_threads_share_a_store(thread: StoreThread, folder: Folder) -> None:
    """Writer and reader, or two processes: each waits for the other's transaction, and nobody is turned away."""
    other = StoreThread(maker(folder), folder)
    await other.open()
    writes = [each.write(add(f"guest {number}")) for number in range(50) for each in (thread, other)]
    tickets = await asyncio.gather(*writes)
    assert len({ticket.message_id for ticket in tickets}) == 100
    assert len({ticket.guest_ref for ticket in tickets}) == 50
    await other.close()
