"""What the agent's side asks for over ``POST /_emulator/agent``, made into what the world can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from guestwire.emulator.agents import DEFAULT_HUMAN
from guestwire.emulator.records import AgentError, Entry, Session, SessionKey, sha256
from guestwire.emulator.restguest import RestGuest
from guestwire.emulator.uploads import Handout
from guestwire.emulator.world import World
from guestwire.protocol import codec
from guestwire.protocol.frames import Content, Event, Message, Presence, Typing

_KEYS = {
    "conversation_id",
    "token",
    "guest",
    "text",
    "content",
    "attachment",
    "event",
    "nickname",
    "author",
    "hand_over",
    "read_only",
    "metadata",
}


def session_for(world: World, data: Mapping[str, Any]) -> Session:
    """
    Find whom the agent means: by `conversation_id`, `token` or `guest` (the id over REST), or the latest conversation.

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
    if data.get("guest") is not None:
        return _rest_guest(world, str(data["guest"]))
    live = [item for item in world.conversations.values() if item.session.conversation is item]
    if not live:
        raise AgentError("there is no conversation yet: it begins with the guest's first message")
    return live[-1].session


def _rest_guest(world: World, guest_id: str) -> Session:
    latest = [
        item.session
        for item in world.conversations.values()
        if isinstance(item.session, RestGuest) and item.session.sender["id"] == guest_id
    ]
    if not latest:
        raise AgentError("nobody with this id has written over REST yet")
    return latest[-1]


def act_as_agent(world: World, data: Any, now: float) -> Entry:
    """
    Carry out what ``POST /_emulator/agent`` takes: `text`, `content`, `attachment` or `event`, to whom, as whom.

    Raises:
        AgentError: It cannot be; the text says what is wanted.
    """
    if not isinstance(data, dict):
        raise AgentError("wanted: a JSON object with 'text', 'content', 'attachment' or 'event'")
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise AgentError(f"{unknown[0]!r} is none of {', '.join(sorted(_KEYS))}")
    session = session_for(world, data)
    if str(data.get("event", "")).lower() == "disconnect":
        read_only = data.get("read_only")
        return world.desk.disconnect(session, None if read_only is None else "read_only" if read_only else "send", now)
    author = data.get("author", "Human")
    if author not in ("Human", "Bot"):
        raise AgentError("author must be Human or Bot")
    nickname = data.get("nickname")
    if nickname is not None and not (isinstance(nickname, str) and nickname):
        raise AgentError("nickname must be text")
    body, handout = _body(data), _handout(data)
    if data.get("hand_over"):
        world.desk.hand_over(session, nickname or DEFAULT_HUMAN, now)
    return world.desk.say(session, body, author, nickname, now, handout)


def _handout(data: dict[str, Any]) -> Handout | None:
    if data.get("attachment") is None:
        return None
    try:
        return msgspec.convert(data["attachment"], Handout)
    except msgspec.ValidationError as error:
        raise AgentError(f"attachment has name, type, and text, base64 or size: {error}") from error


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
    if content is None and not text and data.get("attachment") is None:
        raise AgentError("say something: 'text', 'content', 'attachment' or 'event'")
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
