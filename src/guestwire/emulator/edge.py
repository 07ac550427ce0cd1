"""`Edge`: the REST routes as aiohttp serves them. What they answer is decided in `platform`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from guestwire.emulator.calls import Answer, Call
from guestwire.emulator.oauth import bearer_sha256
from guestwire.emulator.platform import ROUTES, Route

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Edge:
    """The routes, and which request is about which."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._bodies: dict[int, bytes] = {}
        self._handlers: dict[Handler, Route] = {self._handler(route): route for route in ROUTES}

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        return [web.route(route.method, route.path, handler) for handler, route in self._handlers.items()]

    def route_of(self, request: web.Request) -> Route | None:
        """The route that a request is for; None: none of these."""
        return self._handlers.get(request.match_info.handler)

    def _handler(self, route: Route) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            body = await self.body_of(request)
            call = Call(
                names=request.match_info,
                query=request.query,
                authorization=request.headers.get("Authorization", ""),
                content_type=request.content_type.lower(),
                body=body,
                now=self._emulator.now(),
            )
            answer = self._emulator.world.platform.answer(route, call)
            self._emulator.pump()
            return to_response(answer)

        return serve

    async def body_of(self, request: web.Request) -> bytes | None:
        """Read a body to its end, or take the one that `peek` has read; None: larger than `max_request_bytes`."""
        most = self._emulator.settings.max_request_bytes
        known = self._bodies.get(id(request))
        if known is None:
            read = bytearray()
            async for chunk in request.content.iter_any():
                if len(read) <= most:  # the rest is read all the same: who still writes would not see the answer
                    read += chunk
            known = bytes(read)
        return None if len(known) > most else known

    async def peek(self, request: web.Request) -> bytes:
        """Read the body before the route does, which will find it until `forget`; too large a one is empty here."""
        body = await self.body_of(request)
        self._bodies[id(request)] = bytes(self._emulator.settings.max_request_bytes + 1) if body is None else body
        return body or b""

    def forget(self, request: web.Request) -> None:
        """Let go of what `peek` has read; the request is over."""
        self._bodies.pop(id(request), None)

    def note(self, request: web.Request, answered: str | int) -> None:
        """Note a request that never got to its route."""
        route = self.route_of(request)
        if route is not None:
            sha256 = bearer_sha256(request.headers.get("Authorization", ""))
            self._emulator.log_http(route.action, sha256, answered)


def to_response(answer: Answer) -> web.Response:
    """Spell an answer as HTTP."""
    headers = {"Cache-Control": "no-cache, no-store, must-revalidate", **answer.headers}
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    return web.Response(
        body=msgspec.json.encode(answer.body),
        status=answer.status,
        content_type="application/json",
        headers=headers,
    )
