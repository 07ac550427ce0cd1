"""
Calls through a user's `ApiClient` of the vendor's SDK (`PureCloudPlatformClientV2`), made safe.

The SDK as it is sends a POST up to eleven times when its answer is lost, follows redirects, knows no time-out and lets
four requests through at once (release 269; `python -m benchmarks lost_answer` counts). All of that lies in its HTTP
client, so another one takes its place, by the SDK's own public hook: `AbstractHttpClient` and
`ApiClient.set_http_client`. The alternative, writing into the dictionaries of the SDK's connection pool, holds only
until the next release of either library.

Every call is made by a copy of the user's client that lives for that one call. It has his default headers, cookie,
gateway and logging as they are at that moment, and an HTTP client for one single request (`sdk_http`): nothing in the
SDK can send it a second time, and no call sees another's `last_response`. The user's own client stays as it is, its
HTTP client included, but for one thing: where the destination has credentials, and the user's client no token of its
own, it is given the token that guestwire uses, and each one after that.

What it was told about proxy, certificates, mTLS and verification is read from the SDK's `Configuration` when the caller
is made, with the meaning that the SDK itself gives it. Models are not used: they drop `customAttributes`, and replace
whatever their release does not know.

The SDK is never imported from here before somebody has handed over one of its objects: it takes seconds, and 200 MB.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, ConfigError
from guestwire.net import MAX_ANSWER_BYTES, Answer, Unreachable
from guestwire.protocol.openmessaging import Call
from guestwire.protocol.platform import token_request
from guestwire.settings import Destination, RelaySettings, TlsSettings
from guestwire.transports.oauth import Tokens
from guestwire.transports.sdk_http import Flights, sdk_configuration

#: Loggers of the host program that importing the SDK makes silent, and how it does.
MUTED_LOGGERS = ("urllib3", "watchdog")
_MUTED = logging.CRITICAL + 1
#: Requests that may be under way beside the messages: a token, and a look.
BESIDE = 2
#: What stands in a path as it is; the rest is quoted. Percent signs: whoever wrote the path has quoted already.
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"


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

    Requests wait on threads, as many as `width` and `BESIDE`; the event loop never does. What becomes of a call that
    is cancelled: `guestwire.transports.sdk_http.Flights.fly`.

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
        self._token_url = _token_url_of(destination, api_client)
        self._own = _own_tokens_of(destination, self._ask_token, clock)
        self._tokens: _TokenSource = self._own or _Borrowed(
            self._token_of_client,
            whose=f"destination '{destination.name}'",
            needed=destination.transport == "openmessaging",
        )
        self._lent = ""
        self._flights = Flights(api_client, width=width + BESIDE, connect_s=connect_s, total_s=total_s)

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
        self._flights.stop()
        await self._tokens.close()
        await self._flights.close()

    # --- tokens ---

    def _token_of_client(self) -> str:
        """What the SDK itself would send."""
        return str(self._client.access_token or sdk_configuration().access_token or "")

    async def _ask_token(self, client_id: str, client_secret: str) -> Answer:
        """Ask for a token as `ApiClient.get_client_credentials_token` does, which would forget how long it lives."""
        headers, _ = token_request(client_id, client_secret)
        from PureCloudPlatformClientV2.http_request_options import HttpRequestOptions

        def work(http_client: Any) -> None:
            http_client.request(
                HttpRequestOptions(
                    url=self._token_url,
                    method="POST",
                    headers=headers,
                    post_params={"grant_type": "client_credentials"},
                )
            )

        return await self._flights.fly(work)

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

        def work(http_client: Any) -> None:
            client = copy.copy(self._client)
            client.host = self._host
            client.access_token = token or ""
            client.refresh_token = ""  # with one, the SDK would renew by itself, and send again
            client.set_http_client(http_client)
            client.call_api(
                quote(call.path, safe=_PATH_CHARACTERS),
                call.method,
                query_params=dict(call.query),
                header_params=headers,
                body=call.plain,
                auth_settings=["PureCloud OAuth"] if token else None,
            )

        answer = await self._flights.fly(work)
        if call.method == "GET" and len(answer.body) > MAX_ANSWER_BYTES:
            raise Unreachable(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        return answer


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
