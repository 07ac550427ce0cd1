"""
What is not kept for ever: contents, then the rows that say what became of them, then the journal.

A walk goes through one table after another in short stretches, each by its primary key: no index has to be kept for
it, and no stretch takes longer the more is stored. Looking is a read; only where something is due is there a write,
of a few rows. A walk that is broken off has lost nothing: the next one begins anew.

Nothing is taken from a reader who has not read it. A reader that stays behind holds what is due up to a bound; then
what he missed is counted in the journal, and he goes on behind it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from guestwire.settings import RetentionSettings
from guestwire.store.connection import Connection, Row

DAY_S = 86_400.0
#: Rows that one stretch looks at.
STRETCH = 200
#: Rows that are let go in one transaction.
AT_ONCE = 40
#: Free pages that stay in the file for what comes next; and how many leave it at once.
SPARE_PAGES = 256
PAGES_AT_ONCE = 64

#: Statements that one row of a table leads to; the later ones only where the first has changed something.
Change = Sequence[tuple[str, Row]]


class Terms(msgspec.Struct, frozen=True):
    """What is due: everything of before these moments, in seconds since the epoch."""

    contents_before: float
    records_before: float
    lag_s: float
    """What is due is held so much longer for a reader who has not read it."""
    lag_bytes: float
    """And no more of it than this."""

    @classmethod
    def of(cls, settings: RetentionSettings, now: float) -> Terms:
        """Reckon them from the settings; 0 days: for ever."""
        contents, records = (
            now - days * DAY_S if days else float("-inf") for days in (settings.contents_days, settings.records_days)
        )
        return cls(contents, records, settings.lag_days * DAY_S, settings.lag_mb * 1e6)


class Old(msgspec.Struct, frozen=True):
    """What a stretch of a table holds that is due."""

    kind: str
    changes: Sequence[Change]
    reached: Any
    """Where the next stretch begins; None: that was the end."""
    held_bytes: int = 0
    """Due, and held for a reader."""


class Gap(msgspec.Struct, frozen=True):
    """What a reader has missed."""

    sink: str
    after: int
    up_to: int
    count: int


class Retention(Connection):
    """The verbs of a walk."""

    def find_old(self, kind: str, after: Any, terms: Terms) -> Old:
        """
        Look at the next stretch of a table; reads only.

        Args:
            kind: One of `KINDS`.
            after: `Old.reached` of the stretch before; None at the beginning.
            terms: What is due.
        """
        return KINDS[kind](self, after, terms)

    def forget(self, kind: str, changes: Sequence[Change]) -> int:
        """Let go of what was found, as far as it is still there; returns of how many rows."""
        match kind:
            case "pages":
                self._db.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
                return 0
            case "files":
                with self._folder.removing_files() as may:
                    return sum(self._forget_file(values) for ((_, values),) in changes) if may else 0
            case _:
                return sum(self._changed(change) for change in changes)

    def _changed(self, change: Change) -> bool:
        (first, values), *rest = change
        before = self.changes()
        self._run(first, values)
        if self.changes() == before:
            return False  # somebody else was faster
        for name, more in rest:
            self._run(name, more)
        return True

    def _forget_file(self, values: Row) -> bool:
        """
        Remove a file and its row, inside the transaction: whoever keeps the same file again waits, and writes it anew.

        Rolled back, it leaves a row that nobody uses, and the next walk takes that.
        """
        if not self._changed([("forget_file", values)]):
            return False
        (self._folder.blobs / values[0]).unlink(missing_ok=True)
        return True

    def late_readers(self, terms: Terms, *, all_of: str | None = None) -> list[Gap]:
        """
        Say which readers hold what is due for too long; reads only.

        Args:
            terms: What is due.
            all_of: Of this table readers hold too much: every one of them is late.
        """
        gaps = []
        for sink, cursor in self._rows("readers", ()):
            kind, due = ("replies", terms.contents_before) if is_of_replies(sink) else ("journal", terms.records_before)
            row = self._row(f"first_unread_{kind}", (sink, cursor))
            if row is not None and (row[0] < due - terms.lag_s or (kind == all_of and row[0] < due)):
                ((up_to, count),) = self._rows(f"missed_{kind}", (sink, cursor, due))
                if up_to is not None:
                    gaps.append(Gap(sink, cursor, up_to, count))
        return gaps

    def pass_over(self, gaps: Sequence[Gap], now: float) -> None:
        """Let readers go on behind what they have missed, and count it in the journal."""
        for gap in gaps:
            self._run("set_cursor", (gap.sink, gap.up_to))
            self._run("forget_acknowledged", (gap.sink, gap.up_to))
            self._note(now, "sink.gap", None, None, msgspec.structs.asdict(gap))
        self._entries.clear()  # readers, in whatever process, find them in the journal

    # --- what is due ---

    def _floor(self, *, of_replies: bool) -> float:
        """Return up to where every reader has read."""
        cursors = (cursor for sink, cursor in self._rows("readers", ()) if is_of_replies(sink) == of_replies)
        return min(cursors, default=float("inf"))

    def _old_parts(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_parts", (after or 0, STRETCH))
        changes: list[Change] = []
        for seq, has_body, ended_at, blob in rows:
            if has_body and ended_at is not None and ended_at < terms.contents_before:
                files = [] if blob is None else [("drop_file", (blob,))]
                changes.append([("empty_part", (seq,)), *files])
        return Old("parts", changes, _reached(rows))

    def _old_replies(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_replies", (after or 0, STRETCH))
        floor = self._floor(of_replies=True)
        changes: list[Change] = []
        held = 0
        for seq, at, size in rows:
            if size is not None and at < terms.contents_before and seq > floor:
                held += size
            elif at < terms.records_before:
                changes.append([("forget_reply", (seq,))])
            elif size is not None and at < terms.contents_before:
                changes.append([("empty_reply", (seq,))])
        return Old("replies", changes, _reached(rows), held)

    def _old_errands(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_errands", (after or 0, STRETCH))
        changes: list[Change] = []
        for seq, ended_at, has_result in rows:
            if ended_at is not None and ended_at < terms.records_before:
                changes.append([("forget_errand", (seq,))])
            elif ended_at is not None and has_result and ended_at < terms.contents_before:
                changes.append([("empty_errand", (seq,))])
        return Old("errands", changes, _reached(rows))

    def _old_receipts(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_receipts", (*(after or ("", "", "", "")), STRETCH))
        changes = [[("forget_receipt", row[:4])] for row in rows if row[4] < terms.records_before]
        return Old("receipts", changes, rows[-1][:4] if len(rows) == STRETCH else None)

    def _old_messages(self, after: Any, terms: Terms) -> Old:
        """With their parts and their keys, when the last part ended so long ago."""
        rows = self._rows("stretch_of_messages", (after or "", terms.records_before, STRETCH))
        changes = [
            [("forget_message_parts", (message,)), ("forget_message", (message,))]
            for message, open_or_young in rows
            if not open_or_young
        ]
        return Old("messages", changes, _reached(rows))

    def _old_files(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_files", (after or "", STRETCH))
        changes = [[("forget_file", (digest,))] for digest, refs in rows if refs <= 0]
        return Old("files", changes, _reached(rows))

    def _old_batches(self, after: Any, terms: Terms) -> Old:
        rows = self._rows("stretch_of_batches", (after or "", STRETCH))
        changes = [[("forget_batch", (path,))] for path, at in rows if at < terms.records_before]
        return Old("batches", changes, _reached(rows))

    def _old_journal(self, after: Any, terms: Terms) -> Old:
        """Not what the journal says of a part that has not ended."""
        rows = self._rows("stretch_of_journal", (after or 0, STRETCH))
        floor = self._floor(of_replies=False)
        changes: list[Change] = []
        held = 0
        for seq, at, size, is_open in rows:
            if at >= terms.records_before or is_open:
                continue
            if seq > floor:
                held += size
            else:
                changes.append([("forget_entry", (seq,))])
        is_past = bool(rows) and rows[-1][1] >= terms.records_before
        return Old("journal", changes, None if is_past else _reached(rows), held)

    def _free_pages(self, after: Any, terms: Terms) -> Old:
        """What became free leaves the file, but for some."""
        free = self._value("PRAGMA freelist_count") - SPARE_PAGES
        return Old("pages", [[("", (free,))]] if free > 0 else [], True if free > PAGES_AT_ONCE else None)


#: What a walk goes through, in this order: a row goes after what it holds, and the journal after all of them.
KINDS: dict[str, Callable[[Any, Any, Terms], Old]] = {
    "parts": Retention._old_parts,
    "replies": Retention._old_replies,
    "errands": Retention._old_errands,
    "receipts": Retention._old_receipts,
    "messages": Retention._old_messages,
    "files": Retention._old_files,
    "batches": Retention._old_batches,
    "journal": Retention._old_journal,
    "pages": Retention._free_pages,
}


def is_of_replies(sink: str) -> bool:
    """Whether a reader's cursor counts replies; any other counts journal entries."""
    return sink.startswith("replies:")


def chunks(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Part what was found into transactions."""
    for start in itertools.count(0, AT_ONCE):
        if start >= len(changes):
            return
        yield changes[start : start + AT_ONCE]


def _reached(rows: Sequence[Row]) -> Any:
    """Return the key of the last row, where there may be more."""
    return rows[-1][0] if len(rows) == STRETCH else None


def prune(store: Any, terms: Terms, now: float, *, dry_run: bool = False) -> dict[str, int]:
    """
    Walk through a store once, to the end; returns how many rows of each kind were, or would be, let go.

    Args:
        store: A `SqliteStore`.
        terms: What is due.
        now: Seconds since the epoch.
        dry_run: Change nothing.
    """
    counts = dict.fromkeys(KINDS, 0)
    gaps = store.late_readers(terms)
    counts["gaps"] = sum(gap.count for gap in gaps)
    if gaps and not dry_run:
        with store.transaction():
            store.pass_over(gaps, now)
    for kind in KINDS:
        after = None
        while True:
            old = store.find_old(kind, after, terms)
            for changes in chunks(old.changes):
                if dry_run:
                    counts[kind] += len(changes)
                    continue
                with store.transaction():
                    counts[kind] += store.forget(kind, changes)
            after = old.reached
            if after is None or (dry_run and kind == "pages"):
                break
    del counts["pages"]
    return counts
