"""
The log of a process, on stderr. Only the command line configures logging: a library leaves that to its program.

One record is one line, whatever stands in it, in either format. Of what a record carries beside its message only the
keys below are written, so that a new field of a record has to be looked at before it gets out. An exception is told by
its type and its place, without its words: those may quote what was being handled.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Final

from guestwire.cli import show
from guestwire.settings import LogSettings

#: Written of a record where it has them, beside what is `FIXED`.
EXTRAS: Final = ("action", "destination", "guest_ref", "part_id", "code", "hint")
#: Details of journal entries that are written, under their own names; two of those the line has already.
DETAILS: Final[Mapping[str, str]] = {
    "at": "due_at",
    "message": "message_id",
    **{
        name: name
        for name in [
            "attempt",
            "bytes",
            "cause",
            "changed",
            "code",
            "conversation_id",
            "correlation_id",
            "count",
            "destination",
            "errand",
            "error",
            "expires_at",
            "fence",
            "gateway_id",
            "http_status",
            "integration",
            "kind",
            "latency_ms",
            "left_sending",
            "limit",
            "new_session",
            "not_before",
            "reason",
            "reply",
            "restart",
            "silent_s",
            "size",
            "source",
            "state",
            "status",
            "until",
            "upload",
            "was",
            "what",
        ]
    },
}
#: Attributes of a record, and under which key each is written.
KEYS: Final[Mapping[str, str]] = {
    **{name: name for name in EXTRAS},
    **{f"detail_{name}": key for name, key in DETAILS.items()},
}
#: Written of every record.
FIXED: Final = ("at", "level", "logger", "message")
#: Written of an exception.
OF_EXCEPTIONS: Final = ("exception", "where")

LEVELS: Final = ("debug", "info", "warning", "error", "off")
#: Longer fields are cut, in characters.
MAX_FIELD = 2_000
#: So many frames of an exception are told, the innermost.
MAX_FRAMES = 8
#: What needs no quotes in the text format.
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)

Scalar = str | int | float | bool | None


class Formatter(logging.Formatter):
    """
    One line for each record.

    Args:
        as_json: An object; else fields as ``key=value`` and then the message, which is last so that nothing in it can
            pass for a field.
    """

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        fields = dict(_fields_of(record))
        if self._as_json:
            whole = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": _words_of(record)}
            # Letters outside ASCII as escapes: nothing that a terminal or a viewer obeys gets out of its string.
            return json.dumps(whole | fields, ensure_ascii=True, allow_nan=False)
        said = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
        return f"{at} {record.levelname} {show.printable(record.name)}{said}: {show.printable(_words_of(record))}"


class _Handler(logging.StreamHandler[Any]):
    """Writes to whatever stderr is now, and keeps its own troubles to itself: nobody's work ends with a broken pipe."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Be silent."""


_handler: _Handler | None = None
#: Whether it writes JSON, and the least level.
_current = (False, "off")
#: What flags say, over the settings.
_wishes: tuple[str | None, str | None] = (None, None)


def wish(form: str | None, level: str | None) -> None:
    """Take what the flags say; the settings, which are read later, have no say in it."""
    global _wishes  # noqa: PLW0603 - flags are one for the process
    _wishes = form, level
    configure(LogSettings())


def configure(settings: LogSettings) -> None:
    """
    Write the log, from now on so, unless flags say otherwise.

    In JSON what commands say to a person is a record too, so that stderr holds objects alone. Other people's libraries
    are heard from *warning* on.
    """
    global _handler, _current  # noqa: PLW0603 - logging itself is one for the process
    form, level = _wishes
    as_json = (form or settings.format) == "json"
    least = level or settings.level or ("warning" if as_json else "off")
    if _current == (as_json, least):
        return
    _current = as_json, least
    root, ours = logging.getLogger(), logging.getLogger("guestwire")
    if _handler is not None:
        root.removeHandler(_handler)
        _handler = None
    ours.setLevel(logging.NOTSET)
    show.voice = None
    if as_json or least != "off":
        _handler = _Handler(sys.stderr)
        _handler.setFormatter(Formatter(as_json=as_json))
    if as_json:
        show.voice = _speak
    if _handler is not None and least != "off":
        number = logging.getLevelNamesMapping()[least.upper()]
        root.addHandler(_handler)
        root.setLevel(max(number, logging.WARNING))
        ours.setLevel(number)


def _speak(level: int, text: str, extra: Mapping[str, str]) -> None:
    """Write what a command says, whatever the level: it is meant to be read."""
    record = logging.LogRecord("guestwire.cli", level, "", 0, text, None, None)
    record.__dict__.update(extra)
    if _handler is not None:
        _handler.handle(record)


def _words_of(record: logging.LogRecord) -> str:
    try:
        words = record.getMessage()
    except Exception:  # a record whose arguments do not fit must not end what it reports
        words = str(record.msg)
    if not record.name.startswith("guestwire"):
        # asyncio adds lines with the words of exceptions, which may quote anything.
        words = words.partition("\n")[0]
    return words if len(words) <= MAX_FIELD else words[: MAX_FIELD - 1] + "…"


def _fields_of(record: logging.LogRecord) -> Iterator[tuple[str, Scalar]]:
    given = record.__dict__
    told: set[str] = set()
    for attribute, name in KEYS.items():
        value = given.get(attribute)
        if value is None or name in told:
            continue
        told.add(name)
        yield name, _scalar(value)
    if record.exc_info and record.exc_info[0] is not None:
        yield "exception", record.exc_info[0].__name__
        frames = traceback.extract_tb(record.exc_info[2])[-MAX_FRAMES:]
        yield "where", " < ".join(f"{_place(frame)}:{frame.lineno}" for frame in reversed(frames))


def _place(frame: traceback.FrameSummary) -> str:
    return "/".join(frame.filename.rsplit("/", 2)[-2:])


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)  # JSON has no infinity
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= MAX_FIELD else text[: MAX_FIELD - 1] + "…"


def _quoted(value: Scalar) -> str:
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return show.printable(json.dumps(value, ensure_ascii=False))
    return str(value)
