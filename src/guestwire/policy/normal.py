"""
What a reader sees of a text, whatever it is made of: the form in which rules look for words.

Full-width letters, ligatures, letters with their accents apart, capitals, and characters that take no room all hide a
word from a search and not from a reader (Unicode TR 36, 3; UAX 15; UTS 39, 5). Each character of the normal form knows
from which characters of the original it comes, so that a finding can be shown, and masked, where it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

#: Characters that take no room (Unicode 15: Default_Ignorable_Code_Point), as ranges of a character class.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_ignorable = re.compile(f"[{IGNORABLE}]+")
#: Letters of Hangul as keyboards and old systems have them, which become those that join.
_jamo = re.compile("[\u3131-\u318e\uffa1-\uffdc]")
_runs = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]+")
#: A letter with more marks than this is normalised in pieces: Python sorts marks in the square of their number. Natural
#: text has a handful (UAX 15, 12.1: 30).
MAX_MARKS = 32


class Normal(NamedTuple):
    """A text in normal form, and where its characters come from."""

    text: str
    starts: Sequence[int] | None = None
    """Of each character, where its origin begins; None: it is the character at the same place."""
    ends: Sequence[int] | None = None
    """Of each character, where its origin ends."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the normal form, which is not empty, stands in the original."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def normalise(text: str) -> Normal:
    """Return a text in NFKC without characters that take no room; capitals stay."""
    if text.isascii():
        return Normal(text)
    if _ignorable.search(text) is None and unicodedata.is_normalized("NFKC", text):
        return Normal(text)
    return _in_pieces(text)


def fold(normal: Normal) -> Normal:
    """Return the same without the difference between capitals and small letters."""
    text = normal.text
    folded = text.casefold()
    if len(folded) == len(text):  # no character becomes fewer than one
        return Normal(folded, normal.starts, normal.ends)
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for place, character in enumerate(text):
        start, end = normal.span(place, place + 1)
        for one in character.casefold():
            characters.append(one)
            starts.append(start)
            ends.append(end)
    return Normal("".join(characters), starts, ends)


def _in_pieces(text: str) -> Normal:
    """Normalise letter by letter, each with its marks."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def add(letter: list[str], start: int, end: int) -> None:
        piece = unicodedata.normalize("NFKC", "".join(letter))
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))

    letter: list[str] = []
    begin = end = 0
    for run in _runs.finditer(text):
        first = run.start()
        if text[first] < "\x80":  # a run of ASCII, of which only the last letter may get a mark
            if letter:
                add(letter, begin, end)
            begin, end = run.end() - 1, run.end()
            pieces.append(text[first:begin])
            starts.extend(range(first, begin))
            ends.extend(range(first + 1, end))
            letter = [text[begin]]
            continue
        for place, character in enumerate(run[0], first):
            if _ignorable.match(character):
                continue
            if not letter or len(letter) > MAX_MARKS or not _joins(character):
                if letter:
                    add(letter, begin, end)
                letter, begin = [], place
            letter.append(character)
            end = place + 1
    if letter:
        add(letter, begin, end)
    return Normal("".join(pieces), starts, ends)


def _joins(character: str) -> bool:
    """Whether a character may become one with what stands before it."""
    if _jamo.match(character):
        character = unicodedata.normalize("NFKC", character)
    # Hangul vowels and finals have no combining class, and join with what is before them all the same.
    return (
        unicodedata.combining(character) != 0
        or "\u1161" <= character <= "\u11ff"
        or unicodedata.category(character) in ("Mc", "Mn")
        or character in "\uff9e\uff9f"
    )
