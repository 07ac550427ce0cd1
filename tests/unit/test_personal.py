"""What is personal or secret in a text, and where."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.errors import ConfigError
from guestwire.policy.personal import KINDS, MAX_LOOKUPS, Found, Kind, check_can_find, find_personal, mask
from tests.corpora.make import files
from tests.corpora.rates import Rates
from tests.unit.test_importing import pulled_in_by

#: Published by processors for tests.
CARD = "4111 1111 1111 1111"
IBAN = "DE89 3704 0044 0532 0130 00"  # the example of the German banks
KEY = "AKIAIOSFODNN7EXAMPLE"  # the example of AWS


def found(text: str, *kinds: Kind, region: str | None = "DE") -> list[tuple[str, str]]:
    """Return kind and characters of what is found."""
    return [(one.kind, text[one.start : one.end]) for one in find_personal(text, kinds or KINDS, region=region)]


# --- each kind ---


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("write to anna@example.com.", "anna@example.com"),
        ("<o'brien+news@mail.example.co.uk>", "o'brien+news@mail.example.co.uk"),
        ("mailto:anna@example.com?subject=x", "anna@example.com"),
        ("'anna@example.com'", "anna@example.com"),
        ("an müller@bücher.example, bitte", "müller@bücher.example"),
        ("我的邮箱是anna@example.com谢谢", "anna@example.com"),
        ("anna@example.com..danke", "anna@example.com"),
        ("anna@xn--bcher-kva.xn--p1ai", "anna@xn--bcher-kva.xn--p1ai"),
        ("@anna@example.com", "anna@example.com"),
        ("anna@example.com.2026", "anna@example.com"),
    ],
)
def test_an_address_is_found_without_what_stands_around_it(text: str, address: str) -> None:
    """Full stops, brackets and quotes around it are no part of an address; letters of any script are."""
    assert found(text, "email") == [("email", address)]


@pytest.mark.parametrize(
    "text",
    ["@anna", "anna@", "anna@host", "react@18.2.0", "logo@2x.png", "a.@example.com", "a@-b.com", "5 @ 3.50", "@@"],
)
def test_what_has_no_name_or_no_domain_is_no_address(text: str) -> None:
    """Handles, packages and pictures have an @ too."""
    assert found(text, "email") == []


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        "4111111111111111",
        "4111-1111-1111-1111",
        "4111 - 1111 - 1111 - 1111",
        "3782 822463 10005",
        "36227206271667",
        " ".join("4111111111111111"),
        "4222222222222",
        "41 11 11 11 11 11 11 11",
        "٤١١١ ١١١١ ١١١١ ١١١١",
        "4111\xa01111\xa01111\xa01111",
    ],
)
def test_a_card_is_found_however_its_digits_stand_together(card: str) -> None:
    """Fours, singles, none; spaces, dashes, spaces of word processors; digits of other scripts."""
    assert found(f"my card {card}, 12/27", "card") == [("card", card)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4111 1111 1111 1112", "the check digit is wrong"),
        ("9999 9999 9999 9995", "nobody issues such numbers"),
        ("order AB-4111111111111111", "a piece of an order number"),
        ("https://example.com/p/4111111111111111", "a piece of a path"),
        ("41111111111111110000", "more digits than a card has"),
        ("4006381333931", "the number of an article"),
        ("4 11 1 11111 11 1111 1", "no groups that anybody uses"),
        (IBAN, "an account"),
    ],
)
def test_other_numbers_are_no_cards(text: str, why: str) -> None:
    """Luhn alone lets every tenth number through; the issuer, the length and the surroundings have to fit as well."""
    assert found(text, "card") == [], why


def test_an_account_whose_check_digits_are_wrong_hides_no_card() -> None:
    """Two letters and two digits before a card make no account of it."""
    assert found(f"DE00 {CARD}", "card") == [("card", CARD)]


@pytest.mark.parametrize(
    ("phone", "region"),
    [
        ("+49 (0)30 23125 123", None),
        ("(+49) 30-23125123", None),
        ("0049 30 23125123", None),
        ("+44 7700 900123", None),  # set aside for films: in no plan
        ("030/23125123", "DE"),
        ("(202) 555-0123", "US"),
        ("202-555-0123", "US"),
        ("06.12.34.56.78", "FR"),
        ("8 (912) 345-67-89", "RU"),
        ("612 34 56 78", "ES"),
    ],
)
def test_a_phone_number_is_found_as_its_region_writes_it(phone: str, region: str | None) -> None:
    """With country code anywhere; without one where it is dialled like that."""
    assert found(f"Also {phone}, please", "phone", region=region) == [("phone", phone)]


@pytest.mark.parametrize("text", ["my number is 2025550123", "Tel. 2025550123", "call 2025550123", "tél : 2025550123"])
def test_digits_without_spaces_are_a_phone_number_where_somebody_says_so(text: str) -> None:
    """In regions that dial no 0 ten digits are as good an order number, unless a word tells."""
    assert found(text, "phone", region="US") == [("phone", "2025550123")]


@pytest.mark.parametrize(
    "text",
    [
        "order 2025550123",
        "24.12.2026 10:30",
        "2026-12-24",
        "10.0.19045.3693",
        "0-306-40615-2",
        "12 345 678 €",
        IBAN,
        CARD,
        "550e8400-0301-2345-6789-446655440000",
        "https://example.com/p/03023125123",
        "1Z0302312512312345",
        "#03023125123",
    ],
)
@pytest.mark.parametrize("region", ["DE", "US", None])
def test_other_numbers_are_no_phone_numbers(text: str, region: str | None) -> None:
    """Orders, dates, versions, books, amounts, accounts and cards are left alone."""
    assert found(text, "phone", region=region) == []


def test_numbers_without_country_code_need_a_region() -> None:
    """Nobody can know where 030 23125123 is dialled."""
    assert found("030 23125123", region=None) == []


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 20,
        "xoxb-123456789012-abcdef",
        "sk_live" + "_" + "a1B2" * 6,  # in two pieces: hosters of source code refuse what looks like one
        "AIza" + "a1B2-" * 7,
        "sk-" + "a1b2" * 12,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nYWJj\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nYWJjZGVmZ2hpamtsbW5vcA==",
    ],
)
def test_a_key_is_found_whole(key: str) -> None:
    """The body of a private key belongs to it, with or without its end."""
    assert found(f"🙂 key={key} (is it right?)", "api_key") == [("api_key", key)]


@pytest.mark.parametrize(
    "text", ["sk-this-is-a-long-name-of-a-page-2", "AKIA", "x" + KEY, "sk-SK", "eyJ.eyJ", "-----BEGIN CERTIFICATE-----"]
)
def test_words_with_hyphens_are_no_keys(text: str) -> None:
    """A prefix alone makes no key."""
    assert found(text, "api_key") == []


# --- all together ---


def test_places_count_characters_of_the_given_text() -> None:
    """Emoji, combining marks and half a surrogate pair before it are one character each."""
    text = f"👨‍👩‍👧e\u0301\ud800 {KEY} 🙂 {CARD} ü anna@example.com 日 +49 30 23125123"
    assert found(text, region=None) == [
        ("api_key", KEY),
        ("card", CARD),
        ("email", "anna@example.com"),
        ("phone", "+49 30 23125123"),
    ]


def test_only_what_is_asked_for_is_found() -> None:
    """Each kind by itself, and nothing of nothing."""
    text = f"{KEY} {CARD} anna@example.com +49 30 23125123"
    for kind in KINDS:
        assert [one for one, _ in found(text, kind)] == [kind]
    assert find_personal(text, ()) == []


def test_of_two_on_the_same_characters_one_is_found() -> None:
    """An address that is a phone number by its name is an address."""
    assert found("493023125123@example.com") == [("email", "493023125123@example.com")]


def test_what_is_said_of_it_quotes_nothing_of_it() -> None:
    """Reasons go into errors and logs."""
    for one in find_personal(f"{KEY} {CARD} anna@example.com +49 30 23125123", KINDS):
        assert not any(character.isdigit() for character in one.why)
        assert "anna" not in one.why


def test_a_text_full_of_numbers_is_not_looked_up_for_ever() -> None:
    """Beyond the lookups for one text what looks like a phone number is one: stuffing hides nothing."""
    text = "+49 1, +49 99999999999999 " * MAX_LOOKUPS + "and +49 30 23125123"
    assert text.endswith(found(text, "phone")[-1][1])


# --- laws ---

_pieces = st.lists(
    st.sampled_from(
        [
            CARD,
            KEY,
            IBAN,
            "anna@example.com",
            "+49 30 23125123",
            "030 23125123",
            "0",
            "4",
            "+",
            "(",
            ")",
            "-",
            ".",
            "/",
            " ",
            "@",
            "00",
            "sk-",
            "eyJ",
            "-----BEGIN PRIVATE KEY-----",
            "-----",
            "ü",
            "🙂",
            "�",
            "\x00",
            "٠",
            "́",
            "24.12.2026",
            "x",
        ]
    ),
    max_size=30,
).map("".join)


@given(st.one_of(st.text(), _pieces), st.sampled_from(["DE", "US", "IT", "RU", None]), st.sets(st.sampled_from(KINDS)))
def test_places_are_in_order_apart_and_inside_the_text(text: str, region: str | None, kinds: set[Kind]) -> None:
    """Whoever puts masks there from the end to the front spoils nothing; and no text is too strange to be searched."""
    end = 0
    for one in find_personal(text, kinds, region=region):
        assert end <= one.start < one.end <= len(text)
        assert one.kind in kinds
        end = one.end


_words = st.text(st.sampled_from("abcxyz äßéλж日🙂!?\n"), max_size=40)


@given(
    _words,
    _words,
    st.sampled_from([CARD, KEY, "anna@example.com", "+49 30 23125123", "030/23125123", "ghp_" + "a1B2" * 9]),
)
def test_it_does_not_matter_what_else_is_said(before: str, behind: str, personal: str) -> None:
    """The same is found, moved by what stands before it."""
    alone = find_personal(personal, KINDS, region="DE")
    moved = find_personal(f"{before} {personal} {behind}", KINDS, region="DE")
    by = len(before) + 1
    assert [Found(one.kind, one.start + by, one.end + by, one.why) for one in alone] == moved


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_nothing_personal(kind: Kind) -> None:
    """A text that has been masked can be searched again."""
    assert found(f"a {mask(kind)} b") == []


# --- what it needs ---


def test_no_search_loads_the_numbering_plans_before_a_phone_number_is_looked_for() -> None:
    """They are an extra, and some megabytes."""
    search = "from guestwire.policy.personal import *; find_personal('030 23125123', ['card', 'email'], region='DE')"
    assert pulled_in_by(search, ("phonenumbers", "asyncio", "socket", "ssl", "apsw")) == []


def test_what_cannot_be_looked_for_is_said_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown kind, an unknown region, a library that is not there: each with what to do."""
    check_can_find(KINDS, region="DE")
    with pytest.raises(ConfigError, match="'phones'") as caught:
        check_can_find(["phones"])
    assert "api_key" in caught.value.hint
    with pytest.raises(ConfigError, match="'de'"):
        check_can_find(["phone"], region="de")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "phonenumbers", raising=False)
    check_can_find(["card"])
    with pytest.raises(ConfigError, match="not installed") as caught:
        check_can_find(["phone"])
    assert "guestwire[phone]" in caught.value.hint


# --- how often it errs ---


def test_the_corpora_are_what_their_maker_makes() -> None:
    """`python -m tests.corpora.make` makes the files as they are."""
    for path, content in files().items():
        assert path.read_text("utf-8") == content, path.name


@pytest.fixture(scope="module")
def rates() -> Rates:
    """Both corpora searched, with the regions of their writers."""
    return Rates()


def test_few_harmless_texts_raise_an_alarm(rates: Rates) -> None:
    """
    Of 4,320 texts that hold nothing personal none has an address or a key found in it, one a card, six a phone number.

    A random number of 16 digits passes for a card in 4 of 100 cases (a tenth passes Luhn, four in ten have an issuer);
    nine digits in threes are a phone number in Poland. The bounds allow for twice what was measured, as other random
    numbers in the same texts bring.
    """
    assert (rates.alarms["email"], rates.alarms["api_key"]) == (0, 0)
    assert rates.alarm_rate("card") <= 0.0005
    assert rates.alarm_rate("phone") <= 0.003


def test_little_of_what_is_personal_is_missed(rates: Rates) -> None:
    """
    Of addresses, cards and keys in the usual spellings nothing is missed; of phone numbers 44 of 1,214.

    Those are numbers set aside for films in three countries, without + (no numbering plan has them), and a few in one
    piece where no 0 is dialled and no word says what they are.
    """
    assert (rates.missed["email"], rates.missed["card"], rates.missed["api_key"]) == (0, 0, 0)
    assert rates.miss_rate("phone") <= 0.04
    assert sum(rates.elsewhere.values()) == 0
    assert rates.cut["phone"] <= 5


def test_without_a_region_no_harmless_number_is_a_phone_number() -> None:
    """Only + and 00 are looked for then, so a third of the corpus is missed: numbers without country code."""
    without = Rates(with_region=False)
    assert without.alarms["phone"] == 0
    assert without.miss_rate("phone") <= 0.4
