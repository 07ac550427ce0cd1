"""`guestwire batch` as a process: forms of files, running again, interruptions, the report."""

from __future__ import annotations

import csv
import signal
import threading
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.journey.test_cli_kit import Cli, ended, line_with, texts

#: Where a batch is quick; the limits have tests of their own.
swift = pytest.mark.genesys(limits="off", echo_delay_ms=0, history_lag_s=0.02)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "flags", "note"),
    [
        ("plain.csv", b"guest,text\n1,caf\xc3\xa9\n", [], ""),
        ("crlf.csv", b"guest,text\r\n1,caf\xc3\xa9\r\n", [], ""),
        ("bom.csv", b"\xef\xbb\xbfguest,text\n1,caf\xc3\xa9\n", [], "byte order mark"),
        ("semicolon.csv", b"text;guest\ncaf\xc3\xa9;1\n", [], "separated by ';'"),
        ("tab.csv", b"\n\nguest\ttext\n1\tcaf\xc3\xa9\n\n", [], "separated by tab"),
        ("forced.csv", b"guest\ttext\n1\tcaf\xc3\xa9\n", ["--delimiter", "tab"], ""),
        ("quoted.csv", b'"guest","text"\n"1","caf\xc3\xa9"\n', [], ""),
        ("cp1252.csv", b"guest,text\n1,caf\xe9\n", ["--encoding", "cp1252"], ""),
        ("utf16.csv", "guest,text\n1,café\n".encode("utf-16"), ["--encoding", "utf-16"], ""),
        ("mapped.csv", b"no,body\n1,caf\xc3\xa9\n", ["--map", "guest=no, text=body"], ""),
        ("plain.jsonl", b'{"guest": 1, "text": "caf\\u00e9", "id": null}\n\n', [], ""),
    ],
)
@swift
def test_every_form_of_a_file(name: str, content: bytes, flags: list[str], note: str, cli: Cli, genesys: Any) -> None:
    """What was found out about the form is said; the text arrives as it was."""
    said = cli("batch", cli.write(name, content), "--gateway", genesys.url, *flags, "--json")
    assert said.code == 0, said.err
    assert said.object == {"known": 0, "rows": 1, "states": {"accepted": 1}}
    assert texts(genesys) == ["café"]
    assert note in said.err


@swift
def test_the_same_file_twice_sends_nothing_twice(cli: Cli, genesys: Any) -> None:
    """Also under another name and with --resume; --again sends it once more."""
    to = ("--gateway", genesys.url, "--json")
    file = cli.write("rows.csv", "guest,text\n1,a\n1,b\n2,c\n1,a\n")
    assert cli("batch", file, *to, "--resume").object["known"] == 0
    assert sorted(texts(genesys)) == ["a", "a", "b", "c"]
    assert cli("batch", file, *to).object == {"known": 4, "rows": 4, "states": {"accepted": 4}}
    assert cli("batch", cli.write("copy.csv", file.read_bytes()), *to, "--resume").object["known"] == 4
    assert len(texts(genesys)) == 4
    assert cli("batch", file, *to, "--again").object["known"] == 0
    assert len(texts(genesys)) == 8


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("guest,text\n1,a\n2,B\n3,c\n", "the first row that differs is 2"),
        ("guest,text\n1,a\n2,b\n3,c\n4,d\n", "the first row that differs is 4"),
        ("guest,text\n1,a\n2,b\n", "it had 3 rows and has 2"),
        ("guest;text\n1;a\n2;b\n3;c\n", "the same rows are written otherwise"),
    ],
)
@swift
def test_a_changed_file_is_refused(changed: str, words: str, cli: Cli, genesys: Any) -> None:
    """Its rows could not be told from those that were sent; nothing goes out."""
    file = cli.write("rows.csv", "guest,text\n1,a\n2,b\n3,c\n")
    assert cli("batch", file, "--gateway", genesys.url).code == 0
    cli.write("rows.csv", changed)
    said = cli("batch", file, "--gateway", genesys.url)
    assert said.code == 4
    assert words in said.err
    assert "[GW-C066]" in said.err
    assert len(texts(genesys)) == 3


@swift
def test_rows_with_ids_may_be_added_and_never_changed(cli: Cli, genesys: Any) -> None:
    """New ids are sent, known ones are not; a known id with another content names its row."""
    file = cli.write("rows.csv", "id,guest,text\nx,1,a\n")
    assert cli("batch", file, "--gateway", genesys.url).code == 0
    cli.write("rows.csv", "id,guest,text\ny,1,b\nx,1,a\n")
    assert cli("batch", file, "--gateway", genesys.url, "--json").object["known"] == 1
    cli.write("rows.csv", "id,guest,text\nz,1,c\nx,1,A\n")
    said = cli("batch", file, "--gateway", genesys.url)
    assert said.code == 3
    assert "row 2, id: 'x' was used before" in said.err
    assert texts(genesys) == ["a", "b"]


@swift
def test_the_report_has_every_row(cli: Cli, genesys: Any) -> None:
    """Under the file's own column names, with state, gateway id, time and reason; formulas are defused."""
    rows = "no,body\n1,good\n2,bad\n=1+1,@SUM(A1)\n-5,plain\n"
    file = cli.write("rows.csv", rows)
    genesys.inject("error_frame", code=4011, match={"text": "bad"})
    to = ("batch", file, "--gateway", genesys.url, "--map", "guest=no,text=body")
    said = cli(*to, "--report", "out.csv")
    assert said.code == 7
    with (cli.folder / "out.csv").open(newline="", encoding="utf-8") as sheet:
        found = list(csv.DictReader(sheet))
    assert [(row["no"], row["body"], row["state"]) for row in found] == [
        ("1", "good", "accepted"),
        ("2", "bad", "dead"),
        ("'=1+1", "'@SUM(A1)", "accepted"),
        ("'-5", "plain", "accepted"),
    ]
    ids = {message["id"] for message in genesys.messages()}
    assert {row["gateway_id"] for row in found} == {*ids, ""}
    assert all(row["gateway_time"] for row in found if row["state"] == "accepted")
    assert "4011" in found[1]["reason"]
    assert file.read_text() == rows
    assert cli(*to, "--wait", "none", "--report", "/dev/stdout").out.count(",accepted,") == 3


@swift
def test_the_report_of_uneven_json_lines_keeps_its_columns(cli: Cli, genesys: Any) -> None:
    """A row without a field leaves its cell empty and moves no other."""
    file = cli.write(
        "rows.jsonl",
        '{"guest":"1","text":"a"}\n{"text":"b","guest":"2","attributes":{"topic":"x"}}\n',
    )
    assert cli("batch", file, "--gateway", genesys.url, "--report", "out.csv").code == 0
    with (cli.folder / "out.csv").open(newline="", encoding="utf-8") as sheet:
        found = [(row["guest"], row["text"], row["attr.topic"], row["state"]) for row in csv.DictReader(sheet)]
    assert found == [("1", "a", "", "accepted"), ("2", "b", "x", "accepted")]


@swift
def test_nobody_waits_and_the_next_relay_sends(cli: Cli, genesys: Any) -> None:
    """--wait none ends once every row is on disk."""
    file = cli.write("rows.csv", "guest,text\n" + "".join(f"{n % 7},m{n}\n" for n in range(50)))
    said = cli("batch", file, "--gateway", genesys.url, "--wait", "none", "--json")
    assert said.code == 0
    assert said.object["rows"] == 50
    assert cli("batch", file, "--gateway", genesys.url, "--json").object["states"] == {"accepted": 50}
    assert sorted(texts(genesys)) == sorted(f"m{n}" for n in range(50))


@swift
def test_ten_thousand_rows(cli: Cli, genesys: Any) -> None:
    """All of them arrive, once, each guest's in order."""
    file = cli.write("rows.csv", "guest,text\n" + "".join(f"{n % 100},m{n}\n" for n in range(10_000)))
    said = cli("batch", file, "--gateway", genesys.url, "--pace", "off", "--json", GUESTWIRE_RELAY__ANSWER_S="20")
    assert said.object == {"known": 0, "rows": 10_000, "states": {"accepted": 10_000}}
    seen = [int(text[1:]) for text in texts(genesys)]
    assert sorted(seen) == list(range(10_000))
    for guest in range(100):
        mine = [number for number in seen if number % 100 == guest]
        assert mine == sorted(mine)


@swift
def test_killed_between_storing_and_letting_go(cli: Cli, genesys: Any) -> None:
    """Nobody was sent anything before; the same command goes on and sends every row once."""
    file = cli.write("rows.csv", "guest,text\n" + "".join(f"{n % 50},m{n}\n" for n in range(3_000)))
    to = ("batch", file, "--gateway", genesys.url, "--pace", "off")
    process = cli.start(*to)
    _until(lambda: _held(cli) > 0)
    process.kill()
    process.communicate()
    held = _held(cli)
    assert 0 < held <= 3_000
    assert texts(genesys) == []
    assert "were not stored whole" in cli("status").out
    said = cli(*to, "--json", GUESTWIRE_RELAY__ANSWER_S="20")
    assert said.object == {"known": held, "rows": 3_000, "states": {"accepted": 3_000}}
    assert len(texts(genesys)) == len(set(texts(genesys))) == 3_000


def test_ctrl_c_leaves_the_rest_queued(cli: Cli, genesys: Any) -> None:
    """Exit code 130, with what was accepted and what waits; the same command sends the rest, once."""
    file = cli.write("rows.csv", "guest,text\n" + "".join(f"1,m{n}\n" for n in range(12)))
    process = cli.start("batch", file, "--gateway", genesys.url)
    _until(lambda: len(texts(genesys)) >= 2)
    said = ended(process, signal.SIGINT)
    assert said.code == 130
    assert "stays queued" in said.err
    assert 0 < len(texts(genesys)) < 12
    assert cli("batch", file, "--gateway", genesys.url).code == 0
    assert texts(genesys) == [f"m{n}" for n in range(12)]


def test_a_batch_says_why_it_waits(cli: Cli) -> None:
    """Minutes of silence look like a fault of ours; Ctrl-C is offered, and leaves everything queued."""
    file = cli.write("rows.csv", "guest,text\n1,a\n")
    to = ("--gateway", "http://127.0.0.1:1", "--deployment-id", "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50")
    process = cli.start("batch", file, *to)
    line_with(process.stderr, "cannot be reached", "still trying")
    said = ended(process, signal.SIGINT)
    assert said.code == 130
    assert "1 queued" in said.err


@swift
def test_a_refused_connection_ends_a_batch(cli: Cli, genesys: Any) -> None:
    """Exit code 4 with what to check; nothing is lost."""
    genesys.inject("refuse_upgrade", status=403, times=50)
    said = cli("batch", cli.write("rows.csv", "guest,text\n1,a\n2,b\n"), "--gateway", genesys.url)
    assert said.code == 4
    assert "[GW-A001]" in said.err
    assert "2 queued" in said.err


@swift
def test_a_dry_run_only_reads(cli: Cli, genesys: Any) -> None:
    """When it would be through, or every finding; no store is made."""
    file = cli.write("rows.csv", "guest,text\n" + "1,a\n" * 300)
    assert "300 messages of 1 guest, no problems" in cli("batch", file, "--gateway", genesys.url, "--dry-run").out
    plan = cli("batch", file, "--gateway", genesys.url, "--dry-run", "--json").object
    assert (plan["rows"], plan["guests"], plan["forecast"]["binding"]) == (300, 1, "requests_per_min")
    bad = cli.write("bad.csv", "guest,text\n1,\n,\n")
    said = cli("batch", bad, "--gateway", genesys.url, "--dry-run", "--json")
    assert said.code == 3
    assert [finding["path"] for finding in said.object["findings"]] == ["row 1, text", "row 2, guest", "row 2, text"]
    assert not (cli.folder / "state").exists()


@swift
def test_hostile_names_stay_inside_their_line(cli: Cli, genesys: Any) -> None:
    """File names, guests and texts with escapes, bidi overrides and line breaks."""
    file = cli.write("ro\x1b[31mws\n.csv", 'guest,text\n"g\x1b[31m\u202e","a\x1b]0;x\x07\nb\u2028c"\n')
    said = cli("batch", file, "--gateway", genesys.url)
    assert said.code == 0
    shown = cli("messages", "list", "--text")
    assert "g\\x1b[31m\\u202e" in shown.out
    assert "a\\x1b]0;x\\x07⏎b\\u2028c" in shown.out
    cli.write("ro\x1b[31mws\n.csv", "guest,text\n1,b\n")
    said = cli("batch", file, "--gateway", genesys.url)
    for each in (said.err, shown.out):
        assert not set(each) & set("\x1b\x07\u202e\u2028")
    assert "ro\\x1b[31mws⏎.csv" in said.err
    assert texts(genesys) == ["a\x1b]0;x\x07\nb\u2028c"]


@swift
def test_rows_bring_files_and_answers(cli: Cli, genesys: Any) -> None:
    """Files lie beside the file of messages; the second run knows every row; the report has their columns."""
    rows = cli.folder / "rows"
    rows.mkdir()
    (rows / "a.txt").write_bytes(b"first")
    file = cli.write(
        "rows/rows.jsonl",
        '{"guest":"1","text":"see this","file":"a.txt","attributes":{"topic":"x"}}\n'
        '{"guest":"2","file":"a.txt"}\n'
        '{"guest":"3","quick_reply":"Yes=confirm"}\n',
    )
    to = ("batch", file, "--gateway", genesys.url, "--report", "out.csv", "--json")
    said = cli(*to)
    assert said.object == {"known": 0, "rows": 3, "states": {"accepted": 3}}
    assert "3 messages of 3 guests, 2 files (10 bytes) to" in said.err
    shown = {
        (message["text"], tuple(each["filename"] for each in message["attachments"]), message["type"])
        for message in genesys.messages()
    }
    assert shown == {("see this", ("a.txt",), "Text"), (None, ("a.txt",), "Text"), ("Yes", (), "Structured")}
    with (cli.folder / "out.csv").open(newline="", encoding="utf-8") as sheet:
        found = [(row["file"], row["quick_reply"], row["attr.topic"], row["state"]) for row in csv.DictReader(sheet)]
    assert found == [("a.txt", "", "x", "accepted"), ("a.txt", "", "", "accepted"), ("", "Yes=confirm", "", "accepted")]
    (rows / "a.txt").write_bytes(b"other")
    changed = cli(*to)
    assert changed.code == 3
    assert "row 1, file: has changed since the row was stored" in changed.err
    assert len(genesys.messages()) == 3
    assert cli(*to, "--again").object["known"] == 0


@swift
def test_bad_files_are_findings_of_their_rows(cli: Cli, genesys: Any) -> None:
    """Missing, empty, outside the folder: all are named, with everything else, before anything is stored."""
    cli.write("empty.pdf", b"")
    rows = "guest,text,file\n1,a,missing.pdf\n2,,empty.pdf\n3,a,/etc/passwd\n4,a,../x.pdf\n,a,missing.pdf\n5,fine,\n"
    said = cli("batch", cli.write("rows.csv", rows), "--gateway", genesys.url)
    assert said.code == 3
    assert said.complaint == [
        "error: 5 rows cannot be sent; nothing was stored [GW-R003]",
        "  row 1, file: it cannot be read: No such file or directory (file.unreadable); check the path and its rights",
        "  row 2, file: the file is empty (file.empty); check how it was made",
        "  row 3, file: it lies outside the folder of the batch: name its folder with --allow-files-from (row.bad)",
        "  row 4, file: it lies outside the folder of the batch: name its folder with --allow-files-from (row.bad)",
        "  row 5, file: it cannot be read: No such file or directory (file.unreadable); check the path and its rights",
        "  row 5, guest: the guest is empty (guest.empty); name the guest by your own key, such as a customer number",
    ]
    assert not (cli.folder / "state").exists()
    elsewhere = cli.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.txt").write_bytes(b"x")
    allowed = cli.write("allowed.csv", f"guest,file\n1,{elsewhere / 'x.txt'}\n")
    assert cli("batch", allowed, "--gateway", genesys.url, "--allow-files-from", elsewhere).code == 0


def _held(cli: Cli) -> int:
    """Messages that are stored and not let go; read from outside, because a command is too slow to look in between."""
    path = cli.folder / "state" / "guestwire" / "emulator" / "store.db"
    try:
        database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.CantOpenError:
        return 0
    try:
        ((count,),) = database.execute("SELECT count(*) FROM messages WHERE held_by IS NOT NULL").fetchall()
        return int(str(count))
    except (apsw.SQLError, apsw.BusyError):  # the tables are being made
        return 0
    finally:
        database.close()


def _until(condition: Any) -> None:
    """Wait for what another process is about to do."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
