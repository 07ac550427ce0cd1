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
from guestwire.model import Accepted, Auth, Errand, Failed, GatewayMessageId, Outcome, Refused
from guestwire.net import Answer, Http, Unreachable
from guestwire.protocol.codes import outcome_of
from guestwire.protocol.states import ConnectionState
from guestwire.settings import Destination
from guestwire.transports.base import AuthChanged, Emit, ErrandEnded
from guestwire.transports.line import Line

#: What succeeds has no name at the gateway.
DONE = Accepted(GatewayMessageId(""))
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
    ) -> None:
        self._destination = destination
        self._http = http
        self._clock = clock
        self._emit = emit
        self._spawn = spawn
        self._go_on = go_on

    def carry_out(self, line: Line, errand: Errand, *, may_clear: bool) -> None:
        """Begin an errand of a guest."""
        now = self._clock.now()
        line.errand = errand
        match errand.kind:
            case "close":
                line.session.close_session(now, everywhere=errand.body.get("everywhere", True) is True)
            case "clear" if not may_clear:
                self.end(line, Refused(403, "clearing is switched off for this deployment"))
            case "clear":
                line.session.clear(now)
            case "start_new":
                line.session.start_new(now)
            case "join":
                why = "the session is not new, or the deployment does not start by itself"
                self.end(line, line.joined or Refused(0, why))
            case "download":
                line.session.request_download(str(errand.body.get("id")), now)
            case "sign_in":
                self._spawn(self._sign_in(line, errand))
            case "sign_out":
                self._spawn(self._sign_out(line))

    def ended(self, line: Line, kind: str, outcome: Outcome, result: dict[str, Any] | None = None) -> None:
        """Something happened that ends an errand of this kind, if one is under way."""
        if line.errand is not None and line.errand.kind == kind:
            self.end(line, outcome, result)

    def end(self, line: Line, outcome: Outcome, result: dict[str, Any] | None = None) -> None:
        """Tell what became of the errand that is under way, if there is one."""
        errand, line.errand = line.errand, None
        if errand is not None:
            self._emit(ErrandEnded(line.guest, errand.seq, outcome, result))

    # --- signing in and out ---

    async def _sign_in(self, line: Line, errand: Errand) -> None:
        if line.auth is None or line.auth.errand != errand.seq:
            given = {EXCHANGE_FIELDS[name]: value for name, value in errand.body.items() if name in EXCHANGE_FIELDS}
            body = {"deploymentId": self._destination.deployment_id, "oauth": given}
            auth, outcome = await self._tokens("oauthcodegrantjwtexchange", body)
            if auth is None:
                self.end(line, outcome)
                return
            self._know(line, msgspec.structs.replace(auth, errand=errand.seq))
        if line.session.state is ConnectionState.CONFIGURED and line.auth is not None:
            line.session.sign_in(line.auth.jwt, self._clock.now())
        self._go_on(line)

    async def refresh(self, line: Line) -> bool:
        """Renew the JWT of a guest who has signed in; returns whether that worked. The refresh token stays valid."""
        auth = line.auth
        if auth is None or auth.refresh_token is None:
            return False
        body = {"deploymentId": self._destination.deployment_id, "refreshToken": auth.refresh_token}
        fresh, _ = await self._tokens("refresh", body)
        if fresh is None:
            return False
        self._know(line, msgspec.structs.replace(auth, jwt=fresh.jwt))
        return True

    async def _sign_out(self, line: Line) -> None:
        if line.auth is None:
            self.end(line, Refused(0, "the guest has not signed in"))
            return
        url = f"{self._destination.gateway}/api/v2/webdeployments/token/revoke"
        try:
            answer = await self._http.delete(url, self._headers(f"bearer {line.auth.jwt}"))
        except Unreachable as error:
            self.end(line, Failed(str(error)))
            return
        if 200 <= answer.status < 300:
            line.auth = line.session.jwt = None
            self._emit(AuthChanged(line.guest, None))
            self.end(line, DONE)
        else:
            self.end(line, _refused(answer))

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
