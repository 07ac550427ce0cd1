"""
What no gateway of good manners says: bytes in place of a frame, answers in place of a history.

Each has a name, by which docs/faults.md calls it; `tests.journey.raw_gateway` puts it on the line.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from tests.journey.raw_gateway import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Json, frame, http, text


def is_echo(message: Json) -> bool:
    """The echo of the message in question."""
    body = message.get("body")
    return isinstance(body, dict) and body.get("direction") == "Inbound" and "fragile" in str(body.get("text"))


def is_reply(message: Json) -> bool:
    """What an agent says."""
    return isinstance(message.get("body"), dict) and message["body"].get("direction") == "Outbound"


def of_class(name: str) -> Callable[[Json], bool]:
    """Frames of a class."""
    return lambda message: message.get("class") == name


def before(*objects: object) -> Callable[[Json], bytes]:
    """These first, then the frame itself."""
    return lambda message: text(*objects) + text(message)


def raw_before(data: bytes) -> Callable[[Json], bytes]:
    """These bytes first, then the frame itself."""
    return lambda message: data + text(message)


def instead(data: bytes) -> Callable[[Json], bytes]:
    """These bytes in place of the frame."""
    return lambda message: data


def changed(**fields: Any) -> Callable[[Json], bytes]:
    """The frame with other fields in its envelope; None: without them."""

    def make(message: Json) -> bytes:
        whole = {**message, **fields}
        return text({key: value for key, value in whole.items() if value is not None})

    return make


def body_changed(**fields: Any) -> Callable[[Json], bytes]:
    """The frame with other fields in its body; None: without them."""

    def make(message: Json) -> bytes:
        body = {key: value for key, value in {**message["body"], **fields}.items() if value is not ...}
        return text({**message, "body": body})

    return make


def in_pieces(*sizes: int, between: bytes = b"") -> Callable[[Json], bytes]:
    """The frame cut into fragments of these sizes."""

    def make(message: Json) -> bytes:
        payload = json.dumps(message).encode()
        pieces, rest = [], payload
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]
        pieces.append(rest)
        kinds = [TEXT, *[CONTINUATION] * (len(pieces) - 1)]
        frames = [
            frame(kind, piece, last=place == len(pieces) - 1)
            for place, (kind, piece) in enumerate(zip(kinds, pieces, strict=True))
        ]
        return between.join(frames)

    return make


def masked(message: Json) -> bytes:
    """The frame as only a client may write it."""
    payload = json.dumps(message).encode()
    return struct.pack("!BBH", 0x81, 0x80 | 126, len(payload)) + b"\0\0\0\0" + payload


def about_file(class_: str, code: int, **body: Any) -> Callable[[Json], bytes]:
    """What the gateway says of the file that the frame is about, in place of it."""

    def make(message: Json) -> bytes:
        file_id = message["body"]["attachmentId"]
        answer = {"type": "message", "class": class_, "code": code, "body": {"attachmentId": file_id, **body}}
        return text(answer)

    return make


def twice_taken(message: Json) -> bytes:
    """The echo, and another one with another name."""
    return text(message, {**message, "body": {**message["body"], "id": "f" * 32, "channel": {"messageId": "0" * 36}}})


UNINVITED: list[Json] = [
    {"type": "response", "class": "SessionResponse", "code": 200, "body": {"connected": True, "newSession": True}},
    {"type": "response", "class": "JwtResponse", "code": 200, "body": {"jwt": "a.b.c", "exp": 1}},
    {"type": "response", "class": "GetConfigurationResponse", "code": 200, "body": {}},
    {"type": "response", "class": "AttachmentDeletedResponse", "code": 200, "body": {"attachmentId": "x"}},
]
BENT: list[object] = [
    {"type": "message", "class": "StructuredMessage", "code": 200, "body": None},
    {"type": "message", "class": "StructuredMessage", "code": 200, "body": {}},
    {"type": "message", "class": "StructuredMessage", "code": 200, "body": {"direction": "Inbound", "channel": 7}},
    {"type": "message", "class": "StructuredMessage", "code": "200", "body": {"id": 5, "direction": ["Inbound"]}},
    {"type": 1, "class": 2, "code": "x", "body": 3, "tracingId": 4},
    {"type": "message", "class": "StructuredMessage", "code": 200, "body": {"direction": "Inbound", "events": [7]}},
    {"class": "SessionExpiredEvent2", "body": {"\ud800": "\udfff"}},
    {"class": "x" * 5000},
    [],
    None,
    "text",
    10**400,
    b"",
    b"NaN",
    b"[" * 100_000,
    b'{"class":"string","class":"string","code":200,"body":""}',
]
GIANT = json.dumps({"class": "Blob", "body": "x" * (1024 * 1024 + 10)}).encode()
EMPTY_UPLOAD = {
    "attachmentId": "nobody-asked",
    "downloadUrl": "https://example.com/x",
    "timestamp": "2026-01-01T00:00:00Z",
}
FILE_ERROR = {"errorCode": 4001, "errorMessage": "File type image/png not supported"}

BYTES: dict[str, tuple[Callable[[Json], bool], Callable[[Json], bytes]]] = {
    # the WebSocket
    "invalid_utf8": (is_echo, instead(frame(TEXT, b'"\xff"'))),
    "half_a_character": (is_echo, instead(frame(TEXT, b'"\xc3', last=False) + frame(CONTINUATION, b'"'))),
    "one_giant_frame": (is_echo, instead(frame(TEXT, GIANT))),
    "giant_in_fragments": (
        is_echo,
        instead(frame(TEXT, GIANT[:600_000], last=False) + frame(CONTINUATION, GIANT[600_000:])),
    ),
    "fragments": (is_echo, in_pieces(1, 20, 0)),
    "one_byte_fragments": (is_echo, in_pieces(*[1] * 200)),
    "control_frames_between": (
        is_echo,
        in_pieces(10, 10, between=frame(PING, b"alive?") + frame(PONG, b"") + frame(PING, b"x" * 125)),
    ),
    "ping_flood": (is_echo, raw_before(frame(PING, b"?") * 20_000)),
    "binary": (is_echo, instead(frame(BINARY, b"\0\1\2"))),
    "nothing_to_continue": (is_echo, instead(frame(CONTINUATION, b"text"))),
    "text_in_a_text": (is_echo, instead(frame(TEXT, b"a", last=False) + frame(TEXT, b"b"))),
    "reserved_bits": (is_echo, raw_before(frame(TEXT, b"{}", reserved=0x40))),
    "unknown_opcode": (is_echo, instead(frame(0x3, b"{}"))),
    "long_control": (is_echo, instead(frame(PING, b"x" * 126))),
    "control_in_fragments": (is_echo, instead(frame(PING, b"x", last=False))),
    "masked": (is_echo, masked),
    "garbage": (is_echo, instead(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    "close_without_code": (is_echo, instead(frame(CLOSE, b""))),
    "close_with_half_a_code": (is_echo, instead(frame(CLOSE, b"\x03"))),
    "close_with_a_bad_reason": (is_echo, instead(frame(CLOSE, struct.pack("!H", 1011) + b"\xff" * 20))),
    # the Guest API
    "unknown_tracing_id": (is_echo, changed(tracingId="11111111-2222-4333-8444-555555555555")),
    "absurd_tracing_id": (is_echo, changed(tracingId="\x00" + "x" * 5000)),
    "taken_twice": (is_echo, twice_taken),
    "echo_as_response": (is_echo, changed(type="response")),
    "echo_without_id": (is_echo, body_changed(id=..., channel=...)),
    "echo_without_direction": (is_echo, body_changed(direction=...)),
    "echo_with_code_500": (is_echo, changed(code=500)),
    "echo_without_type_and_class": (is_echo, changed(type=None, **{"class": None})),
    "throttle_without_time": (of_class("TooManyRequestsErrorMessage"), body_changed(retryAfter=...)),
    "unknown_class": (is_echo, before({"type": "message", "class": "SomethingNewEvent", "code": 200, "body": {}})),
    "uninvited": (is_echo, before(*UNINVITED)),
    "bent": (is_echo, before(*BENT)),
    "error_about_nothing": (
        is_echo,
        before(
            {
                "type": "response",
                "class": "string",
                "code": 4011,
                "body": "Request failed.",
                "tracingId": "11111111-2222-4333-8444-555555555555",
            }
        ),
    ),
    "jwt_without_jwt": (of_class("JwtResponse"), body_changed(jwt=7)),
    "session_not_connected": (of_class("SessionResponse"), body_changed(connected=False)),
    "session_of_nothing": (of_class("SessionResponse"), lambda message: text({**message, "body": {}})),
    "session_of_1970": (of_class("SessionResponse"), body_changed(expirationDate=1)),
    "session_of_absurd_limits": (
        of_class("SessionResponse"),
        body_changed(
            allowedMedia={"inbound": {"fileTypes": [{"type": None}], "maxFileSizeKB": None}},
            blockedExtensions=[".exe", ""],
            maxCustomDataBytes=10**400,
            expirationDate=-(10**400),
            durationSeconds="72 h",
        ),
    ),
    # replies
    "reply_without_id": (is_reply, body_changed(id=..., channel=...)),
    "reply_without_time": (is_reply, body_changed(channel={"time": None})),
    "reply_with_a_bad_time": (is_reply, body_changed(channel={"time": "yesterday"})),
    # files
    "address_in_a_private_network": (of_class("PresignedUrlResponse"), body_changed(url="http://10.0.0.1/upload")),
    "address_of_the_cloud_host": (
        of_class("PresignedUrlResponse"),
        body_changed(url="https://169.254.169.254/latest/meta-data/"),
    ),
    "address_that_is_a_file": (of_class("PresignedUrlResponse"), body_changed(url="file:///etc/passwd")),
    "address_that_is_none": (of_class("PresignedUrlResponse"), body_changed(url="http://[::1")),
    "address_without_url": (of_class("PresignedUrlResponse"), body_changed(url=...)),
    "address_twice": (of_class("PresignedUrlResponse"), lambda message: text(message, message)),
    "generate_url_error_200": (of_class("PresignedUrlResponse"), about_file("GenerateUrlError", 200, **FILE_ERROR)),
    "generate_url_error_400": (of_class("PresignedUrlResponse"), about_file("GenerateUrlError", 400, **FILE_ERROR)),
    "upload_failure_200": (
        of_class("UploadSuccessEvent"),
        about_file("UploadFailureEvent", 200, errorCode=4003, errorMessage="File content is invalid"),
    ),
    "upload_failure_without_code": (of_class("UploadSuccessEvent"), about_file("UploadFailureEvent", 200)),
    "upload_success_of_another": (
        of_class("UploadSuccessEvent"),
        before({"type": "message", "class": "UploadSuccessEvent", "code": 200, "body": EMPTY_UPLOAD}),
    ),
    "upload_success_twice": (of_class("UploadSuccessEvent"), lambda message: text(message, message)),
}

#: Pongs that are owed afterwards.
PONGS = {"ping_flood": 20_000, "control_frames_between": 4}

HISTORIES: dict[str, bytes] = {
    "html": http(b"<html>Sign in to the Wi-Fi</html>", kind="text/html"),
    "cut_off": http(b'{"entities":[{"id":"a","direction":"Inb'),
    "no_entities": http(b'{"pageSize":25}'),
    "odd_entities": http(
        b'{"entities":[null,7,"x",[],{},{"id":null},{"direction":"Inbound"},{"id":"a","direction":"Inbound",'
        b'"channel":{"time":null},"metadata":{"attempt":"9999999999999999999","id":7}},'
        b'{"id":"b","direction":"Sideways","events":{}}]}'
    ),
    "redirect": http(b"", status="302 Found", headers="Location: http://10.0.0.1/\r\n"),
}
