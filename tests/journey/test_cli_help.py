"""Help, version, imports; and the two pages that are held to the program: docs/cli.md, docs/errors.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from guestwire.cli.app import app
from guestwire.settings import CODES, VERSION
from tests.journey.test_cli_kit import Cli

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "pydantic", "picows", "cryptography", "apsw", "asyncio", "rich")


def _commands(command: Any, name: str = "guestwire") -> Iterator[tuple[str, Any]]:
    """Every command of the program with its whole name."""
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from _commands(child, f"{name} {child.name}")


COMMANDS = dict(_commands(typer.main.get_command(app)))
LEAVES = [name for name, command in COMMANDS.items() if not hasattr(command, "commands")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_reads_well_at_80_columns(name: str, tmp_path: Path) -> None:
    """A first sentence that is not cut, examples before options, a word for every option."""
    said = Cli(tmp_path)(*name.split()[1:], "--help")
    assert said.code == 0
    assert said.err == ""
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines[1:] if line.endswith("...")]
    if name in LEAVES:
        assert said.out.index("Examples:") < said.out.index("Options:")
        assert f"  {name}" in said.out
    for parameter in COMMANDS[name].params:
        assert parameter.help or parameter.name == "help", f"{name} {parameter.name}"


@pytest.mark.parametrize("arguments", [(), ("messages",), ("config",)])
def test_a_family_without_a_command_shows_its_help(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 0: it is a question, no mistake."""
    said = Cli(tmp_path)(*arguments)
    assert said.code == 0
    assert "Commands:" in said.out


def test_the_version_is_said(tmp_path: Path) -> None:
    """In one line on stdout."""
    assert Cli(tmp_path)("--version").out == f"guestwire {VERSION}\n"


def test_help_imports_nothing_heavy() -> None:
    """A command that only prints must be there at once."""
    code = (
        "import json, sys\nfrom guestwire.cli import run\n"
        f"run(['--help'])\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_command_and_option_is_documented() -> None:
    """docs/cli.md has a heading for each command, and below it each of its options and a line of example."""
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    sections = dict(zip(*[iter(re.split(r"^## (.*)\n", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
    for name in LEAVES:
        section = sections[name]
        assert f"$ {name}" in section
        for parameter in COMMANDS[name].params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("-") and option not in ("--help", "-h"):
                    assert f"`{option}" in section, f"{name} {option}"
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130):
        assert f"\n| {code} | " in sections["Exit codes"]


def test_nothing_is_documented_that_is_not_there() -> None:
    """Every option that docs/cli.md names below a command is one of the program's."""
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    known = {option for command in COMMANDS.values() for each in command.params for option in each.opts} | {
        "--help",
        "-h",
    }
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`[^`]+`", page))))
    assert {name for name in named if name.startswith("--")} <= known | {"--help"}


def test_every_error_code_is_documented() -> None:
    """docs/errors.md has an entry, with its anchor, for every code that the source can raise, and for no other."""
    raised = set(CODES)
    for file in (ROOT / "src").rglob("*.py"):
        raised |= set(re.findall(r"\bGW-[A-Z]\d{3}\b", file.read_text("utf-8")))
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    entries = re.findall(r'^### <a id="(gw-[a-z]\d{3})"></a>(GW-[A-Z]\d{3}): (.+)\n\n(.+)$', page, re.MULTILINE)
    assert all(anchor == code.lower() for anchor, code, *_ in entries)
    documented = [code for _, code, *_ in entries]
    assert len(documented) == len(set(documented))
    assert set(documented) == raised
