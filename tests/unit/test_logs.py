"""The log of the command line: one record is one line, and nothing in it gets out of its field."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.cli import logs, show
from guestwire.errors import ConfigError
from guestwire.settings import LogSettings

#: What somebody writes who wants a line of his own in our log, or to steer the terminal that shows it.
INJECTIONS = [
    "a\nb",
    "a\r\nb",
    "\x1b[31mred\x1b[0m",
    "\x9b31mred",
    "\u202etxet",
    "\u2066a\u2069",
    "nul\0nul",
    "\u2028line\u2029",
    "\x85next",
    "\ud800",
    '"quoted" \\ back',
    "x action=forged code=GW-X001",
    "x: forged",
    '"}\n{"level": "error"}',
    "",
    "\t",
    "\x07\x08\x7f",
]
#: Nothing of this may leave a line: controls, C1 controls, separators, characters that turn the direction.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def record(message: str = "hello", **extra: object) -> logging.LogRecord:
    """A record of ours."""
    made = logging.LogRecord("guestwire.relay", logging.WARNING, "", 0, message, None, None)
    made.created = 1_800_000_000.25
    made.__dict__.update(extra)
    return made


def text(made: logging.LogRecord) -> str:
    """The record as a line for people."""
    return logs.Formatter(as_json=False).format(made)


def as_object(made: logging.LogRecord) -> dict[str, object]:
    """The record as an object, whose line holds ASCII alone."""
    line = logs.Formatter(as_json=True).format(made)
    assert line.isascii()
    assert not STEERING.search(line)
    found: dict[str, object] = json.loads(line)
    return found


class Stderr:
    """What a process writes there."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self) -> str:
        """All of it since it was asked for last."""
        return self._capsys.readouterr().err

    def objects(self) -> list[dict[str, object]]:
        """Its lines as JSON."""
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Stderr]:
    """What is written there; afterwards nothing is configured."""
    yield Stderr(capsys)
    logs.wish(None, None)
    logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("injected", INJECTIONS)
def test_what_is_injected_stays_in_its_field(injected: str) -> None:
    """In the message, in every kind of field, in the logger's name; in JSON it reads back as it was."""
    made = record(injected, action=injected, code=injected, detail_reason=injected)
    made.name = f"guestwire.{injected}"
    found = as_object(made)
    assert (found["message"], found["action"], found["code"], found["reason"]) == (injected,) * 4
    line = text(made)
    assert not STEERING.search(line)
    assert not STEERING.search(text(record("%s", args=(injected,))))


@given(message=st.text(max_size=60), value=st.text(max_size=60), name=st.sampled_from(sorted(logs.KEYS)))
def test_any_words_are_one_line(message: str, value: str, name: str) -> None:
    """Whatever stands in a record, a line is a line, an object is an object, and each key has its own value."""
    found = as_object(record(message, **{name: value}))
    assert (found["message"], found[logs.KEYS[name]]) == (message, value)
    assert set(found) == {*logs.FIXED, logs.KEYS[name]}
    line = text(record(message, **{name: value}))
    assert not STEERING.search(line)
    # Fields end where the message begins, which comes last: no message can pass for a field.
    head = text(record("", **{name: value}))
    assert line.startswith(head)


def test_a_line_for_people() -> None:
    """Time in UTC, level, logger, fields, and then the words."""
    made = record("the store failed", action="store_failed", code="GW-S020", detail_reason="no space left")
    assert text(made) == (
        "2027-01-15T08:00:00.250+00:00 WARNING guestwire.relay action=store_failed code=GW-S020"
        ' reason="no space left": the store failed'
    )


def test_only_known_keys_get_out() -> None:
    """A field that nobody has looked at is not written, whatever it is called."""
    made = record(text="SECRET", token="SECRET", detail_body="SECRET", guest="SECRET", args_of="SECRET")
    assert set(as_object(made)) == set(logs.FIXED)
    assert "SECRET" not in text(made)


def test_values_are_scalars() -> None:
    """Numbers stay numbers, infinity is a word, lists are joined, and what is long is cut."""
    made = record(
        detail_attempt=3, detail_until=float("inf"), detail_new_session=True, detail_status=["a", "b"], code="x" * 9_000
    )
    found = as_object(made)
    assert (found["attempt"], found["until"], found["new_session"], found["status"]) == (3, "inf", True, "a, b")
    assert len(str(found["code"])) == logs.MAX_FIELD


def test_an_exception_is_told_without_its_words() -> None:
    """Its type and its place: its words may quote what was being handled."""
    try:
        int("a guest's words")
    except ValueError:
        made = record()
        made.exc_info = sys.exc_info()
    found = as_object(made)
    assert found["exception"] == "ValueError"
    assert str(found["where"]).startswith("unit/test_logs.py:")
    assert "guest" not in json.dumps(found).replace("guestwire.relay", "")
    assert "words" not in text(made)


def test_other_libraries_say_one_line(stderr: Stderr) -> None:
    """Their warnings are heard, without the lines that quote; their chatter is not."""
    logs.wish("json", "debug")
    logging.getLogger("asyncio").error("a task failed\nfuture: <Task exception=ValueError('a guest said so')>")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("guestwire.relay").debug("ours")
    assert [each["message"] for each in stderr.objects()] == ["a task failed", "ours"]


def test_arguments_that_do_not_fit_end_nothing() -> None:
    """A record that cannot be put together is told as far as it goes."""
    made = record("%d parts")
    made.args = ("many",)
    assert as_object(made)["message"] == "%d parts"


def test_in_json_everything_on_stderr_is_an_object(stderr: Stderr) -> None:
    """What a command says, warns of and fails with too, whatever the level; an error with code and hint."""
    logs.wish("json", "off")
    show.say("relaying\nout of it")
    show.warn("odd")
    show.error(ConfigError("wrong", code="GW-C001", hint="mend it"))
    logging.getLogger("guestwire.relay").error("not asked for")
    said = stderr.objects()
    assert [(each["level"], each["message"]) for each in said] == [
        ("info", "relaying\nout of it"),
        ("warning", "odd"),
        ("error", "wrong"),
    ]
    assert (said[2]["code"], said[2]["hint"]) == ("GW-C001", "mend it")


@pytest.mark.parametrize(
    ("flags", "settings", "heard"),
    [
        ((None, None), LogSettings(), []),
        ((None, None), LogSettings(format="json"), ["warning"]),
        ((None, None), LogSettings(level="info"), ["info", "warning"]),
        (("json", None), LogSettings(level="error"), []),
        ((None, "debug"), LogSettings(level="error"), ["debug", "info", "warning"]),
        (("text", "off"), LogSettings(format="json", level="info"), []),
    ],
)
def test_flags_go_before_settings(
    stderr: Stderr, flags: tuple[str | None, str | None], settings: LogSettings, heard: list[str]
) -> None:
    """Without either nothing is written; in JSON warnings are, unless something else is said."""
    logs.wish(*flags)
    logs.configure(settings)
    for level in ("debug", "info", "warning"):
        logging.getLogger("guestwire.relay").log(logging.getLevelNamesMapping()[level.upper()], level)
    said = stderr.text().lower()
    assert [level for level in ("debug", "info", "warning") if level in said] == heard


def test_a_reader_that_is_gone_ends_nothing(stderr: Stderr) -> None:
    """Nobody's work ends because nobody reads its log."""
    closed = io.StringIO()
    closed.close()
    with contextlib.redirect_stderr(closed):
        logs.wish("json", "info")
        logging.getLogger("guestwire.relay").warning("into the void")
    assert stderr.text() == ""
