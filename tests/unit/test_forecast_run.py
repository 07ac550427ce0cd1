"""
The estimate of `--dry-run`, held against a run: the real relay and the real store, a gateway that answers in the time
that the estimate assumes, and a clock that jumps from one event to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from guestwire.lane import Route, SharedWindows
from guestwire.model import Draft, GuestKey, GuestRef, PartBody
from guestwire.policy.breaker import Breaker
from guestwire.policy.forecast import CONNECT_S, ECHO_S, Forecast, forecast_for
from guestwire.policy.pace import Pace, Slot
from guestwire.relay import Relay
from guestwire.routes import FOR_MESSAGES, FOR_OTHERS, session_limits, token_limits
from guestwire.settings import Destination, Limits, RelaySettings
from guestwire.store.base import Intake
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.testing import FakeClock, ScriptedTransport
from guestwire.transports.base import Attempt, LaneInfo, LaneReady

T = TypeVar("T")
WEB = "11111111-2222-4333-8444-555555555555"
#: How far the estimate may be off: by a tenth, and by a second where all of it takes less than ten.
TOLERANCE = 0.1


class Inline(StoreThread):
    """A store whose verbs run where they are called: with no thread, a turn of the loop is a turn of everything."""

    def __init__(self, store: SqliteStore, folder: Folder) -> None:
        super().__init__(lambda: store, folder)
        self.inline = store

    def write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run it at once, in a transaction."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self.inline.transaction():
            future.set_result(verb(self.inline))
        return future

    def read(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run it at once."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(verb(self.inline))
        return future


class Line:
    """What a simulated gateway has to do, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._due, (when, next(self._order), do))

    @property
    def next_at(self) -> float:
        """When there is something to do; infinity: never."""
        return self._due[0][0] if self._due else float("inf")

    def run(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= self._clock.now():
            heapq.heappop(self._due)[2]()


class Gateway(ScriptedTransport):
    """Answers after `ECHO_S`; with sessions it connects as the limits admit, in the order of asking."""

    def __init__(self, relay: Relay, clock: FakeClock, pace: Pace, destination: Destination) -> None:
        super().__init__(relay.emitter(destination.name), self._begin)
        self._clock = clock
        self._pace = pace
        self._destination = destination
        self.line = Line(clock)
        self._asking: deque[GuestRef] = deque()
        self._asked: set[GuestRef] = set()

    def _begin(self, attempt: Attempt) -> None:
        keys = (("messages_per_s", attempt.guest_ref), ("requests_per_min", attempt.guest_ref))
        slot = attempt.slot or self._pace.take(keys, self._clock.now())
        self.line.at(self._clock.now() + ECHO_S, partial(self._end, attempt, slot))

    def _end(self, attempt: Attempt, slot: Slot) -> None:
        slot.answered(self._clock.now())
        self.answer(attempt, self.show(attempt))

    def want(self, lane: LaneInfo) -> None:
        """Over REST a lane is ready at once; else its session comes first."""
        if not self._destination.has_sessions:
            super().want(lane)
        elif lane.guest_ref not in self._asked:
            self._asked.add(lane.guest_ref)
            self._asking.append(lane.guest_ref)
            self._connect()

    def leave(self, guest: GuestRef) -> None:
        """A session stays; over REST there is none."""
        if not self._destination.has_sessions:
            super().leave(guest)

    def _connect(self) -> None:
        now, name = self._clock.now(), self._destination.name
        keys = (("connects_per_min", name), ("max_new_guests_per_min", name))
        while self._asking:
            held = self._pace.admits(keys, now)
            if held is not None:
                if held.until < float("inf"):
                    self.line.at(held.until, self._connect)
                return
            guest = self._asking.popleft()
            slot = self._pace.take((*keys, ("requests_per_min", guest)), now)
            self.line.at(now + CONNECT_S, partial(self._configured, guest, slot))

    def _configured(self, guest: GuestRef, slot: Slot) -> None:
        slot.answered(self._clock.now())
        self._ready[guest] = True
        self._emit(LaneReady(guest, replaced=False))
        self._connect()


@contextlib.asynccontextmanager
async def run(folder: Path, destination: Destination, counts: list[int]) -> AsyncIterator[tuple[FakeClock, Gateway]]:
    """A relay that has a backlog, and its gateway; not begun."""
    clock = FakeClock()
    place = Folder(folder)
    store = SqliteStore(place, min_free_disk_mb=0.001)
    store._db.execute("PRAGMA synchronous=OFF").fetchall()
    thread = Inline(store, place)
    with store.transaction():
        store.register(destination.name, destination.transport, "x", is_emulator=True)
        drafts = [
            Draft(destination=destination.name, guest=GuestKey(f"guest {number}"), text="hello")
            for number in range(len(counts))
        ]
        intakes = [Intake(draft, (PartBody(draft.text),), destination.delivery) for draft in drafts]
        store._guests_of(intakes)  # all their keys at once: each takes a sync
        for intake, count in zip(intakes, counts, strict=True):
            # One after the other, as the pieces of a file are stored: who comes first is connected first.
            clock.advance(0.001)
            store.add([intake] * count, clock.now())
    relay = Relay(thread, thread, clock=clock, settings=RelaySettings(), publish=lambda entries: None)
    breaker = Breaker(5, base_s=0.5, cap_s=4.0)
    if destination.has_sessions:
        pace = Pace(session_limits(destination))
        gateway = Gateway(relay, clock, pace, destination)
        relay.routes[destination.name] = Route(gateway, pace, destination.retry, breaker, destination.name)
    else:
        pace = Pace(token_limits([destination]))
        gateway = Gateway(relay, clock, pace, destination)
        keys, others = (tuple((name, "token") for name in names) for names in (FOR_MESSAGES, FOR_OTHERS))
        shared = SharedWindows(pace, keys, others)
        route = Route(gateway, pace, destination.retry, breaker, destination.name, shared=shared)
        relay.routes[destination.name] = route
    task = asyncio.create_task(relay.run())
    try:
        yield clock, gateway
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()


async def finish_of(folder: Path, destination: Destination, counts: list[int]) -> float:
    """How long a backlog takes, in seconds of a clock that jumps from one event to the next."""
    async with run(folder, destination, counts) as (clock, gateway):
        started, total = clock.now(), sum(counts)
        while len(gateway.visible) < total:
            for _ in range(8):
                await asyncio.sleep(0)
            next_at = min(gateway.line.next_at, clock.next_at or float("inf"))
            assert next_at < float("inf"), "nobody waits for anything any more"
            if next_at > clock.now():
                clock.advance(next_at - clock.now())
            gateway.line.run()
        return clock.now() - started


def web(**changes: object) -> Destination:
    """A destination with sessions."""
    return Destination(name="web", url="http://127.0.0.1:1", deployment_id=WEB, **changes)  # type: ignore[arg-type]


def rest(transport: str, **changes: object) -> Destination:
    """A destination with a token."""
    return Destination(
        name="rest",
        transport=transport,  # type: ignore[arg-type]
        url="http://127.0.0.1:1",
        integration_id=WEB,
        access_token=None,
        **changes,  # type: ignore[arg-type]
    )


SHAPES: dict[str, tuple[Destination, list[int], str]] = {
    "one guest, few messages": (web(), [4], "echo"),
    "one guest, by the second": (web(), [40], "messages_per_s"),
    "one guest, by the minute": (web(), [200], "requests_per_min"),
    "many guests, one message each": (web(), [1] * 200, "echo"),
    "many guests, of all sizes": (web(), [1, 5, 20, 3, 90, 7] * 5, "requests_per_min"),
    "connects": (web(limits=Limits(connects_per_min=20)), [1] * 90, "connects_per_min"),
    "connects, and much to say": (web(limits=Limits(connects_per_min=20)), [2] * 30 + [70], "requests_per_min"),
    "new guests": (web(max_new_guests_per_min=10), [1] * 45, "max_new_guests_per_min"),
    "a token, one guest": (rest("openmessaging"), [100], "echo"),
    "a token, many guests": (rest("openmessaging"), [1] * 500, "requests_per_min"),
    "a token, some guests": (rest("openmessaging"), [100, 20, 5] * 4, "requests_per_min"),
    "a token by the second": (rest("rest-contract"), [5] * 120, "messages_per_s"),
    "a token, few at once": (
        rest("rest-contract", limits=Limits(messages_per_s=100, requests_per_min=6000, max_in_flight=8)),
        [4] * 100,
        "max_in_flight",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_run_ends_when_it_was_said_to_end(tmp_path: Path, shape: str) -> None:
    """The relay, at the assumed speed of the far side, is through within a tenth of the estimate."""
    destination, counts, binding = SHAPES[shape]
    expected: Forecast = forecast_for(counts, destination)
    took_s = await finish_of(tmp_path, destination, counts)
    assert took_s == pytest.approx(expected.duration_s, rel=TOLERANCE, abs=1.0), expected
    assert expected.binding == binding
