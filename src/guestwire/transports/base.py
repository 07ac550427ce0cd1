"""
The shape of a way out.

A transport turns begun parts into bytes and answers every attempt with an `Outcome`, as an event. It never raises
because of the network, never sends anything twice by itself, and holds nothing that has to survive a restart.

The relay tells it which lanes it wants to move (`want`); the transport makes them ready (for web messaging: connects
and configures the guest's session) and says so. Everything it learns arrives at the relay through `emit`, in order,
on the event loop. There is no task and no thread per message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from guestwire.errors import GuestWireError
from guestwire.model import (
    Auth,
    AuthChanged,
    CaughtUp,
    Entity,
    Errand,
    File,
    GuestKey,
    GuestRef,
    Outcome,
    PartBody,
    PartId,
    Reply,
    SessionChanged,
    SessionState,
)
from guestwire.policy.pace import Slot, UseKind


class LaneInfo(msgspec.Struct, frozen=True):
    """What a transport has to know of a lane to make it ready."""

    guest_ref: GuestRef
    token: str
    session_state: SessionState
    urgent: bool = False
    """Its head is in check, or an errand waits: it connects before others, and a read-only session will do."""
    auth: Auth | None = None
    """Of a guest who has signed in."""
    join: dict[str, str] | None = None
    """Attributes for the Join of a new session."""
    seen_at: float | None = None
    """Up to then nothing that was said to the guest is missing; None: nobody knows."""
    guest: GuestKey = GuestKey("")
    """The caller's word for him, where the way out has to tell it: a REST platform knows guests by it."""
    conversation_id: str | None = None
    """Where his last message went, where the platform said so."""
    turn_at: float = float("inf")
    """Place among those who wait for a connection: lower goes first. Infinity: nothing is to be sent."""

    def __repr__(self) -> str:
        return f"LaneInfo({self.guest_ref})"  # the token is a credential


class Attempt(msgspec.Struct, frozen=True):
    """A part whose attempt is written ahead. `part_id` is the same on every attempt."""

    part_id: PartId
    guest_ref: GuestRef
    number: int
    body: PartBody
    upload_id: str | None = None
    """Of its file, which is at the platform."""
    said_at: float = 0.0
    """When it entered its lane, in seconds since the epoch: the same on every attempt."""
    slot: Slot | None = None
    """Its place in the windows, where the relay has taken it: it is answered when the attempt is."""


class Upload(msgspec.Struct, frozen=True):
    """A part's file, to be brought to the platform before its attempt."""

    part_id: PartId
    guest_ref: GuestRef
    file: File
    content: bytes

    def __repr__(self) -> str:
        return f"Upload({self.part_id}, {self.file.size} bytes)"  # neither name nor content


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
    is_failure: bool = True
    """False: nothing was tried, because a limit holds it; that says nothing about the history."""


class NoHistory(msgspec.Struct, frozen=True):
    """Nothing can be looked up for this guest, now or later: the check ends without having seen anything."""

    guest_ref: GuestRef
    reason: str


class HeardReply(msgspec.Struct, frozen=True):
    """The platform said something to a guest."""

    guest_ref: GuestRef
    reply: Reply


class HeardTyping(msgspec.Struct, frozen=True):
    """Somebody types, for so many seconds unless something is said before. Live only: never stored."""

    guest_ref: GuestRef
    seconds: float


class Uploaded(msgspec.Struct, frozen=True):
    """A part's file is at the platform (`outcome` None), or why not."""

    guest_ref: GuestRef
    part_id: PartId
    upload_id: str
    outcome: Outcome | None


class ErrandEnded(msgspec.Struct, frozen=True):
    """What became of an errand: Accepted, or why not. `result` is for whoever asked."""

    guest_ref: GuestRef
    seq: int
    outcome: Outcome
    result: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"ErrandEnded({self.guest_ref}, {self.seq})"  # not what it brought


class DestinationTrouble(msgspec.Struct, frozen=True):
    """No lane of the destination can move, and why; None when it can again."""

    error: GuestWireError | None


class Noted(msgspec.Struct, frozen=True):
    """Something odd or noteworthy, for the journal. Without content."""

    event: str
    guest_ref: GuestRef | None
    detail: dict[str, Any]
    part_id: PartId | None = None


TransportEvent = (
    LaneReady
    | LaneHeld
    | Attempted
    | HistoryRead
    | HistoryUnreadable
    | NoHistory
    | HeardReply
    | HeardTyping
    | CaughtUp
    | Uploaded
    | ErrandEnded
    | AuthChanged
    | SessionChanged
    | DestinationTrouble
    | Noted
)

Emit = Callable[[TransportEvent], None]
#: Writes down that something is about to leave which windows count, and whose it is; returns when that is on disk. A
#: gateway counts on when this process is gone, and the next one goes by it. Attempts are written down by the relay.
Spend = Callable[[UseKind, GuestRef], Awaitable[None]]


async def spend_nothing(_kind: UseKind, _guest: GuestRef) -> None:
    """For whoever has no store: nobody goes on after him."""


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
        """Read the guest's history down to an anchor. `HistoryRead`, `HistoryUnreadable` or `NoHistory` follows."""

    def upload(self, upload: Upload) -> None:
        """Bring a part's file to the platform. `Uploaded` follows, surely; asking for the same part twice is once."""

    def discard(self, guest: GuestRef, upload_id: str) -> None:
        """Take a file back that no message will carry. Best effort: the platform forgets it by itself some day."""

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """Do an errand. `ErrandEnded` follows, surely, once for each call; `can_look` holds, but for a sign-in."""

    def type(self, guest: GuestRef) -> bool:
        """Tell that the guest is typing, if nothing is more important now; returns whether it is to go out."""

    def follow(self, lane: LaneInfo) -> None:
        """Keep the guest's session open, whatever happens, until `unfollow`."""

    def unfollow(self, guest: GuestRef) -> None:
        """The guest's session may close when nobody wants it."""

    def visit(self, lane: LaneInfo) -> None:
        """Fetch what was said to a guest whose connection was let go. `CaughtUp` follows when it worked."""

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more for now; its connection may go when the transport sees fit."""

    def figures(self) -> dict[str, float]:
        """Counters and gauges, by name, for `status`."""

    async def close(self) -> None:
        """Let every connection go. Attempts in flight end `Unknown`."""
