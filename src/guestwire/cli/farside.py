"""
Finding an emulator that runs, and asking it.

An emulator that was started here leaves a file with its address in the user's state folder and holds a lock on it for
as long as it lives; the kernel frees the lock however it ends. So others find the one that was started last, and a
file without a lock is a leftover that whoever meets it removes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli.common import usage
from guestwire.errors import ConfigError, GuestWireError, NotFound

#: Longest that an emulator may take for an answer, in seconds: moving the clock over a long queue takes a while.
PATIENCE_S = 30.0
#: Most that is read of an answer, in bytes: the emulator keeps 200,000 messages.
_MAX_ANSWER = 256_000_000


class Far(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an emulator is."""

    url: str
    deployment_id: str = ""
    ca_file: str | None = None
    """Certificates to trust, for https."""


# --- finding one ---


def _running_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "guestwire" / "running"


@contextlib.contextmanager
def findable(far: Far) -> Iterator[None]:
    """
    Let other processes of this user find an emulator while the block lasts.

    Raises:
        OSError: The folder cannot be written.
    """
    import fcntl

    folder = _running_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"emulator-{os.getpid()}.json"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(msgspec.json.encode(far))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _running() -> list[Far]:
    """The emulators that run, the one that was started last at the end; what dead ones left behind is removed."""
    running: list[tuple[float, Far]] = []
    try:
        paths = list(_running_folder().glob("emulator-*.json"))
    except (OSError, RuntimeError):  # no such folder for us; no home
        return []
    for path in paths:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if _is_held(path):
                running.append((path.stat().st_mtime, msgspec.json.decode(path.read_bytes(), type=Far)))
            else:
                path.unlink(missing_ok=True)
    return [far for _, far in sorted(running, key=lambda each: each[0])]


def _is_held(path: Path) -> bool:
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        # Made, but not locked yet: whoever made it is about to.
        return file.seek(0, os.SEEK_END) == 0


def find(gateway: str | None) -> Far:
    """
    The emulator that is meant.

    Raises:
        ConfigError: None runs (GW-C043), or the address is none (GW-C009).
    """
    if gateway is not None:
        if not _is_address(gateway.strip()):
            raise ConfigError(
                f"--gateway '{gateway[:60]}' is no address of an emulator",
                code="GW-C009",
                hint="write scheme, host and port, such as http://127.0.0.1:8700",
            )
        url = gateway.strip().rstrip("/")
        return next((far for far in _running() if far.url == url), Far(url))
    running = _running()
    if not running:
        raise ConfigError(
            "no emulator is running that this user started with 'guestwire emulate'",
            code="GW-C043",
            hint="start one in another terminal: guestwire emulate; or name one: --gateway http://127.0.0.1:8700",
        )
    return running[-1]


def _is_address(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        address = urlsplit(url)
        return (
            address.scheme in ("http", "https")
            and bool(address.hostname)
            and not address.username
            and address.port != 0
        )
    except ValueError:  # the port is no number, or out of range
        return False


# --- talking to one ---


class Refused(GuestWireError):
    """The emulator understood, and it cannot be now."""


def ask(far: Far, method: str, path: str, data: Any = None) -> Any:
    """
    Ask the admin API, with the standard library: importing an HTTP client would take longer than the rest.

    Raises:
        ConfigError: Nothing that is an emulator answers (GW-C042), or the words are wrong (GW-U001).
        Refused: It cannot be now (GW-E001).
    """
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    address = urlsplit(far.url)
    connection: HTTPConnection
    if address.scheme == "https":
        from guestwire.net import tls_context

        tls = tls_context(far.ca_file, verify=True)
        connection = HTTPSConnection(address.hostname or "", address.port, timeout=PATIENCE_S, context=tls)
    else:
        connection = HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)
    try:
        body = None if data is None else msgspec.json.encode(data)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, f"/_emulator/{path}", body, headers)
        response = connection.getresponse()
        answer = msgspec.json.decode(response.read(_MAX_ANSWER))
    except (OSError, HTTPException, ValueError, msgspec.DecodeError) as error:
        is_stranger = "CERTIFICATE_VERIFY_FAILED" in str(error)
        raise ConfigError(
            f"nothing that is an emulator answers at {far.url}"
            + (": its certificate is not trusted" if is_stranger else ""),
            code="GW-C042",
            hint="set SSL_CERT_FILE to the CA file that it named at its start"
            if is_stranger
            else "start one in another terminal with 'guestwire emulate', or check --gateway",
        ) from error
    finally:
        connection.close()
    if response.status < 300:
        return answer
    said = str(answer.get("error", "") if isinstance(answer, dict) else "") or f"it answered {response.status}"
    if response.status in (400, 404):
        raise usage(said.partition(": did you mean")[0], _nearest(said))
    raise Refused(said, code="GW-E001", hint=f"{far.url}/_emulator/ shows how things stand")


def _nearest(said: str) -> str:
    near = re.search(r"did you mean '([^']+)'", said)
    return f"did you mean '{near[1]}'?" if near else "'--list' shows what there is"


def whom(far: Far, *, conversation: str | None, guest_token: str | None, guest: str | None) -> dict[str, str]:
    """
    The keys that say to the admin API who is meant.

    Args:
        far: The emulator.
        conversation: The beginning of a conversation's id.
        guest_token: Of a session.
        guest: The id that a guest over REST was given by whoever writes for him.

    Raises:
        NotFound: GW-N006, no conversation begins like that, or more than one does.
    """
    ways = {"--conversation": conversation, "--guest-token": guest_token, "--guest": guest}
    named = [flag for flag, value in ways.items() if value is not None]
    if len(named) > 1:
        raise usage(f"{' and '.join(named)} exclude each other", "keep one; without, the latest is meant")
    if guest_token is not None:
        return {"token": guest_token}
    if guest is not None:
        return {"guest": guest}
    if conversation is None:
        return {}
    ids = [each["conversation_id"] for each in ask(far, "GET", "conversations")]
    found = [each for each in ids if each.startswith(conversation)]
    if len(found) != 1:
        what = "more than one conversation begins" if found else "no conversation begins"
        raise NotFound(f"{what} with '{conversation[:60]}'", code="GW-N006", hint=f"{far.url}/_emulator/ lists them")
    return {"conversation_id": found[0]}
