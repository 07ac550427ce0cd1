"""
Whether a relay is alive and ready, over HTTP: `guestwire up --http`.

    GET /healthz   200 while its loop turns; else 503, and whoever supervises it should start it anew
    GET /readyz    200 while it can send what is queued; else 503, with everything that keeps it from that

A relay that is not ready is not ill: to start it anew mends no far side. No answer names a guest or quotes a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from guestwire.client import GuestWire
from guestwire.ports import HttpPort
from guestwire.vitals import STUCK_S

if TYPE_CHECKING:
    from aiohttp import web

#: Nobody has to send a body here.
MAX_BODY_BYTES = 1_024


def is_alive(wire: GuestWire) -> bool:
    """Whether the loop of this process's relay turns."""
    return wire.still_s < STUCK_S


class HealthServer:
    """
    Answers for a `GuestWire`; as a context manager, for the length of the block.

    Args:
        wire: Open.
        host: Address to listen on.
        port: 0: a free one; see `url` after the start.
    """

    def __init__(self, wire: GuestWire, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._wire = wire
        self._port = HttpPort(self._handle, host=host, port=port, flag="--http", max_body_bytes=MAX_BODY_BYTES)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._port.url

    async def __aenter__(self) -> HealthServer:
        await self._port.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._port.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        pages = {"/healthz": self._health, "/readyz": self._readiness}
        page = pages.get(request.path)
        if page is None:
            return _json(404, {"error": "there is nothing here", "paths": sorted(pages)})
        if request.method not in ("GET", "HEAD"):
            response = _json(405, {"error": "only to be read"})
            response.headers["Allow"] = "GET, HEAD"
            return response
        return _json(*page())

    def _health(self) -> tuple[int, Any]:
        alive = is_alive(self._wire)
        return 200 if alive else 503, {"status": "ok" if alive else "stuck", "still_s": round(self._wire.still_s, 3)}

    def _readiness(self) -> tuple[int, Any]:
        obstacles = self._wire.obstacles()
        return 503 if obstacles else 200, {"status": "not ready" if obstacles else "ready", "obstacles": obstacles}


def _json(status: int, content: Any) -> web.Response:
    from aiohttp import web

    return web.Response(
        status=status,
        body=msgspec.json.encode(content) + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "guestwire"},
    )
