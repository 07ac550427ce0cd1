"""Signing in, as an outside client meets it: exchange, refresh, expiry, step up, revoke."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from guestwire.emulator.app import Emulator
from guestwire.testing import emulator
from tests.contract.test_emulator_kit import Json, RawGuest, http, raw_guest

TOKEN = "/api/v2/webdeployments/token"
OAUTH = {"code": "x", "redirectUri": "https://shop.example/back", "codeVerifier": "v"}


@contextlib.asynccontextmanager
async def signing_in(**settings: Any) -> AsyncIterator[tuple[Emulator, aiohttp.ClientSession]]:
    """An emulator whose guests sign in, and HTTP to it."""
    async with emulator(auth_enabled=True, **settings) as genesys, http(genesys) as session:
        yield genesys, session


async def exchange(genesys: Emulator, session: aiohttp.ClientSession, **oauth: str) -> Json:
    """Exchange a code, or what is given instead."""
    body = {"deploymentId": genesys.deployment_id, "oauth": oauth or OAUTH}
    async with session.post(f"{TOKEN}/oauthcodegrantjwtexchange", json=body) as answer:
        assert answer.status == 200, await answer.text()
        found: Json = await answer.json()
        return found


async def configure(guest: RawGuest, jwt: str) -> Json:
    """Configure with a JWT and return the next frame."""
    return await guest.ask("configureAuthenticatedSession", deploymentId=guest.deployment_id, data={"code": jwt})


async def test_a_code_gets_a_refresh_token_and_an_id_token_does_not() -> None:
    """Both are exchanged for a JWT that opens a session; only the code grant can be refreshed."""
    async with signing_in() as (genesys, session):
        assert set(await exchange(genesys, session)) == {"jwt", "refreshToken"}
        found = await exchange(genesys, session, idToken="any", nonce="n")
        assert set(found) == {"jwt"}
        async with raw_guest(genesys, configure=False) as guest:
            answer = await configure(guest, found["jwt"])
            assert (answer["class"], answer["body"]["newSession"]) == ("SessionResponse", True)
            assert "clearedExistingSession" not in answer["body"]
            assert (await guest.say("it's me"))["body"]["metadata"]["authenticated"] == "true"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (None, 400, "bad.request"),
        ([], 400, "bad.request"),
        ({}, 400, "required.fields.missing"),
        ({"deploymentId": "?", "oauth": "code"}, 400, "required.fields.missing"),
        ({"deploymentId": "?", "oauth": {"code": "x"}}, 400, "required.fields.missing"),
        ({"deploymentId": "?", "oauth": {"redirectUri": "x"}}, 400, "required.fields.missing"),
        ({"deploymentId": 5, "oauth": OAUTH}, 400, "required.fields.missing"),
        ({"deploymentId": "?", "oauth": OAUTH}, 404, "not.found"),
    ],
)
async def test_wrong_exchanges_get_the_platforms_error(body: Any, status: int, code: str) -> None:
    """What is missing is named, in the shape of the platform's ErrorBody."""
    async with signing_in() as (_, session):
        async with session.post(f"{TOKEN}/oauthcodegrantjwtexchange", json=body) as answer:
            error = await answer.json()
        assert (answer.status, error["status"], error["code"]) == (status, status, code)
        assert set(error) == {"message", "code", "status", "contextId", "details", "errors"}
        assert error["message"].endswith(".")


async def test_without_auth_nobody_signs_in() -> None:
    """A deployment without authentication refuses the exchange, and a sign-in on the WebSocket."""
    async with emulator() as genesys, http(genesys) as session, raw_guest(genesys) as guest:
        for path in ("oauthcodegrantjwtexchange", "refresh"):
            async with session.post(f"{TOKEN}/{path}", json={}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (403, "feature.toggle.disabled")
        assert (await configure(guest, "any"))["code"] == 403


async def test_refresh_gives_another_jwt_and_stays_valid() -> None:
    """The refresh token can be used again and again, with or without deploymentId; a wrong one is 401."""
    async with signing_in() as (genesys, session):
        first = await exchange(genesys, session)
        known = {first["jwt"]}
        for extra in ({}, {"deploymentId": genesys.deployment_id}, {}):
            async with session.post(
                f"{TOKEN}/refresh", json={"refreshToken": first["refreshToken"], **extra}
            ) as answer:
                found = await answer.json()
            assert set(found) == {"jwt"}
            assert found["jwt"] not in known
            known.add(found["jwt"])
        for wrong, status in (
            ({"refreshToken": "no"}, 401),
            ({}, 400),
            ([], 400),
            ({"refreshToken": first["refreshToken"], "deploymentId": "?"}, 404),
        ):
            async with session.post(f"{TOKEN}/refresh", json=wrong) as answer:
                assert (answer.status, (await answer.json())["status"]) == (status, status)


async def test_an_old_jwt_is_401_until_refreshed() -> None:
    """A JWT older than auth_jwt_life_s configures nothing; a fresh one from the refresh token does."""
    async with signing_in(auth_jwt_life_s=60) as (genesys, session), raw_guest(genesys, configure=False) as guest:
        found = await exchange(genesys, session)
        genesys.advance(61)
        refused = await configure(guest, found["jwt"])
        assert (refused["class"], refused["code"], refused["body"]) == ("string", 401, "User is unauthorized")
        async with session.delete(f"{TOKEN}/revoke", headers={"Authorization": f"Bearer {found['jwt']}"}) as answer:
            assert answer.status == 401
        async with session.post(f"{TOKEN}/refresh", json={"refreshToken": found["refreshToken"]}) as answer:
            jwt = (await answer.json())["jwt"]
        assert (await configure(guest, jwt))["class"] == "SessionResponse"
        genesys.advance(61)
        assert (await guest.say("still me"))["class"] == "StructuredMessage"


async def test_step_up_on_a_live_connection() -> None:
    """SignIn with the person's name, then the SessionResponse; other connections go; there is no way back."""
    async with (
        signing_in() as (genesys, session),
        raw_guest(genesys, "t") as guest,
        raw_guest(genesys, "t") as other,
    ):
        refused = await guest.say("who am I?")
        assert (refused["code"], refused["body"]) == (403, "Session authentication failed")
        found = await exchange(genesys, session)
        signed_in = (await configure(guest, found["jwt"]))["body"]
        assert signed_in["direction"] == "Inbound"
        assert signed_in["events"] == [{"eventType": "Presence", "presence": {"type": "SignIn"}}]
        assert set(signed_in["channel"]["from"]) == {"firstName", "lastName"}
        answer = (await guest.recv())["body"]
        assert (answer["connected"], answer["newSession"], answer["clearedExistingSession"]) == (True, False, True)
        closed = await other.recv()
        assert (closed["class"], closed["body"]["reason"]) == ("ConnectionClosedEvent", "signedIn")
        assert await other.lost() == 1001
        assert (await guest.configure())["code"] == 4017
        async with raw_guest(genesys, "t", configure=False) as anonymous:
            assert (await anonymous.configure())["code"] == 4017
            again = (await configure(anonymous, found["jwt"]))["body"]
            assert (again["newSession"], "clearedExistingSession" in again) == (False, False)


async def test_revoke_logs_out_everywhere() -> None:
    """All connections of all sessions of the sign-in get LogoutEvent; its keys are dead, another's are not."""
    async with (
        signing_in() as (genesys, session),
        raw_guest(genesys, "phone", configure=False) as phone,
        raw_guest(genesys, "phone", configure=False) as tablet,
        raw_guest(genesys, "laptop", configure=False) as laptop,
        raw_guest(genesys, "stranger", configure=False) as stranger,
    ):
        mine, theirs = await exchange(genesys, session), await exchange(genesys, session)
        for guest in (phone, tablet, laptop):
            assert (await configure(guest, mine["jwt"]))["class"] == "SessionResponse"
        assert (await configure(stranger, theirs["jwt"]))["class"] == "SessionResponse"
        bearer = {"Authorization": f"bearer {mine['jwt']}"}
        async with session.delete(f"{TOKEN}/revoke", headers=bearer) as answer:
            assert (answer.status, await answer.text()) == (204, "")
        for guest in (phone, tablet, laptop):
            assert (await guest.recv())["class"] == "LogoutEvent"
            assert await guest.lost() == 1001
        assert (await stranger.say("not me"))["class"] == "StructuredMessage"
        for headers in (bearer, {}, {"Authorization": theirs["jwt"]}):
            async with session.delete(f"{TOKEN}/revoke", headers=headers) as answer:
                assert (answer.status, (await answer.json())["code"]) == (401, "bad.credentials")
        async with session.post(f"{TOKEN}/refresh", json={"refreshToken": mine["refreshToken"]}) as answer:
            assert answer.status == 401
        async with raw_guest(genesys, "phone", configure=False) as guest:
            assert (await configure(guest, mine["jwt"]))["code"] == 401
