"""
Faults of plain HTTP, struck at aiohttp's edge: before a request is processed, in place of its answer, and within it.

The connection is the emulator's to break: what aiohttp cannot be asked for (half an answer, a reset) is written to the
transport by hand.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from guestwire.emulator.calls import WORDS, error_body
from guestwire.emulator.edge import Edge
from guestwire.emulator.faults import KINDS, Fault, Firing, Occurrence
from guestwire.emulator.oauth import bearer_sha256

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HTML = (
    "<!DOCTYPE html><html><head><title>{status}</title></head><body><center><h1>{status} Bad Gateway</h1></center>"
    "<hr><center>proxy</center></body></html>"
)
_MEGABYTE = 1_000_000


class HttpFaults:
    """The middleware. The admin API and the WebSocket have their own ways."""

    def __init__(self, emulator: Emulator, edge: Edge) -> None:
        self._emulator = emulator
        self._edge = edge
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let those go who are never answered, or slowly."""
        self._released.set()
        self._released = asyncio.Event()

    @web.middleware
    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let faults strike a request."""
        world = self._emulator.world
        if request.path.startswith("/_emulator") or request.path == "/v1" or not len(world.faults):
            return await handler(request)
        try:
            return await self._strike(request, handler)
        finally:
            self._edge.forget(request)

    async def _strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        world = self._emulator.world
        occurrence = await self._occurrence(request)
        firing = world.strike(occurrence)
        slow = firing.get("slow_http")
        if slow:
            await asyncio.sleep(slow["delay_ms"] / 1000)
        ruin = _ruin(firing)
        if ruin is not None:
            return await self._instead(request, handler, ruin)
        response = await handler(request)
        if response.status >= 400 or not len(world.faults):
            return response
        ruin = _ruin(world.strike(occurrence._replace(point="http_answer")))
        return response if ruin is None else await self._within(request, response, ruin)

    async def _occurrence(self, request: web.Request) -> Occurrence:
        route = self._edge.route_of(request)
        body = await self._edge.peek(request) if route is not None else b""
        return Occurrence(
            "http",
            action=route.action if route is not None else "",
            text=_text_of(body),
            token_sha256=bearer_sha256(request.headers.get("Authorization", "")),
            path=request.path,
        )

    async def _instead(self, request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
        """Something else than the answer."""
        accept = bool(fault.parameters.get("accept"))
        if accept:
            await handler(request)
        if fault.kind == "http_silent":
            if not accept:
                self._edge.note(request, "dropped")
            await self._released.wait()
            return _cut(request)
        if fault.kind == "http_drop_before":
            self._edge.note(request, "dropped")
            return _cut(request)
        if fault.kind == "http_gzip_bomb":
            bomb = await asyncio.to_thread(_bomb, fault["megabytes"])
            response = web.Response(body=bomb, content_type="application/json", headers={"Content-Encoding": "gzip"})
        else:
            response = self._spoiled(fault)
        if not accept:
            self._edge.note(request, response.status)
        return response

    def _spoiled(self, fault: Fault) -> web.Response:
        status = fault["status"]
        if fault.kind == "http_html":
            return web.Response(status=status, text=_HTML.format(status=status), content_type="text/html")
        if fault.kind == "http_truncated_json":
            return web.Response(status=status, body=b'{"id":"6f3c9e21b84d47c5', content_type="application/json")
        if fault.kind == "http_redirect":
            return web.Response(status=status, headers={"Location": fault["location"]})
        context_id = self._emulator.world.platform.context_id()
        headers = {"ININ-Correlation-Id": context_id}
        if fault["retry_after_s"] is not None:
            headers["Retry-After"] = f"{fault['retry_after_s']:g}"
        headers.update({str(name): str(value) for name, value in fault["headers"].items()})
        if fault["body"] is not None:
            body = fault["body"].encode()
        else:
            code, _ = WORDS.get(status, WORDS[503])
            body = msgspec.json.encode(error_body(status, code, "Injected by a fault.", context_id))
        return web.Response(status=status, body=body, headers={**headers, "Content-Type": fault["content_type"]})

    async def _within(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
        """The answer to a request that has been processed, or as much as there will be of it."""
        transport = request.transport
        if fault.kind == "http_drop_after" or transport is None or not isinstance(response, web.Response):
            return _cut(request)
        raw = _raw(response)
        if fault.kind == "http_reset_at":
            transport.write(raw[: fault["bytes"]])
            held: socket.socket | None = transport.get_extra_info("socket")
            if held is not None:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return _cut(request)
        released = self._released
        for place in range(len(raw)):
            if transport.is_closing() or released.is_set():
                break
            transport.write(raw[place : place + 1])
            await asyncio.sleep(fault["delay_ms"] / 1000)
        transport.close()
        return _Gone()


class _Gone(web.StreamResponse):
    """Stands for an answer that nobody is given: whatever there was to write has been written."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        raise ConnectionResetError("the connection was ended by a fault")


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return _Gone()


def _ruin(firing: Firing) -> Fault | None:
    return next((fault for fault in firing if KINDS[fault.kind].ends), None)


def _raw(response: web.Response) -> bytes:
    """Spell an answer as it would have been written."""
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name.lower() != "content-length"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def _text_of(body: bytes) -> str:
    """What a request says, for `match`: the text of a message, wherever the route has it."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    if not isinstance(data, dict):
        return ""
    held = data.get("body")
    text = data.get("text") or data.get("textBody") or (held.get("content") if isinstance(held, dict) else None)
    return text if isinstance(text, str) else ""


@functools.lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    """Gzip of a JSON string that is almost nothing, for its size."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [squeeze.compress(b'{"id":"')]
    parts += [squeeze.compress(b" " * _MEGABYTE) for _ in range(megabytes)]
    parts += [squeeze.compress(b'"}'), squeeze.flush()]
    return b"".join(parts)
