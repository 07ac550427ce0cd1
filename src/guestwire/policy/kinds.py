"""
What a file is: by its content, by its declared type, by its extension.

One table for the kinds of files that guests send, and for those that nobody should. A content is told by its first
bytes, as every reader of it does; text by what it lacks. Containers (ZIP, OLE, ISO media) are looked into only as far
as the names of what they hold. Nothing is decoded or inflated, and every look is linear in the content.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

#: More entries of a ZIP than this are not read: no document has as many.
MAX_ENTRIES: Final = 10_000
#: What of a text is looked at to see what text it is, in bytes.
HEAD_BYTES: Final = 4096


class Family(enum.Enum):
    """What a kind of file is good for, and so what may be done with it."""

    PICTURE = "picture"
    MEDIA = "media"
    DOCUMENT = "document"
    TEXT = "text"
    MARKUP = "markup"
    ARCHIVE = "archive"
    PROGRAM = "program"


class Kind(NamedTuple):
    """A kind of file."""

    name: str
    """With its article, as a sentence needs it."""
    family: Family
    types: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    """With their dot."""


class Zip(NamedTuple):
    """What the directory of a ZIP tells."""

    names: tuple[str, ...]
    """Of its members; at most `MAX_ENTRIES`."""
    unpacked_bytes: int
    """What the members say they unpack to; a lie costs the one who unpacks it, not us."""
    is_whole: bool
    """False: the directory is damaged, or has more entries than are read."""


def _kind(name: str, family: Family, types: str, extensions: str) -> Kind:
    """Make a row of the table; types and extensions (without their dot) are parted by spaces."""
    return Kind(name, family, tuple(types.split()), tuple(f".{one}" for one in extensions.split()))


PNG = _kind(
    "a PNG picture",
    Family.PICTURE,
    "image/png image/apng",
    "png apng",
)
JPEG = _kind(
    "a JPEG picture",
    Family.PICTURE,
    "image/jpeg image/jpg image/pjpeg",
    "jpg jpeg jfif",
)
GIF = _kind(
    "a GIF picture",
    Family.PICTURE,
    "image/gif",
    "gif",
)
WEBP = _kind(
    "a WebP picture",
    Family.PICTURE,
    "image/webp",
    "webp",
)
BMP = _kind(
    "a BMP picture",
    Family.PICTURE,
    "image/bmp image/x-ms-bmp",
    "bmp",
)
TIFF = _kind(
    "a TIFF picture",
    Family.PICTURE,
    "image/tiff",
    "tif tiff",
)
HEIF = _kind(
    "a HEIF picture",
    Family.PICTURE,
    "image/heic image/heif image/heic-sequence image/heif-sequence image/avif",
    "heic heif avif",
)
# Phones write the same boxes under each of these names.
MP4 = _kind(
    "an MP4 recording",
    Family.MEDIA,
    "video/mp4 video/quicktime video/3gpp video/3gpp2 video/x-m4v audio/mp4 audio/x-m4a audio/m4a "
    "audio/3gpp audio/mp4a-latm",
    "mp4 m4v mov qt 3gp 3gpp 3g2 m4a",
)
MATROSKA = _kind(
    "a WebM recording",
    Family.MEDIA,
    "video/webm audio/webm video/x-matroska audio/x-matroska video/matroska audio/matroska",
    "webm weba mkv mka",
)
OGG = _kind(
    "an Ogg recording",
    Family.MEDIA,
    "audio/ogg video/ogg application/ogg audio/opus",
    "ogg oga ogv opus",
)
MP3 = _kind(
    "an MP3 recording",
    Family.MEDIA,
    "audio/mpeg audio/mp3 audio/x-mp3",
    "mp3 mpga",
)
AAC = _kind(
    "an AAC recording",
    Family.MEDIA,
    "audio/aac audio/x-aac audio/aacp",
    "aac",
)
WAV = _kind(
    "a WAV recording",
    Family.MEDIA,
    "audio/wav audio/x-wav audio/wave audio/vnd.wave",
    "wav",
)
FLAC = _kind(
    "a FLAC recording",
    Family.MEDIA,
    "audio/flac audio/x-flac",
    "flac",
)
AMR = _kind(
    "an AMR recording",
    Family.MEDIA,
    "audio/amr audio/amr-wb audio/3gpp",
    "amr awb",
)
AVI = _kind(
    "an AVI recording",
    Family.MEDIA,
    "video/x-msvideo video/avi video/vnd.avi",
    "avi",
)
MPEG = _kind(
    "an MPEG recording",
    Family.MEDIA,
    "video/mpeg",
    "mpg mpeg mpe",
)
PDF = _kind(
    "a PDF document",
    Family.DOCUMENT,
    "application/pdf application/x-pdf",
    "pdf",
)
RTF = _kind(
    "an RTF document",
    Family.DOCUMENT,
    "application/rtf text/rtf",
    "rtf",
)
DOCX = _kind(
    "a Word document",
    Family.DOCUMENT,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "docx",
)
XLSX = _kind(
    "an Excel workbook",
    Family.DOCUMENT,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xlsx",
)
PPTX = _kind(
    "a PowerPoint presentation",
    Family.DOCUMENT,
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "pptx ppsx",
)
ODF = _kind(
    "an OpenDocument file",
    Family.DOCUMENT,
    "application/vnd.oasis.opendocument.text application/vnd.oasis.opendocument.spreadsheet "
    "application/vnd.oasis.opendocument.presentation",
    "odt ods odp",
)
EPUB = _kind(
    "an EPUB book",
    Family.DOCUMENT,
    "application/epub+zip",
    "epub",
)
#: Word, Excel and PowerPoint as they were before 2007.
OFFICE_97 = _kind(
    "an old Office document",
    Family.DOCUMENT,
    "application/msword application/vnd.ms-excel application/vnd.ms-powerpoint application/vnd.ms-outlook",
    "doc xls ppt pps msg",
)
TEXT = _kind(
    "a text",
    Family.TEXT,
    "text/plain text/csv text/tab-separated-values text/markdown text/calendar text/vcard text/x-vcard "
    "text/xml application/xml application/json application/yaml text/yaml application/x-yaml text/x-log",
    "txt text log csv tsv md ics vcf xml json yaml yml",
)
SVG = _kind(
    "an SVG picture",
    Family.MARKUP,
    "image/svg+xml",
    "svg",
)
HTML = _kind(
    "an HTML page",
    Family.MARKUP,
    "text/html application/xhtml+xml multipart/related message/rfc822",
    "html htm xhtml xht shtml mht mhtml",
)
ZIP = _kind(
    "a ZIP archive",
    Family.ARCHIVE,
    "application/zip application/x-zip-compressed",
    "zip",
)
ARCHIVE = _kind(
    "an archive",
    Family.ARCHIVE,
    "application/gzip application/x-gzip application/x-7z-compressed application/x-tar application/zstd "
    "application/vnd.rar application/x-rar-compressed application/x-bzip2 application/x-xz "
    "application/x-iso9660-image application/vnd.ms-cab-compressed",
    "gz tgz 7z tar rar bz2 xz zst cab iso img lzh arj ace svgz",
)
#: Office documents under a password; their types and extensions are those of the document inside.
ENCRYPTED: Final = Kind("an encrypted Office document", Family.ARCHIVE)
MACRO_OFFICE = _kind(
    "an Office document with macros",
    Family.DOCUMENT,
    "application/vnd.ms-word.document.macroenabled.12 application/vnd.ms-excel.sheet.macroenabled.12 "
    "application/vnd.ms-powerpoint.presentation.macroenabled.12 application/vnd.ms- "
    "excel.sheet.binary.macroenabled.12",
    "docm dotm xlsm xltm xlsb xlam pptm potm ppsm ppam sldm",
)
# Its extensions are what a double click starts on one system or another.
PROGRAM = _kind(
    "a program",
    Family.PROGRAM,
    "application/x-msdownload application/x-msdos-program application/x-dosexec application/x-executable "
    "application/x-sh application/javascript text/javascript application/x-javascript application/java- "
    "archive application/vnd.android.package-archive application/x-msi application/wasm "
    "application/x-httpd-php application/x-shockwave-flash application/hta application/x-powershell "
    "application/x-bat text/x-python text/x-shellscript",
    "ade adp apk app appimage application bas bat bin cgi chm class cmd com cpl crx deb desktop dll dmg "
    "elf exe gadget hta inf ins jar js jse jsp ksh lnk mjs msc msh msi msix msp mst ocx paf pif php pl "
    "ps1 psm1 py pyc pyw rb reg rpm run scf scr sct sh swf sys url vb vbe vbs vxd wasm workflow ws wsc "
    "wsf wsh xll xpi",
)

#: Every kind that a name or a declared type can mean.
KINDS: Final = (
    *(PNG, JPEG, GIF, WEBP, BMP, TIFF, HEIF, MP4, MATROSKA, OGG, MP3, AAC, WAV, FLAC, AMR, AVI, MPEG),
    *(PDF, RTF, DOCX, XLSX, PPTX, ODF, EPUB, OFFICE_97, MACRO_OFFICE, TEXT, SVG, HTML, ZIP, ARCHIVE, PROGRAM),
)
_BY_EXTENSION: Final = {extension: kind for kind in KINDS for extension in kind.extensions}
#: audio/3gpp is said of two kinds.
_BY_TYPE: Final = {mime: tuple(kind for kind in KINDS if mime in kind.types) for one in KINDS for mime in one.types}

_BEGINS: Final = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"\x1aE\xdf\xa3", MATROSKA),
    (b"OggS", OGG),
    (b"ID3", MP3),
    (b"fLaC", FLAC),
    (b"#!AMR", AMR),
    (b"\0\0\x01\xba", MPEG),
    (b"\0\0\x01\xb3", MPEG),
    (b"\xef\xbb\xbf%PDF-", PDF),
    (b"%PDF-", PDF),
    (b"{\\rtf", RTF),
    (b"\x1f\x8b", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"\xfd7zXZ\0", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"MSCF\0\0\0\0", ARCHIVE),
    (b"(\xb5/\xfd", ARCHIVE),
    (b"\x7fELF", PROGRAM),
    (b"\xca\xfe\xba\xbe", PROGRAM),  # Java's classes, and Mach-O for several machines
    (b"\xfe\xed\xfa\xce", PROGRAM),
    (b"\xfe\xed\xfa\xcf", PROGRAM),
    (b"\xce\xfa\xed\xfe", PROGRAM),
    (b"\xcf\xfa\xed\xfe", PROGRAM),
    (b"\0asm", PROGRAM),
    (b"dex\n", PROGRAM),
    (b"L\0\0\0\x01\x14\x02\0", PROGRAM),  # a Windows shortcut
    (b"ITSF\x03\0", PROGRAM),  # compiled help
    (b"!<arch>\n", PROGRAM),
    (b"\xed\xab\xee\xdb", PROGRAM),
)
_RIFF: Final = {b"WEBP": WEBP, b"WAVE": WAV, b"AVI ": AVI}
_HEIF_BRANDS: Final = frozenset(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS: Final = tuple(
    name.encode("utf-16-le")
    for name in ("WordDocument", "Workbook", "Book\0", "PowerPoint Document", "__properties_version1.0")
)
_OLE_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_OLE_MACROS: Final = tuple(name.encode("utf-16-le") for name in ("_VBA_PROJECT", "VBA"))
_END = Struct("<4s4H2LH")
_ENTRY = Struct("<4s6H3L5H2L")
# What no text has: control characters but those that end lines, turn pages and colour terminals.
_NOT_TEXT: Final = bytes(set(range(32)) - set(b"\t\n\f\r\x1b")) + b"\x7f"
_MARKUP = re.compile(
    rb"(?:<\?xml\b[^>]{0,512}\?>|<!--(?:[^-]|-(?!->)){0,2048}-->|<!doctype\b[^>\[]{0,512}>|\s+)*+<!?(?:[\w.-]+:)?"
    rb"(svg|html|head|body|script|iframe|doctype|img|table|div|meta|title|style|link|a|p|h1|br|font|b|object|embed)"
    rb"(?=[\s/>\[])",
    re.IGNORECASE,
)
#: In XML, the other names are anybody's.
_ROOTS: Final = (b"svg", b"html", b"script", b"doctype")
_MIME_HTML = re.compile(rb"(?:[A-Za-z-]+:[^\n]*\n){0,20}content-type:\s*(?:multipart/related|text/html)", re.IGNORECASE)


def kind_of(content: bytes) -> Kind | None:
    """Say what a content is; None: nothing that is known here."""
    for begin, kind in _BEGINS:
        if content.startswith(begin):
            return kind
    if content.startswith(b"RIFF"):
        return _RIFF.get(content[8:12])
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(content)
    if content.startswith(_OLE):
        if _OLE_ENCRYPTED in content:
            return ENCRYPTED
        return OFFICE_97 if any(name in content for name in _OLE_STREAMS) else PROGRAM  # an installer, mostly
    if content[4:8] == b"ftyp":
        brands = {content[8:12], *(content[at : at + 4] for at in range(16, min(_box(content), 256), 4))}
        return HEIF if brands & _HEIF_BRANDS else MP4
    if content[4:8] in (b"moov", b"mdat", b"wide", b"free") and _box(content) >= 8:
        return MP4  # QuickTime, before there was ftyp
    if content[257:262] == b"ustar" or content[32769:32774] == b"CD001":
        return ARCHIVE
    text = as_text(content)
    if text is not None:
        return _kind_of_text(text)
    return _by_few_bytes(content)


def kind_of_extension(extension: str) -> Kind | None:
    """Say what a file is by its extension, with the dot, in lower case."""
    return _BY_EXTENSION.get(extension)


def kinds_of_type(mime: str) -> tuple[Kind, ...]:
    """Say what a file can be by its MIME type, in lower case and without parameters; nothing: it is not known here."""
    return _BY_TYPE.get(mime, ())


def as_text(content: bytes) -> bytes | None:
    """
    Return a text in UTF-8 (or an older encoding of 8 bits); None where the content is none.

    UTF-16 counts only with its mark at the front: without it, nobody can tell it from something else.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            content = content.decode("utf-16").encode("utf-8")
        except UnicodeError:
            return None
    if not content:
        return None
    strange = len(content) - len(content.translate(None, _NOT_TEXT))
    if strange:
        return None
    if not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            # An older encoding of 8 bits. Of other things, few go on for so long without a control character.
            high = len(content) - len(content.translate(None, bytes(range(128, 256))))
            if len(content) < 64 and high * 2 > len(content):
                return None
    return content.removeprefix(b"\xef\xbb\xbf")


def zip_of(content: bytes) -> Zip | None:
    """
    Read the directory of a ZIP that ends in this content, whatever it begins with; None: there is none.

    Source: APPNOTE.TXT 4.3.16 and 4.3.12. The end of the directory is searched for where readers do:
    in the last 64 KiB.
    """
    at = len(content)
    for _ in range(64):
        at = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557), at)
        if at < 0:
            return None
        if at + _END.size > len(content):
            continue
        _, disk, first_disk, here, entries, size, offset, comment = _END.unpack_from(content, at)
        if (
            at + _END.size + comment <= len(content)
            and here <= entries
            and (disk, first_disk) in ((0, 0), (65535,) * 2)
        ):
            break
    else:
        return None
    start = at - size
    if start < 0 or (entries and offset > start and offset != 0xFFFF_FFFF):
        return Zip((), 0, is_whole=False) if entries else None
    names: list[str] = []
    unpacked = 0
    place = start
    while place + _ENTRY.size <= at and len(names) < MAX_ENTRIES:
        fields = _ENTRY.unpack_from(content, place)
        if fields[0] != b"PK\x01\x02":
            break
        name, extra, remark = fields[10:13]
        unpacked += fields[9]
        names.append(content[place + _ENTRY.size : place + _ENTRY.size + name].decode("utf-8", "replace"))
        place += _ENTRY.size + name + extra + remark
    return Zip(tuple(names), unpacked, is_whole=place == at and entries in (len(names), 0xFFFF))


def has_macros(content: bytes, kind: Kind) -> bool:
    """Say whether an Office document brings macros, as far as the names of its parts tell."""
    if kind is OFFICE_97:
        return all(name in content for name in _OLE_MACROS)
    if kind in (DOCX, XLSX, PPTX, ODF):
        found = zip_of(content)
        return found is not None and any(
            name.lower().endswith(("vbaproject.bin", "vbadata.xml"))
            or "/macrosheets/" in f"/{name.lower()}"
            or (kind is ODF and name.startswith(("Basic/", "Scripts/")))
            for name in found.names
        )
    return kind is MACRO_OFFICE


def _box(content: bytes) -> int:
    """Size of the first box of ISO media."""
    return int.from_bytes(content[:4], "big")


def _kind_of_zip(content: bytes) -> Kind:
    found = zip_of(content)
    names = frozenset(found.names) if found is not None else frozenset[str]()
    if content[30:38] == b"mimetype":
        mime = content[38:110]
        if mime.startswith(b"application/epub+zip"):
            return EPUB
        if mime.startswith(b"application/vnd.oasis.opendocument."):
            return ODF
    if "[Content_Types].xml" in names:
        for folder, kind in (("word/", DOCX), ("xl/", XLSX), ("ppt/", PPTX)):
            if any(name.startswith(folder) for name in names):
                return kind
    if "AndroidManifest.xml" in names or "META-INF/MANIFEST.MF" in names:
        return PROGRAM
    return ZIP


def _kind_of_text(text: bytes) -> Kind:
    if text.startswith(b"#!"):
        return PROGRAM
    head = text[:HEAD_BYTES]
    lowered = head.lower()
    is_xml = lowered.lstrip().startswith(b"<?xml")
    if (found := _MARKUP.match(lowered)) is not None and not (is_xml and found[1] not in _ROOTS):
        return SVG if found[1] == b"svg" or b"<!doctype svg" in found[0] else HTML
    if lowered.lstrip().startswith(b"<?php") or b"[internetshortcut]" in lowered[:64]:
        return PROGRAM
    if lowered.lstrip().startswith((b"<?xml", b"<!--", b"<!doctype")):
        # The root stands behind more than was matched: an entity table, a long comment.
        if re.search(rb"<!doctype\s+svg|<(?:\w+:)?svg[\s>]", lowered):
            return SVG
        if re.search(rb"<!doctype\s+html|<(?:\w+:)?(?:html|script)[\s>]", lowered):
            return HTML
    return HTML if _MIME_HTML.match(head) else TEXT


def _by_few_bytes(content: bytes) -> Kind | None:
    """Kinds with a mark so short that a text could begin with it."""
    if content.startswith(b"MZ"):
        return PROGRAM
    if content.startswith((b"FWS", b"CWS", b"ZWS")):
        return PROGRAM
    if content.startswith(b"BM") and content[6:10] == bytes(4) and content[14:18] in _BMP_HEADERS:
        return BMP
    if len(content) >= 4 and content[0] == 0xFF:
        version, layer = content[1] >> 3 & 3, content[1] >> 1 & 3
        if content[1] & 0xE0 == 0xE0 and version != 1 and content[2] >> 4 != 15 and content[2] >> 2 & 3 != 3:
            if layer == 0 and content[1] & 0xF0 == 0xF0:
                return AAC
            return MP3 if layer else None
    return None


_BMP_HEADERS: Final = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def sizes_of(content: bytes, kind: Kind) -> Iterator[tuple[int, int]]:
    """Give width and height, in pixels, as often as the headers of a picture state them; nothing: not known here."""
    if kind is PNG and content[12:16] == b"IHDR":
        yield _two(content, 16, 4, "big")
    elif kind is GIF:
        yield _two(content, 6, 2, "little")
    elif kind is BMP:
        width, height = _two(content, 18, 4, "little") if content[14] != 12 else _two(content, 18, 2, "little")
        yield width, min(height, 2**32 - height)  # negative: from the top down
    elif kind is WEBP:
        form = content[12:16]
        if form == b"VP8X" and len(content) >= 30:
            yield (
                int.from_bytes(content[24:27], "little") + 1,
                int.from_bytes(content[27:30], "little") + 1,
            )
        elif form == b"VP8 " and len(content) >= 30:
            width, height = _two(content, 26, 2, "little")
            yield width & 0x3FFF, height & 0x3FFF
        elif form == b"VP8L" and len(content) >= 25:
            bits = int.from_bytes(content[21:25], "little")
            yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind is JPEG:
        yield from _frames_of_jpeg(content)


def _two(content: bytes, at: int, width: int, order: str) -> tuple[int, int]:
    first, second = content[at : at + width], content[at + width : at + 2 * width]
    if order == "big":
        return int.from_bytes(first, "big"), int.from_bytes(second, "big")
    return int.from_bytes(first, "little"), int.from_bytes(second, "little")


def _frames_of_jpeg(content: bytes) -> Iterator[tuple[int, int]]:
    """The sizes in the frame headers before the first scan; each marker says where the next one is."""
    at = 2
    for _ in range(MAX_ENTRIES):
        if at + 4 > len(content) or content[at] != 0xFF:
            return
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            return
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(content):
            height, width = _two(content, at + 5, 2, "big")
            yield width, height
        at += 2 + max(int.from_bytes(content[at + 2 : at + 4], "big"), 2)
