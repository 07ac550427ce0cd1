"""Messages over Open Messaging and the tutorial contract, from a program to the agent's screen and back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from guestwire import (
    AuthenticationError,
    ConfigError,
    Destination,
    GuestWire,
    GuestWireError,
    Limits,
    Message,
    PartState,
    Profile,
    Rejected,
    RelaySettings,
    RemoteFile,
    Reply,
)
from guestwire.emulator.app import Emulator
from guestwire.settings import Secret, StoreSettings
from guestwire.testing import emulator
from guestwire.webhook import WebhookServer
from tests.journey.kit import PATIENCE_S, QUICK, eventually, inbound, journal_of, kiosk, own_gateway, settled, until


@contextlib.asynccontextmanager
async def wired(
    *destinations: Destination, folder: Path, patience: RelaySettings = QUICK, webhook: Emulator | None = None
) -> AsyncIterator[GuestWire]:
    """A program with destinations, and a webhook port that the emulator knows of where it is given."""
    wire = GuestWire(
        destinations,
        store=folder,
        store_settings=StoreSettings(path=folder, min_free_disk_mb=1),
        relay_settings=patience,
    )
    async with wire, contextlib.AsyncExitStack() as stack:
        if webhook is not None:
            server = await stack.enter_async_context(WebhookServer(wire))
            webhook.set_webhook(server.url)
        yield wire


@pytest.fixture
async def genesys() -> AsyncIterator[Emulator]:
    """A platform without limits, in a hurry."""
    async with emulator(limits="off", history_lag_s=0.02, contract_read_after_ms=1) as found:
        yield found


async def first_reply(wire: GuestWire, guest: str) -> Reply:
    """Wait for what is said to a guest."""
    async with asyncio.timeout(PATIENCE_S):
        async for reply in wire.replies(guest):
            return reply
    raise AssertionError("not reached")


# --- out ---


async def test_messages_of_each_guest_arrive_once_and_in_order(genesys: Emulator, tmp_path: Path) -> None:
    """Forty lanes beside each other, one conversation each; the platform threads by guest."""
    async with wired(kiosk(genesys, pace=False), folder=tmp_path / "s") as wire:
        messages = [Message(guest=f"guest {n % 40}", text=f"{n % 40}: {n // 40:02}") for n in range(400)]
        tickets = await wire.submit_many(messages)
        assert Counter(await settled(wire, *tickets)) == {"accepted": 400}
    shown = inbound(genesys)
    assert sorted(shown) == sorted(message.text for message in messages)
    for n in range(40):
        assert [text for text in shown if text.startswith(f"{n}: ")] == [f"{n}: {i:02}" for i in range(10)]
    assert len(genesys.conversations()) == 40


async def test_what_was_sent_is_what_the_platform_was_told(genesys: Emulator, tmp_path: Path) -> None:
    """Our part id as the message's own id, attributes where the platform wants them, profile, the file's address."""
    file = RemoteFile(url="https://files.example.com/a%20b.png", size=10, caption="a picture")
    async with wired(kiosk(genesys, probe_links=False), folder=tmp_path / "s") as wire:
        ticket = await wire.submit(
            Message(
                guest="42",
                text="look",
                attributes={"topic": "order"},
                profile=Profile(nickname="Ada"),
                attachments=(file,),
            )
        )
        assert await settled(wire, ticket) == ["accepted"]
        (part,), _ = await wire.find(ticket.message_id)
    (shown,) = genesys.messages()
    assert shown["channel_message_id"] == ticket.part_ids[0]
    assert shown["id"] == part.gateway_id
    assert shown["custom_attributes"] == {"topic": "order"}
    assert shown["nickname"] == "Ada"
    (attachment,) = shown["attachments"]
    assert (attachment["url"], attachment["mime"], attachment["filename"]) == (file.url, "image/png", "a b.png")


async def test_the_journal_keeps_what_support_asks_for(genesys: Emulator, tmp_path: Path) -> None:
    """The platform's correlation id, its status and the conversation; no word of the message."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        ticket = await wire.submit(Message(guest="private guest", text="private text"))
        await settled(wire, ticket)
        accepted = await until(wire, "part.accepted")
        written = str(await journal_of(wire))
    assert accepted.detail["http_status"] in (200, 202)
    assert len(accepted.detail["correlation_id"]) == 36
    assert accepted.detail["conversation_id"] == genesys.conversations()[0]["conversation_id"]
    assert "private" not in written


async def test_claims_of_the_tutorial_contract_are_recorded_and_not_believed(genesys: Emulator, tmp_path: Path) -> None:
    """ "delivered" in an answer is the answer's word: the part is *accepted*, and the claim stands in the journal."""
    async with wired(own_gateway(genesys), folder=tmp_path / "s") as wire:
        message = Message(guest="42", text="<b>hi</b>", content_type="text/html", conversation="conv-9")
        ticket = await wire.submit(message)
        assert await settled(wire, ticket) == ["accepted"]
        accepted = await until(wire, "part.accepted")
    assert accepted.detail["claimed_status"] == "delivered"
    assert accepted.detail["source"] == "response"
    assert accepted.detail["conversation_id"] == "conv-9"


async def test_two_ways_out_share_one_store_and_one_program(genesys: Emulator, tmp_path: Path) -> None:
    """A guest of each destination is a lane of its own, whatever the caller calls him."""
    web_messaging = Destination(name="web", url=genesys.url, deployment_id=genesys.deployment_id)
    async with wired(kiosk(genesys), own_gateway(genesys), web_messaging, folder=tmp_path / "s") as wire:
        tickets = await wire.submit_many(
            [
                Message(guest="42", text="over the platform API").to_draft("kiosk"),
                Message(guest="42", text="over the contract", conversation="c1").to_draft("tutorial"),
                Message(guest="42", text="over a session").to_draft("web"),
            ]
        )
        assert await settled(wire, *tickets) == ["accepted"] * 3
    assert sorted(inbound(genesys)) == ["over a session", "over the contract", "over the platform API"]
    assert len({ticket.guest_ref for ticket in tickets}) == 3


async def test_a_structured_answer_goes_to_its_own_route(genesys: Emulator, tmp_path: Path) -> None:
    """What an agent offers comes over the webhook; the guest's choice goes back as the platform wants it."""
    async with wired(kiosk(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        genesys.say(
            "Shall we?",
            content=[
                {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "yes-1", "action": "Message"}},
                {"contentType": "QuickReply", "quickReply": {"text": "No", "payload": "no-1", "action": "Message"}},
            ],
        )
        reply = await first_reply(wire, "42")
        assert [option.label for option in reply.options] == ["Yes", "No"]
        ticket = await wire.submit(Message(guest="42", answer=reply.answer("Yes")))
        assert await settled(wire, ticket) == ["accepted"]
    assert any(logged["action"].endswith("structured/response") for logged in genesys.requests())
    answered = genesys.messages()[-1]
    assert "yes-1" in str(answered)


async def test_typing_is_told_at_most_every_five_seconds(genesys: Emulator, tmp_path: Path) -> None:
    """And only of a guest who has said something: nobody else has a lane."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        assert await wire.guests.typing("42") is False
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        assert await wire.guests.typing("42") is True
        assert await wire.guests.typing("42") is False
        await eventually(lambda: any(logged["action"].endswith("event") for logged in genesys.requests()))


# --- windows ---


async def test_a_token_never_passes_the_platforms_limit_whatever_it_is_used_for(tmp_path: Path) -> None:
    """Two destinations of one OAuth client, thirty guests: the platform throttles nobody, and the reserve is kept."""
    async with emulator(token_requests_per_minute=20, contract_requests_per_second=1000) as genesys:
        limits = Limits(requests_per_min=20, reserve_per_min=5, messages_per_s=1000)
        both = (kiosk(genesys, limits=limits), own_gateway(genesys, limits=limits))
        async with wired(*both, folder=tmp_path / "s") as wire:
            drafts = [
                Message(guest=f"g{n}", text=f"m{n}", conversation=None if n % 2 else "c").to_draft(
                    "kiosk" if n % 2 else "tutorial"
                )
                for n in range(30)
            ]
            await wire.submit_many(drafts)
            await until(wire, "part.accepted", times=15)
            await eventually(lambda: genesys.state()["messages_accepted"] >= 15 or len(inbound(genesys)) >= 15)
            status = await wire.status()
            assert len(inbound(genesys)) == 15
            assert status.store.parts[PartState.QUEUED] == 15
            assert status.held["kiosk"]["messages_per_min"] > 0
    assert not any(logged["answered"] == 429 for logged in genesys.requests())


# --- credentials ---


async def test_one_token_serves_everybody_and_is_fetched_before_the_first_message(
    genesys: Emulator, tmp_path: Path
) -> None:
    """The log of requests begins with the token, and has one of them."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        await settled(wire, *await wire.submit_many([Message(guest=f"g{n}", text="hi") for n in range(50)]))
    actions = [logged["action"] for logged in genesys.requests()]
    assert "token" in actions[0]
    assert sum("token" in action for action in actions) == 1


async def test_revoked_tokens_are_renewed_once_and_nothing_is_lost_or_doubled(
    genesys: Emulator, tmp_path: Path
) -> None:
    """A 401 proves that nothing was processed: the same message goes out again with another token."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        await settled(wire, await wire.submit(Message(guest="g", text="first")))
        genesys.trigger("revoke_tokens")
        tickets = await wire.submit_many([Message(guest=f"g{n}", text=f"m{n}") for n in range(60)])
        assert Counter(await settled(wire, *tickets)) == {"accepted": 60}
    assert sorted(inbound(genesys)) == sorted(["first", *(f"m{n}" for n in range(60))])
    assert sum("token" in logged["action"] for logged in genesys.requests()) == 2


async def test_a_forced_refresh_says_whether_the_credentials_are_good(genesys: Emulator, tmp_path: Path) -> None:
    """Before the first message, and later; a wrong secret is told with what to do."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        await wire.refresh_token()
        await settled(wire, await wire.submit(Message(guest="g", text="hi")))
        before = sum("token" in logged["action"] for logged in genesys.requests())
        await wire.refresh_token("kiosk")
        assert sum("token" in logged["action"] for logged in genesys.requests()) == before + 1
    wrong = kiosk(genesys, client_secret=Secret("not-the-secret"))
    async with wired(wrong, folder=tmp_path / "t") as wire:
        with pytest.raises(AuthenticationError) as caught:
            await wire.refresh_token()
    assert caught.value.code == "GW-A010"
    assert "not-the-secret" not in str(caught.value) + caught.value.hint


async def test_web_messaging_has_no_token_to_refresh(genesys: Emulator, tmp_path: Path) -> None:
    """It is said, not passed over."""
    to = Destination(name="web", url=genesys.url, deployment_id=genesys.deployment_id)
    async with wired(to, folder=tmp_path / "s") as wire:
        with pytest.raises(ConfigError) as caught:
            await wire.refresh_token()
    assert caught.value.code == "GW-C049"


async def test_nothing_is_sent_to_another_organisation(genesys: Emulator, tmp_path: Path) -> None:
    """Credentials of the test organisation in production's settings: found before the first message."""
    other = "00000000-0000-4000-8000-00000000000f"
    async with wired(kiosk(genesys, expect_org_id=other), folder=tmp_path / "s") as wire:
        ticket = await wire.submit(Message(guest="g", text="hi"))
        with pytest.raises(ConfigError) as caught:
            await wire.wait(ticket, timeout_s=PATIENCE_S)
    assert caught.value.code == "GW-C045"
    assert inbound(genesys) == []


async def test_the_right_organisation_is_let_through(genesys: Emulator, tmp_path: Path) -> None:
    """In whatever case its id is written."""
    right = genesys.organization_id.upper()
    async with wired(kiosk(genesys, expect_org_id=right), folder=tmp_path / "s") as wire:
        assert await settled(wire, await wire.submit(Message(guest="g", text="hi"))) == ["accepted"]


# --- back ---


async def test_a_reply_comes_over_the_webhook_and_is_reported_delivered(genesys: Emulator, tmp_path: Path) -> None:
    """Automatically where the message asked for it; *read* when the program says so, and that stays in the journal."""
    async with wired(kiosk(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello", read_receipt=True)))
        genesys.say("How can I help?")
        reply = await first_reply(wire, "42")
        assert reply.text == "How can I help?"
        await until(wire, "errand.done")
        await wire.acknowledge(reply)
        await wire.acknowledge(reply)
        await until(wire, "reply.read")
        events = Counter(entry.event for entry in await journal_of(wire))
    receipts = [logged for logged in genesys.requests() if logged["action"].endswith("receipt")]
    assert len(receipts) == 1
    assert (events["reply.delivered"], events["reply.read"], events["errand.queued"]) == (1, 1, 1)


async def test_a_reply_that_could_not_be_shown_is_reported_failed(genesys: Emulator, tmp_path: Path) -> None:
    """With a reason that the platform knows; another one is refused before anything is noted."""
    async with wired(kiosk(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        genesys.say("Are you there?")
        reply = await first_reply(wire, "42")
        with pytest.raises(ConfigError):
            await wire.acknowledge(reply, status="failed", reason="because")
        await wire.acknowledge(reply, status="failed", reason="MessageExpired")
        await until(wire, "reply.failed")
        await until(wire, "errand.done")


async def test_receipts_wait_for_nobodys_message(genesys: Emulator, tmp_path: Path) -> None:
    """A message that waits for its time holds no receipt back, and no receipt holds a message back."""
    async with wired(kiosk(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        await settled(wire, await wire.submit(Message(guest="42", text="hello")))
        genesys.say("hi")
        reply = await first_reply(wire, "42")
        genesys.inject("http_status", status=503, retry_after_s=30, match={"path": "open/message"})
        await wire.submit(Message(guest="42", text="waits"))
        await until(wire, "part.requeued")
        await wire.acknowledge(reply, status="delivered")
        await until(wire, "errand.done")


async def test_a_read_receipt_of_the_tutorial_contract_makes_a_message_read(genesys: Emulator, tmp_path: Path) -> None:
    """A receipt says what the answer only claimed."""
    async with wired(own_gateway(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        ticket = await wire.submit(Message(guest="42", text="hi", conversation="c1", read_receipt=True))
        await until(wire, "part.read")
        (part,), _ = await wire.find(ticket.message_id)
    assert part.state is PartState.READ


async def test_an_agent_who_writes_first_is_heard(genesys: Emulator, tmp_path: Path) -> None:
    """A guest of whom we have never heard becomes known by his first reply."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        body = {
            "id": "0123456789abcdef0123456789abcdef",
            "channel": {
                "id": genesys.integration_id,
                "platform": "Open",
                "type": "Private",
                "to": {"id": "somebody new", "idType": "Opaque"},
                "from": {"id": genesys.integration_id},
                "time": "2026-03-04T05:06:07.089Z",
            },
            "type": "Text",
            "text": "We have news",
            "direction": "Outbound",
        }
        raw = msgspec.json.encode(body)
        answer = await wire.receive_webhook({"x-hub-signature-256": signature(genesys.webhook_secret, raw)}, raw)
        assert answer.status == 200
        assert (await first_reply(wire, "somebody new")).text == "We have news"


def signature(secret: str, body: bytes) -> str:
    """Sign as the platform does; written out here, so that our own signing is not its own judge."""
    import base64
    import hashlib
    import hmac

    return "sha256=" + base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


async def test_without_a_secret_there_is_no_webhook(genesys: Emulator, tmp_path: Path) -> None:
    """Nothing that came could be believed; it is said at the start, with how to set one."""
    async with wired(kiosk(genesys, webhook_secret=None), folder=tmp_path / "s") as wire:
        with pytest.raises(ConfigError) as caught:
            async with WebhookServer(wire):
                pass
    assert caught.value.code == "GW-C047"


async def test_a_webhook_port_that_is_taken_is_told(genesys: Emulator, tmp_path: Path) -> None:
    """With the port, and what to do."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire, WebhookServer(wire) as first:
        with pytest.raises(ConfigError) as caught:
            async with WebhookServer(wire, port=first.port):
                pass
    assert caught.value.code == "GW-C051"
    assert str(first.port) in str(caught.value)


# --- addresses of files ---


async def one_file(request: web.Request) -> web.Response:
    """One file; every other path is not found."""
    return web.Response(body=b"x", status=200 if request.path == "/a.png" else 404)


@contextlib.asynccontextmanager
async def files(serve: Callable[[web.Request], Awaitable[web.Response]] = one_file) -> AsyncIterator[str]:
    """A server with files."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_address_that_does_not_answer_is_a_finding(genesys: Emulator, tmp_path: Path) -> None:
    """The platform would take the message and leave the file out, and nobody would know."""
    async with files() as place:
        to = kiosk(genesys, allow_links=(place,))
        async with wired(to, folder=tmp_path / "s") as wire:
            good = Message(guest="42", attachments=(RemoteFile(url=f"http://{place}/a.png"),))
            assert await settled(wire, await wire.submit(good)) == ["accepted"]
            for address in (f"http://{place}/missing.png", "http://127.0.0.1:9/a.png", "https://10.0.0.1/a.png"):
                with pytest.raises(Rejected) as caught:
                    await wire.submit(Message(guest="42", attachments=(RemoteFile(url=address),)))
                (finding,) = caught.value.findings
                assert finding.rule in ("link.unreachable", "link.refused")
                assert finding.path == "attachments"
    assert len(genesys.messages()) == 1


async def test_an_address_is_asked_once_however_many_messages_name_it(genesys: Emulator, tmp_path: Path) -> None:
    """And not at all for what is stored already: whoever says the same again is not told that it cannot be."""
    asked: list[str] = []
    gone = False

    async def serve(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=404 if gone else 200)

    async with files(serve) as place, wired(kiosk(genesys, allow_links=(place,)), folder=tmp_path / "s") as wire:
        messages = [
            Message(guest=f"g{n}", key=f"k{n}", attachments=(RemoteFile(url=f"http://{place}/a.png"),))
            for n in range(50)
        ]
        tickets = await wire.submit_many(messages)
        assert asked == ["/a.png"]
        gone = True
        again = await wire.submit_many(messages)
        assert [ticket.message_id for ticket in again] == [ticket.message_id for ticket in tickets]
        with pytest.raises(Rejected):
            await wire.submit(Message(guest="new", attachments=(RemoteFile(url=f"http://{place}/a.png"),)))


def test_the_settings_of_a_kiosk_show_no_secret(genesys: Any) -> None:
    """A logged destination gives neither client secret nor webhook secret away."""
    to = kiosk(genesys)
    for secret in (genesys.client_secret, genesys.webhook_secret):
        assert secret not in repr(to)


# --- what stands between ---

PAGE: dict[str, Any] = {"status": 403, "body": "<html>blocked</html>", "content_type": "text/html"}


async def test_a_firewall_that_answers_for_the_platform_kills_no_message(genesys: Emulator, tmp_path: Path) -> None:
    """Its page is no word of the platform's: everything waits, no attempt is spent, and goes out when it is gone."""
    genesys.inject("http_status", **PAGE, times=3, match={"path": "open/message"})
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        tickets = await wire.submit_many([Message(guest=f"g{n}", text=f"m{n}") for n in range(3)])
        assert await settled(wire, *tickets) == ["accepted"] * 3
        for ticket in tickets:
            (part,), _ = await wire.find(ticket.message_id)
            assert part.attempt == 1
        events = [entry.event for entry in await journal_of(wire)]
    assert "destination.trouble" in events
    assert "destination.reached" in events


async def test_a_message_that_a_firewall_does_not_like_stops_nobody_else(genesys: Emulator, tmp_path: Path) -> None:
    """Others have passed since it was turned away, and it is turned away again: so it is about this one."""
    genesys.inject("http_status", **PAGE, times=None, match={"text": "DROP TABLE"})
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        bad = await wire.submit(Message(guest="bobby", text="'; DROP TABLE guests"))
        await until(wire, "destination.trouble")
        good = await wire.submit_many([Message(guest=f"g{n}", text=f"m{n}") for n in range(5)])
        assert await settled(wire, *good) == ["accepted"] * 5
        assert await settled(wire, bad) == ["dead"]
    assert sorted(inbound(genesys)) == [f"m{n}" for n in range(5)]


# --- standing in line ---


@pytest.mark.parametrize("width", [1, 4])
async def test_nobody_waits_behind_a_guest_who_has_much_to_say(genesys: Emulator, tmp_path: Path, width: int) -> None:
    """Places are given in the order in which lanes asked for them: a backlog goes to the end of the line each time."""
    limits = Limits(max_in_flight=width, requests_per_min=100_000, messages_per_s=100_000)
    async with wired(kiosk(genesys, limits=limits), folder=tmp_path / "s") as wire:
        backlog = [Message(guest=f"hog {n % width}", text=f"backlog {n}") for n in range(100 * width)]
        await wire.submit_many(backlog)
        await until(wire, "part.accepted", times=5)
        before = len(inbound(genesys))
        assert await settled(wire, await wire.submit(Message(guest="small", text="my turn"))) == ["accepted"]
        # Those that were on their way when it came, one more round of the line, and what the disk took time for.
        assert inbound(genesys).index("my turn") < before + 60


async def test_a_wait_hears_of_its_own_destinations_trouble_alone(tmp_path: Path) -> None:
    """One client lacks a permission; the other destination's message is accepted, and its sender is told so."""
    async with (
        emulator(limits="off", missing_permissions="messaging:conversation:write") as genesys,
        wired(kiosk(genesys), own_gateway(genesys), folder=tmp_path / "s") as wire,
    ):
        barred = await wire.submit(Message(guest="42", text="barred", conversation="c").to_draft("tutorial"))
        with pytest.raises(AuthenticationError):
            await wire.wait(barred, timeout_s=PATIENCE_S)
        ticket = await wire.submit(Message(guest="42", text="free").to_draft("kiosk"))
        assert await settled(wire, ticket) == ["accepted"]


async def test_what_is_about_sessions_is_refused_where_there_are_none(genesys: Emulator, tmp_path: Path) -> None:
    """Closing or following a guest of Open Messaging would only seem to have worked."""
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire:
        for ask in (wire.guests.close("42"), wire.guests.follow("42"), wire.guests.clear("42")):
            with pytest.raises(GuestWireError) as caught:
                await ask
            assert caught.value.code == "GW-G004"
        assert await wire.guests.list() == []


async def test_a_guest_of_two_destinations_is_found_in_either(genesys: Emulator, tmp_path: Path) -> None:
    """The same key at two places is two guests; whoever means the second says so."""
    async with wired(own_gateway(genesys), kiosk(genesys), folder=tmp_path / "s", webhook=genesys) as wire:
        await wire.submit(Message(guest="42", text="first", conversation="c"))
        await settled(wire, await wire.submit(Message(guest="42", text="second").to_draft("kiosk")))
        (conversation,) = (one for one in genesys.conversations() if one["platform"] == "Open")
        genesys.say("for the second", conversation_id=conversation["conversation_id"])
        async with asyncio.timeout(PATIENCE_S):
            async for reply in wire.replies("42", to="kiosk"):
                assert reply.text == "for the second"
                break
        assert len(await wire.parts(guest="42", to="kiosk")) == 1


async def test_a_webhook_connection_that_says_nothing_is_closed(
    genesys: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a file of the process that sends; half a request is as good as none."""
    monkeypatch.setattr("guestwire.ports.READ_S", 0.05)
    async with wired(kiosk(genesys), folder=tmp_path / "s") as wire, WebhookServer(wire) as server:
        for said in (b"", b"POST / HTTP/1.1\r\nHost: x"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            async with asyncio.timeout(PATIENCE_S):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.close()
