"""The admin API and the handle: what tests of users rest on."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import urllib.request
from typing import Any

import aiohttp
import pytest

from guestwire.emulator.app import Emulator, serve
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.thread import EmulatorThread
from guestwire.errors import ConfigError
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import http, raw_guest


async def test_state_and_lists_over_http() -> None:
    """State, conversations, messages and requests say over HTTP what the handle says."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, http(genesys) as session:
        await guest.say("hello")
        state = await (await session.get("/_emulator/state")).json()
        assert state["deployment_id"] == genesys.deployment_id
        assert state["limits"]["messages_per_second"] == 5
        assert (state["connections_opened"], state["connections_open"], state["messages_accepted"]) == (1, 1, 1)
        assert state["requests"] == {"configureSession": 1, "onMessage": 1}
        for path, expected in (
            ("conversations", genesys.conversations()),
            ("messages", genesys.messages()),
            ("messages?token=t", genesys.messages()),
            ("messages?token=nobody", []),
            ("messages?conversation_id=none", []),
            ("requests", genesys.requests()),
        ):
            assert await (await session.get(f"/_emulator/{path}")).json() == expected


async def test_agent_over_http() -> None:
    """The agent says text, content and events; what cannot be is refused with a sentence."""
    quick = {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y", "action": "Message"}}
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, http(genesys) as session:
        async with session.post("/_emulator/agent", json={"text": "hi"}) as answer:
            assert answer.status == 409
        await guest.say("hello")
        (conversation,) = genesys.conversations()
        for data, key, value in (
            ({"token": "t", "text": "hi", "nickname": "Ann"}, "text", "hi"),
            ({"text": "Well?", "content": [quick]}, "content", [quick]),
            ({"event": "typing"}, "events", [{"eventType": "Typing", "typing": {"type": "On", "duration": 5000}}]),
            (
                {"conversation_id": conversation["conversation_id"], "event": {"eventType": "Odd"}},
                "events",
                [{"eventType": "Odd"}],
            ),
        ):
            async with session.post("/_emulator/agent", json=data) as answer:
                assert answer.status == 201, await answer.text()
            assert (await guest.recv())["body"][key] == value
        wrongs: list[Any] = [
            {},
            {"txt": "x"},
            {"text": 5},
            {"token": "?", "text": "x"},
            [],
            {"conversation_id": "?", "text": "x"},
        ]
        for wrong in wrongs:
            async with session.post("/_emulator/agent", json=wrong) as answer:
                assert (answer.status, bool((await answer.json())["error"])) == (409, True)
        assert [seen["direction"] for seen in genesys.messages()] == ["Inbound", "Outbound", "Outbound"]
        genesys.disconnect(read_only=True)
        async with session.post("/_emulator/agent", json={"token": "t", "text": "more"}) as answer:
            assert answer.status == 409


async def test_clock_moves_forward_only() -> None:
    """The clock is moved over HTTP; everything follows it."""
    async with emulator() as genesys, http(genesys) as session:
        before = genesys.now()
        async with session.post("/_emulator/clock", json={"advance_s": 3600}) as answer:
            assert (await answer.json())["now"] >= before + 3600
        for wrong in ({"advance_s": -1}, {"advance_s": "1"}, {}, {"advance_s": True}):
            async with session.post("/_emulator/clock", json=wrong) as answer:
                assert answer.status == 400


async def test_reset_forgets_everything_but_the_settings() -> None:
    """After a reset connections are closed, nothing is known, and the same run begins again."""
    async with emulator(seed=5) as genesys, http(genesys) as session:
        ids = []
        for _ in range(2):
            deployment_id = genesys.deployment_id
            async with raw_guest(genesys, "t") as guest:
                ids.append((await guest.say("hello"))["body"]["id"])
                genesys.inject("lose_echo")
                assert (await session.post("/_emulator/reset")).status == 200
                await guest.lost()
            state = genesys.state()
            assert (state["messages"], state["sessions"], state["connections_opened"]) == (0, 0, 0)
            assert genesys.faults() == []
            assert genesys.deployment_id == deployment_id
        assert ids[0] == ids[1]


async def test_same_seed_same_run() -> None:
    """Ids, keys and fault draws follow from the seed and the requests; another seed gives others."""

    async def run(seed: int) -> list[Any]:
        async with emulator(seed=seed, limits="off", script="support") as genesys, raw_guest(genesys, "t") as guest:
            genesys.inject("throttle", probability=0.5)
            answers: dict[str, Any] = {}
            for number in range(20):
                await guest.send("onMessage", message={"type": "Text", "text": "x"}, tracingId=str(number))
            while len(answers) < 20:
                frame = await guest.recv()
                if "tracingId" in frame:  # the bot's words come whenever they come
                    answers[frame["tracingId"]] = (frame["code"], frame["body"].get("id"))
            return [genesys.deployment_id, answers]

    first, again, other = await run(7), await run(7), await run(8)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


async def test_pages_of_other_sites_are_kept_out() -> None:
    """The admin API answers this machine only: not another host name, not another site's page."""
    async with emulator() as genesys, http(genesys) as session:
        for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            async with session.get("/_emulator/messages", headers=headers) as answer:
                assert answer.status == 403


async def test_port_in_use() -> None:
    """A taken port is a ConfigError with a hint."""
    async with emulator() as genesys:
        port = int(genesys.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="in use") as refused:
            await Emulator(EmulatorSettings(port=port)).start()
        assert refused.value.code == "GW-C031"
        assert refused.value.hint
        with pytest.raises(ConfigError, match="in use"):
            EmulatorThread(EmulatorSettings(port=port))


async def test_fixed_port_and_deployment() -> None:
    """Port and deployment id are as asked for; the port is free again after close."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        async with emulator(port=port, deployment_id="Fixed-ID") as genesys:
            assert genesys.url == f"http://127.0.0.1:{port}"
            async with raw_guest(genesys) as guest:
                await guest.say("hello")
            assert genesys.deployment_id == "Fixed-ID"


async def test_serve_runs_until_cancelled() -> None:
    """`serve` reports when it is ready and closes everything when cancelled."""
    ready: asyncio.Future[Emulator] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(EmulatorSettings(), ready.set_result))
    genesys = await ready
    async with raw_guest(genesys) as guest:
        await guest.say("hello")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await guest.lost() == 1006
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{genesys.url}/_emulator/state")


async def test_bounds_are_counted() -> None:
    """What is dropped at a bound is counted: messages, sessions, and an overload ends its connection."""
    async with emulator(max_messages=3, max_sessions=2, limits="off", echo_delay_ms=0) as genesys:
        for token in ("a", "b", "c"):
            async with raw_guest(genesys, token) as guest:
                await guest.say(f"{token}1")
                await guest.say(f"{token}2")
        state = genesys.state()
        assert (state["dropped_messages"], state["dropped_sessions"]) == (3, 1)
        assert [seen["text"] for seen in genesys.messages()] == ["b2", "c1", "c2"]
    async with emulator(max_pending=2, limits="off", echo_delay_ms=60_000) as genesys, raw_guest(genesys) as guest:
        for _ in range(4):
            await guest.send("onMessage", message={"type": "Text", "text": "x"})
        assert await guest.lost() == 1006
        assert genesys.state()["overloads"] == 1


# --- bots ---


async def test_bot_answers(tmp_path: pathlib.Path) -> None:
    """A script greets who joins, answers by rule, offers choices, types, and disconnects."""
    script = """
name = "Shop"
[[rule]]
join = true
reply = "Welcome"
[[rule]]
match = "BYE"
reply = "Bye {guest}"
disconnect = "read_only"
[[rule]]
pattern = "^ord(er)?"
typing = true
reply = "You said {text}"
quick_replies = ["Yes", "No"]
card = { title = "Card", actions = [{ type = "Link", text = "Go", url = "https://a.example" }] }
"""
    path = tmp_path / "shop.toml"
    path.write_text(script, encoding="utf-8")
    async with emulator(script=str(path)) as genesys, raw_guest(genesys) as guest:
        join = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}
        await guest.ask("onMessage", message=join)
        assert (await guest.recv())["body"]["text"] == "Welcome"
        await guest.say("order {guest}")
        assert (await guest.recv())["body"]["events"][0]["typing"] == {"type": "On", "duration": 1000}
        body = (await guest.recv())["body"]
        assert (body["type"], body["text"], body["originatingEntity"]) == (
            "Structured",
            "You said order {guest}",
            "Bot",
        )
        assert [item["contentType"] for item in body["content"]] == ["QuickReply", "QuickReply", "Card"]
        assert body["channel"]["from"] == {"nickname": "Shop"}
        await guest.say("unmatched")
        await guest.say("ok bye")
        assert (await guest.recv())["body"]["text"].startswith("Bye guest ")
        assert (await guest.recv())["body"]["metadata"]["readOnly"] == "true"


@pytest.mark.parametrize("script", ["echo", "showcase", "support"])
async def test_built_in_bots(script: str) -> None:
    """The built-in bots answer."""
    async with emulator(script=script) as genesys, raw_guest(genesys) as guest:
        await guest.say("Thank you, danke!")
        assert (await guest.recv())["body"]["direction"] == "Outbound"


# --- the pytest fixture ---


def ask(url: str) -> Any:
    """GET some JSON without a loop."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own emulator
        return json.load(answer)


def test_fixture_in_a_plain_test(genesys: EmulatorThread) -> None:
    """The fixture serves a test without a loop."""
    assert ask(f"{genesys.url}/_emulator/state")["deployment_id"] == genesys.deployment_id
    genesys.inject("throttle")
    assert genesys.faults()[0]["kind"] == "throttle"
    assert genesys.clear_faults() == 1
    before = genesys.now()
    genesys.advance(10)
    assert genesys.now() >= before + 10
    genesys.reset()
    assert (genesys.messages(), genesys.conversations(), genesys.requests()) == ([], [], [])
    genesys.close()
    with pytest.raises(RuntimeError, match="closed"):
        genesys.state()


@pytest.mark.genesys(limits="off", echo_delay_ms=0)
async def test_fixture_in_a_coroutine(genesys: EmulatorThread) -> None:
    """The fixture serves a coroutine just as well, and takes settings from its marker."""
    assert genesys.settings.limits == "off"
    async with raw_guest(genesys, "t") as guest:  # type: ignore[arg-type]
        await guest.say("hello")
        genesys.say("hi", token="t")
        assert (await guest.recv())["body"]["text"] == "hi"
        genesys.disconnect(read_only=False)
        assert (await guest.recv())["body"]["metadata"]["readOnly"] == "false"
        assert [seen["text"] for seen in genesys.messages()] == ["hello", "hi"]
