"""
Replies of a `GuestWire` on their way to the receiver of the settings: the wiring between the store and the forwarder.

    task = asyncio.create_task(forward(wire, settings.sinks.replies))

One process forwards: the one that relays. Two would deliver twice, under the same ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from guestwire.client import GuestWire
from guestwire.errors import StoreError
from guestwire.model import GuestKey, GuestRef, Reply
from guestwire.settings import ReplyForwarding
from guestwire.sinks.replies import ReplyForwarder
from guestwire.store.sqlite import SqliteStore

_log = logging.getLogger("guestwire.forwarding")

#: Pause after the store failed, in seconds.
AGAIN_S = 1.0
#: Guests whose keys are kept in memory.
REMEMBERED = 10_000


class WireReplies:
    """A `guestwire.sinks.replies.ReplySource` over a `GuestWire`; what was acknowledged is written in its store."""

    def __init__(self, wire: GuestWire, consumer: str) -> None:
        self._wire = wire
        self._consumer = consumer
        self._keys: dict[GuestRef, GuestKey] = {}

    async def replies(self) -> AsyncGenerator[tuple[GuestKey, Reply], None]:
        """Give every reply that is not acknowledged, then each new one as it comes."""
        async with aclosing(self._wire.replies(consumer=self._consumer)) as replies:
            async for reply in replies:
                yield await self._key_of(reply.guest_ref), reply

    async def acknowledge(self, reply: Reply) -> None:
        """Note, durably, that the receiver has it."""
        await self._wire.acknowledge(reply, consumer=self._consumer)

    async def note(self, event: str, detail: dict[str, Any]) -> None:
        """Write into the journal."""
        now = self._wire.clock.now()
        guest = detail.get("guest_ref")
        await self._wire.store_write(partial(SqliteStore.note, event=event, guest=guest, detail=detail, now=now))

    async def _key_of(self, guest_ref: GuestRef) -> GuestKey:
        if guest_ref not in self._keys:
            if len(self._keys) >= REMEMBERED:
                self._keys.clear()
            self._keys[guest_ref] = await self._wire.guest_key(guest_ref)
        return self._keys[guest_ref]


def forwarder_of(wire: GuestWire, settings: ReplyForwarding) -> ReplyForwarder:
    """
    Make the forwarder of a `GuestWire`, for one run.

    Raises:
        ConfigError: The receiver of the settings cannot be used.
    """
    return ReplyForwarder(WireReplies(wire, settings.consumer), settings, clock=wire.clock)


async def forward(wire: GuestWire, settings: ReplyForwarding) -> None:
    """
    Forward until cancelled, or until the receiver says that it is gone for ever.

    A store that fails for a moment, as on a full disk, does not end it: what was not acknowledged is sent again.

    Raises:
        ConfigError: The receiver of the settings cannot be used.
    """
    while True:
        try:
            await forwarder_of(wire, settings).run()
            return
        except StoreError as error:
            _log.error("replies are not forwarded for a moment: %s", error, extra={"action": "forwarding_restarts"})
        await asyncio.sleep(AGAIN_S)


async def lag_of(wire: GuestWire, settings: ReplyForwarding) -> tuple[int, float | None]:
    """Return how many replies the receiver has not taken yet, and when the oldest of them came."""
    return await wire.store_read(partial(SqliteStore.unacknowledged, sink=f"replies:{settings.consumer}"))
