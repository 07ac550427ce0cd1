"""Everything an agent can show and a guest can answer, over the raw wire."""

from __future__ import annotations

import asyncio
import base64
import datetime
import io
import json
import pathlib
from typing import Any

import pytest

from guestwire.emulator.agents import parse_script
from guestwire.emulator.structured import KINDS
from guestwire.errors import ConfigError
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import PATIENCE_S, RawGuest, http, raw_guest


def button(kind: str, text: str, payload: str, **more: Any) -> dict[str, Any]:
    """One choice of a guest."""
    return {"contentType": "ButtonResponse", "buttonResponse": {"type": kind, "text": text, "payload": payload, **more}}


FORM = {
    "contentType": "Form",
    "form": {
        "originatingMessageId": "p",
        "cannedResponseId": "c",
        "response": [
            {"id": "name", "component": button("Form", "Ann", "ann")},
            {"id": "people", "component": button("Form", "Two", "2")},
        ],
    },
}
ANSWERS: dict[str, dict[str, Any]] = {
    "quick reply, browser": {
        "type": "Structured", "text": "Yes", "content": [button("QuickReply", "Yes", "y")], "metadata": {"id": "1"},
    },
    "quick reply, mobile": {
        "type": "Text", "text": "", "content": [button("QuickReply", "Yes", "y", originatingMessageId="p")],
    },
    "postback": {"type": "Structured", "text": "Book Now", "content": [button("Button", "Book Now", "I want it")]},
    "time slot, browser": {
        "type": "Structured",
        "content": [button("DatePicker", "30 Jun", "2025-06-30T17:30:00.000Z")],
        "metadata": {"id": "1", "parentMessageId": "p"},
    },
    "time slot, mobile": {
        "type": "Text",
        "text": "",
        "content": [button("DatePicker", "30 Jun", "2025-06-30T17:30:00.000Z", originatingMessageId="p")],
    },
    "list, several": {
        "type": "Structured",
        "text": "Chosen",
        "content": [
            button("ListPicker", "Olives", "o", originatingMessageId="p"),
            button("ListPicker", "Feta", "f", originatingMessageId="p"),
        ],
        "metadata": {"id": "1", "parentMessageId": "p"},
    },
    "form": {"type": "Structured", "text": "Done", "content": [FORM], "metadata": {"id": "1", "parentMessageId": "p"}},
}  # fmt: skip


@pytest.mark.parametrize("message", ANSWERS.values(), ids=ANSWERS)
async def test_structured_answers_are_echoed_and_shown(message: dict[str, Any]) -> None:
    """Every encoding that a client uses is accepted, echoed word for word, and stands in the messages."""
    async with emulator() as genesys, raw_guest(genesys) as guest:
        body = (await guest.ask("onMessage", message=message, tracingId="m"))["body"]
        assert body["direction"] == "Inbound"
        assert {key: body.get(key) for key in ("type", "text", "content")} == {
            key: message.get(key) for key in ("type", "text", "content")
        }
        assert message.get("metadata", {}).items() <= body["metadata"].items()
        (seen,) = genesys.messages()
        assert (seen["type"], seen["text"], seen["content"]) == (
            message["type"],
            message.get("text"),
            message["content"],
        )


# --- what agents send ---

OUTBOUND = [
    {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y", "action": "Message"}},
    {"contentType": "QuickReplyV2", "quickReplyV2": {"title": "Pick", "actions": [{"text": "A", "payload": "a"}]}},
    button("QuickReply", "Yes", "y"),
    {"contentType": "Card", "card": {"title": "T", "actions": [{"type": "Link", "text": "L", "url": "https://a"}]}},
    {"contentType": "Carousel", "carousel": {"cards": [{"title": "T", "actions": []}]}},
    {"contentType": "DatePicker", "datePicker": {"availableTimes": [{"dateTime": "2030-01-01T00:00:00.000Z"}]}},
    {
        "contentType": "ListPicker",
        "listPicker": {
            "sections": [{"title": "S", "multipleSelection": True, "items": [{"id": "1", "title": "One"}]}],
            "receivedMessage": {"title": "R"},
            "replyMessage": {"title": "A"},
        },
    },
    {"contentType": "Form", "form": {"cannedResponseId": "c", "formPages": [{"title": "P", "pageComponents": []}]}},
]


@pytest.mark.parametrize("content", OUTBOUND, ids=lambda content: content["contentType"])
async def test_agents_send_every_content(content: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """What an agent posts, and what a rule holds, arrives word for word."""
    script = tmp_path / "bot.json.toml"
    script.write_text(
        f"[[rule]]\nany = true\nreply = 'Well?'\ncontent = [{toml(content)}]\n",
        encoding="utf-8",
    )
    async with emulator(script=str(script)) as genesys, raw_guest(genesys, "t") as guest, http(genesys) as session:
        await guest.say("hello")
        said = (await guest.recv())["body"]
        assert (said["type"], said["text"], said["content"]) == ("Structured", "Well?", [content])
        async with session.post("/_emulator/agent", json={"text": "Well?", "content": [content]}) as answer:
            assert answer.status == 201
        posted = (await guest.recv())["body"]
        assert (posted["content"], posted["originatingEntity"]) == ([content], "Human")
        assert genesys.messages()[-1]["content"] == [content]


def toml(value: Any) -> str:
    """Write a value as TOML does inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def test_every_content_is_tried() -> None:
    """The table above has every kind that a rule may hold."""
    assert {content["contentType"] for content in OUTBOUND} == set(KINDS)


@pytest.mark.parametrize(
    ("rule", "key", "words"),
    [
        ('content = [{ contentType = "Hologram" }]', "content", "one of QuickReply"),
        ('content = [{ contentType = "Card" }]', "content", "no table card"),
        ('content = [{ contentType = "Card", card = { title = "x" } }]', "content", "no actions"),
        ('content = [{ contentType = "Carousel", carousel = { cards = [{ titel = "x" }] } }]', "content", "'titel'"),
        ('content = [{ contentType = "Card", card = { title = 5, actions = [] } }]', "content", "no title"),
        ('attachment = { name = "a", text = "x", size = 1 }', "attachment", "exactly one"),
        ('attachment = { name = "a/b", text = "x" }', "attachment", "without '/'"),
        ('attachment = { name = "a", base64 = "?" }', "attachment", "cannot be read"),
        ('attachment = { name = "a", size = 99999999 }', "attachment", "size must be"),
        ('reply = "x"\nnickname = "Ann"', "nickname", "hand_over"),
        ('reply = "x"\nanswer = "y"', "match", "exactly one"),
    ],
)
def test_wrong_rules_teach(rule: str, key: str, words: str) -> None:
    """What is wrong with a rule's content or file is said before anything starts."""
    with pytest.raises(ConfigError) as refused:
        parse_script(f"[[rule]]\nany = true\n{rule}\n", "bot")
    assert refused.value.code == "GW-C035"
    assert f"key '{key}'" in refused.value.message
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ({"text": "grüße"}, "grüße".encode()),
        ({"base64": base64.b64encode(b"\x00\xff").decode()}, b"\x00\xff"),
        ({"base64": base64.b64encode(bytes(3_000_000)).decode()}, bytes(3_000_000)),
        ({"text": ""}, b""),
    ],
)
async def test_an_agent_sends_a_file(what: dict[str, str], content: bytes) -> None:
    """A file comes with a URL that expires after ten minutes and is renewed by getAttachment, for its guest only."""
    asked = {"attachment": {"name": "a.bin", "type": "image/png", **what}, "token": "t", "text": "Here"}
    async with (
        emulator() as genesys,
        raw_guest(genesys, "t") as guest,
        raw_guest(genesys) as thief,
        http(genesys) as session,
    ):
        async with session.post("/_emulator/agent", data=io.BytesIO(json.dumps(asked).encode())) as answer:
            assert answer.status == 201
        body = (await guest.recv())["body"]
        sent = body["content"][0]["attachment"]
        assert (body["type"], body["text"], sent["filename"], sent["fileSize"]) == (
            "Text",
            "Here",
            "a.bin",
            len(content),
        )
        assert (sent["mediaType"], sent["mime"]) == ("Image", "image/png")
        assert genesys.messages()[0]["attachments"] == [sent]
        async with session.get(sent["url"]) as answer:
            assert await answer.read() == content
        genesys.advance(601)
        async with session.get(sent["url"]) as answer:
            assert answer.status == 404
        assert (await thief.ask("getAttachment", attachmentId=sent["id"]))["code"] == 4009
        renewed = (await guest.ask("getAttachment", attachmentId=sent["id"]))["body"]
        async with session.get(renewed["url"]) as answer:
            assert await answer.read() == content


async def test_wrong_files_and_names_are_refused() -> None:
    """A file that cannot be, or a nickname that is none, is 409 with a sentence, and nothing is said."""
    async with emulator(max_file_kb=1) as genesys, raw_guest(genesys, "t"), http(genesys) as session:
        wrongs: list[dict[str, Any]] = [
            {"attachment": {}},
            {"attachment": "a"},
            {"attachment": {"name": "a"}},
            {"attachment": {"name": "a", "size": -1}},
            {"attachment": {"name": "a", "size": 1001}},
            {"attachment": {"name": "a", "text": "x" * 1001}},
            {"attachment": {"name": "a\n", "text": "x"}},
            {"attachment": {"name": "a", "text": "x", "path": "/etc/passwd"}},
            {"text": "x", "nickname": 5},
        ]
        for wrong in wrongs:
            async with session.post("/_emulator/agent", json={"token": "t", **wrong}) as answer:
                assert (answer.status, bool((await answer.json())["error"])) == (409, True)
        assert genesys.messages() == []
        async with session.post(
            "/_emulator/agent", json={"token": "t", "attachment": {"name": "a", "size": 1000}}
        ) as answer:
            assert answer.status == 201


# --- rules that listen ---


async def show(guest: RawGuest, word: str) -> dict[str, Any]:
    """Ask the showcase for something and return its answer, typing passed over."""
    await guest.send("onMessage", message={"type": "Text", "text": word})
    return await answered(guest)


async def answered(guest: RawGuest) -> dict[str, Any]:
    """Return the next thing that was said to the guest."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            body: dict[str, Any] = (await guest.recv())["body"]
            if body["direction"] == "Outbound" and body["type"] != "Event":
                return body


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("choices", ["QuickReply"] * 3),
        ("menu", ["QuickReplyV2"]),
        ("buttons", ["ButtonResponse"] * 2),
        ("cards", ["Card"]),
        ("carousel", ["Carousel"]),
        ("times", ["DatePicker"]),
        ("a list, please", ["ListPicker"]),
        ("form", ["Form"]),
        ("file", ["Attachment"]),
        ("help", []),
        ("anything else", []),
    ],
)
async def test_showcase_shows_it(word: str, kinds: list[str]) -> None:
    """One word each shows every structured type; anything else is told of help."""
    async with emulator(script="showcase") as genesys, raw_guest(genesys) as guest:
        body = await show(guest, word)
        assert [content["contentType"] for content in body.get("content", ())] == kinds
        assert (body["originatingEntity"], body["channel"]["from"]) == ("Bot", {"nickname": "Showcase"})


async def test_showcase_hears_what_was_chosen() -> None:
    """Buttons, times, list items and form fields are matched by payload, files by type."""
    async with emulator(script="showcase", limits="off") as genesys, raw_guest(genesys) as guest:
        times = (await show(guest, "times"))["content"][0]["datePicker"]["availableTimes"]
        first = datetime.datetime.fromisoformat(times[0]["dateTime"])
        assert 23 * 3600 <= first.timestamp() - genesys.now() <= 24 * 3600
        for content, said in (
            ([button("DatePicker", "tomorrow", times[0]["dateTime"])], "See you then: tomorrow."),
            ([button("Button", "Book the attic", "book:attic")], "Booked: Book the attic."),
            (
                [button("ListPicker", "Olives", "topping:olives"), button("ListPicker", "Feta", "topping:feta")],
                "Noted: Olives, Feta.",
            ),
            ([button("QuickReply", "help", "h")], "Say cards"),
        ):
            await guest.send("onMessage", message={"type": "Text", "text": "", "content": content})
            assert (await answered(guest))["text"].startswith(said)
        for name, kind, said in (("a.png", "image/png", "A picture"), ("a.pdf", "application/pdf", "A file")):
            presigned = (await guest.ask("onAttachment", fileName=name, fileType=kind, fileSize=1))["body"]
            async with http(genesys) as session:
                headers = {**presigned["headers"], "Content-Type": kind}
                await session.put(presigned["url"], data=b"x", headers=headers)
            assert (await guest.recv())["class"] == "UploadSuccessEvent"
            attachment = {"contentType": "Attachment", "attachment": {"id": presigned["attachmentId"]}}
            await guest.send("onMessage", message={"content": [attachment]})
            assert (await answered(guest))["text"].startswith(said)


async def test_a_form_field_is_an_answer(tmp_path: pathlib.Path) -> None:
    """A rule may listen to what was filled into a form."""
    script = tmp_path / "bot.toml"
    script.write_text('[[rule]]\nanswer = "ann"\nreply = "Thank you: {text}"\n', encoding="utf-8")
    async with emulator(script=str(script)) as genesys, raw_guest(genesys) as guest:
        await guest.send("onMessage", message=ANSWERS["form"])
        assert (await answered(guest))["text"] == "Thank you: Done"


async def test_hand_over_silences_the_bot() -> None:
    """From the hand-over on a person with a name speaks, the bot is silent, and the conversation says so."""
    async with emulator(script="showcase", limits="off") as genesys, raw_guest(genesys, "t") as guest:
        assert genesys.conversations() == []
        body = await show(guest, "human")
        assert (body["originatingEntity"], body["channel"]["from"]) == ("Human", {"nickname": "Ann"})
        assert genesys.conversations()[0]["human"] == "Ann"
        assert (await guest.say("cards"))["body"]["text"] == "cards"
        assert (await guest.settle())["tracingId"] == "settle"
        genesys.say("Me again")
        said = (await guest.recv())["body"]
        assert (said["text"], said["channel"]["from"]) == ("Me again", {"nickname": "Ann"})
        assert [message["text"] for message in genesys.messages() if message["direction"] == "Outbound"] == [
            body["text"],
            "Me again",
        ]
        genesys.disconnect(read_only=False)
        await guest.recv()
        assert (await show(guest, "cards"))["originatingEntity"] == "Bot"


async def test_an_agent_takes_over() -> None:
    """With hand_over the agent's side takes a conversation from the bot, even before anybody spoke."""
    async with emulator(script="echo") as genesys, raw_guest(genesys, "t") as guest:
        genesys.say("I am here", token="t", hand_over=True, nickname="Bo")
        assert (await guest.recv())["body"]["channel"]["from"] == {"nickname": "Bo"}
        await guest.say("hello")
        assert (await guest.settle())["tracingId"] == "settle"
        assert [message["text"] for message in genesys.messages()] == ["I am here", "hello"]


async def test_showcase_says_goodbye() -> None:
    """Bye ends the conversation for good; a rule may also send a presence of its own."""
    async with emulator(script="showcase") as genesys, raw_guest(genesys) as guest:
        assert (await show(guest, "bye"))["text"].startswith("Goodbye")
        assert (await guest.recv())["body"]["metadata"]["readOnly"] == "true"
        assert (await guest.say("hello?"))["code"] == 409


async def test_a_rule_sends_presence(tmp_path: pathlib.Path) -> None:
    """A presence event of a rule's choice goes out before its words."""
    script = tmp_path / "bot.toml"
    script.write_text('[[rule]]\nany = true\npresence = "Join"\nreply = "Hi"\n', encoding="utf-8")
    async with emulator(script=str(script)) as genesys, raw_guest(genesys) as guest:
        await guest.say("hello")
        body = (await guest.recv())["body"]
        assert (body["direction"], body["events"][0]["presence"]) == ("Outbound", {"type": "Join"})
        assert (await guest.recv())["body"]["text"] == "Hi"
