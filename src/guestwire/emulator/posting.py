"""`Poster`: carries out the webhooks' posts, to this machine only."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import aiohttp

from guestwire.emulator.webhooks import Attempt, Post


class Poster:
    """
    One task per attempt.

    Args:
        answered: Told of each attempt's outcome: the status, or ``"unreachable"``.
    """

    def __init__(self, answered: Callable[[Post, int | str], None]) -> None:
        self._answered = answered
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}

    def post(self, post: Post) -> None:
        """Make an attempt."""
        task = asyncio.get_running_loop().create_task(self._post(post))
        self._tasks[post.attempt] = task
        task.add_done_callback(lambda done: self._tasks.pop(post.attempt, None))

    def give_up(self, attempt: Attempt) -> None:
        """Close the connection of an attempt that has waited too long."""
        task = self._tasks.get(attempt)
        if task is not None:
            task.cancel()

    async def _post(self, post: Post) -> None:
        if self._session is None:
            # A connection for each: one that a receiver closes while it is idle would look like a failure.
            connector = aiohttp.TCPConnector(force_close=True, limit=64)
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),  # a receiver that hangs is given up by the webhooks' clock
            )
        notice = post.notice
        try:
            async with self._session.post(
                notice.url,
                data=io.BytesIO(notice.body),
                headers=notice.headers,
                allow_redirects=False,
                ssl=False,  # a certificate of the receiver's own is good enough on loopback
            ) as answer:
                outcome: int | str = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            outcome = "unreachable"
        self._answered(post, outcome)

    def forget(self) -> None:
        """Give up what is on its way."""
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        """Give up what is on its way, and close the connections."""
        self.forget()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()
