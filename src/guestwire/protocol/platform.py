"""
What an answer of the platform API proves, and what it says about limits and tokens.

One question decides again, as on the WebSocket: was the message turned away *before* it was processed? HTTP 400, 401,
403, 404, 409, 413, 415 and 429 say so. 408 and 5xx prove nothing, and neither does a 2xx whose body is not the one that
is documented: proxies answer 200 with a page of their own. A 503 that names a time to come back is believed, as a
setting.

Some refusals are no judgement on the message: a token that is not taken, a permission that is missing, an integration
that does not exist. Sending the next message cannot help then; they are `Barred`, and the destination is in trouble.

Source: SDK 269 (`ErrorBody`), the vendor's pages on rate limits, answers of other clients; 2xx bodies in
`openmessaging` and `contract`.
"""

from __future__ import annotations

import enum
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Literal

import msgspec

from guestwire.model import Failed, Outcome, Refused, Throttled, Unknown

#: A throttle that names no time, in seconds. Ours.
DEFAULT_RETRY_AFTER_S = 5.0
#: A throttle that says 0, or less, is waited for all the same: being throttled costs no attempt, so it would spin.
MIN_RETRY_AFTER_S = 1.0
#: So long a wait is believed, in seconds; what is longer is a mistake of somebody's.
MAX_RETRY_AFTER_S = 3_600.0
#: A token whose life is not told is renewed after this, in seconds. Ours: the shortest that can be set is 300.
DEFAULT_TOKEN_LIFE_S = 300.0
#: Words of the far side that go into the journal.
MAX_REASON = 200


class Says(enum.Enum):
    """What a status says about the message that it answers."""

    NEVER = "refused before processing, and it would be again"
    THROTTLED = "refused before processing, by a limit"
    UNSIGNED = "refused before processing: the token is not taken"
    PLACE = "refused before processing: there is no such place"
    FORBIDDEN = "refused before processing: a permission is missing, something on the way says no, or the message is"
    NOT_NOW = "not taken, where it names a time to come back and that is believed"
    NOTHING = "may have been processed"


#: Whatever is not here says nothing; an acceptance is known by its body (`openmessaging`, `contract`).
STATUSES: dict[int, Says] = {
    400: Says.NEVER,
    401: Says.UNSIGNED,
    403: Says.FORBIDDEN,
    404: Says.PLACE,
    409: Says.NEVER,
    413: Says.NEVER,
    415: Says.NEVER,
    429: Says.THROTTLED,
    503: Says.NOT_NOW,
}
#: Names of the wire: an error that quotes one of them tells which field is wrong. Whatever else it quotes may be what
#: somebody wrote.
_FIELDS = frozenset(
    re.findall(
        r"\w+",
        "id idType channel from to time messageId metadata customAttributes text content attachment mediaType url mime "
        "filename sha256 nickname firstName lastName image email events eventType status reasons code message "
        "isFinalReceipt buttonResponse type payload originatingMessageId body contentType attachments fileName size "
        "readReceipt transmissionTimestamp anyOf",
    )
)
#: Parameters of an error that are the platform's own words. The others hold what was sent.
_TELLING = ("fieldType", "allowedValues", "maximumBytes", "retryAfter", "permissions")
_PARAMETER = re.compile(r"\{(\w+)\}")
#: An apostrophe within a word quotes nothing.
_QUOTED = re.compile(r"\[([^\]]*)\]|(?<!\w)'(.*?)'(?!\w)|\"([^\"]*)\"|`([^`]*)`|“([^”]*)”|«([^»]*)»", re.DOTALL)
_QUOTE = re.compile(r"[\[\]\"`“”«»]|(?<!\w)'|'(?!\w)")
#: Addresses, and numbers that may be of a telephone; not the limit in "Maximum bytes: 1048576".
_PERSONAL = re.compile(
    r"\S+@\S+|(?<!\d)(?<!bytes: )\+?\d[\d ()./-]{5,}\d|\b[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+", re.IGNORECASE
)
#: As every code of the platform is written; what is written otherwise may be anything.
_CODE = re.compile(r"[A-Za-z0-9._-]{1,80}")
#: What a header can carry.
_TOKEN = re.compile(r"[\x21-\x7e]+")
_BRACKETED = re.compile(r"\[\s*([0-9]{1,9})\s*\]")


class Barred(msgspec.Struct, frozen=True):
    """Surely not accepted, and not because of the message: no message of the destination can go now."""

    what: Literal["token", "permission", "place", "between"]
    """``between``: who answered is not the platform, but something on the way to it."""
    reason: str
    permissions: str = ""
    """Those that are missing, as the platform names them."""
    evidence: dict[str, Any] = {}


class Token(msgspec.Struct, frozen=True):
    """A bearer token. Secret."""

    value: str
    life_s: float

    def __repr__(self) -> str:
        return f"Token({self.life_s:.0f} s)"


class TokenRefused(msgspec.Struct, frozen=True):
    """The credentials are not taken; asking again cannot help."""

    reason: str


class TokenLater(msgspec.Struct, frozen=True):
    """No token for now."""

    reason: str
    retry_after_s: float
    is_foreign: bool = False
    """Who answered is not the platform, but something on the way to it."""


def is_foreign(status: int, body: bytes) -> bool:
    """Whether an answer is none of the platform's: a redirect, or a success that is no JSON. It proves nothing."""
    return 300 <= status < 400 or (200 <= status < 300 and json_of(body) is None)


def json_of(body: bytes) -> dict[str, Any] | None:
    """Read a body that has to be a JSON object; None for everything else."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def evidence_of(status: int, headers: Mapping[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
    """Return what support asks for: status, code and correlation id of an answer. Never its words."""
    found: dict[str, Any] = {"http_status": status}
    body = body or {}
    context = body.get("contextId")
    if code := _code(body):
        found["error"] = code
    correlation = headers.get("ININ-Correlation-Id") or headers.get("X-Request-Id") or context
    if isinstance(correlation, str) and correlation:
        found["correlation_id"] = correlation[:80]
    limit = body.get("limit")
    if isinstance(limit, dict) and isinstance(limit.get("key"), str):
        found["limit"] = str(limit["key"])[:120]
    return found


def refusal_of(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float, trust_unavailable: bool
) -> Outcome | Barred:
    """
    Say what an answer proves that is not the documented acceptance.

    Args:
        status: Of HTTP.
        headers: Compared without case.
        body: As far as it was read.
        now: Seconds since the epoch, for a `Retry-After` that is a date.
        trust_unavailable: Whether 503 with `Retry-After` means "not taken".
    """
    parsed = json_of(body)
    evidence = evidence_of(status, headers, parsed)
    reason = reason_of(status, parsed, body)
    match STATUSES.get(status, Says.NOTHING):
        case Says.NEVER:
            return Refused(status, reason, evidence)
        case Says.THROTTLED:
            return Throttled("destination", wait_s(headers, parsed, now), reason, evidence)
        case Says.UNSIGNED:
            return Barred("token", reason, evidence=evidence)
        case Says.PLACE:
            return Barred("place", reason, evidence=evidence)
        case Says.FORBIDDEN if parsed is None:
            return Barred("between", reason, evidence=evidence)
        case Says.FORBIDDEN if parsed and _code(parsed) in _PERMISSION_CODES:
            return Barred("permission", reason, _permissions(parsed), evidence)
        case Says.FORBIDDEN:
            return Refused(status, reason, evidence)
        case Says.NOT_NOW if trust_unavailable and headers.get("Retry-After"):
            return Failed(reason, status, evidence, wait_s(headers, parsed, now))
        case _:
            return Unknown(reason, evidence)


_PERMISSION_CODES = frozenset({"missing.permissions", "missing.any.permissions", "not.authorized"})


def _permissions(body: dict[str, Any]) -> str:
    params = body.get("messageParams")
    found = params.get("permissions") if isinstance(params, dict) else None
    return found.strip("[] ")[:MAX_REASON] if isinstance(found, str) else ""


def reason_of(status: int, parsed: dict[str, Any] | None, body: bytes) -> str:
    """Say in a line what an answer was, without anything in it that a person may have written."""
    if parsed is None:
        what = "no body" if not body else "an HTML page" if body.lstrip()[:1] == b"<" else "no JSON"
        return f"{status}: {what}"
    words = quiet(_words(parsed))
    named = f"{status} {_code(parsed)}".rstrip()
    return f"{named}: {words}" if words else named


def _code(body: Mapping[str, Any]) -> str:
    code = body.get("code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _words(body: Mapping[str, Any]) -> str:
    """Return an error's words: the template where there is one, with the parameters that are the platform's own."""
    template, params = body.get("messageWithParams"), body.get("messageParams")
    if isinstance(template, str) and template and isinstance(params, dict):
        telling = {name: str(params[name]) for name in _TELLING if isinstance(params.get(name), str | int)}
        return _PARAMETER.sub(lambda found: telling.get(found[1], "…"), template)
    return next((found for key in ("message", "error") if isinstance(found := body.get(key), str) and found), "")


def quiet(words: str) -> str:
    """
    Return words of the far side without what they quote: it may be a guest's address, or what he wrote.

    Names of the wire's fields stay. Who quotes a text does not escape what stands in it: so what lies between two
    quoted things goes with them, and where quotes do not pair, nothing after the first of them stays.
    """
    words = words[: 4 * MAX_REASON]
    if _QUOTE.search(_QUOTED.sub(" ", words)):
        words = re.split(r"[\[\]\"'`“”«»]", words, maxsplit=1)[0] + "…"
    found = [match for match in _QUOTED.finditer(words) if not _is_ours(match)]
    if found:
        words = words[: found[0].start() + 1] + "…" + words[found[-1].end() - 1 :]
    return _PERSONAL.sub("…", words)[:MAX_REASON]


def _is_ours(found: re.Match[str]) -> bool:
    """Whether something quoted is a field of the wire, or a time to wait."""
    quoted = next((group for group in found.groups() if group is not None), "")
    names = [name for name in re.split(r"[./]", quoted.strip()) if name]
    is_wait = quoted.isdecimal() and len(quoted) < 6 and found.string.startswith(" second", found.end())
    return is_wait or (bool(names) and _FIELDS.issuperset(names))


def wait_s(headers: Mapping[str, str], body: dict[str, Any] | None, now: float) -> float:
    """
    Say how long to wait, in seconds: `Retry-After` (seconds or a date), else the window's end, else the bracketed one.

    Bounded both ways: nothing, less than nothing and a year are all said by somebody.
    """
    found = _retry_after(headers.get("Retry-After"), now)
    if found is None:
        found = _number(headers.get("inin-ratelimit-reset"))
    if found is None and body is not None and isinstance(body.get("message"), str):
        bracketed = _BRACKETED.search(body["message"])
        found = float(bracketed.group(1)) if bracketed else None
    return DEFAULT_RETRY_AFTER_S if found is None else min(max(found, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


def _retry_after(value: str | None, now: float) -> float | None:
    number = _number(value)
    if number is not None or not value:
        return number
    from email.utils import parsedate_to_datetime  # rarely needed, and slow to import

    try:
        at = parsedate_to_datetime(value)
        # A date of HTTP is in GMT also where it does not say so: our own zone has no part in it.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    """Read a count of seconds; some senders write a fraction, or a sign."""
    if value is None or not re.fullmatch(r"[ \t]*[+-]?[0-9]+(\.[0-9]*)?[ \t]*", value):
        return None
    return min(float(value), MAX_RETRY_AFTER_S)


# --- tokens ---


def token_request(client_id: str, client_secret: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body that ask for a token: client credentials, in the bytes that the vendor's SDK sends."""
    basic = b64encode(f"{client_id}:{client_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    return headers, b"grant_type=client_credentials"


def token_of(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Token | TokenRefused | TokenLater:
    """
    Read the answer to a request for a token.

    Which 4xx a wrong secret gets is not published (400 and 401 are both reported), so all of them but 408 and 429 mean
    that the credentials are not taken. The error is OAuth's (`error`, `description`), and may be no JSON at all; a page
    with another status is a proxy's.
    """
    parsed = json_of(body)
    token = parsed.get("access_token") if status == 200 and parsed is not None else None
    if parsed is not None and isinstance(token, str) and _TOKEN.fullmatch(token):
        life = parsed.get("expires_in")
        is_life = isinstance(life, int | float) and not isinstance(life, bool) and 0 < life < 10**9
        return Token(token, float(life) if is_life else DEFAULT_TOKEN_LIFE_S)  # type: ignore[arg-type]
    stranger = parsed is None and (is_foreign(status, body) or (400 < status < 500 and status not in (401, 408, 429)))
    if 400 <= status < 500 and status not in (408, 429) and not stranger:
        said = [parsed.get(key) for key in ("error", "description", "error_description")] if parsed else []
        words = ": ".join(dict.fromkeys(word for word in said if isinstance(word, str) and word))
        return TokenRefused(f"{status}: {quiet(words)}" if words else reason_of(status, parsed, body))
    return TokenLater(reason_of(status, parsed, body), wait_s(headers, parsed, now), stranger)
