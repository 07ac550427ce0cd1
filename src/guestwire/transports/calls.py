"""
Who makes the calls to a platform's REST interface: our own HTTP client, or a user's SDK (`transports.sdk`).

A caller puts a request on the wire at most once, but for one case: an answer of 401 proves that nothing was processed,
so with a fresh token the same request goes out a second time.
"""

from __future__ import annotations

import functools
from typing import Protocol
from urllib.parse import quote, urlencode

import msgspec

from guestwire.net import KEPT_BYTES, MAX_ANSWER_BYTES, Answer, Http
from guestwire.protocol.openmessaging import Call
from guestwire.transports.oauth import Tokens


class Caller(Protocol):
    """Makes calls with the destination's credentials."""

    async def call(self, call: Call) -> Answer:
        """
        Make one call.

        Raises:
            NotSent: Surely nothing of the request has left.
            Unreachable: It may have, and there was no answer.
            AuthenticationError: There is no token to be had. Nothing was sent.
            NoTokenYet: There is none for now. Nothing was sent.
        """

    async def ready(self) -> None:
        """Have a token. Raises as `call`; returns at once where there is one."""

    async def refresh(self) -> None:
        """Fetch another token, whatever the age of the one there is. Raises as `call`."""

    async def close(self) -> None:
        """Let connections go."""


@functools.lru_cache(maxsize=256)
def _address(base: str, path: str, query: tuple[tuple[str, str], ...]) -> str:
    """Write an address. Every message of a destination has the same: kept, it saves each of them some microseconds."""
    return base + quote(path) + (f"?{urlencode(query)}" if query else "")


class HttpCaller:
    """
    Calls over our own HTTP client.

    Args:
        base: Base address, without a slash at its end.
        http: For the calls; closed with this.
        tokens: Whose token goes with them; None: none is wanted.
    """

    def __init__(self, base: str, http: Http, tokens: Tokens | None) -> None:
        self._base = base
        self._http = http
        self._tokens = tokens

    async def call(self, call: Call) -> Answer:
        """Make one call; see `Caller`."""
        if self._tokens is None:
            return await self._send(call, None)
        token = await self._tokens.get()
        answer = await self._send(call, token)
        if answer.status != 401:
            return answer
        # Refused before it was processed: the one case in which the same bytes may leave again by themselves.
        return await self._send(call, await self._tokens.renew(token))

    async def _send(self, call: Call, token: str | None) -> Answer:
        url = _address(self._base, call.path, call.query)
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if call.method == "GET":
            return await self._http.get(url, headers)
        headers["Content-Type"] = "application/json"
        most = MAX_ANSWER_BYTES if call.is_listing else KEPT_BYTES
        return await self._http.post(url, headers, msgspec.json.encode(call.body), keep_bytes=most)

    async def ready(self) -> None:
        """Have a token."""
        if self._tokens is not None:
            await self._tokens.get()

    async def refresh(self) -> None:
        """Fetch another token."""
        if self._tokens is not None:
            await self._tokens.refresh()

    async def close(self) -> None:
        """Let connections go."""
        if self._tokens is not None:
            await self._tokens.close()
        await self._http.close()
