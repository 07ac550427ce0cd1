"""
Long text: ordered parts of one message, each within what a gateway takes.

A cut is looked for backwards from where the limit falls, in the last half of what fits: behind a paragraph, else a
sentence, else a line, else a word, else a grapheme (what a reader takes for one character). Whitespace stays at the end
of the part before. Some things are kept whole though they hold such places: a code span, a Markdown link, a URL, an
e-mail address. One that is longer than the limit is cut like other text, but what is whole inside it stays so.

A gateway refuses blank text, so whitespace cannot go alone. That comes before everything but graphemes: a URL that
fills the limit, with a space before it that fits nowhere else, is cut. Where no cut at all leaves both sides something
to show, the text is refused with a finding; nothing of it is ever dropped.

Time is linear in the text, whoever wrote it. Patterns are possessive, or begin where a run begins; each character is
passed over a bounded number of times. Two neighbouring parts are about half of what fits or more, so little is searched
twice. Flags are paired here: `\\X` of the library looks back to the first one of a run for every single one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec
import regex

from guestwire.errors import Finding

Unit = Literal["bytes", "characters"]
Mode = Literal["split", "reject", "truncate"]

ELLIPSIS: Final = "…"


class Fitted(msgspec.Struct, frozen=True):
    """What became of a text that has to fit."""

    parts: tuple[str, ...] = ()
    """In order, ready to be sent; none where the text is refused."""
    findings: tuple[Finding, ...] = ()
    """Why it is refused; or, as a warning, that it was cut short."""

    def __repr__(self) -> str:
        return f"Fitted({len(self.parts)} parts, {[finding.rule for finding in self.findings]})"  # not the text


def size_of(text: str, unit: Unit) -> int:
    """Return how long a text is as a gateway counts it. Half a surrogate pair, which no gateway takes, counts three."""
    return len(text) if unit == "characters" or text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def fit(text: str, limit: int, unit: Unit, *, mode: Mode = "split", markers: bool = False) -> Fitted:
    """
    Make parts of a text that are within a limit each; one that fits is its own only part, as it is.

    Args:
        text: Of a message.
        limit: Most of a part, in `unit`; at least 1.
        unit: Bytes of UTF-8, or characters (code points).
        mode: What becomes of a text that does not fit. ``split``: parts that joined are the text, none of them blank.
            ``reject``: a finding. ``truncate``: one part with its beginning and an ellipsis, and a warning.
        markers: Begin every part of several with "(1/3) ", which counts: what is left of the limit is the limit then.

    Returns:
        The parts, or the findings ``text.too_long`` (mode ``reject``) or ``text.cannot_split``: a run of whitespace,
        a limit too small for a single character or the markers. Pure, and linear in the length of the text.
    """
    if len(text) <= limit and (unit == "characters" or len(text) * 4 <= limit or size_of(text, unit) <= limit):
        return Fitted((text,))
    if mode == "reject":
        return Fitted((), (_too_long(text, limit, unit),))
    if mode == "truncate":
        return _truncated(text, limit, unit)
    return _marked(text, limit, unit) if markers else _split(text, limit, unit)


def _split(text: str, limit: int, unit: Unit) -> Fitted:
    cuts = _Cutter(text, limit, unit).cuts()
    if isinstance(cuts, Finding):
        return Fitted((), (cuts,))
    return Fitted(tuple(text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)))


def _marked(text: str, limit: int, unit: Unit) -> Fitted:
    """Reserve room for numbers of so many digits until the parts that come of it need no more: a few rounds."""
    digits = len(str(size_of(text, unit) // max(limit, 1) + 1))
    while (room := limit - len("(/) ") - 2 * digits) > 0:
        fitted = _split(text, room, unit)
        count = len(fitted.parts)
        if len(str(count)) <= digits:
            marked = (f"({number}/{count}) {part}" for number, part in enumerate(fitted.parts, 1))
            return Fitted(tuple(marked), fitted.findings)
        digits = len(str(count))
    return Fitted((), (_cannot_split("the limit leaves no room beside the markers", "send it without markers"),))


def _truncated(text: str, limit: int, unit: Unit) -> Fitted:
    room = limit - size_of(ELLIPSIS, unit)
    # Whatever has to be kept whole and begins within the limit ends within twice of it.
    cutter = _Cutter(text[: 2 * limit + 2], room, unit)
    cut = cutter.last_cut() if room > 0 else None
    if cut is None:
        return Fitted((), (_cannot_split("the limit leaves no room for a visible character", "send a shorter text"),))
    long = _too_long(text, limit, unit)
    warning = Finding("text.truncated", "text", f"{long.text}: it is cut short", long.fix, action="warn")
    return Fitted((text[:cut].rstrip() + ELLIPSIS,), (warning,))


def _too_long(text: str, limit: int, unit: Unit) -> Finding:
    words = "bytes of UTF-8" if unit == "bytes" else "characters"
    return Finding(
        "text.too_long",
        "text",
        f"{size_of(text, unit)} {words} are more than the gateway takes ({limit})",
        "split it into several messages",
    )


def _cannot_split(reason: str, fix: str) -> Finding:
    return Finding("text.cannot_split", "text", f"it cannot be split: {reason}", fix)


# --- where a cut may be ---

# What `str.isspace` calls whitespace: `\s` of the library, and four separators.
_S = r"\s\x1c-\x1f"
_OPENING = r"\p{Ps}\p{Pi}"
_CLOSING = r"""\p{Pe}\p{Pf}"'”’"""
_STOPS = "。！？｡．"
# Scripts that are broken anywhere, but not before these (rules of Japanese and Chinese typesetting, the common part).
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}"
_NO_START = "、，；：ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ・…‥〜" + _STOPS + _CLOSING

# They are matched from right to left, and end where the cut is. Each needs something visible behind it, so that one
# attempt is made for a run of whitespace, not one for each of its characters.
_PARAGRAPH = regex.compile(rf"(?r)\n[^\S\n]*+\n[{_S}]*(?=[^{_S}])")
_LINE = regex.compile(rf"(?r)\n[{_S}]*(?=[^{_S}])")
_SENTENCE = regex.compile(
    rf"(?r)(?:[.!?…؟۔।॥][{_CLOSING}]*+[{_S}]++|[{_STOPS}][{_CLOSING}]*+[{_S}]*+)(?=[^{_S}{_CLOSING}{_STOPS}])"
)
# Not at a no-break space: whoever typed one meant it.
_SPACED_WORD = regex.compile(rf"(?r)(?<=[{_S}--\u00a0\u2007\u202f])(?=[^{_S}])", regex.VERSION1)
_WORD = regex.compile(
    rf"(?r){_SPACED_WORD.pattern.removeprefix('(?r)')}"
    rf"|(?=[{_CJK}--[{_NO_START}]])(?<=[^{_S}{_OPENING}])|(?<=[{_CJK}、，；：])(?=[^{_S}{_NO_START}])",
    regex.VERSION1,
)

# What is matched before a cut may begin so many characters before the half that is searched.
_LOOK_BACK = 16

# --- what a reader takes for one character ---

# Two of these side by side are always two graphemes, but for a carriage return and a line feed; tests hold it against
# the library.
_SINGLE = (
    r"\x00-\u02ff\u0370-\u0482\u048a-\u0590\u05d0-\u05ea\u0620-\u064a\u2010-\u2027\u2030-\u205e"
    r"\u3000-\u3029\u3041-\u3096\u309d-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9d"
)
_ISLAND = regex.compile(rf"[{_SINGLE}]?[^{_SINGLE}]++(?:[{_SINGLE}][^{_SINGLE}]++)*+[{_SINGLE}]?")
_CLUSTER = regex.compile(r"[\U0001f1e6-\U0001f1ff]{2}(?=[\U0001f1e6-\U0001f1ff])|\X")

# --- what is kept whole: a pattern that takes much, and one for the inside of what it found too long ---

_BACKTICKS = regex.compile(r"`++|\n[^\S\n]*+(?=\n)")
_TARGET = r"\([^()\n]*+(?:\([^()\n]*+\)[^()\n]*+)*+\)"
_LINK = (
    regex.compile(
        r"!?+\[(?:\\.|[^\[\]\\\n]++|\n(?![^\S\n]*+\n)|\[(?:\\.|[^\[\]\\\n])*+\](?:" + _TARGET + r")?+)*+\]" + _TARGET
    ),
    regex.compile(r"!?+\[(?:\\.|[^\[\]\\\n])*+\]" + _TARGET),
)
_SCHEME = r"(?<![A-Za-z])[A-Za-z][A-Za-z0-9+.-]{0,30}+://"
_URL = (
    regex.compile(
        rf"(?:{_SCHEME}|(?<![\w.])[Ww]{{3}}\.)[^\s\x00-\x20\x7f<>\"`“”‘’、，；：「」『』（）【】《》〈〉{_STOPS}]++"
    ),
    regex.compile(
        rf"(?:{_SCHEME}|[Ww]{{3}}\.)(?:(?!https?://|ftp://|www\.)[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e])++"
    ),
)
_LOCAL = r"\w\-.!#$%&'*+/=?^{|}~"
_EMAIL = (
    regex.compile(rf"(?<![{_LOCAL}])[{_LOCAL}]++@[{_LOCAL}@]++"),
    regex.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}+@[\w-]++(?:\.[\w-]++)++", regex.ASCII),
)


class _Whole:
    """Stretches of a text that no cut goes through, in order and apart from each other."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans: Sequence[tuple[int, int]] = sorted(spans)

    def around(self, place: int) -> tuple[int, int] | None:
        """Return the stretch that a cut there would go through."""
        number = bisect_left(self._spans, (place, 0)) - 1
        if number < 0 or self._spans[number][1] <= place:
            return None
        return self._spans[number]


class _Graphemes(_Whole):
    """The graphemes of more than one character."""

    def __init__(self, text: str) -> None:
        super().__init__(_clusters(text))
        self._text = text

    def around(self, place: int) -> tuple[int, int] | None:
        """Return the grapheme that a cut there would go through."""
        if self._text[place - 1 : place + 1] == "\r\n":
            return place - 1, place + 1
        return super().around(place)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Find graphemes of more than one character; not line ends, of which a text may have many."""
    if text.isascii():
        return
    for island in _ISLAND.finditer(text):
        for found in _CLUSTER.finditer(text, island.start(), island.end()):
            if found.end() - found.start() > 1:
                yield found.span()


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Find what stands between as many backticks as before it; two or fewer of them hold no blank line between."""
    runs: list[tuple[int, int, int]] = []
    blank_lines = 0
    for found in _BACKTICKS.finditer(text):
        if text[found.start()] == "\n":
            blank_lines += 1
        else:
            length = found.end() - found.start()
            runs.append((found.start(), length, blank_lines if length < 3 else 0))
    closing: dict[tuple[int, int], int] = {}  # the next run of a kind, by kind
    partners = [0] * len(runs)
    for number in reversed(range(len(runs))):
        partners[number] = closing.get(runs[number][1:], 0)
        closing[runs[number][1:]] = number
    number = 0
    while number < len(runs):
        partner = partners[number]
        if partner:
            yield runs[number][0], runs[partner][0] + runs[partner][1]
        number = (partner or number) + 1


def _kept_whole(text: str, limit: int, unit: Unit) -> Iterator[tuple[int, int]]:
    """
    Find code, links, URLs and addresses that are within the limit.

    What is found is blanked out for those who look next, so that no two overlap. Code goes before links, and both
    before URLs, as in Markdown.
    """
    if "`" in text:
        found = [span for span in _code_spans(text) if size_of(text[slice(*span)], unit) <= limit]
        yield from found
        text = _without(text, found)
    for sign, (wide, narrow) in (("](", _LINK), ("://", _URL), ("www.", _URL), ("@", _EMAIL)):
        if sign not in text:
            continue
        found = []
        for first in wide.finditer(text):
            if size_of(first.group(), unit) <= limit:
                found.append(first.span())
                continue
            inner = (second.span() for second in narrow.finditer(text, first.start(), first.end()))
            found += (span for span in inner if size_of(text[slice(*span)], unit) <= limit)
        yield from found
        text = _without(text, found)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return the text with NULs, which nobody looks for, in place of what is done with."""
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += text[done:start], "\0" * (end - start)
        done = end
    return "".join((*pieces, text[done:]))


class _Cutter:
    """A text, and where it may be cut."""

    def __init__(self, text: str, limit: int, unit: Unit) -> None:
        self._text = text
        self._limit = limit
        self._unit: Unit = unit
        self._word = _SPACED_WORD if text.isascii() else _WORD  # the simple one is 40 times as fast
        self._graphemes = _Graphemes(text)
        self._things = _Whole(_kept_whole(text, limit, unit))

    def cuts(self) -> list[int] | Finding:
        """Return where one part ends and the next begins, or why that cannot be."""
        cuts: list[int] = []
        start = 0
        while (reach := self._reach(start)) < len(self._text):
            cut = self._cut(start, reach)
            if cut is None:
                return self._stuck(start, reach)
            cuts.append(cut)
            start = cut
        return cuts

    def last_cut(self) -> int | None:
        """Return where the text may end if nothing follows: behind as many words as fit."""
        return self._cut(0, self._reach(0), is_last=True)

    def _reach(self, start: int) -> int:
        """Return where the text from there on stops to fit; at most its end."""
        window = self._text[start : start + self._limit]
        if self._unit == "characters" or window.isascii():
            return start + len(window)
        encoded = window.encode("utf-8", "surrogatepass")
        if len(encoded) <= self._limit:
            return start + len(window)
        end = self._limit
        while encoded[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        return start + len(encoded[:end].decode("utf-8", "surrogatepass"))

    def _cut(self, start: int, reach: int, *, is_last: bool = False) -> int | None:
        """Return the best place for the end of a part; None if none leaves something visible on both sides."""
        grapheme = self._graphemes.around(reach)
        top = grapheme[0] if grapheme else reach
        visible = self._visible(start, reach)
        half = max(visible, start + (top - start - 1) // 2)
        if is_last and self._is_word_end(top, visible):
            return top
        for pattern in (self._word,) if is_last else self._patterns(half, top):
            if (cut := self._last(pattern, half, top)) is not None:
                return cut
        is_word_end = self._is_word_end(top, visible)
        if is_word_end and self._can_go_on(top, whole=True):
            return top
        for cut in (
            self._last_place(half, top, self._things, self._graphemes),
            self._last(self._word, visible, half),
            self._last_place(visible, half, self._things, self._graphemes),
            self._last_place(visible, top, self._graphemes),
        ):
            if cut is not None:
                return cut
        if (
            grapheme
            and visible < reach
            and self._size(grapheme[0], min(grapheme[1], grapheme[0] + self._limit + 1)) > self._limit
        ):
            return self._last_place(visible, reach)
        return top if is_word_end and self._can_go_on(top) else None

    def _patterns(self, low: int, top: int) -> Iterator[regex.Pattern[str]]:
        has_lines = self._text.rfind("\n", low, top) >= 0
        if has_lines:
            yield _PARAGRAPH
        yield _SENTENCE
        if has_lines:
            yield _LINE
        yield self._word

    def _last(self, pattern: regex.Pattern[str], low: int, top: int) -> int | None:
        """Return the last place behind `low`, at most `top`, that the pattern finds and nothing is cut by."""
        while top > low and (found := pattern.search(self._text, max(low - _LOOK_BACK, 0), top + 1)) is not None:
            cut = found.end()
            within = self._things.around(cut) or self._graphemes.around(cut)
            if within is None:
                return cut if cut > low else None
            top = within[0]
        return None

    def _last_place(self, low: int, top: int, *kept: _Whole) -> int | None:
        """Return the last place behind `low`, at most `top`, with something visible behind it."""
        while top > low:
            if self._text[top].isspace():
                top = low + len(self._text[low:top].rstrip()) - 1
                continue
            within = [found[0] for whole in kept if (found := whole.around(top))]
            if not within:
                return top
            top = min(within)
        return None

    def _is_word_end(self, place: int, visible: int) -> bool:
        """Say whether the limit falls just before whitespace or into it."""
        return place > visible and self._text[place].isspace() and self._things.around(place) is None

    def _can_go_on(self, start: int, *, whole: bool = False) -> bool:
        """
        Say whether a part that begins with this whitespace has room for something visible.

        Args:
            start: Where the whitespace begins.
            whole: Ask for room for what has to be kept whole, and for the whitespace behind it too.
        """
        visible = self._visible(start, start + self._limit)
        found = _CLUSTER.match(self._text, visible, visible + self._limit)
        if found is None:
            return False
        end = found.end()
        if whole:
            thing = self._things.around(visible + 1)
            end = max(end, thing[1]) if thing else end
            end = self._visible(end, end + self._limit)
        return self._size(start, end) <= self._limit

    def _visible(self, start: int, end: int) -> int:
        """Return the first place that is not whitespace, or the end."""
        window = self._text[start:end]
        return start + len(window) - len(window.lstrip())

    def _size(self, start: int, end: int) -> int:
        return size_of(self._text[start:end], self._unit)

    def _stuck(self, start: int, reach: int) -> Finding:
        if reach == start:
            return _cannot_split("the limit is too small for one character", "raise the limit")
        return _cannot_split("a run of whitespace leaves no room for what is beside it", "shorten the whitespace")
