"""
P9: how much of what a gateway allows is used while there is a backlog, and whether any window holds more than it may.

The judge is the local Genesys: its log of requests, its clock, and how many requests it turned away. Where real time
would take minutes, program and gateway share a clock that is moved on when nothing happens any more; what is in between
them is real (sockets, the store).
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measure import machine
from benchmarks.wire import TEXT
from guestwire import Destination, GuestWire, Limits, Message
from guestwire.emulator.app import Emulator
from guestwire.emulator.records import Logged
from guestwire.emulator.settings import EmulatorSettings
from guestwire.settings import Secret
from guestwire.testing import FakeClock

GOAL = 0.95
#: So high that it does not bind.
OFF = 1_000_000
#: The clock moves by so much at most, in seconds, when the gateway has heard nothing for so many looks.
STEP_S, LOOKS = 0.05, 3


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, with a backlog behind it."""

    name: str
    limit: int
    period_s: float
    periods: int
    """So many are looked at."""
    counts: Collection[str]
    """Names that the counted requests have in the gateway's log."""
    guests: int = 1
    messages: int
    """Of each guest."""
    limits: dict[str, Any]
    """Of the destination."""
    gateway: dict[str, int]
    """Of the local Genesys."""
    transport: str = "webmessaging"
    by_guest: bool = False
    """Each guest has a window of his own."""
    is_real: bool = False
    """Real time."""
    kept: int = 0
    """Of the limit, so many are kept from messages, for receipts and looks."""


REQUESTS = ("configureSession", "onMessage", "getJwt", "echo")
CASES = (
    Case(
        name="messages of a session, 5/s, real time",
        limit=5,
        period_s=1.0,
        periods=10,
        counts=("onMessage",),
        guests=4,
        messages=60,
        limits={"messages_per_s": 5, "requests_per_min": OFF},
        gateway={"messages_per_second": 5, "requests_per_minute": OFF},
        by_guest=True,
        is_real=True,
    ),
    Case(
        name="messages of a session, 2/s, real time",
        limit=2,
        period_s=1.0,
        periods=10,
        counts=("onMessage",),
        guests=4,
        messages=30,
        limits={"messages_per_s": 2, "requests_per_min": OFF},
        gateway={"messages_per_second": 2, "requests_per_minute": OFF},
        by_guest=True,
        is_real=True,
    ),
    Case(
        name="requests of a connection, 60/min",
        limit=60,
        period_s=60.0,
        periods=3,
        counts=REQUESTS,
        guests=4,
        messages=200,
        limits={"messages_per_s": 5, "requests_per_min": 60},
        gateway={"messages_per_second": 5, "requests_per_minute": 60},
        by_guest=True,
    ),
    Case(
        name="connects of a deployment, 1,000/min",
        limit=1_000,
        period_s=60.0,
        periods=2,
        counts=("connect",),
        guests=2_100,
        messages=1,
        limits={"connects_per_min": 1_000},
        gateway={"connects_per_minute": 1_000},
    ),
    Case(
        name="requests of a token, 300/min, 15 of them kept",
        limit=300,
        period_s=60.0,
        periods=3,
        counts=("POST open/message",),
        guests=50,
        messages=25,
        limits={"requests_per_min": 300, "reserve_per_min": 15},
        kept=15,
        gateway={"token_requests_per_minute": 300},
        transport="openmessaging",
    ),
    Case(
        name="requests a second, 100/s, tutorial contract",
        limit=100,
        period_s=1.0,
        periods=5,
        counts=("POST contract/message",),
        guests=50,
        messages=14,
        limits={"messages_per_s": 100, "requests_per_min": 6_000},
        gateway={"contract_requests_per_second": 100},
        transport="rest-contract",
        is_real=True,
    ),
)


def main() -> None:
    """Print, for each limit, the share that was used, and the fullest window."""
    print(f"pacing with a backlog (P9), {machine()}")
    for case in CASES:
        used, fullest, refused = asyncio.run(_measure(case))
        print(
            f"  {case.name:<46} {used:6.1%} used  goal {GOAL:.0%}"
            f"  fullest window {fullest} of {case.limit}, {refused} turned away"
        )


async def _measure(case: Case) -> tuple[float, int, int]:
    clock = None if case.is_real else FakeClock(time.time())
    with tempfile.TemporaryDirectory() as folder:
        async with (
            _gateway(case, clock) as genesys,
            GuestWire([_destination(case, genesys)], store=Path(folder), clock=clock) as wire,
        ):
            await wire.submit_many(
                Message(guest=f"guest-{number}", text=TEXT, conversation=_conversation(case, number))
                for _ in range(case.messages)
                for number in range(case.guests)
            )
            log = genesys.world.log
            while not (began := _first(case, log)):
                await _let_pass(genesys, clock)
            while genesys.now() < began + case.periods * case.period_s:
                await _let_pass(genesys, clock)
            return _judge(case, log, began)


def _conversation(case: Case, number: int) -> str | None:
    return f"conversation-{number}" if case.transport == "rest-contract" else None


@contextlib.asynccontextmanager
async def _gateway(case: Case, clock: FakeClock | None) -> AsyncIterator[Emulator]:
    settings: dict[str, Any] = {"echo_delay_ms": 0, **case.gateway}
    genesys = Emulator(EmulatorSettings.checked(settings), clock=None if clock is None else clock.now)
    try:
        await genesys.start()
        yield genesys
    finally:
        await genesys.close()


def _destination(case: Case, genesys: Emulator) -> Destination:
    ways: dict[str, dict[str, Any]] = {
        "webmessaging": {"deployment_id": genesys.deployment_id},
        "openmessaging": {
            "integration_id": genesys.integration_id,
            "client_id": genesys.client_id,
            "client_secret": Secret(genesys.client_secret),
        },
        "rest-contract": {"client_id": genesys.client_id, "client_secret": Secret(genesys.client_secret)},
    }
    return Destination(
        name="far",
        transport=case.transport,  # type: ignore[arg-type]
        url=genesys.url,
        limits=Limits(**case.limits),
        **ways[case.transport],
    )


async def _let_pass(genesys: Emulator, clock: FakeClock | None) -> None:
    """Let a moment pass; a clock of our own moves on only when everything that it has set going has come to rest."""
    if clock is None:
        await asyncio.sleep(0.01)
        return
    quiet, seen = 0, -1
    while quiet < LOOKS:
        await asyncio.sleep(0.001)
        quiet = quiet + 1 if len(genesys.world.log) == seen else 0
        seen = len(genesys.world.log)
    clock.advance(STEP_S)
    genesys.pump()


def _first(case: Case, log: Collection[Logged]) -> float:
    return next((one.at for one in log if one.action in case.counts), 0.0)


def _judge(case: Case, log: Collection[Logged], began: float) -> tuple[float, int, int]:
    """Return the share of the allowed rate that was used, the most in any window, and how many were turned away."""
    until = began + case.periods * case.period_s
    recent: dict[object, deque[float]] = {}
    fullest = 0
    refused = Counter[bool]()
    used = 0
    for one in log:
        if one.action not in case.counts or one.at >= until:
            continue
        refused[one.answered in (429, 4029)] += 1
        used += 1
        window = recent.setdefault(one.connection if case.by_guest else None, deque())
        while window and window[0] <= one.at - case.period_s:
            window.popleft()
        window.append(one.at)
        fullest = max(fullest, len(window))
    allowed = (case.limit - case.kept) * case.periods * (case.guests if case.by_guest else 1)
    return used / allowed, fullest, refused[True]
