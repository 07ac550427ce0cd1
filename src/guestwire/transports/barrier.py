"""
Who may send while a destination takes nothing: nobody, and after a pause one lane, to see whether it is over.

What concerns every message (no connection, no token, a missing permission, a proxy in the platform's place) bars the
destination. Its lanes wait; the pause doubles with each failure. Then one lane has its turn, the one that has waited
longest, and another one each time: one whose message may not move (any more) must not keep the others waiting.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from guestwire.clock import Clock
from guestwire.errors import AuthenticationError, ConfigError, GuestWireError
from guestwire.model import GuestRef
from guestwire.policy.retry import backoff_s
from guestwire.settings import RelaySettings
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import DestinationTrouble, Emit, LaneInfo, LaneReady
from guestwire.transports.oauth import NoTokenYet


class Barrier:
    """
    The lanes of a destination that want to move, and whether they may.

    Args:
        timing: The relay's patience.
        clock: The time.
        agenda: Of the destination; runs what is due.
        emit: Takes what is learned.
        prepare: Has the destination made ready, at first and as long as it was not; answered by `bar` or `unbar`.
        draw: Random numbers from [0, 1), for jitter.
    """

    def __init__(
        self,
        *,
        timing: RelaySettings,
        clock: Clock,
        agenda: Agenda,
        emit: Emit,
        prepare: Callable[[], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._timing = timing
        self._clock = clock
        self._agenda = agenda
        self._emit = emit
        self._prepare = prepare
        self._draw = draw
        #: In the order in which they came.
        self.wanted: dict[GuestRef, LaneInfo] = {}
        #: Why no lane can move; None while they can.
        self.trouble: GuestWireError | None = None
        #: It has been ready once.
        self.is_prepared = False
        self._preparing = False
        self._failures = 0
        self._again_set = False
        #: Whose turn it is to try, and how many turns there were.
        self._trial: GuestRef | None = None
        self._turns = 0

    def lets_pass(self, guest: GuestRef) -> bool:
        """Whether the lane may send now."""
        if guest not in self.wanted or not self.is_prepared:
            return False
        return self.trouble is None or self._trial == guest

    def want(self, lane: LaneInfo) -> None:
        """A lane wants to move; `LaneReady` follows when it may."""
        self.wanted[lane.guest_ref] = lane
        if not self.is_prepared:
            if self.trouble is None:
                self._get_ready()
        elif self.trouble is None:
            self._emit(LaneReady(lane.guest_ref, replaced=False))
        elif self._trial is None and not self._again_set:
            self._next_turn()  # nobody was there when the pause was over

    def leave(self, guest: GuestRef) -> None:
        """A lane does not want to move any more, or not before a time of its own."""
        self.wanted.pop(guest, None)
        if self._trial == guest:
            self._next_turn()

    def bar(self, trouble: GuestWireError) -> None:
        """Nothing can go, and why; it is tried again after a pause."""
        self._preparing = False
        if str(trouble) != str(self.trouble):
            self._emit(DestinationTrouble(trouble))
        self.trouble, self._trial = trouble, None
        if not self._again_set:  # many requests on their way find out together
            self._again_set = True
            self._failures += 1
            self._agenda.at(self._clock.now() + self._pause_s(trouble), self._try_again)

    def unbar(self) -> None:
        """The destination takes requests: every lane may move."""
        self.is_prepared, self._preparing = True, False
        self._failures = 0
        self._trial = None
        if self.trouble is not None:
            self.trouble = None
            self._emit(DestinationTrouble(None))
        for guest in self.wanted:
            self._emit(LaneReady(guest, replaced=False))

    def reached(self) -> None:
        """The platform itself has answered."""
        self._failures = 0
        if self.trouble is not None:
            self.unbar()

    def learned_nothing(self, guest: GuestRef) -> None:
        """A request of the lane had no answer that says anything: where it was its turn, the next one has his."""
        if self._trial == guest and self.trouble is not None:
            self.bar(self.trouble)

    def _pause_s(self, trouble: GuestWireError) -> float:
        timing = self._timing
        if isinstance(trouble, AuthenticationError | ConfigError):
            return timing.reconnect_cap_s  # somebody has to change something first
        pause_s = backoff_s(self._failures, self._draw(), base_s=timing.reconnect_base_s, cap_s=timing.reconnect_cap_s)
        return max(pause_s, trouble.retry_after_s) if isinstance(trouble, NoTokenYet) else pause_s

    def _get_ready(self) -> None:
        if not self._preparing:
            self._preparing = True
            self._prepare()

    def _try_again(self) -> None:
        self._again_set = False
        if self.trouble is not None and self.is_prepared:
            self._next_turn()
        elif self.trouble is not None:
            self._get_ready()

    def _next_turn(self) -> None:
        guest = self._trial = next(iter(self.wanted), None)
        if guest is None:
            return
        self.wanted[guest] = self.wanted.pop(guest)  # the last one next time
        self._turns += 1
        turn = self._turns
        # By then an attempt has had its answer, and has said so.
        self._agenda.at(self._clock.now() + self._timing.answer_s + 1.0, lambda: self._pass_on(turn))
        self._emit(LaneReady(guest, replaced=False))

    def _pass_on(self, turn: int) -> None:
        if self._trial is not None and self._turns == turn:
            self._next_turn()
