"""
What platforms POST to a webhook, into the store.

The signature is the only proof of who writes, so it is looked at first, over the bytes as they came. Whatever carries
it is answered with 200 once it is on disk: the platform tries five times at most, and any other answer may end the chat
that it is about. What cannot be read is told in the journal. What does not carry it gets no further.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from guestwire.clock import Clock
from guestwire.errors import ConfigError, StoreError
from guestwire.feed import TypingFeed
from guestwire.protocol.openmessaging import SIGNATURE_HEADER, Brought, Unreadable, is_signed, read_webhook
from guestwire.settings import Destination
from guestwire.store.sqlite import SqliteStore

T = TypeVar("T")

logger = logging.getLogger("guestwire.receiving")

#: Largest body that is read, in bytes. A message of the platform's has some kilobytes.
MAX_BODY_BYTES = 1024 * 1024
#: The platform waits 10 s; a store that has not answered by then gets the same once more.
ANSWER_WITHIN_S = 8.0
#: Strangers may knock as often as they like; it is told this often, in seconds.
TELL_REFUSED_EVERY_S = 60.0


class WebhookAnswer(msgspec.Struct, frozen=True):
    """What to answer."""

    status: int
    """200: on disk, or known; 403: not signed with the secret; 413: too large; 503: to be sent again."""
    reason: str = ""

    @property
    def body(self) -> bytes:
        """A line for whoever looks."""
        return f"{self.reason or 'taken'}\n".encode()


class Wire(Protocol):
    """What is needed of a `GuestWire`."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def typing_feed(self) -> TypingFeed:
        """Who is being typed to."""

    def store_write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a writing verb."""


class Receiver:
    """
    Takes webhooks for the destinations that have a secret for them.

    Args:
        wire: Into whose store.
        destinations: All of them; a body is of the one whose secret signed it and whose integration it names.
    """

    def __init__(self, wire: Wire, destinations: Sequence[Destination]) -> None:
        self._wire = wire
        self._destinations = [one for one in destinations if one.webhook_secret is not None]
        self._refused = 0
        self._told_at = float("-inf")

    def require(self) -> None:
        """
        See that there is something to receive for.

        Raises:
            ConfigError: GW-C047, no destination has a `webhook_secret`.
        """
        if not self._destinations:
            raise ConfigError(
                "no destination has a webhook_secret, so nothing that comes to a webhook could be believed",
                code="GW-C047",
                hint="set it to the integration's signature secret token, such as with "
                "GUESTWIRE_DESTINATIONS__KIOSK__WEBHOOK_SECRET_FILE",
            )

    async def receive(self, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """Take one POST; see `GuestWire.receive_webhook`."""
        self.require()
        if len(body) > MAX_BODY_BYTES:
            return await self.refuse(413, f"larger than {MAX_BODY_BYTES} bytes")
        signature = next((value for name, value in headers.items() if name.lower() == _SIGNATURE), None)
        signed = [one for one in self._destinations if is_signed(_secret(one), body, signature)]
        if not signed:
            return await self.refuse(403, "no signature" if signature is None else "wrong signature")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._take(signed, body)
        except (StoreError, TimeoutError) as error:
            logger.error("a webhook was not stored: %s", error, extra={"action": "webhook_not_stored"})
            return WebhookAnswer(503, "not stored; send it again")
        return WebhookAnswer(200)

    async def refuse(self, status: int, reason: str) -> WebhookAnswer:
        """Turn a stranger away; the journal hears of it from time to time, with how many there were."""
        self._refused += 1
        now = self._wire.clock.now()
        if now - self._told_at >= TELL_REFUSED_EVERY_S:
            self._told_at = now
            refused, self._refused = self._refused, 0
            try:
                await self._note("webhook.refused", {"reason": reason, "count": refused})
            except StoreError as error:
                logger.error("the journal cannot be written: %s", error, extra={"action": "store_failed"})
        return WebhookAnswer(status, reason)

    async def _take(self, signed: Sequence[Destination], body: bytes) -> None:
        brought = read_webhook(body)
        if isinstance(brought, Unreadable):
            digest = hashlib.blake2b(body, digest_size=12).hexdigest()
            await self._note("webhook.unreadable", {"reason": brought.reason, "bytes": len(body), "digest": digest})
            return
        destination = _addressed(signed, brought)
        if destination is None:
            await self._note("webhook.unroutable", {"integration": brought.integration_id[:80]})
        elif isinstance(brought.said, float):
            name, guest, seconds = destination.name, brought.guest, brought.said
            guest_ref = await self._wire.store_write(lambda store: store.guest_for(name, guest))
            self._wire.typing_feed.publish(guest_ref, seconds)
        else:
            now = self._wire.clock.now()
            verb = partial(
                SqliteStore.receive,
                destination=destination.name,
                guest=brought.guest,
                said=brought.said,
                now=now,
                report=destination.read_receipt,
            )
            await self._wire.store_write(verb)

    async def _note(self, event: str, detail: dict[str, Any]) -> None:
        now = self._wire.clock.now()
        await self._wire.store_write(partial(SqliteStore.note, event=event, guest=None, detail=detail, now=now))


_SIGNATURE = SIGNATURE_HEADER.lower()


def _secret(destination: Destination) -> str:
    return "" if destination.webhook_secret is None else destination.webhook_secret.reveal()


def _addressed(signed: Sequence[Destination], brought: Brought) -> Destination | None:
    """Return whose webhook it is: two integrations may share a secret, and a gateway of one's own names none."""
    for destination in signed:
        if destination.integration_id == brought.integration_id.lower():
            return destination
    return next((one for one in signed if one.transport != "openmessaging"), None)
