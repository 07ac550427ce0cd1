"""Lanes: which are due, what stands at their heads, which history entries are spoken for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from guestwire.errors import StoreError
from guestwire.model import (
    Auth,
    Delivery,
    Errand,
    GuestKey,
    GuestRef,
    MessageId,
    PartBody,
    PartId,
    PartState,
    SessionState,
)
from guestwire.policy.pace import UseKind
from guestwire.policy.turns import LOWEST, turn_at
from guestwire.store.base import Copied, Due, Head, LaneRow, Use
from guestwire.store.connection import SQL, Connection

#: What was written down before it left is kept for so long, in seconds: longer than any window with any patience.
USES_KEPT_S = 600.0


class Lanes(Connection):
    """What the relay reads, and the upkeep of the ready index."""

    def due(self, now: float, limit: int, destination: str) -> Due:
        """Lanes of a destination that are due, earliest first; from an index, never a scan."""
        rows = self._rows("due", (destination, now, limit + 1))
        waiting = [self._value(SQL["next_due"], (destination, now)), self._value(SQL["next_entering"])]
        next_at = min((at for at in waiting if at is not None), default=None)
        return Due([GuestRef(row[0]) for row in rows[:limit]], len(rows) > limit, next_at)

    def spend(self, kind: UseKind, destination: str, guest: GuestRef, now: float) -> None:
        """Write a use down before it leaves; see `base.Store`."""
        # Also what a clock wrote that was set back since: it would stay for as long as that was ahead.
        self._run("forget_uses", (now - USES_KEPT_S, now + USES_KEPT_S))
        self._run("spend", (now, destination, guest, kind))

    def uses(self, since: float, until: float) -> list[Use]:
        """
        What gateways have counted between two moments, as far as the store knows: for a relay that begins.

        An attempt counts from its end; one that was checked counts once more: rather too many than too few.
        """
        found = [
            Use(destination, GuestRef(guest_ref), at, kind, ahead=True)
            for destination, guest_ref, kind, at in self._rows("spent", (since, until))
        ]
        seq = self._seq_before(since)
        for destination, guest_ref, event, at, detail in self._rows("attempts", (seq, since, until)):
            paused = msgspec.json.decode(detail).get("at") if event == "part.throttled" else None
            found.append(Use(destination, GuestRef(guest_ref), at, "message", paused_until=paused))
        return found

    def _seq_before(self, moment: float) -> int:
        """Return a journal number before which nothing is younger than a moment; by halving, not by a walk."""
        low, high = 0, int(self._value(SQL["journal_seq"]))
        while low < high:
            middle = (low + high + 1) // 2
            at = self._value(SQL["journal_at"], (middle,))
            if at is not None and at >= moment:
                high = middle - 1
            else:
                low = middle
        # Clocks of several processes differ a little, and so the order of their times from that of their numbers.
        return max(0, low - 1_000)

    def next_entering(self) -> float | None:
        """When the next message enters its lane, in seconds since the epoch; None: none waits for its time."""
        at: float | None = self._value(SQL["next_entering"])
        return at

    def lanes(self, guests: Iterable[GuestRef]) -> list[LaneRow]:
        """Lanes by name, each with its head; without those whose row does not open: one must not stop the others."""
        found: list[LaneRow] = []
        names = list(guests)
        heads = self._heads(names)
        for guest_ref in names:
            row = self._row("guest", (guest_ref,))
            if row is None:
                continue
            (
                destination,
                sealed,
                session_state,
                anchor,
                paused_until,
                priority,
                next_at,
                sealed_auth,
                followed,
                seen_at,
                sealed_key,
                conversation_id,
            ) = row
            try:
                token = self._vault.open(guest_ref, f"guests.token.{guest_ref}", sealed).decode()
                auth = self._open_auth(guest_ref, sealed_auth)
                errands = self._errands(guest_ref)
                guest = self._told_key(destination, guest_ref, sealed_key)
            except StoreError:
                continue
            found.append(
                LaneRow(
                    guest_ref,
                    destination,
                    token,
                    SessionState(session_state),
                    anchor,
                    paused_until,
                    priority,
                    next_at,
                    heads.get(guest_ref),
                    auth,
                    bool(followed),
                    errands,
                    seen_at,
                    guest,
                    conversation_id,
                )
            )
        return found

    def _told_key(self, destination: str, guest_ref: GuestRef, sealed: bytes) -> GuestKey:
        """Open the caller's word for a guest where the way out tells it; a session has a token in its place."""
        transport = self._transports.get(destination)
        if transport is None:
            transport = self._transports[destination] = self._rows("destination", (destination,))[0][0]
        if transport == "webmessaging":
            return GuestKey("")
        return GuestKey(self._vault.open(guest_ref, f"guests.guest_key.{guest_ref}", sealed).decode())

    def waiting_guests(self) -> list[GuestRef]:
        """Whom a relay has to know of at its start, though their lanes are not due: followed, or with errands."""
        return [GuestRef(row[0]) for row in self._rows("waiting_guests", ())]

    def errand_guests(self, limit: int, destination: str) -> list[GuestRef]:
        """Guests of a destination with errands that wait for their turn."""
        return [GuestRef(row[0]) for row in self._rows("errand_guests", (destination, limit))]

    def unseen(self, before: float, now: float, limit: int) -> list[GuestRef]:
        """Guests with a live session whose replies were last complete before a moment, longest ago first."""
        return [GuestRef(row[0]) for row in self._rows("unseen", (before, now, limit))]

    def _later(self, now: float) -> list[GuestRef]:
        """Lanes that are due later than now."""
        names = [name for (name,) in self._rows("destinations", ())]
        return [GuestRef(row[0]) for name in names for row in self._rows("later", (name, now))]

    def _errands(self, guest_ref: GuestRef) -> tuple[Errand, ...]:
        return tuple(
            Errand(seq, kind, msgspec.json.decode(self._vault.open(guest_ref, f"errands.body.{seq}", sealed)))
            for seq, kind, sealed in self._rows("errands", (guest_ref,))
        )

    def _open_auth(self, guest_ref: GuestRef, sealed: bytes | None) -> Auth | None:
        if sealed is None:
            return None
        return msgspec.json.decode(self._vault.open(guest_ref, f"guests.auth.{guest_ref}", sealed), type=Auth)

    def taken(self, guest: GuestRef, names: Iterable[str]) -> set[str]:
        """Which of these names of history entries already belong to a part of the guest."""
        return {name for name in names if self._row("taken", (guest, name)) is not None}

    def copied(self, guest: GuestRef) -> list[Copied]:
        """Accepted parts of a guest of which there may be more copies than are known, by what they said."""
        found = []
        for part_id, sealed, queued_at, times, *names in self._rows("copied", (guest,)):
            seen = self._row("seen_twice", (part_id,))
            body = self._readable_body(guest, part_id, sealed)
            if body is not None and seen is not None and times > seen[0]:
                by_history = self._row("found_in_history", (part_id,)) is not None
                found.append(Copied(body, queued_at, times - seen[0], tuple(names), by_history))
        return found

    def _settle_lane(self, guest_ref: GuestRef) -> Head | None:
        """Bring the lane's place in the ready index up to date; returns its head."""
        return self._settle_lanes([guest_ref])[guest_ref]

    def _settle_lanes(self, guests: Sequence[GuestRef]) -> dict[GuestRef, Head | None]:
        """Bring the places of lanes in the ready index up to date; returns their heads."""
        heads = self._heads(guests)
        for guest_ref in guests:
            head = heads.get(guest_ref)
            due_at, priority = None, 5
            if head is not None:
                due_at = ready_at(head.state, head.due_at, head.attempt, head.queued_at, head.priority)
                priority = head.priority
            self._put("lane", (due_at, priority, guest_ref, due_at, priority))
        return {guest_ref: heads.get(guest_ref) for guest_ref in guests}

    def _head(self, guest_ref: GuestRef, *, with_body: bool = False) -> Head | None:
        """Return the oldest part of a lane that has not ended; its body where it is in check, or asked for."""
        return self._heads([guest_ref], with_body=with_body).get(guest_ref)

    def _heads(self, guests: Sequence[GuestRef], *, with_body: bool = False) -> dict[GuestRef, Head]:
        """Return the same of several lanes; one with nothing open is not among them."""
        if not guests:
            return {}
        heads: dict[GuestRef, Head] = {}
        for row in self._rows("heads", (msgspec.json.encode(guests).decode(),)):
            guest_ref, part_id, state, attempt, due_at, queued_at, changed_at, sealed, message_id, lane_seq, *rest = row
            blob, upload_id, tries_from, age_from, delivery, expires_at, priority, errand_first = rest
            heads[guest_ref] = Head(
                part_id=PartId(part_id),
                message_id=MessageId(message_id),
                state=PartState(state),
                attempt=attempt,
                due_at=due_at,
                tries_from=tries_from,
                queued_at=queued_at,
                age_from=queued_at if age_from is None else age_from,
                changed_at=changed_at,
                delivery=Delivery(delivery),
                expires_at=expires_at,
                priority=priority,
                lane_seq=lane_seq,
                errand_first=bool(errand_first),
                blob=blob,
                upload_id=upload_id,
                body=(
                    self._readable_body(guest_ref, part_id, sealed)
                    if with_body or state == PartState.CHECKING
                    else None
                ),
            )
        return heads

    def _readable_body(self, guest_ref: GuestRef, part_id: str, sealed: bytes) -> PartBody | None:
        """Open a body; None where it does not open: one row that was changed must not stop every other lane."""
        try:
            return self._open_body(guest_ref, part_id, sealed)
        except StoreError:
            return None


def ready_at(state: PartState, due_at: float, attempt: int, queued_at: float, priority: int) -> float | None:
    """Return the place of a lane in the ready index, by its head; None: nothing happens to it by itself."""
    if state not in (PartState.QUEUED, PartState.CHECKING):
        return None
    if attempt == 0 and due_at == queued_at:
        # Due since it came, so its place may be earlier than that: where there are too many lanes, these go first.
        return turn_at(due_at, priority) - turn_at(0.0, LOWEST)
    return due_at
