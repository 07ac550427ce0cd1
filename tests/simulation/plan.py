"""What a seed means: everything that is drawn before the world begins."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from guestwire.settings import Destination, Limits, RelaySettings, RetrySettings, Secret

#: Patience of the relay. The order of sizes is that of the defaults, five times as quick.
TIMING = RelaySettings(
    answer_s=2.0,
    settle_s=1.0,
    check_for_s=40.0,
    evicted_retry_s=20.0,
    reconnect_base_s=0.2,
    reconnect_cap_s=5.0,
    shutdown_s=4.0,
)
#: A request is at the gateway after this at the latest, in seconds; no process starts sooner after another's death.
WIRE_S = 0.04
#: Longest that a caller asks a message to wait, or lets it live, in seconds.
LATER_S = 40.0
YEAR_S = 365 * 86_400.0

HostEvent = Literal["kill", "stop", "freeze", "steal", "store", "jump", "start"]


class Happening(msgspec.Struct, frozen=True):
    """Something that happens to the machine."""

    at: float
    what: HostEvent
    amount: float = 0.0
    """Of seconds: how long it lasts, or how far the clock jumps."""


class Mood(msgspec.Struct, frozen=True):
    """How the gateway of a destination behaves: weights of what it does with a request."""

    answers: dict[str, int]
    lag_s: float
    """After an entry was accepted, the history shows it so late."""
    metadata: bool
    unreadable: float
    """Of reads, so many fail."""
    empty: float
    shifting: float
    renewed: float
    """Of reconnects, so many find the session replaced."""
    refused_connects: float

    @property
    def is_honest(self) -> bool:
        """Whether the history can be relied on: then nothing may be seen twice at all."""
        return self.lag_s < TIMING.settle_s - 0.3 and not self.unreadable and not self.empty and self.renewed == 0.0


class Plan(msgspec.Struct, frozen=True):
    """A world before it begins."""

    seed: int
    destinations: tuple[Destination, ...]
    moods: dict[str, Mood]
    workers: int
    guests: int
    span_s: float
    """So long there are faults."""
    calls: tuple[float, ...]
    """When somebody calls the store."""
    happenings: tuple[Happening, ...]
    kill_at: dict[str, int]
    """The process that passes this point for the n-th time dies there."""
    slow_disk: float
    same_texts: bool
    """Guests say the same words again."""
    verbs: tuple[str, ...] = ()
    """What callers may do; empty: everything that there is."""

    @property
    def has_zombies(self) -> bool:
        """Whether two processes may believe to be the relay."""
        return any(each.what == "steal" for each in self.happenings)

    @property
    def is_timeless(self) -> bool:
        """Whether somebody sets the clock: then nobody can know what happened in the last minute."""
        return any(each.what == "jump" for each in self.happenings)


#: Points at which a process may die, beside any moment.
POINTS = ("before commit", "after commit", "left", "spent", "answered", "looked", "opened")


def draw_plan(seed: int) -> Plan:
    """Draw a world."""
    draw = random.Random(f"plan {seed}")  # noqa: S311 - a simulation
    web, kiosk, app = draw_destinations(draw)
    destinations = draw.choice(((web,), (web, kiosk), (kiosk,), (kiosk, app), (web, kiosk, app)))
    span_s = draw.choice((8.0, 20.0, 45.0))
    calls = tuple(sorted(draw.uniform(0.0, span_s * 0.9) for _ in range(draw.randint(1, 12))))
    happenings = _happenings(draw, span_s)
    kill_at = {draw.choice(POINTS): draw.randint(1, 25) for _ in range(draw.choice((0, 0, 1, 1, 2)))}
    return Plan(
        seed,
        destinations,
        {each.name: _mood(draw) for each in destinations},
        draw.choice((1, 1, 2, 3, 5)),
        draw.choice((1, 2, 3, 5, 8, 15, 50)),
        span_s,
        calls,
        happenings,
        kill_at,
        draw.choice((0.0, 0.0, 0.02, 0.2)),
        draw.random() < 0.15,
    )


def draw_destinations(draw: random.Random) -> tuple[Destination, ...]:
    """Draw the limits of all destinations: one with sessions, and two that share a token."""
    retry = RetrySettings(
        max_attempts=draw.choice((3, 5, 8)),
        base_s=0.2,
        cap_s=4.0,
        trip_after=draw.choice((3, 5, 1000)),
        poison=draw.choice(("park_and_continue", "park_and_continue", "stop_guest")),
    )
    web = Destination(
        name="web",
        url="http://127.0.0.1:1",
        deployment_id="11111111-2222-4333-8444-555555555555",
        retry=retry,
        limits=Limits(
            messages_per_s=draw.choice((1, 2, 5)),
            requests_per_min=draw.choice((12, 30, 60)),
            history_per_min=draw.choice((4, 10)),
            connects_per_min=draw.choice((8, 30, 1000)),
            configures_per_min=draw.choice((6, 60)),
        ),
    )
    tight = Limits(
        requests_per_min=draw.choice((30, 60, 300)),
        messages_per_s=draw.choice((2, 5, 20)),
        max_in_flight=draw.choice((1, 2, 8)),
        reserve_per_min=draw.choice((0, 5)),
    )
    kiosks = tuple(
        Destination(
            name=name,
            transport="openmessaging",
            url="http://127.0.0.1:1",
            integration_id="11111111-2222-4333-8444-555555555555",
            client_id="one for both",
            client_secret=Secret("simulated"),
            retry=retry,
            limits=tight,
        )
        for name in ("kiosk", "app")
    )
    return (web, *kiosks)


def _mood(draw: random.Random) -> Mood:
    fury = draw.choice((0, 1, 1, 3))
    is_honest = draw.random() < 0.6
    trouble = ("slow", "lost before", "lost after", "late", "twice", "cut", "throttle", "fail", "odd", "closed")
    answers = {"accept": 20} | {each: draw.choice((0, 1, 3)) * fury for each in trouble}
    answers["refuse"] = draw.choice((0, 0, 1)) * fury
    lag_s = draw.choice((0.0, 0.3, 0.6))
    return Mood(
        answers,
        lag_s if is_honest else draw.choice((0.0, 1.0, 4.0)),
        draw.random() < 0.5,
        0.0 if is_honest else draw.choice((0.0, 0.2, 0.9)),
        0.0 if is_honest else draw.choice((0.0, 0.2)),
        draw.choice((0.0, 0.5)),
        0.0 if is_honest else draw.choice((0.0, 0.1)),
        draw.choice((0.0, 0.1, 0.3)),
    )


def _happenings(draw: random.Random, span_s: float) -> tuple[Happening, ...]:
    found: list[Happening] = []
    for _ in range(draw.choice((0, 1, 2, 4, 8))):
        at = draw.uniform(0.0, span_s)
        what: HostEvent = draw.choices(("kill", "stop", "freeze", "steal", "store", "jump"), (8, 3, 2, 1, 4, 1))[0]
        amount = draw.uniform(0.1, 6.0)
        if what == "jump":
            amount = draw.choice((-1, 1)) * draw.choice((3_600.0, 10 * YEAR_S))
        found.append(Happening(at, what, amount))
    return tuple(sorted(found, key=lambda each: each.at))
