"""
What a guest wants to say, in the frames of the wire.

Structured answers are written as the vendor's browser client writes them (messenger 2.18.0, live-tested by a third
party); for dates its encoding carries no top-level text. The emulator and the platform accept the mobile client's as
well. Custom attributes go out in the nested form alone: the platform ignores the top-level one since 2026-06-05.
"""

from __future__ import annotations

from guestwire.answers import Answer, Choice
from guestwire.model import PartBody, PartId
from guestwire.protocol.frames import (
    Attachment,
    ButtonResponse,
    Channel,
    ChannelMetadata,
    Content,
    Event,
    Form,
    FormAnswer,
    FormAnswerComponent,
    Message,
    Presence,
    Typing,
)

_BUTTON_TYPES = {
    "quick_reply": "QuickReply",
    "button": "Button",
    "date": "DatePicker",
    "list": "ListPicker",
    "form": "Form",
}


def message_of(part_id: PartId, body: PartBody, *, attempt: int, upload_id: str | None = None) -> Message:
    """
    Write a part as a message.

    Args:
        part_id: Goes into the metadata, with the attempt: the echo gives both back.
        body: What to say.
        attempt: Number of the attempt.
        upload_id: The uploaded file that goes with it.
    """
    metadata = {"id": part_id, "attempt": str(attempt)}
    content: list[Content] = []
    if upload_id is not None:
        content.append(Content(content_type="Attachment", attachment=Attachment(id=upload_id)))
    answer = body.answer
    if answer is None:
        return Message(
            type="Text",
            text=body.text or None,
            content=content or None,
            metadata=metadata,
            channel=_channel(body.attributes),
        )
    if answer.kind in ("date", "list") and answer.to is not None:
        metadata["parentMessageId"] = answer.to
    return Message(
        type="Structured",
        text=answer.text,
        content=[*content, *_answer(answer)],
        metadata=metadata,
        channel=_channel(body.attributes),
    )


def marks_of(body: PartBody, upload_id: str | None) -> tuple[str, ...]:
    """Return what tells a history entry of this part apart beside its text: ids or addresses of files, payloads."""
    payloads = [choice.payload for choice in body.answer.choices] if body.answer else []
    addresses = [file.url for file in body.remote_files]
    return tuple(sorted([*payloads, *addresses, *([upload_id] if upload_id else [])]))


def join(attributes: dict[str, str] | None) -> Message:
    """Write that the guest's client is there."""
    return Message(type="Event", events=[_presence("Join")], channel=_channel(attributes or {}))


def clear() -> Message:
    """Write that the conversation is to be forgotten."""
    return Message(type="Event", events=[_presence("Clear")])


def typing() -> Message:
    """Write that the guest is typing. The wire knows no end of it."""
    return Message(type="Event", events=[Event(event_type="Typing", typing=Typing(type="On"))])


def _presence(kind: str) -> Event:
    return Event(event_type="Presence", presence=Presence(type=kind))


def _channel(attributes: dict[str, str]) -> Channel | None:
    return Channel(metadata=ChannelMetadata(custom_attributes=attributes)) if attributes else None


def _answer(answer: Answer) -> list[Content]:
    if answer.kind == "form":
        response = [
            FormAnswer(
                id=choice.field,
                component=FormAnswerComponent(content_type="ButtonResponse", button_response=_button(choice, answer)),
            )
            for choice in answer.choices
        ]
        form = Form(originating_message_id=answer.to, canned_response_id=answer.form, response=response)
        return [Content(content_type="Form", form=form)]
    return [
        Content(content_type="ButtonResponse", button_response=_button(choice, answer)) for choice in answer.choices
    ]


def _button(choice: Choice, answer: Answer) -> ButtonResponse:
    return ButtonResponse(
        type=_BUTTON_TYPES[answer.kind],
        text=choice.text,
        payload=choice.payload,
        originating_message_id=answer.to if answer.kind in ("list", "date") else None,
    )
