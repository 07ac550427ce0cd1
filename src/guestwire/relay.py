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
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guestwire.errors import StoreError
from guestwire.lane import Lane, Route, lane_info, use_keys
from guestwire.model import (
    AuthChanged,
    CaughtUp,
    GuestRef,
    JournalEntry,
    PartState,
    SessionChanged,
)
from guestwire.policy.forecast import checks_s
from guestwire.policy.pace import UseKind
from guestwire.settings import VERSION, RelaySettings
from guestwire.steering import STORE_RETRY_S, Steering
from guestwire.store.base import Change, Expire, Head, Hear, LaneRow, Note, Realign, Step, StepResult
from guestwire.store.sqlite import SqliteStore
from guestwire.transports.base import (
    Attempt,
    Attempted,
    DestinationTrouble,
    ErrandEnded,
    HeardReply,
    HeardTyping,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneReady,
    NoHistory,
    Noted,
    Spend,
    TransportEvent,
    Uploaded,
)
from guestwire.vitals import DestinationVitals, Trouble, Vitals

logger = logging.getLogger("guestwire.relay")

#: Lanes of a destination kept in memory at most; the rest waits in the store's ready index.
MAX_LANES = 5_000
#: How often other processes' submissions are looked for, in seconds: one pragma, a microsecond.
POLL_EVERY_S = 0.1
#: Journal entries read at once.
JOURNAL_SLICE = 1_000
#: The longest window that a gateway counts in, in seconds.
REMEMBERED_S = 60.0
#: What leaves later than this after it was written down, in seconds, is written down again.
WRITTEN_S = 2.0
#: Errors of one row, not of the store: trying again cannot help.
ROW_ERRORS = frozenset({"GW-S011", "GW-S012"})
#: The store is another one by now: there is nothing to come back to.
STORE_GONE = frozenset({"GW-S004", "GW-S034"})
#: Guests are visited for replies so many at a time, and looked for so often, in seconds.
VISITS_AT_ONCE = 50
VISIT_EVERY_S = 5.0


class Relay(Steering):
    """
    Moves what is queued to its transports, and what they learn into the journal.

    Args:
        writer: The store. The relay's own steps and other callers' submissions share its transactions.
        reader: The same store, for reads.
        routes: By name of destination; transports are opened by `run`.
        clock: The time.
        settings: Patience.
        publish: Takes journal entries after their commit.
        publish_typing: Takes who is being typed to, and for how many seconds; never stored.
        draw: Random numbers from [0, 1), for jitter.
    """

    # --- what the outside calls ---

    def emitter(self, destination: str) -> Callable[[TransportEvent], None]:
        """Return what the transport of a destination calls for each event."""

        def emit(event: TransportEvent) -> None:
            self._inbox.append((destination, event))
            self._wake.set()

        return emit

    def spender(self, destination: str) -> Spend:
        """Return what the transport of a destination awaits before it sends what windows count; but for messages."""

        async def spend(kind: UseKind, guest: GuestRef) -> None:
            route = self.routes[destination]
            limits = [route.pace.limit(name) for name, _ in use_keys(route, kind, guest)]
            if not any(limit.period_s for limit in limits if limit is not None):
                return  # nobody counts
            # What leaves long after it was written would be forgotten too early, as where the machine slept in between.
            # Once more and no oftener: a disk that is always slow is within the patience that such times are given.
            if await self._spend(kind, destination, guest) > WRITTEN_S:
                await self._spend(kind, destination, guest)

        return spend

    def nudge(self) -> None:
        """Something was submitted: look at the store now instead of at the next poll."""
        self._poll_at = float("-inf")
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is in flight has its outcome, or after `shutdown_s`."""
        if not self._stopping:
            self._stopping = True
            self._stop_by = self._clock.now() + self._settings.shutdown_s
        self._wake.set()

    def retune(self, settings: RelaySettings) -> None:
        """Go by other settings from now on, and look again at what waits."""
        self._settings = settings
        self.nudge()

    @property
    def turned_at(self) -> float:
        """When its loop turned last, in seconds since the epoch."""
        return self._turned_at

    def vitals(self) -> Vitals:
        """Say how it goes."""
        now = self._clock.now()
        checking: dict[str, tuple[int, int]] = dict.fromkeys(self.routes, (0, 0))
        for lane in self._lanes.values():
            if lane.head is not None and lane.head.state is PartState.CHECKING:
                count, apart = checking[lane.route.name]
                checking[lane.route.name] = count + 1, apart + (not lane.route.transport.can_look(lane.guest))
        error = None if self._store_error is None else self._store_error[0]
        return Vitals(
            pid=os.getpid(),
            fence=self._fence,
            version=VERSION,
            started_at=self._started_at,
            at=now,
            turned_at=self._turned_at,
            stopping=self._stopping,
            in_flight=self.in_flight,
            store=None if error is None else Trouble(error.code, error.message),
            destinations={
                name: self._destination_vitals(route, *checking[name], now) for name, route in self.routes.items()
            },
        )

    def _destination_vitals(self, route: Route, checking: int, apart: int, now: float) -> DestinationVitals:
        """Say how it goes with a destination; of the lanes in check, `apart` have no session yet to look from."""
        pace, breaker, shared = route.pace, route.breaker, route.shared
        binding = pace.binding(now) if route.lanes else None  # it remembers some seconds
        held_until = float("inf") if binding is None else pace.held_until(binding)
        figures = route.transport.figures()
        if shared is None:
            bound, count, requests = pace.limit("connects_per_min"), apart, 1
        else:
            bound, count, requests = pace.limit("requests_per_min"), checking, 2
        per_min = None if bound is None else bound.count
        return DestinationVitals(
            trouble=None if route.trouble is None else Trouble(route.trouble.code, route.trouble.message),
            breaker=breaker.state,
            breaker_until=None if breaker.is_closed else breaker.until,
            binding=binding,
            binding_until=None if held_until == float("inf") else held_until,
            lanes=route.lanes,
            backlog=route.backlog,
            waiting=int(figures.get("connects_waiting", 0)) if shared is None else len(shared.waiting),
            held=len(route.held),
            in_flight=route.in_flight,
            checking=checking,
            checks_s=checks_s(count, per_min=per_min, requests=requests, settle_s=self._settings.settle_s)
            if checking
            else None,
            last_min=route.recent.per_min(now),
            limits_held=dict(pace.held),
            figures=figures,
        )

    async def run(self) -> None:
        """Relay until stopped. The caller holds the relay lock of the store."""
        now = self._clock.now()
        # Both at one moment: what somebody submits in between, by a clock ahead of ours, is in no index of what is due.
        self._fence, self._seen_seq = await self._writer.write(
            lambda store: (store.take_over(now), store.journal_seq())
        )
        await self._remember_uses(now)
        self._publish(())  # the last words of the relay before us may have been missed: look again
        for route in self.routes.values():
            await route.transport.open()
        waiting = await self._reader.read(lambda store: store.waiting_guests())
        self._take_in(await self._reader.read(lambda store: store.lanes(waiting)))
        deadline: float | None = None
        try:
            while True:
                self._turned_at = self._clock.now()
                self._absorb()
                if self._stopping:
                    deadline = self._stop_by
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

    async def _remember_uses(self, now: float) -> None:
        """What relays before us have used of the windows, the gateways count still."""
        # What was written down before it left came to its gateway within our patience with it, if it did.
        patience_s = WRITTEN_S + max(self._settings.answer_s, self._settings.connect_timeout_s)
        since = now - REMEMBERED_S - patience_s
        # The clock of the one before us may have been ahead of ours; what it wrote is not of later than now.
        for use in await self._reader.read(lambda store: store.uses(since, now + REMEMBERED_S)):
            route = self.routes.get(use.destination)
            if route is None:
                continue
            ahead_s = max(0.0, use.at - now)
            keys = use_keys(route, use.kind, use.guest_ref)
            route.pace.remember(keys, min(now, use.at + patience_s) if use.ahead else use.at - ahead_s)
            if use.paused_until is not None and route.shared is not None:
                route.pace.throttled(keys[0], use.paused_until - ahead_s, use.at - ahead_s)

    async def _spend(self, kind: UseKind, destination: str, guest: GuestRef) -> float:
        """Write down what is about to leave, as soon as the store can; returns how long it has taken, in seconds."""
        while True:
            now = self._clock.now()
            try:
                spend = partial(SqliteStore.spend, kind=kind, destination=destination, guest=guest, now=now)
                await self._writer.write(spend)
            except StoreError as error:
                if error.code in STORE_GONE:
                    return 0.0  # the relay ends with its next step, and nobody goes on with this store
                if self._store_error is None:  # else it is told already, perhaps by one of many who wait
                    self._store_failed(error)
                await self._clock.wait(asyncio.Event(), now + STORE_RETRY_S)
            else:
                if self._store_error is not None and not self._store_error[1]:
                    self._store_error = None
                return self._clock.now() - now

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
                case HeardTyping(guest, seconds):
                    self._publish_typing(guest, seconds)
                case CaughtUp():
                    self._changes.append(event)
                case Uploaded(guest, part_id, upload_id, upload_outcome):
                    self._uploaded(guest, part_id, upload_id, upload_outcome)
                case ErrandEnded(guest, seq, errand_outcome, result):
                    self._errand_ended(guest, seq, errand_outcome, result)
                case AuthChanged(guest, auth):
                    self._auth_changed(guest, auth)
                    self._changes.append(event)
                case HistoryRead(guest, entities):
                    self._match(guest, entities)
                case HistoryUnreadable(guest, reason, retry_s, is_failure):
                    self._history_unreadable(guest, reason, retry_s, is_failure=is_failure)
                case NoHistory(guest, reason):
                    self._no_history(guest, reason)
                case SessionChanged(guest, state, _, _, token):
                    self._session_changed(guest, state, token)
                    self._changes.append(event)
                case DestinationTrouble(error):
                    self._trouble(self.routes[destination], error)
                case Noted(name, noted_guest, detail, noted_part):
                    self._changes.append(Note(name, noted_guest, noted_part, detail))
        self._fire_timers()

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
            if self._is_too_old(lane, now) or self._run_errand(lane, now):
                continue
            if self._may_begin(lane, now):
                begins.append(guest)
        self._chosen(now)
        return begins

    def _is_too_old(self, lane: Lane, now: float) -> bool:
        """Whether the lane's head has become too old; also while nothing can be sent, whoever waits is told in time."""
        head = lane.head
        if head is None or head.state is not PartState.QUEUED or head.expires_at is None:
            return False
        if head.expires_at > now:
            self._timer(lane, head.expires_at)
            return False
        self._changes.append(Expire(lane.guest))
        self._discard(lane, head.upload_id)
        lane.head = None
        lane.stale = True
        return True

    def _may_begin(self, lane: Lane, now: float) -> bool:
        """Whether the lane's head may leave now; if not, whatever it needs has been asked for."""
        head = lane.head
        if lane.paused_until > now:
            self._timer(lane, lane.paused_until)
            return False
        if head is not None and head.state is PartState.CHECKING:
            self._checking(lane, head, now)
            return False
        if head is not None and not head.is_due(now):
            self._timer(lane, head.due_at)
            return False
        if (head is None and not lane.settled) or (head is not None and head.state is not PartState.QUEUED):
            return False
        transport = lane.route.transport
        if not transport.is_ready(lane.guest):
            self._want(lane, urgent=False)
            if not transport.is_ready(lane.guest):
                return False
        if not self._is_let(lane, now) or not self._may_take(lane, now):
            return False
        if head is not None and head.blob is not None and head.upload_id is None:
            self._upload(lane, head)
            return False
        if lane.route.shared is not None:
            lane.slot = lane.route.pace.take(lane.keys, now)
        lane.route.breaker.begun(lane.guest)
        return True

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
        if len(result.begun) < len(begins):
            self._free_slots(begins, result)
        self._stepped(result)
        if len(result.begun) < len(begins):
            self._not_begun(begins, result)
        await self._tell(result.entries)
        if result.replaced:
            raise StoreError(
                "another process has become the relay of this store",
                code="GW-S008",
                hint="do not delete relay.lock while a relay runs; end one of the two",
            )

    def _not_begun(self, begins: Sequence[GuestRef], result: StepResult) -> None:
        """An errand that is not known here yet may have come first: look for it, and at the lane a little later."""
        self._poll_at = float("-inf")
        begun = {sending.guest_ref for sending in result.begun}
        for guest in begins:
            lane = self._lanes.get(guest)
            if guest in begun or lane is None or lane.head is None or lane.head.state is not PartState.QUEUED:
                continue
            if lane.head.blob is None or lane.head.upload_id is not None:
                self._hot.pop(guest, None)
                self._timer(lane, self._clock.now() + POLL_EVERY_S)

    async def _commit(self, step: Step) -> StepResult:
        now, fence = self._clock.now(), self._fence
        result = await self._writer.write(lambda store: store.step(step, fence=fence, now=now))
        if step.changes or step.begins:
            self._store_error = None
        return result

    async def _commit_later(self, changes: list[Change], begins: list[GuestRef], error: StoreError) -> StepResult:
        """The store failed: nothing is known to be written, so nothing leaves; the outcomes are tried again."""
        self._hot.update(dict.fromkeys(begins))
        while True:
            self._store_failed(error)
            self._wake.clear()
            await self._clock.wait(self._wake, self._clock.now() + STORE_RETRY_S)
            self._turned_at = self._clock.now()
            try:
                if error.code in ROW_ERRORS:
                    return await self._commit_singly(changes)
                return await self._commit(Step(changes, []))
            except StoreError as again:
                error = again
            if error.code in STORE_GONE:
                raise error
            if self._clock.now() + STORE_RETRY_S > self._stop_by:
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
        # A lane whose change was dropped has no result to wait for: what the store holds is what there is.
        dropped = [lane.guest for lane in self._lanes.values() if lane.stale and lane.guest not in lanes]
        for row in await self._reader.read(lambda store: store.lanes(dropped)):
            self._lanes[row.guest_ref].stale = False
            self._lanes[row.guest_ref].head = row.head
            self._hot[row.guest_ref] = None
        return StepResult([], lanes, entries)

    def _store_failed(self, error: StoreError, *, reading: bool = False) -> None:
        if error.code not in ROW_ERRORS:
            self._store_error = error, reading
        logger.error("the store failed: %s", error, extra={"action": "store_failed", "code": error.code})

    def _stepped(self, result: StepResult) -> None:
        for guest, head in result.lanes.items():
            lane = self._lanes.get(guest)
            if lane is None:
                continue
            lane.head = head
            lane.settled = lane.stale = False
            if head is None or head.state is not PartState.CHECKING:
                lane.check = None
            self._drop_or_touch(lane)
        for sending in result.begun:
            lane = self._lanes[sending.guest_ref]
            lane.sending = sending
            lane.head = lane.check = None
            lane.settled = lane.replaced = False
            self.in_flight += 1
            lane.route.in_flight += 1
            lane.route.recent.note("sent", self._turned_at)
            slot, lane.slot = lane.slot, None
            lane.route.transport.send(
                Attempt(
                    sending.part_id,
                    sending.guest_ref,
                    sending.attempt,
                    sending.body,
                    sending.upload_id,
                    sending.queued_at,
                    slot,
                )
            )
        for entry in result.entries:
            if entry.event == "part.accepted" and entry.guest_ref in self._lanes and "is_ahead" not in entry.detail:
                self._lanes[entry.guest_ref].anchor = entry.detail["gateway_id"]
        if self._hot:
            self._wake.set()

    def _drop_or_touch(self, lane: Lane) -> None:
        if lane.is_idle:
            # A person moves a parked head, and then the journal brings the lane back.
            del self._lanes[lane.guest]
            lane.route.lanes -= 1
            lane.route.transport.leave(lane.guest)
        else:
            self._hot[lane.guest] = None

    async def _tell(self, entries: Sequence[JournalEntry]) -> None:
        """Hand our own entries on, after those that other connections committed before them."""
        if entries:
            try:
                await self._see_others(entries[0].seq - 1)
            except StoreError as error:
                self._store_failed(error)
                self._search_again()
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
            self._heed(entries)
            touched.update(dict.fromkeys(entry.guest_ref for entry in entries if entry.guest_ref is not None))
        names = list(touched)
        for start in range(0, len(names), MAX_LANES):
            guests = names[start : start + MAX_LANES]
            self._take_in(await self._reader.read(partial(SqliteStore.lanes, guests=guests)))

    def _heed(self, entries: Sequence[JournalEntry]) -> None:
        """What people decided concerns more than the head of a lane."""
        for entry in entries:
            lane = None if entry.guest_ref is None else self._lanes.get(entry.guest_ref)
            if lane is None:
                continue
            if entry.event == "lane.resumed":
                lane.paused_until = float("-inf")
            elif entry.event == "part.cancelled":
                self._discard(lane, entry.detail.get("upload"))

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
            if error.code in STORE_GONE:
                raise
            self._store_failed(error, reading=True)
            self._search_again()
            self._poll_at = self._work_at = self._clock.now() + STORE_RETRY_S
        else:
            if self._store_error is not None and self._store_error[1]:
                self._store_error = None

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
        await self._visit(now)
        if now < self._work_at:
            return
        timed = self._next_due_at is not None and self._next_due_at <= now
        if timed:
            await self._tell(await self._writer.write(lambda store: store.enter(now)))
            self._search_again()
            self._next_due_at = None  # said anew by whoever is searched; the others are when they have room
        for name, route in self.routes.items():
            if route.backlog and route.lanes <= MAX_LANES - MAX_LANES // 10:
                await self._search(name, route, now)

    async def _search(self, name: str, route: Route, now: float) -> None:
        """Take the lanes of a destination into memory that are due, as far as there is room."""
        due = await self._reader.read(lambda store: store.due(now, MAX_LANES, name))
        route.backlog = due.more
        if due.next_at is not None:
            self._next_due_at = min(due.next_at, self._next_due_at or due.next_at)
        # A lane whose errands had no room in memory is in no index of what is due.
        most = MAX_LANES + route.lanes + 1  # one more than fits, so that there is a backlog again
        waiting = await self._reader.read(lambda store: store.errand_guests(most, name))
        unknown = [guest for guest in (*due.guests, *waiting) if guest not in self._lanes]
        if unknown:
            self._take_in(await self._reader.read(lambda store: store.lanes(unknown)))

    def _take_in(self, rows: Sequence[LaneRow]) -> None:
        """Bring lanes into memory, or up to date."""
        now = self._clock.now()
        for row in rows:
            route = self.routes.get(row.destination)
            lane = self._lanes.get(row.guest_ref)
            if lane is not None:
                self._keep_followed(row, route)
                # One that is over may not be so in the store yet.
                lane.errands = [errand for errand in row.errands if errand.seq not in lane.ended_errands]
                if lane.errands:
                    lane.settled = False  # what comes next is known, and perhaps it is not a message
                if lane.sending is None and not lane.stale:
                    if lane.head is not None and (row.head is None or row.head.part_id != lane.head.part_id):
                        lane.check = None  # settled by somebody else: a receipt, a person
                    lane.head = row.head
                    if lane.is_idle and lane.running is None:
                        self._drop_or_touch(lane)  # settled by somebody else
                        continue
                self._touch(lane)
            elif route is not None:
                self._keep_followed(row, route)
                if row.next_at is None and not row.errands:
                    continue
                if route.lanes >= MAX_LANES:
                    route.backlog = True
                    if row.next_at is not None and row.next_at > now and row.head is not None and row.head.is_due(now):
                        self._changes.append(Realign(row.guest_ref))  # else it is searched for in vain till then
                    continue  # the others may be followed, or in memory already
                lane = self._lanes[row.guest_ref] = Lane(row, route)
                # No pause is longer: one that is was begun by a clock ahead of ours.
                lane.paused_until = min(lane.paused_until, now + 2 * self._settings.evicted_retry_s)
                route.lanes += 1
                self._touch(lane)

    def _keep_followed(self, row: LaneRow, route: Route | None) -> None:
        """Tell the transport whose session is kept open; the lanes themselves come and go."""
        if route is None or row.is_followed == (row.guest_ref in self._followed):
            return
        if row.is_followed:
            self._followed.add(row.guest_ref)
            route.transport.follow(lane_info(row))
        else:
            self._followed.discard(row.guest_ref)
            route.transport.unfollow(row.guest_ref)

    async def _visit(self, now: float) -> None:
        """Look after guests whose connections were let go: what was said to them meanwhile."""
        every_s = self._settings.poll_replies_s
        if every_s is None or now < self._visit_at:
            return
        self._visit_at = now + min(every_s, VISIT_EVERY_S)
        self._visited = {guest: at for guest, at in self._visited.items() if at > now - every_s}
        most = VISITS_AT_ONCE + len(self._visited)
        unseen = await self._reader.read(lambda store: store.unseen(now - every_s, now, most))
        guests = [guest for guest in unseen if guest not in self._visited][:VISITS_AT_ONCE]
        for row in await self._reader.read(lambda store: store.lanes(guests)):
            self._visited[row.guest_ref] = now
            route = self.routes.get(row.destination)
            if route is not None and row.paused_until <= now:
                route.transport.visit(lane_info(row))

    # --- time ---

    def _fire_timers(self) -> None:
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            at, _, guest = heapq.heappop(self._timers)
            lane = self._lanes.get(guest)
            if lane is not None and lane.awake_at == at:
                lane.awake_at = float("inf")
                self._touch(lane)
        self._call_waiting(now)
        for route in self.routes.values():
            if route.held and route.breaker.admits(now):
                self._let_go(route)

    def _next_at(self, deadline: float | None) -> float | None:
        if self._hot or self._changes:
            return self._clock.now()
        moments = [self._poll_at if deadline is None else deadline]
        if self._timers:
            moments.append(self._timers[0][0])
        moments += [shared.wake_at for shared in self._shared_windows if shared.waiting]
        moments += [route.breaker.until for route in self.routes.values() if route.held and route.breaker.is_waiting]
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
