"""The relay alone: no network, a clock moved by hand, outcomes by script, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from guestwire.errors import StoreError
from guestwire.lane import Route
from guestwire.model import (
    Delivery,
    Draft,
    Failed,
    GuestKey,
    GuestRef,
    JournalEntry,
    Outcome,
    PartBody,
    PartId,
    PartState,
    Refused,
    Throttled,
    Ticket,
    Unknown,
)
from guestwire.policy.breaker import Breaker
from guestwire.policy.pace import Limit, Pace
from guestwire.relay import Relay
from guestwire.settings import RelaySettings, RetrySettings
from guestwire.store.base import Intake
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.testing import FakeClock, ScriptedTransport
from guestwire.transports.base import Attempt

T = TypeVar("T")

Script = Callable[[ScriptedTransport, Attempt], Outcome | None]


class FragileThread(StoreThread):
    """A store whose next writes fail by script, before anything is written."""

    failures = 0
    failed = 0

    def write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Fail as a full disk does, or write."""
        if self.failures <= 0:
            return super().write(verb)
        self.failures -= 1
        self.failed += 1
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreError("no space", code="GW-S020"))
        return future


class Bench:
    """A relay on a bench."""

    def __init__(self, folder: Path, script: Script | None, retry: RetrySettings, settings: RelaySettings) -> None:
        self.folder = Folder(folder)
        self.clock = FakeClock()
        self.writer = FragileThread(self._store, self.folder)
        self.reader = StoreThread(self._store, self.folder)
        self.told: list[JournalEntry] = []
        self.relay = Relay(
            self.writer,
            self.reader,
            clock=self.clock,
            settings=settings,
            publish=self.told.extend,
            draw=random.Random(7).random,  # noqa: S311 - jitter
        )
        self.transport = ScriptedTransport(self.relay.emitter("web"))
        if script is not None:
            transport = self.transport
            transport._script = lambda attempt: script(transport, attempt)
        self.relay.routes["web"] = Route(
            self.transport, Pace([]), retry, Breaker(retry.trip_after, base_s=0.5, cap_s=4.0), "web"
        )
        self.task: asyncio.Task[None] | None = None

    def _store(self) -> SqliteStore:
        return SqliteStore(self.folder, min_free_disk_mb=0.001)

    async def submit(self, *texts: tuple[str, str], delivery: Delivery = Delivery.AT_LEAST_ONCE) -> list[Ticket]:
        """Store messages, each a guest and a text."""
        drafts = [Draft(destination="web", guest=GuestKey(guest), text=text) for guest, text in texts]
        intakes = [Intake(draft, (PartBody(draft.text),), delivery) for draft in drafts]
        tickets = await self.writer.write(lambda store: store.add(intakes, self.clock.now()))
        self.relay.nudge()
        return tickets

    def start(self) -> None:
        """Let the relay run."""
        self.task = asyncio.create_task(self.relay.run())

    async def states(self, tickets: list[Ticket]) -> list[PartState]:
        """The state of each ticket's part."""

        def read(store: SqliteStore) -> list[PartState]:
            return [next(iter(store.message_states(ticket.message_id))) for ticket in tickets]

        return await self.reader.read(read)

    async def journal(self, part: PartId) -> list[JournalEntry]:
        """What the journal says of a part."""
        return await self.reader.read(lambda store: store.journal_of(part))

    async def sendings(self, attempt: Attempt) -> list[JournalEntry]:
        """When a part was sent, as the journal has it."""
        return [entry for entry in await self.journal(attempt.part_id) if entry.event == "part.sending"]

    async def told_of(self, event: str) -> None:
        """Wait, without time passing, until the journal says something."""
        async with asyncio.timeout(30):
            while event not in {entry.event for entry in self.told}:
                await self.reader.read(lambda store: store.journal_seq())

    async def until_settled(self, tickets: list[Ticket], step_s: float = 0.25) -> list[PartState]:
        """Let time pass until every part has ended or waits for a person."""
        moving = {PartState.QUEUED, PartState.SENDING, PartState.CHECKING}
        async with asyncio.timeout(120):
            while set(states := await self.states(tickets)) & moving:
                assert self.task is None or not self.task.done(), self.task
                self.clock.advance(step_s)
        return states

    async def stop(self) -> None:
        """Stop the relay and wait for it."""
        self.relay.stop()
        if self.task is not None:
            while not self.task.done():
                self.clock.advance(0.5)
                await asyncio.sleep(0)
            await self.task


@contextlib.asynccontextmanager
async def bench(folder: Path, script: Script | None = None, **retry: Any) -> AsyncIterator[Bench]:
    """A bench with a started relay."""
    made = Bench(
        folder,
        script,
        RetrySettings(**{"base_s": 0.5, "cap_s": 2.0, **retry}),
        RelaySettings(settle_s=1.0, check_for_s=30.0, shutdown_s=4.0),
    )
    await made.writer.open()
    await made.reader.open()
    try:
        await made.writer.write(lambda store: store.register("web", "webmessaging", "x", is_emulator=True))
        made.start()
        yield made
        await made.stop()
    finally:
        if made.task is not None:
            made.task.cancel()
            await asyncio.gather(made.task, return_exceptions=True)
        await made.writer.close()
        await made.reader.close()


class Chaos:
    """Outcomes drawn at random, and what must hold while they are."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - a script
        self.throttled: Counter[PartId] = Counter()
        self.doubted: Counter[PartId] = Counter()
        self.failed: Counter[PartId] = Counter()

    def __call__(self, transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        """Answer an attempt."""
        kind = self.draw.choices(
            ("accept", "lost before", "lost after", "throttle", "fail", "refuse"), (50, 10, 10, 15, 10, 5)
        )[0]
        match kind:
            case "accept":
                return transport.show(attempt)
            case "lost before":
                self.doubted[attempt.part_id] += 1
                return Unknown("the script says so")
            case "lost after":
                self.doubted[attempt.part_id] += 1
                transport.show(attempt)
                return Unknown("the script says so")
            case "throttle":
                self.throttled[attempt.part_id] += 1
                return Throttled("session", self.draw.uniform(0.0, 3.0))
            case "fail":
                self.failed[attempt.part_id] += 1
                return Failed("the script says so")
            case _:
                return Refused(4011, "the script says so")


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("seed", range(6))
async def test_random_outcomes(tmp_path: Path, seed: int, delivery: Delivery) -> None:
    """Whatever attempts end in: order per lane, one in flight, every part ends, a throttle costs no attempt."""
    chaos = Chaos(seed)
    async with bench(tmp_path, chaos, max_attempts=6) as made:
        made.transport.history_returns_metadata = bool(seed % 2)
        texts = [(f"guest {n % 6}", f"text {n // 12}") for n in range(60)]
        tickets = await made.submit(*texts, delivery=delivery)
        states = await settle_or_stand(made, tickets)
        seen: dict[GuestRef, list[PartId]] = {}
        for attempt in made.transport.visible:
            if attempt.part_id not in seen.setdefault(attempt.guest_ref, []):
                seen[attempt.guest_ref].append(attempt.part_id)
        for guest, parts in seen.items():
            promised = [ticket.part_ids[0] for ticket in tickets if ticket.guest_ref == guest]
            assert parts == [part for part in promised if part in parts]
        copies = Counter(attempt.part_id for attempt in made.transport.visible)
        for ticket, state in zip(tickets, states, strict=True):
            part = ticket.part_ids[0]
            events = Counter(entry.event for entry in await made.journal(part))
            assert copies[part] <= 1 + events["part.possible_duplicate"]
            assert events["part.throttled"] == chaos.throttled[part]
            assert events["part.checking"] == chaos.doubted[part]
            tries = [attempt.number for attempt in made.transport.sent if attempt.part_id == part]
            assert max(tries, default=0) <= 6
            assert len(tries) - events["part.throttled"] <= 6
            if state is PartState.ACCEPTED:
                assert copies[part] >= 1
            if delivery is Delivery.AT_MOST_ONCE:
                assert copies[part] <= 1
        await made.stop()
        assert made.relay.in_flight == 0


async def settle_or_stand(made: Bench, tickets: list[Ticket]) -> list[PartState]:
    """Let time pass until nothing moves any more: a part has ended, is parked, or stands behind a parked one."""
    async with asyncio.timeout(120):
        while True:
            states = await made.states(tickets)
            standing: set[GuestRef] = set()
            moving = False
            for ticket, state in zip(tickets, states, strict=True):
                if state is PartState.PARKED:
                    standing.add(ticket.guest_ref)
                elif state in (PartState.QUEUED, PartState.SENDING, PartState.CHECKING):
                    moving = moving or ticket.guest_ref not in standing
            if not moving:
                return states
            assert made.task is not None
            assert not made.task.done()
            made.clock.advance(0.25)


async def test_a_throttle_costs_no_attempt(tmp_path: Path) -> None:
    """A hundred throttles later the attempt is still the first, and the message is accepted."""
    left = [100]

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        left[0] -= 1
        return Throttled("session", 3.0) if left[0] > 0 else transport.show(attempt)

    async with bench(tmp_path, script, max_attempts=2) as made:
        (ticket,) = await made.submit(("ann", "patience"))
        assert await made.until_settled([ticket], 3.2) == [PartState.ACCEPTED]
        assert {attempt.number for attempt in made.transport.sent} == {1}


@pytest.mark.parametrize(
    ("scope", "waiting"),
    [("session", {"ann"}), ("connection", {"ann"}), ("deployment", {"ann", "bob"}), ("destination", {"ann", "bob"})],
)
async def test_a_throttle_pauses_the_scope_that_it_names(tmp_path: Path, scope: Any, waiting: set[str]) -> None:
    """A session, or a connection, is one guest's, and others go on; a deployment, or a destination, is everybody's."""
    throttled: list[Attempt] = []

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        if not throttled:
            throttled.append(attempt)
            return Throttled(scope, 60.0)
        return transport.show(attempt)

    async with bench(tmp_path, script) as made:
        begun = made.clock.now()
        (first,) = await made.submit(("ann", "ann"))
        await made.told_of("part.throttled")
        (other,) = await made.submit(("bob", "bob"))
        if "bob" not in waiting:
            assert await made.until_settled([other], 0.0) == [PartState.ACCEPTED], "the clock stood still"
        assert await made.until_settled([first, other], 1.0) == [PartState.ACCEPTED] * 2
        last = {attempt.body.text: entry for attempt in made.transport.sent for entry in await made.sendings(attempt)}
        assert {guest for guest, entry in last.items() if entry.at >= begun + 60.0} == waiting


async def test_attempts_are_bounded(tmp_path: Path) -> None:
    """A message that fails again and again is dead after `max_attempts`; the one behind it has its turn."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return Failed("no") if attempt.body.text == "hopeless" else transport.show(attempt)

    async with bench(tmp_path, script, max_attempts=3) as made:
        tickets = await made.submit(("ann", "hopeless"), ("ann", "behind"))
        assert await made.until_settled(tickets) == [PartState.DEAD, PartState.ACCEPTED]
        assert [attempt.number for attempt in made.transport.sent] == [1, 2, 3, 1]


async def test_a_check_is_fresh_for_every_loss(tmp_path: Path) -> None:
    """The second unknown attempt is not believed absent on the strength of the first one's reads."""
    lost_at: list[float] = []

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        if attempt.number < 3:
            lost_at.append(made.clock.now())
            return Unknown("lost")
        return transport.show(attempt)

    async with bench(tmp_path, script) as made:
        (ticket,) = await made.submit(("ann", "unlucky"))
        assert await made.until_settled([ticket], 0.05) == [PartState.ACCEPTED]
        doubts = [entry.at for entry in await made.journal(ticket.part_ids[0]) if entry.event.endswith("duplicate")]
        assert [doubt - lost >= 2.0 for doubt, lost in zip(doubts, lost_at, strict=True)] == [True, True]


async def test_a_late_echo_settles_a_check(tmp_path: Path) -> None:
    """While the history cannot be read, the echo that comes after all settles the part; the lane goes on."""
    lost: list[Attempt] = []

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        if attempt.body.text == "late":
            lost.append(attempt)
            return Unknown("lost")
        return transport.show(attempt)

    async with bench(tmp_path, script) as made:
        made.transport.history_readable = False
        tickets = await made.submit(("ann", "late"), ("ann", "behind"))
        async with asyncio.timeout(10):
            while (await made.states(tickets))[0] is not PartState.CHECKING:
                made.clock.advance(0.1)
        echo = made.transport.show(lost[0])
        made.transport.answer(lost[0], echo)
        made.transport.answer(lost[0], echo)  # twice is once
        assert await made.until_settled(tickets) == [PartState.ACCEPTED, PartState.ACCEPTED]
        assert [attempt.body.text for attempt in made.transport.sent] == ["late", "behind"]


async def test_what_is_submitted_while_a_relay_begins_is_seen(tmp_path: Path) -> None:
    """
    A message that comes between the take-over and the first look goes out, though its clock is ten years ahead.

    Found by the simulation: no index says that it is due, so the journal must.
    """
    async with bench(tmp_path) as made:
        read = made.reader.read
        tickets: list[Ticket] = []

        def first_look(verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
            made.reader.read = read  # type: ignore[method-assign]
            store = made._store()
            intake = Intake(Draft(destination="web", guest=GuestKey("ann"), text="ahead"), (PartBody("ahead"),))
            with store.transaction():
                tickets.extend(store.add([intake], made.clock.now() + 10 * 365 * 86_400.0))
            store.close()
            return read(verb)

        made.reader.read = first_look  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            while not tickets or await made.states(tickets) != [PartState.ACCEPTED]:
                made.clock.advance(0.25)
                await asyncio.sleep(0)


async def test_a_copy_of_before_is_no_proof_for_the_same_words(tmp_path: Path) -> None:
    """
    The late copy of a message that was sent again is not taken for the next one with the same words, which is lost.

    Found by the simulation: histories without our metadata that lag behind, and guests who say the same again.
    """
    number = 0

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        nonlocal number
        number += 1
        match number:
            case 1:  # it arrives, and the history does not show it in time
                transport.history_lag = 10
                transport.show(attempt)
                return Unknown("lost")
            case 3:  # it never arrives, and of the two copies before it the history shows the older one
                transport.history_lag = 1
                return Unknown("lost")
            case _:
                return transport.show(attempt)

    async with bench(tmp_path, script) as made:
        tickets = await made.submit(("ann", "yes"))
        assert await made.until_settled(tickets) == [PartState.ACCEPTED]
        tickets = await made.submit(("ann", "yes"))
        assert await made.until_settled(tickets) == [PartState.ACCEPTED]
        assert tickets[0].part_ids[0] in {attempt.part_id for attempt in made.transport.visible}


async def test_a_copy_after_the_one_that_was_found_is_no_proof(tmp_path: Path) -> None:
    """
    Of two copies the older one was found; the newer one, which comes to light later, is not the next message.

    Found by the simulation, as the one before.
    """
    number = 0

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        nonlocal number
        number += 1
        match number:
            case 1:  # it arrives, and the history does not show it in time
                transport.history_lag = 10
                transport.show(attempt)
            case 2:  # it arrives again, and the history shows the first copy
                transport.history_lag = 1
                transport.show(attempt)
            case 3:  # the next message never arrives, and the history shows both copies of the one before
                transport.history_lag = 0
            case _:
                return transport.show(attempt)
        return Unknown("lost")

    async with bench(tmp_path, script) as made:
        for _ in range(2):
            tickets = await made.submit(("ann", "yes"))
            assert await made.until_settled(tickets) == [PartState.ACCEPTED]
        assert tickets[0].part_ids[0] in {attempt.part_id for attempt in made.transport.visible}


async def test_a_late_echo_overtakes_the_next_attempt(tmp_path: Path) -> None:
    """An echo that comes while the part waits to be sent again is an acceptance; nothing is sent twice."""
    lost: list[Attempt] = []

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        lost.append(attempt)
        return Failed("believed not to be accepted")

    async with bench(tmp_path, script, base_s=1000.0, cap_s=1000.0) as made:
        (ticket,) = await made.submit(("ann", "late"))
        async with asyncio.timeout(10):
            while "part.requeued" not in [entry.event for entry in await made.journal(ticket.part_ids[0])]:
                pass
        made.transport.answer(lost[0], made.transport.show(lost[0]))
        # No time passes: however slow the disk, it is not yet the next attempt's turn.
        assert await made.until_settled([ticket], step_s=0.0) == [PartState.ACCEPTED]
        assert len(made.transport.sent) == 1


async def test_one_in_flight_per_lane(tmp_path: Path) -> None:
    """With nothing answered, every lane has exactly one attempt on its way, and no lane waits for another."""
    async with bench(tmp_path, lambda *_: None) as made:
        await made.submit(*[(f"guest {n % 5}", f"text {n}") for n in range(25)])
        async with asyncio.timeout(10):
            while len(made.transport.sent) < 5:
                made.clock.advance(0.1)
                await asyncio.sleep(0)
        made.clock.advance(5)
        await made.reader.read(SqliteStore.journal_seq)
        assert len(made.transport.sent) == made.relay.in_flight == 5
        assert len({attempt.guest_ref for attempt in made.transport.sent}) == 5


async def test_stopping_drains(tmp_path: Path) -> None:
    """`stop` begins nothing new and ends when what is on its way has its outcome."""
    async with bench(tmp_path, lambda *_: None) as made:
        tickets = await made.submit(("ann", "one"), ("ann", "two"))
        async with asyncio.timeout(10):
            while not made.transport.sent:
                made.clock.advance(0.1)
                await asyncio.sleep(0)
        made.relay.stop()
        await made.reader.read(SqliteStore.journal_seq)
        assert made.task is not None
        assert not made.task.done()
        (attempt,) = made.transport.sent
        made.transport.answer(attempt, made.transport.show(attempt))
        async with asyncio.timeout(10):
            await made.task
        assert await made.states(tickets) == [PartState.ACCEPTED, PartState.QUEUED]
        assert len(made.transport.sent) == 1


async def test_stopping_does_not_wait_for_ever(tmp_path: Path) -> None:
    """What has no outcome after `shutdown_s` is left unknown, for the check of the next start."""
    async with bench(tmp_path, lambda *_: None) as made:
        tickets = await made.submit(("ann", "one"))
        async with asyncio.timeout(10):
            while not made.transport.sent:
                made.clock.advance(0.1)
                await asyncio.sleep(0)
        made.relay.stop()
        made.clock.advance(3.5)
        await made.reader.read(SqliteStore.journal_seq)
        assert made.task is not None
        assert not made.task.done()
        await made.stop()
        assert await made.states(tickets) == [PartState.CHECKING]


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_failing_store_loses_nothing(tmp_path: Path, failures: int) -> None:
    """While the store fails nothing leaves that is not written, and the outcomes of before are written later."""
    async with bench(tmp_path) as made:
        first = await made.submit(("ann", "first"))
        await made.until_settled(first)
        tickets = await made.submit(*[(f"guest {n % 3}", f"text {n}") for n in range(9)])
        made.writer.failures = failures
        assert set(await made.until_settled(tickets, 0.3)) == {PartState.ACCEPTED}
        assert made.writer.failed == failures
        for attempt in made.transport.sent:
            events = [entry.event for entry in await made.journal(attempt.part_id)]
            assert events.count("part.sending") == 1
        assert len(made.transport.visible) == 10


@pytest.mark.parametrize("after", range(6))
async def test_a_store_that_fails_at_any_step(tmp_path: Path, after: int) -> None:
    """One failure at any of the steps of three messages: each is still accepted once, in order."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        if len(transport.sent) == after:
            made.writer.failures = 1
        return transport.show(attempt)

    async with bench(tmp_path, script) as made:
        made.writer.failures = after == 0
        made.relay.nudge()
        tickets: list[Ticket] = []
        async with asyncio.timeout(10):
            while not tickets:
                with contextlib.suppress(StoreError):
                    tickets = await made.submit(("ann", "1"), ("ann", "2"), ("bob", "3"))
        assert await made.until_settled(tickets, 0.3) == [PartState.ACCEPTED] * 3
        assert sorted(attempt.body.text for attempt in made.transport.visible) == ["1", "2", "3"]


async def test_what_is_no_message_waits_for_the_store_too(tmp_path: Path) -> None:
    """It may leave when it is written down; a window that nobody keeps is not written about."""
    async with bench(tmp_path) as made:
        await made.until_settled(await made.submit(("ann", "first")))
        spend = made.relay.spender("web")
        made.writer.failures = 2
        await spend("history", GuestRef("g1"))
        assert made.writer.failures == 2
        made.relay.routes["web"].pace.retune([Limit("history_per_min", 10, 60.0)])
        spending = asyncio.ensure_future(spend("history", GuestRef("g1")))
        async with asyncio.timeout(10):
            while made.writer.failed < 2:
                assert not spending.done()
                made.clock.advance(0.5)
                await asyncio.sleep(0)
            while not spending.done():
                made.clock.advance(0.5)
                await made.reader.read(SqliteStore.journal_seq)
        uses = await made.reader.read(lambda store: store.uses(0.0, made.clock.now() + 1.0))
        assert {use.kind for use in uses} == {"history", "message"}
        assert made.relay.vitals().store is None


async def test_what_took_long_to_be_written_is_written_again(tmp_path: Path) -> None:
    """It counts from when it leaves: a time of long before would be forgotten too early."""
    async with bench(tmp_path) as made:
        made.relay.routes["web"].pace.retune([Limit("history_per_min", 10, 60.0)])
        began_at = made.clock.now()
        spending = asyncio.ensure_future(made.relay.spender("web")("history", GuestRef("g1")))
        await asyncio.sleep(0)  # handed in; that it is done is heard of later
        made.clock.advance(30.0)
        async with asyncio.timeout(10):
            await spending
        uses = await made.reader.read(lambda store: store.uses(0.0, made.clock.now() + 1.0))
        assert sorted(use.at for use in uses) == [began_at, began_at + 30.0]


async def test_stopping_with_a_store_that_never_recovers(tmp_path: Path) -> None:
    """A store that fails for good does not keep `stop` from ending; the part is checked at the next start."""
    async with bench(tmp_path, lambda *_: None) as made:
        (ticket,) = await made.submit(("ann", "one"))
        async with asyncio.timeout(10):
            while not made.transport.sent:
                made.clock.advance(0.1)
                await asyncio.sleep(0)
        made.writer.failures = 1_000_000
        (attempt,) = made.transport.sent
        made.transport.answer(attempt, made.transport.show(attempt))
        async with asyncio.timeout(10):
            while not made.writer.failed:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
            await made.stop()
        made.writer.failures = 0
        assert await made.states([ticket]) == [PartState.SENDING]


async def test_a_clock_wakes_those_whose_time_has_come() -> None:
    """`advance` wakes who waits for a time that has come, and nobody else; a set event needs no time."""
    clock = FakeClock(100.0)
    woken: list[str] = []

    async def wait(name: str, until: float | None, wake: asyncio.Event) -> None:
        await clock.wait(wake, until)
        woken.append(name)

    nudged = asyncio.Event()
    tasks = [
        asyncio.create_task(wait(name, at, wake))
        for name, at, wake in [
            ("late", 110.0, asyncio.Event()),
            ("soon", 105.0, asyncio.Event()),
            ("past", 99.0, asyncio.Event()),
            ("nudged", None, nudged),
        ]
    ]
    await asyncio.sleep(0)
    assert clock.next_at == 105.0
    clock.advance(4.9)
    nudged.set()
    await asyncio.gather(tasks[2], tasks[3])
    assert woken == ["past", "nudged"]
    clock.advance(20.0)
    await asyncio.gather(*tasks)
    assert woken == ["past", "nudged", "soon", "late"]
    assert clock.now() == pytest.approx(124.9)
    assert not clock._waiting
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1.0)
