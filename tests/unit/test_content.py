"""What was said, as lines: whatever stands in a reply, they are lines, and safe ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli import content
from guestwire.model import GatewayMessageId, Reply

HOSTILE = "\x1b[31m\x07\u202e\u2066\r\n\x9b"

UNSAFE = set("\x1b\x07\u202e\u2066\r\n\x9b")


def reply_of(**fields: Any) -> Reply:
    """A reply with this in it."""
    return Reply(**{"gateway_id": GatewayMessageId("g"), "kind": "structured", **fields})


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        (reply_of(text="hello", nickname="Ann"), ["Ann: hello"]),
        (reply_of(text=None, author="Bot", content=[{"contentType": "Hologram", "hologram": {}}]), ["Bot: (Hologram)"]),
        (reply_of(kind="presence", events=[{"presence": {"type": "Disconnect"}}]), ["reply: (disconnect)"]),
        (reply_of(kind="other"), ["reply: (other)"]),
        (
            reply_of(content=[{"contentType": ["?"], "attachment": {"fileSize": "x"}}]),
            ["reply: (['?'])", "  file  without a name (of no type)"],
        ),
        (
            reply_of(
                text="?",
                content=[
                    {
                        "contentType": "Card",
                        "card": {
                            "title": "Label",
                            "actions": [
                                {"type": "Link", "text": "Print", "url": "https://example.com"},
                                {"type": "Postback", "text": "Send", "payload": "send-1"},
                            ],
                        },
                    }
                ],
            ),
            ["reply: ?", "  Label", "   1  Print <https://example.com>", "   2  Send [send-1]"],
        ),
    ],
)
def test_a_reply_in_lines(reply: Reply, lines: list[str]) -> None:
    """Who, what, options with what they send or open, files; what nobody knows by its name."""
    assert list(content.of_reply(reply)) == lines


#: Names at which the content of a reply is read.
KEYS = st.sampled_from(
    [
        *("contentType", "quickReply", "card", "carousel", "cards", "actions", "text", "title", "url", "type"),
        *("attachment", "filename", "fileSize", "mime", "form", "formPages", "pageComponents", "input", "id"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(items=st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=3), text=st.none() | st.just(HOSTILE))
def test_any_content_gives_safe_lines(items: list[dict[str, Any]], text: str | None) -> None:
    """One line stays one line, and no character gets through that a terminal would obey."""
    for line in content.of_reply(reply_of(text=text, nickname=HOSTILE, content=items)):
        assert not set(line) & UNSAFE
