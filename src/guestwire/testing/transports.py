"""
What every way out guarantees, whatever the wire behind it is like: a suite for your own, under pytest.

    from guestwire.testing.transports import FarSide, TransportContract

    class TestMyTransport(TransportContract):
        @pytest.fixture
        async def far_side(self) -> AsyncIterator[FarSide]:
            async with my_platform() as platform:
                yield MyFarSide(platform)

The tests are coroutines: pytest-asyncio runs them. The test plays the relay; the platform behind the transport is
yours, and `FarSide` says what it has to be able to do.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from guestwire.model import (
    Accepted,
    Errand,
    ErrandKind,
    Failed,
    File,
    GuestRef,
    PartBody,
    PartId,
    Refused,
    Throttled,
    Unknown,
)
from guestwire.transports.base import (
    Attempt,
    Attempted,
    ErrandEnded,
    HistoryRead,
    LaneInfo,
    LaneReady,
    NoHistory,
    Transport,
    TransportEvent,
    Upload,
    Uploaded,
)

#: How long a test waits for what must come, in seconds.
PATIENCE_S = 15.0


class FarSide(abc.ABC):
    """
    A transport that is open, and the platform behind it.

    Args:
        transport: The one to be tried; it emits into `events`.
        lane: A guest of its destination, whom it has not met.
        events: What the transport has said, in order.
        secrets: What it must not show in any `repr`.
    """

    def __init__(
        self, transport: Transport, lane: LaneInfo, events: list[TransportEvent], *, secrets: Sequence[str] = ()
    ) -> None:
        self.transport = transport
        self.lane = lane
        self.guest = lane.guest_ref
        self.events = events
        self.secrets = (lane.token, *secrets)

    # --- what a subclass brings ---

    @abc.abstractmethod
    def requests(self) -> Sequence[object]:
        """Everything that the platform was asked so far."""

    @abc.abstractmethod
    def shown(self) -> list[str]:
        """The texts that an agent sees from the guest, in order."""

    @abc.abstractmethod
    def lose_the_next_answer(self) -> None:
        """The next message arrives and is shown; the connection breaks before its answer."""

    @abc.abstractmethod
    def fall_silent(self) -> None:
        """The next message arrives; the connection stays, and nothing is answered any more."""

    @abc.abstractmethod
    def has_fallen_silent(self) -> bool:
        """Whether that message has arrived."""

    @abc.abstractmethod
    def let_history_settle(self) -> None:
        """Let the platform's time pass until its history shows what was sent."""

    def slot(self) -> Any:
        """Return what the relay's pace hands to an attempt, where the way out shares a limit; None: it does not."""
        return None

    # --- what a test does ---

    def of(self, kind: type[Any]) -> list[Any]:
        """Return what the transport has said of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - a turn of the loop at a time: there is no signal for everything
                await asyncio.sleep(0)

    async def ready(self) -> None:
        """Make the lane ready."""
        self.transport.want(self.lane)
        await self.until(lambda: self.transport.is_ready(self.guest))

    def attempt(self, part: str, text: str, number: int = 1) -> Attempt:
        """Return a part whose attempt is written ahead."""
        body = PartBody(text, conversation="conv-1")
        return Attempt(PartId(part), self.guest, number, body, said_at=1_800_000_000.0, slot=self.slot())

    async def send(self, part: str, text: str, number: int = 1) -> Attempted:
        """Send an attempt, and wait for what becomes of it."""
        before = len(self.of(Attempted))
        self.transport.send(self.attempt(part, text, number))
        await self.until(lambda: len(self.of(Attempted)) > before)
        found: Attempted = self.of(Attempted)[-1]
        return found


@pytest.mark.asyncio
class TransportContract:
    """What the relay relies on. A subclass whose name begins with ``Test`` brings the fixture `far_side`."""

    @pytest.fixture
    def far_side(self) -> FarSide:
        """Yours."""
        raise NotImplementedError("a subclass of TransportContract brings the fixture 'far_side': a transport, open")

    async def test_nothing_is_connected_and_no_lane_ready_before_one_is_wanted(self, far_side: FarSide) -> None:
        """Opening asks nobody anything: a program that only submits leaves no trace at the platform."""
        await asyncio.sleep(0)
        assert not far_side.transport.is_ready(far_side.guest)
        assert not far_side.transport.can_look(far_side.guest)
        assert not far_side.requests()

    async def test_a_wanted_lane_becomes_ready_and_says_so(self, far_side: FarSide) -> None:
        """`want` ends in `LaneReady`; wanting twice is wanting once."""
        far_side.transport.want(far_side.lane)
        far_side.transport.want(far_side.lane)
        await far_side.until(lambda: far_side.of(LaneReady))
        assert far_side.transport.is_ready(far_side.guest)
        assert {event.guest_ref for event in far_side.of(LaneReady)} == {far_side.guest}

    async def test_an_attempt_that_arrives_is_accepted_under_the_platforms_name(self, far_side: FarSide) -> None:
        """One call, one message on the agent's screen, one `Attempted` for the very part."""
        await far_side.ready()
        told = await far_side.send("0198a1b2-0000-7000-8000-000000000001", "hello")
        assert (told.guest_ref, told.part_id) == (far_side.guest, "0198a1b2-0000-7000-8000-000000000001")
        assert isinstance(told.outcome, Accepted)
        assert told.outcome.gateway_id
        assert far_side.shown() == ["hello"]
        assert len(far_side.of(Attempted)) == 1

    async def test_messages_of_a_lane_arrive_in_the_order_in_which_they_were_sent(self, far_side: FarSide) -> None:
        """The relay sends the next when the last is answered; the transport adds no disorder of its own."""
        await far_side.ready()
        for number in range(5):
            await far_side.until(lambda: far_side.transport.is_ready(far_side.guest))
            await far_side.send(f"0198a1b2-0000-7000-8000-00000000001{number}", f"message {number}")
        assert far_side.shown() == [f"message {number}" for number in range(5)]

    async def test_an_attempt_for_a_lane_that_is_not_ready_surely_did_not_leave(self, far_side: FarSide) -> None:
        """The relay may lose a race with the transport; then nothing was sent, and it is told so at once."""
        told = await far_side.send("0198a1b2-0000-7000-8000-000000000002", "nobody hears this")
        assert isinstance(told.outcome, Failed | Throttled)
        assert far_side.shown() == []

    async def test_the_transport_sends_nothing_twice_by_itself(self, far_side: FarSide) -> None:
        """A lost answer is the relay's to judge: one request reached the platform, and the outcome is unknown."""
        await far_side.ready()
        far_side.lose_the_next_answer()
        told = await far_side.send("0198a1b2-0000-7000-8000-000000000003", "once")
        assert isinstance(told.outcome, Unknown)
        assert far_side.shown() == ["once"]

    async def test_a_look_ends_with_what_there_is_or_with_that_there_is_nothing(self, far_side: FarSide) -> None:
        """After an accepted message the history shows it; a way out without one says so, and does not raise."""
        await far_side.ready()
        await far_side.send("0198a1b2-0000-7000-8000-000000000004", "look for me")
        far_side.let_history_settle()
        await far_side.until(lambda: far_side.transport.can_look(far_side.guest))
        far_side.transport.look(far_side.guest, None)
        await far_side.until(lambda: far_side.of(HistoryRead) or far_side.of(NoHistory))
        for read in far_side.of(HistoryRead):
            assert [entity.text for entity in read.entities] == ["look for me"]

    @pytest.mark.parametrize("kind", ["close", "clear", "start_new", "join", "receipt"])
    async def test_every_errand_ends_once(self, far_side: FarSide, kind: ErrandKind) -> None:
        """What a way out does not know is refused, never left unanswered: a lane would wait for ever."""
        await far_side.ready()
        body = {"everywhere": True, "gateway_id": "unknown", "status": "Delivered", "at": 1_800_000_000.0}
        await far_side.until(lambda: far_side.transport.can_look(far_side.guest))
        far_side.transport.carry_out(far_side.lane, Errand(7, kind, body))
        await far_side.until(lambda: far_side.of(ErrandEnded))
        assert [(event.guest_ref, event.seq) for event in far_side.of(ErrandEnded)] == [(far_side.guest, 7)]

    async def test_an_upload_ends_once(self, far_side: FarSide) -> None:
        """A way out that takes no contents refuses them; nobody waits for ever."""
        await far_side.ready()
        file = File("digest", "a.txt", "text/plain", 5)
        far_side.transport.upload(
            Upload(PartId("0198a1b2-0000-7000-8000-000000000005"), far_side.guest, file, b"hello")
        )
        await far_side.until(lambda: far_side.of(Uploaded))
        (told,) = far_side.of(Uploaded)
        assert told.outcome is None or isinstance(told.outcome, Refused)

    async def test_closing_ends_what_is_in_flight_and_says_nothing_afterwards(self, far_side: FarSide) -> None:
        """The bytes may have arrived. After `close` has returned, nothing more is emitted."""
        await far_side.ready()
        far_side.fall_silent()
        far_side.transport.send(far_side.attempt("0198a1b2-0000-7000-8000-000000000006", "the last words"))
        await far_side.until(far_side.has_fallen_silent)
        await far_side.transport.close()
        (told,) = far_side.of(Attempted)
        assert isinstance(told.outcome, Unknown)
        said = len(far_side.events)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(far_side.events) == said

    async def test_typing_is_told_or_not_and_never_raises(self, far_side: FarSide) -> None:
        """A guest who is not there types to nobody."""
        assert far_side.transport.type(GuestRef("g-nobody")) is False
        await far_side.ready()
        assert far_side.transport.type(far_side.guest) in (True, False)

    async def test_following_visiting_and_leaving_need_no_session(self, far_side: FarSide) -> None:
        """The relay calls these for every way out alike."""
        far_side.transport.follow(far_side.lane)
        far_side.transport.unfollow(far_side.guest)
        far_side.transport.visit(far_side.lane)
        far_side.transport.leave(far_side.guest)
        far_side.transport.discard(far_side.guest, "no such upload")
        assert all(isinstance(value, float) for value in far_side.transport.figures().values())

    async def test_no_repr_gives_a_secret_or_a_guest_away(self, far_side: FarSide) -> None:
        """A logged transport, lane or attempt shows neither token nor text nor the caller's key."""
        attempt = far_side.attempt("0198a1b2-0000-7000-8000-000000000007", "a private text")
        for shown in (repr(far_side.transport), repr(far_side.lane), repr(attempt), str(far_side.events)):
            for secret in (*far_side.secrets, "a private text"):
                assert secret not in shown
        assert not far_side.lane.guest or repr(far_side.lane.guest) not in repr(far_side.lane)
