"""From `submit` to the agent's screen, when nothing goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
import time
from pathlib import Path

import apsw
import pytest

from guestwire import Delivery, GuestWire, Message, NotFound, PartState, Rejected, RelaySettings
from guestwire.errors import StoreError
from guestwire.settings import Limits
from guestwire.testing import FakeClock, emulator
from tests.journey.auditor import audit, busiest, events_of
from tests.journey.kit import (
    FAST,
    QUICK,
    eventually,
    inbound,
    journal_of,
    on_one_clock,
    say,
    settled,
    story_of,
    until,
    wired,
)


async def test_a_message_arrives_once(tmp_path: Path) -> None:
    """A submitted message appears to the agent once, and the journal tells its way with the gateway's id."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await say(wire, "Where is my order?")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["Where is my order?"]
        assert await story_of(wire, ticket) == ["queued", "sending", "accepted"]
        (part,), entries = await wire.find(ticket.message_id)
        assert part.gateway_id == genesys.messages()[0]["id"] == entries[-1].detail["gateway_id"]
        assert genesys.messages()[0]["tracing_id"] == ticket.part_ids[0]
        status = await wire.message(ticket.message_id)
        assert status.is_accepted
        assert status.is_settled


async def test_guests_get_their_messages_in_their_order(tmp_path: Path) -> None:
    """Many guests talk at once; each one's messages appear in the order of submission, none lost, none twice."""
    async with emulator(**FAST, limits="off") as genesys, wired(genesys, tmp_path, pace=False) as wire:
        tickets = await wire.submit_many(
            Message(guest=f"guest {number % 20}", text=f"message {number}") for number in range(200)
        )
        assert set(await settled(wire, *tickets)) == {"accepted"}
        found = audit(genesys.messages(), await journal_of(wire), tickets)
        assert found.violations == []
        assert found.waiting == []
        assert found.duplicates == 0
        assert len(inbound(genesys)) == 200
        assert len(genesys.conversations()) == 20


async def test_a_lane_in_check_delays_no_other(tmp_path: Path) -> None:
    """While one guest's message is looked for in the history, another guest's goes at once."""
    patience = RelaySettings(answer_s=0.2, settle_s=60.0)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        genesys.inject("close_with", match={"text": "doubtful"})
        doubtful = await say(wire, "doubtful", "ann")
        behind = await say(wire, "behind it", "ann")
        await until(wire, "part.checking")
        other = await say(wire, "another lane", "bob")
        assert await settled(wire, other) == ["accepted"]
        assert (await wire.message(doubtful.message_id)).parts == {PartState.CHECKING: 1}
        assert (await wire.message(behind.message_id)).parts == {PartState.QUEUED: 1}
        assert inbound(genesys) == ["another lane"]


async def test_attributes_arrive_nested(tmp_path: Path) -> None:
    """Custom attributes reach the conversation: in the nested place, the only one the platform reads."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        ticket = await say(wire, "hello", attributes={"order": "17", "tier": "gold"})
        await settled(wire, ticket)
        assert genesys.messages()[0]["custom_attributes"] == {"order": "17", "tier": "gold"}
        assert genesys.conversations()[0]["custom_attributes"] == {"order": "17", "tier": "gold"}


async def test_replies_are_kept_and_given(tmp_path: Path) -> None:
    """What a bot answers is stored with its guest and given by `replies`: of one guest, of all, and from a number."""
    async with emulator(**FAST, script="echo") as genesys, wired(genesys, tmp_path) as wire:
        await say(wire, "first", "ann")
        await say(wire, "other", "bob")
        await until(wire, "reply.received", times=2)
        of_ann = [reply async for reply in wire.replies("ann", follow=False)]
        of_all = [reply async for reply in wire.replies(follow=False)]
        assert len(of_ann) == 1
        assert "first" in (of_ann[0].text or "")
        assert of_ann[0].author == "Bot"
        assert await wire.guest_key(of_ann[0].guest_ref) == "ann"
        assert len(of_all) == 2
        assert [reply async for reply in wire.replies(after=of_all[0].seq, follow=False)] == of_all[1:]
        async with asyncio.timeout(10), contextlib.aclosing(wire.replies(after=of_all[-1].seq)) as coming:
            genesys.say("an agent", nickname="Eve")
            reply = await anext(coming)
            assert (reply.text, reply.nickname, reply.author) == ("an agent", "Eve", "Human")


async def test_replies_of_nobody(tmp_path: Path) -> None:
    """Asking for the replies of a guest who was never written for is an error that says so."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        with pytest.raises(NotFound, match="GW-N003"):
            await anext(wire.replies("nobody", follow=False))


async def test_waiting(tmp_path: Path) -> None:
    """`wait` ends with the time-out if the message does not; `wait_many` and `progress` cover several messages."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("throttle", match={"text": "slow"}, retry_after_s=600)
        slow = await say(wire, "slow")
        assert (await wire.wait(slow, timeout_s=0.2)).is_settled is False
        tickets = [await say(wire, "one", "bob"), await say(wire, "two", "eve")]
        assert [status.is_accepted for status in await wire.wait_many(tickets, timeout_s=10)] == [True, True]
        seen = [entry async for entries in wire.progress(tickets) for entry in entries]
        assert seen == []  # all is over: there is nothing to wait for
        third = await say(wire, "three", "eve")
        async with asyncio.timeout(10):
            seen = [entry async for entries in wire.progress([third]) for entry in entries]
        assert seen[-1].event == "part.accepted" or (await wire.message(third.message_id)).is_accepted


async def test_status(tmp_path: Path) -> None:
    """`status` counts parts by state, names the relay, and shows what every limit held back."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, *[await say(wire, f"text {n}") for n in range(7)])
        status = await wire.status()
        assert status.store.parts == {"accepted": 7}
        assert status.relay == "here"
        assert status.in_flight == 0
        assert status.trouble == {}
        assert status.held["emulator"]["messages_per_s"] > 0
        assert status.figures["emulator"]["sessions"] == 1.0


async def test_nothing_of_a_rejected_message_is_stored(tmp_path: Path) -> None:
    """A message that breaks a rule raises with every finding, and neither it nor its companions are stored."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        with pytest.raises(Rejected) as refused:
            await wire.submit_many(
                [Message(guest="ann", text="fine"), Message(guest="", text=""), Message(guest="bob", text="")]
            )
        assert {finding.path.partition(".")[0] for finding in refused.value.findings} == {"[1]", "[2]"}
        assert len(refused.value.findings) >= 3
        assert (await wire.status()).store.parts == {}
        assert events_of(await journal_of(wire))["part.queued"] == 0
        assert genesys.messages() == []


async def test_the_same_key_is_the_same_message(tmp_path: Path) -> None:
    """Submitting again under one idempotency key gives the first ticket; other content under it is refused."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        first = await say(wire, "once", key="order-17")
        again = await say(wire, "once", key="order-17")
        assert (first.fresh, again.fresh) == (True, False)
        assert again.part_ids == first.part_ids
        with pytest.raises(Rejected, match="GW-R002"):
            await say(wire, "something else", key="order-17")
        await settled(wire, first, again)
        assert inbound(genesys) == ["once"]


async def test_not_before(tmp_path: Path) -> None:
    """A message enters its lane when its time comes, and holds up nothing that was submitted after it."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        in_an_hour = datetime.datetime.fromtimestamp(clock.now() + 3600, datetime.UTC)
        later = await say(wire, "later", not_before=in_an_hour)
        now = await say(wire, "now")
        assert await settled(wire, now) == ["accepted"]
        clock.advance(3500)
        between = await say(wire, "between")
        assert await settled(wire, between) == ["accepted"]
        assert inbound(genesys) == ["now", "between"]
        clock.advance(101)
        assert await settled(wire, later) == ["accepted"]
        assert inbound(genesys) == ["now", "between", "later"]
        assert "entered" in await story_of(wire, later)


async def test_not_before_reaches_a_relay_that_runs(tmp_path: Path) -> None:
    """A message for later, submitted while the relay is idle, goes out at its time."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        assert await settled(wire, await say(wire, "now")) == ["accepted"]
        in_a_minute = datetime.datetime.fromtimestamp(clock.now() + 60, datetime.UTC)
        later = await say(wire, "later", not_before=in_a_minute)
        clock.advance(61)
        assert await settled(wire, later) == ["accepted"]
        assert inbound(genesys) == ["now", "later"]


async def test_a_row_that_does_not_open_stops_nobody_else(tmp_path: Path) -> None:
    """A part whose content was changed on disk is parked with the reason; other guests' messages go on."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never") as wire:
            changed = await say(wire, "changed on disk", "ann")
            other = await say(wire, "as it was", "bob")
        database = apsw.Connection(str(tmp_path / "store.db"))
        database.execute("UPDATE parts SET body = zeroblob(40) WHERE id = ?", (changed.part_ids[0],))
        database.close()
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, changed, other) == ["parked", "accepted"]
        assert inbound(genesys) == ["as it was"]


async def test_whoever_waits_is_told_when_it_is_closed(tmp_path: Path) -> None:
    """A waiter does not hang for ever on something that nobody works on any more."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, relay="never") as wire:
        waiting = asyncio.create_task(wire.wait(await say(wire, "hello")))
        await asyncio.sleep(0)
        await wire.close()
        with pytest.raises(StoreError, match="GW-S006"):
            await asyncio.wait_for(waiting, 5)


async def settled_by(clock: FakeClock, wire: GuestWire, message_id: object, step_s: float = 0.02) -> None:
    """Let a clock run until a message has ended."""
    async with asyncio.timeout(10):
        while not (await wire.message(message_id)).is_settled:  # type: ignore[arg-type]
            clock.advance(step_s)
            await asyncio.sleep(0)


async def test_expires_at(tmp_path: Path) -> None:
    """A message that could not be sent in time is not sent later, and what is behind it goes on."""
    clock = FakeClock(time.time())
    patience = RelaySettings(answer_s=3600, ping_after_s=7200)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock, patience=patience) as wire:
        genesys.inject("throttle", match={"text": "short-lived"}, retry_after_s=120)
        in_a_minute = datetime.datetime.fromtimestamp(clock.now() + 60, datetime.UTC)
        ticket = await say(wire, "short-lived", expires_at=in_a_minute)
        behind = await say(wire, "behind")
        async with asyncio.timeout(10):
            while "throttled" not in await story_of(wire, ticket):
                clock.advance(0.02)
                await asyncio.sleep(0)
        clock.advance(200)
        await settled_by(clock, wire, behind.message_id)
        assert (await wire.message(ticket.message_id)).parts == {PartState.EXPIRED: 1}
        assert inbound(genesys) == ["behind"]


async def test_expires_at_while_nothing_can_be_sent(tmp_path: Path) -> None:
    """Whoever waits for a message is told that it is too old even though the gateway cannot be reached."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        genesys.inject("refuse_upgrade", status=503, times=None, probability=1.0)
        in_a_minute = datetime.datetime.fromtimestamp(clock.now() + 60, datetime.UTC)
        ticket = await say(wire, "short-lived", expires_at=in_a_minute)
        await until(wire, "destination.trouble", after=0)
        clock.advance(61)
        await settled_by(clock, wire, ticket.message_id)
        assert await story_of(wire, ticket) == ["queued", "expired"]
        assert inbound(genesys) == []


async def test_what_is_queued_survives_a_restart(tmp_path: Path) -> None:
    """A message submitted where nobody relays is sent by the next process that does."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never") as wire:
            ticket = await say(wire, "patience")
            assert (await wire.status()).relay == "none"
        assert inbound(genesys) == []
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["patience"]


async def test_a_single_guest_uses_what_the_limits_allow(tmp_path: Path) -> None:
    """Twenty messages of one guest fill every second and overfill none: 95 % of the allowed rate at least."""
    clock = FakeClock(time.time())
    async with on_one_clock(clock, echo_delay_ms=0) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        tickets = await wire.submit_many(Message(guest="ann", text=f"text {n}") for n in range(20))
        for count in (5, 10, 15, 20):
            await until(wire, "part.accepted", times=count)  # in no time, however slow the machine
            clock.advance(1.0)
        assert set(await settled(wire, *tickets)) == {"accepted"}
        most = busiest(genesys.requests())
        assert most.messages_per_s == 5
        assert most.requests_per_min <= 60
        assert genesys.state()["throttles"] == {}
        times = [message["received_at"] for message in genesys.messages()]
        # The first five at once, then five each second: the last leaves when three full seconds have gone.
        assert (times[-1] - times[0]) <= 3.0 / 0.95
        assert audit(genesys.messages(), await journal_of(wire), tickets).violations == []


async def test_many_guests_stay_under_every_limit(tmp_path: Path) -> None:
    """Twenty messages for twenty guests and a bound on connects: no window is overfull, none is throttled."""
    limits = Limits(messages_per_s=2, connects_per_min=20)
    async with (
        emulator(**FAST, messages_per_second=2, connects_per_minute=20) as genesys,
        wired(genesys, tmp_path, limits=limits) as wire,
    ):
        tickets = await wire.submit_many(Message(guest=f"g{n % 20}", text=f"text {n}") for n in range(60))
        assert set(await settled(wire, *tickets)) == {"accepted"}
        most = busiest(genesys.requests())
        assert most.messages_per_s <= 2
        assert most.connects_per_min == 20
        assert genesys.state()["throttles"] == {}


async def test_connects_wait_for_their_window(tmp_path: Path) -> None:
    """With more guests than connects a minute, the rest waits for the window; nothing is refused by the gateway."""
    clock = FakeClock(time.time())
    limits = Limits(connects_per_min=5)
    async with (
        emulator(**FAST, connects_per_minute=5) as genesys,
        wired(genesys, tmp_path, clock=clock, limits=limits) as wire,
    ):
        tickets = await wire.submit_many(Message(guest=f"g{n}", text="hi") for n in range(8))
        async with asyncio.timeout(10):
            while len(inbound(genesys)) < 5:
                # However slow the machine: less than a minute of this clock, or the window would have passed.
                clock.advance(0.0001)
                await asyncio.sleep(0)
        assert busiest(genesys.requests()).connects_per_min == 5
        genesys.advance(61)
        clock.advance(61)
        for ticket in tickets:
            await settled_by(clock, wire, ticket.message_id)
        most = busiest(genesys.requests())
        assert most.connects_per_min == 5
        assert genesys.state()["upgrades_refused"] == 0


async def test_every_request_counts_against_the_minute(tmp_path: Path) -> None:
    """Closing and configuring anew after a read-only end count against the minute as messages do."""
    clock = FakeClock(time.time())
    limits = Limits(requests_per_min=12, messages_per_s=100)
    async with (
        emulator(**FAST, requests_per_minute=12, messages_per_second=100) as genesys,
        wired(genesys, tmp_path, clock=clock, limits=limits) as wire,
    ):
        for n in range(3):
            ticket = await say(wire, f"conversation {n}")
            await settled_by(clock, wire, ticket.message_id)
            genesys.disconnect(read_only=True)
            await eventually_read_only(clock, wire, n + 1)
        await wire.submit_many(Message(guest="ann", text=f"text {n}") for n in range(10))
        async with asyncio.timeout(20):
            while len(inbound(genesys)) < 13:
                genesys.advance(0.5)
                clock.advance(0.5)
                await asyncio.sleep(0)
        assert genesys.state()["throttles"] == {}
        assert busiest(genesys.requests()).requests_per_min <= 12


async def eventually_read_only(clock: FakeClock, wire: GuestWire, times: int) -> None:
    """Let a clock run until the session was ended so many times."""
    async with asyncio.timeout(10):
        while events_of(await journal_of(wire))["session.read_only"] < times:
            clock.advance(0.02)
            await asyncio.sleep(0)


async def test_delivery_can_be_chosen_per_message(tmp_path: Path) -> None:
    """`delivery` of a message overrides the destination's."""
    async with (
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path, delivery=Delivery.AT_MOST_ONCE) as wire,
    ):
        genesys.inject("drop_before_accept", match={"text": "fragile"})
        genesys.inject("drop_before_accept", match={"text": "sturdy"})
        fragile = await say(wire, "fragile", "ann")
        sturdy = await say(wire, "sturdy", "bob", delivery=Delivery.AT_LEAST_ONCE)
        assert await settled(wire, fragile, sturdy) == ["parked", "accepted"]


async def test_closing_waits_for_what_is_in_flight(tmp_path: Path) -> None:
    """`close` lets a message that has left get its echo; the next start finds nothing to check."""
    async with emulator(echo_delay_ms=200, history_lag_s=0.02) as genesys:
        async with wired(genesys, tmp_path, patience=QUICK) as wire:
            ticket = await say(wire, "on its way")
            await eventually(lambda: inbound(genesys))
        async with wired(genesys, tmp_path, relay="never") as wire:
            assert await story_of(wire, ticket) == ["queued", "sending", "accepted"]


@pytest.mark.parametrize("steps", range(6))
async def test_giving_up_while_opening_leaves_nothing_behind(tmp_path: Path, steps: int) -> None:
    """Cancelled as it opens, a `GuestWire` closes its store before it lets go: no thread goes on writing files."""
    async with emulator(**FAST) as genesys:
        before = threading.active_count()
        opening = asyncio.create_task(wired(genesys, tmp_path).__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        assert threading.active_count() == before
