"""
What a guest's client reads over HTTP: the deployment's public configuration, and its own history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from guestwire.clock import Clock
from guestwire.model import Entity, GuestRef, Reply
from guestwire.net import Http, Unreachable, read_once
from guestwire.policy.pace import Key, Pace
from guestwire.protocol.reading import DeploymentConfig, config_of, entity_of, retry_after_s, said_to_guest
from guestwire.transports.base import Spend
from guestwire.transports.connector import Way

#: Entries of a history page: the documented default, known to work.
HISTORY_PAGE = 25
#: Pages read where there is no anchor to stop at.
PAGES_WITHOUT_ANCHOR = 4
#: Pages read at most. An anchor further back than this has left the history.
MAX_PAGES = 8
#: How long a deployment's configuration is believed, in seconds.
CONFIG_LIFE_S = 900.0
#: How long the configuration is waited for; less than a shutdown may take, because the read holds a thread.
CONFIG_PATIENCE_S = 3.0


#: Which of these names of replies to a guest were known at a moment.
Heard = Callable[[GuestRef, Iterable[str], float], Awaitable[set[str]]]


#: Whether all of some replies, and there are some, were known before the gap.
IsKnown = Callable[[list[Reply]], Awaitable[bool]]


class History(NamedTuple):
    """What pages of a history held: the guest's own entries and what he was told, newest first."""

    entities: list[Entity]
    replies: list[Reply]
    is_complete: bool = True
    """Nothing is missing between these replies and those that were known before."""


class Unreadable(Exception):
    """The history could not be read; worth another try after `retry_s`."""

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s


class Reads:
    """
    Reads over HTTP for one destination.

    Args:
        way: Where from.
        pace: The windows of the destination.
        clock: The time.
        timeout_s: For one request.
        tell: Takes the reason why the configuration could not be read.
        spend: Writes a read of a history down before it leaves.
    """

    def __init__(
        self, way: Way, *, pace: Pace, clock: Clock, timeout_s: float, tell: Callable[[str], None], spend: Spend
    ) -> None:
        self._way = way
        self._pace = pace
        self._clock = clock
        self._tell = tell
        self._spend = spend
        self._http = Http(tls=way.tls, proxy=way.proxy, timeout_s=timeout_s)
        self._config: asyncio.Task[DeploymentConfig | None] | None = None
        self._config_at = float("-inf")
        #: As last read; None until then.
        self.known_config: DeploymentConfig | None = None
        #: History pages asked for.
        self.history_reads = 0

    async def close(self) -> None:
        """Give up what is under way, close the connections."""
        if self._config is not None:
            self._config.cancel()
            await asyncio.gather(self._config, return_exceptions=True)
        await self._http.close()

    async def config(self) -> DeploymentConfig:
        """
        Return the deployment's flags; one read serves everybody for a while.

        Where it cannot be read the last ones count, else none are set; the next who asks reads again.
        """
        now = self._clock.now()
        if self._config is None or now - self._config_at > CONFIG_LIFE_S:
            self._config_at = now
            self._config = asyncio.create_task(self._read_config())
        found = await asyncio.shield(self._config)
        if found is None:
            self._config_at = float("-inf")
        else:
            self.known_config = found
        return self.known_config or DeploymentConfig()

    async def _read_config(self) -> DeploymentConfig | None:
        way = self._way
        try:
            answer = await read_once(
                way.destination.config_url, tls=way.tls, proxy=way.proxy, timeout_s=CONFIG_PATIENCE_S
            )
        except (Unreachable, RuntimeError, OSError) as error:
            # No thread can be had at the interpreter's end, and none without a file to import what starts threads.
            self._tell(str(error))
            return None
        config = answer.json() if answer.status == 200 else None
        if config is None:
            self._tell(f"HTTP {answer.status}")
            return None
        return config_of(config)

    async def history(self, guest: GuestRef, jwt: str, anchor: str | None, is_known: IsKnown) -> History:
        """
        Read the history, newest first, until the anchor, the end, or as far as is reasonable.

        Args:
            guest: Whose.
            jwt: The key to the history.
            anchor: A name of the guest's entry to stop at; None where there is none.
            is_known: Whether replies were known before the gap.

        Raises:
            Unreadable: A page could not be had.
        """
        found = History([], [])
        for page in range(1, (MAX_PAGES if anchor else PAGES_WITHOUT_ANCHOR) + 1):
            before = len(found.replies)
            raw = await self._read_page(guest, jwt, page, found)
            if raw < HISTORY_PAGE:
                return found
            if any(entity.is_called(anchor) for entity in found.entities):
                break
        return found._replace(is_complete=await is_known(found.replies[before:]))

    async def missed(self, guest: GuestRef, jwt: str, is_known: IsKnown) -> History:
        """
        Read what was said to a guest and is not known, newest first: by name, never by the gateway's time.

        Ends with a page of which everything was known before the gap: what is older was complete then. What was heard
        since proves nothing about the gap.

        Raises:
            Unreadable: A page could not be had.
        """
        found = History([], [])
        for page in range(1, MAX_PAGES + 1):
            before = len(found.replies)
            raw = await self._read_page(guest, jwt, page, found)
            if raw < HISTORY_PAGE or await is_known(found.replies[before:]):
                return found
        return found._replace(is_complete=False)

    async def _read_page(self, guest: GuestRef, jwt: str, page: int, found: History) -> int:
        """Add the entries of one page; returns how many there were."""
        entries = await self._page(guest, jwt, page)
        for raw in entries:
            if (entity := entity_of(raw)) is not None:
                found.entities.append(entity)
            elif (reply := said_to_guest(raw)) is not None:
                found.replies.append(reply)
        return len(entries)

    async def _page(self, guest: GuestRef, jwt: str, page: int) -> list[object]:
        keys: tuple[Key, ...] = (("history_per_min", guest),)
        now = self._clock.now()
        held = self._pace.admits(keys, now)
        if held is not None:
            raise Unreadable(f"held by the limit {held.limit}", min(held.until - now, 60.0))
        slot = self._pace.take(keys, now)
        self.history_reads += 1
        destination = self._way.destination
        headers = {"Authorization": f"Bearer {jwt}"}
        if destination.origin is not None:
            headers["Origin"] = destination.origin
        try:
            await self._spend("history", guest)
            url = f"{destination.history_url}?pageSize={HISTORY_PAGE}&pageNumber={page}"
            answer = await self._http.get(url, headers)
        except Unreachable as error:
            raise Unreadable(str(error), 1.0) from error
        finally:
            slot.answered(self._clock.now())
        body = answer.json()
        entities = body.get("entities") if isinstance(body, dict) else None
        if answer.status != 200 or not isinstance(entities, list):
            raise Unreadable(f"HTTP {answer.status}", retry_after_s(answer.headers.get("Retry-After")) or 1.0)
        return entities
