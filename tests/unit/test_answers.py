"""What a reply offers, and what can be made of it, whatever the far side sends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire import Rejected
from guestwire.answers import answer, offered, quick_reply

YES_NO: list[dict[str, Any]] = [
    {"contentType": "QuickReply", "quickReply": {"text": text, "payload": payload}}
    for text, payload in (("Yes", "1"), ("No", "2"))
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "quickReply",
        "quickReplyV2",
        "buttonResponse",
        "card",
        "carousel",
        "datePicker",
        "listPicker",
        "form",
        "actions",
        "cards",
        "sections",
        "items",
        "formPages",
        "pageComponents",
        "availableTimes",
        "text",
        "payload",
        "title",
        "id",
        "type",
        "url",
        "dateTime",
        "input",
    ]
)
WIRE = st.recursive(
    st.one_of(st.none(), st.text(max_size=8), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(
    st.lists(st.one_of(st.dictionaries(KEYS, WIRE, max_size=3), st.dictionaries(st.text(max_size=8), JSON)), max_size=4)
)
def test_any_content_offers_something_or_nothing(content: list[dict[str, Any]]) -> None:
    """Whatever the content, numbers rise from 1, each option has a label, and what can be chosen is answered."""
    options = offered(content)
    assert [option.number for option in options] == list(range(1, len(options) + 1))
    for option in options:
        assert option.label
        if option.kind not in ("link", "form"):
            assert answer("m", content, option.number).choices[0].payload == option.payload


@pytest.mark.parametrize("chosen", ["Yes", "yes ", "1", 1])
def test_an_option_is_chosen_by_number_label_or_payload(chosen: int | str) -> None:
    """A label outranks a payload and both outrank a number; case and space do not matter."""
    assert answer("m", YES_NO, chosen) == msgspec.structs.replace(quick_reply("Yes", "1"), to="m")


@pytest.mark.parametrize("chosen", [0, 3, -1, "maybe", [], [1, 2], {"name": "x"}])
def test_what_is_not_offered_is_rejected(chosen: Any) -> None:
    """The error says what can be chosen, and never the text of the reply."""
    with pytest.raises(Rejected) as caught:
        answer("m", YES_NO, chosen)
    assert caught.value.findings[0].rule == "answer.unknown_option"
    assert caught.value.hint


def test_a_form_is_filled_in_by_name() -> None:
    """By title or id; a required field that is missing, and a field that is unknown, are named."""
    field = {"id": "name", "title": "Your name", "isRequired": True}
    other = {"id": "note", "title": "Note"}
    content = [
        {
            "form": {
                "cannedResponseId": "c",
                "formPages": [{"title": "p", "pageComponents": [{"input": field}, {"input": other}]}],
            }
        }
    ]
    filled = answer("m", content, {"Your name": "Ann", "note": "x"})
    assert [(choice.field, choice.text) for choice in filled.choices] == [("name", "Ann"), ("note", "x")]
    assert filled.form == "c"
    for values in ({"note": "x"}, {"name": " "}, {"name": "Ann", "colour": "red"}):
        with pytest.raises(Rejected):
            answer("m", content, values)


def test_a_link_is_not_chosen() -> None:
    """It has an address to open, and nothing to send."""
    content = [{"card": {"title": "t", "actions": [{"type": "Link", "text": "Shop", "url": "https://example.com"}]}}]
    (option,) = offered(content)
    assert (option.kind, option.url) == ("link", "https://example.com")
    with pytest.raises(Rejected):
        answer("m", content, 1)
