"""
Hostile patterns of a policy, each with the text that is worst for it.

Classics of what takes other engines an age (OWASP, "ReDoS"; Weideman 2017; the failures of Stack Overflow 2016 and
Cloudflare 2019), what RE2 does not know, what it has no room for, and what would match nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

#: How long a worst text is, in characters, and how long at most in a test.
LENGTH, SHORT = 100_000, 10_000


class Hostile(NamedTuple):
    """A pattern, and what its worst text is made of."""

    pattern: str
    pump: str
    """Repeated to the length that is wanted."""
    end: str = "!"
    """Stands once behind it."""
    refused: bool = False
    """It cannot be used."""

    def text(self, length: int) -> str:
        """The worst text of so many characters."""
        return (self.pump * (length // len(self.pump) + 1))[: length - len(self.end)] + self.end


#: Slow in engines that try one way after the other, and fine here.
_SLOW_ELSEWHERE: Final = (
    ("(a+)+$", "a"),
    ("(a+)+b", "a"),
    ("([a-zA-Z]+)*b", "a"),
    ("(a|aa)+b", "a"),
    ("(a|a?)+b", "a"),
    ("(.*a){12}b", "a"),
    ("(.*){10}b", "a"),
    ("(a*)*b", "a"),
    ("(a*a*)*b", "a"),
    ("(a?){50}a{50}b", "a"),
    ("((a*)*)*b", "a"),
    ("(((a+)+)+)+b", "a"),
    (r"(\w+\s*)+:", "a "),
    (r"\s+$x|\s+:", " "),
    (r"[\s\u200c]+:|\s+;".replace(r"\u200c", "\u200c"), " "),
    (r"(\d+)*x", "1"),
    (r"(\d|\d\d)+x", "1"),
    (r".*.*=.*", "x"),
    (r".*.*=.*;", "="),
    (r"(?:.*=.*)+;", "x="),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a"),
    (
        r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
        "a",
    ),
    (r"^\d*[0-9](|.\d*[0-9]|)*$x|\d*y", "1"),
    (r"<!--(?:.|\n)*-->", "<!--"),
    (r"<(\w+)[^>]*>(?:.*</)+x", "<a>"),
    (r"/\*(?:.|\n)*?\*/", "/*"),
    (r"\[(?:[^\[\]]*\[?)*\]x", "["),
    (r'"(?:[^"\\]|\\.)*";', '"'),
    (r'"(?:[^"\\]|\\.)*"', "\\"),
    (r"(?:x+x+)+y", "x"),
    (r"(?:(?:ab)+|(?:ba)+)+c", "ab"),
    (r"(?:a|b|ab)*c", "ab"),
    (r"(?:a.*?b){5}c", "ab"),
    (r"a.*b.*c.*d.*e.*f", "abcde"),
    (r"a[^b]*b|a", "a"),
    (r"a(?:.*z)?", "a"),
    (r"(?:^|,)\s*(?:\w+\s*)*;", "a ,"),
    (r"(?i)(?:select|union)(?:\s|/\*.*\*/)+from", "select "),
    (r"(?:\.\./)+(?:\w+/)*x", "../"),
    (r"(?:https?://)?(?:\w+\.)+\w+/(?:.*/)*$x|(?:\w+\.)+!", "a."),
    (r"(?:[0-9]{1,3}\.){3,}[0-9]{1,3}x", "1."),
    (r"(?:[01]?\d\d?|2[0-4]\d|25[0-5])(?:\.(?:[01]?\d\d?|2[0-4]\d|25[0-5])){3}z", "1."),
    (r"(?:é|e\x{301})+x", "é"),
    (r"\p{L}+\p{M}+x", "a\u0301"),
    (r"(?:\p{L}|\p{N}|\p{P})+\x00", "漢"),
    (r"[^\p{L}]+\p{L}[^\p{L}]+;", " "),
    (r"(?:\PL|\pL)+\x{10ffff}", "😀"),
    (r"\p{Greek}+\p{Cyrillic}+z", "α"),
    (r"[\p{Han}\p{Hiragana}]+[\p{Katakana}]+z", "漢"),
    (r"\bfoo\b.*\bbar\b", "foo "),
    (r"\Bx+\Bz", "x"),
    (r"(?m)^(?:.+)+$x|^y+$", "a\n"),
    (r"(?s).+z", "a\n"),
    (r"(?U)a+b+c", "ab"),
    (r"(?-i)A+b", "Aa"),
    (r"\<\>", "<"),
    ("a{99999999999}", "a"),
    ("(?P<1a>a)b", "a"),
    (r"\x00+\x01", "\x00"),
    (r"[\x00-\x1f]+z", "\x07"),
    (r"[^\x00-\x7f]+z", "é"),
    (r"\Q(a+)+\E+b", "(a+)+"),
    (r"\Qopen", "open"),
    (r"[[:alpha:]]+[[:digit:]]+z", "a1"),
    (r"[^[:^alpha:]]+1", "a"),
    (r"(?P<a>a+)(?P<b>b+)c", "ab"),
    (r"(?P<a>a)(?P<a>b)", "ab"),
    (r"a{1000}", "a"),
    (r"a{1,1000}b", "a"),
    (r"(?:a{10}){100}b", "a"),
    (r"(?:a{0,30}){30}b", "a"),
    (r"(?:a?b?c?d?){200}e", "abcd"),
    (r".{1000}x", "é"),
    (r"(?:.{0,50}a){19}c", "ab"),
    (r"[ab]*a[ab]{300}c", "abb"),
    (r"(?:[a-z]?){990}x", "ab"),
    (r"\pL{60}x", "漢"),
    (r"[^\pN]{90}\pN", "漢"),
    (r"(?i)ſ+k+", "ſK"),
    (r"(?i)İ+x", "İi"),
    (r"﷽+x", "﷽"),
    (r"\x{200b}*a+\x{200b}+b", "a\u200b"),
    (r"🇩🇪+x", "🇩🇪"),
    (r"(?:👨‍👩‍👧)+x", "👨‍👩‍👧"),
    ("x\ny", "x\n"),
    ("\x00", "\x00"),
    ("\x1b\\[[0-9;]*m", "\x1b[31m"),
    ("'; DROP TABLE parts; --", "'"),
)
#: What the language does not have, or what is no pattern.
_REFUSED: Final = (
    *(f"{open_}{inner})" for open_ in ("(?=", "(?!", "(?<=", "(?<!", "(?>", "(?|", "(?#") for inner in ("a", "a+", "")),
    *(rf"({group}){reference}" for group in ("a", "a+", ".*") for reference in (r"\1", r"\2", r"\k<1>", r"\g{1}")),
    *("a*+", "a++", "a?+", "a{2}+", "a**", "a+*", "a??*", "*", "+", "?", "*a", "|*", "(*)", "(+a)", "^*"),
    *("(", ")", "(()", "())", "[", "[]", "[^]", "[a", "[a-", "[z-a]", "[[:nope:]]", "[[:alpha:]", "\\", "a\\", "[\\"),
    *(
        r"\p{Nope}",
        r"\p",
        r"\pX",
        r"\p{",
        r"\P{^Nope}",
        r"\x{110000}",
        r"\x{",
        r"\xg",
        r"\8",
        r"\y",
        r"\K",
        r"\R",
        r"\X",
    ),
    *(r"\G", r"\Z", r"\h", r"\H", r"\N", r"\u0041", r"\cA", r"\e", r"\C", r"a\C+", r"(?:\C)"),
    *("(?z)", "(?i", "(?", "(?:", "(?P<a", "(?P<>a)", "(?P=a)", "(?P>a)", "(?R)", "(?1)", "(?(1)a|b)"),
    *("(?&a)", "(*FAIL)", "(*COMMIT)a", "(?x) a # b", "(?a)", "(?L)", "(?u)", "(?i-)", "(?--i)"),
    *("a{1001}", "a{1000}{2}", "(?:a{100}){11}", "((a{100}){10}){10}", "a{2,1}", "a{1,99999}"),
    *(r"(?:\pL{100}){10}", r"(?:[^\pL]{100}){9}", r"\pL{999}", r"(?:.{1000}|\pL{500})", "(?:\\w{1000}){2}"),
    *("\ud800", "a\udfff", "[\ud800-\udfff]", "\udc80"),
    *("", "()", "a*", "a?", "(?:)", "|", "a|", "|a", "a||b", "(a|)", ".*", "^", "$", "^$", r"\A", r"\z", r"\b", r"\B"),
    *(
        "a{0}",
        "a{0,5}",
        "(a*)*",
        "(?m)^",
        "(?m)$",
        r"\bx?",
        r"\Bx*",
        "x*|y+",
        r"(?:\b|secret)",
        "(?s).*",
        r"\Q\E",
        "(?i)",
    ),
    *("(" * 5_000, "[" * 5_000, "(?:a" * 1_500, "[b-\x1b[31m]", "[b-\r\nGW-C000]"),
)


def patterns() -> Iterator[Hostile]:
    """All of them."""
    yield from (Hostile(pattern, pump) for pattern, pump in _SLOW_ELSEWHERE)
    yield from (Hostile(pattern, "a", refused=True) for pattern in _REFUSED)
    yield Hostile("|".join(f"word{number}" for number in range(5_000)), "word")
    yield Hostile("|".join("a" * size for size in range(1, 300)) + "|b", "a")
    yield Hostile("|".join(f"(w{number})" for number in range(2_000)), "w1 ")
    yield Hostile("(?:" + "|".join(f"{number}.?x" for number in range(1_000)) + ")+z", "1x")
    yield Hostile("(" * 1_500 + "a" + ")" * 1_500, "a")
    yield Hostile("(" * 500 + "a" + ")" * 500 + "b", "a")
    yield Hostile("(?:" * 900 + "a" + ")" * 900 + "b", "a")
    yield Hostile("a" * 5_000, "a")
    yield Hostile("[" + "".join(chr(0x4E00 + 2 * number) for number in range(5_000)) + "]+x", "漢")
    yield Hostile(r"\x{2028}" * 500, "\u2028")
