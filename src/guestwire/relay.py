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
from guestwire.lane import Lane, Route, lane_info, next_errand
from guestwire.model import (
    Accepted,
    Auth,
    Entity,
    Failed,
    File,
    GatewayMessageId,
    GuestRef,
    JournalEntry,
    Outcome,
    PartBody,
    PartId,
    PartState,
    Refused,
    SessionState,
    Throttled,
    Unknown,
)
from guestwire.policy import check
from guestwire.policy.retry import (
    MAX_THROTTLE_S,
    Check,
    Decision,
    GiveUp,
    Retry,
    Settle,
    backoff_s,
    decide,
    decide_unsettled,
)
from guestwire.protocol.writing import marks_of
from guestwire.settings import RelaySettings
from guestwire.store.base import (
    Change,
    Confirm,
    Defer,
    End,
    EndErrand,
    Expire,
    Head,
    Hear,
    LaneRow,
    Note,
    NoteAuth,
    NoteSession,
    NoteUpload,
    Pause,
    Requeue,
    Seen,
    Step,
    StepResult,
    Suspect,
)
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.transports.base import (
    Attempt,
    Attempted,
    AuthChanged,
    CaughtUp,
    DestinationTrouble,
    ErrandEnded,
    HeardReply,
    HeardTyping,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneReady,
    Noted,
    SessionChanged,
    TransportEvent,
    Upload,
    Uploaded,
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
#: The gateway's codes for a file that it does not have (any more): it is uploaded again.
FILE_GONE = frozenset({4008, 4009, 4010})
#: Errors of the store after which a file cannot be had again: its message waits for a person.
FILE_LOST = frozenset({"GW-S011", "GW-S012", "GW-S014"})
#: An errand that fails for the moment is tried so often in all.
ERRAND_TRIES = 5
#: Guests are visited for replies so many at a time, and looked for so often, in seconds.
VISITS_AT_ONCE = 50
VISIT_EVERY_S = 5.0
#: A store that fails is tried again after this, in seconds. Nothing is sent meanwhile.
STORE_RETRY_S = 1.0


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
        publish_typing: Takes who is being typed to, and for how many seconds; never stored.
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
        publish_typing: Callable[[GuestRef, float], None] = lambda guest, seconds: None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._settings = settings
        self._publish = publish
        self._publish_typing = publish_typing
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
        self._visit_at = float("-inf")
        self._followed: set[GuestRef] = set()
        #: Who was looked after lately, and when.
        self._visited: dict[GuestRef, float] = {}
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
        waiting = await self._reader.read(lambda store: store.waiting_guests())
        self._take_in(await self._reader.read(lambda store: store.lanes(waiting)))
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
                case HeardTyping(guest, seconds):
                    self._publish_typing(guest, seconds)
                case CaughtUp(guest):
                    self._changes.append(Seen(guest))
                case Uploaded(guest, part_id, upload_id, upload_outcome):
                    self._uploaded(guest, part_id, upload_id, upload_outcome)
                case ErrandEnded(guest, seq, errand_outcome, result):
                    self._errand_ended(guest, seq, errand_outcome, result)
                case AuthChanged(guest, auth):
                    self._auth_changed(guest, auth)
                    self._changes.append(NoteAuth(guest, auth))
                case HistoryRead(guest, entities):
                    self._match(guest, entities)
                case HistoryUnreadable(guest, reason, retry_s):
                    self._history_unreadable(guest, reason, retry_s)
                case SessionChanged(guest, state, name, expires_at, token, detail):
                    self._session_changed(guest, state, token)
                    self._changes.append(NoteSession(guest, state, name, expires_at, token, detail))
                case DestinationTrouble(error):
                    self._trouble(self.routes[destination], error)
                case Noted(name, noted_guest, detail, noted_part):
                    self._changes.append(Note(name, noted_guest, noted_part, detail))
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
        lane.stale = True
        self.in_flight -= 1
        now = self._clock.now()
        if isinstance(outcome, Throttled):
            self._pause_scope(lane, outcome, now)
        lane.settled = isinstance(outcome, Accepted) and not lane.errands
        if sending.upload_id is not None and isinstance(outcome, Refused | Failed) and outcome.code in FILE_GONE:
            # Surely not accepted, and the next attempt brings the file again.
            self._changes.append(NoteUpload(part_id, None))
            outcome = Failed(outcome.reason, outcome.code)
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
                lane.info,
                session_state=state,
                token=lane.info.token if token is None else token,
                auth=lane.info.auth if token is None else None,
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
            marks_of(head.body or PartBody(""), head.upload_id),
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
        lane.stale = True
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
            if self._is_too_old(lane, now) or self._run_errand(lane, now):
                continue
            if self._may_begin(lane, now):
                begins.append(guest)
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
        if head is not None and head.due_at > now:
            self._timer(lane, head.due_at)
            return False
        if (head is None and not lane.settled) or (head is not None and head.state is not PartState.QUEUED):
            return False
        if not lane.route.transport.is_ready(lane.guest):
            self._want(lane, urgent=False)
            return False
        held = lane.route.pace.admits(lane.keys, now)
        if held is not None:
            self._timer(lane, min(held.until, now + 1.0))
            return False
        if head is not None and head.blob is not None and head.upload_id is None:
            self._upload(lane, head)
            return False
        return True

    def _want(self, lane: Lane, *, urgent: bool) -> None:
        if lane.info.urgent != urgent:
            lane.info = msgspec.structs.replace(lane.info, urgent=urgent)
        lane.route.transport.want(lane.info)

    # --- files ---

    def _upload(self, lane: Lane, head: Head) -> None:
        """Have the head's file brought to the platform; the lane waits for it, and for nothing else."""
        if lane.uploading == head.part_id:
            return
        if lane.tried_part != head.part_id:
            lane.tried_part, lane.upload_tries = head.part_id, 0
        lane.uploading = head.part_id
        future = self._reader.read(lambda store: store.file_of(head.part_id))
        future.add_done_callback(lambda done: self._file_read(lane, head, done))

    def _file_read(self, lane: Lane, head: Head, done: asyncio.Future[tuple[File, bytes]]) -> None:
        self._wake.set()
        if lane.uploading != head.part_id or self._lanes.get(lane.guest) is not lane:
            return
        if done.cancelled():
            lane.uploading = None
        elif (error := done.exception()) is not None:
            lane.uploading = None
            reason = error.message if isinstance(error, GuestWireError) else type(error).__name__
            if isinstance(error, GuestWireError) and error.code in FILE_LOST:
                lane.stale = True
                self._changes.append(End(head.part_id, head.attempt, PartState.PARKED, reason, unsent=True))
            else:
                self._upload_failed(lane, head, Failed(reason))
        else:
            file, content = done.result()
            lane.route.transport.upload(Upload(head.part_id, lane.guest, file, content))

    def _uploaded(self, guest: GuestRef, part_id: PartId, upload_id: str, outcome: Outcome | None) -> None:
        lane = self._lanes.get(guest)
        if lane is None or lane.uploading != part_id:
            return
        lane.uploading = None
        head = lane.head
        if outcome is None:
            lane.head = None  # the next step says that its file is there
            lane.stale = True
            self._changes.append(NoteUpload(part_id, upload_id))
            self._changes.append(Note("upload.done", guest, part_id, {"upload": upload_id}))
        elif head is not None and head.part_id == part_id:
            self._upload_failed(lane, head, outcome)
        self._touch(lane)

    def _upload_failed(self, lane: Lane, head: Head, outcome: Outcome) -> None:
        """Nothing was sent, so whatever it was, no outcome is unknown: the decision is between later and never."""
        now = self._clock.now()
        if isinstance(outcome, Unknown):
            outcome = Failed(outcome.reason)
        if isinstance(outcome, Throttled):
            self._pause_scope(lane, outcome, now)
        else:
            lane.upload_tries += 1
        decision = decide(
            outcome,
            attempt=max(1, lane.upload_tries),
            now=now,
            queued_at=head.queued_at,
            jitter=self._draw(),
            policy=lane.route.retry,
        )
        lane.head = None
        lane.stale = True
        match decision:
            case Retry(at, reason):
                self._changes.append(Defer(head.part_id, at, f"upload: {reason}"))
            case GiveUp(state, reason):
                self._changes.append(End(head.part_id, head.attempt, state, f"upload: {reason}", unsent=True))

    # --- errands ---

    def _run_errand(self, lane: Lane, now: float) -> bool:
        """Do the lane's next errand, if it has one and it is its turn; returns whether the lane is taken by it."""
        if lane.running is not None:
            return True
        is_uploading = lane.uploading is not None and lane.head is not None and lane.head.part_id == lane.uploading
        if not lane.errands or is_uploading or lane.sending is not None or lane.stale:
            return False
        errand = next_errand(lane.errands, lane.head)
        if errand is None:
            return False
        # A sign-in is what a lane may be paused for.
        wait_until = lane.errand_at if errand.kind == "sign_in" else max(lane.errand_at, lane.paused_until)
        if wait_until > now:
            self._timer(lane, wait_until)
            return True
        transport = lane.route.transport
        join = errand.body.get("attributes") if errand.kind == "join" else None
        if lane.info.join != join:
            lane.info = msgspec.structs.replace(lane.info, join=join)
        held = lane.route.pace.admits(lane.keys, now)
        if held is not None:
            self._timer(lane, min(held.until, now + 1.0))
        elif self._has_no_session(lane) and errand.kind in ("close", "clear"):
            lane.running = errand
            is_closed = errand.kind == "close"
            nothing = Refused(0, "there is no conversation")
            self._errand_ended(lane.guest, errand.seq, Accepted(GatewayMessageId("")) if is_closed else nothing, None)
        elif errand.kind == "sign_in" or transport.can_look(lane.guest):
            lane.running = errand
            transport.carry_out(lane.info, errand)
        else:
            self._want(lane, urgent=True)
        return True

    @staticmethod
    def _has_no_session(lane: Lane) -> bool:
        return lane.info.session_state is SessionState.NONE and not lane.route.transport.can_look(lane.guest)

    def _errand_ended(self, guest: GuestRef, seq: int, outcome: Outcome, result: dict[str, Any] | None) -> None:
        lane = self._lanes.get(guest)
        if lane is None or lane.running is None or lane.running.seq != seq:
            return
        errand, lane.running = lane.running, None
        now = self._clock.now()
        lane.errand_tries += 1
        reason = getattr(outcome, "reason", "")
        is_over = isinstance(outcome, Accepted | Refused) or lane.errand_tries >= ERRAND_TRIES
        if not is_over:
            wait_s = outcome.retry_after_s if isinstance(outcome, Throttled) else 0.0
            retry = lane.route.retry
            wait_s = max(wait_s, backoff_s(lane.errand_tries, self._draw(), base_s=retry.base_s, cap_s=retry.cap_s))
            lane.errand_at = now + min(wait_s, MAX_THROTTLE_S)
        else:
            done = isinstance(outcome, Accepted)
            detail: dict[str, Any] = {} if done else {"reason": reason, "code": getattr(outcome, "code", None)}
            self._changes.append(EndErrand(seq, done, detail, result if done else detail))
            lane.errands = [other for other in lane.errands if other.seq != errand.seq]
            lane.ended_errands.add(seq)
            lane.errand_tries, lane.errand_at = 0, float("-inf")
        self._touch(lane)

    def _auth_changed(self, guest: GuestRef, auth: Auth | None) -> None:
        lane = self._lanes.get(guest)
        if lane is not None:
            lane.info = msgspec.structs.replace(lane.info, auth=auth)
            if auth is not None and lane.paused_until > self._clock.now():
                lane.paused_until = self._clock.now()
                self._changes.append(Pause(guest, lane.paused_until, "the guest has signed in"))

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
        # A lane whose change was dropped has no result to wait for: what the store holds is what there is.
        dropped = [lane.guest for lane in self._lanes.values() if lane.stale and lane.guest not in lanes]
        for row in await self._reader.read(lambda store: store.lanes(dropped)):
            self._lanes[row.guest_ref].stale = False
            self._lanes[row.guest_ref].head = row.head
            self._hot[row.guest_ref] = None
        return StepResult([], lanes, entries)

    def _store_failed(self, error: StoreError) -> None:
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
            lane.route.transport.send(
                Attempt(sending.part_id, sending.guest_ref, sending.attempt, sending.body, sending.upload_id)
            )
        for entry in result.entries:
            if entry.event == "part.accepted" and entry.guest_ref in self._lanes:
                self._lanes[entry.guest_ref].anchor = entry.detail["gateway_id"]
        if self._hot:
            self._wake.set()

    def _drop_or_touch(self, lane: Lane) -> None:
        if lane.is_idle:
            # A person moves a parked head, and then the journal brings the lane back.
            del self._lanes[lane.guest]
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
        names = list(touched)
        for start in range(0, len(names), MAX_LANES):
            guests = names[start : start + MAX_LANES]
            self._take_in(await self._reader.read(partial(SqliteStore.lanes, guests=guests)))

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
        await self._visit(now)
        if now < self._work_at:
            return
        timed = self._next_due_at is not None and self._next_due_at <= now
        if timed:
            await self._tell(await self._writer.write(lambda store: store.enter(now)))
        room = len(self._lanes) <= MAX_LANES - MAX_LANES // 10
        if not timed and not (self._backlog and room):
            return
        due = await self._reader.read(lambda store: store.due(now, MAX_LANES))
        had_backlog, self._backlog = self._backlog, due.more
        self._next_due_at = due.next_at
        unknown = [guest for guest in due.guests if guest not in self._lanes]
        if had_backlog:
            # A lane whose errands had no room in memory is in no index of what is due.
            most = MAX_LANES + len(self._lanes) + 1  # one more than fits, so that there is a backlog again
            waiting = await self._reader.read(lambda store: store.errand_guests(most))
            unknown += [guest for guest in waiting if guest not in self._lanes]
        if unknown:
            self._take_in(await self._reader.read(lambda store: store.lanes(unknown)))

    def _take_in(self, rows: Sequence[LaneRow]) -> None:
        """Bring lanes into memory, or up to date."""
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
                    lane.head = row.head
                self._touch(lane)
            elif route is not None:
                self._keep_followed(row, route)
                if row.next_at is None and not row.errands:
                    continue
                if len(self._lanes) >= MAX_LANES:
                    self._backlog = True
                    continue  # the others may be followed, or in memory already
                lane = self._lanes[row.guest_ref] = Lane(row, route)
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
