"""
How long until a guest's next connection, and what a failure to make one means.

A thousand connections a minute and deployment is the gateway's limit, so the transport hands them out: to guests
whose message is in check first, then in the order of asking. Reconnects wait a random time under a bound that
doubles, so that a gateway that comes back is not met by everybody in the same instant.
"""

from __future__ import annotations

import msgspec

from guestwire.errors import AuthenticationError, GuestWireError
from guestwire.policy.retry import backoff_s


class UpgradeRefused(msgspec.Struct, frozen=True):
    """What a refused WebSocket upgrade means for the whole destination."""

    error: GuestWireError
    retry_s: float
    """After so long one connection tries again, to notice when somebody has mended it."""


#: The vendor's client never tries again after 403; we probe once a minute, so that a running relay notices the mend.
PROBE_EVERY_S = 60.0


def judge_upgrade(status: int, host: str) -> UpgradeRefused | None:
    """
    Say what an HTTP status in place of a WebSocket means; None where trying again is all there is to do.

    Args:
        status: The HTTP status of the answer.
        host: The gateway's host, for the error text.
    """
    if status == 403:
        error: GuestWireError = AuthenticationError(
            f"{host} refuses the connection (HTTP 403)",
            code="GW-A001",
            hint=(
                "check, in Genesys Cloud under Admin > Message > Messenger Deployments: the deployment id, that the"
                " deployment is active, and its allowed domains ('Restrict domain access') against 'origin' here;"
                " and that 'region' is the org's own"
            ),
        )
    elif status in (400, 401, 404, 410, 426) or 300 <= status < 400:
        error = AuthenticationError(
            f"{host} does not offer the Guest API at this address (HTTP {status})",
            code="GW-A002",
            hint="check 'region' or 'url' of the destination, and whether a proxy answers in the gateway's place",
        )
    else:
        return None
    return UpgradeRefused(error, PROBE_EVERY_S)


def reconnect_delay_s(failures: int, jitter: float, *, base_s: float, cap_s: float) -> float:
    """
    Return how long to wait before the next try to connect.

    Args:
        failures: Tries that failed in a row; 0 after a connection that had worked.
        jitter: A draw from [0, 1).
        base_s: Bound of the first delay, in seconds.
        cap_s: Bound of every delay, in seconds.
    """
    return backoff_s(failures + 1, jitter, base_s=base_s, cap_s=cap_s)
