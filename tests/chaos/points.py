"""
Where a process dies by its own hand: before and after each durable step, and in each state of a way out.

The product knows nothing of it: its methods are wrapped from outside, in a process that is about to die. All points
stand in `POINTS` and `APART`; each says itself, on stdout, before it kills.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from guestwire.model import Accepted, AuthChanged, CaughtUp, Failed, Refused, SessionChanged, Throttled, Unknown
from guestwire.protocol.guest import GuestSession
from guestwire.protocol.states import ConnectionState
from guestwire.relay import Relay
from guestwire.store import base, blobs
from guestwire.store.base import Step
from guestwire.store.connection import Connection
from guestwire.store.folder import RelayLock
from guestwire.store.sqlite import SqliteStore
from guestwire.transports import base as said
from guestwire.transports.calls import HttpCaller
from guestwire.transports.openmessaging import OpenMessagingTransport
from guestwire.transports.rest import RestTransport
from guestwire.transports.webmessaging import WebMessagingTransport
from guestwire.vault import Vault
from tests.journey.worker import say

#: Verbs of the store, each in a transaction of its own or of several.
VERBS = {
    "intake": "add",
    "batch let go": "let_go",
    "batch noted": "note_batch",
    "entering": "enter",
    "takeover": "take_over",
    "errand asked": "ask",
    "guest followed": "follow",
    "webhook kept": "receive",
    "receipt noted": "note_receipt",
}
#: What a step of the relay brings to disk.
CHANGES = {
    "settled": base.Confirm,
    "requeued": base.Requeue,
    "doubted": base.Suspect,
    "ended": base.End,
    "expired": base.Expire,
    "file deferred": base.Defer,
    "file noted": base.NoteUpload,
    "errand ended": base.EndErrand,
    "paused": base.Pause,
    "moved back": base.Realign,
    "reply kept": base.Hear,
    "session noted": SessionChanged,
    "sign-in kept": AuthChanged,
    "replies complete": CaughtUp,
    "noted": base.Note,
}
#: What a way out tells the relay.
TOLD: dict[str, type] = {
    "ready": said.LaneReady,
    "held": said.LaneHeld,
    "history read": said.HistoryRead,
    "no history": said.NoHistory,
    "reply heard": said.HeardReply,
    "file is there": said.Uploaded,
    "errand over": said.ErrandEnded,
}
OUTCOMES: dict[str, type] = {
    "accepted": Accepted,
    "throttled": Throttled,
    "refused": Refused,
    "surely not": Failed,
    "unknown": Unknown,
}
#: What the relay asks of a way out, before it is done and after.
ASKED = {
    "session": ((WebMessagingTransport,), ("open", "want", "send", "look", "upload", "carry_out", "leave")),
    "rest": ((RestTransport, OpenMessagingTransport), ("open", "want", "send", "look", "carry_out", "leave")),
}
FILES = ("blob written", "blob synced", "blob renamed", "blob in the folder", "key made", "key kept")

#: Passed once in the life of a process, or seldom.
ONCE = (
    "lock taken",
    "takeover before commit",
    "takeover after commit",
    *(f"{way}.open {when}" for way in ASKED for when in ("before", "after")),
)
#: Passed only where guests sign in, and where more lanes wait than there is room for, written by a clock ahead.
APART = tuple(f"{name} {when} commit" for name in ("sign-in kept", "moved back") for when in ("before", "after"))
_COMMITS = tuple(f"{name} {when} commit" for name in (*VERBS, *CHANGES, "begun") for when in ("before", "after"))
#: Every point there is, but those.
POINTS = (
    "lock taken",
    *(point for point in _COMMITS if point not in APART),
    *(f"told: {name}" for name in TOLD),
    *(f"answer: {name}" for name in OUTCOMES),
    *(f"{way}.{name} {when}" for way, (_, names) in ASKED.items() for name in names for when in ("before", "after")),
    "request before it leaves",
    "request answered",
    *(f"session is {state.value}" for state in ConnectionState),
    *FILES,
)


def arm(name: str, nth: int) -> None:
    """Let this process die when it passes a point for the nth time."""
    assert name in (*POINTS, *APART)
    passages = itertools.count(1)

    def passed(point: str) -> None:
        if point == name and next(passages) == nth:
            say(f"died {name}")
            os.kill(os.getpid(), signal.SIGKILL)

    _arm_store(passed)
    _arm_files(passed)
    _arm_ways(passed)


def _around(owner: Any, method: str, before: Callable[..., None], after: Callable[[], None]) -> None:
    """Have something done before and after a method, of an event loop's or not."""
    plain = getattr(owner, method)

    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        result = plain(*args, **kwargs)
        if not hasattr(result, "__await__"):
            after()
            return result
        return _then(result, after)

    setattr(owner, method, wrapped)


async def _then(result: Any, after: Callable[[], None]) -> Any:
    found = await result
    after()
    return found


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    pass


def _arm_store(passed: Callable[[str], None]) -> None:
    marks: dict[int, list[str]] = {}
    transaction = Connection.transaction

    @contextmanager
    def marked(self: Connection) -> Iterator[None]:
        mine = marks[id(self)] = []
        with transaction(self):
            yield
            for name in dict.fromkeys(mine):
                passed(f"{name} before commit")
        for name in dict.fromkeys(mine):
            passed(f"{name} after commit")

    Connection.transaction = marked  # type: ignore[method-assign]

    def mark(name: str) -> Callable[..., None]:
        return lambda self, *_args, **_kwargs: marks.get(id(self), []).append(name)

    for name, verb in VERBS.items():
        _around(SqliteStore, verb, mark(name), _nothing)

    def mark_step(self: SqliteStore, step: Step, **_given: Any) -> None:
        kinds = {type(change) for change in step.changes}
        found = [name for name, kind in CHANGES.items() if kind in kinds]
        marks.get(id(self), []).extend([*found, *(["begun"] if step.begins else [])])

    _around(SqliteStore, "step", mark_step, _nothing)
    taken = RelayLock.acquire

    def acquire(self: RelayLock) -> bool:
        found = taken(self)
        if found:
            passed("lock taken")
        return found

    RelayLock.acquire = acquire  # type: ignore[method-assign]


def _arm_files(passed: Callable[[str], None]) -> None:
    class Os:
        """`os` as the blobs see it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, fd: int, data: memoryview) -> int:
            written = os.write(fd, data)
            passed("blob written")
            return written

        def fsync(self, fd: int) -> None:
            os.fsync(fd)
            passed("blob synced")

    blobs.os = Os()  # type: ignore[assignment, attr-defined]
    _around(pathlib.Path, "rename", _nothing, lambda: passed("blob renamed"))
    _around(blobs, "sync_folder", _nothing, lambda: passed("blob in the folder"))
    _around(Vault, "_remember", _nothing, lambda: passed("key made"))
    _around(Vault, "add", _nothing, lambda: passed("key kept"))


def _arm_ways(passed: Callable[[str], None]) -> None:
    for way, (transports, names) in ASKED.items():
        for transport, name in itertools.product(transports, names):
            point = f"{way}.{name}"
            if name not in vars(transport):
                continue
            _around(
                transport,
                name,
                lambda *_args, point=point, **_kwargs: passed(f"{point} before"),
                lambda point=point: passed(f"{point} after"),  # type: ignore[misc]
            )
    _around(
        HttpCaller,
        "_send",
        lambda *_args, **_kwargs: passed("request before it leaves"),
        lambda: passed("request answered"),
    )
    emitter = Relay.emitter

    def watched(self: Relay, destination: str) -> Callable[[said.TransportEvent], None]:
        emit = emitter(self, destination)

        def told(event: said.TransportEvent) -> None:
            for name, kind in TOLD.items():
                if isinstance(event, kind):
                    passed(f"told: {name}")
            if isinstance(event, said.Attempted):
                for name, kind in OUTCOMES.items():
                    if isinstance(event.outcome, kind):
                        passed(f"answer: {name}")
            emit(event)

        return told

    Relay.emitter = watched  # type: ignore[method-assign]

    def state_of(self: GuestSession) -> ConnectionState:
        found: ConnectionState = self.__dict__["state"]
        return found

    def come_to(self: GuestSession, state: ConnectionState) -> None:
        before = self.__dict__.get("state")
        self.__dict__["state"] = state
        if before is not None and state is not before:
            passed(f"session is {state.value}")

    GuestSession.state = property(state_of, come_to)  # type: ignore[assignment]
