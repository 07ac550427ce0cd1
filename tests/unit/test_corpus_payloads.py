"""Bad messages by the thousand: each is accepted, or refused by name, and no error gives its words away."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guestwire import Destination, Draft, Message, Rejected, RemoteFile
from guestwire.checking import ANYWHERE
from guestwire.cli import app, run
from guestwire.cli.batchfile import BadRow, BatchFile, Row
from guestwire.errors import ConfigError, Finding
from guestwire.policy.content import Content
from guestwire.policy.verdict import Verdict, judge
from guestwire.settings import Secret
from guestwire.settings.policy import Policy
from tests.corpora import payloads
from tests.corpora.payloads import CANARY, Payload

CONTENT = Content(Policy())
REST: dict[str, Any] = {"url": "http://127.0.0.1", "client_id": "client", "client_secret": Secret("secret")}
WAYS = (
    ANYWHERE,
    Destination(name="rest", transport="rest-contract", allow_links=("files.example",), **REST),
    Destination(name="open", transport="openmessaging", integration_id=ANYWHERE.deployment_id, **REST),
)
MESSAGES = list(payloads.messages())


def check_words(error: object, findings: Iterable[Finding] = ()) -> None:
    """What is said can be shown, names a field, and quotes nothing."""
    assert CANARY not in f"{error} {error!r}"
    for finding in findings:
        assert finding.rule
        assert finding.path
        assert finding.path.isprintable()
        assert finding.text.isprintable()
        assert len(finding.path) + len(finding.text) < 1_000
        # A type is told, so that whoever set it finds it.
        assert CANARY not in f"{finding.text} {finding.fix}" or finding.rule == "file.type"


def verdicts(draft: Draft) -> list[Verdict]:
    """What is said of a draft on each way out. What is accepted can be written down."""
    said = [judge(draft, way, CONTENT, now=1.0) for way in WAYS]
    for verdict in said:
        check_words("", verdict.findings)
        assert verdict.is_rejected != bool(verdict.bodies)
        msgspec.json.encode(verdict.bodies)
    return said


def as_draft(values: dict[str, Any]) -> dict[str, Any]:
    """The same for a `Draft`, in which files are told apart."""
    files = values.get("attachments")
    if isinstance(files, tuple):
        remote = tuple(one for one in files if isinstance(one, RemoteFile))
        values = {**values, "attachments": tuple(one for one in files if one not in remote), "remote_files": remote}
    return {"destination": "x", "guest": "", **values}


def outcome(payload: Payload, make: Any) -> str:
    """What becomes of a payload: never another exception."""
    try:
        draft = make(payload.values)
    except ValidationError as error:
        check_words(error)
        named = all(one["loc"] for one in error.errors(include_url=False, include_input=False, include_context=False))
        # Half of a surrogate pair is no name.
        assert named or any("\ud800" <= letter <= "\udfff" for letter in "".join(payload.values)), payload.name
        return "invalid"
    except Rejected as error:
        check_words(error, error.findings)
        return "of no type"
    said = verdicts(draft)
    if payload.rule is not None:
        assert payload.rule in {finding.rule for finding in said[0].reasons}, payload.name
    if payload.fits:
        assert not said[0].is_rejected, payload.name
    return "refused" if all(one.is_rejected for one in said) else "accepted"


def test_every_message_is_accepted_or_refused_by_name() -> None:
    """Some of each."""
    counts = Counter(outcome(one, lambda values: Message(**values).to_draft("x")) for one in MESSAGES)
    assert sum(counts.values()) == len(MESSAGES) > 3_000
    assert min(counts["invalid"], counts["refused"], counts["accepted"]) > 100


def test_every_draft_is_accepted_or_refused_by_name() -> None:
    """Also where no `Message` looked at the types before."""
    known = {*payloads.FIELDS}
    drafts = [one for one in MESSAGES if known.issuperset(one.values)]
    counts = Counter(outcome(one, lambda values: Draft(**as_draft(values))) for one in drafts)
    assert sum(counts.values()) > 3_000
    assert min(counts["of no type"], counts["refused"], counts["accepted"]) > 100


def read(path: Path, content: bytes) -> list[Row | BadRow] | str:
    """The rows of a file, or the code of its refusal."""
    path.write_bytes(content)
    try:
        return list(BatchFile(path, "web").rows())
    except ConfigError as error:
        check_words(error)
        return error.code


def check_row(row: Row | BadRow) -> None:
    """It is a message, or says which column is wrong. A time that is none is quoted."""
    if isinstance(row, BadRow):
        assert row.column == "not_before" or CANARY not in str(row)
    else:
        verdicts(row.draft)


def test_every_line_of_json_is_a_row_or_a_bad_one(tmp_path: Path) -> None:
    """And none of them keeps those behind it from being read."""
    lines = list(payloads.json_lines())
    rows = read(tmp_path / "a.jsonl", b"\n".join(lines))
    assert isinstance(rows, list)
    assert len(rows) == len(lines)
    for row in rows:
        check_row(row)
    assert min(Counter(type(row) for row in rows).values()) > 100


def test_every_cell_of_a_csv_is_a_row_or_a_bad_one(tmp_path: Path) -> None:
    """In every column."""
    cells = list(payloads.csv_cells())
    for column in payloads.COLUMNS:
        mine = [text for other, text in cells if other == column]
        path = tmp_path / "a.csv"
        columns = list(dict.fromkeys(("guest", "text", column)))
        with path.open("w", encoding="utf-8", newline="") as file:
            sheet = csv.writer(file)
            sheet.writerow(columns)
            for text in mine:
                values = {"guest": "1", "text": "a", column: text}
                sheet.writerow([values[name] for name in columns])
        rows = read(path, path.read_bytes())
        assert isinstance(rows, list)
        assert len(rows) == len(mine)
        for row in rows:
            check_row(row)


def test_every_file_that_is_hardly_one_has_rows_or_a_code(tmp_path: Path) -> None:
    """Never another exception."""
    said = [read(tmp_path / "a.csv", content) for content in payloads.csv_files()]
    for rows in said:
        for row in rows if isinstance(rows, list) else ():
            check_row(row)
    assert {"GW-C061", "GW-C062", "GW-C063", "GW-C064"} <= {one for one in said if isinstance(one, str)}


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings; an exception that nobody expected comes through."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("GUESTWIRE_ORACLE", raising=False)
    monkeypatch.setenv("GUESTWIRE_DEBUG", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "app", typer.main.get_command(app.app))  # made once, as in a process of its own
    return tmp_path


HERE = ("--gateway", "http://127.0.0.1:9", "--deployment-id", ANYWHERE.deployment_id or "", "--dry-run")


def test_every_argument_ends_with_a_code(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of `guestwire send`, in words that a terminal does not obey and that do not give a text away."""
    codes = Counter[int]()
    for arguments in payloads.arguments():
        codes[code := run(["send", *HERE, *arguments])] += 1
        said = capsys.readouterr()
        assert (code == 0) == (said.err == "" or "warning:" in said.err), arguments
        assert (said.out + said.err).replace("\n", "").isprintable(), arguments
        assert CANARY not in said.out + said.err or arguments[-1] == "hello", arguments
    assert {*codes} == {0, 2, 3}


def test_a_batch_of_bad_rows_is_refused_in_words(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them at once, and nothing of it moves the cursor."""
    (at_home / "a.jsonl").write_bytes(b"\n".join(payloads.json_lines()))
    assert run(["batch", "a.jsonl", *HERE]) == 3
    said = capsys.readouterr().err
    assert said.replace("\n", "").isprintable()
    assert not [line for line in said.splitlines() if CANARY in line and "not_before" not in line]


@given(st.data())
def test_mutations_are_accepted_or_refused_too(data: st.DataObject) -> None:
    """Bits turned, characters and fields left out, doubled and exchanged."""
    one, other = (data.draw(st.sampled_from(MESSAGES)).values for _ in range(2))
    values = {**one}
    for field in data.draw(st.lists(st.sampled_from(payloads.FIELDS), max_size=3)):
        values.pop(field, None)
        if field in other:
            values[field] = other[field]
    for field in data.draw(st.lists(st.sampled_from(("text", "guest", "key", "conversation")), max_size=2)):
        if isinstance(values.get(field), str):
            values[field] = mutated(data.draw, values[field])
    outcome(Payload("mutation", values), lambda given: Message(**given).to_draft("x"))


def mutated(draw: Any, text: str) -> str:
    """A text of whose bytes one was turned, left out or doubled."""
    encoded = bytearray(text.encode("utf-8", "surrogatepass"))
    if encoded:
        place = draw(st.integers(0, len(encoded) - 1))
        kind = draw(st.sampled_from(("turn", "leave out", "double")))
        if kind == "turn":
            encoded[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "leave out":
            del encoded[place : place + draw(st.integers(1, 8))]
        else:
            encoded[place:place] = encoded[place : place + draw(st.integers(1, 8))]
    return encoded.decode("utf-8", draw(st.sampled_from(("surrogateescape", "replace"))))
