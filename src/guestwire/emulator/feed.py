"""
`Feed`: what happens, told to whoever follows, as server-sent events.

Nothing is kept for followers to come. Each follower has a bounded buffer; one that does not keep up is told so by a
`gap` in place of what it missed, and reads the lists again. Without followers telling costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec

#: What is told. docs/emulator.md says what each carries.
Kind = Literal["message", "event", "conversation", "fault", "trigger", "reset", "gap"]
#: Happenings that wait for one follower.
MAX_WAITING = 1000
#: Followers at the same time.
MAX_FOLLOWERS = 64


class Follower:
    """One who follows: `take` what has happened, `wake` is called when there is something to take."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._waiting: deque[bytes] = deque()

    def add(self, told: bytes) -> None:
        """Note a happening; on overflow all that waited becomes one `gap`."""
        if len(self._waiting) >= MAX_WAITING:
            missed = len(self._waiting)
            self._waiting.clear()
            self._waiting.append(_line("gap", {"missed": missed}))
        self._waiting.append(told)
        self.wake()

    def take(self) -> bytes:
        """Return, once, what has happened since."""
        told = b"".join(self._waiting)
        self._waiting.clear()
        return told


class Feed:
    """The one source of happenings; it outlives a reset."""

    def __init__(self) -> None:
        self._followers: list[Follower] = []
        self.closed = False

    def tell(self, kind: Kind, what: Callable[[], Any]) -> None:
        """Tell everybody who follows; `what` is asked only if there is somebody."""
        if self._followers:
            told = _line(kind, what())
            for follower in self._followers:
                follower.add(told)

    def follow(self, wake: Callable[[], None]) -> Follower | None:
        """Begin to follow; None when there are too many already, or the feed is closed."""
        if self.closed or len(self._followers) >= MAX_FOLLOWERS:
            return None
        follower = Follower(wake)
        self._followers.append(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Stop following."""
        self._followers.remove(follower)

    def close(self) -> None:
        """Let every follower go: each is woken, and sees `closed`."""
        self.closed = True
        for follower in self._followers:
            follower.wake()


def _line(kind: Kind, data: Any) -> bytes:
    # JSON has no line breaks of its own, so one `data` line always suffices.
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))
