"""Errands: what a guest's client does beside talking, in its turn among his messages."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guestwire import Attachment, AuthenticationError, GuestWireError, PartState, RelaySettings, relay
from guestwire.settings import RetrySettings
from guestwire.testing import emulator
from tests.journey.auditor import events_of
from tests.journey.kit import FAST, QUICK, eventually, inbound, journal_of, say, settled, until, wired

AGAIN = RetrySettings(base_s=0.01, cap_s=0.05)


def requests(genesys: Any, action: str) -> int:
    """How many requests of a kind the gateway saw."""
    return int(genesys.state()["requests"].get(action, 0))


async def test_closing_ends_the_session_behind_what_is_queued(tmp_path: Path) -> None:
    """Two messages, a close, a message: the gateway sees them in this order, and the last begins anew."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        first, second = await say(wire, "one"), await say(wire, "two")
        closing = asyncio.create_task(wire.guests.close("ann"))
        await until(wire, "errand.queued")
        third = await say(wire, "three")
        await closing
        assert await settled(wire, first, second, third) == ["accepted"] * 3
        assert inbound(genesys) == ["one", "two", "three"]
        order = [request["action"] for request in genesys.requests()]
        assert order.index("closeSession") == [n for n, action in enumerate(order) if action == "onMessage"][1] + 1
        assert requests(genesys, "closeSession") == 1


async def test_clearing_forgets_the_conversation(tmp_path: Path) -> None:
    """Where it is allowed, the platform wipes the conversation, closes it, and the next message opens a new one."""
    async with emulator(**FAST, clear_enabled=True) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "my secret"))
        await wire.guests.clear("ann")
        assert await settled(wire, await say(wire, "hello again")) == ["accepted"]
        assert inbound(genesys)[-1] == "hello again"
        assert genesys.state()["sessions_created"] == 2
        events = events_of(await journal_of(wire))
        assert (events["session.cleared"], events["errand.done"]) == (1, 1)


async def test_clearing_where_it_is_switched_off(tmp_path: Path) -> None:
    """The deployment's flag is honoured: nothing is asked of the gateway, and the caller learns why."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        with pytest.raises(GuestWireError, match="switched off") as caught:
            await wire.guests.clear("ann")
        assert caught.value.code == "GW-G001"
        assert requests(genesys, "onMessage") == 1
        assert await settled(wire, await say(wire, "still here")) == ["accepted"]


async def test_a_new_conversation_on_demand(tmp_path: Path) -> None:
    """`start_new` replaces the session; messages before and after it each have their own."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "one"))
        await wire.guests.start_new("ann")
        await settled(wire, await say(wire, "two"))
        assert genesys.state()["sessions_created"] == 2
        assert len(genesys.conversations()) == 2


async def test_join_carries_attributes_and_comes_once(tmp_path: Path) -> None:
    """A new session of a deployment with autoStart is joined with the given attributes; a second Join is refused."""
    async with emulator(**FAST, auto_start=True) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.join("ann", {"topic": "bills"})
        assert genesys.conversations()[0]["custom_attributes"] == {"topic": "bills"}
        await settled(wire, await say(wire, "hello"))
        assert requests(genesys, "onMessage") == 2
        await wire.guests.close("ann")
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path / "other") as wire:
        with pytest.raises(GuestWireError, match="not new"):
            await wire.guests.join("ann")


async def test_typing_goes_out_now_and_then(tmp_path: Path) -> None:
    """At most once in five seconds, and only where the deployment wants it; a message is not held up by it."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        assert not await wire.guests.typing("ann")  # no session
        await settled(wire, await say(wire, "hello"))
        async with asyncio.timeout(10):
            while not await wire.guests.typing("ann"):  # noqa: ASYNC110 - the deployment's flags are being read
                await asyncio.sleep(0)
        assert not await wire.guests.typing("ann")
        assert await settled(wire, await say(wire, "there it is")) == ["accepted"]
        assert requests(genesys, "onMessage") == 3
        assert inbound(genesys) == ["hello", "there it is"]
    async with emulator(**FAST, typing_enabled=False) as genesys, wired(genesys, tmp_path / "other") as wire:
        await settled(wire, await say(wire, "hello"))
        for _ in range(3):
            assert not await wire.guests.typing("ann")
            await asyncio.sleep(0)
        assert requests(genesys, "onMessage") == 1


# --- signing in ---


async def test_an_anonymous_guest_signs_in_during_the_conversation(tmp_path: Path) -> None:
    """Step-up: the same session goes on, its messages are a known person's, and the tokens outlive the process."""
    async with emulator(**FAST, auth_enabled=True) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back", code_verifier="v")
            assert await settled(wire, await say(wire, "it is me")) == ["accepted"]
            assert genesys.messages()[-1]["metadata"].get("authenticated") == "true"
            assert (await wire.guests.show("ann")).is_signed_in
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, await say(wire, "still me")) == ["accepted"]
            assert requests(genesys, "configureAuthenticatedSession") == 2
    for path in tmp_path.glob("*.db*"):  # noqa: ASYNC240 - nothing waits
        assert b"eyJ" not in path.read_bytes()


async def test_a_message_waits_for_its_guest_to_sign_in(tmp_path: Path) -> None:
    """Where only known persons may write, a message waits, with one attempt spent, and goes out after the sign-in."""
    async with emulator(**FAST, auth_enabled=True) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        ticket = await say(wire, "who am I?")
        await until(wire, "session.sign_in_needed")
        await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back")
        assert await settled(wire, ticket) == ["accepted"]
        (part,), _ = await wire.find(ticket.message_id)
        assert part.attempt == 2
        assert genesys.messages()[-1]["metadata"].get("authenticated") == "true"


async def test_a_jwt_that_is_too_old_is_renewed(tmp_path: Path) -> None:
    """401 on configure: the refresh token brings a new JWT, and the message goes out without anybody's doing."""
    async with emulator(**FAST, auth_enabled=True, auth_jwt_life_s=60) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back")
            await settled(wire, await say(wire, "one"))
        genesys.advance(120)
        async with wired(genesys, tmp_path) as wire:
            assert await settled(wire, await say(wire, "two")) == ["accepted"]
            assert genesys.messages()[-1]["metadata"].get("authenticated") == "true"


async def test_a_sign_in_that_is_refused(tmp_path: Path) -> None:
    """The caller learns that it was refused and what to do; neither code nor token is in the error or the journal."""
    async with emulator(**FAST, auth_enabled=True) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        genesys.inject("http_status", match={"path": "oauthcodegrantjwtexchange"}, status=400)
        with pytest.raises(AuthenticationError) as caught:
            await wire.guests.sign_in("ann", code="canary-code", redirect_uri="https://shop.example/back")
        assert caught.value.code == "GW-A005"
        assert "canary" not in str(caught.value) + str(await journal_of(wire))


async def test_signing_out_ends_the_session_everywhere(tmp_path: Path) -> None:
    """Revoked: the platform logs every device out; the next message goes out under a token of its own."""
    async with emulator(**FAST, auth_enabled=True) as genesys, wired(genesys, tmp_path / "in") as wire:
        await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back")
        await settled(wire, await say(wire, "one"))
        await wire.guests.sign_out("ann")
        await until(wire, "session.token_replaced")
        assert not (await wire.guests.show("ann")).is_signed_in


# --- lives of sessions ---


async def test_an_expiry_is_announced(tmp_path: Path) -> None:
    """A connected session that will expire soon is told in time, once for each moment."""
    patience = RelaySettings(expiry_warning_s=1.5, reconnect_base_s=0.02)
    async with emulator(**FAST, session_duration_s=3) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        await settled(wire, await say(wire, "hello"))
        entry = await until(wire, "session.expiring")
        assert entry.detail["expires_at"] > entry.at


async def test_the_same_guest_in_another_program_evicts_us_and_is_left_alone(tmp_path: Path) -> None:
    """A fourth connection takes ours: the journal says so, the lane pauses, nobody is evicted in turn."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.follow("ann")
        await settled(wire, await say(wire, "hello"))
        genesys.trigger("evict")
        await until(wire, "session.evicted")
        ticket = await say(wire, "waits")
        await until(wire, "lane.paused")
        assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
        assert genesys.state()["evictions"] <= 1
        assert genesys.state()["connections_opened"] == 1


async def test_a_failing_errand_is_tried_again(tmp_path: Path) -> None:
    """A connection that is lost as an errand is under way: it is done on the next one, once."""
    async with emulator(**FAST, clear_enabled=True) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.inject("drop_before_accept", match={"action": "closeSession"})
        await wire.guests.close("ann")
        assert requests(genesys, "closeSession") == 2
        assert events_of(await journal_of(wire))["errand.done"] == 1


async def test_an_errand_survives_its_process(tmp_path: Path) -> None:
    """Asked for while nobody relays, it is done by the next relay, in its turn."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never") as wire:
            await say(wire, "hello")
            asking = asyncio.create_task(wire.guests.close("ann"))
            await until(wire, "errand.queued")
            asking.cancel()
        async with wired(genesys, tmp_path) as wire:
            await until(wire, "errand.done")
            assert inbound(genesys) == ["hello"]


# --- when things come together ---


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("throttle", {"retry_after_s": 1}),
        ("error_frame", {"code": 5000}),
        ("expire_session", {}),
    ],
)
async def test_a_close_that_is_not_taken_ends_all_the_same(tmp_path: Path, kind: str, fault: dict[str, Any]) -> None:
    """Refused for a moment it is tried again; an expired session is closed; either way the lane goes on."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.inject(kind, match={"action": "closeSession"}, **fault)
        await wire.guests.close("ann")
        assert await settled(wire, await say(wire, "again")) == ["accepted"]


async def test_closing_nothing_asks_nobody(tmp_path: Path) -> None:
    """A guest without a session: no connection is made, no conversation begun, to end it."""
    async with emulator(**FAST, auto_start=True) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.close("ann")
        assert genesys.requests() == []
        with pytest.raises(GuestWireError, match="no conversation"):
            await wire.guests.clear("ann")


async def test_a_message_of_another_process_does_not_overtake_an_errand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for and submitted between two looks of the relay: the store keeps the order, which the relay cannot."""
    monkeypatch.setattr(relay, "POLL_EVERY_S", 2.0)
    async with (
        emulator(**{**FAST, "echo_delay_ms": "300"}) as genesys,
        wired(genesys, tmp_path, patience=RelaySettings()) as wire,
        wired(genesys, tmp_path, relay="never") as other,
    ):
        await settled(wire, await say(wire, "zero"))
        first = await say(wire, "one")
        await until(wire, "part.sending", times=2)
        closing = asyncio.create_task(other.guests.close("ann"))
        await until(other, "errand.queued")
        second = await say(other, "two")
        assert await settled(wire, first, second) == ["accepted", "accepted"]
        await closing
        actions = [request["action"] for request in genesys.requests() if request["action"].startswith(("on", "close"))]
        assert actions == ["onMessage", "onMessage", "closeSession", "onMessage"]


async def test_more_errands_than_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for few lanes in memory, errands that wait in the store have their turn all the same."""
    monkeypatch.setattr(relay, "MAX_LANES", 5)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, relay="never") as wire:
            asking = [asyncio.create_task(wire.guests.close(f"guest {number}")) for number in range(17)]
            await until(wire, "errand.queued", times=17)
            for task in asking:
                task.cancel()
        async with wired(genesys, tmp_path) as wire:
            await until(wire, "errand.done", times=17)


async def test_an_errand_in_front_does_not_keep_a_message_from_expiring(tmp_path: Path) -> None:
    """While nothing can be reached, whoever waits for a message that became too old is told in time."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.inject("refuse_upgrade", status=503, times=None)
        genesys.trigger("drop")
        closing = asyncio.create_task(wire.guests.close("ann"))
        await until(wire, "errand.queued")
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.5)
        assert await settled(wire, await say(wire, "short-lived", expires_at=soon)) == ["expired"]
        closing.cancel()


async def test_a_refused_upload_behind_which_an_errand_waits_does_not_spin(tmp_path: Path) -> None:
    """A file that became too old as it was uploaded: what is behind it goes on, without asking the store in a loop."""
    async with (
        emulator(**{**FAST, "upload_event_delay_ms": "4000"}) as genesys,
        wired(genesys, tmp_path, retry=AGAIN) as wire,
    ):
        await settled(wire, await say(wire, "hello"))
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.5)
        picture = Attachment("a.txt", b"x")
        await say(wire, "file", expires_at=soon, attachments=(picture,))
        closing = asyncio.create_task(wire.guests.close("ann"))
        await until(wire, "errand.queued")
        behind = await say(wire, "behind")
        before = wire._writer.commits
        assert await settled(wire, behind) == ["accepted"]
        await closing
        assert wire._writer.commits - before < 60


async def test_the_code_of_a_sign_in_is_used_once(tmp_path: Path) -> None:
    """The connection is lost while the code is exchanged: the exchange goes on, and its tokens are used."""
    async with emulator(**FAST, auth_enabled=True) as genesys, wired(genesys, tmp_path, retry=AGAIN) as wire:
        await wire.guests.sign_in("ann", code="c0", redirect_uri="https://shop.example/back")
        await settled(wire, await say(wire, "hello"))
        genesys.inject("slow_http", match={"path": "oauthcodegrantjwtexchange"}, delay_ms=400, times=None)
        signing = asyncio.create_task(wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back"))
        await until(wire, "errand.queued", times=2)
        genesys.trigger("drop")
        await signing
        (fault,) = genesys.faults()
        assert fault["fired"] == 1
        assert await settled(wire, await say(wire, "it is me")) == ["accepted"]


async def test_a_sign_in_outlives_an_eviction(tmp_path: Path) -> None:
    """A followed, signed-in guest who was evicted comes back after the pause as the person that he is."""
    patience = msgspec.structs.replace(QUICK, evicted_retry_s=0.3)
    async with (
        emulator(**FAST, auth_enabled=True) as genesys,
        wired(genesys, tmp_path, patience=patience, retry=AGAIN) as wire,
    ):
        await wire.guests.follow("ann")
        await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back")
        await settled(wire, await say(wire, "hello"))
        seen = (await journal_of(wire))[-1].seq
        genesys.trigger("evict")
        await until(wire, "session.configured", after=seen)
        assert (await wire.guests.show("ann")).is_signed_in
        assert await settled(wire, await say(wire, "still me")) == ["accepted"]
        assert genesys.messages()[-1]["metadata"].get("authenticated") == "true"


async def test_signing_out_with_tokens_that_are_too_old(tmp_path: Path) -> None:
    """What the platform cannot revoke any more is forgotten here."""
    async with emulator(**FAST, auth_enabled=True, auth_jwt_life_s=60) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.sign_in("ann", code="c1", redirect_uri="https://shop.example/back")
        await settled(wire, await say(wire, "hello"))
        genesys.advance(120)
        await wire.guests.sign_out("ann")
        assert not (await wire.guests.show("ann")).is_signed_in


async def test_a_join_that_went_without_its_attributes_is_told(tmp_path: Path) -> None:
    """The session was joined before anybody named attributes: saying that they went would be a lie."""
    async with emulator(**FAST, auto_start=True) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.follow("ann")
        await until(wire, "session.joined")
        with pytest.raises(GuestWireError, match="without these attributes"):
            await wire.guests.join("ann", {"topic": "bills"})
        assert genesys.conversations()[0]["custom_attributes"] == {}


async def test_a_message_that_comes_as_the_session_is_asked_after(tmp_path: Path) -> None:
    """A health check that is refused: the message that found the session busy goes out, without another event."""
    async with emulator(**FAST, session_duration_s=2) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.inject("error_frame", match={"action": "echo"}, code=5000)
        await eventually(lambda: requests(genesys, "echo"))
        assert await settled(wire, await say(wire, "are you there?")) == ["accepted"]
