"""Files that guests send: every one of a corpus is clean in the end, or there is a finding that says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guestwire.errors import Finding
from guestwire.media.cleaning import Cleaned, MediaLimits, MediaWorker
from guestwire.model import Attachment, mime_of
from guestwire.policy.kinds import kind_of_extension, kinds_of_type
from guestwire.policy.media import FileRules, check_media, name_of_content
from tests.corpora import files

RULES = FileRules(max_kb=3000)
#: The bound of memory is the worker's own: what needs more ends in a finding.
LIMITS = MediaLimits(memory_mb=700, max_frames=100)


@pytest.fixture(scope="module")
def worker() -> Iterator[MediaWorker]:
    """One process for all files, as in life."""
    worker = MediaWorker(LIMITS)
    yield worker
    worker.close()


def judged(attachment: Attachment, worker: MediaWorker) -> tuple[Finding, ...] | Attachment:
    """What becomes of a file on its way in: checked, cleaned, and checked again."""
    found = check_media(attachment, RULES)
    if found:
        return found
    result = worker.clean_now(attachment, max_bytes=3_000_999)
    if not isinstance(result, Cleaned):
        return result
    assert check_media(result.attachment, RULES) == ()
    return result.attachment


def assert_teaches(finding: Finding, attachment: Attachment) -> None:
    """It names the field and the remedy, and quotes neither the name nor the content."""
    assert finding.path in ("attachments.name", "attachments.type", "attachments.content")
    assert finding.rule.startswith(("file.", "text."))
    assert finding.action == "reject"
    assert finding.fix
    said = finding.text + finding.fix
    assert said.isprintable()
    assert len(said) < 400
    assert files.CANARY not in said
    assert len(attachment.name) < 9 or attachment.name not in said


@pytest.mark.parametrize("category", files.CATEGORIES)
def test_every_file_is_clean_or_there_is_a_finding(category: str, worker: MediaWorker) -> None:
    """The one that is expected, naming the field; and what is clean tells nothing beside what it shows."""
    wrong = []
    for what, attachment, expected in files.CATEGORIES[category]():
        result = judged(attachment, worker)
        if isinstance(result, Attachment):
            said = [files.CLEAN]
            assert files.CANARY.encode() not in result.content
        else:
            said = [finding.rule for finding in result]
            for finding in result:
                assert_teaches(finding, attachment)
        if expected not in said and not (expected in ("", "file.") and any(one.startswith(expected) for one in said)):
            wrong.append((what, expected, said))
    assert wrong == []


def test_the_corpus_is_large_and_the_same_every_time() -> None:
    """More than 500 files, each told apart by what it is."""
    first = [one for made in files.CATEGORIES.values() for one in made()]
    again = [one for made in files.CATEGORIES.values() for one in made()]
    assert len(first) >= 500
    assert first == again
    assert len({(one.what, one.attachment.name, one.attachment.content) for one in first}) == len(first)


#: What has a decoder, and what is looked into here.
SEEDS = ("png", "jpg", "gif", "webp", "bmp", "pdf", "docx", "odt", "svg", "doc", "rtf", "txt", "mp4", "heic")


@st.composite
def mutated(draw: st.DrawFn) -> Attachment:
    """A sound file with a few accidents."""
    name = draw(st.sampled_from(SEEDS))
    content = bytearray(files.samples()[name])
    for _ in range(draw(st.integers(1, 4))):
        how = draw(st.sampled_from(["flip", "cut", "join", "insert", "repeat"]))
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        if how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del content[at:]
        elif how == "join":
            content += files.samples()[draw(st.sampled_from(SEEDS))]
        elif how == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        else:
            content[at : at + 16] = content[at : at + 16] * draw(st.integers(0, 20))
    return Attachment(f"a.{name}", bytes(content))


@given(attachment=mutated())
def test_no_accident_ends_in_an_exception(attachment: Attachment, worker: MediaWorker) -> None:
    """Bits turned, ends cut off, things put together: a finding or a clean file, from checks and worker."""
    result = judged(attachment, worker)
    if not isinstance(result, Attachment):
        for finding in result:
            assert_teaches(finding, attachment)
    # What the checks refuse, the worker survives as well.
    assert worker.clean_now(attachment, max_bytes=10_000) is not None


@given(content=st.binary(max_size=400), name=st.text(max_size=40), mime=st.text(max_size=30))
def test_any_bytes_under_any_name_are_judged(content: bytes, name: str, mime: str) -> None:
    """Nothing raises, and nothing of it is quoted."""
    for finding in check_media(Attachment(name, content, mime), RULES):
        assert_teaches(finding, Attachment("", b""))
    assert name_of_content(content)


@settings(max_examples=20)
@given(
    shape=st.sampled_from(["zeros", "open", "hash", "markers", "ends", "boxes", "lines", "entries", "spaces", "styles"])
)
def test_ten_megabytes_of_one_thing_are_judged(shape: str) -> None:
    """The looks that search take one pass: what would be quadratic would not end within this test."""
    size = 10_000_000
    content = {
        "zeros": bytes(size),
        "open": b"<" * size,
        "hash": b"%PDF-" + b"/#4a#4a" * (size // 7),
        "markers": b"\xff\xd8" + b"\xff\xe1\0\x02" * (size // 4),
        "ends": b"\x89PNG\r\n\x1a\n" + b"PK\x05\x06" * (size // 4),
        "boxes": b"\0\0\xff\xffftyp" + b"a" * size,
        "lines": b"\n" * size,
        "spaces": f"{files.SVG_HEAD}<g fill='url({' ' * 1_900_000}'/></svg>".encode(),
        "styles": f"{files.SVG_HEAD}<style>{'url( ' * 380_000}</style></svg>".encode(),
        "entries": b"PK\x03\x04" + (b"PK\x01\x02" + bytes(42)) * (size // 46) + b"PK\x05\x06" + bytes(18),
    }[shape]
    for name in ("a.png", "a.pdf", "a.svg", "a.docx"):
        check_media(Attachment(name, content), FileRules(max_kb=20_000))


def test_a_picture_is_turned_and_tells_nothing() -> None:
    """Which way is up is applied, then forgotten with the place; the pixels are where they belong."""
    shown = Image.new("RGB", (40, 20), (255, 255, 255))
    shown.paste((255, 0, 0), (0, 0, 20, 20))
    out = BytesIO()
    shown.save(out, "PNG", exif=files.exif(6))
    worker = MediaWorker(LIMITS)
    try:
        result = worker.clean_now(Attachment("a.png", out.getvalue()))
    finally:
        worker.close()
    assert isinstance(result, Cleaned)
    assert result.changed == ("metadata", "orientation")
    with Image.open(BytesIO(result.attachment.content)) as seen:
        assert seen.size == (20, 40)
        assert seen.getpixel((5, 5)) == (255, 0, 0)
        assert seen.getpixel((5, 35)) == (255, 255, 255)
        assert not seen.getexif()


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_every_pixel_stays_what_it_was(form: str, worker: MediaWorker) -> None:
    """Where nothing is turned and nothing has to fit: in every mode, what is transparent too."""
    for what, attachment, _ in files.sound():
        if not what.startswith(f"{form} ") or "turned" in what or "frames" in what:
            continue
        result = worker.clean_now(attachment)
        assert isinstance(result, Cleaned), what
        with Image.open(BytesIO(attachment.content)) as before, Image.open(BytesIO(result.attachment.content)) as after:
            assert before.mode == after.mode, what
            assert before.convert("RGBA").tobytes() == after.convert("RGBA").tobytes(), what
            assert before.info.get("transparency") == after.info.get("transparency")


def test_a_type_that_follows_the_name_is_one_of_its_kind() -> None:
    """Whatever the machine's own table of types says: what is declared on the wire would else be refused here."""
    for extension in files.samples():
        assert Attachment(f"A.{extension.upper()}", b"x").mime == mime_of(f"a.{extension}")
        found = kinds_of_type(mime_of(f"a.{extension}"))
        assert kind_of_extension(f".{extension}") in found, extension


def test_only_types_that_are_named_are_taken() -> None:
    """As a session names them: one by one, or by what stands before the slash."""
    rules = FileRules(max_kb=3000, types=("image/*", "application/pdf"))
    assert check_media(Attachment("a.webp", files.samples()["webp"]), rules) == ()
    assert check_media(Attachment("a.pdf", files.samples()["pdf"]), rules) == ()
    for name in ("txt", "mp4", "docx"):
        found = check_media(Attachment(f"a.{name}", files.samples()[name]), rules)
        assert [(one.rule, one.path) for one in found] == [("file.type", "attachments.type")]


def test_what_is_refused_by_default_can_be_taken() -> None:
    """Archives, macros and unknown kinds, each by its own switch; programs by none."""
    archive = Attachment("a.zip", files.zipped({"a": b"b"}))
    macros = Attachment("a.xlsm", files.office("xl", **{"xl__vbaProject.bin": b"x"}))
    unknown = Attachment("a.dwg", b"AC1032" + bytes(100))
    everything = FileRules(max_kb=3000, archives=True, macros=True, unknown=True)
    for one in (archive, macros, unknown):
        assert check_media(one, RULES)
        assert check_media(one, everything) == ()
    assert check_media(Attachment("a.dwg", b"MZ" + bytes(100)), everything)
    assert check_media(Attachment("a.scr", b"x"), everything)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"8BPS\0\1" + bytes(99), "perhaps 'Photoshop"),
        (b"\x01\x02\x03\x04", "of no kind that is known here"),
        (b"SQLite format 3\0" + bytes(99), "perhaps 'SQLite"),
        (b"%PDF-1.4", "a PDF document"),
    ],
)
def test_a_content_is_named(content: bytes, said: str) -> None:
    """What the own table does not know is named by one that is longer, and as a guess."""
    assert name_of_content(content).startswith(said)
