"""
Through the vendor's SDK: what an `ApiClient` does by itself, what it does under `SdkCaller`, and the SDK as it is
against the emulator.

The SDK takes seconds and 200 MB to import, so everything that needs it is in this one module, on one worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.metadata
import json
import logging
import ssl
import sys
import threading
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from guestwire import GuestWire, Message
from guestwire.clock import SystemClock
from guestwire.errors import AuthenticationError, ConfigError
from guestwire.net import MAX_ANSWER_BYTES, NotSent, Unreachable
from guestwire.protocol.openmessaging import Call
from guestwire.settings import Destination, Limits, RelaySettings, Secret, StoreSettings
from guestwire.testing import emulator
from guestwire.transports.sdk import BESIDE, SdkCaller, sdk_caller_of, unmute_loggers
from tests.journey.far_server import SILENCE, FarServer, Request, answer
from tests.journey.kit import PATIENCE_S, eventually, inbound, settled
from tests.journey.test_tls import make_certificate
from tests.unit.test_failures import check_flight

pytestmark = pytest.mark.xdist_group("sdk")

INTEGRATION = "3b0a7c52-0d5e-4c0a-9d2b-7f0e1a2b3c4d"
PATH = f"/api/v2/conversations/messages/{INTEGRATION}/inbound/open/message"
BODY = {
    "channel": {"from": {"id": "guest-42", "idType": "Opaque"}, "time": "2026-03-04T05:06:07.089Z"},
    "text": "hello",
}
CALL = Call("POST", PATH, BODY, (("prefetchConversationId", "true"),))
#: A whole request, where a test is not about time.
LONG_S = 30.0
#: And where it is: an answer that never comes is waited for so long.
SHORT_S = 1.0


@pytest.fixture(scope="module")
def bare(sdk: Any) -> str:
    """What the SDK is called in a message of a test that compares with it."""
    return f"SDK {importlib.metadata.version('PureCloudPlatformClientV2')} bare"


@pytest.fixture
def configuration(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set attributes of the SDK's one Configuration with ``configuration.setattr(sdk.configuration, …)``."""
    monkeypatch.setattr(sdk.configuration, "ssl_context", None)
    return monkeypatch


def destination(url: str, **changes: Any) -> Destination:
    """Where messages go."""
    return Destination(name="kiosk", transport="openmessaging", url=url, integration_id=INTEGRATION, **changes)


def client_for(sdk: Any, url: str, *, token: str | None = None) -> Any:
    """An ApiClient as a program has it."""
    client = sdk.ApiClient(host=url)
    client.access_token = "t0" if token is None else token
    return client


@contextlib.asynccontextmanager
async def calling(client: Any, to: Destination | None = None, *, total_s: float = LONG_S) -> AsyncIterator[SdkCaller]:
    """A caller for the length of the block."""
    caller = sdk_caller_of(
        to or destination(client.host),
        client,
        clock=SystemClock(),
        timing=RelaySettings(answer_s=total_s, connect_timeout_s=total_s),
    )
    try:
        yield caller
    finally:
        await caller.close()


async def bare_post(sdk: Any, url: str) -> BaseException | None:
    """Send the message with the SDK as it is; returns what it raised."""
    client = client_for(sdk, url)
    api = sdk.ConversationsApi(client)
    try:
        await asyncio.to_thread(api.post_conversations_message_inbound_open_message, INTEGRATION, BODY)
    except Exception as error:  # it has many
        return error
    finally:
        client.http_client.rest_client.pool_manager.clear()
    return None


# --- a message leaves once ---


async def test_a_lost_answer_is_one_post_and_an_unknown_outcome(sdk: Any, bare: str) -> None:
    """The server reads the whole message and resets: the SDK sends it eleven times, we send it once and say so."""
    with FarServer(lambda _: None) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            with pytest.raises(Unreachable, match=r"ConnectionResetError|RemoteDisconnected") as caught:
                await caller.call(CALL)
        assert not isinstance(caught.value, NotSent)
        ours = len(far.posts())
        assert await bare_post(sdk, far.url) is not None
        theirs = len(far.posts()) - ours
        assert (ours, theirs) == (1, 11), f"{bare}: {theirs} POSTs, through guestwire: {ours}"


async def test_redirects_are_answers(sdk: Any, bare: str) -> None:
    """A POST does not follow a 302; the SDK goes round in circles."""
    with FarServer(lambda _: answer(302, location="/elsewhere")) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            found = await caller.call(CALL)
        assert (found.status, found.headers["LOCATION"]) == (302, "/elsewhere")
        ours = len(far.posts())
        await bare_post(sdk, far.url)
        theirs = len(far.posts()) - ours
        assert (ours, theirs) == (1, 11), f"{bare}: {theirs} POSTs, through guestwire: {ours}"


@pytest.mark.parametrize("status", [429, 413, 503])
async def test_who_asks_for_patience_is_not_asked_again(sdk: Any, bare: str, status: int) -> None:
    """`Retry-After` is for the relay, which paces; the SDK takes it for leave to send again, even a 413."""
    with FarServer(lambda _: answer(status, retry_after="0")) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            found = await caller.call(CALL)
        assert (found.status, found.headers["retry-after"]) == (status, "0")
        ours = len(far.posts())
        await bare_post(sdk, far.url)
        theirs = len(far.posts()) - ours
        assert (ours, theirs) == (1, 11), f"{bare}: {theirs} POSTs, through guestwire: {ours}"


async def test_a_silent_server_has_its_time(sdk: Any) -> None:
    """No answer within the time is an unknown outcome. The SDK would wait for ever, so it is not asked."""
    with FarServer(lambda _: SILENCE) as far:
        async with calling(client_for(sdk, far.url), total_s=SHORT_S) as caller:
            with pytest.raises(Unreachable) as caught:
                await caller.call(CALL)
            assert not isinstance(caught.value, NotSent)
            await eventually(far.left.is_set)  # the connection is let go
        assert len(far.posts()) == 1


async def test_half_an_answer_is_none(sdk: Any) -> None:
    """A status whose body never ends is waited for as long as any answer."""
    with FarServer(lambda _: answer(202, b"{}", content_length="10")) as far:
        async with calling(client_for(sdk, far.url), total_s=SHORT_S) as caller:
            with pytest.raises(Unreachable):
                await caller.call(CALL)


async def test_a_token_that_ends_does_not_make_the_sdk_send_again(sdk: Any) -> None:
    """With a refresh token the SDK answers 401 by renewing and sending, as often as it takes: not through us."""
    with FarServer(lambda _: answer(401)) as far:
        client = client_for(sdk, far.url)
        client.refresh_token, client.client_id, client.client_secret = "r", "id", "secret"
        async with calling(client) as caller:
            with pytest.raises(AuthenticationError):
                await caller.call(CALL)
        assert [request.target.partition("?")[0] for request in far.requests] == [PATH]


# --- nothing has left ---


async def test_a_refused_connection_was_surely_not_used(sdk: Any) -> None:
    """Nobody listens there: nothing has left, and the error names neither path nor query."""
    with FarServer(lambda _: answer(202)) as far:
        gone = far.url
    async with calling(client_for(sdk, gone)) as caller:
        with pytest.raises(NotSent, match="ConnectionRefusedError") as caught:
            await caller.call(CALL)
    assert "prefetch" not in str(caught.value)
    assert INTEGRATION not in str(caught.value)


async def test_an_unknown_name_was_surely_not_reached(sdk: Any) -> None:
    """A host that does not exist gets nothing."""
    async with calling(client_for(sdk, "http://nowhere.invalid")) as caller:
        with pytest.raises(NotSent):
            await caller.call(CALL)


async def test_a_certificate_that_is_not_trusted_gets_nothing(sdk: Any, configuration: Any, tmp_path: Path) -> None:
    """TLS fails before the message; with the CA in the SDK's own Configuration it goes."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with FarServer(lambda _: answer(202), tls=tls) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
                await caller.call(CALL)
        assert far.requests == []
        configuration.setattr(sdk.configuration, "ssl_ca_cert", str(certificate))
        async with calling(client_for(sdk, far.url)) as caller:
            assert (await caller.call(CALL)).status == 202
        configuration.setattr(sdk.configuration, "ssl_ca_cert", None)
        configuration.setattr(sdk.configuration, "verify_ssl", False)
        async with calling(client_for(sdk, far.url)) as caller:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of urllib3, that nothing is verified
                assert (await caller.call(CALL)).status == 202
    assert sdk.configuration.ssl_context is None, "the user's Configuration stays as it is"


async def test_mutual_tls_is_the_users(sdk: Any, configuration: Any, tmp_path: Path) -> None:
    """The client certificate that the SDK was given is shown."""
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate)
    with FarServer(lambda _: answer(202), tls=tls) as far:
        sdk.configuration.set_mtls_certificates(str(certificate), str(key), str(certificate))
        async with calling(client_for(sdk, far.url)) as caller:
            assert (await caller.call(CALL)).status == 202


async def test_the_proxy_is_the_users(sdk: Any, configuration: Any) -> None:
    """Requests go to the proxy of the SDK's Configuration, with its credentials."""
    with FarServer(lambda _: answer(202)) as proxy:
        configuration.setattr(sdk.configuration, "proxy", proxy.url)
        configuration.setattr(sdk.configuration, "proxy_username", "anna")
        configuration.setattr(sdk.configuration, "proxy_password", "pw")
        async with calling(client_for(sdk, "http://gateway.example")) as caller:
            assert (await caller.call(CALL)).status == 202
    assert [request.target for request in proxy.requests] == [
        f"http://gateway.example{PATH}?prefetchConversationId=true"
    ]
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic YW5uYTpwdw=="


async def test_a_proxy_that_does_not_let_us_through_gets_no_message(sdk: Any, configuration: Any) -> None:
    """A refused CONNECT: the message stayed here."""
    with FarServer(lambda _: answer(407)) as proxy:
        configuration.setattr(sdk.configuration, "proxy", proxy.url)
        async with calling(client_for(sdk, "https://gateway.example")) as caller:
            with pytest.raises(NotSent, match="407"):
                await caller.call(CALL)
    assert [request.method for request in proxy.requests] == ["CONNECT"]


async def test_a_hook_that_fails_keeps_the_message_here(sdk: Any) -> None:
    """The user's pre-request hook runs before anything leaves; its words are not repeated."""

    def hook(options: Any) -> Any:
        raise RuntimeError(f"no signature for {options.body}")

    with FarServer(lambda _: answer(202)) as far:
        client = client_for(sdk, far.url)
        client.get_http_client().set_pre_request_hook(hook)
        async with calling(client) as caller:
            with pytest.raises(NotSent, match=r"^RuntimeError$"):
                await caller.call(CALL)
    assert far.requests == []


# --- what goes out ---


async def test_the_request_is_ours_and_the_manners_are_the_users(sdk: Any) -> None:
    """Body as it was written, default headers, the hook's header and the token; paths quoted, queries encoded."""

    def sign(options: Any) -> Any:
        options.headers["X-Signed"] = "yes"
        return options

    body = {**BODY, "channel": {**BODY["channel"], "metadata": {"customAttributes": {"k": "ü"}}, "idType": "New"}}  # type: ignore[dict-item]
    with FarServer(lambda _: answer(202, b'{"id":"1"}', x_echo="e")) as far:
        client = client_for(sdk, far.url)
        client.set_default_header("X-Company", "acme")
        client.get_http_client().set_pre_request_hook(sign)
        async with calling(client) as caller:
            found = await caller.call(Call("POST", "/api/v2/a b/?{id}%2Fx", body, (("q", "a&b"),)))
        assert (found.status, found.json(), found.headers["x-ECHO"]) == (202, {"id": "1"}, "e")
        assert not hasattr(client, "last_response"), "the user's client was not used for the call"
    (request,) = far.requests
    assert request.target == "/api/v2/a%20b/%3F%7Bid%7D%2Fx?q=a%26b"
    assert json.loads(request.body) == body
    assert request.headers["authorization"] == "Bearer t0"
    assert request.headers["x-company"] == "acme"
    assert request.headers["x-signed"] == "yes"
    assert request.headers["user-agent"] == "PureCloud SDK/python"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert "cookie" not in request.headers


async def test_cookies_are_not_kept(sdk: Any) -> None:
    """What one answer sets, the next request does not bring."""
    with FarServer(lambda _: answer(202, set_cookie="a=b")) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            await caller.call(CALL)
            await caller.call(CALL)
        assert ["cookie" in request.headers for request in far.requests] == [False, False]


async def test_an_answer_that_is_no_text_is_still_an_answer(sdk: Any) -> None:
    """A gateway's page in some encoding: the SDK would raise UnicodeDecodeError in place of its status."""
    with FarServer(lambda _: answer(502, b"<html>\xff", content_type="text/html")) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            found = await caller.call(CALL)
    assert (found.status, found.body) == (502, b"<html>\xff")


async def test_an_answer_without_end_is_not_read_to_it(sdk: Any) -> None:
    """Of a POST the status counts, and what is kept of the body is bounded; a GET is nothing without its body."""
    body = b"x" * (MAX_ANSWER_BYTES + 100_000)
    with FarServer(lambda _: answer(202, body)) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            assert len((await caller.call(CALL)).body) < len(body)
            with pytest.raises(Unreachable, match="larger than"):
                await caller.call(Call("GET", "/api/v2/conversations/messages/1"))


async def test_a_hook_after_the_answer_cannot_take_it_back(sdk: Any) -> None:
    """It was accepted, whatever the user's post-request hook makes of it."""

    def hook(response: Any) -> Any:
        raise RuntimeError("no")

    with FarServer(lambda _: answer(202)) as far:
        client = client_for(sdk, far.url)
        client.get_http_client().set_post_request_hook(hook)
        async with calling(client) as caller:
            assert (await caller.call(CALL)).status == 202


async def test_the_users_log_has_every_request(sdk: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's own logging goes on as it was set up, for refusals too, without the token."""
    with FarServer(lambda _: answer(400, b"{}")) as far:
        async with calling(client_for(sdk, far.url, token="s3cret")) as caller:
            with caplog.at_level(logging.ERROR, "PureCloudPlatformClientV2"):
                await caller.call(CALL)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "PureCloudPlatformClientV2"]
    assert PATH in line
    assert "Status: 400" in line
    assert "s3cret" not in line


# --- many at once ---


async def test_as_many_go_out_as_the_destination_takes(sdk: Any) -> None:
    """A server that answers when sixteen are there gets sixteen; the SDK's four slots would never get there. Each call
    has its own answer."""
    together = threading.Barrier(16)

    def serve(request: Request) -> bytes:
        together.wait(PATIENCE_S)
        return answer(202, request.body)

    with FarServer(serve) as far:
        to = destination(far.url, limits=Limits(max_in_flight=16))
        async with calling(client_for(sdk, far.url), to) as caller:
            calls = [Call("POST", PATH, {"text": str(number)}) for number in range(16)]
            found = await asyncio.gather(*(caller.call(call) for call in calls))
    assert [one.json() for one in found] == [call.plain for call in calls]


async def test_the_loop_goes_on_while_a_call_waits(sdk: Any) -> None:
    """The server answers only when the loop says so: a caller that held the loop would wait for ever."""
    go = threading.Event()

    def serve(_: Request) -> bytes:
        go.wait(PATIENCE_S)
        return answer(202)

    turns = 0
    with FarServer(serve) as far:
        async with calling(client_for(sdk, far.url)) as caller:
            waiting = asyncio.create_task(caller.call(CALL))
            await eventually(far.posts)
            while turns < 1000:
                await asyncio.sleep(0)
                turns += 1
            assert not waiting.done()
            go.set()
            assert (await waiting).status == 202


async def test_a_call_that_nobody_waits_for_lets_its_connection_go(sdk: Any) -> None:
    """A cancelled call stays cancelled; its thread is free for the next ones."""
    silent = True

    def serve(_: Request) -> bytes:
        return SILENCE if silent else answer(202)

    with FarServer(serve) as far:
        to = destination(far.url, limits=Limits(max_in_flight=1))
        async with calling(client_for(sdk, far.url), to) as caller:
            for count in range(1, 3 + BESIDE):
                task = asyncio.create_task(caller.call(CALL))
                await eventually(lambda count=count: len(far.posts()) == count)  # type: ignore[misc]
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            silent = False
            assert (await caller.call(CALL)).status == 202


async def test_closing_ends_what_is_on_its_way(sdk: Any) -> None:
    """Who waits for an answer is told that it is not known; who still waited for a thread, that nothing was sent; and
    afterwards nothing goes out."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with FarServer(lambda _: SILENCE) as far:
        to = destination(far.url, limits=Limits(max_in_flight=1))
        async with calling(client_for(sdk, far.url), to) as caller:
            most = 1 + BESIDE
            sent = [asyncio.create_task(caller.call(CALL)) for _ in range(most)]
            await eventually(lambda: len(far.posts()) == most)
            queued = asyncio.create_task(caller.call(CALL))
            await asyncio.sleep(0)
            await caller.close()
            outcomes = await asyncio.gather(*sent, queued, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [*[Unreachable] * most, NotSent]
            with pytest.raises(NotSent):
                await caller.call(CALL)
        assert len(far.posts()) == most
    gc.collect()
    assert complaints == []


# --- tokens ---


class Login:
    """A platform that gives tokens 1, 2, … and takes the last one alone."""

    def __init__(self) -> None:
        self.given = 0
        self.good = "Bearer nobody has this"

    def __call__(self, request: Request) -> bytes:
        """Give a token, or look at the one that came."""
        if request.target == "/oauth/token":
            self.given += 1
            self.good = f"Bearer token-{self.given}"
            return answer(200, b'{"access_token":"token-%d","expires_in":3600}' % self.given)
        return answer(202 if request.headers.get("authorization") == self.good else 401)


CREDENTIALS: dict[str, Any] = {"client_id": "the-client", "client_secret": Secret("the-secret")}


async def test_a_token_of_the_destinations_client_is_fetched_and_renewed(sdk: Any) -> None:
    """One request for a token, in the SDK's bytes; after a 401 another, and the same message once more. The user's
    client, which has no token of its own, is given each."""
    login = Login()
    with FarServer(login) as far:
        client = client_for(sdk, far.url, token="")
        async with calling(client, destination(far.url, **CREDENTIALS)) as caller:
            assert (await caller.call(CALL)).status == 202
            assert client.access_token == "token-1"
            login.good = "Bearer not any more"
            assert (await caller.call(CALL)).status == 202
            assert client.access_token == "token-2"
    asked, first, refused, again, last = far.requests
    assert (asked.target, again.target) == ("/oauth/token", "/oauth/token")
    assert asked.body == b"grant_type=client_credentials"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["authorization"].startswith("Basic ")
    assert refused.body == last.body == first.body
    assert [one.headers["authorization"] for one in (first, refused, last)] == [
        "Bearer token-1",
        "Bearer token-1",
        "Bearer token-2",
    ]


async def test_a_token_of_the_users_own_is_left_alone(sdk: Any) -> None:
    """He signed in as somebody: his client stays who it is, and ours sends as the destination's."""
    with FarServer(Login()) as far:
        client = client_for(sdk, far.url, token="his")
        async with calling(client, destination(far.url, **CREDENTIALS)) as caller:
            assert (await caller.call(CALL)).status == 202
        assert client.access_token == "his"


async def test_a_borrowed_token_is_its_owners_business(sdk: Any) -> None:
    """Without credentials the client's own token is used, read for every call; refused, the error says what to do,
    nothing is sent with it any more, and a new one sets things going again."""
    login = Login()
    with FarServer(login) as far:
        login.good = "Bearer new"
        client = client_for(sdk, far.url, token="old")
        async with calling(client) as caller:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match="not taken") as caught:
                    await caller.call(CALL)
                assert "access_token" in caught.value.hint
            assert len(far.posts()) == 1
            client.access_token = "new"
            await caller.ready()
            assert (await caller.call(CALL)).status == 202
            client.access_token = ""
            with pytest.raises(AuthenticationError, match="has no access token"):
                await caller.ready()


async def test_a_gateway_of_ones_own_may_want_no_token(sdk: Any) -> None:
    """The tutorial contract without credentials goes without Authorization."""
    with FarServer(lambda _: answer(200)) as far:
        to = Destination(name="own", transport="rest-contract", url=far.url)
        async with calling(client_for(sdk, far.url, token=""), to) as caller:
            await caller.ready()
            assert (await caller.call(CALL)).status == 200
    assert "authorization" not in far.requests[0].headers


# --- what is refused at the start ---


def made(sdk: Any, client: Any, **changes: Any) -> str:
    """The code of what is wrong."""
    to = destination("http://127.0.0.1:9", **changes)
    with pytest.raises(ConfigError) as caught:
        sdk_caller_of(to, client, clock=SystemClock(), timing=RelaySettings())
    assert caught.value.hint
    return caught.value.code


async def test_what_cannot_be_used_is_refused_at_the_start(sdk: Any, configuration: Any) -> None:
    """What is no ApiClient, leads elsewhere or cannot be made safe, and settings that would be ignored."""
    from PureCloudPlatformClientV2.abstract_http_client import AbstractHttpClient

    class Own(AbstractHttpClient):  # type: ignore[misc]
        def request(self, http_request_options: Any) -> Any:
            raise AssertionError("it is refused, and nobody calls it")

    here = "http://127.0.0.1:9"
    assert made(sdk, sdk.ConversationsApi(client_for(sdk, here))) == "GW-C006"
    assert made(sdk, client_for(sdk, "https://api.mypurecloud.com")) == "GW-C012"
    assert made(sdk, client_for(sdk, here), proxy=Secret("http://127.0.0.1:1")) == "GW-C012"
    own = client_for(sdk, here)
    own.set_http_client(Own())
    assert made(sdk, own) == "GW-C012"
    configuration.setattr(sdk.configuration, "ssl_ca_cert", "/nonexistent/ca.pem")
    assert made(sdk, client_for(sdk, here)) == "GW-C050"


async def test_a_gateway_of_the_clients_is_where_it_goes(sdk: Any) -> None:
    """`set_gateway` puts a host before the platform, for messages and tokens; the destination stays what it was."""
    login = Login()
    with FarServer(login) as far:
        client = client_for(sdk, "https://api.mypurecloud.ie", token="")
        client.set_gateway("127.0.0.1", "http", far.port, "login", "api")
        to = Destination(
            name="kiosk", transport="openmessaging", region="eu-west-1", integration_id=INTEGRATION, **CREDENTIALS
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(far, "_behaviour", lambda one: login(one._replace(target=one.target.removeprefix("/login"))))
            async with calling(client, to) as caller:
                assert (await caller.call(CALL)).status == 202
    assert [one.target.partition("?")[0] for one in far.requests] == ["/login/oauth/token", f"/api{PATH}"]


# --- the emulator, as the SDK sees it ---


async def test_the_sdk_as_it_is_finds_its_platform_in_the_emulator(sdk: Any) -> None:
    """An unmodified client signs in, finds its organisation and integration, says, types, answers, acknowledges, and
    reads all of it back."""
    async with emulator(history_lag_s=0, open_typing_enabled=True) as genesys:
        client = sdk.ApiClient(host=genesys.url)
        api = sdk.ConversationsApi(client)
        try:
            await asyncio.to_thread(client.get_client_credentials_token, genesys.client_id, genesys.client_secret)
            organisation = await asyncio.to_thread(sdk.OrganizationApi(client).get_organizations_me)
            assert organisation.id == genesys.organization_id
            integration = await asyncio.to_thread(
                api.get_conversations_messaging_integrations_open_integration_id, genesys.integration_id
            )
            assert (integration.id, integration.create_status) == (genesys.integration_id, "Completed")

            said = await asyncio.to_thread(
                api.post_conversations_message_inbound_open_message,
                genesys.integration_id,
                message(sdk, "Where is my order?", "m-1"),
                prefetch_conversation_id=True,
            )
            assert (said.text, said.type, said.channel.platform, said.channel.type) == (
                "Where is my order?",
                "Text",
                "Open",
                "Private",
            )
            assert (said.channel.message_id, said.channel.pcFrom.id) == ("m-1", "guest-42")
            assert said.conversation_id

            typed = await asyncio.to_thread(
                api.post_conversations_message_inbound_open_event, genesys.integration_id, typing(sdk)
            )
            assert (typed.type, typed.events[0].event_type) == ("Event", "Typing")

            question = genesys.say("Which one?", content=[quick_reply("The red one", "red")])
            answered = await asyncio.to_thread(
                api.post_conversations_message_inbound_open_structured_response,
                genesys.integration_id,
                choice(sdk, question, "The red one", "red"),
            )
            assert answered.type == "Structured"
            assert answered.content[0].button_response.payload == "red"
            receipt = await asyncio.to_thread(
                api.post_conversations_message_inbound_open_receipt, genesys.integration_id, delivered(sdk, question)
            )
            assert (receipt.id, receipt.type, receipt.status) == (question, "Receipt", "Delivered")

            data = await asyncio.to_thread(api.get_conversations_message_details, said.id)
            assert (data.id, data.direction, data.conversation_id) == (said.id, "inbound", said.conversation_id)
            assert data.normalized_message.text == "Where is my order?"
            conversation = await asyncio.to_thread(api.get_conversations_message, said.conversation_id)
            ids = [one.message_id for participant in conversation.participants for one in participant.messages or ()]
            assert {said.id, question, answered.id} <= set(ids)
            listing = await asyncio.to_thread(
                api.post_conversations_message_messages_bulk, said.conversation_id, body=ids
            )
            by_id = {one.id: one for one in listing.entities}
            assert by_id[question].status == "delivery-success"
            assert by_id[said.id].normalized_message.channel.message_id == "m-1"
        finally:
            client.get_http_client().rest_client.pool_manager.clear()
    unknown = "outdated_sdk_version"  # what the SDK makes of a value that its models do not have
    found = (organisation, integration, said, typed, answered, receipt, data, conversation, listing)
    assert [type(one).__name__ for one in found if unknown in str(one.to_dict())] == []


async def test_the_sdk_understands_how_the_emulator_refuses(sdk: Any) -> None:
    """Status and ErrorBody are where the SDK's users look for them."""
    async with emulator() as genesys:
        client = sdk.ApiClient(host=genesys.url)
        api = sdk.ConversationsApi(client)
        post = api.post_conversations_message_inbound_open_message
        try:
            refusals = []
            client.access_token = "nobody-gave-this"
            refusals.append(await refusal(sdk, post, genesys.integration_id, BODY))
            await asyncio.to_thread(client.get_client_credentials_token, genesys.client_id, genesys.client_secret)
            refusals.append(await refusal(sdk, post, INTEGRATION, BODY))
            refusals.append(await refusal(sdk, post, genesys.integration_id, {"channel": BODY["channel"]}))
            assert refusals == [(401, "bad.credentials"), (404, "not.found"), (400, "bad.request")]
        finally:
            client.get_http_client().rest_client.pool_manager.clear()


async def test_a_caller_and_its_client_share_the_emulator(sdk: Any) -> None:
    """guestwire signs in with the destination's credentials and sends; the user's own client then reads what arrived,
    custom attributes included, with the token that it was lent."""
    async with emulator(history_lag_s=0) as genesys:
        client = sdk.ApiClient(host=genesys.url)
        to = Destination(
            name="emulator",
            transport="openmessaging",
            url=genesys.url,
            integration_id=genesys.integration_id,
            client_id=genesys.client_id,
            client_secret=Secret(genesys.client_secret),
        )
        path = f"/api/v2/conversations/messages/{genesys.integration_id}/inbound/open/message"
        channel = {**BODY["channel"], "metadata": {"customAttributes": {"desk": "billing"}}}  # type: ignore[dict-item]
        call = Call("POST", path, {**BODY, "channel": channel}, (("prefetchConversationId", "true"),))
        try:
            async with calling(client, to) as caller:
                accepted = (await caller.call(call)).json()
            api = sdk.ConversationsApi(client)
            data = await asyncio.to_thread(api.get_conversations_message_details, accepted["id"])
            assert data.normalized_message.text == "hello"
            (conversation,) = genesys.conversations()
            assert conversation["custom_attributes"] == {"desk": "billing"}
        finally:
            client.get_http_client().rest_client.pool_manager.clear()


async def test_messages_go_through_the_clients_own_way(sdk: Any, tmp_path: Path) -> None:
    """A program hands its ApiClient over: its messages arrive in order, through that client, with its headers."""
    async with emulator(history_lag_s=0) as genesys:
        client = sdk.ApiClient(host=genesys.url)
        hooked: list[str] = []

        def note(options: Any) -> Any:
            hooked.append(options.method)
            return options

        client.get_http_client().set_pre_request_hook(note)
        to = Destination(
            name="emulator",
            transport="openmessaging",
            url=genesys.url,
            integration_id=genesys.integration_id,
            client_id=genesys.client_id,
            client_secret=Secret(genesys.client_secret),
        )
        settings = StoreSettings(path=tmp_path, min_free_disk_mb=1)
        async with GuestWire([to], store=tmp_path, store_settings=settings, api_clients={"emulator": client}) as wire:
            tickets = [await wire.submit(Message(guest="ann", text=str(number))) for number in range(3)]
            assert await settled(wire, *tickets) == ["accepted"] * 3
        assert inbound(genesys) == ["0", "1", "2"]
        assert hooked.count("POST") == 4  # a token, and three messages
        client.get_http_client().rest_client.pool_manager.clear()


async def refusal(sdk: Any, method: Any, *arguments: Any) -> tuple[int, str]:
    """Status and code of a call that must not succeed."""
    from PureCloudPlatformClientV2.rest import ApiException

    with pytest.raises(ApiException) as caught:
        await asyncio.to_thread(method, *arguments)
    assert caught.value.headers["ININ-Correlation-Id"] == json.loads(caught.value.body)["contextId"]
    return caught.value.status, json.loads(caught.value.body)["code"]


def sender(sdk: Any) -> Any:
    """The guest, as the SDK's model has him."""
    found = sdk.OpenMessagingFromRecipient()
    found.id, found.id_type, found.nickname = "guest-42", "Opaque", "Ann"
    return found


def message(sdk: Any, text: str, message_id: str) -> Any:
    """What he says, in models."""
    found = sdk.OpenInboundNormalizedMessage()
    found.channel = sdk.OpenInboundMessageMessagingChannel()
    found.channel.pcFrom, found.channel.message_id = sender(sdk), message_id
    found.channel.time = datetime.now(UTC)
    found.text = text
    return found


def typing(sdk: Any) -> Any:
    """That he types."""
    found = sdk.OpenInboundNormalizedEvent()
    found.channel = sdk.OpenInboundMessagingChannel()
    found.channel.pcFrom, found.channel.time = sender(sdk), datetime.now(UTC)
    event = sdk.OpenEvent()
    event.event_type = "Typing"
    found.events = [event]
    return found


def choice(sdk: Any, question: str, text: str, payload: str) -> Any:
    """What he chose."""
    found = sdk.OpenInboundStructuredResponseMessage()
    found.channel = sdk.OpenInboundMessageMessagingChannel()
    found.channel.pcFrom, found.channel.message_id = sender(sdk), "m-2"
    found.channel.time = datetime.now(UTC)
    found.button_response = sdk.ContentButtonResponse()
    found.button_response.type, found.button_response.text = "QuickReply", text
    found.button_response.payload, found.originating_message_id = payload, question
    return found


def delivered(sdk: Any, reply_id: str) -> Any:
    """That the agent's word has reached him."""
    found = sdk.OpenInboundNormalizedReceipt()
    found.id, found.status, found.is_final_receipt = reply_id, "Delivered", True
    found.channel = sdk.OpenInboundMessagingReceiptChannel()
    found.channel.to, found.channel.time = sdk.OpenMessagingToRecipient(), datetime.now(UTC)
    found.channel.to.id, found.channel.to.id_type = "guest-42", "Opaque"
    return found


def quick_reply(text: str, payload: str) -> dict[str, Any]:
    """An offer of an agent's."""
    return {"contentType": "QuickReply", "quickReply": {"text": text, "payload": payload, "action": "Message"}}


# --- loggers ---


def test_the_host_programs_loggers_speak_again(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK does to loggers that are not its own is undone, and nothing else: its logger is made once more, as
    on import."""
    from PureCloudPlatformClientV2.logger import Logger

    urllib3, watchdog = logging.getLogger("urllib3"), logging.getLogger("watchdog")
    Logger()
    assert (urllib3.level, urllib3.propagate) == (51, False), "the SDK silences it no more: unmute_loggers may go"
    watchdog.setLevel(logging.INFO)
    watchdog.propagate = False
    assert unmute_loggers() == ["urllib3"]
    assert (urllib3.level, urllib3.propagate) == (logging.NOTSET, True)
    assert (watchdog.level, watchdog.propagate) == (logging.INFO, False)
    assert unmute_loggers() == []
    watchdog.setLevel(logging.NOTSET)
    watchdog.propagate = True


def test_every_exception_of_the_sdk_is_read_by_what_had_left(sdk: Any) -> None:
    """Its own class for an answer that it does not like: before anything left, after it, with that answer in hand."""
    rest = sys.modules["PureCloudPlatformClientV2.rest"]
    own = [kind for kind in vars(rest).values() if isinstance(kind, type) and kind.__module__ == rest.__name__]
    kinds: list[Any] = [kind for kind in own if issubclass(kind, Exception)]
    assert sdk.rest.ApiException in kinds
    for kind in kinds:
        check_flight(kind(status=500, reason="x"))
