"""
A day of a store: every verb, through the writer's thread, and what has to be true of the files afterwards.

The day goes on whatever happens: a verb that is refused is one whose caller was told so. What was promised is written
down when the promise is made, and held against what a store finds that is opened later, on the same files or on what
is left of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from guestwire.errors import StoreError
from guestwire.model import (
    OPEN_STATES,
    Accepted,
    Attachment,
    Auth,
    AuthChanged,
    CaughtUp,
    Draft,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    JournalEntry,
    PartBody,
    PartId,
    PartState,
    Receipt,
    Reply,
    SessionChanged,
    SessionState,
    Ticket,
)
from guestwire.store.base import (
    Change,
    Confirm,
    Defer,
    End,
    EndErrand,
    Expire,
    Hear,
    Intake,
    Note,
    NoteUpload,
    Pause,
    Person,
    Requeue,
    Sending,
    Step,
    StepResult,
    Suspect,
)
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.testing.stores import replayed

T = TypeVar("T")

#: Pages of the log after which it is folded into the database: so few that it happens often in a short day.
CHECKPOINT_PAGES = 40


class Promise(NamedTuple):
    """What a caller was told is on disk."""

    entries: tuple[JournalEntry, ...] = ()
    texts: tuple[tuple[PartId, str], ...] = ()
    files: tuple[tuple[PartId, bytes], ...] = ()
    replies: tuple[tuple[GuestRef, str], ...] = ()


def intake(destination: str, guest: str, text: str, *, parts: int = 1, content: bytes = b"", **more: Any) -> Intake:
    """Make a message; each part says how many there are, so that half of one is seen."""
    files = (Attachment("a.txt", content, "text/plain"),) if content else ()
    draft = Draft(destination=destination, guest=GuestKey(guest), text=text, attachments=files, **more)
    return Intake(draft, tuple(PartBody(f"{text} {number + 1}/{parts}") for number in range(parts)))


class Day:
    """
    One day.

    Args:
        path: Where the store lies.
        prepare: Called with every store that is opened.
        thread_type: The writer's thread, or one that is worse.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[SqliteStore], None] = lambda store: None,
        thread_type: type[StoreThread] = StoreThread,
    ) -> None:
        self.path = path
        self._thread_type = thread_type
        self.promises: list[Promise] = []
        #: What callers were told in place of a promise.
        self.refusals: list[StoreError] = []
        #: Called after every promise.
        self.promised: Callable[[], None] = lambda: None
        self.now = 1000.0
        self._prepare = prepare
        self._fence = 0
        self._thread: StoreThread | None = None
        self._guests: dict[tuple[str, str], GuestRef] = {}
        self._sending: dict[GuestRef, Sending] = {}
        self._parts: dict[tuple[str, str], PartId] = {}
        self._names = 0

    # --- the way in ---

    @property
    def is_open(self) -> bool:
        """Whether it has a store."""
        return self._thread is not None

    async def open(self) -> bool:
        """Open the store; False where it could not be opened, and said so."""
        folder = Folder(self.path)

        def make() -> SqliteStore:
            store = SqliteStore(folder, min_free_disk_mb=0)
            store._db.wal_autocheckpoint(CHECKPOINT_PAGES)
            self._prepare(store)
            return store

        thread = self._thread_type(make, folder)
        try:
            await thread.open()
        except StoreError as error:
            self.refusals.append(error)
            return False
        self._thread = thread
        return True

    async def close(self) -> None:
        """Close the store."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await thread.close()

    async def write(self, verb: Callable[[SqliteStore], T], **promise: Any) -> T | None:
        """Carry a verb out; None where it was refused. What was journalled is promised with its answer."""

        def told(store: SqliteStore) -> tuple[T, list[JournalEntry]]:
            before = store.journal_seq()
            return verb(store), store.journal(before, 100_000)

        if self._thread is None:
            return None
        try:
            answer, entries = await self._thread.write(told)
        except StoreError as error:
            self.refusals.append(error)
            return None
        self._promise(Promise(entries=tuple(entries), **promise))
        return answer

    async def read(self, verb: Callable[[SqliteStore], T]) -> T | None:
        """Look; None where that failed."""
        if self._thread is None:
            return None
        try:
            return await self._thread.read(verb)
        except StoreError as error:
            self.refusals.append(error)
            return None

    def _promise(self, promise: Promise) -> None:
        self.promises.append(promise)
        self.promised()

    # --- what happens ---

    async def add(self, *intakes: Intake, held_by: str | None = None) -> list[Ticket]:
        """Submit messages; what is told of them is a promise about texts and files as well."""
        tickets = await self.write(lambda store: store.add(intakes, self.now, held_by=held_by)) or []
        texts: list[tuple[PartId, str]] = []
        files: list[tuple[PartId, bytes]] = []
        for ticket, given in zip(tickets, intakes, strict=bool(tickets)):
            self._guests[given.draft.destination, given.draft.guest] = ticket.guest_ref
            self._parts[given.draft.destination, given.draft.guest] = ticket.part_ids[0]
            texts += zip(ticket.part_ids, (body.text for body in given.bodies), strict=True)
            files += zip(ticket.part_ids, (file.content for file in given.draft.attachments), strict=False)
        if tickets:
            self._promise(Promise(texts=tuple(texts), files=tuple(files)))
        return tickets

    async def step(self, *changes: Change, begins: tuple[GuestRef, ...] = ()) -> None:
        """One tick of the relay."""
        fence = self._fence
        result: StepResult | None = await self.write(
            lambda store: store.step(Step(changes, begins), fence=fence, now=self.now),
            replies=tuple(
                (change.guest_ref, change.reply.gateway_id) for change in changes if isinstance(change, Hear)
            ),
        )
        if result is None:
            return
        for guest in result.lanes:
            self._sending.pop(guest, None)
        for sending in result.begun:
            self._sending[sending.guest_ref] = sending

    async def begin_due(self) -> list[Sending]:
        """Begin whatever is due."""
        for destination in ("web", "kiosk"):
            due = await self.read(lambda store, name=destination: store.due(self.now, 50, name))  # type: ignore[misc]
            if due is not None and due.guests:
                await self.step(begins=tuple(due.guests))
        return list(self._sending.values())

    def accepted(self, source: str = "echo") -> Accepted:
        """The gateway's answer, under a new name."""
        self._names += 1
        name = GatewayMessageId(f"gateway-{self._names}")
        return Accepted(name, None, "2026-01-01T00:00:00Z", source=source)  # type: ignore[arg-type]

    async def opening(self) -> None:
        """The store is opened, knows two ways out, and has a relay."""
        for _ in range(3):
            if await self.open():
                break
        for name, transport in (("web", "webmessaging"), ("kiosk", "openmessaging")):
            await self.write(
                lambda store, n=name, t=transport: store.register(n, t, f"of {n}", is_emulator=True)  # type: ignore[misc]
            )
        self._fence = await self.write(lambda store: store.take_over(self.now)) or self._fence

    async def morning(self) -> None:
        """Messages of every kind come in, one by one and together."""
        await self.add(intake("web", "ann", "hello", key="k1"), intake("web", "ben", "long", parts=3))
        await self.add(intake("web", "ann", "hello", key="k1"))
        await self.add(intake("web", "ann", "with a file", content=b"x" * 3000))
        await self.add(intake("kiosk", "carl", "kiosk", priority=1, read_receipt=True))
        await self.add(
            intake("web", "dora", "later", not_before=1500.0), intake("web", "dora", "old", expires_at=1200.0)
        )
        batch = [intake("web", f"guest {number}", f"row {number}", parts=1 + number % 2) for number in range(6)]
        await self.add(*batch, held_by="day.csv")
        await self.write(lambda store: store.note_batch("day.csv", "digest", 6, self.now))
        while await self.write(lambda store: store.let_go("day.csv", 2, self.now)):
            pass
        together = (self.add(intake("web", f"crowd {number}", "all at once " + "y" * 900)) for number in range(5))
        await asyncio.gather(*together)

    async def noon(self) -> None:
        """What was begun comes out in every way."""
        self.now = 1100.0
        for number, sending in enumerate(await self.begin_due()):
            guest, part, attempt = sending.guest_ref, sending.part_id, sending.attempt
            changes: list[Change] = [
                Confirm(part, self.accepted()),
                Requeue(part, attempt, self.now, "slow", spent=False),
                Suspect(part, attempt, "lost"),
                End(part, attempt, PartState.DEAD, "refused"),
                Requeue(part, attempt, self.now + 5, "failed"),
                End(part, attempt, PartState.PARKED, "unknown"),
            ]
            await self.step(changes[number % 6], begins=(guest,))
        for guest in list(self._guests.values())[:2]:
            await self.step(
                SessionChanged(guest, SessionState.LIVE, "session.configured", 9000.0, "token-" + "z" * 30),
                Hear(guest, Reply(gateway_id=GatewayMessageId("r1"), kind="text", text="hi " * 50)),
                Note("something.seen", guest, None, {"code": 1}),
                CaughtUp(guest),
                AuthChanged(guest, Auth("jwt", "refresh")),
                Pause(guest, 1110.0, "evicted"),
            )
        self.now = 1250.0
        dora = self._guests.get(("web", "dora"))
        if dora is not None:
            await self.step(Expire(dora))

    async def afternoon(self) -> None:
        """Uploads, errands, webhooks, receipts, what others acknowledge."""
        self.now = 1300.0
        ann = self._guests.get(("web", "ann"))
        if ann is not None:
            rows = await self.read(lambda store: store.lanes([ann])) or []
            head = rows[0].head if rows else None
            if head is not None:
                await self.step(Defer(head.part_id, 1301.0, "no room"), NoteUpload(head.part_id, "upload-1"))
            asked = [await self.write(lambda store: store.ask(ann, "close", {"everywhere": True}, self.now))]
            asked.append(await self.write(lambda store: store.ask(ann, "join", {"attributes": {"a": "b"}}, self.now)))
            for number, seq in enumerate(asked):
                if seq is not None:
                    await self.step(EndErrand(seq, number == 0, {}, {"brought": "it"}))
            await self.write(lambda store: store.follow(ann, self.now, on=True))
        await self._webhooks()
        seen = await self.read(lambda store: store.replies(0, 100)) or []
        for reply in reversed(seen):
            await self.write(lambda store, seq=reply.seq: store.acknowledge("crm", seq))  # type: ignore[misc]
        await self.write(lambda store: store.note("sink.gap", None, {"missed": 1}, self.now))
        self.now = 1600.0
        await self.write(lambda store: store.enter(self.now))

    async def _webhooks(self) -> None:
        """What the kiosk's platform tells us, of a guest who is known and of one who is not."""
        part = self._parts.get(("kiosk", "carl"))
        for guest in ("carl", "eve"):
            said = Reply(gateway_id=GatewayMessageId(f"in-{guest}"), kind="text", text="hello from the desk")
            await self.write(
                lambda store, g=guest, r=said: store.receive("kiosk", GuestKey(g), r, self.now, report=True)  # type: ignore[misc]
            )
        if part is not None:
            early = Receipt("Delivered", "their-1", None, "2026-01-01T00:00:00Z")
            late = Receipt("Read", "their-1", part, None)
            for receipt in (early, late, early):
                await self.write(
                    lambda store, r=receipt: store.receive("kiosk", GuestKey("carl"), r, self.now, report=False)  # type: ignore[misc]
                )

    async def decisions(self) -> None:
        """People decide: what was given up goes out anew, what waits for them goes on, something is not wanted."""
        for verb, state in (("retry", PartState.DEAD), ("release", PartState.PARKED), ("cancel", PartState.QUEUED)):
            chosen = await self.read(lambda store, one=state: store.choose({one}, limit=2)) or []  # type: ignore[misc]
            for message in chosen:
                await self.write(
                    lambda store, v=verb, m=message: getattr(store, v)(m, Person("eve", "asked"), self.now)  # type: ignore[misc]
                )
        for guest in list(self._guests.values())[:1]:
            await self.write(lambda store, ref=guest: store.resume(ref, Person("eve"), 1_105.0))  # type: ignore[misc]

    async def evening(self) -> None:
        """The process starts again; a new relay finds what the old one left, and goes on."""
        await self.close()
        await self.opening()
        await self.add(intake("web", "ann", "again", content=b"x" * 3000), intake("web", "fay", "new", content=b"fay"))
        self.now = 1700.0
        for sending in await self.begin_due():
            await self.step(Confirm(sending.part_id, self.accepted("history")))
        await self.read(lambda store: (store.status(), store.list_guests(destination=None, guest=None, limit=50)))

    async def pass_by(self) -> None:
        """All of it, and the store is closed at the end."""
        await self.opening()
        await self.morning()
        await self.noon()
        await self.afternoon()
        await self.decisions()
        await self.evening()


# --- afterwards ---

ERRAND_EVENTS = {"errand.queued": "queued", "errand.done": "done", "errand.failed": "failed"}


def examine(path: Path, promises: list[Promise]) -> None:
    """
    Open a store and hold it against what was promised: all of that is there, and nothing is there by halves.

    What nobody was told of may be there or not, and whole if it is.
    """
    store = SqliteStore(Folder(path), min_free_disk_mb=0)
    try:
        assert store._value("PRAGMA integrity_check") == "ok"
        assert store._value("PRAGMA journal_mode") == "wal"
        assert store._value("PRAGMA foreign_key_check") is None
        entries = {entry.seq: entry for entry in store.journal(0, 1_000_000)}
        assert list(entries) == list(range(1, len(entries) + 1))
        parts = {view.id: view for view in store.list_parts(state=None, guest=None, limit=100_000, with_text=True)}
        heard = {(reply.guest_ref, str(reply.gateway_id)) for reply in store.replies(0, 100_000) if reply.text}
        for promise in promises:
            for entry in promise.entries:
                assert entries.get(entry.seq) == entry, f"promised and lost: {entry}"
            for part, text in promise.texts:
                assert parts[part].text == text
            for part, content in promise.files:
                assert store.file_of(part)[1] == content
            assert set(promise.replies) <= heard
        assert replayed(store) == {part: view.state for part, view in parts.items()}
        _is_whole(store, list(parts.values()), entries)
    finally:
        store.close()


def _is_whole(store: SqliteStore, parts: list[Any], entries: dict[int, JournalEntry]) -> None:
    """Every message has all its parts, every file opens, every errand and lane is as the journal says."""
    for view in parts:
        text, _, count = view.text.rpartition("/")
        siblings = store.message_parts(view.message_id, with_text=True)
        whole = [f"{text.rsplit(' ', 1)[0]} {number + 1}/{count}" for number in range(int(count))]
        # What goes out anew is what of a message was given up.
        assert [sibling.text for sibling in siblings] == whole or (view.replay_of is not None and view.text in whole)
        body = store.body_of(view.id)
        if body is not None and body.file is not None:
            assert len(store.file_of(view.id)[1]) == body.file.size
    told: dict[int, str] = {}
    for entry in entries.values():
        if entry.event in ERRAND_EVENTS:
            told[entry.detail.get("errand", entry.seq)] = ERRAND_EVENTS[entry.event]
    guests = [row.guest_ref for row in store.list_guests(destination=None, guest=None, limit=100_000)]
    kept = {view.seq: view.state for guest in guests for view in store.errands_of(GuestRef(guest))}
    assert kept == told
    for number in {entry.detail["reply"] for entry in entries.values() if entry.event == "reply.received"}:
        assert store.replies(number - 1, 1)[0].seq == number
    for lane in store.lanes(GuestRef(guest) for guest in guests):
        moves = lane.head is not None and lane.head.state in (PartState.QUEUED, PartState.CHECKING)
        assert lane.head is None or lane.head.state in OPEN_STATES
        assert (lane.next_at is not None) == moves
