"""What the platform says: live, after a gap, in order, from a cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guestwire import ConfigError, GuestWire, Message, Rejected, Reply
from guestwire.testing import emulator
from tests.journey.auditor import events_of
from tests.journey.kit import FAST, QUICK, eventually, inbound, journal_of, say, settled, until, wired


async def take(replies: AsyncGenerator[Reply, None], count: int) -> list[Reply]:
    """The next replies, so many."""
    async with asyncio.timeout(10):
        return [await anext(replies) for _ in range(count)]


async def texts_of(wire: GuestWire, guest: str | None = None) -> list[str | None]:
    """Everything that is stored of what was said."""
    return [reply.text async for reply in wire.replies(guest, follow=False)]


async def test_what_was_said_while_nobody_listened_comes_after_the_reconnect(tmp_path: Path) -> None:
    """Nothing is replayed: the gap is filled from the history, by id, so nothing is missing and nothing comes twice."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        await wire.guests.follow("ann")
        genesys.say("before")
        await until(wire, "reply.received")
        genesys.trigger("drop")
        genesys.say("in the gap")
        genesys.say("in the gap, too")
        await until(wire, "reply.received", times=3)
        genesys.say("after")
        await until(wire, "reply.received", times=4)
        assert await texts_of(wire) == ["before", "in the gap", "in the gap, too", "after"]
        sources = [reply.source async for reply in wire.replies(follow=False)]
        assert sources == ["live", "history", "history", "live"]


async def test_what_was_said_between_two_runs_comes_at_the_next_message(tmp_path: Path) -> None:
    """A program that was away reads what it missed when the guest's session is opened again."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "hello"))
            genesys.say("while you are here")
            await until(wire, "reply.received")
        for number in range(60):
            genesys.say(f"while you were away {number}")
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "back again"))
            await until(wire, "reply.received", times=61)
            texts = await texts_of(wire)
        assert texts == ["while you are here", *(f"while you were away {number}" for number in range(60))]


async def test_idle_guests_are_visited_for_replies(tmp_path: Path) -> None:
    """With `poll_replies_s` a guest whose connection was let go is looked after, without a message of his."""
    patience = msgspec.structs.replace(QUICK, linger_s=0.1, poll_replies_s=0.3)
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path, patience=patience) as wire:
        await settled(wire, await say(wire, "hello"))
        await eventually(lambda: genesys.state()["connections_open"] == 0)
        genesys.say("are you still there?")
        assert (await take(wire.replies(), 1))[0].text == "are you still there?"
        await eventually(lambda: genesys.state()["connections_open"] == 0)


async def test_a_followed_guest_keeps_his_connection(tmp_path: Path) -> None:
    """Followed, a session stays open after `linger_s`, comes back by itself, and outlives the process that asked."""
    patience = msgspec.structs.replace(QUICK, linger_s=0.1)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path, patience=patience) as wire:
            await wire.guests.follow("ann")
            await eventually(lambda: genesys.state()["connections_open"] == 1)
        async with wired(genesys, tmp_path, patience=patience) as wire:
            await eventually(lambda: genesys.state()["connections_open"] == 1)
            await settled(wire, await say(wire, "hello"))
            genesys.trigger("drop")
            await eventually(lambda: genesys.state()["connections_opened"] == 3)
            await wire.guests.unfollow("ann")
            await eventually(lambda: genesys.state()["connections_open"] == 0)


async def test_a_consumer_goes_on_where_it_was(tmp_path: Path) -> None:
    """Acknowledged one by one, in any order: after a restart exactly the others come again, also those in between."""
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "hello"))
            for number in range(6):
                genesys.say(f"reply {number}")
            replies = await take(wire.replies(consumer="crm"), 6)
            for number in (3, 0, 1, 5):
                await wire.acknowledge(replies[number], consumer="crm")
        async with wired(genesys, tmp_path, relay="never") as wire:
            left = [reply async for reply in wire.replies(consumer="crm", follow=False)]
            assert [reply.text for reply in left] == ["reply 2", "reply 4"]
            assert len(await texts_of(wire)) == 6
            for reply in left:
                await wire.acknowledge(reply, consumer="crm")
            assert [reply async for reply in wire.replies(consumer="crm", follow=False)] == []
            other = [reply.text async for reply in wire.replies(consumer="billing", follow=False)]
            assert len(other) == 6


async def test_replies_come_in_the_order_of_the_gateway_s_time(tmp_path: Path) -> None:
    """Two frames that overtook each other are handed out in order; in order of arrival where that is asked for."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.trigger("out_of_order")
        await until(wire, "reply.received", times=2)
        ordered = [reply.at async for reply in wire.replies(follow=False)]
        arrived = [reply.at async for reply in wire.replies(follow=False, reorder_s=0)]
        assert ordered == sorted(ordered, key=str)
        assert arrived == list(reversed(ordered))


async def test_a_repeated_reply_is_one_reply(tmp_path: Path) -> None:
    """The same id twice, live or from the history, is stored once."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.say("once")
        await until(wire, "reply.received")
        genesys.trigger("duplicate")
        genesys.say("last")
        await until(wire, "reply.received", times=2)
        assert await texts_of(wire) == ["once", "last"]


SHOWCASE: dict[str, list[dict[str, Any]]] = {
    "quick_reply": [
        {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y", "action": "Message"}},
        {"contentType": "QuickReply", "quickReply": {"text": "No", "payload": "n", "action": "Message"}},
    ],
    "button": [
        {
            "contentType": "Card",
            "card": {"title": "Book", "actions": [{"type": "Postback", "text": "Yes", "payload": "y"}]},
        }
    ],
    "date": [
        {
            "contentType": "DatePicker",
            "datePicker": {"availableTimes": [{"dateTime": "2026-12-01T09:00:00.000Z", "duration": 900}]},
        }
    ],
    "list": [
        {
            "contentType": "ListPicker",
            "listPicker": {
                "sections": [
                    {
                        "title": "s",
                        "multipleSelection": True,
                        "items": [{"id": "1", "title": "One"}, {"id": "2", "title": "Two"}],
                    }
                ],
                "receivedMessage": {"title": "t"},
                "replyMessage": {"subtitle": "chosen"},
            },
        }
    ],
    "form": [
        {
            "contentType": "Form",
            "form": {
                "cannedResponseId": "c1",
                "formPages": [
                    {
                        "title": "p",
                        "subtitle": "s",
                        "pageComponents": [
                            {
                                "formComponentType": "Input",
                                "input": {"id": "name", "title": "Name", "isRequired": True, "isMultipleLine": False},
                            }
                        ],
                    }
                ],
                "replyMessage": {"title": "Done"},
            },
        }
    ],
}
ANSWERS: dict[str, tuple[Any, str, str | None, list[str]]] = {
    "quick_reply": ("Yes", "Structured", "Yes", ["y"]),
    "button": (1, "Structured", "Yes", ["y"]),
    "date": (1, "Structured", None, ["2026-12-01T09:00:00.000Z"]),
    "list": ([1, 2], "Structured", "chosen", ["1", "2"]),
    "form": ({"Name": "Ann"}, "Structured", "Done", ["Ann"]),
}


@pytest.mark.parametrize("kind", SHOWCASE)
async def test_a_structured_reply_is_answered(tmp_path: Path, kind: str) -> None:
    """What the agent offers can be chosen, and arrives in the encoding of the wire with its payload."""
    chosen, type_, text, payloads = ANSWERS[kind]
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.say("choose", content=SHOWCASE[kind])
        (reply,) = await take(wire.replies(), 1)
        assert reply.kind == "structured"
        with pytest.raises(Rejected):
            reply.answer("nothing of the kind")
        ticket = await wire.submit(Message(guest="ann", answer=reply.answer(chosen)))
        assert await settled(wire, ticket) == ["accepted"]
        message = genesys.messages()[-1]
        assert (message["type"], message["text"]) == (type_, text)
        found = msgspec.json.encode(message["content"]).decode()
        assert all(f'"payload":"{payload}"' in found for payload in payloads)
        assert (reply.gateway_id in found or message["metadata"].get("parentMessageId") == reply.gateway_id) is (
            kind not in ("quick_reply", "button")
        )


async def test_an_answer_with_an_unknown_outcome_is_found_by_its_payload(tmp_path: Path) -> None:
    """A date has no text: when its echo is lost, the history shows its payload, so it is not sent twice."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.say("when?", content=SHOWCASE["date"])
        (reply,) = await take(wire.replies(), 1)
        genesys.inject("lose_echo")
        ticket = await wire.submit(Message(guest="ann", answer=reply.answer(1)))
        assert await settled(wire, ticket) == ["accepted"]
        assert len(inbound(genesys)) == 2
        assert events_of(await journal_of(wire))["part.checking"] == 1


async def test_typing_is_heard_live(tmp_path: Path) -> None:
    """An agent's typing is told to whoever listens now, with its duration, and never stored."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        with wire.typing() as typing:
            genesys.say(event="typing")
            async with asyncio.timeout(10):
                guest, seconds = await typing.get()
        assert guest == await wire.guest_ref("ann")
        assert 0 < seconds <= 10
        assert await texts_of(wire) == []


async def test_live_replies_after_a_gap_do_not_hide_it(tmp_path: Path) -> None:
    """The history fails for a while, live replies fill its newest page: what is behind them is found all the same."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await wire.guests.follow("ann")
        await settled(wire, await say(wire, "hello"))
        genesys.inject("http_status", match={"path": "/messages"}, status=503)
        genesys.trigger("drop")
        for number in range(3):
            genesys.say(f"gap {number}")
        await until(wire, "replies.unreadable")
        for number in range(30):
            genesys.say(f"live {number}")
        await until(wire, "reply.received", times=33)
        assert sum((text or "").startswith("gap") for text in await texts_of(wire)) == 3


async def test_a_guest_is_visited_after_a_restart_and_not_after_his_session(tmp_path: Path) -> None:
    """Visits go on in the next process; a session that is over is not replaced and kept open for the sake of one."""
    patience = msgspec.structs.replace(QUICK, linger_s=0.1, poll_replies_s=0.3)
    async with emulator(**FAST) as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "hello"))
        genesys.say("are you there?")
        async with wired(genesys, tmp_path, patience=patience) as wire:
            assert (await take(wire.replies(), 1))[0].text == "are you there?"
            genesys.trigger("expire")
            await eventually(lambda: genesys.state()["connections_open"] == 0)


async def test_a_reply_that_does_not_open_stops_no_other(tmp_path: Path) -> None:
    """A row that was changed on disk is handed out as unreadable; what comes behind it comes."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        genesys.say("one")
        genesys.say("two")
        await until(wire, "reply.received", times=2)
        await wire.store_write(
            lambda store: store._db.execute("UPDATE replies SET body = x'00' WHERE seq = 1").fetchall()
        )
        replies = [reply async for reply in wire.replies(consumer="crm", follow=False)]
        assert [(reply.kind, reply.text) for reply in replies] == [("unreadable", None), ("text", "two")]
        for reply in replies:
            await wire.acknowledge(reply, consumer="crm")
        assert [reply async for reply in wire.replies(consumer="crm", follow=False)] == []


async def test_what_was_said_is_read_before_its_session_is_replaced(tmp_path: Path) -> None:
    """A read-only session with unread words, and somebody asks for another conversation: the words come first."""
    async with emulator(**FAST, conversation_disconnect="read_only") as genesys:
        async with wired(genesys, tmp_path) as wire:
            await settled(wire, await say(wire, "hello"))
        genesys.say("important")
        genesys.trigger("read_only")
        async with wired(genesys, tmp_path) as wire:
            await wire.guests.start_new("ann")
            assert "important" in await texts_of(wire)


async def test_a_consumer_reads_all_guests(tmp_path: Path) -> None:
    """A cursor over one guest's replies would stop at the first of another's: the two are not given together."""
    async with emulator(**FAST) as genesys, wired(genesys, tmp_path) as wire:
        await settled(wire, await say(wire, "hello"))
        with pytest.raises(ConfigError, match="all guests"):
            await anext(wire.replies("ann", consumer="crm"))
