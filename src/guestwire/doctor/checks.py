"""What a look found, and a place that is looked at."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

Status = Literal["ok", "warn", "fail", "skip"]
#: For one check, in seconds.
PATIENCE_S: Final = 8.0


class Check(msgspec.Struct, frozen=True):
    """What one look found."""

    name: str
    """Such as ``token`` or ``dns api.mypurecloud.ie``; the same from run to run."""
    status: Status
    detail: str
    """What was found, in a line; never a secret."""
    fix: str = ""
    """What to do; empty where nothing needs to be done."""


class Spot(NamedTuple):
    """A place to connect to."""

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> Spot:
        """The place that a URL leads to."""
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "", parts.port or (443 if secure else 80), secure)

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"
