"""
Batch files: CSV or JSON Lines, one message a row.

A row that cannot be a message is named with its number, its column and, where it helps, its value; all such rows are
found before anything is stored. Row numbers count records, from 1, the header not counted.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import itertools
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guestwire.cli import attaching
from guestwire.cli.common import is_url, moment, usage
from guestwire.errors import ConfigError
from guestwire.model import Draft, GuestKey, RemoteFile

#: Longest line that is read, in characters. The gateway takes 4,096 bytes of text.
MAX_LINE = 1_000_000
#: Columns that mean something; attributes are ``attr.<name>``.
COLUMNS = ("id", "guest", "text", "file", "quick_reply", "conversation", "not_before")
#: One of these makes a message.
CONTENT = ("text", "file", "quick_reply")
DELIMITERS = (",", ";", "\t")


class BadRow(Exception):
    """A row that cannot be a message."""

    def __init__(self, row: int, column: str, problem: str) -> None:
        super().__init__(f"row {row}, column {column}: {problem}")
        self.row = row
        self.column = column
        self.problem = problem


class Row(msgspec.Struct, frozen=True):
    """A row that can be one."""

    number: int
    draft: Draft
    """Without its file."""
    has_id: bool
    source: Mapping[str, str]
    """As it stood in the file, under the file's own names, for the report."""
    file: Path | None = None
    """That goes with it."""


class BatchFile:
    """
    A file of messages.

    Args:
        path: The file.
        destination: Where its messages go.
        mapping: Our column to the file's, such as ``{"guest": "customer_no"}``.
        encoding: Of the file; never guessed.
        delimiter: Of a CSV; None: the one of ``, ; tab`` that the header uses.
        files_from: A folder whose files rows may name, beside those of the file's own folder.
        priority: Of its messages, between guests.

    Attributes:
        digest: Of the file's bytes.
        notes: What was found out about its form, in words.
    """

    def __init__(
        self,
        path: Path,
        destination: str,
        *,
        mapping: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        files_from: Path | None = None,
        priority: int = 5,
    ) -> None:
        self.path = path
        self._destination = destination
        self._mapping = dict(mapping or {})
        self._encoding = _known_encoding(encoding)
        self._delimiter = delimiter
        self._files_from = files_from
        self._priority = priority
        self.notes: list[str] = []
        self.columns: list[str] = []
        self._is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
        self.digest = self._digest()

    def _digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        try:
            mode = self.path.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                # Opening a pipe could wait for ever, and what was read from it cannot be read again.
                raise ConfigError(
                    f"'{self.path}' is not a regular file, and a batch is read more than once",
                    code="GW-C069",
                    hint="write it to a file first",
                )
            with self.path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise ConfigError(
                f"'{self.path}' cannot be read: {error.strerror}", code="GW-C060", hint="check the path and its rights"
            ) from error
        return digest.hexdigest()

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield every row, good or bad, in order. Each call reads the file again."""
        with self.path.open("rb") as raw:
            lines = self._lines(raw)
            if self._is_json:
                yield from self._json_rows(lines)
            else:
                yield from self._csv_rows(lines)

    def _lines(self, raw: io.BufferedReader) -> Iterator[str]:
        """Decode line by line, so that an error names its line and a line without end is not read into memory."""
        first = raw.peek(4)[:4]
        if first[:3] == codecs.BOM_UTF8 and self._encoding == "utf-8":
            raw.read(3)
            self._note("the file begins with a byte order mark (UTF-8)")
        if self._encoding.startswith(("utf-16", "utf-32")):
            yield from self._wide_lines(raw)
            return
        is_wide = first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        number = 0
        while line := raw.readline(MAX_LINE + 1):
            number += 1
            self._bound(number, len(line))
            try:
                yield line.decode(self._encoding)
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"'{self.path}', line {number}, byte {error.start + 1}: not {self._encoding}"
                    f" (0x{line[error.start]:02x})",
                    code="GW-C062",
                    hint=f"say how it was written, such as --encoding {'utf-16' if is_wide else 'cp1252'}",
                ) from None

    def _wide_lines(self, raw: io.BufferedReader) -> Iterator[str]:
        """The same for encodings whose line breaks are more than one byte."""
        number = 0
        with io.TextIOWrapper(raw, self._encoding, newline="\n") as text:
            while True:
                number += 1
                try:
                    line = text.readline(MAX_LINE + 1)
                except UnicodeError:
                    raise ConfigError(
                        f"'{self.path}', line {number} or soon after: not {self._encoding}",
                        code="GW-C062",
                        hint="say how it was written, such as --encoding cp1252",
                    ) from None
                if not line:
                    return
                self._bound(number, len(line))
                yield line

    def _bound(self, number: int, size: int) -> None:
        if size > MAX_LINE:
            raise ConfigError(
                f"'{self.path}', line {number}: longer than {MAX_LINE:,} bytes",
                code="GW-C061",
                hint="the gateway takes 4,096 bytes a message; is this the right file?",
            )

    # --- CSV ---

    def _csv_rows(self, lines: Iterator[str]) -> Iterator[Row | BadRow]:
        header = next((line for line in lines if line.strip()), None)
        if header is None:
            raise ConfigError(f"'{self.path}' is empty", code="GW-C063", hint="the first line names the columns")
        if "\r" in header.rstrip("\r\n"):
            raise ConfigError(
                f"'{self.path}', line 1: lines end in a carriage return alone",
                code="GW-C064",
                hint="convert it, such as with: tr '\\r' '\\n'",
            )
        delimiter = self._delimiter or self._guess(header)
        csv.field_size_limit(MAX_LINE)
        # The header goes through the same reader as the rows: its names may be quoted.
        reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter, strict=True)
        names: list[str] = []
        number = 0
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._broken(number, str(error)) from None
            if not names:
                names = self._header([name.strip() for name in values])
                continue
            if not values:
                continue
            number += 1
            if len(values) != len(names):
                yield BadRow(number, "(all)", f"{len(values)} values where the header has {len(names)} columns")
                continue
            source = dict(zip(self.columns, values, strict=True))
            yield self._row(number, dict(zip(names, values, strict=True)), source)

    def _broken(self, number: int, problem: str) -> ConfigError:
        """Return the error for a row that no reader of CSV can read; `number` is the last good one."""
        if "unexpected end" in problem or "field limit" in problem:
            problem = "a quote is opened and never closed"
        where = "the header" if number == 0 and not self.columns else f"row {number + 1}"
        return ConfigError(
            f"'{self.path}', {where}: {problem}",
            code="GW-C064",
            hint='a quote inside a quoted value is written twice: "she said ""hello"""',
        )

    def _guess(self, header: str) -> str:
        counts = {delimiter: header.count(delimiter) for delimiter in DELIMITERS}
        found = max(counts, key=lambda delimiter: counts[delimiter])
        if counts[found] == 0:
            raise ConfigError(
                f"'{self.path}': the header '{header.strip()[:60]}' names one column",
                code="GW-C063",
                hint="a batch has at least the columns guest,text (or file); map others with --map guest=...,text=...",
            )
        if found != ",":
            self._note(f"columns are separated by {'tab' if found == chr(9) else repr(found)}")
        return found

    def _header(self, names: list[str]) -> list[str]:
        theirs = {column: ours for ours, column in self._mapping.items()}
        missing = [column for column in theirs if column not in names]
        ours = [theirs.get(name, name) for name in names]
        problems = [f"--map names '{column}', which is no column" for column in missing]
        if "guest" not in ours:
            problems.append("the column 'guest' is missing")
        if not set(CONTENT) & set(ours):
            problems.append("the column 'text' is missing")
        problems += [f"the column '{name}' stands there twice" for name in dict.fromkeys(ours) if ours.count(name) > 1]
        mapped = set(self._mapping.values())
        for name in names:
            if name not in mapped and name not in COLUMNS and not name.startswith("attr."):
                problems.append(f"the column '{name[:60]}' means nothing here")
        if problems:
            raise ConfigError(
                f"'{self.path}': {'; '.join(problems)}",
                code="GW-C063",
                hint=f"columns are {', '.join(COLUMNS)} and attr.*; map others with --map",
            )
        self.columns = names
        return ours

    # --- JSON Lines ---

    def _json_rows(self, lines: Iterator[str]) -> Iterator[Row | BadRow]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                # The standard library's: it hands on half a surrogate pair, and the rules then say what it is.
                data = json.loads(line)
            except ValueError as error:
                where = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                yield BadRow(number, "(all)", f"not JSON{where}")
                continue
            except RecursionError:
                yield BadRow(number, "(all)", "nested too deeply")
                continue
            yield self._json_row(number, data)

    def _json_row(self, number: int, data: Any) -> Row | BadRow:
        if not isinstance(data, dict):
            return BadRow(number, "(all)", f"{_kind(data)} where an object belongs")
        values: dict[str, str] = {}
        source: dict[str, str] = {}
        theirs = {column: ours for ours, column in self._mapping.items()}
        for name, value in data.items():
            ours = theirs.get(name, name)
            if ours in ("attributes", "attr") and isinstance(value, dict):
                fields = {f"attr.{key}": each for key, each in value.items()}
            else:
                fields = {str(ours): value}
            for field, each in fields.items():
                if each is None:
                    continue
                if isinstance(each, bool) or not isinstance(each, str | int | float):
                    return BadRow(number, field[:60], f"{_kind(each)} where a text belongs")
                if field not in COLUMNS and not field.startswith("attr."):
                    return BadRow(number, field[:60], "means nothing here")
                values[field] = str(each)
                source[name if len(fields) == 1 and field == ours else field] = str(each)
        if "guest" not in values:
            return BadRow(number, "guest", "is missing")
        if not set(CONTENT) & set(values):
            return BadRow(number, "text", "is missing")
        return self._row(number, values, source)

    # --- both ---

    def _row(self, number: int, values: dict[str, str], source: dict[str, str]) -> Row | BadRow:
        file = not_before = None
        url = values["file"] if is_url(values.get("file")) else None
        if values.get("file") and url is None:
            try:
                file = attaching.locate(values["file"], self.path.parent, self._files_from)
            except ValueError as error:
                return BadRow(number, "file", str(error))
        if values.get("not_before"):
            try:
                not_before = moment(values["not_before"])
            except ValueError as error:
                return BadRow(number, "not_before", str(error))
        attributes = {
            name.removeprefix("attr."): value for name, value in values.items() if name.startswith("attr.") and value
        }
        draft = Draft(
            destination=self._destination,
            guest=GuestKey(values["guest"].strip()),
            text=values.get("text", ""),
            answer=attaching.quick_reply_of(values["quick_reply"]) if values.get("quick_reply") else None,
            attributes=attributes,
            remote_files=() if url is None else (RemoteFile(url=url),),
            conversation=values.get("conversation") or None,
            key=values.get("id") or f"row:{self.digest}:{number}",
            not_before=not_before,
            priority=self._priority,
        )
        return Row(number, draft, bool(values.get("id")), source, file)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _known_encoding(name: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), name)  # refuses what is a codec, and no encoding of text
        known = codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        raise usage(f"--encoding '{name[:60]}' is not known", "such as utf-8, cp1252, iso-8859-15, utf-16") from None
    return "utf-8" if known == "utf-8-sig" else known


def _kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    match value:
        case bool():
            return "true or false"
        case dict():
            return "an object"
        case list():
            return "a list"
        case None:
            return "null"
        case str():
            return "a text"
        case _:
            return "a number"
