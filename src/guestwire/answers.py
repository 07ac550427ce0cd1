"""
What a structured reply offers, and the answer that a guest gives to it.

Quick replies, cards, pickers and forms come as JSON of the wire, of which nothing is required. `offered` makes a flat,
numbered list of what can be chosen; `answer` makes the answer of a choice. How an answer is written on the wire is
decided in `guestwire.protocol.writing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from guestwire.errors import Finding, Rejected

Kind = Literal["quick_reply", "button", "date", "list", "form", "link"]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be chosen. The numbers of one reply rise from 1 without a gap."""

    number: int
    kind: Kind
    """``link`` is shown and never answered: it opens `url`. ``form`` is one field, to be filled in."""
    label: str
    payload: str
    group: str = ""
    """Where it stands: the title of its card, section or page."""
    description: str = ""
    url: str | None = None
    required: bool = False
    """Of a form's field."""
    several: bool = False
    """Of a list's item: others of its section may be chosen with it."""
    values: tuple[str, ...] = ()
    """Of a form's field: what it offers to choose from; empty: any text."""

    def __repr__(self) -> str:
        return f"Option({self.number}, {self.kind})"  # not what somebody wrote


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was chosen, as the wire wants it. `field` names the form's field that it fills in."""

    text: str
    payload: str
    field: str | None = None

    def __repr__(self) -> str:
        return f"Choice({len(self.text)} characters)"  # what a guest chose is what he said


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A structured answer of a guest."""

    kind: Literal["quick_reply", "button", "date", "list", "form"]
    choices: tuple[Choice, ...]
    to: str | None = None
    """Id of the message that is answered."""
    text: str | None = None
    """What the conversation shows in place of the choices; None where the wire has no such text."""
    form: str | None = None
    """`cannedResponseId` of the form."""

    def __repr__(self) -> str:
        return f"Answer({self.kind}, {len(self.choices)} choices)"  # not what was chosen


def quick_reply(label: str, payload: str | None = None) -> Answer:
    """Return the answer to a quick reply that is known by its label."""
    return Answer(kind="quick_reply", choices=(Choice(label, label if payload is None else payload),), text=label)


def offered(content: Sequence[Mapping[str, Any]]) -> tuple[Option, ...]:
    """Return everything that can be chosen in a reply's `content`, in its order."""
    return tuple(
        msgspec.structs.replace(option, number=number)
        for number, option in enumerate((option for item in content for option in _options(item)), start=1)
    )


def answer(
    to: str,
    content: Sequence[Mapping[str, Any]],
    chosen: int | str | Option | Sequence[int | str | Option] | Mapping[str, str],
) -> Answer:
    """
    Make the answer of a choice.

    Args:
        to: Id of the reply that is answered.
        content: Its content.
        chosen: A number from 1, a label or payload, an option; several for a list; values by field for a form.

    Raises:
        Rejected: The reply offers no such thing, or a form lacks a required field.
    """
    options = offered(content)
    if isinstance(chosen, Mapping):
        return _fill_in(to, content, options, chosen)
    several = [chosen] if isinstance(chosen, int | str | Option) else list(chosen)
    found = [_find(options, one) for one in several]
    kinds = {option.kind for option in found}
    if not found or len(kinds) > 1 or (len(found) > 1 and kinds != {"list"}):
        raise _wrong("exactly one option is chosen, or several items of one list", "choose one of the numbers shown")
    single = [option.group for option in found if not option.several]
    if len(found) > 1 and len(set(single)) < len(single):
        raise _wrong("several items are chosen of a section that takes one", "choose one item of each such section")
    first = found[0]
    if first.kind in ("link", "form"):
        hint = "open its address" if first.kind == "link" else "give the values of its fields by name"
        raise _wrong(f"option {first.number} is a {first.kind}, which is not chosen", hint)
    return Answer(
        kind=first.kind,  # type: ignore[arg-type]
        choices=tuple(Choice(option.label, option.payload) for option in found),
        to=to,
        # A date has no text of its own on the wire; a list has the one that it came with.
        text=None if first.kind == "date" else _said(content, "listPicker", "subtitle") or first.label,
    )


def _find(options: Sequence[Option], wanted: int | str | Option) -> Option:
    if isinstance(wanted, Option):
        wanted = wanted.number
    if isinstance(wanted, str):
        name = wanted.strip().casefold()
        # A label outranks a payload, and both outrank a number that somebody typed.
        for read in (lambda o: o.label.casefold(), lambda o: o.payload.casefold(), lambda o: str(o.number)):
            for option in options:
                if read(option) == name:
                    return option
        raise _wrong("the reply offers nothing of that name", _known(options))
    if not 1 <= wanted <= len(options):
        raise _wrong(f"the reply offers nothing under number {wanted}", _known(options))
    return options[wanted - 1]


def _fill_in(
    to: str, content: Sequence[Mapping[str, Any]], options: Sequence[Option], values: Mapping[str, str]
) -> Answer:
    fields = [option for option in options if option.kind == "form"]
    by_name = {name: field for field in reversed(fields) for name in (field.label, field.payload)}
    if not fields:
        raise _wrong("the reply holds no form", _known(options))
    unknown = [name for name in values if name not in by_name]
    filled = {by_name[name].payload: value for name, value in values.items() if name in by_name}
    missing = [field.label for field in fields if field.required and not filled.get(field.payload, "").strip()]
    if unknown or missing:
        what = f"the form has no field '{unknown[0]}'" if unknown else f"the field '{missing[0]}' is required"
        raise _wrong(what, f"its fields: {', '.join(dict.fromkeys(field.label for field in fields))}")
    form = next(found for item in content if (found := _at(item, "form")))
    return Answer(
        kind="form",
        choices=tuple(
            Choice(filled[field.payload], filled[field.payload], field.payload)
            for field in fields
            if field.payload in filled
        ),
        to=to,
        text=_said(content, "form", "title"),
        form=_text(form, "cannedResponseId") or None,
    )


def _said(content: Sequence[Mapping[str, Any]], key: str, part: str) -> str | None:
    """Return what the conversation is to show for an answer: `replyMessage` of a picker or form."""
    for item in content:
        if said := _text(_at(_at(item, key), "replyMessage"), part):
            return said
    return None


def _wrong(what: str, fix: str) -> Rejected:
    return Rejected([Finding("answer.unknown_option", "answer", what, fix)])


def _known(options: Sequence[Option]) -> str:
    return f"choose a number from 1 to {len(options)}" if options else "answer it with a plain text"


# --- reading: nothing in the content is required, so nothing is trusted to be there ---


def _options(item: Mapping[str, Any]) -> Iterator[Option]:
    yield from _buttons(_at(item, "quickReply"), "quick_reply")
    for action in _list(_at(item, "quickReplyV2"), "actions"):
        yield from _buttons(action, "quick_reply")
    button = _at(item, "buttonResponse")
    yield from _buttons(button, "button" if _text(button, "type") == "Button" else "quick_reply")
    for card in (_at(item, "card"), *_list(_at(item, "carousel"), "cards")):
        for action in _list(card, "actions"):
            yield from _card_action(card, action)
    picker = _at(item, "datePicker")
    for slot in _list(picker, "availableTimes"):
        if at := _text(slot, "dateTime"):
            yield Option(number=0, kind="date", label=at, payload=at, group=_text(picker, "title"))
    for section in _list(_at(item, "listPicker"), "sections"):
        yield from _list_items(section)
    for page in _list(_at(item, "form"), "formPages"):
        for component in _list(page, "pageComponents"):
            yield from _form_field(page, component)


def _buttons(button: Mapping[str, Any], kind: Kind) -> Iterator[Option]:
    label = _text(button, "text")
    if label or _text(button, "payload"):
        payload = _text(button, "payload") or label
        yield Option(number=0, kind=kind, label=label or payload, payload=payload)


def _card_action(card: Mapping[str, Any], action: Mapping[str, Any]) -> Iterator[Option]:
    label, url = _text(action, "text"), _text(action, "url")
    is_link = _text(action, "type") == "Link"
    if label or url:
        yield Option(
            number=0,
            kind="link" if is_link else "button",
            label=label or url,
            payload=_text(action, "payload") or label,
            group=_text(card, "title"),
            description=_text(card, "description"),
            url=url or None if is_link else None,
        )


def _list_items(section: Mapping[str, Any]) -> Iterator[Option]:
    for entry in _list(section, "items"):
        if name := _text(entry, "id") or _text(entry, "title"):
            yield Option(
                number=0,
                kind="list",
                label=_text(entry, "title") or name,
                payload=name,
                group=_text(section, "title"),
                description=_text(entry, "subtitle"),
                several=section.get("multipleSelection") is True,
            )


def _form_field(page: Mapping[str, Any], component: Mapping[str, Any]) -> Iterator[Option]:
    for key in ("input", "datePicker", "listPicker", "wheelPicker"):
        field = _at(component, key)
        if name := _text(field, "id"):
            sections = _list(field, "sections")
            items = [entry for part in (field, *sections) for entry in _list(part, "items")]
            times = [_text(slot, "dateTime") for slot in _list(field, "availableTimes")]
            yield Option(
                number=0,
                kind="form",
                label=_text(field, "title") or name,
                payload=name,
                group=_text(page, "title"),
                description=_text(field, "subtitle"),
                required=field.get("isRequired") is True,
                values=tuple(filter(None, [*(_text(entry, "title") for entry in items), *times])),
            )


def _at(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = item.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(item: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = item.get(key)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _text(item: Mapping[str, Any], key: str) -> str:
    found = item.get(key)
    return found if isinstance(found, str) else ""
