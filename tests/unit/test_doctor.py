"""`guestwire.doctor`: what is asked after what, and what an answer means."""

from __future__ import annotations

import errno
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from guestwire.doctor import RECEIVE, Check, Status
from guestwire.doctor.asking import Page, allowed_of, no_page
from guestwire.doctor.checks import Spot
from guestwire.doctor.configuration import region_check, settings_check
from guestwire.doctor.credentials import (
    credentials_check,
    fetched_token_check,
    own_token_check,
    stepped_in_check,
)
from guestwire.doctor.examination import Step, steps_of, trouble_check
from guestwire.doctor.network import (
    CERTIFICATE_DAYS,
    SKEW_FAIL_S,
    SKEW_WARN_S,
    Handshake,
    addresses_in_words,
    clock_check,
    distrust_check,
    handshake_check,
    no_connection_check,
    plain_check,
)
from guestwire.doctor.platform import integration_check, limits_check, organisation_check, permission_check
from guestwire.doctor.proxy import tunnel_refusal, tunnel_request
from guestwire.doctor.refusals import lacking_of, unforeseen_check
from guestwire.doctor.scene import Given
from guestwire.doctor.store import disk_check
from guestwire.doctor.webmessaging import deployment_check, origin_check
from guestwire.errors import ConfigError
from guestwire.net import Answer, NotSent
from guestwire.protocol.platform import Token, TokenLater, TokenRefused
from guestwire.settings import Destination, Limits, Secret, TlsSettings

UUID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
OTHER = "9d1e6f20-7a3b-4c5d-8e9f-0a1b2c3d4e5f"
NOW = 1_772_600_400.0
DAY_S = 86_400.0
API = Spot("api.mypurecloud.ie", 443, True)


def kiosk(**changes: Any) -> Destination:
    """Open Messaging in Ireland, with an OAuth client."""
    fields: dict[str, Any] = {
        "name": "kiosk",
        "transport": "openmessaging",
        "region": "eu-west-1",
        "integration_id": UUID,
        "client_id": "abc",
        "client_secret": Secret("hunter2"),
    }
    return Destination(**{**fields, **changes})


def gate(**changes: Any) -> Destination:
    """The tutorial contract at a gateway of one's own."""
    return Destination(**{"name": "gate", "transport": "rest-contract", "url": "https://gate.example", **changes})


def web(**changes: Any) -> Destination:
    """Web messaging in Ireland."""
    return Destination(**{"name": "web", "region": "eu-west-1", "deployment_id": UUID, **changes})


def place(destination: Destination, **origins: str) -> Given:
    """A destination whose settings come from somewhere."""
    return Given(destination, {f"destinations.{destination.name}.{key}": origin for key, origin in origins.items()})


def answer(status: int, data: Any = None, **headers: str) -> Answer:
    """An answer of the platform, in JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/json", **named}, msgspec.json.encode(data or {}))


def lacking(permission: str) -> Answer:
    """An answer of 403 as the platform gives it."""
    return answer(403, {"code": "missing.permissions", "status": 403, "messageParams": {"permissions": permission}})


# --- what is asked after what ---


def named(steps: list[Step]) -> list[str]:
    """Names of steps."""
    return [step.name for step in steps]


def test_open_messaging_asks_for_rights_before_it_asks_for_more() -> None:
    """A token comes first, and only the right organisation is touched; the limits wait, and depend on nothing."""
    steps = {step.name: step for step in steps_of(kiosk())}
    assert list(steps) == [
        *("settings", "region", "dns api.mypurecloud.ie", "dns login.mypurecloud.ie"),
        *("tls api.mypurecloud.ie", "tls login.mypurecloud.ie", "clock", "credentials", "token"),
        *("organisation", "permission", "integration", "limits"),
    ]
    assert steps["token"].needs == ("credentials", "tls login.mypurecloud.ie")
    assert "organisation" in steps["permission"].needs
    assert "permission" in steps["integration"].needs
    assert (steps["limits"].needs, steps["limits"].after) == ((), ("token", "organisation", "permission"))


def test_web_messaging_looks_at_three_hosts_and_at_no_credentials() -> None:
    """The WebSocket's, the one of public files, the API's."""
    names = named(steps_of(web()))
    assert [name.removeprefix("dns ") for name in names if name.startswith("dns ")] == [
        *("webmessaging.mypurecloud.ie", "api-cdn.mypurecloud.ie", "api.mypurecloud.ie")
    ]
    assert names[-3:] == ["deployment", "origin", "limits"]


def test_a_gateway_of_ones_own_is_one_host_and_has_no_integration() -> None:
    """Its tokens come from the same place."""
    names = named(steps_of(gate()))
    assert [name for name in names if name.startswith(("dns", "tls"))] == ["dns gate.example", "tls gate.example"]
    assert "integration" not in names


@pytest.mark.parametrize("destination", [kiosk(), web(), gate(), gate(login_url="https://login.example")])
def test_a_step_waits_only_for_what_comes_before_it(destination: Destination) -> None:
    """So no two wait for each other, and no name is there twice."""
    seen: list[str] = []
    for step in steps_of(destination):
        assert {*step.needs, *step.after} <= set(seen)
        assert step.name not in seen
        seen.append(step.name)


@pytest.mark.parametrize(
    ("error", "detail", "fix"),
    [
        (TimeoutError(), "no answer within 2.5 s", "check the network, a firewall, a proxy"),
        (NotSent("refused"), "no answer: refused", "check the network, a firewall, a proxy"),
        (ConfigError("the words", code="GW-C050", hint="the hint"), "the words", "the hint"),
    ],
)
def test_what_a_look_raises_is_a_failed_check(error: Any, detail: str, fix: str) -> None:
    """With what to do."""
    assert trouble_check("token", error, timeout_s=2.5) == Check("token", "fail", detail, fix)


def test_a_page_is_told_with_its_host_and_status() -> None:
    """And as what it is: somebody between."""
    check = trouble_check("token", Page("login.example", 403), timeout_s=1.0)
    assert "login.example answers with a page of HTML (403)" in check.detail
    assert "HTTPS_PROXY" in check.fix


# --- requests ---


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=utf-8", b"Sign in"),
        ("TEXT/HTML", b""),
        ("", b"\r\n <!DOCTYPE html><title>Sign in</title>"),
        ("application/json", b"<HTML>"),
    ],
)
def test_a_page_is_known_by_its_type_or_its_beginning(kind: str, body: bytes) -> None:
    """Whatever its status; only its host is told."""
    with pytest.raises(Page) as caught:
        no_page("https://api.example:8443/path?key=1", Answer(200, {"Content-Type": kind}, body))
    assert (caught.value.host, caught.value.status) == ("api.example:8443", 200)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"message":"<html>"}', b"plain"])
def test_what_is_no_page_is_an_answer(body: bytes) -> None:
    """A quoted tag makes none."""
    found = Answer(500, {"Content-Type": "application/json"}, body)
    assert no_page("https://api.example/", found) is found


@pytest.mark.parametrize(("said", "allowed"), [("300", 300), ("", None), ("-1", None), ("many", None), ("1e3", None)])
def test_what_the_platform_allows_is_a_plain_number(said: str, allowed: int | None) -> None:
    """Anything else says nothing."""
    assert allowed_of(answer(200, inin_ratelimit_allowed=said)) == allowed


def test_a_place_is_told_without_the_port_that_everybody_has() -> None:
    """By the scheme, where the URL names none."""
    assert [str(Spot.of(url)) for url in ("https://a.example/x", "ws://a.example", "wss://a.example:444/v1")] == [
        *("a.example", "a.example", "a.example:444")
    ]


# --- what is set ---


def test_where_settings_come_from_is_told_once() -> None:
    """A default is nobody's choice; two settings of one place name it once."""
    given = place(kiosk(), client_id="a.toml line 3", client_secret="a.toml line 3", region="default")
    assert given.source("client_id", "client_secret", "region") == "a.toml line 3"
    assert given.told("eu-west-1", "region") == "eu-west-1"
    assert given.told("abc", "client_id") == "abc (a.toml line 3)"


def test_only_the_id_of_the_way_out_is_told() -> None:
    """The other may be a leftover."""
    assert settings_check(Given(kiosk(deployment_id=OTHER))).detail == f"openmessaging; integration {UUID}"
    assert settings_check(Given(web())).detail == f"webmessaging; deployment {UUID}"
    assert settings_check(Given(web(tls=TlsSettings(verify=False)))).status == "warn"


def test_a_region_is_told_with_its_domain() -> None:
    """And a gateway with its address."""
    assert region_check(Given(kiosk())).detail == "eu-west-1, mypurecloud.ie"
    assert "https://gate.example" in region_check(Given(gate())).detail


@pytest.mark.parametrize(
    ("destination", "status", "words"),
    [
        (kiosk(), "ok", "OAuth client abc"),
        (kiosk(access_token=Secret("t")), "ok", "OAuth client abc and an access token"),
        (kiosk(client_id=None, client_secret=None), "fail", "none are set"),
        (gate(), "skip", "may want none"),
    ],
)
def test_credentials_are_needed_by_open_messaging(destination: Destination, status: Status, words: str) -> None:
    """A gateway of one's own may want none; none of them is shown."""
    check = credentials_check(Given(destination))
    assert check.status == status
    assert words in check.detail
    assert "hunter2" not in str(check)


# --- the network ---


def test_addresses_are_counted_from_the_fourth() -> None:
    """Each once."""
    assert addresses_in_words(["1", "1", "2"]) == "1, 2"
    assert addresses_in_words(["1", "2", "3", "4", "5"]) == "1, 2, 3 and 2 more"


@pytest.mark.parametrize(
    ("days", "verified", "status"),
    [(CERTIFICATE_DAYS, True, "ok"), (CERTIFICATE_DAYS - 0.1, True, "warn"), (-1, True, "warn"), (90, False, "warn")],
)
def test_a_certificate_is_judged_by_the_days_it_has(days: float, verified: bool, status: Status) -> None:
    """Unless nobody looks at it."""
    shaken = Handshake("TLSv1.3", "Some CA", NOW + days * DAY_S)
    check = handshake_check(API, shaken, verified=verified, through=", through the proxy p", now=NOW)
    assert (check.name, check.status) == ("tls api.mypurecloud.ie", status)
    assert check.detail.startswith("TLSv1.3, certificate issued by Some CA, good for ")
    assert ("NOT verified" in check.detail) is not verified


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", "ok"), ("::1", "ok"), ("gate.example", "warn")])
def test_no_tls_is_right_on_this_machine_alone(host: str, status: Status) -> None:
    """Elsewhere all of it can be read."""
    assert plain_check(Spot(host, 80, False), through="").status == status


def test_an_issuer_that_is_not_known_is_not_told() -> None:
    """What is trusted is."""
    bare = distrust_check(API, "self-signed", issuer="", ca_file=None)
    assert bare.detail == "the certificate is not trusted: self-signed; the system's authorities are trusted"
    full = distrust_check(API, "self-signed", issuer="Acme Proxy", ca_file=Path("/etc/acme.pem"))
    assert "issued by Acme Proxy" in full.detail
    assert "'/etc/acme.pem' is trusted" in full.detail


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 443)"), "port 443: Connection refused, via"),
        (OSError("the proxy gives no tunnel: 407"), "port 443: the proxy gives no tunnel: 407, via"),
        (EOFError(), "port 443: EOFError, via"),
    ],
)
def test_no_connection_is_told_in_the_systems_words(error: Exception, words: str) -> None:
    """Those of asyncio repeat addresses."""
    check = no_connection_check(API, error, through=", via p")
    assert check.status == "fail"
    assert words in check.detail
    assert "10.0.0.1" not in check.detail


def test_an_answer_that_is_no_tls_is_told_by_its_reason() -> None:
    """As OpenSSL names it."""
    incoming = ssl.MemoryBIO()
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    tls = ssl.create_default_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=API.host)
    with pytest.raises(ssl.SSLError) as caught:
        tls.do_handshake()
    check = no_connection_check(API, caught.value, through=", via p")
    assert check.detail == f"no TLS: {caught.value.reason}, via p"
    assert "TLS 1.2" in check.fix


def test_a_tunnel_is_asked_for_by_host_and_port() -> None:
    """An address of IPv6 in brackets; user and password as they were before the URL quoted them."""
    assert tunnel_request("http://p.example:3128", API) == (
        b"CONNECT api.mypurecloud.ie:443 HTTP/1.1\r\nHost: api.mypurecloud.ie:443\r\n\r\n"
    )
    asked = tunnel_request("http://joe:p%40ss@p.example:3128", Spot("::1", 8443, True))
    assert asked.startswith(b"CONNECT [::1]:8443 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic am9lOnBAc3M=\r\n" in asked


@pytest.mark.parametrize(
    ("head", "refusal"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", None),
        (b"HTTP/1.0 200\r\n\r\n", None),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "something that is no HTTP"),
    ],
)
def test_a_proxy_gives_a_tunnel_with_200_alone(head: bytes, refusal: str | None) -> None:
    """Its status is told otherwise."""
    assert tunnel_refusal(head) == refusal


def http_date(seconds: float) -> str:
    """A date as HTTP writes it."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("off_s", "status"),
    [
        (0, "ok"),
        (SKEW_WARN_S - 1, "ok"),
        (SKEW_WARN_S + 1, "warn"),
        (SKEW_FAIL_S - 1, "warn"),
        (SKEW_FAIL_S + 1, "fail"),
    ],
)
@pytest.mark.parametrize(("sign", "way"), [(1, "ahead of"), (-1, "behind")])
def test_a_clock_is_judged_alike_both_ways(off_s: float, status: Status, sign: int, way: str) -> None:
    """By its distance."""
    check = clock_check(NOW + sign * off_s, {"Date": http_date(NOW)})
    assert check.status == status
    assert status == "ok" or way in check.detail


def test_a_date_out_of_a_cache_has_aged() -> None:
    """So `Age` is added to it; without a date nothing is known."""
    old = {"Date": http_date(NOW - 3600), "Age": "3600"}
    assert clock_check(NOW, old).status == "ok"
    assert clock_check(NOW, {**old, "Age": "0"}).status == "fail"
    for headers in ({}, {"Date": "yesterday"}, {**old, "Age": "old"}):
        assert clock_check(NOW, headers).status == "skip"


# --- tokens ---


@pytest.mark.parametrize(("status", "judged"), [(200, "ok"), (403, "ok"), (404, "ok"), (500, "ok"), (401, "fail")])
def test_a_given_token_is_refused_by_401_alone(status: int, judged: Status) -> None:
    """Whoever may not read his organisation has a token all the same."""
    check = own_token_check(place(kiosk(), access_token="flag --token"), answer(status))
    assert check.status == judged
    assert "the access token (flag --token)" in check.detail


def test_a_client_that_is_not_let_in_is_told_what_to_compare() -> None:
    """Both sources, and the region or the address; that no token comes for now is no mistake of his."""
    given = place(kiosk(), client_id="a.toml line 3", client_secret="b.toml line 4")
    refused = fetched_token_check(given, TokenRefused("400: invalid_client"))
    assert refused.status == "fail"
    assert "400: invalid_client" in refused.detail
    assert "client_id (a.toml line 3) and client_secret (b.toml line 4)" in refused.fix
    assert "the region (eu-west-1)" in refused.fix
    own = fetched_token_check(Given(gate(client_id="abc", client_secret=Secret("s"))), TokenRefused("401"))
    assert "the address (https://gate.example/oauth/token)" in own.fix
    later = fetched_token_check(given, TokenLater("429", 7.4))
    assert (later.status, later.fix) == ("fail", "try again in 7 s; logins are limited too")


def test_a_token_is_told_by_its_life_and_not_by_itself() -> None:
    """In seconds."""
    check = fetched_token_check(Given(kiosk()), Token("hunter2", 86_400.0))
    assert check == Check("token", "ok", "OAuth client abc: login.mypurecloud.ie gives tokens for 86,400 s")


def test_the_client_that_steps_in_leaves_a_warning() -> None:
    """With the remedy for the stale token; a client that is not let in either is the failure that counts."""
    stale, good = Check("token", "fail", "stale", "set a fresh one"), Check("token", "ok", "good")
    assert stepped_in_check(stale, good) == Check("token", "warn", "stale; good", "set a fresh one")
    bad = Check("token", "fail", "bad", "compare")
    assert stepped_in_check(stale, bad) is bad


# --- rights ---


@pytest.mark.parametrize(
    ("expected", "found", "status"),
    [
        (None, answer(200, {"id": OTHER, "name": "Acme"}), "ok"),
        (UUID, answer(200, {"id": UUID.upper()}), "ok"),
        (UUID, answer(200, {"id": OTHER}), "fail"),
        (None, lacking("directory:organization:view"), "skip"),
        (UUID, lacking("directory:organization:view"), "fail"),
        (None, answer(404), "fail"),
        (None, answer(200, {"name": "Acme"}), "fail"),
        (UUID, answer(429, Retry_After="7"), "warn"),
    ],
)
def test_an_organisation_matters_to_whoever_expects_one(expected: str | None, found: Answer, status: Status) -> None:
    """Compared without case; what may not be read is a failure only for him, with his own remedy."""
    check = organisation_check(Given(kiosk(expect_org_id=expected)), found, now=NOW)
    assert (check.name, check.status) == ("organisation", status)
    assert ("remove expect_org_id" in check.fix) is (expected is not None and found.status == 403)


def test_a_gateway_of_ones_own_may_know_no_organisation() -> None:
    """404 is its way to say so; not if one is expected."""
    own = {"region": None, "url": "https://gate.example"}
    assert organisation_check(Given(kiosk(**own)), answer(404), now=NOW).status == "skip"
    assert organisation_check(Given(kiosk(**own, expect_org_id=UUID)), answer(404), now=NOW).status == "fail"


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (answer(400, {"code": "bad.request"}), "ok", RECEIVE),
        (lacking(RECEIVE), "fail", f"lacks the permission {RECEIVE}"),
        (answer(404), "fail", UUID),
        (answer(429, Retry_After="7"), "warn", "429"),
        (answer(401), "fail", "401"),
        (answer(500), "fail", "500"),
        (answer(200), "fail", "200"),
    ],
)
def test_the_message_that_is_none_has_to_be_refused_as_such(found: Answer, status: Status, words: str) -> None:
    """400 alone says "you may"; that it was taken would be the strangest answer of all."""
    check = permission_check(Given(kiosk()), found, now=NOW)
    assert (check.name, check.status) == ("permission", status)
    assert words in check.detail


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ({"outboundNotificationWebhookUrl": "https://hook.example/key"}, "ok", "replies go to hook.example"),
        ({"outboundNotificationWebhookUrl": ""}, "warn", "replies go nowhere"),
        ({"createStatus": "Initiated"}, "warn", "its making is 'Initiated'"),
        ({"status": "Inactive"}, "warn", "is 'Inactive'"),
    ],
)
def test_an_integration_is_told_by_its_name(found: dict[str, str], status: Status, words: str) -> None:
    """And by what is the matter with it; the path of a webhook may be a key."""
    check = integration_check(Given(kiosk()), answer(200, {"name": "Kiosk", **found}), now=NOW)
    assert check.status == status
    assert check.detail.startswith("Kiosk")
    assert words in check.detail
    assert "/key" not in check.detail


def test_an_integration_that_may_not_be_read_takes_messages_all_the_same() -> None:
    """403 is skipped, 404 names the id, an empty answer is none."""
    given = Given(kiosk())
    assert integration_check(given, lacking("messaging:integration:view"), now=NOW).status == "skip"
    assert UUID in integration_check(given, answer(404), now=NOW).detail
    assert integration_check(given, answer(200), now=NOW).status == "fail"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("id", "name", "status", "createStatus", "code", "message", "messageParams", "allowedDomains", "contextId")


@for_all(st.integers(200, 599), ANYTHING | st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_whatever_json_comes_is_judged(status: int, body: Any) -> None:
    """Each look gives its own check, and whatever is not as it should be has a remedy."""
    found, given, site = answer(status, body), Given(kiosk()), Given(web(origin="https://shop.example"))
    for check, name in (
        (organisation_check(given, found, now=NOW), "organisation"),
        (permission_check(given, found, now=NOW), "permission"),
        (integration_check(given, found, now=NOW), "integration"),
        (deployment_check(site, found, now=NOW), "deployment"),
        (origin_check(site, found), "origin"),
    ):
        assert check.name == name
        assert check.fix or check.status in ("ok", "skip")


# --- answers that nobody foresaw ---


@pytest.mark.parametrize(
    ("found", "status", "fix"),
    [
        (answer(429, Retry_After="7"), "warn", "try again in 7 s"),
        (answer(401), "fail", "whether the OAuth client was disabled"),
        (answer(404), "fail", "check url or region"),
        (answer(500), "fail", "try again"),
    ],
)
def test_an_unforeseen_answer_has_a_remedy(found: Answer, status: Status, fix: str) -> None:
    """By what it proves."""
    check = unforeseen_check("token", found, host="api.example", now=NOW)
    assert check.status == status
    assert fix in check.fix
    assert check.detail.startswith(f"api.example answers {found.status}")


def test_support_is_told_the_correlation_id() -> None:
    """Where there is one; what an answer quotes is not repeated."""
    check = unforeseen_check("token", answer(500, {"message": "no 'hunter2'", "contextId": "7e0f"}), host="h", now=NOW)
    assert "(correlation id 7e0f)" in check.detail
    assert "correlation id" in check.fix
    assert "hunter2" not in str(check)


def test_a_refusal_that_names_no_permission_is_told_in_its_own_words() -> None:
    """One that does, by the permission."""
    assert lacking_of(lacking("a:b:c")) == "the permission a:b:c"
    assert lacking_of(answer(403, {"code": "no.way", "message": "Not for you"})) == "403 no.way: Not for you"


# --- limits ---


@pytest.mark.parametrize(
    ("allowed", "status", "words"),
    [
        (None, "ok", "requests_per_min 300 (a.toml line 9)"),
        (300, "ok", "the platform says the same"),
        (180, "warn", "messages will be throttled"),
        (600, "warn", "it could go faster"),
    ],
)
def test_limits_are_held_against_what_the_platform_said(allowed: int | None, status: Status, words: str) -> None:
    """With the line that makes them agree."""
    limited = Given(
        kiosk(limits=Limits(requests_per_min=300)), {"destinations.kiosk.limits.requests_per_min": "a.toml line 9"}
    )
    check = limits_check(limited, allowed)
    assert check.status == status
    assert words in check.detail
    assert status == "ok" or f"requests_per_min = {allowed}" in check.fix


def test_limits_of_the_platform_are_none_of_a_gateway_of_ones_own() -> None:
    """And that none is kept is a warning, whatever anybody says."""
    assert limits_check(Given(gate()), 1).status == "ok"
    unpaced = gate(pace=False)
    assert limits_check(Given(unpaced), None) == Check(
        "limits", "warn", "pace is off: none is kept", "remove pace = false"
    )


# --- web messaging ---


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (answer(200, {"status": "Active"}), "ok", "is active"),
        (answer(200, {"version": "1"}), "ok", "is active"),
        (answer(200, {"status": "Inactive"}), "fail", "is 'Inactive'"),
        (answer(403), "fail", f"no deployment {UUID} (a.toml line 2) there (403)"),
        (answer(404), "fail", f"no deployment {UUID} (a.toml line 2) there (404)"),
        (answer(500), "fail", "answers 500"),
        (Answer(200, {}, b"[]"), "fail", "answers 200"),
    ],
)
def test_a_deployment_is_judged_by_its_public_configuration(found: Answer, status: Status, words: str) -> None:
    """A store of files says 403 of what is not there."""
    check = deployment_check(place(web(), deployment_id="a.toml line 2"), found, now=NOW)
    assert check.status == status
    assert words in check.detail


@pytest.mark.parametrize(
    ("found", "origin", "status", "words"),
    [
        (answer(404), None, "skip", "not published here (404)"),
        (answer(200, {"allowAllDomains": True}), None, "ok", "every domain"),
        (answer(200, {"allowedDomains": []}), None, "warn", "no domain"),
        (answer(200, {"allowedDomains": ["a", "b", "c", "d", 5]}), "https://e", "fail", "a, b, c and 1 more, not"),
        (answer(200, {"allowedDomains": ["shop.example"]}), "https://shop.example", "ok", "is allowed"),
    ],
)
def test_an_origin_is_judged_by_the_public_list(found: Answer, origin: str | None, status: Status, words: str) -> None:
    """Where there is one."""
    check = origin_check(Given(web(origin=origin)), found)
    assert check.status == status
    assert words in check.detail


def test_an_origin_that_is_missing_is_suggested() -> None:
    """The first that is allowed, as it has to be written."""
    check = origin_check(Given(web()), answer(200, {"allowedDomains": ["https://Shop.example:8443/x"]}))
    assert check.fix == 'set destinations.web.origin, such as "https://shop.example"'


# --- the store ---


@pytest.mark.parametrize(("free_mb", "status"), [(99.9, "fail"), (100, "warn"), (199.9, "warn"), (200, "ok")])
def test_a_disk_is_judged_by_what_is_free(free_mb: float, status: Status) -> None:
    """Below what is needed no message is taken in; the double of it gives time to act."""
    check = disk_check("'/a'", free_mb, min_free_mb=100)
    assert (check.status, check.detail) == (status, "'/a'")
    assert (check.fix == "") is (status == "ok")
