"""Between bytes and frames: nothing is lost, nothing is raised."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.model import PartId
from guestwire.protocol import codec
from guestwire.protocol.frames import (
    BODIES,
    REQUESTS,
    ConfigureSession,
    Frame,
    GetJwt,
    JwtResponse,
    Malformed,
    Message,
    OnMessage,
    PresignedUrlResponse,
    Request,
    SessionResponse,
    StringBody,
    UnknownBody,
    UnknownRequest,
)
from tests.wire import derive_facts
from tests.wire.frames_table import FRAMES
from tests.wire.frames_table import REQUESTS as REQUEST_EXAMPLES
from tests.wire.pair import SessionPair, saying
from tests.wire.strategies import json_objects, mutated
from tests.wire.test_facts import requires_oracle


def encoded(data: dict[str, Any]) -> bytes:
    """As it stands on the wire."""
    return json.dumps(data, ensure_ascii=False).encode()


def read_frame(data: bytes | str) -> Frame:
    """Read what is surely a frame."""
    frame = codec.decode_frame(data)
    assert isinstance(frame, Frame)
    return frame


def read_request(data: bytes | str) -> Request:
    """Read what is surely a request."""
    request = codec.decode_request(data)
    assert isinstance(request, Request)
    return request


def same(left: Any, right: Any) -> bool:
    """Equal with types: ``1`` is neither ``True`` nor ``1.0``."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


# --- round trips ---


@pytest.mark.parametrize("name", FRAMES)
def test_an_example_frame_is_written_as_it_was_read(name: str) -> None:
    """Reading a frame and writing it gives the same JSON, whatever it holds."""
    frame = read_frame(encoded(FRAMES[name]))
    assert same(codec.write_frame(frame), FRAMES[name])
    assert same(json.loads(codec.encode_frame(frame)), FRAMES[name])


@pytest.mark.parametrize("name", REQUEST_EXAMPLES)
def test_an_example_request_is_written_as_it_was_read(name: str) -> None:
    """Reading a request and writing it gives the same JSON, whatever it holds."""
    assert same(codec.write(read_request(encoded(REQUEST_EXAMPLES[name]))), REQUEST_EXAMPLES[name])


@requires_oracle
def test_every_fixture_is_written_as_it_was_read() -> None:
    """The outside fixtures survive reading and writing, each byte of meaning."""
    folder = derive_facts.oracle()
    assert folder is not None
    seen = 0
    for name, data, _ in derive_facts.fixtures(folder):
        if name.startswith("req-"):
            request = read_request(encoded(data))
            assert type(request) in REQUESTS.values(), name
            assert request.extra == {}, name
            assert same(codec.write(request), data), name
            assert same(json.loads(codec.encode_request(request)), data), name
        elif not name.startswith("rest-"):
            frame = read_frame(encoded(data))
            assert not isinstance(frame.body, UnknownBody), name
            assert same(codec.write_frame(frame), data), name
        else:
            continue
        seen += 1
    assert seen >= 70


@requires_oracle
def test_history_entities_are_read_as_messages() -> None:
    """An entity of the outside history page is a message, null times included."""
    folder = derive_facts.oracle()
    assert folder is not None
    (page,) = [data for name, data, _ in derive_facts.fixtures(folder) if name == "rest-history-page"]
    for entity in page["entities"]:
        assert same(codec.write(codec.read(Message, entity)), entity)


def test_requests_that_we_build_are_encoded_alike_both_ways() -> None:
    """The fast encoder of a built request writes what the careful one writes."""
    pair = SessionPair()
    pair.open()
    pair.guest.send_message(
        PartId("p1"), saying(PartId("p1"), "hé\u2028llo", attempt=2, attributes={"a": "b"}), pair.now
    )
    pair.pump()
    pair.guest.join(pair.now, attributes={"a": "b"})
    pair.pump()
    pair.guest.request_jwt(pair.now)
    pair.guest.close_session(pair.now, everywhere=True)
    pair.pump()
    assert len(pair.written) == 5
    for data in pair.written:
        request = read_request(encoded(data))
        assert request.extra == {}
        assert same(json.loads(codec.encode_request(request)), codec.write(request))
        assert same(codec.write(request), data)


@given(json_objects)
def test_any_object_read_as_a_frame_is_written_as_it_was(data: dict[str, Any]) -> None:
    """decode and write are inverse for every JSON object, on the side of the server's frames."""
    assert same(codec.write_frame(read_frame(encoded(data))), data)


@given(json_objects)
def test_any_object_read_as_a_request_is_written_as_it_was(data: dict[str, Any]) -> None:
    """decode and write are inverse for every JSON object, on the side of the guest's requests."""
    assert same(codec.write(read_request(encoded(data))), data)


@given(st.sampled_from(sorted(BODIES)), json_objects)
def test_any_body_of_a_known_class_is_written_as_it_was(class_: str, body: dict[str, Any]) -> None:
    """A known class may hold anything at all."""
    data = {"class": class_, "body": body}
    assert same(codec.write_frame(read_frame(encoded(data))), data)


@given(mutated([*FRAMES.values()]))
def test_a_damaged_frame_is_written_as_it_came(data: dict[str, Any]) -> None:
    """A frame in which values were swapped for others loses nothing either."""
    assert same(codec.write_frame(read_frame(encoded(data))), data)


@given(mutated([*REQUEST_EXAMPLES.values()]))
def test_a_damaged_request_is_written_as_it_came(data: dict[str, Any]) -> None:
    """A request in which values were swapped for others loses nothing either."""
    assert same(codec.write(read_request(encoded(data))), data)


@given(st.binary() | st.text() | json_objects.map(encoded))
def test_no_bytes_make_reading_raise(data: bytes | str) -> None:
    """Whatever arrives is a frame, or is called malformed."""
    assert isinstance(codec.decode_frame(data), Frame | Malformed)
    assert isinstance(codec.decode_request(data), Request | Malformed)
    acknowledgement = codec.decode_acknowledgement(data)
    assert acknowledgement is None or isinstance(acknowledgement, codec.Acknowledgement)


@given(mutated([FRAMES["echo of a text"] | {"tracingId": "p1"}]))
def test_the_short_reading_agrees_with_the_full_one(data: dict[str, Any]) -> None:
    """What the fast path takes for an echo, the full reading takes for the same echo."""
    short = codec.decode_acknowledgement(encoded(data))
    if short is None:
        return
    frame = read_frame(encoded(data))
    assert isinstance(frame.body, Message)
    assert frame.body.direction == "Inbound"
    assert (frame.tracing_id, frame.body.id, frame.code) == (short.tracing_id, short.gateway_id, 200)


# --- what stays where ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        '{"a":"\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a":"\xc3\x28"}',
        b'{} {"a":1}',
    ],
    ids=range(16),
)
def test_what_is_no_object_is_malformed(data: bytes | str) -> None:
    """What is not one JSON object is reported by its size and kind, and its content is dropped."""
    malformed = codec.decode_frame(data)
    assert isinstance(malformed, Malformed)
    assert malformed.size == len(data)
    assert codec.decode_request(data) == malformed


def test_of_a_key_given_twice_the_last_counts_on_both_readings() -> None:
    """A key that stands twice is read alike by the short and by the full reading."""
    data = (
        b'{"class":"StructuredMessage","code":200,"tracingId":"a","tracingId":"b",'
        b'"body":{"id":"1","id":"2","direction":"Inbound"}}'
    )
    short, full = codec.decode_acknowledgement(data), read_frame(data)
    assert short is not None
    assert isinstance(full.body, Message)
    assert (short.tracing_id, short.gateway_id) == ("b", "2") == (full.tracing_id, full.body.id)


def test_unknown_keys_nulls_and_wrong_types_stay_in_extra() -> None:
    """What a typed field cannot hold is kept beside it, under its own name."""
    body = {"connected": "yes", "newSession": None, "readOnly": True, "colour": "red", "durationSeconds": True}
    frame = read_frame(encoded({"class": "SessionResponse", "body": body}))
    assert isinstance(frame.body, SessionResponse)
    assert frame.body.read_only is True
    assert frame.body.connected is None
    assert frame.body.extra == {"connected": "yes", "newSession": None, "colour": "red", "durationSeconds": True}


def test_one_element_that_does_not_fit_keeps_the_whole_list_as_it_came() -> None:
    """A list is either read as a whole or kept as a whole, so that its order survives."""
    request = read_request(b'{"action":"onMessage","attachmentIds":["a",1]}')
    assert isinstance(request, OnMessage)
    assert request.attachment_ids is None
    assert request.extra == {"attachmentIds": ["a", 1]}


def test_an_unknown_action_is_kept_whole() -> None:
    """An action that we do not know is an `UnknownRequest` with everything in `extra` but token and tracing id."""
    request = read_request(b'{"action":"resumeToken","token":"t","tracingId":"r","resumeToken":"x"}')
    assert isinstance(request, UnknownRequest)
    assert (request.token, request.tracing_id) == ("t", "r")
    assert request.extra == {"action": "resumeToken", "resumeToken": "x"}


def test_an_unknown_class_and_a_body_of_the_wrong_shape_are_kept_whole() -> None:
    """A body that is not what its class promises is an `UnknownBody` with the data as it came."""
    assert read_frame(b'{"class":"Newest","body":{"a":1}}').body == UnknownBody({"a": 1})
    assert read_frame(b'{"class":"string","body":{"a":1}}').body == UnknownBody({"a": 1})
    assert read_frame(b'{"class":"SessionResponse","body":"x"}').body == UnknownBody("x")
    assert read_frame(b'{"class":"string","body":"x"}').body == StringBody("x")
    assert read_frame(b"{}").body == UnknownBody(msgspec.UNSET)


def test_a_download_is_told_from_an_upload() -> None:
    """Empty headers and a size mean: here is your file; headers mean: put it there."""
    assert PresignedUrlResponse(headers={}, file_size=1).is_download
    assert not PresignedUrlResponse(headers={"x-amz-tagging": "a"}, file_size=1).is_download
    assert not PresignedUrlResponse(headers={}).is_download


def test_the_key_of_a_message_is_its_channel_id_before_its_own() -> None:
    """Inbound entities have two names; the provider's one is the same live and in history."""
    message = codec.read(Message, {"id": "a", "channel": {"messageId": "b"}})
    assert message.key == "b"
    assert codec.read(Message, {"id": "a", "channel": {"messageId": None}}).key == "a"
    assert codec.read(Message, {}).key is None


def test_no_repr_shows_a_value() -> None:
    """Frames and requests name their fields in a repr, and show none of the content: it ends up in logs."""
    secret = "canary-3f2a"
    values: list[object] = [
        ConfigureSession(token=secret, deployment_id="d"),
        GetJwt(token=secret),
        JwtResponse(jwt=secret, exp=1),
        Message(text=secret, metadata={"a": secret}),
        Frame(body=StringBody(secret)),
        Frame(body=UnknownBody({"a": secret}), extra={"b": secret}),
        codec.decode_request(encoded({"action": "x", "token": secret, "y": secret})),
        codec.decode_frame(secret.encode()),
    ]
    for value in values:
        assert secret not in repr(value)
        assert secret not in str(value)
    assert repr(GetJwt(token="t")) == "GetJwt(token)"


def test_reading_leaves_its_input_alone() -> None:
    """`frame_from` does not change the object it is given."""
    data = FRAMES["bot with choices"]
    before = copy.deepcopy(data)
    codec.frame_from(data)
    assert data == before
