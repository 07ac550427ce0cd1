"""Tokens: fetched once for everybody, renewed early, dropped when they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from guestwire.errors import AuthenticationError
from guestwire.net import Answer, Unreachable
from guestwire.testing import FakeClock
from guestwire.transports.oauth import NoTokenYet, Tokens


class Platform:
    """Gives tokens: token-1, token-2 and so on; or whatever it is told to answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[Answer | Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> Answer:
        """One request."""
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return token(f"token-{number}")


def token(value: str, life_s: float | None = 1000.0) -> Answer:
    """The platform's answer."""
    body = {"access_token": value, "token_type": "bearer"} | ({} if life_s is None else {"expires_in": life_s})
    return Answer(200, {}, msgspec.json.encode(body))


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def platform() -> Platform:
    """A platform."""
    return Platform()


def tokens_of(
    ask: Callable[[], Awaitable[Answer]] | None, clock: FakeClock, *, draw: float = 0.0, given: str | None = None
) -> Tokens:
    """The tokens of one client."""
    return Tokens(ask, whose="destination 'kiosk', profile 'prod'", clock=clock, given=given, draw=lambda: draw)


async def test_a_thousand_who_wait_ask_once(platform: Platform, clock: FakeClock) -> None:
    """However many messages want to leave at the start, the platform sees one request for a token."""
    tokens = tokens_of(platform.ask, clock)
    platform.gate.clear()
    waiting = [asyncio.create_task(tokens.get()) for _ in range(1000)]
    await asyncio.sleep(0)
    platform.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"token-1"}
    assert platform.asked == 1


async def test_a_token_is_used_until_four_fifths_of_its_life(platform: Platform, clock: FakeClock) -> None:
    """Then it is renewed in the background, while the old one goes on serving: nobody waits for it."""
    tokens = tokens_of(platform.ask, clock)
    assert await tokens.get() == "token-1"
    clock.advance(799.0)
    assert await tokens.get() == "token-1"
    assert platform.asked == 1
    clock.advance(2.0)
    platform.gate.clear()
    assert await tokens.get() == "token-1"
    await asyncio.sleep(0)
    assert platform.asked == 2
    platform.gate.set()
    await tokens.refresh()  # joins the renewal that is under way
    assert await tokens.get() == "token-2"
    assert platform.asked == 2


@pytest.mark.parametrize(("draw", "renewed_after_s"), [(0.0, 800.0), (0.5, 750.0), (0.999, 700.1)])
async def test_programs_that_started_together_do_not_renew_together(
    platform: Platform, clock: FakeClock, draw: float, renewed_after_s: float
) -> None:
    """Up to a tenth of the life earlier, by chance."""
    tokens = tokens_of(platform.ask, clock, draw=draw)
    await tokens.get()
    clock.advance(renewed_after_s - 0.5)
    await tokens.get()
    await asyncio.sleep(0)
    assert platform.asked == 1
    clock.advance(1.0)
    await tokens.get()
    await asyncio.sleep(0)
    assert platform.asked == 2


async def test_an_ended_token_is_not_used_though_its_renewal_fails(platform: Platform, clock: FakeClock) -> None:
    """While it lives, a failed renewal is nobody's concern; after that everybody hears of it."""
    tokens = tokens_of(platform.ask, clock)
    await tokens.get()
    platform.answers = [Unreachable("down")] * 3
    clock.advance(900.0)
    assert await tokens.get() == "token-1"
    await asyncio.sleep(0)
    clock.advance(200.0)
    with pytest.raises(NoTokenYet) as caught:
        await tokens.get()
    assert "down" in str(caught.value)


async def test_of_a_thousand_that_were_refused_one_renews(platform: Platform, clock: FakeClock) -> None:
    """Each names the token that was refused to it: whoever comes second finds that it has been replaced."""
    tokens = tokens_of(platform.ask, clock)
    first = await tokens.get()
    renewed = await asyncio.gather(*(tokens.renew(first) for _ in range(1000)))
    assert set(renewed) == {"token-2"}
    assert await tokens.renew(first) == "token-2"
    assert platform.asked == 2


async def test_a_forced_refresh_asks_whatever_the_age(platform: Platform, clock: FakeClock) -> None:
    """Before a critical operation somebody may want to see that the credentials are good."""
    tokens = tokens_of(platform.ask, clock)
    await tokens.get()
    await tokens.refresh()
    assert await tokens.get() == "token-2"


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_credentials_that_are_not_taken_are_told_with_their_origin(
    platform: Platform, clock: FakeClock, status: int
) -> None:
    """The error names the profile, says what to compare, and repeats nothing secret."""
    refusal = {"error": "invalid_client", "description": "client not found: 'a-secret-id'"}
    platform.answers = [Answer(status, {}, msgspec.json.encode(refusal))]
    with pytest.raises(AuthenticationError) as caught:
        await tokens_of(platform.ask, clock).get()
    assert caught.value.code == "GW-A010"
    assert "profile 'prod'" in str(caught.value)
    assert "a-secret-id" not in str(caught.value)
    assert "Admin > Integrations > OAuth" in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        Answer(429, {"Retry-After": "7"}, b""),
        Answer(503, {"Retry-After": "7"}, b"<html>"),
        Unreachable("ClientConnectorError"),
        Answer(200, {}, b"<html>please sign in</html>"),
        Answer(200, {}, b'{"token_type": "bearer"}'),
    ],
)
async def test_no_token_for_now_is_no_refusal(platform: Platform, clock: FakeClock, answer: Answer | Exception) -> None:
    """A platform that is busy or away, and a proxy's page, may be better later; then there is a token."""
    platform.answers = [answer]
    tokens = tokens_of(platform.ask, clock)
    with pytest.raises(NoTokenYet) as caught:
        await tokens.get()
    if isinstance(answer, Answer) and "Retry-After" in answer.headers:
        assert caught.value.retry_after_s == 7.0
    assert await tokens.get() == "token-2"


async def test_a_token_that_was_given_is_used_as_it_is(clock: FakeClock) -> None:
    """Nobody can renew it: when it is refused, the error says what is missing."""
    tokens = tokens_of(None, clock, given="mine")
    assert await tokens.get() == "mine"
    clock.advance(1e6)
    assert await tokens.get() == "mine"
    with pytest.raises(AuthenticationError) as caught:
        await tokens.renew("mine")
    assert caught.value.code == "GW-A011"
    assert "client_secret" in caught.value.hint


async def test_a_token_without_a_life_is_renewed_soon(platform: Platform, clock: FakeClock) -> None:
    """What does not say how long it lives is trusted for the shortest life that can be set."""
    platform.answers = [token("short", None)]
    tokens = tokens_of(platform.ask, clock)
    assert await tokens.get() == "short"
    clock.advance(301.0)
    assert await tokens.get() == "token-2"


async def test_one_who_stops_waiting_does_not_stop_the_others(platform: Platform, clock: FakeClock) -> None:
    """A cancelled message must not cancel the request that everybody waits for."""
    tokens = tokens_of(platform.ask, clock)
    platform.gate.clear()
    impatient, patient = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    platform.gate.set()
    assert await patient == "token-1"
    assert impatient.cancelled()


async def test_no_repr_shows_a_token(platform: Platform, clock: FakeClock) -> None:
    """A token is a secret."""
    tokens = tokens_of(platform.ask, clock)
    await tokens.get()
    assert "token-1" not in repr(tokens)


async def test_where_nothing_was_given_nothing_was_refused(clock: FakeClock) -> None:
    """The error speaks of what is missing, not of a token that never was."""
    with pytest.raises(AuthenticationError) as caught:
        await tokens_of(None, clock).get()
    assert "neither client_id and client_secret nor an access_token" in str(caught.value)


async def test_who_waits_while_it_is_closed_is_told(platform: Platform, clock: FakeClock) -> None:
    """As an error that can be caught: nobody has cancelled the one who waits."""
    tokens = tokens_of(platform.ask, clock)
    platform.gate.clear()
    waiting = asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tokens.close()
    with pytest.raises(NoTokenYet):
        await waiting
