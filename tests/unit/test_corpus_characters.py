"""Every kind of character through everything that looks at texts: normal form, search, split, judgement."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.model import Draft, GuestKey
from guestwire.policy.content import Content
from guestwire.policy.normal import IGNORABLE, MAX_MARKS, fold, normalise
from guestwire.policy.split import fit
from guestwire.policy.verdict import judge
from guestwire.settings.policy import Patterns, Personal, Policy, Words
from tests.corpora import characters
from tests.unit.test_corpus_payloads import CONTENT, WAYS, mutated
from tests.unit.test_split import UNITS, broken

TEXTS = characters.texts()
QUIET = Personal(card="off", api_key="off")
BLOCKED = Content(
    Policy(
        personal=QUIET, lists={"words": Words(words=("blocked",))}, patterns={"x": Patterns(patterns=(r"\bblocked\b",))}
    )
)


def check_form(text: str) -> None:
    """Places rise and lie inside; the form is the standard's, but for more marks on a letter than it can have."""
    for normal in (normalise(text), fold(normalise(text))):
        spans = [normal.span(place, place + 1) for place in range(len(normal.text))]
        assert all(0 <= start < end <= len(text) for start, end in spans), ascii(text)
        assert spans == sorted(spans), ascii(text)

    if len(text) < MAX_MARKS:
        seen = re.sub(f"[{IGNORABLE}]", "", text)
        assert normalise(text).text == unicodedata.normalize("NFKC", seen), ascii(text)


def check_parts(text: str) -> None:
    """Joined they are the text; none is too long, blank, or ends inside of what is one character to a reader."""
    for unit in UNITS:
        fitted = fit(text, 24, unit)
        assert not broken(text, fitted.parts, 24, unit) if fitted.parts else fitted.findings, ascii(text)


def check_verdict(text: str) -> bool:
    """It is refused for what no gateway takes, or goes out as it is."""
    verdict = judge(Draft(destination="x", guest=GuestKey("1"), text=text), WAYS[0], CONTENT, now=1.0)
    rules = {finding.rule for finding in verdict.reasons}
    expected = set()
    if not text.strip():
        expected = {"text.empty"}
    else:
        expected |= {"text.nul"} if "\x00" in text else set()
        expected |= {"text.surrogate"} if re.search("[\ud800-\udfff]", text) else set()
    assert rules == expected, ascii(text)
    assert verdict.is_rejected or "".join(body.text for body in verdict.bodies) == text, ascii(text)
    return not verdict.is_rejected


def test_there_are_enough() -> None:
    """Of each kind some."""
    assert len(TEXTS) > 10_000
    assert min(map(len, characters.groups().values())) >= 4


def test_what_takes_no_room_is_what_unicode_says() -> None:
    """The table in the code is that of the standard."""
    assert re.sub(f"[{IGNORABLE}]", "", "".join(characters.every("Default_Ignorable_Code_Point"))) == ""
    assert len(re.findall(f"[{IGNORABLE}]", characters.EVERYTHING)) == len(
        characters.every("Default_Ignorable_Code_Point")
    )


@pytest.mark.parametrize("group", characters.groups())
def test_every_text_has_a_normal_form_whose_places_are_its_own(group: str) -> None:
    """Alone, and within a word."""
    for text in characters.groups()[group]:
        check_form(text)
        check_form(f"ａ{text}b{text}é")


@pytest.mark.parametrize("group", characters.groups())
def test_words_around_every_text_are_found_where_they_stand(group: str) -> None:
    """By the list and by the pattern; neither moves the other's place."""
    for text in characters.groups()[group]:
        said = f"is blocked {text} ｂlocked, no"
        last = len(said) - len("ｂlocked, no")
        spans = {(finding.rule, finding.span) for finding in BLOCKED.look(said)}
        expected = {(rule, span) for rule in ("list.words", "pattern.x") for span in ((3, 10), (last, last + 7))}
        assert spans == expected, ascii(text)


@pytest.mark.parametrize("group", ["take no room"])
def test_nothing_without_room_hides_a_word(group: str) -> None:
    """Wherever in it they are, and however many."""
    for text in characters.groups()[group]:
        said = f"is b{text}loc{text}ked"
        assert [finding.span for finding in BLOCKED.look(said)] == [(3, len(said))] * 2, ascii(text)


@pytest.mark.parametrize("group", ["emoji", "joined emoji", "scripts", "become more", "marks"])
def test_every_text_is_found_that_a_list_has(group: str) -> None:
    """Within other words, at its place."""
    for text in characters.groups()[group]:
        if not fold(normalise(text)).text.strip():
            continue
        rules = Content(Policy(personal=QUIET, lists={"one": Words(words=(text,), whole_words=False)}))
        (found,) = rules.look(f"¶§ {text} §¶")
        assert found.span is not None
        start, end = found.span
        # A mark belongs to what stands before it.
        assert 2 <= start < end <= 3 + len(text), ascii(text)
        assert fold(normalise(f"¶§ {text} §¶"[start:end])).text.strip() == fold(normalise(text)).text.strip(), ascii(
            text
        )


@pytest.mark.parametrize("group", characters.groups())
def test_every_text_is_split_between_what_a_reader_sees(group: str) -> None:
    """Between words, and many of a kind without any."""
    for text in characters.groups()[group]:
        check_parts(f"hello {text} you {text}{text} there")


def test_every_text_is_sent_as_it_is_or_refused() -> None:
    """For NUL, for half of a surrogate pair, or because nothing is there to be seen."""
    accepted = sum(map(check_verdict, TEXTS))
    assert accepted > 10_000
    assert len(TEXTS) - accepted > 50


@given(st.data())
def test_mutations_keep_the_laws(data: st.DataObject) -> None:
    """Texts joined, bits turned, pieces left out and doubled."""
    draw: Any = data.draw
    text = "".join(draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6)))
    text = mutated(draw, text)
    check_form(text)
    check_parts(text)
    check_verdict(text)
