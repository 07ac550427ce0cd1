"""
The emulator's REST side with a hand on the line: what no platform of good manners answers, byte by byte.

A `RawPlatform` listens in front of an emulator and passes every request on. A *trick* takes the next request that says
a certain text, or that goes to a certain path, and does with its answer what it likes; whether the emulator sees the
request at all is the trick's choice too. So the emulator stays the judge of what was accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import json
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from guestwire.emulator.app import Emulator

#: How much of an answer that never ends is written, in bytes, before it goes on in silence.
ENDLESS = 8 * 1024 * 1024
#: A body that inflates to this is a bomb, in megabytes.
BOMB_MB = 100


class Request(NamedTuple):
    """A request as it came. Names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def text(self) -> str:
        """What a guest says with it, on either route; empty: nothing."""
        try:
            data = json.loads(self.body)
        except ValueError:
            return ""
        held = data.get("body") if isinstance(data, dict) else None
        return str(data.get("text") or (held or {}).get("content") or "") if isinstance(data, dict) else ""


def answer(body: bytes = b"", status: str = "200 OK", *, kind: str = "application/json", headers: str = "") -> bytes:
    """Spell a whole answer; `headers` are lines, each with its CRLF."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode("latin-1") + body


class Exchange:
    """One request, and the line on which its answer goes out."""

    def __init__(self, platform: RawPlatform, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.platform = platform
        self._writer = writer

    async def accept(self) -> bytes:
        """Let the emulator have the request; returns its whole answer."""
        return await self.platform.pass_on(self.request)

    async def write(self, data: bytes) -> None:
        """Write to the guest's side; raises `ConnectionError` when it is gone."""
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Say that nothing more comes (FIN), after what was written."""
        self._writer.close()

    def reset(self) -> None:
        """Break the line (RST)."""
        held: socket.socket | None = self._writer.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


#: Does something with one request; the options stand in the page.
Trick = Callable[..., Awaitable[None]]


class _Waiting(NamedTuple):
    name: str
    text: str
    path: str
    options: dict[str, Any]


class RawPlatform:
    """An emulator's REST side behind a hand on the line; see the module."""

    def __init__(self, genesys: Emulator) -> None:
        self.genesys = genesys
        self.port = 0
        self.scheme = "http"
        #: Every request that was read whole, in order.
        self.seen: list[Request] = []
        #: Connections that were made.
        self.connections = 0
        #: The time, where a trick has to name one.
        self.now: Callable[[], float] = time.time
        #: Lets tricks go on that wait for the guest's side to be done with an answer.
        self.go_on = asyncio.Event()
        #: Connections to the other host that redirects lead to.
        self.went_elsewhere = 0
        self._elsewhere: asyncio.Server | None = None
        #: Tricks that are not over.
        self.playing = 0
        self._waiting: list[_Waiting] = []
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Where to go instead of the emulator."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pending(self) -> list[str]:
        """Tricks that wait for their request."""
        return [one.name for one in self._waiting]

    def play(self, name: str, *, text: str = "", path: str = "", **options: Any) -> None:
        """Play a trick on the next request that says `text` and whose path ends with `path`."""
        assert name in TRICKS, name
        if name == "gzip_bomb":
            _bomb()  # so that nobody waits for it later
        self._waiting.append(_Waiting(name, text, path, options))

    def said(self, text: str) -> list[Request]:
        """The requests that said this."""
        return [request for request in self.seen if request.method == "POST" and request.text == text]

    # --- life ---

    async def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen: on a free port at first, on the same one ever after."""
        self.scheme = "http" if tls is None else "https"
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=4 * 1024 * 1024, ssl=tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]
        if self._elsewhere is None:
            self._elsewhere = await asyncio.start_server(self._count, "127.0.0.1", 0)

    async def shut(self) -> None:
        """Listen no more, and break every line."""
        server, self._server = self._server, None
        elsewhere, self._elsewhere = self._elsewhere, None
        for one in (server, elsewhere):
            if one is not None:
                one.close()
        for writer in self._lines.values():
            writer.transport.abort()
        lines = list(self._lines)
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    @property
    def elsewhere(self) -> str:
        """The address of another host, which counts who comes."""
        assert self._elsewhere is not None
        return f"http://localhost:{self._elsewhere.sockets[0].getsockname()[1]}"

    def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.went_elsewhere += 1
        writer.close()

    # --- requests ---

    async def pass_on(self, request: Request) -> bytes:
        """Hand a request to the emulator; returns its answer, as for a connection that stays."""
        host, port = self.genesys.url.removeprefix("http://").split(":")
        near, far = await asyncio.open_connection(host, int(port), limit=4 * 1024 * 1024)
        try:
            headers = {**request.headers, "host": f"{host}:{port}", "connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            far.write(f"{request.method} {request.target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + request.body)
            return (await near.read()).replace(b"Connection: close\r\n", b"", 1)
        finally:
            far.close()
            with contextlib.suppress(OSError):
                await far.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = writer
        self.connections += 1
        try:
            while (request := await _read(reader)) is not None and not writer.is_closing():
                self.seen.append(request)
                exchange = Exchange(self, request, writer)
                waiting = self._take(request)
                if waiting is None:
                    if found := await exchange.accept():
                        await exchange.write(found)
                    else:
                        exchange.reset()  # as the emulator did
                else:
                    self.playing += 1
                    try:
                        await TRICKS[waiting.name](exchange, **waiting.options)
                    finally:
                        self.playing -= 1
        except (OSError, asyncio.CancelledError):
            pass  # the other side is gone, or the test is over
        finally:
            self._lines.pop(task, None)
            writer.close()

    def _take(self, request: Request) -> _Waiting | None:
        for place, one in enumerate(self._waiting):
            if request.text.startswith(one.text) and request.path.endswith(one.path):
                return self._waiting.pop(place)
        return None


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read a request; None at the end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Request(method, target, headers, body)


@contextlib.asynccontextmanager
async def raw_platform(genesys: Emulator, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawPlatform]:
    """Put a hand on the line of an emulator for the length of the block."""
    platform = RawPlatform(genesys)
    await platform.open(tls)
    try:
        yield platform
    finally:
        await platform.shut()


# --- tricks ---


async def _reset_at(exchange: Exchange, *, byte: int) -> None:
    """Take it; break the line after so many bytes of the answer; negative: counted from its end."""
    whole = await exchange.accept()
    await exchange.write(whole[: byte if byte >= 0 else len(whole) + byte])
    exchange.reset()


async def _end_at(exchange: Exchange, *, byte: int) -> None:
    """Take it; end the line politely after so many bytes of the answer."""
    whole = await exchange.accept()
    await exchange.write(whole[: byte if byte >= 0 else len(whole) + byte])
    exchange.end()


async def _say(exchange: Exchange, data: bytes, accept: bool) -> None:
    if accept:
        await exchange.accept()
    await exchange.write(data)


async def _status(exchange: Exchange, *, line: str, accept: bool = False, **headers: str) -> None:
    """Answer with a status line of its own, without a body."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    await _say(exchange, answer(b"", line.replace("_", " "), headers=fields), accept)


async def _until_a_date(exchange: Exchange, *, status: int, after_s: int, zone: str = "GMT") -> None:
    """Name a time to come back as HTTP writes dates."""
    at = exchange.platform.now() + after_s
    date = email.utils.formatdate(at, usegmt=True).replace("GMT", zone).strip()
    await _say(exchange, answer(b"{}", f"{status} Later", headers=f"Retry-After: {date}\r\n"), accept=False)


async def _redirect(exchange: Exchange, *, status: int, accept: bool = False) -> None:
    """Send whoever asks to another host."""
    place = exchange.platform.elsewhere + exchange.request.target
    await _say(exchange, answer(b"", f"{status} Elsewhere", headers=f"Location: {place}\r\n"), accept)


async def _no_content(exchange: Exchange, *, accept: bool = True) -> None:
    """Say that there is no body."""
    await _say(exchange, b"HTTP/1.1 204 No Content\r\n\r\n", accept)


async def _body(exchange: Exchange, *, of: str, accept: bool = True, status: int = 200) -> None:
    """Answer with something that no acceptance is."""
    await _say(exchange, answer(BODIES[of], f"{status} OK"), accept)


async def _gzip_bomb(exchange: Exchange, *, accept: bool = True) -> None:
    """Answer with a small body that stands for a giant one, though nobody asked for compression."""
    await _say(exchange, answer(_bomb(), headers="Content-Encoding: gzip\r\n"), accept)


async def _endless(exchange: Exchange, *, how: str, accept: bool = True) -> None:
    """Answer with a body, a head or interim answers that do not end."""
    if accept:
        await exchange.accept()
    start, piece = {
        "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b" " * 65536),
        "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "nothing_said": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 1000),
        "line": (b"HTTP/1.1 200 ", b"O" * 65536),
        "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    }[how]
    await exchange.write(start)
    for _ in range(ENDLESS // len(piece) if how != "interim" else 10):
        await exchange.write(piece)
    await asyncio.Event().wait()


async def _slow(exchange: Exchange, *, pieces_ms: float, of: str = "answer") -> None:
    """Take it; the answer comes in pieces of one byte (or of its head alone), with a pause after each."""
    whole = await exchange.accept()
    stop = whole.index(b"\r\n\r\n") if of == "head" else len(whole)
    for place in range(stop):
        await exchange.write(whole[place : place + 1])
        await asyncio.sleep(pieces_ms / 1000)
    await exchange.write(whole[stop:])


async def _before(exchange: Exchange, *, what: str, times: int = 1) -> None:
    """Take it; write something in front of the answer."""
    whole = await exchange.accept()
    await exchange.write(INTERIM[what] * times + whole)


async def _chunked(exchange: Exchange, *, how: str) -> None:
    """Take it; the answer comes in chunks, right ones or wrong ones."""
    whole = await exchange.accept()
    body = whole.partition(b"\r\n\r\n")[2]
    head = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    single = b"".join(b"1\r\n" + body[place : place + 1] + b"\r\n" for place in range(len(body)))
    await exchange.write(
        head.replace(b"202", b"200" if b" 200 " in whole[:20] else b"202")
        + {
            "bytes": single + b"0\r\n\r\n",
            "extension": b"%x;a=b\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body),
            "no_size": b"zz\r\n" + body + b"\r\n0\r\n\r\n",
            "negative": b"-5\r\n" + body + b"\r\n0\r\n\r\n",
            "giant_size": b"f" * 40 + b"\r\n" + body,
            "too_short": b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 3, body),
            "no_end": b"%x\r\n%b\r\n" % (len(body), body),
        }[how]
    )
    if how == "no_end":
        exchange.end()


async def _head(exchange: Exchange, *, how: str) -> None:
    """Take it; something is wrong with the head of the answer."""
    whole = await exchange.accept()
    first, _, rest = whole.partition(b"\r\n")
    length = b"Content-Length: %d\r\n" % len(whole.partition(b"\r\n\r\n")[2])
    await exchange.write(
        {
            "no_http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "http_0_9": whole.partition(b"\r\n\r\n")[2],
            "http_2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18,
            "tls_alert": b"\x15\x03\x01\x00\x02\x02\x28",
            "status_of_words": first.replace(b" 20", b" OK") + b"\r\n" + rest,
            "status_of_four_digits": b"HTTP/1.1 2020 Accepted\r\n" + rest,
            "no_reason": first.rpartition(b" ")[0] + b"\r\n" + rest,
            "line_feeds_alone": whole.replace(b"\r\n", b"\n"),
            "nul": first + b"\r\nX-Odd: a\x00b\r\n" + rest,
            "folded": first + b"\r\nX-Odd: a\r\n b\r\n" + rest,
            "no_colon": first + b"\r\nnonsense\r\n" + rest,
            "latin_1": first + b"\r\nX-Odd: \xe4\xff\r\n" + rest,
            "long_header": first + b"\r\nX-Odd: " + b"a" * 100_000 + b"\r\n" + rest,
            "two_lengths": first + b"\r\nContent-Length: 3\r\n" + rest,
            "negative_length": whole.replace(length, b"Content-Length: -1\r\n"),
            "length_of_words": whole.replace(length, b"Content-Length: many\r\n"),
            "length_too_great": whole.replace(length, b"Content-Length: 100000\r\n"),
            "length_too_small": whole.replace(length, b"Content-Length: 20\r\n"),
            "length_and_chunks": first + b"\r\nTransfer-Encoding: chunked\r\n" + rest,
        }[how]
    )
    if how == "length_too_great":
        exchange.end()


async def _more(exchange: Exchange, *, what: str) -> None:
    """Take it, answer it, and say more than was asked for."""
    whole = await exchange.accept()
    again = whole.replace(b'"id":"', b'"id":"stale', 1)
    late = answer(b"", "408 Request Timeout", headers="Connection: close\r\n")
    if what == "a_second_answer":
        await exchange.write(whole + again)
        return
    await exchange.write(whole)
    await exchange.platform.go_on.wait()
    await exchange.write({"a_second_answer_later": again, "408_while_idle": late}[what])
    if what == "408_while_idle":
        exchange.end()


async def _close_while_idle(exchange: Exchange, *, how: str) -> None:
    """Take it, answer it, and let the connection go that the answer said would stay."""
    await exchange.write(await exchange.accept())
    if how == "reset":
        await exchange.platform.go_on.wait()
        exchange.reset()
    else:
        exchange.end()


async def _silence(exchange: Exchange, *, accept: bool = False) -> None:
    """Never answer; the line stays."""
    if accept:
        await exchange.accept()
    await asyncio.Event().wait()


async def _turn_away_unread(exchange: Exchange, *, line: str) -> None:
    """Answer and break the line at once, as who does not want to read what comes."""
    await exchange.write(answer(b"", line.replace("_", " "), headers="Connection: close\r\n"))
    exchange.end()


#: Bodies that are no acceptance.
BODIES: dict[str, bytes] = {
    "html": b"<!DOCTYPE html><html><title>Welcome to our Wi-Fi</title></html>",
    "cut_off": b'{"id":"6f3c9e21b84d47c5',
    "nothing": b"",
    "no_id": b'{"channel":{"messageId":"x"},"type":"Text"}',
    "empty_id": b'{"id":"","type":"Text"}',
    "number_as_id": b'{"id":17,"type":"Text"}',
    "null_as_id": b'{"id":null}',
    "object": b"{}",
    "list": b'[{"id":"6f3c9e21b84d47c5"}]',
    "nil": b"null",
    "text": b'"6f3c9e21b84d47c5"',
    "two_objects": b'{"id":"a"}{"id":"b"}',
    "latin_1": b'{"id":"\xe4\xff"}',
    "utf_16": '{"id":"6f3c9e21b84d47c5"}'.encode("utf-16"),
    "brackets": b"[" * 60_000,
    "nested": b'{"id":' * 10_000,
    "error": b'{"status":500,"code":"internal.server.error","message":"Something went wrong","contextId":"c1"}',
}

#: What may stand in front of an answer.
INTERIM: dict[str, bytes] = {
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "early_hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
    "empty_lines": b"\r\n",
    "other_protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: nothing\r\nConnection: Upgrade\r\n\r\n",
}

TRICKS: dict[str, Trick] = {
    "reset_at": _reset_at,
    "end_at": _end_at,
    "status": _status,
    "until_a_date": _until_a_date,
    "redirect": _redirect,
    "no_content": _no_content,
    "body": _body,
    "gzip_bomb": _gzip_bomb,
    "endless": _endless,
    "slow": _slow,
    "before": _before,
    "chunked": _chunked,
    "head": _head,
    "more": _more,
    "close_while_idle": _close_while_idle,
    "silence": _silence,
    "turn_away_unread": _turn_away_unread,
}


@functools.cache
def _bomb() -> bytes:
    """Gzip of an acceptance with a very long id."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [squeeze.compress(b'{"id":"')]
    parts += [squeeze.compress(b"x" * 1_000_000) for _ in range(BOMB_MB)]
    return b"".join([*parts, squeeze.compress(b'"}'), squeeze.flush()])
