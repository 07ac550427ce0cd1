"""
Makes the corpora of personal data: `python -m tests.corpora.make`. The same every time.

Benign: what guests write that looks like personal data and is none, one text a line, `benign/LANGUAGE.txt`. Positive:
`personal.jsonl`, each with the region of its writer and the places that have to be found.

Nobody's data: domains are those of RFC 2606; cards are the test numbers that processors publish, or random ones with
a right check digit; phone numbers are those set aside for films, and the examples of libphonenumber; keys are random.
The first letter of a key is escaped in the file: hosters of source code refuse what looks like a key.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.corpora.sentences import AROUND, BENIGN, PERSONAL, REGIONS

HERE = Path(__file__).parent
BENIGN_LINES = 540
"""For each language."""
EMAILS, CARDS, KEYS = 520, 640, 480
PHONE_LINES = 2
"""For each spelling of each number."""

#: Alphabets of tokens.
LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
ALL = LOWER + UPPER + DIGITS

#: Region, number with country code, number inside the country. First those set aside for films by regulators (Ofcom,
#: ACMA, BNetzA, ARCEP, ComReg, PTS, and NANPA's 555-01xx), then libphonenumber's published examples.
PHONES = (
    ("US", "+1 202-555-0123", "(202) 555-0123"),
    ("US", "+1 415-555-0199", "415-555-0199"),
    ("GB", "+44 20 7946 0123", "020 7946 0123"),
    ("GB", "+44 7700 900123", "07700 900123"),
    ("AU", "+61 491 570 006", "0491 570 006"),
    ("AU", "+61 2 5550 1234", "(02) 5550 1234"),
    ("DE", "+49 30 23125123", "030 23125123"),
    ("DE", "+49 171 3920012", "0171 3920012"),
    ("FR", "+33 1 99 00 12 34", "01 99 00 12 34"),
    ("FR", "+33 6 39 98 12 34", "06 39 98 12 34"),
    ("IE", "+353 20 910 1234", "020 910 1234"),
    ("SE", "+46 8 465 004 12", "08-465 004 12"),
    ("CA", "+1 506-234-5678", "(506) 234-5678"),
    ("DE", "+49 1512 3456789", "01512 3456789"),
    ("AT", "+43 664 123456", "0664 123456"),
    ("CH", "+41 78 123 45 67", "078 123 45 67"),
    ("FR", "+33 6 12 34 56 78", "06 12 34 56 78"),
    ("BE", "+32 450 00 12 34", "0450 00 12 34"),
    ("NL", "+31 6 12345678", "06 12345678"),
    ("NL", "+31 10 123 4567", "010 123 4567"),
    ("ES", "+34 612 34 56 78", "612 34 56 78"),
    ("ES", "+34 810 12 34 56", "810 12 34 56"),
    ("PT", "+351 912 345 678", "912 345 678"),
    ("PT", "+351 21 234 5678", "21 234 5678"),
    ("IT", "+39 312 345 6789", "312 345 6789"),
    ("IT", "+39 02 1234 5678", "02 1234 5678"),
    ("PL", "+48 512 345 678", "512 345 678"),
    ("CZ", "+420 601 123 456", "601 123 456"),
    ("HU", "+36 20 123 4567", "06 20 123 4567"),
    ("NO", "+47 40 61 23 45", "40 61 23 45"),
    ("DK", "+45 34 41 23 45", "34 41 23 45"),
    ("FI", "+358 41 2345678", "041 2345678"),
    ("GR", "+30 691 234 5678", "691 234 5678"),
    ("TR", "+90 501 234 56 78", "0501 234 56 78"),
    ("RU", "+7 912 345-67-89", "8 (912) 345-67-89"),
    ("UA", "+380 50 123 4567", "050 123 4567"),
    ("IL", "+972 50-234-5678", "050-234-5678"),
    ("AE", "+971 50 123 4567", "050 123 4567"),
    ("IN", "+91 81234 56789", "081234 56789"),
    ("JP", "+81 90-1234-5678", "090-1234-5678"),
    ("KR", "+82 10-2000-0000", "010-2000-0000"),
    ("NZ", "+64 21 123 4567", "021 123 4567"),
    ("BR", "+55 11 96123-4567", "(11) 96123-4567"),
    ("MX", "+52 222 123 4567", "222 123 4567"),
    ("AR", "+54 9 11 2345-6789", "011 15-2345-6789"),
    ("ZA", "+27 71 123 4567", "071 123 4567"),
    ("EG", "+20 10 01234567", "010 01234567"),
    ("NG", "+234 802 123 4567", "0802 123 4567"),
    ("CN", "+86 131 2345 6789", "131 2345 6789"),
    ("SG", "+65 8123 4567", "8123 4567"),
)

#: Published by processors (Stripe, Adyen, PayPal, Braintree) for tests.
TEST_CARDS = (
    "4242424242424242",
    "4000056655665556",
    "4111111111111111",
    "4012888888881881",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "3056930009020004",
    "36227206271667",
    "3566002020360505",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
    "38520000023237",
)
#: Prefix and length of random ones.
CARD_SHAPES = (
    ("4", 16),
    ("4", 19),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("305", 14),
    ("6011", 16),
    ("65", 16),
    ("3528", 16),
    ("62", 16),
    ("62", 19),
    ("2200", 16),
    ("5018", 16),
    ("6304", 19),
)


class Maker:
    """Random things that are the same every time."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)  # noqa: S311 - nothing here is a secret

    def some(self, alphabet: str, length: int) -> str:
        """Return so many characters."""
        return "".join(self.random.choices(alphabet, k=length))

    def number(self, length: int) -> str:
        """Return so many digits, the first no zero."""
        return self.some(DIGITS[1:], 1) + self.some(DIGITS, length - 1)

    def order(self) -> str:
        """Write an order number as shops do."""
        return self.random.choice(
            (
                lambda: self.number(6),
                lambda: self.number(8),
                lambda: self.number(9),
                lambda: self.number(10),
                lambda: self.number(12),
                lambda: self.number(16),
                lambda: f"00{self.number(8)}",
                lambda: f"{self.some(UPPER, 2)}-{self.number(6)}",
                lambda: f"{self.number(3)}-{self.number(7)}-{self.number(7)}",
                lambda: f"2026-{self.number(5)}",
                lambda: f"#{self.number(7)}",
                lambda: f"{self.number(4)}/{self.number(6)}",
                lambda: f"W{self.number(9)}",
                lambda: f"{self.number(3)} {self.number(3)} {self.number(3)}",
            )
        )()

    def id(self) -> str:
        """Write an id or a digest."""
        return self.random.choice(
            (
                lambda: str(UUID(int=self.random.getrandbits(128), version=4)),
                lambda: str(UUID(int=self.random.getrandbits(128), version=4)).upper(),
                lambda: self.some("0123456789abcdef", 40),
                lambda: self.some("0123456789abcdef", 64),
                lambda: self.some("0123456789abcdef", 12),
                lambda: f"0x{self.some('0123456789ABCDEF', 8)}",
                lambda: f"req_{self.some(ALL, 14)}",
                lambda: f"17{self.number(11)}",
                lambda: f"17{self.number(8)}",
                lambda: f"2026{self.random.randint(1, 12):02}{self.random.randint(1, 28):02}{self.number(6)}",
                lambda: f"35{self.number(13)}",
                lambda: f"task-{self.some(LOWER, 6)}-{self.number(3)}-{self.some(LOWER, 8)}",
            )
        )()

    def price(self) -> str:
        """Write an amount of money."""
        whole, cents = self.random.randint(1, 9_999_999), self.random.randint(0, 99)
        grouped = f"{whole:,}"
        return self.random.choice(
            (
                f"${grouped}.{cents:02}",
                f"{grouped.replace(',', '.')},{cents:02} €",
                f"{grouped.replace(',', ' ')} €",
                f"EUR {whole},{cents:02}",
                f"{whole % 1000},{cents:02} zł",
                f"£{whole % 1000}.{cents:02}",
                f"{whole % 100000}.{cents:02}",
                f"{grouped.replace(',', ' ')},{cents:02} kr",
                f"CHF {whole % 10000}.-",
            )
        )

    def when(self) -> str:
        """Write a date, a time, or both."""
        y, m, d = self.random.randint(2019, 2027), self.random.randint(1, 12), self.random.randint(1, 28)
        h, n = self.random.randint(0, 23), self.random.randint(0, 59)
        return self.random.choice(
            (
                f"{d:02}.{m:02}.{y}",
                f"{d}.{m}.{y % 100}",
                f"{y}-{m:02}-{d:02}",
                f"{m:02}/{d:02}/{y}",
                f"{d:02}-{m:02}-{y}",
                f"{h:02}:{n:02}",
                f"{h}.{n:02}",
                f"{y}-{m:02}-{d:02} {h:02}:{n:02}",
                f"{y}-{m:02}-{d:02}T{h:02}:{n:02}:00Z",
                f"{d:02}.{m:02}.{y} {h:02}:{n:02}",
                f"{d:02}.{m:02}. - {d:02}.{m % 12 + 1:02}.{y}",
                f"{d}/{m}/{y}",
                f"{h:02}:{n:02} - {(h + 2) % 24:02}:{n:02}",
            )
        )

    def bank(self) -> str:
        """Write an account number (IBAN) with right check digits, in fours or not."""
        country, length = self.random.choice((("DE", 18), ("FR", 23), ("ES", 20), ("PL", 24), ("PT", 21), ("AT", 16)))
        account = self.some(DIGITS, length)
        value = int(account + "".join(str(int(letter, 36)) for letter in country) + "00")
        iban = f"{country}{98 - value % 97:02}{account}"
        return iban if self.random.random() < 0.4 else " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))

    def parcel(self) -> str:
        """Write a number of a carrier's."""
        return self.random.choice(
            (
                lambda: f"1Z{self.some(UPPER + DIGITS, 6)}{self.number(10)}",
                lambda: f"00340434{self.number(12)}",
                lambda: f"{self.some(UPPER, 2)}{self.number(9)}DE",
                lambda: self.number(12),
                lambda: self.number(14),
                lambda: f"9400 1{self.number(3)} {self.number(4)} {self.number(4)} {self.number(4)} {self.number(2)}",
                lambda: f"JJD{self.number(18)}",
                lambda: f"{self.number(4)} {self.number(4)} {self.number(4)}",
            )
        )()

    def code(self) -> str:
        """Write a short code, a voucher, a PIN."""
        return self.random.choice(
            (
                lambda: self.number(4),
                lambda: self.number(5),
                lambda: self.number(6),
                lambda: f"{self.number(3)} {self.number(3)}",
                lambda: f"{self.number(3)}-{self.number(3)}",
                lambda: f"{self.some(UPPER, 4)}-{self.number(4)}-{self.some(UPPER, 4)}",
                lambda: self.random.choice(("112", "911", "116 117", "110")),
            )
        )()

    def version(self) -> str:
        """Write a version, an address of a machine, a package."""
        a, b, c = (self.random.randint(0, 30) for _ in range(3))
        return self.random.choice(
            (
                f"{a}.{b}.{c}",
                f"v{a}.{b}",
                f"10.0.{self.number(5)}.{self.number(4)}",
                f"{a}.{b}.{c}-rc.{b}",
                f"192.168.{a}.{b}",
                f"react@{a}.{b}.{c}",
                f"2026.{b % 12 + 1:02}.{a:02}.{c}",
                f"build {self.number(8)}",
                f"logo@{b % 3 + 2}x.png",
                f"{a}.{b}.{self.number(4)}.{self.number(3)}",
            )
        )

    def link(self) -> str:
        """Write an address of a page, or a handle."""
        slug = "-".join(self.random.choices(("blue", "shoes", "sk-II", "lamp", "no", "desk", "set", "2026"), k=4))
        return self.random.choice(
            (
                lambda: f"https://shop.example.com/p/{self.number(9)}",
                lambda: f"https://www.example.org/{slug}-{self.number(10)}.html",
                lambda: f"https://example.com/cart?id={self.number(10)}&utm_source=mail",
                lambda: f"www.example.net/orders/{self.number(16)}",
                lambda: f"https://maps.example.com/@{self.number(2)}.{self.number(5)},13.{self.number(6)},17z",
                lambda: f"https://social.example.com/@{self.some(LOWER, 7)}",
                lambda: f"@{self.some(LOWER, 8)}.shop",
                lambda: f"https://cdn.example.com/{self.some(ALL, 22)}/{self.number(13)}.jpg",
            )
        )()

    def book(self) -> str:
        """Write an ISBN or an EAN with its check digit."""
        head = self.random.choice(("978", "979", "400", "401", "500", "501", "590", "843", "800", "560", "871"))
        body = head + self.some(DIGITS, 9)
        ean = body + str(-(sum(map(int, body[::2])) + 3 * sum(map(int, body[1::2]))) % 10)
        ten = self.some(DIGITS, 9)
        check = sum((10 - at) * int(digit) for at, digit in enumerate(ten))
        mark = "0123456789X"[-check % 11]
        return self.random.choice(
            (ean, f"978-3-{ean[4:6]}-{ean[6:12]}-{ean[12]}", ten + mark, f"{ten[0]}-{ten[1:4]}-{ten[4:9]}-{mark}")
        )

    def car(self) -> str:
        """Write a licence plate."""
        return self.random.choice(
            (
                lambda: f"{self.some(UPPER, 2)} {self.number(3)} {self.some(UPPER, 2)}",
                lambda: f"B-{self.some(UPPER, 2)} {self.number(4)}",
                lambda: f"{self.number(4)} {self.some('BCDFGHJK', 3)}",
                lambda: f"{self.some(UPPER, 2)}{self.number(2)} {self.some(UPPER, 3)}",
                lambda: f"{self.number(2)}-{self.some(UPPER, 2)}-{self.number(2)}",
                lambda: f"{self.some(UPPER, 3)} {self.number(5)}",
            )
        )()

    def part(self) -> str:
        """Write a model, a size, a place."""
        a, b, c = (self.random.randint(2, 240) for _ in range(3))
        return self.random.choice(
            (
                f"{a} x {b} x {c} cm",
                f"{self.some(UPPER, 2)}{self.number(4)}/{self.number(2)}",
                f"{a}-{b}",
                f"{a}/{b} R{c % 9 + 14}",
                f"{self.some(UPPER, 1)}{self.number(3)}-{self.number(4)}",
                f"{a % 90}.{self.number(6)}, {b % 180}.{self.number(6)}",
                f"{self.number(3)}.{self.number(3)}.{self.number(2)}",
                f"sk-{self.some(LOWER, 6)}-{self.some(LOWER, 9)}-{a}",
            )
        )

    def plain(self) -> str:
        """Nothing."""
        return ""

    def email(self, language: str) -> str:
        """Write an address at a domain that nobody can have."""
        names = (
            "anna",
            "j.smith",
            "k_meyer",
            "o'brien",
            "x",
            "info",
            "first.last",
            "a-b",
            "user1234",
            "M.Rossi",
            "zoë",
            "müller",
        )
        plus = self.random.choice(("", "", "", "+news", "+2026", "%list"))
        host = self.random.choice(
            (
                "example.com",
                "example.org",
                "mail.example.net",
                "sub.dept.example.co.uk",
                "EXAMPLE.COM",
                "bücher.example",
                "xn--bcher-kva.example",
                "my-shop.example.de",
                "example.museum",
                "123.example.fr",
            )
        )
        return f"{self.random.choice(names)}{self.some(DIGITS, self.random.choice((0, 0, 2)))}{plus}@{host}"

    def card(self, language: str) -> str:
        """Write a card's number in one of the usual ways."""
        if self.random.random() < 0.4:
            digits = self.random.choice(TEST_CARDS)
        else:
            prefix, length = self.random.choice(CARD_SHAPES)
            digits = prefix + self.some(DIGITS, length - 1 - len(prefix))
            digits += next(last for last in DIGITS if luhn(digits + last))
        by = (4, 6, 5) if len(digits) in (14, 15) else (4, 4, 4, 4, 4)
        groups, at = [], 0
        for size in by:
            groups.append(digits[at : at + size])
            at += size
        between = self.random.choice(("", "", " ", " ", "-", ".", " - ", "\u00a0", "1"))
        return " ".join(digits) if between == "1" else between.join(filter(None, groups))

    def api_key(self, language: str) -> str:
        """Write a key of a service."""
        head = "-----BEGIN PRIVATE KEY-----"
        return self.random.choice(
            (
                lambda: "AKIA" + self.some(UPPER + "234567", 16),
                lambda: "ASIA" + self.some(UPPER + "234567", 16),
                lambda: f"gh{self.some('pousr', 1)}_" + self.some(ALL, 36),
                lambda: f"github_pat_{self.some(ALL, 22)}_{self.some(ALL, 59)}",
                lambda: f"xox{self.some('bp', 1)}-{self.number(12)}-{self.number(12)}-{self.some(ALL, 24)}",
                lambda: "sk_live_" + self.some(ALL, 24),
                lambda: "rk_live_" + self.some(ALL, 99),
                lambda: "AIza" + self.some(ALL + "-_", 35),
                lambda: "sk-" + self.some(ALL, 48),
                lambda: "sk-proj-" + self.some(ALL + "-_", 120) + "x",
                lambda: "sk-" + self.some("0123456789abcdef", 32),
                lambda: f"eyJhbGciOiJIUzI1NiJ9.eyJ{self.some(ALL, 60)}.{self.some(ALL + '-_', 42)}x",
                lambda: f"{head}\n{self.some(ALL, 64)}\n{self.some(ALL, 30)}==\n{head.replace('BEGIN', 'END')}",
                lambda: f"-----BEGIN OPENSSH PRIVATE KEY-----\n{self.some(ALL, 70)}\n{self.some(ALL, 70)}",
            )
        )()

    def sentence(self, language: str, sentence: str) -> str:
        """Put a greeting before and thanks behind."""
        before, behind = AROUND[language]
        return self.random.choice(before) + sentence + self.random.choice(behind)


def luhn(digits: str) -> bool:
    """Whether the check digit is right: by the definition, digit by digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def spellings(abroad: str, inside: str) -> Iterator[tuple[str, bool]]:
    """Yield how people write a number, and whether it says its country."""
    bare = re.sub(r"[^0-9]", "", abroad)
    yield abroad, True
    yield f"+{bare}", True
    yield f"00{bare}", True
    yield f"00 {abroad[1:]}", True
    yield abroad.replace(" ", "-"), True
    yield re.sub(r"[ -]", ".", abroad), True
    code, _, rest = abroad.partition(" ")
    yield f"({code}) {rest}", True
    if inside.startswith("0") and code not in ("+39", "+36"):  # Italy's 0 is dialled from abroad too, Hungary has 06
        yield f"{code} (0){rest}", True
    yield inside, False
    yield re.sub(r"[^0-9]", "", inside), False
    yield re.sub(r"[ -]+", ".", re.sub(r"[()]", "", inside)), False
    yield re.sub(r"[ .]+", "-", re.sub(r"[()]", "", inside)), False
    if inside.startswith("0") and " " in inside:
        yield inside.replace(" ", "/", 1), False


def benign(language: str) -> Iterator[str]:
    """Yield texts that hold nothing personal."""
    maker = Maker(f"benign {language}")
    kinds = list(BENIGN[language])
    for number in range(BENIGN_LINES):
        kind = kinds[number % len(kinds)]
        value: Callable[[], str] = getattr(maker, kind)
        template = maker.random.choice(BENIGN[language][kind])
        yield maker.sentence(language, template.format(*(value() for _ in range(template.count("{}")))))


def positive() -> Iterator[dict[str, Any]]:
    """Yield texts with what has to be found in them."""
    maker = Maker("personal")
    languages = list(PERSONAL)

    def line(kind: str, language: str, value: str, region: str) -> dict[str, Any]:
        text = maker.sentence(language, maker.random.choice(PERSONAL[language][kind]).format("\x00"))
        start = text.index("\x00")
        text = text.replace("\x00", value)
        return {"text": text, "region": region, "spans": [[kind, start, start + len(value)]]}

    for kind, count in (("email", EMAILS), ("card", CARDS), ("api_key", KEYS)):
        for number in range(count):
            language = languages[number % len(languages)]
            yield line(kind, language, getattr(maker, kind)(language), REGIONS[language])
    home = {region: language for language, region in REGIONS.items()}
    for region, abroad, inside in PHONES:
        for value, says_country in spellings(abroad, inside):
            for _ in range(PHONE_LINES):
                language = home.get(region) or maker.random.choice(languages)
                yield line("phone", language, value, REGIONS[language] if says_country else region)


def written(entry: dict[str, Any]) -> str:
    """Write an entry as a line of the file; the first letter of a key escaped."""
    kind, start, _ = entry["spans"][0]
    if kind != "api_key":
        return json.dumps(entry, ensure_ascii=False)
    head, tail = json.dumps(entry["text"][:start], ensure_ascii=False)[:-1], entry["text"][start:]
    text = f"{head}\\u{ord(tail[0]):04x}{json.dumps(tail[1:], ensure_ascii=False)[1:]}"
    return f'{{"text": {text}, {json.dumps({name: entry[name] for name in ("region", "spans")})[1:]}'


def files() -> dict[Path, str]:
    """Return every file with what it holds."""
    made = {
        HERE / "benign" / f"{language}.txt": "".join(f"{text}\n" for text in benign(language)) for language in BENIGN
    }
    return made | {HERE / "personal.jsonl": "".join(f"{written(entry)}\n" for entry in positive())}


if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, "utf-8")
