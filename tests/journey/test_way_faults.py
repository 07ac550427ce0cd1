"""
Whatever may be wrong on the way to a gateway of web messaging: each row of that part of docs/faults.md happens.

The page is the test: its rows say what stands in the way and what follows, and both are read from there.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from guestwire import GuestWire, PartState
from guestwire.emulator.app import Emulator
from guestwire.settings import RetrySettings, TlsSettings
from guestwire.testing import emulator
from tests.journey.front import TRICKS, Front
from tests.journey.kit import FAST, QUICK, destination, eventually, inbound, journal_of, make_wire, say, settled, until
from tests.journey.raw_place import Certificates, Place, serves_old_tls
from tests.journey.test_fault_matrix import (
    CANARY,
    STORIES,
    TABLES,
    Row,
    check_logs,
    check_promise,
    check_silence,
    story_in,
    told,
    until_told,
)

ROWS = [row for table in TABLES for row in table if "reached by" in row.cells]


class Stage(NamedTuple):
    """Everybody who takes part in a row."""

    genesys: Emulator
    front: Front
    place: Place
    wire: GuestWire


@contextlib.asynccontextmanager
async def staged(row: Row, folder: Path) -> AsyncIterator[Stage]:
    """An emulator, what stands before it, and a program with a store."""
    (kind, how), *more = (words.split(" ", 1) for words in row.words("reached by"))
    patience = dict(word.split("=") for _, words in more for word in words.split(" ")[1:])
    quick = msgspec.structs.replace(QUICK, **{key: float(value) for key, value in patience.items()})
    async with contextlib.AsyncExitStack() as stack:
        genesys = await stack.enter_async_context(emulator(**FAST))
        front = Front(int(genesys.url.rpartition(":")[2]))
        await front.open()
        stack.push_async_callback(front.shut)
        place = Place(front, folder)  # type: ignore[arg-type]
        stack.push_async_callback(place.close)
        changes: dict[str, Any] = {"name": "web", "url": front.url}
        if kind == "front":
            front.how = how
            place.mends.append(front.mend)
        elif kind == "secure":
            good = Certificates(folder)
            front.how = how

            async def mend() -> None:
                front.how = ""
                await front.shut()
                await front.open(good.context())

            place.mends.append(mend)
            changes |= {"url": front.url.replace("http:", "https:"), "tls": TlsSettings(ca_file=good.ca_file)}
        elif kind == "port":
            await front.refuse()
            place.mends.append(front.open)
        else:
            changes |= await getattr(place, kind)(how)
        to = msgspec.structs.replace(destination(genesys, retry=RetrySettings(base_s=0.01, cap_s=0.05)), **changes)
        wire = await stack.enter_async_context(make_wire(to, folder / "store", patience=quick))
        yield Stage(genesys, front, place, wire)


def arrived(stage: Stage) -> list[str]:
    """What the guest's agent sees. A port is anybody's once it is free: strangers may have come to it."""
    return [text for text in inbound(stage.genesys) if text.startswith(("fragile", "behind"))]


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_the_way_there_is_as_stated(tmp_path: Path, row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost, no attempt is spent, `status` says why; no traceback; mended, it goes by itself."""
    caplog.set_level(logging.DEBUG)
    if row.words("reached by") == ["tls old"] and not serves_old_tls(tmp_path):
        pytest.skip("this OpenSSL cannot serve TLS 1.1")
    async with staged(row, tmp_path) as stage:
        wire = stage.wire
        ticket = await say(wire, f"fragile {CANARY}", "ann")
        behind = await say(wire, f"behind {CANARY}", "ann")
        tickets = [ticket, behind]
        expected = set(row.words("journal"))
        if row.words("message") == ["waiting"]:
            await until(wire, "destination.trouble")
            assert (await wire.message(ticket.message_id)).parts == {PartState.QUEUED: 1}
            assert story_in(await journal_of(wire), ticket) == STORIES["waiting"]
            (trouble,) = (await wire.status()).trouble.values()
            assert row.cells["lane, session"].partition(",")[0].removeprefix("waits: ") in trouble
            assert CANARY not in trouble
            if row.words("reached by")[0].startswith("front"):
                await eventually(lambda: stage.front.came > 1)  # it is tried again
            assert arrived(stage) == []
            for mend in stage.place.mends:
                await mend()
        if stage.place.mends:
            assert await settled(wire, *tickets) == ["accepted"] * 2
            assert arrived(stage) == [f"fragile {CANARY}", f"behind {CANARY}"]
            (part,), _ = await wire.find(ticket.message_id)
            assert part.attempt == 1
            await until_told(wire, expected, 0)
        assert told(await journal_of(wire)) - {"config.unreadable"} == expected
        if stage.place.mends:
            check_promise(stage.genesys, await journal_of(wire), tickets)
        check_silence({CANARY}, await journal_of(wire))
    # The emulator's own server may wonder. And where the far side closes within a handshake, picows' TLS (aiofastnet
    # 1.2.0) hands the loop's exception handler a class in place of an exception: we cannot keep that from the log.
    foreign = (
        {"aiohttp.server", "asyncio"} if row.words("reached by")[0].startswith(("tls", "secure", "proxy")) else set()
    )
    caplog.records[:] = [record for record in caplog.records if record.name not in foreign]
    check_logs({CANARY}, caplog)


def test_every_trick_is_used() -> None:
    """What is prepared stands in the page."""
    used = {words.split(" ")[1] for row in ROWS for words in row.words("reached by")[:1] if words.startswith("front")}
    assert used == set(TRICKS) - {""}
