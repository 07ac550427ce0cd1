"""
What a chat shows, in words: messages, replies and what they offer, events, the transcript. Pure.

Every text from outside goes through `show.printable` here, line by line, so that whoever writes the paragraphs to a
terminal or a file need not think of it again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from guestwire.answers import Answer, Option
from guestwire.cli.chatting_text import is_right_to_left, width, wrap
from guestwire.cli.show import local, printable
from guestwire.model import TAKEN_STATES, JournalEntry, PartBody, ReceivedFile, Reply
from guestwire.policy.order import time_of
from guestwire.store.base import Line

#: So much of what is said at once is shown, in characters; five times what the platform lets anybody write.
MAX_SHOWN = 20_000
#: Longest name, in columns.
MAX_NAME = 16
#: What a line that is not wrapped is as wide as.
UNBOUNDED = 1_000_000


class Paragraph(NamedTuple):
    """A line of words, with what stands in front of its first row."""

    text: str
    mark: str = ""


class Said(msgspec.Struct, frozen=True):
    """Something that one side said."""

    who: str
    at: float
    paragraphs: Sequence[Paragraph]
    is_mine: bool = False


# --- on lines ---


def rows(said: Said, columns: int, *, isolate: bool) -> Iterator[tuple[str, str]]:
    """
    Lay something that was said out: pairs of what stands in front (its name, or room) and a row of the text.

    Args:
        said: What.
        columns: Of the terminal.
        isolate: Put each row that turns the direction into marks that keep that to itself (UAX #9: FSI … PDI).
    """
    head = f"{said.who}  {clock(said.at)}  "
    room = width(head) if width(head) <= columns // 3 else 4
    for place, (text, mark) in enumerate(said.paragraphs or [Paragraph("")]):
        front = head if place == 0 else " " * room
        inner = max(2, columns - max(room, width(front)) - width(mark) - 1)
        for number, row in enumerate(wrap(text, inner)):
            shown = f"\u2068{row}\u2069" if isolate and is_right_to_left(row) else row
            yield (front if number == 0 else " " * room), (mark if number == 0 else " " * width(mark)) + shown


def notes(words: str, columns: int) -> list[str]:
    """Lay out a line about what happened."""
    return [("· " if place == 0 else "  ") + row for place, row in enumerate(wrap(words, max(2, columns - 3)))]


def clock(at: float) -> str:
    """Hours and minutes, local."""
    return local(at)[11:16]


def paragraphs(text: str) -> list[Paragraph]:
    """A text by its lines."""
    return [Paragraph(printable(line)) for line in text.replace("\r\n", "\n").split("\n")]


def bounded(said: Said) -> Said:
    """Cut what is longer than anybody writes, and say so: a terminal is no place for a megabyte."""
    kept: list[Paragraph] = []
    room = MAX_SHOWN
    for text, mark in said.paragraphs:
        if len(text) >= room:
            kept += [Paragraph(text[:room], mark), Paragraph("… and more; --transcript FILE has all of it")]
            return msgspec.structs.replace(said, paragraphs=kept)
        kept.append(Paragraph(text, mark))
        room -= len(text) + 1
    return said


# --- replies ---


def name_of(reply: Reply) -> str:
    """Who said it."""
    given = (reply.nickname or "").strip()
    return printable(given or {"Human": "agent", "Bot": "bot"}.get(reply.author, "reply"), width=MAX_NAME)


def said_in(reply: Reply, *, is_live: bool = True) -> Said:
    """What a reply says and offers; with what can be done about it, where that can be done."""
    found = paragraphs(reply.text) if reply.text else []
    found += _titles(reply.content)
    found += _offers(reply.options)
    found += [Paragraph(file_words(file), "file: ") for file in reply.attachments]
    if is_live:
        found += _hints(reply)
    if not found:
        kinds = ", ".join(str(item.get("contentType", "nothing")) for item in reply.content)
        found = [Paragraph(printable(f"({kinds or reply.kind}: cannot be shown here)", width=MAX_NAME * 4))]
    if reply.late and is_live:
        found.append(Paragraph("(came late: older than what is shown above)"))
    return Said(name_of(reply), time_of(reply.at) or reply.received_at, found)


def _titles(content: Sequence[Mapping[str, Any]]) -> Iterator[Paragraph]:
    """What stands above the things to choose from, and cards that offer nothing."""
    for item in content:
        for card in (_at(item, "card"), *_cards(item)):
            if not card.get("actions"):
                yield from _title(card, "title", "description")
        yield from _title(_at(item, "quickReplyV2"), "title")
        yield from _title(_at(_at(item, "listPicker"), "receivedMessage"), "title", "subtitle")
        yield from _title(_at(_at(item, "form"), "receivedMessage"), "title", "subtitle")
        yield from _title(_at(_at(item, "form"), "introduction"), "title", "subtitle")
        picker = _at(item, "datePicker")
        yield from _title({**picker, "place": _at(picker, "location").get("text")}, "title", "subtitle", "place")


def _title(of: Mapping[str, Any], *keys: str) -> Iterator[Paragraph]:
    words = [value for key in keys if isinstance(value := of.get(key), str) and value]
    if words:
        yield Paragraph(printable(" — ".join(words)))


def _at(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = item.get(key)
    return found if isinstance(found, Mapping) else {}


def _cards(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    cards = _at(item, "carousel").get("cards")
    return [card for card in cards if isinstance(card, Mapping)] if isinstance(cards, list) else []


def _offers(options: Sequence[Option]) -> Iterator[Paragraph]:
    above = ""
    for option in options:
        is_card = option.kind in ("button", "link")
        # The title of a date picker stands above already, with what belongs to it.
        group = "" if option.kind == "date" else option.group
        heading = " — ".join(filter(None, (group, option.description if is_card else "")))
        if heading and heading != above:
            yield Paragraph(printable(heading))
        above = heading
        yield _offer(option)


def _hints(reply: Reply) -> Iterator[Paragraph]:
    if any(option.several for option in reply.options):
        yield Paragraph("several can be chosen, as in /answer 1,2")
    if any(option.kind == "form" for option in reply.options):
        yield Paragraph("a form: any of its numbers begins it")
    if reply.attachments:
        yield Paragraph("/save FILE fetches the file")


def _offer(option: Option) -> Paragraph:
    label = option.label
    if option.kind == "link":
        url = option.url or ""
        return Paragraph(printable(f"{label}  {url}" if label != url else url), " ->  ")
    if option.kind == "date":
        label = moment_words(option.payload)
    elif option.kind == "list" and option.description:
        label = f"{label} — {option.description}"
    elif option.kind == "form":
        label += ", required" if option.required else ""
        words = [option.description, " | ".join(option.values)]
        label = " — ".join([label, *filter(None, words)])
    return Paragraph(printable(label), f"[{option.number}] ")


def moment_words(at: str) -> str:
    """A time that is offered, local; as it came where it is none."""
    seconds = time_of(at)
    if seconds is None:
        return at
    try:
        return f"{datetime.datetime.fromtimestamp(seconds).astimezone():%a %d %b %Y %H:%M}"
    except (ValueError, OverflowError):
        return at


def file_words(file: ReceivedFile) -> str:
    """A file's name and size."""
    size = "" if file.size is None else f", {size_words(file.size)}"
    return (
        f"{printable(file.name or 'without a name', width=120)} ({printable(file.type or 'no type', width=60)}{size})"
    )


def size_words(size: int) -> str:
    """A size for people."""
    return f"{size:,} bytes" if size < 10_000 else f"{size // 1000:,} kB"


def presence_words(reply: Reply) -> str | None:
    """What a presence event says; None for a disconnect, of which the session tells more."""
    kinds = [str(_at(event, "presence").get("type", "")) for event in reply.events]
    shown = [kind for kind in kinds if kind and kind != "Disconnect"]
    if shown == ["Join"]:
        return f"{name_of(reply)} has joined"
    return f"{name_of(reply)}: {printable(', '.join(shown).lower(), width=60)}" if shown else None


def reply_data(reply: Reply) -> dict[str, Any]:
    """A reply as JSON has it."""
    return {
        "event": "reply",
        "reply": reply.seq,
        "kind": reply.kind,
        "author": reply.author,
        "nickname": reply.nickname,
        "time": reply.at,
        "text": reply.text,
        "options": reply.options,
        "files": [{"name": file.name, "type": file.type, "size": file.size} for file in reply.attachments],
        "late": reply.late,
    }


# --- what the guest said ---


def answer_words(answer: Answer) -> str:
    """What an answer chooses."""
    if answer.kind == "date":
        return ", ".join(moment_words(choice.payload) for choice in answer.choices)
    return ", ".join(choice.text for choice in answer.choices)


def body_words(body: PartBody) -> list[Paragraph]:
    """What a stored message says."""
    found = paragraphs(answer_words(body.answer)) if body.answer is not None else []
    if body.text:
        found += paragraphs(body.text)
    if body.file is not None:
        name = printable(body.file.name, width=120)
        found.append(Paragraph(f"{name} ({printable(body.file.type)}, {size_words(body.file.size)})", "file: "))
    return found


def said_before(line: Line) -> Said | None:
    """A line of a transcript; None for what has no words."""
    if line.reply is not None:
        reply = line.reply
        if reply.kind in ("presence", "other", "typing"):
            return None
        return msgspec.structs.replace(said_in(reply, is_live=False), at=time_of(reply.at) or line.at)
    if line.body is None:
        return None
    found = body_words(line.body)
    if line.state is not None and line.state not in TAKEN_STATES:
        found.append(Paragraph(f"({line.state.value})"))
    return Said("you", line.at, found, is_mine=True)


def transcript(lines: Iterable[Line]) -> str:
    """A conversation as plain text: local times, both sides, names of files."""
    text = []
    for line in lines:
        said = said_before(line)
        if said is None:
            continue
        head = f"{local(said.at)[:19]}  {said.who}  "
        for place, (words, mark) in enumerate(said.paragraphs):
            text.append((head if place == 0 else " " * width(head)) + mark + words)
    return "".join(f"{line.rstrip()}\n" for line in text)


# --- events ---

_SESSION_WORDS = {
    "session.read_only": "the other side ended the conversation; your next message begins a new one",
    "session.disconnected": "the other side left the conversation; you may go on writing",
    "session.expired": "the session ran out; a new one begins",
    "session.evicted": "the session is open in too many places: the gateway closed this one; trying again later",
    "session.cleared": "the conversation was cleared at the platform",
    "session.sign_in_needed": "the guest has to sign in again",
    "session.silent": "no sign of life from the gateway",
    "session.closed": "the session is closed; your next message begins anew",
    "deployment.inactive": "the deployment is switched off",
    "destination.reached": "the gateway is reached again",
}


def event_words(entry: JournalEntry) -> str | None:
    """What an entry of the journal means to somebody who chats; None: nothing."""
    detail = entry.detail
    match entry.event:
        case "session.token_replaced":
            return "logged out; the next message goes out under a new session"
        case "session.refused":
            return f"the gateway refuses the session: {printable(str(detail.get('reason', '')), width=200)}"
        case "session.expiring":
            at = detail.get("expires_at")
            when = f" at {clock(at)}" if isinstance(at, int | float) else " soon"
            return f"the session ends{when} unless somebody says something"
        case "destination.trouble":
            reason = printable(str(detail.get("reason", "")), width=200)
            return f"the gateway cannot be reached: {reason}; still trying"
        case "lane.paused":
            until = detail.get("until")
            if isinstance(until, int | float) and until - entry.at > 5.0:
                return f"nothing goes out before {clock(until)}: {printable(str(detail.get('reason', '')), width=200)}"
            return None
        case event:
            return _SESSION_WORDS.get(event)
