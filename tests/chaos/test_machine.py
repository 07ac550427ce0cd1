"""
Whatever a machine may do wrong: each row of that part of docs/faults.md happens, to processes and a real emulator.

The page is the test: its rows name the scene, and say what becomes of messages, and within which waits.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestwire import JournalEntry, Ticket
from tests.chaos.kit import Stage, stage
from tests.chaos.test_many import command_line
from tests.journey.recovery import exceeded, observed, seconds_of, stated, written
from tests.journey.test_cli_kit import GUESTWIRE, Cli, ended, line_with
from tests.journey.test_fault_matrix import STORIES, TABLES, Row, story_in

ROOT = Path(__file__).parents[2]
ROWS = [row for table in TABLES for row in table if "staged by" in row.cells]
HERE = [row for row in ROWS if row.words("staged by")[:1] and row.words("staged by")[0].startswith("scene ")]
ELSEWHERE = [row for row in ROWS if row.cells["staged by"].startswith("tests/")]
#: Nothing that was said behind a file waits for it here: files have pauses of their own.
PLAIN: dict[str, Any] = {"files": False}


@pytest.mark.parametrize("row", HERE, ids=str)
async def test_a_machine_does_as_stated(tmp_path: Path, row: Row) -> None:
    """Nothing lost, nothing doubled without record, order kept; each message has a stated story, and no other waits."""
    name, *options = row.words("staged by")[0].removeprefix("scene ").split(" ")
    await SCENES[name](row, tmp_path, *options)


async def complete(made: Stage, row: Row, *names: str, **changes: Any) -> None:
    """Everything that was submitted is accepted, once, in order, and as the row says; then the files are whole."""
    await went_as_stated(made, row)
    await made.forget()
    await made.finish(*names, **{**PLAIN, **changes})
    found, _ = await made.audit()
    assert not found.violations, await made.explain(found, "at the end")
    assert found.waiting == []
    made.integrity()


async def went_as_stated(made: Stage, row: Row) -> None:
    """What callers were told of up to now comes to its end in a way that the row names; more may be on its way."""
    tickets = [ticket for _, ticket in made.told.values()]
    await made.accepted()
    check_stories(row, await made.journal(), tickets)


def check_stories(row: Row, entries: list[JournalEntry], tickets: list[Ticket]) -> None:
    """Each message went as one of the row's words says, without any wait that the row does not have."""
    stories = [STORIES[word] for word in row.words("message")]
    at_most, _ = stated(row.cells["within"])
    assert tickets
    for ticket in tickets:
        assert story_in(entries, ticket) in stories
        (part,) = ticket.part_ids
        of_part = [entry.seq for entry in entries if entry.part_id == part and entry.event != "part.queued"]
        life = [
            entry for entry in entries if entry.guest_ref == ticket.guest_ref and of_part[0] <= entry.seq <= of_part[-1]
        ]
        waits = observed(life, part)
        assert not exceeded(waits, at_most), written(waits)


# --- disks ---


@contextlib.contextmanager
def disk_of_12_mb(folder: Path) -> Iterator[Path]:
    """A file system of one's own."""
    place = folder / "disk"
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


async def disk_nearly_full(row: Row, folder: Path) -> None:
    """Below `min_free_disk_mb` nothing new is accepted and all else goes on; with room, intake goes on by itself."""
    with disk_of_12_mb(folder) as disk:
        async with stage(disk / "store", ("webmessaging",), echo_delay_ms="20-40") as made:
            await made.start(min_free_disk_mb=4)
            await made.start(name="sue", relay="never", min_free_disk_mb=4, **PLAIN)
            await made.start(name="tom", relay="never", burst=60, waits=False, min_free_disk_mb=4, **PLAIN)
            await made.step(what="part.accepted", times=20)
            ballast = fill(disk, leave=2_500_000)
            (code,) = codes(row)
            await refused(made, code, 2)
            cli = command_line(made, folder)
            said = await asyncio.to_thread(
                cli, "send", "--to", "webmessaging", "--guest", "1", "x", GUESTWIRE_STORE__MIN_FREE_DISK_MB="4"
            )
            assert (said.code, f"[{code}]" in said.err) == (4, True)
            await made.accepted()  # what is queued goes on being sent
            ballast.unlink()
            await made.step(what="part.queued", times=20)
            await complete(made, row, "sue", "tom", burst=60)


async def disk_full(row: Row, folder: Path) -> None:
    """Not a byte is left: nothing is accepted, and one can look; with room, everybody goes on by himself."""
    with disk_of_12_mb(folder) as disk:
        async with stage(disk / "store", ("webmessaging",)) as made:
            await made.start()
            await made.start(name="sue", relay="never", **PLAIN)
            await made.step(what="part.accepted", times=20)
            ballast = fill(disk, leave=0)
            await made.start(name="tom", relay="never", **PLAIN)
            (code,) = codes(row)
            await refused(made, code, 1)
            said = await asyncio.to_thread(command_line(made, folder), "status", "--to", "webmessaging")
            assert (said.code, "parts " in said.out) == (0, True)
            ballast.unlink()
            await made.step(what="part.accepted", times=20)
            await complete(made, row, "sue", "tom")


async def disk_read_only(row: Row, folder: Path) -> None:
    """A process that may only read says so and ends; whoever could write before goes on."""
    with disk_of_12_mb(folder) as disk:
        async with stage(disk, ("webmessaging",)) as made:
            await made.start()
            await made.start(name="sue", relay="never", **PLAIN)
            await made.step(what="part.accepted", times=20)
            (code,) = codes(row)
            with shown_read_only(disk, folder / "readable") as readable:
                late = await made.start(name="tom", folder=str(readable))
                assert not await made.ended(late)
                assert [said.split(" ")[0] for said in made.broken] == [code]
                made.broken.clear()
                cli = command_line(made, folder)
                said = await asyncio.to_thread(cli, "up", "--to", "webmessaging", "--store", readable)
                assert (said.code, f"[{code}]" in said.err) == (4, True)
            await made.step(what="part.accepted", times=20)
            await complete(made, row, "sue")


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


def codes(row: Row) -> list[str]:
    """Codes that callers are told meanwhile."""
    return re.findall(r"GW-\w+", row.cells["meanwhile"])


async def refused(made: Stage, code: str, times: int) -> None:
    """Wait until so many submitters were told this code."""
    while made.refusals[code] < times:
        await made.refusal()


# --- sockets ---


async def too_few_files(row: Row, folder: Path) -> None:
    """Forty descriptors for thirty guests: some wait until others have let go, or another process may have more."""
    async with stage(folder, ("webmessaging",)) as made:
        relay = await made.start(max_files=40, patience={"linger_s": 0.2})
        await made.start(name="sue", relay="never", guests=30, burst=30, **PLAIN)
        await made.step(what="part.accepted", times=10)
        await made.kill(relay)
        await made.start()
        await made.step(what="part.accepted", times=60)
        await complete(made, row, "sue", guests=30, burst=30)


# --- time ---


async def clock_ahead(row: Row, folder: Path, ahead_s: str) -> None:
    """Relays and submitters have clocks that are right, wrong, and right again: all goes on."""
    async with stage(folder, ("webmessaging", "rest-contract")) as made:
        for relay_s in (0.0, float(ahead_s), 0.0):
            relay = await made.start(ahead_s=relay_s)
            submitter = await made.start(name="sue", relay="never", ahead_s=-relay_s / 2, **PLAIN)
            await made.step(what="part.accepted", times=30)
            for child in (relay, submitter):
                await made.kill(child)
        await made.start()
        await complete(made, row, "sue")


async def suspended(row: Row, folder: Path) -> None:
    """Stopped for longer than pongs may take, it goes on: with the connections that are left, or with others."""
    async with stage(folder) as made:
        relay = await made.start(patience={"ping_after_s": 0.2, "dead_after_s": 0.2})
        await made.start(relay="auto")  # stands by: the lock of one that is stopped is held
        await made.start(name="sue", relay="never", **PLAIN)
        for _ in range(3):
            await made.step(what="part.accepted", times=10)
            relay.signal(signal.SIGSTOP)
            await asyncio.sleep(0.7)  # the one thing here that is about time that passes
            relay.signal(signal.SIGCONT)
        await made.step(what="part.accepted", times=20)
        assert [entry.event for entry in await made.journal()].count("relay.started") == 1
        await complete(made, row, "sue")


# --- what is around a process ---


async def nobody_reads(row: Row, folder: Path) -> None:
    """Whoever read what `up` says is gone: every line that it writes is a broken pipe, and it goes on relaying."""
    async with stage(folder / "store", ("webmessaging",)) as made:
        cli = command_line(made, folder)
        up = cli.start("--log-level", "debug", "up", "--to", "webmessaging", "--pace", "off")
        await asyncio.to_thread(line_with, up.stderr, "relaying out of")
        for pipe in (up.stdout, up.stderr):
            assert pipe is not None
            pipe.close()
        await made.start(name="sue", relay="never", **PLAIN)
        await made.step(what="part.accepted", times=20)
        assert up.poll() is None
        await complete(made, row, "sue")
        up.send_signal(signal.SIGTERM)
        await asyncio.to_thread(up.wait, 30)


async def plain_locale(row: Row, folder: Path) -> None:
    """`LANG=C`: what is not ASCII arrives as it was given, and comes out of the terminal as UTF-8."""
    words = "Grüße, 你好 👋🏽"
    async with stage(folder / "store", ("webmessaging",)) as made:
        cli = command_line(made, folder)
        cli.environment |= {"LANG": "C", "LC_ALL": "C"}
        del cli.environment["PYTHONIOENCODING"]
        up = cli.start("up", "--to", "webmessaging", "--pace", "off")
        await asyncio.to_thread(line_with, up.stderr, "relaying out of")
        said = await asyncio.to_thread(cli, "send", "--to", "webmessaging", "--guest", "1", words)
        assert said.code == 0
        assert [message["text"] for message in made.genesys.messages()] == [words]
        seen = await asyncio.to_thread(cli, "send", "--to", "webmessaging", "--guest", "ü", words, "--json")
        assert seen.code == 0
        await made.start(name="sue", relay="never", **PLAIN)
        await made.step(what="part.accepted", times=10)
        await went_as_stated(made, row)
        assert (await asyncio.to_thread(ended, up, signal.SIGTERM)).code == 0


# A resolver asks at port 53 alone, and the machine's own settings must not be touched: hence a view of one's own.
_WITH_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


async def silent_name(row: Row, folder: Path) -> None:
    """SIGTERM while the resolver waits for a server that says nothing: `up` does not wait for it."""
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.53\n")
    view = ["unshare", "--mount", "sh", "-c", _WITH_RESOLVER, str(resolver)]
    cli = Cli(folder, GUESTWIRE_RELAY__CONNECT_TIMEOUT_S="60")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.53", 53))
            await asyncio.to_thread(subprocess.run, [*view, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a name server of one's own needs root, a free port, and a kernel that lets it mount")
        place = ("--gateway", "http://gateway.example:8080", "--deployment-id", str(uuid.uuid4()))
        said = await asyncio.to_thread(cli, "send", *place, "--guest", "1", "x", "--wait", "none")
        assert said.code == 0, said.err
        up = subprocess.Popen(  # noqa: ASYNC220 - it only begins
            [*view, GUESTWIRE, "up", *place], cwd=folder, env=cli.environment, stderr=subprocess.PIPE, text=True
        )
        await asyncio.to_thread(silent.recv, 512)
        began = time.monotonic()
        assert (await asyncio.to_thread(ended, up, signal.SIGTERM)).code == 0
        assert time.monotonic() - began < seconds_of(stated(row.cells["within"])[0])


SCENES: dict[str, Callable[..., Awaitable[None]]] = {
    "disk_nearly_full": disk_nearly_full,
    "disk_full": disk_full,
    "disk_read_only": disk_read_only,
    "too_few_files": too_few_files,
    "clock_ahead": clock_ahead,
    "suspended": suspended,
    "nobody_reads": nobody_reads,
    "plain_locale": plain_locale,
    "silent_name": silent_name,
}


def test_every_scene_is_a_row() -> None:
    """What is prepared here stands in the page, and nothing stands there that nobody executes."""
    assert {row.words("staged by")[0].split(" ")[1] for row in HERE} == set(SCENES)
    kinds = {re.split(r"[ /]", row.cells["staged by"].lstrip("`"))[0] for row in ROWS}
    assert kinds == {"scene", "failing", "tests"}
    assert len({str(row) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ELSEWHERE, ids=str)
def test_what_is_shown_elsewhere_is_there(row: Row) -> None:
    """A row that names a test of another file names one that exists."""
    ((path, name),) = re.findall(r"(tests/\S+?\.py)::(\w+)", row.cells["staged by"])
    found = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
    assert name in {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
