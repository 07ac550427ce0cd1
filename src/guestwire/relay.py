"""
The one loop that sends: absorb -> choose -> step -> send.

Each turn:

    absorb   what transports said since the last turn becomes changes (pure decisions of `policy`)
    choose   lanes that can move *now*: head queued and due, session ready, every window admits
    step     one transaction: the changes of this turn and the write-ahead of the next attempts, together
    send     what was begun leaves, after the commit; what happened is told to the journal's readers

While a step is being committed on the store's thread, the next echoes gather here; so the number of messages a
transaction carries grows with the load by itself, and nothing waits for a timer. There is one step in flight at a
time, which is also why a part cannot be begun twice: the relay's view of a lane changes only when its step is back.

What is in memory can be lost at any instant. A lane is in memory while it has something to do; its truth is in the
store. A crash between the commit of a begin and its outcome leaves the part *sending*, and the next relay finds it so
and checks it. A crash before the commit leaves it *queued*. There is no third case.

What the relay must never do: send bytes whose attempt is not committed; take a lane's next part before its head has
ended; read "no answer" as "not accepted".
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from guestwire.clock import Clock
from guestwire.errors import GuestWireError, StoreError
from guestwire.model import (
    Accepted,
    Entity,
    GuestRef,
    JournalEntry,
    Outcome,
    PartBody,
    PartId,
    PartState,
    SessionState,
    Throttled,
)
from guestwire.policy import check
from guestwire.policy.pace import Key, Pace
from guestwire.policy.retry import MAX_THROTTLE_S, Check, Decision, GiveUp, Retry, Settle, decide, decide_unsettled
from guestwire.settings import RelaySettings, RetrySettings
from guestwire.store.base import (
    Change,
    Confirm,
    End,
    Expire,
    Head,
    Hear,
    LaneRow,
    Note,
    NoteSession,
    Pause,
    Requeue,
    Sending,
    Step,
    StepResult,
    Suspect,
)
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.transports.base import (
    Attempt,
    Attempted,
    DestinationTrouble,
    HeardReply,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneInfo,
    LaneReady,
    Noted,
    SessionChanged,
    Transport,
    TransportEvent,
)

logger = logging.getLogger("guestwire.relay")

#: Lanes kept in memory at most; the rest waits in the store's ready index.
MAX_LANES = 5_000
#: How often other processes' submissions are looked for, in seconds: one pragma, a microsecond.
POLL_EVERY_S = 0.1
#: Journal entries read at once.
JOURNAL_SLICE = 5_000
#: Errors of one row, not of the store: trying again cannot help.
ROW_ERRORS = frozenset({"GW-S011", "GW-S012"})
#: A store that fails is tried again after this, in seconds. Nothing is sent meanwhile.
STORE_RETRY_S = 1.0


class Route(msgspec.Struct):
    """A destination as the relay drives it."""

    transport: Transport
    pace: Pace
    retry: RetrySettings
    trouble: GuestWireError | None = None
    """Why none of its lanes can move; None while they can."""


class Lane:
    """A guest's lane while it has something to do."""

    __slots__ = (
        "anchor",
        "awake_at",
        "check",
        "head",
        "info",
        "look_at",
        "looking",
        "paused_until",
        "replaced",
        "route",
        "sending",
        "settled",
    )

    def __init__(self, row: LaneRow, route: Route) -> None:
        self.info = LaneInfo(row.guest_ref, row.token, row.session_state)
        self.route = route
        self.anchor = row.anchor
        self.paused_until = row.paused_until
        #: The oldest part that has not ended; None while it is on its way, or not known.
        self.head = row.head
        self.sending: Sending | None = None
        #: The last part was accepted, and what comes next is in the store: begun unseen, with the settling of the last.
        self.settled = False
        #: The session of the last attempt is gone, and its history with it.
        self.replaced = False
        self.check: check.Progress | None = None
        self.look_at = float("-inf")
        self.looking = False
        #: When the lane has its next timer, so that no two are set for the same moment.
        self.awake_at = float("inf")

    @property
    def guest(self) -> GuestRef:
        """Its name."""
        return self.info.guest_ref

    @property
    def keys(self) -> tuple[Key, ...]:
        """The windows that a message of this lane needs."""
        return (("messages_per_s", self.guest), ("requests_per_min", self.guest))


class Relay:
    """
    Moves what is queued to its transports, and what they learn into the journal.

    Args:
        writer: The store. The relay's own steps and other callers' submissions share its transactions.
        reader: The same store, for reads.
        routes: By name of destination; transports are opened by `run`.
        clock: The time.
        settings: Patience.
        publish: Takes journal entries after their commit.
        draw: Random numbers from [0, 1), for jitter.
    """

    def __init__(
        self,
        writer: StoreThread,
        reader: StoreThread,
        *,
        clock: Clock,
        settings: RelaySettings,
        publish: Callable[[Sequence[JournalEntry]], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._settings = settings
        self._publish = publish
        self._draw = draw
        self.routes: dict[str, Route] = {}
        self._fence = 0
        self._lanes: dict[GuestRef, Lane] = {}
        self._hot: dict[GuestRef, None] = {}
        self._timers: list[tuple[float, int, GuestRef]] = []
        self._order = itertools.count()
        self._inbox: list[tuple[str, TransportEvent]] = []
        self._changes: list[Change] = []
        self._wake = asyncio.Event()
        self._stopping = False
        #: Journal entries up to here have been seen and told.
        self._seen_seq = 0
        self._backlog = True
        self._next_due_at: float | None = None
        self._poll_at = float("-inf")
        #: Not before this is the store searched for work: it has just failed.
        self._work_at = float("-inf")
        #: Parts on the wire now.
        self.in_flight = 0

    # --- what the outside calls ---

    def emitter(self, destination: str) -> Callable[[TransportEvent], None]:
        """Return what the transport of a destination calls for each event."""

        def emit(event: TransportEvent) -> None:
            self._inbox.append((destination, event))
            self._wake.set()

        return emit

    def nudge(self) -> None:
        """Something was submitted: look at the store now instead of at the next poll."""
        self._poll_at = float("-inf")
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is in flight has its outcome, or after `shutdown_s`."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Relay until stopped. The caller holds the relay lock of the store."""
        now = self._clock.now()
        self._fence = await self._writer.write(lambda store: store.take_over(now))
        self._seen_seq = await self._reader.read(lambda store: store.journal_seq())
        self._publish(())  # the last words of the relay before us may have been missed: look again
        for route in self.routes.values():
            await route.transport.open()
        deadline: float | None = None
        try:
            while True:
                self._absorb()
                if self._stopping:
                    deadline = deadline or self._clock.now() + self._settings.shutdown_s
                    if not self.in_flight or self._clock.now() >= deadline:
                        break
                else:
                    await self._look_for_work_or_later()
                await self._step()
                if not self._inbox:
                    await self._clock.wait(self._wake, self._next_at(deadline))
                self._wake.clear()
        finally:
            for route in self.routes.values():
                await route.transport.close()
            self._absorb()
            await self._flush()

    # --- absorb ---

    def _absorb(self) -> None:
        """Turn what transports said into changes."""
        inbox, self._inbox = self._inbox, []
        for destination, event in inbox:
            match event:
                case Attempted(guest, part_id, outcome):
                    self._attempted(guest, part_id, outcome)
                case LaneReady(guest, replaced):
                    self._lane_ready(guest, replaced)
                case LaneHeld(guest, until, reason):
                    self._lane_held(guest, until, reason)
                case HeardReply(guest, reply):
                    self._changes.append(Hear(guest, reply))
                case HistoryRead(guest, entities):
                    self._match(guest, entities)
                case HistoryUnreadable(guest, reason, retry_s):
                    self._history_unreadable(guest, reason, retry_s)
                case SessionChanged(guest, state, name, expires_at, token, detail):
                    self._session_changed(guest, state, token)
                    self._changes.append(NoteSession(guest, state, name, expires_at, token, detail))
                case DestinationTrouble(error):
                    self._trouble(self.routes[destination], error)
                case Noted(name, noted_guest, detail):
                    self._changes.append(Note(name, noted_guest, None, detail))
        self._fire_timers()

    def _attempted(self, guest: GuestRef, part_id: PartId, outcome: Outcome) -> None:
        """An attempt has its outcome; or an echo came late, for a part that is long past that."""
        lane = self._lanes.get(guest)
        if isinstance(outcome, Accepted):
            self._changes.append(Confirm(part_id, outcome))
        if lane is None:
            return
        sending = lane.sending
        if sending is None or sending.part_id != part_id:
            if isinstance(outcome, Accepted) and lane.head is not None and lane.head.part_id == part_id:
                # The echo of a part in check, or of one that waits to be sent again: found, by itself.
                self._decided(lane)
            return
        lane.sending = None
        self.in_flight -= 1
        now = self._clock.now()
        if isinstance(outcome, Throttled):
            self._pause_scope(lane, outcome, now)
        lane.settled = isinstance(outcome, Accepted)
        decision = decide(
            outcome,
            attempt=sending.attempt,
            now=now,
            queued_at=sending.queued_at,
            jitter=self._draw(),
            policy=lane.route.retry,
        )
        self._carry_out(lane, sending.part_id, sending.attempt, decision)
        self._touch(lane)

    def _pause_scope(self, lane: Lane, outcome: Throttled, now: float) -> None:
        """A throttle names a scope; whatever counts in it waits."""
        name = {"session": "messages_per_s", "connection": "requests_per_min"}.get(outcome.scope)
        if name is not None:
            lane.route.pace.pause((name, lane.guest), now + min(outcome.retry_after_s, MAX_THROTTLE_S))

    def _carry_out(self, lane: Lane, part_id: PartId, attempt: int, decision: Decision) -> None:
        match decision:
            case Settle():
                pass  # confirmed above, as any echo
            case Retry(at, reason, spent, possible_duplicate):
                self._changes.append(
                    Requeue(part_id, attempt, at, reason, spent=spent, possible_duplicate=possible_duplicate)
                )
            case Check(_, reason):
                self._changes.append(Suspect(part_id, attempt, reason))
            case GiveUp(state, reason):
                self._changes.append(End(part_id, attempt, state, reason))

    def _lane_ready(self, guest: GuestRef, replaced: bool) -> None:
        lane = self._lanes.get(guest)
        if lane is None:
            return
        if replaced:
            lane.replaced = True
            lane.anchor = None
        self._touch(lane)

    def _lane_held(self, guest: GuestRef, until: float | None, reason: str) -> None:
        lane = self._lanes.get(guest)
        if until is not None and until > self._clock.now():
            # Also for a guest with nothing to say now: his next message must not come back too early either.
            self._changes.append(Pause(guest, until, reason))
            if lane is not None:
                lane.paused_until = until
        if lane is not None:
            self._touch(lane)

    def _session_changed(self, guest: GuestRef, state: SessionState, token: str | None) -> None:
        lane = self._lanes.get(guest)
        if lane is not None:
            lane.info = msgspec.structs.replace(
                lane.info, session_state=state, token=lane.info.token if token is None else token
            )

    def _trouble(self, route: Route, error: GuestWireError | None) -> None:
        route.trouble = error
        detail = {} if error is None else {"code": error.code, "reason": error.message}
        self._changes.append(Note("destination.trouble" if error else "destination.reached", None, None, detail))

    # --- checks ---

    def _checking(self, lane: Lane, head: Head, now: float) -> None:
        """Take the next look into a guest's history, if it is time for one and the session is there."""
        if lane.check is None:
            lane.check = check.Progress(lost_at=head.changed_at)
            lane.look_at = float("-inf")
        if lane.looking:
            return
        if lane.replaced:
            self._unsettled(lane, head, "the session was replaced, and its history with it")
        elif lane.look_at > now:
            self._timer(lane, lane.look_at)
        elif not lane.route.transport.can_look(lane.guest):
            self._want(lane, urgent=True)
        else:
            lane.looking = True
            lane.look_at = now
            lane.route.transport.look(lane.guest, lane.anchor)

    def _match(self, guest: GuestRef, entities: Sequence[Entity]) -> None:
        lane = self._lanes.get(guest)
        if lane is None:
            return
        fresh = check.after_anchor(entities, lane.anchor)
        names = {name for entity in fresh for name in (entity.gateway_id, entity.channel_message_id) if name}
        future = self._reader.read(lambda store: store.taken(guest, names))
        future.add_done_callback(lambda done: self._matched(guest, fresh, done))

    def _matched(self, guest: GuestRef, fresh: list[Entity], done: asyncio.Future[set[str]]) -> None:
        """The store said which entries are spoken for: judge what the history shows."""
        self._wake.set()
        lane = self._lanes.get(guest)
        if lane is None:
            return
        lane.looking = False
        if lane.check is None or lane.head is None or lane.head.state is not PartState.CHECKING:
            self._touch(lane)  # decided by an echo meanwhile; what came next found the session busy with our look
            return
        now = self._clock.now()
        if done.cancelled() or done.exception() is not None:
            self._look_again(lane, now + STORE_RETRY_S)
            return
        taken = done.result()
        # The read counts from its beginning: what it could not see yet then, it did not see.
        progress = msgspec.structs.replace(lane.check, read_at=(*lane.check.read_at, lane.look_at))
        lane.check = progress
        head = lane.head
        found = check.find(
            head.part_id,
            head.body or PartBody(""),
            fresh,
            lambda entity: any(entity.is_called(name) for name in taken),
        )
        match check.judge(found, progress, settle_s=self._settings.settle_s):
            case check.Found(entity):
                accepted = Accepted(entity.gateway_id, entity.channel_message_id, entity.at, "history")
                self._changes.append(Confirm(head.part_id, accepted))
                self._decided(lane)
            case check.LookAgain(at):
                self._look_again(lane, at)
            case check.Absent(reads):
                self._unsettled(lane, head, f"absent from the guest's history ({reads} reads)")
            case check.Unsettleable(reason):
                self._unsettled(lane, head, reason)

    def _history_unreadable(self, guest: GuestRef, reason: str, retry_s: float) -> None:
        lane = self._lanes.get(guest)
        if lane is None:
            return
        lane.looking = False
        if lane.check is None or lane.head is None:
            self._touch(lane)
            return
        lane.check = msgspec.structs.replace(lane.check, failures=lane.check.failures + 1)
        verdict = check.judge_unreadable(
            reason, lane.check, now=self._clock.now(), check_for_s=self._settings.check_for_s, retry_s=retry_s
        )
        match verdict:
            case check.LookAgain(at):
                self._look_again(lane, at)
            case check.Unsettleable(why):
                self._unsettled(lane, lane.head, why)

    def _look_again(self, lane: Lane, at: float) -> None:
        lane.look_at = at
        self._touch(lane)

    def _unsettled(self, lane: Lane, head: Head, reason: str) -> None:
        """No history could say: the caller's choice between seen twice and perhaps never decides."""
        decision = decide_unsettled(
            reason,
            delivery=head.delivery,
            attempt=head.attempt,
            now=self._clock.now(),
            queued_at=head.queued_at,
            jitter=self._draw(),
            policy=lane.route.retry,
        )
        self._carry_out(lane, head.part_id, head.attempt, decision)
        self._decided(lane)

    def _decided(self, lane: Lane) -> None:
        """A check is over. What the lane's head is now, the next step says; until then there is none to look for."""
        lane.check = None
        lane.head = None
        lane.settled = False
        self._wake.set()

    # --- choose ---

    def _choose(self) -> list[GuestRef]:
        """Return the lanes whose head leaves with this step. Looks only at lanes something has happened to."""
        hot, self._hot = self._hot, {}
        begins: list[GuestRef] = []
        now = self._clock.now()
        for guest in hot:
            lane = self._lanes.get(guest)
            if lane is None or lane.sending is not None or self._stopping:
                continue
            if self._may_begin(lane, now):
                begins.append(guest)
        return begins

    def _may_begin(self, lane: Lane, now: float) -> bool:
        """Whether the lane's head may leave now; if not, whatever it needs has been asked for."""
        head = lane.head
        if head is not None and head.state is PartState.QUEUED and (head.expires_at or now + 1) <= now:
            # Also while nothing can be sent: whoever waits for it is told in time.
            self._changes.append(Expire(lane.guest))
            lane.head = None
            return False
        if lane.paused_until > now:
            self._wake_lane(lane, lane.paused_until)
            return False
        if head is not None and head.state is PartState.CHECKING:
            self._checking(lane, head, now)
            return False
        if head is not None and head.due_at > now:
            self._wake_lane(lane, head.due_at)
            return False
        if (head is None and not lane.settled) or (head is not None and head.state is not PartState.QUEUED):
            return False
        if not lane.route.transport.is_ready(lane.guest):
            self._want(lane, urgent=False)
            self._wake_lane(lane, float("inf"))
            return False
        held = lane.route.pace.admits(lane.keys, now)
        if held is not None:
            self._wake_lane(lane, min(held.until, now + 1.0))
            return False
        return True

    def _wake_lane(self, lane: Lane, at: float) -> None:
        """Look at the lane again at `at`, or when its head becomes too old, whichever comes first."""
        head = lane.head
        if head is not None and head.state is PartState.QUEUED and head.expires_at is not None:
            at = min(at, head.expires_at)
        if at != float("inf"):
            self._timer(lane, at)

    def _want(self, lane: Lane, *, urgent: bool) -> None:
        if lane.info.urgent != urgent:
            lane.info = msgspec.structs.replace(lane.info, urgent=urgent)
        lane.route.transport.want(lane.info)

    # --- step ---

    async def _step(self) -> None:
        """Commit this turn's changes together with the next attempts; then let those leave."""
        begins = self._choose()
        changes, self._changes = self._changes, []
        if not begins and not changes:
            return
        try:
            result = await self._commit(Step(changes, begins))
        except StoreError as error:
            result = await self._commit_later(changes, begins, error)
        self._stepped(result)
        await self._tell(result.entries)
        if result.replaced:
            raise StoreError(
                "another process has become the relay of this store",
                code="GW-S008",
                hint="do not delete relay.lock while a relay runs; end one of the two",
            )

    async def _commit(self, step: Step) -> StepResult:
        now, fence = self._clock.now(), self._fence
        return await self._writer.write(lambda store: store.step(step, fence=fence, now=now))

    async def _commit_later(self, changes: list[Change], begins: list[GuestRef], error: StoreError) -> StepResult:
        """The store failed: nothing is known to be written, so nothing leaves; the outcomes are tried again."""
        self._hot.update(dict.fromkeys(begins))
        until = float("inf")
        while True:
            self._store_failed(error)
            self._wake.clear()
            await self._clock.wait(self._wake, self._clock.now() + STORE_RETRY_S)
            if self._stopping:
                until = min(until, self._clock.now() + self._settings.shutdown_s)
            try:
                if error.code in ROW_ERRORS:
                    return await self._commit_singly(changes)
                return await self._commit(Step(changes, []))
            except StoreError as again:
                error = again
            if self._clock.now() + STORE_RETRY_S > until:
                # The last words are `_flush`'s; if it fails too, what was on its way is checked at the next start.
                self._changes = changes + self._changes
                return StepResult([], {}, [])

    async def _commit_singly(self, changes: list[Change]) -> StepResult:
        """One change can never be stored; the others must not wait for it for ever."""
        lanes: dict[GuestRef, Head | None] = {}
        entries: list[JournalEntry] = []
        for change in changes:
            try:
                result = await self._commit(Step([change], []))
            except StoreError as error:
                if error.code not in ROW_ERRORS:
                    raise
                self._store_failed(error)
            else:
                lanes |= result.lanes
                entries += result.entries
        return StepResult([], lanes, entries)

    def _store_failed(self, error: StoreError) -> None:
        logger.error("the store failed: %s", error, extra={"action": "store_failed", "code": error.code})

    def _stepped(self, result: StepResult) -> None:
        for guest, head in result.lanes.items():
            lane = self._lanes.get(guest)
            if lane is None:
                continue
            lane.head = head
            lane.settled = False
            if head is None or head.state is not PartState.CHECKING:
                lane.check = None
            if head is None or head.state is PartState.PARKED:
                # A person moves a parked head, and then the journal brings the lane back.
                del self._lanes[guest]
                lane.route.transport.leave(guest)
            else:
                self._hot[guest] = None
        for sending in result.begun:
            lane = self._lanes[sending.guest_ref]
            lane.sending = sending
            lane.head = lane.check = None
            lane.settled = lane.replaced = False
            self.in_flight += 1
            lane.route.transport.send(Attempt(sending.part_id, sending.guest_ref, sending.attempt, sending.body))
        for entry in result.entries:
            if entry.event == "part.accepted" and entry.guest_ref in self._lanes:
                self._lanes[entry.guest_ref].anchor = entry.detail["gateway_id"]
        if self._hot:
            self._wake.set()

    async def _tell(self, entries: Sequence[JournalEntry]) -> None:
        """Hand our own entries on, after those that other connections committed before them."""
        if entries:
            try:
                await self._see_others(entries[0].seq - 1)
            except StoreError as error:
                self._store_failed(error)
                self._backlog = True
                return  # nothing is told now; the next look reads it from the journal
            self._seen_seq = entries[-1].seq
            self._publish(entries)
            if logger.isEnabledFor(logging.INFO):
                _log(entries)

    async def _see_others(self, up_to: int) -> None:
        """Read what others wrote into the journal: it is told on, and its lanes are looked at."""
        touched: dict[GuestRef, None] = {}
        while self._seen_seq < up_to:
            after = self._seen_seq
            limit = min(up_to - after, JOURNAL_SLICE)
            entries = await self._reader.read(partial(SqliteStore.journal, after=after, limit=limit))
            if not entries:
                break
            self._seen_seq = entries[-1].seq
            self._publish(entries)
            touched.update(dict.fromkeys(entry.guest_ref for entry in entries if entry.guest_ref is not None))
        if len(touched) > MAX_LANES - len(self._lanes):
            self._backlog = True
        elif touched:
            self._take_in(await self._reader.read(lambda store: store.lanes(touched)))

    async def _flush(self) -> None:
        """At the end: what is known goes to disk; what is still unknown stays *sending*, and is checked next time."""
        changes, self._changes = self._changes, []
        if changes:
            try:
                result = await self._commit(Step(changes, []))
            except StoreError as error:
                logger.error("the last outcomes were not stored: %s", error, extra={"action": "store_failed"})
            else:
                self._publish(result.entries)

    # --- finding work ---

    async def _look_for_work_or_later(self) -> None:
        """A store that cannot be read, or is held by another process, is no reason to stop relaying."""
        try:
            await self._look_for_work()
        except StoreError as error:
            self._store_failed(error)
            self._backlog = True
            self._poll_at = self._work_at = self._clock.now() + STORE_RETRY_S

    async def _look_for_work(self) -> None:
        """Take lanes into memory that became due, by time or because some process submitted to them."""
        now = self._clock.now()
        if now >= self._poll_at:
            self._poll_at = now + POLL_EVERY_S
            seq, entering_at = await self._reader.read(lambda store: (store.journal_seq(), store.next_entering()))
            await self._see_others(seq)
            if entering_at is not None:
                # A message for later touches no lane, so this is how a running relay learns of it.
                self._next_due_at = min(entering_at, self._next_due_at or entering_at)
        if now < self._work_at:
            return
        timed = self._next_due_at is not None and self._next_due_at <= now
        if timed:
            await self._tell(await self._writer.write(lambda store: store.enter(now)))
        room = len(self._lanes) <= MAX_LANES - MAX_LANES // 10
        if not timed and not (self._backlog and room):
            return
        due = await self._reader.read(lambda store: store.due(now, MAX_LANES))
        self._backlog = due.more
        self._next_due_at = due.next_at
        unknown = [guest for guest in due.guests if guest not in self._lanes]
        if unknown:
            self._take_in(await self._reader.read(lambda store: store.lanes(unknown)))

    def _take_in(self, rows: Sequence[LaneRow]) -> None:
        """Bring lanes into memory, or up to date."""
        for row in rows:
            route = self.routes.get(row.destination)
            lane = self._lanes.get(row.guest_ref)
            if lane is not None:
                if lane.sending is None:
                    lane.head = row.head
                    self._touch(lane)
            elif route is not None and row.next_at is not None:
                if len(self._lanes) >= MAX_LANES:
                    self._backlog = True
                    break
                lane = self._lanes[row.guest_ref] = Lane(row, route)
                self._touch(lane)

    # --- time ---

    def _touch(self, lane: Lane) -> None:
        """Something happened to the lane: it is looked at in this turn."""
        self._hot[lane.guest] = None

    def _timer(self, lane: Lane, at: float) -> None:
        if at < lane.awake_at:
            lane.awake_at = at
            heapq.heappush(self._timers, (at, next(self._order), lane.guest))

    def _fire_timers(self) -> None:
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            at, _, guest = heapq.heappop(self._timers)
            lane = self._lanes.get(guest)
            if lane is not None and lane.awake_at == at:
                lane.awake_at = float("inf")
                self._touch(lane)

    def _next_at(self, deadline: float | None) -> float | None:
        if self._hot or self._changes:
            return self._clock.now()
        moments = [self._poll_at if deadline is None else deadline]
        if self._timers:
            moments.append(self._timers[0][0])
        if self._next_due_at is not None and deadline is None:
            moments.append(max(self._next_due_at, self._work_at))
        return min(moments)


def _log(entries: Sequence[JournalEntry]) -> None:
    """Say what happened. The journal's details hold no content and no secret, so they may stand in a log."""
    for entry in entries:
        logger.info(
            "%s %s",
            entry.event,
            entry.part_id or entry.guest_ref or "",
            extra={
                "action": entry.event,
                "guest_ref": entry.guest_ref,
                "part_id": entry.part_id,
                **_named(entry.detail),
            },
        )


def _named(detail: dict[str, Any]) -> dict[str, Any]:
    """Details under names that no attribute of a log record has."""
    return {f"detail_{name}": value for name, value in detail.items()}
