"""What the far side does at once, and following along: triggers and the stream of events, over the raw wire."""

from __future__ import annotations

import asyncio
import json
import pathlib
from typing import Any

import aiohttp
import pytest

from guestwire.emulator.feed import MAX_FOLLOWERS, MAX_WAITING, Feed
from guestwire.emulator.records import AgentError
from guestwire.emulator.triggers import HOSTILE, KINDS, TriggerError
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import PATIENCE_S, RawGuest, history, http, raw_guest

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "emulator.md"


def test_every_trigger_is_documented() -> None:
    """docs/emulator.md says of each trigger what the code says, and names its parameters."""
    docs = DOCS.read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"| `{name}` | {kind.does} | " in docs, name
        assert all(f"`{parameter}`" in docs for parameter in kind.parameters), name


@pytest.mark.parametrize(
    ("what", "classes", "code"),
    [
        ("evict", ["ConnectionClosedEvent"], 1001),
        ("logout", ["LogoutEvent"], 1001),
        ("clear", ["SessionClearedEvent", "ConnectionClosedEvent"], 1001),
        ("drop", [], 1006),
        ("close", [], 1012),
    ],
)
async def test_triggers_that_end_a_connection(what: str, classes: list[str], code: int) -> None:
    """Each ends a connection in its own way: event and close frame, a code, or none."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        await guest.say("hello")
        assert genesys.trigger(what, **({"code": 1012} if what == "close" else {})) == []
        for expected in classes:
            assert (await guest.recv())["class"] == expected
        assert await guest.lost() == code


async def test_evict_takes_the_oldest_connection_only() -> None:
    """One connection is let go; the others go on."""
    async with emulator() as genesys, raw_guest(genesys, "t") as first, raw_guest(genesys, "t") as second:
        genesys.trigger("evict", token="t")
        assert (await first.recv())["class"] == "ConnectionClosedEvent"
        assert (await second.settle())["tracingId"] == "settle"


async def test_expire_tells_at_once() -> None:
    """The session is over on the spot: the guest hears of it, then gets 4006, and configuring makes a new one."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        genesys.trigger("expire")
        assert (await guest.recv())["class"] == "SessionExpiredEvent"
        assert (await guest.say("hello?"))["code"] == 4006
        assert (await guest.configure())["body"]["newSession"] is True


async def test_clear_wipes_the_session() -> None:
    """After a clear the token opens a new session."""
    async with emulator() as genesys:
        async with raw_guest(genesys, "t") as guest:
            await guest.say("hello")
            genesys.trigger("clear")
            await guest.lost()
        async with raw_guest(genesys, "t", configure=False) as guest:
            assert (await guest.configure())["body"]["newSession"] is True


async def test_disconnect_and_read_only() -> None:
    """Disconnecting is as the deployment says; read_only forbids writing."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        await guest.say("hello")
        genesys.trigger("disconnect")
        assert "readOnly" not in (await guest.recv())["body"]["metadata"]
        await guest.say("and again")
        genesys.trigger("read_only")
        assert (await guest.recv())["body"]["metadata"]["readOnly"] == "true"
        assert (await guest.say("hello?"))["code"] == 409
        with pytest.raises(AgentError, match="over"):
            genesys.trigger("read_only", token="t")


async def test_strange_frames() -> None:
    """Frames that the protocol does not have: unknown class, none, no JSON; the connection goes on."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        genesys.trigger("unknown_class")
        assert (await guest.recv())["class"] == "SomethingNewEvent"
        genesys.trigger("no_type")
        assert set(await guest.recv()) == {"message", "connectionId", "requestId"}
        genesys.trigger("malformed", text="not {json")
        assert await guest.socket.recv() == "not {json"
        genesys.trigger("unknown_content")
        assert (await guest.recv())["body"]["content"] == [{"contentType": "Hologram", "hologram": {"depth": 3}}]
        assert (await guest.settle())["tracingId"] == "settle"


async def test_big_and_hostile_replies_are_said_as_they_are() -> None:
    """A reply of 1 MB and one full of escapes arrive unchanged, and stand in the messages unchanged."""
    async with emulator() as genesys, raw_guest(genesys, "t", max_size=None) as guest:
        genesys.trigger("big_reply")
        assert len((await guest.recv())["body"]["text"]) == 1_000_000
        genesys.trigger("big_reply", length=7)
        assert (await guest.recv())["body"]["text"] == "x" * 7
        genesys.trigger("hostile_reply")
        assert (await guest.recv())["body"]["text"] == HOSTILE
        assert genesys.messages()[-1]["text"] == HOSTILE


async def test_duplicate_and_out_of_order() -> None:
    """The last words come twice with the same id; two replies come in the wrong order of their times."""
    async with emulator(history_lag_s=0) as genesys, raw_guest(genesys, "t") as guest:
        await guest.say("hello")
        with pytest.raises(AgentError, match="twice"):
            genesys.trigger("duplicate")
        genesys.say("once")
        first = await guest.recv()
        assert genesys.trigger("duplicate") == [first["body"]["id"]]
        assert await guest.recv() == first
        ids = genesys.trigger("out_of_order")
        late, early = (await guest.recv())["body"], (await guest.recv())["body"]
        assert [early["id"], late["id"]] == ids
        assert early["channel"]["time"] < late["channel"]["time"]
        genesys.advance(0.01)  # the second one was said a millisecond after the first
        newest_first = [entity["id"] for entity in (await history(genesys, guest))["entities"]]
        assert newest_first[:3] == [late["id"], early["id"], first["body"]["id"]]


async def test_typing_and_offer_are_events() -> None:
    """Typing and an offer to browse together are events, not messages."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest:
        genesys.trigger("typing")
        assert (await guest.recv())["body"]["events"][0]["typing"] == {"type": "On", "duration": 5000}
        genesys.trigger("offer")
        event = (await guest.recv())["body"]["events"][0]
        assert (event["eventType"], event["coBrowse"]["type"]) == ("CoBrowse", "Offering")
        assert genesys.messages() == []


async def test_trigger_over_http() -> None:
    """POST takes what and whom; wrong names and parameters are 400 and teach, a guest who is not there is 409."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, http(genesys) as session:
        await guest.say("hello")
        (conversation,) = genesys.conversations()
        url = "/_emulator/trigger"
        async with session.get(url) as answer:
            kinds = (await answer.json())["kinds"]
            assert set(kinds) == set(KINDS)
            assert kinds["close"] == {"does": KINDS["close"].does, "parameters": {"code": 1001}}
        asked = {"what": "hostile_reply", "conversation_id": conversation["conversation_id"]}
        async with session.post(url, json=asked) as answer:
            done = await answer.json()
            assert (answer.status, done["what"]) == (201, "hostile_reply")
            assert done["ids"] == [(await guest.recv())["body"]["id"]]
            assert done["token_sha256"] == conversation["token_sha256"]
        wrongs: list[tuple[Any, str]] = [
            ([], "JSON object"),
            ({}, "there are expire"),
            ({"what": "expired"}, "did you mean 'expire'?"),
            ({"what": "close", "code": "1001"}, "cannot be"),
            ({"what": "close", "code": True}, "cannot be"),
            ({"what": "close", "code": 999}, "1000 to 4999"),
            ({"what": "big_reply", "length": 0}, "from 1"),
            ({"what": "drop", "code": 1001}, "no parameters"),
        ]
        for wrong, words in wrongs:
            async with session.post(url, json=wrong) as answer:
                assert answer.status == 400
                assert words in (await answer.json())["error"]
        async with session.post(url, json={"what": "drop", "token": "stranger"}) as answer:
            assert answer.status == 409
    async with emulator() as genesys:
        with pytest.raises(TriggerError):
            genesys.trigger("nothing")
        with pytest.raises(AgentError):
            genesys.trigger("drop")
        async with raw_guest(genesys, "t"):
            pass
        with pytest.raises(AgentError, match="not connected"):
            genesys.trigger("drop", token="t")


# --- following along ---


class Reader:
    """Reads server-sent events as a browser does: blocks of lines, ended by an empty one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any]:
        """Return the next event; comments are passed over."""
        kind, data = "", None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = await self._response.content.readline()
                if not line:
                    return "end", None
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                elif not name and kind:
                    return kind, data


async def test_events_are_told_as_they_happen() -> None:
    """Messages, events, conversations, faults, triggers and resets are told in order, in the shapes of the lists."""
    async with (
        emulator(echo_delay_ms=0) as genesys,
        raw_guest(genesys, "t") as guest,
        http(genesys) as session,
        session.get("/_emulator/events") as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream"
        reader = Reader(response)
        await _hear_a_conversation(genesys, guest, reader)
        genesys.inject("duplicate_echo")
        await guest.say("twice")
        kind, fault = await reader.next()
        assert (kind, fault["kind"], fault["action"]) == ("fault", "duplicate_echo", "onMessage")
        assert (await reader.next())[0] == "message"
        genesys.trigger("offer")
        assert [(await reader.next())[0] for _ in range(2)] == ["event", "trigger"]
        genesys.reset()
        assert [(await reader.next())[0] for _ in range(2)] == ["conversation", "reset"]


async def _hear_a_conversation(genesys: Any, guest: RawGuest, reader: Reader) -> None:
    typing = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
    await guest.say("hello")
    kind, begun = await reader.next()
    assert (kind, begun["messages"], begun["connections"]) == ("conversation", 0, 1)
    assert await reader.next() == ("message", genesys.messages()[0])
    await guest.ask("onMessage", message=typing)
    kind, event = await reader.next()
    assert (kind, event["direction"], event["events"]) == ("event", "Inbound", typing["events"])
    assert event["conversation_id"] == begun["conversation_id"]
    genesys.say("hi", token="t")
    kind, message = await reader.next()
    assert (kind, message["direction"], message["text"]) == ("message", "Outbound", "hi")


async def test_events_end_with_the_emulator() -> None:
    """A follower sees the end of the stream when the emulator closes; nothing hangs."""
    async with emulator() as genesys, http(genesys) as session, session.get("/_emulator/events") as response:
        async with asyncio.timeout(PATIENCE_S):
            await genesys.close()
        assert await Reader(response).next() == ("end", None)


async def test_followers_are_bounded() -> None:
    """Beyond the bound a follower is refused with 503; one that leaves makes room."""
    async with emulator() as genesys, http(genesys) as session:
        feed = genesys.world.feed
        followers = [feed.follow(lambda: None) for _ in range(MAX_FOLLOWERS)]
        async with session.get("/_emulator/events") as response:
            assert response.status == 503
        assert followers[0] is not None
        feed.leave(followers[0])
        async with session.get("/_emulator/events") as response:
            assert response.status == 200


def test_a_slow_follower_gets_a_gap() -> None:
    """What a follower does not take in time becomes one `gap` that says how much it missed."""
    feed = Feed()
    follower = feed.follow(lambda: None)
    assert follower is not None
    for number in range(MAX_WAITING + 1):
        feed.tell("message", lambda number=number: {"number": number})  # type: ignore[misc]
    told = follower.take().decode().split("\n\n")
    assert told[0] == f'event: gap\ndata: {{"missed":{MAX_WAITING}}}'
    assert told[1] == f'event: message\ndata: {{"number":{MAX_WAITING}}}'
    assert follower.take() == b""
