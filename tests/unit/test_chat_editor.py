"""The line editor: bytes to keys, keys to a line."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli.chatting_editor import MAX_LINE, Editor, Key, Keys
from guestwire.cli.chatting_text import clusters

TEXT = st.text(
    st.one_of(st.sampled_from("ab שل日\u0301\u200d\ufe0f👩👧🇩🇪🏽"), st.characters(exclude_categories=["Cc", "Cs"]))
)
KEYS = st.one_of(
    TEXT.filter(bool).map(lambda text: Key("text", text)),
    st.sampled_from(
        [Key(name) for name in ("backspace", "delete", "left", "right", "word_left", "word_right", "home", "end")]
        + [Key(name) for name in ("up", "down", "kill_before", "kill_after", "kill_word", "newline", "enter")]
    ),
)


def editor_with(text: str, cursor: int | None = None) -> Editor:
    """An editor with a line in it."""
    editor = Editor()
    editor.put(text)
    if cursor is not None:
        editor.cursor = cursor
    return editor


def keys_of(data: bytes) -> list[Key]:
    """The keys of some bytes that come at once."""
    return Keys().feed(data)


# --- bytes to keys ---


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"hi\r", [Key("text", "hi"), Key("enter")]),
        ("שלום👍".encode(), [Key("text", "שלום👍")]),
        (b"\x7f\x08", [Key("backspace"), Key("backspace")]),
        (b"\x1b[A\x1bOB\x1b[C\x1b[D", [Key("up"), Key("down"), Key("right"), Key("left")]),
        (b"\x1b[H\x1b[F\x1b[3~\x1b[1~\x1b[4~", [Key("home"), Key("end"), Key("delete"), Key("home"), Key("end")]),
        (b"\x1b[1;5D\x1bf", [Key("word_left"), Key("word_right")]),
        (b"\x03\x04\x0c", [Key("interrupt"), Key("eof"), Key("redraw")]),
        (b"\x1b\r", [Key("newline")]),
        (b"\x1b[99;99Xa\x1b[Zb", [Key("text", "a"), Key("text", "b")]),
        (b"\x1b\x1b[Ax", [Key("up"), Key("text", "x")]),
        (b"\x00\x1c\x9a", [Key("text", "\ufffd")]),
        ("\x9b\x85é".encode(), [Key("text", "é")]),
        (b"\x1b[200~one\r\ntwo\rthree\x1b[A\x00\x1b[201~!", [Key("text", "one\ntwo\nthree[A"), Key("text", "!")]),
        (b"\x1b[200~\x1b[201~x", [Key("text", "x")]),
    ],
)
def test_bytes_become_keys(data: bytes, keys: list[Key]) -> None:
    """UTF-8, control keys, sequences of several terminals; a paste keeps its line breaks, and nothing to be obeyed."""
    assert keys_of(data) == keys


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_it_does_not_matter_how_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    """The same keys come out, with texts joined; and no text holds a control character that was not pasted."""
    whole, parts = Keys(), Keys()
    keys = whole.feed(data)
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    cut_keys = [key for start, end in itertools.pairwise(places) for key in parts.feed(data[start:end])]
    assert _joined(cut_keys) == _joined(keys)
    assert not [character for key in keys for character in key.text if character < " " and character not in "\n\t"]


def _joined(keys: list[Key]) -> list[Key]:
    joined: list[Key] = []
    for key in keys:
        if key.name == "text" and joined and joined[-1].name == "text":
            joined[-1] = Key("text", joined[-1].text + key.text)
        else:
            joined.append(key)
    return joined


def test_the_key_esc_alone_is_nothing() -> None:
    """Once nothing followed, the next letter is a letter again."""
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.is_waiting
    keys.flush()
    assert keys.feed(b"b") == [Key("text", "b")]


def test_a_paste_that_takes_its_time_is_not_flushed() -> None:
    """Its beginning has come, its end will."""
    keys = Keys()
    assert keys.feed(b"\x1b[200~on") == []
    assert not keys.is_waiting
    keys.flush()
    assert keys.feed(b"e\x1b[201~") == [Key("text", "one")]


# --- keys to a line ---


@given(st.lists(KEYS, max_size=40))
def test_the_cursor_never_tears_a_character_apart(keys: list[Key]) -> None:
    """Whatever is pressed: it stands within the line, between clusters."""
    editor = Editor()
    for key in keys:
        editor.press(key)
        assert 0 <= editor.cursor <= len(editor.parts)
        assert clusters(editor.text) == editor.parts


@given(st.lists(TEXT.filter(bool)))
def test_what_is_typed_is_what_is_entered(texts: list[str]) -> None:
    """In one piece, and the line is empty afterwards."""
    editor = Editor()
    for text in texts:
        assert editor.press(Key("text", text)) is None
    assert editor.press(Key("enter")) == "".join(texts)
    assert editor.text == ""


@given(TEXT, TEXT)
def test_a_text_is_inserted_at_the_cursor(before: str, behind: str) -> None:
    """And the rest of the line stays behind it."""
    editor = editor_with(behind, cursor=0)
    editor.press(Key("text", before)) if before else None
    assert editor.text == before + behind
    assert len("".join(editor.parts[: editor.cursor])) >= len(before)


@given(TEXT.filter(bool))
def test_backspace_takes_one_character_of_the_reader(text: str) -> None:
    """A family of emoji goes as a whole; so many strokes as there are clusters empty the line."""
    editor = editor_with(text)
    parts = list(editor.parts)
    editor.press(Key("backspace"))
    assert editor.text == "".join(parts[:-1])
    for _ in parts:
        editor.press(Key("backspace"))
    assert editor.text == ""


def test_backspace_and_delete_at_the_ends_do_nothing() -> None:
    """There is nothing there."""
    editor = editor_with("ab", cursor=0)
    editor.press(Key("backspace"))
    assert (editor.text, editor.cursor) == ("ab", 0)
    editor.press(Key("end"))
    editor.press(Key("delete"))
    assert (editor.text, editor.cursor) == ("ab", 2)


@pytest.mark.parametrize(
    ("name", "text", "cursor"),
    [
        ("kill_word", "where my order", 6),
        ("kill_before", "my order", 0),
        ("kill_after", "where is ", 9),
        ("word_left", "where is my order", 6),
        ("word_right", "where is my order", 11),
        ("delete", "where is y order", 9),
        ("newline", "where is \nmy order", 10),
    ],
)
def test_words_and_ends(name: str, text: str, cursor: int) -> None:
    """With the cursor before `my`."""
    editor = editor_with("where is my order", cursor=9)
    editor.press(Key(name))  # type: ignore[arg-type]
    assert (editor.text, editor.cursor) == (text, cursor)


def test_the_history_comes_back() -> None:
    """Up and down; the line that was being typed waits at its end; the same line twice is remembered once."""
    editor = Editor()
    for text in ("one", "two", "two", "  "):
        editor.put(text)
        editor.press(Key("enter"))
    editor.press(Key("text", "half"))
    seen = []
    for name in ("up", "up", "up", "down", "down", "down"):
        editor.press(Key(name))
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "half", "half"]


def test_a_line_has_an_end() -> None:
    """What is more is not taken; the gateway would not take this much either."""
    editor = Editor()
    editor.press(Key("text", "x" * (MAX_LINE + 10)))
    editor.press(Key("text", "y"))
    assert editor.text == "x" * MAX_LINE
