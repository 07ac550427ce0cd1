"""
Personal data and secrets in a text: e-mail addresses, phone numbers, payment cards, keys of services.

A guest who writes a card number into a chat has it in every transcript from then on. What is found here has its place
in the text, so that whoever asks may refuse the message or put `mask` where it stood.

Each search begins with a question that costs next to nothing and that nearly every message answers with no: is there an
@, are there seven digits. What goes on takes time in proportion to the text, whatever the text is:

- Classes of characters are stripped or run over; nothing goes back over what it took.
- A pattern is never asked for what may lie far behind its beginning: RE2 takes linear time for one match, but thousands
  of beginnings, each looking to the end of the text for its end, would be quadratic in any engine.
- Numbering plans are asked `MAX_LOOKUPS` times for one text; each lookup takes as long as the rest together.

Texts are searched as they are: undoing full-width digits, characters without width and the like is up to the caller.
Letters keep their case: half of what tells a key is upper case. Only digits of other scripts, and the dashes and spaces
that word processors put between groups of digits, are read as the plain ones here: that is no evasion, people write so.

What is not found, by choice: numbers spelled as words, "name at example dot com", digits in groups that nobody uses for
a card ("41 111 1 ..."), a phone number without country code where no region is given.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, get_args

import msgspec
import re2

from guestwire.errors import ConfigError

Kind = Literal["email", "phone", "card", "api_key"]
#: Every kind, in the order in which they win where two claim the same characters.
KINDS: tuple[Kind, ...] = ("api_key", "email", "card", "phone")
_MASKS: dict[Kind, str] = {"email": "[e-mail]", "phone": "[phone]", "card": "[card]", "api_key": "[secret]"}

#: So often one text may ask the numbering plans, at 30 to 100 us each. A text with more numbers than that is no message
#: of a guest: what else in it looks like a phone number is taken for one, so that stuffing hides nothing.
MAX_LOOKUPS = 200


class Found(msgspec.Struct, frozen=True):
    """Something personal, and where it stands."""

    kind: Kind
    start: int
    """Its first character in the text, from 0."""
    end: int
    """Behind its last character."""
    why: str
    """How it was recognised, in a few words; quotes nothing of it."""


def find_personal(text: str, kinds: Collection[Kind], *, region: str | None = None) -> list[Found]:
    """
    Find what is personal or secret.

    Args:
        text: Any text, lone surrogates included.
        kinds: What to look for. Of "phone" see `check_can_find`, which should be called before.
        region: Where numbers without country code are dialled, as ISO 3166 has it ("DE"). Without it only those are
            found that begin with + or 00.

    Returns:
        In the order of the text; no two share a character.
    """
    found: list[Found] = []
    if "api_key" in kinds:
        found += _keys(text)
    if "email" in kinds and "@" in text:
        found += _emails(text)
    if "card" in kinds or "phone" in kinds:
        plain = _with_digits(text, 7 if "phone" in kinds else 13)
        if plain:
            found += _numbers(plain, kinds, region)
    return _apart(found) if len(found) > 1 else found


def mask(kind: Kind) -> str:
    """Return what stands for something of a kind once it has been taken out: it has no digit, no @ and no key in it."""
    return _MASKS[kind]


def check_can_find(kinds: Collection[str], *, region: str | None = None) -> None:
    """
    Make sure that these can be looked for.

    Raises:
        ConfigError: An unknown kind or region, or a library that is not installed.
    """
    unknown = [kind for kind in kinds if kind not in get_args(Kind)]
    if unknown:
        raise ConfigError(
            f"there is no kind of personal data called {unknown[0]!a}",
            code="GW-C079",
            hint=f"one of {', '.join(KINDS)}",
        )
    if "phone" not in kinds:
        return
    if find_spec("phonenumbers") is None:
        raise ConfigError(
            "to find phone numbers the library phonenumbers is needed, which is not installed",
            code="GW-C079",
            hint="pip install 'guestwire[phone]'",
        )
    if region is not None and region not in _library().SUPPORTED_REGIONS:
        raise ConfigError(
            f"{region!a} is no region whose phone numbers are known",
            code="GW-C079",
            hint="two capital letters of ISO 3166, such as DE",
        )


def _apart(found: list[Found]) -> list[Found]:
    """Return them in order; of two that overlap the one whose kind comes first in `KINDS`."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda each: each.start):
        if kept and one.start < kept[-1].end:
            if KINDS.index(one.kind) < KINDS.index(kept[-1].kind):
                kept[-1] = one
        else:
            kept.append(one)
    return kept


# --- keys of services ---

_BASE64URL = "[A-Za-z0-9_-]"
#: As their makers are known to write them (medium confidence: their pages were not read again for this): AWS (AKIA
#: long-term, ASIA temporary), GitHub, Slack, Stripe, whose test keys open nothing and are left alone; of AIza and sk-
#: no maker publishes a shape (low). RFC 7515 (a JWS begins with the Base64 of '{"') and RFC 7468 for PEM (high).
#: Lengths are lower bounds where makers may lengthen them.
_KEYS: tuple[tuple[str, str], ...] = (
    ("the shape of an AWS access key id", r"(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("the shape of a GitHub token", r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,}"),
    ("the shape of a Slack token", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"),
    ("the shape of a live Stripe key", r"[sr]k_live_[A-Za-z0-9]{10,}"),
    ("the shape of a Google API key", rf"AIza{_BASE64URL}{{35}}"),
    ("a JSON web token", rf"eyJ{_BASE64URL}{{10,}}\.{_BASE64URL}{{10,}}(?:\.{_BASE64URL}+){{0,3}}"),
    (
        "the head of a private key in PEM",
        # The body ends at the next five dashes, be they of an END or of another BEGIN: nothing looks further. Without
        # an END, the lines of Base64 that follow.
        r"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:[^-]|-[^-])*-----END [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----|(?:\s*[A-Za-z0-9+/=]{16,})*)",
    ),
    ("the shape of a key that begins with sk-", rf"sk-{_BASE64URL}{{20,}}"),
)
#: Begins where no name goes on. One group for each of `_KEYS`.
_KEY_OF_ANY = re2.compile(("(?:^|[^A-Za-z0-9])(?:" + "|".join(f"({pattern})" for _, pattern in _KEYS) + ")").encode())


def _keys(text: str) -> Iterator[Found]:
    # What one of each key below has in it. Asked first, and one by one: that spares nearly every text the pattern.
    if not (
        "sk-" in text
        or "eyJ" in text
        or "xox" in text
        or "AKIA" in text
        or "ASIA" in text
        or "AIza" in text
        or "-----BEGIN" in text
        or ("_" in text and ("gh" in text or "_live_" in text or "github_pat_" in text))
    ):
        return
    # One byte for each character, so that places in the bytes are places in the text. (Given a str, RE2's wrapper
    # encodes it as UTF-8, which half a surrogate pair is not, and counts the places back.)
    for match in _KEY_OF_ANY.finditer(text.encode("ascii", "replace")):
        number = match.lastindex
        start, end = match.span(number)
        if number < len(_KEYS) or _is_random(text[start:end]):
            yield Found("api_key", start, end, _KEYS[number - 1][0])


def _is_random(key: str) -> bool:
    """Tell a key from words with hyphens, of which 'sk-' may be a language or the end of a longer one."""
    pieces = key.replace("_", "-").split("-")
    return any(len(piece) >= 12 and not piece.isalpha() and not piece.isdigit() for piece in pieces)


# --- e-mail ---

_ASCII_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: Of what RFC 5321 allows, the characters that people have in their addresses; the others stand around addresses more
#: often than in them ("mail=…", "*…*").
_LOCAL = _ASCII_WORD + "._%+-'"
_DOMAIN = _ASCII_WORD + ".-"
#: Addresses may have letters of any script (RFC 6531). These are of scripts that put spaces between words: in a Chinese
#: sentence there is no telling where an address begins but by the change of script.
_LETTERS = "".join(chr(code) for code in range(0xC0, 0x530) if chr(code).isalpha())
_LOCAL_BEYOND, _DOMAIN_BEYOND = _LOCAL + _LETTERS, _DOMAIN + _LETTERS
#: RFC 5321: 64 and 255. A local part that is too long is taken whole all the same.
_MAX_LOCAL, _MAX_DOMAIN = 128, 255
#: No top-level domains, but endings of files whose names have an @ ("logo@2x.png").
_FILES = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "html", "pdf"})


def _emails(text: str) -> Iterator[Found]:
    local, domain = (_LOCAL, _DOMAIN) if text.isascii() else (_LOCAL_BEYOND, _DOMAIN_BEYOND)
    done = 0
    at = text.find("@")
    while at != -1:
        before = text[max(done, at - _MAX_LOCAL) : at]
        name = before[len(before.rstrip(local)) :].lstrip(".'-")
        if name and name[-1] != ".":
            behind = text[at + 1 : at + 1 + _MAX_DOMAIN]
            length = _host_length(behind[: len(behind) - len(behind.lstrip(domain))])
            if length:
                done = at + 1 + length
                yield Found("email", at - len(name), done, "a name, an @ and a domain")
        at = text.find("@", max(done, at + 1))


def _host_length(host: str) -> int:
    """Return how many characters of it are a domain under a top-level one; 0: none."""
    labels = host.partition("..")[0].rstrip(".-").split(".")
    while len(labels) > 1:
        top = labels[-1]
        if len(top) > 1 and (top.isalpha() or top[:4].lower() == "xn--"):
            break
        labels.pop()
    if len(labels) < 2 or labels[-1].lower() in _FILES:
        return 0
    if any(not label or len(label) > 63 or label[0] == "-" or label[-1] == "-" for label in labels):
        return 0
    return sum(map(len, labels)) + len(labels) - 1


# --- numbers ---

_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
#: Digits with what stands between groups of them. No part of it is repeated inside a repetition.
_RUN = re.compile(r"[+(0-9][-+()./ 0-9]{6,}")
_GROUP = re.compile(r"[0-9]+")
_GLUE = frozenset(_ASCII_WORD + "_")
#: Places of a group of digits: its first character, and behind its last.
_Group = tuple[int, int]


def _with_digits(text: str, least: int) -> str:
    """Return a text of the same length whose digits and their separators are ASCII; empty: it has fewer digits."""
    if not text.isascii():
        odd, plain = _odd_ones()
        text = odd.sub(lambda match: plain[match.group()], text)
    return text if len(text.encode("ascii", "replace").translate(None, _NOT_DIGITS)) >= least else ""


@functools.cache
def _odd_ones() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return what finds digits of other scripts, dashes and spaces of one character, and the plain form of each."""
    plain = {chr(code): str(unicodedata.decimal(chr(code), "")) for code in range(0x80, 0x10000)}
    plain = {character: digit for character, digit in plain.items() if digit}
    plain |= dict.fromkeys(map(chr, [0xAD, *range(0x2010, 0x2016), 0x2212]), "-")
    plain |= dict.fromkeys(map(chr, [0xA0, *range(0x2000, 0x200B), 0x202F]), " ")
    return re.compile(f"[{''.join(plain)}]"), plain


def _numbers(text: str, kinds: Collection[Kind], region: str | None) -> Iterator[Found]:
    phones = _Phones(text, region) if "phone" in kinds else None
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start < 13 and phones is None:
            continue
        groups = [match.span() for match in _GROUP.finditer(text, start, end)]
        digits = sum(behind - first for first, behind in groups)
        cards = list(_cards(text, groups)) if digits >= 13 else []
        if "card" in kinds:
            yield from cards
        if phones is not None and digits >= 7:
            yield from phones.find(groups, cards)


def _begins_alone(text: str, start: int, never_before: str = "") -> bool:
    """Whether digits from here on are a number, and no piece of a name, a path, a longer number or an amount."""
    if not start:
        return True
    before = text[start - 1]
    beyond = text[start - 2] if start > 1 else " "
    if before in _GLUE or before in never_before or (before in "-/" and beyond in _GLUE):
        return False
    return not (before in ".,:" and beyond.isdigit())


def _ends_alone(text: str, end: int, never_behind: str = "") -> bool:
    """Whether digits up to here are a number, and no piece of something longer."""
    behind = text[end : end + 2]
    if not behind:
        return True
    if behind[0] in "@%" or behind[0] in never_behind:
        return False
    if behind[0] in _GLUE:
        return behind[0] in "xX" and behind[1:].isdigit()  # an extension
    return not (behind[0] == "-" and behind[1:] in _GLUE) and not (behind[0] in ".,:" and behind[1:].isdigit())


# --- payment cards ---

#: Prefixes (first, last, of as many digits as these have) and lengths.
#: Sources: ISO/IEC 7812 for Luhn and at most 19 digits; the prefixes as github.com/braintree/credit-card-type has them
#: (card-types.ts, read in November 2026), which is kept up by a processor; Visa of 13 digits, RuPay, Troy and Dankort
#: as commonly listed (medium). Left out: Maestro's catch-all 6, which would make a card of any number with
#: a 6; JCB's 1800 and 2131 of 15 digits, out of use.
_ISSUERS: tuple[tuple[str, str, str, tuple[int, ...]], ...] = (
    ("American Express", "34", "34", (15,)),
    ("American Express", "37", "37", (15,)),
    ("Diners Club", "300", "305", (14, 16, 19)),
    ("Diners Club", "3095", "3095", (14, 16, 19)),
    ("Diners Club", "36", "36", (14, 16, 19)),
    ("Diners Club", "38", "39", (14, 16, 19)),
    ("JCB", "3528", "3589", (16, 17, 18, 19)),
    ("Visa", "4", "4", (13, 16, 18, 19)),
    ("Mastercard", "51", "55", (16,)),
    ("Mastercard", "2221", "2720", (16,)),
    ("Mir", "2200", "2204", (16, 17, 18, 19)),
    ("Verve", "506099", "506198", (16, 18, 19)),
    ("Verve", "507865", "507964", (16, 18, 19)),
    ("RuPay", "508", "508", (16,)),
    ("RuPay", "817", "822", (16,)),
    ("Elo", "509", "509", (16,)),
    ("Dankort", "5019", "5019", (16,)),
    ("Maestro", "5000", "5099", tuple(range(13, 20))),
    ("Maestro", "56", "59", tuple(range(13, 20))),
    ("Maestro", "63", "63", tuple(range(13, 20))),
    ("Maestro", "67", "67", tuple(range(13, 20))),
    ("Discover", "6011", "6011", (16, 19)),
    ("Discover", "644", "649", (16, 19)),
    ("Discover or RuPay", "65", "65", (16, 19)),
    ("RuPay", "60", "60", (16,)),
    ("UnionPay", "62", "62", tuple(range(14, 20))),
    ("UnionPay", "810", "817", tuple(range(14, 20))),
    ("Troy", "9792", "9792", (16,)),
)
_FIRST_DIGITS = frozenset(first[0] for _, first, _, _ in _ISSUERS)
#: What may stand between the groups of a card, the same between all.
_BETWEEN = frozenset({" ", "-", ".", "  ", " - "})
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def _cards(text: str, groups: Sequence[_Group]) -> Iterator[Found]:
    number = 0
    while number < len(groups):
        last, issuer = _card_at(text, groups, number)
        if issuer:
            yield Found(
                "card", groups[number][0], groups[last][1], f"a card number of {issuer} whose check digit is right"
            )
        number = last + 1


def _card_at(text: str, groups: Sequence[_Group], first: int) -> tuple[int, str]:
    """Return the last group and the issuer of the longest card that begins with a group; an empty issuer: none does."""
    start, behind = groups[first]
    found = first, ""
    if text[start] not in _FIRST_DIGITS or (behind - start < 3 and _goes_on(text, groups, first)):
        return found
    digits, between = "", None
    issuers: dict[int, str] | None = None
    sizes: list[int] = []
    for number in range(first, len(groups)):
        begin, end = groups[number]
        if number > first:
            gap = text[groups[number - 1][1] : begin]
            if gap not in _BETWEEN or between not in (None, gap):
                break
            between = gap
        sizes.append(end - begin)
        if end - begin + len(digits) > 19 or not _are_usual(sizes):
            break
        digits += text[begin:end]
        if len(digits) < 13:
            continue
        if issuers is None:
            issuers = _issuers_of(digits)
        if (
            len(digits) in issuers
            and _passes_luhn(digits)
            and _begins_alone(text, start)
            and _ends_alone(text, end)
            and not (len(digits) == 13 and _is_ean(digits))
            and not _end_of_iban(text, start, end)
        ):
            found = number, issuers[len(digits)]
    return found


def _goes_on(text: str, groups: Sequence[_Group], number: int) -> bool:
    """Whether a short group continues a row of short ones; a card in singles or pairs begins where its row does."""
    before, end = groups[number - 1] if number else (0, 0)
    return number > 0 and end - before < 3 and text[end : groups[number][0]] in _BETWEEN


def _issuers_of(digits: str) -> dict[int, str]:
    """Return who issues cards that begin with such digits (6 or more), by the length of their numbers."""
    found: dict[int, str] = {}
    for name, first, last, lengths in _ISSUERS:
        if first <= digits[: len(first)] <= last:
            for length in lengths:
                found.setdefault(length, name)
    return found


def _passes_luhn(digits: str) -> bool:
    backwards = digits[::-1].encode()
    return (sum(backwards[::2]) + sum(backwards[1::2].translate(_DOUBLED)) - len(digits) * 48) % 10 == 0


def _are_usual(sizes: Sequence[int]) -> bool:
    """Whether somebody would write a card in groups of such sizes: fours, singles, 4-6-5; no list of small numbers."""
    return min(sizes) >= 3 or (len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0])


def _is_ean(digits: str) -> bool:
    """Whether 13 digits end in the check digit of an article: far more of these are written than Visas of 13 digits."""
    return (sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))) % 10 == 0


_IBAN_HEAD = re2.compile(rb"\b[A-Z]{2}[0-9]{2}")


def _end_of_iban(text: str, start: int, end: int) -> int:
    """Return where an account number (ISO 13616) with right check digits ends that holds the place; 0: none does."""
    # 34 characters and 8 spaces at most. Asked of what has passed every other test, so seldom.
    low = max(0, start - 42)
    around = text[low : start + 42].encode("ascii", "replace").upper()  # as bytes, which upper() never makes longer
    for head in _IBAN_HEAD.finditer(around):
        if head.start() + low > start:
            break
        # Two letters and two digits at the end of the rest, letters from 10 on: the remainder by 97 has to be 1.
        behind = int("".join(str(int(chr(each), 36)) for each in around[head.start() : head.end()]))
        remainder, length = 0, 4
        for place in range(head.end(), len(around)):
            character = chr(around[place])
            if character.isalnum():
                value = int(character, 36)
                remainder = (remainder * (10 if value < 10 else 100) + value) % 97
                length += 1
            elif character not in " -":
                break
            if place + low >= end - 1 and 15 <= length <= 34 and (remainder * 1_000_000 + behind) % 97 == 1:
                return place + low + 1
    return 0


# --- phone numbers ---

#: Between two groups of one number. " / " stands between two numbers.
_JOINS = frozenset({" ", "-", ".", "/", "  ", " - ", ")", ") ", ")-", " (", "(", ")(", ") (", ")/", "-(", ") - "})
#: Who writes one of these before some digits means a phone number. Letters with accents are question marks by then.
_CALL = re2.compile(
    rb"(?i)\b(?:t[e?]l\b|t[e?]l[e?](?:ph|f)|phone|fono?\b|mobil|m[o?]vil|cell|call\b|calling|celular|handy\b|ruf|anruf|"
    rb"festnetz|appel|portable\b|llam|chiam|zadzwo|kom[o?]rk|bel\b|bellen\b|gsm\b|whatsapp|sms\b|fax\b|ligar|ligue|"
    rb"(?:my|meine|mon|mi|mio|meu|mijn|m[o?]j) n[u?]m)"
)
_CURRENCIES = "$€£¥₹₽₺₩¢#=&*~^\\"


@functools.cache
def _library() -> ModuleType:
    """Return phonenumbers: 50 ms and some megabytes, for those who look for phone numbers."""
    import phonenumbers

    return phonenumbers


@functools.cache
def _trunk(region: str) -> str:
    """Return what people of a region dial before a number inside the country: mostly 0; empty where it is nothing."""
    return _library().ndd_prefix_for_region(region, True) or ""


@functools.cache
def _lengths(region: str) -> tuple[int, int]:
    """Return how few and how many digits a number has where it is dialled, at least 7: prefixes may add some."""
    metadata = _library().PhoneMetadata.metadata_for_region(region)
    lengths = metadata.general_desc.possible_length if metadata is not None else (7, 13)
    return max(7, min(lengths)), min(14, max(lengths) + len(_trunk(region)) + 2)


class _Phones:
    """Phone numbers of one text, with the lookups that are left for it."""

    def __init__(self, text: str, region: str | None) -> None:
        self._text = text
        self._region = region
        self._trunk = _trunk(region) if region is not None else ""
        self._left = MAX_LOOKUPS

    def find(self, groups: Sequence[_Group], cards: Sequence[Found]) -> Iterator[Found]:
        """Find those that begin with one of a run's groups, beside the cards of the run."""
        taken = self._taken(groups, cards)
        number = 0
        while number < len(groups):
            found = None if number in taken else self._at(groups, number, taken)
            if found is None:
                number += 1
                continue
            yield found
            while number < len(groups) and groups[number][0] < found.end:
                number += 1

    def _taken(self, groups: Sequence[_Group], cards: Sequence[Found]) -> set[int]:
        """Return which groups belong to something else: dates, cards, an account."""
        taken = _dates(self._text, groups)
        start, end = groups[0]
        if start > 1 and self._text[start - 2 : start].isalpha():
            account = _end_of_iban(self._text, start, end)
            taken.update(number for number, group in enumerate(groups) if group[0] < account)
        left = iter(cards)
        card = next(left, None)
        for number, (low, _) in enumerate(groups):
            while card is not None and card.end <= low:
                card = next(left, None)
            if card is not None and card.start <= low:
                taken.add(number)
        return taken

    def _at(self, groups: Sequence[_Group], first: int, taken: Collection[int]) -> Found | None:
        text = self._text
        begin = groups[first][0]
        head = text[max(0, begin - 2) : begin]
        zeros = text[begin : begin + 2] == "00" and text[begin + 2 : begin + 3] not in ("", "0")
        abroad = head.endswith("+") or head == "+(" or zeros
        never_beside = "" if abroad else _CURRENCIES
        if not abroad and self._region is None:
            return None
        start = begin - (2 if head in ("(+", "+(") else head[-1:] in ("+", "("))
        if not _begins_alone(text, start, never_beside):
            return None
        ends = self._ends(groups, first, taken, abroad=abroad)
        if not ends:
            return None
        has_trunk = is_announced = False
        if not abroad:
            # Without a trunk prefix, 9 digits in Spain are as good an order number: a word or the usual spaces tell.
            has_trunk = bool(self._trunk) and self._dials_trunk(groups[first])
            is_announced = (not has_trunk or self._trunk == "1") and self._is_announced(begin)
            if not (has_trunk or is_announced) and (self._trunk.startswith("0") or ends[0] == first):
                return None
        possible: Found | None = None
        for last in ends:
            end = groups[last][1]
            if text[start] == "(" and ")" not in text[start:end]:
                start += 1  # it encloses the number, or more
            if not _ends_alone(text, end, never_beside):
                continue
            digits = "".join(text[low:high] for low, high in groups[first : last + 1])
            if abroad:
                good = self._is_valid("+" + digits[2 * zeros :], None)
                if not good and possible is None and not zeros and self._is_possible(digits):
                    possible = Found("phone", start, end, "a possible phone number with country code")
            elif is_announced or (has_trunk and (last > first or self._trunk != "1")):
                good = self._is_valid(digits, self._region)
            else:
                good = last > first and self._is_spaced(digits, groups[first : last + 1])
            if good and not _end_of_iban(text, begin, end):
                where = "with country code" if abroad else f"of {self._region}"
                return Found("phone", start, end, f"a valid phone number {where}")
        # Plans change, and some numbers are set aside: nobody writes + and a country for anything else.
        return possible

    def _ends(self, groups: Sequence[_Group], first: int, taken: Collection[int], *, abroad: bool) -> list[int]:
        """Return with which groups a number may end, the longest first, by the number of its digits."""
        ends: list[int] = []
        digits = 0
        least, most = (7, 17) if abroad or self._region is None else _lengths(self._region)
        for number in range(first, len(groups)):
            low, high = groups[number]
            digits += high - low
            if digits > most or number in taken:
                break
            if number > first and self._text[groups[number - 1][1] : low] not in _JOINS:
                break
            # A single digit behind longer groups is a check digit (of a book), no end of a phone number.
            if digits >= least and not (high - low == 1 and digits > number - first + 1):
                ends.append(number)
        return ends[:-5:-1]

    def _dials_trunk(self, group: _Group) -> bool:
        """Whether a number begins with what is dialled before numbers inside the country."""
        low, high = group
        if self._trunk == "1":  # in North America, where it stands alone; "18.2.1" does not begin with it
            return self._text[low] == "1" and high - low in (1, 11)
        # "0.22.7005" is a version, "0-306-40615-2" a book.
        return self._text.startswith(self._trunk, low) and not (high - low == 1 and self._text[high : high + 1] in ".-")

    def _is_possible(self, digits: str) -> bool:
        """Whether a number with country code is as long as numbers there are."""
        library = _library()
        try:
            return len(digits) > 7 and bool(library.is_possible_number(library.parse("+" + digits, None)))
        except library.NumberParseException:
            return False

    def _is_valid(self, digits: str, region: str | None) -> bool:
        if self._left <= 0:
            return True
        self._left -= 1
        library = _library()
        try:
            return bool(library.is_valid_number(library.parse(digits, region)))
        except library.NumberParseException:
            return False

    def _is_announced(self, start: int) -> bool:
        return _CALL.search(self._text[max(0, start - 32) : start].encode("ascii", "replace")) is not None

    def _is_spaced(self, digits: str, groups: Sequence[_Group]) -> bool:
        """Whether it is valid, in groups as the region writes such a number."""
        if not self._is_valid(digits, self._region) or self._left <= 0:
            return self._left <= 0
        library = _library()
        usual = library.format_number(library.parse(digits, self._region), library.PhoneNumberFormat.NATIONAL)
        return [len(group) for group in _GROUP.findall(usual)] == [high - low for low, high in groups]


def _dates(text: str, groups: Sequence[_Group]) -> set[int]:
    """Return which groups belong to dates such as 24.12.2026 or 2026-12-24, and to times behind them."""
    found: set[int] = set()
    for number in range(len(groups) - 2):
        (a, b), (c, d), (e, f) = groups[number : number + 3]
        mark = text[b:c]
        if mark not in (".", "-", "/") or text[d:e] != mark:
            continue
        if text[f : f + 1] == mark and text[f + 1 : f + 2].isdigit():
            continue  # more pairs, as of a French number
        if text[a - 1 : a] == mark and text[a - 2 : a - 1].isdigit():
            continue
        sizes = (b - a, d - c, f - e)
        if sizes[0] == 4 and max(sizes[1:]) <= 2:
            month, day = int(text[c:d]), int(text[e:f])
        elif max(sizes[:2]) <= 2 and sizes[2] in (2, 4):
            month, day = sorted((int(text[a:b]), int(text[c:d])))
        else:
            continue
        if 1 <= month <= 12 and 1 <= day <= 31:
            found |= {number, number + 1, number + 2}
    return found
