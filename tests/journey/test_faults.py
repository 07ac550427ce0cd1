"""Whatever goes wrong on the way: what becomes of the message, how often it is seen, what the journal says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from guestwire import AuthenticationError, Delivery, Message, PartState, RelaySettings
from guestwire.settings import Limits, RetrySettings
from guestwire.testing import FakeClock, emulator
from tests.journey.auditor import audit, busiest, events_of
from tests.journey.kit import FAST, QUICK, inbound, journal_of, say, settled, story_of, until, wired

AGAIN = RetrySettings(base_s=0.01, cap_s=0.05)
GOES = ["queued", "sending", "accepted"]
FOUND = ["queued", "sending", "checking", "accepted"]
RESENT = ["queued", "sending", "checking", "possible_duplicate", "sending", "accepted"]
RETRIED = ["queued", "sending", "requeued", "sending", "accepted"]
THROTTLED = ["queued", "sending", "throttled", "sending", "accepted"]
DEAD = ["queued", "sending", "dead"]


class Case(NamedTuple):
    """A fault at one message, and what has to follow."""

    kind: str
    parameters: dict[str, Any]
    story: list[str]
    copies: int = 1
    attempts: int = 1
    settings: Mapping[str, Any] = MappingProxyType({})

    def __str__(self) -> str:
        return "-".join([self.kind, *(f"{value}" for value in self.parameters.values()), *self.settings])


NAMELESS = {"errors_carry_tracing_id": False}
CASES = [
    Case("drop_before_accept", {}, RESENT, attempts=2),
    Case("drop_after_accept", {}, FOUND),
    Case("drop_after_accept", {}, FOUND, settings={"history_returns_metadata": True}),
    Case("lose_echo", {}, FOUND),
    Case("lose_echo", {}, FOUND, settings={"history_returns_metadata": True}),
    Case("delay_echo", {"delay_ms": 150}, GOES),
    Case("duplicate_echo", {}, GOES),
    Case("reorder_echo", {"delay_ms": 100}, GOES),
    Case("echo_without_tracing_id", {}, GOES),
    Case("echo_without_tracing_id", {"strip_metadata": True}, FOUND),
    Case("throttle", {"retry_after_s": 1}, THROTTLED),
    Case("throttle", {}, THROTTLED, settings={"retry_after_s": 1}),
    Case("throttle", {"retry_after_s": 1}, THROTTLED, settings=NAMELESS),
    *(Case("error_frame", {"code": code}, RETRIED, attempts=2) for code in (401, 409, 4006, 4007)),
    *(Case("error_frame", {"code": code}, DEAD, copies=0) for code in (400, 403, 404, 4000, 4001, 4011, 4013, 4020)),
    Case("error_frame", {"code": 4011}, DEAD, copies=0, settings=NAMELESS),
    *(Case("error_frame", {"code": code}, RESENT, attempts=2) for code in (408, 500, 503, 5000, 4999)),
    *(Case("error_frame", {"code": code, "accept": True}, FOUND) for code in (408, 5000, 4999)),
    Case("error_frame", {"code": 5000}, RESENT, attempts=2, settings=NAMELESS),
    Case("error_frame", {"code": 5000, "accept": True}, FOUND, settings=NAMELESS),
    Case("expire_session", {}, RETRIED, attempts=2),
    *(Case("close_with", {"code": code}, RESENT, attempts=2) for code in (1000, 1001, 1008, 1011, 1012, 1013, 4321)),
    *(Case("close_with", {"code": code, "accept": True}, FOUND) for code in (1000, 1001, 1011, 1013)),
    Case("silent_peer", {}, RESENT, attempts=2),
    Case("silent_peer", {"accept": True}, FOUND),
    Case("malformed_frame", {}, GOES),
    Case("malformed_frame", {"text": "no JSON"}, GOES),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_has_its_stated_outcome(tmp_path: Path, case: Case) -> None:
    """A fault at one message ends as stated; nothing is lost, nothing doubled without record, what is behind goes."""
    patience = msgspec.structs.replace(QUICK, ping_after_s=0.4, dead_after_s=0.2)
    async with (
        emulator(**{**FAST, **case.settings}) as genesys,
        wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire,
    ):
        before = await say(wire, "before")
        await settled(wire, before)
        genesys.inject(case.kind, match={"text": "fragile"}, **case.parameters)
        ticket = await say(wire, "fragile")
        behind = await say(wire, "behind")
        state = "dead" if "dead" in case.story else "accepted"
        assert await settled(wire, ticket, behind) == [state, "accepted"]
        assert await story_of(wire, ticket) == case.story
        assert inbound(genesys) == ["before", *["fragile"] * case.copies, "behind"]
        (part,), _ = await wire.find(ticket.message_id)
        assert part.attempt == case.attempts
        assert part.possible_duplicates == case.story.count("possible_duplicate")
        found = audit(genesys.messages(), await journal_of(wire), [before, ticket, behind])
        assert found.violations == []
        assert found.duplicates == 0
        assert genesys.state()["faults_fired"] == {case.kind: 1}
        # One look may come too early; two more, far enough apart, decide. A decided check does not look again. Whoever
        # comes back to a session that he knows reads, twice, what was said meanwhile.
        looks = {"checking": 3}
        resumed = [entry for entry in await journal_of(wire) if entry.detail.get("new_session") is False]
        assert genesys.state()["history_reads"] <= 2 * len(resumed) + sum(looks.get(step, 0) for step in case.story)


# --- the door is shut ---


async def test_a_refused_upgrade_is_told_and_mended(tmp_path: Path) -> None:
    """HTTP 403 is raised by `wait`; the message stays queued and goes out by itself once the door is open."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        genesys.inject("refuse_upgrade", times=None, status=403)
        ticket = await say(wire, "let me in")
        with pytest.raises(AuthenticationError, match="GW-A001"):
            await settled(wire, ticket)
        assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
        assert "GW-A001" in (await wire.status()).trouble["emulator"]
        refused = genesys.state()["upgrades_refused"]
        async with running(clock, 50.0):
            await asyncio.sleep(0)
        assert genesys.state()["upgrades_refused"] == refused  # no hammering at a closed door
        genesys.clear_faults()
        async with running(clock):
            await until(wire, "destination.reached")
            assert await settled(wire, ticket) == ["accepted"]
        assert (await wire.status()).trouble == {}
        assert inbound(genesys) == ["let me in"]


@contextlib.asynccontextmanager
async def running(clock: FakeClock, seconds: float = float("inf"), step_s: float = 0.05) -> AsyncIterator[None]:
    """Let a clock run as fast as the loop turns: for so many seconds at once, or as long as the block takes."""

    async def run() -> None:
        gone = 0.0
        while gone < seconds:
            clock.advance(step_s)
            gone += step_s
            await asyncio.sleep(0)

    task = asyncio.create_task(run())
    try:
        yield
        if seconds != float("inf"):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("status", [503, 429, 500])
async def test_an_upgrade_that_fails_is_tried_again(tmp_path: Path, status: int) -> None:
    """A gateway that is busy is met again after a while; `wait` goes on waiting."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("refuse_upgrade", times=2, status=status)
        ticket = await say(wire, "busy?")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["busy?"]
        assert events_of(await journal_of(wire))["destination.reached"] == 1


async def test_a_refused_session_is_not_hammered(tmp_path: Path) -> None:
    """Sockets that open for sessions that are refused are tried again after growing pauses."""
    clock = FakeClock(time.time())
    patience = RelaySettings(reconnect_base_s=1.0, reconnect_cap_s=60.0)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock, patience=patience) as wire:
        genesys.inject("error_frame", match={"action": "configureSession"}, times=None, code=4000)
        await say(wire, "hello")
        async with running(clock, 300.0):
            await until(wire, "session.refused", times=3)
        assert genesys.state()["connections_opened"] < 40


# --- the history, only witness ---


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("http_status", {"status": 503}),
        ("http_status", {"status": 429, "retry_after_s": 1}),
        ("slow_http", {"delay_ms": 200}),
    ],
)
async def test_a_history_that_cannot_be_read_is_read_again(
    tmp_path: Path, kind: str, parameters: dict[str, Any]
) -> None:
    """A check outlives a history that answers with an error, or slowly."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("lose_echo")
        genesys.inject(kind, match={"path": "messages"}, times=1, **parameters)
        ticket = await say(wire, "hello")
        assert await settled(wire, ticket) == ["accepted"]
        assert await story_of(wire, ticket) == FOUND
        assert inbound(genesys) == ["hello"]


async def test_a_history_that_shows_too_little_once_is_not_believed(tmp_path: Path) -> None:
    """One read that shows nothing is not the end: the next one finds the message."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("lose_echo")
        genesys.inject("history_truncate", keep=0)
        ticket = await say(wire, "hello")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["hello"]


async def test_a_history_that_stays_silent_settles_nothing(tmp_path: Path) -> None:
    """After `check_for_s` without a readable history the caller's choice decides, and the journal says why."""
    patience = msgspec.structs.replace(QUICK, check_for_s=0.5)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire:
        genesys.inject("drop_before_accept")
        genesys.inject("http_status", match={"path": "messages"}, times=None, status=500)
        ticket = await say(wire, "hello")
        assert await settled(wire, ticket) == ["accepted"]
        assert await story_of(wire, ticket) == RESENT
        doubt = next(entry for entry in await journal_of(wire) if entry.event == "part.possible_duplicate")
        assert "could not be read" in doubt.detail["reason"]


async def test_a_lagging_history_doubles_on_record_only(tmp_path: Path) -> None:
    """A history that lags behind the patience makes a message appear twice: recorded as possible, and counted."""
    async with (
        emulator(echo_delay_ms=0, history_lag_s=30) as genesys,
        wired(genesys, tmp_path, retry=AGAIN) as wire,
    ):
        genesys.inject("drop_after_accept")
        ticket = await say(wire, "twice")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["twice", "twice"]
        found = audit(genesys.messages(), await journal_of(wire), [ticket])
        assert (found.violations, found.duplicates) == ([], 1)
        assert (await wire.status()).store.possible_duplicates == 1


async def test_a_gateway_that_deduplicates(tmp_path: Path) -> None:
    """Where the gateway notices the repeated `tracingId`, even that message is seen once."""
    async with (
        emulator(echo_delay_ms=0, history_lag_s=30, dedupe_tracing_id=True) as genesys,
        wired(genesys, tmp_path, retry=AGAIN) as wire,
    ):
        genesys.inject("drop_after_accept")
        ticket = await say(wire, "once")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["once"]


@pytest.mark.parametrize("kind", ["drop_before_accept", "drop_after_accept"])
async def test_equal_texts_are_not_mistaken_for_each_other(tmp_path: Path, kind: str) -> None:
    """Of equal texts in a row one is lost: each entry of the history belongs to one message, and none is missing."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        genesys.inject(kind, match={"text": "yes", "nth": 2})
        tickets = [await say(wire, "yes") for _ in range(3)]
        assert await settled(wire, *tickets) == ["accepted"] * 3
        assert inbound(genesys) == ["yes"] * 3
        parts = [part for ticket in tickets for part in (await wire.find(ticket.message_id))[0]]
        assert [part.gateway_id for part in parts] == [message["id"] for message in genesys.messages()]


async def test_at_most_once_waits_for_a_person(tmp_path: Path) -> None:
    """Under at-most-once a message that the history cannot settle is parked, and its lane waits behind it."""
    async with (
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path, delivery=Delivery.AT_MOST_ONCE) as wire,
    ):
        genesys.inject("drop_before_accept", match={"text": "perhaps"})
        ticket = await say(wire, "perhaps")
        behind = await say(wire, "behind")
        other = await say(wire, "other lane", "bob")
        assert await settled(wire, ticket, other) == ["parked", "accepted"]
        (part,), _ = await wire.find(ticket.message_id)
        assert "outcome unknown" in (part.reason or "")
        assert not (await wire.wait(behind, timeout_s=0.2)).is_settled
        assert inbound(genesys) == ["other lane"]


# --- echoes out of time ---


async def test_an_echo_after_the_time_out(tmp_path: Path) -> None:
    """An echo later than `answer_s` settles a message whose history cannot be read: nothing is sent again."""
    patience = msgspec.structs.replace(QUICK, answer_s=0.2)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        genesys.inject("http_status", match={"path": "messages"}, times=None, status=500)
        genesys.inject("delay_echo", delay_ms=600)
        ticket = await say(wire, "late")
        behind = await say(wire, "behind")
        assert await settled(wire, ticket, behind) == ["accepted", "accepted"]
        assert await story_of(wire, ticket) == FOUND
        assert inbound(genesys) == ["late", "behind"]
        accepted = [entry for entry in await journal_of(wire) if entry.event == "part.accepted"]
        assert accepted[0].detail["source"] == "echo"


async def test_a_second_loss_is_checked_as_patiently_as_the_first(tmp_path: Path) -> None:
    """Each unknown attempt gets a check of its own: two reads, the first at least `settle_s` after *its* loss."""
    patience = msgspec.structs.replace(QUICK, settle_s=0.4)
    async with (
        emulator(echo_delay_ms=0, history_lag_s=0.5) as genesys,
        wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire,
    ):
        genesys.inject("drop_before_accept")
        genesys.inject("drop_after_accept")
        ticket = await say(wire, "unlucky")
        assert await settled(wire, ticket) == ["accepted"]
        # The lag is longer than one pause and shorter than two: whoever counts the old pauses in, sends again.
        assert inbound(genesys) == ["unlucky"]
        assert await story_of(wire, ticket) == [
            "queued", "sending", "checking", "possible_duplicate", "sending", "checking", "accepted",
        ]  # fmt: skip


# --- everything at once ---


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens(tmp_path: Path, seed: int) -> None:
    """All faults at random for many guests: none lost, no unexplained duplicate, order kept, limits kept."""
    kinds: dict[str, dict[str, Any]] = {
        "drop_before_accept": {},
        "drop_after_accept": {},
        "lose_echo": {},
        "delay_echo": {"delay_ms": 500},
        "duplicate_echo": {},
        "reorder_echo": {"delay_ms": 100},
        "echo_without_tracing_id": {},
        "error_frame": {"code": 5000, "accept": True},
        "close_with": {"code": 1012},
        "expire_session": {},
        "malformed_frame": {},
    }
    settings = {**FAST, "seed": seed, "errors_carry_tracing_id": bool(seed % 2), "script": "echo"}
    async with (
        emulator(**settings, history_per_minute=1000) as genesys,
        wired(
            genesys,
            tmp_path,
            retry=RetrySettings(base_s=0.01, cap_s=0.05, max_attempts=50),
            limits=Limits(history_per_min=1000),
        ) as wire,
    ):
        for kind, parameters in kinds.items():
            genesys.inject(kind, probability=0.03, **parameters)
        genesys.inject("http_status", match={"path": "messages"}, probability=0.1)
        tickets = await wire.submit_many(Message(guest=f"g{n % 25}", text=f"text {n % 3}") for n in range(150))
        async with asyncio.timeout(60):
            statuses = await wire.wait_many(tickets)
        found = audit(genesys.messages(), await journal_of(wire), tickets)
        assert found.violations == []
        assert found.waiting == []
        assert all(status.is_accepted for status in statuses)
        assert busiest(genesys.requests()).messages_per_s <= 5
