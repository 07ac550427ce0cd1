"""
The command line: a few lines for each command, over `GuestWire`.

Data goes to stdout, everything else to stderr. Imports are lazy, because a command that only prints help must not
load a WebSocket client.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

from guestwire.cli import leaving


def main() -> None:
    """Run the command line; the exit code says how it went (docs/cli.md)."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows its number; it is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    leaving.expect()
    leaving.leave(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. No exception of ours, or of a user's making, gets past here."""
    from guestwire.cli import show
    from guestwire.errors import GuestWireError

    try:
        from guestwire.cli.app import call

        return call(arguments)
    except GuestWireError as error:
        show.error(error)
        return show.exit_code_of(error)
    except KeyboardInterrupt:
        show.say("interrupted")
        return 130
    except show.ReaderGone:
        # `guestwire tail | head`. Python would complain again at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("GUESTWIRE_DEBUG"):
            raise
        show.say(f"error: an unexpected {type(error).__name__} [GW-X001]", show.ERROR)
        show.say("  set GUESTWIRE_DEBUG=1 to see where, and please report it; what was queued stays queued")
        return 1
