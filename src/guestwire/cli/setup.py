"""`init`, `config show`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from guestwire.cli import show
from guestwire.cli.common import ask_emulator, one_of, run, usage
from guestwire.errors import ConfigError
from guestwire.model import TransportName
from guestwire.settings import (
    Destination,
    Loaded,
    Misfit,
    add_destination,
    ambient_of,
    known_keys,
    load,
    region_of,
    variable_of,
)
from guestwire.settings.credentials import CREDENTIAL_NAMES

#: What people may type for a way out.
_WAYS = {
    **dict.fromkeys(("", "1", "web", "webmessaging"), "webmessaging"),
    **dict.fromkeys(("2", "open", "openmessaging"), "openmessaging"),
}
#: Names of destinations that were given none.
_NAMES = {"webmessaging": "web", "openmessaging": "open", "rest-contract": "gate"}


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the flags of `init` say; None is asked for, where it is needed."""

    transport: str | None = None
    region: str | None = None
    deployment_id: str | None = None
    integration_id: str | None = None
    profile: str | None = None
    gateway: str | None = None
    origin: str | None = None
    name: str | None = None


def init(wishes: Wishes, file: Path) -> int:
    """Write a destination, ask for what is missing, look whether it is there, say what to type next."""
    destination = _destination(wishes)
    add_destination(file, destination)
    name = destination.name
    show.say(f"wrote destination '{name}' to {show.printable(str(file))}")
    if destination.transport == "webmessaging":
        show.say(show.printable(run(lambda: _look(destination))))
        show.say(f"look closer with: guestwire doctor --to {name}")
        show.out(f'guestwire send --to {name} --guest 42 "hello"')
        return 0
    show.say(show.printable(_credentials(file, name)))
    show.out(f"guestwire doctor --to {name}")
    return 0


def _destination(wishes: Wishes) -> Destination:
    """Make a destination of flags and answers."""
    region, gateway = wishes.region, wishes.gateway
    if region is not None and gateway is not None:
        raise usage("--region and --gateway exclude each other", "keep the one that is meant")
    transport = _transport(wishes)
    if region is None and gateway is None:
        if transport == "rest-contract":
            raise usage(
                "--gateway is missing: whose gateway serves the contract?", "such as --gateway https://gate.example"
            )
        region = _ask("Region of your org, such as eu-west-1 or mypurecloud.ie", "--region")
    if region is not None:
        with _flags():
            region_of(region)  # before the next question is asked
    deployment_id, integration_id, profile = wishes.deployment_id, wishes.integration_id, wishes.profile
    if transport == "webmessaging" and deployment_id is None:
        deployment_id = ask_emulator(gateway) if gateway is not None else None
        deployment_id = deployment_id or _ask(
            "Deployment id (Admin > Message > Messenger Deployments)", "--deployment-id"
        )
    if transport == "openmessaging" and integration_id is None:
        integration_id = ask_emulator(gateway, "integration_id") if gateway is not None else None
        integration_id = integration_id or _ask("Integration id (Admin > Message > Platforms)", "--integration-id")
    if transport != "webmessaging" and profile is None and gateway is None and sys.stdin.isatty():
        # The secret itself is never asked for: a terminal shows it, and a file would keep it.
        question = f"Profile of ~/.gc/config.toml with the OAuth client; Enter for {' and '.join(_VARIABLES)}"
        profile = _ask(question, "--profile", default="") or None
    with _flags():
        return Destination(
            name=wishes.name or _NAMES[transport],
            transport=transport,
            region=region,
            url=gateway,
            deployment_id=deployment_id or "",
            integration_id=integration_id or "",
            profile=profile,
            origin=wishes.origin,
            ambient=ambient_of(os.environ),
        )


def _transport(wishes: Wishes) -> TransportName:
    """The way out: said, given away by another flag, or asked for."""
    given = wishes.transport
    if given is None and (wishes.integration_id is not None or wishes.profile is not None):
        given = "openmessaging"
    is_decided = any(one is not None for one in (wishes.deployment_id, wishes.gateway, wishes.origin))
    if given is None and not is_decided and sys.stdin.isatty():
        question = "Way out: 1 web messaging (a deployment), 2 Open Messaging (an integration, an OAuth client) [1]"
        answer = _ask(question, "--transport", default="").lower().replace(" ", "")
        if answer not in _WAYS:
            raise usage(f"'{show.printable(answer, width=40)}' is no way out", "answer 1 or 2, or add --transport")
        given = _WAYS[answer]
    name = given or "webmessaging"
    one_of("--transport", name, list(_NAMES))
    return cast(TransportName, name)


#: Where an OAuth client stands that is in no profile.
_VARIABLES = tuple(CREDENTIAL_NAMES[0][field] for field in ("client_id", "client_secret"))


def _credentials(file: Path, name: str) -> str:
    """Say which OAuth client a destination has now, and where it comes from; never its secret."""
    key = f"destinations.{name}"
    try:
        loaded = load(cwd=file.resolve().parent)
        destination = loaded.settings.destinations[name]
    except (ConfigError, KeyError) as error:  # it is written; whatever is wrong will be said again
        return f"warning: {error}"
    if destination.access_token is not None:
        return f"it uses the access token of {loaded.origins[f'{key}.access_token']}"
    if destination.client_id is not None:
        return f"it uses the OAuth client {destination.client_id} of {loaded.origins[f'{key}.client_id']}"
    if destination.transport == "rest-contract":
        return f"no credentials are set; where the gateway wants some: {variable_of(f'{key}.client_id')} and …_SECRET"
    return f'no credentials are set yet: set {" and ".join(_VARIABLES)}, or profile = "…" in the file'


@contextlib.contextmanager
def _flags() -> Iterator[None]:
    """Name the flag, rather than the key, where a value does not fit."""
    try:
        yield
    except Misfit as misfit:
        flag = "--gateway" if misfit.key == "url" else "--" + misfit.key.replace("_", "-")
        raise ConfigError(f"{flag} {misfit.problem}", code=misfit.code, hint=misfit.hint) from None


def _ask(question: str, flag: str, *, default: str | None = None) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(f"{flag} is missing, and there is no terminal to ask on", code="GW-U002", hint=f"add {flag}")
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not answer and default is not None:
        return default
    if not answer:
        raise ConfigError("nothing was answered, and nothing was written", code="GW-U002", hint=f"or add {flag}")
    return answer


async def _look(destination: Destination) -> str:
    """Read the deployment's public configuration; a first check that costs nobody anything."""
    from guestwire.net import Http, Unreachable, tls_of

    http = Http(
        tls=tls_of(destination),
        proxy=destination.proxy_for(destination.host),
        timeout_s=5.0,
    )
    try:
        answer = await http.get(destination.config_url)
    except Unreachable as error:
        cause = getattr(error.__cause__, "os_error", None) or error.__cause__
        why = getattr(cause, "strerror", None) or str(error)
        return f"warning: {destination.host} could not be reached ({why}), so the deployment was not looked at"
    finally:
        await http.close()
    config = answer.json()
    if answer.status != 200 or not isinstance(config, dict):
        return f"warning: no deployment has this id there (HTTP {answer.status}): check region and deployment id"
    return (
        f"the deployment answers: status {show.printable(str(config.get('status', 'not given')))}, {_said_of(config)}"
    )


def _said_of(config: dict[str, Any]) -> str:
    """What a deployment lets its guests do, in words."""
    from guestwire.protocol.reading import config_of

    flags = config_of(config)
    can = {"show typing": flags.typing, "send files": flags.attachments is not False, "clear": flags.clear}
    words = [
        "starts conversations by itself" if flags.auto_start else "starts with the first message",
        f"guests can {', '.join(name for name, wanted in can.items() if wanted) or 'only write'}",
    ]
    if flags.disconnect is not None:
        words.append("an ended conversation is " + ("read-only" if flags.disconnect == "ReadOnly" else "resumed"))
    if flags.sign_in:
        words.append("guests have to sign in")
    return "; ".join(words)


def show_config(loaded: Loaded, *, origin: bool, as_json: bool) -> int:
    """Print every key in force."""
    rows = {key: _value(loaded, key) for key in loaded.origins}
    if as_json:
        show.out(
            show.as_json(
                {
                    key: {"value": value, "origin": loaded.origins[key]} if origin else value
                    for key, value in rows.items()
                }
            )
        )
        return 0
    for file in loaded.files:
        show.say(f"read {file}")
    width = max(map(len, rows), default=0)
    for key, value in rows.items():
        where = f"   # {loaded.origins[key]}" if origin else ""
        if value is None:
            show.out(f"# {key} is not set{where}")
        else:
            show.out(f"{key:<{width}} = {show.printable(show.as_json(value))}{where}")
    if not loaded.settings.destinations:
        show.say(f"no destination is defined; {len(known_keys())} keys are known, see docs/configuration.md")
    return 0


def _value(loaded: Loaded, key: str) -> Any:
    """Follow a dotted key into the tree. Secrets show what may be seen of them."""
    found: Any = loaded.settings
    for name in key.split("."):
        found = found[name] if isinstance(found, Mapping) else getattr(found, name)
    if isinstance(found, tuple):
        return list(found)
    return found if isinstance(found, int | float | str | bool) or found is None else str(found)
