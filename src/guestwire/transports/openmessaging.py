"""
Open Messaging as a way out: inbound messages over the platform API.

Replies come to a webhook, which `guestwire.webhook` receives.
"""

from __future__ import annotations

import contextlib

from guestwire.errors import GuestWireError
from guestwire.model import Accepted, Entity, Errand, Failed, GatewayMessageId, GuestRef, Outcome, Refused, Unknown
from guestwire.net import Answer, Unreachable
from guestwire.policy.pace import Held, Slot
from guestwire.protocol import openmessaging
from guestwire.protocol.openmessaging import MAX_BULK, Address, Call
from guestwire.protocol.platform import Barred, json_of
from guestwire.transports.base import (
    Attempt,
    ErrandEnded,
    HistoryRead,
    HistoryUnreadable,
    LaneInfo,
    NoHistory,
)
from guestwire.transports.rest import RestTransport

#: Messages of a conversation that a check looks at, newest first.
MAX_LOOK = 4 * MAX_BULK
#: A look that failed is tried again after this, in seconds, unless the platform names a time.
LOOK_AGAIN_S = 5.0


class OpenMessagingTransport(RestTransport):
    """One Open Messaging integration. Arguments as of `RestTransport`."""

    permission = "conversation:message:receive"

    def _address(self, lane: LaneInfo) -> Address:
        destination = self._destination
        return Address(destination.integration_id, lane.guest, destination.id_type)

    def _request(self, lane: LaneInfo, attempt: Attempt) -> Call:
        return openmessaging.message_call(
            self._address(lane),
            attempt.part_id,
            attempt.body,
            at=attempt.said_at,
            prefetch=self._destination.prefetch_conversation_id,
        )

    def _accepted(self, answer: Answer) -> Accepted | None:
        return openmessaging.accepted_of(answer.status, answer.headers, answer.body)

    # --- looking back ---

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Read the guest's last conversation, newest first, down to the anchor."""
        lane = self._barrier.wanted.get(guest)
        if lane is None:
            self._emit(HistoryUnreadable(guest, "the lane is not wanted any more", LOOK_AGAIN_S))
        elif lane.conversation_id is None:
            self._emit(
                NoHistory(guest, "no conversation of this guest is known here, so there is nothing to look into")
            )
        else:
            slot = self._slot()
            if isinstance(slot, Held):
                self._emit(self._held_look(guest, slot))
            else:
                self._spawn(self._look(guest, lane.conversation_id, anchor, slot))

    def _slot(self) -> Slot | Held:
        """Take a place for a request beside messages, if there is one."""
        now = self.clock.now()
        return self._pace.admits(self._errand_keys, now) or self._pace.take(self._errand_keys, now)

    def _held_look(self, guest: GuestRef, held: Held) -> HistoryUnreadable:
        wait_s = min(max(held.until - self.clock.now(), 1.0), LOOK_AGAIN_S)
        return HistoryUnreadable(guest, f"held by {held.limit}", wait_s, is_failure=False)

    async def _look(self, guest: GuestRef, conversation: str, anchor: str | None, slot: Slot) -> None:
        try:
            found = await self._read(guest, openmessaging.conversation_call(conversation), slot)
            ids = openmessaging.message_ids_of(found)
            fresh = ids[: ids.index(anchor)] if anchor in ids else ids
            entities: list[Entity] = []
            for start in range(0, min(len(fresh), MAX_LOOK), MAX_BULK):
                another = self._slot()
                if isinstance(another, Held):
                    self._emit(self._held_look(guest, another))
                    return
                some = openmessaging.bulk_call(conversation, fresh[start : start + MAX_BULK])
                entities += openmessaging.entities_of(await self._read(guest, some, another))
            if anchor in ids:
                entities.append(Entity(GatewayMessageId(anchor), None, None, None, None))  # so far it goes
        except _Shut as error:
            self._emit(NoHistory(guest, str(error)))
        except _Unread as error:
            self._emit(HistoryUnreadable(guest, str(error), error.retry_s))
        except (Unreachable, GuestWireError) as error:
            self._emit(HistoryUnreadable(guest, str(error), LOOK_AGAIN_S))
        else:
            self._emit(HistoryRead(guest, entities))

    async def _read(self, guest: GuestRef, call: Call, slot: Slot) -> dict[str, object]:
        """Make a call that reads; raises `_Shut` where it will never work, `_Unread` where it did not this time."""
        answer, refusal = await self._call_aside(guest, call, slot)
        if refusal is None:
            return json_of(answer.body) or {}
        if isinstance(refusal, Refused) or (isinstance(refusal, Barred) and refusal.what in ("permission", "place")):
            raise _Shut(f"the conversation cannot be read: {refusal.reason}")
        raise _Unread(getattr(refusal, "reason", ""), getattr(refusal, "retry_after_s", 0.0) or LOOK_AGAIN_S)

    # --- typing and receipts ---

    def type(self, guest: GuestRef) -> bool:
        """Tell that a guest types: the first thing to be left out, and shown only where the platform is set to."""
        lane, now = self._known.get(guest), self.clock.now()
        if lane is None or not self._barrier.is_prepared or self._barrier.trouble is not None:
            return False
        keys = (("typing", guest),)
        if not self._pace.room(keys, now) or isinstance(slot := self._slot(), Held):
            return False
        self._pace.take(keys, now).answered(now)
        self._spawn(self._tell_typing(guest, openmessaging.typing_call(self._address(lane), at=now), slot))
        return True

    async def _tell_typing(self, guest: GuestRef, call: Call, slot: Slot) -> None:
        """What becomes of it is of no consequence."""
        with contextlib.suppress(Unreachable, GuestWireError):
            await self._call_aside(guest, call, slot, "typing")

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """Report what became of a reply; there are no sessions to do anything else with."""
        if errand.kind != "receipt":
            super().carry_out(lane, errand)
            return
        slot = self._pace.take(self._errand_keys, self.clock.now())
        self._spawn(self._report(lane, errand, slot))

    async def _report(self, lane: LaneInfo, errand: Errand, slot: Slot) -> None:
        outcome: Outcome = Failed("the process was stopped before the answer came")
        try:
            _, refusal = await self._call_aside(lane.guest_ref, self._receipt(lane, errand), slot)
            outcome = _reported(refusal)
        except (Unreachable, GuestWireError) as error:
            outcome = Failed(str(error))  # told twice is told once: a receipt has no second meaning
        finally:
            self._emit(ErrandEnded(lane.guest_ref, errand.seq, outcome))

    def _receipt(self, lane: LaneInfo, errand: Errand) -> Call:
        body = errand.body
        return openmessaging.receipt_call(
            self._address(lane), body["gateway_id"], body["status"], at=body["at"], reason=body.get("reason")
        )


def _reported(refusal: Outcome | Barred | None) -> Outcome:
    """Say what became of a receipt."""
    match refusal:
        case None:
            return Accepted(GatewayMessageId(""), source="response")
        case Barred("place", reason):
            return Refused(404, reason)  # the message that it is about is not known (any more)
        case Barred(_, reason) | Unknown(reason):
            return Failed(reason)
    return refusal


class _Shut(Exception):
    """A conversation that will never be readable."""


class _Unread(Exception):
    """A conversation that could not be read this time."""

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.retry_s = retry_s
