"""
A thread around a store: callers on an event loop, verbs on the disk's time.

What was handed in while the last transaction was being committed goes into the next one together: one fsync for all
of it. A verb that refuses (a `GuestWireError` before its first write) fails alone; anything else rolls the whole
transaction back, and everybody in it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from guestwire.errors import GuestWireError, StoreError
from guestwire.store.connection import explain
from guestwire.store.folder import Folder
from guestwire.store.sqlite import SqliteStore

logger = logging.getLogger("guestwire.store")

T = TypeVar("T")

_Verb = Callable[[SqliteStore], Any]
#: (verb, future, whether it writes)
_Job = tuple[_Verb, asyncio.Future[Any], bool]

#: So many verbs at most share one transaction; a bound on how much a failing disk takes back.
MAX_GROUP = 1024


class StoreThread:
    """
    Owns one connection to a store, on a thread of its own.

    Args:
        make_store: Called on the thread; what it raises is raised by `open`.
        folder: For the words of errors.
    """

    def __init__(self, make_store: Callable[[], SqliteStore], folder: Folder) -> None:
        self._make_store = make_store
        self._folder = folder
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: asyncio.Future[None] | None = None
        self._store: SqliteStore | None = None
        #: Held while the thread is inside SQLite; see `_before_fork`.
        self._inside = threading.Lock()
        _threads.add(self)
        #: Transactions committed, for the curious: how well the grouping works.
        self.commits = 0

    async def open(self) -> None:
        """Start the thread and open the store on it."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._closed = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="guestwire-store", daemon=True)
        self._thread.start()
        try:
            await opened
        except Exception:
            self._thread = None  # it has ended; nobody may wait for it
            raise

    async def close(self) -> None:
        """Finish what was handed in, close the store, end the thread. Closing twice is closing once."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._jobs.put(None)
        if self._closed is not None:
            # Not through an executor: at the end of the interpreter there is none any more.
            await self._closed
        thread.join()

    def write(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a verb in the next transaction; the future is done when that transaction is on disk."""
        return self._hand_in(verb, writes=True)

    def read(self, verb: Callable[[SqliteStore], T]) -> asyncio.Future[T]:
        """Run a verb that only reads, outside any transaction."""
        return self._hand_in(verb, writes=False)

    def _hand_in(self, verb: Callable[[SqliteStore], T], *, writes: bool) -> asyncio.Future[T]:
        if self._thread is None or self._loop is None:
            raise StoreError("the store is not open", code="GW-S006", hint="open it first: 'async with GuestWire(...)'")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((verb, future, writes))
        return future

    # --- on the thread ---

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            with self._inside:
                store = self._store = self._make_store()
        except BaseException as error:
            self._tell([(opened, None, error)] + ([(self._closed, None, None)] if self._closed else []))
            return
        self._tell([(opened, None, None)])
        try:
            while self._serve(store):
                pass
        finally:
            with self._inside:
                self._store = None
                self._close(store)
            if self._closed is not None:
                self._tell([(self._closed, None, None)])

    def _close(self, store: SqliteStore) -> None:
        """A disk that fails now fails nobody: what was promised is in the files. Whoever waits for the end gets it."""
        try:
            store.close()
        except apsw.Error as error:
            reason = explain(error, self._folder)
            logger.warning("closing: %s", reason, extra={"action": "close_failed", "code": reason.code})

    def _serve(self, store: SqliteStore) -> bool:
        """Take what was handed in, carry it out, commit, tell. False when the thread has to end."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == MAX_GROUP:
                break
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
        with self._inside:
            results = self._carry_out(store, jobs)
        self._tell(results)
        return job is not None

    def _carry_out(
        self, store: SqliteStore, jobs: list[_Job]
    ) -> list[tuple[asyncio.Future[Any], Any, BaseException | None]]:
        writes = [job for job in jobs if job[2]]
        results = [(future, *self._look(store, verb)) for verb, future, writing in jobs if not writing]
        if not writes:
            return results
        written: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            with store.transaction():
                for verb, future, _ in writes:
                    before = store.changes()
                    written.append((future, *self._attempt(store, verb, before)))
            self.commits += 1
        except Exception as error:
            # Everybody in the transaction is told, most of them of somebody else's mistake: as an error of the store.
            reason = error if isinstance(error, GuestWireError) else explain(error, self._folder)
            return results + [(future, None, reason) for _, future, _ in writes]
        return results + written

    def _look(self, store: SqliteStore, verb: _Verb) -> tuple[Any, BaseException | None]:
        """Carry out a verb that only reads. Whatever it raises is its caller's: the thread goes on for the others."""
        try:
            return verb(store), None
        except Exception as error:
            return None, self._explained(error)

    def _attempt(self, store: SqliteStore, verb: _Verb, changes_before: int) -> tuple[Any, BaseException | None]:
        try:
            return verb(store), None
        except GuestWireError as error:
            if store.changes() != changes_before:
                raise
            return None, error
        except Exception as error:
            fatal = isinstance(error, apsw.FullError | apsw.IOError | apsw.CorruptError)
            if fatal or store.changes() != changes_before:
                raise
            return None, self._explained(error)

    def _explained(self, error: BaseException) -> BaseException:
        return explain(error, self._folder) if isinstance(error, apsw.Error) else error

    def _tell(self, results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
        if not results or self._loop is None:
            return
        # RuntimeError: the loop is gone, and with it everybody who waited.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, results)


def _resolve(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, value, error in results:
        if future.done():
            continue  # whoever waited was cancelled; what was committed stays committed
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


# --- forks ---
#
# SQLite keeps its knowledge of a process's locks in memory. A forked child inherits that knowledge, and not the locks:
# what it opens anew would go by locks that it does not hold (sqlite.org/howtocorrupt.html, 2.6). Closing what was
# inherited clears it. That must not happen in the middle of a transaction, so a fork waits for those under way.

_threads: weakref.WeakSet[StoreThread] = weakref.WeakSet()
_held: list[StoreThread] = []


def _before_fork() -> None:
    for thread in list(_threads):
        thread._inside.acquire()
        _held.append(thread)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop()._inside.release()


def _after_fork_in_child() -> None:
    while _held:
        thread = _held.pop()
        store, thread._store, thread._thread = thread._store, None, None
        if store is not None:
            store.close()
        thread._inside.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
