"""
What is typed into a chat: texts, commands, choices. Pure.

A line that begins with ``/`` is a command, ``//`` stands for a text that begins with a slash; everything else is a
text, except for the number of something that is on offer.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from guestwire.answers import Answer, Option
from guestwire.model import Reply

#: Commands, what follows them, and what they do.
COMMANDS: dict[str, tuple[str, str]] = {
    "answer": ("1,3", "choose by numbers; a number alone does the same"),
    "file": ("PATH", "send a file"),
    "save": ("FILE", "fetch the newest file that was received"),
    "attr": ("NAME=VALUE", "a custom attribute, for your next message"),
    "new": ("", "begin another conversation"),
    "clear": ("", "have the conversation forgotten at the platform"),
    "close": ("", "end the session; your next message begins anew"),
    "cancel": ("", "leave a form that is being filled in"),
    "help": ("", "this"),
    "quit": ("", "leave; so does Ctrl-C, or Ctrl-D in an empty line"),
}


class Say(msgspec.Struct, frozen=True):
    """A text to send."""

    text: str


class Command(msgspec.Struct, frozen=True):
    """A command of `COMMANDS`, with what followed it."""

    name: str
    argument: str = ""


class Mistake(msgspec.Struct, frozen=True):
    """Something that cannot be done, in words, and what to do instead."""

    words: str


Typed = Say | Command | Mistake


def read_line(line: str) -> Typed | None:
    """Say what a line means; None for an empty one."""
    if not line.strip():
        return None
    if line.startswith("//"):
        return Say(line[1:])
    if not line.startswith("/"):
        return Say(line)
    words = line[1:].split(maxsplit=1)
    name, argument = words[0].lower() if words else "", words[1].strip() if len(words) > 1 else ""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        instead = f"did you mean /{near[0]}?" if near else "/help lists what there is."
        return Mistake(f"there is no /{name[:40]}: {instead} To send it as a text, write //{name[:40]}")
    wanted = COMMANDS[name][0]
    if wanted and not argument:
        return Mistake(f"/{name} needs something behind it, such as /{name} {wanted}")
    return Command(name, argument)


def read_attribute(argument: str) -> tuple[str, str] | Mistake:
    """Read ``NAME=VALUE``."""
    name, equals, value = argument.partition("=")
    if not equals or not name.strip():
        return Mistake("an attribute is NAME=VALUE, such as /attr topic=returns")
    return name.strip(), value.strip()


# --- choosing ---


def choosable(reply: Reply) -> list[Option]:
    """Return what of a reply can be chosen: everything but links."""
    return [option for option in reply.options if option.kind != "link"]


def number_of(text: str, reply: Reply | None) -> int | None:
    """Return the number that a text is, if the reply offers something under it."""
    text = text.strip()
    if reply is None or not text.isdecimal() or len(text) > 4:
        return None
    number = int(text)
    return number if any(option.number == number for option in choosable(reply)) else None


def read_choice(argument: str, reply: Reply | None) -> list[Option] | Mistake:
    """Read the numbers of `/answer`, which are separated by commas or spaces."""
    if reply is None:
        return Mistake("nothing is on offer that could be answered")
    options = {option.number: option for option in choosable(reply)}
    found: list[Option] = []
    for word in argument.replace(",", " ").split():
        option = options.get(int(word)) if word.isdecimal() and len(word) <= 4 else None
        if option is None:
            return Mistake(f"'{word[:20]}' is not on offer; choose from {_numbers(list(options))}")
        if option not in found:
            found.append(option)
    if not found:
        return Mistake(f"give a number; choose from {_numbers(list(options))}")
    sections = [option.group for option in found if option.kind == "list" and not option.several]
    if len(set(sections)) < len(sections):
        return Mistake("only one of these can be chosen from its section")
    if len(found) > 1 and {option.kind for option in found} != {"list"}:
        return Mistake("only items of a list can be chosen together; give one number")
    return found


def _numbers(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


class Form:
    """
    A form that is being filled in, a field at a time.

    Args:
        reply: Whose form.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._fields = [option for option in reply.options if option.kind == "form"]
        self._values: dict[str, str] = {}
        self._at = 0

    @property
    def field(self) -> Option | None:
        """The field that is asked for; None: all are there."""
        return self._fields[self._at] if self._at < len(self._fields) else None

    @property
    def choices(self) -> tuple[str, ...]:
        """What the field offers to choose from; empty: it takes any text."""
        return () if self.field is None else self.field.values

    def fill_in(self, text: str) -> str | None:
        """Take the value of the field; returns in words why it is not taken."""
        field, text = self.field, text.strip()
        if field is None:
            return None
        if not text and field.required:
            return "this field is required; /cancel leaves the form"
        if text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= len(self.choices):
            text = self.choices[int(text) - 1]
        if text:
            self._values[field.payload] = text
        self._at += 1
        return None

    def answer(self) -> Answer:
        """Return the answer. Raises `Rejected` as `Reply.answer` does."""
        return self._reply.answer(self._values)
