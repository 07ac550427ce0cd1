"""
The edge to the network: TLS, and HTTP requests that are sent once, to anybody or to where a `Guard` lets them go.

aiohttp is imported with the first request: whoever never makes one (most `guestwire` commands) does not pay for it.
No error of this module holds anything of a URL but its host: paths and queries carry keys (presigned URLs, webhooks).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import msgspec

from guestwire.errors import ConfigError
from guestwire.policy.failures import is_unsent
from guestwire.policy.reach import address_refusal, is_allowed, refusal

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

    from guestwire.settings import Destination

#: Longest answer that is read; a history page of 25 long messages is about a tenth of it.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: How much of the answer to a POST or a PUT is kept: those answer with a status and a few words.
KEPT_BYTES = 64 * 1024
#: A body leaves in slices of this size, so that its progress can be told.
SLICE_BYTES = 64 * 1024
#: What aiohttp would add of its own to a request that has to go out as it was signed.
_UNASKED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

#: Names to addresses: takes host and port, gives every address in numbers, or raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Answer(msgspec.Struct, frozen=True):
    """What an HTTP request brought."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"  # tokens stand in bodies, and in Location

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeError):
            return None


class Unreachable(Exception):
    """No answer: the reason, in words, without anything of the request but the host."""


class NotSent(Unreachable):
    """No connection was made, so nothing of the request has left."""


class Forbidden(NotSent):
    """The guard does not let the request go there; it would say the same next time. Nothing was sent."""


class Guard(msgspec.Struct, frozen=True):
    """Lets requests go to public addresses alone, over https; see `guestwire.policy.reach.refusal`."""

    allow: tuple[str, ...] = ()
    """``host`` or ``host:port`` that are open wherever they lead, over plain http too: an emulator on loopback, a
    receiver in one's own network. IPv6 in brackets."""


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


def tls_of(destination: Destination) -> ssl.SSLContext:
    """Make the TLS settings that a destination asks for."""
    ca_file = None if destination.ca_file is None else str(destination.ca_file)
    return tls_context(ca_file, verify=destination.tls.verify)


def guard_of(destination: Destination) -> Guard:
    """Return what may be reached at a gateway's word: public addresses, and a gateway of one's own may name itself."""
    return Guard(allow=() if destination.url is None else (urlsplit(destination.url).netloc,))


class Http:
    """
    A pool of HTTP connections with one set of manners: sent once, no redirects, bounded answers, one time-out.

    With a guard, the URL is looked at before anything else, every address of its host is checked, and the connection
    goes to one of the checked addresses: nobody asks the resolver a second time, so a name that changes its mind
    between check and connect gains nothing. Redirects are answers, never followed.

    With a guard and a proxy, the proxy resolves the name and connects. Then the URL's spelling, scheme, local names and
    IP addresses written out are checked, and where a name leads is not: that a proxy must refuse by rules of its own.

    Args:
        tls: From `tls_context`; None for the default.
        proxy: URL of a proxy, or None.
        timeout_s: For a whole request.
        guard: Where requests may go; None: anywhere, for URLs that the operator himself has set.
        resolve: Another resolver than the system's.
        connections: As many requests are on their way at once; the others wait.
        connect_s: For a connection to be made, within the time for the whole; what fails in it was surely not sent.
        plain: Ask for bodies that are not compressed, and inflate none: a small answer may stand for gigabytes.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None,
        proxy: str | None,
        timeout_s: float,
        guard: Guard | None = None,
        resolve: Resolve | None = None,
        connections: int = 100,
        connect_s: float | None = None,
        plain: bool = False,
    ) -> None:
        self._connect_s = connect_s
        self._connections = connections
        self._plain = plain
        self._tls = tls
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._guard = guard
        self._resolve = resolve or _addresses_of
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """
        Send a GET.

        Raises:
            Forbidden: The guard refuses the URL or an address of its host.
            Unreachable: There was no answer, or one that is larger than `MAX_ANSWER_BYTES`.
        """
        answer = await self._request("GET", url, headers, most=MAX_ANSWER_BYTES + 1)
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return answer

    async def head(self, url: str) -> Answer:
        """Send a HEAD; as `get`."""
        return await self._request("HEAD", url, None, most=0)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, keep_bytes: int = KEPT_BYTES) -> Answer:
        """
        Send a POST.

        Returns:
            The answer, of whose body `keep_bytes` are read at most.

        Raises:
            Forbidden, Unreachable: As for `get`.
        """
        return await self._request("POST", url, headers, most=keep_bytes, data=body)

    async def put(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        on_progress: Callable[[int], None] | None = None,
    ) -> Answer:
        """
        Send a PUT with these headers, Content-Length and Host, and no others: presigned URLs are particular.

        Args:
            url: Where to; with a guard it is sent in the very spelling in which it came, and so in which it was signed.
            headers: All of them.
            body: Sent in slices of `SLICE_BYTES`.
            on_progress: Takes the number of bytes handed to the system so far, after each slice.

        Returns:
            The answer, of whose body `KEPT_BYTES` are read at most.

        Raises:
            Forbidden, Unreachable: As for `get`.
        """
        exact = {**headers, "Content-Length": str(len(body))}  # without it, aiohttp sends chunks
        return await self._request(
            "PUT", url, exact, most=KEPT_BYTES, data=_slices(body, on_progress), skip_auto_headers=_UNASKED
        )

    async def delete(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send a DELETE; as `post`."""
        return await self._request("DELETE", url, headers, most=KEPT_BYTES)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None, *, most: int, **options: Any
    ) -> Answer:
        """Send one request; read `most` bytes of the answer's body."""
        import aiohttp
        from yarl import URL

        if self._guard is not None and (reason := refusal(url, (), self._guard.allow)) is not None:
            raise Forbidden(f"the URL {reason}")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The proxy's own address is the operator's choice.
                connector=aiohttp.TCPConnector(
                    resolver=self._checked_resolver() if self._is_pinned else None, limit=self._connections
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_once,),
                auto_decompress=not self._plain,
                headers={"Accept-Encoding": "identity"} if self._plain else None,
            )
        try:
            async with self._session.request(
                method,
                # What the guard lets through is printable ASCII, and goes out byte for byte.
                URL(url, encoded=True) if self._guard is not None else url,
                headers=headers,
                ssl=self._tls if self._tls is not None else True,
                proxy=self._proxy,
                allow_redirects=False,
                **options,
            ) as response:
                body = await response.content.read(most) if most else b""
                while len(body) < most and not response.content.at_eof():
                    body += await response.content.read(most - len(body))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            _raise_unreachable(error, url)
        if response.status == 407 and self._proxy is not None:
            raise NotSent("the proxy wants other credentials (HTTP 407)")
        return Answer(response.status, response.headers, body)

    @property
    def _is_pinned(self) -> bool:
        return self._guard is not None and self._proxy is None

    def _checked_resolver(self) -> AbstractResolver:
        """A resolver that gives addresses only if the guard has nothing against any of them."""
        from aiohttp.abc import AbstractResolver, ResolveResult

        resolve, allow = self._resolve, self._guard.allow if self._guard is not None else ()

        class Checked(AbstractResolver):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
            ) -> list[ResolveResult]:
                addresses = await resolve(host, port)
                if not is_allowed(host, port, allow):
                    reasons = (address_refusal(address) for address in addresses)
                    if (reason := next(filter(None, reasons), None)) is not None:
                        raise Forbidden(f"the URL {reason}")
                return [
                    ResolveResult(
                        hostname=host,
                        host=address,
                        port=port,
                        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                        proto=0,
                        flags=socket.AI_NUMERICHOST,
                    )
                    for address in addresses
                ]

            async def close(self) -> None:
                """Nothing is held."""

        return Checked()

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()
            # Source: aiohttp docs, "Graceful Shutdown": one turn of the loop lets the transports close.
            await asyncio.sleep(0)
            self._session = None


async def _slices(body: bytes, on_progress: Callable[[int], None] | None) -> AsyncIterator[bytes]:
    """A body piece by piece; each is asked for when the one before has been handed to the system."""
    for start in range(0, len(body), SLICE_BYTES):
        piece = body[start : start + SLICE_BYTES]
        yield piece
        if on_progress is not None:
            on_progress(start + len(piece))


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET or a PUT again when the connection breaks: whoever sends counts, and decides."""
    import aiohttp

    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        _raise_unreachable(error, str(request.url))


async def _addresses_of(host: str, port: int) -> list[str]:
    """Every address that the system's resolver knows for a name."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(address[0]) for _, _, _, _, address in found]


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
        _raise_unreachable(error, url)
    finally:
        connection.close()
    if len(body) > MAX_ANSWER_BYTES:
        raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status, dict(response.headers), body)


def _raise_unreachable(error: BaseException, url: str) -> NoReturn:
    """
    Tell what kind of error it was, and the system's own words for it.

    The words of others are left out: they may quote the URL, or what the far side wrote. Then the error itself is not
    chained either, because a traceback would print it.
    """
    kind = NotSent if is_unsent(error) else Unreachable
    # aiohttp wraps the system's error in one that prints its own objects.
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    name, words = type(error).__name__, str(cause)[:200]
    private = ["://", *filter(None, re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[1:]), *url.split("?")[1:]]
    if not isinstance(cause, OSError) or any(one in text for one in private for text in (str(error), words)):
        raise kind(name) from None
    raise kind(f"{name}: {words}" if words else name) from error


def mind_loop(loop: asyncio.AbstractEventLoop) -> None:
    """
    Keep one known slip out of the log of a loop that is ours.

    Where a peer closes within a TLS handshake, what picows speaks TLS with (aiofastnet 1.2.0) reports the *class* of
    the error to the loop, whose own handler then fails over it, with two tracebacks. The connection itself is told
    rightly, and tried again.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), type):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
