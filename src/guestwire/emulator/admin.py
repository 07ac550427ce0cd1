"""
The admin API under ``/_emulator``: what the agent's side shows, what an auditor counts, what a test wants to go wrong.

Stable; docs/emulator.md is its reference. What it answers comes from `views`, what it is asked for goes through
`orders` and `triggers`, as with `Emulator`'s own methods: a test in Python and a test with curl see the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiohttp import web

from guestwire.emulator import hosts, orders, triggers, views
from guestwire.emulator.faults import KINDS, FaultError
from guestwire.emulator.records import AgentError
from guestwire.emulator.rest import json_response, read_json

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

#: A follower of the events hears at least this often, in seconds: what is dead is found out.
_HEARTBEAT_S = 15.0


class Admin:
    """The routes of the admin API. Errors are JSON with one sentence."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._world = emulator.world

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        return [
            web.get("/_emulator/state", self.state),
            web.get("/_emulator/conversations", self.conversations),
            web.get("/_emulator/messages", self.messages),
            web.get("/_emulator/requests", self.requests),
            web.get("/_emulator/faults", self.list_faults),
            web.post("/_emulator/faults", self.inject),
            web.delete("/_emulator/faults", self.clear_faults),
            web.delete("/_emulator/faults/{id}", self.clear_faults),
            web.post("/_emulator/clock", self.clock),
            web.post("/_emulator/agent", self.agent),
            web.get("/_emulator/trigger", self.list_triggers),
            web.post("/_emulator/trigger", self.trigger),
            web.get("/_emulator/events", self.events),
            web.get("/_emulator/webhooks", self.list_webhooks),
            web.get("/_emulator/webhook", self.webhook),
            web.put("/_emulator/webhook", self.set_webhook),
            web.post("/_emulator/webhook", self.set_webhook),
            web.post("/_emulator/reset", self.reset),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """
        Keep web pages out: the admin API answers no browser of another site.

        A page on the developer's machine could otherwise read what guests wrote, through DNS rebinding or plain POSTs.
        """
        if request.path.startswith("/_emulator"):
            if not hosts.is_loopback(request.host):
                return _problem(403, "the admin API is for this machine: use the host 127.0.0.1 or localhost")
            if not _is_own_page(request):
                return _problem(403, "the admin API does not answer pages of other sites")
        response: web.StreamResponse = await handler(request)
        return response

    async def state(self, request: web.Request) -> web.Response:
        """GET counters and settings."""
        return json_response(views.state_of(self._world, self._emulator.now()))

    async def conversations(self, request: web.Request) -> web.Response:
        """GET all conversations."""
        return json_response(views.conversations_of(self._world))

    async def messages(self, request: web.Request) -> web.Response:
        """GET what agents see, as one array."""
        query = request.query
        found = views.messages_of(self._world, conversation_id=query.get("conversation_id"), token=query.get("token"))
        return json_response(found)

    async def requests(self, request: web.Request) -> web.Response:
        """GET the log of requests."""
        return json_response(views.requests_of(self._world))

    async def list_faults(self, request: web.Request) -> web.Response:
        """GET the faults with their counts, and what kinds there are."""
        kinds = {
            name: {"point": kind.point, "does": kind.does, "parameters": kind.parameters}
            for name, kind in KINDS.items()
        }
        return json_response({"faults": self._world.faults.describe(), "kinds": kinds})

    async def inject(self, request: web.Request) -> web.Response:
        """POST a fault, or a list of them."""
        try:
            ids = self._world.faults.inject(await read_json(request))
        except FaultError as error:
            return _problem(400, str(error))
        return json_response({"ids": ids}, 201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """DELETE all faults, or one by ``/ID`` or ``?id=``."""
        fault_id = request.match_info.get("id") or request.query.get("id")
        cleared = self._world.faults.clear(fault_id)
        if fault_id is not None and not cleared:
            return _problem(404, f"no fault has the id {fault_id[:40]!r}")
        return json_response({"cleared": cleared})

    async def clock(self, request: web.Request) -> web.Response:
        """POST ``{"advance_s": n}``: let time pass at once."""
        data = await read_json(request)
        seconds = data.get("advance_s") if isinstance(data, dict) else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            return _problem(400, 'wanted: {"advance_s": seconds}, from 0; time does not run backwards')
        self._emulator.advance(seconds)
        return json_response({"now": self._emulator.now()})

    async def agent(self, request: web.Request) -> web.Response:
        """POST what the agent says or does."""
        try:
            entry = orders.act_as_agent(self._world, await read_json(request), self._emulator.now())
        except AgentError as error:
            return _problem(409, str(error))
        self._emulator.pump()
        return json_response({"id": entry.body.id, "conversation_id": entry.conversation.id}, 201)

    async def list_triggers(self, request: web.Request) -> web.Response:
        """GET what can be triggered, with parameters."""
        kinds = {name: {"does": kind.does, "parameters": kind.parameters} for name, kind in triggers.KINDS.items()}
        return json_response({"kinds": kinds})

    async def trigger(self, request: web.Request) -> web.Response:
        """POST what the far side is to do at once, and to whom."""
        try:
            done = self._emulator.trigger_as_asked(await read_json(request))
        except triggers.TriggerError as error:
            return _problem(400, str(error))
        except AgentError as error:
            return _problem(409, str(error))
        return json_response(done, 201)

    async def list_webhooks(self, request: web.Request) -> web.Response:
        """GET the deliveries to the webhook, oldest first."""
        return json_response(self._world.webhooks.describe())

    async def webhook(self, request: web.Request) -> web.Response:
        """GET where webhooks go."""
        return json_response({"url": self._world.webhooks.url})

    async def set_webhook(self, request: web.Request) -> web.Response:
        """PUT or POST ``{"url": …}``: where webhooks go from now on; empty: nowhere."""
        data = await read_json(request)
        url = data.get("url") if isinstance(data, dict) else None
        if not isinstance(url, str):
            return _problem(400, 'wanted: {"url": "http://127.0.0.1:…"}, or an empty one for none')
        try:
            self._world.webhooks.set_url(url)
        except AgentError as error:
            return _problem(400, str(error))
        return json_response({"url": url})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET what happens from now on, as server-sent events, until the client or the emulator ends it."""
        news = asyncio.Event()
        feed = self._world.feed
        follower = feed.follow(news.set)
        if follower is None:
            return _problem(503, "too many follow the events already: close one")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            await response.prepare(request)
            await response.write(b": following\n\n")
            while not feed.closed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _HEARTBEAT_S)
                news.clear()
                await response.write(follower.take() or b": still here\n\n")
        except ConnectionError:
            pass  # the follower is gone
        finally:
            feed.leave(follower)
        return response

    async def reset(self, request: web.Request) -> web.Response:
        """POST: forget everything but the settings."""
        self._emulator.reset()
        return json_response({"deployment_id": self._world.deployment_id})


def _problem(status: int, sentence: str) -> web.Response:
    return json_response({"error": sentence}, status)


def _is_own_page(request: web.Request) -> bool:
    """Whether no page asks, or one that came from here: browsers send `Origin` with whatever may change something."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"{request.scheme}://{request.host}".lower():
        return False
    return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
