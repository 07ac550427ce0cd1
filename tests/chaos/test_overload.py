"""More than fits: of messages, of files, of open sockets; and clocks, disks and machines that do not do their part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.chaos.kit import Stage, record, stage
from tests.chaos.test_many import command_line
from tests.journey.auditor import busiest, events_of

YEARS_S = 10 * 31_557_600.0


async def complete(made: Stage, *names: str, **changes: Any) -> None:
    """Everything that was submitted is accepted, once and in order."""
    await made.finish(*names, **changes)
    found, _ = await made.audit()
    assert not found.violations, await made.explain(found, "at the end")
    assert found.waiting == []
    made.integrity()


async def test_ten_times_the_rate(tmp_path: Path) -> None:
    """
    Submitted ten times as fast as may be sent: the queue grows on disk, not in memory, and no window is exceeded.

    The emulator counts the windows; nothing is ever turned away.
    """
    async with stage(tmp_path, ("webmessaging",), limits="documented", echo_delay_ms="0-5") as made:
        relay = await made.start(limits={})
        await made.start(name="sue", relay="never", guests=6, burst=300, waits=False, bursts=20, files=False)
        await made.step(what="part.accepted", times=30)
        before_mb = relay.memory_mb()
        began = asyncio.get_running_loop().time()
        await made.step(what="part.accepted", times=150)
        seconds = asyncio.get_running_loop().time() - began
        grown_mb = relay.memory_mb() - before_mb
        journal = await made.journal()
        submitted = events_of(journal)["part.queued"]
        windows = busiest(made.genesys.requests())
        record(
            "overload", submitted=submitted, accepted=len(made.genesys.messages()), seconds=round(seconds, 1),
            rss_mb=round(relay.memory_mb(), 1), grown_mb=round(grown_mb, 1), busiest=windows._asdict(),
        )  # fmt: skip
        assert submitted >= 10 * len(made.genesys.messages())
        assert windows.messages_per_s <= 5
        assert windows.requests_per_min <= 60
        assert events_of(journal)["part.throttled"] == 0
        assert grown_mb < 20
        assert made.refusals == {}


@contextlib.asynccontextmanager
async def slow_line(url: str, bytes_per_s: int) -> AsyncIterator[str]:
    """A line to a server over which it reads so slowly; yields the address to call instead."""
    place = urlsplit(url)
    lines: set[asyncio.Task[None]] = set()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause_s: float) -> None:
        try:
            while data := await reader.read(1024):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(pause_s * len(data))
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(place.hostname, place.port)
        for work in (pour(reader, forth, 1 / bytes_per_s), pour(back, writer, 0.0)):
            task = asyncio.create_task(work)
            lines.add(task)
            task.add_done_callback(lines.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(lines):
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


async def test_a_receiver_that_is_slow(tmp_path: Path) -> None:
    """It reads 4 kB a second and answers late: what is on its way waits, nothing is doubled, memory does not grow."""
    async with (
        stage(tmp_path, ("webmessaging",), echo_delay_ms="50-150") as made,
        slow_line(made.genesys.url, 4_000) as url,
    ):
        made.url = url
        relay = await made.start(patience={"answer_s": 5.0})
        await made.start(name="sue", relay="never", guests=4, burst=60, waits=False, bursts=4, files=False)
        await made.step(what="part.accepted", times=10)
        before_mb = relay.memory_mb()
        await made.step(what="part.accepted", times=60)
        grown_mb = relay.memory_mb() - before_mb
        record("slow receiver", grown_mb=round(grown_mb, 1))
        assert grown_mb < 20
        await made.forget()
        found, _ = await made.audit()
        assert not found.violations, await made.explain(found, "at the end")
        assert found.duplicates == 0


# --- disks ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of one's own needs root, and a kernel that lets it mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """Leave so many bytes free; returns the file to remove."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return ballast


async def test_a_disk_that_is_nearly_full(tmp_path: Path, disk: Path) -> None:
    """Below `min_free_disk_mb` nothing new is accepted and all else goes on; with room, intake goes on by itself."""
    async with stage(disk / "store", ("webmessaging",), echo_delay_ms="20-40") as made:
        await made.start(min_free_disk_mb=4)
        await made.start(name="sue", relay="never", min_free_disk_mb=4)
        await made.start(name="tom", relay="never", burst=60, waits=False, min_free_disk_mb=4)
        await made.step(what="part.accepted", times=20)
        ballast = fill(disk, leave=2_500_000)
        await refused(made, "GW-S021", 2)
        cli = command_line(made, tmp_path)
        said = await asyncio.to_thread(
            cli, "send", "--to", "webmessaging", "--guest", "1", "x", GUESTWIRE_STORE__MIN_FREE_DISK_MB="4"
        )
        assert (said.code, "[GW-S021]" in said.err) == (4, True)
        await made.accepted()  # what is queued goes on being sent
        ballast.unlink()
        await made.step(what="part.queued", times=20)
        await made.forget()
        await complete(made, "sue", "tom", burst=60)


async def test_a_disk_that_is_full(tmp_path: Path, disk: Path) -> None:
    """Not a byte is left: nothing is accepted, and one can look; with room, everybody goes on by himself."""
    async with stage(disk / "store", ("webmessaging",)) as made:
        await made.start()
        await made.start(name="sue", relay="never")
        await made.step(what="part.accepted", times=20)
        ballast = fill(disk, leave=0)
        await made.start(name="tom", relay="never")
        await refused(made, "GW-S020", 1)
        said = await asyncio.to_thread(command_line(made, tmp_path), "status", "--to", "webmessaging")
        assert (said.code, "parts " in said.out) == (0, True)
        ballast.unlink()
        await made.step(what="part.accepted", times=20)
        await made.forget()
        await complete(made, "sue", "tom")


async def test_a_disk_that_is_read_only(tmp_path: Path, disk: Path) -> None:
    """A process that may only read says so and ends; whoever could write before goes on."""
    async with stage(disk, ("webmessaging",)) as made:
        await made.start()
        await made.start(name="sue", relay="never")
        await made.step(what="part.accepted", times=20)
        with shown_read_only(disk, tmp_path / "readable") as readable:
            late = await made.start(name="tom", folder=str(readable))
            assert not await made.ended(late)
            assert [said.split(" ")[0] for said in made.broken] == ["GW-S001"]
            made.broken.clear()
            cli = command_line(made, tmp_path)
            said = await asyncio.to_thread(cli, "up", "--to", "webmessaging", "--store", readable)
            assert (said.code, "[GW-S001]" in said.err) == (4, True)
        await made.step(what="part.accepted", times=20)
        await made.forget()
        await complete(made, "sue")


@contextlib.contextmanager
def shown_read_only(disk: Path, place: Path) -> Iterator[Path]:
    """The same files at another place, where nobody may write."""
    place.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def refused(made: Stage, code: str, times: int) -> None:
    """Wait until so many submitters were told this code."""
    while made.refusals[code] < times:
        await made.refusal()


# --- sockets ---


async def test_too_few_files(tmp_path: Path) -> None:
    """Forty descriptors for thirty guests: some wait until others have let go, or another process may have more."""
    async with stage(tmp_path, ("webmessaging",)) as made:
        relay = await made.start(max_files=40, patience={"linger_s": 0.2})
        await made.start(name="sue", relay="never", guests=30, burst=30, files=False)
        await made.step(what="part.accepted", times=10)
        await made.kill(relay)
        await made.start()
        await made.step(what="part.accepted", times=60)
        await made.forget()
        await complete(made, "sue")


# --- time ---


async def test_clocks_that_jump(tmp_path: Path) -> None:
    """Each relay has another clock than the last, by an hour and by ten years, and so have submitters: all goes on."""
    async with stage(tmp_path, ("webmessaging", "rest-contract")) as made:
        for ahead_s in (0.0, 3_600.0, -3_600.0, YEARS_S, -YEARS_S, 0.0):
            relay = await made.start(ahead_s=ahead_s)
            submitter = await made.start(name="sue", relay="never", ahead_s=-ahead_s / 2)
            await made.step(what="part.accepted", times=30)
            for child in (relay, submitter):
                await made.kill(child)
        await complete(made, "sue")


async def test_a_relay_that_is_suspended(tmp_path: Path) -> None:
    """Stopped for longer than pongs may take, it goes on: with the connections that are left, or with others."""
    async with stage(tmp_path) as made:
        relay = await made.start(patience={"ping_after_s": 0.2, "dead_after_s": 0.2})
        await made.start(relay="auto")  # stands by: the lock of one that is stopped is held
        await made.start(name="sue", relay="never")
        for _ in range(3):
            await made.step(what="part.accepted", times=10)
            relay.signal(signal.SIGSTOP)
            await asyncio.sleep(0.7)  # the one thing here that is about time that passes
            relay.signal(signal.SIGCONT)
        await made.step(what="part.accepted", times=20)
        assert [entry.event for entry in await made.journal()].count("relay.started") == 1
        await made.forget()
        await complete(made, "sue")
