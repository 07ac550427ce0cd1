"""
The HTTP client that takes the place of the vendor SDK's own: one request each, sent once, with a time-out.

The SDK is synchronous, so each request has a thread for as long as it lasts, its *flight*. Two things about a flight
matter beyond its answer, and neither the SDK nor urllib3 would tell them: whether anything of the request may have
left, which is so from the moment at which a connection stands and the request is about to be written on it; and how it
ends when nobody waits for it any more.

Connections are made as the SDK's `Configuration` says, in urllib3, which comes with the SDK. Neither is imported before
there is an object of the SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from guestwire.errors import ConfigError
from guestwire.net import MAX_ANSWER_BYTES, SLICE_BYTES, Answer, NotSent, Unreachable

if TYPE_CHECKING:
    import urllib3
    from urllib3.connection import HTTPConnection

#: Threads that still hang at the end are waited for so long, in seconds; then they end by themselves.
CLOSE_S = 2.0
_FORM = "application/x-www-form-urlencoded"


class Flights:
    """
    Requests through an `ApiClient`, each on a thread; the event loop never waits for one.

    Args:
        api_client: Whose HTTP client's hooks are called; nothing else of it is used.
        width: Requests under way at once; the others wait for a thread.
        connect_s: For a connection to be made, in seconds.
        total_s: For a whole request, in seconds.

    Raises:
        ConfigError: GW-C050, a certificate cannot be read.
    """

    def __init__(self, api_client: Any, *, width: int, connect_s: float, total_s: float) -> None:
        self._client = api_client
        self._total_s = total_s
        self._pools = _pools_of(sdk_configuration(), width=width, connect_s=connect_s, read_s=total_s)
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="guestwire-sdk")
        self._gate = threading.Lock()
        self._flights: set[_Flight] = set()
        self._busy: set[Future[Answer]] = set()
        self._stopped = False

    def __len__(self) -> int:
        """How many are on their way, or wait for a thread."""
        return len(self._flights)

    async def fly(self, work: Callable[[Any], object]) -> Answer:
        """
        Do something that makes one request, for `total_s` at most, and return the answer to that request.

        One that is cancelled while it waits for a thread is never sent. One that is under way loses its connection:
        whether the request arrived nobody knows then.

        Args:
            work: Called on a thread with an HTTP client of the SDK that makes one request. What it returns or raises
                after the answer does not count.

        Raises:
            NotSent: Surely nothing of the request has left.
            Unreachable: It may have, and there was no answer.
        """
        if self._stopped:
            raise NotSent("the caller is closed")
        flight = _Flight(self._gate)
        future = self._threads.submit(flight.go, functools.partial(self._work, flight, work))
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

    def _work(self, flight: _Flight, work: Callable[[Any], object]) -> None:
        work(_once()(flight, self._pools, self._client.http_client))

    def stop(self) -> None:
        """Let nothing else depart."""
        self._stopped = True

    async def close(self) -> None:
        """Give up what is on its way, end the threads, close the connections."""
        self.stop()
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


def _seen(future: asyncio.Future[Answer]) -> None:
    if not future.cancelled():
        future.exception()


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


# --- one request ---


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

    def go(self, work: Callable[[], None]) -> Answer:
        """
        Do the work, on this thread.

        Raises:
            NotSent: Surely nothing has left.
            Unreachable: There was no answer.
        """
        _here.flight = self
        try:
            work()
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


@functools.cache
def _once() -> Any:
    """Make the class of the HTTP clients, from classes of the SDK. It has been imported: somebody has its objects."""
    from PureCloudPlatformClientV2.abstract_http_client import AbstractHttpClient
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

    return Once


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


# --- connections ---


def sdk_configuration() -> Any:
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
