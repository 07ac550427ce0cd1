"""A guest's lane while it has something to do, as the relay keeps it in memory."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import msgspec

from guestwire.errors import GuestWireError
from guestwire.model import Errand, GuestRef, PartId, PartState
from guestwire.policy import check
from guestwire.policy.breaker import Breaker
from guestwire.policy.pace import Key, Pace, Slot, UseKind
from guestwire.policy.recent import Recent
from guestwire.settings import RetrySettings
from guestwire.store.base import Head, LaneRow, Sending
from guestwire.transports.base import LaneInfo, Transport

#: Errands that wait for no message, and for which no message waits; the first kind first.
OVERTAKING = ("sign_in", "receipt")


class SharedWindows(msgspec.Struct):
    """Windows that all lanes of a token share. The relay takes a place in each before it begins a message."""

    pace: Pace
    keys: tuple[Key, ...]
    """That a message needs a place in."""
    errand_keys: tuple[Key, ...]
    """That any other request needs a place in: a look or a receipt must not wait for an end of the messages."""
    waiting: dict[GuestRef, float] = msgspec.field(default_factory=dict)
    """Lanes that wait in line for a place, each with its place in the line."""
    called: set[GuestRef] = msgspec.field(default_factory=set)
    """Those whose turn it is: nobody else takes a place before they have looked."""
    wake_at: float = float("inf")
    """When there may be a place, in seconds since the epoch; infinity: when an attempt ends."""
    line: list[tuple[float, int, GuestRef]] = msgspec.field(default_factory=list)
    """The same as a heap."""
    order: itertools.count[int] = msgspec.field(default_factory=itertools.count)

    def line_up(self, guest: GuestRef, turn: float, wake_at: float) -> None:
        """Wait for a place; the lower `turn` goes first."""
        if guest not in self.waiting:
            self.waiting[guest] = turn
            heapq.heappush(self.line, (turn, next(self.order), guest))
        self.wake_at = min(self.wake_at, wake_at)

    def call(self) -> GuestRef:
        """It is the turn of the first one in line. There must be one."""
        _, _, guest = heapq.heappop(self.line)
        del self.waiting[guest]
        return guest


class Route(msgspec.Struct):
    """A destination as the relay drives it."""

    transport: Transport
    pace: Pace
    retry: RetrySettings
    breaker: Breaker
    name: str = ""
    trouble: GuestWireError | None = None
    """Why none of its lanes can move; None while they can."""
    shared: SharedWindows | None = None
    """None: every guest has windows of his own, and the transport takes their places."""

    lanes: int = 0
    """Of its lanes, so many are in memory."""
    in_flight: int = 0
    """Parts on the wire now."""
    recent: Recent = msgspec.field(default_factory=Recent)
    """Attempts of the last minute: ``sent``, and by how they ended."""
    held: dict[GuestRef, None] = msgspec.field(default_factory=dict)
    """Lanes that wait for the breaker."""
    backlog: bool = True
    """There may be more in the store than fit, or than are known."""

    def place_freed(self) -> None:
        """An attempt has ended: whoever is first in line may have its place."""
        if self.shared is not None:
            self.shared.wake_at = float("-inf")


def lane_info(row: LaneRow) -> LaneInfo:
    """Return what a transport has to know of a lane."""
    return LaneInfo(
        row.guest_ref,
        row.token,
        row.session_state,
        auth=row.auth,
        seen_at=row.seen_at,
        guest=row.guest,
        conversation_id=row.conversation_id,
    )


class Lane:
    """A guest's lane while it has something to do."""

    __slots__ = (
        "anchor",
        "awake_at",
        "check",
        "ended_errands",
        "errand_at",
        "errand_tries",
        "errands",
        "head",
        "info",
        "look_at",
        "looking",
        "paused_until",
        "priority",
        "replaced",
        "route",
        "running",
        "sending",
        "settled",
        "slot",
        "stale",
        "tried_part",
        "upload_tries",
        "uploading",
    )

    def __init__(self, row: LaneRow, route: Route) -> None:
        self.info = lane_info(row)
        self.route = route
        self.anchor = row.anchor
        self.paused_until = row.paused_until
        #: Of the newest head that was seen.
        self.priority = row.priority
        #: The oldest part that has not ended; None while it is on its way, or not known.
        self.head = row.head
        self.sending: Sending | None = None
        #: The place of the next attempt in the windows that all lanes share, from the choice to the commit.
        self.slot: Slot | None = None
        #: The last part was accepted, and what comes next is in the store: begun unseen, with the settling of the last.
        self.settled = False
        #: What `head` says is not what the store will say when the changes under way are in it.
        self.stale = False
        #: The session of the last attempt is gone, and its history with it.
        self.replaced = False
        self.check: check.Progress | None = None
        self.look_at = float("-inf")
        self.looking = False
        #: What is to be done beside messages, each in its turn; and the one that is being done.
        self.errands = list(row.errands)
        self.running: Errand | None = None
        self.errand_at = float("-inf")
        self.errand_tries = 0
        #: Over, and perhaps not yet so in the store.
        self.ended_errands: set[int] = set()
        #: The part whose file is on its way to the platform, and how often one of it has failed.
        self.uploading: PartId | None = None
        self.upload_tries = 0
        self.tried_part: PartId | None = None
        #: When the lane has its next timer, so that no two are set for the same moment.
        self.awake_at = float("inf")

    @property
    def guest(self) -> GuestRef:
        """Its name."""
        return self.info.guest_ref

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that the relay could do for it by itself."""
        return (self.head is None or self.head.state is PartState.PARKED) and not self.errands and self.sending is None

    @property
    def errand_keys(self) -> tuple[Key, ...]:
        """The windows that a request beside messages needs."""
        return self.keys if self.route.shared is None else self.route.shared.errand_keys

    @property
    def keys(self) -> tuple[Key, ...]:
        """The windows that a message of this lane needs."""
        if self.route.shared is not None:
            return self.route.shared.keys
        # The last has no limit: it is there to be paused, where a throttle names more than the guest.
        return (*session_keys(self.guest), destination_key(self.route.name))


def destination_key(name: str) -> Key:
    """Return the window of everybody at a destination, which a throttle may pause."""
    return ("destination", name)


def session_keys(guest: GuestRef) -> tuple[Key, ...]:
    """Return the windows that a message needs whose guest has a session."""
    return (("messages_per_s", guest), ("requests_per_min", guest))


def use_keys(route: Route, kind: UseKind, guest: GuestRef) -> tuple[Key, ...]:
    """Return the windows that something uses which was sent, or is about to be."""
    typing: tuple[Key, ...] = (("typing", guest),) if kind == "typing" else ()
    if route.shared is not None:
        return (route.shared.keys if kind == "message" else route.shared.errand_keys) + typing
    keys: tuple[Key, ...]
    match kind:
        case "connect" | "first_connect":
            keys = (("connects_per_min", route.name), ("configures_per_min", guest), ("requests_per_min", guest))
            return (*keys, ("max_new_guests_per_min", route.name)) if kind == "first_connect" else keys
        case "history":
            return (("history_per_min", guest), ("requests_per_min", guest))
        case "message" | "typing" | "call":
            return session_keys(guest) + typing


def next_errand(errands: Sequence[Errand], head: Head | None) -> Errand | None:
    """
    Return the errand whose turn it is; None while it is a message's.

    Errands and messages of a lane have one order. Three things break it: a parked message waits for a person, so no
    errand waits for it; a sign-in is what a message, or its check, may be waiting for; and a receipt is about a reply.
    """
    for kind in OVERTAKING:
        found = next((errand for errand in errands if errand.kind == kind), None)
        if found is not None:
            return found
    if head is not None and head.state is PartState.CHECKING:
        return None
    first = errands[0] if errands else None
    if first is None or head is None or head.state is PartState.PARKED or head.lane_seq > first.seq:
        return first
    return None
