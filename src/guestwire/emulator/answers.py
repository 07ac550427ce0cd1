"""What the platform answers: pure builders of bodies and frames, and pages of a history."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.records import Entry, Session
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol import codec
from guestwire.protocol.frames import (
    AllowedMedia,
    Attachment,
    Body,
    Channel,
    Content,
    Echo,
    FileType,
    FileUploadMode,
    Frame,
    GetConfigurationResponse,
    Message,
    Recipient,
    SessionResponse,
)


def encode(
    body: Body, tracing_id: str | None, type_: str = "message", *, class_: str = "StructuredMessage", code: int = 200
) -> bytes:
    """Encode a frame once, for however many connections."""
    return codec.encode_frame(Frame(type=type_, class_=class_, code=code, body=body, tracing_id=tracing_id))


def session_response(
    settings: EmulatorSettings, session: Session, *, is_new: bool, stepped_up: bool
) -> SessionResponse:
    """Answer a configure."""
    return SessionResponse(
        connected=True,
        new_session=is_new,
        read_only=session.read_only,
        cleared_existing_session=True if stepped_up else None,
        allowed_media=_allowed_media(settings),
        blocked_extensions=list(settings.blocked_extensions),
        max_custom_data_bytes=settings.max_attributes_bytes,
        duration_seconds=settings.session_duration_s,
        expiration_date=int(session.expires_at),
    )


def closed_response(settings: EmulatorSettings) -> SessionResponse:
    """Answer a closeSession: as in the vendor's fixture, `newSession: true` included."""
    return SessionResponse(
        connected=False,
        new_session=True,
        read_only=True,
        max_custom_data_bytes=settings.max_attributes_bytes,
        cleared_existing_session=False,
    )


def configuration(settings: EmulatorSettings) -> GetConfigurationResponse:
    """Answer a getConfiguration."""
    return GetConfigurationResponse(
        allowed_media=_allowed_media(settings),
        blocked_extensions=list(settings.blocked_extensions),
        max_custom_data_bytes=settings.max_attributes_bytes,
        message_routing_enabled=True,
        session_duration_seconds=settings.session_duration_s,
    )


def _allowed_media(settings: EmulatorSettings) -> AllowedMedia:
    if not settings.attachments_enabled:
        return AllowedMedia()
    types = [FileType(type=name) for name in settings.allowed_file_types]
    return AllowedMedia(inbound=FileUploadMode(file_types=types, max_file_size_kb=settings.max_file_kb))


def health(settings: EmulatorSettings, session: Session, request: Echo) -> Message:
    """Answer a health check; its numbers are strings, as in the vendor's fixture."""
    text = request.message.text if request.message else None
    timing = {"durationSeconds": str(settings.session_duration_s), "expirationDate": str(int(session.expires_at))}
    return Message(id="echo_id", type="Text", direction="Inbound", text=text or "ping", metadata=timing)


def inbound(
    message: Message, session: Session, draws: Draws, now: float, attachments: Iterable[Attachment] = ()
) -> Message:
    """Make of what a guest sent what the platform shows of it."""
    others = [content for content in message.content or () if content.content_type != "Attachment"]
    content = [Content(content_type="Attachment", attachment=attachment) for attachment in attachments] + others
    metadata = {**(message.metadata or {}), "correlationId": draws.uuid()}
    if session.authenticated:
        metadata["authenticated"] = "true"
    return Message(
        id=draws.hex32(),
        type=message.type or "Text",
        direction="Inbound",
        text=message.text,
        channel=Channel(time=iso_time(now), message_id=draws.uuid(), type="Private"),
        content=content or None,
        events=message.events,
        metadata=metadata,
    )


def outbound(body: Message, author: str, nickname: str | None, draws: Draws, now: float) -> Message:
    """Make of what the agent's side says what the guest sees. No `channel.messageId`: real Outbound has none."""
    return msgspec.structs.replace(
        body,
        id=draws.hex32(),
        direction="Outbound",
        channel=Channel(
            time=iso_time(now),
            type="Private",
            from_=Recipient(nickname=nickname) if nickname else Recipient(),
            to=Recipient(),
        ),
        metadata={**(body.metadata or {}), "correlationId": draws.uuid()},
        originating_entity=author,
    )


def history_page(
    settings: EmulatorSettings,
    session: Session,
    *,
    page_size: int,
    page_number: int,
    now: float,
    keep: int | None = None,
) -> dict[str, Any]:
    """
    Return a page of a history, newest first.

    Args:
        settings: For the lag, and whether metadata comes back.
        session: Whose.
        page_size: Entries per page.
        page_number: 1 is the newest. Pages are cut from the list as it is now: new entries shift them.
        now: What came in less than `history_lag_s` before it is not there yet.
        keep: A fault: the history ends after so many entries.
    """
    horizon = now - settings.history_lag_s
    newest_first = reversed(session.history)
    fresh = sum(1 for _ in itertools.takewhile(lambda entry: entry.received_at > horizon, newest_first))
    total = len(session.history) - fresh
    if keep is not None:
        total = min(total, keep)
    first = min((page_number - 1) * page_size, total)
    last = min(first + page_size, total)
    chosen = itertools.islice(reversed(session.history), fresh + first, fresh + last)
    return {
        "entities": [_entity(settings, entry) for entry in chosen],
        # 0 for an empty history, as in the vendor's fixture.
        "pageSize": page_size if total else 0,
        "pageNumber": page_number,
        "total": total,
        "pageCount": -(-total // page_size),
    }


def _entity(settings: EmulatorSettings, entry: Entry) -> dict[str, Any]:
    body = codec.write(entry.body)
    body.setdefault("content", [])
    if body["direction"] == "Inbound" and not settings.history_returns_metadata:
        body.pop("metadata", None)
    return body
