"""How the far side is asked: each question once, through the proxy that its host wants. HTML is no answer."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Literal

from guestwire.doctor.checks import Spot
from guestwire.net import Answer, Http
from guestwire.settings import Destination


class Page(Exception):
    """HTML came where none belongs."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(host)
        self.host = host
        self.status = status


class Asking:
    """
    The requests of one examination.

    Args:
        destination: Which is looked at.
        tls: From `guestwire.net.tls_of`.
        timeout_s: For a whole request.
    """

    def __init__(self, destination: Destination, tls: ssl.SSLContext, timeout_s: float) -> None:
        self._destination = destination
        self._tls = tls
        self._timeout_s = timeout_s
        self._https: dict[str | None, Http] = {}
        #: What calls are made with, once there is one. Secret.
        self.token: str | None = None
        #: What the platform says it allows a minute, once it has said it.
        self.allowed: int | None = None

    def __repr__(self) -> str:
        return f"<Asking {self._destination.host}>"

    async def get(self, url: str, headers: Mapping[str, str] | None = None, *, may_be_page: bool = False) -> Answer:
        """
        Send a GET.

        Raises:
            Page: The answer is one, and may not be.
            Unreachable: There was none.
        """
        answer = await self._http(url).get(url, headers)
        return answer if may_be_page else no_page(url, answer)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a POST. Raises as `get`."""
        return no_page(url, await self._http(url).post(url, headers, body))

    async def call(self, method: Literal["GET", "POST"], path: str, body: bytes = b"") -> Answer:
        """Ask the platform, with the token, and note what it allows. Raises as `get`."""
        url = self._destination.gateway + path
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if method == "GET":
            answer = await self.get(url, headers)
        else:
            answer = await self.post(url, {**headers, "Content-Type": "application/json"}, body)
        allowed = allowed_of(answer)
        if allowed is not None:
            self.allowed = allowed
        return answer

    async def close(self) -> None:
        """Let connections go."""
        for http in self._https.values():
            await http.close()

    def _http(self, url: str) -> Http:
        spot = Spot.of(url)
        proxy = self._destination.proxy_for(spot.host, secure=spot.secure)
        if proxy not in self._https:
            self._https[proxy] = Http(tls=self._tls, proxy=proxy, timeout_s=self._timeout_s, plain=True)
        return self._https[proxy]


def no_page(url: str, answer: Answer) -> Answer:
    """
    Return the answer, unless it is a web page: no service of the platform gives one, but whoever stands before it does.

    Raises:
        Page: It is one.
    """
    start = answer.body[:200].lstrip().lower()
    if "text/html" in answer.headers.get("Content-Type", "").lower() or start.startswith((b"<!doctype html", b"<html")):
        raise Page(str(Spot.of(url)), answer.status)
    return answer


def allowed_of(answer: Answer) -> int | None:
    """Return how many requests a minute an answer says are allowed; None: it says nothing."""
    allowed = answer.headers.get("inin-ratelimit-allowed", "")
    return int(allowed) if re.fullmatch("[0-9]{1,9}", allowed) else None
