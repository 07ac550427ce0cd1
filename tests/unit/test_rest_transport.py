"""A REST way out whose platform cannot be reached: who tries again, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from guestwire.errors import AuthenticationError, GuestWireError
from guestwire.model import Accepted, GuestKey, GuestRef, Outcome, PartBody, PartId, SessionState, Throttled, Unknown
from guestwire.net import Answer, NotSent, Unreachable
from guestwire.policy.pace import Pace
from guestwire.protocol.openmessaging import Call
from guestwire.settings import Destination, RelaySettings
from guestwire.testing import FakeClock
from guestwire.transports.base import Attempt, Attempted, DestinationTrouble, LaneInfo, LaneReady, TransportEvent
from guestwire.transports.rest_contract import RestContractTransport

TIMING = RelaySettings(answer_s=10.0, reconnect_base_s=1.0, reconnect_cap_s=30.0)
TAKEN = Answer(200, {}, msgspec.json.encode({"id": "m1"}))
PERMISSION = Answer(
    403,
    {},
    msgspec.json.encode({"code": "missing.permissions", "messageParams": {"permissions": "messaging:x:write"}}),
)


class Platform:
    """A `Caller` that answers each call with what comes next: an answer, or an error to raise."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: list[Answer | Exception] = []

    async def call(self, call: Call) -> Answer:
        """One call."""
        self.calls.append(call)
        answer = self.answers.pop(0) if self.answers else TAKEN
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ready(self) -> None:
        """There is a token."""

    async def refresh(self) -> None:
        """There is another."""

    async def close(self) -> None:
        """Nothing to close."""


class Driven:
    """The transport in the hands of a test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.platform = Platform()
        self.events: list[TransportEvent] = []
        self.transport = RestContractTransport(
            Destination(name="t", transport="rest-contract", url="http://127.0.0.1:1"),
            self.platform,
            timing=TIMING,
            pace=Pace([]),
            errand_keys=(),
            clock=self.clock,
            emit=self.events.append,
            draw=lambda: 1.0,
        )

    async def turns(self) -> None:
        """Let what is due happen."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def after(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        await self.turns()

    async def want(self, *guests: str) -> None:
        """Make lanes ready."""
        for guest in guests:
            lane = LaneInfo(GuestRef(guest), "token", SessionState.NONE, guest=GuestKey(guest))
            self.transport.want(lane)
        await self.turns()

    async def send(self, guest: str, *answers: Answer | Exception, part: str = "") -> Outcome:
        """Send a message, which is answered so."""
        self.platform.answers = list(answers)
        before = len(self.told(Attempted))
        self.transport.send(Attempt(PartId(part or f"part of {guest}"), GuestRef(guest), 1, PartBody("hi")))
        await self.turns()
        (told,) = self.told(Attempted)[before:]
        found: Outcome = told.outcome
        return found

    def told(self, kind: type[Any]) -> list[Any]:
        """What it has said of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def ready(self, *guests: str) -> list[str]:
        """Who of these may send."""
        return [guest for guest in guests if self.transport.is_ready(GuestRef(guest))]


@pytest.fixture
async def way() -> AsyncIterator[Driven]:
    """A way out, open."""
    driven = Driven()
    await driven.transport.open()
    yield driven
    await driven.transport.close()


def barred_by(error: Exception | Answer) -> Callable[[Driven], Any]:
    """Send a message that finds out that nothing can go."""
    return lambda way: way.send("ann", error)


@pytest.mark.parametrize("found", [NotSent("refused"), PERMISSION, GuestWireError("no token", code="GW-A003")])
async def test_what_concerns_everybody_holds_everybody_and_costs_no_attempt(
    way: Driven, found: Exception | Answer
) -> None:
    """One finds out; all wait, and it is told once."""
    await way.want("ann", "ben")
    outcome = await way.send("ann", found)
    assert isinstance(outcome, Throttled)
    assert way.ready("ann", "ben") == []
    assert len(way.told(DestinationTrouble)) == 1


async def test_after_a_pause_one_lane_tries_and_then_all_may(way: Driven) -> None:
    """The one that has waited longest; the others learn of its success."""
    await way.want("ann", "ben", "cid")
    await way.send("ann", NotSent("refused"))
    assert way.ready("ann", "ben", "cid") == []
    await way.after(1.0)
    assert way.ready("ann", "ben", "cid") == ["ben"]
    assert isinstance(await way.send("ben", TAKEN), Accepted)
    assert way.ready("ben", "cid") == ["ben", "cid"]
    assert way.told(DestinationTrouble)[-1].error is None


async def test_the_pause_doubles_up_to_its_cap(way: Driven) -> None:
    """1, 2, 4 … 30 seconds, where nobody can be reached; another lane each time."""
    lanes = ["ann", "ben", "cid"]
    await way.want(*lanes)
    await way.send("ann", NotSent("refused"))
    for pause_s in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        await way.want(*lanes)
        await way.after(pause_s - 0.01)
        assert way.ready(*lanes) == []
        await way.after(0.02)
        (trying,) = way.ready(*lanes)
        await way.send(trying, NotSent("refused"))


async def test_a_lane_that_has_no_reason_to_move_passes_the_trial_on(way: Driven) -> None:
    """Its message may be settled, cancelled or not due: the destination must not wait for that."""
    await way.want("ann", "ben", "cid")
    await way.send("ann", NotSent("refused"))
    await way.after(1.0)
    assert way.ready("ben", "cid") == ["ben"]
    await way.after(TIMING.answer_s + 1.0)
    assert way.ready("ben", "cid") == ["cid"]
    await way.after(TIMING.answer_s + 1.0)
    assert way.ready("ben", "cid") == ["ben"]


async def test_a_lane_that_leaves_passes_the_trial_on_at_once(way: Driven) -> None:
    """And where nobody is left, the next one that comes tries."""
    await way.want("ann", "ben")
    await way.send("ann", NotSent("refused"))
    await way.after(1.0)
    assert way.ready("ben") == ["ben"]
    way.transport.leave(GuestRef("ben"))
    await way.want("cid")
    assert way.ready("cid") == ["cid"]


async def test_an_answer_that_is_not_there_is_no_sign_that_it_is_over(way: Driven) -> None:
    """The trial's bytes left and nothing came back: its own outcome is unknown, and the others go on waiting."""
    await way.want("ann", "ben", "cid")
    await way.send("ann", NotSent("refused"))
    await way.after(1.0)
    assert isinstance(await way.send("ben", Unreachable("reset")), Unknown)
    assert way.ready("ben", "cid") == []
    await way.after(2.0)
    assert way.ready("ben", "cid") == ["cid"]


async def test_many_that_find_out_together_are_one_failure(way: Driven) -> None:
    """Sixty-four requests on their way fail at once; the pause is that of one."""
    guests = [f"g{n}" for n in range(64)]
    await way.want(*guests)
    way.platform.answers = [NotSent("refused") for _ in guests]
    for guest in guests:
        way.transport.send(Attempt(PartId(guest), GuestRef(guest), 1, PartBody("hi")))
    await way.turns()
    assert len(way.told(Attempted)) == 64
    assert len(way.told(DestinationTrouble)) == 1
    await way.want("late")
    await way.after(1.01)
    assert way.ready("late") == ["late"]


async def test_a_missing_permission_waits_for_somebody_to_grant_it(way: Driven) -> None:
    """It is tried at the longest pause, and told with the permission's name."""
    await way.want("ann")
    await way.send("ann", PERMISSION)
    (trouble,) = way.told(DestinationTrouble)
    assert isinstance(trouble.error, AuthenticationError)
    assert "messaging:x:write" in str(trouble.error)
    await way.want("ann")
    await way.after(TIMING.reconnect_cap_s - 0.1)
    assert way.ready("ann") == []
    await way.after(0.2)
    assert way.ready("ann") == ["ann"]


async def test_a_forced_refresh_opens_what_a_token_had_barred(way: Driven) -> None:
    """Whoever has mended the client need not wait for the next trial."""
    await way.want("ann", "ben")
    await way.send("ann", Answer(401, {}, b"{}"))
    assert way.ready("ben") == []
    await way.transport.refresh()
    assert way.ready("ben") == ["ben"]


async def test_ready_is_said_once_for_each_lane_that_waits(way: Driven) -> None:
    """Before the first answer nobody is ready; then everybody is told."""
    await way.want("ann", "ben")
    assert {event.guest_ref for event in way.told(LaneReady)} == {"ann", "ben"}
