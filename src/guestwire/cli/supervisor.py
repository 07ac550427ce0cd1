"""
What a service manager is told: systemd's notifications, over the socket that it names.

A datagram of lines, each ``NAME=value``; no library, and nothing at all where nobody asked (sd_notify(3)).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Supervisor:
    """
    Whoever started this process and wants to hear of it; perhaps nobody.

    Args:
        environ: Has NOTIFY_SOCKET, and WATCHDOG_USEC with WATCHDOG_PID, where somebody does.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An "@" stands for the zero byte of an abstract address; anything but these two forms is none of ours.
        self._address = "\0" + address[1:] if address[:1] == "@" else address if address[:1] == "/" else None
        self._watchdog_us = _whole(environ.get("WATCHDOG_USEC"))
        if _whole(environ.get("WATCHDOG_PID")) not in (0, os.getpid()):
            self._watchdog_us = 0  # it waits for another process
        self._status = ""
        self._started = False

    @property
    def pat_every_s(self) -> float | None:
        """How often the watchdog wants to be patted, in seconds: half of what it stands; None: there is none."""
        if self._address is None or not self._watchdog_us:
            return None
        return self._watchdog_us / 2_000_000

    def tell(self, *lines: str) -> bool:
        """
        Send one notification. A supervisor that does not listen is its own trouble, not ours.

        Returns:
            Whether it went out; a queue that is full takes nothing.
        """
        if self._address is None:
            return False
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A full queue must not hold the loop.
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)
            return True
        return False

    def status(self, text: str) -> None:
        """Tell how it goes, where that has changed."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")

    def started(self) -> None:
        """It is at work; told until that has gone out."""
        if not self._started:
            self._started = self.tell("READY=1")

    def reloading(self) -> None:
        """New settings are being read; `started` ends that."""
        self._started = False
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
