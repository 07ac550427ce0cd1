"""News from the journal, and live typing, for whoever waits in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from guestwire.model import GuestRef, JournalEntry

#: News kept for one watcher.
MAX_NEWS = 1_000


class Feed:
    """
    News from the journal, for whoever waits in this process.

    Comes from the relay after each commit where the relay runs here; else from the store, by looking.
    """

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[Sequence[JournalEntry]]] = set()

    def publish(self, entries: Sequence[JournalEntry]) -> None:
        """Tell everybody. Whoever does not listen is told to look again, and nothing piles up for him."""
        for queue in self._watchers:
            if queue.qsize() >= MAX_NEWS:
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(())
            queue.put_nowait(entries)

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for news."""
        return bool(self._watchers)

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Queue[Sequence[JournalEntry]]]:
        """Receive everything from now on."""
        queue: asyncio.Queue[Sequence[JournalEntry]] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)


class TypingFeed:
    """Who is being typed to, and for how many seconds. Live only, and only in the process that relays."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[tuple[GuestRef, float]]] = set()

    def publish(self, guest: GuestRef, seconds: float) -> None:
        """Tell everybody."""
        for queue in self._watchers:
            queue.put_nowait((guest, seconds))

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Queue[tuple[GuestRef, float]]]:
        """Receive everything from now on."""
        queue: asyncio.Queue[tuple[GuestRef, float]] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
