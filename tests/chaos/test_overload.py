"""More than fits: of messages for the rate that is allowed, and for a far side that reads slowly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.chaos.kit import record, stage
from tests.journey.auditor import busiest, events_of


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
