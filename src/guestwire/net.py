"""
The edge to the network: TLS, and HTTP requests that are sent once.

aiohttp is imported with the first request: whoever never makes one (most `guestwire` commands) does not pay for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from guestwire.errors import ConfigError

if TYPE_CHECKING:
    import aiohttp

#: Longest answer that is read; a history page of 25 long messages is about a tenth of it.
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Answer(msgspec.Struct, frozen=True):
    """What an HTTP request brought."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError):
            return None


class Unreachable(Exception):
    """No answer: the reason, in words, without anything of the request."""


def tls_context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    """
    Make the TLS settings of a destination: 1.2 at least, verified unless that was switched off by name.

    Args:
        ca_file: Certificates to trust instead of the system's; None: the system's (`SSL_CERT_FILE` is honoured).
        verify: False accepts every certificate. For a test bench, never for guests.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the CA file '{ca_file}' cannot be used: {error}",
            code="GW-C050",
            hint="give a file with certificates in PEM form",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Http:
    """
    A pool of HTTP connections with one set of manners: no redirects, bounded answers, one time-out.

    Args:
        tls: From `tls_context`; None for the default.
        proxy: URL of a proxy, or None.
        timeout_s: For a whole request.
    """

    def __init__(self, *, tls: ssl.SSLContext | None, proxy: str | None, timeout_s: float) -> None:
        self._tls = tls
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """
        Send one GET.

        Raises:
            Unreachable: There was no answer, or one that is too large.
        """
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.get(
                url,
                headers=headers,
                ssl=self._tls if self._tls is not None else True,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                body = await response.content.read(MAX_ANSWER_BYTES + 1)
                while len(body) <= MAX_ANSWER_BYTES and not response.content.at_eof():
                    body += await response.content.read(MAX_ANSWER_BYTES + 1 - len(body))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{type(error).__name__}: {_without_url(error)}") from error
        if len(body) > MAX_ANSWER_BYTES:
            raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return Answer(response.status, response.headers, body)

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            # Source: aiohttp docs, "Graceful Shutdown": one turn of the loop lets the transports close.
            await asyncio.sleep(0)
            self._session = None


async def read_once(url: str, *, tls: ssl.SSLContext | None, proxy: str | None, timeout_s: float) -> Answer:
    """
    Send one GET, on a thread, with the standard library.

    For the one public document that a new guest's first message needs: importing aiohttp for it would take
    longer (0.23 s measured) than everything else that `guestwire send` does.

    Raises:
        Unreachable: There was no answer, or one that is too large.
    """
    return await asyncio.to_thread(_read, url, tls, proxy, timeout_s)


def _read(url: str, tls: ssl.SSLContext | None, proxy: str | None, timeout_s: float) -> Answer:
    from base64 import b64encode
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import unquote, urlsplit

    target, via = urlsplit(url), urlsplit(proxy or url)
    host, port = via.hostname or "", via.port
    secure = target.scheme == "https"
    connection: HTTPConnection = (
        HTTPSConnection(host, port, timeout=timeout_s, context=tls)
        if secure and proxy is None
        else HTTPConnection(host, port, timeout=timeout_s)
    )
    try:
        headers: dict[str, str] = {}
        if proxy is not None and via.username is not None:
            credentials = f"{unquote(via.username)}:{unquote(via.password or '')}"
            headers["Proxy-Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
        if proxy is not None and secure:
            connection = HTTPSConnection(host, port, timeout=timeout_s, context=tls)
            connection.set_tunnel(target.hostname or "", target.port or 443, headers)
            headers = {}
        path = target.path + (f"?{target.query}" if target.query else "")
        connection.request("GET", url if proxy is not None and not secure else path, headers=headers)
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(f"{type(error).__name__}: {_without_url(error)}") from error
    finally:
        connection.close()
    if len(body) > MAX_ANSWER_BYTES:
        raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status, dict(response.headers), body)


def _without_url(error: BaseException) -> str:
    """An error's words, unless they repeat the URL, whose query may hold something private."""
    # aiohttp wraps the system's error in one that prints its own objects.
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    text = str(cause)
    return "" if "://" in text else text[:200]
