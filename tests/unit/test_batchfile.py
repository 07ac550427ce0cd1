"""Reading batch files: what is found, what is said, and that no file breaks the reader."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestwire.cli.batchfile import BadRow, BatchFile, Row
from guestwire.errors import ConfigError, GuestWireError


def read(path: Path, content: bytes, **options: str) -> list[Row | BadRow]:
    """Write a file and read its rows."""
    path.write_bytes(content)
    return list(BatchFile(path, "web", **options).rows())  # type: ignore[arg-type]


def test_rows_are_counted_without_header_and_blank_lines(tmp_path: Path) -> None:
    """A number stays what it is, whatever the line breaks inside a quoted text."""
    rows = read(tmp_path / "a.csv", b'guest,text\n\n1,"a\nb"\n\n 2 ,c\n')
    assert [(row.number, row.draft.guest, row.draft.text) for row in rows if isinstance(row, Row)] == [
        (1, "1", "a\nb"),
        (2, "2", "c"),
    ]


def test_columns_become_a_message(tmp_path: Path) -> None:
    """Id, time and attributes; empty attributes are left out."""
    (row,) = read(
        tmp_path / "a.csv",
        b"id,guest,text,not_before,attr.topic,attr.empty\nx,1,a,2026-12-01T09:00:00+01:00,t,\n",
    )
    assert isinstance(row, Row)
    assert row.has_id
    assert (row.draft.key, row.draft.not_before, row.draft.attributes) == ("x", 1_796_112_000.0, {"topic": "t"})


def test_a_row_without_id_is_known_by_file_and_number(tmp_path: Path) -> None:
    """The same bytes give the same keys; other bytes give others."""
    content = b"guest,text\n1,a\n1,a\n"
    first, second = (row.draft.key for row in read(tmp_path / "a.csv", content) if isinstance(row, Row))
    assert first != second
    assert [row.draft.key for row in read(tmp_path / "b.csv", content) if isinstance(row, Row)] == [first, second]
    assert read(tmp_path / "c.csv", content + b"1,b\n")[0].draft.key != first  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (b'{"guest":"1"}', "text"),
        (b'{"guest":["1"],"text":"a"}', "guest"),
        (b'{"guest":"1","text":"a","other":1}', "other"),
        (b'{"guest":"1","text":"a","attr":{"x":true}}', "attr.x"),
        (b'{"guest":"1","text":"","file":"/etc/passwd"}', "file"),
        (b'{"guest":"1","text":"","file":"../outside.pdf"}', "file"),
        (b'{"guest":"1","file":"a/../../outside.pdf"}', "file"),
        (b'{"guest":"1","file":"nul\\u0000.pdf"}', "file"),
        (b'{"guest":"1","file":["a.pdf"]}', "file"),
        (b'{"guest":"1","text":"a","not_before":"2026-01-01T00:00:00"}', "not_before"),
        (b'{"guest":"1","text":"a","not_before":"0001-01-01T00:00:00+23:00"}', "not_before"),
        (b"nonsense", "(all)"),
        (b"[[[[[[" * 50_000, "(all)"),
        (b'"text"', "(all)"),
    ],
)
def test_a_bad_row_names_its_column(line: bytes, column: str, tmp_path: Path) -> None:
    """And reading goes on behind it, so that every bad row is found in one run."""
    bad, good = read(tmp_path / "a.jsonl", line + b'\n{"guest":"1","text":"a"}\n')
    assert isinstance(bad, BadRow)
    assert (bad.row, bad.column) == (1, column)
    assert isinstance(good, Row)
    assert good.number == 2


def test_a_row_names_a_file_beside_it(tmp_path: Path) -> None:
    """Or below; or elsewhere where that folder was allowed. A link out of the folder is no way out."""
    outside = tmp_path / "outside"
    beside = tmp_path / "rows"
    for folder in (outside, beside, beside / "sub"):
        folder.mkdir()
    (beside / "link.pdf").symlink_to(outside / "a.pdf")
    content = b"guest,file\n" + b"".join(
        b"1,%s\n" % name for name in (b"a.pdf", b"sub/a.pdf", b"sub/../a.pdf", b"../outside/a.pdf", b"link.pdf")
    )
    rows = read(beside / "a.csv", content)
    assert [row.file if isinstance(row, Row) else row.column for row in rows] == [
        beside / "a.pdf",
        beside / "sub" / "a.pdf",
        beside / "a.pdf",
        "file",
        "file",
    ]
    allowed = list(BatchFile(beside / "a.csv", "web", files_from=outside).rows())
    assert [row.file for row in allowed[3:] if isinstance(row, Row)] == [outside / "a.pdf"] * 2


def test_a_quick_reply_is_an_answer(tmp_path: Path) -> None:
    """With the payload behind an equals sign, where it is another than the label."""
    rows = read(tmp_path / "a.csv", b"guest,quick_reply\n1,Yes\n1,Yes=confirm=1\n")
    answers = [row.draft.answer for row in rows if isinstance(row, Row)]
    assert [(each.kind, each.choices[0].text, each.choices[0].payload) for each in answers if each] == [
        ("quick_reply", "Yes", "Yes"),
        ("quick_reply", "Yes", "confirm=1"),
    ]


def test_the_source_keeps_the_names_of_the_file(tmp_path: Path) -> None:
    """The report shows people their own columns."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"no,body\n1,a\n")
    (row,) = BatchFile(path, "web", mapping={"guest": "no", "text": "body"}).rows()
    assert isinstance(row, Row)
    assert row.source == {"no": "1", "body": "a"}


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path) -> None:
    """It ends at the bound, with its number."""
    with pytest.raises(ConfigError, match="line 3: longer than"):
        read(tmp_path / "a.csv", b"guest,text\n1,a\n2," + b"x" * 3_000_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.text('",;\t\r\n\x00a é=\ufeff', max_size=80).map(lambda text: b"guest,text\n" + text.encode()),
        st.text('{}[]":,\\ud8a01etxgus\n', max_size=80).map(str.encode),
    ),
    suffix=st.sampled_from([".csv", ".jsonl"]),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-7"]),
)
def test_any_file_gives_rows_or_a_clear_error(content: bytes, suffix: str, encoding: str, tmp_path: Path) -> None:
    """Never another exception."""
    rows: list[Row | BadRow] = []
    with contextlib.suppress(GuestWireError):
        rows = read(tmp_path / f"a{suffix}", content, encoding=encoding)
    assert all(isinstance(row, Row | BadRow) for row in rows)
