"""
What the REST ways out have in common: no sessions, one POST for each attempt, one token for everybody.

A lane is ready when the destination is: it has a token, its organisation is the expected one, and nothing bars it. What
concerns every message is no failure of one: the destination is *barred* (see `barrier`), and no attempt is spent.

An attempt whose connection was never made has surely not arrived. Once the bytes may have left, only the answer counts.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from guestwire.clock import Clock
from guestwire.errors import GuestWireError
from guestwire.model import (
    Accepted,
    CaughtUp,
    Errand,
    Failed,
    GuestRef,
    Outcome,
    PartId,
    Refused,
    Throttled,
    Unknown,
)
from guestwire.net import Answer, NotSent, Unreachable
from guestwire.policy.pace import Key, Pace, Slot, UseKind
from guestwire.protocol.openmessaging import Call
from guestwire.protocol.platform import Barred, is_foreign, refusal_of
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.agenda import Agenda
from guestwire.transports.barrier import Barrier
from guestwire.transports.base import (
    Attempt,
    Attempted,
    Emit,
    ErrandEnded,
    LaneInfo,
    NoHistory,
    Spend,
    Upload,
    Uploaded,
    spend_nothing,
)
from guestwire.transports.calls import Caller
from guestwire.transports.troubles import explained, require_organisation, trouble_of

logger = logging.getLogger("guestwire.transports.rest")

#: Guests whose typing can be told.
MAX_KNOWN = 10_000
#: The platform's answer to whom the credentials belong.
ORGANISATION = "/api/v2/organizations/me"
NOBODY = GuestRef("")
#: What `figures` gives of the window that the platform counts in.
_RATE_HEADERS = {
    "inin-ratelimit-count": "rate_count",
    "inin-ratelimit-allowed": "rate_allowed",
    "inin-ratelimit-reset": "rate_reset_s",
    "X-RateLimit-Remaining": "rate_remaining",
}


class RestTransport(abc.ABC):
    """
    One destination over REST. A way out says what its requests are (`_request`) and what accepts them (`_accepted`).

    Args:
        destination: Where and how.
        caller: Makes the calls; closed with this.
        timing: The relay's patience.
        pace: The windows of the destination's token.
        errand_keys: Those of a request beside messages; for messages the relay takes the places.
        clock: The time.
        emit: Takes what is learned.
        draw: Random numbers from [0, 1), for jitter.
        spend: Writes down what leaves beside messages, for the relay after this one; default: nothing.
    """

    #: The permission without which nothing goes.
    permission = ""

    def __init__(
        self,
        destination: Destination,
        caller: Caller,
        *,
        timing: RelaySettings,
        pace: Pace,
        errand_keys: tuple[Key, ...],
        clock: Clock,
        emit: Emit,
        draw: Callable[[], float] = random.random,
        spend: Spend = spend_nothing,
    ) -> None:
        self.clock = clock
        self._destination = destination
        self._caller = caller
        self._timing = timing
        self._pace = pace
        self._errand_keys = errand_keys
        self._emit = emit
        self._spend = spend
        self._agenda = Agenda(clock)
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Lanes that were wanted lately: a guest may type before he has said anything (else).
        self._known: dict[GuestRef, LaneInfo] = {}
        self._barrier = Barrier(
            timing=timing,
            clock=clock,
            agenda=self._agenda,
            emit=emit,
            prepare=lambda: self._spawn(self._prepare()),
            draw=draw,
        )
        #: Messages taken so far; and parts that something on the way turned away, with how many there were then.
        self._taken = 0
        self._turned_away: dict[PartId, int] = {}
        self._requests = 0
        self._rates: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._destination.name}, {len(self._tasks)} on their way>"

    # --- what a way out says of itself ---

    @abc.abstractmethod
    def _request(self, lane: LaneInfo, attempt: Attempt) -> Call:
        """Write an attempt as a request."""

    @abc.abstractmethod
    def _accepted(self, answer: Answer) -> Accepted | None:
        """Read the documented acceptance; None: the answer is none."""

    # --- readiness ---

    async def open(self) -> None:
        """Start the timers; sends nothing yet."""
        self._timer = asyncio.create_task(self._agenda.run())

    def want(self, lane: LaneInfo) -> None:
        """Make a lane ready: the destination must have a token and be as expected, once for all lanes."""
        self._known[lane.guest_ref] = lane
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._barrier.want(lane)

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether `send` may be called for the lane now."""
        return self._barrier.lets_pass(guest)

    def can_look(self, guest: GuestRef) -> bool:
        """Whether `look` may be called: as `is_ready`."""
        return self._barrier.lets_pass(guest)

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more."""
        self._barrier.leave(guest)

    def follow(self, lane: LaneInfo) -> None:
        """Nothing to keep open: replies come to the webhook."""

    def unfollow(self, guest: GuestRef) -> None:
        """Nothing to let go."""

    def visit(self, lane: LaneInfo) -> None:
        """Nothing to fetch: what was said has been sent to the webhook."""
        self._emit(CaughtUp(lane.guest_ref))

    async def _prepare(self) -> None:
        """Have a token, and see that it belongs to the right organisation."""
        try:
            await self._caller.ready()
            if self._destination.expect_org_id:
                slot = await self._place()
                try:
                    await self._spend("call", NOBODY)
                    answer = await self._caller.call(Call("GET", ORGANISATION))
                finally:
                    slot.answered(self.clock.now())
                require_organisation(answer, self._destination, self.clock.now())
        except (Unreachable, GuestWireError) as error:
            self._bar(error)
        else:
            self._barrier.unbar()

    async def _place(self) -> Slot:
        """Take a place for a request beside messages, as soon as there is one."""
        while (held := self._pace.admits(self._errand_keys, now := self.clock.now())) is not None:
            await self.clock.wait(asyncio.Event(), min(held.until, now + 1.0))
        return self._pace.take(self._errand_keys, now)

    def _bar(self, error: Exception) -> None:
        self._barrier.bar(trouble_of(error, self._destination))

    async def refresh(self) -> None:
        """Fetch another token now; what a refused one has barred may go again."""
        await self._caller.refresh()
        if self._barrier.is_prepared:
            self._barrier.unbar()

    # --- attempts ---

    def send(self, attempt: Attempt) -> None:
        """Send one POST. Its answer, or the lack of one, is the outcome."""
        lane = self._barrier.wanted.get(attempt.guest_ref)
        if lane is None or not self.is_ready(attempt.guest_ref):
            self._free(attempt, sent=False)
            failed = Throttled("destination", 0.0, "the destination was barred before sending")
            self._emit(Attempted(attempt.guest_ref, attempt.part_id, failed))
            return
        self._spawn(self._attempt(lane, attempt))

    async def _attempt(self, lane: LaneInfo, attempt: Attempt) -> None:
        outcome: Outcome = Unknown("the sending process was stopped before the answer came")
        sent = True
        try:
            outcome = self._judge(attempt, await self._call(self._request(lane, attempt)))
        except (NotSent, GuestWireError) as error:
            self._bar(error)
            sent = False
            outcome = Throttled("destination", 0.0, f"surely not sent: {error}")
        except Unreachable as error:
            outcome = Unknown(f"no answer: {error}")
        finally:
            self._attempted(lane, outcome)
            self._free(attempt, sent=sent)
            self._emit(Attempted(attempt.guest_ref, attempt.part_id, outcome))

    def _attempted(self, lane: LaneInfo, outcome: Outcome) -> None:
        """A lane whose message was not accepted may have to wait for a time of its own: it is wanted when it can go."""
        guest, wanted = lane.guest_ref, self._barrier.wanted
        if isinstance(outcome, Unknown):
            self._barrier.learned_nothing(guest)
        if not isinstance(outcome, Accepted):
            self._barrier.leave(guest)
        elif outcome.conversation_id and guest in wanted:
            wanted[guest] = msgspec.structs.replace(lane, conversation_id=outcome.conversation_id)

    def _judge(self, attempt: Attempt, answer: Answer) -> Outcome:
        """Say what an answer proves; what concerns every message bars the destination."""
        accepted = self._accepted(answer)
        if accepted is not None:
            self._barrier.reached()
            self._taken += 1
            self._turned_away.pop(attempt.part_id, None)
            return accepted
        found = refusal_of(
            answer.status,
            answer.headers,
            answer.body,
            now=self.clock.now(),
            trust_unavailable=self._destination.retry.trust_unavailable,
        )
        if isinstance(found, Barred) and found.what == "between" and self._is_about(attempt):
            return Refused(answer.status, found.reason, found.evidence)
        if isinstance(found, Barred):
            self._bar(explained(found, self._destination, permission=self.permission))
            return Throttled("destination", 0.0, found.reason, found.evidence)
        if isinstance(found, Unknown) and is_foreign(answer.status, answer.body):
            self._bar(Unreachable(found.reason))
        elif isinstance(found, Refused | Failed):
            self._barrier.reached()
        return found

    def _is_about(self, attempt: Attempt) -> bool:
        """Whether what stands between turns away this very message: others have passed since it was turned away."""
        before = self._turned_away.get(attempt.part_id)
        self._turned_away[attempt.part_id] = self._taken
        if len(self._turned_away) > MAX_KNOWN:
            del self._turned_away[next(iter(self._turned_away))]
        return before is not None and self._taken > before

    async def _call_aside(
        self, guest: GuestRef, call: Call, slot: Slot, kind: UseKind = "call"
    ) -> tuple[Answer, Outcome | Barred | None]:
        """
        Make a call that is no message: a look, a receipt, typing. What it shows of the platform is true for messages.

        Returns:
            The answer, and what it refuses; None for a success that is the platform's own.

        Raises:
            Unreachable, GuestWireError: As `Caller.call`.
        """
        try:
            await self._spend(kind, guest)
            answer = await self._call(call)
        except (NotSent, GuestWireError) as error:
            self._bar(error)
            raise
        except Unreachable:
            self._barrier.learned_nothing(guest)
            raise
        finally:
            slot.answered(self.clock.now())
        if 200 <= answer.status < 300 and not is_foreign(answer.status, answer.body):
            self._barrier.reached()
            return answer, None
        found = refusal_of(answer.status, answer.headers, answer.body, now=self.clock.now(), trust_unavailable=True)
        if isinstance(found, Barred) and found.what in ("token", "between"):
            self._bar(explained(found, self._destination, permission=self.permission))
        elif isinstance(found, Unknown | Failed):
            self._barrier.learned_nothing(guest)
        elif isinstance(found, Throttled):
            # The limit is the token's: everybody waits, as for a message that is turned away.
            now = self.clock.now()
            self._pace.throttled(self._errand_keys[0], now + found.retry_after_s, now)
        else:
            self._barrier.reached()  # it is about this call: a permission of its own, an id that is not known
        return answer, found

    async def _call(self, call: Call) -> Answer:
        self._requests += 1
        answer = await self._caller.call(call)
        for header, name in _RATE_HEADERS.items():
            value = answer.headers.get(header)
            if value is not None and value.isdecimal():
                self._rates[name] = float(value[:9])
        return answer

    def _free(self, attempt: Attempt, *, sent: bool) -> None:
        if attempt.slot is None:
            return
        if sent:
            attempt.slot.answered(self.clock.now())
        else:
            attempt.slot.unused()

    # --- what most ways do not have ---

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """There is nothing to look into."""
        self._emit(NoHistory(guest, "this way out has no way to look"))

    def upload(self, upload: Upload) -> None:
        """Files go by address alone; our rules have refused anything else."""
        refused = Refused(0, "this way out takes files by their address alone")
        self._emit(Uploaded(upload.guest_ref, upload.part_id, "", refused))

    def discard(self, guest: GuestRef, upload_id: str) -> None:
        """There are no uploads."""

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """There are no sessions to do anything with."""
        refused = Refused(0, f"{self._destination.transport} has no sessions, so it does not know '{errand.kind}'")
        self._emit(ErrandEnded(lane.guest_ref, errand.seq, refused))

    def type(self, guest: GuestRef) -> bool:
        """Nobody can be told that a guest types."""
        return False

    # --- life ---

    def figures(self) -> dict[str, float]:
        """Counters since the start, and the platform's own count of its window."""
        return {
            "requests": float(self._requests),
            "in_flight": float(len(self._tasks)),
            "barred": float(self._barrier.trouble is not None),
            **self._rates,
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a request ended unforeseen", exc_info=error, extra={"action": "request_failed"})

    async def close(self) -> None:
        """Let every request go; those without an answer end `Unknown`."""
        tasks = [task for task in (*self._tasks, self._timer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._caller.close()
