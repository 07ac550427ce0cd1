"""
What becomes of lanes: outcomes, checks, files and errands become changes for the store, and lanes that are looked at.

Nothing here waits and nothing is sent: `Relay` calls these when it absorbs what transports said, and when it chooses
what leaves next. The decisions themselves are pure and stand in `guestwire.policy`; here they meet the lanes in memory.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from guestwire.clock import Clock
from guestwire.errors import GuestWireError, StoreError
from guestwire.lane import OVERTAKING, Lane, Route, SharedWindows, destination_key, next_errand
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
from guestwire.policy.breaker import is_alive
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
from guestwire.policy.turns import turn_at
from guestwire.protocol.writing import marks_of
from guestwire.settings import RelaySettings
from guestwire.store.base import (
    Change,
    Confirm,
    Copied,
    Defer,
    End,
    EndErrand,
    Head,
    Note,
    NoteUpload,
    Pause,
    Requeue,
    StepResult,
    Suspect,
)
from guestwire.store.sqlite import SqliteStore
from guestwire.store.thread import StoreThread
from guestwire.transports.base import (
    TransportEvent,
    Upload,
)

logger = logging.getLogger("guestwire.relay")

#: The window that a throttle pauses which is about one guest; any other is about everybody at the destination.
_OF_GUEST = {"session": "messages_per_s", "connection": "requests_per_min"}
#: Which entries of a history belong to parts, and what else may have left copies there.
Claims = tuple[set[str], list[Copied]]

#: The gateway's codes for a file that it does not have (any more): it is uploaded again.
FILE_GONE = frozenset({4008, 4009, 4010})
#: Errors of the store after which a file cannot be had again: its message waits for a person.
FILE_LOST = frozenset({"GW-S011", "GW-S012", "GW-S014"})
#: An errand that fails for the moment is tried so often in all.
ERRAND_TRIES = 5
#: A receipt is worth more patience: nobody asks for it again.
RECEIPT_TRIES = 12
#: Who stands in line for a window looks at least this often, in seconds.
LINE_S = 1.0
#: A store that fails is tried again after this, in seconds. Nothing is sent meanwhile.
STORE_RETRY_S = 1.0


class Steering:
    """
    The lanes in memory, and what is decided about them.

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
        #: When it gives up waiting for what is in flight; infinity while it is not to stop.
        self._stop_by = float("inf")
        #: When it began, and when its loop turned last.
        self._started_at = self._turned_at = clock.now()
        #: What the store said last instead of doing its work, and whether it was only to be read.
        self._store_error: tuple[StoreError, bool] | None = None
        #: Journal entries up to here have been seen and told.
        self._seen_seq = 0
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

    # --- attempts and sessions ---

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
        lane.route.in_flight -= 1
        now = self._clock.now()
        lane.route.recent.note(type(outcome).__name__.lower(), now)
        lane.route.place_freed()
        if isinstance(outcome, Throttled) and outcome.retry_after_s:  # else it was turned back here
            self._pause_scope(lane, outcome, now)
        self._mind(lane, outcome, now)
        if isinstance(outcome, Accepted) and outcome.conversation_id is not None:
            lane.info = msgspec.structs.replace(lane.info, conversation_id=outcome.conversation_id)
        lane.settled = isinstance(outcome, Accepted) and not lane.errands
        if sending.upload_id is not None and isinstance(outcome, Refused | Failed) and outcome.code in FILE_GONE:
            # Surely not accepted, and the next attempt brings the file again.
            self._changes.append(NoteUpload(part_id, None))
            outcome = Failed(outcome.reason, outcome.code)
        decision = decide(
            outcome,
            attempt=sending.attempt - sending.tries_from,
            now=now,
            age_from=sending.age_from,
            jitter=self._draw(),
            policy=lane.route.retry,
        )
        self._carry_out(lane, sending.part_id, sending.attempt, decision, outcome.evidence)
        if isinstance(decision, GiveUp) and decision.state is not PartState.PARKED:
            self._discard(lane, sending.upload_id)
        self._touch(lane)

    def _may_take(self, lane: Lane, now: float) -> bool:
        """Whether there is a place for the lane in every window; if not, it waits for it."""
        shared = lane.route.shared
        if shared is None:
            held = lane.route.pace.admits(lane.keys, now)
            if held is not None:
                self._timer(lane, min(held.until, now + LINE_S))
            return held is None
        is_called = lane.guest in shared.called
        shared.called.discard(lane.guest)
        if not is_called and (shared.waiting or shared.called):
            shared.line_up(lane.guest, self._turn(lane, now), now)  # others may come before it
            return False
        held = lane.route.pace.admits(lane.keys, now)
        if held is not None:
            shared.line_up(lane.guest, self._turn(lane, now), min(held.until, now + LINE_S))
        return held is None

    def _turn(self, lane: Lane, now: float) -> float:
        """Return the lane's place among those that wait for the same; what comes unseen after a head is of now."""
        if lane.head is None:
            return turn_at(now, lane.priority)
        lane.priority = lane.head.priority
        return turn_at(min(lane.head.queued_at, now), lane.priority)  # a submitter's clock may be ahead of ours

    # --- the breaker ---

    def _is_let(self, lane: Lane, now: float) -> bool:
        """Whether the destination may be asked at all; if not, the lane waits with the others."""
        if lane.route.breaker.admits(now):
            return True
        lane.route.held[lane.guest] = None
        return False

    def _mind(self, lane: Lane, outcome: Outcome, now: float) -> None:
        """An outcome says something of the destination too: that it is alive, or that it is not."""
        route = lane.route
        alive = is_alive(outcome)
        if alive is None:
            route.breaker.unused(lane.guest)
        elif not alive:
            if route.breaker.failed(lane.guest, now, self._draw()):
                until = route.breaker.until
                logger.warning(
                    "destination %s fails: nothing is begun for %.1f s",
                    route.name,
                    until - now,
                    extra={"action": "destination_tripped", "destination": route.name},
                )
                detail = {"destination": route.name, "until": until, "reason": getattr(outcome, "reason", "")}
                self._changes.append(Note("destination.tripped", None, None, detail))
        elif route.breaker.succeeded():
            self._changes.append(Note("destination.recovered", None, None, {"destination": route.name}))
            self._let_go(route)

    def _let_go(self, route: Route) -> None:
        """Those who wait for the breaker look again; whom it does not admit waits on."""
        held, route.held = route.held, {}
        self._hot.update(held)

    def _unused(self, lane: Lane) -> None:
        """It was to leave, and did not: whoever is next may be the probe."""
        lane.route.breaker.unused(lane.guest)

    def _search_again(self) -> None:
        """What is in memory may not be all: look into the store for every route."""
        for route in self.routes.values():
            route.backlog = True

    @functools.cached_property
    def _shared_windows(self) -> list[SharedWindows]:
        """Those of the routes, each once. Asked for when the relay runs: then the routes are what they are."""
        found = {id(route.shared): route.shared for route in self.routes.values() if route.shared is not None}
        return list(found.values())

    def _call_waiting(self, now: float) -> None:
        """Let as many of those in line look again as there are places."""
        for shared in self._shared_windows:
            if not shared.waiting or shared.wake_at > now:
                continue
            room = shared.pace.room(shared.keys, now)
            while room > 0 and shared.waiting:
                guest = shared.call()
                if guest in self._lanes:
                    self._hot[guest] = None
                    shared.called.add(guest)
                    room -= 1
            shared.wake_at = now + LINE_S  # should nobody say sooner

    def _chosen(self, now: float) -> None:
        """A turn is over: places that those who were called did not take are for the next in line."""
        for shared in self._shared_windows:
            shared.called.clear()
            if shared.waiting and shared.pace.room(shared.keys, now):
                shared.wake_at = now

    def _free_slots(self, begins: Sequence[GuestRef], result: StepResult) -> None:
        """Where nothing was begun after all, the places that were taken for it are free."""
        begun = {sending.guest_ref for sending in result.begun}
        for guest in begins:
            lane = self._lanes.get(guest)
            if lane is None or guest in begun:
                continue
            self._unused(lane)
            if lane.slot is not None:
                lane.slot.unused()
                lane.slot = None
                lane.route.place_freed()

    def _pause_scope(self, lane: Lane, outcome: Throttled, now: float) -> None:
        """A throttle names a scope; whatever counts in it waits."""
        until = now + min(outcome.retry_after_s, MAX_THROTTLE_S)
        if lane.route.shared is not None:
            key = lane.route.shared.keys[0]
        elif outcome.scope in _OF_GUEST:
            key = (_OF_GUEST[outcome.scope], lane.guest)
        else:
            key = destination_key(lane.route.name)
        lane.route.pace.throttled(key, until, now)

    def _carry_out(
        self, lane: Lane, part_id: PartId, attempt: int, decision: Decision, evidence: dict[str, Any] | None = None
    ) -> None:
        """Make a change of a decision; `evidence` goes into the journal with it."""
        found = evidence or {}
        match decision:
            case Settle():
                pass  # confirmed above, as any echo
            case Retry(at, reason, spent, doubtful):
                change = Requeue(part_id, attempt, at, reason, spent=spent, possible_duplicate=doubtful, evidence=found)
                self._changes.append(change)
            case Check(_, reason):
                self._changes.append(Suspect(part_id, attempt, reason, found))
            case GiveUp(state, reason, parked_for):
                self._changes.append(End(part_id, attempt, state, reason, parked_for=parked_for, evidence=found))

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
        detail = {"destination": route.name}
        if error is not None:
            detail |= {"code": error.code, "reason": error.message}
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
        # Where the anchor is shown, what is older than it is out of the question; only a part that was found in the
        # history may have left copies that are newer. Where the history has not come so far yet, any of them may.
        anchor = lane.anchor
        is_behind = len(fresh) == len({entity.gateway_id for entity in entities})

        def read(store: SqliteStore) -> Claims:
            copied = store.copied(guest) if names and anchor is not None else []
            return store.taken(guest, names), [
                each for each in copied if is_behind or (each.by_history and anchor in each.names)
            ]

        self._reader.read(read).add_done_callback(lambda done: self._matched(guest, fresh, done))

    def _matched(self, guest: GuestRef, fresh: list[Entity], done: asyncio.Future[Claims]) -> None:
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
        taken, copied = done.result()
        # The read counts from its beginning: what it could not see yet then, it did not see.
        progress = msgspec.structs.replace(lane.check, read_at=(*lane.check.read_at, lane.look_at))
        lane.check = progress
        head = lane.head
        body = head.body or PartBody("")
        said_at = head.queued_at if lane.route.shared is not None else None
        found = check.find(
            head.part_id,
            body,
            fresh,
            lambda entity: any(entity.is_called(name) for name in taken),
            # Out of a backup it may have gone under another id than is known here.
            None if head.blob is not None and head.upload_id is None else marks_of(body, head.upload_id),
            said_at,
            sum(
                each.copies
                for each in copied
                if check.says_same(each.body, body) and check.is_then(said_at, each.queued_at)
            ),
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

    def _history_unreadable(self, guest: GuestRef, reason: str, retry_s: float, *, is_failure: bool) -> None:
        lane = self._lanes.get(guest)
        if lane is None:
            return
        lane.looking = False
        if lane.check is None or lane.head is None:
            self._touch(lane)
            return
        if not is_failure:
            self._look_again(lane, self._clock.now() + retry_s)
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

    def _no_history(self, guest: GuestRef, reason: str) -> None:
        """Nothing can be looked up: what a check could not say is decided at once."""
        lane = self._lanes.get(guest)
        if lane is None:
            return
        lane.looking = False
        if lane.check is None or lane.head is None:
            self._touch(lane)
        else:
            self._unsettled(lane, lane.head, reason, is_sudden=True)

    def _look_again(self, lane: Lane, at: float) -> None:
        lane.look_at = at
        self._touch(lane)

    def _unsettled(self, lane: Lane, head: Head, reason: str, *, is_sudden: bool = False) -> None:
        """No history could say: the caller's choice between seen twice and perhaps never decides."""
        decision = decide_unsettled(
            reason,
            delivery=head.delivery,
            attempt=head.attempt - head.tries_from,
            now=self._clock.now(),
            age_from=head.age_from,
            jitter=self._draw(),
            policy=lane.route.retry,
            is_sudden=is_sudden,
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
                change = End(head.part_id, head.attempt, PartState.PARKED, reason, unsent=True, parked_for="poison")
                self._changes.append(change)
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
            age_from=head.age_from,
            jitter=self._draw(),
            policy=lane.route.retry,
        )
        lane.head = None
        lane.stale = True
        match decision:
            case Retry(at, reason):
                self._changes.append(Defer(head.part_id, at, f"upload: {reason}"))
            case GiveUp(state, reason, parked_for):
                change = End(head.part_id, head.attempt, state, f"upload: {reason}", unsent=True, parked_for=parked_for)
                self._changes.append(change)

    def _discard(self, lane: Lane, upload_id: str | None) -> None:
        """A file that no message will carry is taken back from the platform, if that can be done in passing."""
        if upload_id is not None:
            lane.route.transport.discard(lane.guest, upload_id)

    # --- errands ---

    def _run_errand(self, lane: Lane, now: float) -> bool:
        """
        Do the lane's next errand, if it has one and it is its turn; returns whether the lane is taken by it.

        A receipt takes no lane: it is about something else than what is said next.
        """
        if lane.running is not None:
            return lane.running.kind != "receipt"
        is_uploading = lane.uploading is not None and lane.head is not None and lane.head.part_id == lane.uploading
        if not lane.errands or is_uploading or lane.sending is not None or lane.stale:
            return False
        errand = next_errand(lane.errands, lane.head)
        if errand is None:
            return False
        # A sign-in is what a lane may be paused for.
        wait_until = lane.errand_at if errand.kind in OVERTAKING else max(lane.errand_at, lane.paused_until)
        takes_lane = errand.kind != "receipt"
        if wait_until > now:
            self._timer(lane, wait_until)
            return takes_lane
        transport = lane.route.transport
        join = errand.body.get("attributes") if errand.kind == "join" else None
        if lane.info.join != join:
            lane.info = msgspec.structs.replace(lane.info, join=join)
        held = lane.route.pace.admits(lane.errand_keys, now)
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
        return takes_lane

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
        tries = RECEIPT_TRIES if errand.kind == "receipt" else ERRAND_TRIES
        is_over = isinstance(outcome, Accepted | Refused) or lane.errand_tries >= tries
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

    # --- the lanes' ways ---

    def _want(self, lane: Lane, *, urgent: bool) -> None:
        turn = self._turn(lane, self._clock.now()) if lane.head is not None else lane.info.turn_at
        if lane.info.urgent != urgent or lane.info.turn_at != turn:
            lane.info = msgspec.structs.replace(lane.info, urgent=urgent, turn_at=turn)
        lane.route.transport.want(lane.info)

    def _touch(self, lane: Lane) -> None:
        """Something happened to the lane: it is looked at in this turn."""
        self._hot[lane.guest] = None

    def _timer(self, lane: Lane, at: float) -> None:
        if at < lane.awake_at:
            lane.awake_at = at
            heapq.heappush(self._timers, (at, next(self._order), lane.guest))
