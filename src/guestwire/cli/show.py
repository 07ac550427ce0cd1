"""What people see: plain lines, tables, JSON; safe against whatever stands in a message."""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from guestwire.errors import AuthenticationError, ConfigError, GuestWireError, NotFound, Rejected, StoreError

#: Errors to exit codes; the first that fits.
EXIT_CODES: tuple[tuple[type[GuestWireError], int], ...] = (
    (Rejected, 3),
    (AuthenticationError, 4),
    (ConfigError, 4),
    (StoreError, 4),
    (NotFound, 2),
)


#: Levels of what is said, as `logging` numbers them.
INFO, WARNING, ERROR = 20, 30, 40

#: Takes what is said, in place of stderr, with its level and what belongs to it: where stderr is read by machines.
voice: Callable[[int, str, Mapping[str, str]], None] | None = None


class ReaderGone(Exception):
    """Whoever read our stdout is gone. Not an `OSError`, of which Typer would make an exit code of its own."""


def exit_code_of(error: GuestWireError) -> int:
    """Return the documented exit code of an error."""
    if error.code.startswith("GW-U"):
        return 2
    if error.code.startswith("GW-E"):
        return 5
    if error.code.startswith("GW-G"):
        return 6 if error.code == "GW-G003" else 5
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def out(text: str = "") -> None:
    """A line of data. It leaves at once: whoever reads a pipe waits for lines, not for a full buffer."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def say(text: str, level: int = INFO) -> None:
    """A line for the person, not for the pipe. Nobody's work ends because nobody reads it."""
    if voice is not None:
        voice(level, text.strip(), {})
        return
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def as_json(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value, order="deterministic").decode()


#: Findings that are shown; the rest is counted.
SHOWN = 20


def error(problem: GuestWireError) -> None:
    """What, why, what to do."""
    if voice is not None:
        voice(ERROR, problem.message, {"code": problem.code, "hint": problem.hint})
        return
    is_file = problem.code == "GW-R003"
    if isinstance(problem, Rejected) and (is_file or len(problem.findings) > 1):
        findings = problem.findings
        count = len({finding.path.partition(",")[0] for finding in findings}) if is_file else len(findings)
        what = f"{counted(count, 'row')} cannot be sent" if is_file else f"{count} reasons against this message"
        say(f"error: {what}; nothing was stored [{problem.code}]")
        for finding in findings[:SHOWN]:
            fix = f"; {finding.fix}" if finding.fix else ""
            say(printable(f"  {finding.path}: {finding.text} ({finding.rule}){fix}"))
        if len(findings) > SHOWN:
            say(f"  … and {len(findings) - SHOWN:,} more")
        return
    say(f"error: {printable(problem.message)} [{problem.code}]")
    if problem.hint:
        say(f"  {printable(problem.hint)}")


def warn(text: str, **extra: str) -> None:
    """Something the person should know; `extra` is for logs that are read by machines."""
    if voice is not None:
        voice(WARNING, text, extra)
        return
    say(f"warning: {printable(text)}")


def printable(text: str, *, width: int | None = None) -> str:
    """
    Return a text that stays inside its line and its colours.

    Control characters, terminal escapes and characters that turn the direction of what follows are shown as
    escapes; line breaks as ``⏎``. Letters of every script stay as they are.
    """
    shown = "".join(_shown(character) for character in text.replace("\r\n", "\n"))
    if width is not None and len(shown) > width:
        shown = shown[: width - 1] + "…"
    return shown


#: Embeddings, overrides and isolates: they would reorder the line around the text.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


#: Controls, halves of surrogate pairs, and the two separators that some terminals and viewers break lines at.
_ENDING = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _shown(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character in _TURNING or unicodedata.category(character) in _ENDING:
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character


def isolated(text: str) -> str:
    """
    Wrap a text so that its direction does not turn the columns beside it (Unicode UAX #9: FSI … PDI).

    On a terminal alone: in a pipe the two invisible characters would only be in the way.
    """
    return f"\u2068{text}\u2069" if sys.stdout.isatty() else text


def colours() -> bool:
    """Whether stdout is a terminal that wants colours. `NO_COLOR` (no-color.org) says no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def local(at: float | None) -> str:
    """A moment in local time with its offset; stored times are UTC."""
    if at is None:
        return ""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="milliseconds")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def ago(seconds: float) -> str:
    """A duration for people."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; where it is not a terminal, plain columns with two spaces between them and no frame."""
    cells = [[printable(cell) for cell in row] for row in rows]
    right = [column in ("tries", "count", "rows", "bytes") for column in columns]
    if not sys.stdout.isatty():
        widths = [max(len(row[place]) for row in (list(columns), *cells)) for place in range(len(columns))]
        for row in (list(columns), *cells):
            shown = (
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(row, widths, right, strict=True)
            )
            out("  ".join(shown).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    sheet = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, is_right in zip(columns, right, strict=True):
        sheet.add_column(column, justify="right" if is_right else "left", overflow="fold", no_wrap=column == "part")
    for row in cells:
        sheet.add_row(*(escape(cell) for cell in row))
    Console(no_color=not colours(), highlight=False).print(sheet)
