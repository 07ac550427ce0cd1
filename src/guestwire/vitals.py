"""
What a running relay says of itself, to whoever looks from outside: `status`, a health check, a supervisor.

The relay makes a `Vitals` of what it has in memory; nothing in it names a guest or quotes a message. Once a second it
is written into the store's folder, so that another process can show which limit binds and why nothing moves. Such a
file outlives a process that is killed: it is believed only while it is fresh and its writer holds the relay lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from guestwire.policy.breaker import State

#: In the store's folder.
FILE_NAME = "relay.json"
#: So often it is written, in seconds.
WRITE_EVERY_S = 1.0
#: Older than this it says nothing of now, in seconds: a writer that is alive has written since.
FRESH_S = 5.0
#: A loop that has not turned for this long is stuck, in seconds. With nothing to do it turns ten times a second.
STUCK_S = 10.0
#: More than this is no file of ours, in bytes.
_MAX_BYTES = 4_000_000


class Trouble(msgspec.Struct, frozen=True):
    """Why something does not work."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} [{self.code}]"


class DestinationVitals(msgspec.Struct, frozen=True, kw_only=True):
    """A destination, as its relay sees it. Times in seconds since the epoch."""

    trouble: Trouble | None
    """Why nobody gets in; None while somebody does."""
    breaker: State
    breaker_until: float | None
    """When one is let through; None while everybody is."""
    binding: str | None
    """The limit that holds most of those who want to go; None where none holds anybody."""
    binding_until: float | None
    """When the one held last by it may go; None: when an answer comes, or where nobody is held."""
    lanes: int
    """Guests with something to do, in memory."""
    backlog: bool
    """There are more in the store than there is room for in memory."""
    waiting: int
    """Of them, in line for a place: in the token's windows, or for a connection."""
    held: int
    """Of them, waiting for the breaker."""
    in_flight: int
    """Messages on the wire."""
    checking: int
    """Of the lanes, those whose last attempt has an unknown outcome."""
    checks_s: float | None
    """How long it takes at least until they are all settled; None where there are none."""
    last_min: dict[str, int]
    """Of the last sixty seconds: attempts ``sent``, and how they ended (``accepted``, ``throttled``, ``refused``,
    ``failed``, ``unknown``)."""
    limits_held: dict[str, int]
    """How often each limit was the one that said no, since the start."""
    figures: dict[str, float]
    """The transport's own."""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """A relay, at a moment. Times in seconds since the epoch."""

    pid: int
    fence: int
    """Its boot number."""
    version: str
    started_at: float
    at: float
    """Now, when this was said."""
    turned_at: float
    """When its loop began its last turn."""
    stopping: bool
    in_flight: int
    store: Trouble | None
    """Why the store's last answer was an error; None when it was none."""
    destinations: dict[str, DestinationVitals]


class Obstacle(msgspec.Struct, frozen=True):
    """Something that keeps a relay from being ready."""

    what: Literal["relay", "store", "destination"]
    name: str
    """Of the destination; else empty."""
    code: str
    text: str


def obstacles(vitals: Vitals) -> list[Obstacle]:
    """Say everything that keeps a relay from sending what is queued now. Waiting for a limit is no obstacle."""
    found: list[Obstacle] = []
    if not vitals.fence:
        found.append(Obstacle("relay", "", "starting", "it has not taken over the store yet"))
    if vitals.stopping:
        found.append(Obstacle("relay", "", "stopping", "it was told to stop, and begins nothing new"))
    if vitals.store is not None:
        found.append(Obstacle("store", "", vitals.store.code, vitals.store.text))
    for name, destination in vitals.destinations.items():
        if destination.trouble is not None:
            found.append(Obstacle("destination", name, destination.trouble.code, destination.trouble.text))
        elif destination.breaker != "closed":
            text = "its last attempts failed or had no answer: nothing is begun but one try after each pause"
            found.append(Obstacle("destination", name, "breaker_" + destination.breaker, text))
    return found


def write(folder: Path, vitals: Vitals) -> None:
    """
    Write them into a store's folder, whole or not at all.

    Not synced: after a crash of the machine nobody believes them anyway.

    Raises:
        OSError: They cannot be written.
    """
    path = folder / FILE_NAME
    draft = folder / f"{FILE_NAME}.tmp"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        content = msgspec.json.encode(vitals)
        if os.write(fd, content) < len(content):  # the last bytes of a disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)
    draft.replace(path)


def read(folder: Path) -> Vitals | None:
    """
    Return what the relay of a store's folder said last; None where nothing fresh is there.

    Whether that relay is still alive, its lock says.
    """
    try:
        fd = os.open(folder / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            # Both by the machine's clock: the relay's own goes on smoothly where that one is set.
            if abs(time.time() - os.fstat(fd).st_mtime) > FRESH_S:
                return None
            return msgspec.json.decode(file.read(_MAX_BYTES), type=Vitals)
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def remove(folder: Path) -> None:
    """Take them away, at a clean end."""
    for name in (FILE_NAME, f"{FILE_NAME}.tmp"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
