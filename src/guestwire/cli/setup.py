"""`init`, `config show`, `emulate`."""

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
from guestwire.settings.values import UUID


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
    from guestwire.net import Http, Unreachable, tls_context
    from guestwire.protocol.reading import auto_start_of

    ca_file = None if destination.ca_file is None else str(destination.ca_file)
    http = Http(
        tls=tls_context(ca_file, verify=destination.tls.verify),
        proxy=destination.proxy_for(destination.host),
        timeout_s=5.0,
    )
    try:
        answer = await http.get(destination.config_url)
    except Unreachable as error:
        cause = getattr(error.__cause__, "os_error", None) or error.__cause__ or error
        why = getattr(cause, "strerror", None) or type(cause).__name__
        return f"warning: {destination.host} could not be reached ({why}), so the deployment was not looked at"
    finally:
        await http.close()
    config = answer.json()
    if answer.status != 200 or not isinstance(config, dict):
        return f"warning: no deployment has this id there (HTTP {answer.status}): check region and deployment id"
    start = "starts conversations by itself" if auto_start_of(config) else "starts with the first message"
    return f"the deployment answers: status {config.get('status', 'not given')}, {start}"


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
    return found if isinstance(found, int | float | str | bool) or found is None else str(found)


def emulate(given: dict[str, Any], overrides: list[str], *, as_json: bool) -> int:
    """Run an emulator until Ctrl-C."""
    from guestwire.emulator.app import Emulator, serve
    from guestwire.emulator.settings import EmulatorSettings

    deployment_id = given.get("deployment_id")
    if deployment_id is not None and not UUID.fullmatch(deployment_id.lower()):
        raise ConfigError(
            f"--deployment-id '{deployment_id[:60]}' is not a UUID",
            code="GW-C008",
            hint="leave it out, or give one such as 3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50",
        )
    settings = EmulatorSettings.with_overrides(
        [*(f"{name}={value}" for name, value in given.items() if value is not None), *overrides]
    )

    def ready(emulator: Emulator) -> None:
        if as_json:
            show.out(show.as_json({"url": emulator.url, "deployment_id": emulator.deployment_id}))
        else:
            show.out(f"{emulator.url}  deployment {emulator.deployment_id}")
            show.say(f"  guestwire send --gateway {emulator.url} --guest 42 hello")
            show.say(f"  curl {emulator.url}/_emulator/messages")
        sys.stdout.flush()

    try:
        run(lambda: serve(settings, ready))
    except KeyboardInterrupt:
        return 0
    return 0
