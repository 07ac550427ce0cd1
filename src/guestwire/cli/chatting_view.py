"""
Where a chat is shown: on a terminal with a line that is being typed, as plain lines, or as objects of JSON.

    View            what a chat tells
      Plain         lines; messages on stdout, everything else on stderr
        Screen      lines above an input line that stays whole (terminals)
      Objects       one object a line
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from collections.abc import Callable
from typing import Any, Protocol

from guestwire.cli import show
from guestwire.cli.chatting_editor import Editor, Key, Keys
from guestwire.cli.chatting_text import width, window
from guestwire.cli.chatting_words import UNBOUNDED, Said, bounded, notes, rows

#: The key Esc alone is told from a sequence that begins with it by this silence, in seconds.
ESC_S = 0.05


class View(Protocol):
    """What a chat tells."""

    def object(self, data: Any) -> None:
        """Something for machines; people are told by the other methods."""

    def said(self, said: Said) -> None:
        """One side said something."""

    def note(self, words: str) -> None:
        """Something happened, or cannot be done."""

    def status(self, words: str) -> None:
        """What is going on now; empty: nothing."""

    def asks(self, words: str) -> None:
        """What the next line answers; empty: nothing in particular."""

    def close(self) -> None:
        """Give the terminal back; what is told afterwards is written plainly. May be called twice."""


class Objects:
    """One object of JSON for each event; words for people go to stderr."""

    def object(self, data: Any) -> None:
        """See `View`."""
        show.out(show.as_json(data))

    def said(self, said: Said) -> None:
        """Nothing: it was an object."""

    def note(self, words: str) -> None:
        """See `View`."""
        show.say(words)

    def status(self, words: str) -> None:
        """Nothing: there is no line that could change."""

    def asks(self, words: str) -> None:
        """See `View`."""
        if words:
            show.say(words)

    def close(self) -> None:
        """Nothing was taken."""


class Plain:
    """Lines without any movement: pipes, and terminals that can do no more."""

    def __init__(self) -> None:
        self._paints = show.colours()

    def object(self, data: Any) -> None:
        """Nothing: people are told otherwise."""

    def said(self, said: Said) -> None:
        """See `View`."""
        laid_out = rows(bounded(said), self.columns, isolate=sys.stdout.isatty())
        self._lines([self._head(front, said) + text for front, text in laid_out])

    def note(self, words: str) -> None:
        """See `View`."""
        show.say("\n".join(notes(words, self.columns)))

    def status(self, words: str) -> None:
        """Nothing: there is no line that could change."""

    def asks(self, words: str) -> None:
        """See `View`."""
        if words:
            self.note(words)

    def close(self) -> None:
        """Nothing was taken."""

    @property
    def columns(self) -> int:
        """How wide a line may be. A pipe has no width."""
        try:
            return max(20, os.get_terminal_size(sys.stdout.fileno()).columns or 80)
        except (OSError, ValueError):
            return UNBOUNDED

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            show.out(line)

    def _head(self, front: str, said: Said) -> str:
        return self._painted("2" if said.is_mine else "36", front) if front.strip() else front

    def _painted(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._paints else text


class Screen(Plain):
    """
    A terminal: what happens is written above the line that is being typed.

    The input line never takes more than one row (a longer one is moved sideways), and the cursor is put back by the
    terminal's own memory. So nothing has to be known of how the terminal counts columns.

    Args:
        pressed: Takes every key that the editor has no use for, and every line that was entered (as key ``enter``).
        typed: Called when the line has changed.
    """

    def __init__(self, pressed: Callable[[Key], None], typed: Callable[[str], None]) -> None:
        super().__init__()
        self.editor = Editor()
        self._pressed = pressed
        self._typed = typed
        self._keys = Keys()
        self._status = self._asked = ""
        self._flush: asyncio.TimerHandle | None = None
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[Any] | None = termios.tcgetattr(self._in)
        raw = termios.tcgetattr(self._in)
        # Output stays as it is. Ctrl-C comes as a key, because the terminal has to be given back before anything else.
        raw[0] &= ~(termios.ICRNL | termios.IXON)
        raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._in, termios.TCSADRAIN, raw)
        self._write("\x1b[?2004h")
        self.draw()

    @property
    def is_closed(self) -> bool:
        """Whether the terminal was given back."""
        return self._before is None

    def feed(self, data: bytes) -> None:
        """Take what was typed."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        before = self.editor.text
        for key in self._keys.feed(data):
            entered = self.editor.press(key)
            if entered is not None:
                self._pressed(Key("enter", entered))
            elif key.name == "interrupt" or (key.name == "eof" and not self.editor.text):
                self._pressed(key)
            elif key.name == "eof":
                self.editor.press(Key("delete"))
        if self._keys.is_waiting:
            self._flush = asyncio.get_running_loop().call_later(ESC_S, self._keys.flush)
        if self.editor.text != before and self.editor.text:
            self._typed(self.editor.text)
        self.draw()

    def note(self, words: str) -> None:
        """See `View`. All of it belongs into the terminal's one picture."""
        self._lines([self._painted("2", line) for line in notes(words, self.columns)])

    def status(self, words: str) -> None:
        """See `View`."""
        if words != self._status:
            self._status = words
            self.draw()

    def asks(self, words: str) -> None:
        """See `View`."""
        self._asked = words
        self.draw()

    def draw(self) -> None:
        """Draw the input line again, on the row of the cursor."""
        if self._before is None:
            return
        columns = self.columns
        front = " ".join(filter(None, (self._status, self._asked)))
        front = show.printable(front)
        while width(front) > columns // 2:
            front = front[:-2] + "…"
        prompt = (self._painted("2", front) + " " if front else "") + "> "
        room = max(4, columns - width(front) - 4)
        shown = [" " if part == "\t" else show.printable(part) for part in self.editor.parts]
        before, behind = window(shown, self.editor.cursor, room)
        self._write(f"\r\x1b[J{prompt}{before}\x1b7{behind}\x1b8")

    def close(self) -> None:
        """See `View`. Every line after this one is a plain one."""
        if self._before is None:
            return
        before, self._before = self._before, None
        if self._flush is not None:
            self._flush.cancel()
        self._write("\r\x1b[J\x1b[?2004l")
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._in, termios.TCSADRAIN, before)

    def _lines(self, lines: list[str]) -> None:
        clean = "" if self._before is None else "\r\x1b[J"
        self._write(clean + "".join(f"{line}\n" for line in lines))
        self.draw()

    def _write(self, text: str) -> None:
        # A terminal that is gone is noticed where it is read from.
        with contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()
