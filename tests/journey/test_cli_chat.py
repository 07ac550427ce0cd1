"""`guestwire chat` as a process: in a pipe, and on a terminal whose glass is read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guestwire.cli.chatting_text import clusters
from guestwire.cli.chatting_text import width as width_of
from tests.journey.test_cli_kit import GUESTWIRE, Cli, ended, line_with, texts

ROWS, COLUMNS = 24, 60
#: How long a test waits for what must come, in seconds.
PATIENCE_S = 20.0


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Commands with a home of their own."""
    return Cli(tmp_path)


#: Told whenever a chat has written something.
NEWS = threading.Condition()


def until(condition: Callable[[], object], what: Callable[[], object] = str) -> None:
    """Wait until something holds: asked whenever a chat writes, and once a second for what it does not show."""
    deadline = time.monotonic() + PATIENCE_S
    with NEWS:
        while not NEWS.wait_for(condition, 1.0):
            assert time.monotonic() < deadline, what()


class Glass:
    """As much of a terminal as a chat needs: what its characters leave to be seen."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self.at = 0
        self.saved = 0
        self.modes: set[str] = set()

    def write(self, text: str) -> None:
        """Take output. Anything that is not expected of a chat fails."""
        for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\x1b[78]|\r|\n|[^\x1b\r\n]+", text, re.DOTALL):
            if token == "\r":
                self.at = 0
            elif token == "\n":
                self.rows.append([])
                self.at = 0
            elif token == "\x1b7":
                self.saved = self.at
            elif token == "\x1b8":
                self.at = self.saved
            elif token == "\x1b[J":
                del self.rows[-1][self.at :]
            elif token in ("\x1b[?2004h", "\x1b[?2004l"):
                (self.modes.add if token.endswith("h") else self.modes.discard)("paste")
            elif not token.startswith("\x1b"):
                self._print(token)
            else:
                assert re.fullmatch(r"\x1b\[[0-9;]*m", token), repr(token)

    def _print(self, text: str) -> None:
        assert not [character for character in text if ord(character) < 32], repr(text)
        for cluster in clusters(text):
            self.rows[-1][self.at : self.at + 1] = [cluster]
            self.at += 1

    @property
    def lines(self) -> list[str]:
        """What is seen."""
        return ["".join(row) for row in self.rows]

    @property
    def last(self) -> str:
        """The line of the cursor, with a ▮ where it stands."""
        row = self.rows[-1]
        return "".join([*row[: self.at], "▮", *row[self.at :]])


class Terminal:
    """A chat on a terminal of its own."""

    def __init__(self, cli: Cli, *arguments: str, **environment: str) -> None:
        self.side, far = pty.openpty()
        self.resize(COLUMNS)
        self.before = termios.tcgetattr(far)
        self._far = far  # kept open: its settings are looked at when the chat is gone
        self.process = subprocess.Popen(
            [GUESTWIRE, "chat", *arguments],
            cwd=cli.folder,
            env={**cli.environment, "TERM": "xterm-256color", **environment},
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads at work in the child
        )
        self.raw = ""
        self.glass = Glass()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.side, 65_536):
                # A character may be cut between two reads; what a chat writes is written at once.
                text = data.decode("utf-8", "replace")
                self.glass.write(text.replace("\r\n", "\n"))
                self.raw += text
                with NEWS:
                    NEWS.notify_all()

    def resize(self, columns: int) -> None:
        """Change its width; the kernel tells whoever is in its foreground."""
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.side, keys.encode())

    def sees(self, *words: str) -> str:
        """Wait until one line holds all of these; returns it."""
        return self._wait(lambda: [line for line in self.glass.lines if all(word in line for word in words)], words)

    def line_is(self, last: str) -> None:
        """Wait until the input line looks so."""
        self._wait(lambda: [last] if self.glass.last == last else [], (last,))

    def _wait(self, look: Callable[[], list[str]], words: tuple[str, ...]) -> str:
        found: list[str] = []

        def seen() -> bool:
            with contextlib.suppress(IndexError):  # the other thread writes
                found[:] = look()
            return bool(found)

        until(seen, lambda: f"{words} not in\n" + "\n".join([*self.glass.lines, self.glass.last]))
        return found[-1]

    def ends(self) -> int:
        """Wait for its end; returns the exit code. The terminal is as it was."""
        code = self.process.wait(PATIENCE_S)
        assert termios.tcgetattr(self._far) == self.before
        until(lambda: not self.glass.modes)
        assert "Traceback" not in self.raw
        return code

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._far)
        os.close(self.side)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(cli: Cli, genesys: Any) -> Iterator[Open]:
    """Opens chats with the emulator, each on a terminal of its own."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, **more: Any) -> Terminal:
        opened.append(Terminal(cli, "--gateway", genesys.url, *arguments, **more))
        opened[-1].line_is("> ▮")
        opened[-1].sees("/help")
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def piped(cli: Cli, genesys: Any, stdin: str | bytes, *arguments: str, quiet: str = "0.3", **environment: str) -> Any:
    """A chat in a pipe, to its end."""
    return cli("chat", "--gateway", genesys.url, "--quiet-s", quiet, *arguments, stdin=stdin, **environment)


# --- in a pipe ---


@pytest.mark.genesys(script="echo")
def test_in_a_pipe_each_line_is_a_message(cli: Cli, genesys: Any) -> None:
    """In order, under one guest; the replies are on stdout, nothing there moves or is coloured, the exit code is 0."""
    said = piped(cli, genesys, "one\r\n\nשלום\n//three\nfour")
    assert said.code == 0
    assert texts(genesys) == ["one", "שלום", "/three", "four"]
    assert len(genesys.conversations()) == 1
    assert len(re.findall(r"^Echo  \d\d:\d\d  You said: ", said.out, re.MULTILINE)) == 4
    assert len(re.findall(r"^you  \d\d:\d\d  ", said.out, re.MULTILINE)) == 4
    assert not re.search("[\x00-\x09\x0b-\x1f\u2066-\u2069]", said.out)


@pytest.mark.genesys(script="echo")
def test_as_json_everything_is_an_object(cli: Cli, genesys: Any) -> None:
    """Messages by their ids, the journal of the guest, replies with their content; words for people are on stderr."""
    said = piped(cli, genesys, "hello\n/nothing\n", "--json", "--guest", "42", "--attr", "topic=returns")
    events = [found["event"] for found in said.objects]
    assert events[0] == "chat.started"
    (message,) = (found for found in said.objects if found["event"] == "message")
    (accepted,) = (found for found in said.objects if found["event"] == "part.accepted")
    assert accepted["part_id"] == message["part_id"]
    (reply,) = (found for found in said.objects if found["event"] == "reply")
    assert (reply["text"], reply["author"], reply["nickname"], reply["options"]) == (
        "You said: hello",
        "Bot",
        "Echo",
        [],
    )
    (refused,) = (found for found in said.objects if found["event"] == "refused")
    assert "there is no /nothing" in refused["words"]
    assert said.code == 2
    (shown,) = (entry for entry in genesys.messages() if entry["direction"] == "Inbound")
    assert shown["custom_attributes"] == {"topic": "returns"}


def test_what_cannot_be_sent_is_said_and_the_rest_goes_out(cli: Cli, genesys: Any) -> None:
    """By its line; the exit code is that of the first such thing."""
    said = piped(
        cli, genesys, b"a\n\xff\xfe\n" + b"x" * 250_000 + b"\n" + b"y" * 1_000_001 + b"\n/flie x\n/file nowhere\nb\n"
    )
    assert said.code == 3
    assert texts(genesys) == ["a", "b"]
    assert "line 2 is not UTF-8" in said.err
    assert "it would become 61 parts or more, and 50 are the most" in said.err
    assert "line 4 is longer than 1,000,000 bytes" in said.err
    assert "did you mean /file?" in said.err
    assert "'nowhere' is not there" in said.err


def test_without_a_gateway_it_ends_and_the_message_waits(cli: Cli) -> None:
    """Exit code 6 after the time it was given, with the reason."""
    said = cli(
        *("chat", "--gateway", "http://127.0.0.1:9", "--deployment-id", "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"),
        *("--timeout", "0.5"),
        stdin="hello\n",
    )
    assert said.code == 6
    assert "the gateway cannot be reached" in said.err
    assert "1 message not accepted yet" in said.err
    assert "1 queued" in cli("status").out


@pytest.mark.genesys(script="showcase")
def test_the_transcript_holds_both_sides(cli: Cli, genesys: Any) -> None:
    """With times, offers and the names of files; only its owner can read it, and it is asked for in time."""
    path = cli.folder / "said.txt"
    photo = cli.write("a photo.txt", b"photo")
    said = piped(cli, genesys, f"choices\n/file '{photo}'\n", "--transcript", str(path), quiet="0.6")
    assert said.code == 0
    assert f"transcript: {path}" in said.err
    text = path.read_text("utf-8")
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  you  choices$", text, re.MULTILINE)
    assert re.search(r"Showcase  Which one\?\n +\[1\] Yes\n +\[2\] No", text)
    assert "you  file: a photo.txt (text/plain, 5 bytes)" in text
    assert "A file, thank you." in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refused = piped(cli, genesys, "never sent\n", "--transcript", str(cli.folder / "no" / "where"))
    assert (refused.code, "GW-C068" in refused.err) == (4, True)
    assert "never sent" not in texts(genesys)


@pytest.mark.genesys(script="showcase")
def test_a_pipe_answers_by_number(cli: Cli, genesys: Any) -> None:
    """What is on offer is chosen, once; a number that is not on offer is a text."""
    with subprocess.Popen(
        [GUESTWIRE, "chat", "--gateway", genesys.url, "--quiet-s", "0.3"],
        cwd=cli.folder,
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin
        process.stdin.write("choices\n")
        line_with(process.stdout, "[3] Perhaps")
        process.stdin.write("7\n2\n2\n")
        line_with(process.stdout, "You said: No")
        said = ended(process)
    assert said.code == 0
    assert texts(genesys) == ["choices", "7", "No", "2"]
    kinds = [bool(entry["content"]) for entry in genesys.messages() if entry["direction"] == "Inbound"]
    assert kinds == [False, False, True, False]


@pytest.mark.genesys(script="echo")
def test_another_process_may_relay(cli: Cli, genesys: Any) -> None:
    """A chat beside `up` submits and reads; the guest is followed only while it lasts."""
    up = cli.start("up", "--gateway", genesys.url)
    line_with(up.stderr, "relaying out of")
    said = piped(cli, genesys, "beside\n", "--guest", "42", quiet="0.6")
    assert said.code == 0
    assert "You said: beside" in said.out
    tail = ended(up, signal.SIGTERM)
    assert tail.code == 0
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom guestwire import GuestWire\n"
        "async def main():\n"
        "    async with GuestWire([], store=Path(sys.argv[1]), relay='never') as wire:\n"
        "        print((await wire.guests.show('42')).is_followed)\n"
        "asyncio.run(main())"
    )
    (store,) = (cli.folder / "state").rglob("store.db")
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.parent)], env=cli.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_ctrl_c_ends_a_pipe_that_goes_on(cli: Cli, genesys: Any) -> None:
    """What was read is sent; exit code 130."""
    with subprocess.Popen(
        [GUESTWIRE, "chat", "--gateway", genesys.url],
        cwd=cli.folder,
        env=cli.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin
        process.stdin.write("sent\n")
        line_with(process.stdout, "sent")
        assert ended(process, signal.SIGINT).code == 130
    assert texts(genesys) == ["sent"]


def test_nobody_else_loads_the_chat() -> None:
    """Other commands start without it."""
    code = "import sys, guestwire.cli.app\nprint([name for name in sys.modules if 'chat' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- on a terminal ---


def test_a_reply_leaves_the_half_typed_line_whole(terminal: Open, genesys: Any) -> None:
    """It is written above; the cursor stays where it stood, and what is typed on is one message."""
    chat = terminal()
    chat.type("hello\r")
    chat.sees("you", "hello")
    chat.type("half a lin\x1b[D\x1b[D\x1b[D")
    chat.line_is("> half a ▮lin")
    genesys.say("interrupting", nickname="Ann")
    chat.sees("Ann has joined")
    chat.sees("Ann", "interrupting")
    chat.line_is("> half a ▮lin")
    chat.type("\x05e\r")
    chat.sees("you", "half a line")
    assert texts(genesys) == ["hello", "half a line"]
    chat.type("\x04")
    assert chat.ends() == 0


def test_keys_of_every_script(terminal: Open, genesys: Any) -> None:
    """Emoji go as a whole, a paste keeps its lines, the history comes back, an empty line sends nothing."""
    chat = terminal()
    chat.type("\r  \rשלום 👩‍👩‍👧x\x7f\x7f日")
    chat.line_is("> שלום 日▮")
    chat.type("\r\x1b[200~two\r\nlines\x1b[31m\x1b[201~")
    chat.line_is("> two⏎lines[31m▮")
    chat.type("\r")
    chat.sees("lines[31m")
    chat.type("\x1b[A\x1b[A")
    chat.line_is("> שלום 日▮")
    chat.sees("you", "\u2068שלום 日\u2069")
    until(lambda: len(texts(genesys)) == 2)
    assert texts(genesys) == ["שלום 日", "two\nlines[31m"]
    chat.type("\x15x\x04\x08\x04")
    assert chat.ends() == 0


def test_sixty_columns_hold_everything(terminal: Open, genesys: Any) -> None:
    """Rows break between words and never within a character; hostile text stays text; a long line moves sideways."""
    chat = terminal()
    chat.type("hi\r")
    chat.sees("you", "hi")
    chat.type("x" * 100)
    genesys.say(
        "word " * 30 + "日本語" * 30 + "\nsecond \x1b[31mline\u202e \x00", nickname="Ann\x1b[2J\u202e and a long name"
    )
    chat.sees("second \\x1b[31mline\\u202e \\x00")
    chat.sees("Ann\\x1b")
    chat.line_is("> " + "x" * 55 + "▮")
    assert max(width_of(line) for line in chat.glass.lines) <= COLUMNS
    chat.resize(30)
    chat.line_is("> " + "x" * 25 + "▮")
    chat.type("\x15/quit\r")
    assert chat.ends() == 0


def test_typing_is_shown_both_ways(terminal: Open, genesys: Any) -> None:
    """Theirs until a message comes; ours reaches the agent."""
    chat = terminal()
    chat.type("hi\r")
    chat.sees("you", "hi")
    genesys.say("one", nickname="Ann")
    chat.sees("one")
    genesys.say(event="typing", nickname="Ann")
    chat.line_is("Ann is typing … > ▮")

    def typing_has_come() -> bool:
        chat.type("y")
        # One message was sent: whatever else goes that way is typing.
        return [request["action"] for request in genesys.requests()].count("onMessage") > 1

    until(typing_has_come)
    assert texts(genesys) == ["hi"]
    genesys.say("two", nickname="Ann")
    chat.sees("two")
    until(lambda: chat.glass.last.startswith("> y"))


@pytest.mark.genesys(script="showcase")
def test_everything_on_offer_is_answered_by_number(terminal: Open, genesys: Any) -> None:
    """Buttons, times, lists, forms; links are shown with their address; an offer is good for one answer."""
    chat = terminal()
    chat.type("cards\r")
    chat.sees("->", "Print", "https://example.com/label.pdf")
    chat.sees("[2] Send it to me")
    chat.type("2\r")
    chat.sees("Booked: Send it to me")
    chat.type("list\r")
    chat.sees("/answer 1,2")
    chat.type("/answer 3,4\r")
    chat.sees("only one of these")
    chat.type("/answer 1,9\r")
    chat.sees("'9' is not on offer; choose from 1 to 4")
    chat.type("/answer 1,2\r")
    chat.sees("you", "Olives, Peppers")
    chat.type("form\r")
    chat.sees("begins it")
    chat.type("1\r")
    chat.line_is("Name > ▮")
    chat.type("\r")
    chat.sees("this field is required")
    chat.type("Ann\r")
    chat.sees("[1] One; [2] Two")
    chat.type("2\r")
    chat.sees("you", "Ann, Two")
    chat.type("times\r")
    chat.sees("[3]", ":00")
    chat.type("1\r")
    chat.sees("See you then")
    chat.type("1\r")
    chat.sees("You said: 1.")
    answers = [entry for entry in genesys.messages() if entry["direction"] == "Inbound" and entry["content"]]
    payloads = re.findall(r'"payload": "([^"]*)"', json.dumps(answers))
    assert payloads[:3] == ["book:label", "topping:olives", "topping:peppers"]
    assert {"Ann", "Two"} <= set(payloads)
    assert len(answers) == 4


@pytest.mark.genesys(script="showcase", upload_event_delay_ms="20-40")
def test_files_both_ways(cli: Cli, terminal: Open, genesys: Any) -> None:
    """One is sent, one is fetched, and nothing that was there is replaced."""
    cli.write("photo one.txt", b"photo" * 300_000)
    chat = terminal()
    chat.type("/file photo\\ one.txt\rafter it\r")
    chat.sees("you", "file: photo one.txt (1,500 kB)")
    assert "sending the file" in chat.raw
    chat.sees("you", "after it")
    assert texts(genesys)[1] == "after it"
    chat.sees("A file, thank you.")
    chat.type("/save out.txt\r")
    chat.sees("no file was received yet")
    chat.type("file\r")
    chat.sees("hours.txt (text/plain, 26 bytes)")
    chat.type("/save out.txt\r")
    chat.sees("saved 26 bytes as out.txt")
    assert (cli.folder / "out.txt").read_text() == "Monday to Friday, 9 to 17\n"
    chat.type("/save out.txt\r")
    chat.sees("File exists")
    chat.type("/file bad\r/file .\r")
    chat.sees("'bad' is not there")
    chat.sees("'.' is a folder")


@pytest.mark.genesys(script="showcase", clear_enabled=True)
def test_the_end_of_a_conversation_is_said(terminal: Open, genesys: Any) -> None:
    """In words; the next message begins another one. Clearing, closing and beginning anew are commands."""
    chat = terminal("--guest", "42")
    chat.type("bye\r")
    chat.sees("the other side ended the conversation")
    chat.type("again\r")
    chat.sees("You said: again")
    assert len(genesys.conversations()) == 2
    chat.type("form\r")
    chat.sees("begins it")
    chat.type("1\r")
    chat.line_is("Name > ▮")
    chat.type("/new\r")
    chat.sees("another conversation has begun")
    chat.line_is("> ▮")
    chat.type("/clear\r")
    chat.sees("the conversation was cleared")
    chat.type("/close\r")
    chat.sees("the session is closed")
    chat.type("back\r")
    chat.sees("You said: back")
    chat.type("/quit\r")
    assert chat.ends() == 0
    later = terminal("--guest", "42")
    later.sees("You said: back")


def test_ctrl_c_waits_for_what_is_on_its_way(terminal: Open, genesys: Any) -> None:
    """Once: the answer is waited for, the exit code is 0, the terminal is as it was."""
    genesys.inject("delay_echo", delay_ms=3_600_000)
    chat = terminal(GUESTWIRE_RELAY__ANSWER_S="60", GUESTWIRE_RELAY__SHUTDOWN_S="60")
    chat.type("hello\r")
    until(lambda: texts(genesys) == ["hello"])
    chat.line_is("… sending > ▮")
    chat.type("\x03")
    genesys.advance(3_600)
    chat.sees("you", "hello")
    assert chat.ends() == 0


def test_ctrl_c_twice_stops_at_once(terminal: Open, genesys: Any) -> None:
    """Exit code 130, and the terminal is as it was all the same."""
    genesys.inject("silent_peer")
    chat = terminal(GUESTWIRE_RELAY__ANSWER_S="60", GUESTWIRE_RELAY__SHUTDOWN_S="60")
    chat.type("hello\r")
    chat.line_is("… sending > ▮")
    chat.type("\x03")
    chat.sees("Ctrl-C stops at once")
    chat.type("\x03")
    chat.sees("stopped at once")
    assert chat.ends() == 130


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_without_colours(cli: Cli, genesys: Any, environment: dict[str, str]) -> None:
    """Nothing is coloured; where nothing can move either, lines come as they do in a pipe."""
    chat = Terminal(cli, "--gateway", genesys.url, "--quiet-s", "0", **environment)
    try:
        chat.sees("/help")
        chat.type("hello\n")
        chat.sees("you", "hello")
        genesys.say("hi", nickname="Ann")
        chat.sees("Ann", "hi")
        chat.process.send_signal(signal.SIGTERM)
        chat.ends()
        assert not re.search(r"\x1b\[[0-9;]*m", chat.raw)
        assert ("\x1b" in chat.raw) == ("TERM" not in environment)
    finally:
        chat.close()
