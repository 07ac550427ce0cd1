"""
What lies in deploy/ holds together: commands that our command line takes, paths that exist, a unit that systemd takes.

No image is built and no service is started here.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from guestwire.cli.app import app
from guestwire.cli.supervisor import Supervisor
from guestwire.settings import RelaySettings, load
from guestwire.vitals import STUCK_S
from tests.journey.test_cli_kit import PATIENCE_S, Cli, texts

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GUESTWIRE = Path(sys.executable).parent / "guestwire"
UNIT = (DEPLOY / "guestwire.service").read_text()
#: A service ends itself within this time, in seconds.
STOPS_IN_S = 10


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that words after `guestwire` name, and its options, as our own command line reads them."""
    root: Any = typer.main.get_command(app)
    with root.make_context("guestwire", list(words)) as context:
        name, command, rest = root.resolve_command(context, context._protected_args + context.args)
        with command.make_context(name, rest, parent=context) as inner:
            return name, {**context.params, **inner.params}


def unit(text: str = UNIT) -> dict[str, list[str]]:
    """The directives of a unit; each may be given several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, comments and continuations gone."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def compose() -> dict[str, Any]:
    """The compose file."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


# --- systemd ---


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Every directive is known to it, and it warns of nothing; for the command that is installed here."""
    (tmp_path / "guestwire.service").write_text(UNIT.replace("/opt/guestwire/bin/guestwire", str(GUESTWIRE)))
    done = analyze("verify", "--man=no", str(tmp_path / "guestwire.service"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """By systemd's own measure: an exposure of at most 1.5 of 10."""
    (tmp_path / "guestwire.service").write_text(UNIT)
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(tmp_path / "guestwire.service"))
    assert done.returncode == 0, done.stdout
    (tmp_path / "guestwire.service").write_text(re.sub(r"^(System|Protect|Restrict|Private).*\n", "", UNIT, flags=re.M))
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(tmp_path / "guestwire.service"))
    assert done.returncode != 0


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    try:
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.fail("systemd-analyze is missing: apt-get install systemd, or 'make test', which does that")


def test_the_unit_fits_the_program() -> None:
    """Its command is one of ours, it is told apart from nothing, and its times leave room for ours."""
    found = unit()
    (command,) = found["ExecStart"]
    name, options = parsed(shlex.split(command)[1:])
    assert (name, options["log_format"]) == ("up", "json")
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert found["Type"] == ["notify"]
    every_s = Supervisor(
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": str(int(found["WatchdogSec"][0]) * 1_000_000)}
    ).pat_every_s
    assert every_s is not None
    assert every_s >= STUCK_S
    assert RelaySettings().shutdown_s < STOPS_IN_S < int(found["TimeoutStopSec"][0])
    assert "ProcSubset" not in found  # `RelayLock.is_held_elsewhere` reads /proc/locks


def confined(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command under the unit's filter of system calls."""
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.filtered", *command],
        cwd=ROOT,
        env={**Cli(folder).environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_program_works_under_the_units_filter(genesys: Any, tmp_path: Path) -> None:
    """A message goes through with the system calls that the unit leaves; what needs another one is turned down."""
    said = confined(tmp_path, str(GUESTWIRE), "send", "--gateway", genesys.url, "--guest", "1", "hello")
    assert said.returncode == 0, said.stderr
    assert texts(genesys) == ["hello"]
    said = confined(tmp_path, sys.executable, "-c", "import os; os.chroot('/')")
    assert "PermissionError" in said.stderr
    said = confined(tmp_path, sys.executable, "-c", "import os; os.sched_setaffinity(0, os.sched_getaffinity(0))")
    assert "PermissionError" in said.stderr


def test_the_units_variables_are_settings(tmp_path: Path) -> None:
    """Also that of the drop-in that its comment shows."""
    environ = {}
    secret = tmp_path / "client_secret"
    secret.touch(0o600)
    secret.write_text("a-client-secret")
    for line in re.findall(r"^#? *Environment=(\S+)$", UNIT, re.MULTILINE):
        name, _, value = line.partition("=")
        environ[name] = value.replace("%S", "/var/lib").replace("%d", str(tmp_path))
    assert set(environ) == {
        "GUESTWIRE_STORE__PATH",
        "HOME",
        "GUESTWIRE_DESTINATIONS__KIOSK__CLIENT_SECRET_FILE",
    }
    more = {
        "TRANSPORT": "openmessaging",
        "REGION": "eu-west-1",
        "INTEGRATION_ID": "b7f1c6d2-0c35-4c0e-8f0a-53a9d8e0a3f4",
        "CLIENT_ID": "id",
    }
    environ |= {f"GUESTWIRE_DESTINATIONS__KIOSK__{name}": value for name, value in more.items()}
    loaded = load(environ=environ, cwd=tmp_path, home=tmp_path)
    assert loaded.settings.store.path == Path("/var/lib/guestwire")
    kiosk = loaded.settings.destinations["kiosk"]
    assert kiosk.client_secret is not None
    assert kiosk.client_secret.reveal() == "a-client-secret"
    assert loaded.warnings == []


# --- the image ---


def test_what_the_image_copies_is_there_and_sent() -> None:
    """Every path exists and is let through by the ignore file, which holds everything else back."""
    patterns = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert patterns[0] == "*"
    sent = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    copied: set[str] = set()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            copied.update(rest.split()[:-1])
    assert {"requirements.txt", "src", "pyproject.toml"} <= copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(fnmatch.fnmatch(path, pattern) for pattern in sent), path
    assert copied == set(sent)


def test_what_the_image_copies_is_all_that_a_wheel_is_made_of(tmp_path: Path) -> None:
    """Built of those files alone, as the image does it, it has the program, its statements and the demo's day."""
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *paths, target = rest.split()
            for path in paths:
                place = tmp_path / "src" / target
                if (ROOT / path).is_dir():
                    shutil.copytree(ROOT / path, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    (place if target.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / path, place)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "src", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"guestwire/cli/support_day.csv", "guestwire/health.py", "guestwire/store/sql/statements.sql"} <= names


def test_the_image_installs_what_is_pinned() -> None:
    """With hashes, from the file that is copied before; nothing else is fetched by pip, and nothing is built apart."""
    installs = [line for name, line in instructions() if name == "RUN" and "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.txt" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]
    pinned = (ROOT / "requirements.txt").read_text()
    for name in re.findall(r"^([\w-]+)", (ROOT / "build-requirements.in").read_text(), re.MULTILINE):
        assert f"{name}==" in pinned
    assert [line.split()[0] for name, line in instructions() if name == "FROM"] == ["python:3.11-slim-bookworm"] * 2


def test_the_image_runs_as_nobody_and_ends_by_itself() -> None:
    """A user of its own, a volume for the store, SIGTERM, a check of its health, and a command of ours."""
    last = dict(instructions())
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["VOLUME"]) == ["/var/lib/guestwire"]
    assert "GUESTWIRE_STORE__PATH=/var/lib/guestwire" in last["ENV"].split()
    assert json.loads(last["ENTRYPOINT"]) == ["guestwire"]
    name, options = parsed(json.loads(last["CMD"]))
    assert name == "up"
    assert f"http://{options['http']}/healthz" in last["HEALTHCHECK"]
    environ = dict(word.split("=", 1) for word in last["ENV"].split() if word.startswith("GUESTWIRE_"))
    loaded = load(environ=environ, cwd=Path("/"), home=Path("/"))
    assert loaded.settings.log.format == "json"


def test_the_images_health_check_is_python() -> None:
    """As is the emulator's in the compose file: the image has no curl."""
    last = dict(instructions())
    checks = [json.loads(last["HEALTHCHECK"][last["HEALTHCHECK"].index("[") :])]
    checks.append(compose()["services"]["emulator"]["healthcheck"]["test"][1:])
    for python, flag, code in checks:
        assert (python, flag) == ("python", "-c")
        compile(code, "check", "exec")


# --- compose ---


@pytest.mark.parametrize(("service", "command"), [("emulator", "emulate"), ("relay", "up")])
def test_each_service_is_held_tight(service: str, command: str) -> None:
    """A command of ours, of the image built here, in a file system that it cannot write, without capabilities."""
    found = compose()["services"][service]
    assert (DEPLOY / found["build"]["context"] / found["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert parsed(found["command"])[0] == command
    assert (found["read_only"], found["cap_drop"], found["security_opt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges:true"],
    )
    assert found["init"] is True
    assert found["tmpfs"] == ["/tmp:mode=1777,size=16m"]  # noqa: S108 - the container's own


def test_the_relay_finds_its_emulator_and_keeps_its_store() -> None:
    """On one address of one machine, after it is well; on a volume; with more time to end than it takes."""
    services = compose()["services"]
    relay, emulator = services["relay"], services["emulator"]
    _, up = parsed(relay["command"])
    _, emulate = parsed(emulator["command"])
    assert up["gateway"] == f"http://127.0.0.1:{emulate['port']}"
    assert relay["network_mode"] == "service:emulator"
    assert relay["depends_on"]["emulator"]["condition"] == "service_healthy"
    assert relay["volumes"] == ["store:/var/lib/guestwire"]
    assert "store" in compose()["volumes"]
    assert int(relay["stop_grace_period"].removesuffix("s")) > STOPS_IN_S
    assert "healthcheck" not in relay  # the image's own


def test_the_commands_in_the_comments_are_ours() -> None:
    """Whoever copies one gets no error."""
    lines = re.findall(r"^#.* exec relay guestwire (.*)$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    assert [parsed(shlex.split(line))[0] for line in lines] == ["send", "status"]
