"""One contract for every way out: what the relay relies on, whatever the wire behind it is like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from guestwire.clock import SystemClock
from guestwire.emulator.app import Emulator
from guestwire.lane import Route
from guestwire.model import (
    Accepted,
    Errand,
    ErrandKind,
    Failed,
    File,
    GuestKey,
    GuestRef,
    PartBody,
    PartId,
    Refused,
    SessionState,
    Throttled,
    Unknown,
)
from guestwire.routes import routes_of
from guestwire.testing import emulator
from guestwire.transports.base import (
    Attempt,
    Attempted,
    ErrandEnded,
    HistoryRead,
    LaneInfo,
    LaneReady,
    NoHistory,
    TransportEvent,
    Upload,
    Uploaded,
)
from tests.journey.kit import FAST, PATIENCE_S, QUICK, destination, kiosk, own_gateway

ANN = GuestRef("g-ann")
#: The far side of each way out, and its destination there.
WAYS: dict[str, Callable[..., Any]] = {
    "webmessaging": destination,
    "openmessaging": kiosk,
    "rest-contract": own_gateway,
}
#: All of them, and the REST ways once more through the official SDK.
ALL_WAYS = [
    *sorted(WAYS),
    *(
        pytest.param(f"{way} by SDK", marks=pytest.mark.xdist_group("sdk"))
        for way in ("openmessaging", "rest-contract")
    ),
]


class Driven:
    """A transport in the hands of a test that plays the relay."""

    def __init__(self, genesys: Emulator, route: Route, clock: SystemClock, events: list[TransportEvent]) -> None:
        self.genesys = genesys
        self.route = route
        self.transport = route.transport
        self.events = events
        self.clock = clock
        self.lane = LaneInfo(ANN, "token-of-ann-0000000000000000000000", SessionState.NONE, guest=GuestKey("ann"))

    def of(self, kind: type[Any]) -> list[Any]:
        """What it has said of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - a turn of the loop at a time: there is no signal for everything
                await asyncio.sleep(0)

    async def ready(self) -> None:
        """Make the lane ready."""
        self.transport.want(self.lane)
        await self.until(lambda: self.transport.is_ready(ANN))

    def attempt(self, part: str, text: str, number: int = 1) -> Attempt:
        """A part whose attempt is written ahead."""
        shared = self.route.shared
        slot = None if shared is None else shared.pace.take(shared.keys, self.clock.now())
        body = PartBody(text, conversation="conv-1")
        return Attempt(PartId(part), ANN, number, body, said_at=1_800_000_000.0, slot=slot)

    async def send(self, part: str, text: str, number: int = 1) -> Attempted:
        """Send an attempt, and wait for what becomes of it."""
        before = len(self.of(Attempted))
        self.transport.send(self.attempt(part, text, number))
        await self.until(lambda: len(self.of(Attempted)) > before)
        found: Attempted = self.of(Attempted)[-1]
        return found

    def shown(self) -> list[str]:
        """What an agent sees of the guest."""
        return [message["text"] for message in self.genesys.messages() if message["direction"] == "Inbound"]


@contextlib.asynccontextmanager
async def driven(way: str, sdk: Any = None) -> AsyncIterator[Driven]:
    """A transport that is open, and the emulator behind it; through the SDK where it is given."""
    async with emulator(**FAST) as genesys:
        clock, events = SystemClock(), list[TransportEvent]()
        to = WAYS[way](genesys)
        clients = {} if sdk is None else {to.name: sdk.ApiClient(host=genesys.url)}

        async def heard(guest: GuestRef, names: object, before: float) -> set[str]:
            return set()

        routes = routes_of(
            [to], timing=QUICK, clock=clock, emitter=lambda name: events.append, heard=heard, api_clients=clients
        )
        route = routes[to.name]
        await route.transport.open()
        try:
            yield Driven(genesys, route, clock, events)
        finally:
            await route.transport.close()


@pytest.fixture(params=ALL_WAYS)
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Driven]:
    """Each way out in turn."""
    name, _, by_sdk = request.param.partition(" by ")
    async with driven(name, request.getfixturevalue("sdk") if by_sdk else None) as found:
        yield found


async def test_nothing_is_connected_and_no_lane_ready_before_one_is_wanted(way: Driven) -> None:
    """Opening asks nobody anything: a program that only submits leaves no trace at the platform."""
    await asyncio.sleep(0)
    assert not way.transport.is_ready(ANN)
    assert not way.transport.can_look(ANN)
    assert way.genesys.requests() == []


async def test_a_wanted_lane_becomes_ready_and_says_so(way: Driven) -> None:
    """`want` ends in `LaneReady`; wanting twice is wanting once."""
    way.transport.want(way.lane)
    way.transport.want(way.lane)
    await way.until(lambda: way.of(LaneReady))
    assert way.transport.is_ready(ANN)
    assert {event.guest_ref for event in way.of(LaneReady)} == {ANN}


async def test_an_attempt_that_arrives_is_accepted_under_the_platforms_name(way: Driven) -> None:
    """One call, one message on the agent's screen, one `Attempted` for the very part."""
    await way.ready()
    told = await way.send("0198a1b2-0000-7000-8000-000000000001", "hello")
    assert (told.guest_ref, told.part_id) == (ANN, "0198a1b2-0000-7000-8000-000000000001")
    assert isinstance(told.outcome, Accepted)
    assert told.outcome.gateway_id
    assert way.shown() == ["hello"]
    assert len(way.of(Attempted)) == 1


async def test_messages_of_a_lane_arrive_in_the_order_in_which_they_were_sent(way: Driven) -> None:
    """The relay sends the next when the last is answered; the transport adds no disorder of its own."""
    await way.ready()
    for number in range(5):
        await way.until(lambda: way.transport.is_ready(ANN))
        await way.send(f"0198a1b2-0000-7000-8000-00000000001{number}", f"message {number}")
    assert way.shown() == [f"message {number}" for number in range(5)]


async def test_an_attempt_for_a_lane_that_is_not_ready_surely_did_not_leave(way: Driven) -> None:
    """The relay may lose a race with the transport; then nothing was sent, and it is told so at once."""
    told = await way.send("0198a1b2-0000-7000-8000-000000000002", "nobody hears this")
    assert isinstance(told.outcome, Failed | Throttled)
    assert way.shown() == []


async def test_the_transport_sends_nothing_twice_by_itself(way: Driven) -> None:
    """A lost answer is the relay's to judge: one request reached the platform, and the outcome is unknown."""
    await way.ready()
    if way.route.shared:
        way.genesys.inject("http_drop_after", match={"path": "mess"})
    else:
        way.genesys.inject("drop_after_accept")
    told = await way.send("0198a1b2-0000-7000-8000-000000000003", "once")
    assert isinstance(told.outcome, Unknown)
    assert way.shown() == ["once"]


async def test_a_look_ends_with_what_there_is_or_with_that_there_is_nothing(way: Driven) -> None:
    """After an accepted message the history shows it; a way out without one says so, and does not raise."""
    await way.ready()
    await way.send("0198a1b2-0000-7000-8000-000000000004", "look for me")
    way.genesys.advance(5.0)  # past the lag of the history
    await way.until(lambda: way.transport.can_look(ANN))
    way.transport.look(ANN, None)
    await way.until(lambda: way.of(HistoryRead) or way.of(NoHistory))
    for read in way.of(HistoryRead):
        assert [entity.text for entity in read.entities] == ["look for me"]


@pytest.mark.parametrize("kind", ["close", "clear", "start_new", "join", "receipt"])
async def test_every_errand_ends_once(way: Driven, kind: ErrandKind) -> None:
    """What a way out does not know is refused, never left unanswered: a lane would wait for ever."""
    await way.ready()
    body = {"everywhere": True, "gateway_id": "unknown", "status": "Delivered", "at": 1_800_000_000.0}
    await way.until(lambda: way.transport.can_look(ANN))
    way.transport.carry_out(way.lane, Errand(7, kind, body))
    await way.until(lambda: way.of(ErrandEnded))
    assert [(event.guest_ref, event.seq) for event in way.of(ErrandEnded)] == [(ANN, 7)]


async def test_an_upload_ends_once(way: Driven) -> None:
    """A way out that takes no contents refuses them; nobody waits for ever."""
    await way.ready()
    file = File("digest", "a.txt", "text/plain", 5)
    way.transport.upload(Upload(PartId("0198a1b2-0000-7000-8000-000000000005"), ANN, file, b"hello"))
    await way.until(lambda: way.of(Uploaded))
    (told,) = way.of(Uploaded)
    assert told.outcome is None or isinstance(told.outcome, Refused)


async def test_closing_ends_what_is_in_flight_as_unknown_and_says_nothing_afterwards(way: Driven) -> None:
    """The bytes may have arrived. After `close` has returned, nothing more is emitted."""
    await way.ready()
    if way.route.shared:
        way.genesys.inject("http_silent", match={"path": "mess"})
    else:
        way.genesys.inject("silent_peer", accept=True)
    way.transport.send(way.attempt("0198a1b2-0000-7000-8000-000000000006", "the last words"))
    await way.until(lambda: way.genesys.state()["faults_fired"])
    await way.transport.close()
    (told,) = way.of(Attempted)
    assert isinstance(told.outcome, Unknown)
    said = len(way.events)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(way.events) == said


async def test_typing_is_told_or_not_and_never_raises(way: Driven) -> None:
    """A guest who is not there types to nobody."""
    assert way.transport.type(GuestRef("g-nobody")) is False
    await way.ready()
    assert way.transport.type(ANN) in (True, False)


async def test_following_visiting_and_leaving_need_no_session(way: Driven) -> None:
    """The relay calls these for every way out alike."""
    way.transport.follow(way.lane)
    way.transport.unfollow(ANN)
    way.transport.visit(way.lane)
    way.transport.leave(ANN)
    way.transport.discard(ANN, "no such upload")
    assert all(isinstance(value, float) for value in way.transport.figures().values())


async def test_no_repr_gives_a_secret_or_a_guest_away(way: Driven) -> None:
    """A logged transport, lane or attempt shows neither token nor text nor the caller's key."""
    attempt = way.attempt("0198a1b2-0000-7000-8000-000000000007", "a private text")
    for shown in (repr(way.transport), repr(way.lane), repr(attempt), str(way.events)):
        for secret in (way.lane.token, "a private text", way.genesys.client_secret):
            assert secret not in shown
    assert "'ann'" not in repr(way.lane)
