"""Clusters, widths, line breaks: text on the terminal of a chat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli.chatting_text import clusters, width, window, wrap

#: Texts with much of what belongs together.
MIXED = st.text(st.one_of(st.sampled_from("ab שلक्ष日가ᄀ\u1161\u11a8\u0301\u200d\ufe0f👩👧🇩🇪🏽\r\n "), st.characters()))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("abc", ["a", "b", "c"]),
        ("e\u0301a", ["e\u0301", "a"]),
        ("👩\u200d👩\u200d👧!", ["👩\u200d👩\u200d👧", "!"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("🇩🇪🇫🇷🇮", ["🇩🇪", "🇫🇷", "🇮"]),
        ("한국", ["한", "국"]),
        ("\u1112\u1161\u11ab\u1100", ["\u1112\u1161\u11ab", "\u1100"]),
        ("가\u11a8", ["가\u11a8"]),
        ("a\r\nb\n\u0301", ["a", "\r\n", "b", "\n", "\u0301"]),
        ("❤\ufe0fx", ["❤\ufe0f", "x"]),
        ("a\u200db", ["a\u200d", "b"]),
    ],
)
def test_what_a_reader_takes_for_one_character_stays_together(text: str, parts: list[str]) -> None:
    """Marks, families, skin tones, flags, syllables; letters beside each other do not."""
    assert clusters(text) == parts


@given(MIXED)
def test_splitting_loses_nothing(text: str) -> None:
    """The clusters make the text again, and splitting one of them finds it whole."""
    parts = clusters(text)
    assert "".join(parts) == text
    assert all(clusters(part) == [part] for part in parts)


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("👍", 2), ("❤\ufe0f", 2), ("", 0)]
)
def test_widths(text: str, columns: int) -> None:
    """As terminals draw them."""
    assert width(text) == columns


@given(MIXED.map(lambda text: text.replace("\n", "").replace("\r", "")), st.integers(2, 40))
def test_wrapped_lines_fit(text: str, columns: int) -> None:
    """No line is too wide unless it is one cluster, and nothing is lost but spaces at the breaks."""
    lines = wrap(text, columns)
    assert all(width(line) <= columns or len(clusters(line)) == 1 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_behind_words() -> None:
    """And within one only where it is longer than a line."""
    assert wrap("where is my order", 10) == ["where is", "my order"]
    assert wrap("abcdefgh ij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("", 4) == [""]


@given(st.lists(st.sampled_from(["a", "日", "👩\u200d👧", "e\u0301", "⏎"])), st.integers(0, 60), st.integers(2, 20))
def test_the_window_holds_the_cursor(parts: list[str], cursor: int, columns: int) -> None:
    """What is seen fits beside the cursor, and lies around it."""
    cursor = min(cursor, len(parts))
    before, behind = window(parts, cursor, columns)
    assert width(before) + width(behind) < columns
    assert "".join(parts[:cursor]).endswith(before)
    assert "".join(parts[cursor:]).startswith(behind)
