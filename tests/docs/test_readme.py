"""The README does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from guestwire import GuestWire as Listening
from guestwire.blocking import GuestWire
from guestwire.cli.app import app
from guestwire.emulator.thread import EmulatorThread
from guestwire.message import Message

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_example_sends_and_reads(
    genesys: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example as it stands, in a folder with a guestwire.toml, gets its message accepted."""
    (tmp_path / "guestwire.toml").write_text(
        f'[destinations.web]\ntransport = "webmessaging"\nurl = "{genesys.url}"\n'
        f'deployment_id = "{genesys.deployment_id}"\n[store]\npath = "{tmp_path / "store"}"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (example,) = [block for block in blocks("python") if "GuestWire.open" in block]
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own README
    assert capsys.readouterr().out.startswith("True")
    assert [message["text"] for message in genesys.messages()] == ["Where is my order?"]


def test_the_fixture_example_passes(genesys: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pytest example as it stands holds for a bridge that is built on guestwire, in a hurry as the README says."""
    for name, value in re.findall(r"`(GUESTWIRE_RELAY__\w+)=(\d+)`", README):
        monkeypatch.setenv(name, value)

    class Bridge:
        def __init__(self, url: str, deployment_id: str) -> None:
            self.url, self.deployment_id = url, deployment_id

        def open(self) -> GuestWire:
            return GuestWire.open(gateway=self.url, deployment_id=self.deployment_id, store=tmp_path)

        def send(self, text: str) -> None:
            with self.open() as wire:
                assert wire.wait(wire.submit(Message(guest="42", text=text)), timeout_s=30).is_accepted

        def receive(self) -> str | None:
            return asyncio.run(self.first_reply())

        async def first_reply(self) -> str | None:
            async with (
                asyncio.timeout(30),
                Listening.open(gateway=self.url, deployment_id=self.deployment_id, store=tmp_path) as wire,
            ):
                # His next message opens the session, which brings what was said meanwhile.
                await wire.submit(Message(guest="42", text="thank you"))
                return (await anext(wire.replies("42"))).text

    (example,) = [block for block in blocks("python") if "(genesys)" in block]
    names: dict[str, Any] = {"my_bridge": Bridge}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102 - our own README
    names["test_my_bridge_carries_both_ways"](genesys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_pages_exist(page: Path) -> None:
    """Every `guestwire …` line of a console block names a command and options that there are."""
    root: Any = typer.main.get_command(app)
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^\$ guestwire (.*)$", block, re.MULTILINE):
            words = shlex.split(line.split(" | ")[0].split("  #")[0])
            command, used = root, []
            takes_value = {name: not each.is_flag for each in root.params for name in each.opts}
            while words and words[0] in takes_value and words[0] != "--version":
                del words[: 1 + takes_value[words[0]]]
            while words and words[0] in getattr(command, "commands", {}):
                used.append(words.pop(0))
                command = command.commands[used[-1]]
            assert used or words[0] in ("--help", "--version"), f"{page.name}: guestwire {line}"
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
            options = [word.split("=")[0] for word in words if word.startswith("--")]
            assert [each for each in options if each not in known] == [], f"{page.name}: guestwire {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository finds it, and its heading where it names one."""
    for target in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#[^)]*)?\)", page.read_text()):
        assert not target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_promise_stands_in_the_readme() -> None:
    """The promise is there, word for word."""
    promise = """Queued means committed to this machine's disk. Every queued message ends accepted by the gateway,
    or dead, expired or cancelled with the reason, or is shown as waiting (checking, parked). It can be shown twice
    only after a recorded unknown outcome that the history could not settle, under the at-least-once setting (the
    default), and is counted. Accepted is the gateway's word; whether an agent saw it, no Genesys interface tells a
    sender."""
    assert " ".join(promise.split()) in " ".join(README.split())


def test_policy_explain_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The command and its lines, as they stand."""
    (block,) = re.findall(r"<!-- explain -->\n```console\n\$ guestwire (.*?)\n(.*?)```", README, re.DOTALL)
    command = [str(Path(sys.executable).with_name("guestwire")), *shlex.split(block[0])]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == block[1]
    assert done.returncode == 3
