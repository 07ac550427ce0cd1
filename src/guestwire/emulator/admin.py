"""
The admin API under ``/_emulator``: what the agent's side shows, what an auditor counts, what a test wants to go wrong.

Stable; docs/emulator.md is its reference. The functions that make the answers are plain ones, shared with `Emulator`'s
own methods, so that a test in Python and a test with curl see the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from guestwire.emulator.faults import KINDS, FaultError
from guestwire.emulator.ids import iso_time
from guestwire.emulator.records import Entry, Session, SessionKey
from guestwire.emulator.rest import json_response
from guestwire.emulator.world import AgentError, World, sha256
from guestwire.protocol import codec
from guestwire.protocol.frames import Content, Event, Message, Presence, Typing

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

_LIMITS = (
    "messages_per_second",
    "requests_per_minute",
    "configures_per_minute",
    "connects_per_minute",
    "health_checks_per_minute",
    "history_per_minute",
)


# --- what there is to see ---


def state_of(world: World, now: float) -> dict[str, Any]:
    """Counters since the start or the last reset, the deployment's id, limits in force."""
    settings = world.settings
    return {
        **msgspec.to_builtins(world.tally),
        "deployment_id": world.deployment_id,
        "seed": settings.seed,
        "now": now,
        "connections_open": len(world.connections),
        "sessions": len(world.sessions),
        "conversations": len(world.conversations),
        "messages": sum(entry.is_message for entry in world.entries),
        "limits": {name: getattr(settings, name) if settings.limits == "documented" else None for name in _LIMITS},
        "settings": msgspec.to_builtins(settings),
    }


def conversations_of(world: World) -> list[dict[str, Any]]:
    """All conversations that are kept, oldest first."""
    return [
        {
            "conversation_id": conversation.id,
            "deployment_id": conversation.session.key.deployment_id,
            "token_sha256": conversation.session.key.token_sha256,
            "started_at": conversation.started_at,
            "ended_at": conversation.ended_at,
            "read_only": conversation.session.read_only,
            "messages": conversation.messages,
            "connections": len(conversation.session.connections),
            "custom_attributes": conversation.attributes,
        }
        for conversation in world.conversations.values()
    ]


def messages_of(world: World, *, conversation_id: str | None = None, token: str | None = None) -> list[dict[str, Any]]:
    """What an agent sees, in visible order, duplicates included; events are no messages."""
    wanted = sha256(token) if token is not None else None
    return [
        _message(entry)
        for entry in world.entries
        if entry.is_message
        and (conversation_id is None or entry.conversation.id == conversation_id)
        and (wanted is None or entry.session.key.token_sha256 == wanted)
    ]


def _message(entry: Entry) -> dict[str, Any]:
    body = entry.body
    content = [codec.write(item) for item in body.content or ()]
    return {
        "conversation_id": entry.conversation.id,
        "deployment_id": entry.session.key.deployment_id,
        "token_sha256": entry.session.key.token_sha256,
        "direction": body.direction,
        "id": body.id,
        "channel_message_id": body.channel.message_id if body.channel else None,
        "tracing_id": entry.tracing_id,
        "type": body.type,
        "text": body.text,
        "content": [item for item in content if item.get("contentType") != "Attachment"],
        "attachments": [item["attachment"] for item in content if "attachment" in item],
        "custom_attributes": entry.custom_attributes,
        "metadata": body.metadata or {},
        "time": body.channel.time if body.channel else iso_time(entry.received_at),
        "received_at": entry.received_at,
    }


def requests_of(world: World) -> list[dict[str, Any]]:
    """Every request and its answer, oldest first, for auditors who count windows themselves."""
    return [logged._asdict() for logged in world.log]


# --- the agent's side ---


def session_for(world: World, data: Mapping[str, Any]) -> Session:
    """
    Find whom the agent means: by `conversation_id`, by `token`, or the latest conversation.

    Raises:
        AgentError: Nobody is meant.
    """
    if data.get("conversation_id") is not None:
        conversation = world.conversations.get(str(data["conversation_id"]))
        if conversation is None or conversation.session.conversation is not conversation:
            raise AgentError("no such conversation, or it has ended: GET /_emulator/conversations lists them")
        return conversation.session
    if data.get("token") is not None:
        session = world.sessions.get(SessionKey(world.deployment_id, sha256(str(data["token"]))))
        if session is None:
            raise AgentError("no session has this token: configureSession makes one")
        return session
    live = [item for item in world.conversations.values() if item.session.conversation is item]
    if not live:
        raise AgentError("there is no conversation yet: it begins with the guest's first message")
    return live[-1].session


def act_as_agent(world: World, data: Any, now: float) -> Entry:
    """
    Carry out what ``POST /_emulator/agent`` takes: `text`, `content` or `event`, to whom, under which `nickname`.

    Raises:
        AgentError: It cannot be; the text says what is wanted.
    """
    if not isinstance(data, dict):
        raise AgentError("wanted: a JSON object with 'text', 'content' or 'event'")
    known = {"conversation_id", "token", "text", "content", "event", "nickname", "author", "read_only", "metadata"}
    unknown = sorted(set(data) - known)
    if unknown:
        raise AgentError(f"{unknown[0]!r} is none of {', '.join(sorted(known))}")
    session = session_for(world, data)
    if str(data.get("event", "")).lower() == "disconnect":
        read_only = data.get("read_only")
        return world.disconnect(session, None if read_only is None else "read_only" if read_only else "send", now)
    author = data.get("author", "Human")
    if author not in ("Human", "Bot"):
        raise AgentError("author must be Human or Bot")
    return world.say(session, _body(data), author, data.get("nickname"), now)


def _body(data: dict[str, Any]) -> Message:
    text, content, event = data.get("text"), data.get("content"), data.get("event")
    metadata = data.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise AgentError("metadata must be an object of strings")
    if event is not None:
        return Message(type="Event", events=[_event(event)], metadata=metadata)
    if text is not None and not isinstance(text, str):
        raise AgentError("text must be a string")
    if content is None and not text:
        raise AgentError("say something: 'text', 'content' or 'event'")
    if content is not None and not (isinstance(content, list) and all(isinstance(item, dict) for item in content)):
        raise AgentError("content must be a list of objects with contentType")
    items = [codec.read(Content, item) for item in content or ()]
    return Message(type="Structured" if items else "Text", text=text, content=items or None, metadata=metadata)


def _event(event: Any) -> Event:
    if isinstance(event, dict):
        return codec.read(Event, event)
    if event == "typing":
        return Event(event_type="Typing", typing=Typing(type="On", duration=5000))
    if isinstance(event, str) and event:
        return Event(event_type="Presence", presence=Presence(type=event[0].upper() + event[1:]))
    raise AgentError("event must be 'typing', 'disconnect', the name of a presence, or an object with eventType")


# --- HTTP ---


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
            web.post("/_emulator/reset", self.reset),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """
        Keep web pages out: the admin API answers no browser of another site.

        A page on the developer's machine could otherwise read what guests wrote, through DNS rebinding or plain POSTs.
        """
        if request.path.startswith("/_emulator") and not _is_local(request.host):
            return _problem(403, "the admin API is for this machine: use http://127.0.0.1")
        if request.path.startswith("/_emulator") and request.headers.get("Sec-Fetch-Site") == "cross-site":
            return _problem(403, "the admin API does not answer pages of other sites")
        response: web.StreamResponse = await handler(request)
        return response

    async def state(self, request: web.Request) -> web.Response:
        """GET counters and settings."""
        return json_response(state_of(self._world, self._emulator.now()))

    async def conversations(self, request: web.Request) -> web.Response:
        """GET all conversations."""
        return json_response(conversations_of(self._world))

    async def messages(self, request: web.Request) -> web.Response:
        """GET what agents see, as one array."""
        query = request.query
        found = messages_of(self._world, conversation_id=query.get("conversation_id"), token=query.get("token"))
        return json_response(found)

    async def requests(self, request: web.Request) -> web.Response:
        """GET the log of requests."""
        return json_response(requests_of(self._world))

    async def list_faults(self, request: web.Request) -> web.Response:
        """GET the faults with their counts, and what kinds there are."""
        kinds = {name: {"does": kind.does, "parameters": kind.parameters} for name, kind in KINDS.items()}
        return json_response({"faults": self._world.faults.describe(), "kinds": kinds})

    async def inject(self, request: web.Request) -> web.Response:
        """POST a fault, or a list of them."""
        try:
            ids = self._world.faults.inject(await _json(request))
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
        data = await _json(request)
        seconds = data.get("advance_s") if isinstance(data, dict) else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            return _problem(400, 'wanted: {"advance_s": seconds}, from 0; time does not run backwards')
        self._emulator.advance(seconds)
        return json_response({"now": self._emulator.now()})

    async def agent(self, request: web.Request) -> web.Response:
        """POST what the agent says or does."""
        try:
            entry = act_as_agent(self._world, await _json(request), self._emulator.now())
        except AgentError as error:
            return _problem(409, str(error))
        self._emulator.pump()
        return json_response({"id": entry.body.id, "conversation_id": entry.conversation.id}, 201)

    async def reset(self, request: web.Request) -> web.Response:
        """POST: forget everything but the settings."""
        self._emulator.reset()
        return json_response({"deployment_id": self._world.deployment_id})


async def _json(request: web.Request) -> Any:
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _problem(status: int, sentence: str) -> web.Response:
    return json_response({"error": sentence}, status)


def _is_local(host: str) -> bool:
    return host.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]") or host in ("127.0.0.1", "localhost")
