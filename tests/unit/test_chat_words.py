"""What a chat shows: replies, events, what becomes of messages, the transcript."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.answers import quick_reply
from guestwire.cli.chatting_outbox import Outbox
from guestwire.cli.chatting_text import clusters, width
from guestwire.cli.chatting_words import (
    MAX_SHOWN,
    UNBOUNDED,
    Paragraph,
    Said,
    bounded,
    event_words,
    notes,
    presence_words,
    reply_data,
    rows,
    said_in,
    transcript,
)
from guestwire.model import GatewayMessageId, JournalEntry, PartBody, PartId, PartState, Reply
from guestwire.store.base import Line
from tests.unit.test_chat_lines import CARD, FORM, LIST, reply_with

ANYTHING = st.text(st.characters(exclude_categories=[]))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=8,
)
KEYS = ("card", "carousel", "cards", "listPicker", "sections", "items", "datePicker", "form", "formPages", "actions")
ODD = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*KEYS, "title", "url", "id"]), inner),
    max_leaves=12,
)


def words_of(reply: Reply, **more: Any) -> list[str]:
    """A reply's paragraphs as lines."""
    return [mark + text for text, mark in said_in(reply, **more).paragraphs]


def entry(event: str, part: str | None = None, **detail: Any) -> JournalEntry:
    """An entry of the journal."""
    return JournalEntry(1, 1000.0, event, None, None if part is None else PartId(part), detail)


def test_an_offer_stands_under_its_title() -> None:
    """With its numbers; a link has its address in place of one; hints are for those who can still choose."""
    assert words_of(reply_with(CARD)) == ["Label", " ->  Print  https://example.com", "[2] Send"]
    assert words_of(reply_with(LIST))[-1] == "several can be chosen, as in /answer 1,2"
    assert words_of(reply_with(LIST), is_live=False)[-1] == "[4] D"
    assert words_of(reply_with(FORM)) == [
        "[1] Name, required",
        "[2] people — One | Two",
        "a form: any of its numbers begins it",
    ]
    assert words_of(reply_with({"contentType": "Card", "card": {"title": "T", "description": "D"}})) == ["T — D"]


def test_times_are_local_and_nonsense_stays_as_it_came() -> None:
    """An hour that is none is shown all the same."""
    slots = [{"dateTime": "2026-11-24T10:00:00.000Z"}, {"dateTime": "soon"}, {"dateTime": "9999-12-31T23:59:59-12:00"}]
    picker = {"contentType": "DatePicker", "datePicker": {"title": "When", "availableTimes": slots}}
    found = words_of(reply_with(picker))
    assert found[0] == "When"
    assert "2026" in found[1]
    assert found[2] == "[2] soon"
    assert len(found) == 4


def test_what_cannot_be_shown_says_so() -> None:
    """By its kind."""
    assert words_of(reply_with({"contentType": "Hologram"})) == ["(Hologram: cannot be shown here)"]


@given(st.lists(st.integers(0, MAX_SHOWN), max_size=20))
def test_what_is_shown_has_a_bound(lengths: list[int]) -> None:
    """Whether it is one long text or many short offers; what is cut says so."""
    said = Said("Ann", 0.0, [Paragraph("x" * length) for length in lengths])
    shown = bounded(said).paragraphs
    assert sum(len(text) + 1 for text, _ in shown) <= MAX_SHOWN + 60
    assert shown == said.paragraphs or shown[-1].text.startswith("… and more")


def test_a_transcript_has_all_of_it() -> None:
    """A megabyte too."""
    reply = Reply(gateway_id=GatewayMessageId("m"), kind="text", text="x" * 1_000_000)
    assert transcript([Line(at=0.0, gateway_time=None, reply=reply)]).count("x") == 1_000_000


@given(st.lists(st.dictionaries(st.sampled_from([*KEYS, "contentType", "attachment"]), ODD)), ANYTHING, ANYTHING)
def test_no_reply_gets_out_of_its_lines(content: list[dict[str, Any]], text: str, nickname: str) -> None:
    """Whatever the far side sends: something is shown, as plain characters, in rows that fit."""
    said = said_in(reply_with(*content, text=text, nickname=nickname))
    laid_out = [front + row for front, row in rows(said, 60, isolate=False)]
    assert laid_out
    for line in laid_out:
        assert not [character for character in line if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
        assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
        line.encode()
    assert said.who


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.integers(20, 80))
def test_rows_fit_the_terminal(text: str, columns: int) -> None:
    """With the name in front, and whatever is isolated."""
    for front, row in rows(Said("Ann", 0.0, [Paragraph(text, "[1] ")]), columns, isolate=False):
        assert width(front + row) <= columns or len(clusters(row)) <= 5
    assert all(width(line) <= columns for line in notes("a few words about something", columns))


def test_a_right_to_left_row_keeps_its_direction_to_itself() -> None:
    """Only such a row, and only on a terminal."""
    said = Said("you", 0.0, [Paragraph("שלום"), Paragraph("Grüße")])
    assert [row for _, row in rows(said, 60, isolate=True)] == ["\u2068שלום\u2069", "Grüße"]
    assert [row for _, row in rows(said, UNBOUNDED, isolate=False)] == ["שלום", "Grüße"]


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (entry("session.read_only"), "your next message begins a new one"),
        (entry("session.evicted"), "trying again later"),
        (entry("session.refused", reason="no\x1b[31m"), "refuses the session: no\\x1b[31m"),
        (entry("destination.trouble", reason="refused"), "cannot be reached: refused; still trying"),
        (entry("session.expiring", expires_at=2000.0), "the session ends at "),
        (entry("session.expiring"), "the session ends soon"),
        (entry("lane.paused", until=1060.0, reason="evicted"), "nothing goes out before "),
        (entry("lane.paused", until=1001.0, reason="limit"), None),
        (entry("session.token_replaced", cause="logged_out"), "logged out"),
        (entry("part.queued"), None),
    ],
)
def test_events_in_words(happened: JournalEntry, words: str | None) -> None:
    """What means nothing to somebody who chats has none."""
    found = event_words(happened)
    assert (found is None) == (words is None)
    assert (words or "") in (found or "")


def test_presence_in_words() -> None:
    """A disconnect has none: the session says what it means."""

    def words(kind: str) -> str | None:
        events = [{"eventType": "Presence", "presence": {"type": kind}}]
        return presence_words(
            Reply(gateway_id=GatewayMessageId("m"), kind="presence", author="Human", nickname="Ann", events=events)
        )

    assert words("Join") == "Ann has joined"
    assert words("SignIn") == "Ann: signin"
    assert words("Disconnect") is None


def test_a_reply_as_data_has_its_content() -> None:
    """Options with their numbers, files by name."""
    file = {
        "contentType": "Attachment",
        "attachment": {"id": "1", "filename": "a.txt", "mime": "text/plain", "fileSize": 3},
    }
    data = reply_data(reply_with(CARD, file, text="hi"))
    assert (data["event"], data["text"], len(data["options"])) == ("reply", "hi", 2)
    assert data["files"] == [{"name": "a.txt", "type": "text/plain", "size": 3}]


# --- what becomes of messages ---


def outbox_with(*parts: str) -> Outbox:
    """An outbox with messages that are called like their parts."""
    outbox = Outbox()
    for part in parts:
        outbox.add(PartId(part), 0.0, [Paragraph(part)])
    return outbox


def test_a_message_is_told_when_it_has_its_end() -> None:
    """Accepted as it was; otherwise with the reason, and an exit code that the first of them decides."""
    outbox = outbox_with("a", "b", "c")
    told = outbox.moved(PartId("b"), entry("part.accepted", "b"))
    assert isinstance(told, Said)
    assert (told.paragraphs, outbox.code, len(outbox)) == ([Paragraph("b")], 0, 2)
    told = outbox.moved(PartId("a"), entry("part.dead", "a", reason="refused\x1b"))
    assert isinstance(told, Said)
    assert told.paragraphs[-1] == Paragraph("not sent: refused\\x1b", "! ")
    told = outbox.moved(PartId("c"), entry("part.parked", "c", reason="poison"))
    assert isinstance(told, Said)
    assert "guestwire messages show c" in told.paragraphs[-1].text
    assert (outbox.code, len(outbox), outbox.doing) == (5, 0, "")


@pytest.mark.parametrize(
    ("event", "detail", "doing", "is_told"),
    [
        ("part.sending", {}, "sending", False),
        ("part.throttled", {}, "held by a limit", False),
        ("part.requeued", {"reason": "lost"}, "trying again", False),
        ("part.checking", {"reason": "lost"}, "checking", True),
        ("part.possible_duplicate", {"reason": "absent"}, "sending again", True),
        ("upload.started", {}, "sending the file", False),
        ("upload.progress", {"sent": 1, "size": 4}, "sending the file, 25 %", False),
        ("upload.progress", {"sent": 1, "size": 0}, "sending the file, 0 %", False),
        ("upload.stored", {}, "sending the file, 100 %", False),
    ],
)
def test_what_is_done_with_a_message(event: str, detail: dict[str, Any], doing: str, is_told: bool) -> None:
    """In two or three words; told in a line only where the guest should know."""
    outbox = outbox_with("a")
    told = outbox.moved(PartId("a"), entry(event, "a", **detail))
    assert (outbox.doing, isinstance(told, str)) == (doing, is_told)
    assert outbox.is_unknown == (doing == "checking")


# --- the transcript ---


def test_a_transcript_has_both_sides() -> None:
    """In order, with times; what has not arrived says so; presence is no line; nothing in it can be obeyed."""
    reply = Reply(gateway_id=GatewayMessageId("m"), kind="text", text="Hi\x1b\nthere", author="Human", nickname="Ann")
    gone = Reply(gateway_id=GatewayMessageId("p"), kind="presence")
    lines = [
        Line(at=0.0, gateway_time=None, part_id=PartId("1"), state=PartState.ACCEPTED, body=PartBody("Hello")),
        Line(at=1.0, gateway_time=None, reply=reply),
        Line(at=2.0, gateway_time=None, reply=gone),
        Line(
            at=3.0,
            gateway_time=None,
            part_id=PartId("2"),
            state=PartState.QUEUED,
            body=PartBody(answer=quick_reply("Yes")),
        ),
        Line(at=4.0, gateway_time=None, part_id=PartId("3"), state=PartState.ACCEPTED),
    ]
    stripped = [line[19:] for line in transcript(lines).splitlines()]
    assert stripped == ["  you  Hello", "  Ann  Hi\\x1b", "       there", "  you  Yes", "       (queued)"]
