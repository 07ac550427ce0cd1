"""Tokens: how one is got, what it opens, and how it stops doing so."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from guestwire.emulator.hosts import REGION_DOMAINS
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.thread import EmulatorThread
from guestwire.errors import ConfigError
from guestwire.testing import emulator
from tests.contract.test_emulator_rest_kit import fixture, needs_fixtures, open_messaging, rest, shape

FORM = "application/x-www-form-urlencoded"


async def test_a_token_by_header_and_by_form() -> None:
    """Id and secret are taken from the Basic header or the form; the answer has three fields, and the token opens."""
    async with open_messaging(token_life_s=77) as (genesys, client):
        form = f"grant_type=client_credentials&client_id={genesys.client_id}&client_secret={genesys.client_secret}"
        by_form = await client.ask("POST", "/oauth/token", token="", data=form.encode(), headers={"Content-Type": FORM})
        by_header = await client.log_in()
        for answer in (by_form, by_header):
            assert answer.status == 200
            assert set(answer.json) == {"access_token", "token_type", "expires_in"}
            assert (answer.json["token_type"], answer.json["expires_in"]) == ("bearer", 77)
            opened = await client.ask("GET", "/api/v2/organizations/me", token=answer.json["access_token"])
            assert (opened.status, opened.json["id"]) == (200, genesys.organization_id)
        assert by_form.json["access_token"] != by_header.json["access_token"]


@needs_fixtures
async def test_the_answers_have_the_fields_of_the_fixtures() -> None:
    """Success and refusal are spelled as outside sources have them."""
    async with open_messaging() as (_, client):
        assert shape((await client.log_in()).json) == shape(fixture("oauth_token_ok"))
        wrong = await client.log_in("00000000-0000-0000-0000-000000000000")
        assert wrong.json == fixture("oauth_token_error_invalid_client")


@pytest.mark.parametrize(
    ("data", "headers", "status", "error"),
    [
        ("grant_type=client_credentials", {"Authorization": "Basic bm9ib2R5Ong="}, 401, "invalid_client"),
        ("grant_type=client_credentials", {"Authorization": "Basic !!"}, 401, "invalid_client"),
        ("grant_type=client_credentials", {}, 401, "invalid_client"),
        ("grant_type=client_credentials&client_id={id}&client_secret=wrong", {}, 401, "invalid_client"),
        ("grant_type=password&client_id={id}&client_secret={secret}", {}, 400, "unsupported_grant_type"),
        ("client_id={id}&client_secret={secret}", {}, 400, "invalid_request"),
        ("", {}, 400, "invalid_request"),
    ],
)
async def test_logins_that_are_refused(data: str, headers: dict[str, str], status: int, error: str) -> None:
    """Wrong id, secret or grant type get OAuth's own form of an error, and no token."""
    async with open_messaging() as (genesys, client):
        filled = data.format(id=genesys.client_id, secret=genesys.client_secret)
        answer = await client.ask(
            "POST", "/oauth/token", token="", data=filled.encode(), headers={"Content-Type": FORM, **headers}
        )
        assert (answer.status, answer.json["error"]) == (status, error)
        assert answer.json["description"] == answer.json["error_description"]
        assert "access_token" not in answer.json


async def test_a_wrong_secret_may_get_400() -> None:
    """Both statuses are reported; a setting says which."""
    async with open_messaging(bad_client_status=400) as (_, client):
        assert (await client.log_in(secret="wrong")).status == 400


async def test_a_login_is_a_form() -> None:
    """JSON instead of a form, and a form beyond the size limit, are refused with ErrorBody."""
    async with open_messaging(max_request_bytes=200) as (_, client):
        answer = await client.ask("POST", "/oauth/token", {"grant_type": "client_credentials"}, token="")
        assert (answer.status, answer.json["code"]) == (415, "unsupported.media.type")
        answer = await client.ask(
            "POST", "/oauth/token", token="", data=b"grant_type=" + b"x" * 200, headers={"Content-Type": FORM}
        )
        assert (answer.status, answer.json["code"]) == (413, "request.entity.too.large")


async def test_logins_are_limited() -> None:
    """One login more than the limit within a minute waits; a minute later there is room."""
    async with open_messaging(tokens_per_minute=2) as (genesys, client):
        assert (await client.log_in()).status == 200
        refused = await client.log_in()
        assert refused.status == 429
        assert refused.headers["Retry-After"] == "60"
        assert genesys.state()["throttles"] == {"tokens_per_minute": 1}
        genesys.advance(60)
        assert (await client.log_in()).status == 200


async def test_three_ways_to_be_unauthorized() -> None:
    """No token, an unknown one and an expired one have a code each, and a correlation id."""
    async with open_messaging(token_life_s=60) as (genesys, client):
        codes = []
        for token, scheme in (("", ""), ("nonsense", "Bearer"), (client.token, "Basic")):
            headers = {"Authorization": f"{scheme} {token}"} if scheme else {}
            answer = await client.ask("GET", "/api/v2/organizations/me", token="", headers=headers)
            codes.append((answer.status, answer.json["code"]))
            assert answer.json["contextId"] == answer.headers["ININ-Correlation-Id"] != ""
        assert codes == [
            (401, "authentication.required"),
            (401, "bad.credentials"),
            (401, "authentication.required"),
        ]
        genesys.advance(59)
        assert (await client.ask("GET", "/api/v2/organizations/me")).status == 200
        genesys.advance(1)
        expired = await client.ask("GET", "/api/v2/organizations/me")
        assert (expired.status, expired.json["code"]) == (401, "credentials.expired")
        client.token = (await client.log_in()).json["access_token"]
        assert (await client.ask("GET", "/api/v2/organizations/me")).status == 200


@needs_fixtures
@pytest.mark.parametrize(
    ("name", "token"), [("error_401_no_token", ""), ("error_401_bad_token", "x"), ("error_401_expired", None)]
)
async def test_unauthorized_in_the_words_of_the_fixtures(name: str, token: str | None) -> None:
    """Message, code and fields are those of the fixtures."""
    async with open_messaging() as (genesys, client):
        genesys.trigger("expire_tokens")
        answer = await client.ask("GET", "/api/v2/organizations/me", token=token)
        assert {**answer.json, "contextId": ""} == {**fixture(name), "contextId": ""}


async def test_tokens_are_revoked_and_secrets_rotated() -> None:
    """A trigger makes every token worthless; another changes the secret, and the state tells the new one."""
    async with open_messaging() as (genesys, client):
        before = genesys.client_secret
        genesys.trigger("rotate_secret")
        assert (await client.ask("GET", "/api/v2/organizations/me")).status == 200
        assert (await client.log_in(secret=before)).status == 401
        assert genesys.state()["client_secret"] == genesys.client_secret != before
        assert (await client.log_in()).status == 200
        genesys.trigger("revoke_tokens")
        answer = await client.ask("GET", "/api/v2/organizations/me")
        assert (answer.status, answer.json["code"]) == (401, "bad.credentials")
        client.token = (await client.log_in()).json["access_token"]
        genesys.trigger("expire_tokens")
        answer = await client.ask("GET", "/api/v2/organizations/me")
        assert (answer.status, answer.json["code"]) == (401, "credentials.expired")


async def test_who_is_who_is_told_and_follows_the_seed() -> None:
    """State and handle tell ids and secrets, drawn from the seed or as set; tokens are told nowhere."""
    names = ("organization_id", "integration_id", "client_id", "client_secret", "webhook_secret")

    async def told(**settings: Any) -> list[Any]:
        async with open_messaging(**settings) as (genesys, client):
            state = genesys.state()
            everything = str((state, genesys.requests(), genesys.messages(), genesys.webhooks()))
            assert client.token not in everything
            assert [state[name] for name in names] == [getattr(genesys, name) for name in names]
            return [*(state[name] for name in names), client.token]

    one, same, other = await told(seed=3), await told(seed=3), await told(seed=4)
    assert one == same
    assert all(mine != theirs for mine, theirs in zip(one, other, strict=True))
    assert len(one[4]) > 15
    chosen = dict(zip(names, ("org", "int", "me", "s3cret", "0123456789abcdef"), strict=True))
    assert (await told(**chosen))[:5] == list(chosen.values())


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"webhook_secret": "fifteen letters"}, "16 characters"),
        ({"webhook_url": "http://192.0.2.1/hook"}, "on this machine"),
        ({"webhook_url": "http://127.0.0.1.evil.example/"}, "on this machine"),
        ({"webhook_url": "http://127.0.0.1@evil.example/"}, "on this machine"),
        ({"webhook_url": "file:///etc/passwd"}, "on this machine"),
        ({"inbound_status": 204}, "from 200 to 202"),
        ({"bad_client_status": 403}, "from 400 to 401"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], hint: str) -> None:
    """A short secret, an address elsewhere and a strange status are refused before anything starts."""
    with pytest.raises(ConfigError) as refused:
        EmulatorSettings.checked(settings)
    assert refused.value.code == "GW-C033"
    assert hint in refused.value.hint


def test_an_address_elsewhere_is_refused_however_it_comes() -> None:
    """Settings that were made without a check are looked at when the emulator starts."""
    with pytest.raises(ConfigError, match="webhook_url") as refused:
        EmulatorThread(EmulatorSettings(webhook_url="http://192.0.2.1/"))
    assert refused.value.code == "GW-C033"


@pytest.mark.parametrize("domain", REGION_DOMAINS)
async def test_each_host_serves_its_own(domain: str) -> None:
    """login. has the token and no API, api. the API and no token."""
    async with emulator() as genesys, rest(genesys) as client:
        statuses = {}
        for part in ("login", "api", "webmessaging", "api-cdn"):
            for path in ("/oauth/token", "/api/v2/organizations/me"):
                method = "POST" if path == "/oauth/token" else "GET"
                answer = await client.ask(method, path, headers={"Host": f"{part}.{domain}"})
                statuses[part, path] = answer.status != 404
        assert [place for place, found in statuses.items() if found] == [
            ("login", "/oauth/token"),
            ("api", "/api/v2/organizations/me"),
        ]


async def test_a_token_is_opaque_to_whom_it_is_given() -> None:
    """What is given is no JWT, nor anything else that could be read."""
    async with open_messaging() as (_, client):
        with pytest.raises((ValueError, IndexError)):
            base64.urlsafe_b64decode(client.token.split(".")[1])


@pytest.mark.genesys(integration_id="int-1", client_secret="s3cret")
def test_the_fixture_has_it_too(genesys: EmulatorThread) -> None:
    """From another thread the handle says the same."""
    assert (genesys.integration_id, genesys.client_secret) == ("int-1", "s3cret")
    state = genesys.state()
    for name in ("organization_id", "client_id", "webhook_secret"):
        assert getattr(genesys, name) == state[name]
    genesys.set_webhook("http://localhost:1/hook")
    assert genesys.state()["webhook_url"] == "http://localhost:1/hook"
    assert genesys.webhooks() == []
