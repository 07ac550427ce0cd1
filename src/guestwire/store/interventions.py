"""What people decide: messages are cancelled, released or replayed, and a guest's lane goes on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from guestwire.errors import NotFound, StoreError
from guestwire.model import GuestRef, MessageId, PartId, PartState
from guestwire.policy.interventions import Plan, Standing, Verb, plan
from guestwire.store.base import Intervention, Person
from guestwire.store.connection import Row
from guestwire.store.facts import Facts


class Interventions(Facts):
    """The verbs of people. Each writes who decided, and why, into the journal."""

    def choose(
        self,
        states: Collection[PartState],
        *,
        since: float = 0.0,
        destination: str | None = None,
        guest: GuestRef | None = None,
        limit: int = 1_000_000,
    ) -> list[MessageId]:
        """
        Return messages with a part in one of these states, in the order in which they were stored.

        Args:
            states: Of a part.
            since: It came into that state then or later, in seconds since the epoch.
            destination: Only those that go there.
            guest: Only his.
            limit: At most so many.
        """
        wanted = msgspec.json.encode([state.value for state in states]).decode()
        return [MessageId(row[0]) for row in self._rows("choose", (wanted, since, destination, guest, limit))]

    def weigh(self, verb: Verb, message: MessageId, now: float) -> Intervention:
        """Say what a decision would do, and do nothing."""
        decided, _ = self._decide(verb, message, now)
        return Intervention(message, decided.moves, decided.left, decided.doubtful, self._replay_of(verb, message))

    def cancel(self, message: MessageId, person: Person, now: float) -> Intervention:
        """End what of a message has not left."""
        decided, rows = self._decide("cancel", message, now)
        for part_id in decided.moves:
            self._cancel_part(rows[part_id], person.why or "cancelled", person.detail, now)
        if decided.moves:
            self._run("never_enters", (message,))
            self._settle_lane(rows[decided.moves[0]][1])
        self._entries.clear()  # the relay, in whatever process, reads them from the journal
        return Intervention(message, decided.moves, decided.left, decided.doubtful)

    def release(self, message: MessageId, person: Person, now: float) -> Intervention:
        """
        Send what of a message waits for a person, with its tries anew.

        What was set aside enters its lane at the end; what the lane waits for stays where it is.
        """
        decided, rows = self._decide("release", message, now)
        for part_id in decided.moves:
            _, guest_ref, _, attempt, parked_for, *_ = rows[part_id]
            is_unknown = parked_for == "unknown"
            detail = {**person.detail, "was": parked_for, "attempt": attempt, "possible_duplicate": is_unknown}
            seq = self._note(now, "part.released", guest_ref, part_id, detail)
            self._run("release", (seq, now, int(is_unknown), part_id))
        if decided.moves:
            self._settle_lane(rows[decided.moves[0]][1])
        self._entries.clear()
        return Intervention(message, decided.moves, decided.left, decided.doubtful)

    def retry(self, message: MessageId, person: Person, now: float) -> Intervention:
        """
        Make a new message of what of an old one was given up; what of it waits for a person goes along.

        An old message is replayed once: asked again, this names the message of then.
        """
        decided, rows = self._decide("retry", message, now)
        known = self._replay_of("retry", message)
        if known is not None:
            left = tuple((part, f"replayed as {known} already") for part in decided.moves)
            return Intervention(message, (), (*left, *decided.left), 0, known)
        if not decided.moves:
            return Intervention(message, (), decided.left, 0)
        replay = MessageId(self._new_id(now))
        self._run("replay_message", (replay, now, message))
        guest_ref = rows[decided.moves[0]][1]
        made = []
        for position, old in enumerate(decided.moves):
            made.append(self._replay_part(rows[old], replay, position, person, now))
            if rows[old][2] == PartState.PARKED:
                self._cancel_part(rows[old], f"replayed as {replay}", person.detail, now)
        self._settle_lane(guest_ref)
        self._entries.clear()
        return Intervention(message, tuple(made), decided.left, decided.doubtful, replay)

    def resume(self, guest: GuestRef, person: Person, now: float) -> bool:
        """Let a paused lane go on; returns whether it was paused."""
        row = self._row("guest", (guest,))
        if row is None:
            raise NotFound(f"no guest {guest}", code="GW-N003")
        was_paused = float(row[4]) > now
        if was_paused:
            self._run("pause", (0.0, None, guest))
            self._note(now, "lane.resumed", guest, None, person.detail)
            self._entries.clear()
        return was_paused

    # --- inside ---

    def _decide(self, verb: Verb, message: MessageId, now: float) -> tuple[Plan, dict[PartId, Row]]:
        """Return what moves, and the parts by name."""
        rows = self._rows("standing", (message,))
        if not rows:
            raise NotFound(f"no message {message}", code="GW-N002", hint="see 'guestwire messages list'")
        ((_, expires_at, _),) = self._rows("terms", (message,))
        is_too_old = expires_at is not None and expires_at <= now
        return plan(verb, [self._standing(row, is_too_old) for row in rows]), {PartId(row[0]): row for row in rows}

    def _standing(self, row: Row, is_too_old: bool) -> Standing:
        part_id, guest_ref, state, _, parked_for, _, sealed = row
        has_content = False
        if sealed is not None:
            try:
                has_content = self._open_body(guest_ref, part_id, sealed) is not None
            except StoreError:
                has_content = False  # changed, or of other keys: as good as gone
        is_doubtful = self._row("was_unknown", (part_id,)) is not None
        return Standing(PartId(part_id), PartState(state), parked_for, is_doubtful, has_content, is_too_old)

    def _replay_of(self, verb: Verb, message: MessageId) -> MessageId | None:
        row = self._row("replay_of", (message,)) if verb == "retry" else None
        return None if row is None else MessageId(row[0])

    def _cancel_part(self, row: Row, reason: str, said: dict[str, Any], now: float) -> None:
        part_id, guest_ref, state, attempt, _, upload_id, _ = row
        self._run("finish", (PartState.CANCELLED.value, now, now, reason, None, part_id))
        detail = {**said, "was": state, "attempt": attempt, "reason": reason}
        if upload_id is not None:
            detail["upload"] = upload_id  # whoever relays takes it back from the platform
        self._note(now, "part.cancelled", guest_ref, part_id, detail)

    def _replay_part(self, row: Row, replay: MessageId, position: int, person: Person, now: float) -> PartId:
        old, guest_ref, _, _, _, _, sealed = row
        part_id = PartId(self._new_id(now))
        body = self._open_body(guest_ref, old, sealed)
        if body.file is not None:
            self._run("add_blob", (body.file.digest, guest_ref, body.file.size, body.file.type))
        size = len(body.text.encode())
        detail = {"message": replay, "size": size, "replay_of": old, **person.detail}
        seq = self._note(now, "part.queued", guest_ref, part_id, detail)
        fresh = self._vault.seal(guest_ref, f"parts.body.{part_id}", msgspec.json.encode(body))
        blob = None if body.file is None else body.file.digest
        self._run("add_part", (part_id, replay, guest_ref, position, seq, now, fresh, blob, size, now, now))
        if self._row("was_unknown", (old,)) is not None:
            self._run("doubt", (part_id,))
        self._note(now, "part.replayed", guest_ref, old, {"replay": part_id, **person.detail})
        return part_id
