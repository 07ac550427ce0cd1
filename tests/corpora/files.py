"""
Files that guests might send, made when they are needed: the same ones in every run, and none of them on disk.

Each is a `Case` with what has to be said of it: the rule of a finding, or "clean".
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from PIL import Image, PngImagePlugin

from guestwire.model import Attachment

CLEAN = "clean"
CANARY = "c4n4ry"


class Case(NamedTuple):
    """A file, and what has to be said of it."""

    what: str
    attachment: Attachment
    expected: str
    """A rule that has to be among the findings, or "clean"; "file.": any rule; nothing: either is right."""


def case(what: str, name: str, content: bytes, expected: str, mime: str = "") -> Case:
    """Make a case."""
    return Case(what, Attachment(name, content, mime), expected)


# --- samples: one sound file of each kind ---


def picture(form: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    """A picture with something in it: a gradient."""
    shown = Image.linear_gradient("L").resize(size).convert(mode)
    out = io.BytesIO()
    shown.save(out, form, **options)
    return out.getvalue()


def exif(orientation: int = 1) -> bytes:
    """What a phone writes: which way is up, who made it, and where."""
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = CANARY
    place = made.get_ifd(0x8825)
    place[1], place[2] = "N", (52.0, 31.0, 12.0)
    return made.tobytes()


def animated(form: str, frames: int = 4, size: tuple[int, int] = (32, 24)) -> bytes:
    """A picture that moves."""
    shown = [Image.new("RGB", size, (n * 37 % 256, n * 91 % 256, n % 256)) for n in range(frames)]
    out = io.BytesIO()
    shown[0].save(out, form, save_all=True, append_images=shown[1:], duration=50, loop=0)
    return out.getvalue()


def zipped(members: dict[str, bytes], *, stored: bool = False) -> bytes:
    """A ZIP, the same every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def office(folder: str, **more: bytes) -> bytes:
    """An Office document of today."""
    return zipped(
        {"[Content_Types].xml": b"<Types/>", f"{folder}/document.xml": b"<w/>"}
        | {name.replace("__", "/"): content for name, content in more.items()}
    )


def ole(*streams: str) -> bytes:
    """An Office document of before 2007, as far as the names of its streams go."""
    names = b"".join(name.encode("utf-16-le").ljust(128, b"\0") for name in streams)
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0") + names


def pdf(body: bytes = b"", version: str = "1.7") -> bytes:
    """A PDF with one empty page."""
    return (
        f"%PDF-{version}\n".encode() + b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R>>endobj\n"
        + body
        + b"\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )


def box(kind: bytes, content: bytes) -> bytes:
    """A box of ISO media."""
    return struct.pack(">I", len(content) + 8) + kind + content


def iso_media(brand: bytes, *others: bytes) -> bytes:
    """ISO media of a brand."""
    return box(b"ftyp", brand + bytes(4) + b"".join(others)) + box(b"mdat", bytes(range(256)))


def riff(form: bytes, content: bytes = b"fmt \x10\0\0\0" + bytes(16)) -> bytes:
    """RIFF of a form."""
    return b"RIFF" + struct.pack("<I", len(content) + 4) + form + content


NOISE = zlib.compress(bytes(range(256)) * 8, 9) * 3
SVG_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">'


@cache
def samples() -> dict[str, bytes]:
    """A sound file for each extension."""
    return {
        "png": picture("PNG"),
        "jpg": picture("JPEG"),
        "gif": picture("GIF"),
        "webp": picture("WEBP"),
        "bmp": picture("BMP"),
        "tiff": picture("TIFF"),
        "heic": iso_media(b"heic", b"mif1", b"heic"),
        "avif": iso_media(b"avif", b"mif1", b"miaf"),
        "mp4": iso_media(b"isom", b"mp42"),
        "mov": iso_media(b"qt  "),
        "webm": b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01" + NOISE,
        "ogg": b"OggS\0\x02" + bytes(22) + b"OpusHead" + NOISE,
        "mp3": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"\xff\xfb\x90\x64" + bytes(413),
        "aac": b"\xff\xf1\x50\x80\x02\x1f\xfc" + NOISE,
        "wav": riff(b"WAVE"),
        "flac": b"fLaC\0\0\0\x22" + bytes(34) + NOISE,
        "amr": b"#!AMR\n\x3c" + NOISE,
        "avi": riff(b"AVI ", b"LIST" + bytes(20)),
        "mpg": b"\0\0\x01\xba\x44" + NOISE,
        "pdf": pdf(),
        "rtf": b"{\\rtf1\\ansi Hello}",
        "docx": office("word"),
        "xlsx": office("xl"),
        "pptx": office("ppt"),
        "odt": zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<a/>"}, stored=True),
        "epub": zipped({"mimetype": b"application/epub+zip", "content.opf": b"<a/>"}, stored=True),
        "doc": ole("Root Entry", "WordDocument"),
        "txt": b"Dear hotel,\r\nwhere is my bag?\r\n",
        "svg": (SVG_HEAD + '<path d="M0 0h10v10z"/></svg>').encode(),
    }


#: What each is for the table of kinds: pairs of one group agree.
GROUPS = ({"heic", "avif"}, {"mp4", "mov"})


# --- what is fine ---


def sound() -> Iterator[Case]:
    """Files that every guest may send."""
    for extension, content in samples().items():
        yield case(f"a sound {extension}", f"a.{extension}", content, CLEAN)
        yield case(f"a sound {extension} in capitals", f"A B (1).{extension.upper()}", content, CLEAN)
    for mime in ("image/jpeg", "IMAGE/JPEG", "image/jpg", "image/pjpeg; q=1", "application/octet-stream"):
        yield case(f"a JPEG as {mime}", "a.jpeg", samples()["jpg"], CLEAN, mime)
    for mime in ("audio/ogg", "video/ogg", "audio/opus"):
        yield case(f"Ogg as {mime}", "a.opus", samples()["ogg"], CLEAN, mime)
    for extension in ("txt", "csv", "json", "md", "ics", "vcf", "xml", "log", "yaml"):
        yield case(f"a text as {extension}", f"a.{extension}", b"name,value\nx,1\n", CLEAN)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "cp1251", "koi8-r", "shift_jis", "gb18030"):
        words = {"cp1251": "Где мой чемодан? ", "koi8-r": "Где мой чемодан? ", "shift_jis": "私の鞄はどこですか。"}
        text = words.get(encoding, "Où est ma valise ? ") * 8
        yield case(f"a text in {encoding}", "a.txt", text.encode(encoding, "ignore"), CLEAN)
    for form, modes in {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "GIF": ("L", "P", "RGB"),
        "WEBP": ("RGB", "RGBA"),
        "BMP": ("1", "L", "P", "RGB"),
    }.items():
        for mode in modes:
            for size in ((1, 1), (3, 200), (257, 129)):
                content = picture(form, size, mode)
                yield case(f"{form} {mode} {size}", f"a.{form.lower()}", content, CLEAN)
    for form in ("PNG", "JPEG", "WEBP"):
        for orientation in (*range(10), 255, 65535):
            content = picture(form, (40, 30), exif=exif(orientation))
            yield case(f"{form} turned by {orientation}", f"a.{form.lower()}", content, CLEAN)
    for form in ("GIF", "WEBP", "PNG"):
        for frames in (2, 3, 30):
            yield case(f"{form} of {frames} frames", f"a.{form.lower()}", animated(form, frames), CLEAN)
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 15))])
    yield case("a JPEG with a second one inside", "a.jpg", out.getvalue(), CLEAN)
    yield case("a progressive JPEG", "a.jpg", picture("JPEG", progressive=True), CLEAN)
    yield case("a JPEG with a comment", "a.jpg", picture("JPEG", comment=CANARY), CLEAN)
    yield case("a JPEG with XMP", "a.jpg", picture("JPEG", xmp=f"<x>{CANARY}</x>".encode()), CLEAN)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", CANARY)
    texts.add_itxt("XML:com.adobe.xmp", f"<x>{CANARY}</x>")
    yield case("a PNG with texts", "a.png", picture("PNG", pnginfo=texts), CLEAN)
    yield case("a GIF with a comment", "a.gif", picture("GIF", comment=CANARY), CLEAN)
    yield case("a JPEG with a video behind it", "a.jpg", samples()["jpg"] + samples()["mp4"], CLEAN)
    yield case("a JPEG with EXIF that is none", "a.jpg", picture("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), CLEAN)
    for version in ("1.0", "1.4", "2.0"):
        yield case(f"PDF {version}", "a.pdf", pdf(version=version), CLEAN)
    yield case("a PDF with a file in it", "invoice.pdf", pdf(b"<</Type/EmbeddedFile>>"), CLEAN)
    yield case("a PDF that speaks of scripts", "a.pdf", pdf(b"(JavaScript) /JavaScripts /Launcher"), CLEAN)


# --- names ---

ODD_NAMES: tuple[tuple[str, str], ...] = (
    *((name, "file.name_empty") for name in ("", " ", ".", "..", "...", " . ", "\t", "\n")),
    *((name, "file.no_extension") for name in ("a", "photo", "Hotel Adlon", "naïve", ".png", ".htaccess", "a․png")),
    *(("../a.png", "file.name"), ("/etc/a.png", "file.name"), ("..\\a.png", "file.name"), ("C:\\a.png", "file.name")),
    *(("a/b.png", "file.name"), ("a\\b.png", "file.name"), ("\\\\host\\a.png", "file.name"), ("./a.png", "file.name")),
    *((f"a{chr(one)}b.png", "file.name") for one in (*range(1, 32), *range(127, 160, 4), 0x2028, 0x2029)),
    *((f"a{chr(one)}b.png", "file.name") for one in (0xAD, 0x200B, 0x2060, 0xFEFF, 0x180E, 0x3164)),
    *(("a\0.png", "text.nul"), ("a\0.exe", "text.nul"), ("a\ud800.png", "text.surrogate")),
    *((f"a{chr(one)}gnp.exe", "file.name_bidi") for one in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *((f"photo_{chr(one)}gpj.png", "file.name_bidi") for one in (0x202E, 0x2067)),
    *((name, "file.name_ends") for name in ("a.png.", "a.png ", "a.png. .", "a.png...", " a.png", "a.png   ")),
    *((f"{name}.png", "file.name_reserved") for name in ("con", "CON", "prn", "Aux", "NUL", "COM1", "lpt9", "COM¹")),
    *((name, "file.name_reserved") for name in ("con.tar.png", "NUL .png", "CONIN$.png")),
    *((f"invoice.pdf.{last}", "file.name_double") for last in ("exe", "EXE", "js", "bat", "scr", "com", "vbs", "ps1")),
    *((f"{first}.png", "file.name_double") for first in ("a.exe", "a.php", "a.JS", "a.scr", "a.pdf.exe", "a.exe:x")),
    *(("a.pdf             .exe", "file.name_double"), ("a.png.lnk", "file.name_double")),
    *((f"a.{last}", "file.blocked") for last in ("exe", "EXE", "bat", "js", "ps1", "ade", "exe.", "exe ")),
    *(
        (f"a.{last}", "file.executable")
        for last in [
            "com",
            "scr",
            "cmd",
            "vbs",
            "jar",
            "msi",
            "lnk",
            "hta",
            "sh",
            "py",
            "php",
            "app",
            "dll",
            "apk",
            "reg",
            "url",
        ]
    ),
    *((f"a.{last}", "file.macros") for last in ("docm", "xlsm", "pptm", "xlsb", "dotm")),
    *((f"a.{last}", "file.unknown") for last in ("xyz", "dat", "еxe", "pngx", "123", "p ng", "dwg", "a" * 200)),
    *(("n" * 1020 + ".png", "file.name_too_long"), ("é" * 5000 + ".png", "file.name_too_long")),
)
#: Names that look strange and are not.
GOOD_NAMES = (
    *(
        "booking.com.pdf",
        "v1.2.3.pdf",
        "my.photo.pdf",
        "a..pdf",
        "-.pdf",
        "~$a.pdf",
        "a b  c.pdf",
        "#1.pdf",
        "100%.pdf",
    ),
    *(
        "חשבונית.pdf",
        "فاتورة.pdf",
        "领收书.pdf",
        "счёт.pdf",
        "👨‍👩‍👧.pdf",
        "नमस्ते.pdf",
        "می‌خواهم.pdf",
        "console.pdf",
        "COM10.pdf",
    ),
    *(
        "a.tar.pdf",
        "Rechnung 12.03.2026.pdf",
        "x" * 1019 + ".pdf",
        "'; DROP TABLE guests; --.pdf",
        "<b>.pdf",
        "${x}.pdf",
    ),
)


def names() -> Iterator[Case]:
    """Names that deceive, or break something on the way."""
    for name, expected in ODD_NAMES:
        yield case(f"the name {name[:40]!a}", name, samples()["png"], expected)
    for name in GOOD_NAMES:
        yield case(f"the name {name[:40]!a}", name, samples()["pdf"], CLEAN)


# --- types and sizes ---


def types_and_sizes() -> Iterator[Case]:
    """What is declared, and how much there is."""
    for extension in ("png", "jpg", "gif", "webp", "pdf", "txt", "mp4", "mp3", "docx", "svg", "exe", "xyz"):
        yield case(f"an empty {extension}", f"a.{extension}", b"", "file.empty")
        if extension not in ("txt", "exe", "xyz"):
            for one in (b"x", b"\0", b"\xff", b"\x89", b"<"):
                yield case(f"{extension} of one byte {one!r}", f"a.{extension}", one, "file.mismatch")
    yield case("a text of one character", "a.txt", b"x", CLEAN)
    for mime in (
        "image",
        "image/",
        "/png",
        "image/png/x",
        "image png",
        "a" * 200 + "/b",
        "image/\x00",
        "imagé/png",
        "*/*",
    ):
        yield case(f"the type {mime[:30]!a}", "a.png", samples()["png"], "file.type", mime)
    for mime in ("image/x-unheard", "x-world/x-3dmf", "font/woff2", "application/x-foo"):
        yield case(f"the type {mime}", "a.png", samples()["png"], "file.unknown", mime)
    for mime in ("image/jpeg", "text/html", "application/pdf", "text/javascript", "image/svg+xml", "application/zip"):
        yield case(f"a PNG as {mime}", "a.png", samples()["png"], "file.mismatch", mime)
    yield case("1 byte too much", "a.txt", b"x" * 3_001_000, "file.too_large")
    yield case("just right", "a.txt", b"x" * 3_000_999, CLEAN)
    yield case("a PNG of 4 MB of nothing", "a.png", samples()["png"] + bytes(4_000_000), "file.too_large")


def wrong_signatures() -> Iterator[Case]:
    """Each kind under the names of all others."""
    for name in samples():
        for really, content in samples().items():
            if really != name and not any({really, name} <= group for group in GROUPS):
                yield case(f"{really} as {name}", f"a.{name}", content, "file.mismatch")
    for name in ("png", "pdf", "mp4", "docx", "txt"):
        yield case(f"noise as {name}", f"a.{name}", b"\x01\x02\x03" + NOISE, "file.mismatch")


# --- pictures that are not what their headers say ---


def _png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    content = samples()["jpg"]
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def _webp(width: int, height: int) -> bytes:
    head = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"WEBP", b"VP8X\x0a\0\0\0" + head + samples()["webp"][12:])


def bombs() -> Iterator[Case]:
    """Small files that want to be large."""
    for width, height in ((65535, 65535), (8001, 8000), (16000, 4001), (65535, 977), (30000, 30000)):
        huge = "file.too_many_pixels"
        yield case(f"PNG {width}x{height}", "a.png", _png(width, height), huge)
        yield case(f"JPEG {width}x{height}", "a.jpg", _jpeg(width, height), huge)
        yield case(
            f"GIF {width}x{height}",
            "a.gif",
            b"GIF89a" + struct.pack("<HH", width, height) + samples()["gif"][10:],
            huge,
        )
        if max(width, height) <= 2**24:
            yield case(f"WebP {width}x{height}", "a.webp", _webp(width, height), huge)
        for sign in (1, -1):
            bmp = samples()["bmp"][:18] + struct.pack("<ii", width, sign * height) + samples()["bmp"][26:]
            yield case(f"BMP {width}x{sign * height}", "a.bmp", bmp, huge)
    for width, height in ((2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1)):
        yield case(f"PNG {width}x{height}", "a.png", _png(width, height), "file.too_many_pixels")
    lines = zlib.compress(bytes(8001 * 1001) * 8, 9)
    yield case("a PNG of 64 million white pixels", "a.png", _png(8001, 8008, lines, 8, 0), "file.too_many_pixels")
    words = PngImagePlugin.PngInfo()
    words.add_text("a", "x" * 5_000_000, zip=True)
    yield case("a PNG of 5 MB of text", "a.png", picture("PNG", pnginfo=words), "file.unreadable")
    packed = zlib.compress(bytes(30_000_000), 9)
    yield case("a PNG of more data than pixels", "a.png", _png(10, 10, packed, 8, 0), "")
    yield case("a GIF of too many frames", "a.gif", animated("GIF", 120, (8, 8)), "file.too_many_frames")
    yield case("a WebP of too many frames", "a.webp", animated("WEBP", 120, (8, 8)), "file.too_many_frames")
    yield case("a PNG of too many frames", "a.png", animated("PNG", 120, (8, 8)), "file.too_many_frames")
    gif = animated("GIF", 60, (32, 24))
    large = gif.replace(struct.pack("<HH", 32, 24), struct.pack("<HH", 2000, 1000), 1)
    yield case("a GIF of small frames on a large ground", "a.gif", large, "file.too_many_frames")
    for claimed in (600_000_000, 4_000_000_000):
        content = bytearray(samples()["docx"])
        at = content.rindex(b"PK\x01\x02")
        content[at + 24 : at + 28] = struct.pack("<I", claimed)
        yield case(f"a Word document of {claimed} bytes", "a.docx", bytes(content), "file.bomb")


def truncated() -> Iterator[Case]:
    """Files that end too soon."""
    for name in ("png", "jpg", "gif", "webp", "bmp"):
        form = {"jpg": "JPEG"}.get(name, name.upper())
        content = picture(form, (300, 200))
        for percent in (30, 40, 50, 60, 70, 80, 90):
            yield case(
                f"{percent} % of a {name}", f"a.{name}", content[: len(content) * percent // 100], "file.unreadable"
            )
        for count in (1, 2, 3, 4):
            yield case(
                f"{count} bytes of a {name}", f"a.{name}", content[:count], "file.mismatch" if count < 3 else "file."
            )
        yield case(f"26 bytes of a {name}", f"a.{name}", content[:26], "file.")
        hole = content[:40] + bytes(60) + content[100:]
        yield case(f"a {name} with a hole", f"a.{name}", hole, "file." if name in ("png", "webp") else "")
    for name in ("docx", "xlsx", "pptx", "odt"):
        content = samples()[name]
        yield case(f"half a {name}", f"a.{name}", content[: len(content) // 2], "file.")
    moving = animated("GIF", 20)
    yield case("half a moving GIF", "a.gif", moving[: len(moving) // 2], "file.unreadable")


# --- two things at once ---


def polyglots() -> Iterator[Case]:
    """Files that are something else for another reader."""
    archive = zipped({"a.txt": b"x"})
    behind = {
        "a ZIP": archive,
        "a ZIP with a comment": archive[:-2] + b"\x03\0abc",
        "a JAR": zipped({"META-INF/MANIFEST.MF": b"x", "A.class": b"\xca\xfe\xba\xbe"}),
        "a RAR": b"Rar!\x1a\x07\x01\0" + NOISE,
        "a 7z": b"7z\xbc\xaf\x27\x1c" + NOISE,
    }
    pages = {
        "a script": b"<script>alert(1)</script>",
        "a page": b"<html><body onload=x()>",
        "a page in capitals": b"<!DOCTYPE HTML><BODY>",
        "a frame": b"<iframe src=//x>",
        "PHP": b"<?php system($_GET[0]); ?>",
        "a Windows program": b"MZ" + bytes(78) + b"This program cannot be run in DOS mode",
    }
    for name in ("png", "jpg", "gif", "webp", "bmp", "mp4", "mp3", "pdf", "wav", "ogg", "webm", "tiff"):
        for what, content in behind.items():
            yield case(f"{name} and {what}", f"a.{name}", samples()[name] + content, "file.polyglot")
        for what, content in pages.items():
            if name != "pdf":
                yield case(f"{name} and {what}", f"a.{name}", samples()[name] + content, "file.polyglot")
    for name in ("png", "jpg", "gif", "wav"):
        content = samples()[name]
        yield case(f"{name} and a PDF", f"a.{name}", content[:40] + pdf() + content[40:], "file.polyglot")
        tar = content[:257].ljust(257, b"\0") + b"ustar\x0000" + content[265:]
        yield case(f"{name} and a tar", f"a.{name}", tar, "file.polyglot")
        iso = content.ljust(32769, b"\0") + b"CD001"
        yield case(f"{name} and a disk image", f"a.{name}", iso, "file.polyglot")
    for start in (b"GIF89a/*", b"GIF87a/*", b"GIF89a=1;", b'GIF89a="', b"GIF89a//"):
        content = start + samples()["gif"][len(start) :] + b"*/=1;alert(1);"
        yield case(f"a GIF that is a script, {start[6:]!r}", "a.gif", content, "file.polyglot")
    yield case("a BMP that is a script", "a.bmp", b"BM/*" + samples()["bmp"][4:] + b"*/=1;alert(1)", "file.polyglot")
    yield case(
        "a JPEG that is a script", "a.jpg", b"\xff\xd8\xff\xe0/*" + bytes(12070) + b"*/=alert(1);/*", "file.polyglot"
    )
    yield case("a WAV that is a script", "a.wav", b"RIFF/*" + samples()["wav"][6:] + b"*/=1", "file.polyglot")
    yield case(
        "a JPEG whose comment is a page", "a.jpg", picture("JPEG", comment="<script>x()</script>"), "file.polyglot"
    )
    words = PngImagePlugin.PngInfo()
    words.add_text("t", "<SCRIPT SRC=//x></SCRIPT>")
    yield case("a PNG whose text is a page", "a.png", picture("PNG", pnginfo=words), "file.polyglot")
    yield case("a PDF behind a page", "a.pdf", b"<html>" + pdf(), "file.active")
    yield case(
        "a PDF with a page at its front", "a.pdf", pdf()[:9] + b"%<script>x()</script>\n" + pdf()[9:], "file.polyglot"
    )
    yield case("a program with a PNG behind it", "a.png", b"MZ\x90\0" + samples()["png"], "file.executable")


# --- what acts by itself ---

ACTIVE_SVG = (
    *("<script>alert(1)</script>", "<script href='data:,x'/>", "<SCRIPT>x</SCRIPT>", "<g onload='x()'/>"),
    *("<s:script xmlns:s='http://www.w3.org/2000/svg'>x</s:script>", "<path onclick='x()'/>", "<g ONLOAD='x()'/>"),
    *("<foreignObject><p/></foreignObject>", "<x:p xmlns:x='http://www.w3.org/1999/xhtml'/>"),
    *("<x:script xmlns:x='&#104;ttp://www.w3.org/1999/xhtml'/>", "<iframe src='//x'/>", "<embed src='a'/>"),
    *("<image href='https://x/a.png'/>", "<image href='//x'/>", "<image href='a.png'/>", "<use href='/a#b'/>"),
    *("<use href='data:image/svg+xml;base64,AAAA'/>", "<a href='javascript:x()'/>", "<a href=' JavaScript:x()'/>"),
    *("<a href='&#106;avascript:x()'/>", "<a href='java&#10;script:x()'/>", "<a href='vbscript:x'/>"),
    *("<a xlink:href='https://x' xmlns:xlink='http://www.w3.org/1999/xlink'/>", "<feImage href='https://x'/>"),
    *("<style>@import 'x'</style>", "<style>a{b:url(https://x)}</style>", "<style>a{b:url( 'x' )}</style>"),
    *("<g style='fill:url(https://x)'/>", "<g fill='url(//x#a)'/>", "<g style='x:\\75rl(//x)'/>"),
    *("<style>a{b:\\75rl(//x)}</style>", "<g fill='\\75rl(//x)'/>", f"<style>{' ' * 8180}@import 'x'</style>"),
    *(f"<style>{'a' * n}<!-- -->@im<!-- -->port 'x'</style>" for n in (8186, 8190)),
    *("<style><![CDATA[@import url(x)]]></style>", "<animate attributeName='href' to='javascript:x()'/>"),
    *("<set attributeName='xlink:href' to='//x'/>", "<set attributeName='onclick' to='x()'/>", "<video src='x'/>"),
    *(
        "<?xml-stylesheet href='x'?>",
        "<?php x ?>",
        "<handler type='x'/>",
        "<audio src='//x'/>",
        "<link href='x'/>",
        "<meta/>",
    ),
)
INERT_SVG = (
    *("<rect width='1' height='1'/>", "<use href='#a'/>", "<g fill='url(#a)'/>", "<text>on click: url of x</text>"),
    *("<image href='data:image/png;base64,iVBORw0KGgo='/>", "<title>a &amp; b</title>", "<!-- a comment -->"),
    *("<text>C:\\\\photos, @import</text>", "<g xmlns:i='urn:i' i:label='C:\\\\a url(b)'/>"),
    *(
        "<?xpacket begin='x'?>",
        "<style>.a{fill:red;stroke:url(#b)}</style>",
        "<animate attributeName='x' to='3'/>",
        "<desc>é 中</desc>",
    ),
)


def active() -> Iterator[Case]:
    """Pages, scripts, programs and documents that do something when they are opened."""
    acts = "file.active"
    for inner in ACTIVE_SVG:
        yield case(f"SVG with {inner[:40]}", "a.svg", f"{SVG_HEAD}{inner}</svg>".encode(), acts)
    for inner in INERT_SVG:
        yield case(f"SVG with {inner[:40]}", "a.svg", f"{SVG_HEAD}{inner}</svg>".encode(), CLEAN)
    script = f"{SVG_HEAD}<script>x</script></svg>"
    for what, content in {
        "in UTF-16": script.encode("utf-16"),
        "behind a declaration": b"<?xml version='1.0'?>\n" + script.encode(),
        "that says another encoding": b"<?xml version='1.0' encoding='utf-7'?>\n" + script.encode(),
        "behind a comment": b"<!-- " + b"x" * 3000 + b" -->" + script.encode(),
        "with entities": b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + script.encode(),
        "with a billion laughs": b'<!DOCTYPE svg [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "with a file of ours": b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        "with parameters": b'<!DOCTYPE svg [<!ENTITY % a SYSTEM "//x">%a;]><svg/>',
        "that is damaged": script.encode()[:-6] + b"<",
        "of too many bytes": f"{SVG_HEAD}{'<g/>' * 600_000}</svg>".encode(),
        "of many depths": f"{SVG_HEAD}{'<g>' * 200_000}<script/>".encode(),
    }.items():
        yield case(f"SVG {what}", "a.svg", content, acts)
    packed = gzip.compress(script.encode(), mtime=0)
    yield case("a packed SVG", "a.svgz", packed, "file.archive")
    yield case("a packed SVG by another name", "a.svg", packed, "file.mismatch")
    pages = (
        *(
            b"<html></html>",
            b"<!DOCTYPE html><p>x",
            b"<!doctype HTML>",
            b"\n\n <HTML >",
            b"<script>x</script>",
            b"<body>",
        ),
        *(
            b"<!-- x --><html>",
            b"\xef\xbb\xbf<html>",
            b"<iframe src=x>",
            b"<h1>x</h1>",
            b"<a href=x>y</a>",
            b"<table><tr>",
        ),
        *(
            b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>",
            b"<img src=x onerror=y>",
            b"<style>x</style>",
        ),
        b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n<html>",
    )
    for page in pages:
        for name in ("html", "htm", "txt", "png", "pdf"):
            yield case(f"the page {page[:24]!r} as {name}", f"a.{name}", page, acts)
    yield case("a page in UTF-16", "a.html", "<html>".encode("utf-16"), acts)
    for what, body in {
        "JavaScript": b"<</S/JavaScript/JS(app.alert(1))>>",
        "JavaScript in numbers": b"<</S/#4aavaScript>>",
        "JavaScript in more numbers": b"<</S/Java#53cript>>",
        "a program": b"<</S/Launch/F(cmd.exe)>>",
        "a program in numbers": b"<</S/L#61unch>>",
    }.items():
        yield case(f"a PDF that runs {what}", "a.pdf", pdf(body), acts)
    for word in ("object", "objdata", "objupdate"):
        yield case(f"RTF with {word}", "a.rtf", b"{\\rtf1{\\" + word.encode() + b" 0105}}", acts)
    for content in (
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<?xml version='1.0'?><?xml-stylesheet href='x'?><a/>",
        b"<?xml version='1.0'?><a><x:script xmlns:x='http://www.w3.org/1999/xhtml'/></a>",
    ):
        yield case(f"XML {content[21:60]!r}", "a.xml", content, acts)
    yield case(
        "XML with names of its own", "a.xml", b"<?xml version='1.0'?><order><object onset='1' href='x'/></order>", CLEAN
    )
    yield case(
        "XML with a drawing", "a.xml", b"<?xml version='1.0'?><a><script xmlns='http://www.w3.org/2000/svg'/></a>", acts
    )
    yield case("XML as everybody has it", "a.xml", b"<?xml version='1.0'?><order><line n='1'/></order>", CLEAN)


def programs() -> Iterator[Case]:
    """Programs by any name."""
    contents = {
        "PE": b"MZ\x90\0\x03" + bytes(60) + b"PE\0\0",
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(50),
        "Mach-O": b"\xcf\xfa\xed\xfe\x07" + bytes(50),
        "Java": b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(50),
        "a shell script": b"#!/bin/sh\nrm -rf /\n",
        "a Python script": b"#!/usr/bin/env python3\nimport os\n",
        "a shortcut": b"L\0\0\0\x01\x14\x02\0" + bytes(60),
        "an internet shortcut": b"[InternetShortcut]\r\nURL=file:///c:/x\r\n",
        "WebAssembly": b"\0asm\x01\0\0\0" + bytes(10),
        "Dalvik": b"dex\n035\0" + bytes(30),
        "a JAR": zipped({"META-INF/MANIFEST.MF": b"x", "A.class": b"y"}),
        "an APK": zipped({"AndroidManifest.xml": b"x", "classes.dex": b"y"}),
        "an installer": ole("Root Entry", "MsiTables"),
        "compiled help": b"ITSF\x03\0\0\0" + bytes(60),
        "PHP": b"<?php phpinfo();",
        "Flash": b"CWS\x0a" + NOISE,
    }
    for what, content in contents.items():
        for name in ("jpg", "pdf", "txt", "docx", "mp4"):
            yield case(f"{what} as {name}", f"a.{name}", content, "file.executable")


def containers() -> Iterator[Case]:
    """Archives, and documents with macros."""
    tar = b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + bytes(500)
    contents = {
        "zip": zipped({"a.txt": b"x"}),
        "gz": gzip.compress(b"x", mtime=0),
        "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(24),
        "rar": b"Rar!\x1a\x07\x01\0" + bytes(20),
        "tar": tar,
        "bz2": b"BZh91AY&SY" + NOISE,
        "xz": b"\xfd7zXZ\0\0\x04" + NOISE,
        "zst": b"(\xb5/\xfd\x04\x00" + NOISE,
        "cab": b"MSCF\0\0\0\0" + bytes(40),
        "iso": bytes(32769) + b"CD001" + bytes(2042),
    }
    for name, content in contents.items():
        yield case(f"a {name}", f"a.{name}", content, "file.archive")
        yield case(f"a {name} as docx", "a.docx", content, "file.archive")
        yield case(f"a {name} as jpg", "a.jpg", content, "file.mismatch")
    sealed = ole("Root Entry", "EncryptionInfo", "EncryptedPackage")
    yield case("a Word document with a password", "a.docx", sealed, "file.archive")
    yield case("a workbook of 1995", "a.xls", ole("Root Entry", "Book"), CLEAN)
    yield case("an empty ZIP", "a.zip", b"PK\x05\x06" + bytes(18), "file.archive")
    yield case("a ZIP without an end", "a.zip", zipped({"a": b"b"})[:-22], "file.archive")
    many = zipped({f"{n}.txt": b"" for n in range(12_000)})
    yield case("a ZIP of 12,000 files", "a.zip", many, "file.archive")
    for folder, name in (("word", "docx"), ("xl", "xlsx"), ("ppt", "pptx")):
        macros = "file.macros"
        yield case(f"{name} with macros", f"a.{name}", office(folder, **{f"{folder}__vbaProject.bin": b"x"}), macros)
        yield case(f"{name[:-1]}m", f"a.{name[:-1]}m", office(folder, **{f"{folder}__vbaProject.bin": b"x"}), macros)
        yield case(f"{name} with MACROS", f"a.{name}", office(folder, **{f"{folder}__VBAPROJECT.BIN": b"x"}), macros)
    yield case("a workbook with old macros", "a.xlsx", office("xl", xl__macrosheets__sheet1=b"x"), "file.macros")
    odt = {"mimetype": b"application/vnd.oasis.opendocument.text", "Basic/Standard/Module1.xml": b"x"}
    yield case("an OpenDocument with macros", "a.odt", zipped(odt, stored=True), "file.macros")
    for stream, name in (("WordDocument", "doc"), ("Workbook", "xls"), ("PowerPoint Document", "ppt")):
        yield case(f"{name}", f"a.{name}", ole("Root Entry", stream), CLEAN)
        yield case(f"{name} with macros", f"a.{name}", ole("Root Entry", stream, "VBA", "_VBA_PROJECT"), "file.macros")


CATEGORIES: dict[str, Callable[[], Iterator[Case]]] = {
    made.__name__: made
    for made in (
        *(sound, names, types_and_sizes, wrong_signatures, bombs, truncated, polyglots, active, programs, containers),
    )
}
