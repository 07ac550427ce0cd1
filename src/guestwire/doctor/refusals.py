"""What an answer means that is not the one that was asked for."""

from __future__ import annotations

from guestwire.doctor.checks import Check
from guestwire.model import Throttled
from guestwire.net import Answer
from guestwire.protocol.platform import Barred, evidence_of, json_of, reason_of, refusal_of

#: Where a person looks after OAuth clients.
ADMIN_CLIENTS = "Admin > Integrations > OAuth"


def words_of(answer: Answer) -> str:
    """Say an answer in a line, without what it quotes."""
    return reason_of(answer.status, json_of(answer.body), answer.body)


def lacking_of(answer: Answer) -> str:
    """Say which permissions an answer of 403 names; where it names none, what it says."""
    found = refusal_of(answer.status, answer.headers, answer.body, now=0.0, trust_unavailable=True)
    permissions = found.permissions if isinstance(found, Barred) else ""
    return f"the permission {permissions}" if permissions else words_of(answer)


def unforeseen_check(name: str, answer: Answer, *, host: str, now: float) -> Check:
    """
    Judge an answer that the look itself has no word for, with what support would ask for.

    Args:
        name: Of the check.
        answer: Any but the documented one.
        host: Whose it is.
        now: Seconds since the epoch, for a `Retry-After` that is a date.
    """
    found = refusal_of(answer.status, answer.headers, answer.body, now=now, trust_unavailable=True)
    correlation = evidence_of(answer.status, answer.headers, json_of(answer.body)).get("correlation_id")
    detail = f"{host} answers {words_of(answer)}"
    detail += f" (correlation id {correlation})" if correlation else ""
    if isinstance(found, Throttled):
        fix = f"somebody uses the limit up; try again in {found.retry_after_s:.0f} s"
        return Check(name, "warn", detail, fix)
    if isinstance(found, Barred) and found.what == "token":
        return Check(name, "fail", detail, "the token is not taken: look whether the OAuth client was disabled")
    if isinstance(found, Barred) and found.what == "place":
        return Check(name, "fail", detail, "check url or region of the destination")
    fix = "try again; if it stays so, give the correlation id to support" if correlation else "try again"
    return Check(name, "fail", detail, fix)
