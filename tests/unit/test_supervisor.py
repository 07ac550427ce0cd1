"""What a service manager is told, over real sockets of both kinds."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestwire.cli.supervisor import Supervisor


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, with its name as it stands in NOTIFY_SOCKET."""
    name = f"@guestwire-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name[1:] if name.startswith("@") else name)
        receiver.setblocking(False)
        yield name, receiver


def heard(receiver: socket.socket) -> list[str]:
    """Every notification so far."""
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def test_each_notification_is_one_datagram(listening: tuple[str, socket.socket]) -> None:
    """Its lines together; what has not changed, and that it has started, is not said again."""
    name, receiver = listening
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    supervisor.started()
    supervisor.started()
    supervisor.status("relaying")
    supervisor.status("relaying")
    supervisor.tell("STOPPING=1", "STATUS=stopping")
    assert heard(receiver) == ["READY=1", "STATUS=relaying", "STOPPING=1\nSTATUS=stopping"]


def test_reading_anew_is_told_with_its_moment(listening: tuple[str, socket.socket]) -> None:
    """By the clock that the manager goes by, in microseconds."""
    name, receiver = listening
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    Supervisor({"NOTIFY_SOCKET": name}).reloading()
    (told,) = heard(receiver)
    first, second = told.split("\n")
    assert first == "RELOADING=1"
    at = int(second.removeprefix("MONOTONIC_USEC="))
    assert before <= at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all", "@nobody-listens", "vsock:2:1", "/" + "x" * 200])
def test_nobody_who_listens_is_no_trouble(name: str) -> None:
    """Nor is a name that is none, or too long for an address."""
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    supervisor.started()
    supervisor.status("alone")


def test_a_manager_that_reads_nothing_holds_nobody(tmp_path: Path) -> None:
    """Its queue is full, and what does not fit is dropped."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for number in range(2_000):
            supervisor.status(str(number))
        receiver.setblocking(False)
        assert 0 < len(heard(receiver)) < 2_000


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_patted_at_half_of_its_patience(environ: dict[str, str], every_s: float | None) -> None:
    """If it watches this process."""
    assert Supervisor({"NOTIFY_SOCKET": "/run/notify", **environ}).pat_every_s == every_s
    assert Supervisor(environ).pat_every_s is None
