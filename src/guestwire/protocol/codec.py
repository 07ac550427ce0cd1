"""
Between bytes and frames, both ways: lossless and total.

Reading never raises; `write(read(x))` is `x` for every JSON object (`tests/wire` holds it to that, with the outside
fixtures and with generated ones).
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from guestwire.protocol.frames import (
    BODIES,
    REQUESTS,
    STRING,
    Body,
    Frame,
    JsonObject,
    Malformed,
    Node,
    Request,
    StringBody,
    UnknownBody,
    UnknownRequest,
)

NodeT = TypeVar("NodeT", bound=Node)

# --- reading ---

_SCALARS: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float,)}
_Reader = Callable[[Any], Any]
#: Returned by a reader for a value that its field cannot hold.
_MISFIT = object()


def read(node_type: type[NodeT], data: Mapping[str, Any]) -> NodeT:
    """Make a node of a JSON object; whatever its fields cannot hold goes to `extra`. Never raises."""
    plan = _plan(node_type)
    fields: dict[str, Any] = {}
    extra: JsonObject = {}
    for key, value in data.items():
        step = plan.get(key)
        held = _MISFIT if step is None else step[1](value)
        if step is None or held is _MISFIT:
            extra[key] = value
        else:
            fields[step[0]] = held
    return node_type(**fields, extra=extra) if extra else node_type(**fields)


_plans: dict[type[Node], dict[str, tuple[str, _Reader]]] = {}


def _plan(node_type: type[Node]) -> dict[str, tuple[str, _Reader]]:
    plan = _plans.get(node_type)
    if plan is None:
        hints = typing.get_type_hints(node_type)
        plan = _plans[node_type] = {
            field.encode_name: (field.name, _reader(hints[field.name]))
            for field in msgspec.structs.fields(node_type)
            if field.name != "extra"
        }
    return plan


def _reader(hint: Any) -> _Reader:
    """Turn a field's annotation into the function that reads it. Every field is `T | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return _reader(members[0])
        accepted = tuple(kind for member in members for kind in _SCALARS[member])
        return lambda value: value if type(value) in accepted else _MISFIT
    if hint in _SCALARS:
        kinds = _SCALARS[hint]
        return lambda value: value if type(value) in kinds else _MISFIT
    if isinstance(hint, type) and issubclass(hint, Node):
        return lambda value: read(hint, value) if type(value) is dict else _MISFIT
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        item = _reader(arguments[0])

        def read_list(value: Any) -> Any:
            if type(value) is not list:
                return _MISFIT
            items = [item(each) for each in value]
            return _MISFIT if any(each is _MISFIT for each in items) else items

        return read_list
    if arguments == (str, str):
        return lambda value: (
            value if type(value) is dict and all(type(each) is str for each in value.values()) else _MISFIT
        )
    return lambda value: value if type(value) is dict else _MISFIT


def decode_json(data: bytes | str) -> JsonObject | Malformed:
    """Parse one frame's JSON. Bounded by the caller; never raises."""
    try:
        parsed = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        return Malformed(f"not JSON: {type(error).__name__}", len(data))
    if type(parsed) is not dict:
        return Malformed(f"a JSON {type(parsed).__name__} where an object belongs", len(data))
    return parsed


def decode_request(data: bytes | str) -> Request | Malformed:
    """Read what a client sent."""
    parsed = decode_json(data)
    if isinstance(parsed, Malformed):
        return parsed
    request_type = REQUESTS.get(parsed["action"]) if type(parsed.get("action")) is str else None
    if request_type is None:
        return read(UnknownRequest, parsed)
    del parsed["action"]
    return read(request_type, parsed)


def decode_frame(data: bytes | str) -> Frame | Malformed:
    """Read what a server sent."""
    parsed = decode_json(data)
    return parsed if isinstance(parsed, Malformed) else frame_from(parsed)


_ENVELOPE: dict[str, tuple[str, type]] = {
    "class": ("class_", str),
    "type": ("type", str),
    "code": ("code", int),
    "tracingId": ("tracing_id", str),
}


def frame_from(parsed: JsonObject) -> Frame:
    """Make a frame of its JSON object."""
    fields: dict[str, Any] = {}
    extra: JsonObject = {}
    for key, value in parsed.items():
        name, kind = _ENVELOPE.get(key, ("", type(None)))
        if name and type(value) is kind:
            fields[name] = value
        elif key != "body":
            extra[key] = value
    if "body" not in parsed:
        # Not the same as `"body": null`: a frame without type, class and body (such as AWS's own
        # `{"message": "Internal server error"}`) must be written back as it came.
        return Frame(body=UnknownBody(msgspec.UNSET), **fields, extra=extra)
    return Frame(body=_body(fields.get("class_"), parsed["body"]), **fields, extra=extra)


def _body(class_: str | None, value: Any) -> Body:
    if class_ == STRING and type(value) is str:
        return StringBody(value)
    body_type = BODIES.get(class_ or "")
    if body_type is not None and type(value) is dict:
        return read(body_type, value)
    return UnknownBody(value)


# --- the fast path: what most frames are read for ---


class _LeanChannel(msgspec.Struct):
    time: str | None = None
    messageId: str | None = None  # noqa: N815 - the wire's spelling


class _LeanMessage(msgspec.Struct):
    id: str | None = None
    direction: str | None = None
    channel: _LeanChannel | None = None


class _LeanFrame(msgspec.Struct):
    class_: str | None = msgspec.field(default=None, name="class")
    code: int | None = None
    tracingId: str | None = None  # noqa: N815 - the wire's spelling
    body: _LeanMessage | None = None


class Acknowledgement(msgspec.Struct, frozen=True):
    """The part of an own message's echo that settles it."""

    tracing_id: str
    gateway_id: str
    channel_message_id: str | None
    at: str | None


_lean_decoder = msgspec.json.Decoder(_LeanFrame)


def decode_acknowledgement(data: bytes | str) -> Acknowledgement | None:
    """
    Read a frame only as far as an echo needs, in a third of the time of `decode_frame`.

    Returns:
        None for everything that is not plainly the echo of a message with a `tracingId`; such frames are then
        read in full.
    """
    try:
        frame = _lean_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None
    body = frame.body
    if (
        frame.class_ != "StructuredMessage"
        or frame.code != 200
        or frame.tracingId is None
        or body is None
        or body.id is None
        or body.direction != "Inbound"
    ):
        return None
    channel = body.channel
    return Acknowledgement(
        tracing_id=frame.tracingId,
        gateway_id=body.id,
        channel_message_id=channel.messageId if channel else None,
        at=channel.time if channel else None,
    )


# --- writing ---


def write(node: Node) -> JsonObject:
    """Make the JSON object of a node, `extra` included."""
    data: JsonObject = {}
    if isinstance(node, Request) and not isinstance(node, UnknownRequest):
        data["action"] = node.action
    for name, encode_name in _names(type(node)):
        value = getattr(node, name)
        if value is None:
            continue
        if isinstance(value, Node):
            value = write(value)
        elif isinstance(value, list):
            value = [write(each) if isinstance(each, Node) else each for each in value]
        data[encode_name] = value
    data.update(node.extra)
    return data


@functools.cache
def _names(node_type: type[Node]) -> tuple[tuple[str, str], ...]:
    # Asking msgspec each time costs 40 times the encoding itself.
    return tuple(
        (field.name, field.encode_name) for field in msgspec.structs.fields(node_type) if field.name != "extra"
    )


def write_frame(frame: Frame) -> JsonObject:
    """Make the JSON object of a frame."""
    data: JsonObject = {
        key: value
        for key, value in (("type", frame.type), ("class", frame.class_), ("code", frame.code))
        if value is not None
    }
    match frame.body:
        case StringBody(text):
            data["body"] = text
        case UnknownBody(value):
            if value is not msgspec.UNSET:
                data["body"] = value
        case body:
            data["body"] = write(body)
    if frame.tracing_id is not None:
        data["tracingId"] = frame.tracing_id
    data.update(frame.extra)
    return data


def encode_request(request: Request) -> bytes:
    """
    Encode a request that we built: straight from the struct, a tenth of the time of `write`.

    It has no `extra`, by construction; `tests/wire` holds the two encodings against each other.
    """
    return msgspec.json.encode(request)


def encode_frame(frame: Frame) -> bytes:
    """Encode what a server sends."""
    return msgspec.json.encode(write_frame(frame))
