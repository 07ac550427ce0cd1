"""A seed from its beginning to its verdict."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from guestwire import relay
from guestwire.model import Delivery, JournalEntry, PartId, Ticket
from guestwire.store import intake
from guestwire.store.base import Intake, Intervention
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.transports.base import Attempt
from tests.simulation import auditor
from tests.simulation.clockwork import NothingLeft, Spinning, VirtualLoop, Wall
from tests.simulation.gateway import Gateway
from tests.simulation.host import Process, Worker
from tests.simulation.plan import Happening, Plan, draw_plan
from tests.simulation.verbs import VERBS, Caller

#: After the faults everything must come to rest within this, in seconds of the world.
REST_S = 1_200.0
#: How often it is looked whether it has.
LOOK_EVERY_S = 5.0
#: The relay looks for others' submissions this often: seldomer than outside, for the sake of time.
POLL_S = 1.0
#: SIGTERM leaves a process this long, in seconds (I10).
STOP_S = 10.0


class Verdict(msgspec.Struct, frozen=True):
    """What became of a world."""

    seed: int
    wrong: list[str]
    digest: str
    """Of the journal and of what the gateways show."""
    story: list[str]
    """Every event, in order; empty unless it was asked for."""
    parts: int
    copies: int
    seconds: float
    """Of the world."""
    deaths: int
    died_at: list[str]
    """Points at which processes died."""
    events: Counter[str]
    messages_at: list[float]
    """When messages reached a gateway."""


class _Secrets:
    """In the place of the system's random numbers: names that the seed gives."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"secrets {seed}")  # noqa: S311 - a simulation

    def token_hex(self, count: int) -> str:
        """As `secrets.token_hex`."""
        return self.token_bytes(count).hex()

    def token_bytes(self, count: int) -> bytes:
        """As `secrets.token_bytes`."""
        return self._draw.randbytes(count)


class World:
    """
    One simulated machine, and the gateways it talks to.

    Args:
        plan: What is to happen.
        folder: Of the store, made already.
        loop: Its time.
        with_story: Keep every event, for people.
    """

    def __init__(self, plan: Plan, folder: Folder, loop: VirtualLoop, *, with_story: bool = False) -> None:
        self.plan = plan
        self.folder = folder
        self.loop = loop
        self.wall = Wall(loop)
        self.gateways = {each.name: Gateway(each, plan.moods[each.name], plan.seed) for each in plan.destinations}
        self.draw = random.Random(f"host {plan.seed}")  # noqa: S311 - a simulation
        self.never = asyncio.Event()
        self.disk_s = plan.slow_disk
        self.store_fails = False
        self._failing = 0
        self.processes: list[Process] = []
        self._holder: Worker | None = None
        #: Who took the relay's role over last, as the journal has it.
        self.relaying: Process | None = None
        self._fence = 0
        self._passed: Counter[str] = Counter()
        self._met: list[str] = []
        self._workers = 0
        self._over = self._calm = False
        self.deaths = 0
        # What the auditor reads.
        self.journal: list[JournalEntry] = []
        self.tickets: dict[str, Ticket] = {}
        self.delivery: dict[PartId, Delivery] = {}
        self.promised_intakes: list[Intake] = []
        self._by_key: dict[tuple[str, str], Ticket] = {}
        self.heard: dict[str, list[JournalEntry]] = {}
        self.at_rest: set[str] = set()
        self._wrong: list[str] = []
        #: Bugs that ended a process.
        self.failures: list[BaseException] = []
        #: Attempts that were written ahead and have not left.
        self._begun: Counter[PartId] = Counter()
        self.story: list[str] | None = [] if with_story else None
        self._store = SqliteStore(folder, min_free_disk_mb=0)

    # --- what happens is told ---

    def tell(self, where: str, what: str) -> None:
        """Note something for people."""
        if self.story is not None:
            self.story.append(f"{self.loop.time():10.4f} {where:5} {what}")

    def wrong(self, what: str) -> None:
        """Note something that must not be."""
        self.tell("WRONG", what)
        self._wrong.append(what)

    def committed(self, process: Process) -> None:
        """A process has committed something: read what the journal says now."""
        entries = self._store.journal(len(self.journal), 1_000_000)
        self.journal += entries
        for entry in entries:
            self.tell("note", f"{entry.seq:4} {entry.event} {entry.part_id or entry.guest_ref or ''} {entry.detail}")
            if entry.event == "relay.started":
                fence = int(entry.detail["fence"])
                if fence <= self._fence:
                    self.wrong(f"I4 two relays with fence {fence}")
                self._fence, self.relaying = fence, process
            elif entry.event == "part.sending" and entry.part_id is not None:
                self._begun[entry.part_id] += 1
                if process is not self.relaying:
                    self.wrong(f"I4 {process.name} begins {entry.part_id}, and is not the relay any more")

    def left(self, process: Process, attempt: Attempt) -> None:
        """A part is put on the wire: its attempt must be on disk."""
        self._begun[attempt.part_id] -= 1
        if self._begun[attempt.part_id] < 0:
            self.wrong(f"{process.name} sends {attempt.part_id}, and its attempt is not written ahead")

    def promise(self, caller: Process, intakes: Sequence[Intake], tickets: Sequence[Ticket]) -> None:
        """A caller was told that his messages are stored."""
        self.tell("call", f"{caller.name} was told {len(tickets)} messages")
        for each, ticket in zip(intakes, tickets, strict=True):
            self.tickets[ticket.message_id] = ticket
            self.promised_intakes.append(each)
            for part in ticket.part_ids:
                self.delivery[part] = each.delivery
            if each.draft.key is not None:
                self._by_key[each.draft.destination, each.draft.key] = ticket

    def promise_again(self, intakes: Sequence[Intake], tickets: Sequence[Ticket]) -> None:
        """A caller has submitted again what he was told before: it has to be the same."""
        for each, ticket in zip(intakes, tickets, strict=True):
            first = self._by_key[each.draft.destination, each.draft.key or ""]
            if ticket.part_ids != first.part_ids:
                self.wrong(f"a key was given twice, and made two messages: {ticket.message_id}, {first.message_id}")

    def decided(self, ticket: Ticket, done: Intervention) -> None:
        """Somebody was told what his decision about a message did."""
        self.tell("call", f"{ticket.message_id}: {len(done.parts)} parts moved")
        if done.replay is not None and done.parts:
            self.tickets[done.replay] = Ticket(done.replay, done.parts, ticket.guest_ref)
            for part in done.parts:
                self.delivery[part] = self.delivery[ticket.part_ids[0]]

    # --- the machine ---

    def lock_for(self, worker: Worker) -> bool:
        """Take the relay lock if nobody holds it."""
        if self._holder is None:
            self._holder = worker
        return self._holder is worker

    def now(self) -> float:
        """What the relay believes to be the time."""
        return self.wall.now() if self.relaying is None else self.relaying.clock.now()

    def unlock(self, worker: Worker) -> None:
        """Let it go."""
        if self._holder is worker:
            self._holder = None

    def ended(self, process: Process) -> None:
        """A process is gone: its locks are free, and somebody starts another one after a while."""
        if isinstance(process, Worker):
            self.deaths += 1
            self.heard[process.name] = process.heard
            self.unlock(process)
            if not self._over:
                self.loop.call_later(self.draw.uniform(0.05, 4.0), self.start_worker)

    def start_worker(self) -> None:
        """Start one more process that relays if it may."""
        self._workers += 1
        worker = Worker(self, f"worker{self._workers}")
        self.processes.append(worker)
        worker.start()

    def dies_at(self, point: str, process: Process) -> bool:
        """Whether the process dies at this point; the plan says the how-manieth time."""
        self._passed[point] += 1
        if not self._calm and self.plan.kill_at.get(point) == self._passed[point]:
            self.tell("host", f"{process.name} dies {point}")
            self._met.append(point)
            process.kill()
        return not process.alive

    def happens(self, happening: Happening) -> None:
        """Something happens to the machine."""
        if self._over:
            return
        holder, amount = self._holder, happening.amount
        match happening.what:
            case "kill" if holder is not None:
                holder.kill()
            case "stop" if holder is not None and holder.stopped_at is None:
                holder.stop()
            case "freeze" if holder is not None:
                holder.freeze(amount)
            case "steal" if holder is not None:
                # Somebody deletes relay.lock: the next one takes over, and the old one does not know.
                self.tell("host", "relay.lock is deleted")
                self._holder = None
                holder.freeze(amount)
            case "store":
                self.tell("host", f"the disk fails for {amount:.1f} s")
                self._failing += 1
                self.store_fails = True
                self.loop.call_later(amount, self._store_works)
            case "jump":
                self.tell("host", f"the wall clock is set by {amount:.0f} s")
                self.wall.jump(amount)
            case _:
                pass

    def _store_works(self) -> None:
        self._failing -= 1
        self.store_fails = self._failing > 0

    def call(self, number: int) -> None:
        """Somebody calls the store."""
        caller = Caller(self, f"caller{number}")
        self.processes.append(caller)
        names = list(self.plan.verbs or VERBS)
        name = caller.script.choices(names, [VERBS[each][1] for each in names])[0]
        self.tell("call", f"{caller.name}: {name}")
        caller.task = self.loop.create_task(self._called(caller, name))

    async def _called(self, caller: Caller, name: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await VERBS[name][0](caller)
        caller.alive = False

    # --- from the beginning to the end ---

    async def live(self) -> None:
        """Let everything happen, then let it come to rest."""
        plan = self.plan
        for destination in plan.destinations:
            with self._store.transaction():
                self._store.register(destination.name, destination.transport, destination.fingerprint, is_emulator=True)
        for _ in range(plan.workers):
            self.start_worker()
        for number, at in enumerate(plan.calls, 1):
            self.loop.call_later(at, self.call, number)
        for happening in plan.happenings:
            self.loop.call_later(happening.at, self.happens, happening)
        await asyncio.sleep(plan.span_s)
        self.tell("host", "the faults are over")
        self._calm = True
        for gateway in self.gateways.values():
            gateway.calm_down()
        while self.store_fails:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(1.0)
        until = self.loop.time() + REST_S
        await asyncio.sleep(LOOK_EVERY_S)
        while auditor.restless(self, self._store) and self.loop.time() < until:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_EVERY_S)
        for each in auditor.restless(self, self._store):
            self.wrong(f"not at rest: {each}")
        await asyncio.sleep(2 * POLL_S + 1.0)
        await self._stop()

    async def _stop(self) -> None:
        """End the processes that live, as a machine does that is switched off."""
        self._over = True
        began_at = self.loop.time()
        for process in self.processes:
            if isinstance(process, Worker) and process.alive:
                if process is self._holder:
                    self.at_rest.add(process.name)
                self.heard[process.name] = list(process.heard)
                if process.stopped_at is None:
                    process.stop()
        while any(process.alive for process in self.processes if isinstance(process, Worker)):
            await asyncio.sleep(0.5)
            if self.loop.time() - began_at > STOP_S:
                self.wrong("I10 a process was asked to stop, and did not within 10 s")
                break
        for process in self.processes:
            process.kill()
        await asyncio.sleep(0.1)

    def judge(self) -> Verdict:
        """Say what was wrong."""
        wrong = self._wrong + auditor.judge(self, self._store)
        shown = [(copy.at, copy.name, copy.part_id) for each in self.gateways.values() for copy in each.copies]
        told = msgspec.json.encode((self.journal, shown))
        return Verdict(
            self.plan.seed,
            wrong,
            hashlib.blake2b(told, digest_size=16).hexdigest(),
            self.story or [],
            len(self.delivery),
            len(shown),
            self.loop.time(),
            self.deaths,
            self._met,
            Counter(entry.event for entry in self.journal),
            sorted(each.at for one in self.gateways.values() for each in one.requests if each.action == "message"),
        )

    def close(self) -> None:
        """Give the files back."""
        for process in self.processes:
            process.close()
        self._store.close()


def simulate(seed: int, *, with_story: bool = False, plan: Plan | None = None) -> Verdict:
    """Let the world of a seed happen, and judge it."""
    with _folder() as folder, _seeded(seed):
        loop = VirtualLoop()
        world = World(plan or draw_plan(seed), folder, loop, with_story=with_story)
        try:
            try:
                loop.run_until_complete(world.live())
            except (NothingLeft, Spinning) as error:
                world.wrong(f"it hangs: {error}")
            return world.judge()
        finally:
            _wind_up(loop)
            world.close()


def _wind_up(loop: VirtualLoop) -> None:
    """End what is left, as `asyncio.run` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    with contextlib.suppress(NothingLeft, Spinning):
        loop.run_until_complete(_all_of(tasks))
    loop.close()


async def _all_of(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with patch.object(intake, "secrets", _Secrets(seed)), patch.object(relay, "POLL_EVERY_S", POLL_S):
        yield


@contextlib.contextmanager
def _folder() -> Iterator[Folder]:
    """A store's folder in memory, where there is such a place; made from one that was made once."""
    with tempfile.TemporaryDirectory(dir=_memory(), prefix="guestwire-sim-") as path:
        shutil.copytree(_template(), path, dirs_exist_ok=True)
        yield Folder(Path(path))


def _memory() -> str | None:
    place = "/dev/shm"  # noqa: S108 - nobody's data
    return place if os.access(place, os.W_OK) else None


@functools.cache
def _template() -> Path:
    """An empty store. Opening a new one costs as much as a fifth of a world."""
    place = Path(tempfile.mkdtemp(dir=_memory(), prefix="guestwire-sim-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    SqliteStore(Folder(place), min_free_disk_mb=0).close()
    return place
