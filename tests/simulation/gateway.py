"""
The far side as a model, and the transports that reach it.

A `Gateway` is one platform: what it shows, and when requests reached it, is what the auditor believes. It outlives
every process. What a transport holds dies with its process; what has left is out of its hands.

A request reaches the gateway soon after it has left, and is accepted at that moment or never: what comes late is the
answer, the echo and the history. So a part that the gateway turned away never shows, and a copy that shows is one that
somebody sent.
"""

from __future__ import annotations

import abc
import asyncio
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from guestwire.model import (
    Accepted,
    CaughtUp,
    Entity,
    Errand,
    Failed,
    GatewayMessageId,
    GuestRef,
    Outcome,
    PartId,
    Refused,
    SessionChanged,
    SessionState,
    Throttled,
    Unknown,
)
from guestwire.policy.pace import Key, Pace, Slot, UseKind
from guestwire.settings import Destination
from guestwire.transports.base import (
    Attempt,
    Attempted,
    ErrandEnded,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneInfo,
    LaneReady,
    Noted,
    TransportEvent,
    Upload,
    Uploaded,
)
from tests.simulation.plan import TIMING, WIRE_S, Mood

if TYPE_CHECKING:
    from tests.simulation.host import Process

#: Everything works: what the gateway does when the faults are over.
CALM = Mood({"accept": 1}, 0.05, True, 0.0, 0.0, 0.0, 0.0, 0.0)
SCOPES: tuple[Literal["session", "connection", "deployment", "destination"], ...]
SCOPES = ("session", "connection", "deployment", "destination")
#: A reason that begins like this was a refusal, or something that nobody can know.
REFUSED, ODD = "refused by the script", "odd by the script"


class Request(msgspec.Struct, frozen=True):
    """Something that reached the gateway."""

    at: float
    """Seconds since the world began."""
    action: str
    guest: GuestRef
    connection: int
    """0: it came over REST."""


class Copy(msgspec.Struct, frozen=True):
    """A message that the gateway accepted, as its conversation shows it."""

    at: float
    name: GatewayMessageId
    part_id: PartId
    attempt: int
    guest: GuestRef
    text: str
    said_at: float
    session: int
    came_late: bool
    """It left a process that had been replaced as the relay before."""


class Gateway:
    """
    One platform, with one destination's guests.

    Args:
        destination: Whom it serves.
        mood: How it behaves while there are faults.
        seed: Of the world.
    """

    def __init__(self, destination: Destination, mood: Mood, seed: int) -> None:
        self.destination = destination
        self.mood = mood
        #: Its histories tell the truth in time, all along.
        self.is_honest = mood.is_honest
        self.draw = random.Random(f"gateway {destination.name} {seed}")  # noqa: S311 - a simulation
        self.requests: list[Request] = []
        self.copies: list[Copy] = []
        self._sessions: Counter[GuestRef] = Counter()
        self._of_guest: defaultdict[GuestRef, list[Copy]] = defaultdict(list)
        self._known: set[GuestRef] = set()
        self.connections = 0

    def calm_down(self) -> None:
        """The faults are over."""
        self.mood = CALM

    def choose(self) -> str:
        """Choose what becomes of the next message."""
        answers = self.mood.answers
        return self.draw.choices(list(answers), list(answers.values()))[0]

    def take(self, attempt: Attempt, now: float, *, came_late: bool) -> Accepted:
        """Accept a message: from now on an agent sees it."""
        name = GatewayMessageId(f"{self.destination.name}-{len(self.copies) + 1}")
        guest = attempt.guest_ref
        session = self._sessions[guest]
        copy = Copy(
            now,
            name,
            attempt.part_id,
            attempt.number,
            guest,
            attempt.body.text,
            attempt.said_at,
            session,
            came_late,
        )
        self.copies.append(copy)
        self._of_guest[guest].append(copy)
        return Accepted(name, source="echo" if self.destination.has_sessions else "response")

    def configure(self, guest: GuestRef) -> tuple[bool, bool]:
        """Open a session; returns whether it is a new one, and whether it replaces one that was known."""
        is_known = guest in self._known
        self._known.add(guest)
        is_replaced = is_known and self.draw.random() < self.mood.renewed
        if is_replaced:
            self._sessions[guest] += 1
        return is_replaced or not is_known, is_replaced

    def history(self, guest: GuestRef, anchor: str | None, now: float) -> list[Entity] | None:
        """What a read of the guest's own entries shows, newest first; None: it cannot be read."""
        draw, mood = self.draw, self.mood
        if draw.random() < mood.unreadable:
            return None
        if draw.random() < mood.empty:
            return []
        session, has_sessions = self._sessions[guest], self.destination.has_sessions
        shown = [
            self._entity(copy)
            for copy in self._of_guest[guest]
            if copy.session == session and copy.at + mood.lag_s <= now
        ]
        shown.reverse()
        if draw.random() < mood.shifting and shown:
            # An entry came between two pages: what stood at the end of one stands at the beginning of the next too.
            at = draw.randrange(len(shown))
            shown.insert(at, shown[at])
        if has_sessions:
            found = []
            for entity in shown:
                found.append(entity)
                if entity.is_called(anchor):
                    break
            return found
        return shown

    def _entity(self, copy: Copy) -> Entity:
        has_sessions = self.destination.has_sessions
        return Entity(
            copy.name,
            None,
            copy.text,
            None,
            copy.part_id if self.mood.metadata else None,
            said_at=None if has_sessions else int(copy.said_at * 1000) / 1000,
        )


class WireTransport(abc.ABC):
    """
    What both ways out have in common: a `guestwire.transports.base.Transport` of one process, to one gateway.

    Args:
        process: Whose transport it is; what it learns reaches the relay while that lives.
        gateway: The far side.
        pace: The windows of the destination.
    """

    def __init__(self, process: Process, gateway: Gateway, pace: Pace) -> None:
        self.process = process
        self.world = process.world
        self.gateway = gateway
        self.name = gateway.destination.name
        self.pace = pace
        self.unanswered: dict[GuestRef, Attempt] = {}
        self.closed = False
        assert process.relay is not None
        self._emit = process.relay.emitter(self.name)
        self._spend = process.relay.spender(self.name)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the wire ---

    def now(self) -> float:
        """What the process believes to be the time."""
        return self.process.clock.now()

    def say(self, event: TransportEvent) -> None:
        """Tell the relay."""
        self._emit(event)

    def later(self, seconds: float, do: Any, *args: Any) -> None:
        """Let something happen to this process after a while, if it lives then."""
        self.world.loop.call_later(seconds, self.process.deliver, do, *args)

    def leave_for(self, arrive: Any, *args: Any) -> None:
        """Bytes leave: they arrive soon, whatever becomes of this process."""
        self.world.loop.call_later(self.gateway.draw.uniform(0.001, WIRE_S), arrive, *args)

    def leave_when_written(self, kind: UseKind, guest: GuestRef, arrive: Any, *args: Any) -> None:
        """Something that is no message leaves as soon as it is on disk that it will."""
        task = self.world.loop.create_task(self._written(kind, guest, arrive, *args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _written(self, kind: UseKind, guest: GuestRef, arrive: Any, *args: Any) -> None:
        self.process.require_life()
        await self._spend(kind, guest)
        if not self.closed:
            self.leave_for(arrive, *args)
            self.world.dies_at("spent", self.process)

    def count(self, action: str, guest: GuestRef, connection: int = 0) -> None:
        """The gateway notes a request."""
        at = self.world.loop.time()
        self.gateway.requests.append(Request(at, action, guest, connection))

    # --- attempts ---

    def send(self, attempt: Attempt) -> None:
        """Put a part on the wire."""
        world, process = self.world, self.process
        process.require_life()
        world.left(process, attempt)
        guest = attempt.guest_ref
        if not self.is_ready(guest):
            self.not_sent(attempt)
            self.say(Attempted(guest, attempt.part_id, Throttled("session", 0.0, "the session was not free any more")))
            return
        if guest in self.unanswered:
            world.wrong(f"I4 two parts of {guest} on their way at once")
        self.unanswered[guest] = attempt
        what = self.gateway.choose()
        came_late = world.relaying is not process
        world.tell("wire", f"{process.name} -> {self.name} {attempt.part_id} attempt {attempt.number}: {what}")
        self.leave_for(self._arrived, attempt, what, self._on_wire(attempt), came_late)
        world.dies_at("left", process)

    @abc.abstractmethod
    def _on_wire(self, attempt: Attempt) -> tuple[int, Slot | None]:
        """Take what a request needs; returns its connection and its place in the windows."""

    def not_sent(self, attempt: Attempt) -> None:
        """Nothing left."""

    def _arrived(self, attempt: Attempt, what: str, way: tuple[int, Slot | None], came_late: bool) -> None:
        """A message has reached the gateway, or is lost on its way."""
        connection, slot = way
        world, gateway, draw = self.world, self.gateway, self.gateway.draw
        guest, part_id = attempt.guest_ref, attempt.part_id
        patience = TIMING.answer_s
        if what == "lost before":
            self.later(patience, self.answered, attempt, slot, Unknown("no answer"))
            return
        self.count("message", guest, connection)
        soon = draw.uniform(0.001, WIRE_S)

        def accept() -> Accepted:
            accepted = gateway.take(attempt, world.loop.time(), came_late=came_late)
            world.tell("gate", f"{self.name} shows {part_id} attempt {attempt.number} as {accepted.gateway_id}")
            return accepted

        match what:
            case "accept":
                self.later(soon, self.answered, attempt, slot, accept())
            case "slow":
                self.later(draw.uniform(0.2, 0.95) * patience, self.answered, attempt, slot, accept())
            case "lost after":
                accept()
                self.later(patience, self.answered, attempt, slot, Unknown("no answer"))
            case "late":
                echo = accept()
                self.later(patience, self.answered, attempt, slot, Unknown("no answer"))
                if gateway.destination.has_sessions:
                    self.later(patience + draw.uniform(0.01, 4.0), self.say, Attempted(guest, part_id, echo))
            case "twice":
                echo = accept()
                self.later(soon, self.answered, attempt, slot, echo)
                if gateway.destination.has_sessions:
                    self.later(soon + draw.uniform(0.0, 2.0), self.say, Attempted(guest, part_id, echo))
            case "cut":
                echo_or_none = accept() if draw.random() < 0.5 else None
                self.later(soon, self.cut, attempt, slot, echo_or_none)
            case "throttle":
                scope = draw.choice(SCOPES)
                wait_s = draw.choice((0.5, 1.0, 3.0, 10.0))
                self.later(soon, self.answered, attempt, slot, Throttled(scope, wait_s, "too many"))
            case "fail":
                code = draw.choice((None, 500, 4000))
                self.later(soon, self.answered, attempt, slot, Failed("failed", code))
            case "refuse":
                self.later(soon, self.answered, attempt, slot, Refused(4011, REFUSED))
            case "odd":
                if draw.random() < 0.5:
                    accept()
                self.later(soon, self.answered, attempt, slot, Unknown(ODD))
            case "closed":
                if draw.random() < 0.5:
                    accept()
                self.later(soon, self.evicted, attempt, slot)

    def answered(self, attempt: Attempt, slot: Slot | None, outcome: Outcome) -> None:
        """An attempt has its outcome."""
        if slot is not None:
            slot.answered(self.now())
        if self.unanswered.get(attempt.guest_ref) is not attempt:
            return  # the connection was lost meanwhile
        del self.unanswered[attempt.guest_ref]
        self.world.tell("wire", f"{self.process.name} <- {attempt.part_id} {type(outcome).__name__}")
        self.settled(attempt, outcome)
        self.say(Attempted(attempt.guest_ref, attempt.part_id, outcome))
        self.world.dies_at("answered", self.process)

    def settled(self, attempt: Attempt, outcome: Outcome) -> None:
        """A way out may have to be made ready anew."""

    def cut(self, attempt: Attempt, slot: Slot | None, echo: Accepted | None) -> None:
        """The connection is lost before the answer."""
        self.answered(attempt, slot, Unknown("connection lost"))

    def evicted(self, attempt: Attempt, slot: Slot | None) -> None:
        """The gateway lets go of the connection."""
        self.answered(attempt, slot, Unknown("connection closed"))

    # --- histories ---

    @abc.abstractmethod
    def _look_keys(self, guest: GuestRef) -> tuple[Key, ...]:
        """The windows that a look needs."""

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Read the guest's history."""
        keys = self._look_keys(guest)
        if self.pace.admits(keys, self.now()) is not None:
            self.say(HistoryUnreadable(guest, "a limit holds it", 0.5, is_failure=False))
            return
        slot = self.pace.take(keys, self.now())
        kind: UseKind = "history" if self.gateway.destination.has_sessions else "call"
        self.leave_when_written(kind, guest, self._read, guest, anchor, slot, self.connection_of(guest))

    def connection_of(self, guest: GuestRef) -> int:
        """The number of the guest's connection; 0 over REST."""
        return 0

    def _read(self, guest: GuestRef, anchor: str | None, slot: Slot, connection: int) -> None:
        self.count("history", guest, connection)
        found = self.gateway.history(guest, anchor, self.world.loop.time())
        self.later(self.gateway.draw.uniform(0.001, 0.1), self._looked, guest, slot, found)

    def _looked(self, guest: GuestRef, slot: Slot, found: list[Entity] | None) -> None:
        slot.answered(self.now())
        shown = "unreadable" if found is None else ", ".join(entity.gateway_id for entity in found) or "nothing"
        self.world.tell("wire", f"{self.process.name} <- history of {guest}: {shown}")
        if found is None:
            self.say(HistoryUnreadable(guest, "unreadable by the script", 0.5))
        else:
            self.say(HistoryRead(guest, found))
        self.world.dies_at("looked", self.process)

    # --- what is the same everywhere ---

    async def open(self) -> None:
        """Nothing to start."""
        self.process.require_life()
        self.world.dies_at("opened", self.process)
        self.process.require_life()

    @abc.abstractmethod
    def want(self, lane: LaneInfo) -> None:
        """Make a lane ready."""

    @abc.abstractmethod
    def is_ready(self, guest: GuestRef) -> bool:
        """Whether the lane may send now."""

    def can_look(self, guest: GuestRef) -> bool:
        """As `is_ready`."""
        return self.is_ready(guest)

    def upload(self, upload: Upload) -> None:
        """The file is there soon."""
        done = Uploaded(upload.guest_ref, upload.part_id, f"upload-{upload.part_id}", None)
        self.later(0.01, self.say, done)

    def discard(self, guest: GuestRef, upload_id: str) -> None:
        """The gateway forgets it."""

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """It is done soon."""
        self.later(0.01, self.say, ErrandEnded(lane.guest_ref, errand.seq, Accepted(GatewayMessageId(""))))

    def type(self, guest: GuestRef) -> bool:
        """Nobody looks."""
        return False

    def follow(self, lane: LaneInfo) -> None:
        """Nobody listens."""

    def unfollow(self, guest: GuestRef) -> None:
        """Nobody listens."""

    def visit(self, lane: LaneInfo) -> None:
        """Nothing was said."""
        self.say(CaughtUp(lane.guest_ref))

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more for now."""

    def figures(self) -> dict[str, float]:
        """Nobody asks."""
        return {}

    async def close(self) -> None:
        """Let every connection go; what is unanswered ends unknown."""
        self.process.require_life()
        self.closed = True
        for attempt in list(self.unanswered.values()):
            self.answered(attempt, None, Unknown("the transport was closed"))


class TokenTransport(WireTransport):
    """A REST way: no sessions, one window for all guests; the relay takes the places of messages."""

    def __init__(self, process: Process, gateway: Gateway, pace: Pace, errand_keys: tuple[Key, ...]) -> None:
        super().__init__(process, gateway, pace)
        self._errand_keys = errand_keys
        self._wanted: set[GuestRef] = set()

    def want(self, lane: LaneInfo) -> None:
        """It is ready at once."""
        if lane.guest_ref not in self._wanted:
            self._wanted.add(lane.guest_ref)
            self.say(LaneReady(lane.guest_ref, replaced=False))

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether it is wanted."""
        return guest in self._wanted and not self.closed

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more."""
        self._wanted.discard(guest)

    def settled(self, attempt: Attempt, outcome: Outcome) -> None:
        """A lane whose message was not accepted is wanted anew when it can go."""
        if not isinstance(outcome, Accepted):
            self._wanted.discard(attempt.guest_ref)

    def _on_wire(self, attempt: Attempt) -> tuple[int, Slot | None]:
        return 0, attempt.slot

    def not_sent(self, attempt: Attempt) -> None:
        """Its place is free."""
        if attempt.slot is not None:
            attempt.slot.unused()

    def _look_keys(self, guest: GuestRef) -> tuple[Key, ...]:
        return self._errand_keys


class _Session(msgspec.Struct):
    """A guest's connection."""

    connection: int = 0
    """0: there is none."""
    connecting: bool = False
    failures: int = 0
    known: bool = False


class SessionTransport(WireTransport):
    """A way with a session and windows for each guest; the transport takes the places of messages."""

    def __init__(self, process: Process, gateway: Gateway, pace: Pace) -> None:
        super().__init__(process, gateway, pace)
        self._sessions: dict[GuestRef, _Session] = defaultdict(_Session)

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether the guest's session is configured and nothing of it is on its way."""
        return self._sessions[guest].connection > 0 and guest not in self.unanswered and not self.closed

    def connection_of(self, guest: GuestRef) -> int:
        """The number of the guest's connection."""
        return self._sessions[guest].connection

    def want(self, lane: LaneInfo) -> None:
        """Connect and configure the guest's session."""
        session = self._sessions[lane.guest_ref]
        if not session.connection and not session.connecting:
            session.connecting = True
            self._connect(lane.guest_ref)

    def _connect(self, guest: GuestRef) -> None:
        now = self.now()
        keys = (
            ("connects_per_min", self.name),
            ("configures_per_min", guest),
            ("requests_per_min", guest),
        )
        held = self.pace.admits(keys, now)
        if held is not None:
            self.later(max(0.01, min(held.until - now, 1.0)), self._connect, guest)
            return
        slot = self.pace.take(keys, now)
        self.leave_when_written("connect", guest, self._connected_there, guest, slot)

    def _connected_there(self, guest: GuestRef, slot: Slot) -> None:
        gateway = self.gateway
        soon = gateway.draw.uniform(0.001, WIRE_S)
        gateway.connections += 1
        connection = gateway.connections
        self.count("connect", guest)
        if gateway.draw.random() < gateway.mood.refused_connects:
            self.later(soon, self._not_connected, guest, slot)
            return
        self.count("configure", guest, connection)
        is_new, is_replaced = gateway.configure(guest)
        self.later(soon, self._connected, guest, slot, connection, is_new, is_replaced)

    def _not_connected(self, guest: GuestRef, slot: Slot) -> None:
        slot.answered(self.now())
        session = self._sessions[guest]
        session.failures += 1
        self.say(Noted("session.lost", guest, {"reason": "not connected"}))
        self.later(min(0.1 * 2.0**session.failures, 3.0), self._connect, guest)

    def _connected(self, guest: GuestRef, slot: Slot, connection: int, is_new: bool, is_replaced: bool) -> None:
        slot.answered(self.now())
        session = self._sessions[guest]
        session.connection, session.connecting, session.failures = connection, False, 0
        detail = {"new_session": is_new}
        self.say(SessionChanged(guest, SessionState.LIVE, "session.configured", detail=detail))
        self.world.tell("wire", f"{self.process.name} connected {guest}{' to a new session' if is_replaced else ''}")
        self.say(LaneReady(guest, is_replaced))

    def leave(self, guest: GuestRef) -> None:
        """The connection lingers, or not."""
        if guest not in self.unanswered and self.gateway.draw.random() < 0.3:
            self._sessions[guest].connection = 0

    def _on_wire(self, attempt: Attempt) -> tuple[int, Slot | None]:
        guest = attempt.guest_ref
        keys = (("messages_per_s", guest), ("requests_per_min", guest))
        return self.connection_of(guest), self.pace.take(keys, self.now())

    def cut(self, attempt: Attempt, slot: Slot | None, echo: Accepted | None) -> None:
        """The socket is lost; an echo may come on the next one."""
        guest = attempt.guest_ref
        self._sessions[guest].connection = 0
        self.answered(attempt, slot, Unknown("connection lost"))
        self.say(LaneHeld(guest, None, "connection lost"))
        if echo is not None and self.gateway.draw.random() < 0.5:
            after = self.gateway.draw.uniform(0.1, 3.0)
            self.later(after, self.say, Attempted(guest, attempt.part_id, echo))

    def evicted(self, attempt: Attempt, slot: Slot | None) -> None:
        """Another client took the session over: no coming back before a pause is over."""
        guest = attempt.guest_ref
        self._sessions[guest].connection = 0
        self.answered(attempt, slot, Unknown("connection closed"))
        self.say(SessionChanged(guest, SessionState.EVICTED, "session.evicted"))
        until = self.now() + TIMING.evicted_retry_s * (1.0 + 0.2 * self.gateway.draw.random())
        self.say(LaneHeld(guest, until, "the gateway closed the connection"))

    def _look_keys(self, guest: GuestRef) -> tuple[Key, ...]:
        return (("history_per_min", guest), ("requests_per_min", guest))
