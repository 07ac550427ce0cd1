"""
What may be accepted at all: pure rules over a draft, all findings at once.

The limits are the gateway's, as far as they are published; each is a setting, because numbers change.
"""

from __future__ import annotations

from collections.abc import Iterator

from guestwire.model import Draft, Finding
from guestwire.settings import Limits

#: Longest guest key and idempotency key, in characters; ours. A key is a name, not a document.
MAX_KEY = 512
#: So much of an attribute's name is quoted in an error.
MAX_SHOWN = 64


def check_draft(draft: Draft, limits: Limits) -> tuple[Finding, ...]:
    """Return everything that is wrong with a message. Empty: it may be accepted."""
    return (*_guest(draft), *_text(draft.text, limits), *_attributes(draft.attributes, limits), *_schedule(draft))


def _guest(draft: Draft) -> Iterator[Finding]:
    if not draft.guest.strip():
        yield Finding(
            "guest.empty", "guest", "the guest is empty", "name the guest by your own key, such as a customer number"
        )
    yield from _key("guest", draft.guest)
    if draft.key is not None:
        if not draft.key:
            yield Finding(
                "key.empty", "key", "the idempotency key is empty", "leave it out, or give one that is unique"
            )
        yield from _key("key", draft.key)


def _key(path: str, value: str) -> Iterator[Finding]:
    if len(value) > MAX_KEY:
        yield Finding(f"{path}.too_long", path, f"{len(value)} characters are more than {MAX_KEY}", "use a shorter key")
    yield from _characters(path, value)


def _characters(path: str, value: str) -> Iterator[Finding]:
    if "\x00" in value:
        yield Finding("text.nul", path, "holds a NUL character", "remove it; the gateway refuses it")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        yield Finding(
            "text.surrogate",
            path,
            "holds half of a surrogate pair, which is no character",
            "decode the source with the encoding it was written in",
        )


def _text(text: str, limits: Limits) -> Iterator[Finding]:
    if not text.strip():
        yield Finding("text.empty", "text", "the text is empty", "send at least one visible character")
        return
    yield from _characters("text", text)
    size = len(text.encode("utf-8", "replace")) if limits.text_unit == "bytes" else len(text)
    if size > limits.max_text:
        unit = "bytes of UTF-8" if limits.text_unit == "bytes" else "characters"
        yield Finding(
            "text.too_long",
            "text",
            f"{size} {unit} are more than the gateway takes ({limits.max_text})",
            "split it into several messages",
        )


def _attributes(attributes: dict[str, str], limits: Limits) -> Iterator[Finding]:
    size = 0
    for name, value in attributes.items():
        if not name:
            yield Finding("attributes.name_empty", "attributes", "an attribute has no name", "name it, or leave it out")
        path = f"attributes.{_shown(name)}"
        yield from _characters(path, name)
        yield from _characters(path, value)
        size += len(name.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
    if size > limits.max_attributes_bytes:
        yield Finding(
            "attributes.too_large",
            "attributes",
            f"{size} bytes of names and values are more than the gateway takes ({limits.max_attributes_bytes})",
            "send fewer or shorter attributes",
        )


def _shown(name: str) -> str:
    """Return an attribute's name as an error may quote it: short, and without what a terminal or a log would obey."""
    short = name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]


def _schedule(draft: Draft) -> Iterator[Finding]:
    if not 0 <= draft.priority <= 9:
        yield Finding("priority.range", "priority", f"{draft.priority} is not between 0 (first) and 9", "use 0 to 9")
    if draft.expires_at is not None and draft.not_before is not None and draft.expires_at <= draft.not_before:
        yield Finding(
            "expires_at.before_start",
            "expires_at",
            "the message would expire before it may be sent",
            "let expires_at be later than not_before",
        )
