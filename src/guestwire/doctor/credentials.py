"""Whether there are credentials, and whether the platform takes them."""

from __future__ import annotations

from guestwire.doctor.checks import Check, Spot
from guestwire.doctor.platform import ORGANISATION
from guestwire.doctor.refusals import ADMIN_CLIENTS, words_of
from guestwire.doctor.scene import Given, Scene
from guestwire.net import Answer
from guestwire.protocol.platform import Token, TokenLater, TokenRefused, token_of, token_request
from guestwire.settings import Destination, Secret
from guestwire.settings.credentials import CREDENTIAL_NAMES


def credentials_check(given: Given) -> Check:
    """Tell which there are, and from where; nobody is asked."""
    destination = given.destination
    words = []
    if _has_pair(destination):
        words.append(given.told(f"OAuth client {destination.client_id}", "client_id", "client_secret"))
    if destination.access_token is not None:
        words.append(given.told("an access token", "access_token"))
    if words:
        return Check("credentials", "ok", " and ".join(words))
    if destination.transport != "openmessaging":
        return Check("credentials", "skip", "none are set, and a gateway of one's own may want none")
    names = " and ".join((CREDENTIAL_NAMES[0]["client_id"], CREDENTIAL_NAMES[0]["client_secret"]))
    keys = f"destinations.{destination.name}.client_id and client_secret"
    return Check("credentials", "fail", "none are set", f"set {names}, or {keys}, or a gc profile")


def _has_pair(destination: Destination) -> bool:
    return destination.client_id is not None and destination.client_secret is not None


async def look_at_token(scene: Scene) -> Check:
    """Get a token that the others can ask with: the one that is given, else one for the OAuth client."""
    destination = scene.destination
    has_pair = _has_pair(destination)
    if destination.access_token is None and not has_pair:
        return Check("token", "skip", "none is asked for without credentials")
    own = None if destination.access_token is None else await _try_own(scene, destination.access_token)
    if own is not None and (own.status != "fail" or not has_pair):
        return own
    fetched = await _fetch(scene)
    return fetched if own is None else stepped_in_check(own, fetched)


async def _try_own(scene: Scene, token: Secret) -> Check:
    """Look whether a given token is taken: by asking for what everybody may know of his own organisation."""
    scene.asking.token = token.reveal()
    check = own_token_check(scene.given, await scene.asking.call("GET", ORGANISATION))
    if check.status == "fail":
        scene.asking.token = None
    return check


async def _fetch(scene: Scene) -> Check:
    destination = scene.destination
    secret = "" if destination.client_secret is None else destination.client_secret.reveal()
    headers, body = token_request(destination.client_id or "", secret)
    answer = await scene.asking.post(destination.token_url, headers, body)
    found = token_of(answer.status, answer.headers, answer.body, now=scene.clock.now())
    if isinstance(found, Token):
        scene.asking.token = found.value
    return fetched_token_check(scene.given, found)


def own_token_check(given: Given, answer: Answer) -> Check:
    """Judge a given token by the answer to a call with it: whatever is not 401 has taken it."""
    what = given.told("the access token", "access_token")
    if answer.status == 401:
        fix = "set a fresh access_token, or client_id and client_secret, which give a new one whenever it is needed"
        return Check("token", "fail", f"{what} is not taken (any more): {words_of(answer)}", fix)
    return Check("token", "ok", f"{what} is used as it is; nobody can renew it")


def fetched_token_check(given: Given, found: Token | TokenRefused | TokenLater) -> Check:
    """Judge an OAuth client by what it was given."""
    destination = given.destination
    spot = Spot.of(destination.token_url)
    what = f"OAuth client {destination.client_id}"
    match found:
        case Token(_, life_s):
            return Check("token", "ok", f"{what}: {spot} gives tokens for {life_s:,.0f} s")
        case TokenRefused(reason):
            sources = " and ".join(given.told(field, field) for field in ("client_id", "client_secret"))
            url, region = destination.token_url, destination.region
            where = f"the region ({region})" if region else f"the address ({url})"
            return Check(
                "token",
                "fail",
                f"{what} is not let in: {reason}",
                f"compare {sources} with {ADMIN_CLIENTS}, and {where} with the organisation's; the client needs "
                "the grant 'client credentials'",
            )
        case TokenLater(reason, retry_after_s):
            fix = f"try again in {retry_after_s:.0f} s; logins are limited too"
            return Check("token", "fail", f"{spot} gives no token for now: {reason}", fix)


def stepped_in_check(own: Check, fetched: Check) -> Check:
    """Judge a given token that is not taken together with the one that the OAuth client gets instead."""
    if fetched.status == "fail":
        return fetched
    return Check("token", "warn", f"{own.detail}; {fetched.detail}", own.fix)
