"""What the relay does about a whole destination, between lanes, and when people decide while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from guestwire.lane import SharedWindows
from guestwire.model import (
    Delivery,
    Draft,
    Failed,
    GuestKey,
    JournalEntry,
    Outcome,
    PartBody,
    PartState,
    Refused,
    Throttled,
    Ticket,
    Unknown,
)
from guestwire.policy.pace import Limit, Pace
from guestwire.settings import RelaySettings, RetrySettings
from guestwire.store.base import Intake, Person
from guestwire.testing import ScriptedTransport
from guestwire.transports.base import Attempt
from tests.journey.test_scripted_relay import Bench, Script, bench

ANN = Person("ann", "because")
KEYS = (("messages", "token"),)


async def until(made: Bench, condition: Callable[[], bool]) -> None:
    """Let time pass until something has happened; only while the relay waits for it, so that no work takes any."""
    async with asyncio.timeout(60):
        while not condition():
            assert made.task is None or not made.task.done(), made.task
            if (at := made.clock.next_at) is not None:
                made.clock.advance(max(0.0, at - made.clock.now()))
            await asyncio.sleep(0)


async def settled(made: Bench, tickets: list[Ticket]) -> list[PartState]:
    """Let time pass until every part has ended or waits for a person."""
    over = {"part.accepted", "part.dead", "part.parked", "part.cancelled"}

    def is_over() -> bool:
        last = {entry.part_id: entry.event for entry in made.told if entry.part_id is not None}
        return all(last.get(part) in over for ticket in tickets for part in ticket.part_ids)

    await until(made, is_over)
    return await made.states(tickets)


async def journal(made: Bench, *events: str) -> list[JournalEntry]:
    """The entries of some kinds."""
    entries = await made.reader.read(lambda store: store.journal(0, 100_000))
    return [entry for entry in entries if entry.event in events]


# --- the breaker ---


async def test_a_destination_that_fails_is_left_alone_and_tried_by_one(tmp_path: Path) -> None:
    """After three failures in a row one probe at a time goes; nobody else spends an attempt; then all go."""
    up_at = float("inf")

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return transport.show(attempt) if made.clock.now() >= up_at else Failed("503")

    async with bench(tmp_path, script, trip_after=3, max_attempts=30) as made:
        began = made.clock.now()
        tickets = await made.submit(*((str(guest), "hello") for guest in range(20)))
        await until(made, lambda: made.clock.now() >= began + 60.0)
        # Whoever was on his way together when it tripped has tried too; after that, a pause and one probe at a time.
        while_down = len(made.transport.sent)
        assert 20 + 60 / 4 * 0.8 <= while_down < 20 + 60 / 2 * 1.5
        up_at = made.clock.now()
        assert await settled(made, tickets) == [PartState.ACCEPTED] * 20
        # One probe, and then each of the others once.
        assert len(made.transport.sent) == while_down + 20
        tripped, recovered = await journal(made, "destination.tripped"), await journal(made, "destination.recovered")
        assert tripped[0].detail["destination"] == "web"
        assert tripped[0].detail["reason"] == "503"
        assert len(recovered) == 1


async def test_a_probe_costs_others_nothing(tmp_path: Path) -> None:
    """A hundred guests wait for a destination that is down for minutes: nobody but the probes has spent a try."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return Failed("connection refused")

    async with bench(tmp_path, script, trip_after=1, max_attempts=1000) as made:
        began = made.clock.now()
        await made.submit(("first", "hello"))
        await until(made, lambda: len(made.transport.sent) >= 1)
        await made.submit(*((str(guest), "hello") for guest in range(100)))
        await until(made, lambda: made.clock.now() >= began + 200.0)
        views = await made.reader.read(
            lambda store: store.list_parts(state=PartState.QUEUED, guest=None, limit=200, with_text=False)
        )
        assert len(views) == 101
        assert sum(view.attempt for view in views) == len(made.transport.sent)
        # Pauses of up to 4 s, with jitter, and one probe each.
        assert 200 / 4 * 0.8 <= len(made.transport.sent) <= 200 / 0.5


async def test_refusals_and_throttles_are_signs_of_life(tmp_path: Path) -> None:
    """They concern a message or a limit; the destination answers."""
    answers: dict[str, Outcome] = {"refused": Refused(4002, "too long"), "slow": Throttled("session", 1.0, "429")}

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return answers.pop(attempt.body.text, None) or transport.show(attempt)

    async with bench(tmp_path, script, trip_after=1) as made:
        tickets = await made.submit(("1", "refused"), ("2", "slow"), ("3", "fine"))
        assert await settled(made, tickets) == [PartState.DEAD, PartState.ACCEPTED, PartState.ACCEPTED]
        assert await journal(made, "destination.tripped") == []


async def test_answers_that_do_not_come_trip_it_as_well(tmp_path: Path) -> None:
    """A gateway that takes messages and says nothing is not sent more of them at once."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return Unknown("no echo") if len(transport.sent) <= 2 else transport.show(attempt)

    async with bench(tmp_path, script, trip_after=2) as made:
        tickets = await made.submit(("1", "a"), ("2", "b"))
        await settled(made, tickets)
        assert [entry.detail["reason"] for entry in await journal(made, "destination.tripped")] == ["no echo"]


# --- between lanes ---


def shared(made: Bench, *limits: Limit) -> SharedWindows:
    """Give the route of a bench windows that all of its lanes share, as those of a token."""
    pace = Pace(list(limits))
    windows = SharedWindows(pace, KEYS, KEYS)
    made.relay.routes["web"].shared = windows
    made.relay.routes["web"].pace = pace
    return windows


def counted(made: Bench) -> Script:
    """Accept everything, and count it in the windows when it is answered."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        assert attempt.slot is not None
        attempt.slot.answered(made.clock.now())
        return transport.show(attempt)

    return script


async def a_bench(folder: Path) -> Bench:
    """A bench whose relay is not started, with an open store."""
    made = Bench(folder, None, RetrySettings(), RelaySettings(settle_s=1.0, shutdown_s=4.0))
    made.transport._script = lambda attempt: counted(made)(made.transport, attempt)
    await made.writer.open()
    await made.reader.open()
    await made.writer.write(lambda store: store.register("web", "openmessaging", "x", is_emulator=True))
    return made


async def a_close(made: Bench) -> None:
    """Stop it, and close its store."""
    await made.stop()
    await made.writer.close()
    await made.reader.close()


async def submit(made: Bench, guest: str, priority: int, *, age_s: float = 0.0) -> Ticket:
    """Store a message of some priority, as if some time ago."""
    draft = Draft(destination="web", guest=GuestKey(guest), text=f"{guest} {priority}", priority=priority)
    intake = Intake(draft, (PartBody(draft.text),), Delivery.AT_LEAST_ONCE)
    (ticket,) = await made.writer.write(lambda store: store.add([intake], made.clock.now() - age_s))
    return ticket


async def test_the_urgent_guest_goes_first(tmp_path: Path) -> None:
    """Where a limit lets one through at a time, the order is that of priority, and of age where that is equal."""
    made = await a_bench(tmp_path)
    shared(made, Limit("messages", 1, 10.0))
    tickets = [
        await submit(made, f"g{number}", priority, age_s=1.0 - number / 10)
        for number, priority in enumerate((5, 9, 0, 7, 0, 3))
    ]
    made.start()
    await settled(made, tickets)
    assert [attempt.body.text for attempt in made.transport.visible] == ["g2 0", "g4 0", "g5 3", "g0 5", "g3 7", "g1 9"]
    await a_close(made)


async def test_nobody_starves(tmp_path: Path) -> None:
    """A minute of waiting is worth one step of priority: what can wait goes before what is urgent and much younger."""
    made = await a_bench(tmp_path)
    shared(made, Limit("messages", 1, 10.0))
    old = await submit(made, "old", 9, age_s=600.0)
    young = [await submit(made, f"young{number}", 0) for number in range(3)]
    made.start()
    await settled(made, [old, *young])
    assert made.transport.visible[0].body.text == "old 9"
    await a_close(made)


async def test_what_a_gateway_has_counted_it_counts_after_a_restart(tmp_path: Path) -> None:
    """Killed and started again within the minute, the next relay sends no more than the window has room for."""
    first = await a_bench(tmp_path)
    shared(first, Limit("messages", 3, 60.0))
    tickets = [await submit(first, f"g{number}", 5) for number in range(6)]
    first.start()
    await until(first, lambda: len(first.transport.visible) == 3)
    last_at = first.clock.now()
    await a_close(first)
    second = await a_bench(tmp_path)
    shared(second, Limit("messages", 3, 60.0))
    second.clock.advance(first.clock.now() - second.clock.now() + 5.0)
    sent_at: list[float] = []

    def script(attempt: Attempt) -> Outcome | None:
        sent_at.append(second.clock.now())
        return counted(second)(second.transport, attempt)

    second.transport._script = script
    second.start()
    left = [ticket for ticket, state in zip(tickets, await second.states(tickets), strict=True) if state == "queued"]
    assert await settled(second, left) == [PartState.ACCEPTED] * 3
    assert len(sent_at) == 3
    assert min(sent_at) >= last_at + 55.0
    await a_close(second)


# --- poison ---


def picky(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
    """Nobody takes what is bad."""
    return Refused(4011, "nobody takes it") if attempt.body.text == "bad" else transport.show(attempt)


async def test_one_bad_message_does_not_stop_its_guest(tmp_path: Path) -> None:
    """It is dead, with the reason; what is behind it goes."""
    async with bench(tmp_path, picky) as made:
        tickets = await made.submit(("1", "bad"), ("1", "good"))
        assert await settled(made, tickets) == [PartState.DEAD, PartState.ACCEPTED]


async def test_or_everything_of_the_guest_waits_for_a_person(tmp_path: Path) -> None:
    """With `stop_guest`: nothing goes until a person has cancelled or released it; other guests go on."""
    async with bench(tmp_path, picky, poison="stop_guest") as made:
        bad, good = await made.submit(("1", "bad"), ("1", "good"))
        (other,) = await made.submit(("2", "other"))
        await until(made, lambda: len(made.transport.visible) == 1)
        assert await settled(made, [bad, other]) == [PartState.PARKED, PartState.ACCEPTED]
        made.clock.advance(3600.0)
        assert await made.states([good]) == [PartState.QUEUED]
        await made.writer.write(lambda store: store.release(bad.message_id, ANN, made.clock.now()))
        await until(made, lambda: len(made.transport.sent) == 3)
        assert await settled(made, [bad]) == [PartState.PARKED]  # it is as bad as before
        await made.writer.write(lambda store: store.cancel(bad.message_id, ANN, made.clock.now()))
        assert await settled(made, [bad, good]) == [PartState.CANCELLED, PartState.ACCEPTED]


# --- people, while it runs ---


async def test_a_cancelled_head_lets_the_next_one_go_at_once(tmp_path: Path) -> None:
    """Also while it waits for its next attempt, far off."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        return Failed("later", retry_after_s=3000.0) if attempt.body.text == "stuck" else transport.show(attempt)

    async with bench(tmp_path, script) as made:
        began = made.clock.now()
        stuck, behind = await made.submit(("1", "stuck"), ("1", "behind"))
        await until(made, lambda: len(made.transport.sent) == 1)
        await made.writer.write(lambda store: store.cancel(stuck.message_id, ANN, made.clock.now()))
        assert await settled(made, [stuck, behind]) == [PartState.CANCELLED, PartState.ACCEPTED]
        assert made.clock.now() - began < 60.0


async def test_a_paused_guest_is_resumed_by_a_person(tmp_path: Path) -> None:
    """The relay, in whatever process, goes on within a poll of the journal."""
    async with bench(tmp_path) as made:
        (before,) = await made.submit(("1", "before"))
        await settled(made, [before])
        guest = before.guest_ref
        began = made.clock.now()
        made.transport.disturb(guest, until=began + 300.0)
        await until(made, lambda: any(entry.event == "lane.paused" for entry in made.told))
        (after,) = await made.submit(("1", "after"))
        await until(made, lambda: made.clock.now() >= began + 30.0)
        assert await made.states([after]) == [PartState.QUEUED]
        assert await made.writer.write(lambda store: store.resume(guest, ANN, made.clock.now()))
        assert await settled(made, [after]) == [PartState.ACCEPTED]
        assert made.clock.now() - began < 60.0


async def test_a_replay_goes_out_beside_what_waits(tmp_path: Path) -> None:
    """A dead message, replayed while the relay runs, is sent behind what its guest has queued."""
    answers = {"twice": [Refused(4011, "not today")]}

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        waiting = answers.get(attempt.body.text, [])
        return waiting.pop() if waiting else transport.show(attempt)

    async with bench(tmp_path, script) as made:
        (ticket,) = await made.submit(("1", "twice"))
        assert await settled(made, [ticket]) == [PartState.DEAD]
        done = await made.writer.write(lambda store: store.retry(ticket.message_id, ANN, made.clock.now()))
        assert done.replay is not None
        replay = msgspec.structs.replace(ticket, message_id=done.replay, part_ids=done.parts)
        assert await settled(made, [replay]) == [PartState.ACCEPTED]
        assert [attempt.body.text for attempt in made.transport.visible] == ["twice"]


async def test_what_was_turned_back_here_costs_nothing(tmp_path: Path) -> None:
    """Nothing left, so no attempt is spent, no window gets smaller, and nobody thinks the worse of the destination."""

    def script(transport: ScriptedTransport, attempt: Attempt) -> Outcome:
        if len(transport.sent) < 30:
            return Throttled("session", 0.0, "the session was not free any more")
        return transport.show(attempt)

    async with bench(tmp_path, script, trip_after=2, max_attempts=3) as made:
        pace = Pace([Limit("messages_per_s", 1000, 1.0)])
        made.relay.routes["web"].pace = pace
        (ticket,) = await made.submit(("1", "hello"))
        assert await settled(made, [ticket]) == [PartState.ACCEPTED]
        assert made.transport.sent[-1].number == 1
        assert pace.room((("messages_per_s", ticket.guest_ref),), made.clock.now()) == 1000
        assert await journal(made, "destination.tripped") == []
