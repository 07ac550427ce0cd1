"""
How fast: sliding windows over everything a gateway counts.

A window admits at most `limit` uses in any `period_s`. It remembers the times of the last uses, so that no burst at the
border of two intervals can pass (a token bucket of 5 a second lets 9 through within one). A use in flight holds its
slot, and its time is that of its *answer*: the gateway counted it at some moment between the two, and the later one
is on the safe side. A use belongs to several windows at once (messages a second and requests a minute), and takes its
slot in all of them or in none.

The numbers are documented and not promised, so a gateway that throttles again and again is believed: each throttle that
follows the end of the last one's pause halves the window, and each quiet minute doubles it again, up to its limit.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterator
from typing import Literal

import msgspec

#: A throttle within so many seconds of the end of the last one's pause is a repeated one; without any for so long, the
#: window grows again.
QUIET_S = 60.0
#: Throttles so close to each other, in seconds, are one: of attempts that were on their way together.
TOGETHER_S = 1.0
#: "The limit that binds" is the one that said no most often in the last so many seconds.
BINDING_S = 5.0

#: (name of the limit, whom it counts), such as ("messages_per_s", guest_ref).
Key = tuple[str, str]
#: What is counted: a message or what goes like one, a session that is opened (of a guest who is known, or a new one), a
#: read of a history, a sign that a guest types, any other call to a REST platform.
UseKind = Literal["message", "connect", "first_connect", "history", "typing", "call"]


class Limit(msgspec.Struct, frozen=True):
    """At most `count` uses in any `period_s` seconds."""

    name: str
    count: int
    period_s: float


class Held(msgspec.Struct, frozen=True):
    """Not now: the binding limit, and when to ask again (seconds since the epoch; infinity: when a slot is freed)."""

    limit: str
    until: float


class Slot:
    """A use in flight. Call `answered` exactly once; calling it again changes nothing."""

    __slots__ = ("_pace", "keys")

    def __init__(self, pace: Pace, keys: tuple[Key, ...]) -> None:
        self._pace: Pace | None = pace
        #: Those that are counted.
        self.keys = keys

    def answered(self, now: float) -> None:
        """The gateway has counted it by now: from here the window slides."""
        if self._pace is not None:
            self._pace._answered(self.keys, now)
            self._pace = None

    def unused(self) -> None:
        """Nothing was sent after all: the slot was never used."""
        if self._pace is not None:
            self._pace._unused(self.keys)
            self._pace = None


class _Window:
    __slots__ = ("halvings", "in_flight", "paused_until", "throttled_at", "used_at")

    def __init__(self) -> None:
        self.used_at: deque[float] = deque()
        self.in_flight = 0
        self.paused_until = float("-inf")
        self.throttled_at = float("-inf")
        self.halvings = 0

    @property
    def quiet_since(self) -> float:
        """When the last throttle's pause was over, or is."""
        return max(self.throttled_at, self.paused_until)

    def count(self, limit: Limit, now: float) -> int:
        """How many uses it admits now."""
        return max(1, limit.count >> self._left(now)) if self.halvings else limit.count

    def throttled(self, limit: Limit | None, until: float, now: float) -> None:
        """It let through too much."""
        if now - self.throttled_at >= TOGETHER_S and now >= self.paused_until:
            left = self._left(now)
            is_repeated = now - self.quiet_since < QUIET_S
            is_more_to_halve = limit is not None and limit.count >> left > 1
            self.halvings = left + (is_repeated and is_more_to_halve)
            self.throttled_at = now
        self.paused_until = max(self.paused_until, until)

    def _left(self, now: float) -> int:
        """How many halvings are left of those that there were."""
        if not self.halvings:
            return 0
        return max(0, self.halvings - max(0, int((now - self.quiet_since) // QUIET_S)))


class Pace:
    """
    The windows of one destination.

    Args:
        limits: By name; a key whose limit is not among them is always admitted.
    """

    #: Windows of guests that went quiet are dropped once there are this many.
    SWEEP_AT = 4096

    def __init__(self, limits: list[Limit]) -> None:
        self._limits = {limit.name: limit for limit in limits}
        self._windows: dict[Key, _Window] = {}
        self._sweep_at = self.SWEEP_AT
        #: How often each limit was the one that said no: in all, and lately.
        self.held: Counter[str] = Counter()
        self._lately: tuple[int, Counter[str], Counter[str]] = (0, Counter(), Counter())
        #: Until when each limit held the one whom it held last.
        self._held_until: dict[str, float] = {}

    def admits(self, keys: tuple[Key, ...], now: float) -> Held | None:
        """Say whether a use may start now; if not, which limit binds and until when."""
        binding: Held | None = None
        for key in keys:
            until = self._admitted_at(key, now)
            if until > now and (binding is None or until > binding.until):
                binding = Held(key[0], until)
        if binding is not None:
            self.held[binding.limit] += 1
            self._held_in(now)[binding.limit] += 1
            self._held_until[binding.limit] = binding.until
        return binding

    def binding(self, now: float) -> str | None:
        """Name the limit that holds most of those who want to go; None where nothing holds anybody."""
        held = self._held_in(now) + self._lately[1]
        return max(held, key=lambda name: held[name]) if held else None

    def held_until(self, name: str) -> float:
        """Until when a limit held the one whom it held last; infinity: until an answer frees a place."""
        return self._held_until.get(name, float("-inf"))

    def limit(self, name: str) -> Limit | None:
        """Return a limit by name; None where it is not kept."""
        return self._limits.get(name)

    def retune(self, limits: list[Limit]) -> None:
        """Keep other limits from now on. What was used counts on; what is in flight keeps the places that it has."""
        self._limits = {limit.name: limit for limit in limits}

    def _held_in(self, now: float) -> Counter[str]:
        """Return who was held in the present stretch of time; the one before it is kept beside it."""
        stretch, before, present = self._lately
        if (current := int(now // BINDING_S)) != stretch:
            before, present = (present if current == stretch + 1 else Counter()), Counter()
            self._lately = (current, before, present)
        return present

    def take(self, keys: tuple[Key, ...], now: float) -> Slot:
        """Take a slot in every window. Whoever asked `admits` first stays under every limit."""
        if len(self._windows) > self._sweep_at:
            self._sweep(now)
        # Which limits are kept may change while it is on its way: it gives back what it took.
        counted = tuple(key for key in keys if key[0] in self._limits)
        for key in counted:
            self._window(key).in_flight += 1
        return Slot(self, counted)

    def room(self, keys: tuple[Key, ...], now: float) -> int:
        """Return how many uses of these windows may start now."""
        return min((self._room(key, now) for key in keys), default=1)

    def _room(self, key: Key, now: float) -> int:
        limit, window = self._limits.get(key[0]), self._windows.get(key)
        if self._admitted_at(key, now) > now:
            return 0
        if limit is None:
            return sys.maxsize
        return limit.count if window is None else window.count(limit, now) - len(window.used_at) - window.in_flight

    def throttled(self, key: Key, until: float, now: float) -> None:
        """The gateway says that it is enough: nothing of this key before `until`, and less than before if again."""
        self._window(key).throttled(self._limits.get(key[0]), until, now)

    def remember(self, keys: tuple[Key, ...], at: float) -> None:
        """A use of before this process: its gateway counts on, whoever asks."""
        for window in self._of(keys):
            insort(window.used_at, at)

    def _admitted_at(self, key: Key, now: float) -> float:
        """When the key's window admits one more use; infinity while uses in flight fill it."""
        window = self._windows.get(key)
        if window is None:
            return 0.0
        limit = self._limits.get(key[0])
        if limit is None:
            return window.paused_until
        used_at = window.used_at
        # The window is half open, (t - period, t]: a use exactly one period ago is out of it.
        while used_at and used_at[0] <= now - limit.period_s:
            used_at.popleft()
        over = len(used_at) + window.in_flight - window.count(limit, now)
        if over < 0:
            return window.paused_until
        if over >= len(used_at):
            return float("inf")
        return max(window.paused_until, used_at[over] + limit.period_s)

    def _window(self, key: Key) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        return window

    def _answered(self, keys: tuple[Key, ...], now: float) -> None:
        for key in keys:
            window = self._window(key)
            window.in_flight -= 1
            window.used_at.append(now)

    def _unused(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            self._window(key).in_flight -= 1

    def _of(self, keys: tuple[Key, ...]) -> Iterator[_Window]:
        return (self._window(key) for key in keys if key[0] in self._limits)

    def _sweep(self, now: float) -> None:
        """Drop windows that hold nothing any more; rarely, so that its cost is shared by many uses."""
        for key, window in list(self._windows.items()):
            self._admitted_at(key, now)
            is_quiet = window.quiet_since + QUIET_S * (1 + window.halvings) <= now
            if not window.used_at and not window.in_flight and is_quiet:
                del self._windows[key]
        self._sweep_at = max(self.SWEEP_AT, 2 * len(self._windows))
