"""Limits, and every way to misbehave on demand."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import struct
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from guestwire.emulator.faults import KINDS, FaultError
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import history, http, raw_guest


def fired(state: dict[str, Any], kind: str) -> int:
    """How often a kind of fault has fired."""
    return int(state["faults_fired"].get(kind, 0))


# --- limits ---


async def test_sixth_message_of_a_second_is_throttled() -> None:
    """Five messages in a sliding second, over all connections of the session; the connection goes on."""
    async with emulator(echo_delay_ms=0) as genesys, raw_guest(genesys, "t") as one, raw_guest(genesys, "t") as two:
        for number in range(5):
            await one.say(f"m{number}")
            await two.recv()
        frame = await two.say("one too many", "m6")
        assert (frame["class"], frame["code"], frame["tracingId"]) == ("TooManyRequestsErrorMessage", 429, "m6")
        assert frame["body"] == {
            "errorCode": 4029,
            "errorMessage": "Message rate too high for this session",
            "retryAfter": 3,
        }
        genesys.advance(1)
        assert (await two.say("now"))["class"] == "StructuredMessage"
        assert len(genesys.messages()) == 6
        assert genesys.state()["throttles"] == {"messages_per_second": 1}


async def test_requests_per_connection_are_limited() -> None:
    """Sixty requests of any kind per connection and minute; another connection has its own."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, raw_guest(genesys, "t") as other:
        for _ in range(59):
            assert (await guest.settle())["code"] == 200
        assert (await guest.ask("getJwt"))["code"] == 429
        assert (await other.ask("getJwt"))["code"] == 200
        genesys.advance(60)
        assert (await guest.ask("getJwt"))["code"] == 200


async def test_health_checks_and_configures_are_limited() -> None:
    """Two health checks per connection and minute, and a bound on configures of a session."""
    async with emulator(configures_per_minute=3) as genesys, raw_guest(genesys) as guest:
        ping = {"message": {"type": "Text", "text": "ping"}}
        assert [(await guest.ask("echo", **ping))["code"] for _ in range(3)] == [200, 200, 429]
        assert [(await guest.configure())["code"] for _ in range(3)] == [200, 200, 429]
        assert genesys.state()["throttles"] == {"health_checks_per_minute": 1, "configures_per_minute": 1}


async def test_connects_and_history_reads_are_limited() -> None:
    """Past the limits upgrades and history reads answer 429 with Retry-After."""
    async with emulator(connects_per_minute=1, history_per_minute=1) as genesys, raw_guest(genesys) as guest:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(f"{genesys.ws_url}?deploymentId={genesys.deployment_id}"):
                pass
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "3"
        await history(genesys, guest)
        jwt = (await guest.ask("getJwt"))["body"]["jwt"]
        async with http(genesys) as session:
            headers = {"Authorization": f"Bearer {jwt}"}
            async with session.get("/api/v2/webmessaging/messages", headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_limits_off() -> None:
    """Without limits nothing is throttled."""
    async with emulator(limits="off", echo_delay_ms=0) as genesys, raw_guest(genesys) as guest:
        for number in range(100):
            assert (await guest.say(f"m{number}"))["code"] == 200
        assert genesys.state()["limits"]["messages_per_second"] is None


async def test_auditor_can_count_windows() -> None:
    """The log has every request with its time, connection, guest, action and answer; never a token."""
    async with emulator(messages_per_second=1) as genesys, raw_guest(genesys, "secret-token") as guest:
        await guest.say("a")
        await guest.say("b")
        await guest.say("")
        log = genesys.requests()
        assert [(item["action"], item["answered"]) for item in log] == [
            ("connect", "ok"),
            ("configureSession", "ok"),
            ("onMessage", "ok"),
            ("onMessage", 429),
            ("onMessage", 429),
        ]
        assert len({item["token_sha256"] for item in log[1:]}) == 1
        assert log[1]["at"] <= log[2]["at"]
        assert "secret-token" not in json.dumps([log, genesys.state(), genesys.messages(), genesys.conversations()])


# --- faults on the connection ---


async def test_refuse_upgrade() -> None:
    """The upgrade gets the status asked for, so often as asked for."""
    async with emulator() as genesys:
        genesys.inject("refuse_upgrade", status=503)
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(f"{genesys.ws_url}?deploymentId={genesys.deployment_id}"):
                pass
        assert refused.value.response.status_code == 503
        async with raw_guest(genesys):
            assert fired(genesys.state(), "refuse_upgrade") == 1


async def test_drop_before_accept() -> None:
    """The connection breaks without a close frame and nobody sees the message."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("drop_before_accept")
        await guest.send("onMessage", message={"type": "Text", "text": "lost"})
        assert await guest.lost() == 1006
        assert genesys.messages() == []
        assert genesys.requests()[-1]["answered"] == "dropped"


async def test_drop_after_accept() -> None:
    """The message is visible, its sender's connection breaks before the echo; other connections get it."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, raw_guest(genesys, "t") as other:
        genesys.inject("drop_after_accept")
        await guest.send("onMessage", message={"type": "Text", "text": "kept"})
        assert await guest.lost() == 1006
        assert (await other.recv())["body"]["text"] == "kept"
        assert [seen["text"] for seen in genesys.messages()] == ["kept"]
        async with raw_guest(genesys, "t") as again:
            assert (await again.settle())["tracingId"] == "settle"


async def test_close_with() -> None:
    """The connection ends with the code asked for, before processing or after."""
    async with emulator() as genesys:
        for accept in (False, True):
            async with raw_guest(genesys) as guest:
                genesys.inject("close_with", code=1011, accept=accept)
                await guest.send("onMessage", message={"type": "Text", "text": str(accept)})
                assert await guest.lost() == 1011
        assert [seen["text"] for seen in genesys.messages()] == ["True"]


@pytest.mark.parametrize("accept", [False, True])
async def test_silent_peer(accept: bool) -> None:
    """No pong and no frame from then on; other connections are not concerned."""
    async with emulator() as genesys, raw_guest(genesys, "t") as guest, raw_guest(genesys, "t") as other:
        await (await guest.socket.ping())
        genesys.inject("silent_peer", accept=accept)
        await guest.send("onMessage", message={"type": "Text", "text": "hello?"})
        pong = asyncio.ensure_future(await guest.socket.ping())
        await guest.send("getJwt")
        answers = [(await other.recv())["class"]] if accept else []
        assert answers == (["StructuredMessage"] if accept else [])
        genesys.say("are you there?", token="t")
        assert (await other.recv())["body"]["text"] == "are you there?"
        await (await other.socket.ping())
        assert not pong.done()
        assert len(genesys.messages()) == 1 + accept
        pong.cancel()
        guest.socket.transport.abort()


async def test_expire_session() -> None:
    """The session is over before the message; the next configure makes a new one."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("expire_session")
        assert (await guest.say("hello"))["class"] == "SessionExpiredEvent"
        assert (await guest.configure())["body"]["newSession"] is True
        assert genesys.messages() == []


# --- faults on the answer ---


async def test_lose_echo() -> None:
    """The message is visible; its echo never comes."""
    async with emulator(echo_delay_ms=0) as genesys, raw_guest(genesys) as guest:
        genesys.inject("lose_echo")
        await guest.send("onMessage", message={"type": "Text", "text": "kept"}, tracingId="m")
        assert (await guest.settle())["tracingId"] == "settle"
        assert len(genesys.messages()) == 1


async def test_delay_echo() -> None:
    """The echo comes later, by the emulator's clock; other messages are not held up."""
    async with emulator(echo_delay_ms=0) as genesys, raw_guest(genesys) as guest:
        genesys.inject("delay_echo", delay_ms=60_000)
        await guest.send("onMessage", message={"type": "Text", "text": "slow"})
        assert (await guest.say("quick"))["body"]["text"] == "quick"
        genesys.advance(61)
        assert (await guest.recv())["body"]["text"] == "slow"


async def test_delay_of_any_answer() -> None:
    """With an action, the fault is about that request's answer."""
    async with emulator() as genesys, raw_guest(genesys, configure=False) as guest:
        genesys.inject("delay_echo", delay_ms=60_000, match={"action": "configureSession"})
        await guest.send("configureSession", deploymentId=genesys.deployment_id)
        await (await guest.socket.ping())
        genesys.advance(61)
        assert (await guest.recv())["class"] == "SessionResponse"


async def test_duplicate_echo() -> None:
    """The same echo twice, for a message that is shown once."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("duplicate_echo")
        assert await guest.say("twice", "m") == await guest.recv()
        assert len(genesys.messages()) == 1


async def test_reorder_echo() -> None:
    """The echo is held until the next frame has gone out; without one, for its longest time."""
    async with emulator(echo_delay_ms=0) as genesys, raw_guest(genesys) as guest:
        genesys.inject("reorder_echo", delay_ms=60_000)
        await guest.send("onMessage", message={"type": "Text", "text": "first"})
        assert [(await guest.say("second"))["body"]["text"], (await guest.recv())["body"]["text"]] == [
            "second",
            "first",
        ]
        genesys.inject("reorder_echo", delay_ms=60_000)
        await guest.send("onMessage", message={"type": "Text", "text": "alone"})
        await (await guest.socket.ping())
        genesys.advance(61)
        assert (await guest.recv())["body"]["text"] == "alone"


async def test_echo_without_tracing_id() -> None:
    """The echo can lack the tracing id, and the metadata too."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("echo_without_tracing_id")
        genesys.inject("echo_without_tracing_id", strip_metadata=True, match={"text": "bare"})
        frame = await guest.say("no id", "m", metadata={"id": "x"})
        assert "tracingId" not in frame
        assert frame["body"]["metadata"]["id"] == "x"
        assert "id" not in (await guest.say("bare", "m", metadata={"id": "x"}))["body"]["metadata"]


async def test_throttle_and_error_frame() -> None:
    """A throttle with its own time; an error of any code, with and without tracing id, processed or not."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("throttle", retry_after_s=7)
        assert (await guest.say("a", "m"))["body"]["retryAfter"] == 7
        genesys.inject("error_frame", code=4012, text="who knows", tracing_id=False)
        frame = await guest.say("b", "m")
        assert (frame["code"], frame["body"], "tracingId" in frame) == (4012, "who knows", False)
        genesys.inject("error_frame", code=408, accept=True)
        frame = await guest.say("c", "m")
        assert (frame["code"], frame["tracingId"]) == (408, "m")
        assert [seen["text"] for seen in genesys.messages()] == ["c"]


async def test_malformed_frame() -> None:
    """A frame without type and class comes before the echo, which comes too."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        genesys.inject("malformed_frame")
        assert (await guest.say("a"))["message"] == "Internal server error"
        assert (await guest.recv())["body"]["text"] == "a"
        genesys.inject("malformed_frame", text="not even JSON")
        await guest.send("onMessage", message={"type": "Text", "text": "b"})
        assert await guest.socket.recv() == "not even JSON"


# --- faults over HTTP ---


async def test_http_faults() -> None:
    """A status, a delay, and a history that ends early, by path."""
    async with emulator(history_lag_s=0) as genesys, raw_guest(genesys) as guest, http(genesys) as session:
        config = f"/webdeployments/v1/deployments/{genesys.deployment_id}/config.json"
        genesys.inject("http_status", status=502, match={"path": "config.json"})
        genesys.inject("slow_http", delay_ms=1, match={"path": "config.json"})
        async with session.get(config) as answer:
            assert answer.status == 502
        async with session.get(config) as answer:
            assert answer.status == 200
        await guest.say("one")
        await guest.say("two")
        genesys.inject("history_truncate", keep=1)
        page = await history(genesys, guest)
        assert ([entity["text"] for entity in page["entities"]], page["total"]) == (["two"], 1)
        assert (await history(genesys, guest))["total"] == 2
        state = genesys.state()
        assert [fired(state, kind) for kind in ("http_status", "slow_http", "history_truncate")] == [1, 1, 1]


# --- how often, and on what ---


async def test_matching() -> None:
    """Text, tracing id, guest, action and the n-th occurrence choose what goes wrong; typing is no message."""
    async with emulator(limits="off") as genesys, raw_guest(genesys, "t") as guest:
        typing = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
        genesys.inject("error_frame", match={"text": "needle"})
        genesys.inject("error_frame", code=4001, match={"tracing_id": "m7"})
        genesys.inject("error_frame", code=4002, match={"token_sha256": "0" * 64})
        genesys.inject("error_frame", code=4003, match={"action": "getJwt"})
        genesys.inject("error_frame", code=4004, match={"nth": 4})
        codes = [
            (await guest.ask("onMessage", message=typing))["code"],
            (await guest.say("a needle"))["code"],
            (await guest.say("x", "m7"))["code"],
            (await guest.ask("getJwt"))["code"],
            (await guest.say("1"))["code"],
            (await guest.say("2"))["code"],
            (await guest.say("3"))["code"],
            (await guest.say("4"))["code"],
            (await guest.say("5"))["code"],
        ]
        assert codes == [200, 5000, 4001, 4003, 200, 200, 200, 4004, 200]


async def test_admin_faults_over_http() -> None:
    """Faults are posted one or several at a time, listed with their counts, and cleared; errors are sentences."""
    async with emulator() as genesys, raw_guest(genesys) as guest, http(genesys) as session:
        url = "/_emulator/faults"
        faults = [{"kind": "lose_echo", "times": 2}, {"kind": "throttle", "probability": 1}]
        ids = (await (await session.post(url, json=faults)).json())["ids"]
        assert (await guest.say("x"))["code"] == 429
        listed = (await (await session.get(url)).json())["faults"]
        assert [(item["id"], item["kind"], item["fired"]) for item in listed] == [
            (ids[0], "lose_echo", 1),
            (ids[1], "throttle", 1),
        ]
        assert (await (await session.delete(f"{url}/{ids[0]}")).json()) == {"cleared": 1}
        assert (await (await session.delete(url)).json()) == {"cleared": 1}
        async with session.delete(f"{url}/nothing") as answer:
            assert answer.status == 404
        for wrong in (
            {"kind": "drop_befor_accept"},
            {},
            [{"kind": "throttle", "status": 1}],
            "x",
            {"kind": "throttle", "times": 0},
        ):
            async with session.post(url, json=wrong) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]
        async with session.post(url, data=b"{") as answer:
            assert answer.status == 400


def test_every_kind_is_exercised() -> None:
    """No kind of fault without a test beside this one."""
    here = pathlib.Path(__file__).parent
    source = "".join(file.read_text("utf-8") for file in here.glob("test_emulator_*.py"))
    assert [kind for kind in KINDS if f'inject("{kind}"' not in source and f'("{kind}", {{' not in source] == []


async def test_misspelt_kind_names_the_nearest() -> None:
    """A wrong kind is refused with the right one."""
    async with emulator() as genesys:
        with pytest.raises(FaultError, match="did you mean 'lose_echo'"):
            genesys.inject("loose_echo")


async def test_slow_reader_is_given_up() -> None:
    """A client that does not read cannot make the emulator keep its output for ever."""
    async with emulator(max_unread_bytes=100_000, limits="off") as genesys, raw_guest(genesys, "t") as guest:
        guest.socket.transport.pause_reading()
        async with asyncio.timeout(20):
            while genesys.state()["slow_readers"] == 0:
                genesys.say("x" * 60_000, token="t")
                await asyncio.sleep(0)
        guest.socket.transport.abort()


async def test_who_asks_and_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """A client that dies between its upgrade and the answer is no error of ours, and leaves nothing behind."""
    async with emulator() as genesys:
        host, port = genesys.url.removeprefix("http://").split(":")
        asked = (
            f"GET /v1?deploymentId={genesys.deployment_id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        for _ in range(20):
            line = socket.create_connection((host, int(port)))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.sendall(asked.encode())
            line.close()
        async with connect(genesys.ws_url + f"?deploymentId={genesys.deployment_id}"):
            pass
    assert [record.getMessage() for record in caplog.records if record.name == "aiohttp.server"] == []
