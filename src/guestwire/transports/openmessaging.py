"""
Open Messaging as a way out: inbound messages over the platform API.

Replies come to a webhook, which `guestwire.webhook` receives.
"""

from __future__ import annotations

import contextlib

from guestwire.errors import ConfigError, GuestWireError
from guestwire.model import Accepted, Entity, Errand, Failed, GatewayMessageId, GuestRef, Outcome, Refused, Unknown
from guestwire.net import Answer, NotSent, Unreachable
from guestwire.policy.pace import Slot
from guestwire.protocol import openmessaging
from guestwire.protocol.openmessaging import MAX_BULK, Address, Call
from guestwire.protocol.platform import Barred, json_of, refusal_of
from guestwire.transports.base import (
    Attempt,
    ErrandEnded,
    HistoryRead,
    HistoryUnreadable,
    LaneInfo,
    NoHistory,
)
from guestwire.transports.rest import RestTransport

#: At most so often it is told that a guest types, in seconds: as on web messaging.
TYPING_EVERY_S = 5.0
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

    def _misplaced(self, barred: Barred) -> GuestWireError:
        return ConfigError(
            f"destination '{self._destination.name}': there is no Open Messaging integration "
            f"{self._destination.integration_id} in this organisation ({barred.reason})",
            code="GW-C046",
            hint="copy its id from Admin > Message > Platforms; a region or an OAuth client of another organisation "
            "gives the same answer",
        )

    # --- looking back ---

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Read the guest's last conversation, newest first, down to the anchor."""
        lane = self._wanted.get(guest)
        if lane is None:
            self._emit(HistoryUnreadable(guest, "the lane is not wanted any more", LOOK_AGAIN_S))
        elif lane.conversation_id is None:
            self._emit(
                NoHistory(guest, "no conversation of this guest is known here, so there is nothing to look into")
            )
        else:
            held = self._pace.admits(self._errand_keys, self.clock.now())
            if held is not None:
                self._emit(HistoryUnreadable(guest, f"held by {held.limit}", LOOK_AGAIN_S))
            else:
                self._spawn(self._look(guest, lane.conversation_id, anchor))

    async def _look(self, guest: GuestRef, conversation: str, anchor: str | None) -> None:
        try:
            found = await self._ask(openmessaging.conversation_call(conversation))
            ids = openmessaging.message_ids_of(found)
            fresh = ids[: ids.index(anchor)] if anchor in ids else ids
            entities: list[Entity] = []
            for start in range(0, min(len(fresh), MAX_LOOK), MAX_BULK):
                some = await self._ask(openmessaging.bulk_call(conversation, fresh[start : start + MAX_BULK]))
                entities += openmessaging.entities_of(some)
        except _Shut as error:
            self._emit(NoHistory(guest, str(error)))
        except _Unread as error:
            self._emit(HistoryUnreadable(guest, str(error), error.retry_s))
        except (Unreachable, GuestWireError) as error:
            self._emit(HistoryUnreadable(guest, str(error), LOOK_AGAIN_S))
        else:
            self._emit(HistoryRead(guest, entities))

    async def _ask(self, call: Call) -> dict[str, object]:
        """Make a call that reads; raises `_Shut` where it will never work, `_Unread` where it did not this time."""
        slot = self._pace.take(self._errand_keys, self.clock.now())
        try:
            answer = await self._call(call)
        finally:
            slot.answered(self.clock.now())
        found = json_of(answer.body) if answer.status == 200 else None
        if found is not None:
            self._reached()
            return found
        refusal = refusal_of(answer.status, answer.headers, answer.body, now=self.clock.now(), trust_unavailable=True)
        if isinstance(refusal, Barred | Refused):
            raise _Shut(f"the conversation cannot be read: {refusal.reason}")
        raise _Unread(getattr(refusal, "reason", ""), getattr(refusal, "retry_after_s", 0.0) or LOOK_AGAIN_S)

    # --- typing and receipts ---

    def type(self, guest: GuestRef) -> bool:
        """Tell that a guest types: the first thing to be left out, and shown only where the platform is set to."""
        lane, now = self._known.get(guest), self.clock.now()
        if lane is None or not self._open or self._trouble is not None:
            return False
        if now - self._typed_at.get(guest, float("-inf")) < TYPING_EVERY_S:
            return False
        if self._pace.admits(self._errand_keys, now) is not None:
            return False
        self._typed_at = {guest: at for guest, at in self._typed_at.items() if now - at < TYPING_EVERY_S}
        self._typed_at[guest] = now
        self._spawn(self._tell_typing(openmessaging.typing_call(self._address(lane), at=now)))
        return True

    async def _tell_typing(self, call: Call) -> None:
        """What becomes of it is of no consequence."""
        slot = self._pace.take(self._errand_keys, self.clock.now())
        with contextlib.suppress(Unreachable, GuestWireError):
            await self._call(call)
        slot.answered(self.clock.now())

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
            outcome = self._judge_report(await self._call(self._receipt(lane, errand)))
        except NotSent as error:
            self._bar(error)
            outcome = Failed(str(error))
        except (Unreachable, GuestWireError) as error:
            outcome = Failed(str(error))  # told twice is told once: a receipt has no second meaning
        finally:
            slot.answered(self.clock.now())
            self._emit(ErrandEnded(lane.guest_ref, errand.seq, outcome))

    def _receipt(self, lane: LaneInfo, errand: Errand) -> Call:
        body = errand.body
        return openmessaging.receipt_call(
            self._address(lane), body["gateway_id"], body["status"], at=body["at"], reason=body.get("reason")
        )

    def _judge_report(self, answer: Answer) -> Outcome:
        if answer.status in (200, 202):
            return Accepted(GatewayMessageId(""), source="response")
        found = refusal_of(answer.status, answer.headers, answer.body, now=self.clock.now(), trust_unavailable=True)
        if isinstance(found, Barred):
            # The message that it is about is not known (any more): nobody waits for this receipt.
            is_gone = found.what == "place"
            return Refused(answer.status, found.reason) if is_gone else Failed(found.reason)
        return Failed(found.reason) if isinstance(found, Unknown) else found


class _Shut(Exception):
    """A conversation that will never be readable."""


class _Unread(Exception):
    """A conversation that could not be read this time."""

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.retry_s = retry_s
