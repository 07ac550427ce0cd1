"""
`Message`: what a program hands in.

Types and times are checked when it is made; the gateway's limits when it is submitted.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, InstanceOf, WithJsonSchema

from guestwire.answers import Answer
from guestwire.model import Attachment, Delivery, Draft, GuestKey, Profile, RemoteFile


class Message(BaseModel):
    """
    A text from a guest, a structured answer, a file, or a text with a file.

    `repr` shows neither text nor guest, so that a logged message gives nothing away.
    """

    # A validation error quotes no input either: it ends up in logs as easily as a `repr`.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    guest: Annotated[str, Field(repr=False, description="The end user, by your own key, such as a customer number.")]
    text: Annotated[str, Field(repr=False, description="What the guest says; a long text goes out in parts.")] = ""
    answer: Annotated[
        InstanceOf[Answer] | None,
        WithJsonSchema({"type": "object", "description": "A structured answer, from `Reply.answer`."}),
        Field(repr=False),
    ] = None
    attachments: Annotated[
        tuple[InstanceOf[Attachment] | InstanceOf[RemoteFile], ...],
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "object"},
                "description": "Files; one with a message. The Guest API takes contents, the REST ways addresses.",
            }
        ),
        Field(repr=False),
    ] = ()
    # A factory: pydantic copies a default that could be changed in Python code, which was a third of the whole work.
    attributes: dict[str, str] = Field(
        default_factory=dict, repr=False, description="Custom attributes: participant data in Genesys Cloud."
    )
    profile: Annotated[
        InstanceOf[Profile] | None,
        WithJsonSchema({"type": "object", "description": "What an agent is shown of the guest (Open Messaging)."}),
        Field(repr=False),
    ] = None
    content_type: Annotated[
        Literal["text/plain", "text/html"], Field(description="Of the text; HTML in the tutorial contract alone.")
    ] = "text/plain"
    conversation: Annotated[
        str | None, Field(description="Where it belongs; in the tutorial contract alone, which wants it.")
    ] = None
    read_receipt: Annotated[
        bool | None, Field(description="Ask for, or send, receipts; default: as the destination says.")
    ] = None
    key: Annotated[str | None, Field(description="Idempotency key: the same key and content twice is one message.")] = (
        None
    )
    not_before: Annotated[AwareDatetime | None, Field(description="When the message enters its guest's lane.")] = None
    expires_at: Annotated[AwareDatetime | None, Field(description="After this it is not sent any more.")] = None
    priority: Annotated[int, Field(ge=0, le=9, description="Between guests: 0 first, 9 last.")] = 5
    delivery: Annotated[Delivery | None, Field(description="Overrides the destination's setting.")] = None

    def to_draft(self, destination: str) -> Draft:
        """Return the same as a `Draft` for a destination."""
        return Draft(
            destination=destination,
            guest=GuestKey(self.guest),
            text=self.text,
            answer=self.answer,
            attachments=tuple(one for one in self.attachments if isinstance(one, Attachment)),
            remote_files=tuple(one for one in self.attachments if isinstance(one, RemoteFile)),
            attributes=dict(self.attributes),
            profile=self.profile,
            content_type=self.content_type,
            conversation=self.conversation,
            read_receipt=self.read_receipt,
            key=self.key,
            not_before=None if self.not_before is None else self.not_before.timestamp(),
            expires_at=None if self.expires_at is None else self.expires_at.timestamp(),
            priority=self.priority,
            delivery=self.delivery,
        )
