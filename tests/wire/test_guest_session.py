"""The guest's half, as conversations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guestwire.model import Accepted, Failed, GatewayMessageId, PartId, Refused, Throttled, Unknown
from guestwire.protocol.codes import CODES
from guestwire.protocol.events import (
    Answered,
    Configured,
    ConfigureRefused,
    ConversationEnded,
    Expired,
    FileDone,
    HealthChecked,
    Heard,
    Joined,
    JwtGranted,
    JwtRefused,
    Media,
    Other,
    PeerSilent,
    Released,
    SessionEnded,
    SessionEvent,
    Unexpected,
)
from guestwire.protocol.frames import (
    CloseSession,
    ConfigureSession,
    ConnectionClosedEvent,
    Echo,
    Event,
    GetJwt,
    LogoutEvent,
    Message,
    OnMessage,
    Presence,
    Reaction,
    SessionClearedEvent,
    SessionExpiredEvent,
    SessionResponse,
)
from guestwire.protocol.guest import HEALTH_CHECK_ID, Control, Timing
from guestwire.protocol.states import ConnectionState, LocalProtocolError
from tests.wire.frames_table import FRAMES
from tests.wire.pair import AT, DEPLOYMENT, JWT, START, TOKEN, SessionPair, saying

PART = PartId("part-1")


def configured(**options: Any) -> SessionPair:
    """A pair that has its session."""
    pair = SessionPair(**options)
    pair.open()
    assert pair.guest.state is ConnectionState.CONFIGURED
    return pair


def in_flight(**options: Any) -> SessionPair:
    """A pair whose guest waits for the answer to one message."""
    pair = configured(**options)
    pair.owner.hold.add(OnMessage)
    assert pair.send(PART) == []
    assert list(pair.guest.unanswered) == [PART]
    return pair


def error(code: int, text: str = "no", tracing_id: str | None = None) -> dict[str, Any]:
    """A `string` error, as most come."""
    frame: dict[str, Any] = {"type": "response", "class": "string", "code": code, "body": text}
    return frame if tracing_id is None else {**frame, "tracingId": tracing_id}


def echo_of(part_id: str | None, *, metadata: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    """What the gateway pushes when it has accepted a message."""
    frame: dict[str, Any] = {
        "type": "message",
        "class": "StructuredMessage",
        "code": 200,
        "body": {"id": "m1", "type": "Text", "text": "hello", "direction": "Inbound", **body},
    }
    if metadata is not None:
        frame["body"]["metadata"] = metadata
    if part_id is not None:
        frame["tracingId"] = part_id
    return frame


def kinds(events: list[SessionEvent]) -> list[type]:
    """What sort of thing happened, in order."""
    return [type(event) for event in events]


# --- configure and resume ---


def test_a_connection_configures_itself_first() -> None:
    """Once the socket is open, configure goes out before anything else, with the deployment named again."""
    pair = SessionPair()
    assert pair.open() == [Configured(new_session=True, read_only=False, expires_at=None, media=Media())]
    assert pair.written == [
        {"action": "configureSession", "token": TOKEN, "deploymentId": DEPLOYMENT, "tracingId": "request-1"}
    ]


def test_resuming_tells_that_the_session_is_the_old_one() -> None:
    """A session that is still there is resumed, with its limits and its expiry in seconds."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(
        connected=True, new_session=False, max_custom_data_bytes=2048.0, expiration_date=START + 100
    )
    assert pair.open() == [Configured(False, False, START + 100, Media(max_attributes_bytes=2048))]


def test_two_fields_are_enough_for_a_session() -> None:
    """Real bodies of SessionResponse were seen with two fields; the rest is optional."""
    pair = SessionPair()
    pair.owner.hold.add(ConfigureSession)
    pair.open()
    events = pair.say(FRAMES["session, two keys"])
    assert events == [Configured(False, False, None, Media())]
    assert pair.guest.unanswered == {}


def test_a_read_only_session_stays_read_only_when_it_is_configured() -> None:
    """Configure on a read-only session gives it back as it is; no message may go out on it."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=False, read_only=True)
    (event,) = pair.open()
    assert event == Configured(new_session=False, read_only=True, expires_at=None, media=Media())
    assert pair.guest.state is ConnectionState.READ_ONLY
    assert not pair.guest.may_send_message


@pytest.mark.parametrize(("code", "outcome"), [(4017, Refused), (403, Refused), (401, Failed), (5000, Unknown)])
def test_configure_can_be_refused(code: int, outcome: type) -> None:
    """An error that answers configure says whether another try can help."""
    pair = SessionPair()
    pair.owner.refuse[ConfigureSession] = (code, "no")
    (event,) = pair.open()
    assert isinstance(event, ConfigureRefused)
    assert event.code == code
    assert type(event.outcome) is outcome
    assert pair.guest.state is ConnectionState.OPEN
    assert pair.guest.unanswered == {}


def test_configure_that_nobody_answers_is_given_up() -> None:
    """Configure without an answer ends in a refusal of unknown cause, never in waiting for ever."""
    pair = SessionPair()
    pair.owner.hold.add(ConfigureSession)
    assert pair.open() == []
    (event,) = pair.wait(10)
    assert event == ConfigureRefused(Unknown("no answer to configure in time"), None)


def test_configure_answered_with_not_connected_is_refused() -> None:
    """`connected: false` in answer to configure is no session, and nothing stays unanswered."""
    pair = SessionPair()
    pair.owner.hold.add(ConfigureSession)
    pair.open()
    (event,) = pair.say({"class": "SessionResponse", "code": 200, "body": {"connected": False}})
    assert isinstance(event, ConfigureRefused)
    assert isinstance(event.outcome, Failed)
    assert pair.guest.unanswered == {}
    assert pair.wait(30) == []


def test_a_session_response_with_an_error_code_is_an_error() -> None:
    """The class of a frame does not outweigh its error code: no session came of it."""
    pair = SessionPair()
    pair.owner.hold.add(ConfigureSession)
    pair.open()
    (event,) = pair.say({"class": "SessionResponse", "code": 403, "body": {"connected": True}})
    assert isinstance(event, ConfigureRefused)
    assert event.code == 403
    assert pair.guest.state is ConnectionState.OPEN


def test_a_second_session_response_changes_the_state_silently() -> None:
    """A repeated SessionResponse is no second configuration."""
    pair = configured()
    assert pair.push(SessionResponse(connected=True, read_only=False)) == []
    assert pair.push(SessionResponse(connected=True, read_only=True)) == []
    assert pair.guest.state is ConnectionState.READ_ONLY


# --- sending, and the echo ---


def test_a_message_is_settled_by_the_echo_with_its_tracing_id() -> None:
    """The inbound message under our tracingId is the acceptance, and brings the gateway's names for it."""
    pair = configured()
    (event,) = pair.send(PART, "hello", attempt=3)
    assert event == Answered(
        PART, Accepted(GatewayMessageId("0" * 31 + "1"), "00000000-0000-0000-0000-000000000001", AT)
    )
    assert pair.guest.unanswered == {}
    assert pair.written[-1] == {
        "action": "onMessage",
        "token": TOKEN,
        "tracingId": PART,
        "message": {"type": "Text", "text": "hello", "metadata": {"id": PART, "attempt": "3"}},
    }


def test_attributes_go_out_in_the_nested_form_alone() -> None:
    """Custom attributes stand in `message.channel`, not in the older place that the platform ignores now."""
    pair = configured()
    pair.guest.send_message(PART, saying(PART, "hi", attributes={"topic": "bills"}), pair.now)
    pair.pump()
    sent = pair.written[-1]
    assert sent["message"]["channel"] == {"metadata": {"customAttributes": {"topic": "bills"}}}
    assert "channel" not in sent


def test_an_echo_without_tracing_id_settles_by_our_id_in_its_metadata() -> None:
    """Where the envelope names nothing, the metadata that the gateway gives back does."""
    pair = configured()
    pair.owner.echo_tracing_id = False
    (event,) = pair.send(PART)
    assert isinstance(event, Answered)
    assert event.part_id == PART
    assert isinstance(event.outcome, Accepted)
    assert pair.guest.unanswered == {}


def test_an_echo_that_names_nothing_settles_nothing() -> None:
    """Text and order are no proof: without an id the message stays unanswered and its outcome becomes unknown."""
    pair = configured()
    pair.owner.echo_tracing_id = pair.owner.echo_metadata = False
    assert pair.send(PART) == []
    assert pair.wait(10) == [Answered(PART, Unknown("no answer to message in time"))]


@pytest.mark.parametrize("type_", ["message", "response", None])
def test_the_type_of_an_echo_does_not_matter(type_: str | None) -> None:
    """Sources disagree about `type`, so an echo of either type settles."""
    pair = in_flight()
    (event,) = pair.say({**echo_of(PART), "type": type_})
    assert event == Answered(PART, Accepted(GatewayMessageId("m1")))


def test_an_echo_that_comes_after_a_reconnect_still_settles() -> None:
    """A late echo, on any connection of the session, is the acceptance of its message."""
    pair = in_flight()
    assert pair.lose() == [Answered(PART, Unknown("connection lost: socket closed (1006)"))]
    pair.open()
    (event,) = pair.say(echo_of(PART))
    assert event == Answered(PART, Accepted(GatewayMessageId("m1")))


def test_an_echo_after_we_gave_up_still_settles() -> None:
    """An echo that takes longer than our patience corrects the unknown outcome."""
    pair = in_flight()
    assert kinds(pair.wait(10)) == [Answered]
    (event,) = pair.say(echo_of(PART))
    assert isinstance(event, Answered)
    assert isinstance(event.outcome, Accepted)


def test_the_echo_of_another_connection_is_not_ours() -> None:
    """What another client of the same guest said settles nothing of ours and is not shown as a reply."""
    pair = in_flight()
    (event,) = pair.say(echo_of("somebody-else", metadata={"id": "somebody-else"}))
    assert isinstance(event, Answered)
    assert event.part_id == "somebody-else"
    assert list(pair.guest.unanswered) == [PART]
    assert pair.say(echo_of(None, metadata={"correlationId": "c"})) == []
    assert list(pair.guest.unanswered) == [PART]


def test_the_envelope_outranks_the_metadata_of_an_echo() -> None:
    """Where both name a message, the tracingId says which one was answered."""
    pair = in_flight()
    (event,) = pair.say(echo_of("somebody-else", metadata={"id": PART}))
    assert isinstance(event, Answered)
    assert event.part_id == "somebody-else"
    assert list(pair.guest.unanswered) == [PART]


def test_an_echo_that_comes_twice_is_told_twice() -> None:
    """A duplicate echo gives the same answer again; joining them is the store's work."""
    pair = in_flight()
    first, second = pair.say(echo_of(PART)), pair.say(echo_of(PART))
    assert first == second == [Answered(PART, Accepted(GatewayMessageId("m1")))]


def test_the_echo_of_our_own_typing_is_ignored() -> None:
    """Inbound typing is neither a reply nor an acceptance."""
    pair = in_flight()
    typing: dict[str, Any] = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
    assert pair.say(echo_of("typing-1", **typing)) == []
    assert pair.say(echo_of(None, **typing)) == []
    assert list(pair.guest.unanswered) == [PART]


def test_an_echo_without_an_id_falls_back_to_the_channel_s() -> None:
    """The gateway's name of a message may stand in `channel.messageId` alone."""
    pair = in_flight()
    frame = echo_of(PART, channel={"messageId": "c1", "time": AT})
    del frame["body"]["id"]
    assert pair.say(frame) == [Answered(PART, Accepted(GatewayMessageId("c1"), "c1", AT))]


def test_one_message_at_a_time() -> None:
    """While anything is unanswered no further message goes out: an error could not be told apart."""
    pair = in_flight()
    assert not pair.guest.may_send_message
    with pytest.raises(LocalProtocolError, match="1 unanswered"):
        pair.guest.send_message(PartId("part-2"), saying(PartId("part-2"), "x"), pair.now)
    with pytest.raises(LocalProtocolError, match="getJwt"):
        pair.guest.request_jwt(pair.now)
    assert pair.guest.frames_to_send() == []


def test_a_message_without_a_session_is_a_local_error() -> None:
    """Sending before the session is there is our own mistake, told before a byte leaves."""
    pair = SessionPair()
    with pytest.raises(LocalProtocolError, match="closed"):
        pair.guest.send_message(PART, saying(PART, "x"), pair.now)
    with pytest.raises(LocalProtocolError):
        pair.guest.request_jwt(pair.now)
    with pytest.raises(LocalProtocolError):
        pair.guest.join(pair.now)
    assert pair.guest.unanswered == {}


def test_a_text_that_cannot_be_encoded_leaves_nothing_behind() -> None:
    """A lone surrogate fails before the message counts as sent."""
    pair = configured()
    with pytest.raises(UnicodeEncodeError):
        pair.guest.send_message(PART, saying(PART, "\ud800"), pair.now)
    assert pair.guest.may_send_message
    assert kinds(pair.send(PART)) == [Answered]


def test_an_unanswered_message_has_an_unknown_outcome() -> None:
    """After our patience nothing is proven either way."""
    pair = in_flight()
    assert pair.wait(9.9) == []
    assert pair.wait(0.1) == [Answered(PART, Unknown("no answer to message in time"))]
    assert pair.guest.unanswered == {}


def test_a_lost_connection_leaves_the_message_in_doubt() -> None:
    """Nothing proves what became of a message whose connection broke; a jwt was surely not used."""
    pair = in_flight()
    assert pair.lose("reset") == [Answered(PART, Unknown("connection lost: reset"))]
    assert pair.guest.state is ConnectionState.CLOSED
    assert pair.guest.next_tick_at() == float("inf")
    pair = configured()
    pair.owner.hold.add(GetJwt)
    pair.guest.request_jwt(pair.now)
    pair.pump()
    assert pair.lose("reset") == [JwtRefused(Failed("connection lost: reset"))]


def test_losing_a_connection_drops_what_was_not_written() -> None:
    """Frames that nobody took off are not sent on the next connection."""
    pair = configured()
    pair.guest.send_message(PART, saying(PART, "x"), pair.now)
    pair.lose()
    pair.open()
    assert [data["action"] for data in pair.written] == ["configureSession", "configureSession"]


# --- errors ---

#: What reliability demands: refused before processing, so surely not accepted.
NEVER_AGAIN = {400, 403, 404, *range(4000, 4006), 4008, 4009, *range(4011, 4018), 4020, 4102}
NOT_NOW = {401, 409, 4006, 4007, 4010}
BY_A_LIMIT = {429, 4029}
#: What proves nothing.
IN_DOUBT = {408, 5000}
NOT_IN_THE_TABLE = {0, 300, 402, 410, 418, 500, 502, 503, 504, 599, 3999, 4018, 4019, 4021, 4028, 4103, 5001, -1}


def test_the_table_of_codes_is_the_one_that_is_demanded() -> None:
    """No code has been added to, or taken from, those whose meaning is agreed."""
    assert set(CODES) == NEVER_AGAIN | NOT_NOW | BY_A_LIMIT | IN_DOUBT
    assert len(CODES) == len(NEVER_AGAIN) + len(NOT_NOW) + len(BY_A_LIMIT) + len(IN_DOUBT)


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("code", sorted(CODES.keys() | NOT_IN_THE_TABLE))
def test_an_error_proves_what_its_code_says(code: int, traced: bool) -> None:
    """Only a code that refuses before processing lets a message be sent again, or given up, without a look."""
    pair = in_flight()
    event = pair.say(error(code, "words", PART if traced else None))[0]
    assert isinstance(event, Answered)
    outcome = event.outcome
    if code in NEVER_AGAIN:
        assert outcome == Refused(code, f"{code}: words")
    elif code in NOT_NOW:
        assert outcome == Failed(f"{code}: words", code)
    elif code in BY_A_LIMIT:
        assert outcome == Throttled("session", 3.0, f"{code}: words")
    else:
        assert outcome == Unknown(f"{code}: words")
    assert pair.guest.unanswered == {}


@pytest.mark.parametrize("text", ["Session authentication failed", "TRY TO AUTHENTICATE AGAIN please"])
def test_a_403_that_asks_for_a_sign_in_is_not_final(text: str) -> None:
    """Two texts of code 403 ask the guest to sign in anew; after that the message may be sent."""
    pair = in_flight()
    assert pair.say(error(403, text)) == [Answered(PART, Failed(f"403: {text}", 403))]


def test_an_error_for_somebody_else_is_nobody_s() -> None:
    """An error under a foreign tracingId says nothing about our message."""
    pair = in_flight()
    assert pair.say(error(4011, tracing_id="other")) == [Unexpected("error 4011 that answers no request of ours")]
    assert list(pair.guest.unanswered) == [PART]


def test_an_error_without_tracing_id_is_blamed_on_nobody_while_two_requests_wait() -> None:
    """With a getJwt and a join unanswered, an error that names neither proves nothing about either."""
    pair = configured()
    pair.owner.hold |= {OnMessage, GetJwt}
    pair.guest.join(pair.now)
    pair.guest.request_jwt(pair.now)
    pair.pump()
    assert pair.say(error(429)) == [Unexpected("error 429 that answers no request of ours")]
    assert len(pair.guest.unanswered) == 2
    pair = in_flight()
    pair.owner.hold.add(CloseSession)
    pair.guest.close_session(pair.now, everywhere=False)
    pair.pump()
    assert pair.say(error(4011)) == [Unexpected("error 4011 that answers no request of ours")]
    assert PART in pair.guest.unanswered


def test_an_error_without_tracing_id_is_blamed_on_nobody_after_we_gave_up_on_another_request() -> None:
    """A late error may answer the health check that we no longer wait for, so it proves nothing about a message."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=True, expiration_date=START + 1)
    pair.open()
    pair.owner.hold |= {Echo, OnMessage}
    assert pair.wait(13.5) == [Unexpected("no answer to health in time")]
    assert pair.send(PART) == []
    assert pair.say(error(429)) == [Unexpected("error 429 that answers no request of ours")]
    assert list(pair.guest.unanswered) == [PART]
    # Once the late answer has come under its own name, errors can be told apart again.
    pair.say(error(429, tracing_id=HEALTH_CHECK_ID))
    assert kinds(pair.say(error(429))) == [Answered]


def test_a_late_error_of_an_attempt_is_not_blamed_on_the_next_one() -> None:
    """The error for a message that we gave up on does not settle the message that follows it."""
    pair = in_flight()
    pair.wait(10)
    pair.send("part-2")
    assert pair.say(error(4011)) == [Unexpected("error 4011 that answers no request of ours")]
    assert list(pair.guest.unanswered) == ["part-2"]


def test_a_repeated_attempt_is_not_blamed_for_the_first_one_s_error() -> None:
    """Attempts share a tracingId; an error without one may still be the first attempt's, so it proves nothing."""
    pair = in_flight()
    pair.wait(10)
    pair.send(PART, attempt=2)
    assert kinds(pair.say(error(429))) == [Unexpected]
    assert list(pair.guest.unanswered) == [PART]


def test_the_code_in_the_body_outranks_the_envelope() -> None:
    """An error object under code 200 is still an error, and its own code counts."""
    pair = in_flight()
    body = {"errorCode": 4011, "errorMessage": "too long"}
    assert pair.say({"class": "Error", "code": 200, "body": body}) == [Answered(PART, Refused(4011, "4011: too long"))]
    pair = in_flight()
    assert pair.say({"class": "ErrorMessage", "code": 400, "body": {"errorCode": 5000, "message": "hm"}}) == [
        Answered(PART, Unknown("5000: hm"))
    ]


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"retryAfter": 7, "errorCode": 4029}, 7.0),
        ({"retryAfter": 2.5}, 2.5),
        ({"errorCode": 4029}, 3.0),
        ({"retryAfter": None}, 3.0),
        ({"retryAfter": "7"}, 3.0),
        ({"retryAfter": 0}, 1.0),
        ({"retryAfter": -5}, 1.0),
    ],
    ids=str,
)
def test_a_throttled_message_waits_for_as_long_as_it_is_told(body: dict[str, Any], seconds: float) -> None:
    """`retryAfter` is in seconds; without one there is a default, and never less than a second."""
    pair = in_flight()
    (event,) = pair.say({"class": "TooManyRequestsErrorMessage", "code": 429, "body": body})
    assert isinstance(event, Answered)
    assert isinstance(event.outcome, Throttled)
    assert event.outcome.retry_after_s == seconds
    assert pair.guest.state is ConnectionState.CONFIGURED


def test_the_gateway_s_words_are_bounded() -> None:
    """An error text goes into the journal, so it has an end."""
    pair = in_flight()
    (event,) = pair.say(error(400, "x" * 100_000))
    assert isinstance(event, Answered)
    assert isinstance(event.outcome, Refused)
    assert len(event.outcome.reason) < 250


def test_a_text_under_code_200_is_no_error() -> None:
    """Plain text with code 200 reports nothing wrong, so it settles nothing."""
    pair = in_flight()
    assert kinds(pair.say({"type": "response", "class": "string", "code": 200, "body": "ok"})) == [Other]
    assert list(pair.guest.unanswered) == [PART]


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("no url", 200, FileDone),
        ("no url", 400, FileDone),
        ("not uploaded", 200, FileDone),
        ("not uploaded", 400, FileDone),
        ("uploaded", 200, FileDone),
        ("upload here", 200, Unexpected),
        ("withdrawn", 200, FileDone),
    ],
)
def test_news_of_an_upload_never_settles_a_message(name: str, code: int, told: type) -> None:
    """An upload's error is the upload's, even while a message is the only request on its way."""
    pair = in_flight()
    assert kinds(pair.say({**FRAMES[name], "code": code})) == [told]
    assert list(pair.guest.unanswered) == [PART]


def test_an_error_object_of_an_unknown_class_counts_by_its_envelope() -> None:
    """A class we do not know with an error code settles as that code says."""
    pair = in_flight()
    assert kinds(pair.say({"class": "NewError", "code": 503, "body": {}})) == [Answered]


# --- the end of a session ---


@pytest.mark.parametrize("type_", ["message", "response"])
def test_an_expired_session_is_told_whatever_the_type(type_: str) -> None:
    """SessionExpiredEvent comes as `message` and as `response`; it refuses the one message on its way."""
    pair = in_flight()
    assert pair.say({**FRAMES["expired"], "type": type_}) == [
        Answered(PART, Failed("4006: SessionExpiredEvent", 4006)),
        Expired("SessionExpiredEvent"),
    ]
    assert pair.guest.state is ConnectionState.EXPIRED


def test_an_expiry_that_answers_another_request_leaves_the_message_in_doubt() -> None:
    """Under a foreign tracingId the event is no answer to our message."""
    pair = in_flight()
    answered, expired = pair.say({**FRAMES["expired"], "tracingId": "other"})
    assert answered == Answered(PART, Unknown("no answer before: SessionExpiredEvent"))
    assert expired == Expired("SessionExpiredEvent")


def test_an_expired_session_is_told_once() -> None:
    """A code and an event for the same expiry are one expiry."""
    pair = in_flight()
    assert kinds(pair.say(error(4006, tracing_id=PART))) == [Answered, Expired]
    assert pair.push(SessionExpiredEvent()) == []


@pytest.mark.parametrize("code", [4006, 4007])
def test_the_codes_of_a_lost_session_end_it(code: int) -> None:
    """4006 and 4007 refuse the message and say that the session is over, as does one that names no request."""
    pair = in_flight()
    assert pair.say(error(code)) == [Answered(PART, Failed(f"{code}: no", code)), Expired(f"code {code}")]
    pair = configured()
    assert kinds(pair.say(error(code))) == [Unexpected, Expired]


def test_configuring_again_after_an_expiry_makes_a_new_session() -> None:
    """The socket of an expired session stays usable; the guest goes on with a new session on it."""
    pair = configured()
    pair.gateway.expire()
    assert pair.pump() == [Expired("SessionExpiredEvent")]
    pair.guest.configure_again(pair.now)
    (event,) = pair.pump()
    assert isinstance(event, Configured)
    assert event.new_session
    assert "startNew" not in pair.written[-1]
    assert kinds(pair.send(PART)) == [Answered]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (ConnectionClosedEvent(), "evicted"),
        (ConnectionClosedEvent(reason="signedIn"), "signed_in"),
        (ConnectionClosedEvent(reason_code="signedIn"), "signed_in"),
        (ConnectionClosedEvent(reason_code="somethingNew"), "evicted"),
        (LogoutEvent(), "logged_out"),
        (SessionClearedEvent(), "cleared"),
    ],
    ids=["empty", "reason", "reasonCode", "unknown reason", "logout", "cleared"],
)
def test_the_gateway_lets_go_of_a_connection(body: Any, cause: str) -> None:
    """Eviction, sign-in elsewhere, logout and clear are told apart; the message on its way stays in doubt."""
    pair = in_flight()
    pair.gateway.release(body)
    answered, released = pair.pump()
    assert answered == Answered(PART, Unknown(f"no answer before: {cause}"))
    assert released == Released(cause)
    assert pair.guest.state is ConnectionState.RELEASED
    with pytest.raises(LocalProtocolError):
        pair.guest.configure_again(pair.now)


def test_a_clear_is_no_eviction() -> None:
    """After SessionClearedEvent comes ConnectionClosedEvent; the first one says why."""
    pair = configured()
    assert pair.say(FRAMES["cleared"]) == [Released("cleared")]
    assert pair.say(FRAMES["evicted"]) == []


def test_nothing_revives_a_released_connection() -> None:
    """Late frames on a released connection never ask the owner to go on with it."""
    pair = configured()
    pair.gateway.release()
    pair.pump()
    assert pair.say(FRAMES["expired"]) == []
    assert kinds(pair.say(error(4007))) == [Unexpected]
    assert kinds(pair.say(FRAMES["session"])) == [Unexpected]
    assert pair.guest.state is ConnectionState.RELEASED


# --- replies, and the end of a conversation ---


def test_what_the_platform_says_is_heard() -> None:
    """Outbound messages are replies; one without a direction is shown rather than lost."""
    pair = in_flight()
    said = Message(type="Text", direction="Outbound", text="hi", id="1")
    assert pair.push(said) == [Heard(said)]
    assert pair.push(said, PART) == [Heard(said)]
    assert list(pair.guest.unanswered) == [PART]
    bare = Message(type="Text", text="hi")
    assert pair.push(bare) == [Heard(bare)]


@pytest.mark.parametrize(
    ("metadata", "read_only"),
    [({"readOnly": "true"}, True), ({"readOnly": "false"}, False), (None, False), ({"other": "true"}, False)],
)
def test_a_conversation_ends_read_only_by_a_word_in_the_metadata(
    metadata: dict[str, str] | None, read_only: bool
) -> None:
    """`metadata.readOnly` is a string; only the word `true` closes the session for writing."""
    pair = configured()
    body = Message(
        type="Event",
        direction="Outbound",
        events=[Event(event_type="Presence", presence=Presence(type="Disconnect"))],
        metadata=metadata,
    )
    pair.gateway.push_disconnect(body, read_only=read_only)
    assert pair.pump() == [Heard(body), ConversationEnded(read_only)]
    assert pair.guest.state is (ConnectionState.READ_ONLY if read_only else ConnectionState.CONFIGURED)


def test_an_event_message_may_hold_none_one_or_many() -> None:
    """Empty, unknown and several events in one message are heard as they came."""
    pair = configured()
    for events in ([], [Event(event_type="Newest")], [Event(event_type="Reactions", reactions=[Reaction(count=1)])]):
        body = Message(type="Event", direction="Outbound", events=events)
        assert pair.push(body) == [Heard(body)]
    assert kinds(pair.say(FRAMES["several events"])) == [Heard, ConversationEnded]


# --- start new, close, join, jwt ---


def read_only_pair() -> SessionPair:
    """A pair whose conversation was ended by the agent's side."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=False, read_only=True)
    pair.open()
    return pair


def test_a_new_conversation_after_a_read_only_one() -> None:
    """Close, wait for its SessionResponse, configure with startNew: all on the same socket."""
    pair = read_only_pair()
    pair.guest.start_new(pair.now)
    ended, again = pair.pump()
    assert ended == SessionEnded()
    assert isinstance(again, Configured)
    assert again.new_session
    assert not again.read_only
    assert [(data["action"], data.get("startNew")) for data in pair.written] == [
        ("configureSession", None),
        ("closeSession", None),
        ("configureSession", True),
    ]
    assert pair.written[1]["closeAllConnections"] is True
    assert kinds(pair.send(PART)) == [Answered]


def test_a_writable_session_starts_new_at_once() -> None:
    """Without a read-only conversation there is nothing to close first."""
    pair = configured()
    pair.guest.start_new(pair.now)
    assert kinds(pair.pump()) == [Configured]
    assert [data["action"] for data in pair.written] == ["configureSession", "configureSession"]


@pytest.mark.parametrize("how", ["error", "silence"])
def test_a_close_that_fails_does_not_stop_a_new_conversation(how: str) -> None:
    """`startNew` replaces the session by itself, so an error or silence to the close is no dead end."""
    pair = read_only_pair()
    if how == "error":
        pair.owner.refuse[CloseSession] = (500, "no")
    else:
        pair.owner.hold.add(CloseSession)
    pair.guest.start_new(pair.now)
    events = pair.pump() + pair.wait(10)
    assert kinds(events) == [Unexpected, Configured]
    late = {"class": "SessionResponse", "code": 200, "body": {"connected": False}, "tracingId": "request-2"}
    if how == "silence":
        pair.owner.hold.add(ConfigureSession)
        pair.guest.configure_again(pair.now)
        assert kinds(pair.say(late)) == [Unexpected]
        assert pair.guest.state is ConnectionState.CONFIGURING, "configure still waits"


def test_an_expiry_forgets_that_a_new_conversation_was_wanted() -> None:
    """After an expiry the owner configures again; a later close does not start anything by itself."""
    pair = read_only_pair()
    pair.owner.hold.add(CloseSession)
    pair.guest.start_new(pair.now)
    pair.pump()
    pair.gateway.expire()
    pair.pump()
    pair.owner.session = SessionResponse(connected=True, new_session=True)
    pair.guest.configure_again(pair.now)
    pair.pump()
    pair.owner.hold.clear()
    pair.guest.close_session(pair.now, everywhere=False)
    assert pair.pump() == [SessionEnded()]
    assert pair.guest.state is ConnectionState.ENDED


def test_closing_here_or_everywhere() -> None:
    """`closeAllConnections` is written either way: the schema requires it."""
    for everywhere in (True, False):
        pair = configured()
        pair.guest.close_session(pair.now, everywhere=everywhere)
        assert pair.pump() == [SessionEnded()]
        assert pair.written[-1]["closeAllConnections"] is everywhere


def test_a_join_is_answered_by_its_echo() -> None:
    """The inbound Presence Join acknowledges that the flow knows the guest."""
    pair = configured()
    pair.guest.join(pair.now, attributes={"topic": "bills"})
    (event,) = pair.pump()
    assert isinstance(event, Joined)
    assert isinstance(event.outcome, Accepted)
    sent = pair.written[-1]["message"]
    assert sent["type"] == "Event"
    assert sent["events"] == [{"eventType": "Presence", "presence": {"type": "Join"}}]
    assert sent["channel"] == {"metadata": {"customAttributes": {"topic": "bills"}}}
    assert pair.guest.may_send_message


def test_a_join_is_answered_without_any_id() -> None:
    """The fixture's acknowledgement of a Join carries no tracingId."""
    pair = configured()
    pair.owner.echo_tracing_id = pair.owner.echo_metadata = False
    pair.guest.join(pair.now)
    assert kinds(pair.pump()) == [Joined]
    assert pair.guest.unanswered == {}


def test_a_join_can_be_refused_or_go_unanswered() -> None:
    """An error and a silence to Join have their outcome too."""
    pair = configured()
    pair.owner.refuse[OnMessage] = (400, "no")
    pair.guest.join(pair.now)
    assert pair.pump() == [Joined(Refused(400, "400: no"))]
    pair = configured()
    pair.owner.hold.add(OnMessage)
    pair.guest.join(pair.now)
    pair.pump()
    assert pair.wait(10) == [Joined(Unknown("no answer to join in time"))]


def test_the_key_to_the_history() -> None:
    """getJwt gives the key and its end in seconds since the epoch, also on a read-only session."""
    for pair in (configured(), read_only_pair()):
        pair.guest.request_jwt(pair.now)
        assert pair.pump() == [JwtGranted(JWT, START + 60)]
        assert pair.guest.unanswered == {}


def test_the_key_to_the_history_can_be_refused() -> None:
    """An error or a silence to getJwt says so."""
    pair = configured()
    pair.owner.refuse[GetJwt] = (401, "no")
    pair.guest.request_jwt(pair.now)
    assert pair.pump() == [JwtRefused(Failed("401: no", 401))]
    pair.owner.hold.add(GetJwt)
    pair.guest.request_jwt(pair.now)
    pair.pump()
    assert pair.wait(10) == [JwtRefused(Failed("no answer to jwt in time"))]


@pytest.mark.parametrize("name", ["key", "session"])
def test_an_answer_of_the_wrong_kind_does_not_take_a_message_off(name: str) -> None:
    """A JwtResponse or SessionResponse under a message's tracingId leaves the message waiting for its own answer."""
    pair = in_flight()
    pair.say({**FRAMES[name], "tracingId": PART})
    assert list(pair.guest.unanswered) == [PART]
    assert kinds(pair.wait(10)) == [Answered]


def test_a_message_under_the_tracing_id_of_a_configure_does_not_take_it_off() -> None:
    """Configure waits for its own answer, whatever else comes under its name."""
    pair = SessionPair()
    pair.owner.hold.add(ConfigureSession)
    pair.open()
    assert kinds(pair.say(echo_of("request-1"))) == [Unexpected]
    assert kinds(pair.wait(10)) == [ConfigureRefused]


# --- silence, and health ---


def test_silence_is_asked_after_and_then_is_the_end() -> None:
    """15 s of silence are answered with a ping; 15 more without any sign of life mean that nobody is there."""
    pair = configured()
    pair.answers_pings = False
    assert pair.guest.next_tick_at() == START + 15
    assert pair.wait(15) == []
    assert pair.pings == 1
    assert pair.guest.next_tick_at() == START + 30
    assert pair.wait(14.9) == []
    assert pair.wait(0.1) == [PeerSilent(30.0)]


def test_a_pong_is_a_sign_of_life() -> None:
    """An answered ping starts the silence anew."""
    pair = configured()
    assert pair.wait(120) == []
    assert pair.pings == 8


def test_any_frame_is_a_sign_of_life() -> None:
    """Whatever arrives, even nonsense, shows that somebody is there."""
    pair = configured()
    pair.answers_pings = False
    pair.wait(29)
    pair.say(b"nonsense")
    assert pair.guest.next_tick_at() == pair.now + 15
    assert PeerSilent not in kinds(pair.wait(20))


def test_a_new_connection_does_not_inherit_silence() -> None:
    """A ping that the old connection left unanswered says nothing about the new one."""
    pair = configured()
    pair.answers_pings = False
    pair.wait(16)
    pair.lose()
    assert pair.wait(100) == []
    pair.open()
    assert pair.guest.next_tick_at() == pair.now + 15


def test_an_expired_looking_session_is_asked_once_in_a_while() -> None:
    """2 s after the expiry the session is asked whether it lives, and at most every 30 s."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=True, expiration_date=START + 10)
    pair.open()
    assert pair.wait(11.9) == []
    assert pair.wait(0.1) == [HealthChecked(START + 10)]
    assert pair.written[-1] == {
        "action": "echo",
        "token": TOKEN,
        "tracingId": HEALTH_CHECK_ID,
        "message": {"type": "Text", "text": "ping"},
    }
    assert pair.wait(29.9) == []
    assert pair.wait(0.1) == [HealthChecked(START + 10)]


def test_a_health_check_learns_the_new_expiry() -> None:
    """`expirationDate` is a string of seconds in the reply's metadata; nonsense there is ignored."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=True, expiration_date=START + 10)
    pair.owner.health_metadata = {"expirationDate": str(int(START) + 1000)}
    pair.open()
    assert pair.wait(60) == [HealthChecked(START + 1000)]
    for nonsense in ("nan", "inf", "-1e999", "soon", ""):
        pair.owner.health_metadata = {"expirationDate": nonsense}
        pair.now = START + 1002
        pair.wait(40)
        assert pair.guest.next_tick_at() < START + 2000, nonsense
        assert pair.guest.next_tick_at() == pair.guest.next_tick_at(), nonsense


def test_no_health_check_while_a_message_is_on_its_way() -> None:
    """A health check waits until the message has its answer."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=True, expiration_date=START + 5)
    pair.open()
    pair.owner.hold.add(OnMessage)
    pair.send(PART)
    pair.wait(9.9)
    assert [data["action"] for data in pair.written] == ["configureSession", "onMessage"]
    events = pair.wait(0.2)
    assert kinds(events) == [Answered, HealthChecked]


def test_a_health_check_of_an_expired_session_tells_that_it_is_over() -> None:
    """The reply to a health check may be SessionExpiredEvent."""
    pair = SessionPair()
    pair.owner.session = SessionResponse(connected=True, new_session=True, expiration_date=START + 5)
    pair.open()
    pair.owner.hold.add(Echo)
    pair.wait(7)
    assert pair.say({**FRAMES["expired"], "tracingId": HEALTH_CHECK_ID}) == [Expired("SessionExpiredEvent")]
    assert pair.guest.unanswered == {}


def test_without_an_expiry_nothing_is_asked() -> None:
    """A deployment that does not tell when a session ends gets no health checks."""
    pair = configured()
    pair.wait(600)
    assert {data["action"] for data in pair.written} == {"configureSession"}


def test_numbers_without_bound_are_no_times() -> None:
    """A JSON integer may be larger than any float; it is ignored where a time is expected."""
    pair = SessionPair()
    pair.owner.hold |= {ConfigureSession, GetJwt}
    pair.open()
    body = {"connected": True, "expirationDate": 10**400, "maxCustomDataBytes": 1e300}
    (event,) = pair.say({"class": "SessionResponse", "code": 200, "body": body})
    assert isinstance(event, Configured)
    assert event.expires_at is None
    pair.guest.request_jwt(pair.now)
    pair.pump()
    (granted,) = pair.say({"class": "JwtResponse", "code": 200, "body": {"jwt": "j", "exp": 10**400}})
    assert granted == JwtGranted("j", 0.0)


def test_patience_can_be_set() -> None:
    """Each duration is a setting."""
    timing = Timing(ping_after_s=1, dead_after_s=2, answer_s=3)
    pair = in_flight(timing=timing)
    pair.answers_pings = False
    assert kinds(pair.wait(3)) == [Answered, PeerSilent]


# --- what does not belong here ---


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"\xff", b"{"], ids=repr)
def test_what_is_no_frame_is_reported(data: bytes) -> None:
    """Bytes that are no frame are reported by size and survived."""
    pair = in_flight()
    (event,) = pair.say(data)
    assert isinstance(event, Unexpected)
    assert f"{len(data)} bytes" in event.what
    assert list(pair.guest.unanswered) == [PART]


def test_a_frame_without_type_or_class_is_reported() -> None:
    """The frame of some machine in between is reported and handed on, and settles nothing."""
    pair = in_flight()
    reported, handed_on = pair.say(FRAMES["neither type nor class"])
    assert reported == Unexpected("a frame of class (none) that we do not know")
    assert isinstance(handed_on, Other)
    assert list(pair.guest.unanswered) == [PART]


def test_an_unknown_class_is_reported_without_its_content() -> None:
    """The name of an unknown class is shown escaped and bounded, because it goes into a log line."""
    pair = configured()
    reported, _ = pair.say({"class": "\x1b[31m\n" + "x" * 500, "code": 200, "body": {"secret": 1}})
    assert isinstance(reported, Unexpected)
    assert "\x1b" not in reported.what
    assert "\n" not in reported.what
    assert len(reported.what) < 200


@pytest.mark.parametrize("name", FRAMES)
def test_any_known_frame_can_come_at_any_time(name: str) -> None:
    """Each example frame is survived with nothing asked, before a connection, and with a message on its way."""
    fresh = SessionPair()
    fresh.guest.receive_frame(json.dumps(FRAMES[name]).encode(), fresh.now)
    assert fresh.guest.state is ConnectionState.CLOSED
    busy = in_flight()
    busy.say(FRAMES[name])
    events = busy.guest.events() + busy.wait(10)
    assert PART not in busy.guest.unanswered, events


def test_no_repr_and_no_event_shows_a_secret() -> None:
    """Neither the session nor anything it reports lets the token or the jwt be seen."""
    pair = in_flight()
    seen = [repr(pair.guest), repr(pair.gateway), repr(pair.owner.asked), repr(pair.guest.unanswered)]
    pair.owner.hold.clear()
    pair.say(echo_of(PART))
    pair.guest.request_jwt(pair.now)
    seen += [repr(pair.pump())]
    seen += [repr(pair.say({**frame, "token": TOKEN, "jwt": JWT})) for frame in FRAMES.values()]
    seen += [repr(pair.lose())]
    for text in seen:
        assert TOKEN not in text
        assert JWT not in text
    assert "JwtGranted(jwt=***" in "".join(seen)


def test_draining_gives_each_thing_once() -> None:
    """Frames and events are handed out once, in order."""
    pair = SessionPair()
    pair.guest.connection_opened(pair.now)
    (frame,) = pair.guest.frames_to_send()
    assert isinstance(frame, bytes)
    assert pair.guest.frames_to_send() == []
    assert pair.guest.events() == []
    pair.guest.receive_frame(b"{", pair.now)
    assert len(pair.guest.events()) == 1
    assert pair.guest.events() == []
    pair.guest.tick(pair.now + 15)
    assert pair.guest.frames_to_send() == [Control.PING]
