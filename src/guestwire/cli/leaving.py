"""The end of a command: what is closed last, and for how long that is waited for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

#: What is closed last, by `leave`: the event loop.
_open: list[Callable[[], None]] = []
#: Set where `leave` follows; else everything is closed when it is done.
_expected = threading.Event()
#: How long its end may take, in seconds.
PATIENCE_S = 1.0


def expect() -> None:
    """Say that `leave` follows."""
    _expected.set()


def close_last(close: Callable[[], None]) -> None:
    """Close something as the process ends, or now where it does not."""
    if _expected.is_set():
        _open.append(close)
    else:
        close()


def leave(code: int) -> NoReturn:
    """
    End the process with an exit code, soon.

    An event loop cannot be closed while one of its threads asks for a name whose servers are silent, and nobody can
    call that thread back: the resolver gives up after ten seconds or more, when whoever stopped us has lost patience.
    All that matters is closed by then.
    """
    watch = threading.Timer(PATIENCE_S, _leave_at_once, (code,))
    watch.daemon = True
    watch.start()
    for close in _open:
        close()
    sys.exit(code)


def _leave_at_once(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
