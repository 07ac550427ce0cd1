"""
In which order replies are handed out, where nothing on the wire orders them.

Each reply waits `window_s` for older ones, by the gateway's time; when its wait is over, it goes out after those of the
same guest that are older. One that comes later still is flagged: it is handed out at once, in the wrong place, because
holding everything back for it could take for ever.
"""

from __future__ import annotations

import datetime

import msgspec

from guestwire.model import GuestRef, Reply

#: So far the gateway's time may be ahead of the reply's arrival, in seconds.
MAX_AHEAD_S = 3600.0
#: Guests whose last time is remembered.
REMEMBERED = 10_000


class Reorder:
    """
    Replies that wait for older ones.

    Args:
        window_s: How long each waits, in seconds from its arrival; 0: they go out as they arrive.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._waiting: list[tuple[float, Reply]] = []
        self._last: dict[GuestRef, float] = {}

    def push(self, reply: Reply) -> None:
        """Take a reply; in the order of arrival."""
        at = time_of(reply.at)
        if at is not None:
            # One clock that is far off must not make every later reply a late one.
            at = min(at, reply.received_at + MAX_AHEAD_S)
        if at is None:
            # No time at all: its place is where it arrived.
            times = [time for time, other in self._waiting if other.guest_ref == reply.guest_ref]
            at = max(times, default=self._last.get(reply.guest_ref, float("-inf")))
        self._waiting.append((at, reply))

    @property
    def next_at(self) -> float | None:
        """When the next wait is over, in seconds since the epoch; None: nobody waits."""
        return min((reply.received_at + self._window_s for _, reply in self._waiting), default=None)

    def release(self, now: float) -> list[Reply]:
        """Return what may go out now, each guest's in order of time, and of arrival where times are equal."""
        if not self._window_s:
            everything, self._waiting = self._waiting, []
            return [self._hand_out(at, reply) for at, reply in everything]
        until: dict[GuestRef, float] = {}
        for at, reply in self._waiting:
            # Stored in the future: somebody set a clock back, and nobody waits for it to catch up.
            if reply.received_at + self._window_s <= now or reply.received_at > now + self._window_s:
                until[reply.guest_ref] = max(at, until.get(reply.guest_ref, float("-inf")))
        out = [(at, reply) for at, reply in self._waiting if reply.guest_ref in until and at <= until[reply.guest_ref]]
        gone = {id(reply) for _, reply in out}
        self._waiting = [(at, reply) for at, reply in self._waiting if id(reply) not in gone]
        return [self._hand_out(at, reply) for at, reply in sorted(out, key=lambda pair: pair[0])]

    def flush(self) -> list[Reply]:
        """Return everything: nobody waits any more."""
        return self.release(float("inf"))

    def _hand_out(self, at: float, reply: Reply) -> Reply:
        last = self._last.pop(reply.guest_ref, float("-inf"))
        self._last[reply.guest_ref] = max(at, last)
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]
        return msgspec.structs.replace(reply, late=True) if at < last else reply


def time_of(at: str | None) -> float | None:
    """Read the gateway's time, in seconds since the epoch; None for none, or for what is no time."""
    if at is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(at)
        return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
    except (ValueError, OverflowError):
        return None
