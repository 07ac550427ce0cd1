"""Several programs on one store: one relays, the others submit and watch, and take over when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from pathlib import Path

import apsw
import msgspec
import pytest

from guestwire import StoreError, Ticket
from guestwire.clock import SystemClock
from guestwire.relay import Relay
from guestwire.store.folder import Folder, RelayLock
from guestwire.testing import FakeClock, emulator
from tests.journey.auditor import audit
from tests.journey.kit import (
    FAST,
    PATIENCE_S,
    QUICK,
    destination,
    eventually,
    inbound,
    journal_of,
    make_wire,
    say,
    settled,
    until,
    wired,
)
from tests.journey.test_crash import tell, worker
from tests.journey.test_faults import running


async def test_the_second_watches(tmp_path: Path) -> None:
    """Of two programs on one store the first relays; what either submits is accepted, and both `wait`s end."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as first:
        await settled(first, await say(first, "first"))
        async with wired(genesys, tmp_path) as second:
            assert ((await first.status()).relay, (await second.status()).relay) == ("here", "elsewhere")
            ours, theirs = await say(first, "ours", "ann"), await say(second, "theirs", "bob")
            ends = await asyncio.gather(settled(first, theirs), settled(second, ours), settled(second, theirs))
            assert list(ends) == [["accepted"]] * 3
            async with asyncio.timeout(PATIENCE_S):
                replies = second.replies("bob")
                genesys.say("hello bob", conversation_id=genesys.messages()[-1]["conversation_id"])
                assert (await anext(replies)).text == "hello bob"
                await replies.aclose()
        assert sorted(inbound(genesys)) == ["first", "ours", "theirs"]


async def test_the_second_takes_over(tmp_path: Path) -> None:
    """When the relay closes, the other program becomes it within a second or so, and a `wait` of before ends."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path) as first:
            await settled(first, await say(first, "first"))
            second = make_wire(destination(genesys), tmp_path)
            await second.start()
            genesys.inject("throttle", match={"text": "second"}, retry_after_s=1)
            ticket = await say(second, "second")
            waiting = asyncio.create_task(settled(second, ticket))
            await until(first, "part.throttled")
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(second.close)
            assert await waiting == ["accepted"]
            assert (await second.status()).relay == "here"
        assert inbound(genesys) == ["first", "second"]


async def test_a_relay_is_required(tmp_path: Path) -> None:
    """A program that must relay says so at once where another one does, and leaves nothing open."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as first:
        await settled(first, await say(first, "first"))
        with pytest.raises(StoreError, match="GW-S007"):
            await make_wire(destination(genesys), tmp_path, relay="required").start()


async def test_submitting_beside_a_relay(tmp_path: Path) -> None:
    """What another process submits is sent by ours, in order."""
    async with emulator(**FAST, limits="off") as genesys, wired(genesys, tmp_path, pace=False) as wire:
        told: dict[str, Ticket] = {}
        async with worker(genesys, tmp_path, 20, 3, "never") as process, asyncio.timeout(PATIENCE_S):
            assert await tell(process, told)
        tickets = list(told.values())
        assert await settled(wire, *tickets) == ["accepted"] * 20
        found = audit(genesys.messages(), await journal_of(wire), tickets)
        assert (found.violations, found.waiting, found.duplicates) == ([], [], 0)


async def test_the_relay_is_killed(tmp_path: Path) -> None:
    """SIGKILL with messages in flight: the other process takes over within seconds, checks them, and sends the rest."""
    async with emulator(echo_delay_ms=30, history_lag_s=0.02, limits="off") as genesys:
        told: dict[str, Ticket] = {}
        async with worker(genesys, tmp_path, 40, 4) as process:
            reading = asyncio.create_task(tell(process, told))
            await eventually(lambda: len(inbound(genesys)) >= 8)
            async with wired(genesys, tmp_path, pace=False) as wire:
                assert (await wire.status()).relay == "elsewhere"
                await eventually(lambda: len(told) == 40)
                waiting = asyncio.create_task(settled(wire, *told.values()))
                process.kill()
                killed_at = asyncio.get_running_loop().time()
                await reading
                started = await until(wire, "relay.started", times=2)
                assert asyncio.get_running_loop().time() - killed_at < 4
                assert await waiting == ["accepted"] * 40
                found = audit(genesys.messages(), await journal_of(wire), told.values())
                assert (found.violations, found.waiting) == ([], [])
                assert started.detail["fence"] == 2


async def test_a_busy_store(tmp_path: Path) -> None:
    """While another program holds the store, submitting says so; the relay goes on as soon as it is free."""
    async with emulator(**FAST) as genesys:
        wire = make_wire(destination(genesys), tmp_path, busy_timeout_s=0.1)
        async with wire:
            await settled(wire, await say(wire, "before"))
            other = apsw.Connection(str(tmp_path / "store.db"))
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="GW-S003"):
                await say(wire, "during")
            genesys.say("a reply nobody can store yet")
            other.execute("COMMIT")
            other.close()
            ticket = await say(wire, "after")
            assert await settled(wire, ticket) == ["accepted"]
            await until(wire, "reply.received")
        assert inbound(genesys) == ["before", "after"]


async def test_a_store_that_is_busy_when_a_message_comes_due(tmp_path: Path) -> None:
    """A store that is held just when the relay looks for work does not end the relay."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys:
        wire = make_wire(destination(genesys), tmp_path, busy_timeout_s=0.05, clock=clock)
        async with wire:
            soon = datetime.datetime.fromtimestamp(clock.now() + 60, datetime.UTC)
            ticket = await say(wire, "due", not_before=soon)
            async with running(clock, 1.0):
                await until(wire, "relay.started")
            other = apsw.Connection(str(tmp_path / "store.db"))
            other.execute("BEGIN IMMEDIATE")
            async with running(clock, 120.0, step_s=1.0):
                pass
            with pytest.raises(StoreError, match="GW-S003"):
                await say(wire, "held")
            other.execute("COMMIT")
            other.close()
            async with running(clock):
                assert await settled(wire, ticket) == ["accepted"]


#: An hour, and the ten years of a clock without a battery.
JUMPS_S = (3_600.0, 315_000_000.0)


@pytest.mark.parametrize("jump_s", [*JUMPS_S, *(-jump_s for jump_s in JUMPS_S)])
async def test_clocks_that_disagree(tmp_path: Path, jump_s: float) -> None:
    """
    A message goes out at once whose submitter's clock is wrong by an hour or ten years: beside a relay, and before one.

    A relay whose own clock was wrong leaves a check and windows behind that the next one understands.
    """
    wrong = SystemClock(ahead_s=jump_s)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never", clock=wrong) as submitter:
            before = [await say(submitter, f"before {guest}", guest) for guest in ("ann", "bob")]
            async with wired(genesys, tmp_path) as relay:
                beside = await say(submitter, "beside", "ann")
                assert await settled(relay, *before, beside) == ["accepted"] * 3
        genesys.inject("lose_echo", match={"text": "doubtful"})
        patience = msgspec.structs.replace(QUICK, answer_s=0.05, settle_s=PATIENCE_S, shutdown_s=0.1)
        async with wired(genesys, tmp_path, clock=wrong, patience=patience) as first:
            genesys.inject("http_status", times=None, match={"path": "messages"}, status=500)
            doubtful, behind = await say(first, "doubtful"), await say(first, "behind")
            await until(first, "part.checking")
        genesys.clear_faults()
        async with wired(genesys, tmp_path) as second:
            assert await settled(second, doubtful, behind) == ["accepted", "accepted"]
            found = audit(genesys.messages(), await journal_of(second), [*before, beside, doubtful, behind])
        assert (found.violations, found.duplicates) == ([], 0)


async def test_a_relay_that_fails_lets_others_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that ends with a bug is told to whoever waits, and gives the lock back, so that another can go on."""

    async def broken(self: Relay) -> None:
        raise RuntimeError("a bug")

    async with emulator(**FAST) as genesys:
        with monkeypatch.context() as patch:
            patch.setattr(Relay, "_step", broken)
            async with wired(genesys, tmp_path) as wire:
                ticket = await say(wire, "hello")
                with pytest.raises(RuntimeError, match="a bug"):
                    await settled(wire, ticket)
                lock = RelayLock(Folder(tmp_path))
                assert lock.acquire()
                lock.release()
        async with wired(genesys, tmp_path, patience=QUICK) as wire:
            assert await settled(wire, ticket) == ["accepted"]
