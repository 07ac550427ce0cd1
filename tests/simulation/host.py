"""Processes of the simulated machine: how they reach the store, relay, die, and are stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from guestwire import routes
from guestwire.errors import StoreError
from guestwire.lane import Route
from guestwire.model import IdMaker, JournalEntry
from guestwire.policy.pace import Limit, Pace
from guestwire.relay import Relay
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.transports.base import Transport
from tests.simulation.clockwork import ProcessClock
from tests.simulation.gateway import SessionTransport, TokenTransport
from tests.simulation.plan import TIMING

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")


def make_pace(limits: list[Limit]) -> Pace:
    """Make windows, as `guestwire.routes` makes them: a mutant may have changed how."""
    made: Pace = vars(routes)["Pace"](limits)
    return made


#: How often a process that is not the relay tries to become it, as in `guestwire.client`.
TAKE_OVER_EVERY_S = 1.0


class Process:
    """
    A process of the machine, with a clock and a store of its own.

    Killed, nothing of it goes on: whatever it waits for never comes. Frozen, everything comes at once when it thaws.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clock = ProcessClock(world.loop, world.wall, self.deliver)
        self.draw = random.Random(f"{name} {world.plan.seed}")  # noqa: S311 - a simulation
        self.store = SqliteStore(world.folder, min_free_disk_mb=0)
        self.store._new_id = IdMaker(self.draw.randbytes)
        self.writer = Desk(self)
        self.reader = Desk(self)
        self.relay: Relay | None = None
        self.alive = True
        self._frozen: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self.task: asyncio.Task[None] | None = None
        self.heard: list[JournalEntry] = []
        self.stopped_at: float | None = None

    def deliver(self, do: Callable[..., None], *args: Any) -> None:
        """Something reaches the process from outside."""
        if not self.alive:
            return
        if self._frozen is not None:
            self._frozen.append((do, args))
        else:
            do(*args)

    def require_life(self) -> None:
        """What a dead process does has no effect: it does not get any further."""
        if not self.alive:
            raise asyncio.CancelledError

    def kill(self) -> None:
        """As by SIGKILL: it stops where it is."""
        if not self.alive:
            return
        self.alive = False
        self.world.tell("host", f"{self.name} is killed")
        if self.task is not None:
            self.task.cancel()
        self.world.ended(self)

    def freeze(self, seconds: float) -> None:
        """As by SIGSTOP, and SIGCONT after a while."""
        if self.alive and self._frozen is None:
            self.world.tell("host", f"{self.name} stands still for {seconds:.1f} s")
            self._frozen = []
            self.world.loop.call_later(seconds, self._thaw)

    def _thaw(self) -> None:
        frozen, self._frozen = self._frozen or [], None
        if self.alive:
            self.world.tell("host", f"{self.name} goes on")
        for do, args in frozen:
            self.deliver(do, *args)

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._frozen is not None

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """What the readers of the journal hear from this process's relay."""
        self.heard.extend(entries)

    def close(self) -> None:
        """Give the files back."""
        self.store.close()


class Desk(StoreThread):
    """
    A `StoreThread` without a thread: the same groups and transactions, on virtual time.

    A job is carried out a little after it was handed in, with whatever else came until then, and its result comes a
    little later: so a process can die before, between and after.
    """

    def __init__(self, process: Process) -> None:
        super().__init__(lambda: process.store, process.world.folder)
        self._process = process
        self._world = process.world
        self._pending: list[tuple[Any, asyncio.Future[Any], bool]] = []

    def _hand_in(self, verb: Callable[[SqliteStore], T], *, writes: bool) -> asyncio.Future[T]:
        self._process.require_life()
        future: asyncio.Future[T] = self._world.loop.create_future()
        if not self._pending:
            self._world.loop.call_later(self._pause_s(), self._process.deliver, self._serve_now)
        self._pending.append((verb, future, writes))
        return future

    def _pause_s(self) -> float:
        return self._process.draw.uniform(0.0002, 0.002) + self._world.disk_s * self._process.draw.random()

    def _serve_now(self) -> None:
        jobs, self._pending = self._pending, []
        world, process = self._world, self._process
        writes = any(job[2] for job in jobs)
        if writes and world.dies_at("before commit", process):
            return
        if world.store_fails:
            error = StoreError("no space", code="GW-S020")
            results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]
            results = [(future, None, error) for _, future, _ in jobs]
        else:
            results = self._carry_out(process.store, jobs)
            if writes:
                world.committed(process)
                if world.dies_at("after commit", process):
                    return
        world.loop.call_later(self._pause_s() / 2, process.deliver, _resolve, results)


def _resolve(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, value, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
            future.exception()  # whoever asked may have stopped waiting


class Worker(Process):
    """A process that relays as soon as nobody else does: what `GuestWire` does, over simulated worlds."""

    def start(self) -> None:
        """Begin."""
        self.world.tell("host", f"{self.name} starts, its clock at {self.clock.now():.1f}")
        self.task = self.world.loop.create_task(self._keep_relaying())

    def stop(self) -> None:
        """As by SIGTERM."""
        self.world.tell("host", f"{self.name} is asked to stop")
        self.stopped_at = self.world.loop.time()
        if self.relay is not None:
            self.relay.stop()

    async def _keep_relaying(self) -> None:
        world = self.world
        try:
            while self.stopped_at is None:
                if world.lock_for(self):
                    self.relay = self._make_relay()
                    try:
                        await self.relay.run()
                        break
                    except StoreError as error:
                        world.tell("host", f"{self.name}: {error}")
                        self.relay = None
                        world.unlock(self)
                        if error.code == "GW-S008":
                            break
                await asyncio.sleep(TAKE_OVER_EVERY_S)
                while self.is_frozen:  # noqa: ASYNC110 - virtual time costs nothing
                    await asyncio.sleep(TAKE_OVER_EVERY_S)
        except asyncio.CancelledError:
            return
        except Exception as error:  # a bug, told with its seed
            world.wrong(f"{self.name} ended with {error!r}")
            world.failures.append(error)
        if self.alive:
            self.alive = False
            world.tell("host", f"{self.name} has ended")
            world.ended(self)

    def _make_relay(self) -> Relay:
        self.heard = []
        relay = Relay(
            self.writer, self.reader, clock=self.clock, settings=TIMING, publish=self.publish, draw=self.draw.random
        )
        self.relay = relay
        destinations = self.world.plan.destinations
        windows = routes._windows_of(destinations, {})
        for destination in destinations:
            gateway = self.world.gateways[destination.name]
            shared = windows.get(destination.name)
            transport: Transport
            if shared is None:
                pace = make_pace(routes.session_limits(destination))
                transport = SessionTransport(self, gateway, pace)
            else:
                pace = shared.pace
                transport = TokenTransport(self, gateway, pace, shared.errand_keys)
            breaker = routes.breaker_of(destination, TIMING)
            relay.routes[destination.name] = Route(
                transport, pace, destination.retry, breaker, destination.name, shared=shared
            )
        return relay
