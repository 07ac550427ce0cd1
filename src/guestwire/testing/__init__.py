"""
For your own tests: a local Genesys on a free port, a clock moved by hand, a transport that answers as it is told.

Under pytest the fixture `genesys` gives the same emulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from guestwire.model import Accepted, CaughtUp, Entity, Errand, GatewayMessageId, GuestRef, Outcome, PartId, Unknown
from guestwire.transports.base import (
    Attempt,
    Attempted,
    Emit,
    ErrandEnded,
    HistoryRead,
    HistoryUnreadable,
    LaneHeld,
    LaneInfo,
    LaneReady,
    Upload,
    Uploaded,
)

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator


@contextlib.asynccontextmanager
async def emulator(**settings: Any) -> AsyncIterator[Emulator]:
    """
    Run an emulator for the length of the block.

    Args:
        **settings: Fields of `guestwire.emulator.settings.EmulatorSettings`, such as ``limits="off"`` or
            ``echo_delay_ms=0``.

    Yields:
        The emulator: `url`, `ws_url`, `deployment_id`, `messages()`, `inject(kind, ...)`, `say(text)`,
        `advance(seconds)`, `state()`, `reset()`.

    Raises:
        ConfigError: A setting cannot be used.
    """
    from guestwire.emulator.app import Emulator
    from guestwire.emulator.settings import EmulatorSettings

    genesys = Emulator(EmulatorSettings.checked(settings))
    try:
        await genesys.start()
        yield genesys
    finally:
        await genesys.close()


class FakeClock:
    """
    A `guestwire.clock.Clock` that stands still until it is moved.

    Args:
        now: Where it starts, in seconds since the epoch.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._order = itertools.count()

    def __repr__(self) -> str:
        return f"<FakeClock {self._now}, {len(self._waiting)} waiting>"

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        return self._now

    @property
    def next_at(self) -> float | None:
        """When the first of those who wait wants to be woken; None while nobody waits for a time."""
        return self._waiting[0][0] if self._waiting else None

    async def wait(self, wake: asyncio.Event, until: float | None) -> None:
        """Return when `wake` is set or when the clock has been moved to `until`."""
        if wake.is_set() or (until is not None and until <= self._now):
            return
        if until is None:
            await wake.wait()
            return
        entry = (until, next(self._order), wake)
        heapq.heappush(self._waiting, entry)
        try:
            await wake.wait()
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)

    def advance(self, seconds: float) -> None:
        """
        Move the clock and wake those whose time has come, the earliest first.

        It jumps: who waits anew after waking waits from the new time on.
        """
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += seconds
        while self._waiting and self._waiting[0][0] <= self._now:
            heapq.heappop(self._waiting)[2].set()


class ScriptedTransport:
    """
    A `guestwire.transports.base.Transport` without a network, and the gateway behind it.

    Args:
        emit: Takes what it says, such as `Relay.emitter(name)`.
        script: Called with each attempt, returns its outcome; None leaves it unanswered, until `answer` is called or
            the transport is closed. `show` is for the script to call: ``return transport.show(attempt)`` accepts;
            calling it and returning `Unknown` loses the echo. Default: everything is accepted.

    Attributes:
        sent: Every attempt, in order.
        visible: What an agent would see, in order: the attempts that arrived.
        unanswered: By lane.
    """

    def __init__(self, emit: Emit, script: Callable[[Attempt], Outcome | None] | None = None) -> None:
        self._emit = emit
        self._script = script or self.show
        self._ready: dict[GuestRef, bool] = {}
        self.sent: list[Attempt] = []
        self.visible: list[Attempt] = []
        self.unanswered: dict[GuestRef, Attempt] = {}
        #: Whether histories can be read, and give our metadata back.
        self.history_readable = True
        self.history_returns_metadata = False
        #: So many of the newest entries they do not show yet.
        self.history_lag = 0

    def show(self, attempt: Attempt) -> Accepted:
        """Let an attempt arrive; returns the acceptance that its echo would bring."""
        self.visible.append(attempt)
        return Accepted(GatewayMessageId(f"gateway-{len(self.visible)}"))

    def answer(self, attempt: Attempt, outcome: Outcome) -> None:
        """Say what became of an attempt: of one that the script left unanswered, or once more."""
        if self.unanswered.get(attempt.guest_ref) is attempt:
            del self.unanswered[attempt.guest_ref]
        self._emit(Attempted(attempt.guest_ref, attempt.part_id, outcome))

    def disturb(self, guest: GuestRef, *, until: float | None = None) -> None:
        """Take a lane's readiness away; the next `want` brings it back."""
        self._ready[guest] = False
        self._emit(LaneHeld(guest, until, "disturbed"))

    async def open(self) -> None:
        """Nothing to start."""

    def want(self, lane: LaneInfo) -> None:
        """Be ready at once."""
        if not self.is_ready(lane.guest_ref):
            self._ready[lane.guest_ref] = True
            self._emit(LaneReady(lane.guest_ref, replaced=False))

    def is_ready(self, guest: GuestRef) -> bool:
        """Whether the lane is wanted, undisturbed, and without an attempt on its way."""
        return self._ready.get(guest, False) and guest not in self.unanswered

    def can_look(self, guest: GuestRef) -> bool:
        """As `is_ready`."""
        return self.is_ready(guest)

    def send(self, attempt: Attempt) -> None:
        """Ask the script."""
        self.sent.append(attempt)
        self.unanswered[attempt.guest_ref] = attempt
        outcome = self._script(attempt)
        if outcome is not None:
            self.answer(attempt, outcome)

    def look(self, guest: GuestRef, anchor: str | None) -> None:
        """Show what arrived from the guest, newest first; the whole of it, as shifting pages may."""
        if not self.history_readable:
            self._emit(HistoryUnreadable(guest, "the script says so", 1.0))
            return
        numbered = [(n, attempt) for n, attempt in enumerate(self.visible, 1) if attempt.guest_ref == guest]
        numbered = numbered[: max(0, len(numbered) - self.history_lag)]
        self._emit(HistoryRead(guest, [self._entity(n, attempt) for n, attempt in reversed(numbered)]))

    def _entity(self, number: int, attempt: Attempt) -> Entity:
        name = GatewayMessageId(f"gateway-{number}")
        part_id: PartId | None = attempt.part_id if self.history_returns_metadata else None
        return Entity(name, None, attempt.body.text, None, part_id)

    def upload(self, upload: Upload) -> None:
        """The file is there at once."""
        self._emit(Uploaded(upload.guest_ref, upload.part_id, f"upload-{upload.part_id}", None))

    def discard(self, guest: GuestRef, upload_id: str) -> None:
        """There is no platform."""

    def carry_out(self, lane: LaneInfo, errand: Errand) -> None:
        """It is done at once."""
        self._emit(ErrandEnded(lane.guest_ref, errand.seq, Accepted(GatewayMessageId(""))))

    def type(self, guest: GuestRef) -> bool:
        """Nobody looks."""
        return False

    def follow(self, lane: LaneInfo) -> None:
        """There is no session."""

    def unfollow(self, guest: GuestRef) -> None:
        """There is no session."""

    def visit(self, lane: LaneInfo) -> None:
        """Nothing was said meanwhile."""
        self._emit(CaughtUp(lane.guest_ref))

    def leave(self, guest: GuestRef) -> None:
        """Let the lane go."""
        self._ready.pop(guest, None)

    def figures(self) -> dict[str, float]:
        """How many attempts there were, and how many arrived."""
        return {"sent": float(len(self.sent)), "visible": float(len(self.visible))}

    async def close(self) -> None:
        """Nobody will answer any more."""
        self._ready.clear()
        for attempt in list(self.unanswered.values()):
            self.answer(attempt, Unknown("the transport was closed"))
