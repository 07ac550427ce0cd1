"""What the emulator draws (ids, delays, choices), all of it from the seed, and how it spells times."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Draws:
    """
    A stream of draws that follows from its name alone.

    Each session has streams of its own, named by seed and token, so that what one guest gets does not depend on how
    the requests of others happen to interleave with his. A counter under a keyed hash instead of a generator with
    state: a hundred thousand sessions cost a few bytes each. Not secret, on purpose: a test double whose ids can be
    predicted is one whose runs can be repeated.

    Args:
        name: Parts of the stream's name; the seed is the first.
    """

    __slots__ = ("_count", "_key")

    def __init__(self, *name: object) -> None:
        self._key = hashlib.blake2b("/".join(map(str, name)).encode(), digest_size=16).digest()
        self._count = 0

    def hex32(self) -> str:
        """An id as live frames carry it: 32 hex digits without dashes."""
        self._count += 1
        return hashlib.blake2b(self._count.to_bytes(8, "big"), key=self._key, digest_size=16).hexdigest()

    def uuid(self) -> str:
        """A UUID, version 4."""
        digits = self.hex32()
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def random(self) -> float:
        """A number from [0, 1)."""
        return int(self.hex32()[:13], 16) / 2**52

    def choice(self, items: Sequence[T]) -> T:
        """One of some items."""
        return items[int(self.random() * len(items))]

    def delay_s(self, range_ms: tuple[float, float]) -> float:
        """A delay from a range of milliseconds, in seconds."""
        first, last = range_ms
        if last <= 0:
            return 0.0
        return (first if first == last else first + (last - first) * self.random()) / 1000

    def jwt(self, expires_at: int) -> str:
        """Something that looks like a JWT and is opaque: three parts, a drawn signature."""
        payload = msgspec.json.encode({"jti": self.uuid(), "exp": expires_at})
        parts = (b'{"alg":"RS256","typ":"JWT"}', payload, bytes.fromhex(self.hex32()))
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@functools.lru_cache(maxsize=64)
def _second(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso_time(now: float) -> str:
    """Spell seconds since the epoch as the platform does: ISO 8601, milliseconds, Z."""
    milliseconds = int(now * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"
