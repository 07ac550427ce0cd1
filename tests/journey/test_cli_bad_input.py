"""A hostile user: each mistake gets one clear line, a hint, its exit code; nothing is sent, nothing is lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.journey.test_cli_kit import Cli, texts

#: Stands in every text; may stand in no error.
SECRET = "Kartennummer"
UUID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
HERE = ("--gateway", "GATEWAY")


class Case(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    exit_code: int
    error: str
    words: str
    """In the first line."""
    hint: str = ""
    """In the second."""
    file: str | bytes = ""
    stdin: bytes = b""


def send(name: str, *arguments: str, exit_code: int, error: str, words: str, hint: str = "", **more: Any) -> Case:
    """A mistake with `send`."""
    return Case(f"send: {name}", ("send", "--guest", "42", *arguments), exit_code, error, words, hint, **more)


def batch(
    name: str, file: str | bytes, error: str, words: str, hint: str = "", *flags: str, exit_code: int = 4
) -> Case:
    """A mistake in a CSV or a flag of `batch`."""
    return Case(f"batch: {name}", ("batch", "rows.csv", *HERE, *flags), exit_code, error, words, hint, file)


def jsonl(name: str, file: str | bytes, error: str, words: str, *, exit_code: int = 3) -> Case:
    """A mistake in JSON Lines."""
    return Case(f"jsonl: {name}", ("batch", "rows.jsonl", *HERE), exit_code, error, words, "", file)


CASES = [
    # where to
    send("no destination", SECRET, exit_code=4, error="GW-C001", words="no destination", hint="--gateway"),
    send("unknown name", "--to", "web", SECRET, exit_code=2, error="GW-N001", words="'web'", hint="guestwire init"),
    send(
        "emulator unset", "--to", "emulator", SECRET, exit_code=2, error="GW-N001", words="'emulator'", hint="emulate"
    ),
    send(
        "unknown region",
        "--region",
        "eu-wst-1",
        "--deployment-id",
        UUID,
        SECRET,
        exit_code=4,
        error="GW-C010",
        words="--region 'eu-wst-1'",
        hint="eu-west-1",
    ),
    send("no deployment", "--region", "eu-west-1", SECRET, exit_code=4, error="GW-C011", words="--deployment-id"),
    send(
        "id alone",
        "--deployment-id",
        UUID,
        SECRET,
        exit_code=4,
        error="GW-C011",
        words="--deployment-id",
        hint="--region",
    ),
    send(
        "bad UUID",
        "--region",
        "eu-west-1",
        "--deployment-id",
        "12",
        SECRET,
        exit_code=4,
        error="GW-C008",
        words="'12' is not a UUID",
        hint="Messenger Deployments",
    ),
    *(
        send(
            f"bad URL {url}", "--gateway", url, SECRET, exit_code=4, error="GW-C009", words="--gateway", hint="http://"
        )
        for url in ("ftp://x", "http://[::1", "http://127.0.0.1:99999", "127.0.0.1:1", "http://u:p@127.0.0.1:1", "")
    ),
    send(
        "vendor URL",
        "--gateway",
        "https://api.mypurecloud.ie",
        SECRET,
        exit_code=4,
        error="GW-C012",
        words="host of",
        hint="region",
    ),
    send(
        "no emulator",
        "--gateway",
        "http://127.0.0.1:1",
        SECRET,
        exit_code=4,
        error="GW-C042",
        words="127.0.0.1:1",
        hint="guestwire emulate",
    ),
    send(
        "two places", *HERE, "--region", "eu-west-1", SECRET, exit_code=4, error="GW-C012", words="exclude", hint="keep"
    ),
    send("name and place", *HERE, "--to", "web", SECRET, exit_code=4, error="GW-C012", words="--to", hint="keep"),
    send(
        "pace off at Genesys",
        "--region",
        "eu-west-1",
        "--deployment-id",
        UUID,
        "--pace",
        "off",
        SECRET,
        exit_code=4,
        error="GW-C014",
        words="Genesys Cloud",
        hint="emulate",
    ),
    send("pace", *HERE, "--pace", "of", SECRET, exit_code=2, error="GW-U001", words="--pace 'of'", hint="'off'"),
    # flags
    Case("send: no guest", ("send", *HERE, SECRET), 2, "GW-U001", "--guest", "--guest 42"),
    send("no text", *HERE, exit_code=2, error="GW-U001", words="no text", hint="stdin"),
    send("two texts", *HERE, SECRET, "--text-file", "rows.csv", exit_code=2, error="GW-U001", words="two texts"),
    send("wait", *HERE, "--wait", "repl", SECRET, exit_code=2, error="GW-U001", words="'repl'", hint="'reply'"),
    send("timeout", *HERE, "--timeout", "nan", SECRET, exit_code=2, error="GW-U001", words="--timeout", hint="seconds"),
    send("negative", *HERE, "--timeout", "-1", SECRET, exit_code=2, error="GW-U001", words="--timeout", hint="--help"),
    send("attribute", *HERE, "--attr", SECRET, "x", exit_code=2, error="GW-U001", words="NAME=VALUE", hint="topic="),
    send(
        "attribute twice", *HERE, "--attr", "a=1", "--attr", "a=2", "x", exit_code=2, error="GW-U001", words="--attr a"
    ),
    send(
        "naive time", *HERE, "--not-before", "2026-01-01T00:00:00", "x", exit_code=2, error="GW-U001", words="no offset"
    ),
    send("no time", *HERE, "--not-before", "soon", "x", exit_code=2, error="GW-U001", words="'soon'", hint="+01:00"),
    send("past", *HERE, "--expires-at", "2020-01-01T00:00:00Z", "x", exit_code=2, error="GW-U001", words="past"),
    send("flag", *HERE, "--gest", "x", exit_code=2, error="GW-U001", words="--guest", hint="guestwire send --help"),
    Case("command", ("sned",), 2, "GW-U001", "'send'", "guestwire --help"),
    Case("subcommand", ("messages", "lst"), 2, "GW-U001", "'list'", "guestwire messages --help"),
    # texts
    send("empty", *HERE, "", exit_code=3, error="GW-R001", words="the text is empty", hint="character"),
    send("dry run, empty", *HERE, "--dry-run", " ", exit_code=3, error="GW-R001", words="the text is empty"),
    send(
        "too long", *HERE, "-", exit_code=3, error="GW-R001", words="50 are the most", hint="file", stdin=b"x" * 250_000
    ),
    send("NUL", *HERE, "-", exit_code=3, error="GW-R001", words="NUL", stdin=b"a\x00b"),
    send("not UTF-8", *HERE, "-", exit_code=4, error="GW-C062", words="stdin, byte 4", hint="iconv", stdin=b"caf\xe9"),
    send("argument not UTF-8", *HERE, "caf\udce9", exit_code=3, error="GW-R001", words="surrogate"),
    send("endless", *HERE, "-", exit_code=4, error="GW-C061", words="1,000,000", hint="batch", stdin=b"x" * 1_000_001),
    send("no file", *HERE, "--text-file", "no", exit_code=4, error="GW-C060", words="'no'", hint="path"),
    send("folder", *HERE, "--text-file", ".", exit_code=4, error="GW-C060", words="directory"),
    # places
    send(
        "folder unwritable",
        *HERE,
        "--store",
        "/proc/x",
        SECRET,
        exit_code=4,
        error="GW-S001",
        words="/proc/x",
        hint="--store",
    ),
    send(
        "folder is a file",
        *HERE,
        "--store",
        "rows.csv",
        SECRET,
        exit_code=4,
        error="GW-S001",
        words="rows.csv",
        file="x",
    ),
    # files
    batch("missing", "", "GW-C060", "'no.csv'", "path", exit_code=4)._replace(arguments=("batch", "no.csv", *HERE)),
    batch("folder", "", "GW-C060", "directory")._replace(arguments=("batch", ".", *HERE)),
    batch("unreadable", "", "GW-C060", "Input/output")._replace(arguments=("batch", "/proc/self/mem", *HERE)),
    batch("pipe", "", "GW-C069", "regular file", "write it")._replace(arguments=("batch", "/dev/zero", *HERE)),
    batch("empty", b"", "GW-C063", "is empty", "columns"),
    batch("header only", "guest,text\n", "GW-C063", "no rows"),
    batch("blank", "\n\n", "GW-C063", "is empty"),
    batch("wrong header", f"who,what\n1,{SECRET}\n", "GW-C063", "'guest' is missing", "--map"),
    batch("one column", f"guest\n{SECRET}\n", "GW-C063", "one column", "--map"),
    batch("column twice", f"guest,text,text\n1,{SECRET},x\n", "GW-C063", "twice"),
    batch("hostile header", f"g\x1b[31muest,text\n1,{SECRET}\n", "GW-C063", "\\x1b[31m"),
    batch("cp1252", b"guest,text\n1,caf\xe9\n", "GW-C062", "line 2, byte 6: not utf-8 (0xe9)", "--encoding cp1252"),
    batch("utf-16", "guest,text\n1,a\n".encode("utf-16"), "GW-C062", "line 1, byte 1", "--encoding utf-16"),
    batch("encoding", "guest,text\n", "GW-U001", "'nope'", "cp1252", "--encoding", "nope", exit_code=2),
    batch("codec", "guest,text\n", "GW-U001", "'hex'", "cp1252", "--encoding", "hex", exit_code=2),
    batch("delimiter", "guest,text\n", "GW-U001", "'|'", "tab", "--delimiter", "|", exit_code=2),
    batch("map", "guest,text\n", "GW-U001", "'foo'", "guest=", "--map", "foo", exit_code=2),
    batch("map ours", "guest,text\n", "GW-U001", "'gest'", "'guest'", "--map", "gest=who", exit_code=2),
    batch("map theirs", "guest,text\n1,x\n", "GW-C063", "'who', which is no column", "", "--map", "guest=who"),
    batch("10 MB line", b"guest,text\n1," + b"x" * 10_000_000 + b"\n", "GW-C061", "line 2: longer than 1,000,000"),
    batch("open quote", f'guest,text\n1,"{SECRET}\n2,b\n', "GW-C064", "row 1: a quote is opened", "twice"),
    batch("stray quote", f'guest,text\n1,a\n2,"{SECRET}"b\n', "GW-C064", "row 2"),
    batch("carriage returns", "guest,text\r1,a\r", "GW-C064", "carriage return", "tr"),
    batch("empty text", "guest,text\n1,a\n2,\n", "GW-R003", "1 row cannot be sent", "row 2, text", exit_code=3),
    batch("no guest", f"guest,text\n,{SECRET}\n", "GW-R003", "1 row", "row 1, guest", exit_code=3),
    batch("NUL", f"guest,text\n1,{SECRET}\x00\n", "GW-R003", "1 row", "row 1, text", exit_code=3),
    batch("short row", f"guest,text,id\n1,{SECRET}\n", "GW-R003", "1 row", "2 values", exit_code=3),
    batch(
        "same id",
        "guest,text,id\n1,a,x\n2,b,x\n",
        "GW-R003",
        "1 row",
        "row 2, id: 'x' is also the id of row 1",
        exit_code=3,
    ),
    batch("time", "guest,text,not_before\n1,a,soon\n", "GW-R003", "1 row", "row 1, not_before: 'soon'", exit_code=3),
    batch("file column", "guest,text,file\n1,a,x.png\n", "GW-R003", "1 row", "row 1, file", exit_code=3),
    batch("report is input", "guest,text\n1,a\n", "GW-C068", "the input", "another", "--report", "rows.csv"),
    batch("report nowhere", "guest,text\n1,a\n", "GW-C068", "no/x.csv", "another", "--report", "no/x.csv"),
    jsonl("not JSON", "{", "GW-R003", "1 row"),
    jsonl("surrogate", '{"guest":"1","text":"\\ud800"}', "GW-R003", "1 row"),
    jsonl("list", "[]", "GW-R003", "1 row"),
    jsonl("deep", "[" * 200_000, "GW-R003", "1 row"),
    jsonl("type", '{"guest":true,"text":"x"}', "GW-R003", "1 row"),
    jsonl("missing", '{"guest":"1"}', "GW-R003", "1 row"),
    jsonl("unknown", '{"guest":"1","text":"x","zzz":1}', "GW-R003", "1 row"),
    jsonl("empty", "", "GW-C063", "no rows", exit_code=4),
    # looking
    *(
        Case(f"{' '.join(words)}: no store", words, 2, "GW-N004", "no store", "guestwire send")
        for words in (("status",), ("tail",), ("messages", "list"), ("messages", "show", "01"))
    ),
    Case("tail: what", ("tail", "--what", "reply"), 2, "GW-U001", "'reply'", "'replies'"),
    # the far side
    Case("up: nothing chosen", ("up",), 4, "GW-C001", "no destination", "--gateway"),
    Case("emulate: set", ("emulate", "--set", "foo"), 4, "GW-C030", "NAME=VALUE", "--set"),
    Case("emulate: name", ("emulate", "--set", "messages_per_secnd=2"), 4, "GW-C032", "secnd", "'messages_per_second'"),
    Case("emulate: value", ("emulate", "--limits", "x"), 4, "GW-C033", "limits", "documented or off"),
    Case("emulate: script", ("emulate", "--script", "rows.csv"), 4, "GW-C034", "rows.csv", "emulator.md", "foo="),
    Case("emulate: UUID", ("emulate", "--deployment-id", "x"), 4, "GW-C008", "'x'", "UUID"[:0]),
    Case("init: no terminal", ("init",), 2, "GW-U002", "--region", "add --region"),
    Case("init: region", ("init", "--region", "eu-wst-1"), 4, "GW-C010", "eu-wst-1", "eu-west-1"),
    Case(
        "init: name", ("init", "--region", "eu-west-1", "--deployment-id", UUID, "--name", "W"), 4, "GW-C013", "--name"
    ),
    Case("demo: no file", ("demo", "no.csv"), 4, "GW-C060", "no.csv", "path"),
    Case("demo: empty", ("demo", "rows.csv"), 4, "GW-C063", "rows.csv", "", "guest,text\n"),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_gets_one_clear_line(case: Case, tmp_path: Path, genesys: Any) -> None:
    """One line with a code says what is wrong, the next what to do; nothing reaches the gateway."""
    cli = Cli(tmp_path)
    file = case.file
    if file or case.arguments[:1] == ("batch",):
        for name in ("rows.csv", "rows.jsonl"):
            cli.write(name, file)
    arguments = [genesys.url if argument == "GATEWAY" else argument for argument in case.arguments]
    said = cli(*[os.fsdecode(os.fsencode(argument)) for argument in arguments], stdin=case.stdin)
    assert said.code == case.exit_code, said.err
    lines = [
        line for line in said.complaint if not line.startswith(("columns are", "the file begins", "a local Genesys"))
    ]
    assert lines[0].startswith("error: ")
    assert lines[0].endswith(f"[{case.error}]")
    assert case.words in lines[0]
    assert sum(line.startswith("error:") for line in lines) == 1
    assert len(lines) <= 2
    if case.hint:
        assert lines[1].startswith("  ")
        assert case.hint in lines[1]
    assert SECRET not in said.err + said.out
    assert "\x1b" not in said.err
    if case.arguments[0] != "demo":
        assert said.out == ""
    assert texts(genesys) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("foo = \n", ["guestwire.toml line 1 column 7", "GW-C004"]),
        ('[destinations.web]\nregoin = "x"\n', ["guestwire.toml line 2", "destinations.web.regoin", "GW-C005"]),
        (b"\xff", ["guestwire.toml is not UTF-8", "GW-C004"]),
    ],
)
def test_a_broken_settings_file_is_named_with_its_line(content: str | bytes, words: list[str], tmp_path: Path) -> None:
    """Every command that reads the settings says which file, which line and what."""
    cli = Cli(tmp_path)
    cli.write("guestwire.toml", content)
    for command in (["status"], ["send", "--guest", "1", "x"], ["config", "show"]):
        said = cli(*command)
        assert said.code == 4
        assert all(word in said.complaint[0] for word in words), said.err


def test_the_emulator_is_never_chosen_by_itself(tmp_path: Path, genesys: Any) -> None:
    """Also where it is the only destination it has to be named."""
    cli = Cli(tmp_path)
    assert cli("init", "--gateway", genesys.url, "--name", "emulator").code == 0
    for command in (["send", "--guest", "1", "x"], ["up"]):
        said = cli(*command)
        assert (said.code, said.complaint[0][-9:]) == (4, "[GW-C002]")
        assert "--to emulator" in said.complaint[1]
    assert cli("send", "--to", "emulator", "--guest", "1", "x").code == 0


def test_one_store_never_serves_emulator_and_live(tmp_path: Path, genesys: Any) -> None:
    """The second of the two is refused, in both directions, and what was queued stays."""
    cli = Cli(tmp_path)
    live = ["--region", "eu-west-1", "--deployment-id", UUID, "--wait", "none", "--guest", "1", "x"]
    here = ["--gateway", genesys.url, "--guest", "1", "x"]
    assert cli("send", *here, "--store", "one").code == 0
    assert cli("send", *live, "--store", "two").code == 0
    for store, arguments in (("one", live), ("two", here)):
        said = cli("send", *arguments, "--store", store)
        assert (said.code, said.complaint[0][-9:]) == (4, "[GW-C040]")
    assert cli("status", "--store", "two", "--json").object["store"]["parts"] == {"queued": 1}


def test_a_folder_in_a_temporary_place_is_warned_about(tmp_path: Path, genesys: Any) -> None:
    """What is queued there may not survive a reboot, and the user hears so."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        said = Cli(tmp_path)("send", "--gateway", genesys.url, "--guest", "1", "x", "--store", folder)
    assert said.code == 0
    assert "warning: the data folder '/tmp/" in said.err


def test_a_port_in_use_is_named(tmp_path: Path, genesys: Any) -> None:
    """`emulate` says which port and what to do."""
    said = Cli(tmp_path)("emulate", "--port", genesys.url.rpartition(":")[2])
    assert said.code == 4
    assert "the port is in use [GW-C031]" in said.complaint[0]


def test_an_outsider_may_not_be_asked_without_a_terminal(tmp_path: Path) -> None:
    """A batch to anything but this machine needs --yes where nobody can answer, and stores nothing without it."""
    cli = Cli(tmp_path)
    file = cli.write("rows.csv", "guest,text\n1,a\n1,b\n2,c\n")
    live = ["--region", "eu-west-1", "--deployment-id", UUID, "--wait", "none"]
    said = cli("batch", file, *live)
    assert said.code == 2
    assert "3 messages of 2 guests" in said.err
    assert "up to 2 new conversations" in said.err
    assert "[GW-U002]" in said.err
    assert not (tmp_path / "state").exists()
    said = cli("batch", file, *live, "--yes", "--json")
    assert said.object == {"known": 0, "rows": 3, "states": {"queued": 3}}
