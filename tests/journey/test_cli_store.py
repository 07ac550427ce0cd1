"""`guestwire store`: what people type and scripts read."""

from __future__ import annotations

import json
import signal
import tarfile
from pathlib import Path

import apsw
import pytest

from guestwire.cli import run
from guestwire.store.folder import Folder
from guestwire.store.migration import migrate
from tests.journey.test_cli_kit import Cli, Said, ended, line_with

STORES = Path(__file__).parents[1] / "stores"
GATEWAY = "http://127.0.0.1:9"
DEPLOYMENT = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"


class Inside(Cli):
    """Runs commands in this process: they are many, and none of them has to be killed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], **environment: str) -> None:
        super().__init__(folder, **environment)
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, stdin: str | bytes = b"", **environment: str) -> Said:
        """Run a command to its end."""
        assert not stdin
        assert not environment
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """A program with a store that has seen something: seven messages accepted, two queued, one for later."""
    with tarfile.open(STORES / "schema-2.tar.xz") as archive:
        archive.extractall(tmp_path / "store", filter="data")
    migrate(Folder(tmp_path / "store"), now=0.0)
    cli = Inside(tmp_path, capsys, GUESTWIRE_STORE__PATH=str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    return cli


def test_a_store_is_moved_to_another_machine(cli: Inside) -> None:
    """Backed up with its keys, checked, restored elsewhere; every step says what it did, in words and as JSON."""
    made = cli("store", "backup", "copy", "--with-keys", "--yes", "--json")
    assert (made.code, made.object["counts"]["messages"], made.object["with_keys"]) == (0, 10, True)
    assert "keep it as you would keep a password" in made.err
    checked = cli("store", "check", "copy", "--deep", "--json")
    assert checked.code == 0
    assert {each["status"] for each in checked.objects} == {"ok"}
    restored = cli("store", "restore", "copy", "--store", "elsewhere")
    assert restored.code == 0
    assert "2 to be looked up, 0 parked, 1 wait for their time" in restored.out
    assert "end that first" in restored.err
    states = cli("status", "--store", "elsewhere", "--json").object["store"]["parts"]
    assert states == {"accepted": 7, "checking": 2, "queued": 1}
    assert cli("store", "check", "--store", "elsewhere").code == 0


def test_keys_are_never_copied_without_a_word(cli: Inside) -> None:
    """Without a terminal and without --yes: exit code 2, and nothing is made. Left out, it is said where they lie."""
    said = cli("store", "backup", "copy", "--with-keys")
    assert (said.code, "[GW-U002]" in said.err, (cli.folder / "copy").exists()) == (2, True, False)
    said = cli("store", "backup", "copy")
    assert said.code == 0
    assert said.out.startswith(f"{cli.folder}/copy: 4 guests, 10 messages")
    assert "without its keys: keep a copy of" in said.err
    assert not (cli.folder / "copy" / "keys.db").exists()


def test_a_store_is_never_replaced_without_a_word(cli: Inside) -> None:
    """Refused, then asked, then done and kept aside."""
    cli("store", "backup", "copy", "--with-keys", "--yes")
    assert "[GW-S030]" in cli("store", "restore", "copy").err
    assert "[GW-U002]" in cli("store", "restore", "copy", "--replace").err
    done = cli("store", "restore", "copy", "--replace", "--yes", "--json")
    assert done.code == 0
    assert Path(done.object["aside"]).is_dir()


def test_nothing_is_restored_under_a_relay(cli: Inside) -> None:
    """Nor migrated; a backup and a check go on beside it."""
    relay = cli.start("up", "--gateway", GATEWAY, "--deployment-id", DEPLOYMENT)
    try:
        line_with(relay.stderr, "relaying out of")
        assert cli("store", "backup", "copy", "--with-keys", "--yes").code == 0
        assert cli("store", "check").code == 0
        for command in (("restore", "copy", "--replace", "--yes"), ("migrate",)):
            said = cli("store", *command)
            assert (said.code, "[GW-S007]" in said.err) == (4, True)
    finally:
        ended(relay, signal.SIGTERM)
    assert cli("store", "migrate").out.endswith("nothing to do\n")


def test_what_is_wrong_is_exit_code_9(cli: Inside) -> None:
    """With a line for each finding, and what to do about it."""
    path = cli("status", "--json").object["folder"]
    database = apsw.Connection(f"{path}/store.db")
    database.execute("UPDATE guests SET next_at = NULL")
    database.close()
    said = cli("store", "check")
    assert said.code == 9
    assert "fail  lanes: guest" in said.out
    assert "      fix: " in said.out
    failed = [json.loads(line) for line in cli("store", "check", "--json").out.splitlines()]
    assert [each["name"] for each in failed if each["status"] == "fail"] == ["lanes", "lanes"]


def test_what_is_over_is_let_go(cli: Inside) -> None:
    """First it is said what would go; afterwards the message is shown without its text, and its story is all there."""
    database = apsw.Connection(str(cli.folder / "store" / "store.db"))
    database.execute("UPDATE parts SET ended_at = ended_at - 40 * 86400 WHERE ended_at IS NOT NULL")
    ((part,),) = database.execute("SELECT id FROM parts WHERE blob IS NOT NULL")
    database.close()
    assert cli("store", "prune", "--dry-run").out == "would let go of: 7 parts\n"
    assert cli("store", "prune", "--json").object["parts"] == 7
    shown = cli("messages", "show", str(part), "--text")
    assert (shown.code, "content   not kept any more" in shown.out, "part.accepted" in shown.out) == (0, True, True)
    assert list((cli.folder / "store" / "blobs").iterdir()) == []


def test_what_cannot_be_done_is_told(cli: Inside) -> None:
    """With a code, an exit code, and nothing made."""
    before = sorted(each.name for each in cli.folder.iterdir())
    for line, code, error in (
        ("check nowhere", 4, "GW-S032"),
        ("restore nowhere --store new", 4, "GW-S032"),
        ("check --keys keys.db", 2, "GW-U001"),
        ("backup no/where", 4, "GW-S001"),
        ("backup copy --store empty", 2, "GW-N004"),
        ("migrate --store empty", 2, "GW-N004"),
    ):
        said = cli("store", *line.split())
        assert (said.code, f"[{error}]" in said.err) == (code, True), said.err
    assert sorted(each.name for each in cli.folder.iterdir()) == before
