"""The contract of all transports, held by every way out; the REST ways once more through the vendor's SDK."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from guestwire.clock import SystemClock
from guestwire.emulator.app import Emulator
from guestwire.lane import Route
from guestwire.model import GuestKey, GuestRef, SessionState, Unknown
from guestwire.routes import routes_of
from guestwire.testing import ScriptedTransport, emulator
from guestwire.testing.transports import FarSide, TransportContract
from guestwire.transports.base import Attempt, LaneInfo, TransportEvent
from tests.journey.kit import FAST, QUICK, destination, kiosk, own_gateway

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


ANN = LaneInfo(GuestRef("g-ann"), "token-of-ann-0000000000000000000000", SessionState.NONE, guest=GuestKey("ann"))


class EmulatedFarSide(FarSide):
    """The emulator behind one of our transports."""

    def __init__(self, genesys: Emulator, route: Route, clock: SystemClock, events: list[TransportEvent]) -> None:
        super().__init__(route.transport, ANN, events, secrets=[genesys.client_secret])
        self._genesys = genesys
        self._route = route
        self._clock = clock

    def requests(self) -> Sequence[object]:
        """As its log has them."""
        return self._genesys.requests()

    def shown(self) -> list[str]:
        """As its agents see them."""
        return [message["text"] for message in self._genesys.messages() if message["direction"] == "Inbound"]

    def lose_the_next_answer(self) -> None:
        """A fault of its own for HTTP and for sockets."""
        if self._route.shared:
            self._genesys.inject("http_drop_after", match={"path": "mess"})
        else:
            self._genesys.inject("drop_after_accept")

    def fall_silent(self) -> None:
        """The same."""
        if self._route.shared:
            self._genesys.inject("http_silent", match={"path": "mess"})
        else:
            self._genesys.inject("silent_peer", accept=True)

    def has_fallen_silent(self) -> bool:
        """Whether it has fired."""
        return bool(self._genesys.state()["faults_fired"])

    def let_history_settle(self) -> None:
        """Past its lag."""
        self._genesys.advance(5.0)

    def slot(self) -> Any:
        """Of the windows that all guests share."""
        shared = self._route.shared
        return None if shared is None else shared.pace.take(shared.keys, self._clock.now())


@contextlib.asynccontextmanager
async def driven(way: str, sdk: Any = None) -> AsyncIterator[FarSide]:
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
            yield EmulatedFarSide(genesys, route, clock, events)
        finally:
            await route.transport.close()


class TestOurTransports(TransportContract):
    """Each way out in turn."""

    @pytest.fixture(params=ALL_WAYS)
    async def far_side(self, request: pytest.FixtureRequest) -> AsyncIterator[FarSide]:
        """One of them."""
        name, _, by_sdk = request.param.partition(" by ")
        async with driven(name, request.getfixturevalue("sdk") if by_sdk else None) as found:
            yield found


# --- what the suite sees ---


class CarelessTransport(ScriptedTransport):
    """Sends again by itself what was not answered, shows in its `repr` whom it serves, and answers for the dead."""

    def send(self, attempt: Attempt) -> None:
        """Try twice."""
        super().send(attempt)
        if attempt.guest_ref not in self.unanswered:
            self.show(attempt)

    def want(self, lane: LaneInfo) -> None:
        """Remember the token."""
        super().want(lane)
        self.token = lane.token

    def __repr__(self) -> str:
        return f"CarelessTransport({self.token})"

    async def close(self) -> None:
        """Believe that what is in flight arrived."""
        for attempt in list(self.unanswered.values()):
            self.answer(attempt, self.show(attempt))


class ScriptedFarSide(FarSide):
    """A platform made of a script."""

    def __init__(self, kind: type[ScriptedTransport]) -> None:
        events: list[TransportEvent] = []
        self.scripted = kind(events.append)
        super().__init__(self.scripted, ANN, events)

    def requests(self) -> Sequence[object]:
        """Every attempt."""
        return self.scripted.sent

    def shown(self) -> list[str]:
        """Those that arrived."""
        return [attempt.body.text for attempt in self.scripted.visible]

    def lose_the_next_answer(self) -> None:
        """It arrives, and nobody knows."""

        def lose(attempt: Attempt) -> Unknown:
            self.scripted.show(attempt)
            return Unknown("the script says so")

        self.scripted._script = lose

    def fall_silent(self) -> None:
        """It stays unanswered."""
        self.scripted._script = lambda attempt: None

    def has_fallen_silent(self) -> bool:
        """Whether something is."""
        return bool(self.scripted.unanswered)

    def let_history_settle(self) -> None:
        """It shows everything at once."""


async def test_the_suite_sees_what_a_careless_transport_does() -> None:
    """One that sends when no lane is ready, sends twice, guesses at its end or tells a secret does not pass."""
    suite = TransportContract()

    async def fails(test: Callable[[FarSide], Any], kind: type[ScriptedTransport]) -> bool:
        try:
            await test(ScriptedFarSide(kind))
        except AssertionError:
            return True
        return False

    # It asks nobody whether a lane is ready: the relay does.
    not_ready = suite.test_an_attempt_for_a_lane_that_is_not_ready_surely_did_not_leave
    assert await fails(not_ready, ScriptedTransport)
    for test in (
        suite.test_an_attempt_that_arrives_is_accepted_under_the_platforms_name,
        suite.test_the_transport_sends_nothing_twice_by_itself,
        suite.test_messages_of_a_lane_arrive_in_the_order_in_which_they_were_sent,
        suite.test_closing_ends_what_is_in_flight_and_says_nothing_afterwards,
    ):
        assert not await fails(test, ScriptedTransport)
        assert await fails(test, CarelessTransport)
    careless = ScriptedFarSide(CarelessTransport)
    await careless.ready()
    with pytest.raises(AssertionError):
        await suite.test_no_repr_gives_a_secret_or_a_guest_away(careless)
