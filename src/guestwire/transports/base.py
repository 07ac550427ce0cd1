"""
The shape of a way out.

A transport turns begun parts into bytes and answers every attempt with an `Outcome`, as an event. It never raises
because of the network, never sends anything twice by itself, and holds nothing that has to survive a restart.

The relay tells it which lanes it wants to move (`want`); the transport makes them ready (for web messaging: connects
and configures the guest's session) and says so. Everything it learns arrives at the relay through `emit`, in order,
on the event loop. There is no task and no thread per message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from guestwire.errors import GuestWireError
from guestwire.model import Entity, GuestRef, Outcome, PartBody, PartId, Reply, SessionState


class LaneInfo(msgspec.Struct, frozen=True):
    """What a transport has to know of a lane to make it ready."""

    guest_ref: GuestRef
    token: str
    session_state: SessionState
    urgent: bool = False
    """Its head is in check: it connects before others."""

    def __repr__(self) -> str:
        return f"LaneInfo({self.guest_ref})"  # the token is a credential


class Attempt(msgspec.Struct, frozen=True):
    """A part whose attempt is written ahead. `part_id` is the same on every attempt."""

    part_id: PartId
    guest_ref: GuestRef
    number: int
    body: PartBody


# --- what a transport says ---


class LaneReady(msgspec.Struct, frozen=True):
    """The lane may send now, or be looked into. `replaced`: the session of before is gone, with its history."""

    guest_ref: GuestRef
    replaced: bool


class LaneHeld(msgspec.Struct, frozen=True):
    """The lane was ready and is not any more; the transport is at work on it, or wants to be asked again at `until`."""

    guest_ref: GuestRef
    until: float | None
    reason: str


class Attempted(msgspec.Struct, frozen=True):
    """What became of an attempt. `guest_ref` as the transport believes; the part id decides."""

    guest_ref: GuestRef
    part_id: PartId
    outcome: Outcome


class HistoryRead(msgspec.Struct, frozen=True):
    """The guest's own entries, newest first, down to the anchor or as far as there are any."""

    guest_ref: GuestRef
    entities: Sequence[Entity]


class HistoryUnreadable(msgspec.Struct, frozen=True):
    """No look into the history for now; `retry_s` is the least time to wait."""

    guest_ref: GuestRef
    reason: str
    retry_s: float


class HeardReply(msgspec.Struct, frozen=True):
    """The platform said something to a guest."""

    guest_ref: GuestRef
    reply: Reply


class SessionChanged(msgspec.Struct, frozen=True):
    """Something the next process has to know about a guest's session. `event` is a name of the journal."""

    guest_ref: GuestRef
    state: SessionState
    event: str
    expires_at: float | None = None
    token: str | None = None
    detail: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"SessionChanged({self.guest_ref}, {self.event})"  # not the token


class DestinationTrouble(msgspec.Struct, frozen=True):
    """No lane of the destination can move, and why; None when it can again."""

    error: GuestWireError | None


class Noted(msgspec.Struct, frozen=True):
    """Something odd or noteworthy, for the journal. Without content."""

    event: str
    guest_ref: GuestRef | None
    detail: dict[str, Any]


TransportEvent = (
    LaneReady
    | LaneHeld
    | Attempted
    | HistoryRead
    | HistoryUnreadable
    | HeardReply
    | SessionChanged
    | DestinationTrouble
    | Noted
)

Emit = Callable[[TransportEvent], None]


class Transport(Protocol):
    """One way out, of one destination."""

    async def open(self) -> None:
        """Start. Connects nothing yet."""

    def want(self, lane: LaneInfo) -> None:
        """Make a lane ready, in whatever time that takes; `LaneReady` follows. Wanting twice is wanting once."""

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether `send` may be called for the lane now."""

    def can_look(self, guest: GuestRef) -> bool:
        """Whether `look` may be called for the lane now: also where it may not send, as in a read-only session."""

    def send(self, attempt: Attempt) -> None:
        """Put a part on the wire. `Attempted` follows, surely, once for each call."""

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Read the guest's history down to an anchor. `HistoryRead` or `HistoryUnreadable` follows."""

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more for now; its connection may go when the transport sees fit."""

    def figures(self) -> dict[str, float]:
        """Counters and gauges, by name, for `status`."""

    async def close(self) -> None:
        """Let every connection go. Attempts in flight end `Unknown`."""
