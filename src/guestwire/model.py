"""
The words of the house as values: what the rooms hand to each other.

Frozen and cheap to make; docs/glossary.md says what each noun means. Times are seconds since the Unix epoch, UTC,
as floats; durations carry their unit in the name.
"""

from __future__ import annotations

import enum
import mimetypes
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NewType
from urllib.parse import unquote, urlsplit

import msgspec

from guestwire import answers
from guestwire.answers import Answer, Option
from guestwire.errors import Finding, Rejected

#: The caller's word for the end user, as he handed it in. A personal datum: encrypted at rest, never in a log.
GuestKey = NewType("GuestKey", str)
#: Our random name for a guest on a destination, safe to show anywhere.
GuestRef = NewType("GuestRef", str)
MessageId = NewType("MessageId", str)
#: Also the `tracingId` of every attempt for the part.
PartId = NewType("PartId", str)
#: What the platform calls an accepted message (`body.id` of the echo).
GatewayMessageId = NewType("GatewayMessageId", str)


# --- outcomes: what a transport learned about one attempt ---


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The gateway answered for this very message."""

    gateway_id: GatewayMessageId
    channel_message_id: str | None = None
    """The `channel.messageId` of the echo; history may use it in place of `gateway_id`."""
    at: str | None = None
    """The gateway's own time, ISO 8601 as sent; None where it gave none."""
    source: Literal["echo", "history", "response", "receipt"] = "echo"
    conversation_id: str | None = None
    """Where the platform put it, if it said so."""
    evidence: dict[str, Any] = {}
    """For the journal: ids, codes and claims of the answer, such as its correlation id. Never content."""


class Throttled(msgspec.Struct, frozen=True, tag="throttled"):
    """Turned away by a limit, surely not accepted; costs no attempt."""

    scope: Literal["session", "connection", "deployment", "destination"]
    retry_after_s: float
    reason: str = ""
    evidence: dict[str, Any] = {}


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The gateway said no, and would say it again: never retried."""

    code: int
    reason: str
    evidence: dict[str, Any] = {}


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Surely not accepted, and another attempt may succeed."""

    reason: str
    code: int | None = None
    evidence: dict[str, Any] = {}
    retry_after_s: float = 0.0
    """The far side asks for at least this pause."""


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """Bytes left, and nothing proves whether the gateway took them."""

    reason: str
    evidence: dict[str, Any] = {}


Outcome = Accepted | Throttled | Refused | Failed | Unknown

TransportName = Literal["webmessaging", "openmessaging", "rest-contract"]


# --- states ---


class PartState(enum.StrEnum):
    """
    Where a part stands. Each line says what happens next.

    Only `delivered`, `read` and `failed` need a far side that reports receipts; web messaging reports none.
    """

    QUEUED = "queued"
    """Committed to disk; the relay sends it when its lane is free and every limit admits it."""
    SENDING = "sending"
    """An attempt is on its way; its outcome, or a restart, moves it on."""
    CHECKING = "checking"
    """The last attempt has an unknown outcome; the guest's history is read before anything is sent again."""
    PARKED = "parked"
    """Waits for a person: release or cancel."""
    ACCEPTED = "accepted"
    """The gateway's word. The end on web messaging."""
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    """Accepted, and reported undeliverable afterwards."""
    DEAD = "dead"
    """Given up, with the reason."""
    EXPIRED = "expired"
    """Older than the caller wanted it to be before it could be sent."""
    CANCELLED = "cancelled"


#: Why a part waits for a person: a rule wants one to look, nobody takes it, or nobody can say whether it was taken.
ParkedFor = Literal["policy", "poison", "unknown"]

#: A lane stands still behind a part in one of these.
OPEN_STATES = frozenset({PartState.QUEUED, PartState.SENDING, PartState.CHECKING, PartState.PARKED})
#: The gateway has taken the part.
TAKEN_STATES = frozenset({PartState.ACCEPTED, PartState.DELIVERED, PartState.READ, PartState.FAILED})


class SessionState(enum.StrEnum):
    """What we know of a guest's session at the gateway between connections."""

    NONE = "none"
    """Never configured."""
    LIVE = "live"
    READ_ONLY = "read_only"
    """The agent's side ended the conversation; the next message starts a new one."""
    EVICTED = "evicted"
    """The gateway closed us in favour of another connection of this session; the lane is paused."""
    LOGGED_OUT = "logged_out"


class Delivery(enum.StrEnum):
    """What becomes of a part whose unknown outcome no history could settle."""

    AT_LEAST_ONCE = "at_least_once"
    """Send it again: it may be seen twice, and the journal says so."""
    AT_MOST_ONCE = "at_most_once"
    """Park it: a person decides."""


# --- intake ---


class Attachment(msgspec.Struct, frozen=True):
    """A file that goes with a message."""

    name: str
    """With its extension, which the gateway demands."""
    content: bytes
    type: str = ""
    """MIME type; empty: by the extension."""

    def __post_init__(self) -> None:
        _require_text(self, "attachments", ("name", "type"))
        if type(self.content) is not bytes:
            problem = f"is of type {type(self.content).__name__}, and must be bytes"
            raise Rejected([Finding("file.type", "attachments.content", problem, "convert it with bytes()")])

    def __repr__(self) -> str:
        return f"Attachment({len(self.content)} bytes)"  # a name may be as personal as a text

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Attachment:
        """
        Read a file.

        Raises:
            OSError: It cannot be read.
        """
        file = Path(path)
        return cls(file.name, file.read_bytes())

    @property
    def mime(self) -> str:
        """The type to declare: as given, else by the extension."""
        return self.type or mime_of(self.name)


_OFFICE = "application/vnd.openxmlformats-officedocument."
#: What Python's own table lacks: with it alone, the type of a file depends on whether the machine has /etc/mime.types.
_MIMES = {
    ".opus": "audio/ogg",  # as the vendor's client has it
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".ogv": "video/ogg",
    ".flac": "audio/flac",
    ".amr": "audio/amr",
    ".rtf": "application/rtf",
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".log": "text/plain",
    ".ics": "text/calendar",
}


def mime_of(name: str) -> str:
    """Return the MIME type for a file's extension."""
    known = _MIMES.get(Path(name.lower()).suffix)
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _require_text(struct: msgspec.Struct, path: str, names: Sequence[str]) -> None:
    """A number where a text belongs would be stored, and could not be read any more."""
    for name in names:
        value = getattr(struct, name)
        if value is not None and type(value) is not str:
            problem = f"is of type {type(value).__name__}, and must be text"
            raise Rejected([Finding(f"{path}.type", f"{path}.{name}", problem, "convert it with str()")])


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that the platform fetches by itself, from an address that it can reach. REST ways out alone take these."""

    url: str
    """Public, or signed for long enough to be fetched when the message's turn has come."""
    name: str = ""
    type: str = ""
    """MIME type; empty: by the extension of `name`, or of the address."""
    size: int | None = None
    """In bytes, as the caller says: nobody here reads the file."""
    caption: str = ""

    def __post_init__(self) -> None:
        _require_text(self, "attachments", ("url", "name", "type", "caption"))
        if self.size is not None and (type(self.size) is not int or not 0 <= self.size < 2**63):
            raise Rejected([Finding("file.size", "attachments.size", "is no number of bytes", "give it in bytes")])

    def __repr__(self) -> str:
        return f"RemoteFile({self.size} bytes)"  # an address may be as secret as what lies there

    @property
    def file_name(self) -> str:
        """Its name: as given, else the last part of the address."""
        if self.name:
            return self.name
        try:
            return unquote(urlsplit(self.url).path.rpartition("/")[2])
        except ValueError:  # no address: whether it is one is decided elsewhere
            return ""

    @property
    def mime(self) -> str:
        """The type to declare: as given, else by the extension."""
        return self.type or mime_of(self.file_name)


class Profile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent is shown of the guest. Open Messaging alone carries it."""

    nickname: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    image: str | None = None
    """Address of a picture."""

    def __post_init__(self) -> None:
        _require_text(self, "profile", self.__struct_fields__)

    def __repr__(self) -> str:
        return "Profile(***)"  # all of it is personal


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the caller handed it in, before anything has been decided about it."""

    destination: str
    guest: GuestKey
    text: str = ""
    answer: Answer | None = None
    """A structured answer; its own text goes out in place of `text`."""
    attachments: tuple[Attachment, ...] = ()
    remote_files: tuple[RemoteFile, ...] = ()
    attributes: dict[str, str] = {}
    profile: Profile | None = None
    content_type: Literal["text/plain", "text/html"] = "text/plain"
    """Of the text; the tutorial contract alone knows more than plain text."""
    conversation: str | None = None
    """Where it belongs; the tutorial contract alone is told. Everywhere else the platform decides by the guest."""
    read_receipt: bool | None = None
    """Ask for a receipt (tutorial contract), and report every reply to this guest as delivered by itself (Open
    Messaging); None: as the destination says."""
    key: str | None = None
    """Idempotency key, unique within the destination: the same key and payload twice is one message."""
    not_before: float | None = None
    """When the message enters its guest's lane; None: at once."""
    expires_at: float | None = None
    priority: int = 5
    """0 (first) to 9, between lanes; inside a lane order of entry rules."""
    delivery: Delivery | None = None
    """None: as the destination says."""

    def __post_init__(self) -> None:
        wrong = [name for name, fits in _DRAFT.items() if not fits(getattr(self, name))]
        if wrong:
            raise Rejected(
                [
                    Finding(
                        "draft.type",
                        name,
                        f"cannot be this value of type {type(getattr(self, name)).__name__}",
                        "see guestwire.Draft; guestwire.Message converts what it can",
                    )
                    for name in wrong
                ]
            )

    def __repr__(self) -> str:
        return f"Draft(to {self.destination!r}, {len(self.text)} characters)"  # neither text nor guest


def _is_text(value: object) -> bool:
    """Text itself: what is derived from it cannot be stored."""
    return type(value) is str


def _is_text_or_none(value: object) -> bool:
    return value is None or type(value) is str


def is_moment_or_none(value: object) -> bool:
    """Of the years that a calendar has; neither NaN nor a switch."""
    return value is None or (type(value) in (float, int) and _FIRST_MOMENT <= value < _PAST_MOMENT)  # type: ignore[operator]


def _is_answer_or_none(value: object) -> bool:
    """With everything in it: it may have been made by hand."""
    if value is None:
        return True
    try:
        return isinstance(value, Answer) and msgspec.convert(msgspec.to_builtins(value), Answer) == value
    except (msgspec.ValidationError, TypeError, RecursionError):
        return False


#: The year 1 begins, and the year 9999 has ended, in seconds since the epoch.
_FIRST_MOMENT, _PAST_MOMENT = -62_135_596_800, 253_402_300_800
#: What the fields of a draft can be. A type checker says the same; whoever has none must not hear of it from the store.
_DRAFT: dict[str, Callable[[Any], bool]] = {
    "destination": _is_text,
    "guest": _is_text,
    "text": _is_text,
    "answer": _is_answer_or_none,
    "attachments": lambda value: isinstance(value, tuple) and all(isinstance(one, Attachment) for one in value),
    "remote_files": lambda value: isinstance(value, tuple) and all(isinstance(one, RemoteFile) for one in value),
    "attributes": lambda value: (
        isinstance(value, dict) and all(type(name) is str and type(one) is str for name, one in value.items())
    ),
    "profile": lambda value: value is None or isinstance(value, Profile),
    "content_type": lambda value: isinstance(value, str) and value in ("text/plain", "text/html"),
    "conversation": _is_text_or_none,
    "read_receipt": lambda value: value is None or isinstance(value, bool),
    "key": _is_text_or_none,
    "not_before": is_moment_or_none,
    "expires_at": is_moment_or_none,
    "priority": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "delivery": lambda value: value is None or isinstance(value, Delivery),
}


class Ticket(msgspec.Struct, frozen=True):
    """What the caller gets for a message that is committed to disk."""

    message_id: MessageId
    part_ids: tuple[PartId, ...]
    guest_ref: GuestRef
    fresh: bool = True
    """False when the idempotency key was known: nothing was stored, this is the ticket of then."""
    destination: str = ""
    """Where it goes; empty in a ticket that was made without it."""
    findings: tuple[Finding, ...] = ()
    """What our rules say of it that is no reason to reject it: a warning, a mask, or why it waits for a person."""


class File(msgspec.Struct, frozen=True):
    """What is known of a part's file; its bytes lie in the store under `digest`."""

    digest: str
    name: str
    type: str
    size: int

    def __repr__(self) -> str:
        return f"File({self.digest}, {self.size} bytes)"  # not the name


class PartBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a part is encrypted at rest: the content to put on the wire."""

    text: str = ""
    attributes: dict[str, str] = {}
    answer: Answer | None = None
    file: File | None = None
    remote_files: tuple[RemoteFile, ...] = ()
    profile: Profile | None = None
    content_type: Literal["text/plain", "text/html"] = "text/plain"
    conversation: str | None = None
    read_receipt: bool = False

    def __repr__(self) -> str:
        return f"PartBody({len(self.text)} characters)"  # not the text


# --- what comes back ---


class ReceivedFile(msgspec.Struct, frozen=True):
    """A file that the platform sent, as its reply names it. Its address lives ten minutes: see `GuestWire.fetch`."""

    id: str | None
    name: str
    type: str
    size: int | None
    url: str | None

    def __repr__(self) -> str:
        return f"ReceivedFile({self.id}, {self.size} bytes)"  # neither name nor address


def _received(raw: dict[str, Any]) -> ReceivedFile:
    def text(key: str) -> str | None:
        value = raw.get(key)
        return value if isinstance(value, str) else None

    size = raw.get("fileSize", raw.get("contentSizeBytes"))
    return ReceivedFile(
        text("id"),
        text("filename") or "",
        text("mime") or "",
        int(size) if isinstance(size, int | float) and 0 <= size < 2**53 else None,
        text("url"),
    )


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the platform sent to a guest.

    `kind` follows the content: ``text``, ``structured``, ``presence`` or ``other``; ``unreadable`` where the store's
    row does not open any more. Typing is live only and never stored. `content` and `events` hold the wire's JSON as it
    came, so that nothing unknown is lost.
    """

    gateway_id: GatewayMessageId
    kind: Literal["text", "structured", "typing", "presence", "other", "unreadable"]
    text: str | None = None
    at: str | None = None
    """The gateway's time, ISO 8601 as sent. May be absent, and orders nothing."""
    author: Literal["Human", "Bot", ""] = ""
    nickname: str | None = None
    content: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    metadata: dict[str, Any] = {}
    source: Literal["live", "history"] = "live"
    guest_ref: GuestRef = GuestRef("")
    """Filled in by the store."""
    seq: int = 0
    """Place in the store's list of replies, in order of arrival; filled in by the store."""
    received_at: float = 0.0
    """When it was stored, in seconds since the epoch; filled in by the store."""
    late: bool = False
    """It is older, by the gateway's time, than one that was handed out before it."""

    def __repr__(self) -> str:
        return f"Reply({self.kind}, seq {self.seq}, {self.gateway_id})"  # not the content

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be chosen: quick replies, actions of cards, times, items of a list, fields of a form."""
        return answers.offered(self.content)

    def answer(self, chosen: int | str | Option | Sequence[int | str | Option] | Mapping[str, str]) -> Answer:
        """
        Make the guest's answer.

        Args:
            chosen: A number from 1, a label or payload, or one of `options`; several of them for a list; for a form
                the values by field.

        Raises:
            Rejected: The reply offers no such thing, or a form lacks a required field.
        """
        return answers.answer(self.gateway_id, self.content, chosen)

    @property
    def attachments(self) -> tuple[ReceivedFile, ...]:
        """Files that came with it."""
        found = [item["attachment"] for item in self.content if isinstance(item.get("attachment"), dict)]
        return tuple(_received(raw) for raw in found)


class Entity(msgspec.Struct, frozen=True):
    """An inbound entry of a guest's history, as far as a check needs it."""

    gateway_id: GatewayMessageId
    channel_message_id: str | None
    text: str | None
    at: str | None
    part_id: PartId | None
    """From `metadata.id`, where history gives our metadata back (unknown whether production does)."""
    attempt: int | None = None
    marks: tuple[str, ...] = ()
    """Ids of its attachments and payloads of its answers, sorted: what tells it apart where there is no text."""
    said_at: float | None = None
    """When its sender says that it was said, in seconds since the epoch; None where he is not asked."""

    def __repr__(self) -> str:
        return f"Entity({self.gateway_id})"  # not the text

    def is_called(self, name: str | None) -> bool:
        """Whether either of its two names is this one."""
        return name is not None and name in (self.gateway_id, self.channel_message_id)


class Receipt(msgspec.Struct, frozen=True):
    """What a far side reports about a message that it was given. Found by either name."""

    status: str
    """As the wire has it, such as ``Delivered``; the four that move a part are in `RECEIPT_STATES`."""
    gateway_id: str | None
    channel_message_id: str | None
    """Ours: the part's id, where the wire carries one."""
    at: str | None = None
    reasons: tuple[str, ...] = ()
    """Codes of the wire, such as ``MessageExpired``."""


#: What a receipt makes of an accepted part, by its status in lower case. ``Sent`` and ``Published`` say no more than
#: that the platform has it.
RECEIPT_STATES = {
    "delivered": PartState.DELIVERED,
    "read": PartState.READ,
    "failed": PartState.FAILED,
    "undeliverable": PartState.FAILED,
}


# --- errands: what is done for a guest at the gateway that is no message ---


class Auth(msgspec.Struct, frozen=True):
    """Tokens of a guest who has signed in. Secrets."""

    jwt: str
    refresh_token: str | None = None
    errand: int | None = None
    """The sign-in that brought them: its code is good for one use."""

    def __repr__(self) -> str:
        return "Auth(***)"


ErrandKind = Literal["join", "close", "clear", "start_new", "sign_in", "sign_out", "download", "receipt"]


class Errand(msgspec.Struct, frozen=True):
    """
    Something to be done for a guest at the gateway. It has its turn among the guest's messages.

    `body` by kind: ``join`` attributes, ``close`` everywhere, ``sign_in`` what the exchange wants, ``download`` id,
    ``receipt`` reply, status and reason.
    """

    seq: int
    kind: ErrandKind
    body: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Errand({self.kind}, {self.seq})"  # not the body: it may hold a code or attributes


# --- facts about a guest that a transport learns and the store keeps ---


class SessionChanged(msgspec.Struct, frozen=True):
    """Something the next process has to know about a guest's session. `event` is a name of the journal."""

    guest_ref: GuestRef
    state: SessionState
    event: str
    expires_at: float | None = None
    token: str | None = None
    detail: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"SessionChanged({self.guest_ref}, {self.event})"  # not the token


class AuthChanged(msgspec.Struct, frozen=True):
    """The guest has signed in, or out (None), or his tokens were renewed."""

    guest_ref: GuestRef
    auth: Auth | None


class CaughtUp(msgspec.Struct, frozen=True):
    """Whatever was said to the guest up to now has been told."""

    guest_ref: GuestRef


# --- journal ---


class JournalEntry(msgspec.Struct, frozen=True):
    """One change of state, as every sink reads it."""

    seq: int
    at: float
    event: str
    """A name of docs/journal.md, such as ``part.accepted``."""
    guest_ref: GuestRef | None
    part_id: PartId | None
    detail: dict[str, Any]
    """Ids, codes, reasons and durations. Never text, never a secret, never the caller's guest key."""


class IdMaker:
    """
    Makes UUIDs version 7 that rise: a later id of one maker is greater than an earlier one, also within a millisecond.

    Args:
        random_bytes: The operating system's source.

    Source: RFC 9562, sections 5.7 and 6.2 (method 2: a random number that is counted up within one millisecond).
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._millisecond = -1
        self._random = 0

    def __call__(self, now: float) -> str:
        """Make one. `now` in seconds since the Unix epoch."""
        millisecond = int(now * 1000) & 0xFFFF_FFFF_FFFF
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            # Two bits fewer than there is room for: counting up cannot overflow within a millisecond.
            self._random = int.from_bytes(self._random_bytes(9), "big")
        else:
            self._random += 1 + self._random_bytes(1)[0]
        high = 0x7000 | (self._random >> 62)
        low = 0x8000_0000_0000_0000 | (self._random & 0x3FFF_FFFF_FFFF_FFFF)
        digits = f"{self._millisecond:012x}{high & 0x7FFF:04x}{low:016x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
