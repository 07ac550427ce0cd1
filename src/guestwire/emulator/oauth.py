"""
`OAuth`: the one OAuth client of the organisation, and the access tokens that it was given.

Client credentials only: ``POST /oauth/token`` takes id and secret in the Basic header or in the form, and gives an
opaque token. Only the SHA-256 of a token is kept.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import parse_qs

import msgspec

from guestwire.emulator.calls import Answer, Call, Refusal, refusal, too_large
from guestwire.emulator.ids import Draws
from guestwire.emulator.limits import Window, window
from guestwire.emulator.records import sha256
from guestwire.emulator.settings import EmulatorSettings

#: Tokens that are remembered; the oldest are forgotten first, and are then as good as wrong.
_MAX_TOKENS = 10_000


class Token(msgspec.Struct, kw_only=True, eq=False):
    """An access token, by its SHA-256."""

    sha256: str
    expires_at: float
    requests: Window
    revoked: bool = False


class OAuth:
    """The client and its tokens. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self.client_id = settings.client_id or Draws(settings.seed, "client").uuid()
        self._secrets = Draws(settings.seed, "client secret")
        self.client_secret = settings.client_secret or self._secrets.hex32()
        self._draws = Draws(settings.seed, "access token")
        self._tokens: dict[str, Token] = {}
        self._logins = window(settings, settings.tokens_per_minute, 60.0)

    def __repr__(self) -> str:
        return f"<OAuth {len(self._tokens)} tokens>"

    # --- signing in ---

    def grant(self, call: Call) -> Answer:
        """
        Answer ``POST /oauth/token``.

        Raises:
            Refusal: Too many logins, or no request that could be read. Wrong credentials are an answer: OAuth has its
                own form for them.
        """
        if call.body is None:
            raise too_large(self._settings.max_request_bytes)
        if call.content_type != "application/x-www-form-urlencoded":
            raise refusal(415)
        if not self._logins.admit(call.now):
            raise too_many(self._logins, call.now, "oauth.client.login.rate.per.minute", "oauth")
        form = {name: values[-1] for name, values in parse_qs(call.body.decode("utf-8", "replace")).items()}
        grant_type = form.get("grant_type", "")
        if not grant_type:
            return _denied(400, "invalid_request", "grant_type is missing")
        if grant_type != "client_credentials":
            return _denied(400, "unsupported_grant_type", f"unsupported grant type: {grant_type[:60]}")
        given = _basic(call.authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        return self._grant(*given, call.now)

    def _grant(self, client_id: str, secret: str, now: float) -> Answer:
        status = self._settings.bad_client_status
        if client_id != self.client_id:
            return _denied(status, "invalid_client", f"client not found: {client_id[:60]}")
        if not hmac.compare_digest(secret.encode(), self.client_secret.encode()):
            return _denied(status, "invalid_client", "client secret is wrong")
        token = f"{self._draws.hex32()}-{self._draws.hex32()}"
        life_s = self._settings.token_life_s
        self._tokens[sha256(token)] = Token(
            sha256=sha256(token),
            expires_at=now + life_s,
            requests=window(self._settings, self._settings.token_requests_per_minute, 60.0),
        )
        if len(self._tokens) > _MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        body = {"access_token": token, "token_type": "bearer", "expires_in": life_s}
        return Answer(200, body, {"Cache-Control": "no-store"})

    # --- tokens in use ---

    def token_of(self, authorization: str, now: float) -> Token:
        """
        Find the token of an ``Authorization`` header.

        Raises:
            Refusal: 401, with one of three codes: there is none, it is unknown or revoked, it has expired.
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Refusal(
                401, "authentication.required", "No authentication bearer token specified in authorization header."
            )
        token = self._tokens.get(sha256(given.strip()))
        if token is None or token.revoked:
            raise refusal(401)
        if now >= token.expires_at:
            raise Refusal(401, "credentials.expired", "The supplied credentials are expired and cannot be used.")
        return token

    def revoke(self) -> int:
        """Make every token worthless. Returns how many there were."""
        for token in self._tokens.values():
            token.revoked = True
        return len(self._tokens)

    def expire(self, now: float) -> int:
        """Let every token expire. Returns how many there were."""
        for token in self._tokens.values():
            token.expires_at = min(token.expires_at, now)
        return len(self._tokens)

    def rotate(self) -> None:
        """Give the client another secret, from the seed; tokens stay as they are."""
        self.client_secret = self._secrets.hex32()


def too_many(passed: Window, now: float, key: str, namespace: str) -> Refusal:
    """429: a window is full. The seconds to wait stand in the header, in the parameters and in the words."""
    wait_s = passed.reset_s(now)
    words = "Rate limit exceeded the maximum. Retry the request in [{retryAfter}] seconds"
    return Refusal(
        429,
        "too.many.requests",
        words.format(retryAfter=wait_s),
        headers={"Retry-After": str(wait_s)},
        messageWithParams=words,
        messageParams={"retryAfter": str(wait_s)},
        limit={"key": key, "namespace": namespace, "value": passed.limit},
    )


def bearer_sha256(authorization: str) -> str:
    """SHA-256 of the token in a header, for the log; empty without one."""
    scheme, _, given = authorization.partition(" ")
    return sha256(given.strip()) if scheme.lower() == "bearer" and given.strip() else ""


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client_id, secret


def _denied(status: int, error: str, description: str) -> Answer:
    return Answer(status, {"error": error, "description": description, "error_description": description})
