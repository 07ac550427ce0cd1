"""
Who connects when: the queue of lines that want a WebSocket, and what a handshake that fails means.

The connect window of the deployment is shared by all guests, so it is handed out here: to guests in check first, then
in the order of their turns. A gateway that shuts its door (403 and the like), or that several in a row could not reach,
is everybody's trouble: nobody knocks until a pause is over, and then one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from picows import WSInvalidStatusError, WSListener, ws_connect

from guestwire.clock import Clock
from guestwire.errors import GuestWireError
from guestwire.model import SessionState
from guestwire.policy.breaker import Breaker
from guestwire.policy.connect import judge_upgrade, reconnect_delay_s
from guestwire.policy.failures import is_foreseen
from guestwire.policy.pace import Key, Pace, Slot
from guestwire.settings import Destination, RelaySettings
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import DestinationTrouble, Emit, LaneHeld, Spend
from guestwire.transports.line import MAX_FRAME_BYTES, Line

logger = logging.getLogger("guestwire.transports.connector")


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """What picows reports is told by us in our own words; its own are for whoever debugs."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


#: An adapter also saves the logger of its own that picows would make for each connection.
QUIET = _Quiet(logging.getLogger("guestwire.transports.picows"))
#: Of each connection, in bytes; picows lets it grow with what comes.
READ_BUFFER_BYTES = 1024
#: Two of each TLS connection, in bytes: more than a TLS record (16 KB), measured as the least that costs no time.
TLS_BUFFER_BYTES = 32_768
#: Handshakes under way at once; more would only make each of them slower.
MAX_CONNECTING = 64


class Way(NamedTuple):
    """How a destination is reached."""

    destination: Destination
    tls: ssl.SSLContext | None
    proxy: str | None


class Connector:
    """
    Connects lines.

    Args:
        way: Where to.
        timing: The relay's patience.
        pace: The windows of the destination.
        clock: The time.
        agenda: The transport's timer.
        emit: Takes what is learned about the destination.
        draw: Random numbers from [0, 1), for jitter.
        has_room: Whether one more session may be open; makes room if it can.
        spend: Writes a handshake down before it begins.
    """

    def __init__(
        self,
        way: Way,
        *,
        timing: RelaySettings,
        pace: Pace,
        clock: Clock,
        agenda: Agenda,
        emit: Emit,
        draw: Callable[[], float],
        has_room: Callable[[int], bool],
        spend: Spend,
    ) -> None:
        self._way = way
        self._timing = timing
        self._pace = pace
        self._clock = clock
        self._agenda = agenda
        self._emit = emit
        self._draw = draw
        self._has_room = has_room
        self._spend = spend
        destination = way.destination
        query = urlencode({"deploymentId": destination.deployment_id, "application": destination.application})
        self._url = f"{destination.websocket_url}?{query}"
        self._queue: list[tuple[bool, float, int, Line]] = []
        self._order = itertools.count()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False
        self._trouble: GuestWireError | None = None
        self._door = Breaker(
            way.destination.retry.trip_after, base_s=timing.reconnect_base_s, cap_s=timing.reconnect_cap_s
        )
        self._next_at = float("inf")
        #: Handshakes begun.
        self.connects = 0

    @property
    def waiting(self) -> int:
        """How many want to be connected and have to wait."""
        return len(self._queue)

    def ask(self, line: Line) -> None:
        """Connect a line as soon as the limits admit it. Asking for one that is connected changes nothing."""
        line.asked = True
        heapq.heappush(self._queue, (not line.lane.urgent, line.lane.turn_at, next(self._order), line))
        self._go_on()

    def ask_later(self, line: Line, reason: str) -> None:
        """Connect a line again, after a jittered pause that grows with its failures."""
        if self._closing:
            return
        timing = self._timing
        delay_s = reconnect_delay_s(
            line.failures, self._draw(), base_s=timing.reconnect_base_s, cap_s=timing.reconnect_cap_s
        )
        line.failures += 1
        line.asked = True
        self._emit(LaneHeld(line.guest, None, reason))
        self._agenda.at(self._clock.now() + delay_s, partial(self.ask, line))

    def close(self) -> list[asyncio.Task[None]]:
        """Connect nobody any more; returns the handshakes that were cancelled, to be awaited."""
        self._closing = True
        self._queue.clear()
        for task in self._connecting:
            task.cancel()
        return list(self._connecting)

    # --- the queue ---

    def _go_on(self) -> None:
        """Start as many handshakes as the limits admit; come back when they admit more."""
        while self._queue and not self._closing:
            now = self._clock.now()
            line = self._queue[0][3]
            if not line.needed or line.ws is not None or line.connecting:
                heapq.heappop(self._queue)
                line.asked = False
                continue
            for_all, for_guest = self._keys(line)
            wait_until = self._held_until(for_all, now)
            if wait_until is not None:
                self._come_back(wait_until)
                return
            heapq.heappop(self._queue)
            held = self._pace.admits(for_guest, now)
            if held is not None:
                # Only this guest has to wait; others behind him must not.
                self._agenda.at(min(held.until, now + 60.0), partial(self.ask, line))
                continue
            line.asked, line.connecting = False, True
            self._door.begun(line.guest)
            line.slots.append(self._pace.take(for_guest, now))
            task = asyncio.create_task(self._connect(line, self._pace.take(for_all, now)))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        self._go_on()

    def _held_until(self, keys: tuple[Key, ...], now: float) -> float | None:
        """When the next handshake may start, as far as everybody is concerned; None: now. Infinity: after another."""
        if not self._door.admits(now):
            return self._door.until if self._door.is_waiting else float("inf")
        if len(self._connecting) >= (MAX_CONNECTING if self._door.is_closed else 1):
            return float("inf")
        held = self._pace.admits(keys, now)
        if held is not None:
            return held.until
        return None if self._has_room(len(self._connecting)) else now + 1.0

    def _keys(self, line: Line) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
        """Return the windows that a connect uses: those of the whole destination, and those of the guest."""
        name = self._way.destination.name
        for_guest = line.keys("configures_per_min")
        if line.known_as is SessionState.NONE:
            # It holds new guests alone: those that are known do not wait behind them.
            for_guest = (*for_guest, ("max_new_guests_per_min", name))
        return (("connects_per_min", name),), for_guest

    def _come_back(self, at: float) -> None:
        """Look at the queue again at `at`; one timer, however many ask."""
        if at < self._next_at:
            self._next_at = at
            self._agenda.at(at, self._came_back)

    def _came_back(self) -> None:
        self._next_at = float("inf")
        self._go_on()

    # --- a handshake ---

    async def _connect(self, line: Line, slot: Slot) -> None:
        """One handshake. Its slot in the connect window counts from its end, whatever that is."""
        self.connects += 1
        is_new = line.known_as is SessionState.NONE
        try:
            await self._spend("first_connect" if is_new else "connect", line.guest)
            await self._shake_hands(line)
        except WSInvalidStatusError as error:
            status = int(error.response.status) if error.response is not None else 0
            self._refused(line, status)
        except ssl.SSLCertVerificationError as error:
            self._unreachable(
                line,
                f"its certificate is not trusted ({error.verify_message}); where the authority is your own, set"
                " 'tls.ca_file' of the destination, or SSL_CERT_FILE",
            )
        except Exception as error:
            words = f"{type(error).__name__}: {error}"[:200]
            if not is_foreseen(error):
                # A handshake that ends in a way nobody foresaw must not leave the lane without a next try.
                logger.exception("a handshake failed", extra={"action": "connect_failed", "guest_ref": line.guest})
                words = type(error).__name__
            self._unreachable(line, words)
        else:
            self._door.succeeded()
            self._tell(None)
        finally:
            now = self._clock.now()
            slot.answered(now)
            line.connecting = False
            if line.ws is None:
                line.answer_slots(now)

    async def _shake_hands(self, line: Line) -> None:
        destination = self._way.destination
        headers = {"User-Agent": destination.application}
        if destination.origin is not None:
            headers["Origin"] = destination.origin
        patience_s = self._timing.connect_timeout_s
        given_up = False

        def listener() -> WSListener:
            if given_up:
                raise ConnectionAbortedError("too late: the line may be on its way to another connection")
            return line

        try:
            # picows counts from the request for the upgrade on: names, TCP, TLS and a proxy may be silent for ever.
            async with asyncio.timeout(patience_s):
                connected: tuple[object, WSListener | None] = await ws_connect(
                    listener,
                    self._url,
                    ssl_context=self._way.tls,
                    proxy=self._way.proxy,
                    extra_headers=headers,
                    max_redirects=0,
                    max_frame_size=MAX_FRAME_BYTES,
                    read_buffer_init_size=READ_BUFFER_BYTES,
                    websocket_handshake_timeout=patience_s,
                    logger_name=QUIET,
                    **self._tls_buffers(),
                )
        except TimeoutError:
            if line.ws is None:
                given_up = True
                raise TimeoutError(f"no connection within {patience_s:g} s") from None
            return  # in the very moment at which it would have been too late
        if connected[1] is None:
            # picows calls it a success when the peer closes in the middle of the handshake, and says no more.
            raise EOFError("closed before the upgrade was answered")

    def _tls_buffers(self) -> dict[str, Any]:
        """By default each TLS connection would keep half a megabyte of address space, and 6 KB more of memory."""
        if self._way.tls is None or self._way.proxy is not None:
            return {}
        return {"ssl_incoming_bio_size": TLS_BUFFER_BYTES, "ssl_outgoing_bio_size": TLS_BUFFER_BYTES}

    def _refused(self, line: Line, status: int) -> None:
        refused = judge_upgrade(status, self._way.destination.host)
        if refused is None:
            self._unreachable(line, f"HTTP {status} in place of a WebSocket")
            return
        self._door.shut(self._clock.now() + refused.retry_s)
        self._tell(refused.error)
        self.ask_later(line, f"upgrade refused (HTTP {status})")

    def _unreachable(self, line: Line, reason: str) -> None:
        self._tell(
            GuestWireError(
                f"{self._way.destination.host} cannot be reached: {reason}",
                code="GW-A003",
                hint="check the network, a proxy (HTTPS_PROXY), and 'region' or 'url' of the destination",
            )
        )
        self._door.failed(line.guest, self._clock.now(), self._draw())
        self.ask_later(line, reason)

    def _tell(self, error: GuestWireError | None) -> None:
        """Say what keeps everybody out, once; and once that nothing does any more."""
        if str(self._trouble) != str(error):
            self._trouble = error
            self._emit(DestinationTrouble(error))
