"""The platform's half of one connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guestwire.protocol.frames import (
    CloseSession,
    ConfigureSession,
    GetJwt,
    LogoutEvent,
    Message,
    OnMessage,
    SessionResponse,
)
from guestwire.protocol.gateway import Asked, GatewaySession, Refused
from guestwire.protocol.states import ConnectionState, LocalProtocolError
from tests.wire.pair import DEPLOYMENT, TOKEN

CONFIGURE = {"action": "configureSession", "token": TOKEN, "deploymentId": DEPLOYMENT, "tracingId": "c1"}
TEXT = {"action": "onMessage", "token": TOKEN, "tracingId": "m1", "message": {"type": "Text", "text": "hi"}}
CLEAR = {
    "action": "onMessage",
    "token": TOKEN,
    "message": {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Clear"}}]},
}
OTHERS: dict[str, dict[str, Any]] = {
    "getJwt": {"action": "getJwt", "token": TOKEN, "tracingId": "r1"},
    "echo": {"action": "echo", "token": TOKEN, "tracingId": "r1", "message": {"type": "Text", "text": "ping"}},
    "onAttachment": {"action": "onAttachment", "token": TOKEN, "tracingId": "r1", "fileName": "a.png"},
    "getAttachment": {"action": "getAttachment", "token": TOKEN, "tracingId": "r1", "attachmentId": "a"},
    "deleteAttachment": {"action": "deleteAttachment", "token": TOKEN, "tracingId": "r1", "attachmentId": "a"},
    "getConfiguration": {"action": "getConfiguration", "token": TOKEN, "tracingId": "r1", "deploymentId": DEPLOYMENT},
    "closeSession": {"action": "closeSession", "token": TOKEN, "tracingId": "r1", "closeAllConnections": True},
}
SESSION = SessionResponse(connected=True, new_session=True)


def ask(gateway: GatewaySession, data: dict[str, Any] | bytes) -> tuple[list[Any], list[dict[str, Any]]]:
    """Hand over one request; return the events and the frames that come of it."""
    gateway.events()
    gateway.frames_to_send()
    gateway.receive_frame(data if isinstance(data, bytes) else json.dumps(data))
    return gateway.events(), [json.loads(frame) for frame in gateway.frames_to_send()]


def opened(**options: Any) -> GatewaySession:
    """A connection that asks to be configured."""
    gateway = GatewaySession(**options)
    gateway.connection_opened()
    return gateway


def granted(session: SessionResponse = SESSION) -> GatewaySession:
    """A connection that is attached to a session."""
    gateway = opened()
    ((event,), frames) = ask(gateway, CONFIGURE)
    assert frames == []
    assert isinstance(event.request, ConfigureSession)
    gateway.grant_session(event.request, session)
    gateway.frames_to_send()
    return gateway


def refused(gateway: GatewaySession, data: dict[str, Any] | bytes) -> int:
    """Hand over a request that is refused on the spot; return the code that the guest sees."""
    ((event,), (frame,)) = ask(gateway, data)
    assert isinstance(event, Refused)
    assert (frame["type"], frame["class"], frame["code"]) == ("response", "string", event.code)
    assert isinstance(frame["body"], str)
    return event.code


def asked(gateway: GatewaySession, data: dict[str, Any]) -> Any:
    """Hand over a request that the owner has to answer; return it."""
    ((event,), frames) = ask(gateway, data)
    assert frames == []
    assert isinstance(event, Asked)
    return event.request


@pytest.mark.parametrize("data", [TEXT, *OTHERS.values()], ids=["onMessage", *OTHERS])
def test_nothing_is_answered_before_configure(data: dict[str, Any]) -> None:
    """Every request needs a session first: 4007."""
    assert refused(opened(), data) == 4007
    gateway = opened()
    ask(gateway, CONFIGURE)
    assert refused(gateway, data) == 4007, "configure is asked, not granted"


def test_a_session_is_granted_under_the_request_s_tracing_id() -> None:
    """SessionResponse answers configure, with the tracingId copied; the connection keeps the token from then on."""
    gateway = opened()
    request = asked(gateway, CONFIGURE)
    assert gateway.token is None
    gateway.grant_session(request, SESSION)
    (frame,) = map(json.loads, gateway.frames_to_send())
    assert frame == {
        "type": "response",
        "class": "SessionResponse",
        "code": 200,
        "body": {"connected": True, "newSession": True},
        "tracingId": "c1",
    }
    assert gateway.state is ConnectionState.CONFIGURED
    assert gateway.token == TOKEN


@pytest.mark.parametrize("missing", ["token", "deploymentId"])
@pytest.mark.parametrize("instead", [None, "", 7, "absent"])
@pytest.mark.parametrize("action", ["configureSession", "configureAuthenticatedSession"])
def test_configure_needs_token_and_deployment(missing: str, instead: Any, action: str) -> None:
    """Without token or deploymentId, configure is refused with 4020 and can be tried again."""
    data = {**CONFIGURE, "action": action, missing: instead}
    if instead == "absent":
        del data[missing]
    gateway = opened()
    assert refused(gateway, data) == 4020
    assert isinstance(asked(gateway, CONFIGURE), ConfigureSession)


def test_a_configure_that_is_refused_can_be_repeated() -> None:
    """After an error to configure the connection is open, and unconfigured."""
    gateway = opened()
    gateway.refuse_session(asked(gateway, CONFIGURE), 4017, "no")
    (frame,) = map(json.loads, gateway.frames_to_send())
    assert (frame["code"], frame["body"], frame["tracingId"]) == (4017, "no", "c1")
    assert refused(gateway, TEXT) == 4007
    assert asked(gateway, CONFIGURE)


def test_a_configure_that_is_throttled_can_be_repeated() -> None:
    """A configure that a limit turns away, before it is looked at, leaves the connection open for the next one."""
    gateway = opened()
    gateway.throttle(ConfigureSession(token=TOKEN, deployment_id=DEPLOYMENT, tracing_id="c1"), 3)
    (frame,) = map(json.loads, gateway.frames_to_send())
    assert (frame["class"], frame["code"], frame["body"]["retryAfter"]) == ("TooManyRequestsErrorMessage", 429, 3)
    assert asked(gateway, CONFIGURE)


def test_a_second_configure_before_the_first_is_answered_is_refused() -> None:
    """One configure at a time."""
    gateway = opened()
    asked(gateway, CONFIGURE)
    assert refused(gateway, CONFIGURE) == 400


def test_configure_may_come_again_on_the_same_socket() -> None:
    """Step-up and start-new configure a connection that is configured already."""
    gateway = granted()
    request = asked(gateway, {**CONFIGURE, "startNew": True})
    assert request.start_new is True
    gateway.grant_session(request, SESSION)
    assert isinstance(asked(gateway, TEXT), OnMessage)


def test_a_read_only_session_refuses_messages_and_answers_the_rest() -> None:
    """409 to a message; history, clear, close and a new configure are allowed."""
    gateway = granted(SessionResponse(connected=True, read_only=True))
    assert refused(gateway, TEXT) == 409
    assert isinstance(asked(gateway, OTHERS["getJwt"]), GetJwt)
    assert isinstance(asked(gateway, CLEAR), OnMessage)
    assert isinstance(asked(gateway, OTHERS["closeSession"]), CloseSession)
    assert isinstance(asked(gateway, CONFIGURE), ConfigureSession)


def test_a_disconnect_makes_a_session_read_only_if_it_says_so() -> None:
    """Presence Disconnect ends writing only where the deployment ends conversations read-only."""
    for read_only in (True, False):
        gateway = granted()
        gateway.push_disconnect(Message(type="Event", direction="Outbound"), read_only=read_only)
        gateway.frames_to_send()
        assert (gateway.state is ConnectionState.READ_ONLY) is read_only


@pytest.mark.parametrize("data", [TEXT, CLEAR, *OTHERS.values()], ids=["onMessage", "clear", *OTHERS])
def test_a_wrong_token_is_refused(data: dict[str, Any]) -> None:
    """401 to a token that is not the connection's, an empty one included."""
    assert refused(granted(), {**data, "token": "other"}) == 401
    assert refused(granted(), {**data, "token": ""}) == 401


def test_a_missing_token_is_refused_for_messages_only() -> None:
    """A message needs the token; a third party's client sends echo without one and is answered."""
    bare = {key: value for key, value in TEXT.items() if key != "token"}
    assert refused(granted(), bare) == 401
    assert asked(granted(), {key: value for key, value in OTHERS["echo"].items() if key != "token"})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'"x"'], ids=repr)
def test_what_is_no_request_is_a_bad_request(data: bytes) -> None:
    """Malformed bytes get 400 and the connection goes on."""
    for gateway in (opened(), granted()):
        assert refused(gateway, data) == 400
    assert isinstance(asked(granted(), TEXT), OnMessage)


@pytest.mark.parametrize("action", ["disconnectCustomer", "resumeToken", "unknown", "", None, 7, {}])
def test_an_unknown_action_is_a_bad_request(action: Any) -> None:
    """An action that nobody serves gets 400 under its tracingId."""
    gateway = granted()
    ((event,), (frame,)) = ask(gateway, {"action": action, "token": TOKEN, "tracingId": "x1"})
    assert event == Refused(400, "unknown")
    assert (frame["code"], frame["tracingId"]) == (400, "x1")


def test_errors_can_come_without_a_tracing_id() -> None:
    """Whether string errors carry the tracingId is unknown for production, so it is a switch."""
    for carries in (True, False):
        gateway = opened(errors_carry_tracing_id=carries)
        _, (frame,) = ask(gateway, TEXT)
        assert ("tracingId" in frame) is carries
        gateway.grant_session(asked(gateway, CONFIGURE), SESSION)
        (frame,) = map(json.loads, gateway.frames_to_send())
        assert frame["tracingId"] == "c1", "answers always carry it"
        gateway.throttle(asked(gateway, TEXT), 3)
        (frame,) = map(json.loads, gateway.frames_to_send())
        assert ("tracingId" in frame) is carries


def test_an_expired_session_says_so_to_everything_but_configure() -> None:
    """4006 after the expiry; configure makes a new session on the same socket."""
    gateway = granted()
    gateway.expire()
    (frame,) = map(json.loads, gateway.frames_to_send())
    assert frame["class"] == "SessionExpiredEvent"
    for data in (TEXT, CLEAR, *OTHERS.values()):
        assert refused(gateway, data) == 4006
    assert asked(gateway, CONFIGURE)


def test_a_released_connection_serves_nothing() -> None:
    """After ConnectionClosedEvent the connection belongs to no session: every request is refused."""
    for body, class_ in ((None, "ConnectionClosedEvent"), (LogoutEvent(), "LogoutEvent")):
        gateway = granted()
        gateway.release(body)
        (frame,) = map(json.loads, gateway.frames_to_send())
        assert (frame["type"], frame["class"], frame["body"]) == ("message", class_, {})
        for data in (TEXT, CLEAR, *OTHERS.values()):
            assert refused(gateway, data) == 4007
        assert refused(gateway, CONFIGURE) == 400


def test_an_ended_session_waits_for_the_next_configure() -> None:
    """closeSession is answered with `connected: false`, and the socket can be configured again."""
    gateway = granted()
    request = asked(gateway, OTHERS["closeSession"])
    gateway.end_session(request.tracing_id, SessionResponse(connected=False))
    (frame,) = map(json.loads, gateway.frames_to_send())
    assert (frame["body"], frame["tracingId"]) == ({"connected": False}, "r1")
    assert refused(gateway, TEXT) == 4007
    assert asked(gateway, CONFIGURE)


def test_an_echo_is_a_message_under_the_tracing_id() -> None:
    """The acknowledgement is pushed: type `message`, with the tracingId only where one was given."""
    gateway = granted()
    gateway.push(Message(type="Text", direction="Inbound", id="1"), "m1")
    gateway.push(Message(type="Text", direction="Inbound", id="2"))
    first, second = map(json.loads, gateway.frames_to_send())
    assert (first["type"], first["tracingId"]) == ("message", "m1")
    assert "tracingId" not in second


def test_a_lost_connection_writes_nothing_more() -> None:
    """What was not written when the connection broke never will be."""
    gateway = granted()
    gateway.push(LogoutEvent())
    gateway.connection_lost()
    assert gateway.frames_to_send() == []
    assert gateway.state is ConnectionState.CLOSED
    assert refused(gateway, TEXT) == 4007


def test_the_owner_s_mistakes_are_told() -> None:
    """A verb that the state does not allow is a bug of the owner, and raises."""
    gateway = opened()
    with pytest.raises(LocalProtocolError, match="SESSION while open"):
        gateway.grant_session(ConfigureSession(token="t"), SESSION)
    with pytest.raises(LocalProtocolError):
        gateway.connection_opened()


def test_a_fault_can_send_anything() -> None:
    """Frames outside the protocol go out as they are given."""
    gateway = opened()
    gateway.send_raw(b"\xff")
    gateway.send_raw({"message": "Internal server error"})
    assert gateway.frames_to_send() == [b"\xff", b'{"message":"Internal server error"}']


def test_the_repr_shows_no_token() -> None:
    """Neither the session nor what it hands out shows the token."""
    gateway = granted()
    events, _ = ask(gateway, TEXT)
    assert TOKEN not in repr(gateway) + repr(events)
