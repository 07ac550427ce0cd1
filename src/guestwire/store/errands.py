"""Errands, followed guests and the cursors of those who read replies: what is neither a message nor its way."""

from __future__ import annotations

from typing import Any

import msgspec

from guestwire.errors import NotFound
from guestwire.model import Draft, ErrandKind, GuestKey, GuestRef
from guestwire.store.base import Intake
from guestwire.store.intake import IntakeVerbs


class Errands(IntakeVerbs):
    """What programs ask for, beside submitting messages."""

    def guest_for(self, destination: str, guest: GuestKey) -> GuestRef:
        """Return our name for a guest; one who was never met gets a name, a key and a session token."""
        return self._guests_of([Intake(Draft(destination=destination, guest=guest), ())])[destination, guest]

    def ask(self, guest: GuestRef, kind: ErrandKind, body: dict[str, Any], now: float) -> int:
        """Queue an errand behind what the guest has queued; returns its number."""
        self._require_guest(guest)
        seq = self._note(now, "errand.queued", guest, None, {"kind": kind})
        sealed = self._vault.seal(guest, f"errands.body.{seq}", msgspec.json.encode(body))
        self._run("add_errand", (seq, guest, kind, sealed))
        self._entries.clear()  # the relay, in whatever process, reads them from the journal
        return seq

    def errand(self, seq: int) -> tuple[str, dict[str, Any] | None]:
        """Return the state of an errand (``queued``, ``done``, ``failed``) and what it brought."""
        row = self._row("errand", (seq,))
        if row is None:
            raise NotFound(f"no errand {seq}", code="GW-N007")
        guest_ref, _, state, sealed = row
        if sealed is None:
            return state, None
        return state, msgspec.json.decode(self._vault.open(guest_ref, f"errands.result.{seq}", sealed))

    def follow(self, guest: GuestRef, now: float, *, on: bool) -> None:
        """Keep a guest's session open for ever, or not any more."""
        self._require_guest(guest)
        self._run("follow", (int(on), guest))
        self._note(now, "guest.followed" if on else "guest.unfollowed", guest, None, {})
        self._entries.clear()

    def _require_guest(self, guest: GuestRef) -> None:
        if self._row("guest", (guest,)) is None:
            raise NotFound(f"no guest {guest}", code="GW-N003")

    def note(self, event: str, guest: GuestRef | None, detail: dict[str, Any], now: float) -> None:
        """Write something into the journal that changes nothing here."""
        self._note(now, event, guest, None, detail)
        self._entries.clear()

    # --- who has read which replies ---

    def cursor(self, sink: str) -> tuple[int, set[int]]:
        """Return up to where a sink has acknowledged everything, and what it has acknowledged beyond."""
        row = self._row("cursor", (sink,))
        seq = 0 if row is None else int(row[0])
        return seq, {beyond for (beyond,) in self._rows("acknowledged", (sink, seq))}

    def know_reader(self, sink: str) -> None:
        """Keep what a reader has not read yet, though he has acknowledged nothing so far."""
        self._run("set_cursor", (sink, 0))

    def acknowledge(self, sink: str, seq: int) -> None:
        """A sink has dealt with one reply. The cursor moves on as soon as nothing before it is missing."""
        self._run("acknowledge", (sink, seq))
        cursor, beyond = self.cursor(sink)
        moved = cursor
        while (following := self._row("next_reply", (moved,))) and following[0] in beyond:
            moved = following[0]
        if moved != cursor:
            self._run("set_cursor", (sink, moved))
            self._run("forget_acknowledged", (sink, moved))
