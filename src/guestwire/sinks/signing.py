"""
Signatures by which a receiver knows who writes: the scheme of Standard Webhooks (standardwebhooks.com).
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence


class Signer:
    """
    Signs what goes to one receiver.

    Args:
        secrets: From `guestwire.settings.read_secrets`. Each one signs, so that the receiver can change from the old
            one to the new one whenever it likes.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)

    def headers(self, delivery_id: str, now: float, body: bytes) -> dict[str, str]:
        """
        Make the three headers of one attempt.

        Args:
            delivery_id: The same on every attempt; the receiver knows by it what it has seen.
            now: Of this attempt, in seconds since the epoch. Receivers refuse old ones.
            body: As it is sent, byte for byte.
        """
        timestamp = str(int(now))
        signed = b".".join((delivery_id.encode(), timestamp.encode(), body))
        signatures = (b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in self._secrets)
        return {
            "webhook-id": delivery_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }
