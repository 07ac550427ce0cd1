"""Sessions as an outside client meets them: configure, resume, evict, expire, end."""

from __future__ import annotations

import pytest
import websockets
from websockets.asyncio.client import connect

from guestwire.testing import emulator
from tests.contract.test_emulator_kit import history, http, raw_guest


async def test_new_session_then_resumed() -> None:
    """A token that was never seen gets a new session; the same token gets it back, with production's fields."""
    async with emulator() as genesys:
        async with raw_guest(genesys, "t", configure=False) as guest:
            body = (await guest.configure(tracingId="c1"))["body"]
            assert (body["connected"], body["newSession"], body["readOnly"]) == (True, True, False)
            assert body["allowedMedia"] == {"inbound": {"fileTypes": [{"type": "*/*"}], "maxFileSizeKB": 10240}}
            assert body["maxCustomDataBytes"] == 2048
            assert body["durationSeconds"] == 259200
            assert abs(body["expirationDate"] - genesys.now() - 259200) < 5
        async with raw_guest(genesys, "t", configure=False) as guest:
            frame = await guest.configure(tracingId="c2")
            assert frame["tracingId"] == "c2"
            assert frame["body"]["newSession"] is False


async def test_minimal_configure_without_tracing_id() -> None:
    """Three keys are enough, and an answer has no tracing id that was not given."""
    async with emulator() as genesys, raw_guest(genesys, configure=False) as guest:
        frame = await guest.configure()
        assert "tracingId" not in frame


async def test_message_before_configure_is_4007() -> None:
    """Every request but configure needs a session."""
    async with emulator() as genesys, raw_guest(genesys, configure=False) as guest:
        frame = await guest.say("too early", "m1")
        assert (frame["class"], frame["code"], frame["tracingId"]) == ("string", 4007, "m1")


async def test_echo_goes_to_every_connection() -> None:
    """Messages, the guest's own included, fan out to all connections of the session, and to no other."""
    async with (
        emulator() as genesys,
        raw_guest(genesys, "t") as first,
        raw_guest(genesys, "t") as second,
        raw_guest(genesys, "other") as stranger,
    ):
        echo = await first.say("hello", "m1")
        assert await second.recv() == echo
        genesys.say("hi", token="t")
        assert (await first.recv())["body"]["direction"] == "Outbound"
        assert (await second.recv())["body"]["text"] == "hi"
        assert (await stranger.settle())["class"] == "GetConfigurationResponse"


async def test_echo_can_hide_the_tracing_id_from_others() -> None:
    """Whether other connections see the tracing id is a setting: nobody outside knows."""
    async with (
        emulator(echo_tracing_id_to_other_connections=False) as genesys,
        raw_guest(genesys, "t") as first,
        raw_guest(genesys, "t") as second,
    ):
        assert (await first.say("hello", "m1"))["tracingId"] == "m1"
        assert "tracingId" not in await second.recv()


async def test_fourth_connection_evicts_the_oldest() -> None:
    """A session has three connections; the fourth closes the oldest with ConnectionClosedEvent."""
    async with (
        emulator() as genesys,
        raw_guest(genesys, "t") as first,
        raw_guest(genesys, "t") as second,
        raw_guest(genesys, "t"),
        raw_guest(genesys, "t") as fourth,
    ):
        assert (await first.recv())["class"] == "ConnectionClosedEvent"
        assert await first.lost() == 1001
        echo = await second.say("still here", "m1")
        assert await fourth.recv() == echo
        assert genesys.state()["evictions"] == 1


async def test_nothing_is_replayed() -> None:
    """What was said while nobody was connected is in the history only."""
    async with emulator(history_lag_s=0) as genesys:
        async with raw_guest(genesys, "t") as guest:
            await guest.say("hello")
        genesys.say("are you there?", token="t")
        async with raw_guest(genesys, "t") as guest:
            assert (await guest.settle())["tracingId"] == "settle"
            page = await history(genesys, guest)
            assert [entity["text"] for entity in page["entities"]] == ["are you there?", "hello"]


async def test_expiry_is_told_lazily_and_replaced_silently() -> None:
    """The first request after expiry gets SessionExpiredEvent, later ones 4006; configuring makes a new session."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        genesys.advance(259_199)
        assert (await guest.say("just in time"))["class"] == "StructuredMessage"
        genesys.advance(259_199)
        assert (await guest.ask("echo", message={"type": "Text", "text": "ping"}))["class"] == "StructuredMessage"
        genesys.advance(2)
        assert (await guest.ask("echo", message={"type": "Text", "text": "ping"}))["class"] == "SessionExpiredEvent"
        assert (await guest.say("too late"))["code"] == 4006
        assert (await guest.configure())["body"]["newSession"] is True
        assert genesys.state()["sessions_expired"] == 1


async def test_agent_extends_the_session() -> None:
    """A message in either direction keeps a session alive."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        genesys.advance(200_000)
        genesys.say("still with you", token="t")
        await guest.recv()
        genesys.advance(200_000)
        assert (await guest.say("yes"))["class"] == "StructuredMessage"


async def test_expired_session_is_new_on_configure() -> None:
    """A connection that configures after expiry is not told; it sees newSession."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        await guest.say("hello")
        genesys.advance(300_000)
        assert (await guest.configure())["body"]["newSession"] is True
        assert (await guest.say("again"))["body"]["text"] == "again"


async def test_health_check_carries_expiry_as_strings() -> None:
    """The health reply has the session's times in metadata, as strings; a client may leave the token out."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        frame = await guest.ask("echo", token=None, message={"type": "Text", "text": "ping"}, tracingId="h")
        assert (frame["type"], frame["tracingId"]) == ("response", "h")
        assert frame["body"]["id"] == "echo_id"
        assert frame["body"]["metadata"]["durationSeconds"] == "259200"
        assert frame["body"]["metadata"]["expirationDate"].isdigit()


async def test_read_only_until_start_new() -> None:
    """After a read-only disconnect messages are refused, configuring does not help, startNew does."""
    async with (
        emulator(conversation_disconnect="read_only", history_lag_s=0) as genesys,
        raw_guest(genesys, "t") as guest,
    ):
        await guest.say("hello")
        genesys.disconnect()
        frame = await guest.recv()
        assert frame["body"]["events"] == [{"eventType": "Presence", "presence": {"type": "Disconnect"}}]
        assert frame["body"]["metadata"]["readOnly"] == "true"
        assert (await guest.say("hello?"))["code"] == 409
        again = (await guest.configure())["body"]
        assert (again["connected"], again["readOnly"], again["newSession"]) == (True, True, False)
        assert (await history(genesys, guest))["total"] == 2
        ended = (await guest.ask("closeSession", closeAllConnections=True))["body"]
        assert (ended["connected"], ended["readOnly"]) == (False, True)
        assert (await guest.say("gone"))["code"] == 4007
        fresh = (await guest.configure(startNew=True))["body"]
        assert (fresh["newSession"], fresh["readOnly"]) == (True, False)
        assert (await history(genesys, guest))["total"] == 0
        await guest.say("a new start")
        texts = [message["text"] for message in genesys.messages()]
        assert texts == ["hello", "a new start"]
        assert len(genesys.conversations()) == 2


async def test_disconnect_of_type_send_starts_another_conversation() -> None:
    """With type Send the guest may go on; the agent's side sees another conversation."""
    async with emulator(conversation_disconnect="send") as genesys, raw_guest(genesys) as guest:
        await guest.say("one")
        genesys.disconnect()
        assert (await guest.recv())["body"]["metadata"]["readOnly"] == "false"
        await guest.say("two")
        first, second = genesys.messages()
        assert first["conversation_id"] != second["conversation_id"]


async def test_close_session_closes_the_others() -> None:
    """closeAllConnections lets every other connection go; without it the others stay."""
    async with (
        emulator() as genesys,
        raw_guest(genesys, "t") as first,
        raw_guest(genesys, "t") as second,
        raw_guest(genesys, "t") as third,
    ):
        assert (await first.ask("closeSession", closeAllConnections=False))["body"]["connected"] is False
        echo = await second.say("we are still here")
        assert await third.recv() == echo
        assert (await second.ask("closeSession", closeAllConnections=True))["body"]["connected"] is False
        assert (await third.recv())["class"] == "ConnectionClosedEvent"
        await third.lost()


async def test_clear_is_echoed_then_wiped() -> None:
    """Clear: its echo, SessionClearedEvent everywhere, ConnectionClosedEvent, and a new session next time."""
    clear = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Clear"}}]}
    async with emulator(clear_enabled=True) as genesys:
        async with raw_guest(genesys, "t") as guest, raw_guest(genesys, "t") as other:
            await guest.say("forget me")
            await other.recv()
            await guest.send("onMessage", message=clear, tracingId="c")
            for client in (guest, other):
                echo = await client.recv()
                assert (echo["body"]["direction"], echo["tracingId"]) == ("Inbound", "c")
                assert echo["body"]["events"][0]["presence"]["type"] == "Clear"
                assert (await client.recv())["class"] == "SessionClearedEvent"
                assert (await client.recv())["class"] == "ConnectionClosedEvent"
                await client.lost()
        async with raw_guest(genesys, "t", configure=False) as guest:
            assert (await guest.configure())["body"]["newSession"] is True


async def test_clear_disabled_is_403() -> None:
    """Clear is off by default, with the fixture's words."""
    clear = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Clear"}}]}
    async with emulator() as genesys, raw_guest(genesys) as guest:
        frame = await guest.ask("onMessage", message=clear)
        assert (frame["code"], frame["body"]) == (403, "Presence events Conversation Clear are not supported")


async def test_signed_in_session() -> None:
    """With auth on: messages need a sign-in, the step up is announced, there is no way back, logout reaches all."""
    async with emulator(auth_enabled=True) as genesys, raw_guest(genesys, "t") as guest, http(genesys) as session:
        assert (await guest.say("who am I?"))["body"] == "Session authentication failed"
        exchange = {"deploymentId": genesys.deployment_id, "oauth": {"code": "x", "redirectUri": "https://a.example"}}
        url = "/api/v2/webdeployments/token/oauthcodegrantjwtexchange"
        jwt = (await (await session.post(url, json=exchange)).json())["jwt"]
        sign_in = {"deploymentId": genesys.deployment_id, "data": {"code": jwt}}
        assert (await guest.ask("configureAuthenticatedSession", **sign_in))["body"]["events"]
        assert (await guest.recv())["body"]["clearedExistingSession"] is True
        assert (await guest.say("it's me"))["body"]["metadata"]["authenticated"] == "true"
        assert (await guest.configure())["code"] == 4017
        bad = await guest.ask("configureAuthenticatedSession", **{**sign_in, "data": {"code": "wrong"}})
        assert bad["code"] == 401
        revoke = "/api/v2/webdeployments/token/revoke"
        async with session.delete(revoke, headers={"Authorization": f"bearer {jwt}"}) as answer:
            assert answer.status == 204
        assert (await guest.recv())["class"] == "LogoutEvent"
        await guest.lost()


@pytest.mark.parametrize(
    ("settings", "origin", "status"),
    [
        ({}, "https://anything.example", 101),
        ({}, None, 101),
        ({"allowed_origins": ["shop.example"]}, "https://shop.example", 101),
        ({"allowed_origins": ["https://shop.example"]}, "shop.example:443", 101),
        ({"allowed_origins": ["shop.example"]}, "webmessaging.example", 403),
        ({"allowed_origins": ["shop.example"]}, "127.0.0.1", 101),
        ({"allowed_origins": ["shop.example"], "own_origin_allowed": False}, "127.0.0.1", 403),
        ({"allowed_origins": ["shop.example"]}, None, 101),
        ({"allowed_origins": ["shop.example"], "missing_origin_allowed": False}, None, 403),
        ({"deployment_status": "Inactive"}, None, 403),
        ({"connects_per_minute": 1}, None, 101),
    ],
)
async def test_upgrade_checks_origin(settings: dict[str, object], origin: str | None, status: int) -> None:
    """Origin is compared by host, with and without a scheme; refusal is HTTP 403 on the upgrade."""
    async with emulator(**settings) as genesys:
        url = f"{genesys.ws_url}?deploymentId={genesys.deployment_id}&application=test"
        headers = {"Origin": origin} if origin else {}
        if status == 101:
            async with connect(url, additional_headers=headers):
                assert genesys.state()["connections_open"] == 1
            return
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(url, additional_headers=headers):
                pass
        assert refused.value.response.status_code == status
        assert genesys.state()["upgrades_refused"] == 1


async def test_unknown_deployment_is_refused() -> None:
    """A wrong deployment id is refused on the upgrade; in configure it is a bad request."""
    async with emulator() as genesys:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(f"{genesys.ws_url}?deploymentId=nobody"):
                pass
        assert refused.value.response.status_code == 403
        async with raw_guest(genesys, configure=False) as guest:
            frame = await guest.ask("configureSession", deploymentId="nobody")
            assert frame["code"] == 400
            assert (await guest.configure())["class"] == "SessionResponse"


async def test_one_socket_two_tokens() -> None:
    """A connection that configures with another token belongs to that session from then on."""
    async with emulator() as genesys, raw_guest(genesys, "a") as guest:
        await guest.say("as a")
        guest.token = "b"
        assert (await guest.configure())["body"]["newSession"] is True
        await guest.say("as b")
        guest.token = "a"
        assert (await guest.say("as a?"))["code"] == 401
        assert len({message["token_sha256"] for message in genesys.messages()}) == 2
