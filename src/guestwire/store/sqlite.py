"""
The store in SQLite: one writer, WAL, `synchronous=FULL`, everything personal sealed.

The verbs are those of `base.Store`: the relay's stand here, those of intake, lanes and views in the files of that
name. A `SqliteStore` belongs to one thread; relay and client each reach it through a `thread.StoreThread`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from guestwire.model import (
    Auth,
    AuthChanged,
    CaughtUp,
    GuestRef,
    ParkedFor,
    PartId,
    PartState,
    SessionChanged,
)
from guestwire.policy.states import ENDINGS, PartEvent, after
from guestwire.store.base import (
    Change,
    Confirm,
    Defer,
    End,
    EndErrand,
    Expire,
    Head,
    Hear,
    Note,
    NoteUpload,
    Pause,
    Realign,
    Requeue,
    Sending,
    Step,
    StepResult,
    Suspect,
)
from guestwire.store.connection import Row
from guestwire.store.doubts import Doubts
from guestwire.store.interventions import Interventions
from guestwire.store.retention import Retention


class SqliteStore(Interventions, Doubts, Retention):
    """One connection to a store, with every verb."""

    def take_over(self, now: float) -> int:
        """Become the relay: a new boot number; what older boots left *sending* is *checking* from now on."""
        fence = int(self._meta("boot") or 0) + 1
        self._run("set_meta", ("boot", fence))
        left = self._rows("left_sending", ())
        for part_id, guest_ref, attempt in left:
            reason = "the sending process ended before it knew"
            self._run("suspect", (now, now, reason, part_id))
            self._note(now, "part.checking", guest_ref, part_id, {"attempt": attempt, "reason": reason})
            self._settle_lane(guest_ref)
        for guest_ref in self._later(now):
            self._realign(guest_ref, now)
            self._settle_lane(guest_ref)
        with self._folder.removing_files() as may:
            if may:
                self._blobs.sweep({digest for (digest,) in self._rows("blobs", ())}, time.time())
        self._note(now, "relay.started", None, None, {"fence": fence, "left_sending": len(left)})
        self._entries.clear()
        return fence

    def step(self, step: Step, *, fence: int, now: float) -> StepResult:
        """
        One tick of the relay: its changes, then its begins, in the transaction of the caller.

        A relay that another one has replaced begins nothing and moves nothing; what the gateway took and what guests
        heard are facts, and hold. Its lanes come back empty, so that it lets go of them.
        """
        is_relay = fence == int(self._meta("boot") or 0)
        touched: dict[GuestRef, None] = {}
        confirmed = self._confirmed(step.changes)
        for change in step.changes:
            if not is_relay and isinstance(change, Requeue | Suspect | End | Expire | Defer):
                continue
            if isinstance(change, Confirm):
                # Read together, for the first time; after anything else that may have happened to it, again.
                row = confirmed.pop(change.part_id, None) or self._row("part", (change.part_id,))
                guest_ref = self._confirm(change, row, now)
            else:
                confirmed.clear()
                guest_ref = self._apply(change, fence, now)
            if guest_ref is not None:
                touched[guest_ref] = None
        begun: list[Sending] = []
        lanes: dict[GuestRef, Head | None] = {}
        heads = self._heads(step.begins, with_body=True) if is_relay else {}
        for guest_ref in dict.fromkeys(step.begins):
            sending = self._begin(guest_ref, heads.get(guest_ref), fence, now)
            if sending is None:
                touched[guest_ref] = None
            else:
                touched.pop(guest_ref, None)
                begun.append(sending)
        for guest_ref, head in self._settle_lanes(list(touched)).items():
            lanes[guest_ref] = head if is_relay else None
        return StepResult(begun, lanes, self._drain(), replaced=not is_relay)

    def _confirmed(self, changes: Sequence[Change]) -> dict[PartId, Row]:
        """Read the parts that changes confirm, in one look-up."""
        names = [change.part_id for change in changes if isinstance(change, Confirm)]
        if not names:
            return {}
        return {PartId(row[0]): row[1:] for row in self._rows("parts", (msgspec.json.encode(names).decode(),))}

    def _apply(self, change: Change, fence: int, now: float) -> GuestRef | None:
        """Carry out one change; returns the lane whose head may have moved."""
        match change:
            case Requeue() | Suspect() | End():
                return self._move(change, fence, now)
            case Expire(guest_ref):
                self._fresh_head(guest_ref, self._head(guest_ref), now)
                return guest_ref
            case Hear(guest_ref, reply):
                self._hear(guest_ref, reply, now)
            case SessionChanged():
                self._run("session", (change.state.value, change.expires_at, change.guest_ref))
                if change.token is not None:
                    self._run("token", (self._seal_token(change.guest_ref, change.token), change.guest_ref))
                self._note(now, change.event, change.guest_ref, None, change.detail)
            case Defer(part_id, at, reason):
                return self._defer(part_id, at, reason, now)
            case NoteUpload(part_id, upload_id):
                self._run("upload", (upload_id, part_id))
                return self._lane_of(part_id)
            case EndErrand():
                return self._end_errand(change, now)
            case AuthChanged(guest_ref, auth):
                self._run("auth", (self._seal_auth(guest_ref, auth), guest_ref))
            case CaughtUp(guest_ref):
                self._run("seen", (now, guest_ref))
            case Pause(guest_ref, until, reason):
                self._run("pause", (until, reason, guest_ref))
                self._note(now, "lane.paused", guest_ref, None, {"until": until, "reason": reason})
            case Realign(guest_ref):
                self._realign(guest_ref, now)
                return guest_ref
            case Note(event, guest_ref, part_id, detail):
                self._note(now, event, guest_ref, part_id, detail)
        return None

    def _move(self, change: Requeue | Suspect | End, fence: int, now: float) -> GuestRef | None:
        row = self._row("part", (change.part_id,))
        if row is None:
            return None
        message_id, guest_ref, state, attempt, part_fence, *_ = row
        # The relay speaks of what it last saw. An echo, a person or another relay may have been faster.
        as_seen = attempt == change.attempt and (
            (state == PartState.SENDING and part_fence == fence)
            or state == PartState.CHECKING
            or (state == PartState.QUEUED and isinstance(change, End) and change.unsent)
        )
        if not as_seen or after(PartState(state), _event_of(change)) is None:
            return GuestRef(guest_ref)
        match change:
            case Requeue():
                spent = 0 if change.spent else 1
                doubles = int(change.possible_duplicate)
                self._run("requeue", (spent, change.at, now, change.reason, doubles, change.part_id))
                event = "part.requeued" if change.spent else "part.throttled"
                detail = {"attempt": attempt, "at": change.at, "reason": change.reason, **change.evidence}
                if change.possible_duplicate:
                    event = "part.possible_duplicate"
                self._note(now, event, guest_ref, change.part_id, detail)
            case Suspect():
                self._run("suspect", (now, now, change.reason, change.part_id))
                detail = {"attempt": attempt, "reason": change.reason, **change.evidence}
                self._note(now, "part.checking", guest_ref, change.part_id, detail)
            case End():
                self._finish(
                    change.part_id,
                    guest_ref,
                    change.state,
                    change.reason,
                    now,
                    attempt,
                    change.evidence,
                    parked_for=change.parked_for,
                )
                self._end_siblings(message_id, change.part_id, guest_ref, change.state, now, change.parked_for)
        return GuestRef(guest_ref)

    def _finish(
        self,
        part_id: str,
        guest_ref: str,
        state: PartState,
        reason: str,
        now: float,
        attempt: int,
        evidence: dict[str, Any] | None = None,
        *,
        parked_for: ParkedFor | None = None,
    ) -> None:
        detail = {"attempt": attempt, "reason": reason, **(evidence or {})}
        ended_at: float | None = now
        if state is PartState.PARKED:
            ended_at = None
            detail["parked_for"] = parked_for = parked_for or "poison"
        self._run("finish", (state.value, now, ended_at, reason, parked_for, part_id))
        self._note(now, f"part.{state.value}", guest_ref, part_id, detail)

    def _end_siblings(
        self,
        message_id: str,
        part_id: str,
        guest_ref: str,
        state: PartState,
        now: float,
        parked_for: ParkedFor | None = None,
    ) -> None:
        """Half a message is worse than none: what is left of it waits for a person, or is too old as well."""
        rest = PartState.EXPIRED if state is PartState.EXPIRED else PartState.PARKED
        for (sibling,) in self._rows("siblings", (message_id, part_id)):
            reason = f"another part of the message is {state.value}"
            aside = {"aside": True} if state is PartState.DEAD else {}
            self._finish(sibling, guest_ref, rest, reason, now, 0, aside, parked_for=parked_for)
            if aside:
                self._run("set_aside", (sibling,))  # the lane does not wait for it

    def _fresh_head(self, guest_ref: GuestRef, head: Head | None, now: float) -> Head | None:
        """Return the head of a lane, after ending those that are too old to be sent; `head` is the first of them."""
        while head is not None and head.expires_at is not None and head.expires_at <= now:
            if after(head.state, PartEvent.TOO_OLD) is None:
                break
            reason = "too old before it could be sent"
            self._finish(head.part_id, guest_ref, PartState.EXPIRED, reason, now, head.attempt)
            self._end_siblings(head.message_id, head.part_id, guest_ref, PartState.EXPIRED, now)
            head = self._head(guest_ref, with_body=True)
        return head

    def _begin(self, guest_ref: GuestRef, head: Head | None, fence: int, now: float) -> Sending | None:
        """Write an attempt ahead: the lane's head, if it is queued and due, is *sending* from this commit on."""
        head = self._fresh_head(guest_ref, head, now)
        if head is None or after(head.state, PartEvent.BEGIN) is None or not head.is_due(now):
            return None
        if head.blob is not None and head.upload_id is None:
            return None  # its file has to be at the platform first
        if head.errand_first:
            return None
        if head.body is None:
            reason = "its content does not open: the row was changed, or belongs to other keys"
            self._finish(head.part_id, guest_ref, PartState.PARKED, reason, now, head.attempt)
            return None
        attempt = head.attempt + 1
        self._put("begin", (fence, now, now, head.part_id))
        self._note(now, "part.sending", guest_ref, head.part_id, {"attempt": attempt})
        # Nothing is due in a lane while its head is on its way.
        self._put("lane", (None, head.priority, guest_ref, None, head.priority))
        return Sending(
            head.part_id,
            head.message_id,
            guest_ref,
            attempt,
            head.body,
            head.queued_at,
            head.delivery,
            head.tries_from,
            head.age_from,
            head.upload_id,
        )

    def _realign(self, guest_ref: GuestRef, now: float) -> None:
        """Nothing was written later than now: who says so has a clock ahead of ours. What is to wait still waits."""
        head = self._head(guest_ref)
        if head is not None and head.changed_at > now:
            waits_s = max(0.0, head.due_at - head.changed_at)
            # Over REST that time goes out with every attempt, and the history is asked for it: once said, it stays.
            queued_at = head.queued_at if head.attempt else min(head.queued_at, now)
            self._run("realign", (now + waits_s, queued_at, now, head.part_id))

    def _lane_of(self, part_id: PartId) -> GuestRef | None:
        row = self._row("part", (part_id,))
        return None if row is None else GuestRef(row[1])

    def _defer(self, part_id: PartId, at: float, reason: str, now: float) -> GuestRef | None:
        guest_ref = self._lane_of(part_id)
        self._run("defer", (at, now, reason, part_id))
        self._note(now, "part.deferred", guest_ref, part_id, {"at": at, "reason": reason})
        return guest_ref

    def _end_errand(self, change: EndErrand, now: float) -> GuestRef | None:
        row = self._row("errand", (change.seq,))
        if row is None or row[2] != "queued":
            return None
        guest_ref, kind, *_ = row
        result = None
        if change.result is not None:
            result = self._vault.seal(guest_ref, f"errands.result.{change.seq}", msgspec.json.encode(change.result))
        state = "done" if change.is_done else "failed"
        nothing = self._vault.seal(guest_ref, f"errands.body.{change.seq}", b"{}")
        self._run("end_errand", (state, nothing, result, now, change.seq))
        self._note(now, f"errand.{state}", guest_ref, None, {"errand": change.seq, "kind": kind, **change.detail})
        return GuestRef(guest_ref)

    def _seal_auth(self, guest_ref: GuestRef, auth: Auth | None) -> bytes | None:
        if auth is None:
            return None
        return self._vault.seal(guest_ref, f"guests.auth.{guest_ref}", msgspec.json.encode(auth))


def _event_of(change: Requeue | Suspect | End) -> PartEvent:
    """What a change of the relay's is in the life of a part."""
    match change:
        case Requeue():
            return PartEvent.AGAIN
        case Suspect():
            return PartEvent.UNKNOWN
        case End(state=state):
            return ENDINGS[state]
