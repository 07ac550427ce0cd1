"""
`SignIn`: who is signed in, by which key, and until when.

A stand-in for the identity provider: any OAuth code and any `idToken` will do, for who the guest is, is none of the
emulator's business. What follows from a sign-in is the platform's: a *login* is one sign-in of one person. Its JWTs
run out and are renewed with its refresh token, which stays valid; revoking any of its JWTs ends it with all sessions
that were configured with one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

from guestwire.emulator.ids import Draws
from guestwire.emulator.records import Login, Problem, Session
from guestwire.emulator.rules import BAD_REQUEST
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import ConfigureAuthenticatedSession, ConfigureSession, Recipient

#: Longest session token (vendor's FAQ).
MAX_TOKEN = 2048
#: Whom `channel.from` of the SignIn event names: the person's profile, which is none of the emulator's business.
PERSON = Recipient(first_name="Sam", last_name="Guest")


class RestProblem(NamedTuple):
    """Why a REST request is refused: the parts of the platform's ErrorBody."""

    status: int
    code: str
    message: str


_NOT_ENABLED = RestProblem(
    403, "feature.toggle.disabled", "Authentication is not enabled for this deployment: --set auth_enabled=true"
)
_BAD_CREDENTIALS = RestProblem(401, "bad.credentials", "Invalid login credentials.")


class _Grant(NamedTuple):
    login: Login
    expires_at: int


class SignIn:
    """The logins of the deployment. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings, deployment_id: str, draws: Draws) -> None:
        self._settings = settings
        self._deployment_id = deployment_id.lower()
        self._draws = draws
        self._grants: dict[str, _Grant] = {}
        self._logins: dict[str, Login] = {}

    # --- over REST ---

    def exchange(self, data: Any, now: float) -> dict[str, str] | RestProblem:
        """Exchange an OAuth code, or an `idToken`, for a JWT; only a code also gets a refresh token."""
        problem = self._exchange_problem(data)
        if problem:
            return problem
        login = Login()
        answer = {"jwt": self._grant(login, now)}
        if data["oauth"].get("code"):
            token = answer["refreshToken"] = self._draws.hex32()
            self._logins[token] = login
            _bound(self._logins, self._settings.max_sessions)
        return answer

    def _exchange_problem(self, data: Any) -> RestProblem | None:
        if not self._settings.auth_enabled:
            return _NOT_ENABLED
        if not isinstance(data, dict):
            return RestProblem(400, "bad.request", "The body must be a JSON object.")
        oauth = data.get("oauth")
        missing = [] if _is_text(data.get("deploymentId")) else ["deploymentId"]
        if not isinstance(oauth, dict):
            missing.append("oauth")
        elif not _is_text(oauth.get("idToken")):
            missing += [f"oauth.{name}" for name in ("code", "redirectUri") if not _is_text(oauth.get(name))]
        if missing:
            return RestProblem(400, "required.fields.missing", f"Missing: {', '.join(missing)}.")
        if data["deploymentId"].lower() != self._deployment_id:
            return RestProblem(404, "not.found", "No such deployment.")
        return None

    def refresh(self, data: Any, now: float) -> dict[str, str] | RestProblem:
        """Give another JWT for a refresh token, which stays as it is. `deploymentId` may be missing, as clients do."""
        if not self._settings.auth_enabled:
            return _NOT_ENABLED
        if not isinstance(data, dict):
            return RestProblem(400, "bad.request", "The body must be a JSON object.")
        token, deployment_id = data.get("refreshToken"), data.get("deploymentId")
        if not _is_text(token):
            return RestProblem(400, "required.fields.missing", "Missing: refreshToken.")
        if deployment_id is not None and str(deployment_id).lower() != self._deployment_id:
            return RestProblem(404, "not.found", "No such deployment.")
        login = self._logins.get(token)
        return _BAD_CREDENTIALS if login is None or login.revoked else {"jwt": self._grant(login, now)}

    def revoke(self, jwt: str, now: float) -> Login | RestProblem:
        """End a login; its sessions are still to be told."""
        login = self._login(jwt, now)
        if login is None:
            return _BAD_CREDENTIALS
        login.revoked = True
        return login

    def _grant(self, login: Login, now: float) -> str:
        expires_at = int(now + self._settings.auth_jwt_life_s)
        jwt = self._draws.jwt(expires_at)
        self._grants[jwt] = _Grant(login, expires_at)
        _bound(self._grants, self._settings.max_sessions)
        return jwt

    def _login(self, jwt: str, now: float) -> Login | None:
        grant = self._grants.get(jwt)
        return None if grant is None or grant.login.revoked or now >= grant.expires_at else grant.login

    # --- over the WebSocket ---

    def login_of(self, request: ConfigureSession | ConfigureAuthenticatedSession, now: float) -> Login | None:
        """The login that a configure request is made with; None for an anonymous one, and for a key that is no good."""
        if isinstance(request, ConfigureSession) or request.data is None:
            return None
        return self._login(request.data.code or "", now)

    def problem(
        self,
        request: ConfigureSession | ConfigureAuthenticatedSession,
        session: Session | None,
        now: float,
    ) -> Problem | None:
        """Say why a configure request is refused, or None; `session` is the one that its token opens now."""
        if (request.deployment_id or "").lower() != self._deployment_id or len(request.token or "") > MAX_TOKEN:
            return BAD_REQUEST
        if isinstance(request, ConfigureSession):
            downgrade = session is not None and session.authenticated
            return Problem(4017, "Cannot downgrade an authenticated session") if downgrade else None
        if not self._settings.auth_enabled:
            return Problem(403, "HTTP authorization error")
        return None if self.login_of(request, now) else Problem(401, "User is unauthorized")


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)


def _bound(known: dict[str, Any], most: int) -> None:
    if len(known) > most:
        del known[next(iter(known))]
