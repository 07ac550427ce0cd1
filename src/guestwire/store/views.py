"""What people and waiting programs read: the journal, replies, where a message stands, the store in figures."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from guestwire.errors import NotFound, StoreError
from guestwire.model import (
    File,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    JournalEntry,
    MessageId,
    PartBody,
    PartId,
    PartState,
    Reply,
    SessionState,
)
from guestwire.store.base import ErrandView, GuestView, Line, PartView, StoreStatus
from guestwire.store.connection import SQL, Connection, Row

_reply_decoder = msgspec.json.Decoder(Reply)


class Views(Connection):
    """Reads; nothing here writes."""

    def journal(self, after: int, limit: int) -> list[JournalEntry]:
        """Journal entries with a higher number, in order."""
        return [_entry(row) for row in self._rows("journal", (after, limit))]

    def journal_of(self, part_id: PartId) -> list[JournalEntry]:
        """Everything the journal holds about one part, in order."""
        return [_entry(row) for row in self._rows("journal_of_part", (part_id,))]

    def journal_seq(self) -> int:
        """The number of the newest journal entry; 0 for an empty journal."""
        return int(self._value(SQL["journal_seq"]))

    def replies(self, after: int, limit: int, guest: GuestRef | None = None) -> list[Reply]:
        """Replies with a higher number, in order; of one guest or of all."""
        replies = []
        for seq, guest_ref, gateway_id, at, sealed in self._rows("replies", (after, guest, limit)):
            # The place names the gateway id, which stands inside the seal; the row's own copy is checked by it.
            try:
                plain = self._vault.open(guest_ref, f"replies.body.{guest_ref}.{gateway_id}", sealed)
                reply = _reply_decoder.decode(plain)
            except StoreError:
                # One row that was changed must not stop all others, nor be passed over without a word.
                reply = Reply(gateway_id=GatewayMessageId(gateway_id), kind="unreadable")
            replies.append(msgspec.structs.replace(reply, guest_ref=GuestRef(guest_ref), seq=seq, received_at=at))
        return replies

    def has_heard(self, guest: GuestRef, gateway_ids: Iterable[str], before: float) -> set[str]:
        """Which of these replies were here at a moment."""
        return {name for name in gateway_ids if self._row("has_heard", (guest, name, before)) is not None}

    def file_of(self, part_id: PartId) -> tuple[File, bytes]:
        """
        Return the file of a part.

        Raises:
            StoreError: It is gone, or does not open.
        """
        row = self._row("part_file", (part_id,))
        file = None if row is None or row[1] is None else self._open_body(row[0], part_id, row[1]).file
        if row is None or file is None:
            raise StoreError(f"part {part_id} has no file", code="GW-S014")
        return file, self._blobs.get(row[0], file.digest)

    def list_guests(self, *, destination: str | None, guest: GuestRef | None, limit: int) -> list[GuestView]:
        """Return guests, the last active ones first."""
        found = []
        for row in self._rows("list_guests", (destination, guest, limit)):
            key = self._vault.open(row[0], f"guests.guest_key.{row[0]}", row[2]).decode()
            found.append(
                GuestView(
                    guest_ref=row[0],
                    destination=row[1],
                    guest=key,
                    session=SessionState(row[3]),
                    session_expires_at=row[4],
                    paused_until=row[5] or None,
                    paused_reason=row[6],
                    is_followed=bool(row[7]),
                    is_signed_in=bool(row[8]),
                    messages=row[9],
                    replies=row[10],
                    open_parts=row[11],
                    last_at=row[12],
                )
            )
        return found

    def transcript(self, guest: GuestRef) -> list[Line]:
        """Return what was said both ways, in the order in which it happened here; what is not kept has no content."""
        lines = [
            Line(
                at=queued_at,
                part_id=PartId(part_id),
                state=PartState(state),
                gateway_time=gateway_time,
                body=None if sealed is None else self._open_body(guest, part_id, sealed),
            )
            for _, part_id, state, queued_at, gateway_time, sealed in self._rows("transcript_parts", (guest,))
        ]
        after = 0
        while replies := self.replies(after, 500, guest):
            after = replies[-1].seq
            lines += [Line(at=reply.received_at, gateway_time=reply.at, reply=reply) for reply in replies]
        return sorted(lines, key=lambda line: line.at)

    def last_reply(self) -> int:
        """The number of the newest reply; 0 where there is none."""
        return int(self._value("SELECT coalesce(max(seq), 0) FROM replies"))

    def find_guest(self, destination: str, guest: GuestKey) -> GuestRef | None:
        """Return our name for a caller's guest; None if nothing was ever submitted for him."""
        row = self._row("find_guest", (destination, self._vault.index("guest", destination, guest)))
        return None if row is None else GuestRef(row[0])

    def destinations(self) -> list[str]:
        """Return the names of all destinations that this store has met."""
        return [name for (name,) in self._rows("destinations", ())]

    def guest_key(self, guest_ref: GuestRef) -> GuestKey:
        """Return the caller's name for a guest. Personal: for the caller's own eyes."""
        row = self._row("guest_key", (guest_ref,))
        if row is None:
            raise NotFound(f"no guest {guest_ref}", code="GW-N003")
        return GuestKey(self._vault.open(guest_ref, f"guests.guest_key.{guest_ref}", row[0]).decode())

    def message_of(self, name: str) -> MessageId:
        """Find a message by its id, the id of one of its parts, or the beginning of either."""
        rows = self._rows("message_of", (name,)) if name.replace("-", "").isalnum() else []
        if len(rows) != 1:
            several = len(rows) > 1
            raise NotFound(
                f"{'more than one message begins with' if several else 'no message is called'} '{name}'",
                code="GW-N002",
                hint="give more of its id" if several else "see 'guestwire messages list'",
            )
        return MessageId(rows[0][0])

    def message_parts(self, message_id: MessageId, *, with_text: bool) -> list[PartView]:
        """Return the parts of a message, in order."""
        return [self._view(row, with_text) for row in self._rows("message_parts", (message_id,))]

    def list_parts(
        self, *, state: PartState | None, guest: GuestRef | None, limit: int, with_text: bool
    ) -> list[PartView]:
        """Return the newest parts first."""
        found = self._rows("list_parts", (None if state is None else state.value, guest, limit))
        return [self._view(row, with_text) for row in found]

    def message_states(self, message_id: MessageId) -> dict[PartState, int]:
        """Return how many parts of a message are in which state."""
        return {PartState(state): count for state, count in self._rows("message_states", (message_id,))}

    def unsettled(self, parts: Iterable[PartId]) -> set[PartId]:
        """Return which of these parts will still move by themselves."""
        moving = {PartState.QUEUED.value, PartState.SENDING.value, PartState.CHECKING.value}
        return {part for part in parts if (row := self._row("part", (part,))) is not None and row[2] in moving}

    def status(self) -> StoreStatus:
        """Return the store in figures. Reads every part once: for people, not for loops."""
        states = self._rows("states", ())
        by_destination: dict[str, dict[str, int]] = {}
        oldest: list[float] = []
        for destination, state, count, queued_at in self._rows("open_by_destination", ()):
            by_destination.setdefault(destination, {})[state] = count
            oldest.append(queued_at)
        return StoreStatus(
            kind=self._meta("kind") or "empty",
            parts={state: count for state, count, _ in states},
            guests=self._value("SELECT count(*) FROM guests"),
            oldest_open_at=min(oldest, default=None),
            possible_duplicates=sum(doubles for *_, doubles in states),
            duplicates_seen=self._value("SELECT count(*) FROM journal WHERE event = 'part.duplicate_seen'"),
            replies=self._value("SELECT count(*) FROM replies"),
            held=self._value("SELECT count(*) FROM messages WHERE held_by IS NOT NULL"),
            journal_seq=self.journal_seq(),
            destinations=by_destination,
        )

    def body_of(self, part_id: PartId) -> PartBody | None:
        """Return the content of a part; None where its retention is over, or there is no such part."""
        row = self._row("part_file", (part_id,))
        return None if row is None or row[1] is None else self._open_body(row[0], part_id, row[1])

    def journal_of_guest(self, guest: GuestRef, after: int = 0, until: int = 2**63 - 1) -> list[JournalEntry]:
        """Everything the journal holds about a guest, from one number to another, in order. Walks that stretch."""
        return [_entry(row) for row in self._rows("journal_of_guest", (after, until, guest))]

    def errands_of(self, guest: GuestRef) -> list[ErrandView]:
        """Return what was asked for at the gateway for a guest, in the order of asking."""
        found = []
        for seq, kind, state, sealed, ended_at in self._rows("errands_of_guest", (guest,)):
            body = msgspec.json.decode(self._vault.open(guest, f"errands.body.{seq}", sealed))
            attributes = body.get("attributes", {}) if kind == "join" else {}
            found.append(ErrandView(seq=seq, kind=kind, state=state, ended_at=ended_at, attributes=attributes))
        return found

    def unacknowledged(self, sink: str) -> tuple[int, float | None]:
        """Return how many replies a sink has not acknowledged, and when the oldest of them came."""
        count, oldest_at = self._rows("unacknowledged", (sink,))[0]
        return count, oldest_at

    def _view(self, row: Row, with_text: bool) -> PartView:
        text = guest = None
        if with_text:
            guest = self.guest_key(row[2])
            text = None if row[15] is None else self._open_body(row[2], row[0], row[15]).text
        return PartView(
            id=row[0],
            message_id=row[1],
            guest_ref=row[2],
            destination=row[3],
            state=PartState(row[4]),
            attempt=row[5],
            possible_duplicates=row[6],
            gateway_id=row[7],
            gateway_time=row[8],
            queued_at=row[9],
            sent_at=row[10],
            ended_at=row[11],
            next_at=row[12],
            reason=row[13],
            size=row[14],
            parked_for=row[16],
            replay_of=row[17],
            text=text,
            guest=guest,
        )


def _entry(row: Row) -> JournalEntry:
    seq, at, event, guest_ref, part_id, detail = row
    return JournalEntry(seq, at, event, guest_ref, part_id, msgspec.json.decode(detail))
