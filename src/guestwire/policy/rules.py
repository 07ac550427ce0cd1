"""
What may be accepted at all: pure rules over a draft, all findings at once. How long a text may be is for `split`.

The limits are the gateway's, as far as they are published; each is a setting, because numbers change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from guestwire.errors import Finding
from guestwire.model import Draft
from guestwire.settings import Limits

#: Longest guest key and idempotency key, in characters; ours. A key is a name, not a document.
MAX_KEY = 512
#: Extensions that production was seen to refuse under every type (medium; a part of its list). The live session's own
#: list is asked before a file is uploaded.
BLOCKED_EXTENSIONS = frozenset({".ade", ".bat", ".exe", ".js", ".ps1"})
#: So much of an attribute's name is quoted in an error.
MAX_SHOWN = 64


def check_draft(draft: Draft, limits: Limits) -> tuple[Finding, ...]:
    """Return everything that is wrong with a message. Empty: it may be accepted."""
    return (
        *_guest(draft),
        *_content(draft, limits),
        *_files(draft, limits),
        *_attributes(draft.attributes, limits),
        *_schedule(draft),
    )


def check_file(name: str, size: int, *, max_kb: float, blocked: Collection[str]) -> Iterator[Finding]:
    """
    Say what is wrong with a file for a session that takes so much.

    Args:
        name: With its extension.
        size: In bytes.
        max_kb: In kilobytes of 1,000 bytes, as the vendor's client counts them: the remainder does not count.
        blocked: Extensions with their dot, in lower case.
    """
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or not extension:
        yield Finding(
            "file.no_extension", "attachments", "the file's name has no extension", "give it one, as in a.pdf"
        )
    elif f".{extension.lower()}" in blocked:
        shown = _shown(extension.lower())
        yield Finding(
            "file.blocked", "attachments", f"the platform takes no .{shown} files", "send it in another format"
        )
    if not size:
        yield Finding("file.empty", "attachments", "the file is empty", "check how it was made")
    elif size // 1000 > max_kb:
        yield Finding(
            "file.too_large",
            "attachments",
            f"{size // 1000} kB are more than the gateway takes ({max_kb:.0f})",
            "make it smaller, or send a link to it",
        )


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
    yield from check_characters(path, value)


def check_characters(path: str, value: str) -> Iterator[Finding]:
    """Say what is wrong with a text's characters: those that no gateway takes."""
    if "\x00" in value:
        yield Finding("text.nul", path, "holds a NUL character", "remove it; the gateway refuses it")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        yield Finding(
            "text.surrogate",
            path,
            "holds half of a surrogate pair, which is no character",
            "decode the source with the encoding it was written in",
        )


def _content(draft: Draft, limits: Limits) -> Iterator[Finding]:
    answer = draft.answer
    if answer is not None:
        if draft.text:
            yield Finding("answer.and_text", "text", "an answer has its own text", "send the text as another message")
        for choice in answer.choices:
            yield from check_characters("answer", choice.text + choice.payload)
        size = sum(len((choice.text + choice.payload).encode("utf-8", "replace")) for choice in answer.choices)
        if size > limits.max_text * 2 or not answer.choices:
            what = f"{size} bytes are more than an answer may have" if answer.choices else "the answer chooses nothing"
            yield Finding("answer.size", "answer", what, "answer with one of the reply's options")
    elif draft.text.strip() or not (draft.attachments or draft.remote_files):
        yield from _text(draft.text)


def _files(draft: Draft, limits: Limits) -> Iterator[Finding]:
    files = len(draft.attachments) + len(draft.remote_files)
    if files > limits.max_attachments:
        yield Finding(
            "attachments.too_many",
            "attachments",
            f"{files} files are more than a message carries ({limits.max_attachments})",
            "send each with a message of its own",
        )
    if draft.answer is not None and files:
        yield Finding("answer.and_file", "attachments", "an answer carries no file", "send it with another message")


def _text(text: str) -> Iterator[Finding]:
    if not text.strip():
        yield Finding("text.empty", "text", "the text is empty", "send at least one visible character")
        return
    yield from check_characters("text", text)


def _attributes(attributes: dict[str, str], limits: Limits) -> Iterator[Finding]:
    for name, value in attributes.items():
        if not name:
            yield Finding("attributes.name_empty", "attributes", "an attribute has no name", "name it, or leave it out")
        path = f"attributes.{_shown(name)}"
        yield from check_characters(path, name)
        yield from check_characters(path, value)
    yield from check_attributes(attributes, limits.max_attributes_bytes)


def check_attributes(attributes: dict[str, str], most: int) -> Iterator[Finding]:
    """Say what is wrong with attributes for a session that takes so many bytes of names and values."""
    size = sum(len(text.encode("utf-8", "replace")) for pair in attributes.items() for text in pair)
    if size > most:
        yield Finding(
            "attributes.too_large",
            "attributes",
            f"{size} bytes of names and values are more than the gateway takes ({most})",
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
