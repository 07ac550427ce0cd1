"""
Errands at the gateway: what a guest's client does beside talking. One at a time for each guest.

Each begins with `carry_out` and ends when the session says what became of it, when its connection is lost, or when the
HTTP call it consists of is over. An errand that failed may be tried again: none of them does harm twice, and the one
whose code is good for one use only, the sign-in, remembers that it was used.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from guestwire.clock import Clock
from guestwire.model import Accepted, Auth, AuthChanged, Errand, Failed, GatewayMessageId, Outcome, Refused
from guestwire.net import Answer, Http, Unreachable
from guestwire.protocol.codes import outcome_of
from guestwire.protocol.states import ConnectionState
from guestwire.settings import Destination
from guestwire.transports.base import Emit, ErrandEnded
from guestwire.transports.line import Line

#: What succeeds has no name at the gateway.
DONE = Accepted(GatewayMessageId(""))
#: Where a connection may be configured as a person who is known.
CONFIGURABLE = frozenset({ConnectionState.CONFIGURED, ConnectionState.READ_ONLY, ConnectionState.EXPIRED})
#: What the exchange of a sign-in takes, and what the wire calls it.
EXCHANGE_FIELDS = {
    "code": "code",
    "id_token": "idToken",
    "redirect_uri": "redirectUri",
    "code_verifier": "codeVerifier",
    "nonce": "nonce",
    "iss": "iss",
}


class Errands:
    """
    Does errands.

    Args:
        destination: Where.
        http: For the calls of signing in and out.
        clock: The time.
        emit: Takes what is learned.
        spawn: Runs a call beside everything else.
        go_on: Called when a call has changed what a line wants: connect it, write its frames.
        forget: Called when a guest has signed out: neither his tokens nor his session may be used again.
    """

    def __init__(
        self,
        destination: Destination,
        http: Http,
        *,
        clock: Clock,
        emit: Emit,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        go_on: Callable[[Line], None],
        forget: Callable[[Line], None],
    ) -> None:
        self._destination = destination
        self._http = http
        self._clock = clock
        self._emit = emit
        self._spawn = spawn
        self._go_on = go_on
        self._forget = forget

    def carry_out(self, line: Line, errand: Errand, *, may_clear: bool) -> None:
        """Begin an errand of a guest."""
        now = self._clock.now()
        line.errand = errand
        match errand.kind:
            case "close":
                line.session.close_session(now, everywhere=errand.body.get("everywhere", True) is True)
            case "clear" if not may_clear:
                self.end(line, errand, Refused(403, "clearing is switched off for this deployment"))
            case "clear":
                line.session.clear(now)
            case "start_new":
                line.session.start_new(now)
            case "join" if line.joined is None:
                self.end(line, errand, Refused(0, "the session is not new, or the deployment does not start by itself"))
            case "join" if (line.joined_with or {}) != (errand.body.get("attributes") or {}):
                self.end(line, errand, Refused(0, "the session is joined already, without these attributes"))
            case "join":
                self.end(line, errand, line.joined or DONE)
            case "download":
                line.session.request_download(str(errand.body.get("id")), now)
            case "sign_in":
                self._spawn(self._sign_in(line, errand))
            case "sign_out":
                self._spawn(self._sign_out(line, errand))
            case "receipt":
                self.end(line, errand, Refused(0, "web messaging takes no receipts"))

    def ended(self, line: Line, kind: str, outcome: Outcome, result: dict[str, Any] | None = None) -> None:
        """Something happened that ends an errand of this kind, if one is under way."""
        if line.errand is not None and line.errand.kind == kind:
            self.end(line, line.errand, outcome, result)

    def fetched(self, line: Line, file_id: str, outcome: Outcome, result: dict[str, Any] | None = None) -> None:
        """Something was said about a file: it ends the errand that asked for this one."""
        if line.errand is not None and line.errand.body.get("id") == file_id:
            self.ended(line, "download", outcome, result)

    def lost(self, line: Line, reason: str) -> None:
        """The connection is gone. What goes over HTTP goes on: its code is good for one use only."""
        if line.errand is not None and line.errand.kind not in ("sign_in", "sign_out"):
            self.end(line, line.errand, Failed(reason))

    def end(self, line: Line, errand: Errand, outcome: Outcome, result: dict[str, Any] | None = None) -> None:
        """Tell what became of an errand, if it is still the one under way."""
        if line.errand is errand:
            line.errand = None
            self._emit(ErrandEnded(line.guest, errand.seq, outcome, result))

    # --- signing in and out ---

    async def _sign_in(self, line: Line, errand: Errand) -> None:
        before = line.auth
        if before is None or before.errand != errand.seq:
            given = {EXCHANGE_FIELDS[name]: value for name, value in errand.body.items() if name in EXCHANGE_FIELDS}
            body = {"deploymentId": self._destination.deployment_id, "oauth": given}
            auth, outcome = await self._tokens("oauthcodegrantjwtexchange", body)
            if auth is None:
                self.end(line, errand, outcome)
                return
            if line.auth is None and before is not None:
                self.end(line, errand, Failed("the guest was signed out meanwhile"))
                return
            self._know(line, msgspec.structs.replace(auth, errand=errand.seq))
        if line.session.state in CONFIGURABLE and line.auth is not None:
            line.session.sign_in(line.auth.jwt, self._clock.now())
        self._go_on(line)

    async def refresh(self, line: Line) -> Outcome:
        """Renew the JWT of a guest who has signed in. The refresh token stays valid."""
        auth = line.auth
        if auth is None or auth.refresh_token is None:
            return Refused(401, "there is nothing to renew it with")
        body = {"deploymentId": self._destination.deployment_id, "refreshToken": auth.refresh_token}
        fresh, outcome = await self._tokens("refresh", body)
        if fresh is None:
            return outcome
        if line.auth is not auth:
            return Refused(401, "the guest's sign-in changed meanwhile")
        self._know(line, msgspec.structs.replace(auth, jwt=fresh.jwt))
        return DONE

    async def _sign_out(self, line: Line, errand: Errand) -> None:
        if line.auth is None:
            self.end(line, errand, Refused(0, "the guest has not signed in"))
            return
        try:
            answer = await self._revoke(line.auth)
            if answer.status == 401 and isinstance(await self.refresh(line), Accepted):
                answer = await self._revoke(line.auth)
        except Unreachable as error:
            self.end(line, errand, Failed(str(error)))
            return
        if 200 <= answer.status < 300 or answer.status == 401:
            # 401: too old to be revoked and not to be renewed. What is left of the sign-in is here, and is forgotten.
            if line.errand is errand:
                self.end(line, errand, DONE)
                self._forget(line)
        else:
            self.end(line, errand, _refused(answer))

    async def _revoke(self, auth: Auth) -> Answer:
        url = f"{self._destination.gateway}/api/v2/webdeployments/token/revoke"
        return await self._http.delete(url, self._headers(f"bearer {auth.jwt}"))

    async def _tokens(self, what: str, body: dict[str, Any]) -> tuple[Auth | None, Outcome]:
        url = f"{self._destination.gateway}/api/v2/webdeployments/token/{what}"
        headers = {**self._headers(None), "Content-Type": "application/json"}
        try:
            answer = await self._http.post(url, headers, msgspec.json.encode(body))
        except Unreachable as error:
            return None, Failed(str(error))
        found = answer.json()
        if answer.status == 200 and isinstance(found, dict) and isinstance(found.get("jwt"), str):
            refresh_token = found.get("refreshToken")
            return Auth(found["jwt"], refresh_token if isinstance(refresh_token, str) else None), DONE
        return None, _refused(answer)

    def _headers(self, authorization: str | None) -> dict[str, str]:
        headers = {} if authorization is None else {"Authorization": authorization}
        if self._destination.origin is not None:
            headers["Origin"] = self._destination.origin
        return headers

    def _know(self, line: Line, auth: Auth) -> None:
        line.auth = auth
        line.lane = msgspec.structs.replace(line.lane, auth=auth)
        line.session.jwt = auth.jwt
        self._emit(AuthChanged(line.guest, auth))


def _refused(answer: Answer) -> Outcome:
    """What an HTTP answer means for an errand: the platform's own words are not for the journal, its code is."""
    body = answer.json()
    code = body.get("code") if isinstance(body, dict) else None
    words = code if isinstance(code, str) and code.isprintable() and len(code) < 80 else "no code given"
    if answer.status >= 500 or answer.status == 408:
        return Failed(f"HTTP {answer.status}: {words}", answer.status)
    if answer.status == 429:
        return outcome_of(429, words)
    return Refused(answer.status, f"HTTP {answer.status}: {words}")
