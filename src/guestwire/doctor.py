"""
Looking whether a destination would work, before a message depends on it.

Each check is a small question of its own with a time-out of its own; those that do not need each other run at the same
time, and one that fails skips only what depends on it. Nothing is sent to a guest or an agent: every request either
reads, or can be no message. Nothing here shows a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from guestwire.clock import Clock, SystemClock
from guestwire.errors import GuestWireError
from guestwire.model import Throttled
from guestwire.net import Answer, Http, Unreachable, tls_context, tls_of
from guestwire.protocol.platform import (
    Barred,
    Token,
    TokenLater,
    TokenRefused,
    evidence_of,
    json_of,
    reason_of,
    refusal_of,
    token_of,
    token_request,
)
from guestwire.settings import Destination, Secret, StoreSettings, region_of
from guestwire.settings.credentials import CREDENTIAL_NAMES
from guestwire.settings.values import is_loopback
from guestwire.store.folder import NETWORK_FILE_SYSTEMS, Folder, RelayLock, file_system

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

Status = Literal["ok", "warn", "fail", "skip"]

#: For one check, in seconds.
PATIENCE_S: Final = 8.0
#: A clock that is off by more than this, in seconds, is worth a word; by more than the second, a failure: signed
#: addresses, tokens and certificates are judged by it.
SKEW_WARN_S, SKEW_FAIL_S = 30.0, 300.0
#: A certificate that ends sooner than this, in days, is worth a word.
CERTIFICATE_DAYS: Final = 14
#: The permission without which Open Messaging takes nothing.
RECEIVE: Final = "conversation:message:receive"

_ORGANISATION = "/api/v2/organizations/me"
_ADMIN_CLIENTS = "Admin > Integrations > OAuth"
_PROXY_FIX = "let the host pass there, or set HTTPS_PROXY and NO_PROXY to a way that does not change answers"


class Check(msgspec.Struct, frozen=True):
    """What one look found."""

    name: str
    """Such as ``token`` or ``dns api.mypurecloud.ie``; the same from run to run."""
    status: Status
    detail: str
    """What was found, in a line; never a secret."""
    fix: str = ""
    """What to do; empty where nothing needs to be done."""


#: Asks one question. What it raises becomes a failed check.
Look = Callable[[], Awaitable[Check]]


class _Step(NamedTuple):
    name: str
    needs: tuple[str, ...]
    """Names of steps without which this one is not worth asking."""
    look: Look


class _Page(Exception):
    """HTML came where none belongs."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(host)
        self.host = host
        self.status = status


class _Spot(NamedTuple):
    """A place to connect to."""

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> _Spot:
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "", parts.port or (443 if secure else 80), secure)

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"


async def examine(
    destination: Destination,
    *,
    origins: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    timeout_s: float = PATIENCE_S,
) -> AsyncIterator[Check]:
    """
    Look at a destination: settings, network, credentials, rights, what it is told to write to.

    Args:
        destination: Which.
        origins: Of its settings, by dotted key, as `guestwire.settings.load` tells them.
        clock: The time that the far side's is held against.
        timeout_s: For each check.

    Yields:
        Every check, always in the same order, each as soon as it and those before it are done.
    """
    examination = _Examination(destination, origins or {}, clock or SystemClock(), timeout_s)
    try:
        async for check in examination.run():
            yield check
    finally:
        await examination.close()


async def examine_store(
    folder: Path, settings: StoreSettings, *, origin: str = "default", timeout_s: float = PATIENCE_S
) -> Check:
    """
    Look at the folder of a store: whether it opens, how full its disk is, who sends out of it.

    Args:
        folder: Where it is, or will be.
        settings: Of the store.
        origin: Where its place comes from.
        timeout_s: In all; a dead network disk answers never.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(_look_at_store, folder, settings, origin)
    except TimeoutError:
        return Check("store", "fail", f"'{folder}' did not answer within {timeout_s:g} s", "look at the disk under it")
    except GuestWireError as error:
        return Check("store", "fail", error.message, error.hint)


class _Examination:
    """One run over one destination."""

    def __init__(self, destination: Destination, origins: Mapping[str, str], clock: Clock, timeout_s: float) -> None:
        self._destination = destination
        self._origins = origins
        self._clock = clock
        self._timeout_s = timeout_s
        self._tasks: dict[str, asyncio.Task[Check]] = {}
        self._useless: dict[str, str] = {}
        """Steps after which those that need them are not worth asking, and the one that failed first."""
        self._https: dict[str | None, Http] = {}
        self._bearer: str | None = None
        self._allowed: int | None = None
        """What the platform says it allows a minute, once it has said it."""

    async def run(self) -> AsyncIterator[Check]:
        try:
            self._tls = tls_of(self._destination)
        except GuestWireError as error:
            yield Check("tls", "fail", error.message, error.hint)
            return
        for step in self._steps():
            self._tasks[step.name] = asyncio.create_task(self._take(step))
        for task in list(self._tasks.values()):
            yield await task

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for http in self._https.values():
            await http.close()

    def _steps(self) -> list[_Step]:
        """What to ask, in the order in which it is told."""
        destination = self._destination
        api, login = _Spot.of(destination.gateway), _Spot.of(destination.token_url)
        cdn, socket_ = _Spot.of(destination.config_url), _Spot.of(destination.websocket_url)
        is_web = destination.transport == "webmessaging"
        spots = dict.fromkeys((socket_, cdn, api) if is_web else (api, login))
        steps = [_Step("settings", (), self._settings), _Step("region", (), self._region)]
        for spot in dict.fromkeys(spots):
            steps.append(_Step(f"dns {spot}", (), self._dns(spot)))
        for spot in spots:
            steps.append(_Step(f"tls {spot}", (f"dns {spot}",), self._connect(spot)))
        steps.append(_Step("clock", (f"tls {api}",), self._look_at_clock))
        if is_web:
            steps.append(_Step("deployment", (f"tls {cdn}",), self._deployment))
            steps.append(_Step("origin", ("deployment",), self._origin))
        else:
            needs = ("token", f"tls {api}")
            steps.append(_Step("credentials", (), self._credentials))
            steps.append(_Step("token", ("credentials", f"tls {login}"), self._token))
            steps.append(_Step("organisation", needs, self._organisation))
            steps.append(_Step("permission", (*needs, "organisation"), self._permission))
            if destination.transport == "openmessaging":
                steps.append(_Step("integration", (*needs, "permission"), self._integration))
        steps.append(_Step("limits", (), self._limits))
        return steps

    async def _take(self, step: _Step) -> Check:
        check = await self._ask(step)
        if check.status == "fail":
            self._useless[step.name] = step.name
        return check

    async def _ask(self, step: _Step) -> Check:
        """Wait for what a step needs, then ask; whatever goes wrong is an answer too."""
        for need in step.needs:
            await asyncio.wait([self._tasks[need]])
            if need in self._useless:
                first = self._useless[step.name] = self._useless[need]
                return Check(step.name, "skip", f"not looked at, because '{first}' failed")
        fix = ""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await step.look()
        except TimeoutError:
            detail, fix = f"no answer within {self._timeout_s:g} s", "check the network, a firewall, a proxy"
        except _Page as page:
            detail = f"{page.host} answers with a page of HTML ({page.status}): a proxy, a firewall or a sign-in page"
            fix = _PROXY_FIX
        except Unreachable as error:
            detail, fix = f"no answer: {error}", "check the network, a firewall, a proxy"
        except GuestWireError as error:
            detail, fix = error.message, error.hint
        return Check(step.name, "fail", detail, fix)

    # --- what is set ---

    def _from(self, *fields: str) -> str:
        """Where settings come from, in words."""
        keys = [f"destinations.{self._destination.name}.{field}" for field in fields]
        found = [self._origins[key] for key in keys if self._origins.get(key, "default") != "default"]
        return ", ".join(dict.fromkeys(found))

    def _with(self, text: str, *fields: str) -> str:
        """A text with the place of its settings in brackets, if it is known."""
        source = self._from(*fields)
        return f"{text} ({source})" if source else text

    async def _settings(self) -> Check:
        destination = self._destination
        words = [self._with(destination.transport, "transport")]
        for field, noun in (("deployment_id", "deployment"), ("integration_id", "integration")):
            value = getattr(destination, field)
            if value and (field == "integration_id") == (destination.transport == "openmessaging"):
                words.append(self._with(f"{noun} {value}", field))
        if not destination.tls.verify:
            return Check(
                "settings",
                "warn",
                "; ".join([*words, "tls.verify is off, so anyone on the way can read and alter every message"]),
                "remove tls.verify = false; for a private authority set tls.ca_file",
            )
        return Check("settings", "ok", "; ".join(words))

    async def _region(self) -> Check:
        destination = self._destination
        if destination.region is None:
            return Check("region", "ok", self._with(f"none: a gateway of its own, {destination.url}", "url"))
        domain = region_of(destination.region).domain
        return Check("region", "ok", self._with(f"{destination.region}, {domain}", "region"))

    # --- the network ---

    def _proxy(self, spot: _Spot) -> str | None:
        return self._destination.proxy_for(spot.host, secure=spot.secure)

    def _dns(self, spot: _Spot) -> Look:
        name = f"dns {spot}"

        async def look() -> Check:
            proxy = self._proxy(spot)
            if proxy is not None:
                return Check(name, "ok", f"left to the proxy {_Spot.of(proxy)}")
            try:
                found = await asyncio.get_running_loop().getaddrinfo(spot.host, spot.port, type=socket.SOCK_STREAM)
            except OSError as error:
                fix = "check the network and its resolver; behind a proxy, set HTTPS_PROXY"
                return Check(name, "fail", f"the name cannot be resolved: {error.strerror}", fix)
            addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
            more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
            return Check(name, "ok", ", ".join(addresses[:3]) + more)

        return look

    def _connect(self, spot: _Spot) -> Look:
        name = f"tls {spot}"

        async def look() -> Check:
            proxy = self._proxy(spot)
            through = "" if proxy is None else f", through the proxy {_Spot.of(proxy)}"
            try:
                version, certificate = await self._greet(spot, self._tls)
            except ssl.SSLCertVerificationError as error:
                return await self._distrusted(name, spot, error)
            except ssl.SSLError as error:
                fix = "check the port, and what answers there: a proxy, or a server without TLS 1.2"
                return Check(name, "fail", f"no TLS: {error.reason or error}{through}", fix)
            except (OSError, EOFError, ValueError) as error:
                number = getattr(error, "errno", None) or 0  # asyncio's own words repeat address and port
                why = os.strerror(number) if number > 0 else str(error) or type(error).__name__
                fix = "check the network, a firewall, a proxy (HTTPS_PROXY)"
                return Check(name, "fail", f"no connection to port {spot.port}: {why}{through}", fix)
            if certificate is None:
                if is_loopback(spot.host):
                    return Check(name, "ok", "connected; no TLS, on this machine")
                return Check(name, "warn", f"connected without TLS{through}: all of it can be read", "use https://")
            days = (certificate.not_valid_after_utc.timestamp() - self._clock.now()) / 86_400
            detail = f"{version}, certificate issued by {_issuer(certificate)}, good for {days:.0f} days{through}"
            if not self._destination.tls.verify:
                return Check(name, "warn", f"{detail}; NOT verified", "remove tls.verify = false")
            if days < CERTIFICATE_DAYS:
                return Check(name, "warn", detail, "whoever runs the host has to renew it")
            return Check(name, "ok", detail)

        return look

    async def _distrusted(self, name: str, spot: _Spot, error: ssl.SSLCertVerificationError) -> Check:
        """Say whose certificate it is that is not trusted: a company's proxy shows itself by its own."""
        issuer = ""
        with contextlib.suppress(OSError, EOFError, ValueError):
            _, certificate = await self._greet(spot, tls_context(None, verify=False))  # a handshake; nothing is sent
            issuer = "" if certificate is None else f", it is issued by {_issuer(certificate)}"
        ca_file = self._destination.ca_file
        trusted = "the system's authorities are trusted" if ca_file is None else f"'{ca_file}' is trusted"
        return Check(
            name,
            "fail",
            f"the certificate is not trusted: {error.verify_message}{issuer}; {trusted}",
            "behind a proxy that opens TLS, set tls.ca_file or SSL_CERT_FILE to a file with its authority; never "
            "tls.verify = false",
        )

    async def _greet(self, spot: _Spot, context: ssl.SSLContext) -> tuple[str, Certificate | None]:
        """Connect, and shake hands where it is TLS: its version, and the far side's certificate."""
        proxy = self._proxy(spot)
        if proxy is None:
            _, writer = await asyncio.open_connection(
                spot.host,
                spot.port,
                ssl=context if spot.secure else None,
                server_hostname=spot.host if spot.secure else None,
            )
        else:
            _, writer = await _through(proxy, spot)
        try:
            if proxy is not None and spot.secure:
                await writer.start_tls(context, server_hostname=spot.host)
            secured = writer.get_extra_info("ssl_object")
            if not spot.secure or secured is None:
                return "", None
            from cryptography import x509

            return str(secured.version()), x509.load_der_x509_certificate(secured.getpeercert(True))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _http(self, url: str) -> Http:
        proxy = self._proxy(_Spot.of(url))
        if proxy not in self._https:
            self._https[proxy] = Http(tls=self._tls, proxy=proxy, timeout_s=self._timeout_s, plain=True)
        return self._https[proxy]

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return _no_page(url, await self._http(url).get(url, headers))

    async def _look_at_clock(self) -> Check:
        url = self._destination.gateway + "/"  # whatever is there: every answer has a date
        began = self._clock.now()
        answer = await self._http(url).get(url)
        middle = (began + self._clock.now()) / 2
        date, age = answer.headers.get("Date"), answer.headers.get("Age", "0")
        try:
            # A date is cut to the second; one out of a cache has stood there for `Age`.
            theirs = parsedate_to_datetime(date or "").timestamp() + 0.5 + float(age)
        except (ValueError, TypeError, OverflowError):
            return Check("clock", "skip", "the far side tells no time")
        off_s = middle - theirs
        if abs(off_s) <= SKEW_WARN_S:
            return Check("clock", "ok", f"within {max(1, round(abs(off_s)))} s of the far side's")
        status: Status = "fail" if abs(off_s) > SKEW_FAIL_S else "warn"
        way = "ahead of" if off_s > 0 else "behind"
        fix = "set the time of this machine by NTP (timedatectl set-ntp true)"
        return Check("clock", status, f"{abs(off_s):.0f} s {way} the far side's", fix)

    # --- credentials ---

    async def _credentials(self) -> Check:
        destination = self._destination
        words = []
        if destination.client_id is not None and destination.client_secret is not None:
            words.append(self._with(f"OAuth client {destination.client_id}", "client_id", "client_secret"))
        if destination.access_token is not None:
            words.append(self._with("an access token", "access_token"))
        if words:
            return Check("credentials", "ok", " and ".join(words))
        if destination.transport != "openmessaging":
            return Check("credentials", "skip", "none are set, and a gateway of one's own may want none")
        names = " and ".join((CREDENTIAL_NAMES[0]["client_id"], CREDENTIAL_NAMES[0]["client_secret"]))
        keys = f"destinations.{destination.name}.client_id and client_secret"
        return Check("credentials", "fail", "none are set", f"set {names}, or {keys}, or a gc profile")

    async def _token(self) -> Check:
        destination = self._destination
        has_pair = destination.client_id is not None and destination.client_secret is not None
        if destination.access_token is None and not has_pair:
            return Check("token", "skip", "none is asked for without credentials")
        own = await self._own_token() if destination.access_token is not None else None
        if own is not None and (own.status != "fail" or not has_pair):
            return own
        fetched = await self._fetched_token()
        if own is None or fetched.status == "fail":
            return fetched
        return Check("token", "warn", f"{own.detail}; {fetched.detail}", own.fix)

    async def _own_token(self) -> Check:
        """Look whether a given token is taken: by asking for what everybody may know of his own organisation."""
        destination = self._destination
        self._bearer = _revealed(destination.access_token)
        answer = await self._call("GET", _ORGANISATION)
        what = self._with("the access token", "access_token")
        if answer.status == 401:
            self._bearer = None
            fix = "set a fresh access_token, or client_id and client_secret, which give a new one whenever it is needed"
            return Check("token", "fail", f"{what} is not taken (any more): {_words(answer)}", fix)
        return Check("token", "ok", f"{what} is used as it is; nobody can renew it")

    async def _fetched_token(self) -> Check:
        destination = self._destination
        headers, body = token_request(destination.client_id or "", _revealed(destination.client_secret))
        url = destination.token_url
        answer = _no_page(url, await self._http(url).post(url, headers, body))
        what = f"OAuth client {destination.client_id}"
        found = token_of(answer.status, answer.headers, answer.body, now=self._clock.now())
        match found:
            case Token(value, life_s):
                self._bearer = value
                return Check("token", "ok", f"{what}: {_Spot.of(url)} gives tokens for {life_s:,.0f} s")
            case TokenRefused(reason):
                sources = " and ".join(self._with(field, field) for field in ("client_id", "client_secret"))
                where = f"the region ({destination.region})" if destination.region else f"the address ({url})"
                return Check(
                    "token",
                    "fail",
                    f"{what} is not let in: {reason}",
                    f"compare {sources} with {_ADMIN_CLIENTS}, and {where} with the organisation's; the client needs "
                    "the grant 'client credentials'",
                )
            case TokenLater(reason, retry_after_s):
                fix = f"try again in {retry_after_s:.0f} s; logins are limited too"
                return Check("token", "fail", f"{_Spot.of(url)} gives no token for now: {reason}", fix)

    async def _call(self, method: Literal["GET", "POST"], path: str, body: bytes = b"") -> Answer:
        """Ask the platform, with the token; HTML is no answer of its."""
        url = self._destination.gateway + path
        headers = {"Accept": "application/json"}
        if self._bearer is not None:
            headers["Authorization"] = f"Bearer {self._bearer}"
        if method == "GET":
            answer = await self._get(url, headers)
        else:
            headers["Content-Type"] = "application/json"
            answer = _no_page(url, await self._http(url).post(url, headers, body))
        allowed = answer.headers.get("inin-ratelimit-allowed", "")
        if re.fullmatch("[0-9]{1,9}", allowed):
            self._allowed = int(allowed)
        return answer

    # --- rights ---

    async def _organisation(self) -> Check:
        destination = self._destination
        wanted = destination.expect_org_id
        if destination.transport == "rest-contract" and not wanted:
            return Check("organisation", "skip", "the tutorial contract tells none, and expect_org_id is not set")
        answer = await self._call("GET", _ORGANISATION)
        found = json_of(answer.body) or {}
        if answer.status != 200 or not isinstance(found.get("id"), str):
            if wanted is None and answer.status == 404 and destination.region is None:
                return Check("organisation", "skip", f"{destination.host} tells none")
            if wanted is None and answer.status == 403:
                return Check("organisation", "skip", f"may not be read: {_lacking(answer)}; nothing depends on it")
            check = self._refused("organisation", answer)
            if wanted is not None and answer.status == 403:
                fix = (
                    "give the OAuth client's role that permission, or remove expect_org_id: until then nothing is sent"
                )
                return msgspec.structs.replace(check, fix=fix)
            return check
        name = found.get("name")
        what = f"{name}, {found['id']}" if isinstance(name, str) and name else found["id"]
        if wanted is None:
            return Check("organisation", "ok", what)
        if found["id"].lower() != wanted:
            return Check(
                "organisation",
                "fail",
                f"{what}; but {self._with('expect_org_id', 'expect_org_id')} is {wanted}",
                f"use {self._with('the OAuth client', 'client_id', 'access_token')} of the right organisation; nothing "
                "is sent to this one",
            )
        return Check("organisation", "ok", f"{what}, as expected")

    async def _permission(self) -> Check:
        destination = self._destination
        if destination.transport != "openmessaging":
            return Check("permission", "skip", "no request of the tutorial contract is sure to be no message")
        # An empty object can never be a message: `channel`, with the guest in it, is required by the schema, so the
        # platform can neither thread nor keep it. What it says instead tells who it is that asks: rights are looked at
        # before bodies (vendor's error pages), so 400 means "you may", 403 names the permission, 404 the integration.
        path = f"/api/v2/conversations/messages/{destination.integration_id}/inbound/open/message"
        answer = await self._call("POST", path, b"{}")
        if answer.status == 400:
            return Check("permission", "ok", f"{RECEIVE}; the integration takes requests")
        if answer.status == 403:
            fix = f"give a role with {RECEIVE} to the OAuth client ({_ADMIN_CLIENTS} > Roles)"
            return Check("permission", "fail", f"the OAuth client lacks {_lacking(answer) or RECEIVE}", fix)
        if answer.status == 404:
            return self._no_integration("permission")
        return self._refused("permission", answer)

    async def _integration(self) -> Check:
        destination = self._destination
        path = f"/api/v2/conversations/messaging/integrations/open/{destination.integration_id}"
        answer = await self._call("GET", path)
        found = json_of(answer.body) or {}
        if answer.status == 403:
            lacking = _lacking(answer)
            return Check("integration", "skip", f"may not be read: {lacking}; no message depends on it")
        if answer.status == 404:
            return self._no_integration("integration")
        if answer.status != 200 or not found:
            return self._refused("integration", answer)
        name, created = str(found.get("name", "without a name")), found.get("createStatus", "Completed")
        if created != "Completed":
            fix = "wait until it is made; if it stays so, make it again (Admin > Message > Platforms)"
            return Check("integration", "warn", f"{name}: its making is '{created}'", fix)
        if found.get("status", "Active") != "Active":
            fix = "switch it on in Admin > Message > Platforms"
            return Check("integration", "warn", f"{name} is '{found['status']}'", fix)
        hook = found.get("outboundNotificationWebhookUrl")
        if not isinstance(hook, str) or not hook:
            fix = "set its outbound notification webhook URL, or expect no replies"
            return Check("integration", "warn", f"{name} has no webhook, so replies go nowhere", fix)
        return Check("integration", "ok", f"{name}; replies go to {_Spot.of(hook)}")

    def _no_integration(self, name: str) -> Check:
        destination = self._destination
        return Check(
            name,
            "fail",
            f"there is no {self._with(f'integration {destination.integration_id}', 'integration_id')} here",
            "copy its id from Admin > Message > Platforms; a region or an OAuth client of another organisation gives "
            "the same answer",
        )

    def _refused(self, name: str, answer: Answer) -> Check:
        """An answer that was not foreseen, with what support would ask for."""
        found = refusal_of(answer.status, answer.headers, answer.body, now=self._clock.now(), trust_unavailable=True)
        correlation = evidence_of(answer.status, answer.headers, json_of(answer.body)).get("correlation_id")
        detail = f"{self._destination.host} answers {_words(answer)}"
        detail += f" (correlation id {correlation})" if correlation else ""
        if isinstance(found, Throttled):
            fix = f"somebody uses the limit up; try again in {found.retry_after_s:.0f} s"
            return Check(name, "warn", detail, fix)
        if isinstance(found, Barred) and found.what == "token":
            return Check(name, "fail", detail, "the token is not taken: look whether the OAuth client was disabled")
        if isinstance(found, Barred) and found.what == "place":
            return Check(name, "fail", detail, "check url or region of the destination")
        fix = "try again; if it stays so, give the correlation id to support" if correlation else "try again"
        return Check(name, "fail", detail, fix)

    # --- web messaging ---

    async def _deployment(self) -> Check:
        destination = self._destination
        answer = await self._get(destination.config_url)
        found = json_of(answer.body)
        if answer.status in (403, 404):  # what a store of files says of one that is not there
            return Check(
                "deployment",
                "fail",
                f"no deployment {self._with(destination.deployment_id, 'deployment_id')} there ({answer.status})",
                "copy its id from Admin > Message > Messenger Deployments, and compare the region",
            )
        if answer.status != 200 or found is None:
            return self._refused("deployment", answer)
        status = found.get("status", "Active")
        if status != "Active":
            fix = "switch the deployment on in Admin > Message > Messenger Deployments"
            return Check("deployment", "fail", f"{destination.deployment_id} is '{status}'", fix)
        return Check("deployment", "ok", f"{destination.deployment_id} is active")

    async def _origin(self) -> Check:
        destination = self._destination
        answer = await self._get(destination.domains_url)
        found = json_of(answer.body)
        if answer.status != 200 or found is None:
            return Check("origin", "skip", f"which domains are allowed is not published here ({answer.status})")
        domains = found.get("allowedDomains")
        allowed = [domain for domain in domains if isinstance(domain, str)] if isinstance(domains, list) else []
        if found.get("allowAllDomains") is True:
            return Check("origin", "ok", "the deployment allows every domain")
        listed = f"the deployment allows {_some(allowed)}"
        if destination.origin is None:
            fix = (
                f'set destinations.{destination.name}.origin, such as "https://{_bare(allowed[0])}"' if allowed else ""
            )
            return Check("origin", "warn", f"{listed}, and origin is not set", fix or "allow a domain")
        if is_allowed_origin(destination.origin, allowed):
            return Check("origin", "ok", self._with(f"{destination.origin} is allowed", "origin"))
        fix = "add it in Admin > Message > Messenger Deployments, or set origin to one that is allowed"
        return Check("origin", "fail", f"{listed}, not {self._with(destination.origin, 'origin')}", fix)

    # --- limits ---

    async def _limits(self) -> Check:
        """Tell which limits are kept, and hold them against what the platform has said meanwhile."""
        others = [task for name, task in self._tasks.items() if name in ("token", "organisation", "permission")]
        if others:
            await asyncio.wait(others)
        destination = self._destination
        limits = destination.limits
        words = [
            f"{name} {getattr(limits, name):,} ({self._from(f'limits.{name}') or 'default'})"
            for name in ("messages_per_s", "requests_per_min", "max_text")
        ]
        if not destination.pace:
            return Check("limits", "warn", "pace is off: none is kept", "remove pace = false")
        if self._allowed is None or destination.transport == "rest-contract":
            return Check("limits", "ok", ", ".join(words))
        if self._allowed == limits.requests_per_min:
            return Check("limits", "ok", f"{', '.join(words)}; the platform says the same")
        effect = "messages will be throttled" if self._allowed < limits.requests_per_min else "it could go faster"
        return Check(
            "limits",
            "warn",
            f"{words[1]}, but the platform allows {self._allowed:,} a minute: {effect}",
            f"set requests_per_min = {self._allowed} in [destinations.{destination.name}.limits]",
        )


# --- the store ---


def _look_at_store(path: Path, settings: StoreSettings, origin: str) -> Check:
    existing = path.expanduser().absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    kind = file_system(existing, Path("/proc/self/mountinfo"))
    if kind in NETWORK_FILE_SYSTEMS:
        fix = "set store.path to a folder on a local disk; to share a store between machines, share a service"
        return Check("store", "fail", f"'{path}' is on a network file system ({kind}), where locks do not hold", fix)
    free_mb = shutil.disk_usage(existing).free / 1_000_000
    words = [f"'{path}'" + (f" ({origin})" if origin != "default" else ""), f"{free_mb:,.0f} MB free"]
    if (path / "store.db").exists():
        folder = Folder(path)
        from guestwire.store.sqlite import SqliteStore

        SqliteStore(folder, busy_timeout_s=settings.busy_timeout_s).close()
        lock = RelayLock(folder)
        words.append(f"process {lock.holder()} sends" if lock.is_held_elsewhere() else "nobody sends just now")
    else:
        words.append("made with the first message")
    if free_mb < settings.min_free_disk_mb:
        fix = f"free some disk: below {settings.min_free_disk_mb:,} MB (store.min_free_disk_mb) no message is taken in"
        return Check("store", "fail", ", ".join(words), fix)
    if free_mb < 2 * settings.min_free_disk_mb:
        return Check(
            "store", "warn", ", ".join(words), f"below {settings.min_free_disk_mb:,} MB no message is taken in"
        )
    return Check("store", "ok", ", ".join(words))


# --- helpers ---


async def _through(proxy: str, spot: _Spot) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a proxy; for TLS, ask it for a tunnel. Raises OSError if it gives none."""
    parts, place = urlsplit(proxy), _Spot.of(proxy)
    reader, writer = await asyncio.open_connection(place.host, place.port, ssl=place.secure or None)
    if not spot.secure:
        return reader, writer
    try:
        target = f"[{spot.host}]:{spot.port}" if ":" in spot.host else f"{spot.host}:{spot.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if parts.username is not None:
            from base64 import b64encode

            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
        if status is None or status[1] != b"200":
            answer = status[1].decode() if status else "something that is no HTTP"
            raise OSError(f"the proxy gives no tunnel: {answer}")
    except BaseException as error:
        writer.close()
        if isinstance(error, asyncio.LimitOverrunError):
            raise OSError("the proxy gives no tunnel: its answer has no end") from None
        raise
    return reader, writer


def is_allowed_origin(origin: str, allowed: Sequence[str]) -> bool:
    """Whether a list of allowed domains has an origin: the same host, with a scheme or not, or ``*.`` and its end."""
    host = _bare(origin)
    return any(
        host == _bare(entry) or (_bare(entry).startswith("*.") and host.endswith(_bare(entry)[1:])) for entry in allowed
    )


def _bare(origin: str) -> str:
    """The host of an origin."""
    return origin.rpartition("//")[2].partition("/")[0].partition(":")[0].lower()


def _some(names: Sequence[str]) -> str:
    if not names:
        return "no domain"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _no_page(url: str, answer: Answer) -> Answer:
    """The answer, unless it is a web page: no service of the platform gives one, but whoever stands before it does."""
    start = answer.body[:200].lstrip().lower()
    if "text/html" in answer.headers.get("Content-Type", "").lower() or start.startswith((b"<!doctype html", b"<html")):
        raise _Page(str(_Spot.of(url)), answer.status)
    return answer


def _words(answer: Answer) -> str:
    """An answer in a line, without what it quotes."""
    return reason_of(answer.status, json_of(answer.body), answer.body)


def _lacking(answer: Answer) -> str:
    """The permissions that an answer of 403 names."""
    found = refusal_of(answer.status, answer.headers, answer.body, now=0.0, trust_unavailable=True)
    permissions = found.permissions if isinstance(found, Barred) else ""
    return f"the permission {permissions}" if permissions else _words(answer)


def _issuer(certificate: Certificate) -> str:
    """Who has signed a certificate, in the words of its name."""
    names: list[Any] = [attribute.value for attribute in certificate.issuer]
    return ", ".join(str(name) for name in reversed(names))[:120] or "nobody"


def _revealed(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()
