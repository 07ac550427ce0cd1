"""Open Messaging's inbound routes: what is accepted, shown and answered, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from guestwire.testing import emulator
from tests.contract.test_emulator_kit import http, raw_guest
from tests.contract.test_emulator_rest_kit import (
    MESSAGES,
    fixture,
    message,
    needs_fixtures,
    open_messaging,
    rest,
    shape,
)

ATTACHMENT = {"mediaType": "Image", "url": "https://cdn.example.com/a.png", "mime": "image/png", "filename": "a.png"}


async def test_a_message_is_accepted_and_seen() -> None:
    """What a guest says over REST stands among what agents see, with whence it came and under which id."""
    async with open_messaging() as (genesys, client):
        body = message("hello", "guest-42", "ext-1", metadata={"k": "v"}, content=[{"attachment": ATTACHMENT}])
        body["channel"]["metadata"] = {"customAttributes": {"plan": "gold"}}
        body["channel"]["from"]["nickname"] = "Ada"
        answer = await client.ask("POST", client.inbound(), body)
        assert answer.status == 202
        assert "conversationId" not in answer.json
        (seen,) = genesys.messages()
        (conversation,) = genesys.conversations()
        assert answer.json["id"] == seen["id"]
        expected = {
            "platform": "Open",
            "guest_id": "guest-42",
            "deployment_id": None,
            "direction": "Inbound",
            "nickname": "Ada",
            "channel_message_id": "ext-1",
            "type": "Text",
            "text": "hello",
            "attachments": [ATTACHMENT],
            "custom_attributes": {"plan": "gold"},
            "metadata": {"k": "v"},
            "time": "2026-03-04T05:06:07.089Z",
        }
        assert {name: seen[name] for name in expected} == expected
        assert (conversation["platform"], conversation["guest_id"], conversation["custom_attributes"]) == (
            "Open",
            "guest-42",
            {"plan": "gold"},
        )
        assert genesys.messages(token="guest-42") == [seen]


async def test_guests_of_both_doors_stand_in_one_ledger() -> None:
    """The order is that of acceptance, whichever way a guest came; a guest of the WebSocket is told as before."""
    async with open_messaging(echo_delay_ms=0) as (genesys, client), raw_guest(genesys, "t") as guest:
        await guest.say("by socket")
        await client.say("by rest")
        assert [(seen["platform"], seen["text"], seen["guest_id"]) for seen in genesys.messages()] == [
            ("WebMessaging", "by socket", None),
            ("Open", "by rest", "guest-42"),
        ]
        genesys.say("hi", token="t")
        assert (await guest.recv())["body"]["text"] == "hi"
        assert genesys.messages()[0]["deployment_id"] == genesys.deployment_id


@needs_fixtures
@pytest.mark.parametrize("prefetch", [False, True])
async def test_a_message_is_answered_as_the_fixtures_are(prefetch: bool) -> None:
    """The full request of the fixtures gets exactly the fields of the fixtures' answer, and its own values."""
    sent = fixture("open_inbound_message_full")
    async with open_messaging() as (genesys, client):
        query = "?prefetchConversationId=true" if prefetch else ""
        answer = await client.ask("POST", client.inbound() + query, sent)
        expected = fixture("open_inbound_message_response")
        if prefetch:
            expected["conversationId"] = genesys.conversations()[0]["conversation_id"]
        expected["id"] = answer.json["id"]
        expected["channel"]["id"] = expected["channel"]["to"]["id"] = genesys.integration_id
        assert answer.json == expected


@needs_fixtures
@pytest.mark.parametrize(
    ("route", "request_name", "answer_name"),
    [
        ("message", "open_inbound_message_min", None),
        ("message", "open_inbound_message_attachment_only", None),
        ("event", "open_inbound_event_typing", "open_inbound_event_response"),
        ("structured/response", "open_inbound_structured_response", None),
    ],
)
async def test_requests_of_the_fixtures_are_accepted(route: str, request_name: str, answer_name: str | None) -> None:
    """Every request that outside sources show is accepted, and answered with the fields that they show."""
    async with open_messaging() as (genesys, client):
        answer = await client.ask("POST", client.inbound(route), fixture(request_name))
        assert answer.status == 202, answer.raw
        assert answer.json["channel"]["id"] == genesys.integration_id
        if answer_name is not None:
            assert shape(answer.json) == shape(fixture(answer_name))


@needs_fixtures
async def test_the_deprecated_route_works_and_says_so() -> None:
    """It names the integration in its body, accepts a message, and marks its answer."""
    async with open_messaging() as (genesys, client):
        sent = fixture("open_inbound_legacy_deprecated")
        path = f"{MESSAGES}/inbound/open"
        assert (await client.ask("POST", path, sent)).status == 404
        sent["channel"]["id"] = sent["channel"]["to"]["id"] = genesys.integration_id
        answer = await client.ask("POST", path, sent)
        assert (answer.status, answer.headers["Deprecation"]) == (202, "true")
        assert answer.json["direction"] == "Inbound"
        assert [seen["channel_message_id"] for seen in genesys.messages()] == ["ext-0004"]
        assert (await client.ask("POST", path, {**sent, "type": "Receipt"})).status == 400
        assert (await client.ask("POST", path, {"channel": 5})).status == 400


@pytest.mark.parametrize("status", [200, 202])
async def test_both_statuses_of_acceptance(status: int) -> None:
    """200 and 202 are both documented; a setting says which."""
    async with open_messaging(inbound_status=status) as (_, client):
        assert (await client.say("hello")).status == status


async def test_a_guest_has_one_conversation_until_the_agent_ends_it() -> None:
    """By `from.id`; after a disconnect, and after the threading window, the next message begins another."""
    async with open_messaging(threading_window_s=1000) as (genesys, client):
        first = (await client.say("one")).json["conversationId"]
        assert (await client.say("two")).json["conversationId"] == first
        assert (await client.say("other", "guest-43")).json["conversationId"] != first
        genesys.disconnect(guest="guest-42", read_only=True)
        second = (await client.say("three")).json["conversationId"]
        assert second != first
        genesys.advance(999)
        assert (await client.say("four")).json["conversationId"] == second
        genesys.advance(1000)
        assert (await client.say("five")).json["conversationId"] not in (first, second)
        live = [each["guest_id"] for each in genesys.conversations() if each["ended_at"] is None]
        assert live == ["guest-43", "guest-42"]


async def test_a_repeated_message_id_is_shown_twice() -> None:
    """Nothing promises that a repetition is noticed: by default it is a message of its own."""
    async with open_messaging() as (genesys, client):
        one, two = await client.say("hello", message_id="ext-1"), await client.say("hello", message_id="ext-1")
        assert one.json["id"] != two.json["id"]
        assert [seen["channel_message_id"] for seen in genesys.messages()] == ["ext-1", "ext-1"]


async def test_a_repeated_message_id_can_be_noticed() -> None:
    """With `dedupe_message_id` it is answered as the first was and shown once; another guest's is another."""
    async with open_messaging(dedupe_message_id=True) as (genesys, client):
        one, two = await client.say("hello", message_id="ext-1"), await client.say("again", message_id="ext-1")
        assert one.json == two.json
        await client.say("hello", "guest-43", message_id="ext-1")
        await client.say("no id")
        await client.say("no id")
        assert len(genesys.messages()) == 4


async def test_media_that_is_not_let_in_is_dropped() -> None:
    """The message is kept without it; what is let in is noted by its address and fetched by nobody."""
    async with open_messaging(open_allowed_media="image/*,application/pdf") as (genesys, client):
        kept = await client.say("kept", content=[{"attachment": ATTACHMENT}])
        dropped = await client.say("dropped", content=[{"attachment": {**ATTACHMENT, "mime": "video/mp4"}}])
        alone = message(None, content=[{"attachment": {**ATTACHMENT, "mime": "text/html"}}])
        assert (await client.ask("POST", client.inbound(), alone)).status == 202
        assert kept.json["content"] == [{"contentType": "Attachment", "attachment": ATTACHMENT}]
        assert "content" not in dropped.json
        assert [(seen["text"], len(seen["attachments"])) for seen in genesys.messages()] == [
            ("kept", 1),
            ("dropped", 0),
            (None, 0),
        ]


async def test_a_structured_answer() -> None:
    """A choice is seen as one, with what it answers; the answer repeats it."""
    async with open_messaging() as (genesys, client):
        await client.say("hello")
        offer = genesys.say(
            "Well?", content=[{"contentType": "QuickReply", "quickReply": {"text": "Y", "payload": "y"}}]
        )
        button = {"type": "QuickReply", "text": "Y", "payload": "y"}
        body = {**message(None), "buttonResponse": {**button, "id": "old"}, "originatingMessageId": offer}
        answer = await client.ask("POST", client.inbound("structured/response"), body)
        assert (answer.status, answer.json["type"]) == (202, "Structured")
        assert answer.json["content"] == [{"contentType": "ButtonResponse", "buttonResponse": button}]
        seen = genesys.messages()[-1]
        assert seen["content"][0]["buttonResponse"] == {**button, "originatingMessageId": offer}


async def test_typing_is_accepted_and_shown_only_if_enabled() -> None:
    """By default nobody sees it; enabled, followers do. It is no message, and begins no conversation."""
    body = {**message(None), "events": [{"eventType": "Typing"}]}
    for enabled in (False, True):
        async with open_messaging(open_typing_enabled=enabled) as (genesys, client), http(genesys) as session:
            assert (await client.ask("POST", client.inbound("event"), body)).status == 202
            assert genesys.conversations() == []
            await client.say("hello")
            async with session.get("/_emulator/events") as events:
                await client.ask("POST", client.inbound("event"), body)
                await client.say("bye")
                told = b""
                async with asyncio.timeout(5):
                    while b"bye" not in told:
                        told += await events.content.readany()
            assert (b"Typing" in told) is enabled
            assert len(genesys.messages()) == 2


async def test_receipts_say_what_became_of_the_agents_message() -> None:
    """They show in the agent's message, the last one as its status; unknown ids and the guest's own get 404."""
    async with open_messaging() as (genesys, client):
        mine = (await client.say("hello")).json["id"]
        said = genesys.say("hi")
        to = {"to": {"id": "guest-42", "idType": "Opaque"}, "time": "2026-03-04T05:06:07.089Z"}
        reasons = [{"code": "InvalidDestination", "message": "recipient unknown"}]
        ok = await client.ask(
            "POST",
            client.inbound("receipt"),
            {"id": said, "channel": to, "status": "Delivered", "isFinalReceipt": False},
        )
        assert (ok.status, ok.json["status"], ok.json["direction"]) == (202, "Delivered", "Outbound")
        assert genesys.messages()[-1]["status"] == "delivery-success"
        await client.ask(
            "POST", client.inbound("receipt"), {"id": said, "channel": to, "status": "Failed", "reasons": reasons}
        )
        seen = genesys.messages()[-1]
        assert seen["status"] == "delivery-failed"
        assert [each["status"] for each in seen["receipts"]] == ["Delivered", "Failed"]
        assert seen["receipts"][1]["reasons"] == reasons
        for unknown in (mine, "0" * 32):
            body = {"id": unknown, "channel": to, "status": "Delivered"}
            assert (await client.ask("POST", client.inbound("receipt"), body)).status == 404


@needs_fixtures
@pytest.mark.parametrize("name", ["open_inbound_receipt_delivered", "open_inbound_receipt_failed"])
async def test_receipts_of_the_fixtures(name: str) -> None:
    """The fixtures' receipts are accepted for a message that was said, and answered with the fixtures' fields."""
    async with open_messaging() as (genesys, client):
        await client.say("hello")
        answer = await client.ask("POST", client.inbound("receipt"), {**fixture(name), "id": genesys.say("hi")})
        assert answer.status == 202
        expected = shape(fixture("open_inbound_receipt_response"))
        got = shape(answer.json)
        got.pop("reasons", None)
        assert got == expected


# --- what is refused ---


def without(path: str) -> Any:
    """A full message without what stands at a path."""
    body = message("hello", message_id="ext-1", content=[{"attachment": dict(ATTACHMENT)}])
    place: Any = body
    *parents, last = path.split("/")
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    del place[last]
    return body


def replaced(path: str, value: Any) -> Any:
    """A full message with something else at a path."""
    body = message("hello", message_id="ext-1", content=[{"attachment": dict(ATTACHMENT)}], metadata={})
    place: Any = body
    *parents, last = path.split("/")
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (without("channel"), "bad.request", "required property 'channel'"),
        (without("channel/from"), "bad.request", "required property 'from'"),
        (without("channel/from/id"), "bad.request", "required property 'id'"),
        (without("channel/from/idType"), "bad.request", "required property 'idType'"),
        (without("channel/time"), "bad.request", "required property 'time'"),
        (without("content/0/attachment"), "bad.request", "required property 'attachment'"),
        (without("content/0/attachment/url"), "bad.request", "required property 'url'"),
        (without("content/0/attachment/mime"), "bad.request", "required property 'mime'"),
        (without("content/0/attachment/mediaType"), "bad.request", "required property 'mediaType'"),
        (replaced("channel/from/idType", "emal"), "invalid.value", "Value [emal] is not valid for field type [idType]"),
        (replaced("channel/from/idType", "outdated_sdk_version"), "invalid.value", "outdated_sdk_version"),
        (replaced("content/0/attachment/mediaType", "Hologram"), "invalid.value", "[mediaType]"),
        (replaced("channel/time", "yesterday"), "invalid.date", "yesterday"),
        (replaced("channel/time", "2026-03-04T05:06:07.089"), "invalid.date", "yyyy-MM-dd"),
        (replaced("channel/time", "2026-02-31T05:06:07Z"), "invalid.date", "2026-02-31"),
        (replaced("channel/time", 5), "invalid.date", "5"),
        (replaced("channel/from", "guest-42"), "bad.request", "should be object"),
        (replaced("channel/from/id", 42), "bad.request", "should be string"),
        (replaced("channel/from/nickname", 42), "bad.request", "nickname should be string"),
        (replaced("channel/messageId", 5), "bad.request", "messageId should be string"),
        (replaced("channel/metadata", {"customAttributes": {"a": {"b": 1}}}), "bad.request", "malformed syntax"),
        (replaced("metadata", {"a": {"b": "c"}}), "bad.request", "malformed syntax"),
        (replaced("metadata", {"a": 1}), "bad.request", "malformed syntax"),
        (replaced("text", 5), "bad.request", ".text should be string"),
        (replaced("content", []), "bad.request", ".content should be array"),
        (replaced("content", [{"attachment": ATTACHMENT}] * 2), "bad.request", "NOT have more than 1 items"),
        (replaced("content/0/attachment/url", "cdn.example.com/a.png"), "bad.request", "format uri"),
        (replaced("content/0/attachment/url", "https://[::1"), "bad.request", "format uri"),
        (message(None), "bad.request", "should match some schema in anyOf"),
        ({**message(None), "buttonResponse": {}}, "bad.request", "should match some schema in anyOf"),
        ([], "bad.request", "malformed syntax"),
        ("x", "bad.request", "malformed syntax"),
        (None, "bad.request", "malformed syntax"),
    ],
)
async def test_bodies_that_are_refused(body: Any, code: str, says: str) -> None:
    """Each gets 400 with a code and words, and nobody sees a message."""
    async with open_messaging() as (genesys, client):
        answer = await client.ask(
            "POST", client.inbound(), data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        assert (answer.status, answer.json["status"], answer.json["code"]) == (400, 400, code)
        assert says in answer.json["message"]
        assert genesys.messages() == []
        assert genesys.state()["errors"] == {code: 1}


@pytest.mark.parametrize(
    ("route", "body", "code"),
    [
        ("event", message(None), "bad.request"),
        ("event", {**message(None), "events": []}, "bad.request"),
        ("event", {**message(None), "events": [{"eventType": "Presence"}]}, "invalid.value"),
        ("event", {**message(None), "events": ["Typing"]}, "bad.request"),
        ("structured/response", message("Yes"), "bad.request"),
        (
            "structured/response",
            {**message(None), "buttonResponse": {"type": "Hologram", "text": "a", "payload": "a"}},
            "invalid.value",
        ),
        (
            "structured/response",
            {**message(None), "buttonResponse": {"type": "Button", "text": "a", "payload": "a"}},
            "bad.request",
        ),
        ("receipt", {"id": "x", "status": "Delivered"}, "bad.request"),
        ("receipt", {"channel": {"to": {"id": "g"}, "time": "2026-03-04T05:06:07Z"}, "status": "Sent"}, "bad.request"),
        (
            "receipt",
            {"id": "x", "channel": {"to": {"id": "g"}, "time": "2026-03-04T05:06:07Z"}, "status": "Read"},
            "invalid.value",
        ),
        (
            "receipt",
            {
                "id": "x",
                "channel": {"to": {"id": "g"}, "time": "2026-03-04T05:06:07Z"},
                "status": "Failed",
                "reasons": [{"message": "m", "code": "Odd"}],
            },
            "invalid.value",
        ),
    ],
)
async def test_other_bodies_that_are_refused(route: str, body: Any, code: str) -> None:
    """Events, structured answers and receipts have rules of their own."""
    async with open_messaging() as (_, client):
        answer = await client.ask("POST", client.inbound(route), body)
        assert (answer.status, answer.json["code"]) == (400, code)


@pytest.mark.parametrize(
    ("time", "lenient", "strict"),
    [
        ("2026-03-04T05:06:07Z", 202, 202),
        ("2026-03-04T05:06:07.089Z", 202, 202),
        ("2026-03-04T05:06:07.089123+00:00", 202, 400),
        ("2026-03-04T05:06:07+0100", 202, 400),
    ],
)
async def test_times(time: str, lenient: int, strict: int) -> None:
    """By default every ISO time with a zone is understood, as the SDK writes them; or only what is documented."""
    for any_iso_time, status in ((True, lenient), (False, strict)):
        async with open_messaging(any_iso_time=any_iso_time) as (_, client):
            answer = await client.ask("POST", client.inbound(), replaced("channel/time", time))
            assert answer.status == status


async def test_text_has_a_limit_only_if_set() -> None:
    """None is published; a setting makes one, in characters."""
    async with open_messaging(open_max_text=3) as (_, client):
        assert [(await client.say(text)).status for text in ("äöü", "äöüß")] == [202, 400]
    async with open_messaging() as (_, client):
        assert (await client.say("x" * 100_000)).status == 202


async def test_what_is_no_json_and_what_is_too_large() -> None:
    """415 for another media type, 413 beyond the limit with the number, 400 for JSON that cannot be read."""
    async with open_messaging(max_request_bytes=1000) as (genesys, client):
        path = client.inbound()
        for data, content_type, status in (
            (b"{}", "text/plain", 415),
            (b"{}", "application/x-www-form-urlencoded", 415),
            (b'{"channel":', "application/json", 400),
            (b"\xff", "application/json; charset=utf-8", 400),
            (json.dumps(message("x" * 1000)).encode(), "application/json", 413),
            (b"x" * 3_000_000, "application/json", 413),
        ):
            answer = await client.ask("POST", path, data=data, headers={"Content-Type": content_type})
            assert (answer.status, answer.json["status"]) == (status, status)
        assert answer.json["messageParams"] == {"maximumBytes": "1000"}
        assert (await client.say("still there")).status == 202
        assert len(genesys.messages()) == 1


@needs_fixtures
async def test_refusals_in_the_words_of_the_fixtures() -> None:
    """400, 403, 404, 413 and 415 are, but for the ids, what the fixtures say."""
    full = fixture("open_inbound_message_full")
    odd = {**full, "channel": {**full["channel"], "from": {"id": "g", "idType": "emal"}}}
    async with open_messaging() as (_, client):
        json_type: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}
        answers = {
            "error_400_bad_request": await client.ask("POST", client.inbound(), data=b"{", **json_type),
            "error_400_schema": await client.ask("POST", client.inbound(), message(None)),
            "error_404_not_found": await client.ask("POST", f"{MESSAGES}/other/inbound/open/message", full),
            "error_413_too_large": await client.ask("POST", client.inbound(), data=b"x" * 1_048_577, **json_type),
            "error_415_media_type": await client.ask("POST", client.inbound(), data=b"{}"),
        }
        invalid = (await client.ask("POST", client.inbound(), odd)).json
    async with open_messaging(missing_permissions="conversation:message:receive") as (genesys, client):
        answers["error_403_missing_permissions"] = await client.say("hello")
        assert genesys.messages() == []
    for name, answer in answers.items():
        assert {**answer.json, "contextId": ""} == {**fixture(name), "contextId": ""}, name
    assert shape(invalid) == shape(fixture("error_400_invalid_value"))
    assert invalid["message"].startswith("Value [emal] is not valid for field type [idType]. Allowable values are: ")


async def test_a_missing_permission_is_named() -> None:
    """403 names what is missing; where any of several will do, all of them must be."""
    both = "conversation:message:view,conversation:webmessaging:view"
    async with open_messaging(missing_permissions=f"{both},conversation:message:create") as (genesys, client):
        said = (await client.say("hello")).json
        view = await client.ask("GET", f"{MESSAGES}/{said['conversationId']}")
        assert (view.status, view.json["code"]) == (403, "missing.any.permissions")
        assert view.json["messageParams"]["permissions"] == f"[{both.replace(',', ', ')}]"
        create = await client.ask(
            "POST", f"{MESSAGES}/{said['conversationId']}/communications/x/messages", {"textBody": "x"}
        )
        assert create.status == 404
        assert genesys.state()["errors"] == {"missing.any.permissions": 1, "not.found": 1}


# --- the rate of a token ---


async def test_a_token_has_a_rate_of_its_own() -> None:
    """The headers count a sliding minute; one too many gets 429 with the seconds to wait; another token goes on."""
    async with open_messaging(token_requests_per_minute=3) as (genesys, client):
        counts = []
        for number in range(3):
            answer = await client.say(f"m{number}")
            counts.append([answer.headers[f"inin-ratelimit-{name}"] for name in ("count", "allowed")] + [answer.status])
        assert counts == [["1", "3", 202], ["2", "3", 202], ["3", "3", 202]]
        refused = await client.say("one too many")
        wait_s = refused.headers["Retry-After"]
        assert (refused.status, refused.headers["inin-ratelimit-count"]) == (429, "4")
        assert wait_s == "60"
        assert refused.headers["inin-ratelimit-reset"] == wait_s
        assert f"[{wait_s}] seconds" in refused.json["message"]
        assert refused.json["limit"] == {
            "key": "client.credentials.token.rate.per.minute",
            "namespace": "platform.api",
            "value": 3,
        }
        other = (await client.log_in()).json["access_token"]
        assert (await client.ask("POST", client.inbound(), message("other"), token=other)).status == 202
        genesys.advance(int(wait_s))
        assert (await client.say("now")).status == 202
        assert [seen["text"] for seen in genesys.messages()] == ["m0", "m1", "m2", "other", "now"]
        assert genesys.state()["throttles"] == {"token_requests_per_minute": 1}


@needs_fixtures
async def test_headers_and_throttles_of_the_fixtures() -> None:
    """Success and 429 carry the headers of the fixtures, and 429 the fields and words."""
    async with open_messaging(token_requests_per_minute=1) as (_, client):
        accepted, refused = await client.say("one"), await client.say("two")
        assert set(fixture("headers_200")) <= set(accepted.headers)
        assert set(fixture("headers_429")) <= set(refused.headers)
        assert shape(refused.json) == shape(fixture("error_429_rate_limited"))
        assert refused.json["messageWithParams"] == fixture("error_429_rate_limited")["messageWithParams"]


async def test_without_limits_there_is_no_rate() -> None:
    """With `limits=off` nothing is counted and nothing announced."""
    async with open_messaging(limits="off", token_requests_per_minute=1) as (genesys, client):
        answers = [await client.say("x") for _ in range(5)]
        assert [answer.status for answer in answers] == [202] * 5
        assert "inin-ratelimit-allowed" not in answers[-1].headers
        assert answers[-1].headers["ININ-Correlation-Id"]
        assert genesys.state()["limits"]["token_requests_per_minute"] is None


async def test_every_request_is_noted_for_auditors() -> None:
    """The log has the action, the token's SHA-256 and the status, refused requests included."""
    async with open_messaging() as (genesys, client):
        said = (await client.say("hello")).json
        await client.ask("POST", client.inbound("event"), {})
        await client.ask("GET", f"{MESSAGES}/{said['id']}/details")
        await client.ask("GET", f"{MESSAGES}/{said['conversationId']}", token="wrong")
        noted = [(each["action"], each["answered"], each["connection"]) for each in genesys.requests()]
        assert noted == [
            ("oauth/token", 200, 0),
            ("POST open/message", 202, 0),
            ("POST open/event", 400, 0),
            ("GET message/details", 200, 0),
            ("GET conversation", 401, 0),
        ]
        hashes = [each["token_sha256"] for each in genesys.requests()]
        assert hashes[0] == ""
        assert hashes[1] == hashes[2] == hashes[3] != hashes[4]
        assert genesys.state()["requests"]["POST open/message"] == 1


async def test_ids_follow_from_seed_and_requests() -> None:
    """The same requests get the same ids, whatever other guests do in between."""

    async def run(*, disturbed: bool) -> list[Any]:
        async with open_messaging(seed=9) as (_, client):
            found = []
            for number in range(3):
                if disturbed:
                    await client.say("noise", "somebody else")
                answer = (await client.say(f"m{number}")).json
                found.append((answer["id"], answer["conversationId"]))
            return found

    assert await run(disturbed=False) == await run(disturbed=True)


async def test_the_integration() -> None:
    """It can be read, without its secret."""
    async with open_messaging(webhook_url="http://127.0.0.1:9/hook", webhook_headers="X-Api-Key: abc") as (
        genesys,
        client,
    ):
        path = "/api/v2/conversations/messaging/integrations/open"
        answer = await client.ask("GET", f"{path}/{genesys.integration_id}")
        assert (answer.status, answer.json["id"], answer.json["status"]) == (200, genesys.integration_id, "Active")
        assert answer.json["outboundNotificationWebhookUrl"] == "http://127.0.0.1:9/hook"
        assert answer.json["webhookHeaders"] == {"X-Api-Key": "abc"}
        assert genesys.webhook_secret not in answer.raw.decode()
        assert (await client.ask("GET", f"{path}/other")).status == 404


@needs_fixtures
async def test_the_integration_has_the_fields_of_the_fixture() -> None:
    """No field more or less than outside sources show."""
    async with open_messaging(webhook_headers="X-Api-Key: abc") as (genesys, client):
        answer = await client.ask("GET", f"/api/v2/conversations/messaging/integrations/open/{genesys.integration_id}")
        assert shape(answer.json) == shape(fixture("open_integration_response"))


async def test_bots_answer_guests_over_rest() -> None:
    """A bot hears them, and what it says is recorded as theirs."""
    async with open_messaging(script="echo", echo_delay_ms=0) as (genesys, client):
        await client.say("hello")
        genesys.advance(0)
        assert [(seen["direction"], seen["author"]) for seen in genesys.messages()] == [
            ("Inbound", None),
            ("Outbound", "Bot"),
        ]
        assert genesys.messages()[1]["guest_id"] == "guest-42"


async def test_bounds_hold_over_rest_too() -> None:
    """The oldest messages go first, and reading one of them finds nothing."""
    async with open_messaging(max_messages=2, limits="off") as (genesys, client):
        ids = [(await client.say(f"m{number}")).json["id"] for number in range(3)]
        statuses = [(await client.ask("GET", f"{MESSAGES}/{each}/details")).status for each in ids]
        assert statuses == [404, 200, 200]
        assert genesys.state()["dropped_messages"] == 1


async def test_a_reset_forgets_guests_and_tokens() -> None:
    """After a reset a token is worthless, and the same guest begins anew with the same ids."""
    async with emulator(seed=2) as genesys:
        found = []
        for _ in range(2):
            async with rest(genesys) as client:
                found.append((await client.say("hello")).json["id"])
                genesys.reset()
                assert (await client.say("hello")).status == 401
        assert found[0] == found[1]
        assert genesys.messages() == []
