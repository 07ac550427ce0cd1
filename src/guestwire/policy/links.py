"""
Addresses of remote files: whether a platform can be told of them, and for how long a signed one is good.

A platform fetches a file some time after it took the message, and leaves out silently what it cannot fetch. So what
can be seen beforehand is said beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from guestwire.errors import Finding
from guestwire.model import RemoteFile
from guestwire.policy.reach import refusal

#: Longest address that is taken. Ours: servers stop reading at 8 KB or sooner.
MAX_URL = 4096


def check_link(file: RemoteFile, *, allow: Sequence[str], now: float, min_life_s: float) -> Iterator[Finding]:
    """
    Say what is wrong with the address of a remote file, as far as it can be seen without asking anybody.

    Args:
        file: With its address.
        allow: ``host`` or ``host:port`` that may be private, or without TLS.
        now: Seconds since the epoch.
        min_life_s: A signed address has to be good for so long: the message may have to wait for its turn.
    """
    reason = "is too long" if len(file.url) > MAX_URL else refusal(file.url, (), allow)
    if reason is not None:
        yield Finding(
            "link.refused",
            "attachments",
            f"the file's address {reason}: the platform could not fetch it",
            "give a public https address",
        )
        return
    ends_at = expiry_of(file.url)
    if ends_at is not None and ends_at <= now:
        yield Finding("link.expired", "attachments", "the file's signed address has expired", "sign a new one")
    elif ends_at is not None and ends_at < now + min_life_s:
        yield Finding(
            "link.expires_soon",
            "attachments",
            f"the file's signed address is good for {ends_at - now:.0f} s, and min_link_life_s is {min_life_s:.0f}",
            "sign it for longer: the platform fetches the file only after the message's turn has come",
        )


def expiry_of(url: str) -> float | None:
    """
    Return when a signed address ends, in seconds since the epoch; None where it names no end that is known.

    Known are S3 and what speaks like it (`X-Amz-Date` and `X-Amz-Expires`; version 2: `Expires`), Google's storage
    (`X-Goog-…`), CloudFront (`Expires`) and Azure's storage (`se`). Source: their documentation of signed addresses.
    """
    try:
        query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query, max_num_fields=100).items()}
    except ValueError:
        return None
    for prefix in ("x-amz", "x-goog"):
        begin, life = _time(query.get(f"{prefix}-date", ""), "%Y%m%dT%H%M%SZ"), query.get(f"{prefix}-expires", "")
        if begin is not None and life.isdecimal() and len(life) < 10:
            return (begin + timedelta(seconds=int(life))).timestamp()
    if "se" in query and "sig" in query:
        ends = next(filter(None, (_time(query["se"], form) for form in _AZURE_TIMES)), None)
        return None if ends is None else ends.timestamp()
    signed = query.keys() & {"signature", "key-pair-id", "policy"}
    ends_text = query.get("expires", "")
    return float(ends_text) if signed and ends_text.isdecimal() and len(ends_text) < 12 else None


_AZURE_TIMES = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d")


def _time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
