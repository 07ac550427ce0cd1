"""What people see stays inside its line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli import show
from guestwire.errors import AuthenticationError, ConfigError, Finding, NotFound, Rejected, StoreError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße 👩‍👩‍👧 שלום 日本", "Grüße 👩‍👩‍👧 שלום 日本"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\r\nb\nc\rd", "a⏎b⏎c\\rd"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\x00b\x9bc", "a\\x00b\\x9bc"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    """Letters of every script stay as they are."""
    assert show.printable(text) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_stays_in_its_line(text: str) -> None:
    """No control character, no separator, no half of a pair gets through; and it can be written."""
    shown = show.printable(text)
    assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(st.text(), st.integers(1, 40))
def test_a_width_is_kept(text: str, width: int) -> None:
    """What is cut says so."""
    shown = show.printable(text, width=width)
    assert len(shown) <= width
    assert shown == show.printable(text) or shown.endswith("…")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Rejected([Finding("a", "b", "c")]), 3),
        (AuthenticationError("a", code="GW-A001"), 4),
        (ConfigError("a", code="GW-C001"), 4),
        (StoreError("a", code="GW-S001"), 4),
        (NotFound("a", code="GW-N001"), 2),
        (ConfigError("a", code="GW-U001"), 2),
    ],
)
def test_every_error_has_its_exit_code(error: Rejected, code: int) -> None:
    """As docs/cli.md says."""
    assert show.exit_code_of(error) == code


def test_many_findings_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty are shown, the rows are counted once each, the rest is a number."""
    show.error(Rejected([Finding("r", f"row {n // 2}, text", "is bad\x1b") for n in range(50)], code="GW-R003"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 25 rows cannot be sent; nothing was stored [GW-R003]"
    assert len(lines) == 22
    assert lines[1] == "  row 0, text: is bad\\x1b (r)"
    assert lines[-1] == "  … and 30 more"


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned, numbers to the right, a line a row."""
    show.table(["part", "tries"], [["a\n", "1"], ["bbbb", "10"]])
    assert capsys.readouterr().out == "part  tries\na⏎        1\nbbbb     10\n"


@pytest.mark.parametrize(("seconds", "words"), [(0.25, "0.2 s"), (90, "1.5 min"), (5400, "1.5 h"), (129_600, "1.5 d")])
def test_a_duration_for_people(seconds: float, words: str) -> None:
    """In the unit that fits."""
    assert show.ago(seconds) == words


def test_a_number_and_its_noun() -> None:
    """One row, two rows."""
    assert [show.counted(1, "row"), show.counted(2_000, "row")] == ["1 row", "2,000 rows"]
