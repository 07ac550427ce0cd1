"""What a policy finds in a text, and in what it must not be evaded, fooled or slowed down."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.errors import ConfigError
from guestwire.policy.content import MASK, MAX_FINDINGS, Content, host_of, redact
from guestwire.settings.policy import Allowed, Group, Links, Patterns, Personal, Policy, Words

#: Of few letters, so that they overlap.
PHRASES = st.text("ab ", min_size=1, max_size=4)
NO_PERSONAL = Personal(card="off", api_key="off")


def content(**said: Any) -> Content:
    """A policy that looks for what is said, and for nothing else."""
    return Content(Policy(**{"personal": NO_PERSONAL, **said}))


def words(*some: str, **more: Any) -> Content:
    """One list of words."""
    return content(lists={"words": Words(words=some, **more)})


def found(rules: Content, text: str, guest: str = "") -> list[tuple[str, str]]:
    """Rule and place of each finding."""
    return [(one.rule, text[slice(*one.span)]) for one in rules.look(text, guest) if one.span is not None]


# --- words ---


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("this is blocked!", "blocked"),
        ("this is BLOCKED!", "BLOCKED"),
        ("this is ｂｌｏｃｋｅｄ!", "ｂｌｏｃｋｅｄ"),
        ("this is b\u200bloc\u00adked!", "b\u200bloc\u00adked"),
        ("“blocked”", "blocked"),
        ("blocked", "blocked"),
    ],
)
def test_a_word_is_found_however_it_is_spelled(text: str, place: str) -> None:
    """Capitals, wide letters and characters without room do not hide it; the place is that of the original."""
    assert found(words("Blocked"), text) == [("list.words", place)]


@pytest.mark.parametrize("text", ["unblocked", "blockedness", "block ed", "blocke", "blocked_by", ""])
def test_a_word_inside_of_another_is_another(text: str) -> None:
    """Whole words alone, unless the list says otherwise."""
    assert found(words("blocked"), text) == []


def test_parts_of_words_are_found_where_the_list_says_so() -> None:
    """With `whole_words` off."""
    assert found(words("block", whole_words=False), "unblocked") == [("list.words", "block")]


def test_a_word_between_ideographs_stands_alone() -> None:
    """Nobody writes spaces there."""
    assert found(words("赌博"), "我想赌博吗") == [("list.words", "赌博")]
    assert found(words("การพนัน"), "เล่นการพนันไหม") == [("list.words", "การพนัน")]


def test_phrases_and_words_within_each_other_are_all_found() -> None:
    """Each of them is somebody's rule."""
    rules = content(lists={"a": Words(words=("free money",)), "b": Words(words=("money", "free money now"))})
    assert found(rules, "free money now") == [
        ("list.a", "free money"),
        ("list.b", "free money now"),
        ("list.b", "money"),
    ]


# --- patterns ---


def test_patterns_are_found_at_each_place() -> None:
    """With capitals or without, unless the pattern tells them apart."""
    rules = content(
        patterns={"order": Patterns(patterns=(r"ord-\d{4}",)), "ID": Patterns(patterns=(r"ID\d",), case=True)}
    )
    assert found(rules, "ORD-1234 and ord-9999, id1 ID2") == [
        ("pattern.order", "ORD-1234"),
        ("pattern.order", "ord-9999"),
        ("pattern.ID", "ID2"),
    ]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape"),
        ("(", "missing"),
        ("a*", "empty text"),
        ("", "empty"),
    ],
)
def test_what_the_linear_engine_cannot_take_is_refused(pattern: str, why: str) -> None:
    """With the name of the table, the reason, and what to do."""
    with pytest.raises(ConfigError, match="GW-C021") as caught:
        content(patterns={"mine": Patterns(patterns=(pattern,))})
    assert "patterns.mine" in caught.value.message
    assert why in caught.value.message
    assert "RE2" in caught.value.hint


@pytest.mark.parametrize("pattern", [r"\b", r"\b(?:secret)?", "(?m:^)x*", r"\Bx*", "$|secret"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    """At whatever place: a hundred empty matches would hide the one that counts."""
    with pytest.raises(ConfigError, match="matches the empty text"):
        content(patterns={"mine": Patterns(patterns=(pattern,))})


@pytest.mark.parametrize("pattern", ["[b-\x1b[31m]", "[" * 5_000, "\ud800", r"h\C", "a\\"])
def test_the_reason_of_a_refusal_is_short_and_harmless(pattern: str) -> None:
    """The engine quotes a pattern as it stands; a terminal would obey it."""
    with pytest.raises(ConfigError, match="GW-C021") as caught:
        content(patterns={"mine": Patterns(patterns=(pattern,))})
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_a_quotation_without_end_is_a_pattern() -> None:
    """It ends with the pattern."""
    rules = content(patterns={"mine": Patterns(patterns=(r"\Qa.b(", "other"))})
    assert found(rules, "A.B( and others") == [("pattern.mine", "A.B("), ("pattern.mine", "other")]


def test_as_many_patterns_as_anybody_has_are_asked() -> None:
    """Of words by the thousand, and such that no set of patterns takes; none is passed over."""
    large = tuple(rf"(?:[a-z]?){{990}}x{number}y" for number in range(45))
    words = tuple(f"{number:04}{'-' * 80}" for number in range(400))
    rules = content(patterns={"many": Patterns(patterns=(*words, *large, r"[^\pL]{99}\pL{99}[^\pN]{60}"))})
    text = f"see {words[0]}, {words[321]} or x3y x44y {words[-1]}"
    places = [words[0], words[321], "x3y", "x44y", words[-1]]
    assert found(rules, text) == [("pattern.many", place) for place in places]


def test_a_text_with_thousands_of_hits_has_a_bounded_list_of_findings() -> None:
    """The last of them reaches to the end, so that nothing of it escapes a mask."""
    rules = content(lists={"x": Words(words=("a",), action="redact")}, patterns={"y": Patterns(patterns=("a",))})
    text = "a " * 50_000
    findings = rules.look(text)
    assert [sum(one.rule == rule for one in findings) for rule in ("list.x", "pattern.y")] == [MAX_FINDINGS] * 2
    assert max(one.span[1] for one in findings if one.span) == len(text)
    assert redact(text, findings).strip(MASK + " ") == ""


# --- scripts ---


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//x.example></SCRIPT>",
        "<script/src=x>",
        "hello <script\n>",
        "＜script＞",
        "<scr\u200bipt>",
        "< script >",
        "<script",
    ],
)
def test_scripts_are_found(text: str) -> None:
    """However they are spelled."""
    assert [rule for rule, _ in found(content(), text)] == ["script.element"]


@pytest.mark.parametrize("text", ["the script > all", "a < b, script", "<scripture>", "description", "<b>bold</b>"])
def test_talk_of_scripts_is_none(text: str) -> None:
    """Nor is other markup."""
    assert found(content(), text) == []


# --- links ---


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://shop.example/x?y#z", "shop.example"),
        ("https://good.example@evil.example/", "evil.example"),
        ("https://good.example:pw@evil.example:8443", "evil.example"),
        ("https://good.example\\@evil.example", "good.example"),
        ("HTTPS://EVIL.Example.", "evil.example"),
        ("www.evil.example/x", "www.evil.example"),
        ("https://bücher.example", "xn--bcher-kva.example"),
        ("https://evil。example", "evil.example"),
        ("https://[::1]:80/", "[::1]"),
        ("https://", ""),
    ],
)
def test_the_host_is_that_of_a_browser(address: str, host: str) -> None:
    """Not what a reader takes for it."""
    assert host_of(address) == host


def test_links_may_lead_to_allowed_domains_alone() -> None:
    """And to what is below them."""
    rules = content(links=Links(allow=("shop.example",)))
    assert found(rules, "see https://www.shop.example/a, (https://shop.example.evil.example).") == [
        ("link.elsewhere", "https://shop.example.evil.example")
    ]


def test_denied_domains_are_found_without_a_scheme_too() -> None:
    """A reader types them into his browser."""
    rules = content(links=Links(deny=("evil.example",)))
    assert {rule for rule, _ in found(rules, "go to evil.example now")} == {"link.denied"}
    assert found(rules, "https://x.evil.example/a!") == [
        ("link.denied", "https://x.evil.example/a"),
        ("link.denied", "evil.example"),
    ]
    assert found(rules, "notevil.example evil.examples") == []


def test_a_link_longer_than_any_name_is_a_link() -> None:
    """Whatever stands before what is denied, and however much of it."""
    rules = content(links=Links(deny=("evil.example",), allow=("good.example",)))
    for host in ("a." * 20_000, "ä" * 20_000 + ".", "ä." * 20_000):
        assert ("link.denied", f"https://{host}evil.example") in found(rules, f"https://{host}evil.example")
        assert found(rules, f"https://{host}other.example") == [("link.elsewhere", f"https://{host}other.example")]


# --- actions, groups, what is allowed ---


def test_each_finding_says_what_follows() -> None:
    """The action, the words of whoever wrote the policy, and no word of the guest's."""
    (finding,) = words("secretword", action="park", fix="ask first").look("a secretword here")
    assert (finding.action, finding.fix, finding.path, finding.span) == ("park", "ask first", "text", (2, 12))
    assert "secretword" not in finding.text


def test_what_is_off_is_not_found() -> None:
    """It has its place in the list of rules all the same."""
    rules = words("blocked", action="off")
    assert rules.look("blocked") == []
    assert rules.rules["list.words"] == "off"


def test_a_group_has_its_own_actions() -> None:
    """For guests whose key fits, later groups last."""
    policy: dict[str, Any] = {
        "lists": {"words": Words(words=("blocked",))},
        "groups": {
            "vip": Group(guests=("vip-*", "007"), actions={"list.words": "warn"}),
            "worst": Group(guests=("vip-9",), actions={"list.words": "park"}),
        },
    }
    actions = {guest: content(**policy).look("blocked", guest)[0].action for guest in ("anna", "vip-1", "007", "vip-9")}
    assert actions == {"anna": "reject", "vip-1": "warn", "007": "warn", "vip-9": "park"}


def test_a_group_that_names_no_rule_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="GW-C022") as caught:
        content(groups={"vip": Group(guests=("x",), actions={"list.wrds": "off"})})
    assert "script.element" in caught.value.hint


@given(st.text("ab ", max_size=30), st.sets(st.text("ab", min_size=1, max_size=3), max_size=4), st.sets(PHRASES))
def test_whatever_is_allowed_and_nothing_else_is_not_found(text: str, some: set[str], allowed: set[str]) -> None:
    """By the meaning of the words: a place inside of one that is allowed."""

    def places(*looked: str) -> set[tuple[int, int]]:
        return {one.span for one in words(*looked, whole_words=False).look(text) if one.span is not None}

    rules = content(
        lists={"words": Words(words=tuple(some), whole_words=False)},
        patterns={"p": Patterns(patterns=("b+a",))},
        allow=Allowed(patterns=tuple(allowed)),
    )
    outer = {span for one in allowed for span in _spans_of(one, text)}
    inner = places(*some) | set(_spans_of("b+a", text))
    expected = {(a, b) for a, b in inner if not any(c <= a and b <= d for c, d in outer)}
    assert {one.span for one in rules.look(text)} == expected


def _spans_of(pattern: str, text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(pattern, text)]


def test_as_much_may_be_allowed_as_is_found() -> None:
    """A text of a hundred thousand words, each of them found, and each of them allowed but the last."""
    rules = content(lists={"a": Words(words=("a", "b"))}, allow=Allowed(words=("a",)))
    assert found(rules, "a " * 100_000 + "b") == [("list.a", "b")]


def test_what_lies_within_something_allowed_is_not_found() -> None:
    """The whole of it has to."""
    rules = content(
        lists={"words": Words(words=("acme", "acme bank"))},
        allow=Allowed(words=("Acme Shoes",), patterns=(r"ref-acme-\d+",)),
    )
    assert found(rules, "ACME shoes and REF-acme-1") == []
    assert found(rules, "acme bank") == [("list.words", "acme"), ("list.words", "acme bank")]


# --- masking ---


def test_masking_takes_the_whole_place() -> None:
    """Places that lie over each other are one."""
    rules = content(lists={"a": Words(words=("one two", "two three", "four"), action="redact")})
    text = "zero one two three four five"
    assert redact(text, rules.look(text)) == f"zero {MASK} {MASK} five"


@given(st.text(st.sampled_from("ab ｂ\u200bé😀\ud800"), max_size=40))
def test_what_is_masked_is_not_found_again(text: str) -> None:
    """Whatever stands around it."""
    rules = content(lists={"a": Words(words=("ab", "b a"), whole_words=False, action="redact")})
    assert rules.look(redact(text, rules.look(text))) == []


@given(st.text(max_size=60))
def test_any_text_can_be_looked_at(text: str) -> None:
    """The places lie inside of it."""
    rules = content(
        lists={"a": Words(words=("a", "é", "0"), whole_words=False)},
        patterns={"p": Patterns(patterns=(r"\w", r"[^a]"))},
        links=Links(allow=("a.example",), deny=("b.example",)),
    )
    for finding in rules.look(text):
        assert finding.span is not None
        start, end = finding.span
        assert 0 <= start < end <= len(text)
