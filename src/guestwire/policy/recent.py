"""How much of what happened in the last minute: counts by the second, forgotten after sixty."""

from __future__ import annotations

from collections import Counter, deque

#: What is remembered, in seconds.
RECENT_S = 60


class Recent:
    """Counts of the last minute, by name."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Counter[str]]] = deque()

    def note(self, name: str, now: float) -> None:
        """Something happened."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append((second, Counter()))
            self._forget(second)
        self._seconds[-1][1][name] += 1

    def per_min(self, now: float) -> dict[str, int]:
        """Return how often each thing happened within the last sixty seconds."""
        self._forget(int(now))
        total: Counter[str] = Counter()
        for _, counts in self._seconds:
            total.update(counts)
        return dict(sorted(total.items()))

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - RECENT_S:
            self._seconds.popleft()
