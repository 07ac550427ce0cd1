"""
What the REST ways out have in common: no sessions, one POST for each attempt, one token for everybody.

A lane is ready when the destination is: it has a token, its organisation is the expected one, and nothing bars it. What
concerns every message (no connection, no token, a missing permission, an unknown integration, a proxy that answers in
the platform's place) is no failure of one: the destination is *barred*, every lane waits without spending attempts, and
after a while one lane alone tries again, another one each time.

An attempt whose connection was never made has surely not arrived. Once the bytes may have left, only the answer counts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, ConfigError, GuestWireError
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
from guestwire.policy.pace import Key, Pace, Slot
from guestwire.policy.retry import backoff_s
from guestwire.protocol.openmessaging import Call
from guestwire.protocol.platform import Barred, is_foreign, json_of, reason_of, refusal_of, wait_s
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import (
    Attempt,
    Attempted,
    DestinationTrouble,
    Emit,
    ErrandEnded,
    LaneInfo,
    LaneReady,
    NoHistory,
    Upload,
    Uploaded,
)
from guestwire.transports.calls import Caller
from guestwire.transports.oauth import NoTokenYet, whose_of

logger = logging.getLogger("guestwire.transports.rest")

#: Guests whose typing can be told.
MAX_KNOWN = 10_000
#: The platform's answer to whom the credentials belong.
ORGANISATION = "/api/v2/organizations/me"
#: What `figures` gives of the window that the platform counts in.
_RATE_HEADERS = {
    "inin-ratelimit-count": "rate_count",
    "inin-ratelimit-allowed": "rate_allowed",
    "inin-ratelimit-reset": "rate_reset_s",
    "X-RateLimit-Remaining": "rate_remaining",
}


class RestTransport:
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
    ) -> None:
        self.clock = clock
        self._destination = destination
        self._caller = caller
        self._timing = timing
        self._pace = pace
        self._errand_keys = errand_keys
        self._emit = emit
        self._draw = draw
        self._agenda = Agenda(clock)
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Lanes that want to move, in the order in which they came.
        self._wanted: dict[GuestRef, LaneInfo] = {}
        #: Lanes that were wanted lately: a guest may type before he has said anything (else).
        self._known: dict[GuestRef, LaneInfo] = {}
        self._typed_at: dict[GuestRef, float] = {}
        self._open = False
        self._preparing = False
        #: Why no lane can move, how often in a row that was so, and the lane that may try all the same.
        self._trouble: GuestWireError | None = None
        self._failures = 0
        self._trial: GuestRef | None = None
        self._trials = 0
        self._retry_set = False
        #: Messages taken so far; and parts that something on the way turned away, with how many there were then.
        self._taken = 0
        self._turned_away: dict[PartId, int] = {}
        self._requests = 0
        self._rates: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._destination.name}, {len(self._tasks)} on their way>"

    # --- what a way out says of itself ---

    def _request(self, lane: LaneInfo, attempt: Attempt) -> Call:
        raise NotImplementedError

    def _accepted(self, answer: Answer) -> Accepted | None:
        raise NotImplementedError

    # --- readiness ---

    async def open(self) -> None:
        """Start the timers; sends nothing yet."""
        self._timer = asyncio.create_task(self._agenda.run())

    def want(self, lane: LaneInfo) -> None:
        """Make a lane ready: the destination must have a token and be as expected, once for all lanes."""
        self._wanted[lane.guest_ref] = self._known[lane.guest_ref] = lane
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        if self._open and self._trouble is None:
            self._emit(LaneReady(lane.guest_ref, replaced=False))
        elif self._open:
            if self._trial is None and not self._retry_set:
                self._next_trial()  # nobody was there when the pause was over
        elif self._trouble is None and not self._preparing:
            self._preparing = True
            self._spawn(self._prepare())

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether `send` may be called for the lane now."""
        if guest not in self._wanted or not self._open:
            return False
        return self._trouble is None or self._trial == guest

    def can_look(self, guest: GuestRef) -> bool:
        """Whether `look` may be called: as `is_ready`."""
        return self.is_ready(guest)

    def leave(self, guest: GuestRef) -> None:
        """The lane is not wanted any more."""
        self._wanted.pop(guest, None)
        if self._trial == guest:
            self._next_trial()

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
            await self._check_organisation()
        except (Unreachable, GuestWireError) as error:
            self._bar(error)
        else:
            self._open = True
            self._unbar()
        finally:
            self._preparing = False

    async def _check_organisation(self) -> None:
        wanted = self._destination.expect_org_id
        if not wanted:
            return
        answer = await self._caller.call(Call("GET", ORGANISATION))
        found = (json_of(answer.body) or {}).get("id") if answer.status == 200 else None
        if 400 <= answer.status < 500 and answer.status not in (408, 429):
            raise AuthenticationError(
                f"{whose_of(self._destination)}: the organisation of its credentials cannot be read "
                f"(HTTP {answer.status})",
                code="GW-A012",
                hint="give the OAuth client's role the permission 'directory:organization:view', or remove "
                "expect_org_id",
            )
        if found is None:
            headers, parsed = answer.headers, json_of(answer.body)
            reason = reason_of(answer.status, parsed, answer.body)
            pause_s = wait_s(headers, parsed, self.clock.now())
            raise NoTokenYet(
                f"{whose_of(self._destination)}: its organisation cannot be read for now: {reason}", pause_s
            )
        if str(found).lower() != wanted:
            raise ConfigError(
                f"destination '{self._destination.name}': its credentials belong to another organisation than "
                "expect_org_id",
                code="GW-C045",
                hint="use the OAuth client of the right organisation: nothing was sent to this one",
            )

    def _bar(self, error: Exception) -> None:
        """Nothing can go; say why, and try again later, with one lane."""
        trouble = self._told(error)
        if str(trouble) != str(self._trouble):
            self._emit(DestinationTrouble(trouble))
        self._trouble, self._trial = trouble, None
        if not self._retry_set:  # many requests on their way find out together
            self._retry_set = True
            self._failures += 1
            self._agenda.at(self.clock.now() + self._pause_s(error), self._try_again)

    def _pause_s(self, error: Exception) -> float:
        timing = self._timing
        if isinstance(error, AuthenticationError | ConfigError):
            return timing.reconnect_cap_s  # somebody has to change something first
        pause_s = backoff_s(self._failures, self._draw(), base_s=timing.reconnect_base_s, cap_s=timing.reconnect_cap_s)
        return max(pause_s, error.retry_after_s) if isinstance(error, NoTokenYet) else pause_s

    def _told(self, error: Exception) -> GuestWireError:
        if isinstance(error, GuestWireError):
            return error
        return GuestWireError(
            f"{self._destination.host} cannot be reached: {error}",
            code="GW-A003",
            hint="check the network, a proxy (HTTPS_PROXY), and 'region' or 'url' of the destination",
        )

    def _try_again(self) -> None:
        """Let one lane find out whether the trouble is over."""
        self._retry_set = False
        if self._trouble is None:
            return
        if not self._open:
            if not self._preparing:
                self._preparing = True
                self._spawn(self._prepare())
            return
        self._next_trial()

    def _next_trial(self) -> None:
        """Let the lane that has waited longest try; another one, should this one find no reason to move."""
        guest = self._trial = next(iter(self._wanted), None)
        if guest is None:
            return
        self._wanted[guest] = self._wanted.pop(guest)  # the last one next time
        self._trials += 1
        turn = self._trials
        # By then an attempt has had its answer, and has said so.
        self._agenda.at(self.clock.now() + self._timing.answer_s + 1.0, lambda: self._pass_on(turn))
        self._emit(LaneReady(guest, replaced=False))

    def _pass_on(self, turn: int) -> None:
        if self._trial is not None and self._trials == turn:
            self._next_trial()

    def _unbar(self) -> None:
        """The destination takes requests: every lane may move."""
        self._failures = 0
        self._trial = None
        if self._trouble is not None:
            self._trouble = None
            self._emit(DestinationTrouble(None))
        for guest in self._wanted:
            self._emit(LaneReady(guest, replaced=False))

    async def refresh(self) -> None:
        """Fetch another token now; what a refused one has barred may go again."""
        await self._caller.refresh()
        if self._open:
            self._unbar()

    # --- attempts ---

    def send(self, attempt: Attempt) -> None:
        """Send one POST. Its answer, or the lack of one, is the outcome."""
        lane = self._wanted.get(attempt.guest_ref)
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
        guest = lane.guest_ref
        if not isinstance(outcome, Accepted):
            self._wanted.pop(guest, None)
            if isinstance(outcome, Unknown):
                self._no_sign(guest)
        elif outcome.conversation_id and guest in self._wanted:
            self._wanted[guest] = msgspec.structs.replace(lane, conversation_id=outcome.conversation_id)

    def _judge(self, attempt: Attempt, answer: Answer) -> Outcome:
        """Say what an answer proves; what concerns every message bars the destination."""
        accepted = self._accepted(answer)
        if accepted is not None:
            self._reached()
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
            self._bar(self._explained(found))
            return Throttled("destination", 0.0, found.reason, found.evidence)
        if isinstance(found, Unknown) and is_foreign(answer.status, answer.body):
            self._bar(Unreachable(found.reason))
        elif isinstance(found, Refused | Failed):
            self._reached()
        return found

    def _is_about(self, attempt: Attempt) -> bool:
        """Whether what stands between turns away this very message: others have passed since it was turned away."""
        before = self._turned_away.get(attempt.part_id)
        self._turned_away[attempt.part_id] = self._taken
        if len(self._turned_away) > MAX_KNOWN:
            del self._turned_away[next(iter(self._turned_away))]
        return before is not None and self._taken > before

    async def _call_aside(self, guest: GuestRef, call: Call, slot: Slot) -> tuple[Answer, Outcome | Barred | None]:
        """
        Make a call that is no message: a look, a receipt, typing. What it shows of the platform is true for messages.

        Returns:
            The answer, and what it refuses; None for a success that is the platform's own.

        Raises:
            Unreachable, GuestWireError: As `Caller.call`.
        """
        try:
            answer = await self._call(call)
        except (NotSent, GuestWireError) as error:
            self._bar(error)
            raise
        except Unreachable:
            self._no_sign(guest)
            raise
        finally:
            slot.answered(self.clock.now())
        if 200 <= answer.status < 300 and not is_foreign(answer.status, answer.body):
            self._reached()
            return answer, None
        found = refusal_of(answer.status, answer.headers, answer.body, now=self.clock.now(), trust_unavailable=True)
        if isinstance(found, Barred) and found.what in ("token", "between"):
            self._bar(self._explained(found))
        elif isinstance(found, Unknown | Failed):
            self._no_sign(guest)
        elif isinstance(found, Throttled):
            # The limit is the token's: everybody waits, as for a message that is turned away.
            self._pace.pause(self._errand_keys[0], self.clock.now() + found.retry_after_s)
        else:
            self._reached()  # it is about this call: a permission of its own, an id that is not known
        return answer, found

    def _no_sign(self, guest: GuestRef) -> None:
        """The lane that tries has learned nothing: the next one has its turn."""
        if self._trial == guest and self._trouble is not None:
            self._bar(self._trouble)

    def _reached(self) -> None:
        if self._trouble is not None:
            self._unbar()
        self._failures = 0

    def _explained(self, barred: Barred) -> GuestWireError:
        """Make an error of what keeps everybody out: what to change, and where."""
        whose = whose_of(self._destination)
        if barred.what == "token":
            return AuthenticationError(
                f"{whose}: the platform takes no token of this OAuth client ({barred.reason})",
                code="GW-A013",
                hint="run 'guestwire doctor'; the client may have been disabled, or belong to another region",
            )
        if barred.what == "between":
            return GuestWireError(
                f"{whose}: something on the way to {self._destination.host} answers in its place ({barred.reason})",
                code="GW-A015",
                hint="a proxy or a firewall: see whether this machine may reach the platform, and HTTPS_PROXY",
            )
        if barred.what == "permission":
            missing = barred.permissions or self.permission or "one that it does not name"
            return AuthenticationError(
                f"{whose}: the OAuth client lacks the permission {missing}",
                code="GW-A014",
                hint=f"give a role with {missing} to the OAuth client (Admin > Integrations > OAuth > Roles)",
            )
        return self._misplaced(barred)

    def _misplaced(self, barred: Barred) -> GuestWireError:
        return ConfigError(
            f"destination '{self._destination.name}': {self._destination.gateway} does not serve this "
            f"({barred.reason})",
            code="GW-C046",
            hint="check 'url' or 'region' of the destination, and its ids",
        )

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
            "barred": float(self._trouble is not None),
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
