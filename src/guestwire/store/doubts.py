"""What a store says of itself after it was restored: nothing that had not ended is believed."""

from __future__ import annotations

import msgspec

from guestwire.model import GuestRef, PartState
from guestwire.store.base import Doubted
from guestwire.store.connection import Row
from guestwire.store.lanes import Lanes

#: So much higher do the numbers of journal and replies go on: those given after the backup are not given again.
NUMBERS_LEFT_OUT = 1_000_000


class Doubts(Lanes):
    """The verb of `guestwire.store.restore`."""

    def doubt(self, made_at: str, now: float) -> Doubted:
        """
        Put in check what may have been sent since a backup was made, whatever its state was.

        A part that waits for a time that has not come yet cannot have been sent. One that was parked stays so: a person
        who releases it is told that somebody may have done so before. Errands are not done twice, but for receipts,
        which may be.

        Args:
            made_at: When the backup was made; for the reasons.
            now: Seconds since the epoch.
        """
        self._run("have_numbers", ())
        self._run("skip_numbers", (NUMBERS_LEFT_OUT,))
        erased = self._forget_keyless()
        reason = f"restored from a backup of {made_at}: it may have been sent since"
        checking = parked = waiting = errands = 0
        guests: dict[GuestRef, None] = {}
        for part_id, guest_ref, state, attempt, told, lane_seq, enters_at, held_by in self._rows("open_parts", ()):
            detail = {"attempt": attempt, "was": state}
            if state == PartState.PARKED:
                parked += 1
                # Whoever releases it is told that it may be seen twice, and it is counted.
                self._run("finish", (state, now, None, "; ".join(filter(None, (told, reason))), "unknown", part_id))
                detail |= {"parked_for": "unknown", "aside": lane_seq is None}
                self._note(now, "part.parked", guest_ref, part_id, {**detail, "reason": reason})
            elif lane_seq is None and held_by is None and enters_at is not None and enters_at > now:
                waiting += 1
            else:
                checking += 1
                self._run("mistrust", (now, reason, part_id))
                self._note(now, "part.checking", guest_ref, part_id, {**detail, "reason": reason})
            guests[guest_ref] = None
        for guest_ref in guests:
            self._settle_lane(guest_ref)
        for row in self._rows("queued_errands", ()):
            errands += self._drop_errand(row, made_at, now)
        found = Doubted(checking=checking, parked=parked, waiting=waiting, errands=errands, erased=erased)
        self._note(now, "store.restored", None, None, {"made_at": made_at, **msgspec.structs.asdict(found)})
        self._entries.clear()
        return found

    def _forget_keyless(self) -> int:
        known = self._vault.guests()
        guests = [guest for (guest,) in self._rows("guests", ()) if guest not in known]
        for guest in guests:
            for name in ("parts", "messages", "replies", "errands", "receipts", "blobs", "guest"):
                self._run(f"forget_{name}", (guest,))
        return len(guests)

    def _drop_errand(self, row: Row, made_at: str, now: float) -> bool:
        seq, guest_ref, kind = row
        if kind == "receipt":
            return False
        reason = f"restored from a backup of {made_at}: it may have been done since; ask again"
        nothing = self._vault.seal(guest_ref, f"errands.body.{seq}", b"{}")
        self._run("end_errand", ("failed", nothing, None, now, seq))
        detail = {"errand": seq, "kind": kind, "reason": reason, "code": None}
        self._note(now, "errand.failed", guest_ref, None, detail)
        return True
