"""
When a destination takes nothing any more, leave it alone; then try it with one.

A far side that is down makes every attempt fail, and each failure costs its part one of its tries and the far side
some of the strength that it needs to come back. So after a few failures in a row, of whichever guests, nothing is
begun until a pause is over. Then one goes, the probe. Its success lets everybody go; its failure doubles the pause.

Closed -> open (after `trip_after` failures in a row) -> half open (one probe under way) -> closed, or open again.
"""

from __future__ import annotations

from typing import Literal

from guestwire.model import Failed, Outcome, Throttled, Unknown
from guestwire.policy.retry import backoff_s

State = Literal["closed", "open", "half_open"]


def is_alive(outcome: Outcome) -> bool | None:
    """
    Say whether an outcome shows that the destination works; None where it says nothing about that.

    An answer that refuses, or throttles, one message is a sign of life. No answer is none, and neither is one that says
    nothing but that the far side is unwell: a status of 500 or more that HTTP has (frames have codes of 4000 on). What
    was turned back on this side of the wire, to be sent as soon as it can, says nothing.
    """
    match outcome:
        case Unknown() | Failed(code=None):
            return False
        case Failed(code=int(code)):
            return not 500 <= code < 600
        case Throttled(retry_after_s=0.0):
            return None
        case _:
            return True


class Breaker:
    """
    Whether a destination is asked at all.

    Args:
        trip_after: Failures in a row that open it.
        base_s: Bound of the first pause, in seconds; it doubles with each probe that fails.
        cap_s: Bound of every pause, in seconds.
    """

    __slots__ = ("_base_s", "_cap_s", "_failures", "_opened", "_probe", "_trip_after", "until")

    def __init__(self, trip_after: int, *, base_s: float, cap_s: float) -> None:
        self._trip_after = trip_after
        self._base_s = base_s
        self._cap_s = cap_s
        self._failures = 0
        #: Pauses since it was closed.
        self._opened = 0
        self._probe: str | None = None
        #: When the pause is over, in seconds since the epoch; no meaning while it is closed.
        self.until = float("-inf")

    def __repr__(self) -> str:
        return f"<Breaker {self.state}, {self._failures} failures>"

    @property
    def state(self) -> State:
        """What it does now."""
        if not self._opened:
            return "closed"
        return "open" if self._probe is None else "half_open"

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its time alone: for no probe's outcome."""
        return self.state == "open"

    @property
    def is_closed(self) -> bool:
        """Whether everybody may go."""
        return not self._opened

    def admits(self, now: float) -> bool:
        """Say whether one more may go now. Whoever goes says so with `begun`."""
        return not self._opened or (self._probe is None and now >= self.until)

    def begun(self, who: str) -> None:
        """Somebody goes; while it is open, he is the probe."""
        if self._opened:
            self._probe = who

    def unused(self, who: str) -> None:
        """He did not go after all: the next one may."""
        if self._probe == who:
            self._probe = None

    def succeeded(self) -> bool:
        """The far side has answered, whoever it was: everybody may go. Returns whether that is news."""
        was_open, self._opened = bool(self._opened), 0
        self._failures = 0
        self._probe = None
        return was_open

    def failed(self, who: str, now: float, jitter: float) -> bool:
        """
        It failed for somebody.

        What others had under way when it opened is no probe, and says nothing new.

        Args:
            who: As in `begun`.
            now: Seconds since the epoch.
            jitter: A draw from [0, 1).

        Returns:
            Whether a pause begins.
        """
        self._failures += 1
        is_over = self._probe == who if self._opened else self._failures >= self._trip_after
        if is_over:
            self._opened += 1
            # Half of the bound at least: a pause of nothing would be no pause.
            self.shut(now + backoff_s(self._opened, 0.5 + jitter / 2, base_s=self._base_s, cap_s=self._cap_s))
        return is_over

    def shut(self, until: float) -> None:
        """Nobody before `until`, and then one: it is known to be closed to everybody."""
        self._opened = max(self._opened, 1)
        self._probe = None
        self.until = until
