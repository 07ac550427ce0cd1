"""
`Delivery`: what is to be written and done, now and later. It knows connections, and nothing of sessions.

Nothing is written here: the owner takes the touched connections and carries out their `outputs`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from guestwire.emulator.faults import Firing
from guestwire.emulator.records import Connection, Output, Scheduled


class Delivery:
    """The ways out of the world, and its agenda. Times are in seconds since the epoch."""

    def __init__(self) -> None:
        self._touched: list[Connection] = []
        self._schedule: list[Scheduled] = []
        self._places = itertools.count()

    @property
    def pending(self) -> int:
        """How much is still to be done."""
        return len(self._schedule)

    def forget(self) -> None:
        """Drop the agenda; what is in the connections' outputs already stays."""
        self._schedule.clear()

    def take_touched(self) -> list[Connection]:
        """Return, once, the connections that have something in `outputs`."""
        touched, self._touched = self._touched, []
        for connection in touched:
            connection.touched = False
        return touched

    def next_due(self) -> float | None:
        """When `run_due` has something to do next, in seconds since the epoch."""
        return self._schedule[0].due if self._schedule else None

    def run_due(self, now: float) -> None:
        """Do what is due: delayed echoes, upload events, what a bot says."""
        schedule = self._schedule
        while schedule and schedule[0].due <= now:
            heapq.heappop(schedule).action(now)

    def output(self, connection: Connection, output: Output) -> None:
        """Note what the connection's owner has to carry out."""
        connection.outputs.append(output)
        if not connection.touched:
            connection.touched = True
            self._touched.append(connection)

    def write(self, connection: Connection, data: bytes) -> None:
        """Write one frame, unless the connection has fallen silent, and after it what waited for a next frame."""
        if not connection.open or connection.silent:
            return
        self.output(connection, data)
        if connection.held:
            held, connection.held = connection.held, []
            for late in held:
                self.output(connection, late)

    def flush(self, connection: Connection) -> None:
        """Write what the protocol core has to say."""
        for data in connection.gateway.frames_to_send():
            self.write(connection, data)

    def at(self, due: float, action: Callable[[float], Any]) -> None:
        """Do something later; `action` gets the time at which it is done."""
        heapq.heappush(self._schedule, Scheduled(due, next(self._places), action))

    def ship(
        self, targets: Callable[[], Iterable[tuple[Connection, bytes]]], firing: Firing, due: float, now: float
    ) -> None:
        """Write an answer to where it belongs, with whatever a fault does to it. `targets` is asked when it is due."""
        if firing.get("lose_echo"):
            return
        delayed = firing.get("delay_echo")
        if delayed:
            due += delayed["delay_ms"] / 1000
        reordered = firing.get("reorder_echo")

        def deliver(at: float) -> None:
            for connection, data in targets():
                for _ in range(2 if firing.get("duplicate_echo") else 1):
                    if reordered:
                        self.hold(connection, data, at + reordered["delay_ms"] / 1000)
                    else:
                        self.write(connection, data)

        if due <= now:
            deliver(now)
        else:
            self.at(due, deliver)

    def hold(self, connection: Connection, data: bytes, until: float) -> None:
        """Keep an echo back until the next frame, or until then."""

        def release(_now: float) -> None:
            if data in connection.held:
                connection.held.remove(data)
                self.write(connection, data)

        connection.held.append(data)
        self.at(until, release)
