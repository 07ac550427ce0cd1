"""
Texts of every kind of character that Unicode has, as guests send them and as nobody should.

Made of the tables of Python and of the library `regex`, so that a newer Unicode brings its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from typing import Final

import regex

ZWJ, VS16, KEYCAP = "\u200d", "\ufe0f", "\u20e3"
_MEN_AND_WOMEN: Final = "👨👩🧑"
_TONES: Final = [chr(point) for point in range(0x1F3FB, 0x1F400)]
_REGIONAL: Final = [chr(point) for point in range(0x1F1E6, 0x1F200)]


#: All there are.
EVERYTHING: Final = "".join(map(chr, range(0x110000)))


@cache
def every(property_: str) -> list[str]:
    """Return the characters that have a property, or are of a category."""
    return regex.findall(rf"\p{{{property_}}}", EVERYTHING)


def _emoji() -> Iterator[str]:
    yield from (one for one in every("Emoji") if one > "\x7f")
    yield from (one + VS16 for one in every("Emoji") if one > "\x7f")
    yield from (one + tone for one in every("Emoji_Modifier_Base") for tone in _TONES)
    yield from (one + other for one, other in product(_REGIONAL, repeat=2))
    yield from (one + sign + KEYCAP for one in "0123456789#*" for sign in ("", VS16))
    for region in ("gbeng", "gbsct", "gbwls", "usca"):
        yield "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"


def _joined() -> Iterator[str]:
    """People and what they do, joined."""
    children = ("👦", "👧", "👦👦", "👧👦", "👧👧")
    for one, other, more in product(_MEN_AND_WOMEN, _MEN_AND_WOMEN, children):
        yield ZWJ.join((one, other, *more))
    for one, tone, what in product(
        _MEN_AND_WOMEN, ("", *_TONES), ("⚕️", "⚖️", "✈️", "🌾", "🍳", "🎓", "💻", "🚀", "🦽", "🤝")
    ):
        yield one + tone + ZWJ + what
    for one, other, tone in product(_MEN_AND_WOMEN, _MEN_AND_WOMEN, ("", *_TONES)):
        yield f"{one}{tone}{ZWJ}❤️{ZWJ}{other}{tone}"
        yield f"{one}{tone}{ZWJ}❤️{ZWJ}💋{ZWJ}{other}{tone}"
    yield from ("🏳️‍🌈", "🏴‍☠️", "🐻‍❄️", "👁️‍🗨️", "❤️‍🔥", ZWJ * 5, f"👩{ZWJ}", f"{ZWJ}👩", VS16 * 3, "🇩", "🇩🇪🇫", _TONES[0])


def _bidi() -> Iterator[str]:
    controls = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    for one in controls:
        yield from (f"a{one}b", f"{one}אב{one}", f"user{one}gpj.exe", one * 40)
    yield from (one + "abc אבג 123 ١٢٣" + other for one, other in product(controls[3:7], controls[5:6]))
    yield from (
        "שלום 123-456",
        "السعر ١٢٣٫٤٥ USD",
        "a(ب)c",
        "12/05/2026 بتاريخ",
        "\u200f3.5%\u200f",
        "טלפון: 03-1234567",
    )


def _scripts() -> Iterator[str]:
    for consonant, other in product("कखगघचजटडतदनपबमयरलवशसह", "षयरलव"):
        yield from (f"{consonant}्{other}", f"{consonant}्{ZWJ}{other}", f"{consonant}्\u200c{other}")
    yield from (
        "می\u200cخواهم",
        "نامه\u200cای",
        "ه\u200d",
        "ක්\u200dෂ",
        "ശ്\u200dറ",
        "র\u200d্য",
        "நி",
        "ล้ำ",
        "ក្រុម",
        "မြန်မာ",
    )
    for lead, vowel in product(range(0x1100, 0x1113), range(0x1161, 0x1176)):
        yield chr(lead) + chr(vowel)
    for lead, final in product(range(0x1100, 0x1113), range(0x11A8, 0x11C3)):
        yield chr(lead) + "\u1161" + chr(final)
    yield from (
        "\u1160",
        "\u115f\u1161",
        "\u1100" * 30,
        "\u1161" * 30,
        "\u11a8" * 30,
        "각\u11a8",
        "ꥠ\ud7b0\ud7cb",
        "ﾡￂ",
        "ｶﾞ",
    )
    yield from ("İ", "ı", "ß", "ẞ", "ŉ", "ǰ", "ΐ", "ﬀ", "ﬃ", "Σςσ", "ﬓ", "ᾳ", "ꭰᎠ", "K", "Å", "ſ")


def _zalgo() -> Iterator[str]:
    marks = [chr(point) for point in (*range(0x300, 0x34F), *range(0x350, 0x370))]
    for count in (1, 5, 31, 32, 33, 100, 500):
        yield "".join(
            letter + "".join(marks[(place * 7 + step) % len(marks)] for step in range(count))
            for place, letter in enumerate("zalgo")
        )
    yield from (f"a{mark}{other}" for mark in marks[::3] for other in ("\u0316", "\u0301"))
    yield from (mark * 20 for mark in marks[::8])


def _points(*points: int | range) -> Iterator[str]:
    for one in points:
        yield from map(chr, one if isinstance(one, range) else (one,))


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """Return texts by what they are of; none of them stands in a group twice."""
    expanding = (
        one for one in EVERYTHING if unicodedata.decomposition(one) and len(unicodedata.normalize("NFKC", one)) > 1
    )
    spaces = list(dict.fromkeys((*filter(str.isspace, EVERYTHING), *every("White_Space"))))
    made: dict[str, Iterable[str]] = {
        "emoji": _emoji(),
        "joined emoji": _joined(),
        "bidi": _bidi(),
        "scripts": _scripts(),
        "marks": _zalgo(),
        "control": every("Cc"),
        "format": every("Cf"),
        "take no room": every("Default_Ignorable_Code_Point"),
        "become more": expanding,
        "spaces": [*spaces, *(f"a{one}b" for one in spaces), *(one * 30 for one in spaces)],
        "surrogates": _points(range(0xD800, 0xE000, 64), 0xDBFF, 0xDFFF),
        "pairs apart": ("\ud83d\ude00", "\ude00\ud83d", "a\ud800b", "\udcff"),
        "no characters": _points(
            range(0xFDD0, 0xFDF0), *(plane * 0x10000 + last for plane in range(17) for last in (0xFFFE, 0xFFFF))
        ),
        "private": _points(0xE000, 0xF8FF, 0xF0000, 0x10FFFD, *range(0xE100, 0xF800, 100)),
        "unassigned": every("Cn")[::20_000],
    }
    return {name: tuple(dict.fromkeys(texts)) for name, texts in made.items()}


def texts() -> list[str]:
    """Return all of them, each once."""
    return list(dict.fromkeys(text for some in groups().values() for text in some))
