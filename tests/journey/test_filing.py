"""A file's way into the store: scanned as it came, cleaned, measured, and the same under its key."""

from __future__ import annotations

import asyncio
import io
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from guestwire import Attachment, GuestWire, Limits, Message, Rejected
from guestwire.emulator.app import Emulator
from guestwire.settings import FileSettings, StoreSettings
from guestwire.testing import emulator
from tests.corpora.files import exif, picture
from tests.journey.kit import FAST, QUICK, destination, eventually, settled

#: With a place in it, and so large that it does not fit into 100 kB.
PHOTO = picture("JPEG", (64, 48), exif=exif(6))


def noise(size: int) -> bytes:
    """A picture that hardly compresses."""
    out = io.BytesIO()
    Image.frombytes("L", (size, size), random.Random(7).randbytes(size * size)).save(out, "PNG")  # noqa: S311 - no secret
    return out.getvalue()


@pytest.fixture
async def genesys() -> AsyncIterator[Emulator]:
    """A local Genesys."""
    async with emulator(**FAST) as one:
        yield one


def wire_with(genesys: Emulator, folder: Path, limits: Limits | None = None, **files: Any) -> GuestWire:
    """A program with settings for files."""
    return GuestWire(
        [destination(genesys, **({} if limits is None else {"limits": limits}))],
        store=folder / "store",
        store_settings=StoreSettings(path=folder / "store", min_free_disk_mb=1),
        relay_settings=QUICK,
        files=FileSettings(**files),
    )


def told(content: bytes) -> bool:
    """Whether a picture tells where it was taken."""
    with Image.open(io.BytesIO(content)) as image:
        return bool(image.getexif())


async def arrived(genesys: Emulator) -> bytes:
    """The content that the platform has of the newest message's file."""
    (file,) = genesys.messages()[-1]["attachments"]
    async with aiohttp.ClientSession() as http, http.get(file["url"]) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_a_picture_arrives_without_what_the_camera_wrote(genesys: Emulator, tmp_path: Path) -> None:
    """Turned as it is meant to be seen; the same file under the same key is the same message."""
    assert told(PHOTO)
    async with wire_with(genesys, tmp_path, clean="on") as wire:
        message = Message(guest="1", text="look", key="k", attachments=(Attachment("photo.jpg", PHOTO),))
        ticket = await wire.submit(message)
        assert await settled(wire, ticket) == ["accepted"]
        content = await arrived(genesys)
        assert not told(content)
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (48, 64)
        again = await wire.submit(message)
        assert (again.message_id, again.fresh) == (ticket.message_id, False)


async def test_a_picture_is_made_to_fit(genesys: Emulator, tmp_path: Path) -> None:
    """What is larger than its way out takes is a finding only where nothing can be done about it."""
    large = noise(700)
    limits = Limits(max_file_kb=100)
    assert len(large) > 200_000
    async with wire_with(genesys, tmp_path, limits, clean="on") as wire:
        ticket = await wire.submit(Message(guest="1", attachments=(Attachment("a.png", large),)))
        assert await settled(wire, ticket) == ["accepted"]
        assert len(await arrived(genesys)) <= 100_999
        with pytest.raises(Rejected) as caught:
            await wire.submit(Message(guest="1", attachments=(Attachment("a.txt", b"x" * 200_000),)))
        assert [finding.rule for finding in caught.value.findings] == ["file.too_large"]
    async with wire_with(genesys, tmp_path, limits, clean="off") as wire:
        with pytest.raises(Rejected) as caught:
            await wire.submit(Message(guest="1", attachments=(Attachment("a.png", large),)))
        assert [finding.rule for finding in caught.value.findings] == ["file.too_large"]


async def test_what_cannot_be_decoded_is_refused_and_the_next_file_is_not(genesys: Emulator, tmp_path: Path) -> None:
    """A picture that breaks off; then one that does not."""
    async with wire_with(genesys, tmp_path, clean="on") as wire:
        with pytest.raises(Rejected) as caught:
            await wire.submit(Message(guest="1", attachments=(Attachment("a.png", picture("PNG")[:90]),)))
        assert [finding.rule for finding in caught.value.findings] == ["file.unreadable"]
        good = Message(guest="1", attachments=(Attachment("a.png", picture("PNG")),))
        assert await settled(wire, await wire.submit(good)) == ["accepted"]


@pytest.mark.parametrize(
    ("file", "rule"),
    [
        (Attachment("photo.png", b"%PDF-1.7\n%%EOF"), "file.mismatch"),
        (Attachment("photo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>"), "file.active"),
        (Attachment("invoice.exe.txt", b"x"), "file.name_double"),
        (Attachment("a.txt", b"MZ" + bytes(200) + b"This program cannot be run in DOS mode"), "file.executable"),
    ],
)
async def test_what_is_not_what_it_says_is_refused(
    genesys: Emulator, tmp_path: Path, file: Attachment, rule: str
) -> None:
    """Before anything is stored."""
    async with wire_with(genesys, tmp_path) as wire:
        assert rule in {finding.rule for finding in wire.check(Message(guest="1", attachments=(file,)))}
        with pytest.raises(Rejected):
            await wire.submit(Message(guest="1", attachments=(file,)))
        assert (await wire.status()).store.parts == {}


async def test_a_scanner_has_the_first_word(genesys: Emulator, tmp_path: Path) -> None:
    """It sees the file as it came; without an answer of its the file is not taken."""
    seen = tmp_path / "seen"
    scanner = tmp_path / "scanner.py"
    scanner.write_text(
        "import sys, pathlib\n"
        "content = sys.stdin.buffer.read()\n"
        f"pathlib.Path({str(seen)!r}).write_bytes(content)\n"
        "sys.exit(1 if b'EICAR' in content else 2 if b'odd' in content else 0)\n"
    )
    async with wire_with(genesys, tmp_path, scan=(sys.executable, str(scanner)), clean="on") as wire:
        ticket = await wire.submit(Message(guest="1", attachments=(Attachment("photo.jpg", PHOTO),)))
        assert await settled(wire, ticket) == ["accepted"]
        assert await asyncio.to_thread(seen.read_bytes) == PHOTO
        for content, rule in ((b"EICAR", "file.infected"), (b"odd", "file.not_scanned")):
            with pytest.raises(Rejected) as caught:
                await wire.submit(Message(guest="1", attachments=(Attachment("a.txt", content),)))
            assert [finding.rule for finding in caught.value.findings] == [rule]


async def test_a_warning_goes_with_the_ticket(genesys: Emulator, tmp_path: Path) -> None:
    """A picture that nobody here can decode is sent as it is, and said to be."""
    heic = (24).to_bytes(4, "big") + b"ftypheic" + bytes(4) + b"heicmif1" + (16).to_bytes(4, "big") + b"mdat" + bytes(8)
    async with wire_with(genesys, tmp_path, clean="on") as wire:
        ticket = await wire.submit(Message(guest="1", attachments=(Attachment("a.heic", heic),)))
        assert [(finding.rule, finding.action) for finding in ticket.findings] == [("file.not_cleaned", "warn")]
        _, entries = await wire.find(ticket.message_id)
        assert entries[0].detail["findings"] == {"file.not_cleaned": "warn"}


async def test_closing_ends_the_worker(genesys: Emulator, tmp_path: Path) -> None:
    """Nothing of it is left behind."""
    wire = wire_with(genesys, tmp_path, clean="on")
    async with wire:
        await wire.submit(Message(guest="1", attachments=(Attachment("a.png", picture("PNG")),)))
        worker = wire._filing._worker
        assert worker is not None
        pid = worker.pid
        assert pid is not None
    await eventually(lambda: not Path(f"/proc/{pid}").exists())
