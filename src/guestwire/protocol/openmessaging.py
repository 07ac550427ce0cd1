"""
Open Messaging: what a guest's side POSTs to the platform, what comes back, and what the platform POSTs to a webhook.

The platform threads by (integration, `channel.from.id`); a conversation is never named by the sender, at most told to
him. `channel.messageId` and `channel.time` are the same on every attempt for a part; nobody has published that a
repeated one is dropped.

Source: models of SDK 269 (`OpenInboundNormalizedMessage` and its kin), the vendor's developer pages on receipts and
outbound messages; the place of `customAttributes` from a vendor's integration guide. `tests/wire/platform_facts.csv`
holds each field with source and confidence.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from guestwire.answers import Answer
from guestwire.model import (
    Accepted,
    Entity,
    GatewayMessageId,
    GuestKey,
    PartBody,
    PartId,
    Profile,
    Receipt,
    RemoteFile,
    Reply,
)
from guestwire.protocol import codec
from guestwire.protocol.frames import (
    Attachment,
    ButtonResponse,
    ChannelMetadata,
    Content,
    Event,
    Message,
    Node,
    StringMap,
)
from guestwire.protocol.platform import evidence_of, json_of
from guestwire.protocol.reading import reply_of, typing_s

#: What a `buttonResponse` may be, by what an answer is. The platform takes no others this way.
ANSWER_TYPES = {"quick_reply": "QuickReply", "button": "Button", "date": "DatePicker"}
#: Header of the signature, and how it begins.
SIGNATURE_HEADER = "X-Hub-Signature-256"
_SIGNATURE_PREFIX = "sha256="
#: What the platform names as reasons why a message was not delivered; it takes no others.
RECEIPT_REASONS = frozenset(
    {
        "MessageExpired",
        "RateLimited",
        "MessageNotAllowed",
        "GeneralError",
        "UnsupportedMessage",
        "UnknownMessage",
        "InvalidMessageStructure",
        "InvalidDestination",
        "ServerError",
        "MediaTypeNotAllowed",
        "InvalidMediaContentLength",
        "RecipientOptedOut",
        "DataFiltered",
    }
)
#: Ids of our parts: UUIDs of version 7. Another sender's id, or one of the platform's own, says nothing about whose
#: message it is, so then its content is compared.
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
#: Types of which we know where they keep what they say.
_KNOWN_TYPES = frozenset({"Text", "Structured", "Event", "Message", None})
#: Messages of a conversation that may be asked for at once.
MAX_BULK = 100
#: So deep a webhook's JSON is read; the deepest that is documented has a dozen levels.
MAX_DEPTH = 100


# --- requests ---


class Sender(Node, frozen=True):
    """Who writes: an id of the sender's own, and what an agent is shown."""

    id: str | None = None
    id_type: str | None = None
    nickname: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    image: str | None = None
    email: str | None = None


class InboundChannel(Node, frozen=True):
    """Between whom, when, and under which id of the sender's."""

    from_: Sender | None = msgspec.field(default=None, name="from")
    to: Sender | None = None
    time: str | None = None
    message_id: str | None = None
    metadata: ChannelMetadata | None = None


class InboundMessage(Node, frozen=True):
    """`inbound/open/message`: text, attachments, or both."""

    channel: InboundChannel | None = None
    text: str | None = None
    content: list[Content] | None = None
    metadata: StringMap | None = None


class InboundAnswer(Node, frozen=True):
    """`inbound/open/structured/response`: one choice out of what a message offered."""

    channel: InboundChannel | None = None
    button_response: ButtonResponse | None = None
    originating_message_id: str | None = None


class InboundEvent(Node, frozen=True):
    """`inbound/open/event`: typing, and nothing else."""

    channel: InboundChannel | None = None
    events: list[Event] | None = None


class Reason(Node, frozen=True):
    """Why something was not delivered; `code` is one of `RECEIPT_REASONS`."""

    code: str | None = None
    message: str | None = None


class InboundReceipt(Node, frozen=True):
    """`inbound/open/receipt`: what became of a message of the platform's."""

    id: str | None = None
    channel: InboundChannel | None = None
    status: str | None = None
    reasons: list[Reason] | None = None
    is_final_receipt: bool | None = None


class Call(msgspec.Struct, frozen=True):
    """A request to the platform API: a path below its base address."""

    method: Literal["GET", "POST"]
    path: str
    body: Any = None
    """What msgspec writes as JSON; None for a GET."""
    query: tuple[tuple[str, str], ...] = ()
    is_listing: bool = False
    """Its answer may be long."""

    @property
    def plain(self) -> Any:
        """The body in dicts and lists, for whoever writes JSON himself."""
        return msgspec.to_builtins(self.body)

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path})"  # not the body


def iso_time(at: float) -> str:
    """Write a time, in seconds since the epoch, as the platform documents it: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Address(msgspec.Struct, frozen=True):
    """Where a guest's messages go in: the integration, and who he is to it."""

    integration_id: str
    guest: GuestKey
    id_type: Literal["Opaque", "Email", "Phone"]

    def __repr__(self) -> str:
        return f"Address({self.integration_id})"  # not the guest


def message_call(where: Address, part_id: PartId, body: PartBody, *, at: float, prefetch: bool) -> Call:
    """
    Write a part as a request.

    Args:
        where: Integration and guest.
        part_id: Goes out as `channel.messageId`.
        body: What to say. An answer goes to a route of its own: anywhere else the platform refuses it.
        at: When the guest said it, in seconds since the epoch; the same on every attempt.
        prefetch: Ask for the conversation's id.
    """
    channel = InboundChannel(
        from_=_sender(where, body.profile),
        time=iso_time(at),
        message_id=part_id,
        metadata=ChannelMetadata(custom_attributes=body.attributes) if body.attributes else None,
    )
    if body.answer is not None:
        answer = InboundAnswer(
            channel=channel, button_response=_button(body.answer), originating_message_id=body.answer.to
        )
        return Call("POST", _route(where, "structured/response"), answer)
    message = InboundMessage(
        channel=channel,
        text=body.text or None,
        content=[Content(attachment=_attachment(file)) for file in body.remote_files] or None,
    )
    query = (("prefetchConversationId", "true"),) if prefetch else ()
    return Call("POST", _route(where, "message"), message, query)


def typing_call(where: Address, *, at: float) -> Call:
    """Write that the guest is typing."""
    event = InboundEvent(
        channel=InboundChannel(from_=_sender(where, None), time=iso_time(at)),
        events=[Event(event_type="Typing")],  # the schema has no more: neither On nor a time
    )
    return Call("POST", _route(where, "event"), event)


def receipt_call(where: Address, reply_id: str, status: str, *, at: float, reason: str | None = None) -> Call:
    """
    Write what became of a message of the platform's.

    Args:
        where: Integration and guest.
        reply_id: The platform's id of the message.
        status: ``Delivered`` or ``Failed``: the platform's desktop shows no others (developer page).
        at: In seconds since the epoch.
        reason: One of `RECEIPT_REASONS`, for ``Failed``.
    """
    receipt = InboundReceipt(
        id=reply_id,
        channel=InboundChannel(to=_sender(where, None), time=iso_time(at)),
        status=status,
        reasons=None if reason is None else [Reason(code=reason, message=reason)],
        is_final_receipt=True,
    )
    return Call("POST", _route(where, "receipt"), receipt)


def _route(where: Address, what: str) -> str:
    return f"/api/v2/conversations/messages/{where.integration_id}/inbound/open/{what}"


def _sender(where: Address, profile: Profile | None) -> Sender:
    sender = Sender(id=where.guest, id_type=where.id_type)
    if profile is None:
        return sender
    return msgspec.structs.replace(
        sender,
        nickname=profile.nickname,
        first_name=profile.first_name,
        last_name=profile.last_name,
        image=profile.image,
        email=profile.email,
    )


def _attachment(file: RemoteFile) -> Attachment:
    kind = file.mime.partition("/")[0]
    return Attachment(
        media_type={"image": "Image", "video": "Video", "audio": "Audio"}.get(kind, "File"),
        url=file.url,
        mime=file.mime,
        filename=file.file_name or None,
        text=file.caption or None,
    )


def _button(answer: Answer) -> ButtonResponse:
    choice = answer.choices[0]
    return ButtonResponse(type=ANSWER_TYPES.get(answer.kind), text=choice.text, payload=choice.payload)


# --- answers ---


def accepted_of(status: int, headers: Mapping[str, str], body: bytes) -> Accepted | None:
    """Read the documented acceptance (200 or 202, the normalized message); None for everything else."""
    parsed = json_of(body) if status in (200, 202) else None
    if parsed is None or not isinstance(parsed.get("id"), str) or not parsed["id"]:
        return None
    channel = parsed.get("channel")
    channel = channel if isinstance(channel, dict) else {}
    at, conversation = channel.get("time"), parsed.get("conversationId")
    return Accepted(
        GatewayMessageId(parsed["id"]),
        # Our own word back: it names the part, not an entry, so it is no second name to be matched.
        at=at if isinstance(at, str) else None,
        source="response",
        conversation_id=conversation if isinstance(conversation, str) and conversation else None,
        evidence=evidence_of(status, headers, None),
    )


# --- looking back ---


def conversation_call(conversation_id: str) -> Call:
    """Ask for a conversation: its participants, and the ids of their messages."""
    return Call("GET", f"/api/v2/conversations/messages/{quote(conversation_id, safe='')}")


def bulk_call(conversation_id: str, ids: Sequence[str]) -> Call:
    """Ask for messages of a conversation, at most `MAX_BULK`."""
    return Call("POST", f"/api/v2/conversations/messages/{quote(conversation_id, safe='')}/messages/bulk", list(ids))


def message_ids_of(raw: Mapping[str, Any]) -> list[str]:
    """Return the ids of a conversation's messages, newest first. Nothing in it is required."""
    found: list[tuple[str, str]] = []
    for participant in _objects(raw.get("participants")):
        for message in _objects(participant.get("messages")):
            name, at = message.get("messageId"), message.get("messageTime")
            if isinstance(name, str) and name:
                found.append((at if isinstance(at, str) else "", name))
    return list(dict.fromkeys(name for _, name in sorted(found, key=lambda pair: pair[0], reverse=True)))


def entities_of(raw: Mapping[str, Any]) -> list[Entity]:
    """Read a listing of messages: those of the guest, newest first."""
    found = [entity for item in _objects(raw.get("entities")) if (entity := entity_of_data(item)) is not None]
    return sorted(found, key=lambda entity: entity.at or "", reverse=True)


def entity_of_data(raw: Mapping[str, Any]) -> Entity | None:
    """Make an entity of a `MessageData` that a guest wrote; None for everything else."""
    normalized = raw.get("normalizedMessage")
    if not isinstance(normalized, dict) or not _is_inbound(raw):
        return None
    message = codec.read(Message, normalized)
    name = raw["id"] if isinstance(raw.get("id"), str) else message.id
    if not name or message.type in ("Event", "Receipt"):
        return None
    channel = message.channel
    ours = (channel.message_id if channel else None, raw.get("providerMessageId"))
    at = raw.get("timestamp")
    marks = [content.attachment.url for content in message.content or () if content.attachment]
    marks += [content.button_response.payload for content in message.content or () if content.button_response]
    return Entity(
        GatewayMessageId(str(name)),
        None,
        message.text,
        at if isinstance(at, str) else channel.time if channel else None,
        # Ours comes back in one of two places: the surest match there is.
        next((PartId(found) for found in ours if isinstance(found, str) and _OURS.fullmatch(found)), None),
        None,
        tuple(sorted(mark for mark in marks if mark)),
        _epoch(channel.time if channel else None),
    )


def _epoch(time: str | None) -> float | None:
    """Read a time of the wire; None for what is none, or names no zone."""
    try:
        parsed = datetime.fromisoformat(time or "")
        return None if parsed.tzinfo is None else parsed.timestamp()
    except (ValueError, OverflowError):
        return None


def _objects(raw: object) -> list[dict[str, Any]]:
    return [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []


# --- the webhook ---


def signature_of(secret: str, body: bytes) -> str:
    """Sign a webhook's body: base64 (not hex) of HMAC-SHA256 over the raw bytes."""
    return _SIGNATURE_PREFIX + b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


def is_signed(secret: str, body: bytes, header: str | None) -> bool:
    """Whether a body carries its right signature; compared in constant time."""
    if header is None:
        return False
    # A header's bytes that are no UTF-8 come as lone surrogates.
    return hmac.compare_digest(signature_of(secret, body).encode(), header.strip().encode("utf-8", "replace"))


class Brought(msgspec.Struct, frozen=True):
    """What a webhook brought, for one guest of one integration."""

    guest: GuestKey
    integration_id: str
    said: Reply | Receipt | float
    """A reply, a receipt for a message of the guest's, or for how many seconds somebody types."""

    def __repr__(self) -> str:
        return f"Brought({type(self.said).__name__})"  # neither guest nor text


class Unreadable(msgspec.Struct, frozen=True):
    """A webhook's body that is none of these; `reason` quotes nothing of it."""

    reason: str


def read_webhook(body: bytes) -> Brought | Unreadable:
    """Read what a webhook brought. Unknown types that name a guest and an id are replies of kind ``other``."""
    raw = json_of(body)
    if raw is None:
        return Unreadable("not a JSON object")
    if _is_deeper(raw, MAX_DEPTH):
        return Unreadable(f"nested more than {MAX_DEPTH} deep")
    message = codec.read(Message, raw)
    channel = raw.get("channel")
    channel = channel if isinstance(channel, dict) else {}
    sender, receiver = _id_in(channel.get("from")), _id_in(channel.get("to"))
    own = _id_in(channel)
    # The channel is the integration; where it is not named, the direction tells the sides apart.
    is_from_guest = receiver == own if own and own in (sender, receiver) else _is_inbound(raw)
    guest, platform = (sender, receiver) if is_from_guest else (receiver, sender)
    integration = platform or own
    if not guest:
        return Unreadable("it names no guest")
    if message.type == "Receipt":
        receipt = _receipt(raw, channel)
        if receipt is None:
            return Unreadable("a receipt without a status or an id")
        return Brought(GuestKey(guest), integration, receipt)
    is_typing = message.type == "Event" and {event.event_type for event in message.events or ()} == {"Typing"}
    if is_typing:  # "off" is no time at all
        return Brought(GuestKey(guest), integration, typing_s(message) or 0.0)
    if is_from_guest:
        return Unreadable("what the guest himself said")
    reply = reply_of(message)
    if reply is not None and message.type not in _KNOWN_TYPES:
        reply = msgspec.structs.replace(reply, kind="other", content=[raw])  # nothing of it is lost
    return Unreadable("an event of no kind") if reply is None else Brought(GuestKey(guest), integration, reply)


def _is_inbound(raw: Mapping[str, Any]) -> bool:
    direction = raw.get("direction")
    return isinstance(direction, str) and direction.lower() == "inbound"


def _is_deeper(raw: object, most: int) -> bool:
    """Whether lists and objects stand in each other more than `most` deep: what is kept must be written again."""
    level = [raw]
    for _ in range(most):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)  # type: ignore[attr-defined]
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _id_in(raw: object) -> str:
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) else ""


def _receipt(raw: Mapping[str, Any], channel: Mapping[str, Any]) -> Receipt | None:
    status, name, ours = raw.get("status"), raw.get("id"), channel.get("messageId")
    if not isinstance(status, str) or not (isinstance(name, str) or isinstance(ours, str)):
        return None
    at = channel.get("time")
    return Receipt(
        status[:40],
        name if isinstance(name, str) else None,
        ours if isinstance(ours, str) else None,
        at if isinstance(at, str) else None,
        tuple(code[:40] for reason in _objects(raw.get("reasons")) if isinstance(code := reason.get("code"), str)),
    )
