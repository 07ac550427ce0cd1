"""What these tests share: the emulator that lives on while processes die, what callers were told, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from guestwire import JournalEntry, Ticket
from guestwire.emulator.app import Emulator
from guestwire.testing import emulator
from tests.chaos.worker import WAYS, Order, draft, wiring
from tests.chaos.zygote import Child, Zygote, zygote
from tests.journey.auditor import Audit, audit, relays
from tests.journey.kit import journal_of

#: How long anybody waits for what must come, in seconds. The machine may be busy with other tests.
PATIENCE_S = 60.0
#: An emulator in a hurry, that answers unevenly.
UNEVEN: dict[str, Any] = {
    "echo_delay_ms": "0-20",
    "upload_event_delay_ms": "0-20",
    "history_lag_s": 0.02,
    "limits": "off",
}


class Stage:
    """An emulator, a store, and the processes of a test."""

    def __init__(self, genesys: Emulator, folder: Path, forks: Zygote, ways: tuple[str, ...] = WAYS) -> None:
        self.genesys = genesys
        self.folder = folder
        self.forks = forks
        self.ways = ways
        self.told: dict[str, tuple[int, Ticket]] = {}
        """What callers were told, by text, with its number in the order of telling."""
        self.steps: Counter[str] = Counter()
        """What processes said that happened."""
        self.refusals: Counter[str] = Counter()
        self.died_at: list[str] = []
        #: Another way to the emulator.
        self.url = genesys.url
        self.tasks = 0
        """Of the process that reports."""
        self.broken: list[str] = []
        self._news = asyncio.Event()
        self._listening: dict[Child, asyncio.Task[bool]] = {}

    @property
    def place(self) -> dict[str, str]:
        """Where the emulator is, and how to get in."""
        names = ("deployment_id", "integration_id", "client_id", "client_secret", "webhook_secret")
        return {"url": self.url, **{name: getattr(self.genesys, name) for name in names}}

    def order(self, **changes: Any) -> Order:
        """What a process is to do."""
        return Order(**{"folder": str(self.folder), "place": self.place, "ways": self.ways, **changes})

    async def start(self, **changes: Any) -> Child:
        """Begin a process, and listen to it. A submitter goes on where the one of its name was."""
        if name := changes.get("name"):
            changes.setdefault("first", self.next_number(name))
        child = await self.forks.fork(self.order(**changes))
        self._listening[child] = asyncio.create_task(self._listen(child))
        return child

    def next_number(self, name: str) -> int:
        """The number of a submitter's first message that he was not told of."""
        number = 0
        while f"{name} {number}" in self.told:
            number += 1
        return number

    async def ended(self, child: Child) -> bool:
        """Wait for the end of a process; returns whether it had said that it is done."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.shield(self._listening[child])

    async def kill(self, child: Child) -> None:
        """SIGKILL; what it had said before is heard."""
        child.signal(signal.SIGKILL)
        await self.ended(child)

    @property
    def alive(self) -> list[Child]:
        """Processes that have not ended."""
        return [child for child, listening in self._listening.items() if not listening.done()]

    async def forget(self) -> None:
        """Kill everybody."""
        for child in self.alive:
            await self.kill(child)

    async def refusal(self) -> None:
        """Wait until one more submitter was told that his messages are not accepted."""
        before = self.refusals.total()
        async with asyncio.timeout(PATIENCE_S):
            while self.refusals.total() == before:
                self._news.clear()
                await self._news.wait()

    async def step(self, *, times: int = 1, what: str = "") -> None:
        """Wait until so many more things happened."""
        wanted = self._count(what) + times
        async with asyncio.timeout(PATIENCE_S):
            while self._count(what) < wanted:
                assert not self.broken, self.broken
                self._news.clear()
                await self._news.wait()

    def _count(self, what: str) -> int:
        return self.steps[what] if what else self.steps.total()

    async def _listen(self, child: Child) -> bool:
        done = False
        while (line := await child.line()) is not None:
            word, _, rest = line.decode().partition(" ")
            match word:
                case "ticket":
                    name, number, ticket = rest.split(" ", 2)
                    self.told.setdefault(f"{name} {number}", (len(self.told), msgspec.json.decode(ticket, type=Ticket)))
                case "step":
                    self.steps[rest] += 1
                case "refused":
                    self.refusals[rest.split(" ")[0]] += 1
                case "tasks":
                    self.tasks = int(rest)
                case "webhook":
                    self.genesys.set_webhook(rest)
                case "died":
                    self.died_at.append(rest)
                case "broken" | "ended":
                    self.broken.append(rest)
                case "done":
                    done = True
            self._news.set()
        self._news.set()
        return done

    async def finish(self, *names: str, **changes: Any) -> None:
        """Let every submitter say something for the last time, and whoever relays come to an end with everything."""
        children = [await self.start(name=name, bursts=1, **changes) for name in names]
        for child in children:
            assert await self.ended(child), self.broken
        async with wiring(self.order(**changes)) as wire, asyncio.timeout(PATIENCE_S):
            await wire.wait_many([ticket for _, ticket in self.told.values()])

    async def accepted(self) -> None:
        """Wait until everything that callers were told of up to now has come to its end."""
        async with wiring(self.order(relay="never")) as wire, asyncio.timeout(PATIENCE_S):
            await wire.wait_many([ticket for _, ticket in self.told.values()])

    async def journal(self) -> list[JournalEntry]:
        """All of it."""
        async with wiring(self.order(relay="never")) as wire:
            return await journal_of(wire)

    async def audit(self) -> tuple[Audit, list[JournalEntry]]:
        """Judge what has happened, up to now."""
        journal = await self.journal()
        assert not self.broken, self.broken
        assert relays(journal) == []
        return self._judged(journal), journal

    def _judged(self, journal: Iterable[JournalEntry]) -> Audit:
        told = sorted(self.told.items(), key=lambda each: (each[0].split(" ")[0], int(each[0].split(" ")[1])))
        part_of = {text: ticket.part_ids[0] for text, (_, ticket) in told}
        shown = [
            {**message, "metadata": {**message["metadata"], "id": part_of.get(message["text"], message["text"])}}
            for message in self.genesys.messages()
        ]
        return audit(shown, journal, [ticket for _, (_, ticket) in told])

    async def explain(self, found: Audit, where: str) -> str:
        """Say everything that is known of what must not be: nobody can make the same instant happen again."""
        parts = {violation.split(" ", 1)[1] for violation in found.violations}
        texts = {text for text, (_, ticket) in self.told.items() if ticket.part_ids[0] in parts}
        shown = [
            {name: message[name] for name in ("text", "conversation_id", "metadata", "received_at", "id")}
            for message in self.genesys.messages()
            if message["text"] in texts
        ]
        entries = [entry for entry in await self.journal() if entry.part_id in parts]
        return "\n".join(map(str, [where, found.violations, *entries, *shown]))

    def without_file(self) -> list[str]:
        """Messages that came without the file that they were submitted with, or with one that nobody gave them."""
        shown = {message["text"]: message["attachments"] for message in self.genesys.messages()}
        wrong = []
        for text in self.told:
            name, _, number = text.rpartition(" ")
            given = draft(self.order(name=name), int(number)).attachments
            if text in shown and [file.name for file in given] != [file["filename"] for file in shown[text]]:
                wrong.append(text)
        return wrong

    def integrity(self) -> None:
        """Both databases are whole."""
        for name in ("store.db", "keys.db"):
            connection = apsw.Connection(str(self.folder / name))
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            connection.close()


@contextlib.asynccontextmanager
async def stage(folder: Path, ways: tuple[str, ...] = WAYS, **settings: Any) -> AsyncIterator[Stage]:
    """An emulator and forks for the length of a test."""
    async with emulator(**{**UNEVEN, **settings}) as genesys, zygote() as forks:
        yield Stage(genesys, folder, forks, ways)


def plan(seed: int) -> random.Random:
    """Draws of a plan: the same for the same seed."""
    return random.Random(seed)  # noqa: S311 - a plan, not a secret


def record(what: str, **figures: Any) -> None:
    """Add what was counted or measured to the file that GUESTWIRE_FIGURES names, as a line of JSON; else forget it."""
    if path := os.environ.get("GUESTWIRE_FIGURES"):
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode({"what": what, **figures}) + b"\n")
