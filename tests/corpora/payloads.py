"""
Bad messages: what programs, files and command lines hand in when they are wrong, careless or hostile.

Everything is made by rule, the same every time: each field with each value. What stands in a value that is text holds
`CANARY`, which no error may quote.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from guestwire.answers import Answer, Choice, quick_reply
from guestwire.model import Attachment, Delivery, Profile, RemoteFile

CANARY: Final = "Kartennummer"
NOON: Final = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


class Payload(NamedTuple):
    """Something that somebody hands in."""

    name: str
    values: dict[str, Any]
    rule: str | None = None
    """That has to refuse it; None: nothing is said of it beforehand."""
    fits: bool = False
    """It has to be accepted."""


_ESC = "\x1b"
INJECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "sql": (
        "' OR '1'='1",
        "'; DROP TABLE parts; --",
        '" UNION SELECT sql FROM sqlite_master --',
        "1); ATTACH DATABASE '/tmp/x' AS x; --",
        "\\'; PRAGMA writable_schema=1; --",
        "?1 :name @name $name",
    ),
    "shell": (
        "$(reboot)",
        "`id`",
        "; rm -rf / #",
        "| nc 127.0.0.1 1",
        "&& true",
        "${IFS}cat${IFS}/etc/passwd",
        "$HOME ~root *",
        "--help",
        "-rf",
        "@/etc/passwd",
        "() { :;}; echo",
    ),
    "html": (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<iframe src=javascript:alert(1)>",
        "javascript:alert(1)",
        "</textarea><b>",
        "<!--",
        "<![CDATA[",
        "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>&b;",
        "&#60;script&#62;",
        "<a href='//x.example'>x</a>",
        "<math><mtext></mtext>",
    ),
    "template": (
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
        "<%= 7*7 %>",
        "{0.__class__}",
        "%(x)s %s %n",
        "{{constructor}}",
        "$${x}",
    ),
    "lookup": (
        "${jndi:ldap://x.example/a}",
        "%x" * 20,
        "__proto__",
        "constructor.prototype",
        "\\u0000",
        "%00",
        "%0d%0a",
    ),
    "formula": (
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "=cmd|' /C calc'!A0",
        "＝1",
        "＠x",
        '=HYPERLINK("x")',
    ),
    "terminal": (
        f"{_ESC}[2J",
        f"{_ESC}[31m",
        f"{_ESC}]0;title\x07",
        f"{_ESC}]52;c;eA==\x07",
        f"{_ESC}[6n",
        "\x9b2J",
        "\x07" * 5,
        "\b" * 5,
        "\r",
        "\x85",
        "\u2028",
        "\u2029",
        f"{_ESC}P+q\x1b\\",
    ),
    "lines": (
        "a\r\nSet-Cookie: x",
        "a\nINFO all is well",
        "a\r\n\r\nHTTP/1.1 200 OK",
        "\n",
        "\r\n",
        "a\x0bb\x0cc",
        "\x1c\x1d\x1e\x1f",
    ),
    "path": ("../../etc/passwd", "/etc/passwd", "C:\\x", "\\\\host\\x", "file:///etc/passwd", "con.txt", ".", ".."),
    "unicode": (
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff\ud800",
        "\ud83d\ude00",
        "\ufffe\uffff",
        "\ufeff",
        "\u202e",
        "\u2066\u2069",
        "\u200b" * 50,
        "\u0301" * 50,
        "Z" + "\u0301\u0316" * 100,
        "\u00a0\u3000\u2003",
        "\u115f\u3164\uffa0",
        "👨‍👩‍👧‍👦" * 20,
        "🇩🇪" * 20,
        "\U000e0041\U000e007f",
        "\ufdfa" * 50,
        "İıſßŉ",
        "\U0010ffff",
        "\ue000",
        "ａｂｃ",
        "٠١٢",
        "\u1100\u1161\u11a8" * 20,
    ),
    "numbers": (
        "NaN",
        "Infinity",
        "-0",
        "1e999",
        "0x10",
        "1_000",
        "٣",
        "9" * 5_000,
        "true",
        "null",
        "None",
        "[]",
        "{}",
    ),
    "address": (
        "https://[::1",
        "http://[",
        "https://\u2100.example/",
        "http://x:99999/",
        "http://",
        "//x/..%2f",
        "a:b@c",
    ),
    "markup": ("[" * 500, "(" * 500, "`" * 501, "](" * 300, "*" * 500, '"' * 500, "\\" * 501, "{" * 500, "&" * 500),
    "long": (
        "a" * 5_000,
        "a " * 3_000,
        "é" * 3_000,
        "😀" * 2_000,
        "\t" * 3_000,
        "http://" + "a." * 2_000,
        "a@" * 2_000,
    ),
    "empty": ("", " ", "\t", "\u200b", "\u0301", "\u2800"),
}
#: Each text with what it is; what would change its meaning has no canary.
STRINGS: Final = tuple(
    (f"{kind} {number}", text if kind in ("empty", "numbers") else f"{text}{CANARY}")
    for kind, texts in INJECTIONS.items()
    for number, text in enumerate(texts)
)


class Derived(str):
    """Text of a program's own making."""

    __slots__ = ()


def nested(depth: int, inner: Any = CANARY) -> Any:
    """Lists in lists."""
    value = inner
    for _ in range(depth):
        value = [value]
    return value


def things() -> Iterator[tuple[str, Any]]:
    """Values that are no text."""
    yield from (
        ("None", None),
        ("True", True),
        ("False", False),
        ("0", 0),
        ("-1", -1),
        ("10", 10),
        ("2**63", 2**63),
        ("-2**63-1", -(2**63) - 1),
        ("10**5000", 10**5000),
        ("0.5", 0.5),
        ("5.0", 5.0),
        ("nan", float("nan")),
        ("inf", float("inf")),
        ("-inf", float("-inf")),
        ("1e300", 1e300),
        ("-1e300", -1e300),
        ("5e-324", 5e-324),
        ("complex", 1j),
        ("decimal", decimal.Decimal("NaN")),
        ("bytes", CANARY.encode()),
        ("bad bytes", b"\xff\xfe" + CANARY.encode()),
        ("bytearray", bytearray(CANARY.encode())),
        ("memoryview", memoryview(CANARY.encode())),
        ("derived text", Derived(CANARY)),
        ("dict of derived text", {Derived("a"): Derived(CANARY)}),
        ("list", [CANARY]),
        ("empty list", []),
        ("tuple", (CANARY,)),
        ("set", {CANARY}),
        ("dict", {"a": CANARY}),
        ("empty dict", {}),
        ("dict of numbers", {"a": 1}),
        ("numbered dict", {1: CANARY}),
        ("dict of None", {"a": None}),
        ("dict of dicts", {"a": {"b": CANARY}}),
        ("dict of surrogates", {"\ud800": f"\udfff{CANARY}"}),
        ("dict of control characters", {"a\x1b[31m\r\n\x00": CANARY}),
        ("dict of emoji", {"👨‍👩‍👧": CANARY, "🇩🇪": "x"}),
        ("dict without a name", {"": CANARY}),
        ("dict of 1,000", {f"n{number}": CANARY for number in range(1_000)}),
        ("dict of a long name", {"n" * 100_000: CANARY}),
        ("nested 100", nested(100)),
        ("nested 900", nested(900)),
        ("range", range(3)),
        ("generator", "(generator)"),
        ("type", str),
        ("object", object()),
        ("function", len),
        ("exception", ValueError(CANARY)),
        ("uuid", uuid.UUID(int=5)),
        ("path", Path("/etc/passwd")),
        ("date", NOON.date()),
        ("time", NOON.time()),
        ("moment", NOON),
        ("moment without a zone", NOON.replace(tzinfo=None)),
        ("first moment", datetime.datetime.min.replace(tzinfo=datetime.UTC)),
        ("last moment", datetime.datetime.max.replace(tzinfo=datetime.UTC)),
        ("moment far east", datetime.datetime.max.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-23)))),
        ("moment far west", datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=23)))),
        ("duration", datetime.timedelta(days=1)),
        ("delivery", Delivery.AT_MOST_ONCE),
        ("attachment", Attachment(f"{CANARY}.txt", b"x")),
        ("attachments", (Attachment(f"{CANARY}.txt", b"x"), RemoteFile(url=f"https://files.example/{CANARY}.png"))),
        ("profile", Profile(nickname=CANARY)),
        ("answer", quick_reply(CANARY)),
        ("answer of nothing", Answer(kind="quick_reply", choices=())),
        ("answer of numbers", Answer(kind=5, choices=(Choice(5, None),))),  # type: ignore[arg-type]
        ("answer of text", Answer(kind="button", choices=CANARY)),  # type: ignore[arg-type]
    )


FIELDS: Final = (
    "guest",
    "text",
    "answer",
    "attachments",
    "attributes",
    "profile",
    "content_type",
    "conversation",
    "read_receipt",
    "key",
    "not_before",
    "expires_at",
    "priority",
    "delivery",
)
#: Times as text, that are none or hardly one.
TIMES: Final = (
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-05-01T25:00:00Z",
    "2026-05-01T12:00:00",
    "2026-05-01",
    "12:00",
    "tomorrow",
    "2026-05-01T12:00:00+99:00",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "99999-01-01T00:00:00Z",
    "2026-05-01T12:00:60Z",
    "２０２６-05-01T12:00:00Z",
    "2026-05-01T12:00:00.0000000000001Z",
    "1777636800",
    "-1",
    "1e400",
)


def messages() -> Iterator[Payload]:
    """What a program gives to `Message`: every field with every value; missing, unknown and empty fields; limits."""
    base: dict[str, Any] = {"guest": "42", "text": "hello"}
    for field in FIELDS:
        for name, value in (*STRINGS, *things(), *((f"time {one}", one) for one in TIMES)):
            yield Payload(f"{field}: {name}", {**base, field: value})
    for name, text in STRINGS:
        yield Payload(f"attribute: {name}", {**base, "attributes": {"a": text}})
        yield Payload(f"attribute called: {name}", {**base, "attributes": {text.replace(CANARY, ""): "a"}})
        yield Payload(f"file called: {name}", {**base, "attachments": (Attachment(f"{text}.txt", b"x"),)})
        yield Payload(f"unknown field: {name}", {**base, text.replace(CANARY, "") or "none": CANARY})
    yield from _shapes()
    yield from limits()


def _shapes() -> Iterator[Payload]:
    base: dict[str, Any] = {"guest": "42", "text": "hello"}
    yield Payload("nothing", {})
    yield Payload("no guest", {"text": CANARY})
    yield Payload("guest alone", {"guest": "42"}, rule="text.empty")
    yield Payload("all None", dict.fromkeys(FIELDS))
    yield Payload("all empty", dict.fromkeys(FIELDS, ""))
    yield Payload("all of lists", {field: [CANARY] for field in FIELDS})
    yield Payload("1,000 unknown fields", {**base, **{f"x{number}": CANARY for number in range(1_000)}})
    for near in ("Text", "TEXT", "texts", "body", "message", "guest_id", "to", "destination", "self", "model_config"):
        yield Payload(f"misspelled {near}", {**base, near: CANARY})
    for name, text in STRINGS:
        for part in ("nickname", "email", "image"):
            yield Payload(f"profile {part}: {name}", {**base, "profile": Profile(**{part: text})})
        for part in ("url", "name", "type", "caption"):
            given: dict[str, Any] = {"url": "https://files.example/a.png", "size": 5, part: text}
            file = RemoteFile(**given)
            yield Payload(f"remote file {part}: {name}", {**base, "attachments": (file,), "conversation": "c"})
        yield Payload(f"answer: {name}", {"guest": "42", "answer": quick_reply(text)})
        yield Payload(f"answer with text: {name}", {**base, "answer": quick_reply("a", text)}, rule="answer.and_text")


def limits() -> Iterator[Payload]:
    """One below each limit of web messaging, at it, one above it."""

    def around(name: str, most: int, rule: str | None, make: Any) -> Iterator[Payload]:
        for by in (-1, 0, 1):
            values = {"guest": "42", "text": "hello", **make(most + by)}
            fits = by <= 0 or rule is None
            yield Payload(f"{name} {most + by}", values, None if fits else rule, fits)

    def file(name: str, size: int) -> dict[str, Any]:
        return {"attachments": (Attachment(name, b"x" * size),)}

    yield from around("text of bytes", 4096, None, lambda size: {"text": "a" * size})
    yield from around("text of two bytes", 2048, None, lambda size: {"text": "é" * size})
    yield from around("text of four bytes", 1024, None, lambda size: {"text": "😀" * size})
    yield from around("parts", 50 * 4096, "text.too_many_parts", lambda size: {"text": "a" * size})
    yield from around("guest", 512, "guest.too_long", lambda size: {"guest": "g" * size})
    yield from around("key", 512, "key.too_long", lambda size: {"key": "k" * size})
    yield from around("attributes", 2048, "attributes.too_large", lambda size: {"attributes": {"a": "x" * (size - 1)}})
    yield from around(
        "attributes of two bytes", 1024, "attributes.too_large", lambda size: {"attributes": {"é": "é" * (size - 1)}}
    )
    yield from around("file name", 1023, "file.name_too_long", lambda size: file("a" * (size - 4) + ".txt", 1))
    yield from around("file", 10_240_999, "file.too_large", lambda size: file("a.txt", size))
    yield from around(
        "answer",
        8192,
        "answer.size",
        lambda size: {"text": "", "answer": quick_reply("a", "p" * (size - 1))},
    )
    yield from around(
        "files", 1, "attachments.too_many", lambda count: {"attachments": (Attachment("a.txt", b"x"),) * count}
    )
    yield Payload("file of nothing", {"guest": "42", **file("a.txt", 0)}, rule="file.empty")
    yield from (
        Payload(f"priority {number}", {"guest": "42", "text": "a", "priority": number}, fits=True) for number in (0, 9)
    )


# --- rows of a batch ---

COLUMNS: Final = ("guest", "text", "quick_reply", "conversation", "id", "attr.a", "file", "not_before")


def json_lines() -> Iterator[bytes]:
    """Lines of JSON, and what only looks like one; none is longer than a line may be."""
    base: dict[str, Any] = {"guest": "1", "text": "hello"}
    plain: tuple[Any, ...] = (
        *(None, True, False, 0, -1, 1.5, 2**70, float("nan"), float("inf"), float("-inf")),
        *([], [CANARY], {}, {"a": CANARY}, {"a": None}, {"a": [1]}, {"": CANARY}, nested(50)),
    )
    for column in (
        *COLUMNS,
        "attr",
        "attributes",
        "unknown",
        "",
        "\x1b[31m",
        "👨‍👩‍👧",
        "\ud800",
        "__proto__",
        "a" * 500,
    ):
        for value in (*plain, *(text for _, text in STRINGS)):
            yield json.dumps({**base, column: value}).encode()
    for column in COLUMNS:
        for _, text in STRINGS[::3]:
            yield json.dumps({**base, column: text}, ensure_ascii=False).encode("utf-8", "replace").replace(b"\n", b" ")
    yield from (
        b"null",
        b"0",
        b'"text"',
        b"[]",
        b"{}",
        b"{",
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"guest":"1","guest":"2","text":"a","text":"b"}',
        b'{"guest":"1","text":"a"} {"guest":"1","text":"b"}',
        b"{'guest':'1','text':'a'}",
        b'{"guest":"1","text":"a",}',
        b'{"guest":"1","text":"\\ud800"}',
        b'{"guest":"1","text":"\\x"}',
        b'{"guest":"1","text":"a\x00b"}',
        b'{"guest":1e400,"text":-1e400}',
        b'{"guest":' + b"9" * 5_000 + b',"text":"a"}',
        b'{"guest":"1","text":' + b"1" * 4_301 + b"}",
        b"\xef\xbb\xbf{}",
        b"undefined",
    )


def csv_cells() -> Iterator[tuple[str, str]]:
    """A column and what stands in it."""
    for column in COLUMNS:
        for _, text in STRINGS:
            yield column, text.encode("utf-8", "replace").decode()
        for time in TIMES:
            yield column, time


def csv_files() -> Iterator[bytes]:
    """Whole files that are hardly a CSV."""
    header = b"guest,text\n"
    yield from (
        b"",
        b"\n\n",
        b"\x00",
        b"guest",
        b"text,guest",
        header,
        header + b"1",
        header + b"1,2,3\n",
        header + b'1,"open\n',
        header + b'1,"a"b\n',
        header + b'1,"' + b"x\n" * 20_000,
        header + b"\xff,\xfe\n",
        header + b"1,\xc3\x28\n",
        header + b"1,\xed\xa0\x80\n",
        b"\xff\xfe" + "guest,text\n1,a\n".encode("utf-16-le"),
        b"\xef\xbb\xbf" + header + b"1,a\n",
        b"guest\ttext\n1\ta\n",
        b"guest;text\n1;a\n",
        b"guest|text\n1|a\n",
        b"guest,text,text\n1,a,b\n",
        b"guest,text,\n1,a,b\n",
        b"guest,text,\x1b[31m\n1,a,b\n",
        b"guest,text,attr.\n1,a,b\n",
        b"guest,text,attr.a,attr.a\n1,a,b,c\n",
        b'"guest","text"\n"1","a"\n',
        b'"guest,text\n1,a\n',
        b"guest,text\r1,a\r",
        b"guest,text\r\n1,a\r\n",
        header + b"," * 10_000 + b"\n",
        b"," * 10_000 + b"\n",
        header + b"1," + b"a" * 1_000_001 + b"\n",
        header + b'1,"' + b'""' * 50_000 + b'"\n',
        header + b"\n" * 5_000 + b"1,a\n",
        header + b"1,a\x00b\n",
        b"PK\x03\x04" + bytes(200),
        b"%PDF-1.7\n" + bytes(range(256)),
        b"{}\n",
        b"\x1f\x8b\x08\x00" + bytes(50),
    )


def arguments() -> Iterator[tuple[str, ...]]:
    """What follows `guestwire send --dry-run` on the command line; no NUL, which no argument can hold."""
    texts = [text.replace("\x00", "") for _, text in STRINGS]
    for text in texts[::3]:
        for flag in ("--guest", "--key", "--attr", "--conversation", "--quick-reply"):
            yield (*(("--guest", "42") if flag != "--guest" else ()), f"{flag}={text}", "hello")
        yield ("--guest", "42", "--", text)
    for time in TIMES:
        yield ("--guest", "42", f"--not-before={time}", "hello")
        yield ("--guest", "42", f"--expires-at={time}", "hello")
    for number in ("-1", "10", "5.5", "nan", "inf", "1e3", "", "five", "9" * 5_000, "٣", "true"):
        yield ("--guest", "42", f"--priority={number}", "hello")
        yield ("--guest", "42", f"--timeout={number}", "hello")
    for file in ("/", "/dev/null", "/none.pdf", "a\n.pdf", "x" * 5_000, "http://", "https://[::1", "\udcff"):
        yield ("--guest", "42", f"--file={file}", "hello")
