"""The form in which rules look for words: what a reader sees, and where it stands."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.policy.normal import MAX_MARKS, Normal, fold, normalise

#: Letters of several scripts, marks, things without room, ligatures, wide letters, halves of Hangul.
TEXTS = st.text(
    st.sampled_from(
        "aAzZßİı ﬁéｅ\u0301\u0300\u0323\u200b\u00ad\ufe0f\u2060\U000e0041ＭＡ한\u1112\u1161\u11abｶ\uff9e가1２😀\u200d👩"
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Ｍａｌｗａｒｅ", "malware"),
        ("mal\u200bw\u00ada\u2060re", "malware"),
        ("MALWARE", "malware"),
        ("cafe\u0301", "café"),
        ("ﬁsh", "fish"),
        ("Straße", "strasse"),
        ("𝓶𝓪𝓵𝔀𝓪𝓻𝓮", "malware"),
        ("①②", "12"),
        ("ﾡￂ", "가"),
        ("ㄱㅏㄳ", "갃"),
    ],
)
def test_what_hides_a_word_from_a_search_does_not_hide_it_here(written: str, seen: str) -> None:
    """Width, style, capitals, accents apart and characters without room make no difference."""
    assert fold(normalise(written)).text == seen


def test_a_place_is_one_of_the_original() -> None:
    """What was found can be masked where it stands, with everything that was put between its letters."""
    written = "see: ｍａ\u200bｌｗａｒｅ!"
    normal = fold(normalise(written))
    start = normal.text.index("malware")
    begin, end = normal.span(start, start + len("malware"))
    assert written[begin:end] == "ｍａ\u200bｌｗａｒｅ"


@given(TEXTS)
def test_it_is_nfkc_without_what_takes_no_room(written: str) -> None:
    """Normalised in pieces it is the same as normalised at once."""
    without = "".join(c for c in written if c not in "\u200b\u00ad\ufe0f\u2060\u200d\U000e0041")
    assert normalise(written).text == unicodedata.normalize("NFKC", without)


@given(TEXTS)
def test_places_rise_and_lie_inside(written: str) -> None:
    """Every character of the normal form has an origin, in order."""
    for normal in (normalise(written), fold(normalise(written))):
        spans = [normal.span(place, place + 1) for place in range(len(normal.text))]
        assert all(0 <= start < end <= len(written) for start, end in spans)
        assert spans == sorted(spans)


@given(st.text(max_size=40))
def test_any_text_has_a_normal_form(written: str) -> None:
    """Also one of control characters and of characters that mean nothing."""
    normal = fold(normalise(written))
    assert len(normal.text) == 0 or normal.span(0, len(normal.text))[1] <= len(written)


def test_marks_by_the_thousand_are_cut_into_pieces() -> None:
    """Python sorts them in the square of their number; a letter with more than it can have is taken in pieces."""
    written = "a" + "\u0316\u0301" * 5_000
    normal = normalise(written)
    longest = max(end - start for start, end in (normal.span(n, n + 1) for n in range(len(normal.text))))
    assert longest <= MAX_MARKS + 1


def test_plain_text_costs_nothing() -> None:
    """Its normal form is itself, without a table of places."""
    assert normalise("Where is my order?") == Normal("Where is my order?")
    assert normalise("Où est ma commande ?") == Normal("Où est ma commande ?")
