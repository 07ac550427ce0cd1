"""
What the far side does to a guest at once, on demand: the things that happen *to* a client.

Faults (`faults`) wait for a guest to do something; a trigger waits for nothing. Each kind is a function of the world
and one session; what it says is recorded like everything an agent says, what it breaks is not.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from guestwire.emulator import normalized
from guestwire.emulator.orders import session_for
from guestwire.emulator.records import AgentError, Entry, Session
from guestwire.emulator.restguest import RestGuest
from guestwire.emulator.world import World
from guestwire.protocol.frames import CoBrowse, Content, Event, LogoutEvent, Message, Typing

#: Everything that a terminal, a page or a log must survive: ANSI colours and cursor moves, a title escape, bidi
#: overrides, markup, NUL, line breaks of all kinds, a lone combining mark, a zero-width joiner.
HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b[2J\x1b[H\x1b]0;owned\x07 \u202eevil\u202c \u2066iso\u2069 "
    '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'"> &lt;b&gt; '
    "\x00 \x08\x7f\x9b31m line\r\nbreak\u2028more\u2029more \u0301 \u200d {text} %s $(id) `id`"
)


class TriggerError(ValueError):
    """There is no such trigger, or not with these parameters; the text is a sentence for whoever asked."""


#: Whom a trigger needs: nobody, a guest, one who can be told something (connected, or over REST), a connected one.
Needs = Literal["nobody", "guest", "listener", "connection"]


class Pull(NamedTuple):
    """One trigger, pulled."""

    world: World
    guest: Session | None
    parameters: Mapping[str, Any]
    now: float

    @property
    def session(self) -> Session:
        """The guest that it happens to."""
        assert self.guest is not None  # noqa: S101 - `needs` saw to it
        return self.guest

    def tell(self, entry: Entry) -> str:
        """Tell the guest what was said; returns its id."""
        self.world.desk.tell(entry, self.now)
        return entry.body.id or ""

    def say(self, text: str | None = None, **body: Any) -> list[str]:
        """Let the agent's side say something."""
        message = Message(**{"type": "Text", "text": text, **body})
        return [self.world.desk.say(self.session, message, "Human", None, self.now).body.id or ""]

    def write(self, data: bytes) -> list[str]:
        """Send a frame that nobody said."""
        for connection in self.session.connections:
            self.world.delivery.write(connection, data)
        return []


class Kind(NamedTuple):
    """What a trigger does."""

    does: str
    """One sentence; the admin API and docs/emulator.md give it."""
    act: Callable[[Pull], list[str]]
    """Returns the ids of the messages that came of it."""
    parameters: Mapping[str, Any] = {}
    """Names of its parameters and what they default to."""
    needs: Needs = "connection"


#: What is no parameter of a kind.
_WHOM = ("what", "conversation_id", "token", "guest")


def pull(world: World, data: Any, now: float) -> dict[str, Any]:
    """
    Carry out what ``POST /_emulator/trigger`` takes: `what`, to whom, and the kind's parameters.

    Args:
        world: The platform.
        data: `what` and its parameters; `conversation_id`, `token` or `guest`, else the guest whose conversation began
            last, or who connected last if there is none yet.
        now: Seconds since the epoch.

    Returns:
        What the admin API answers: `what`, `ids` of the messages that came of it, `token_sha256`.

    Raises:
        TriggerError: There is no such kind, or not with these parameters.
        AgentError: Nobody is meant, or it cannot happen to him now.
    """
    if not isinstance(data, dict):
        raise TriggerError("wanted: a JSON object with 'what'")
    rest = {key: value for key, value in data.items() if key not in _WHOM}
    what = data.get("what")
    kind = KINDS.get(what) if isinstance(what, str) else None
    if kind is None:
        near = difflib.get_close_matches(str(what), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise TriggerError(f"nothing is called {str(what)[:40]!r}: {hint}")
    parameters = _parameters(str(what), kind, rest)
    session = None if kind.needs == "nobody" else _whom(world, data)
    if session is not None and not session.connections:
        listens = kind.needs == "guest" or (kind.needs == "listener" and isinstance(session, RestGuest))
        if not listens:
            raise AgentError("the guest is not connected: there is nobody to whom this could happen")
    ids = kind.act(Pull(world, session, parameters, now))
    done = {"what": what, "ids": ids, "token_sha256": session.key.token_sha256 if session is not None else ""}
    world.feed.tell("trigger", lambda: done)
    return done


def _parameters(what: str, kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = dict(kind.parameters)
    for key, value in given.items():
        if key not in parameters:
            raise TriggerError(f"{what!r} takes {', '.join(parameters) or 'no parameters'}; {key!r} is none of them")
        if type(value) is not type(parameters[key]):
            raise TriggerError(f"{key} of {what!r} cannot be {str(value)[:40]!r}")
        parameters[key] = value
    if not 1000 <= parameters.get("code", 1000) <= 4999:
        raise TriggerError("code must be a close code from 1000 to 4999")
    if not 0 < parameters.get("length", 1) <= 10_000_000:
        raise TriggerError("length must be from 1 to 10000000")
    return parameters


def _whom(world: World, data: Mapping[str, Any]) -> Session:
    nobody_named = all(data.get(key) is None for key in _WHOM[1:])
    if nobody_named and not any(item.session.conversation is item for item in world.conversations.values()):
        connected = [session for session in world.sessions.values() if session.connections]
        if connected:
            return connected[-1]
    return session_for(world, data)


# --- what there is ---


def _expire(pull: Pull) -> list[str]:
    pull.session.expires_at = pull.now
    pull.world.registry.expire(pull.session)
    return []


def _evict(pull: Pull) -> list[str]:
    pull.world.registry.evict(pull.session)
    return []


def _logout(pull: Pull) -> list[str]:
    for connection in list(pull.session.connections):
        pull.world.registry.let_go(connection, LogoutEvent())
    return []


def _clear(pull: Pull) -> list[str]:
    pull.world.registry.clear(pull.session)
    return []


def _disconnect(pull: Pull) -> list[str]:
    return [pull.world.desk.disconnect(pull.session, None, pull.now).body.id or ""]


def _read_only(pull: Pull) -> list[str]:
    return [pull.world.desk.disconnect(pull.session, "read_only", pull.now).body.id or ""]


def _typing(pull: Pull) -> list[str]:
    typing = Typing(type="On", duration=5000)
    return pull.say(type="Event", events=[Event(event_type="Typing", typing=typing)])


def _drop(pull: Pull) -> list[str]:
    for connection in list(pull.session.connections):
        pull.world.registry.abort(connection)
    return []


def _close(pull: Pull) -> list[str]:
    for connection in list(pull.session.connections):
        pull.world.registry.close(connection, pull.parameters["code"])
    return []


def _unknown_class(pull: Pull) -> list[str]:
    return pull.write(b'{"type":"message","class":"SomethingNewEvent","code":200,"body":{"novelty":1}}')


def _unknown_content(pull: Pull) -> list[str]:
    content = Content(content_type="Hologram", extra={"hologram": {"depth": 3}})
    return pull.say("Something new", type="Structured", content=[content])


def _no_type(pull: Pull) -> list[str]:
    return pull.write(b'{"message":"Internal server error","connectionId":"x","requestId":"y"}')


def _malformed(pull: Pull) -> list[str]:
    return pull.write(pull.parameters["text"].encode())


def _big_reply(pull: Pull) -> list[str]:
    return pull.say("x" * pull.parameters["length"])


def _hostile_reply(pull: Pull) -> list[str]:
    return pull.say(HOSTILE)


def _duplicate(pull: Pull) -> list[str]:
    outbound = (entry for entry in reversed(pull.session.history) if entry.body.direction == "Outbound")
    last = next(outbound, None)
    if last is None:
        raise AgentError("nothing has been said to this guest yet that could come twice")
    return [pull.tell(last)]


def _out_of_order(pull: Pull) -> list[str]:
    entries = [
        pull.world.desk.record(pull.session, Message(type="Text", text=text), "Human", None, pull.now + place / 1000)
        for place, text in enumerate(("This was said first.", "This was said second."))
    ]
    return list(reversed([pull.tell(entry) for entry in reversed(entries)]))


def _offer(pull: Pull) -> list[str]:
    draws = pull.session.agent_draws
    offer = CoBrowse(type="Offering", session_id=draws.uuid(), session_join_token=draws.hex32())
    return pull.say(type="Event", events=[Event(event_type="CoBrowse", co_browse=offer)])


def _revoke_tokens(pull: Pull) -> list[str]:
    pull.world.platform.oauth.revoke()
    return []


def _expire_tokens(pull: Pull) -> list[str]:
    pull.world.platform.oauth.expire(pull.now)
    return []


def _rotate_secret(pull: Pull) -> list[str]:
    pull.world.platform.oauth.rotate()
    return []


def _receipt(pull: Pull) -> list[str]:
    guest, named = pull.guest, pull.parameters["id"]
    if not isinstance(guest, RestGuest):
        raise AgentError("receipts go to the webhook: this guest came over the WebSocket")
    inbound = [entry for entry in guest.history if entry.body.direction == "Inbound" and entry.is_message]
    if not inbound:
        raise AgentError("this guest has said nothing yet that a receipt could be about")
    entry = next((entry for entry in inbound if entry.body.id == named), inbound[-1])
    message_id = entry.body.id
    if named == "unknown":
        message_id = guest.agent_draws.hex32()
    elif named == "future":
        message_id = copy.copy(guest.draws).hex32()  # what the guest's next message will be called
    elif named not in ("last", message_id):
        raise AgentError("id must be last, unknown, future, or the id of a message of this guest")
    payload = normalized.receipt(entry, pull.parameters["status"], pull.now, message_id)
    pull.world.webhooks.send(payload, guest.key.token_sha256, pull.now)
    return [message_id or ""]


def _webhook_junk(pull: Pull) -> list[str]:
    junk = pull.parameters["junk"]
    if junk not in _JUNK:
        raise TriggerError(f"junk must be one of {', '.join(_JUNK)}")
    content_type, make = _JUNK[junk]
    payload = {
        "id": pull.world.draws.hex32(),
        "channel": {"id": pull.world.platform.guests.integration_id, "platform": "Open", "type": "Private"},
    }
    pull.world.webhooks.send_raw(make(payload), content_type, "junk", pull.now)
    return []


_JSON = "application/json"
#: Odd deliveries: the content type that they say they are, and what they are.
_JUNK: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "not_json": (_JSON, lambda payload: b'{"id":"6f3c9e21b84d47c5'),
    "no_object": (_JSON, lambda payload: b'["a list"]'),
    "content_type": ("text/plain; charset=utf-8", lambda payload: msgspec.json.encode({**payload, "type": "Text"})),
    "unknown_type": (_JSON, lambda payload: msgspec.json.encode({**payload, "type": "Hologram", "hologram": {}})),
    "huge": (_JSON, lambda payload: msgspec.json.encode({**payload, "type": "Text", "text": "x" * 5_000_000})),
}


KINDS: dict[str, Kind] = {
    "expire": Kind("The session expires: `SessionExpiredEvent` at once.", _expire, needs="guest"),
    "evict": Kind("The oldest connection is let go: `ConnectionClosedEvent`, then a close frame.", _evict),
    "logout": Kind("`LogoutEvent` on every connection, then a close frame.", _logout),
    "clear": Kind(
        "The conversation is wiped, as by another device: `SessionClearedEvent`, `ConnectionClosedEvent`.",
        _clear,
        needs="guest",
    ),
    "disconnect": Kind(
        "The agent ends the conversation as `conversation_disconnect` says.", _disconnect, needs="guest"
    ),
    "read_only": Kind("The agent ends the conversation; the guest may not write any more.", _read_only, needs="guest"),
    "typing": Kind("The agent types, for 5 s.", _typing, needs="listener"),
    "drop": Kind("Every connection is aborted without a close frame.", _drop),
    "close": Kind("Every connection is closed with `code`.", _close, {"code": 1001}),
    "unknown_class": Kind("A frame of a class that nobody has heard of.", _unknown_class),
    "unknown_content": Kind("A reply whose `contentType` nobody has heard of.", _unknown_content, needs="guest"),
    "no_type": Kind("A frame without `type` and `class`, as the infrastructure in between may send.", _no_type),
    "malformed": Kind("A frame that is no JSON, or `text`.", _malformed, {"text": '{"type":"message","class":"Str'}),
    "big_reply": Kind(
        "A reply of `length` characters, beyond the platform's own limit.",
        _big_reply,
        {"length": 1_000_000},
        needs="guest",
    ),
    "hostile_reply": Kind(
        "A reply with terminal escapes, bidi overrides, markup, NUL and line breaks.",
        _hostile_reply,
        needs="guest",
    ),
    "duplicate": Kind(
        "The last thing said to the guest comes once more, with the same id.", _duplicate, needs="listener"
    ),
    "out_of_order": Kind(
        "Two replies; the later one, by `channel.time`, comes first.", _out_of_order, needs="listener"
    ),
    "offer": Kind("An offer to browse together (`CoBrowse`).", _offer),
    "revoke_tokens": Kind(
        "Every access token becomes worthless: 401 `bad.credentials`.", _revoke_tokens, needs="nobody"
    ),
    "expire_tokens": Kind("Every access token expires: 401 `credentials.expired`.", _expire_tokens, needs="nobody"),
    "rotate_secret": Kind(
        "The OAuth client gets another secret, which the state then tells; tokens stay.",
        _rotate_secret,
        needs="nobody",
    ),
    "receipt": Kind(
        "A receipt goes to the webhook, about the guest's message `id`: `last`, an id, `unknown`, or `future` for the "
        "one that he has yet to send.",
        _receipt,
        {"status": "Published", "id": "last"},
        needs="guest",
    ),
    "webhook_junk": Kind(
        "The webhook gets something odd, well signed: `junk` is not_json, no_object, content_type, unknown_type or "
        "huge (5 MB).",
        _webhook_junk,
        {"junk": "not_json"},
        needs="nobody",
    ),
}
