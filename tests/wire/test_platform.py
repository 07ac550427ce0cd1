"""What answers of the platform prove: refusals, waits, reasons, tokens. Whatever comes: a value, never an exception."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from guestwire.model import Accepted, Failed, Outcome, Refused, Throttled, Unknown
from guestwire.protocol import platform
from guestwire.protocol.platform import (
    DEFAULT_RETRY_AFTER_S,
    DEFAULT_TOKEN_LIFE_S,
    MAX_REASON,
    MAX_RETRY_AFTER_S,
    MIN_RETRY_AFTER_S,
    Barred,
    Token,
    TokenLater,
    TokenRefused,
    is_foreign,
    quiet,
    reason_of,
    refusal_of,
    token_of,
    wait_s,
)
from guestwire.settings import REGIONS, Destination
from tests.wire import derive_facts
from tests.wire.strategies import json_objects, json_values

#: 2026-03-04T05:06:07Z
NOW = 1_772_600_767.0
CONTEXT = "7e0f5b7a-42d9-4a9b-9d60-1f6d1c2b3a4d"

requires_oracle = pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside examples are not on this machine",
)


def examples() -> Path:
    """The folder of the outside examples."""
    folder = derive_facts.oracle()
    assert folder is not None
    return folder / "platform-api-fixtures"


def judge(
    status: int, body: object = b"", headers: dict[str, str] | None = None, *, trust: bool = True
) -> Outcome | Barred:
    """What an answer proves."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal_of(status, CIMultiDict(headers or {}), data, now=NOW, trust_unavailable=trust)


def error(code: str, message: str = "words of the platform", **more: object) -> dict[str, object]:
    """An error as the platform writes it."""
    return {"message": message, "code": code, "contextId": CONTEXT, "details": [], "errors": [], **more}


# --- refusals ---


@pytest.mark.parametrize("code", ["bad.credentials", "credentials.expired", "authentication.required"])
def test_a_token_that_is_not_taken_bars_the_destination(code: str) -> None:
    """All three kinds of 401 are about the token, and none about the message."""
    found = judge(401, error(code))
    assert isinstance(found, Barred)
    assert found.what == "token"
    assert found.reason == f"401 {code}: words of the platform"
    assert found.evidence == {"http_status": 401, "error": code, "correlation_id": CONTEXT}


@pytest.mark.parametrize(
    ("code", "permissions", "expected"),
    [
        ("missing.permissions", "conversation:message:receive", "conversation:message:receive"),
        (
            "missing.any.permissions",
            "[conversation:message:create, conversation:webmessaging:create]",
            "conversation:message:create, conversation:webmessaging:create",
        ),
        ("not.authorized", None, ""),
        ("missing.permissions", ["conversation:message:receive"], ""),
    ],
)
def test_a_missing_permission_bars_the_destination_and_is_named(code: str, permissions: Any, expected: str) -> None:
    """The names are the platform's own parameters; where they are missing, so are they here."""
    found = judge(403, error(code, messageParams={"permissions": permissions}))
    assert isinstance(found, Barred)
    assert (found.what, found.permissions) == ("permission", expected)


def test_an_unknown_place_bars_the_destination() -> None:
    """404 on a route that was right yesterday: the integration is gone, or another organisation's."""
    found = judge(404, error("not.found"))
    assert isinstance(found, Barred)
    assert found.what == "place"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad.request"),
        (403, "conversation.closed"),
        (409, "conflict"),
        (413, "request.entity.too.large"),
        (415, "unsupported.media.type"),
    ],
)
def test_a_refused_message_would_be_refused_again(status: int, code: str) -> None:
    """The far side has read it and will not have it."""
    found = judge(status, error(code))
    assert isinstance(found, Refused)
    assert found.code == status
    assert found.reason == f"{status} {code}: words of the platform"
    assert found.evidence["error"] == code


@pytest.mark.parametrize("body", [{"code": ["missing.permissions"]}, {"code": {}}, {"code": None}, {}])
def test_a_403_that_names_no_permission_is_about_the_message(body: dict[str, object]) -> None:
    """Whatever stands where the code belongs."""
    assert isinstance(judge(403, body), Refused)


@pytest.mark.parametrize("body", [b"", b"<html>Forbidden</html>", b'{"trunca', b"[]"])
def test_a_403_that_is_no_json_comes_from_somebody_between(body: bytes) -> None:
    """A proxy or a firewall that turns everything away: no judgement on this message, and none of the platform's."""
    found = judge(403, body)
    assert isinstance(found, Barred)
    assert found.what == "between"


@pytest.mark.parametrize(
    ("status", "body", "foreign"),
    [
        (200, b"<html>welcome</html>", True),
        (200, b"", True),
        (202, b'{"id":"trunca', True),
        (302, b"", True),
        (307, b'{"id":"x"}', True),
        (200, b"{}", False),
        (202, b'{"id":"x"}', False),
        (400, b"<html>", False),
        (502, b"<html>", False),
    ],
)
def test_what_the_platform_never_answers_is_foreign(status: int, body: bytes, foreign: bool) -> None:
    """A redirect, or a success that is no JSON, is said by something on the way."""
    assert is_foreign(status, body) is foreign


def test_a_limit_is_waited_for() -> None:
    """429 costs no attempt; the limit's key is evidence."""
    found = judge(
        429,
        error(
            "too.many.requests",
            "Rate limit exceeded the maximum. Retry the request in [37] seconds",
            limit={"key": "client.credentials.token.rate.per.minute", "namespace": "platform.api", "value": 300},
        ),
        {"Retry-After": "37", "ININ-Correlation-Id": "from-the-header"},
    )
    assert isinstance(found, Throttled)
    assert (found.scope, found.retry_after_s) == ("destination", 37.0)
    assert found.reason.endswith("Retry the request in [37] seconds")
    assert found.evidence == {
        "http_status": 429,
        "error": "too.many.requests",
        "correlation_id": "from-the-header",
        "limit": "client.credentials.token.rate.per.minute",
    }


@pytest.mark.parametrize("status", [408, 500, 502, 504, 100, 101, 199, 301, 302, 307, 308, 402, 405, 418, 599])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b'{"code":"x","message":"m"}'])
def test_other_answers_prove_nothing(status: int, body: bytes) -> None:
    """Gateways on the way give them too, before and after the message was taken."""
    assert isinstance(judge(status, body, {"Retry-After": "3"}), Unknown)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b'{"id":"trunca', b"{}", b"[]", b'{"id":5}'])
def test_a_success_that_is_not_the_documented_one_proves_nothing(status: int, body: bytes) -> None:
    """A captive portal's 200 is no acceptance, and no refusal either."""
    assert isinstance(judge(status, body), Unknown)


def test_a_503_that_names_a_time_is_believed_as_a_setting() -> None:
    """With `Retry-After` it was not taken; untrusted, or without a time, it proves nothing."""
    believed = judge(503, error("service.unavailable"), {"Retry-After": "7"})
    assert isinstance(believed, Failed)
    assert (believed.code, believed.retry_after_s) == (503, 7.0)
    assert isinstance(judge(503, error("service.unavailable"), {"Retry-After": "7"}, trust=False), Unknown)
    assert isinstance(judge(503, error("service.unavailable")), Unknown)


@pytest.mark.parametrize(
    ("body", "what"),
    [(b"", "no body"), (b"  <html></html>", "an HTML page"), (b"oops", "no JSON"), (b"[1]", "no JSON")],
)
def test_a_body_that_is_no_error_is_named_by_its_kind(body: bytes, what: str) -> None:
    """Nothing of what it holds is shown."""
    found = judge(502, body)
    assert isinstance(found, Unknown)
    assert found.reason == f"502: {what}"


def test_headers_are_compared_without_case() -> None:
    """As servers and proxies write them."""
    found = judge(429, b"", {"retry-after": "9", "inin-correlation-ID": "c"})
    assert isinstance(found, Throttled)
    assert (found.retry_after_s, found.evidence["correlation_id"]) == (9.0, "c")


#: By the name of the example: what it is, and what tells it apart.
EXPECTED: dict[str, tuple[type, dict[str, object]]] = {
    "error_400_bad_request": (Refused, {"code": 400}),
    "error_400_invalid_value": (
        Refused,
        {
            "reason": "400 invalid.value: Value […] is not valid for field type [idType]. Allowable values are: "
            "email, phone, opaque"
        },
    ),
    "error_400_schema": (
        Refused,
        {
            "reason": "400 bad.request: should have required property 'content', should have required property "
            "'.text', should match some schema in anyOf"
        },
    ),
    "error_401_bad_token": (Barred, {"what": "token"}),
    "error_401_expired": (Barred, {"what": "token"}),
    "error_401_no_token": (Barred, {"what": "token"}),
    "error_403_missing_any_permissions": (
        Barred,
        {"what": "permission", "permissions": "conversation:message:create, conversation:webmessaging:create"},
    ),
    "error_403_missing_permissions": (Barred, {"what": "permission", "permissions": "conversation:message:receive"}),
    "error_404_not_found": (Barred, {"what": "place"}),
    "error_413_too_large": (
        Refused,
        {"reason": "413 request.entity.too.large: The request is over the size limit. Maximum bytes: 1048576"},
    ),
    "error_415_media_type": (Refused, {"code": 415}),
    "error_429_rate_limited": (Throttled, {"retry_after_s": 37.0, "scope": "destination"}),
    "error_500": (Unknown, {}),
    "error_503": (Unknown, {}),
    "error_504": (Unknown, {}),
}


@requires_oracle
def test_every_outside_error_is_read_as_what_it_is() -> None:
    """No example of an error is left out, and each leaves its code and correlation id as evidence."""
    files = {file.stem: file for file in examples().glob("error_*.json")}
    assert set(files) == set(EXPECTED)
    for name, (kind, fields) in EXPECTED.items():
        body = files[name].read_bytes()
        raw = json.loads(body)
        found = refusal_of(raw["status"], {}, body, now=NOW, trust_unavailable=True)
        assert type(found) is kind, name
        assert {field: getattr(found, field) for field in fields} == fields, name
        assert found.evidence["error"] == raw["code"], name
        assert found.evidence["correlation_id"] == raw["contextId"], name


@requires_oracle
def test_the_outside_headers_tell_the_wait() -> None:
    """`Retry-After` of the 429, and the window's end where only that is told."""
    limited = CIMultiDict(json.loads((examples() / "headers_429.json").read_bytes()))
    body = (examples() / "error_429_rate_limited.json").read_bytes()
    found = refusal_of(429, limited, body, now=NOW, trust_unavailable=True)
    assert isinstance(found, Throttled)
    assert found.retry_after_s == 37.0
    usual = CIMultiDict(json.loads((examples() / "headers_200.json").read_bytes()))
    assert wait_s(usual, None, NOW) == 61.0


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["Retry-After", "inin-ratelimit-reset", "X-Request-Id"]), st.text(max_size=20)),
    json_objects.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=100),
    st.booleans(),
)
def test_any_answer_is_judged(status: int, headers: dict[str, str], body: bytes, trust: bool) -> None:
    """A value and never an exception; only four statuses, and 503 as a setting, say that nothing was taken."""
    found = refusal_of(status, CIMultiDict(headers), body, now=NOW, trust_unavailable=trust)
    assert not isinstance(found, Accepted)
    assert found.evidence["http_status"] == status
    assert len(found.reason) <= 2 * MAX_REASON
    if not isinstance(found, Unknown):
        assert status in {400, 401, 403, 404, 409, 413, 415, 429, 503}


@pytest.mark.parametrize("depth", [990, 995, 996, 997, 1000, 100_000])
def test_an_error_nested_without_end_is_judged(depth: int) -> None:
    """Neither its reading nor anything that is done with it runs out of stack."""
    body = b'{"code":' + b"[" * depth + b"]" * depth + b',"message":' + b"[" * depth + b"]" * depth + b"}"
    assert isinstance(judge(400, body), Refused)
    assert isinstance(judge(403, body), Refused | Barred), "too deep for a reader, it is no JSON"
    assert isinstance(token_of(400, {}, body.replace(b"code", b"error"), now=NOW), TokenRefused)


# --- waits ---


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in another time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Auckland")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("37", 37.0),
        (" 37 ", 37.0),
        ("1.5", 1.5),
        ("2.", 2.0),
        ("+5", 5.0),
        ("0", MIN_RETRY_AFTER_S),
        ("0.2", MIN_RETRY_AFTER_S),
        ("-5", MIN_RETRY_AFTER_S),
        ("31536000", MAX_RETRY_AFTER_S),
        ("1" + "0" * 300, MAX_RETRY_AFTER_S),
        ("9" * 5_000, MAX_RETRY_AFTER_S),
        ("-" + "9" * 5_000, MIN_RETRY_AFTER_S),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC)), 90.0),
        ("Wed, 04 Mar 2026 05:07:37 -0000", 90.0),
        ("Wed Mar  4 05:07:37 2026", 90.0),
        ("Wed, 04 Mar 2026 06:07:37 +0100", 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), MIN_RETRY_AFTER_S),
        ("Sun, 06 Nov 1994 08:49:37 GMT", MIN_RETRY_AFTER_S),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("soon", DEFAULT_RETRY_AFTER_S),
        ("", DEFAULT_RETRY_AFTER_S),
        ("Wed, 99 Foo 2026 99:99:99 GMT", DEFAULT_RETRY_AFTER_S),
        ("٣٧", DEFAULT_RETRY_AFTER_S),
        ("0\x1f", DEFAULT_RETRY_AFTER_S),
        ("3\n", DEFAULT_RETRY_AFTER_S),
        ("nan", DEFAULT_RETRY_AFTER_S),
        ("inf", DEFAULT_RETRY_AFTER_S),
    ],
)
@pytest.mark.usefixtures("far_from_greenwich")
def test_retry_after_is_read_in_all_its_forms(value: str, expected: float) -> None:
    """Seconds, with a fraction or a sign, or a date, which is in GMT whatever our own zone is; bounded both ways."""
    assert wait_s({"Retry-After": value}, None, NOW) == expected


def test_a_wait_is_found_where_it_is_told() -> None:
    """`Retry-After`, else the window's end, else the bracketed number, else ours."""
    body = {"message": "Rate limit exceeded the maximum. Retry the request in [41] seconds"}
    reset = {"inin-ratelimit-reset": "61"}
    assert wait_s({"Retry-After": "37", **reset}, body, NOW) == 37.0
    assert wait_s({"Retry-After": "soon", **reset}, body, NOW) == 61.0
    assert wait_s(reset, body, NOW) == 61.0
    assert wait_s({"inin-ratelimit-reset": "x"}, body, NOW) == 41.0
    assert wait_s({}, body, NOW) == 41.0
    assert wait_s({}, {"message": "in [soon]"}, NOW) == DEFAULT_RETRY_AFTER_S
    assert wait_s({}, {"message": ["[3]"]}, NOW) == DEFAULT_RETRY_AFTER_S
    assert wait_s({}, None, NOW) == DEFAULT_RETRY_AFTER_S


_DATE_WORDS = ["Sun", "Mon,", "06", "Nov", "94", "2026", "08:49:37", "::", "GMT", "EST", "-0000", "+9999", "-2400"]
_DATE_WORDS += ["99999999", "(", ")", ",", ";", "1", "Feb", "30"]


@given(
    st.dictionaries(
        st.sampled_from(["Retry-After", "inin-ratelimit-reset"]),
        st.text(max_size=40)
        | st.from_regex(r"[+-]?[0-9]{1,400}(\.[0-9]*)?")
        | st.lists(st.sampled_from(_DATE_WORDS), max_size=8).map(" ".join)
        | st.datetimes().map(lambda at: format_datetime(at.replace(tzinfo=UTC), usegmt=True)),
    ),
    st.none() | json_objects | st.text().map(lambda text: {"message": text}),
    st.floats(0, 1e11),
)
def test_any_wait_is_bounded(headers: dict[str, str], body: dict[str, Any] | None, now: float) -> None:
    """Whatever the headers say: between a second and an hour, and never an exception."""
    assert 1.0 <= wait_s(headers, body, now) <= 3_600.0


# --- reasons ---

_QUOTES = [("[", "]"), ("'", "'"), ('"', '"'), ("`", "`"), ("“", "”"), ("«", "»")]
_BEFORE, _AFTER = "Value ", " is not valid for field type [idType]"
#: What people write: words, and now and then a quote.
_WRITTEN = st.text(min_size=3, max_size=60) | st.lists(
    st.sampled_from(
        ["it's", "don't", "my", "PIN", "4711", '"so"', "[a]", "] y [", "'", "x@y.z", "boys'", "'tis", "\n"]
    ),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(_WRITTEN, st.sampled_from(_QUOTES))
@example("it's me", ("'", "'"))
@example("] y [", ("[", "]"))
@example("secret'x", ("'", "'"))
@example("x" * 5_000, ("[", "]"))
@example("4711", ("[", "]"))
def test_what_an_error_quotes_is_never_shown(written: str, quotes: tuple[str, str]) -> None:
    """Whatever a guest wrote, or is called: quoted in an error it does not get into a reason, whole."""
    words = _BEFORE + quotes[0] + written + quotes[1] + _AFTER
    kept = _BEFORE + quotes[0] + "…" + quotes[1] + _AFTER
    assume(written not in kept)
    path = [name for name in re.split(r"[./]", written.strip()) if name]
    assume(not (path and platform._FIELDS.issuperset(path)))  # which field it is about: that is shown
    shown = quiet(words)
    assert written not in shown
    assert shown.startswith("Value ")
    if len(written) < 700 and not any(character in written for pair in _QUOTES for character in pair):
        assert shown == kept


@given(st.text(st.characters(exclude_characters="[]'\"`“”«»"), min_size=4), st.sampled_from(_QUOTES))
def test_a_template_shows_the_platform_s_own_parameters_alone(written: str, quotes: tuple[str, str]) -> None:
    """Where the platform gives its words apart from what was sent, nothing that was sent is shown, quoted or not."""
    template = "Value {value} is {opinion} for " + quotes[0] + "{fieldType}" + quotes[1]
    shown = reason_of(
        400,
        {
            "message": f"Value {written} is {written} for [idType]",
            "messageWithParams": template,
            "messageParams": {"value": written, "opinion": written, "fieldType": "idType"},
        },
        b"{}",
    )
    assert shown == "400: Value … is … for " + quotes[0] + "idType" + quotes[1]


@pytest.mark.parametrize("name", sorted(platform._FIELDS))
@pytest.mark.parametrize("quotes", _QUOTES)
def test_a_field_s_name_is_shown(name: str, quotes: tuple[str, str]) -> None:
    """Which field is wrong is what the caller needs to know, also by its path."""
    for quoted in (name, f".{name}", f"channel.from.{name}", f"/{name}"):
        words = f"should have required property {quotes[0]}{quoted}{quotes[1]}"
        assert quiet(words) == words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("no recipient ann@example.com here", "no recipient … here"),
        ("cannot call +44 20 7946 0958 now", "cannot call … now"),
        ("cannot call (555) 123-4567 now", "cannot call (… now"),
        ("cannot fetch https://cdn.example.com/a?sig=1 now", "cannot fetch … now"),
        ("cannot fetch s3://bucket/key now", "cannot fetch … now"),
        ("cannot fetch www.example.com/a now", "cannot fetch … now"),
        ("Maximum bytes: 1048576", "Maximum bytes: 1048576"),
        ("Retry the request in [37] seconds", "Retry the request in [37] seconds"),
        ("customer [37] is unknown", "customer […] is unknown"),
        ("'ann' is not 'bob'", "'…'"),
        ("can't take 'ann'", "can't take '…'"),
        ("an open [quote", "an open …"),
        ("data'secret'", "data…"),
        ("", ""),
    ],
)
def test_what_a_person_may_have_written_is_left_out(words: str, expected: str) -> None:
    """Addresses, numbers of telephones and quotes go; limits and waits stay."""
    assert quiet(words) == expected


@given(st.text(max_size=3_000))
def test_a_reason_has_a_bound(words: str) -> None:
    """However long the far side's words are."""
    assert len(quiet(words)) <= MAX_REASON


@given(st.integers(100, 599), st.none() | json_objects | st.dictionaries(
    st.sampled_from(["message", "code", "error", "messageWithParams", "messageParams"]), json_values
), st.binary(max_size=20))  # fmt: skip
def test_any_error_has_a_reason(status: int, parsed: dict[str, Any] | None, body: bytes) -> None:
    """Any JSON gives a line that begins with the status."""
    reason = reason_of(status, parsed, body)
    assert reason.startswith(str(status))
    assert len(reason) <= MAX_REASON + 100


def test_a_code_that_is_no_code_is_not_shown() -> None:
    """The platform's codes are words with dots; anything else may be anybody's."""
    found = judge(400, error("ann@example.com says hi"))
    assert isinstance(found, Refused)
    assert found.reason == "400: words of the platform"
    assert "error" not in found.evidence


# --- tokens ---


def asked(status: int, body: object, headers: dict[str, str] | None = None) -> Token | TokenRefused | TokenLater:
    """What an answer to a request for a token gives."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return token_of(status, CIMultiDict(headers or {}), data, now=NOW)


def test_a_token_is_asked_for_as_the_vendor_s_sdk_does() -> None:
    """Word for word: Basic credentials, a form of one parameter, no scope."""
    headers, body = platform.token_request("my-id", "my:secret")
    assert headers == {
        "Authorization": "Basic bXktaWQ6bXk6c2VjcmV0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert body == b"grant_type=client_credentials"


def test_a_token_is_read_and_not_shown() -> None:
    """Its life counts from its arrival; its value is a secret."""
    found = asked(200, {"access_token": "abc.def", "token_type": "bearer", "expires_in": 86399})
    assert found == Token("abc.def", 86_399.0)
    assert "abc" not in repr(found)


@pytest.mark.parametrize("life", [None, 0, -1, True, "86399", 10**9, 10**30, [], 0.0])
def test_a_life_that_is_none_is_ours(life: object) -> None:
    """Absent, absurd, negative, of another type: the token is good, and renewed soon."""
    assert asked(200, {"access_token": "t", "expires_in": life}) == Token("t", DEFAULT_TOKEN_LIFE_S)
    assert asked(200, {"access_token": "t"}) == Token("t", DEFAULT_TOKEN_LIFE_S)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "invalid_client", "description": "client not found"}, "invalid_client: client not found"),
        ({"error": "invalid_client", "error_description": "client [x-1] no"}, "invalid_client: client […] no"),
        (
            {"error": "invalid_client", "description": "no", "error_description": "no"},
            "invalid_client: no",
        ),
        ({"message": "Invalid login credentials."}, "Invalid login credentials."),
        ({"error": ["x"]}, ""),
        (b"<html>", "an HTML page"),
        (b"nope", "no JSON"),
        (b"", "no body"),
    ],
)
def test_credentials_that_are_not_taken(status: int, body: object, reason: str) -> None:
    """OAuth's error in both of its spellings, the platform's own, or no JSON at all: asking again cannot help."""
    words = f"{status}: {reason}" if reason else str(status)
    if isinstance(body, bytes) and status not in (400, 401):
        # The statuses of a refusal are 400 and 401; a page with another one is a proxy's.
        assert asked(status, body) == TokenLater(words, DEFAULT_RETRY_AFTER_S, is_foreign=True)
    else:
        assert asked(status, body) == TokenRefused(words)


@pytest.mark.parametrize(
    ("status", "body", "headers", "wait"),
    [
        (429, b"", {"Retry-After": "11"}, 11.0),
        (503, {"code": "service.unavailable"}, {"Retry-After": "12"}, 12.0),
        (408, b"", {}, DEFAULT_RETRY_AFTER_S),
        (500, b"", {}, DEFAULT_RETRY_AFTER_S),
        (302, b"", {}, DEFAULT_RETRY_AFTER_S),
        (200, b"<html>welcome</html>", {}, DEFAULT_RETRY_AFTER_S),
        (200, b"", {}, DEFAULT_RETRY_AFTER_S),
        (200, b'{"access_tok', {}, DEFAULT_RETRY_AFTER_S),
        (200, {"access_token": ""}, {}, DEFAULT_RETRY_AFTER_S),
        (200, {"access_token": 5}, {}, DEFAULT_RETRY_AFTER_S),
        (200, {"access_token": "a b"}, {}, DEFAULT_RETRY_AFTER_S),
        (200, {"access_token": "a\r\nX-Evil: 1"}, {}, DEFAULT_RETRY_AFTER_S),
        (200, {"access_token": "ü"}, {}, DEFAULT_RETRY_AFTER_S),
    ],
)
def test_no_token_for_now(status: int, body: object, headers: dict[str, str], wait: float) -> None:
    """A limit, trouble on their side, a portal on the way, or a token that no header can carry: ask again later."""
    found = asked(status, body, headers)
    assert isinstance(found, TokenLater)
    assert found.retry_after_s == wait


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["access_token", "expires_in", "error", "description", "error_description", "message"]),
        json_values,
    ).map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=100),
)
def test_any_answer_to_a_request_for_a_token_is_read(status: int, body: bytes) -> None:
    """A value and never an exception; a token only out of a 200, with a life above nothing."""
    found = token_of(status, {}, body, now=NOW)
    if isinstance(found, Token):
        assert status == 200
        assert found.value.isascii()
        assert found.life_s > 0
    else:
        assert len(found.reason) <= MAX_REASON + 100


@requires_oracle
def test_the_outside_tokens_are_read() -> None:
    """The example of a token, and that of a client that is not known."""
    good = (examples() / "oauth_token_ok.json").read_bytes()
    found = token_of(200, {}, good, now=NOW)
    assert isinstance(found, Token)
    assert found.value == json.loads(good)["access_token"]
    assert found.life_s == json.loads(good)["expires_in"]
    bad = (examples() / "oauth_token_error_invalid_client.json").read_bytes()
    for status in (400, 401):
        refused = token_of(status, {}, bad, now=NOW)
        assert isinstance(refused, TokenRefused)
        assert json.loads(bad)["error"] in refused.reason


# --- where ---


@requires_oracle
def test_every_region_has_its_addresses() -> None:
    """Token, API and WebSocket of all eighteen regions stand where the outside table has them."""
    table = json.loads((examples() / "regions.json").read_bytes())
    assert {row["domain"] for row in table} == {region.domain for region in REGIONS}
    assert len(table) == 18
    for row in table:
        destination = Destination(
            name="open",
            transport="openmessaging",
            region=row["domain"],
            integration_id="3b0a6e1c-5d0f-4b57-9a3e-7f0c2d9e1a11",
        )
        assert destination.token_url == row["token_url"]
        assert destination.gateway == row["api"]
        assert destination.websocket_url == row["webmessaging"]
