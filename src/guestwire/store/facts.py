"""
What the far side says: that it took a part, what became of it there, and what it answers.

These are facts, whoever brings them and in whatever order: they hold from every state, join with what is known, and
never take anything back.
"""

from __future__ import annotations

from typing import Any

import msgspec

from guestwire.errors import NotFound
from guestwire.model import (
    OPEN_STATES,
    RECEIPT_STATES,
    TAKEN_STATES,
    Accepted,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    PartId,
    PartState,
    Receipt,
    Reply,
)
from guestwire.policy.states import PartEvent, after
from guestwire.store.base import Confirm, ReplyStatus
from guestwire.store.connection import Row
from guestwire.store.errands import Errands
from guestwire.store.views import Views

_REPLY_RANK = {None: 0, "delivered": 1, "read": 2, "failed": 2}


class Facts(Errands, Views):
    """What the gateway took, what it reports, and what guests heard."""

    # --- accepted ---

    def _confirm(self, change: Confirm, row: Row | None, now: float) -> GuestRef | None:
        if row is None:
            return None  # the tracingId of another client of the same session
        _, guest_ref, state, attempt, _, gateway_id, channel_message_id, sent_at, doubles = row
        accepted = change.accepted
        if PartState(state) in TAKEN_STATES:
            names = (accepted.gateway_id, accepted.channel_message_id)
            if gateway_id in names or (channel_message_id is not None and channel_message_id in names):
                return GuestRef(guest_ref)
            if not self._is_known_duplicate(change.part_id, accepted):
                detail = {"gateway_id": accepted.gateway_id, "first": gateway_id, "source": accepted.source}
                self._note(now, "part.duplicate_seen", guest_ref, change.part_id, detail)
            return GuestRef(guest_ref)
        if PartState(state) not in OPEN_STATES:
            detail = {"gateway_id": accepted.gateway_id, "state": state, "source": accepted.source}
            self._note(now, "part.accepted_after_end", guest_ref, change.part_id, detail)
        self._put(
            "accept",
            (
                accepted.gateway_id,
                accepted.channel_message_id,
                accepted.at,
                now,
                now,
                accepted.conversation_id,
                change.part_id,
            ),
        )
        anchor = accepted.channel_message_id or accepted.gateway_id
        # Of a restored store several parts of a lane are in check. What was sent again meanwhile stands behind them.
        is_ahead = bool(doubles) and accepted.source != "history"
        is_ahead = is_ahead and self._row("others_in_check", (guest_ref, change.part_id)) is not None
        self._put("anchor", (None if is_ahead else anchor, accepted.conversation_id, guest_ref))
        detail = {
            "attempt": attempt,
            "gateway_id": accepted.gateway_id,
            "gateway_time": accepted.at,
            "source": accepted.source,
            "was": state,
            "latency_ms": round((now - sent_at) * 1000, 1) if sent_at is not None else None,
            **accepted.evidence,
        }
        if accepted.conversation_id is not None:
            detail["conversation_id"] = accepted.conversation_id
        if is_ahead:
            detail["is_ahead"] = True
        self._note(now, "part.accepted", guest_ref, change.part_id, detail)
        if accepted.source != "echo":  # sessions report none
            self._place_waiting(GuestRef(guest_ref), change.part_id, accepted.gateway_id, now)
        return GuestRef(guest_ref)

    def _is_known_duplicate(self, part_id: PartId, accepted: Accepted) -> bool:
        """Whether this second entry of a part was told before: its echo may come on every socket of the session."""
        return any(
            entry.event == "part.duplicate_seen" and entry.detail["gateway_id"] == accepted.gateway_id
            for entry in self.journal_of(part_id)
        )

    # --- heard ---

    def _hear(self, guest_ref: GuestRef, reply: Reply, now: float) -> int | None:
        """Keep a reply; returns its number, or None where it is known already."""
        place = f"replies.body.{guest_ref}.{reply.gateway_id}"
        sealed = self._vault.seal(guest_ref, place, msgspec.json.encode(reply))
        row = self._row("hear", (guest_ref, reply.gateway_id, now, reply.kind, sealed))
        if row is None:
            return None
        seq = int(row[0])
        detail = {
            "reply": seq,
            "gateway_id": reply.gateway_id,
            "kind": reply.kind,
            "source": reply.source,
            "gateway_time": reply.at,
        }
        self._note(now, "reply.received", guest_ref, None, detail)
        return seq

    def receive(
        self, destination: str, guest: GuestKey, said: Reply | Receipt, now: float, *, report: bool
    ) -> GuestRef:
        """
        Keep what a webhook brought. The same once more changes nothing.

        Args:
            destination: Whose webhook.
            guest: As the platform names him; one who is not known yet becomes known.
            said: A reply, or a receipt for a message of his.
            now: Seconds since the epoch.
            report: Report replies as delivered by themselves, also where the guest's messages did not ask for it.
        """
        guest_ref = self.guest_for(destination, guest)
        if isinstance(said, Receipt):
            self._take_receipt(guest_ref, said, now)
        else:
            seq = self._hear(guest_ref, said, now)
            if seq is not None and said.kind in ("text", "structured"):
                wants = self._row("wants_receipts", (guest_ref,))
                if report or (wants is not None and wants[0]):
                    self.note_receipt(seq, "delivered", now)
        self._entries.clear()  # the relay, in whatever process, reads them from the journal
        return guest_ref

    def note_receipt(self, reply: int, status: ReplyStatus, now: float, reason: str | None = None) -> bool:
        """
        Note what became of a reply here, and queue the report to the platform where it takes one.

        Args:
            reply: Its `seq`.
            status: A reply goes on from *delivered* to *read*; *failed* is for one of which nothing was said yet.
            now: Seconds since the epoch.
            reason: A code of the platform's, for *failed*.

        Returns:
            Whether that was news.

        Raises:
            NotFound: GW-N008, there is no such reply.
        """
        row = self._row("reply_receipt", (reply,))
        if row is None:
            raise NotFound(f"no reply {reply}", code="GW-N008", hint="'seq' of a reply is its number in this store")
        guest_ref, gateway_id, before = row
        if _REPLY_RANK[status] <= _REPLY_RANK[before] or (status == "failed" and before is not None):
            return False
        self._run("set_reply_receipt", (status, reply))
        self._note(
            now, f"reply.{status}", guest_ref, None, {"reply": reply, "gateway_id": gateway_id, "reason": reason}
        )
        # The platform takes no "read": what it may know is that it was delivered, once.
        takes = self._row("guest_destination", (guest_ref,))
        if before is None and takes is not None and takes[0] == "openmessaging":
            told = "Failed" if status == "failed" else "Delivered"
            self.ask(guest_ref, "receipt", {"gateway_id": gateway_id, "status": told, "at": now, "reason": reason}, now)
        self._entries.clear()
        return True

    # --- receipts for parts ---

    def _take_receipt(self, guest_ref: GuestRef, receipt: Receipt, now: float) -> None:
        """Join a receipt with the part that it is about; one that is early waits for it."""
        names = (receipt.gateway_id or "", receipt.channel_message_id or "")
        row = self._row("part_named", (guest_ref, receipt.channel_message_id, receipt.gateway_id))
        part_id = None if row is None else PartId(row[0])
        reasons = msgspec.json.encode(receipt.reasons).decode()
        is_new = self._row("add_receipt", (guest_ref, *names, receipt.status, part_id, now, receipt.at, reasons))
        if is_new is None:
            return  # told before
        if part_id is None or row is None:
            self._note(now, "receipt.unmatched", guest_ref, None, _receipt_detail(names[0], receipt))
            return
        if PartState(row[1]) not in TAKEN_STATES and receipt.gateway_id:
            # Its answer is still on its way, or was lost: that there is a receipt says what it would have said.
            proof = Accepted(GatewayMessageId(receipt.gateway_id), at=receipt.at, source="receipt")
            self._confirm(Confirm(part_id, proof), self._row("part", (part_id,)), now)
            self._settle_lane(guest_ref)
        self._apply_receipt(guest_ref, part_id, receipt, now)

    def _place_waiting(self, guest_ref: GuestRef, part_id: PartId, gateway_id: str, now: float) -> None:
        """Join receipts that came before the part was known by the gateway's name."""
        rows = self._rows("waiting_receipts", (guest_ref, gateway_id))
        if rows:
            self._run("place_receipts", (part_id, guest_ref, gateway_id))
            for status, at, reasons in rows:
                receipt = Receipt(status, gateway_id, None, at, tuple(msgspec.json.decode(reasons)))
                self._apply_receipt(guest_ref, part_id, receipt, now)

    def _apply_receipt(self, guest_ref: GuestRef, part_id: PartId, receipt: Receipt, now: float) -> None:
        self._note(now, "receipt.received", guest_ref, part_id, _receipt_detail(receipt.gateway_id, receipt))
        state = PartState(self._rows("part", (part_id,))[0][2])
        target = RECEIPT_STATES.get(receipt.status.lower())
        if target is None or after(state, PartEvent(target.value)) in (None, state):
            return  # it says no more than is known; or nothing of which the gateway has taken anything
        reason = ", ".join(receipt.reasons) if target is PartState.FAILED else None
        self._run("received", (target.value, now, reason or None, part_id))
        detail: dict[str, Any] = {"was": state.value, "gateway_time": receipt.at, "source": "receipt"}
        if reason:
            detail["reason"] = reason
        self._note(now, f"part.{target.value}", guest_ref, part_id, detail)


def _receipt_detail(gateway_id: str | None, receipt: Receipt) -> dict[str, Any]:
    return {
        "status": receipt.status,
        "gateway_id": gateway_id,
        "gateway_time": receipt.at,
        "reasons": list(receipt.reasons),
    }
