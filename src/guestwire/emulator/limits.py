"""
The platform's rate limits, as sliding windows.

Counted here in the emulator's own code: judging a client with the client's own pacer would prove nothing. Sliding,
because that is the strictest reading of "per second": a token bucket would let a burst of nine through within one
second. Whether a refused request counts is not published; here it does not.
"""

from __future__ import annotations

import math
from collections import deque

from guestwire.emulator.settings import EmulatorSettings


class Window:
    """
    At most `limit` admissions within any `span_s` seconds.

    Remembers the times of what it admitted: never more than `limit` of them.
    """

    __slots__ = ("_admitted", "limit", "span_s")

    def __init__(self, limit: int, span_s: float) -> None:
        self.limit = limit
        self.span_s = span_s
        self._admitted: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<Window {len(self._admitted)} of {self.limit} in {self.span_s} s>"

    def admit(self, now: float) -> bool:
        """Count one more, or say that it is one too many. `now` in seconds, never less than before."""
        admitted = self._admitted
        horizon = now - self.span_s
        while admitted and admitted[0] <= horizon:
            admitted.popleft()
        if len(admitted) >= self.limit:
            return False
        admitted.append(now)
        return True

    @property
    def count(self) -> int:
        """How many it holds, as of the last admission."""
        return len(self._admitted)

    def reset_s(self, now: float) -> int:
        """Whole seconds until there is room for one more than now: when the oldest leaves. At least 1."""
        oldest = self._admitted[0] if self._admitted else now
        return max(1, math.ceil(oldest + self.span_s - now))


class NoWindow(Window):
    """Admits everything: the limit is off."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0, 0.0)

    def __repr__(self) -> str:
        return "<NoWindow>"

    def admit(self, now: float) -> bool:
        """Say yes."""
        return True


def window(settings: EmulatorSettings, limit: int, span_s: float) -> Window:
    """Count a limit, unless the settings say that there are none."""
    return Window(limit, span_s) if settings.limits == "documented" else NoWindow()
