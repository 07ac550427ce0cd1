"""What keeps a REST destination from taking anything, as errors that say what to change, and where."""

from __future__ import annotations

from guestwire.errors import AuthenticationError, ConfigError, GuestWireError
from guestwire.net import Answer
from guestwire.protocol.platform import Barred, json_of, reason_of, wait_s
from guestwire.settings import Destination
from guestwire.transports.oauth import NoTokenYet, whose_of


def trouble_of(error: Exception, destination: Destination) -> GuestWireError:
    """Return an error that tells a user what kept a request from being made."""
    if isinstance(error, GuestWireError):
        return error
    return GuestWireError(
        f"{destination.host} cannot be reached: {error}",
        code="GW-A003",
        hint="check the network, a proxy (HTTPS_PROXY), and 'region' or 'url' of the destination",
    )


def explained(barred: Barred, destination: Destination, *, permission: str) -> GuestWireError:
    """
    Return an error that tells what keeps everybody out.

    Args:
        barred: What an answer said.
        destination: Whose.
        permission: The one that is needed, where the platform does not name it.
    """
    whose = whose_of(destination)
    match barred.what:
        case "token":
            return AuthenticationError(
                f"{whose}: the platform takes no token of this OAuth client ({barred.reason})",
                code="GW-A013",
                hint="run 'guestwire doctor'; the client may have been disabled, or belong to another region",
            )
        case "between":
            return GuestWireError(
                f"{whose}: something on the way to {destination.host} answers in its place ({barred.reason})",
                code="GW-A015",
                hint="a proxy or a firewall: see whether this machine may reach the platform, and HTTPS_PROXY",
            )
        case "permission":
            missing = barred.permissions or permission or "one that it does not name"
            return AuthenticationError(
                f"{whose}: the OAuth client lacks the permission {missing}",
                code="GW-A014",
                hint=f"give a role with {missing} to the OAuth client (Admin > Integrations > OAuth > Roles)",
            )
        case "place" if destination.transport == "openmessaging":
            return ConfigError(
                f"destination '{destination.name}': there is no Open Messaging integration "
                f"{destination.integration_id} in this organisation ({barred.reason})",
                code="GW-C046",
                hint="copy its id from Admin > Message > Platforms; a region or an OAuth client of another "
                "organisation gives the same answer",
            )
        case "place":
            return ConfigError(
                f"destination '{destination.name}': {destination.gateway} does not serve this ({barred.reason})",
                code="GW-C046",
                hint="check 'url' or 'region' of the destination, and its ids",
            )


def require_organisation(answer: Answer, destination: Destination, now: float) -> None:
    """
    See that credentials belong to the organisation that they should.

    Args:
        answer: Of the platform, to whose they are.
        destination: With `expect_org_id`.
        now: Seconds since the epoch.

    Raises:
        AuthenticationError: GW-A012, it cannot be read.
        NoTokenYet: It cannot be read for now.
        ConfigError: GW-C045, they belong to another one.
    """
    parsed = json_of(answer.body)
    found = (parsed or {}).get("id") if answer.status == 200 else None
    whose = whose_of(destination)
    if 400 <= answer.status < 500 and answer.status not in (408, 429):
        raise AuthenticationError(
            f"{whose}: the organisation of its credentials cannot be read (HTTP {answer.status})",
            code="GW-A012",
            hint="give the OAuth client's role the permission 'directory:organization:view', or remove expect_org_id",
        )
    if found is None:
        reason = reason_of(answer.status, parsed, answer.body)
        pause_s = wait_s(answer.headers, parsed, now)
        raise NoTokenYet(f"{whose}: its organisation cannot be read for now: {reason}", pause_s)
    if str(found).lower() != destination.expect_org_id:
        raise ConfigError(
            f"destination '{destination.name}': its credentials belong to another organisation than expect_org_id",
            code="GW-C045",
            hint="use the OAuth client of the right organisation: nothing was sent to this one",
        )
