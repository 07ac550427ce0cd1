"""
Where the lines of a chat come from: the keys of a terminal, or a pipe. Both end up in the inbox of the chat.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from guestwire.cli.chatting_editor import Key
from guestwire.cli.chatting_view import Objects, Plain, Screen, View

#: Longest line of a pipe, in bytes.
MAX_LINE = 1_000_000

Inbox = asyncio.Queue[Any]


class Line(msgspec.Struct, frozen=True):
    """A line of a pipe; None: its end. `done` is set when the next one may come."""

    data: bytes | None
    done: threading.Event


class Edited(msgspec.Struct, frozen=True):
    """The line that is being typed has changed."""

    text: str


class Leave(msgspec.Struct, frozen=True):
    """Ctrl-C, or SIGTERM."""


def open_view(inbox: Inbox, told: Callable[[], None], *, as_json: bool) -> View:
    """Choose how a chat is shown. `told` is called at Ctrl-C, wherever the chat stands."""
    if as_json:
        return Objects()
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if not is_terminal or os.environ.get("TERM", "dumb") == "dumb":
        return Plain()

    def pressed(key: Key) -> None:
        if key.name == "interrupt":
            told()
        else:
            inbox.put_nowait(key)

    return Screen(pressed, lambda text: inbox.put_nowait(Edited(text)))


def read_keys(screen: Screen, inbox: Inbox) -> None:
    """Read keys from now on, and draw again when the terminal's size changes."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def readable() -> None:
        if screen.is_closed:
            loop.remove_reader(stdin)
            return
        try:
            data = os.read(stdin, 65_536)
        except OSError:
            data = b""
        if data:
            screen.feed(data)
        else:
            loop.remove_reader(stdin)
            inbox.put_nowait(Leave())

    loop.add_reader(stdin, readable)
    loop.add_signal_handler(signal.SIGWINCH, screen.draw)


def read_lines(loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
    """Read stdin by lines, in a thread of its own: not every file can be waited for. One line at a time."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
        for data in itertools.chain(_lines(), [None]):
            done = threading.Event()
            loop.call_soon_threadsafe(inbox.put_nowait, Line(data, done))
            done.wait()


def _lines() -> Iterator[bytes]:
    # Not through `sys.stdin`: its lock, held by a thread that waits, would keep the interpreter from ending.
    waiting = b""
    while True:
        try:
            data = os.read(0, 65_536)
        except OSError:
            data = b""
        *whole, waiting = (waiting + data).split(b"\n")
        yield from whole
        if not data:
            break
        # What is too long is refused as a whole when its end comes; so much of it is enough to know.
        waiting = waiting[: MAX_LINE + 1]
    if waiting:
        yield waiting
