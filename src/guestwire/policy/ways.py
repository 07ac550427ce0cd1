"""
What each way out can carry: the rules that depend on where a message goes.

A field that a way out has no place for is a finding, not silence: whoever set it believed that it would arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guestwire.errors import Finding
from guestwire.model import Draft
from guestwire.policy.links import check_link
from guestwire.policy.media import check_media, rules_of
from guestwire.policy.rules import check_characters, check_draft
from guestwire.settings import Destination, FileSettings, Limits

_FILES = FileSettings()
#: Longest caption, name, id of a conversation and part of a profile, in characters. Ours: nobody publishes one.
MAX_WORDS = 1024
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
#: What Open Messaging takes answers to; a list or a form it offers by other ways alone.
ANSWERABLE = ("quick_reply", "button", "date")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+")
#: E.164, as the vendor's samples write numbers.
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


def check_message(
    draft: Draft,
    destination: Destination,
    now: float,
    *,
    with_links: bool = True,
    files: FileSettings = _FILES,
) -> tuple[Finding, ...]:
    """
    Return everything that is wrong with a message for its destination. Empty: it may be accepted.

    Args:
        draft: The message.
        destination: Where it goes.
        now: Seconds since the epoch; a signed address has to be good for long enough.
        with_links: Look at addresses of files too; False for a message that is stored already.
        files: What files may be.
    """
    way = {"webmessaging": _sessions, "openmessaging": _open_messaging, "rest-contract": _contract}
    return (
        *check_draft(draft, destination.limits),
        *(_attachments(draft, destination.limits, files) if draft.attachments else ()),
        *_words(draft),
        *way[destination.transport](draft, destination),
        *(_links(draft, destination, now) if with_links and not destination.has_sessions else ()),
    )


def _attachments(draft: Draft, limits: Limits, files: FileSettings) -> Iterator[Finding]:
    rules = rules_of(limits, files)
    for number, attachment in enumerate(draft.attachments):
        path = "attachments" if len(draft.attachments) == 1 else f"attachments[{number}]"
        yield from check_media(attachment, rules, path=path)


def _words(draft: Draft) -> Iterator[Finding]:
    """Say what is wrong with the texts beside the text: nothing bounds them on the wire."""
    named = {"conversation": draft.conversation}
    if draft.profile is not None:
        named |= {f"profile.{name}": getattr(draft.profile, name) for name in draft.profile.__struct_fields__}
    for number, file in enumerate(draft.remote_files):
        named |= {f"attachments[{number}].{name}": getattr(file, name) for name in ("name", "type", "caption")}
    for path, value in named.items():
        if not value:
            continue
        yield from check_characters(path, value)
        if len(value) > MAX_WORDS:
            yield Finding(
                "words.too_long", path, f"{len(value)} characters are more than {MAX_WORDS}", "write it shorter"
            )
    for file in draft.remote_files:
        yield from check_characters("attachments", file.url)
        if not _MIME.fullmatch(file.mime):
            yield Finding("file.type", "attachments", "the type is no MIME type", "such as image/png")


def _sessions(draft: Draft, destination: Destination) -> Iterator[Finding]:
    for _ in draft.remote_files:
        yield Finding(
            "file.by_address",
            "attachments",
            "web messaging takes a file's content, not its address",
            "read the file and attach it, or put the address into the text",
        )
    if draft.profile is not None:
        yield _no_place("profile", "web messaging", "send it as custom attributes")
    yield from _plain_only(draft, "web messaging")


def _open_messaging(draft: Draft, destination: Destination) -> Iterator[Finding]:
    wanted = {"Email": (_EMAIL, "an e-mail address"), "Phone": (_PHONE, "a number such as +13175550199")}
    pattern, words = wanted.get(destination.id_type, (None, ""))
    if pattern is not None and not pattern.fullmatch(draft.guest):
        yield Finding(
            "guest.id_type",
            "guest",
            f"the guest's key is not {words}, and id_type is {destination.id_type}",
            "name the guest by it, or set id_type to Opaque",
        )
    answer = draft.answer
    if answer is not None and (answer.kind not in ANSWERABLE or len(answer.choices) != 1):
        yield Finding(
            "answer.kind",
            "answer",
            f"Open Messaging takes no answer to a {answer.kind}",
            "say it as a text",
        )
    elif answer is not None and answer.to is None:
        yield Finding(
            "answer.to", "answer", "it does not say which message it answers", "make it with the reply's 'answer'"
        )
    yield from _plain_only(draft, "Open Messaging")
    yield from _remote_files(draft, destination)


def _contract(draft: Draft, destination: Destination) -> Iterator[Finding]:
    if not (draft.conversation or "").strip():
        yield Finding(
            "conversation.missing",
            "conversation",
            "the tutorial contract wants to be told the conversation",
            "set 'conversation' to its id",
        )
    for name, value in (("answer", draft.answer), ("profile", draft.profile), ("attributes", draft.attributes)):
        if value:
            yield _no_place(name, "the tutorial contract", "leave it out, or use Open Messaging")
    yield from _remote_files(draft, destination)
    for file in draft.remote_files:
        if file.size is None:
            yield Finding(
                "link.no_size", "attachments", "the tutorial contract wants a file's size", "give 'size' in bytes"
            )


def _plain_only(draft: Draft, way: str) -> Iterator[Finding]:
    if draft.content_type != "text/plain":
        yield Finding(
            "content_type.not_here", "content_type", f"{way} knows plain text alone", "send the text without markup"
        )
    if draft.conversation is not None:
        yield _no_place("conversation", way, "leave it out: the platform finds the conversation by the guest")


def _no_place(name: str, way: str, fix: str) -> Finding:
    return Finding(f"{name}.not_here", name, f"{way} has no place for it", fix)


def _remote_files(draft: Draft, destination: Destination) -> Iterator[Finding]:
    for _ in draft.attachments:
        yield Finding(
            "file.by_content",
            "attachments",
            "this way out takes a file's address, and the platform fetches it",
            "put the file where the platform can fetch it and give a RemoteFile with its url",
        )
    limits = destination.limits
    for file in draft.remote_files:
        if limits.media_types and file.mime not in limits.media_types:
            yield Finding(
                "file.type",
                "attachments",
                f"the type {file.mime[:64]!a} is none that is taken",
                f"one of {', '.join(limits.media_types)}",
            )
        if file.size is not None and not 0 <= file.size // 1000 <= limits.max_file_kb:
            yield Finding(
                "file.too_large",
                "attachments",
                f"{file.size // 1000} kB are more than the platform takes ({limits.max_file_kb})",
                "make it smaller",
            )


def _links(draft: Draft, destination: Destination, now: float) -> Iterator[Finding]:
    for file in draft.remote_files:
        yield from check_link(file, allow=destination.allow_links, now=now, min_life_s=destination.min_link_life_s)
