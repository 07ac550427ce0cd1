"""
What is wrong with a file that a guest sends: its name, its type, its size, and what its content says it is.

Name, declared type and content have to agree, because each reader on the way believes another of them: the platform
the type, a browser the content, a desktop the name. What can act by itself (programs, scripts, macros, pages) is
refused whatever it is called, and so is a content that is two things at once.

Nothing is decoded here: a picture that passes can still be broken, which `guestwire.media` finds in a process of its
own. What stands compressed inside a file (scripts in a PDF's object streams, say) is not seen either; that is the
business of a scanner. Every check is linear in the content. No finding quotes a name or a content.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from guestwire.errors import Finding
from guestwire.model import Attachment
from guestwire.policy.kinds import (
    DOCX,
    ENCRYPTED,
    GIF,
    HTML,
    MACRO_OFFICE,
    PDF,
    PPTX,
    PROGRAM,
    RTF,
    SVG,
    TEXT,
    XLSX,
    Family,
    Kind,
    as_text,
    has_macros,
    kind_of,
    kind_of_extension,
    kinds_of_type,
    sizes_of,
    zip_of,
)
from guestwire.policy.rules import BLOCKED_EXTENSIONS, check_characters, check_file
from guestwire.settings import FileSettings, Limits

#: Largest picture that is made to fit, in kilobytes of 1,000 bytes.
MAX_SHRUNK_KB: Final = 64_000
#: Most pixels of a picture; phones make 50 million.
MAX_PIXELS: Final = 64_000_000
#: Most bytes that an archive or a document may unpack to.
MAX_UNPACKED_BYTES: Final = 500_000_000
#: Largest SVG or XML that is looked through, in bytes: each of its elements is.
MAX_MARKUP_BYTES: Final = 2_000_000

_MIME = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")
#: Says nothing of a content.
_ANYTHING: Final = ("application/octet-stream", "binary/octet-stream")
#: Turn the reading order, so that `cod.exe` can be shown as `exe.doc`.
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Not to be seen; joiners are not among them, since scripts and emoji need those.
_INVISIBLE: Final = frozenset("\u00ad\u115f\u1160\u180e\u200b\u2028\u2029\u2060\u2800\u3164\ufeff\uffa0")
#: Devices of Windows, with every extension. Source: Microsoft, "Naming Files, Paths, and Namespaces".
_RESERVED: Final = frozenset(
    (
        *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"),
        *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"),
    )
)
#: Extensions that have no business before another one; `booking.com.pdf` is what a guest may well send.
_INNER: Final = frozenset(
    [
        "exe",
        "scr",
        "pif",
        "bat",
        "vbs",
        "vbe",
        "js",
        "jse",
        "jar",
        "hta",
        "lnk",
        "msi",
        "ps1",
        "php",
        "phtml",
        "asp",
        "aspx",
        "jsp",
        "cgi",
        "dll",
    ]
)
#: What browsers obey wherever it stands near the front, or where a server lets them; in lower case.
_ORDERS: Final = (b"<script", b"<iframe", b"<html", b"<!doctype html", b"<?php", b"<svg onload", b"<svg/onload")
_PE: Final = (b"This program cannot be run in DOS mode", b"This program must be run under Win32")
_OTHERS: Final = ((b"Rar!\x1a\x07", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"))
_AT: Final = ((257, b"ustar", "a tar archive"), (32_769, b"CD001", "a disk image"))
#: Where the bytes that a script's comment needs are free to choose: behind the signature.
_COMMENT_AT: Final = {b"GIF8": 6, b"BM": 2, b"RIFF": 4, b"\xff\xd8\xff": 4}
#: A PDF may write each letter of a name as a number. Source: ISO 32000-1, 7.3.5.
_PDF_ORDERS = re.compile(
    b"|".join(
        b"/" + b"".join(b"(?:%c|#%02x|#%02X)" % (one, one, one) for one in word) + rb"(?![A-Za-z0-9#])"
        for word in (b"JavaScript", b"Launch")
    )
)
_SAFE_HREF = re.compile(r"#|data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)
#: What in a style leads out of the file; a backslash can spell any of it. Possessive, so that spaces are read once.
_STYLE_REACHES = re.compile(
    r"@import|expression\s*+\(|\\|url\s*+\((?!\s*+[\"']?+\s*+(?:#|data:image/(?:png|jpeg|gif|webp)))", re.IGNORECASE
)
_ACTIVE_ELEMENTS: Final = frozenset(
    (
        *("script", "foreignobject", "iframe", "embed", "object", "handler", "listener", "audio", "video", "link"),
        *("base", "meta", "form", "import", "frame", "applet"),
    )
)
_XHTML: Final = "http://www.w3.org/1999/xhtml"
_SVG: Final = "http://www.w3.org/2000/svg"


class FileRules(msgspec.Struct, frozen=True, kw_only=True):
    """What files are taken."""

    max_kb: float
    """In kilobytes of 1,000 bytes, as `check_file` counts them."""
    max_picture_kb: float | None = None
    """Of pictures, where they are made to fit afterwards; None: as of every file."""
    max_name: int = 1023
    """In characters."""
    blocked: Collection[str] = BLOCKED_EXTENSIONS
    """Extensions with their dot, in lower case."""
    types: tuple[str, ...] = ()
    """MIME types, or ``image/*``; none named: every type that is known here."""
    archives: bool = False
    """Take ZIP and the like: what is in them, nobody has looked at."""
    macros: bool = False
    """Take Office documents that bring programs."""
    unknown: bool = False
    """Take extensions and types that are not known here, so that nothing can be held against the content."""
    max_pixels: int = MAX_PIXELS
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES


def rules_of(limits: Limits, files: FileSettings) -> FileRules:
    """Return the rules that a destination's limits and the settings make."""
    return FileRules(
        max_kb=limits.max_file_kb,
        max_name=limits.max_file_name,
        types=limits.media_types,
        archives=files.archives,
        macros=files.macros,
        unknown=files.unknown,
        max_picture_kb=MAX_SHRUNK_KB if files.cleans else None,
    )


def check_media(attachment: Attachment, rules: FileRules, *, path: str = "attachments") -> tuple[Finding, ...]:
    """
    Return everything that is wrong with a file, as far as it can be seen without decoding it. Empty: it may go on.

    Args:
        attachment: The file.
        rules: What is taken.
        path: The field that the file stands in; findings are about its ``.name``, ``.type`` or ``.content``.
    """
    return (
        *check_name(attachment.name, rules, path=f"{path}.name"),
        *_type(attachment, rules, path),
        *_size(attachment, rules, path),
        *(_content(attachment, rules, path) if attachment.content else ()),
    )


def check_name(name: str, rules: FileRules, *, path: str = "attachments.name") -> Iterator[Finding]:
    """Say what is wrong with a file's name, by itself."""
    if not name.strip(". \t\r\n"):
        yield Finding("file.name_empty", path, "the file has no name", "give it one, as in a.pdf")
        return
    yield from check_characters(path, name)
    if len(name) > rules.max_name:
        yield Finding(
            "file.name_too_long",
            path,
            f"a name of {len(name)} characters is longer than {rules.max_name}",
            "rename the file",
        )
    if any(one in "/\\" or one < " " or "\x7f" <= one <= "\x9f" for one in name):
        yield Finding("file.name", path, "the file's name holds a path or control characters", "rename it")
    elif not _INVISIBLE.isdisjoint(name):
        yield Finding("file.name", path, "the file's name holds characters that cannot be seen", "rename it")
    if not _BIDI.isdisjoint(name):
        yield Finding(
            "file.name_bidi",
            path,
            "the file's name turns the reading order, so that its extension shows elsewhere",
            "rename it",
        )
    bare = name.rstrip(". ")
    if bare != name or name[0] == " ":
        yield Finding(
            "file.name_ends", path, "the file's name begins with a space, or ends in dots or spaces", "rename it"
        )
    if bare.lstrip().split(".")[0].rstrip().upper() in _RESERVED:
        yield Finding("file.name_reserved", path, "the file's name is that of a device on Windows", "rename it")
    for finding in check_file(bare, 1, max_kb=float("inf"), blocked=rules.blocked):
        yield msgspec.structs.replace(finding, path=path)
    yield from _extension(bare, rules, path)


def extension_of(name: str) -> str:
    """Return a name's extension with the dot, in lower case; dots and spaces at the end do not count. Empty: none."""
    stem, _, extension = name.rstrip(". ").rpartition(".")
    return f".{extension.strip().lower()}" if stem and extension else ""


def name_of_content(content: bytes) -> str:
    """Say in words what a content is, with its article; what the own table does not know, puremagic may."""
    kind = kind_of(content)
    if kind is not None:
        return kind.name
    try:
        import puremagic
    except ImportError:
        return "of no kind that is known here"
    try:
        found = puremagic.magic_string(content)[0]
    except (puremagic.PureError, ValueError, IndexError):
        return "of no kind that is known here"
    words = re.sub(r"[^A-Za-z0-9 .,/+()-]", "", found.name or found.extension)[:60].strip()
    # A match of two or three bytes is a guess.
    return f"perhaps '{words}'" if words and len(found.byte_match) > 3 else "of no kind that is known here"


def _extension(bare: str, rules: FileRules, path: str) -> Iterator[Finding]:
    extension = extension_of(bare)
    kind = kind_of_extension(extension)
    inner = [part.strip().lower() for part in re.split(r"[.:]", bare)[1:-1]]
    acts = kind is not None and kind.family is Family.PROGRAM
    if any(part in _INNER for part in inner) or (acts and any(_is_known(part) for part in inner)):
        yield Finding(
            "file.name_double", path, "the file's name has two extensions, one of them a program's", "rename it"
        )
    if acts and extension not in rules.blocked:
        yield Finding(
            "file.executable", path, "the file's name is that of a program", "programs are not sent; send a link to it"
        )
    if kind is MACRO_OFFICE and not rules.macros:
        yield _macros(path)
    if extension and kind is None and not rules.unknown and extension not in rules.blocked:
        yield Finding(
            "file.unknown",
            path,
            "an extension that is not known here, so that nothing can be held against the content",
            "send it in a common format, such as PDF, PNG or MP4",
        )


def _is_known(part: str) -> bool:
    kind = kind_of_extension("." + part)
    return kind is not None and kind.family is not Family.PROGRAM


def _type(attachment: Attachment, rules: FileRules, path: str) -> Iterator[Finding]:
    declared = _bare_type(attachment.type)
    if declared and not _MIME.fullmatch(declared):
        yield Finding("file.type", f"{path}.type", "the type is no MIME type", "such as image/png")
        return
    mime = _bare_type(attachment.mime)
    if rules.types and not any(admits(one, mime) for one in rules.types):
        yield Finding(
            "file.type",
            f"{path}.type",
            f"the type {mime[:64]!a} is none that is taken",
            f"one of {', '.join(rules.types)}",
        )
    if not declared or declared in _ANYTHING:
        return
    kinds = kinds_of_type(declared)
    named = kind_of_extension(extension_of(attachment.name))
    if not kinds and not rules.unknown:
        yield Finding(
            "file.unknown",
            f"{path}.type",
            "a type that is not known here, so that nothing can be held against the content",
            "declare what it is, such as application/pdf",
        )
    elif kinds and named is not None and named not in kinds:
        yield Finding(
            "file.mismatch",
            f"{path}.type",
            f"the type says {kinds[0].name}, and the name {named.name}",
            "declare the type that the name has, or leave it out",
        )


def _bare_type(mime: str) -> str:
    """A MIME type without parameters, in lower case."""
    return mime.partition(";")[0].strip().lower()


def admits(allowed: str, mime: str) -> bool:
    """Whether an entry of a list of types admits a type; ``*/*`` and ``image/*`` are such entries too."""
    allowed = allowed.lower()
    return allowed in ("*/*", "*", mime) or (allowed.endswith("/*") and mime.startswith(allowed[:-1]))


def _size(attachment: Attachment, rules: FileRules, path: str) -> Iterator[Finding]:
    most = rules.max_kb
    if rules.max_picture_kb is not None:
        kind = kind_of(attachment.content)
        if kind is not None and kind.family is Family.PICTURE:
            most = max(most, rules.max_picture_kb)
    for finding in check_file("a.txt", len(attachment.content), max_kb=most, blocked=()):
        yield msgspec.structs.replace(finding, path=f"{path}.content")


def _content(attachment: Attachment, rules: FileRules, path: str) -> Iterator[Finding]:
    content = attachment.content
    path = f"{path}.content"
    kind = kind_of(content)
    named = kind_of_extension(extension_of(attachment.name))
    claimed = named or next(iter(kinds_of_type(_bare_type(attachment.type))), None)
    if claimed is not None and not _agree(claimed, kind):
        yield Finding(
            "file.mismatch",
            path,
            f"the content is {name_of_content(content)}, not {claimed.name}",
            "give the file the name and the type of what it is",
        )
    if kind is None:
        return
    if claimed is None and not rules.unknown and kind.family not in (Family.PROGRAM, Family.ARCHIVE):
        yield Finding(
            "file.mismatch",
            path,
            f"the content is {kind.name}, and the name does not say so",
            f"call it something that ends in {kind.extensions[0]}",
        )
    yield from _kind(content, kind, rules, path)
    also = _also(content, kind)
    if also is not None:
        yield Finding(
            "file.polyglot",
            path,
            f"the content is {kind.name} and {also} at once",
            "make it anew: open it, and export it in its own format",
        )
    for width, height in sizes_of(content, kind):
        if width * height > rules.max_pixels:
            yield too_many_pixels(width, height, rules.max_pixels, path=path)
            break


def too_many_pixels(width: int, height: int, most: int, *, path: str) -> Finding:
    """Make the finding about a picture that would fill the memory of whoever shows it."""
    return Finding(
        "file.too_many_pixels",
        path,
        f"{width} x {height} pixels are more than {most:,}",
        "make the picture smaller",
    )


def _agree(claimed: Kind, kind: Kind | None) -> bool:
    if kind is ENCRYPTED:
        return claimed in (DOCX, XLSX, PPTX, MACRO_OFFICE)
    return kind is claimed or (claimed is MACRO_OFFICE and kind in (DOCX, XLSX, PPTX))


def _kind(content: bytes, kind: Kind, rules: FileRules, path: str) -> Iterator[Finding]:
    """Say what is wrong with files of this kind, or with this one of them."""
    if kind.family is Family.PROGRAM:
        yield Finding("file.executable", path, "the content is a program", "programs are not sent; send a link to it")
    reason = _activity(content, kind)
    if reason is not None:
        yield Finding("file.active", path, f"the content {reason}", "send it as a PDF or a picture without scripts")
    if kind.family is Family.ARCHIVE and not rules.archives:
        yield Finding(
            "file.archive",
            path,
            f"the content is {kind.name}, and nobody can see what is in it",
            "send the files themselves",
        )
    if not rules.macros and has_macros(content, kind):
        yield _macros(path)
    if not content.startswith(b"PK"):
        return
    found = zip_of(content)
    if found is not None and found.unpacked_bytes > rules.max_unpacked_bytes:
        megabytes = found.unpacked_bytes // 1_000_000
        yield Finding(
            "file.bomb",
            path,
            f"it would unpack to {megabytes:,} MB, and {rules.max_unpacked_bytes // 1_000_000:,} are taken",
            "send less at a time",
        )
    elif kind.family is Family.DOCUMENT and (found is None or not found.is_whole):
        yield unreadable(path=path, why="it is damaged, or cut off")


def unreadable(*, path: str, why: str) -> Finding:
    """Make the finding about a file that cannot be read."""
    return Finding("file.unreadable", path, f"the file cannot be read: {why}", "open it, and save it again")


def _macros(path: str) -> Finding:
    return Finding("file.macros", path, "an Office document with macros", "save it without macros, or as a PDF")


def _activity(content: bytes, kind: Kind) -> str | None:
    """Say what a content would do by itself, as the rest of a sentence; None: nothing that can be seen."""
    if kind is HTML:
        return "is an HTML page, which a browser obeys"
    if kind is PDF and _PDF_ORDERS.search(content) is not None:
        return "is a PDF that runs scripts or programs"
    if kind is RTF and (b"\\objdata" in content or b"\\objupdate" in content or b"\\object" in content):
        return "is an RTF document with embedded objects"
    if kind is SVG or (
        kind is TEXT and content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"\xff", b"\xfe"))
    ):
        text = as_text(content) or b""
        if kind is SVG or text[:64].lstrip().lower().startswith(b"<?xml"):
            return _activity_of_xml(text, is_svg=kind is SVG)
    return None


def _activity_of_xml(text: bytes, *, is_svg: bool) -> str | None:
    """
    Look through XML for what a browser would do with it.

    Entities, styles from elsewhere, scripts and handlers, and every address but one inside the file itself. Expat does
    the reading: a pattern would miss what character references and prefixes hide.
    """
    from xml.parsers.expat import ExpatError, ParserCreate

    if len(text) > MAX_MARKUP_BYTES:
        return f"is markup of more than {MAX_MARKUP_BYTES // 1000:,} kB, too much to look through"

    inside, styles = [0], list[str]()

    def start(name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if space == _XHTML:
            raise _Found("brings foreign pages")
        if not is_svg and space != _SVG:
            return  # in other XML these names are anybody's
        if local.lower() in _ACTIVE_ELEMENTS:
            raise _Found("brings scripts or foreign pages")
        if local.lower() == "style":
            inside[0] += 1
        for full_key, value in attributes.items():
            key = full_key.rpartition(" ")[2].lower()
            if key.startswith("on"):
                raise _Found("brings scripts in its attributes")
            if key in ("href", "src", "action", "formaction", "base", "attributename") and not _is_safe(key, value):
                raise _Found("reaches for something outside of itself")
            # Most of what has no name space of its own is read as a style too.
            if " " not in full_key and _STYLE_REACHES.search(value):
                raise _Found("reaches for something outside of itself")
            if re.match(r"\s*(?:java|vb)script:|\s*data:(?!image/)", value, re.IGNORECASE):
                raise _Found("brings scripts in its attributes")

    def end(name: str) -> None:
        if name.rpartition(" ")[2].lower() == "style" and inside[0]:
            inside[0] -= 1

    def said(data: str) -> None:
        if inside[0]:
            styles.append(data)  # in pieces: looked at as a whole

    def doctype(name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if has_subset:
            raise _Found("defines entities")

    def entity(*_: object) -> None:
        raise _Found("defines entities")

    def instruction(target: str, _: str) -> None:
        if target.lower().startswith(("xml-stylesheet", "php")):
            raise _Found("brings an instruction for its reader")

    # What stands in it is UTF-8, whatever its first line says: `as_text` has seen to that.
    parser = ParserCreate(encoding="utf-8", namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = said
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = entity
    parser.ProcessingInstructionHandler = instruction
    try:
        parser.Parse(text, True)
    except _Found as found:
        return str(found)
    except (ExpatError, ValueError):
        # Up to where it breaks, a browser obeys it.
        lowered = text.lower()
        if is_svg or any(order in lowered for order in (*_ORDERS, b"<!entity", b"javascript:")):
            return "is damaged markup, of which nobody can say what it does"
    return "reaches for something outside of itself" if _STYLE_REACHES.search("".join(styles)) else None


class _Found(Exception):
    """Something that acts: ends the reading."""


def _is_safe(key: str, value: str) -> bool:
    if key == "attributename":  # animating an address sets it
        return value.strip().rpartition(":")[2].lower() not in ("href", "src") and not value.strip().lower().startswith(
            "on"
        )
    return _SAFE_HREF.match(value.strip()) is not None


def _also(content: bytes, kind: Kind) -> str | None:
    """Say what a content is besides what it is; None: nothing that can be seen."""
    if kind.family not in (Family.PICTURE, Family.MEDIA, Family.DOCUMENT):
        return None
    is_zip = content.startswith(b"PK")
    if not is_zip and (found := zip_of(content)) is not None and found.names:
        return "a ZIP archive"
    if kind is not PDF and b"%PDF-" in content[:1024]:
        return "a PDF document"
    for at, mark, name in _AT:
        if content[at : at + len(mark)] == mark:
            return name
    for mark, name in _OTHERS:
        if mark in content:
            return name
    if is_zip:
        return None
    if any(mark in content for mark in _PE) and kind.family is not Family.DOCUMENT:
        return "a program"
    begin = next((at for mark, at in _COMMENT_AT.items() if content.startswith(mark)), 0)
    if begin and _opens_comment(content, begin, kind):
        return "a script"
    # Documents speak of pages and scripts; what a browser takes for one has it at the front.
    lowered = content[:1024].lower() if kind.family is Family.DOCUMENT else content.lower()
    return "a page with scripts" if any(order in lowered for order in _ORDERS) else None


def _opens_comment(content: bytes, at: int, kind: Kind) -> bool:
    if content[at : at + 2] in (b"/*", b"//", b"<!"):
        return b"*/" in content[at + 2 :] or content[at : at + 2] != b"/*"
    # `GIF89a=...` is an assignment; as a width it would be more than 8,000 pixels.
    return kind is GIF and content[at : at + 1] == b"=" and 0x20 <= content[at + 1] < 0x7F


__all__ = [
    "MAX_PIXELS",
    "PROGRAM",
    "FileRules",
    "admits",
    "check_media",
    "check_name",
    "extension_of",
    "name_of_content",
    "rules_of",
    "too_many_pixels",
    "unreadable",
]
