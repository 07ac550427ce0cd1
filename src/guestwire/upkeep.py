"""
What the relay's process does for its store beside relaying: it lets go of what is not kept any longer.

In stretches so short that no message waits for one, with pauses between them that are long while there is much to send.
What is to go is decided in `guestwire.store.retention`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from guestwire.clock import Clock
from guestwire.errors import StoreError
from guestwire.settings import RetentionSettings
from guestwire.store.retention import KINDS, Terms, chunks
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread

logger = logging.getLogger("guestwire.upkeep")

#: Seconds after the start until the first walk, and from the end of one to the next.
FIRST_S = 60.0
EVERY_S = 3600.0
#: Seconds between two stretches: while nothing is on its way, and while something is.
QUIET_S = 0.02
BUSY_S = 1.0


class Upkeep:
    """
    Walks through a store, again and again.

    Args:
        writer: The store.
        reader: The same store, for reads.
        clock: The time.
        settings: How long things are kept.
        is_ours: Whether this process relays now; another one's relay looks after the store itself.
        is_busy: Whether something is on its way.
    """

    def __init__(
        self,
        writer: StoreThread,
        reader: StoreThread,
        *,
        clock: Clock,
        settings: RetentionSettings,
        is_ours: Callable[[], bool],
        is_busy: Callable[[], bool],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._settings = settings
        self._is_ours = is_ours
        self._is_busy = is_busy

    async def run(self) -> None:
        """Walk until cancelled. A store that fails for a moment is walked through later."""
        pause_s = FIRST_S
        while True:
            await self._pause(pause_s)
            pause_s = EVERY_S if self._is_ours() else FIRST_S
            try:
                await self.walk()
            except StoreError as error:
                logger.warning("what is over was not let go: %s", error, extra={"action": "upkeep_failed"})

    async def walk(self) -> None:
        """Go through every table once, as long as this process relays."""
        terms = Terms.of(self._settings, self._clock.now())
        await self._pass_over(terms)
        for kind in KINDS:
            after, held = None, 0
            while self._is_ours():
                old = await self._reader.read(partial(SqliteStore.find_old, kind=kind, after=after, terms=terms))
                for changes in chunks(old.changes):
                    await self._writer.write(partial(SqliteStore.forget, kind=kind, changes=changes))
                    await self._pause(BUSY_S if self._is_busy() else QUIET_S)
                held += old.held_bytes
                if held > terms.lag_bytes:
                    held = 0
                    await self._pass_over(terms, all_of=kind)
                after = old.reached
                if after is None:
                    break
                await self._pause(BUSY_S if self._is_busy() else QUIET_S)

    async def _pass_over(self, terms: Terms, *, all_of: str | None = None) -> None:
        """Hold nothing any longer for readers who stay too far behind."""
        gaps = await self._reader.read(partial(SqliteStore.late_readers, terms=terms, all_of=all_of))
        if gaps:
            now = self._clock.now()
            await self._writer.write(lambda store: store.pass_over(gaps, now))
        for gap in gaps:
            logger.warning("%s has missed %d entries", gap.sink, gap.count, extra={"action": "sink_gap"})

    async def _pause(self, seconds: float) -> None:
        await self._clock.wait(asyncio.Event(), self._clock.now() + seconds)
