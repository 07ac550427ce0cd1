"""The webhook: what is told, how it is signed, when it is told again, and every way to tell it wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from guestwire.emulator.records import AgentError
from guestwire.emulator.triggers import TriggerError
from guestwire.emulator.webhooks import signature_of
from tests.contract.test_emulator_kit import http, raw_guest
from tests.contract.test_emulator_rest_kit import (
    attempted,
    fixture,
    hook,
    needs_fixtures,
    open_messaging,
    settled,
    shape,
)

QUICK = [
    {"contentType": "QuickReply", "quickReply": {"text": text, "payload": f"{text}-payload", "action": "Message"}}
    for text in ("Yes", "No")
]


@needs_fixtures
def test_signatures_of_the_outside_vectors() -> None:
    """Base64 of the HMAC of the raw body, as the vectors have it."""
    vectors = fixture("webhook_signature_vectors")
    for vector in vectors["vectors"]:
        assert signature_of(vectors["secret"], vector["raw_body"].encode()) == vector["signature"]


async def test_what_agents_say_is_posted_and_signed() -> None:
    """Text, from the integration to the guest, with further headers and the signature of exactly these bytes."""
    async with (
        hook() as webhook,
        open_messaging(webhook_url=webhook.url, webhook_headers="X-Api-Key: abc, X-Other: d:e") as (genesys, client),
    ):
        await client.say("hello")
        said = genesys.say("Grüße 😀", nickname="Ann")
        got = await webhook.next()
        assert got.is_signed(genesys.webhook_secret)
        assert (got.headers["X-Api-Key"], got.headers["X-Other"]) == ("abc", "d:e")
        assert got.headers["Content-Type"] == "application/json"
        assert (got.json["id"], got.json["text"], got.json["direction"]) == (said, "Grüße 😀", "Outbound")
        channel = got.json["channel"]
        assert channel["to"] == {"id": "guest-42", "idType": "Opaque"}
        assert channel["from"] == {"id": genesys.integration_id, "idType": "Opaque", "nickname": "Ann"}
        (delivery,) = await settled(genesys, "delivered")
        assert (delivery["message_id"], delivery["type"], delivery["last_status"]) == (said, "Text", 200)


@needs_fixtures
async def test_every_kind_has_the_fields_of_its_fixture() -> None:
    """Text, quick replies, an attachment, typing and a receipt are spelled as outside sources show them."""
    settings = {"webhook_receipts": True, "open_typing_enabled": True}
    async with hook() as webhook, open_messaging(webhook_url=webhook.url, **settings) as (genesys, client):
        body = fixture("open_inbound_message_full")
        await client.ask("POST", client.inbound(), body)
        genesys.say("Hello, how can I help?")
        genesys.say("Do you want that?", content=QUICK, author="Bot")
        genesys.say(event="typing")
        genesys.say(attachment={"name": "receipt.png", "type": "image/png", "size": 10})
        got = [(await webhook.next()).json for _ in range(5)]
        for name, told in zip(("receipt_for_inbound", "text", "quickreplies", "typing"), got, strict=False):
            assert shape(told) == shape(fixture(f"webhook_outbound_{name}")), name
        expected, told = fixture("webhook_outbound_attachment"), got[4]
        assert set(told) == set(expected)
        assert told["text"] == ""
        assert set(expected["content"][0]["attachment"]) <= set(told["content"][0]["attachment"])
        assert got[0]["channel"]["messageId"] == "ext-0001"


async def test_the_file_that_an_agent_sends_can_be_fetched() -> None:
    """Its address is the emulator's own, and good for as long as the setting says."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        genesys.say(attachment={"name": "a.txt", "type": "text/plain", "text": "content"})
        attachment = (await webhook.next()).json["content"][0]["attachment"]
        assert attachment["url"].startswith(genesys.url)
        assert (await client.ask("GET", attachment["url"], token="")).raw == b"content"
        assert attachment["contentSizeBytes"] == 7


async def test_what_is_never_posted() -> None:
    """The end of a conversation, typing unless enabled, and whatever guests of the WebSocket are told."""
    async with (
        hook() as webhook,
        open_messaging(webhook_url=webhook.url, echo_delay_ms=0) as (genesys, client),
        raw_guest(genesys, "t") as guest,
    ):
        await guest.say("by socket")
        genesys.say("hi", token="t")
        await client.say("hello")
        genesys.say(event="typing", guest="guest-42")
        genesys.trigger("typing", guest="guest-42")
        genesys.disconnect(guest="guest-42")
        assert genesys.webhooks() == []
        await client.say("again")
        genesys.say("heard", guest="guest-42")
        assert (await webhook.next()).json["text"] == "heard"


async def test_without_an_address_nothing_is_posted() -> None:
    """What agents say is recorded all the same; an address can be set, changed and taken away while it runs."""
    async with hook() as webhook, open_messaging() as (genesys, client), http(genesys) as session:
        await client.say("hello")
        genesys.say("nobody is told")
        assert genesys.webhooks() == []
        for method in ("PUT", "POST"):
            async with session.request(method, "/_emulator/webhook", json={"url": webhook.url}) as answer:
                assert (answer.status, await answer.json()) == (200, {"url": webhook.url})
        genesys.say("told")
        assert (await webhook.next()).json["text"] == "told"
        listed = await settled(genesys, "delivered")
        assert await (await session.get("/_emulator/webhooks")).json() == listed
        assert (await (await session.get("/_emulator/webhook")).json())["url"] == genesys.state()["webhook_url"]
        genesys.set_webhook("")
        genesys.say("nobody is told")
        assert len(genesys.webhooks()) == 1
        assert len(genesys.messages()) == 4


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/",
        "https://hooks.example.com/genesys",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://localhost:80@evil.example/",
        "http://127.0.0.1:80\n.evil.example/",
        "//127.0.0.1/",
        "file:///etc/passwd",
        " http://127.0.0.1/",
    ],
)
async def test_it_posts_to_this_machine_only(url: str) -> None:
    """Whatever is not plainly loopback is refused, and the address stays as it was."""
    async with open_messaging(webhook_url="http://127.0.0.1:9/hook") as (genesys, _), http(genesys) as session:
        with pytest.raises(AgentError, match="this machine only"):
            genesys.set_webhook(url)
        async with session.put("/_emulator/webhook", json={"url": url}) as answer:
            assert answer.status == 400
        assert genesys.state()["webhook_url"] == "http://127.0.0.1:9/hook"


async def test_an_order_for_no_address_is_refused() -> None:
    """The admin API wants an object with a text."""
    async with open_messaging() as (genesys, _), http(genesys) as session:
        wrongs: list[Any] = [{}, [], {"url": 5}, {"url": None}]
        for wrong in wrongs:
            async with session.put("/_emulator/webhook", json=wrong) as answer:
                assert answer.status == 400


# --- again ---


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_it_is_told_again_five_times(status: int) -> None:
    """429 and 5xx are tried again after 5 s, five times, with the same bytes; then the delivery has failed."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [status] * 6
        await client.say("hello")
        genesys.say("hi")
        bodies = []
        for attempt in range(1, 7):
            bodies.append((await webhook.next()).raw)
            delivery = await attempted(genesys, attempt)
            assert delivery["last_status"] == status
            assert len(delivery["attempts"]) == attempt
            if attempt < 6:
                genesys.advance(4.9)
                assert len(genesys.webhooks()[-1]["attempts"]) == attempt
                genesys.advance(0.1)
        assert len(set(bodies)) == 1
        assert delivery["state"] == "failed"
        genesys.advance(60)
        assert len(genesys.webhooks()[-1]["attempts"]) == 6


async def test_a_late_success_ends_it() -> None:
    """The first attempt that is answered with 2xx is the last."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [503, 204]
        await client.say("hello")
        genesys.say("hi")
        await attempted(genesys, 1)
        genesys.advance(5)
        (delivery,) = await settled(genesys, "delivered")
        assert [each["status"] for each in delivery["attempts"]] == [503, 204]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_other_answers_end_it(status: int) -> None:
    """Another 4xx, and a redirect, are not tried again."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [status]
        await client.say("hello")
        genesys.say("hi")
        (delivery,) = await settled(genesys, "failed")
        assert [each["status"] for each in delivery["attempts"]] == [status]


async def test_silence_is_a_failure_after_ten_seconds() -> None:
    """An answer that does not come within 10 s counts for nothing, and is tried again 5 s later."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [None]
        await client.say("hello")
        genesys.say("hi")
        await webhook.next()
        genesys.advance(9.9)
        assert genesys.webhooks()[0]["last_status"] is None
        genesys.advance(0.1)
        assert genesys.webhooks()[0]["last_status"] == "timeout"
        webhook.let_go.set()
        genesys.advance(5)
        (delivery,) = await settled(genesys, "delivered")
        assert [each["status"] for each in delivery["attempts"]] == ["timeout", 200]


async def test_nobody_there_is_a_failure() -> None:
    """A port where nobody listens is tried again like silence."""
    async with hook() as webhook:
        gone = webhook.url
    async with open_messaging(webhook_url=gone, webhook_retries=1, webhook_retry_s=2) as (genesys, client):
        await client.say("hello")
        genesys.say("hi")
        assert (await attempted(genesys, 1))["state"] == "waiting"
        genesys.advance(2)
        (delivery,) = await settled(genesys, "failed")
        assert [each["status"] for each in delivery["attempts"]] == ["unreachable", "unreachable"]


async def test_first_attempts_keep_their_order() -> None:
    """What one guest is told goes out one after the other; what is tried again does not hold up the rest."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [503]
        await client.say("hello")
        for number in range(5):
            genesys.say(f"m{number}")
        assert [(await webhook.next()).json["text"] for _ in range(5)] == [f"m{number}" for number in range(5)]
        await settled(genesys, "delivered", 4)
        genesys.advance(5)
        assert (await webhook.next()).json["text"] == "m0"
        await settled(genesys, "delivered", 5)


async def test_a_reset_gives_up_what_is_on_its_way() -> None:
    """Deliveries are forgotten, and none of them is made afterwards."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        webhook.answers = [503, None]
        await client.say("hello")
        genesys.say("one")
        genesys.say("two")
        await webhook.next()
        await webhook.next()
        genesys.reset()
        assert genesys.webhooks() == []
        genesys.advance(100)
        assert (genesys.webhooks(), webhook.got.qsize()) == ([], 0)


# --- receipts ---


async def test_receipts_for_what_guests_say() -> None:
    """Off by default; switched on each accepted message gets one, about the id of its answer."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        assert genesys.webhooks() == []
    async with hook() as webhook, open_messaging(webhook_url=webhook.url, webhook_receipts=True) as (genesys, client):
        said = (await client.say("hello", message_id="ext-1")).json
        got = (await webhook.next()).json
        assert (got["type"], got["status"], got["id"]) == ("Receipt", "Published", said["id"])
        assert got["channel"]["messageId"] == "ext-1"
        await client.ask("POST", client.inbound(), {"text": "refused"})
        assert len(genesys.webhooks()) == 1


async def test_receipts_on_demand() -> None:
    """About the last message, a given one, one that nobody said, and one that the guest has yet to send."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        first, last = [(await client.say(text)).json["id"] for text in ("one", "two")]
        told = []
        for parameters in (
            {},
            {"status": "Failed", "id": first},
            {"id": "unknown"},
            {"id": "future", "status": "Read"},
        ):
            ids = genesys.trigger("receipt", **parameters)
            got = (await webhook.next()).json
            assert [got["id"]] == ids
            told.append((got["id"], got["status"]))
        assert told[:2] == [(last, "Published"), (first, "Failed")]
        assert told[2][0] not in (first, last)
        assert (await client.say("three")).json["id"] == told[3][0]
        with pytest.raises(AgentError, match="last, unknown, future"):
            genesys.trigger("receipt", id="nonsense")


async def test_receipts_are_for_guests_over_rest() -> None:
    """A guest of the WebSocket gets none, and neither does one who has said nothing."""
    async with open_messaging(echo_delay_ms=0) as (genesys, _), raw_guest(genesys, "t") as guest:
        await guest.say("hello")
        with pytest.raises(AgentError, match="came over the WebSocket"):
            genesys.trigger("receipt", token="t")


# --- odd deliveries ---


@pytest.mark.parametrize("junk", ["not_json", "no_object", "content_type", "unknown_type", "huge"])
async def test_junk_is_well_signed(junk: str) -> None:
    """Each kind arrives with a good signature: what is wrong with it is something else."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, _):
        assert genesys.trigger("webhook_junk", junk=junk) == []
        got = await webhook.next()
        assert got.is_signed(genesys.webhook_secret)
        checks: dict[str, Any] = {
            "not_json": lambda: not got.raw.endswith(b"}"),
            "no_object": lambda: isinstance(got.json, list),
            "content_type": lambda: got.headers["Content-Type"].startswith("text/plain"),
            "unknown_type": lambda: got.json["type"] == "Hologram",
            "huge": lambda: len(got.raw) > 5_000_000,
        }
        assert checks[junk]()


async def test_junk_needs_an_address_and_a_kind() -> None:
    """Without a webhook there is nowhere to send it, and only what there is can be asked for."""
    async with open_messaging() as (genesys, _):
        with pytest.raises(AgentError, match="no webhook"):
            genesys.trigger("webhook_junk")
        with pytest.raises(TriggerError, match="not_json"):
            genesys.trigger("webhook_junk", junk="more")


@pytest.mark.parametrize(("form", "begins"), [("wrong", "sha256="), ("hex", "sha256="), ("missing", None)])
async def test_bad_signatures(form: str, begins: str | None) -> None:
    """Signed with another secret, in hex, or not at all; the next one is right again."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        genesys.inject("webhook_bad_signature", form=form)
        genesys.say("bad")
        genesys.say("good")
        bad, good = await webhook.next(), await webhook.next()
        header = bad.headers.get("X-Hub-Signature-256")
        assert not bad.is_signed(genesys.webhook_secret)
        assert header is None if begins is None else header.startswith(begins)
        assert good.is_signed(genesys.webhook_secret)
        assert genesys.state()["faults_fired"] == {"webhook_bad_signature": 1}


async def test_twice_and_never() -> None:
    """One arrives twice with the same bytes, another never; the list tells which."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        genesys.inject("webhook_twice", match={"text": "twice"})
        genesys.inject("webhook_drop", match={"text": "never"})
        for text in ("never", "twice", "once"):
            genesys.say(text)
        got = [await webhook.next() for _ in range(3)]
        assert [each.json["text"] for each in got] == ["twice", "twice", "once"]
        assert got[0].raw == got[1].raw
        assert [each["state"] for each in await settled(genesys, "delivered", 3)] == [
            "dropped",
            "delivered",
            "delivered",
            "delivered",
        ]


async def test_the_later_one_first() -> None:
    """A held delivery goes out after the next one for that guest, or when its time is over."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        genesys.inject("webhook_reorder", match={"action": "Text"}, delay_ms=60_000)
        genesys.say("first")
        genesys.say("second")
        assert [(await webhook.next()).json["text"] for _ in range(2)] == ["second", "first"]
        await settled(genesys, "delivered", 2)
        genesys.inject("webhook_reorder", delay_ms=60_000)
        genesys.say("third")
        genesys.advance(60)
        assert (await webhook.next()).json["text"] == "third"
        assert len(await settled(genesys, "delivered", 3)) == 3


async def test_what_triggers_say_comes_too() -> None:
    """A hostile text arrives as it is, something twice has the same id, and the later may come first."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url) as (genesys, client):
        await client.say("hello")
        ids = [*genesys.trigger("hostile_reply"), *genesys.trigger("duplicate"), *genesys.trigger("unknown_content")]
        got = [(await webhook.next()).json for _ in range(3)]
        assert [each["id"] for each in got] == ids
        assert ids[0] == ids[1]
        assert "\x1b[31m" in got[0]["text"]
        assert got[2]["content"] == [{"contentType": "Hologram", "hologram": {"depth": 3}}]
        first, second = genesys.trigger("out_of_order")
        assert [(await webhook.next()).json["id"] for _ in range(2)] == [second, first]
        with pytest.raises(AgentError, match="not connected"):
            genesys.trigger("drop")
        with pytest.raises(AgentError, match="nobody with this id"):
            genesys.say("x", guest="nobody")


async def test_the_list_is_bounded() -> None:
    """The oldest deliveries are forgotten first."""
    async with hook() as webhook, open_messaging(webhook_url=webhook.url, webhook_log=2) as (genesys, client):
        await client.say("hello")
        for number in range(3):
            genesys.say(f"m{number}")
            await webhook.next()
        assert [each["id"] for each in genesys.webhooks()] == ["w2", "w3"]
