"""Negative controls: what the auditor has to see, so that `tests/chaos` proves something when it sees nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from guestwire import Ticket, steering
from guestwire.emulator.app import Emulator
from guestwire.model import GuestRef, JournalEntry, Outcome, PartId, Unknown
from guestwire.policy.retry import Decision, Retry, decide
from guestwire.testing import emulator
from tests.journey.auditor import audit, relays
from tests.journey.kit import FAST, PATIENCE_S, journal_of, say, settled, wired

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def worker(
    genesys: Emulator, folder: Path, count: int, guests: int, *flags: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program in a process of its own; killed at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.journey.worker", genesys.url, genesys.deployment_id, str(folder),
        str(count), str(guests), *flags,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def tell(process: asyncio.subprocess.Process, told: dict[str, Ticket], steps: float = float("inf")) -> bool:
    """
    Collect what the caller is told, up to so many steps or to the end of the output.

    Returns:
        Whether the program came to its end.
    """
    assert process.stdout is not None
    async for line in process.stdout:
        if not line.endswith(b"\n"):
            break  # killed as it spoke: half a line tells nobody anything
        if line == b"done\n":
            return True
        if line.startswith(b"step "):
            steps -= 1
            if steps <= 0:
                return False
        else:
            ticket = msgspec.json.decode(line, type=Ticket)
            told.setdefault(ticket.message_id, ticket)
    return False


async def kill_and_restart(genesys: Emulator, folder: Path, seed: int, kills: int, *flags: str) -> list[Ticket]:
    """Run a program to its end, killing it at the first instants; returns what the caller was told."""
    draw = random.Random(seed)  # noqa: S311 - a plan, not a secret
    told: dict[str, Ticket] = {}
    before = 0
    for _ in range(kills):
        async with worker(genesys, folder, 60, 6, *flags) as process:
            # Its journal is read from the beginning each time, so the instants move on with it.
            assert not await tell(process, told, steps=before + draw.randrange(5, 25))
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await tell(process, told)
        before = len(await journal_in(genesys, folder))
    async with worker(genesys, folder, 60, 6, *flags) as process, asyncio.timeout(PATIENCE_S * 2):
        assert await tell(process, told)
    return list(told.values())


async def journal_in(genesys: Emulator, folder: Path) -> list[JournalEntry]:
    """The journal of a store that nobody relays out of."""
    async with wired(genesys, folder, relay="never", pace=False) as wire:
        return await journal_of(wire)


async def test_the_auditor_sees_a_missing_write_ahead(tmp_path: Path) -> None:
    """Negative control: the same run without the write-ahead doubles messages, and the auditor says so."""
    async with emulator(echo_delay_ms="20-40", history_lag_s=0.02, limits="off") as genesys:
        told = await kill_and_restart(genesys, tmp_path, 11, 4, "careless")
        found = audit(genesys.messages(), await journal_in(genesys, tmp_path), told)
        assert found.unexplained != []


async def test_the_auditor_sees_a_careless_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a relay that reads "no answer" as "not accepted" is caught."""

    def careless(outcome: Outcome, **given: object) -> Decision:
        now = given["now"]
        assert isinstance(now, float)
        return Retry(now, "why not") if isinstance(outcome, Unknown) else decide(outcome, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(steering, "decide", careless)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("drop_after_accept")
        ticket = await say(wire, "twice")
        assert await settled(wire, ticket) == ["accepted"]
        found = audit(genesys.messages(), await journal_of(wire), [ticket])
        assert found.unexplained == [ticket.part_ids[0]]


def test_the_auditor_sees_what_is_lost_and_what_is_out_of_order() -> None:
    """Negative control: a promised part nobody knows is lost; parts that appear in the wrong order are named."""
    told = [msgspec.convert({"message_id": f"m{n}", "part_ids": [f"p{n}"], "guest_ref": "g"}, Ticket) for n in range(3)]
    journal = [JournalEntry(n, 0.0, "part.accepted", None, told[n].part_ids[0], {}) for n in range(3)]
    shown = [{"direction": "Inbound", "metadata": {"id": f"p{n}"}, "tracing_id": None} for n in (1, 0)]
    found = audit(shown, journal, told)
    assert found.lost == ["p2"]
    assert found.disorder == ["p0"]
    assert audit(shown, [], told).lost == ["p0", "p1", "p2"]


def test_the_auditor_sees_two_relays() -> None:
    """Negative control: a fence that comes twice, and two parts of one guest on their way together, are named."""
    started = [JournalEntry(n, 0.0, "relay.started", None, None, {"fence": fence}) for n, fence in enumerate((1, 2, 2))]
    assert relays(started[:2]) == []
    assert relays(started) == ["fence 2 after 2"]
    ann = GuestRef("g")
    sent, other = (JournalEntry(n, 0.0, "part.sending", ann, PartId(f"p{n}"), {"attempt": 1}) for n in (1, 2))
    taken = JournalEntry(3, 0.0, "part.accepted", ann, PartId("p1"), {})
    assert relays([sent, taken, other]) == []
    assert relays([sent, other]) == ["part p2 begun while p1 was on its way"]


def test_a_copy_that_does_not_say_its_attempt_needs_a_doubt_as_well() -> None:
    """Negative control: over REST no attempt travels along; two copies are explained by a doubt on record, not else."""
    ticket = msgspec.convert({"message_id": "m", "part_ids": ["p"], "guest_ref": "g"}, Ticket)
    shown = [{"direction": "Inbound", "metadata": {"id": "p"}, "tracing_id": None}] * 2
    events = ("part.sending", "part.checking", "part.possible_duplicate", "part.sending", "part.accepted")
    journal = [JournalEntry(n, 0.0, event, None, PartId("p"), {"attempt": 1}) for n, event in enumerate(events)]
    assert audit(shown, journal, [ticket]).violations == []
    assert audit(shown, [journal[0], journal[-1]], [ticket]).unexplained == ["p"]
    assert audit([*shown, shown[0]], journal, [ticket]).unexplained == ["p"]
