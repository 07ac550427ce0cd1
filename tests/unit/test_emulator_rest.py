"""The REST side of the emulator without a server: what is refused, what is counted, when a webhook is tried again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.emulator import views
from guestwire.emulator.calls import Call
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.faults import FaultBook, Firing
from guestwire.emulator.limits import Window
from guestwire.emulator.platform import ROUTES
from guestwire.emulator.records import AgentError
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.webhooks import Webhooks, checked_url
from guestwire.emulator.world import World

SETTINGS = EmulatorSettings(seed=1, webhook_url="http://127.0.0.1:9/hook")
NAMES = [
    "channel", "from", "to", "id", "idType", "time", "messageId", "metadata", "customAttributes", "text", "content",
    "attachment", "mediaType", "url", "mime", "events", "eventType", "status", "reasons", "buttonResponse", "payload",
    "body", "contentType", "attachments", "size", "fileName", "type", "readReceipt", "textBody", "typing", "state",
]  # fmt: skip
words = st.text(max_size=20) | st.sampled_from(NAMES)
scalars = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | words
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)


CHANNEL = {
    "from": {"id": "g", "idType": "Opaque", "nickname": "Ada"},
    "to": {"id": "g", "idType": "Opaque"},
    "time": "2026-03-04T05:06:07.089Z",
    "messageId": "ext-1",
    "metadata": {"customAttributes": {"plan": "gold"}},
}
BODIES: dict[str, Any] = {
    "POST open/message": {
        "channel": CHANNEL,
        "text": "hello",
        "content": [{"attachment": {"mediaType": "Image", "url": "https://cdn.example.com/a", "mime": "image/png"}}],
        "metadata": {"a": "b"},
    },
    "POST open/event": {"channel": CHANNEL, "events": [{"eventType": "Typing"}]},
    "POST open/receipt": {
        "id": "m1",
        "channel": CHANNEL,
        "status": "Failed",
        "reasons": [{"code": "GeneralError", "message": "m"}],
        "isFinalReceipt": True,
    },
    "POST open/structured/response": {
        "channel": CHANNEL,
        "buttonResponse": {"type": "Button", "text": "Yes", "payload": "y"},
        "originatingMessageId": "m1",
    },
    "POST inbound/open": {"channel": {**CHANNEL, "id": "int-1"}, "type": "Text", "text": "hello"},
    "POST contract/message": {
        "from": {"id": "g", "type": "user"},
        "to": {"id": "c", "type": "conversation"},
        "body": {"contentType": "text/plain", "content": "hello"},
        "metadata": {"readReceipt": True},
        "attachments": [{"contentType": "image/png", "url": "https://a.example/a", "fileName": "a", "size": 1}],
    },
    "POST messages/bulk": ["m1"],
    "POST agent/message": {"textBody": "hi"},
    "POST agent/typing": {"typing": {"type": "On", "duration": 5000}},
    "PATCH participant": {"state": "disconnected"},
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within some JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, held in inner for place in places(held, (*path, name)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same JSON with something else at a place."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


@st.composite
def almost_right(draw: st.DrawFn) -> tuple[Any, Any]:
    """A route, and a body for it that is right but for one place; now and then anything at all."""
    route = draw(st.sampled_from(ROUTES))
    body = BODIES.get(route.action, {})
    return route, draw(anything) if draw(st.integers(0, 9)) == 0 else put(
        body, draw(st.sampled_from(places(body))), draw(anything)
    )


def call(world: World, body: bytes | None, names: dict[str, str] | None = None, now: float = 1000.0) -> Call:
    """A request with a token that is good."""
    granted = world.platform.oauth._grant(world.platform.oauth.client_id, world.platform.oauth.client_secret, now)
    return Call(names or {}, {}, f"Bearer {granted.body['access_token']}", "application/json", body, now)


@given(asked=almost_right(), raw=st.none() | st.binary(max_size=50))
def test_every_route_answers_whatever_comes(asked: tuple[Any, Any], raw: bytes | None) -> None:
    """No body makes a route fail: each is answered, with an id that its error repeats, and can be written as JSON."""
    world = World(msgspec.structs.replace(SETTINGS, integration_id="int-1"))
    route, data = asked
    names = dict.fromkeys(("conversationId", "messageId", "communicationId", "participantId"), "x")
    names["integrationId"] = "int-1"
    answer = world.platform.answer(route, call(world, raw or json.dumps(data).encode(), names))
    assert 200 <= answer.status < 500
    msgspec.json.encode(answer.body)
    if answer.status >= 400 and route.rate != "login":
        assert answer.body["contextId"] == answer.headers["ININ-Correlation-Id"]
    if answer.status >= 400:
        assert not world.entries
    assert (world.log[-1].action, world.log[-1].answered) == (route.action, answer.status)
    msgspec.json.encode(views.messages_of(world))


@pytest.mark.parametrize("action", ["POST open/message", "POST open/structured/response", "POST contract/message"])
def test_the_right_bodies_are_right(action: str) -> None:
    """What the law above starts from is accepted."""
    world = World(SETTINGS)
    route = next(route for route in ROUTES if route.action == action)
    names = {"integrationId": world.platform.guests.integration_id}
    answer = world.platform.answer(route, call(world, json.dumps(BODIES[action]).encode(), names))
    assert answer.status in (200, 202), answer.body
    assert len(world.entries) == 1


@given(
    guest=st.text(min_size=1, max_size=20),
    text=st.text(min_size=1, max_size=50),
    attributes=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_is_accepted_is_seen_unchanged(guest: str, text: str, attributes: dict[str, str]) -> None:
    """Text, id and attributes of a guest stand in the ledger as they were sent, whatever characters they have."""
    world = World(SETTINGS)
    route = next(route for route in ROUTES if route.action == "POST open/message")
    body = {
        "channel": {
            "from": {"id": guest, "idType": "Opaque"},
            "time": "2026-03-04T05:06:07.089Z",
            "messageId": "ext-1",
            "metadata": {"customAttributes": attributes},
        },
        "text": text,
    }
    names = {"integrationId": world.platform.guests.integration_id}
    answer = world.platform.answer(route, call(world, msgspec.json.encode(body), names))
    assert answer.status == 202
    (entry,) = world.entries
    assert (entry.body.text, entry.custom_attributes) == (text, attributes)
    assert answer.body["channel"]["from"]["id"] == guest
    assert entry.conversation.attributes == attributes


@given(
    limit=st.integers(1, 5),
    gaps=st.lists(st.sampled_from([0.0, 0.25, 7.0, 30.0, 59.75, 60.0]), min_size=1, max_size=40),
)
def test_who_waits_as_told_is_admitted(limit: int, gaps: list[float]) -> None:
    """After a refusal, the seconds that it names are enough, and never more than a second too many."""
    window, now = Window(limit, 60.0), 1000.0
    for gap in gaps:
        now += gap
        if window.admit(now):
            assert 1 <= window.count <= limit
            continue
        wait_s = window.reset_s(now)
        assert wait_s >= 1
        if wait_s > 1:
            assert not window.admit(now + wait_s - 1)
        now += wait_s
        assert window.admit(now)


# --- webhooks by the clock alone ---


class Receiver:
    """Webhooks with a far end that answers what it is told to."""

    def __init__(self, **settings: Any) -> None:
        self.delivery = Delivery()
        faults = FaultBook(1)
        values = msgspec.structs.replace(SETTINGS, **settings)
        self.webhooks = Webhooks(values, self.delivery, lambda occurrence: Firing(faults.strike(occurrence)))
        self.now = 1000.0
        self.posts: list[tuple[float, bytes]] = []

    def answer(self, statuses: list[int | str | None]) -> None:
        """Carry out what is to be posted now; None: no answer."""
        for post in self.webhooks.take_posts():
            self.posts.append((self.now, post.notice.body))
            status = statuses.pop(0) if statuses else 200
            if status is not None:
                self.webhooks.answered(post, status, self.now)

    def run(self, statuses: list[int | str | None]) -> None:
        """Let time pass until nothing is due any more."""
        self.answer(statuses)
        while (due := self.delivery.next_due()) is not None:
            self.now = max(self.now, due)
            self.delivery.run_due(self.now)
            while self.webhooks._posts:
                self.answer(statuses)


@given(outcomes=st.lists(st.sampled_from([200, 204, 302, 400, 404, 429, 500, 503, "unreachable", None]), max_size=8))
def test_attempts_follow_the_schedule(outcomes: list[int | str | None]) -> None:
    """
    At most six attempts, 5 s after a failure, 15 s after silence; the first that is answered otherwise is the last.
    """
    receiver = Receiver()
    receiver.webhooks.send({"id": "m1", "type": "Text", "text": "hi"}, "lane", receiver.now)
    receiver.run(list(outcomes))
    (notice,) = receiver.webhooks.notices
    expected, at = [], 1000.0
    for outcome in [*outcomes, *[200] * 6][:6]:
        expected.append(at)
        if outcome is None:
            at += 15
        elif outcome in (429, 500, 503, "unreachable"):
            at += 5
        else:
            break
    assert [post[0] for post in receiver.posts] == expected
    last = [*outcomes, *[200] * 6][len(expected) - 1]
    assert notice.state == ("delivered" if last in (200, 204) else "failed")
    assert len({body for _, body in receiver.posts}) == 1


def test_a_whole_sequence_of_silence_takes_85_seconds() -> None:
    """Six times 10 s, and five pauses of 5 s between them: as the vendor's page says."""
    receiver = Receiver()
    receiver.webhooks.send({"id": "m1", "type": "Text"}, "lane", receiver.now)
    receiver.run([None] * 6)
    assert receiver.webhooks.notices[0].state == "failed"
    assert receiver.now == 1000.0 + 6 * 10 + 5 * 5


def test_an_answer_after_the_time_out_counts_for_nothing() -> None:
    """Only the first outcome of an attempt counts."""
    receiver = Receiver()
    receiver.webhooks.send({"id": "m1", "type": "Text"}, "lane", receiver.now)
    (post,) = receiver.webhooks.take_posts()
    receiver.delivery.run_due(1010.0)
    assert receiver.webhooks.take_given_up() == [post.attempt]
    receiver.webhooks.answered(post, 200, 1011.0)
    assert (post.attempt.status, post.notice.state) == ("timeout", "waiting")


@given(
    port=st.integers(0, 99999),
    path=st.text(st.characters(exclude_categories=["Z", "C"]), max_size=10),
    host=st.sampled_from(["127.0.0.1", "localhost", "[::1]"]),
)
def test_only_loopback_is_posted_to(port: int, path: str, host: str) -> None:
    """Plain loopback addresses are taken as they are; with anything before the host they are not."""
    url = f"http://{host}:{port}/{path}"
    assert checked_url(url) == url
    for wrong in (f"http://evil.example#{host}:{port}/", f"http://{host}.evil.example/", f"http://u@{host}/{path}"):
        with pytest.raises(AgentError):
            checked_url(wrong)
