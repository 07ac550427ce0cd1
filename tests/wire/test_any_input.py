"""Whatever arrives, in whatever state: events, never an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.model import PartId
from guestwire.protocol.events import SessionEvent
from guestwire.protocol.frames import CloseSession, ConfigureSession, Echo, GetJwt, OnMessage, SessionResponse
from guestwire.protocol.gateway import Asked
from guestwire.protocol.gateway import Refused as RequestRefused
from guestwire.protocol.guest import RequestKind
from guestwire.protocol.states import ConnectionState
from tests.wire.frames_table import FRAMES
from tests.wire.frames_table import REQUESTS as REQUEST_EXAMPLES
from tests.wire.pair import START, TOKEN, SessionPair, saying
from tests.wire.strategies import json_values, mutated


def _configuring(pair: SessionPair) -> None:
    pair.owner.hold.add(ConfigureSession)
    pair.open()


def _busy(pair: SessionPair, *kinds: type[Any]) -> None:
    pair.owner.hold |= set(kinds)


def _message(pair: SessionPair) -> None:
    pair.open()
    _busy(pair, OnMessage)
    pair.send("part-1")


def _jwt_and_join(pair: SessionPair) -> None:
    pair.open()
    _busy(pair, OnMessage, GetJwt)
    pair.guest.join(pair.now)
    pair.guest.request_jwt(pair.now)
    pair.pump()


def _health(pair: SessionPair) -> None:
    pair.owner.session = SessionResponse(connected=True, expiration_date=START)
    pair.open()
    _busy(pair, Echo)
    pair.wait(3)


def _read_only(pair: SessionPair) -> None:
    pair.owner.session = SessionResponse(connected=True, read_only=True)
    pair.open()


def _starting_new(pair: SessionPair) -> None:
    _read_only(pair)
    _busy(pair, CloseSession)
    pair.guest.start_new(pair.now)
    pair.pump()


def _ended(pair: SessionPair) -> None:
    pair.open()
    pair.guest.close_session(pair.now, everywhere=True)
    pair.pump()


def _refused(pair: SessionPair) -> None:
    pair.owner.refuse[ConfigureSession] = (403, "no")
    pair.open()


def _expired(pair: SessionPair) -> None:
    pair.open()
    pair.gateway.expire()
    pair.pump()


def _released(pair: SessionPair) -> None:
    pair.open()
    pair.gateway.release()
    pair.pump()


def _lost(pair: SessionPair) -> None:
    _message(pair)
    pair.lose()


SITUATIONS: dict[str, Callable[[SessionPair], object]] = {
    "closed": lambda pair: None,
    "configuring": _configuring,
    "refused": _refused,
    "configured": lambda pair: pair.open(),
    "message on its way": _message,
    "jwt and join on their way": _jwt_and_join,
    "health check on its way": _health,
    "read-only": _read_only,
    "starting new": _starting_new,
    "ended": _ended,
    "expired": _expired,
    "released": _released,
    "lost": _lost,
}

frames_bytes = (
    mutated([*FRAMES.values()]).map(lambda data: json.dumps(data).encode())
    | json_values.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=200)
    | st.text(max_size=200)
)
requests_bytes = (
    mutated([{**data, "token": TOKEN} for data in REQUEST_EXAMPLES.values()]).map(
        lambda data: json.dumps(data).encode()
    )
    | json_values.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=200)
    | st.text(max_size=200)
)
#: Each situation takes a share of the profile's examples; over all of them a law is tried three times as often.
a_share = settings(max_examples=settings().max_examples // 4)
TRACING_IDS = ["part-1", "request-1", "request-2", "request-3", "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ=", "other"]


def test_the_situations_cover_every_state() -> None:
    """The states of the table are all among the situations below."""
    states = set()
    for prepare in SITUATIONS.values():
        pair = SessionPair()
        prepare(pair)
        states.add(pair.guest.state)
    assert states == set(ConnectionState)


@pytest.mark.parametrize("situation", SITUATIONS)
@a_share
@given(data=st.lists(frames_bytes, min_size=1, max_size=3), tracing_id=st.sampled_from(TRACING_IDS))
def test_a_guest_survives_anything(situation: str, data: list[bytes | str], tracing_id: str) -> None:
    """Any bytes, in any state, give events; time can pass afterwards, and no message is left without an outcome."""
    pair = SessionPair()
    SITUATIONS[situation](pair)
    waiting = {part for part, one in pair.guest.unanswered.items() if one.kind is RequestKind.MESSAGE}
    events: list[SessionEvent] = []
    for frame in [*data, *(_traced(frame, tracing_id) for frame in data)]:
        pair.guest.receive_frame(frame, pair.now)
        events += pair.guest.events()
        pair.guest.frames_to_send()
        assert pair.guest.next_tick_at() == pair.guest.next_tick_at(), "not a number"
        pair.guest.tick(pair.now)
    pair.guest.tick(pair.now + 10)
    events += pair.guest.events()
    if pair.guest.state is not ConnectionState.CONFIGURING:
        assert RequestKind.CONFIGURE not in {one.kind for one in pair.guest.unanswered.values()}
    outcomes = {getattr(event, "part_id", None) for event in events}
    assert waiting <= outcomes, "a message without an outcome"
    for event in events:
        assert TOKEN not in repr(event)
    pair.guest.connection_lost(pair.now, "end")
    assert pair.guest.state is ConnectionState.CLOSED
    pair.guest.connection_opened(pair.now)
    assert len(pair.guest.frames_to_send()) == 1


def _traced(data: bytes | str, tracing_id: str) -> bytes | str:
    """The same frame, as if it answered a certain request."""
    try:
        parsed = json.loads(data)
    except ValueError:
        return data
    return json.dumps({**parsed, "tracingId": tracing_id}) if isinstance(parsed, dict) else data


@pytest.mark.parametrize("situation", SITUATIONS)
@a_share
@given(data=st.lists(requests_bytes, min_size=1, max_size=3))
def test_a_gateway_survives_anything(situation: str, data: list[bytes | str]) -> None:
    """Any bytes, in any state, are asked of the owner or refused with a frame, one for one."""
    pair = SessionPair()
    SITUATIONS[situation](pair)
    pair.gateway.events()
    pair.gateway.frames_to_send()
    for frame in data:
        pair.gateway.receive_frame(frame)
        (event,) = pair.gateway.events()
        frames = pair.gateway.frames_to_send()
        assert isinstance(event, Asked | RequestRefused)
        assert len(frames) == (1 if isinstance(event, RequestRefused) else 0)


@given(data=st.lists(requests_bytes, min_size=1, max_size=6))
def test_an_owner_that_answers_what_it_is_asked_makes_no_mistake(data: list[bytes | str]) -> None:
    """Whatever a guest asks in whatever order, granting it is a step that the table knows."""
    pair = SessionPair()
    pair.open()
    for frame in data:
        pair.gateway.receive_frame(frame)
        for event in pair.gateway.events():
            if isinstance(event, Asked):
                if isinstance(event.request, OnMessage) and event.request.message is None:
                    pair.gateway.refuse(event.request, 400, "Request failed.")
                else:
                    pair.owner.answer(pair.gateway, event.request)
        for answer in pair.gateway.frames_to_send():
            pair.guest.receive_frame(answer, pair.now)
        pair.guest.events()


@given(st.lists(st.sampled_from(sorted(FRAMES)), max_size=8), st.randoms(use_true_random=False))
def test_a_message_ends_once_unless_its_echo_comes_late(names: list[str], random: Any) -> None:
    """Through any sequence of frames a message gets an outcome within its patience, and at most one before an echo."""
    pair = SessionPair()
    pair.open()
    pair.owner.hold.add(OnMessage)
    pair.guest.send_message(PartId("part-1"), saying(PartId("part-1"), "x"), pair.now)
    events = pair.pump()
    for name in names:
        frame = dict(FRAMES[name])
        if random.random() < 0.3:
            frame["tracingId"] = "part-1"
        events += pair.say(frame)
    pair.now += 10
    pair.guest.tick(pair.now)
    events += pair.pump()
    outcomes = [event for event in events if getattr(event, "part_id", None) == "part-1"]
    assert outcomes
    not_accepted = [event for event in outcomes if type(event.outcome).__name__ != "Accepted"]  # type: ignore[union-attr]
    assert len(not_accepted) <= 1
