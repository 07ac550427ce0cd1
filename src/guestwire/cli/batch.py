"""
`guestwire batch`: a file of messages, in two passes.

Pass 1 reads every row and stores nothing; whatever is wrong anywhere is said at once. Pass 2 stores, in transactions of
at most 1,000 rows, and holds what it stores: nobody is sent a message before the last row is on disk. Then the batch
is let go. Interrupted anywhere and run again, it goes on where it was: rows are known by their keys.
"""

from __future__ import annotations

import asyncio
import csv
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from guestwire.cli import attaching, content, show
from guestwire.cli.batchfile import BadRow, BatchFile, Row
from guestwire.client import SETTLING, SUBMIT_SLICE, GuestWire
from guestwire.errors import ConfigError, Finding, Rejected
from guestwire.model import Draft, PartState, Ticket
from guestwire.policy.forecast import Forecast, forecast_for
from guestwire.settings import Destination, Limits
from guestwire.store.sqlite import SqliteStore

#: Files that are in memory at once, in bytes: a transaction ends early where its rows bring more.
MAX_FILES_BYTES = 32_000_000


class Survey(msgspec.Struct):
    """What pass 1 found."""

    rows: int
    guests: int
    files: int
    files_bytes: int
    forecast: Forecast

    def __str__(self) -> str:
        files = f", {show.counted(self.files, 'file')} ({content.size(self.files_bytes)})" if self.files else ""
        return f"{show.counted(self.rows, 'message')} of {show.counted(self.guests, 'guest')}{files}"


def with_file(row: Row, limits: Limits) -> tuple[Draft, tuple[Finding, ...]]:
    """Return a row's message with its file, and what is wrong with the file."""
    if row.file is None:
        return row.draft, ()
    found = attaching.read(row.file, limits)
    if isinstance(found, tuple):
        return row.draft, tuple(msgspec.structs.replace(finding, path="file") for finding in found)
    return msgspec.structs.replace(row.draft, attachments=(found,)), ()


def survey(file: BatchFile, wire: GuestWire) -> Survey:
    """
    Pass 1: read every row.

    Raises:
        Rejected: With every row that cannot be a message, or may not be one.
        ConfigError: The file cannot be read at all.
    """
    findings: list[Finding] = []
    by_guest: Counter[str] = Counter()
    seen: dict[str, int] = {}
    rows = files = files_bytes = 0
    for row in file.rows():
        rows += 1
        if isinstance(row, BadRow):
            findings.append(Finding("row.bad", f"row {row.row}, {row.column}", row.problem))
            continue
        draft, found = with_file(row, wire.destination.limits)
        for finding in attaching.joined(found, wire.judge(draft).reasons):
            findings.append(msgspec.structs.replace(finding, path=f"row {row.number}, {finding.path}"))
        files += len(draft.attachments)
        files_bytes += sum(len(attachment.content) for attachment in draft.attachments)
        if row.has_id and seen.setdefault(row.draft.key or "", row.number) != row.number:
            first = seen[row.draft.key or ""]
            findings.append(
                Finding(
                    "row.id_twice",
                    f"row {row.number}, id",
                    f"'{(row.draft.key or '')[:60]}' is also the id of row {first}",
                    "give each row its own",
                )
            )
        by_guest[row.draft.guest] += 1
    if findings:
        raise Rejected(findings, code="GW-R003")
    if not rows:
        raise ConfigError(f"'{file.path}' has no rows", code="GW-C063", hint="the first line names the columns")
    expected = forecast_for(by_guest.values(), wire.destination)
    return Survey(rows, len(by_guest), files, files_bytes, expected)


async def refuse_changed(file: BatchFile, wire: GuestWire) -> None:
    """
    Refuse rows whose ids are known with another content, and a file without ids that changed since it was stored.

    Raises:
        Rejected: Names every row whose id is taken, or whose attached file has changed.
        ConfigError: Names the first row that differs; rows without ids could not be told from those of then.
    """
    path = str(file.path.resolve())

    def taken(store: SqliteStore) -> list[Finding]:
        return [
            _taken(row)
            for row in _good(file.rows())
            if (row.has_id or row.file is not None) and store.holds_same(_whole(row, wire)) is False
        ]

    findings = await wire.store_read(taken)
    if findings:
        raise Rejected(findings, code="GW-R003")
    known = await wire.store_read(lambda store: store.batch(path))
    if known is None or known[0] == file.digest:
        return
    digest, then = known

    def differing(store: SqliteStore) -> str:
        count = 0
        has_keys = False
        for row in _good(file.rows()):
            count += 1
            if row.has_id:
                continue
            has_keys = True
            draft = msgspec.structs.replace(_whole(row, wire), key=f"row:{digest}:{row.number}")
            if store.holds_same(draft) is not True:
                return f"the first row that differs is {row.number}"
        if not has_keys:
            return ""
        return f"it had {then:,} rows and has {count:,}" if count != then else "the same rows are written otherwise"

    difference = await wire.store_read(differing)
    if difference:
        raise ConfigError(
            f"'{file.path}' has changed since it was stored; {difference}",
            code="GW-C066",
            hint="give the rows an 'id' column, or send all of it again with --again",
        )


def _taken(row: Row) -> Finding:
    if row.has_id:
        return Finding(
            "key.other_payload",
            f"row {row.number}, id",
            f"'{(row.draft.key or '')[:60]}' was used before, for another guest or another content",
            "give each message an id of its own",
        )
    return Finding(
        "key.other_payload",
        f"row {row.number}, file",
        "has changed since the row was stored",
        "give the rows an 'id' column, or send all of it again with --again",
    )


def _whole(row: Row, wire: GuestWire) -> Draft:
    """Return a row's message with its file, which was there when the file of messages was surveyed."""
    draft, findings = with_file(row, wire.destination.limits)
    if findings:
        raise ConfigError(
            f"row {row.number}: its file changed while the batch was read ({findings[0].text}); what was stored of the"
            " batch is held and not sent",
            code="GW-C067",
            hint="run the command again on files that nobody writes to",
        )
    return draft


async def hold(file: BatchFile, wire: GuestWire, batch: str, *, again: bool = False) -> list[Ticket]:
    """Store every row; none enters its lane before the batch is let go. Raises as `store`."""
    tickets: list[Ticket] = []
    for slice_ in _slices((row.number, _whole(row, wire)) for row in _good(file.rows())):
        drafts = [draft for _, draft in slice_]
        if again:
            drafts = [msgspec.structs.replace(draft, key=None) for draft in drafts]
        try:
            tickets += await wire.submit_held(drafts, batch)
        except Rejected as error:
            (first, _), (last, _) = slice_[0], slice_[-1]
            finding = msgspec.structs.replace(error.findings[0], path=f"rows {first}-{last}, id")
            raise Rejected([finding], code=error.code) from None
    if file.digest != BatchFile(file.path, wire.destination.name).digest:
        raise ConfigError(
            f"'{file.path}' changed while it was read; what was stored of it is held and not sent",
            code="GW-C067",
            hint="run the command again on a file that nobody writes to",
        )
    return tickets


async def store(file: BatchFile, wire: GuestWire, *, again: bool) -> list[Ticket]:
    """
    Pass 2: store every row, then let the batch go.

    Raises:
        Rejected: A row's id is known with another content; nothing of that row's transaction was stored.
        ConfigError: The file changed between the passes, or one that a row names.
    """
    batch = f"{file.digest}:{time.time_ns()}" if again else file.digest
    tickets = await hold(file, wire, batch, again=again)
    await wire.let_go(batch, str(file.path.resolve()), file.digest, len(tickets))
    return tickets


def _good(rows: Iterable[Row | BadRow]) -> Iterator[Row]:
    return (row for row in rows if isinstance(row, Row))


def _slices(drafts: Iterable[tuple[int, Draft]]) -> Iterator[list[tuple[int, Draft]]]:
    """Cut into what is stored in one transaction: so many rows, or so many bytes of files."""
    slice_: list[tuple[int, Draft]] = []
    size = 0
    for number, draft in drafts:
        slice_.append((number, draft))
        size += sum(len(attachment.content) for attachment in draft.attachments)
        if len(slice_) == SUBMIT_SLICE or size > MAX_FILES_BYTES:
            yield slice_
            slice_, size = [], 0
    if slice_:
        yield slice_


class Progress:
    """A line that moves, on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._shown_at = 0.0
        self._moves = sys.stderr.isatty()

    def add(self, count: int) -> None:
        """So many more have ended."""
        self.done += count
        now = time.monotonic()
        if self._moves and (now - self._shown_at > 0.1 or self.done >= self.total):
            self._shown_at = now
            sys.stderr.write(f"\r{self.done:,} of {self.total:,} ended")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._moves:
            sys.stderr.write("\n")


async def wait(wire: GuestWire, tickets: Sequence[Ticket]) -> dict[str, int]:
    """Wait until every row has ended, or waits for a person; returns how many are where."""
    progress = Progress(len(tickets))
    ours = {part for ticket in tickets for part in ticket.part_ids}
    telling = asyncio.create_task(_tell_troubles(wire))
    try:
        async for entries in wire.progress(tickets):
            progress.add(sum(entry.event in SETTLING and entry.part_id in ours for entry in entries))
    finally:
        telling.cancel()
        progress.end()
    return await count(wire, tickets)


async def _tell_troubles(wire: GuestWire) -> None:
    """Say once what keeps the relay waiting; a command that says nothing for minutes looks broken."""
    told: set[str] = set()
    while True:
        for trouble in set(wire.troubles()) - told:
            told.add(trouble)
            show.warn(f"{trouble}; still trying, and Ctrl-C leaves the rest queued")
        await asyncio.sleep(1.0)


async def count(wire: GuestWire, tickets: Sequence[Ticket]) -> dict[str, int]:
    """Count where the parts stand."""

    def states(store: SqliteStore) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for ticket in tickets:
            for state, number in store.message_states(ticket.message_id).items():
                counts[state.value] += number
        return dict(counts)

    return await wire.store_read(states)


def exit_code(counts: dict[str, int]) -> int:
    """0: every row accepted. 7: some were not. 8: some have an unknown outcome. 6: some still wait."""
    taken = {PartState.ACCEPTED, PartState.DELIVERED, PartState.READ}
    if any(counts.get(state.value) for state in (PartState.DEAD, PartState.EXPIRED, PartState.CANCELLED)):
        return 7
    if counts.get(PartState.CHECKING.value) or counts.get(PartState.PARKED.value):
        return 8
    return 0 if set(counts) <= {state.value for state in taken} else 6


def reserve(path: Path, file: BatchFile) -> None:
    """
    Look whether a report can be written there, before anything is sent.

    Raises:
        ConfigError: It cannot, or it would overwrite the input.
    """
    problem, hint = "", "name another file"
    try:
        if path.is_dir():
            problem = "it is a folder"
        elif path.exists() and path.samefile(file.path):
            problem = "it is the input"
        elif path.exists() and not path.is_file():
            return  # such as /dev/stdout
        else:
            with tempfile.TemporaryFile(dir=path.parent):
                return
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ConfigError(f"the report '{path}' cannot be written: {problem}", code="GW-C068", hint=hint)


async def report(wire: GuestWire, file: BatchFile, tickets: Sequence[Ticket], path: Path) -> None:
    """
    Write the input with what became of each row: all of it, or nothing.

    A cell that a spreadsheet would take for a formula (``= + - @`` first) gets an apostrophe in front.
    """
    columns = list(dict.fromkeys(name for row in _good(file.rows()) for name in row.source))

    def lines(store: SqliteStore) -> list[list[str]]:
        found = [[*columns, "state", "gateway_id", "gateway_time", "reason"]]
        for row, ticket in zip(_good(file.rows()), tickets, strict=True):
            source = [row.source.get(name, "") for name in columns]
            for part in store.message_parts(ticket.message_id, with_text=False):
                found.append(
                    [*source, part.state.value, part.gateway_id or "", part.gateway_time or "", part.reason or ""]
                )
        return found

    try:
        _write(path, await wire.store_read(lines))
    except OSError as error:
        raise ConfigError(
            f"the report '{path}' cannot be written: {error.strerror}",
            code="GW-C068",
            hint="name another file and run the same command again: no row is sent twice",
        ) from error


def _write(path: Path, lines: Iterable[Sequence[str]]) -> None:
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as sheet:
            csv.writer(sheet).writerows([_cell(value) for value in line] for line in lines)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as sheet:
            csv.writer(sheet).writerows([_cell(value) for value in line] for line in lines)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


#: What spreadsheets take for the beginning of a formula. Source: OWASP, "CSV Injection".
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four: full width


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def confirm(destination: Destination, survey: Survey, *, yes: bool) -> bool:
    """
    Show what would happen and ask. The emulator is not asked about.

    Returns:
        Whether to go on.

    Raises:
        ConfigError: There is nobody to ask.
    """
    show.say(
        f"{survey} to '{destination.name}';"
        f" up to {show.counted(survey.guests, 'new conversation')};"
        f" through in about {show.ago(survey.forecast.duration_s)}"
        f" (bound by {survey.forecast.binding}; {survey.forecast.assumptions})"
    )
    if yes or destination.is_emulator:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on", code="GW-U002", hint="add --yes if you mean it")
    sys.stderr.write("send them? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
