"""What was said, in lines: texts, answers, files, and what a reply offers. Safe to show, whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from guestwire.answers import Answer, Option
from guestwire.cli import show
from guestwire.model import JournalEntry, PartBody, ReceivedFile, Reply


def of_reply(reply: Reply) -> Iterator[str]:
    """Yield a reply: who says what, then what can be chosen, numbered, then its files."""
    name = show.printable(reply.nickname or reply.author or "reply", width=60)
    yield f"{name}: {_shown(reply.text) if reply.text else _kind(reply)}"
    group = ""
    for option in reply.options:
        if option.group and option.group != group:
            yield f"  {_shown(option.group)}"
        group = option.group
        yield f"  {option.number:>2}  {_option(option)}"
    for file in reply.attachments:
        yield f"  file  {_shown(file.name or 'without a name')} ({_about(file)})"


def of_part(body: PartBody) -> Iterator[str]:
    """Yield what a guest said."""
    if body.answer is not None:
        yield of_answer(body.answer)
    elif body.text:
        yield _shown(body.text)
    if body.file is not None:
        yield f"file  {_shown(body.file.name)} ({size(body.file.size)}, {show.printable(body.file.type)})"


def of_answer(answer: Answer) -> str:
    """A structured answer in one line."""
    chosen = [
        f"{'' if choice.field is None else _shown(choice.field) + ' = '}{_shown(choice.text)}"
        + (f" [{_shown(choice.payload)}]" if choice.payload != choice.text else "")
        for choice in answer.choices
    ]
    return f"{answer.kind.replace('_', ' ')}: {', '.join(chosen)}"


def reply_data(reply: Reply) -> dict[str, Any]:
    """A reply as data, for `--json`."""
    return {
        "text": reply.text,
        "kind": reply.kind,
        "author": reply.author,
        "nickname": reply.nickname,
        "time": reply.at,
        "gateway_id": reply.gateway_id,
        "options": [
            {"number": option.number, "kind": option.kind, "label": option.label, "payload": option.payload}
            for option in reply.options
        ],
        "attachments": [{"name": file.name, "type": file.type, "size": file.size} for file in reply.attachments],
    }


def part_of(entry: JournalEntry) -> str | None:
    """The part that an entry is about; those of an upload have it in their detail."""
    return entry.part_id or entry.detail.get("part")


def about_upload(entry: JournalEntry) -> str:
    """What an entry ``upload.*`` says, in words."""
    sent, whole = entry.detail.get("sent", 0), entry.detail.get("size", 0)
    match entry.event:
        case "upload.started":
            return f"{size(whole)} on their way"
        case "upload.progress":
            return f"{sent / whole:.0%} of {size(whole)}" if whole else f"{size(sent)} sent"
        case "upload.stored":
            return "all of it sent; the platform looks at it"
        case _:
            return "the platform has it"


def about_errand(entry: JournalEntry) -> str:
    """What an entry ``errand.*`` says, in words."""
    kind = show.printable(str(entry.detail.get("kind", "an errand"))).replace("_", " ")
    match entry.event:
        case "errand.queued":
            return f"{kind} was asked for; its turn is behind what is queued"
        case "errand.done":
            return f"{kind} is done"
        case _:
            return f"{kind} failed: {show.printable(str(entry.detail.get('reason') or 'no reason given'))}"


def size(count: float) -> str:
    """A number of bytes for people; kilobytes are 1,000 bytes, as the gateway counts them."""
    for unit, one in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return show.counted(int(count), "byte")


def _shown(text: str) -> str:
    return show.isolated(show.printable(text))


def _kind(reply: Reply) -> str:
    """What stands in for the text of a reply that has none."""
    for event in reply.events:
        presence = event.get("presence")
        if isinstance(presence, dict) and isinstance(presence.get("type"), str):
            return f"({show.printable(presence['type'], width=40).lower()})"
    kinds = [str(item.get("contentType", "")) for item in reply.content]
    return f"({show.printable(', '.join(dict.fromkeys(kind for kind in kinds if kind)), width=60) or reply.kind})"


def _option(option: Option) -> str:
    words = _shown(option.label)
    if option.kind == "form":
        words += " = …" + (" (required)" if option.required else "")
    elif option.url is not None:
        words += f" <{_shown(option.url)}>"
    elif option.payload not in (option.label, ""):
        words += f" [{_shown(option.payload)}]"
    return words + (f"  {_shown(option.description)}" if option.description else "")


def _about(file: ReceivedFile) -> str:
    known = [] if file.size is None else [size(file.size)]
    return ", ".join([*known, show.printable(file.type or "of no type")])
