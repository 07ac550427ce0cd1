"""
Bearer tokens: fetched before the first message, renewed before they end, by one call however many wait for it.

A token is renewed in the background at 80 % of its life, less some jitter, so that no message waits for that; the old
one serves until then. When the platform refuses it all the same (401), whoever noticed says *which* token was refused:
only the first of a thousand drops it and asks for another, the others find the new one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, GuestWireError
from guestwire.net import Answer, Http, Unreachable
from guestwire.protocol.platform import Token, TokenLater, TokenRefused, token_of, token_request
from guestwire.settings import Destination

#: A token is renewed when so much of its life has passed, less a jitter of up to `EARLY`.
RENEW_AT, EARLY = 0.8, 0.1
#: A renewal in the background that failed is tried again after this, in seconds.
AGAIN_S = 5.0

#: Asks for a token, once.
Ask = Callable[[], Awaitable[Answer]]


class NoTokenYet(GuestWireError):
    """The platform gives no token for now."""

    def __init__(self, reason: str, retry_after_s: float, *, is_foreign: bool = False) -> None:
        super().__init__(
            reason,
            code="GW-A015" if is_foreign else "GW-A003",
            hint="check the network, a proxy (HTTPS_PROXY), and 'region', 'url' or 'login_url' of the destination",
        )
        self.retry_after_s = retry_after_s


class Tokens:
    """
    The token of one OAuth client.

    Args:
        ask: Sends one request for a token.
        whose: In errors: which destination, and where its credentials come from.
        clock: The time.
        given: A token of the caller's own; it is used as it is, and nobody can renew it.
        draw: Random numbers from [0, 1), for jitter.
    """

    def __init__(
        self,
        ask: Ask | None,
        *,
        whose: str,
        clock: Clock,
        given: str | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._ask = ask
        self._whose = whose
        self._clock = clock
        self._draw = draw
        self._value = given
        self._was_given = given is not None
        self._renew_at = float("inf")
        self._ends_at = float("inf")
        self._fetching: asyncio.Task[str] | None = None
        #: Requests for a token so far.
        self.fetches = 0

    def __repr__(self) -> str:
        return f"<Tokens of {self._whose}, {self.fetches} fetched>"

    async def get(self) -> str:
        """
        Return a token that is still good.

        Raises:
            AuthenticationError: GW-A010, the credentials are not taken; GW-A011, there are none.
            NoTokenYet: GW-A003, the platform cannot be asked for now.
        """
        now = self._clock.now()
        if self._value is not None and now < self._ends_at:
            if now >= self._renew_at and self._ask is not None:
                self._renew_at = now + AGAIN_S  # if this one fails, which shows when the token in use has ended
                self._fetch()
            return self._value
        return await self._fetched()

    async def _fetched(self) -> str:
        """Wait for the request that is under way; who stops waiting does not stop it for the others."""
        task = self._fetch()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise NoTokenYet(f"{self._whose}: closed while a token was awaited", AGAIN_S) from None
            raise

    async def renew(self, refused: str) -> str:
        """Return another token than the one that was refused. Raises as `get`."""
        if self._value == refused:
            self._value = None
        return await self.get()

    async def refresh(self) -> None:
        """Fetch a token now, whatever the age of the one there is. Raises as `get`."""
        await self._fetched()

    def _fetch(self) -> asyncio.Task[str]:
        """Ask for a token, or wait with those who have asked already."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_once())
            self._fetching.add_done_callback(_seen)  # perhaps nobody waits for it (any more)
        return self._fetching

    async def _fetch_once(self) -> str:
        if self._ask is None:
            what = (
                "the access token is not taken (any more), and there are no credentials to get another"
                if self._was_given
                else "it has neither client_id and client_secret nor an access_token"
            )
            raise AuthenticationError(
                f"{self._whose}: {what}",
                code="GW-A011",
                hint="set client_id and client_secret (GENESYSCLOUD_OAUTHCLIENT_ID, GENESYSCLOUD_OAUTHCLIENT_SECRET), "
                "or a fresh access_token",
            )
        self.fetches += 1
        try:
            answer = await self._ask()
        except Unreachable as error:
            raise NoTokenYet(f"{self._whose}: no answer to the request for a token: {error}", AGAIN_S) from None
        now = self._clock.now()
        match token_of(answer.status, answer.headers, answer.body, now=now):
            case Token(value, life_s):
                self._value = value
                self._renew_at = now + life_s * (RENEW_AT - EARLY * self._draw())
                self._ends_at = now + life_s
                return value
            case TokenRefused(reason):
                raise AuthenticationError(
                    f"{self._whose}: the platform does not take the OAuth client's credentials ({reason})",
                    code="GW-A010",
                    hint="compare client id and secret with Admin > Integrations > OAuth, and the region with the "
                    "organisation's; the client needs the grant 'client credentials'",
                )
            case TokenLater(reason, retry_after_s, is_foreign):
                words = "something on the way answers in its place" if is_foreign else "no token for now"
                raise NoTokenYet(f"{self._whose}: {words}: {reason}", retry_after_s, is_foreign=is_foreign)

    async def close(self) -> None:
        """Stop asking."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _seen(task: asyncio.Task[str]) -> None:
    if not task.cancelled():
        task.exception()


def whose_of(destination: Destination) -> str:
    """Say in an error whose credentials it is about, and where they come from. Never the credentials."""
    whose = f"destination '{destination.name}'"
    if destination.profile is not None:
        whose += f", profile '{destination.profile}'"
    return f"{whose}, credentials of {destination.credentials_from}" if destination.credentials_from else whose


def tokens_of(destination: Destination, http: Http, *, clock: Clock) -> Tokens | None:
    """
    Make the tokens of a destination; None where it wants none: a gateway of one's own without credentials.

    Args:
        destination: Whose credentials.
        http: Sends the requests for tokens.
        clock: The time.
    """
    whose = whose_of(destination)
    given = None if destination.access_token is None else destination.access_token.reveal()
    client_id, secret = destination.client_id, destination.client_secret
    if client_id is None or secret is None:
        if given is None and destination.transport != "openmessaging":
            return None
        return Tokens(None, whose=whose, clock=clock, given=given)
    whose += f", OAuth client {client_id}"

    async def ask() -> Answer:
        headers, body = token_request(client_id, secret.reveal())
        return await http.post(destination.token_url, headers, body)

    return Tokens(ask, whose=whose, clock=clock, given=given)
