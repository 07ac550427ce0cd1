"""Structured content in bot scripts: the wire's own words, checked before anything starts."""

from __future__ import annotations

from typing import Any

import msgspec

from guestwire.protocol import codec
from guestwire.protocol.frames import Content, Node

#: Content that an agent may send, by `contentType`: the field it stands in, and what must be in that. Vendor's schema.
#: A file has an address that only the emulator can give: rules and agents send one with `attachment`.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "QuickReply": ("quick_reply", ("text", "payload")),
    "QuickReplyV2": ("quick_reply_v2", ("title", "actions")),
    "ButtonResponse": ("button_response", ("type", "text", "payload")),
    "Card": ("card", ("title", "actions")),
    "Carousel": ("carousel", ("cards",)),
    "DatePicker": ("date_picker", ("available_times",)),
    "ListPicker": ("list_picker", ("sections", "received_message", "reply_message")),
    "Form": ("form", ("form_pages",)),
}


def content_problem(item: Any) -> str | None:
    """Say what is wrong with one item of `content`, or None."""
    if not isinstance(item, dict):
        return "each item is a table with contentType"
    content = codec.read(Content, item)
    kind = KINDS.get(content.content_type or "")
    if kind is None:
        return f"contentType must be one of {', '.join(KINDS)}"
    field, required = kind
    value = getattr(content, field)
    if value is None:
        return f"{content.content_type} has no table {_wire_name(Content, field)}"
    for name in required:
        if getattr(value, name) is None:
            return f"{content.content_type} has no {_wire_name(type(value), name)}"
    strange = _strange(content)
    return f"{strange!r} is no key of {content.content_type}, or not of this type" if strange else None


def _wire_name(node_type: type[Node], field: str) -> str:
    return next(wire for name, wire in _names(node_type) if name == field)


def _names(node_type: type[Node]) -> list[tuple[str, str]]:
    return [(field.name, field.encode_name) for field in msgspec.structs.fields(node_type) if field.name != "extra"]


def _strange(node: Node) -> str | None:
    """The first key, anywhere within, that the vendor's schema does not have."""
    if node.extra:
        return next(iter(node.extra))
    for name, _ in _names(type(node)):
        value = getattr(node, name)
        for inner in value if isinstance(value, list) else [value]:
            strange = _strange(inner) if isinstance(inner, Node) else None
            if strange:
                return strange
    return None
