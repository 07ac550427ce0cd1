"""What is typed into a chat means: texts, commands, choices, forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli.chatting_lines import (
    COMMANDS,
    Command,
    Form,
    Mistake,
    Say,
    choosable,
    number_of,
    read_attribute,
    read_choice,
    read_line,
)
from guestwire.model import GatewayMessageId, Reply


def reply_with(*content: dict[str, Any], **more: Any) -> Reply:
    """A reply with some content."""
    return Reply(gateway_id=GatewayMessageId("m"), kind="structured", content=list(content), **more)


CARD = {
    "contentType": "Card",
    "card": {
        "title": "Label",
        "actions": [
            {"type": "Link", "text": "Print", "url": "https://example.com"},
            {"type": "Postback", "text": "Send", "payload": "send"},
        ],
    },
}
LIST = {
    "contentType": "ListPicker",
    "listPicker": {
        "sections": [
            {
                "title": "Many",
                "multipleSelection": True,
                "items": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}],
            },
            {"title": "One", "items": [{"id": "c", "title": "C"}, {"id": "d", "title": "D"}]},
        ]
    },
}
FORM = {
    "contentType": "Form",
    "form": {
        "formPages": [
            {
                "pageComponents": [
                    {"input": {"id": "name", "title": "Name", "isRequired": True}},
                    {"wheelPicker": {"id": "people", "items": [{"title": "One"}, {"title": "Two"}]}},
                ]
            }
        ]
    },
}


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("", None),
        ("  \t", None),
        (" hello ", Say(" hello ")),
        ("//etc/passwd", Say("/etc/passwd")),
        ("/quit", Command("quit")),
        ("/FILE  a b.txt ", Command("file", "a b.txt")),
    ],
)
def test_a_line_is_a_text_or_a_command(line: str, typed: object) -> None:
    """A slash in front makes the difference, two of them take it back."""
    assert read_line(line) == typed


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/flie x", "did you mean /file?"),
        ("/zzz", "/help lists"),
        ("/", "/help lists"),
        ("/save", "such as /save FILE"),
    ],
)
def test_a_mistake_says_what_would_be_right(line: str, words: str) -> None:
    """The nearest command, or what is missing behind it."""
    typed = read_line(line)
    assert isinstance(typed, Mistake)
    assert words in typed.words


@given(st.text())
def test_any_line_means_something(line: str) -> None:
    """A text goes out as it was typed; a command is one of those there are."""
    match read_line(line):
        case None:
            assert not line.strip()
        case Say(text):
            assert text in (line, line[1:])
        case Command(name):
            assert name in COMMANDS
        case mistake:
            assert mistake.words


def test_attributes() -> None:
    """NAME=VALUE; the value may hold anything."""
    assert read_attribute("topic = a=b") == ("topic", "a=b")
    assert isinstance(read_attribute("topic"), Mistake)
    assert isinstance(read_attribute("=x"), Mistake)


def test_a_number_counts_only_while_it_is_offered() -> None:
    """Neither a link's nor one beyond the offer, nor anything that is no plain number."""
    offer = reply_with(CARD)
    assert [number_of(text, offer) for text in ("2", " 2 ", "1", "3", "02x", "²", "99999999")] == [2, 2, *[None] * 5]
    assert number_of("2", None) is None
    assert [option.label for option in choosable(offer)] == ["Send"]


def test_choices() -> None:
    """Several of a list where its sections allow it; else one."""
    offer = reply_with(LIST)

    def chosen(argument: str, reply: Reply | None = offer) -> list[str] | str:
        found = read_choice(argument, reply)
        return found.words if isinstance(found, Mistake) else [option.label for option in found]

    assert chosen("1, 2 4") == ["A", "B", "D"]
    assert chosen("1,1") == ["A"]
    assert "only one of these" in chosen("3,4")
    assert chosen("5") == "'5' is not on offer; choose from 1 to 4"
    assert chosen("1", None) == "nothing is on offer that could be answered"
    quick = [{"contentType": "QuickReply", "quickReply": {"text": label}} for label in ("Yes", "No")]
    assert "only items of a list" in chosen("1,2", reply_with(*quick))


def test_an_empty_choice_is_a_mistake() -> None:
    """Commas alone choose nothing."""
    assert isinstance(read_choice(",", reply_with(LIST)), Mistake)


def test_a_form_is_filled_in_field_by_field() -> None:
    """A required field is asked for until it is there; numbers choose where a field offers something."""
    form = Form(reply_with(FORM))
    first = form.field
    assert first is not None
    assert (first.label, form.choices) == ("Name", ())
    assert form.fill_in("  ") == "this field is required; /cancel leaves the form"
    assert form.fill_in("1") is None
    assert form.choices == ("One", "Two")
    assert form.fill_in("2") is None
    assert form.field is None
    assert [(choice.field, choice.text) for choice in form.answer().choices] == [("name", "1"), ("people", "Two")]


def test_a_field_that_is_not_required_may_stay_empty() -> None:
    """Then it is not in the answer."""
    form = Form(reply_with(FORM))
    form.fill_in("Ann")
    form.fill_in("")
    assert [choice.field for choice in form.answer().choices] == ["name"]
