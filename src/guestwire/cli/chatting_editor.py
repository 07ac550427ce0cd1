"""
A line editor without a terminal: bytes become keys, keys change a line. No I/O, no clock.

    Keys     bytes of a terminal  -> keys      (UTF-8, escape sequences, bracketed paste)
    Editor   keys                 -> the line, its cursor, what was entered
"""

from __future__ import annotations

import codecs
from typing import Literal, NamedTuple

from guestwire.cli.chatting_text import clusters

Name = Literal[
    "text",
    "enter",
    "newline",
    "backspace",
    "delete",
    "left",
    "right",
    "word_left",
    "word_right",
    "home",
    "end",
    "up",
    "down",
    "kill_before",
    "kill_after",
    "kill_word",
    "redraw",
    "interrupt",
    "eof",
]

#: Longest line, in characters. More than the gateway takes, so that a text that is too long is refused whole, not cut.
MAX_LINE = 100_000
#: Lines that are remembered.
MAX_HISTORY = 500


class Key(NamedTuple):
    """A key that was pressed, or a text that was typed or pasted."""

    name: Name
    text: str = ""


_CONTROLS: dict[str, Name] = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x01": "home",
    "\x02": "left",
    "\x03": "interrupt",
    "\x04": "eof",
    "\x05": "end",
    "\x06": "right",
    "\x0b": "kill_after",
    "\x0c": "redraw",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "kill_before",
    "\x17": "kill_word",
}
#: What follows ESC [ or ESC O; modifiers (as in ESC [1;5D) are looked up with the number before the letter.
_SEQUENCES: dict[str, Name] = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "7~": "home",
    "4~": "end",
    "8~": "end",
    "3~": "delete",
    "1;5D": "word_left",
    "1;5C": "word_right",
    "1;3D": "word_left",
    "1;3C": "word_right",
}
_ALTS: dict[str, Name] = {
    "\r": "newline",
    "\n": "newline",
    "b": "word_left",
    "f": "word_right",
    "\x7f": "kill_word",
    "\x08": "kill_word",
}
_PASTE, _PASTE_END = "200~", "\x1b[201~"


class Keys:
    """Reads keys out of a terminal's bytes, however they are cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""
        self._pasting = False

    @property
    def is_waiting(self) -> bool:
        """Whether an escape sequence has begun and not ended: it may be the key Esc alone, see `flush`."""
        return bool(self._waiting) and not self._pasting

    def feed(self, data: bytes) -> list[Key]:
        """Take bytes; return the keys that they complete."""
        self._waiting += self._decoder.decode(data)
        keys: list[Key] = []
        while self._waiting and self._take(keys):
            pass
        return keys

    def flush(self) -> None:
        """Nothing followed for a while: what has begun was no sequence, and is dropped."""
        if not self._pasting:
            self._waiting = ""

    def _take(self, keys: list[Key]) -> bool:
        """Take one thing from what waits; False when more has to come first."""
        waiting = self._waiting
        if self._pasting:
            return self._take_paste(keys)
        if waiting[0] == "\x1b":
            return self._take_escape(keys)
        if waiting[0] in _CONTROLS:
            keys.append(Key(_CONTROLS[waiting[0]]))
            self._waiting = waiting[1:]
            return True
        end = next((at for at, character in enumerate(waiting) if _is_control(character)), len(waiting))
        if end:
            keys.append(Key("text", waiting[:end]))
        self._waiting = waiting[max(1, end) :]  # other control characters are nobody's text
        return True

    def _take_paste(self, keys: list[Key]) -> bool:
        text, end, rest = self._waiting.partition(_PASTE_END)
        if not end:
            return False
        self._pasting = False
        self._waiting = rest
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        kept = "".join(character for character in text if character in "\n\t" or not _is_control(character))
        if kept:
            keys.append(Key("text", kept))
        return True

    def _take_escape(self, keys: list[Key]) -> bool:
        waiting = self._waiting
        if len(waiting) < 2:
            return False
        if waiting[1] not in "[O":
            if waiting[1] in _ALTS:
                keys.append(Key(_ALTS[waiting[1]]))
            # ESC ESC [ A is an arrow with Alt in some terminals: the second ESC is looked at again.
            self._waiting = waiting[1 if waiting[1] == "\x1b" else 2 :]
            return True
        end = next((at for at in range(2, len(waiting)) if "\x40" <= waiting[at] <= "\x7e"), None)
        if end is None:
            return False
        sequence = waiting[2 : end + 1]
        self._waiting = waiting[end + 1 :]
        if sequence == _PASTE:
            self._pasting = True
        elif sequence in _SEQUENCES:
            keys.append(Key(_SEQUENCES[sequence]))
        return True


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


class Editor:
    """
    A line that is being typed, and those typed before.

    The cursor always stands between clusters, so nothing that a reader takes for one character is ever torn apart.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        """The line, in clusters."""
        self.cursor = 0
        """Before which of them the cursor stands."""
        self._history: list[str] = []
        self._place = 0
        """Which line of the history is shown; its length: the one that is being typed."""
        self._draft = ""

    @property
    def text(self) -> str:
        """The line."""
        return "".join(self.parts)

    def put(self, text: str) -> None:
        """Show a text as the line, with the cursor behind it."""
        self.parts = clusters(text)
        self.cursor = len(self.parts)

    def press(self, key: Key) -> str | None:
        """Press a key; returns the line if that entered it. `interrupt`, `eof` and `redraw` are not for a line."""
        match key.name:
            case "text":
                self._insert(key.text)
            case "newline":
                self._insert("\n")
            case "enter":
                return self._enter()
            case "backspace":
                self._delete(self.cursor - 1, self.cursor)
            case "delete":
                self._delete(self.cursor, self.cursor + 1)
            case "kill_before":
                self._delete(0, self.cursor)
            case "kill_after":
                self._delete(self.cursor, len(self.parts))
            case "kill_word":
                self._delete(self._word_before(), self.cursor)
            case "left":
                self.cursor = max(0, self.cursor - 1)
            case "right":
                self.cursor = min(len(self.parts), self.cursor + 1)
            case "word_left":
                self.cursor = self._word_before()
            case "word_right":
                self.cursor = self._word_behind()
            case "home":
                self.cursor = 0
            case "end":
                self.cursor = len(self.parts)
            case "up":
                self._recall(self._place - 1)
            case "down":
                self._recall(self._place + 1)
            case _:
                pass
        return None

    def _insert(self, text: str) -> None:
        before, behind = "".join(self.parts[: self.cursor]), "".join(self.parts[self.cursor :])
        before += text[: max(0, MAX_LINE - len(before) - len(behind))]
        self._join(before, behind)

    def _delete(self, start: int, end: int) -> None:
        self._join("".join(self.parts[: max(0, start)]), "".join(self.parts[end:]))

    def _join(self, before: str, behind: str) -> None:
        """Put two halves together; what now belongs together at the seam stands before the cursor."""
        self.parts = clusters(before + behind)
        length = self.cursor = 0
        while length < len(before):
            length += len(self.parts[self.cursor])
            self.cursor += 1

    def _enter(self) -> str:
        text = self.text
        if text.strip() and self._history[-1:] != [text]:
            self._history = [*self._history, text][-MAX_HISTORY:]
        self._place = len(self._history)
        self._draft = ""
        self.put("")
        return text

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self.put(self._history[place] if place < len(self._history) else self._draft)

    def _word_before(self) -> int:
        at = self.cursor
        while at and self.parts[at - 1].isspace():
            at -= 1
        while at and not self.parts[at - 1].isspace():
            at -= 1
        return at

    def _word_behind(self) -> int:
        at = self.cursor
        while at < len(self.parts) and self.parts[at].isspace():
            at += 1
        while at < len(self.parts) and not self.parts[at].isspace():
            at += 1
        return at
