"""Long text becomes parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from guestwire.policy import split
from guestwire.policy.split import Unit, fit

UNITS: tuple[Unit, ...] = ("bytes", "characters")
FAMILY = "👨‍👩‍👧‍👦"
#: What is kept whole. Each stands between spaces in the texts below, so that it is known where it begins and ends.
THINGS = (
    "https://example.com/a/b?c=d&e=f#g",
    "http://xn--bcher-kva.example/(a)/,;b",
    "https://ja.wikipedia.org/wiki/日本語",
    "www.example.org/path.",
    "jane.o'neil+tag@mail.example.co.uk",
    "[the docs](https://example.com/x_(y))",
    '[a. b? c](/d "e f! g")',
    "![an image](x.png)",
    "`a = b. c`",
    "``a ` b``",
    "```py\nx = 1\n\ny = 2\n```",
)
GRAPHEMES = (
    "a",
    "é",
    "e\u0301",
    "漢",
    "字",
    "が",
    "か\u3099",
    FAMILY,
    "🇩🇪",
    "🇫🇷",
    "👍🏽",
    "한",
    "क्ष",
    "நி",
    "\r\n",
    "z\u0301\u0302",
)
SPACES = (" ", "  ", "\n", "\n\n", " \n \n", "\t", "\u3000", "\u00a0", "\x1f")

words = st.text("abcdefgh", min_size=1, max_size=12)
cjk = st.text("今天气很好我们去公园散步。！？、「」", min_size=1, max_size=15)
clusters = st.lists(st.sampled_from(GRAPHEMES), min_size=1, max_size=8).map("".join)
sentences = st.lists(words, min_size=1, max_size=8).map(lambda each: " ".join(each) + ".")
pieces = st.one_of(words, cjk, clusters, sentences, *[st.sampled_from(THINGS)] * 2)
texts = st.lists(st.tuples(pieces, st.sampled_from(SPACES)), max_size=25).map(
    lambda pairs: [each for pair in pairs for each in pair]
)
hostile = st.text("[]()`@!.:/hw \n\r\u0301\u200d🇩🇪👩漢\u0600\ud800\u00a0\x00", max_size=300)


def encoded(text: str, unit: Unit) -> int:
    """How long a text is, in our own words."""
    return len(text) if unit == "characters" else len(text.encode("utf-8", "surrogatepass"))


def edges(parts: Sequence[str]) -> list[int]:
    """Where parts meet, in characters of the whole."""
    return list(accumulate(len(part) for part in parts))[:-1]


def broken(text: str, parts: Sequence[str], limit: int, unit: Unit) -> set[str]:
    """Name the laws that parts break. Graphemes as the library has them, which `split` asks only for some texts."""
    found = set()
    if "".join(parts) != text:
        found.add("the text")
    if any(encoded(part, unit) > limit for part in parts):
        found.add("the limit")
    if text.strip() and not all(part.strip() for part in parts):
        found.add("nothing is blank")
    at = 0
    inside = set(edges(parts))
    for cluster in regex.findall(r"\X", text):
        is_cut = not inside.isdisjoint(range(at + 1, at + len(cluster)))
        if is_cut and encoded(cluster, unit) <= limit:
            found.add("graphemes")
        at += len(cluster)
    return found


def cut_things(listed: Sequence[str], parts: Sequence[str], limit: int, unit: Unit) -> list[str]:
    """Name the things that are cut though they fit together with the whitespace on either side."""
    cuts = set(edges(parts))
    found = []
    at = 0
    for number, each in enumerate(listed):
        if each in THINGS and not cuts.isdisjoint(range(at + 1, at + len(each))):
            before = listed[number - 1] if number else ""
            after = listed[number + 1]
            if max(encoded(before + each, unit), encoded(each + after, unit)) <= limit:
                found.append(each)
        at += len(each)
    return found


@given(texts, st.integers(1, 120), st.sampled_from(UNITS))
def test_parts_are_the_text_and_each_fits(listed: list[str], limit: int, unit: Unit) -> None:
    """Joined they are the text; none is too long, blank, or cut through a grapheme or a thing that fits."""
    text = "".join(listed)
    fitted = fit(text, limit, unit)
    if fitted.findings:
        assert [each.rule for each in fitted.findings] == ["text.cannot_split"]
        assert not fitted.parts
        return
    assert broken(text, fitted.parts, limit, unit) == set()
    assert cut_things(listed, fitted.parts, limit, unit) == []


@given(hostile, st.integers(1, 40), st.sampled_from(UNITS))
def test_no_text_makes_a_bad_part(text: str, limit: int, unit: Unit) -> None:
    """Half-open links, lone marks, half characters: the laws hold, or there is a finding."""
    fitted = fit(text, limit, unit)
    assert not broken(text, fitted.parts, limit, unit) if fitted.parts else fitted.findings


@given(texts, st.sampled_from(UNITS))
def test_text_without_long_whitespace_can_always_be_split(listed: list[str], unit: Unit) -> None:
    """Where the longest run of whitespace and the largest grapheme fit together, there is no finding."""
    text = "".join(listed).lstrip()  # the first grapheme may have whitespace behind it, not before it as well
    grapheme = max((encoded(each, unit) for each in regex.findall(r"\X", text)), default=1)
    run = max((encoded(each, unit) for each in re.findall(r"\s+", text)), default=0)
    if text:
        assert fit(text, grapheme + run, unit).parts


@given(st.lists(st.tuples(words, st.sampled_from((" ", "\n", ". ", ".\n\n"))), min_size=1), st.integers(30, 60))
def test_parts_of_prose_begin_with_words_and_are_not_short(pairs: list[tuple[str, str]], limit: int) -> None:
    """Whitespace ends the part before; a part is at least half of what may be, no word is torn."""
    text = "".join(map("".join, pairs)).rstrip() + "."
    *firsts, last = fit(text, limit, "bytes").parts
    assert all(len(part) >= limit // 2 and part[-1].isspace() for part in firsts)
    assert not any(part[0].isspace() for part in (*firsts, last))


@given(texts, st.integers(20, 120), st.sampled_from(UNITS))
def test_markers_count(listed: list[str], limit: int, unit: Unit) -> None:
    """Each part says which of how many it is, within the limit; behind the markers the laws hold as they did."""
    text = "".join(listed)
    parts = fit(text, limit, unit, markers=True).parts
    if len(parts) < 2:
        return
    assert all(encoded(part, unit) <= limit for part in parts)
    bodies = []
    for number, part in enumerate(parts, 1):
        marker = f"({number}/{len(parts)}) "
        assert part.startswith(marker)
        bodies.append(part.removeprefix(marker))
    assert broken(text, bodies, limit, unit) <= {"graphemes"}  # one that fills the limit has no room beside a marker


@pytest.mark.parametrize(("length", "limit", "parts"), [(27, 9, 9), (28, 9, 28), (900, 16, 150), (45, 11, 9)])
def test_the_number_of_digits_is_that_of_the_parts(length: int, limit: int, parts: int) -> None:
    """One digit where nine parts do, two from ten on."""
    found = fit("x" * length, limit, "bytes", markers=True).parts
    assert len(found) == parts
    assert all(len(part) <= limit for part in found)


def test_markers_without_room_are_a_finding() -> None:
    """A limit that holds nothing beside "(1/2) " is said to be too small."""
    (finding,) = fit("x" * 100, 9, "bytes", markers=True).findings
    assert (finding.rule, finding.fix) == ("text.cannot_split", "send it without markers")


@given(texts, st.integers(12, 120), st.sampled_from(UNITS))
def test_truncation_keeps_a_beginning(listed: list[str], limit: int, unit: Unit) -> None:
    """One part within the limit: the text's beginning and an ellipsis; a warning says so; no thing is cut that fits."""
    text = "".join(listed)
    fitted = fit(text, limit, unit, mode="truncate")
    if not fitted.parts or fitted.parts == (text,):
        return
    (part,) = fitted.parts
    (warning,) = fitted.findings
    assert (warning.rule, warning.action) == ("text.truncated", "warn")
    assert encoded(part, unit) <= limit
    body = part.removesuffix("…")
    assert body.strip()
    assert text.startswith(body)
    assert body != part
    room = limit - encoded("…", unit)
    assert cut_things(listed, [body, text[len(body) :]], room, unit) == []
    assert broken(text, [body, text[len(body) :]], 10_000, unit) <= {"nothing is blank"} or room < encoded(FAMILY, unit)


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("One. Two.\n\nThree. Four five.", 20, ["One. Two.\n\n", "Three. Four five."]),
        ("One two. Three four five six.", 20, ["One two. Three four ", "five six."]),
        ("Bananas are here. Apples too", 20, ["Bananas are here. ", "Apples too"]),
        ("eins zwei\ndrei vier fünf", 20, ["eins zwei\n", "drei vier fünf"]),
        ("今天天气很好。我们去公园散步吧", 10, ["今天天气很好。", "我们去公园散步吧"]),
        ("我们都使用kubernetes系统", 10, ["我们都使用", "kubernetes", "系统"]),
        ("「そうですか」と彼女は言った。", 8, ["「そうですか」と", "彼女は言った。"]),
        ("see https://example.com/abc", 26, ["see ", "https://example.com/abc"]),
        ("请看https://example.com/a。好", 24, ["请看https://example.com/a。", "好"]),
        ("aaaa bbbb ccc", 9, ["aaaa ", "bbbb ccc"]),
        ("abcdefgh    xyz", 10, ["abcdefgh  ", "  xyz"]),
        ("abcdefgh    ", 10, ["abcdefg", "h    "]),
        ("a\u00a0b c\u00a0d\u00a0e f", 6, ["a\u00a0b ", "c\u00a0d\u00a0e ", "f"]),
        ("🇩🇪" * 3, 5, ["🇩🇪🇩🇪", "🇩🇪"]),
        ("a" + "\u0301" * 5, 4, ["a" + "\u0301" * 3, "\u0301" * 2]),
    ],
)
def test_the_best_place_is_taken(text: str, limit: int, parts: list[str]) -> None:
    """Paragraph, sentence, line, word, grapheme; in the last half of what fits."""
    assert list(fit(text, limit, "characters").parts) == parts


def test_what_is_inside_of_something_too_long_stays_whole() -> None:
    """A block of code longer than the limit is cut between words, not through the URL that it holds."""
    url = "https://example.com/a-b-c"
    parts = fit(f"```\ncurl -v {url} -o x\nrun it\n```", 28, "bytes").parts
    assert any(url in part for part in parts)
    listed = ",".join(f"http://example.com/{number}" for number in range(9))
    assert all(part.startswith("http://") for part in fit(listed, 30, "bytes").parts)


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_is_moved_whole(thing: str) -> None:
    """Wherever the limit falls, it is in one part."""
    text = f"Some words before it {thing} and some words behind it"
    for limit in range(encoded(thing, "bytes") + 1, encoded(text, "bytes")):
        assert any(thing in part for part in fit(text, limit, "bytes").parts), limit


@pytest.mark.parametrize(
    "text", [" " * 50, "a" + " " * 50, " " * 50 + "a", "a" + " " * 50 + "b", "\n" * 9 + "🇩🇪", "é", FAMILY]
)
def test_what_cannot_be_split_is_said(text: str) -> None:
    """Whitespace that no part can take, and a limit below one character; the text is not quoted."""
    limit = 1 if text == "é" else 10
    fitted = fit(text, limit, "bytes")
    if text == FAMILY:
        assert broken(text, fitted.parts, limit, "bytes") == set()
        return
    (finding,) = fitted.findings
    assert (finding.rule, finding.path, finding.action) == ("text.cannot_split", "text", "reject")
    assert not fitted.parts
    assert "🇩🇪" not in repr(fitted)


@pytest.mark.parametrize("mode", ["split", "reject", "truncate"])
@pytest.mark.parametrize("text", ["", " ", "hello", "漢" * 5, "x" * 15])
def test_a_text_that_fits_is_left_alone(text: str, mode: Literal["split", "reject", "truncate"]) -> None:
    """The same object, without markers and without a finding."""
    fitted = fit(text, 15, "bytes", mode=mode, markers=True)
    assert fitted.parts[0] is text
    assert (len(fitted.parts), fitted.findings) == (1, ())


def test_rejecting_says_how_long_it_is() -> None:
    """The finding counts in the gateway's unit."""
    (finding,) = fit("漢" * 5, 14, "bytes", mode="reject").findings
    assert (finding.rule, finding.text) == (
        "text.too_long",
        "15 bytes of UTF-8 are more than the gateway takes (14)",
    )
    assert fit("漢" * 5, 5, "characters", mode="reject").parts


def test_a_result_shows_no_text() -> None:
    """Neither parts nor their text are in its repr."""
    assert repr(fit("secret words", 8, "bytes")) == "Fitted(2 parts, [])"


def test_single_characters_are_single() -> None:
    """What is never looked at for graphemes is one each, beside its own kind and beside others."""
    singles = regex.findall(f"[{split._SINGLE}]", "".join(map(chr, range(0x10000))))
    assert len(singles) > 30_000
    text = "".join(f"漢{each}{each}a" for each in singles if each != "\r")
    assert len(regex.findall(r"\X", text)) == len(text)


@given(
    st.lists(st.sampled_from((*GRAPHEMES, *"🇩👩\u200d\u0301\u0600\u1100\u1161\u11a8\u094d\n \r")), max_size=40).map(
        "".join
    )
)
def test_graphemes_are_those_of_the_library(text: str) -> None:
    """Counting flags and passing over what is single changes nothing."""
    found = set(edges(regex.findall(r"\X", text)))
    graphemes = split._Graphemes(text)
    assert {place for place in range(1, len(text)) if graphemes.around(place) is None} == found


HOSTILE = (
    *(
        "[",
        "`",
        "http://",
        "[](",
        "[a](",
        "[[]",
        "](",
        "a@",
        "www.",
        "(",
        "x",
        "a.",
        "''",
        "\\",
        "[](a '",
        "a\n",
        "[a\n",
    ),
    *("\r\n", " ", "a" + " " * 3000, "\ud800", "\u0600", "\u0301", "\u200d", "👩\u200d", "🇩🇪", FAMILY),
    "".join("`" * length + "a" for length in range(1, 600)),
)


@pytest.mark.parametrize("unit", HOSTILE, ids=lambda unit: ascii(unit[:8]))
def test_hostile_text_is_through_at_once(unit: str) -> None:
    """200,000 characters of what patterns choke on; quadratic time would take minutes here."""
    text = (unit * (200_000 // len(unit) + 1))[:200_000]
    fitted = fit(text, 4096, "bytes")
    assert fitted.findings or (
        "".join(fitted.parts) == text and all(encoded(each, "bytes") <= 4096 for each in fitted.parts)
    )


# --- those who do it wrong are found out ---


def _slices(text: str, limit: int) -> list[str]:
    return [text[at : at + limit] for at in range(0, len(text), limit)]


def _bytes(text: str, limit: int) -> list[str]:
    data = text.encode()
    return [data[at : at + limit].decode(errors="replace") for at in range(0, len(data), limit)]


def _words(text: str, limit: int) -> list[str]:
    parts = [""]
    for word in text.split():
        if len(parts[-1]) + len(word) > limit:
            parts.append("")
        parts[-1] += f" {word}"
    return parts


@pytest.mark.parametrize(
    ("naive", "laws"),
    [
        (_slices, {"graphemes", "the limit", "nothing is blank"}),
        (_bytes, {"the text", "the limit", "nothing is blank", "graphemes"}),
        (_words, {"the text", "the limit"}),
    ],
)
def test_a_naive_splitter_is_found_out(naive: Callable[[str, int], list[str]], laws: set[str]) -> None:
    """The laws are no truisms: slices, bytes and words by themselves break them."""
    text = "漢字" * 10 + " " * 45 + f"{FAMILY} e\u0301" * 9
    assert broken(text, naive(text, 20), 20, "bytes") >= laws - {"graphemes"}
    assert "graphemes" in broken("e\u0301" * 30, naive("e\u0301" * 30, 19), 19, "characters") or "graphemes" not in laws
    listed = ["aaaa", " ", THINGS[0], " ", "b"]
    assert cut_things(listed, _slices("".join(listed), 35), 35, "bytes") == [THINGS[0]]
