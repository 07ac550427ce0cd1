"""
`Emulator`: the world on one HTTP port of this machine.

One task per WebSocket reads; nothing else has a task. What the world wants written goes out at once, and what is due
later waits for a single timer. Frames are written by hand: a server's frame is a short header and the payload, which
lets one encoded echo go to several connections without a coroutine for each. aiohttp does the rest: the upgrade,
unmasking, fragments, size bound, closing handshake.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from guestwire.emulator import admin, orders, page, triggers, views
from guestwire.emulator.agents import load_script
from guestwire.emulator.edge import Edge
from guestwire.emulator.httpfaults import HttpFaults
from guestwire.emulator.posting import Poster
from guestwire.emulator.records import Abort, Close, Connection, Logged
from guestwire.emulator.rest import Rest, error
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.webhooks import Post
from guestwire.emulator.world import World
from guestwire.errors import ConfigError

if TYPE_CHECKING:
    from guestwire.emulator.tls import Tls

logger = logging.getLogger("guestwire.emulator")

_TEXT, _PONG = 0x81, 0x8A
#: How long a client may take to answer a close frame, in seconds.
_CLOSE_PATIENCE_S = 2.0


class Emulator:
    """
    A local Genesys. Make it, `start` it, use it, `close` it; or use `guestwire.testing.emulator`.

    Its methods mirror the admin API and must be called in the loop that it was started in; for other threads there is
    `guestwire.emulator.thread.EmulatorThread`.

    Args:
        settings: How it behaves; see `EmulatorSettings`.
        clock: Seconds since the epoch; default: the wall clock at the start, carried on by the monotonic one.

    Raises:
        ConfigError: The bot script cannot be used (GW-C034, GW-C035).
    """

    def __init__(self, settings: EmulatorSettings | None = None, *, clock: Callable[[], float] | None = None) -> None:
        self.settings = settings or EmulatorSettings()
        self.world = World(self.settings, load_script(self.settings.script))
        self._clock = clock or _steady_clock()
        self._offset_s = 0.0
        self._url = ""
        self._runner: web.AppRunner | None = None
        self._tls: Tls | None = None
        self._sockets: dict[int, _Socket] = {}
        self._closing: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = float("inf")
        self._edge = Edge(self)
        self._http_faults = HttpFaults(self, self._edge)
        self._poster = Poster(self._posted)

    def __repr__(self) -> str:
        return f"<Emulator {self._url or 'not started'}>"

    # --- where ---

    @property
    def url(self) -> str:
        """Base URL of everything over HTTP, such as ``http://127.0.0.1:8080``; https with TLS."""
        return self._url

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket, without its query."""
        return f"ws{self._url.removeprefix('http')}/v1"

    @property
    def ca_file(self) -> str | None:
        """Path of the CA certificate to verify this emulator by; None without TLS, or with a certificate of yours."""
        return str(self._tls.ca_file) if self._tls is not None and self._tls.ca_file is not None else None

    @property
    def deployment_id(self) -> str:
        """The one deployment there is."""
        return self.world.deployment_id

    @property
    def organization_id(self) -> str:
        """The organisation."""
        return self.world.platform.conversations.organization_id

    @property
    def integration_id(self) -> str:
        """The one Open Messaging integration there is."""
        return self.world.platform.guests.integration_id

    @property
    def client_id(self) -> str:
        """The one OAuth client there is."""
        return self.world.platform.oauth.client_id

    @property
    def client_secret(self) -> str:
        """Its secret; the trigger `rotate_secret` draws another."""
        return self.world.platform.oauth.client_secret

    @property
    def webhook_secret(self) -> str:
        """What webhooks are signed with."""
        return self.world.webhooks.secret

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return self._clock() + self._offset_s

    # --- life ---

    async def start(self) -> None:
        """
        Open the port.

        Raises:
            ConfigError: The port is taken or not allowed (GW-C031), or the certificate cannot be used (GW-C036).
        """
        rest, api = Rest(self), admin.Admin(self)
        app = web.Application(
            middlewares=[api.guard, rest.hosts, self._http_faults.strike],
            client_max_size=self.settings.max_file_kb * 1400 + 65536,  # an agent's file in base64, and the rest
        )
        app.add_routes(
            [web.get("/v1", self._serve_websocket), *rest.routes(), *self._edge.routes(), *api.routes(), *page.routes()]
        )
        listener = _listen(self.settings.port)
        try:
            self._tls = _tls(self.settings)
        except ConfigError:
            listener.close()
            raise
        scheme, context = ("https", self._tls.context) if self._tls else ("http", None)
        self._url = self.world.base_url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_PATIENCE_S)
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=1024, ssl_context=context).start()

    async def close(self) -> None:
        """Close every connection and the port. May be called twice."""
        self._forget_timer()
        self.world.feed.close()
        self._http_faults.release()
        await self._poster.close()
        for connected in list(self._sockets.values()):
            self.world.lost(connected.connection)
            connected.abort()
        for task in list(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._tls is not None:
            self._tls.close()

    # --- what the admin API does, for Python ---

    def state(self) -> dict[str, Any]:
        """Counters and settings: ``GET /_emulator/state``."""
        return views.state_of(self.world, self.now())

    def conversations(self) -> list[dict[str, Any]]:
        """All conversations: ``GET /_emulator/conversations``."""
        return views.conversations_of(self.world)

    def messages(self, *, conversation_id: str | None = None, token: str | None = None) -> list[dict[str, Any]]:
        """What agents see, in visible order: ``GET /_emulator/messages``."""
        return views.messages_of(self.world, conversation_id=conversation_id, token=token)

    def requests(self) -> list[dict[str, Any]]:
        """The log of requests: ``GET /_emulator/requests``."""
        return views.requests_of(self.world)

    def webhooks(self) -> list[dict[str, Any]]:
        """The deliveries to the webhook, with their attempts: ``GET /_emulator/webhooks``."""
        return self.world.webhooks.describe()

    def set_webhook(self, url: str) -> None:
        """
        POST to this address from now on; empty: nowhere. ``PUT /_emulator/webhook``.

        Raises:
            AgentError: It is not on this machine.
        """
        self.world.webhooks.set_url(url)

    def inject(self, kind: str, **fault: Any) -> str:
        """
        Set up a fault and return its id: ``POST /_emulator/faults``.

        Args:
            kind: One of `guestwire.emulator.faults.KINDS`.
            **fault: `match`, `times`, `probability` and the kind's parameters.

        Raises:
            FaultError: It cannot be.
        """
        return self.world.faults.inject({"kind": kind, **fault})[0]

    def faults(self) -> list[dict[str, Any]]:
        """The faults with their counts: ``GET /_emulator/faults``."""
        return self.world.faults.describe()

    def clear_faults(self, fault_id: str | None = None) -> int:
        """Remove one fault or all; returns how many: ``DELETE /_emulator/faults``."""
        return self.world.faults.clear(fault_id)

    def say(self, text: str | None = None, **what: Any) -> str:
        """
        Say something as the agent and return the message's id: ``POST /_emulator/agent``.

        Args:
            text: What to say.
            **what: `content`, `event`, `nickname`, and `conversation_id` or `token` for whom; default: the
                guest whose conversation began last.

        Raises:
            AgentError: It cannot be.
        """
        data = {key: value for key, value in {"text": text, **what}.items() if value is not None}
        entry = orders.act_as_agent(self.world, data, self.now())
        self.pump()
        return entry.body.id or ""

    def disconnect(self, *, read_only: bool | None = None, **whom: Any) -> str:
        """End a conversation as the agent; `read_only` None: as the settings say."""
        return self.say(event="disconnect", read_only=read_only, **whom)

    def trigger(self, what: str, **whom: Any) -> list[str]:
        """
        Let the far side do something to a guest at once: ``POST /_emulator/trigger``.

        Args:
            what: One of `guestwire.emulator.triggers.KINDS`.
            **whom: `conversation_id` or `token`; default: the guest whose conversation began last. And the kind's
                parameters.

        Returns:
            The ids of the messages that came of it.

        Raises:
            TriggerError: There is no such kind, or not with these parameters.
            AgentError: It cannot be.
        """
        ids: list[str] = self.trigger_as_asked({"what": what, **whom})["ids"]
        return ids

    def trigger_as_asked(self, data: Any) -> dict[str, Any]:
        """Carry out what ``POST /_emulator/trigger`` takes, and return what it answers."""
        done = triggers.pull(self.world, data, self.now())
        self.pump()
        return done

    def advance(self, seconds: float) -> None:
        """Let time pass at once, in seconds: ``POST /_emulator/clock``."""
        self._offset_s += seconds
        self._forget_timer()
        self.pump()

    def reset(self) -> None:
        """Forget everything but the settings and close every connection: ``POST /_emulator/reset``."""
        self._poster.forget()
        self._http_faults.release()
        self.world.reset()
        self._offset_s = 0.0
        self._forget_timer()
        self.pump()

    # --- between the world and the sockets ---

    def log_http(self, action: str, token_sha256: str, answered: str | int) -> None:
        """Note an HTTP request in the log of requests."""
        self.world.log.append(Logged(self.now(), 0, token_sha256, action, answered))

    def pump(self) -> None:
        """Do what is due, write what there is to write, and set the timer for what comes next."""
        delivery = self.world.delivery
        due = delivery.next_due()
        if due is not None and due <= self.now():
            delivery.run_due(self.now())
            due = delivery.next_due()
        for post in self.world.webhooks.take_posts():
            self._poster.post(post)
        for attempt in self.world.webhooks.take_given_up():
            self._poster.give_up(attempt)
        for connection in delivery.take_touched():
            connected = self._sockets.get(connection.number)
            if connected is not None and connected.connection is connection:
                self._carry_out(connected)
        if due is not None and due < self._timer_due:
            self._set_timer(due)

    def _posted(self, post: Post, outcome: int | str) -> None:
        self.world.webhooks.answered(post, outcome, self.now())
        self.pump()

    def _set_timer(self, due: float) -> None:
        self._forget_timer()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self.now()), self._on_timer)

    def _forget_timer(self) -> None:
        """Also when the clock jumps: a timer is set in real time, what is due is not."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = None, float("inf")

    def _on_timer(self) -> None:
        self._forget_timer()
        self.pump()

    def _carry_out(self, connected: _Socket) -> None:
        outputs, connected.connection.outputs = connected.connection.outputs, []
        for output in outputs:
            if isinstance(output, bytes):
                connected.write(_TEXT, output)
            elif isinstance(output, Close):
                task = asyncio.get_running_loop().create_task(connected.websocket.close(code=output.code))
                self._closing.add(task)
                task.add_done_callback(self._closed)
            elif isinstance(output, Abort):
                connected.abort()
        if connected.unread() > self.settings.max_unread_bytes:
            logger.warning("a client does not read: aborted", extra={"action": "slow_reader"})
            self.world.overrun(connected.connection)
            connected.abort()

    def _closed(self, task: asyncio.Task[Any]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that broke while it was closed is closed

    async def _serve_websocket(self, request: web.Request) -> web.StreamResponse:
        answer = self.world.upgrade(
            request.query.get("deploymentId", ""), request.headers.get("Origin"), request.host, self.now()
        )
        if isinstance(answer, int):
            return _refuse_upgrade(answer, self.settings.retry_after_s)
        websocket = web.WebSocketResponse(
            timeout=_CLOSE_PATIENCE_S,
            autoping=False,  # a silent peer answers no ping
            compress=False,  # no client is known to compress
            max_msg_size=self.settings.max_frame_bytes,
            decode_text=False,  # the codec reads bytes
        )
        try:
            await websocket.prepare(request)
            transport = request.transport
            if transport is not None:
                connected = _Socket(answer, websocket, transport)
                self._sockets[answer.number] = connected
                self.pump()
                await self._read(connected)
        except ConnectionResetError:
            if not websocket.prepared:
                return web.Response()  # whoever asked is gone, as one that was killed: nobody reads this
        finally:
            self._sockets.pop(answer.number, None)
            self.world.lost(answer)
            self.pump()
        return websocket

    async def _read(self, connected: _Socket) -> None:
        connection, websocket = connected.connection, connected.websocket
        while True:
            message = await websocket.receive()
            if message.type is WSMsgType.TEXT:
                self.world.receive(connection, message.data, self.now())
                self.pump()
            elif message.type is WSMsgType.PING:
                if not connection.silent:
                    connected.write(_PONG, message.data)
            elif message.type is WSMsgType.BINARY:
                await websocket.close(code=1003)  # the protocol knows text only
                return
            elif message.type is not WSMsgType.PONG:
                return


class _Socket:
    """A WebSocket and what it takes to write to it without waiting."""

    __slots__ = ("connection", "transport", "websocket")

    def __init__(self, connection: Connection, websocket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.connection = connection
        self.websocket = websocket
        self.transport = transport

    def write(self, first_byte: int, payload: bytes) -> None:
        """Write one unfragmented frame (RFC 6455, section 5.2; a server does not mask)."""
        if self.transport.is_closing() or self.websocket.closed:
            return
        size = len(payload)
        if size < 126:
            header = struct.pack("!BB", first_byte, size)
        elif size < 65536:
            header = struct.pack("!BBH", first_byte, 126, size)
        else:
            header = struct.pack("!BBQ", first_byte, 127, size)
        self.transport.write(header + payload)

    def unread(self) -> int:
        """Bytes that the client has not taken yet."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        self.transport.abort()


def _refuse_upgrade(status: int, retry_after_s: int) -> web.Response:
    code = {403: "forbidden", 429: "too.many.requests"}.get(status, "service.unavailable")
    wait_s = retry_after_s if status in (429, 503) else None
    return error(status, code, "The WebSocket upgrade was refused.", retry_after_s=wait_s)


def _steady_clock() -> Callable[[], float]:
    # A wall clock that is set back would unexpire sessions and reopen windows.
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


def _tls(settings: EmulatorSettings) -> Tls | None:
    if settings.tls == "off":
        return None
    from guestwire.emulator.tls import Tls

    return Tls(settings)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.setblocking(False)
    except OSError as failure:
        listener.close()
        in_use = failure.errno == errno.EADDRINUSE
        raise ConfigError(
            f"the emulator cannot listen on 127.0.0.1:{port}: "
            + ("the port is in use" if in_use else str(failure.strerror)),
            code="GW-C031",
            hint="choose another port, or 0 for a free one",
        ) from failure
    return listener


async def serve(settings: EmulatorSettings, ready: Callable[[Emulator], None]) -> None:
    """
    Run an emulator until cancelled.

    Args:
        settings: How it behaves.
        ready: Called once, when the port is open.

    Raises:
        ConfigError: As `Emulator` and its `start`.
    """
    emulator = Emulator(settings)
    try:
        await emulator.start()
        ready(emulator)
        await asyncio.Event().wait()
    finally:
        await emulator.close()
