"""`init`, `config show`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from guestwire.cli import show
from guestwire.cli.common import ask_emulator, run, usage
from guestwire.errors import ConfigError
from guestwire.settings import Destination, Loaded, Misfit, add_destination, ambient_of, known_keys, region_of


def init(
    *,
    region: str | None,
    deployment_id: str | None,
    gateway: str | None,
    origin: str | None,
    name: str,
    file: Path,
) -> int:
    """Write a destination, ask for what is missing, look whether the deployment is there, say what to type next."""
    if region is not None and gateway is not None:
        raise usage("--region and --gateway exclude each other", "keep the one that is meant")
    if region is None and gateway is None:
        region = _ask("Region of your org, such as eu-west-1 or mypurecloud.ie", "--region")
    if region is not None:
        with _flags():
            region_of(region)  # before the next question is asked
    if deployment_id is None and gateway is not None:
        deployment_id = ask_emulator(gateway)
    if deployment_id is None:
        deployment_id = _ask("Deployment id (Admin > Message > Messenger Deployments)", "--deployment-id")
    with _flags():
        destination = Destination(
            name=name,
            region=region,
            url=gateway,
            deployment_id=deployment_id,
            origin=origin,
            ambient=ambient_of(os.environ),
        )
    add_destination(file, destination)
    show.say(f"wrote destination '{name}' to {show.printable(str(file))}")
    found = run(lambda: _look(destination))
    show.say(show.printable(found))
    show.out(f'guestwire send --to {name} --guest 42 "hello"')
    return 0


@contextlib.contextmanager
def _flags() -> Iterator[None]:
    """Name the flag, rather than the key, where a value does not fit."""
    try:
        yield
    except Misfit as misfit:
        flag = "--gateway" if misfit.key == "url" else "--" + misfit.key.replace("_", "-")
        raise ConfigError(f"{flag} {misfit.problem}", code=misfit.code, hint=misfit.hint) from None


def _ask(question: str, flag: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(f"{flag} is missing, and there is no terminal to ask on", code="GW-U002", hint=f"add {flag}")
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
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
