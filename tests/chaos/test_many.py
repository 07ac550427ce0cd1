"""Eight processes and more on one store: some submit, some look, one relays, and those that relay die."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from tests.chaos.kit import Stage, record, stage
from tests.journey.test_cli_kit import Cli, ended

SUBMITTERS = ("sue", "tom", "una", "vic")
#: What may be said to a submitter whose store others use as well: it is held for the moment.
PASSING = {"GW-S003"}


def command_line(made: Stage, folder: Path) -> Cli:
    """Commands for the same store and the same destination as the other processes."""
    return Cli(
        folder,
        GUESTWIRE_STORE__PATH=str(made.folder),
        GUESTWIRE_DESTINATIONS__WEBMESSAGING__URL=made.genesys.url,
        GUESTWIRE_DESTINATIONS__WEBMESSAGING__DEPLOYMENT_ID=made.genesys.deployment_id,
    )


async def test_whoever_dies_another_takes_over(tmp_path: Path) -> None:
    """
    Four programs submit, commands look all the time, and each `up` that relays is killed; then a `send` relays.

    One that stands by takes over; 0 lost, 0 doubled without record, 0 out of order; nobody sees an error.
    """
    async with stage(tmp_path / "store", ("webmessaging",)) as made:
        cli = command_line(made, tmp_path)
        ups = [cli.start("up", "--standby", "--to", "webmessaging", "--pace", "off") for _ in range(3)]
        by_pid = {up.pid: up for up in ups}
        for name in SUBMITTERS:
            await made.start(name=name, relay="never", burst=6)
        await made.step(times=50)
        tail = cli.start("tail", "--json")
        looking = asyncio.create_task(look(cli))
        for _ in ups:
            await made.step(times=100)
            pid = int((made.folder / "relay.lock").read_text())
            killed_at = time.monotonic()
            by_pid.pop(pid).send_signal(signal.SIGKILL)
            if not by_pid:
                break
            await made.step(what="relay.started")
            record("takeover", seconds=round(time.monotonic() - killed_at, 2))
        said = await asyncio.to_thread(cli, "send", "--to", "webmessaging", "--pace", "off", "--guest", "zoe", "hello")
        assert said.code == 0
        assert await looking == {0}
        await made.forget()
        await made.finish(*SUBMITTERS)
        found, journal = await made.audit()
        assert not [each for each in found.violations if "hello" not in each], await made.explain(found, "at the end")
        assert [entry.event for entry in journal].count("relay.started") >= len(ups) + 1
        assert set(made.refusals) <= PASSING
        assert "part.accepted" in ended(tail, signal.SIGINT).out
        for up in ups:
            assert (await asyncio.to_thread(ended, up)).code == -signal.SIGKILL
        made.integrity()


async def look(cli: Cli) -> set[int]:
    """Look at everything, some times; returns the exit codes."""
    codes: set[int] = set()
    for _ in range(3):
        said = await asyncio.to_thread(cli, "messages", "list", "--json")
        newest = said.objects[0]["message_id"]
        for arguments in (("status", "--json"), ("messages", "show", newest), ("guests", "list", "--json")):
            codes.add((await asyncio.to_thread(cli, *arguments)).code)
    return codes
