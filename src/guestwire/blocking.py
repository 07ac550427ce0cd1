"""
The same for programs without an event loop: Flask, Django, Celery, notebooks' cells, scripts.

    from guestwire import Message
    from guestwire.blocking import GuestWire

    with GuestWire.open(to="web") as wire:
        ticket = wire.submit(Message(guest="42", text="Where is my order?"))
        print(wire.wait(ticket, timeout_s=30))

A thread with a loop of its own does the work. Safe after `fork` (gunicorn's prefork, multiprocessing): the child opens
its own on first use, and leaves the parent's alone. A script that forgets `close` loses nothing: what `submit`
returned is on disk. Refused inside a running event loop, which it would block: use `guestwire.GuestWire` there.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from guestwire import client
from guestwire.client import MessageStatus, RelayMode, Status
from guestwire.errors import ConfigError
from guestwire.guests import Guests
from guestwire.messages import Messages
from guestwire.model import Draft, JournalEntry, ReceivedFile, Reply, Ticket
from guestwire.net import mind_loop
from guestwire.receiving import WebhookAnswer
from guestwire.store.base import PartView

if TYPE_CHECKING:
    from guestwire.message import Message

T = TypeVar("T")

#: Open ones, so that the end of the process can close them.
_open: weakref.WeakSet[GuestWire] = weakref.WeakSet()
#: After a fork the parent's thread does not exist here, and its loop and sockets are not ours to clean up.
_parents: list[_Worker] = []


class _Worker:
    """A thread with a loop, and an open `client.GuestWire` on it; belongs to the process that made it."""

    def __init__(self, make: Callable[[], client.GuestWire]) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        mind_loop(self.loop)
        self._thread = threading.Thread(target=self.loop.run_forever, name="guestwire-loop", daemon=True)
        self._thread.start()
        try:
            self.wire: client.GuestWire = self.call(self._start(make))
        except BaseException:
            self._stop_loop()
            raise

    @staticmethod
    async def _start(make: Callable[[], client.GuestWire]) -> client.GuestWire:
        wire = make()
        await wire.start()
        return wire

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        try:
            self.call(self.wire.close())
        finally:
            self._stop_loop()

    def _stop_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class GuestWire:
    """`guestwire.GuestWire` with methods that return when they are done. See there for what they do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._make: Callable[[], client.GuestWire] = lambda: client.GuestWire(*args, **kwargs)
        self._worker: _Worker | None = None
        self._guard = threading.Lock()
        _open.add(self)

    @classmethod
    def open(
        cls,
        to: str | None = None,
        *,
        gateway: str | None = None,
        region: str | None = None,
        deployment_id: str | None = None,
        store: Path | None = None,
        relay: RelayMode = "auto",
    ) -> GuestWire:
        """As `guestwire.GuestWire.open`."""
        self = cls.__new__(cls)
        self._make = lambda: client.GuestWire.open(
            to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, relay=relay
        )
        self._worker = None
        self._guard = threading.Lock()
        _open.add(self)
        return self

    def __enter__(self) -> Self:
        self._here()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let what is in flight have its outcome, close everything. Closing twice is closing once."""
        worker, self._worker = self._worker, None
        _open.discard(self)
        if worker is not None and worker.pid == os.getpid():
            worker.close()

    def submit(self, message: Message | Draft) -> Ticket:
        """Accept a message. When this returns, it is committed to this machine's disk."""
        return self._call(lambda wire: wire.submit(message))

    def submit_many(self, messages: Iterable[Message | Draft]) -> list[Ticket]:
        """Accept messages, in their order."""
        return self._call(lambda wire: wire.submit_many(messages))

    def wait(self, ticket: Ticket, *, timeout_s: float | None = None) -> MessageStatus:
        """Wait until nothing more will happen to a message by itself, or until the time is up."""
        return self._call(lambda wire: wire.wait(ticket, timeout_s=timeout_s))

    def wait_many(self, tickets: Sequence[Ticket], *, timeout_s: float | None = None) -> list[MessageStatus]:
        """Wait for several messages."""
        return self._call(lambda wire: wire.wait_many(tickets, timeout_s=timeout_s))

    def find(self, name: str, *, with_text: bool = False) -> tuple[list[PartView], list[JournalEntry]]:
        """Return the parts of a message and everything the journal holds about them, by id or its beginning."""
        return self._call(lambda wire: wire.find(name, with_text=with_text))

    def status(self) -> Status:
        """Return the whole picture."""
        return self._call(lambda wire: wire.status())

    def replies(self, guest: str | None = None, *, consumer: str | None = None, after: int = 0) -> list[Reply]:
        """Return the replies there are, to one guest or to all; as `guestwire.GuestWire.replies`, without waiting."""
        return self._call(lambda wire: _all_replies(wire, guest, consumer, after))

    def acknowledge(
        self,
        reply: Reply,
        *,
        consumer: str | None = None,
        status: Literal["delivered", "read", "failed"] = "read",
        reason: str | None = None,
    ) -> None:
        """Say that a consumer has dealt with a reply, or what became of it: a receipt."""
        self._call(lambda wire: wire.acknowledge(reply, consumer=consumer, status=status, reason=reason))

    def receive_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """Take what a platform POSTs to a webhook; returns what to answer."""
        return self._call(lambda wire: wire.receive_webhook(headers, body))

    def refresh_token(self, to: str | None = None) -> None:
        """Fetch an OAuth token now."""
        self._call(lambda wire: wire.refresh_token(to))

    def fetch(self, reply: Reply, file: ReceivedFile) -> bytes:
        """Fetch a file that came with a reply."""
        return self._call(lambda wire: wire.fetch(reply, file))

    def for_guests(self, ask: Callable[[Guests], Coroutine[Any, Any, T]]) -> T:
        """
        Do something for guests, and return when it is done.

            wire.for_guests(lambda guests: guests.close("42"))
        """
        return self._call(lambda wire: ask(wire.guests))

    def for_messages(self, ask: Callable[[Messages], Coroutine[Any, Any, T]]) -> T:
        """
        Decide something about messages, and return when it is done.

            wire.for_messages(lambda messages: messages.cancel(ticket))
        """
        return self._call(lambda wire: ask(wire.messages))

    def _call(self, ask: Callable[[client.GuestWire], Coroutine[Any, Any, T]]) -> T:
        worker = self._here()
        return worker.call(ask(worker.wire))

    def _here(self) -> _Worker:
        """Return this process's worker; make it on first use, and again after a fork."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise ConfigError(
                "guestwire.blocking would block the running event loop",
                code="GW-C070",
                hint="use 'async with guestwire.GuestWire.open(...)' here",
            )
        with self._guard:
            if self._worker is None or self._worker.pid != os.getpid():
                if self._worker is not None:
                    _parents.append(self._worker)
                self._worker = _Worker(self._make)
                _open.add(self)
            return self._worker


async def _all_replies(wire: client.GuestWire, guest: str | None, consumer: str | None, after: int) -> list[Reply]:
    return [reply async for reply in wire.replies(guest, consumer=consumer, after=after, follow=False)]


@atexit.register
def _close_all() -> None:
    for wire in list(_open):
        wire.close()


def _forget_guards() -> None:
    """A lock that another thread held while we were forked is never released here."""
    for wire in list(_open):
        wire._guard = threading.Lock()


os.register_at_fork(after_in_child=_forget_guards)
