"""
Text on a terminal: what belongs together, how wide it is, where a line breaks.

Widths are never too small: a terminal that draws a family of emoji in two columns is thought to need more, which costs
a few columns of room and no line.
"""

from __future__ import annotations

import unicodedata

import regex

#: Asks for the colourful, wide form of the character before it.
EMOJI_FORM = "\ufe0f"


def clusters(text: str) -> list[str]:
    """Split a text into what a reader takes for one character. Nothing is lost: the parts make the text again."""
    return list(text) if text.isascii() and "\r" not in text else regex.findall(r"\X", text)


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def width(text: str) -> int:
    """Return how many columns a text may take; at least one for every cluster that is not empty."""
    if text.isascii():
        return len(text)
    return sum(_cluster_width(cluster) for cluster in clusters(text))


def _cluster_width(cluster: str) -> int:
    columns = sum(_character_width(character) for character in cluster)
    return max(columns, 2 if EMOJI_FORM in cluster else 1)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    wide = unicodedata.east_asian_width(character) in ("W", "F") or _is_flag_letter(character)
    return 2 if wide else 1


def is_right_to_left(text: str) -> bool:
    """Whether some of a text is written from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def wrap(text: str, columns: int) -> list[str]:
    """
    Break one line into lines of at most `columns`, behind a space where there is one, and never within a cluster.

    A cluster that is wider than a whole line gets a line of its own. The spaces at the breaks are dropped.
    """
    lines: list[str] = []
    row: list[str] = []
    used = space = 0
    for cluster in clusters(text):
        taken = _cluster_width(cluster)
        if cluster == " " and row and used + taken > columns:
            lines.append("".join(row))
            row, used, space = [], 0, 0
            continue
        while row and used + taken > columns:
            lines.append("".join(row[:space] or row).rstrip(" "))
            row = row[space:] if space else []
            used, space = sum(_cluster_width(each) for each in row), 0
        row.append(cluster)
        used += taken
        if cluster == " ":
            space = len(row)
    return [*lines, "".join(row)]


def window(parts: list[str], cursor: int, columns: int) -> tuple[str, str]:
    """
    Return what of a line is seen before and behind the cursor, when `columns` are all there is.

    Args:
        parts: The line's clusters, as they are shown.
        cursor: Before which of them it stands.
        columns: At least 2; one of them stays free for the cursor itself.
    """
    room = columns - 1
    start, used = cursor, 0
    while start and used + (taken := width(parts[start - 1])) <= room:
        start, used = start - 1, used + taken
    end = cursor
    while end < len(parts) and used + (taken := width(parts[end])) <= room:
        end, used = end + 1, used + taken
    return "".join(parts[start:cursor]), "".join(parts[cursor:end])
