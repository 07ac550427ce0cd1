"""What becomes of a guest's session: resumed, replaced, ended by the agent, taken by somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec
import pytest

from guestwire import GuestWire, PartState, RelaySettings
from guestwire.settings import RetrySettings
from guestwire.testing import FakeClock, emulator
from tests.contract.test_emulator_kit import raw_guest
from tests.journey.auditor import audit, events_of
from tests.journey.kit import FAST, QUICK, eventually, inbound, journal_of, say, settled, story_of, until, wired
from tests.journey.test_faults import running

AGAIN = RetrySettings(base_s=0.01, cap_s=0.05)


async def token_of(wire: GuestWire, guest: str = "ann") -> str:
    """The session token in the store: what a second program of the same guest would have."""
    guest_ref = await wire.guest_ref(guest)
    (lane,) = await wire.store_read(lambda store: store.lanes([guest_ref]))
    return lane.token


async def test_a_session_is_resumed_after_a_restart(tmp_path: Path) -> None:
    """The next process goes on with the same session and conversation; the journal says that it is no new one."""
    async with emulator(**FAST) as genesys:
        tickets = []
        for number in range(2):
            async with wired(genesys, tmp_path) as wire:
                tickets.append(await say(wire, f"process {number}"))
                assert await settled(wire, tickets[-1]) == ["accepted"]
                entries = [entry for entry in await journal_of(wire) if entry.event == "session.configured"]
                assert [entry.detail["new_session"] for entry in entries] == [True, False][: number + 1]
        assert inbound(genesys) == ["process 0", "process 1"]
        assert len(genesys.conversations()) == 1


async def test_join_comes_once(tmp_path: Path) -> None:
    """With autoStart a new session begins with one Join; a resumed one has none."""
    async with emulator(**FAST, auto_start=True, script="echo") as genesys:
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, await say(wire, "first"), await say(wire, "second")) == ["accepted"] * 2
            assert events_of(await journal_of(wire))["session.joined"] == 1
            assert genesys.state()["requests"]["onMessage"] == 3
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, await say(wire, "third")) == ["accepted"]
            assert events_of(await journal_of(wire))["session.joined"] == 1
        assert genesys.state()["requests"]["onMessage"] == 4
        assert inbound(genesys) == ["first", "second", "third"]


async def test_an_unreadable_configuration_holds_nobody_up(tmp_path: Path) -> None:
    """A deployment whose public configuration cannot be read is taken for one without autoStart; the journal knows."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("http_status", match={"path": "config.json"}, times=None, status=500)
        assert await settled(wire, await say(wire, "hello")) == ["accepted"]
        assert events_of(await journal_of(wire))["config.unreadable"] == 1


async def test_the_agent_ends_the_conversation_for_good(tmp_path: Path) -> None:
    """After a read-only disconnect the next message closes the old session, starts a new one, and arrives."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "before"))
        genesys.disconnect(read_only=True)
        await until(wire, "session.read_only")
        assert await settled(wire, await say(wire, "after")) == ["accepted"]
        assert inbound(genesys) == ["before", "after"]
        assert len(genesys.conversations()) == 2
        assert genesys.state()["requests"]["closeSession"] == 1


async def test_a_lost_answer_is_looked_up_before_the_next_conversation(tmp_path: Path) -> None:
    """A session that became read-only while a message is in check still gives its history; then the next begins."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        genesys.inject("drop_after_accept")
        lost = await say(wire, "arrived, and nobody said so")
        behind = await say(wire, "of the next conversation")
        await until(wire, "session.lost")
        genesys.disconnect(read_only=True)
        assert await settled(wire, lost, behind) == ["accepted", "accepted"]
        assert await story_of(wire, lost) == ["queued", "sending", "checking", "accepted"]
        assert inbound(genesys) == ["arrived, and nobody said so", "of the next conversation"]
        assert len(genesys.conversations()) == 2


async def test_a_read_only_session_is_met_at_the_next_start(tmp_path: Path) -> None:
    """A session that was ended while nobody listened is replaced by the next message, which arrives."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "before"))
        genesys.disconnect(read_only=True)
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, await say(wire, "after")) == ["accepted"]
        assert inbound(genesys) == ["before", "after"]


async def test_the_agent_ends_the_conversation_for_now(tmp_path: Path) -> None:
    """After a disconnect that leaves the guest free to write, his next message opens the next conversation."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "before"))
        genesys.disconnect(read_only=False)
        await until(wire, "session.disconnected")
        assert await settled(wire, await say(wire, "after")) == ["accepted"]
        assert inbound(genesys) == ["before", "after"]
        assert "closeSession" not in genesys.state()["requests"]


async def test_an_expired_session_takes_its_history_with_it(tmp_path: Path) -> None:
    """An attempt of unknown fate whose session is replaced cannot be settled: sent again, recorded as possible."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "before"))
        genesys.inject("drop_after_accept", match={"text": "doubtful"})
        genesys.inject("expire_session", match={"action": "getJwt"})
        ticket = await say(wire, "doubtful")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["before", "doubtful", "doubtful"]
        doubt = next(entry for entry in await journal_of(wire) if entry.event == "part.possible_duplicate")
        assert "session was replaced" in doubt.detail["reason"]
        found = audit(genesys.messages(), await journal_of(wire), [ticket])
        assert found.unexplained == []


async def test_a_session_that_expires_in_silence(tmp_path: Path) -> None:
    """A message for a session that ran out meanwhile goes out in a new one, once."""
    async with emulator(**FAST, session_duration_s=100) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "before"))
        genesys.advance(101)
        ticket = await say(wire, "after")
        assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["before", "after"]
        assert genesys.state()["sessions_created"] == 2


async def test_eviction_pauses_the_lane(tmp_path: Path) -> None:
    """Evicted by a fourth connection, we do not come back to evict another: the lane pauses, then tries once."""
    clock = FakeClock(time.time())
    patience = RelaySettings(evicted_retry_s=300, settle_s=5)
    async with (
        emulator(**FAST) as genesys,
        wired(genesys, tmp_path, clock=clock, patience=patience) as wire,
        contextlib.AsyncExitStack() as others,
    ):
        async with running(clock):
            await settled(wire, await say(wire, "before"))
        token = await token_of(wire)
        for _ in range(3):
            await others.enter_async_context(raw_guest(genesys, token))
        async with running(clock, 10.0):
            await until(wire, "session.evicted")
            ticket = await say(wire, "meanwhile")
            other = await say(wire, "another guest", "bob")
            await until(wire, "lane.paused")
            assert await settled(wire, other) == ["accepted"]
        connections = genesys.state()["connections_opened"]
        async with running(clock, 200.0):
            pass
        assert genesys.state()["connections_opened"] == connections
        assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
        assert genesys.state()["evictions"] == 1
        async with running(clock):
            assert await settled(wire, ticket) == ["accepted"]
        assert genesys.state()["evictions"] == 2
        assert inbound(genesys) == ["before", "another guest", "meanwhile"]


async def test_eviction_with_a_message_on_its_way(tmp_path: Path) -> None:
    """A message in flight at the eviction waits visibly and is found in the history after the pause."""
    patience = msgspec.structs.replace(QUICK, evicted_retry_s=0.5, answer_s=5.0)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        await settled(wire, await say(wire, "before"))
        token = await token_of(wire)
        genesys.inject("lose_echo")
        ticket = await say(wire, "in flight")
        await eventually(lambda: len(inbound(genesys)) == 2)
        async with contextlib.AsyncExitStack() as others:
            for _ in range(3):
                await others.enter_async_context(raw_guest(genesys, token))
            assert await settled(wire, ticket) == ["accepted"]
        assert await story_of(wire, ticket) == ["queued", "sending", "checking", "accepted"]
        assert inbound(genesys) == ["before", "in flight"]


async def test_an_echo_on_another_socket_of_the_session(tmp_path: Path) -> None:
    """A second program of the same guest does not disturb: its messages are nobody's of ours."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "ours"))
        async with raw_guest(genesys, await token_of(wire)) as other:
            await other.say("theirs", tracing_id="11111111-2222-4333-8444-555555555555")
            ticket = await say(wire, "ours again")
            assert await settled(wire, ticket) == ["accepted"]
        assert inbound(genesys) == ["ours", "theirs", "ours again"]
        assert (await wire.status()).store.duplicates_seen == 0


async def test_theirs_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A check does not take another program's equal text, sent before ours was lost, for a lost one of ours twice."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "yes"))
        genesys.inject("drop_after_accept", match={"text": "yes"})
        tickets = [await say(wire, "yes"), await say(wire, "yes")]
        assert await settled(wire, *tickets) == ["accepted"] * 2
        assert inbound(genesys) == ["yes"] * 3
        names = [part.gateway_id for part in await wire.parts()]
        assert len(set(names)) == 3


async def test_logout_replaces_the_token(tmp_path: Path) -> None:
    """After a LogoutEvent the old token is never used again; what comes next goes out under a new one."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "before"))
        old = await token_of(wire)
        genesys.trigger("logout")
        await until(wire, "session.token_replaced")
        ticket = await say(wire, "after")
        assert await settled(wire, ticket) == ["accepted"]
        assert await token_of(wire) != old
        assert inbound(genesys) == ["before", "after"]
        assert len({message["token_sha256"] for message in genesys.messages()}) == 2


async def test_logout_with_a_message_on_its_way(tmp_path: Path) -> None:
    """Logged out while a message is in flight, its fate stays unknown: sent again under the new token, on record."""
    patience = msgspec.structs.replace(QUICK, answer_s=5.0)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "before"))
        genesys.inject("lose_echo")
        ticket = await say(wire, "in flight")
        await eventually(lambda: len(inbound(genesys)) == 2)
        genesys.trigger("logout")
        assert await settled(wire, ticket) == ["accepted"]
        found = audit(genesys.messages(), await journal_of(wire), [ticket])
        assert found.unexplained == []
        assert "possible_duplicate" in await story_of(wire, ticket)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_silent_gateway_is_noticed(tmp_path: Path, times: int) -> None:
    """A peer that answers neither messages nor pings is dropped after the two waits, and the journal says so."""
    patience = msgspec.structs.replace(QUICK, answer_s=5.0, ping_after_s=0.1, dead_after_s=0.1)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire:
        genesys.inject("silent_peer", times=times)
        ticket = await say(wire, "hello?")
        assert await settled(wire, ticket) == ["accepted"]
        events = events_of(await journal_of(wire))
        assert events["session.silent"] == times
        assert inbound(genesys) == ["hello?"]


async def test_an_idle_connection_is_let_go(tmp_path: Path) -> None:
    """A guest with nothing to say keeps his connection for replies, for `linger_s`; then it is closed."""
    clock = FakeClock(time.time())
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, clock=clock) as wire:
        async with running(clock):
            await settled(wire, await say(wire, "hello"))
        assert genesys.state()["connections_open"] == 1
        async with running(clock, step_s=0.5):
            await eventually(lambda: genesys.state()["connections_open"] == 0)
            assert await settled(wire, await say(wire, "again")) == ["accepted"]
        assert len(genesys.conversations()) == 1


async def test_closing_does_not_wait_for_a_gateway_that_is_gone(tmp_path: Path) -> None:
    """`close` ends although a message has no answer and the peer is mute; the part is checked at the next start."""
    patience = msgspec.structs.replace(QUICK, answer_s=60.0, shutdown_s=0.3)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, patience=patience) as wire:
            genesys.inject("silent_peer", accept=True)
            ticket = await say(wire, "hello")
            await eventually(lambda: inbound(genesys))
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 3
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, ticket) == ["accepted"]
            assert (await story_of(wire, ticket))[-2:] == ["checking", "accepted"]
        assert inbound(genesys) == ["hello"]
