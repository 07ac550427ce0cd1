"""Messages in every encoding that clients in the field use, files, and the history."""

from __future__ import annotations

import re
from typing import Any

import pytest

from guestwire.emulator.app import Emulator
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import RawGuest, history, http, raw_guest

BUTTON = {"contentType": "ButtonResponse", "buttonResponse": {"type": "QuickReply", "text": "Yes", "payload": "y1"}}


async def test_echo_has_the_shape_of_live_frames() -> None:
    """32-hex id, UUID messageId, ISO time, metadata given back with a correlationId, tracingId on the envelope only."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        frame = await guest.say("hello", "m1", metadata={"id": "our-id"})
        body = frame["body"]
        assert (frame["type"], frame["class"], frame["code"], frame["tracingId"]) == (
            "message",
            "StructuredMessage",
            200,
            "m1",
        )
        assert re.fullmatch(r"[0-9a-f]{32}", body["id"])
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", body["channel"]["messageId"]
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["channel"]["time"])
        assert (body["direction"], body["type"], body["text"]) == ("Inbound", "Text", "hello")
        assert body["metadata"]["id"] == "our-id"
        assert set(body["metadata"]) == {"id", "correlationId"}
        assert "tracingId" not in body


async def test_outbound_has_the_shape_of_live_frames() -> None:
    """An agent's message has no messageId and no tracingId, and says whether a human or a bot wrote it."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        await guest.say("hello")
        genesys.say("hi there", nickname="Ann")
        frame = await guest.recv()
        assert "tracingId" not in frame
        assert "messageId" not in frame["body"]["channel"]
        assert frame["body"]["originatingEntity"] == "Human"
        assert frame["body"]["channel"]["from"] == {"nickname": "Ann"}


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ({"type": "Text", "text": "Yes"}, "Text", "Yes"),
        ({"type": "Structured", "text": "Yes", "content": [BUTTON], "metadata": {"id": "x"}}, "Structured", "Yes"),
        ({"type": "Text", "text": "", "content": [BUTTON]}, "Text", ""),
        ({"type": "Text", "text": "hi", "unknown": {"key": 1}}, "Text", "hi"),
    ],
    ids=["plain", "browser", "kotlin", "unknown-key"],
)
async def test_encodings_of_an_answer(message: dict[str, Any], kind: str, text: str) -> None:
    """A quick reply is answered as plain text, as the browser does, and as the mobile client does."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        body = (await guest.ask("onMessage", tracingId="m", message=message))["body"]
        assert (body["type"], body.get("text")) == (kind, text)
        assert body.get("content", []) == message.get("content", [])
        (seen,) = genesys.messages()
        assert (seen["text"], seen["content"]) == (text, message.get("content", []))


async def test_node_encoding_without_tracing_id_and_with_time() -> None:
    """The Node tester sends no tracingId and both fields of the older schema; its attributes are ignored."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        frame = await guest.ask(
            "onMessage",
            time="2026-01-01T00:00:00.000Z",
            message={"type": "Text", "text": "hello"},
            channel={"metadata": {"customAttributes": {"name": "Alma"}}},
        )
        assert "tracingId" not in frame
        (seen,) = genesys.messages()
        assert seen["tracing_id"] is None
        assert seen["custom_attributes"] == {}


async def test_top_level_attributes_by_setting() -> None:
    """The older place counts where a setting says so; the nested one always."""
    attributes: dict[str, Any] = {"channel": {"metadata": {"customAttributes": {"a": "1"}}}}
    async with emulator(accept_top_level_attributes=True) as genesys, raw_guest(genesys) as guest:
        await guest.ask("onMessage", message={"type": "Text", "text": "old"}, **attributes)
        await guest.say("new", **attributes)
        assert [seen["custom_attributes"] for seen in genesys.messages()] == [{"a": "1"}, {"a": "1"}]
        assert genesys.conversations()[0]["custom_attributes"] == {"a": "1"}


async def test_admin_shows_what_an_agent_sees() -> None:
    """The agent's view has the documented keys, in order of acceptance, filtered by token and conversation."""
    async with emulator() as genesys, raw_guest(genesys, "a") as one, raw_guest(genesys, "b") as two:
        await one.say("first", "m1", channel={"metadata": {"customAttributes": {"k": "v"}}}, metadata={"id": "i"})
        await two.say("second", "m2")
        await one.say("first", "m1")
        seen = genesys.messages()
        assert [item["text"] for item in seen] == ["first", "second", "first"]
        assert {
            "conversation_id", "deployment_id", "token_sha256", "direction", "id", "tracing_id", "text", "attachments",
            "custom_attributes", "time", "received_at", "metadata",
        } <= set(seen[0])  # fmt: skip
        assert (seen[0]["tracing_id"], seen[0]["custom_attributes"]) == ("m1", {"k": "v"})
        assert seen[0]["metadata"]["id"] == "i"
        assert abs(seen[0]["received_at"] - genesys.now()) < 5
        assert [item["text"] for item in genesys.messages(token="b")] == ["second"]
        by_id = genesys.messages(conversation_id=seen[0]["conversation_id"])
        assert [item["text"] for item in by_id] == ["first", "first"]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"type": "Text", "text": "x" * 5000}, 4011, "Message length 5000 is larger than 4096"),
        ({"type": "Text", "text": "é" * 2049}, 4011, "Message length 4098 is larger than 4096"),
        (
            {"type": "Text", "text": "x", "channel": {"metadata": {"customAttributes": {"k": "v" * 2048}}}},
            4013,
            "Custom Attributes in channel metadata is larger than 2048 bytes",
        ),
        ({"type": "Text", "text": ""}, 400, "Request failed."),
        ({"type": "Nonsense", "text": "x"}, 400, "Request failed."),
        ({"type": "Event"}, 400, "Request failed."),
        (None, 400, "Request failed."),
        ({"type": "Text", "content": [{"contentType": "Attachment", "attachment": {"id": "?"}}]}, 4009, None),
    ],
)
async def test_refusals(message: dict[str, Any] | None, code: int, text: str | None) -> None:
    """A bad message is answered with its documented error and shown to nobody; the connection goes on."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        frame = await guest.ask("onMessage", tracingId="m", message=message)
        assert (frame["class"], frame["code"], frame["tracingId"]) == ("string", code, "m")
        assert text is None or frame["body"] == text
        assert (await guest.say("good"))["class"] == "StructuredMessage"
        assert [seen["text"] for seen in genesys.messages()] == ["good"]
        assert genesys.state()["errors"] == {str(code): 1}


async def test_text_can_be_counted_in_characters() -> None:
    """Bytes or characters is not published, so it is a setting."""
    async with emulator(text_unit="characters") as genesys, raw_guest(genesys) as guest:
        assert (await guest.say("é" * 4096))["class"] == "StructuredMessage"


async def test_errors_without_tracing_id() -> None:
    """Whether errors carry the tracing id is not known, so it can be turned off."""
    async with emulator(errors_carry_tracing_id=False) as genesys, raw_guest(genesys) as guest:
        assert "tracingId" not in await guest.say("", "m")


@pytest.mark.parametrize("raw", ["", "nonsense", "[1]", "{}", '{"action":"fly"}', '{"action":7}', '{"a":"\\ud800"}'])
async def test_rubbish_is_answered(raw: str) -> None:
    """What is no request of the protocol gets 400 and breaks nothing."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        await guest.socket.send(raw)
        assert (await guest.recv())["code"] == 400
        assert (await guest.say("fine"))["class"] == "StructuredMessage"


async def test_large_and_binary_frames_end_the_connection() -> None:
    """A frame beyond 128 KiB closes with 1009, a binary one with 1003."""
    async with emulator() as genesys:
        async with raw_guest(genesys) as guest:
            await guest.say("x" * 4096)
            await guest.send("onMessage", message={"type": "Text", "text": "x" * 131_072})
            assert await guest.lost() == 1009
        async with raw_guest(genesys) as guest:
            await guest.socket.send(b"\x00\x01")
            assert await guest.lost() == 1003


async def test_typing_and_join_are_no_messages() -> None:
    """Typing and Join are echoed as Inbound events; agents do not see them as messages, history has Join only."""
    typing = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
    join = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}
    async with emulator(auto_start=True, history_lag_s=0) as genesys, raw_guest(genesys) as guest:
        assert (await guest.ask("onMessage", message=join, tracingId="j"))["tracingId"] == "j"
        assert (await guest.ask("onMessage", message=typing))["body"]["events"] == typing["events"]
        assert genesys.messages() == []
        assert len(genesys.conversations()) == 1
        assert (await history(genesys, guest))["total"] == 1


async def test_typing_disabled_is_403() -> None:
    """A deployment without typing refuses it with the fixture's words."""
    typing = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
    async with emulator(typing_enabled=False) as genesys, raw_guest(genesys) as guest:
        frame = await guest.ask("onMessage", message=typing)
        assert (frame["code"], frame["body"]) == (403, "Turn on the Feature Toggle or fix the configuration.")


async def test_deduplication_is_off_unless_set() -> None:
    """A resend is shown twice; with deduplication it is shown once and gets the first one's echo."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        assert (await guest.say("a", "m"))["body"]["id"] != (await guest.say("a", "m"))["body"]["id"]
        assert len(genesys.messages()) == 2
    async with emulator(dedupe_tracing_id=True, dedupe_message_id=True) as genesys, raw_guest(genesys) as guest:
        assert (await guest.say("a", "m"))["body"]["id"] == (await guest.say("a", "m"))["body"]["id"]
        named = {"channel": {"messageId": "ours"}}
        first, again = await guest.say("b", "m2", **named), await guest.say("b", "m3", **named)
        assert (again["body"]["id"], again["tracingId"]) == (first["body"]["id"], "m3")
        assert len(genesys.messages()) == 2


# --- history ---


async def test_history_pages_shift() -> None:
    """Newest first; pages are cut from the list as it is, so a new message pushes an entry onto the next page."""
    async with emulator(history_lag_s=0, limits="off") as genesys, raw_guest(genesys) as guest:
        for number in range(5):
            await guest.say(f"m{number}")
        first = await history(genesys, guest, pageSize=2, pageNumber=1)
        assert [entity["text"] for entity in first["entities"]] == ["m4", "m3"]
        assert (first["total"], first["pageCount"], first["pageSize"], first["pageNumber"]) == (5, 3, 2, 1)
        await guest.say("m5")
        second = await history(genesys, guest, pageSize=2, pageNumber=2)
        assert [entity["text"] for entity in second["entities"]] == ["m3", "m2"]
        assert (await history(genesys, guest, pageNumber=9))["entities"] == []


async def test_history_entities_have_no_envelope() -> None:
    """Entities carry both ids and the direction, no tracing id and (by default) none of the guest's metadata."""
    for returns in (False, True):
        async with (
            emulator(history_lag_s=0, history_returns_metadata=returns) as genesys,
            raw_guest(genesys) as guest,
        ):
            echo = (await guest.say("hello", "m1", metadata={"id": "ours"}))["body"]
            (entity,) = (await history(genesys, guest))["entities"]
            assert (entity["id"], entity["channel"]["messageId"]) == (echo["id"], echo["channel"]["messageId"])
            assert (entity["direction"], entity["content"]) == ("Inbound", [])
            assert "tracingId" not in entity
            assert entity.get("metadata", {}).get("id") == ("ours" if returns else None)


async def test_history_lags_behind() -> None:
    """What was just accepted is not in the history yet."""
    async with emulator(history_lag_s=1) as genesys, raw_guest(genesys) as guest:
        await guest.say("fresh")
        empty = await history(genesys, guest)
        assert empty == {"entities": [], "pageSize": 0, "pageNumber": 1, "total": 0, "pageCount": 0}
        genesys.advance(1.1)
        assert (await history(genesys, guest))["total"] == 1


async def test_history_needs_a_fresh_key() -> None:
    """Without a key, with a wrong or an old one: 401 with the platform's error body; bad pages are 400."""
    async with emulator() as genesys, raw_guest(genesys) as guest, http(genesys) as session:
        body = (await guest.ask("getJwt", tracingId="j"))["body"]
        assert body["jwt"].count(".") == 2
        assert 50 <= body["exp"] - genesys.now() <= 60
        url, good = "/api/v2/webmessaging/messages", {"Authorization": f"Bearer {body['jwt']}"}
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            async with session.get(url, headers=headers) as answer:
                assert (answer.status, (await answer.json())["status"]) == (401, 401)
        async with session.get(url, headers=good, params={"pageSize": "many"}) as answer:
            assert answer.status == 400
        async with session.get(url, headers=good, params={"pageSize": "100000"}) as answer:
            assert answer.status == 200
        genesys.advance(61)
        async with session.get(url, headers=good) as answer:
            assert answer.status == 401


# --- files ---


async def presign(guest: RawGuest, **fields: Any) -> dict[str, Any]:
    """Ask for an upload URL."""
    what = {"fileName": "cat.png", "fileType": "image/png", "fileSize": 4, **fields}
    return await guest.ask("onAttachment", tracingId="a", **what)


async def put(genesys: Emulator, url: str, headers: dict[str, str], content: bytes = b"\x89PNG") -> int:
    """PUT a file and return the status."""
    async with http(genesys) as session, session.put(url, data=content, headers=headers) as answer:
        return answer.status


async def test_upload_and_send() -> None:
    """URL, PUT with every header, event, message, echo with the whole attachment, download until it expires."""
    async with emulator() as genesys, raw_guest(genesys) as guest, http(genesys) as session:
        presigned = (await presign(guest))["body"]
        assert set(presigned["headers"]) == {"x-amz-tagging"}
        attachment = {"contentType": "Attachment", "attachment": {"id": presigned["attachmentId"]}}
        early = await guest.ask("onMessage", message={"content": [attachment]})
        assert early["code"] == 4010
        headers = {**presigned["headers"], "Content-Type": "image/png"}
        assert await put(genesys, presigned["url"], headers) == 200
        event = await guest.recv()
        assert (event["class"], event["body"]["attachmentId"]) == ("UploadSuccessEvent", presigned["attachmentId"])
        # The browser's encoding: no type, no text.
        echo = (await guest.ask("onMessage", message={"content": [attachment]}, tracingId="m"))["body"]
        assert (echo["type"], "text" in echo) == ("Text", False)
        sent = echo["content"][0]["attachment"]
        assert (sent["filename"], sent["fileSize"], sent["mediaType"], sent["mime"]) == (
            "cat.png",
            4,
            "Image",
            "image/png",
        )
        async with session.get(sent["url"]) as answer:
            assert await answer.read() == b"\x89PNG"
        (seen,) = genesys.messages()
        assert (seen["text"], seen["attachments"][0]["id"]) == (None, presigned["attachmentId"])
        genesys.advance(601)
        async with session.get(sent["url"]) as answer:
            assert answer.status == 404
        again = (await guest.ask("getAttachment", attachmentId=presigned["attachmentId"]))["body"]
        assert (again["headers"], again["fileSize"]) == ({}, 4)
        async with session.get(again["url"]) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "spoil",
    [
        {"x-amz-tagging": None},
        {"x-amz-tagging": "other"},
        {"Content-Type": "image/jpeg"},
        {"Content-Type": None},
    ],
)
async def test_put_demands_every_header(spoil: dict[str, str | None]) -> None:
    """A missing or different header gets 403, as storage does, and no event."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        presigned = (await presign(guest))["body"]
        headers = {**presigned["headers"], "Content-Type": "image/png", **spoil}
        kept = {name: value for name, value in headers.items() if value is not None}
        assert await put(genesys, presigned["url"], kept) == 403
        assert (await guest.settle())["tracingId"] == "settle"
        assert genesys.state()["uploads"] == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"fileName": "run.exe"}, 4001),
        ({"fileSize": 0}, 4102),
        ({"fileSize": 10_241_000}, 4002),
        ({"fileName": "noextension"}, 4004),
        ({"fileName": "x" * 1100 + ".png"}, 4005),
        ({"fileType": None}, 4020),
    ],
)
async def test_upload_refusals(fields: dict[str, Any], code: int) -> None:
    """A file that may not be uploaded is refused with its code: as text, or as an object when asked for."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        plain = await presign(guest, **fields)
        assert (plain["class"], plain["code"]) == ("string", code)
        as_json = await presign(guest, errorsAsJson=True, **fields)
        assert (as_json["class"], as_json["body"]["errorCode"]) == ("GenerateUrlError", code)
        assert genesys.state()["errors"] == {str(code): 2}


async def test_uploads_can_be_off() -> None:
    """A deployment without attachments answers 4000."""
    async with emulator(attachments_enabled=False) as genesys, raw_guest(genesys) as guest:
        assert (await presign(guest))["code"] == 4000


@pytest.mark.parametrize(
    ("content", "md5", "code"),
    [(b"12345", None, 4003), (b"", None, 4102), (b"1234", "0" * 32, 4003), (b"1234", "not one", 4003)],
)
async def test_bad_content_fails_afterwards(content: bytes, md5: str | None, code: int) -> None:
    """The PUT is answered 200; UploadFailureEvent, with an envelope that says 200, tells the rest."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        presigned = (await presign(guest, fileMd5=md5))["body"]
        headers = {**presigned["headers"], "Content-Type": "image/png"}
        assert await put(genesys, presigned["url"], headers, content) == 200
        event = await guest.recv()
        assert (event["class"], event["code"]) == ("UploadFailureEvent", 200)
        assert event["body"]["errorCode"] == code


async def test_upload_event_reaches_a_later_connection() -> None:
    """The event goes to whatever connections the session has then; the file is only its session's."""
    async with emulator(upload_event_delay_ms=60_000) as genesys:
        async with raw_guest(genesys, "t") as guest:
            presigned = (await presign(guest, attachmentId="mine"))["body"]
            assert presigned["attachmentId"] == "mine"
            headers = {**presigned["headers"], "Content-Type": "image/png"}
            assert await put(genesys, presigned["url"], headers) == 200
        async with raw_guest(genesys, "t") as guest, raw_guest(genesys, "thief") as thief:
            genesys.advance(61)
            assert (await guest.recv())["class"] == "UploadSuccessEvent"
            legacy = {"message": {"type": "Text", "text": ""}, "attachmentIds": ["mine"]}
            assert (await thief.ask("onMessage", **legacy))["code"] == 4009
            assert (await thief.ask("getAttachment", attachmentId="mine"))["code"] == 4009
            echo = await guest.ask("onMessage", **legacy)
            assert echo["body"]["content"][0]["attachment"]["id"] == "mine"
            assert (await guest.ask("deleteAttachment", attachmentId="mine"))["code"] == 4009


async def test_delete_an_unsent_file() -> None:
    """An upload that was not sent can be withdrawn; after 15 days it is gone by itself; two in one are refused."""
    async with emulator(session_duration_s=10_000_000) as genesys, raw_guest(genesys) as guest:
        for name in ("one", "two"):
            presigned = (await presign(guest, attachmentId=name))["body"]
            await put(genesys, presigned["url"], {**presigned["headers"], "Content-Type": "image/png"})
            await guest.recv()
        assert (await guest.ask("onMessage", message={"text": "x"}, attachmentIds=["one", "two"]))["code"] == 400
        assert (await guest.ask("deleteAttachment", attachmentId="one"))["class"] == "AttachmentDeletedResponse"
        assert (await guest.ask("getAttachment", attachmentId="one"))["code"] == 4009
        genesys.advance(1_296_001)
        assert (await guest.ask("getAttachment", attachmentId="two"))["code"] == 4008


# --- the deployment ---


async def test_deployment_config_tells_the_truth() -> None:
    """config.json and domains.json follow the settings; another deployment is not found."""
    async with (
        emulator(
            auto_start=True, clear_enabled=True, conversation_disconnect="read_only", allowed_origins="a.example"
        ) as genesys,
        http(genesys) as session,
    ):
        base = f"/webdeployments/v1/deployments/{genesys.deployment_id}"
        config = await (await session.get(f"{base}/config.json")).json()
        conversations = config["messenger"]["apps"]["conversations"]
        assert (config["id"], config["status"], config["auth"]["enabled"]) == (genesys.deployment_id, "Active", False)
        assert conversations["autoStart"] == {"enabled": True}
        assert conversations["conversationClear"] == {"enabled": True}
        assert conversations["conversationDisconnect"] == {"enabled": True, "type": "ReadOnly"}
        assert config["messenger"]["fileUpload"]["enableAttachments"] is True
        domains = await (await session.get(f"{base}/domains.json")).json()
        assert domains == {"allowAllDomains": False, "allowedDomains": ["a.example"]}
        async with session.get("/webdeployments/v1/deployments/other/config.json") as answer:
            assert answer.status == 404
