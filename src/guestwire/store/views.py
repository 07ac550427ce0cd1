"""What people and waiting programs read: the journal, replies, where a message stands, the store in figures."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from guestwire.errors import NotFound
from guestwire.model import GuestKey, GuestRef, JournalEntry, MessageId, PartId, PartState, Reply
from guestwire.store.base import PartView, StoreStatus
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
        for seq, guest_ref, sealed in self._rows("replies", (after, guest, limit)):
            # The place names the gateway id, which stands inside the seal; the row's own copy is checked by it.
            gateway_id = self._value("SELECT gateway_id FROM replies WHERE seq = ?", (seq,))
            plain = self._vault.open(guest_ref, f"replies.body.{guest_ref}.{gateway_id}", sealed)
            replies.append(
                msgspec.structs.replace(_reply_decoder.decode(plain), guest_ref=GuestRef(guest_ref), seq=seq)
            )
        return replies

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
            text=text,
            guest=guest,
        )


def _entry(row: Row) -> JournalEntry:
    seq, at, event, guest_ref, part_id, detail = row
    return JournalEntry(seq, at, event, guest_ref, part_id, msgspec.json.decode(detail))
