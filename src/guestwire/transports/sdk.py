"""
Calls through a user's `ApiClient` of the vendor's SDK (`PureCloudPlatformClientV2`), made safe.

The SDK as it is sends a POST up to eleven times when its answer is lost, follows redirects, knows no time-out and lets
four requests through at once (release 269; `python -m benchmarks lost_answer` counts). All of that lies in its HTTP
client, so another one takes its place, by the SDK's own public hook: `AbstractHttpClient` and
`ApiClient.set_http_client`. The alternative, writing into the dictionaries of the SDK's connection pool, holds only
until the next release of either library.

Every call is made by a copy of the user's client that lives for that one call. It has his default headers, cookie,
gateway and logging as they are at that moment, and an HTTP client for one single request: nothing in the SDK can send
it a second time, and no call sees another's `last_response`. The user's own client stays as it is, its HTTP client
included, but for one thing: where the destination has credentials, and the user's client no token of its own, it is
given the token that guestwire uses, and each one after that.

What it was told about proxy, certificates, mTLS and verification is read from the SDK's `Configuration` when the caller
is made, with the meaning that the SDK itself gives it. Models are not used: they drop `customAttributes`, and replace
whatever their release does not know.

The SDK is never imported from here before somebody has handed over one of its objects: it takes seconds, and 200 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, ConfigError
from guestwire.net import MAX_ANSWER_BYTES, SLICE_BYTES, Answer, NotSent, Unreachable
from guestwire.protocol.openmessaging import Call
from guestwire.protocol.platform import token_request
from guestwire.settings import Destination, RelaySettings, TlsSettings
from guestwire.transports.oauth import Tokens

if TYPE_CHECKING:
    import urllib3
    from urllib3.connection import HTTPConnection

#: Loggers of the host program that importing the SDK makes silent, and how it does.
MUTED_LOGGERS = ("urllib3", "watchdog")
_MUTED = logging.CRITICAL + 1
#: Requests that may be under way beside the messages: a token, and a look.
BESIDE = 2
#: Threads that still hang when the caller is closed are waited for so long, in seconds; then they end by themselves.
CLOSE_S = 2.0
#: What stands in a path as it is; the rest is quoted. Percent signs: whoever wrote the path has quoted already.
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"
_FORM = "application/x-www-form-urlencoded"


def sdk_caller_of(destination: Destination, api_client: Any, *, clock: Clock, timing: RelaySettings) -> SdkCaller:
    """
    Make the caller of a destination that goes through an `ApiClient`, and give the host program its loggers back.

    Args:
        destination: What it is for. Its OAuth client or access token is used where it has one, and the SDK client's
            token where not.
        api_client: A `PureCloudPlatformClientV2.ApiClient` whose host is the destination's.
        clock: The time.
        timing: The relay's patience: `answer_s` for a whole request, `connect_timeout_s` for its connection.

    Raises:
        ConfigError: GW-C006, it is no ApiClient; GW-C012, it contradicts the destination or has an HTTP client of its
            own; GW-C050, its certificates cannot be read.
    """
    _check(destination, api_client)
    unmute_loggers()
    return SdkCaller(
        api_client,
        destination=destination,
        clock=clock,
        connect_s=min(timing.connect_timeout_s, timing.answer_s),
        total_s=timing.answer_s,
        width=destination.limits.max_in_flight,
    )


def unmute_loggers() -> list[str]:
    """
    Undo what importing the SDK did to the host program's loggers; returns the names of those it was done to.

    Only a logger with the very settings that the SDK gives (level 51, not propagated) is touched. What it was before
    nobody knows any more: it becomes a logger that was never configured.
    """
    muted = [logging.getLogger(name) for name in MUTED_LOGGERS]
    muted = [logger for logger in muted if logger.level == _MUTED and not logger.propagate]
    for logger in muted:
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    return [logger.name for logger in muted]


class SdkCaller:
    """
    Calls through an `ApiClient`; see `guestwire.transports.calls.Caller`, and the module for what is done to it.

    Requests wait on threads, as many as `width` and `BESIDE`; the event loop never does. A call that is cancelled
    while it waits for a thread is never sent. One that is under way loses its connection: whether the request arrived
    nobody knows then.

    Args:
        api_client: A `PureCloudPlatformClientV2.ApiClient`.
        destination: What it is for.
        clock: The time.
        connect_s: For a connection to be made, in seconds.
        total_s: For a whole request, in seconds.
        width: Messages on their way at once.
    """

    def __init__(
        self,
        api_client: Any,
        *,
        destination: Destination,
        clock: Clock,
        connect_s: float,
        total_s: float,
        width: int,
    ) -> None:
        self._client = api_client
        self._host = str(api_client.host).rstrip("/")
        self._total_s = total_s
        self._token_url = _token_url_of(destination, api_client)
        self._own = _own_tokens_of(destination, self._ask_token, clock)
        self._tokens: _TokenSource = self._own or _Borrowed(
            self._token_of_client,
            whose=f"destination '{destination.name}'",
            needed=destination.transport == "openmessaging",
        )
        self._lent = ""
        self._pools = _pools_of(_configuration(), width=width + BESIDE, connect_s=connect_s, read_s=total_s)
        self._threads = ThreadPoolExecutor(width + BESIDE, thread_name_prefix="guestwire-sdk")
        self._gate = threading.Lock()
        self._flights: set[_Flight] = set()
        self._busy: set[Future[Answer]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<SdkCaller {_shown_place(self._host)}, {len(self._flights)} on their way>"

    async def call(self, call: Call) -> Answer:
        """Make one call."""
        token = await self._tokens.get()
        answer = await self._send(call, token)
        if answer.status != 401 or token is None:
            return answer
        # Refused before it was processed: the one case in which the same bytes may leave again by themselves.
        return await self._send(call, await self._tokens.renew(token))

    async def ready(self) -> None:
        """Have a token."""
        await self._tokens.get()

    async def refresh(self) -> None:
        """Fetch another token."""
        await self._tokens.refresh()

    async def close(self) -> None:
        """Give up what is on its way, end the threads, close the connections. The user's client stays as it is."""
        self._closed = True
        await self._tokens.close()
        # First those that wait for a thread: each that is given up frees one.
        busy = [asyncio.wrap_future(future) for future in list(self._busy) if not future.cancel()]
        for flight in self._flights:
            flight.give_up()
        for future in busy:
            future.add_done_callback(_seen)  # who waited for it has been told
        if busy:
            await asyncio.wait(busy, timeout=CLOSE_S)
        self._threads.shutdown(wait=False)
        for key in self._pools.pools.keys():  # noqa: SIM118 - it has no iteration of its own
            pool = self._pools.pools.get(key)
            if pool is not None:
                pool.close()
        self._pools.clear()

    # --- tokens ---

    def _token_of_client(self) -> str:
        """What the SDK itself would send."""
        return str(self._client.access_token or _configuration().access_token or "")

    async def _ask_token(self, client_id: str, client_secret: str) -> Answer:
        """Ask for a token as `ApiClient.get_client_credentials_token` does, which would forget how long it lives."""
        headers, _ = token_request(client_id, client_secret)
        sdk = _sdk()

        def work(flight: _Flight) -> None:
            options = sdk.HttpRequestOptions(
                url=self._token_url, method="POST", headers=headers, post_params={"grant_type": "client_credentials"}
            )
            sdk.Once(flight, self._pools, self._client.http_client).request(options)

        return await self._fly(work)

    def _lend(self, token: str | None) -> None:
        """Give the user's client a token of ours, unless it has one that is not."""
        if self._own is not None and token is not None and self._client.access_token in ("", None, self._lent):
            self._client.access_token = self._lent = token

    # --- requests ---

    async def _send(self, call: Call, token: str | None) -> Answer:
        """Make one request."""
        self._lend(token)
        headers = {"Accept": "application/json"}
        if call.method == "POST":
            headers["Content-Type"] = "application/json"

        def work(flight: _Flight) -> None:
            client = copy.copy(self._client)
            client.host = self._host
            client.access_token = token or ""
            client.refresh_token = ""  # with one, the SDK would renew by itself, and send again
            client.set_http_client(_sdk().Once(flight, self._pools, self._client.http_client))
            client.call_api(
                quote(call.path, safe=_PATH_CHARACTERS),
                call.method,
                query_params=dict(call.query),
                header_params=headers,
                body=call.body,
                auth_settings=["PureCloud OAuth"] if token else None,
            )

        answer = await self._fly(work)
        if call.method == "GET" and len(answer.body) > MAX_ANSWER_BYTES:
            raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return answer

    async def _fly(self, work: Callable[[_Flight], None]) -> Answer:
        """Do something on a thread that makes one request, for `total_s` at most."""
        if self._closed:
            raise NotSent("the caller is closed")
        flight = _Flight(self._gate)
        future = self._threads.submit(flight.go, work)
        self._flights.add(flight)
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)
        try:
            async with asyncio.timeout(self._total_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            was_sent = flight.give_up()
            if flight.answer is not None:  # it came just now
                return flight.answer
            if was_sent:
                raise Unreachable(f"no answer within {self._total_s:g} s") from None
            raise NotSent(f"no connection within {self._total_s:g} s") from None
        except asyncio.CancelledError:
            was_sent = flight.give_up()
            if _is_cancelling():
                raise
            # Not this task but the future was cancelled: by `close`, before a thread had taken it.
            raise (Unreachable if was_sent else NotSent)("the caller was closed") from None
        finally:
            self._flights.discard(flight)


class _Flight:
    """
    One request on its way, made by a thread; the loop may give it up at any moment, and knows then whether it had left.

    Args:
        gate: Shared by all flights of a caller: a connection serves one after the other.
    """

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate
        self._over = False
        self._connection: HTTPConnection | None = None
        #: Whether bytes of the request may have left.
        self.sent = False
        self.answer: Answer | None = None

    def go(self, work: Callable[[_Flight], None]) -> Answer:
        """
        Do the work, on this thread.

        Raises:
            NotSent: Surely nothing has left.
            Unreachable: There was no answer.
        """
        _here.flight = self
        try:
            work(self)
        except Exception as error:
            # The SDK raises for many an answer, and so may hooks of the user's: once there is one, it counts.
            if self.answer is None:
                raise (Unreachable if self.sent else NotSent)(_words_of(error)) from None
        finally:
            del _here.flight
        if self.answer is None:
            raise NotSent("the SDK client made no request")
        return self.answer

    def depart(self, connection: HTTPConnection) -> None:
        """Take a connection that stands; from now on the request may have left."""
        with self._gate:
            if self._over:
                raise _GivenUp
            self.sent = True
            self._connection = connection
            connection.flight = self  # type: ignore[attr-defined]

    def give_up(self) -> bool:
        """End it, from another thread; returns whether the request may have left."""
        with self._gate:
            self._over = True
            connection = self._connection
            # Not one that serves another flight by now.
            if connection is not None and getattr(connection, "flight", None) is self:
                with contextlib.suppress(OSError, TypeError):  # TypeError: there is no socket any more
                    # Of the plain socket: that of TLS would drop its state, which the thread is using.
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
            return self.sent


class _GivenUp(Exception):
    """Nobody waits for this request any more."""


#: The flight that a thread is on.
_here = threading.local()


def _seen(future: asyncio.Future[Answer]) -> None:
    if not future.cancelled():
        future.exception()


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _words_of(error: BaseException) -> str:
    """Tell what went wrong in the system's words: those of urllib3 quote the URL, and hooks anything at all."""
    found = _system_error(error, depth=5)
    if found is None:
        return type(error).__name__
    words = str(found)[:200]
    return f"{type(found).__name__}: {words}" if words else type(found).__name__


def _system_error(error: BaseException, *, depth: int) -> OSError | None:
    if isinstance(error, OSError):
        return error
    inner = (error.__cause__, *error.args)
    found = (_system_error(one, depth=depth - 1) for one in inner if isinstance(one, BaseException) and depth)
    return next(filter(None, found), None)


# --- tokens ---


class _TokenSource(Protocol):
    async def get(self) -> str | None: ...
    async def renew(self, refused: str) -> str | None: ...
    async def refresh(self) -> None: ...
    async def close(self) -> None: ...


class _Borrowed:
    """
    The token that the user's client has at the moment; whoever made the client sees to it that it is good.

    Args:
        read: Returns it; empty: there is none.
        whose: In errors: which destination.
        needed: Whether there has to be one.
    """

    def __init__(self, read: Callable[[], str], *, whose: str, needed: bool) -> None:
        self._read = read
        self._whose = whose
        self._needed = needed
        self._refused = ""

    async def get(self) -> str | None:
        """
        Return the token; None: there is none, and none is needed.

        Raises:
            AuthenticationError: GW-A011, there is none, or still the one that was refused.
        """
        token = self._read()
        if token and token != self._refused:
            return token
        if not token and not self._needed:
            return None
        what = "has no access token" if not token else "has an access token that is not taken (any more)"
        raise AuthenticationError(
            f"{self._whose}: its ApiClient {what}, and there are no credentials to get another",
            code="GW-A011",
            hint="call api_client.get_client_credentials_token(…) again or set api_client.access_token: it is read for "
            "every call; or give the destination client_id and client_secret, and guestwire renews",
        )

    async def renew(self, refused: str) -> str | None:
        """Return the token if it is another by now."""
        self._refused = refused
        return await self.get()

    async def refresh(self) -> None:
        """Only its owner can."""
        await self.get()

    async def close(self) -> None:
        """Nothing is held."""


def _own_tokens_of(
    destination: Destination, ask: Callable[[str, str], Awaitable[Answer]], clock: Clock
) -> Tokens | None:
    """Make the tokens of a destination with credentials; None: it has none."""
    given = None if destination.access_token is None else destination.access_token.reveal()
    client_id, secret = destination.client_id, destination.client_secret
    whose = f"destination '{destination.name}'"
    if client_id is not None and secret is not None:
        return Tokens(
            lambda: ask(client_id, secret.reveal()),
            whose=f"{whose}, OAuth client {client_id}",
            clock=clock,
            given=given,
        )
    return None if given is None else Tokens(None, whose=whose, clock=clock, given=given)


def _token_url_of(destination: Destination, api_client: Any) -> str:
    """Return where tokens are asked for: where the destination says, or through the gateway that the client uses."""
    if destination.login_url is None and _has_gateway(api_client):
        return str(api_client.get_conf_url("login", str(api_client.host).rstrip("/"))) + "/oauth/token"
    return destination.token_url


# --- the SDK ---


class _Sdk(msgspec.Struct, frozen=True):
    """What of the SDK is used, beside the client itself."""

    HttpRequestOptions: Any
    Once: Any


@functools.cache
def _sdk() -> _Sdk:
    """Pick up the SDK's classes. It has been imported: somebody has one of its objects."""
    from PureCloudPlatformClientV2.abstract_http_client import AbstractHttpClient
    from PureCloudPlatformClientV2.http_request_options import HttpRequestOptions
    from PureCloudPlatformClientV2.rest import ApiException, RESTResponse

    class Once(AbstractHttpClient):  # type: ignore[misc]
        """
        An HTTP client of the SDK for one request: sent once, no redirects, no retries.

        Args:
            flight: Takes the answer.
            pools: Connections.
            users: The user's HTTP client, whose hooks are called; or None.
        """

        def __init__(self, flight: _Flight, pools: urllib3.PoolManager, users: Any) -> None:
            super().__init__()
            self._flight = flight
            self._pools = pools
            self._used = False
            self.pre_hook = getattr(users, "pre_hook", None)
            self.post_hook = getattr(users, "post_hook", None)

        def request(self, http_request_options: Any) -> Any:
            if self._used:
                raise _GivenUp
            self._used = True
            options = self.pre_hook(http_request_options) if self.pre_hook else http_request_options
            answer, reason = _exchange(self._pools, options)
            self._flight.answer = answer
            response = RESTResponse(_Plain(answer.status, reason, answer.body.decode(errors="replace"), answer.headers))
            if answer.status not in range(200, 206):  # as the SDK has it, so that its log has it too
                raise ApiException(http_resp=response)
            return self.post_hook(response) if self.post_hook else response

    return _Sdk(HttpRequestOptions, Once)


class _Plain(msgspec.Struct, frozen=True):
    """What the SDK's response is made from."""

    status: int
    reason: str | None
    data: str
    headers: Mapping[str, str]


def _exchange(pools: urllib3.PoolManager, options: Any) -> tuple[Answer, str | None]:
    """Send one request, and read its answer to `MAX_ANSWER_BYTES` and one more."""
    url = options.url + (f"?{urlencode(options.query_params)}" if options.query_params else "")
    headers = dict(options.headers)
    body: bytes | None = None
    if headers.get("Content-Type") == _FORM:
        body = urlencode(options.post_params).encode()
    elif options.body is not None:
        body = msgspec.json.encode(options.body)
    response = pools.urlopen(
        options.method, url, body=body, headers=headers, retries=False, redirect=False, preload_content=False
    )
    try:
        kept = bytearray()
        while len(kept) <= MAX_ANSWER_BYTES and (piece := response.read(SLICE_BYTES)):
            kept += piece
        return Answer(response.status, response.headers, bytes(kept)), response.reason
    finally:
        response.close()  # one that was read to its end has given its connection back already


def _configuration() -> Any:
    """Return the settings of the SDK, of which a process has one set."""
    from PureCloudPlatformClientV2.configuration import Configuration

    return Configuration()


def _pools_of(configuration: Any, *, width: int, connect_s: float, read_s: float) -> urllib3.PoolManager:
    """
    Make the connections as the SDK's `RESTClientObject` makes them, but for retries, time-outs and their number.

    Raises:
        ConfigError: GW-C050, a certificate cannot be read.
    """
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def endheaders(self, *arguments: Any, **options: Any) -> None:
            _depart(self)
            super().endheaders(*arguments, **options)

    class Secure(HTTPSConnection):
        def endheaders(self, *arguments: Any, **options: Any) -> None:
            _depart(self)
            super().endheaders(*arguments, **options)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    how: dict[str, Any] = {
        "num_pools": 4,
        "maxsize": width,
        "block": True,
        "retries": False,
        "timeout": urllib3.Timeout(connect=connect_s, read=read_s),
        "cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE,
    }
    if configuration.verify_ssl:
        how["ssl_context"] = _tls_of(configuration)
    if configuration.proxy:
        user, password = configuration.proxy_username, configuration.proxy_password
        headers = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user and password else None
        pools: urllib3.PoolManager = urllib3.ProxyManager(configuration.proxy, proxy_headers=headers, **how)
    else:
        pools = urllib3.PoolManager(**how)
    pools.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pools


def _depart(connection: HTTPConnection) -> None:
    """Tell the flight that its request leaves now: the connection stands, TLS and a proxy's tunnel included."""
    if connection.sock is None:
        connection.connect()
    _here.flight.depart(connection)


def _tls_of(configuration: Any) -> ssl.SSLContext:
    """Return the certificates that the SDK would use; made on a copy, for its own are made at its first call."""
    scratch = copy.copy(configuration)
    try:
        scratch.create_mtls_or_ssl_context()
    except (OSError, TypeError) as error:
        raise ConfigError(
            f"the certificates of the SDK's Configuration cannot be used: {error}",
            code="GW-C050",
            hint="give ssl_ca_cert, cert_file and key_file (or set_mtls_certificates) files in PEM form",
        ) from error
    made: ssl.SSLContext = scratch.ssl_context
    return made


# --- what cannot be ---


def _check(destination: Destination, api_client: Any) -> None:
    """Refuse what is no ApiClient, and one that is meant for something else. Raises `ConfigError`."""
    whose = f"destination '{destination.name}'"
    module = sys.modules.get("PureCloudPlatformClientV2.api_client")
    if module is None or not isinstance(api_client, module.ApiClient):
        raise ConfigError(
            f"{whose}: {type(api_client).__name__} is no ApiClient of PureCloudPlatformClientV2",
            code="GW-C006",
            hint="give PureCloudPlatformClientV2.ApiClient() itself, not an API made with it",
        )
    from PureCloudPlatformClientV2.default_http_client import DefaultHttpClient

    if api_client.http_client is not None and type(api_client.http_client) is not DefaultHttpClient:
        raise ConfigError(
            f"{whose}: its ApiClient has an HTTP client of its own ({type(api_client.http_client).__name__}), which "
            "nobody can keep from sending a message twice",
            code="GW-C012",
            hint="give an ApiClient without one; proxy and certificates belong to "
            "PureCloudPlatformClientV2.configuration, and hooks of its own HTTP client are called",
        )
    if not _has_gateway(api_client) and _place(str(api_client.host)) != _place(destination.gateway):
        raise ConfigError(
            f"{whose}: its ApiClient talks to {_shown_place(api_client.host)}, and the destination is "
            f"{_shown_place(destination.gateway)}",
            code="GW-C012",
            hint=f"set api_client.host = '{destination.gateway}', or the region of the destination to the client's",
        )
    if destination.proxy is not None or destination.tls != TlsSettings():
        raise ConfigError(
            f"{whose}: proxy or tls is set, and its ApiClient has its own",
            code="GW-C012",
            hint="set PureCloudPlatformClientV2.configuration.proxy, .ssl_ca_cert or .verify_ssl instead",
        )


def _has_gateway(api_client: Any) -> bool:
    return bool(api_client.gateway_configuration and api_client.gateway_configuration.host)


def _place(url: str) -> tuple[str, str | None, int | None, str]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname,
        parts.port or {"http": 80, "https": 443}.get(parts.scheme),
        parts.path.rstrip("/"),
    )


def _shown_place(url: object) -> str:
    parts = urlsplit(str(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # no password
