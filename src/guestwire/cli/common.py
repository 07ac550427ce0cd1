"""What commands share: which destination, which store, how a coroutine is run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeGuard, TypeVar

import msgspec
import typer

from guestwire.cli import leaving, show
from guestwire.errors import ConfigError, NotFound
from guestwire.model import is_moment_or_none
from guestwire.settings import Destination, Loaded, ad_hoc, ambient_of, choose, load
from guestwire.settings.values import is_loopback

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

#: Stands in where only the rest of a destination is looked at.
_ANY_ID = "00000000-0000-4000-8000-000000000000"

To = Annotated[str | None, typer.Option("--to", metavar="NAME", help="A destination of the settings.")]
StoreOf = Annotated[str | None, typer.Option("--to", metavar="NAME", help="Look into the store of this destination.")]
Gateway = Annotated[
    str | None, typer.Option("--gateway", metavar="URL", help="A gateway of your own: all of it on one base URL.")
]
Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="Region of the org, such as eu-west-1.")]
DeploymentId = Annotated[
    str | None,
    typer.Option("--deployment-id", metavar="UUID", help="Messenger deployment; asked of an emulator if left out."),
]
Store = Annotated[Path | None, typer.Option("--store", metavar="FOLDER", help="Folder of the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object a line.")]
Pacing = Annotated[
    str, typer.Option("--pace", metavar="on|off", help="off: ignore the limits, for load tests of your own gateway.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Place(msgspec.Struct, frozen=True):
    """Where a command works."""

    loaded: Loaded
    destination: Destination | None
    folder: Path
    others: tuple[Destination, ...] = ()
    """More destinations, where a command is about several."""


def settings() -> Loaded:
    """Read the settings, and say what is odd about them."""
    from guestwire.cli import logs

    loaded = load()
    logs.configure(loaded.settings.log)
    for warning in loaded.warnings:
        show.warn(warning)
    return loaded


def place(
    *,
    to: str | None = None,
    gateway: str | None = None,
    region: str | None = None,
    deployment_id: str | None = None,
    store: Path | None = None,
    pace: str = "on",
    needs_destination: bool = True,
    every: bool = False,
) -> Place:
    """
    Find destination and store of a command from its flags and the settings.

    With `every`, where no flag names one, all of the settings' destinations are meant but emulators, which are only
    ever chosen by name.
    """
    loaded = settings()
    destination: Destination | None
    others: tuple[Destination, ...] = ()
    live = [each for each in loaded.settings.destinations.values() if not each.is_emulator]
    if every and len(live) > 1 and to is None and gateway is None and region is None:
        destination, others = live[0], tuple(live[1:])
    else:
        destination = _destination(loaded, to, gateway, region, deployment_id, needs_destination)
    one_of("--pace", pace, ("on", "off"))
    if destination is not None:
        if pace == "off":
            destination = msgspec.structs.replace(destination, pace=False)
        if not destination.tls.verify and destination.websocket_url.startswith("wss:"):
            show.warn(f"TLS certificates of '{destination.name}' are NOT verified (tls.verify = false)")
    return Place(loaded, destination, store or _folder(loaded, destination), others)


def _destination(
    loaded: Loaded,
    to: str | None,
    gateway: str | None,
    region: str | None,
    deployment_id: str | None,
    needed: bool,
) -> Destination | None:
    if gateway is None and region is None:
        if deployment_id is not None:
            raise ConfigError(
                "--deployment-id alone says nothing about where", code="GW-C011", hint="add --region or --gateway"
            )
        if not needed and to is None:
            # Only looking: the one there is, an emulator or not.
            defined = list(loaded.settings.destinations.values())
            return defined[0] if len(defined) == 1 else None
        return _chosen(loaded, to)
    if to is not None:
        raise ConfigError(
            "--to and an address exclude each other", code="GW-C012", hint="keep --to, or --gateway / --region"
        )
    if deployment_id is None and gateway is not None:
        deployment_id = ask_emulator(gateway)
    return ad_hoc(gateway=gateway, region=region, deployment_id=deployment_id, ambient=ambient_of(os.environ))


def _chosen(loaded: Loaded, to: str | None) -> Destination:
    """Choose as the settings do; but a person says so himself when his messages are to go to an emulator."""
    destination = choose(loaded.settings, to)
    if to is None and destination.name == "emulator":
        raise ConfigError(
            "the only destination is the emulator, which is never chosen by itself",
            code="GW-C002",
            hint="add --to emulator, or define a destination with 'guestwire init'",
        )
    return destination


def ask_emulator(gateway: str, what: str = "deployment_id") -> str | None:
    """Ask an emulator on this machine for its deployment id, or another fact; None where there is none to ask."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    ad_hoc(gateway=gateway, deployment_id=_ANY_ID)  # says what is wrong with an address before anybody is asked
    address = urlsplit(gateway.strip())
    if address.scheme != "http" or not is_loopback(address.hostname or ""):
        return None
    connection = HTTPConnection(address.hostname or "", address.port or 80, timeout=3)
    try:
        connection.request("GET", "/_emulator/state")
        found = msgspec.json.decode(connection.getresponse().read(1_000_000))[what]
    except (OSError, HTTPException, msgspec.DecodeError, KeyError, TypeError):
        noun, flag = what.partition("_")[0], what.replace("_", "-")
        raise ConfigError(
            f"nothing that is an emulator answers at {gateway}",
            code="GW-C042",
            hint=f"start one with 'guestwire emulate', or name the {noun} with --{flag}",
        ) from None
    finally:
        connection.close()
    return str(found)


def _folder(loaded: Loaded, destination: Destination | None) -> Path:
    from guestwire.client import default_folder

    if destination is not None:
        return default_folder(loaded.settings.store, loaded.origins, destination)
    path = loaded.settings.store.path
    if loaded.origins.get("store.path", "default") != "default":
        return path
    # No destination was named: the live store, unless only the emulator's exists.
    live, emulator = path / "live", path / "emulator"
    return emulator if emulator.exists() and not live.exists() else live


def require_store(where: Place) -> None:
    """Refuse to look where there is nothing, instead of making it."""
    if not (where.folder / "store.db").exists():
        raise NotFound(
            f"there is no store in '{where.folder}' yet",
            code="GW-N004",
            hint="it is made with the first 'guestwire send'; another place: --store",
        )


def run(main: Callable[[], Coroutine[Any, Any, T]], *, interrupted: str = "") -> T:
    """
    Run a command's coroutine.

    The first Ctrl-C (or SIGTERM) cancels it, and what is in flight gets its outcome while everything closes; the
    second ends the process where it stands, which loses nothing either: the store is made for that.

    Args:
        main: Makes the coroutine.
        interrupted: Said at the first.
    """
    import asyncio

    from guestwire.net import mind_loop

    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    runner = asyncio.Runner(loop_factory=factory)
    try:
        mind_loop(runner.get_loop())
        results = runner.run(_interruptible(main, interrupted))
    finally:
        leaving.close_last(runner.close)
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _interruptible(main: Callable[[], Coroutine[Any, Any, T]], words: str) -> list[T]:
    """Return what the coroutine returns, in a list; an empty list if a signal ended it."""
    import asyncio

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            stop_at_once()
        if words:
            show.say(words)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return [await task]
    except asyncio.CancelledError:
        if not signals:
            raise
        return []


def stop_at_once() -> NoReturn:
    """End the process without waiting for anybody: the second Ctrl-C."""
    with contextlib.suppress(OSError, ValueError):
        show.say("stopped at once; what was queued stays queued")
        sys.stdout.flush()
    os._exit(130)


def usage(problem: str, hint: str) -> ConfigError:
    """Return the error for flags that make no sense; exit code 2."""
    return ConfigError(problem, code="GW-U001", hint=hint)


def one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a flag's value that is none of the allowed ones, with the nearest."""
    if value in allowed:
        return
    import difflib

    near = difflib.get_close_matches(value, allowed, n=1)
    either = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
    raise usage(f"{flag} '{value[:60]}' is not {either}", f"did you mean '{near[0]}'?" if near else f"write {either}")


def attributes(pairs: list[str]) -> dict[str, str]:
    """Read ``name=value`` pairs."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise usage("an --attr is not NAME=VALUE", "such as --attr topic=returns")
        if name in found:
            raise usage(f"--attr {name[:60]} is given twice", "an attribute has one value")
        found[name] = value
    return found


def moment(text: str) -> float:
    """
    Read an ISO 8601 time with offset; seconds since the epoch.

    Raises:
        ValueError: It is none; the text says why.
    """
    import datetime

    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text[:60]}' is not an ISO 8601 time") from None
    if at.tzinfo is None:
        raise ValueError(f"'{text[:60]}' has no offset, so it names no moment")
    if not is_moment_or_none(found := at.timestamp()):  # such as midnight before the first day, in another zone
        raise ValueError(f"'{text[:60]}' is out of range")
    return found


def is_url(file: str | None) -> TypeGuard[str]:
    """Whether what names a file is an address: the platform will fetch it."""
    return file is not None and file.lower().startswith(("http://", "https://"))


def moment_of(flag: str, text: str | None) -> float | None:
    """Read the time that a flag gives."""
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise usage(f"{flag} {error}", "such as 2026-12-01T09:00:00+01:00") from None


#: Seconds of the units that an age is written in.
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def since_of(text: str | None, now: float) -> float | None:
    """Read a moment in the past: a time as `moment` has it, or an age such as ``90m``, ``24h``, ``7d``."""
    number, unit = (text or "")[:-1], (text or "")[-1:]
    if unit in _UNITS and number.isascii() and number.isdigit() and len(number) < 10:
        return now - int(number) * _UNITS[unit]
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise usage(f"--since {error}", "such as 24h, or 2026-12-01T09:00:00+01:00") from None


def summary(states: Mapping[str, int]) -> str:
    """States and their counts in one line."""
    return ", ".join(f"{count} {state}" for state, count in states.items()) or "nothing"
