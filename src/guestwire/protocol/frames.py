"""
Every frame of the Guest API, as a frozen value, in both directions.

Source: the vendor's frame schema ("shyrka-chat" 1.0.0, web-messaging-sdk-java 18.1.0) and its clients' fixtures;
`tests/wire/facts.csv` holds each field with its source and confidence.

The far side owns its vocabulary and extends it without notice, so reading is lossless and never fails: what a
typed field cannot hold (an unknown key, an unexpected type, an explicit null) stays in `extra` of the value it
came with, an unknown class or action becomes `UnknownBody` or `UnknownRequest`, and what is not a JSON object
becomes `Malformed`. How that is done: `guestwire.protocol.codec`.

"Required" in the vendor's schema is not a promise (`time` and `fileMd5` are never sent in practice, real
`SessionResponse` bodies have two fields), so every field read may be None. What *we* must not forget is
guarded where frames are built: `guestwire.protocol.guest` and `guestwire.protocol.gateway`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

JsonObject = dict[str, Any]
StringMap = dict[str, str]


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A JSON object of the wire: named fields, and `extra` for whatever else it holds."""

    extra: JsonObject = {}

    def __repr__(self) -> str:
        # Names only: the values are what people wrote, and tokens. A repr ends up in logs and tracebacks.
        names = [f.name for f in msgspec.structs.fields(type(self)) if getattr(self, f.name) not in (None, {})]
        return f"{type(self).__name__}({', '.join(names)})"


# --- parts of bodies ---


class Recipient(Node, frozen=True):
    """`channel.from` and `channel.to`; often empty. `nickname` is the name to display."""

    first_name: str | None = None
    last_name: str | None = None
    nickname: str | None = None
    image: str | None = None


class ChannelMetadata(Node, frozen=True):
    """Carries a guest's custom attributes: string to string, 2,048 bytes in all."""

    custom_attributes: StringMap | None = None


class Channel(Node, frozen=True):
    """When, between whom and under which provider id a message travelled."""

    time: str | None = None
    type: str | None = None
    message_id: str | None = None
    from_: Recipient | None = msgspec.field(default=None, name="from")
    to: Recipient | None = None
    metadata: ChannelMetadata | None = None


class Attachment(Node, frozen=True):
    """A file, by the id of its upload (sent) or with its short-lived URL (received: 10 minutes)."""

    id: str | None = None
    url: str | None = None
    filename: str | None = None
    file_size: int | float | None = None
    content_size_bytes: int | float | None = None
    media_type: str | None = None
    mime: str | None = None
    sha256: str | None = None
    text: str | None = None


class QuickReply(Node, frozen=True):
    """One choice the guest may tap."""

    text: str | None = None
    payload: str | None = None
    action: str | None = None
    image: str | None = None
    summary_text: str | None = None
    id: str | None = None


class QuickReplyV2(Node, frozen=True):
    """Choices under a title."""

    title: str | None = None
    actions: list[QuickReply] | None = None


class ButtonResponse(Node, frozen=True):
    """The guest's choice. Also arrives Outbound, as a list of quick replies."""

    type: str | None = None
    text: str | None = None
    payload: str | None = None
    originating_message_id: str | None = None
    id: str | None = None


class CardAction(Node, frozen=True):
    """What tapping a card does: `Link` opens `url`, `Postback` (also seen: `Button`) answers with `payload`."""

    type: str | None = None
    text: str | None = None
    payload: str | None = None
    url: str | None = None


class Card(Node, frozen=True):
    """A titled box with actions."""

    title: str | None = None
    description: str | None = None
    image: str | None = None
    video: str | None = None
    default_action: CardAction | None = None
    actions: list[CardAction] | None = None


class Carousel(Node, frozen=True):
    """Cards side by side."""

    cards: list[Card] | None = None


class AvailableTime(Node, frozen=True):
    """A slot: ISO 8601 start, duration in seconds."""

    date_time: str | None = None
    duration: int | float | None = None


class Location(Node, frozen=True):
    """Where an appointment takes place."""

    text: str | None = None
    address: str | None = None
    latitude: int | float | None = None
    longitude: int | float | None = None
    url: str | None = None


class DatePicker(Node, frozen=True):
    """Slots to choose from."""

    id: str | None = None
    title: str | None = None
    subtitle: str | None = None
    image_url: str | None = None
    date_minimum: str | None = None
    date_maximum: str | None = None
    date_display_format: str | None = None
    location: Location | None = None
    available_times: list[AvailableTime] | None = None


class Prompt(Node, frozen=True):
    """The text around a picker or a form, before (`receivedMessage`) and after (`replyMessage`) the answer."""

    header: str | None = None
    title: str | None = None
    subtitle: str | None = None
    image_url: str | None = None
    button_label: str | None = None


class ListPickerItem(Node, frozen=True):
    """One entry of a list picker."""

    id: str | None = None
    title: str | None = None
    subtitle: str | None = None
    image_url: str | None = None


class ListPickerSection(Node, frozen=True):
    """Entries under a title."""

    title: str | None = None
    multiple_selection: bool | None = None
    items: list[ListPickerItem] | None = None


class ListPicker(Node, frozen=True):
    """Sections of entries to choose from."""

    id: str | None = None
    sections: list[ListPickerSection] | None = None
    received_message: Prompt | None = None
    reply_message: Prompt | None = None


class WheelPickerItem(Node, frozen=True):
    """One entry of a wheel picker."""

    id: str | None = None
    title: str | None = None
    value: str | None = None


class WheelPicker(Node, frozen=True):
    """One entry out of many."""

    id: str | None = None
    items: list[WheelPickerItem] | None = None


class Input(Node, frozen=True):
    """A text field of a form."""

    id: str | None = None
    title: str | None = None
    subtitle: str | None = None
    placeholder_text: str | None = None
    is_required: bool | None = None
    is_multiple_line: bool | None = None
    auto_complete_type: str | None = None
    keyboard_type: str | None = None


class FormPageComponent(Node, frozen=True):
    """One field of a form page; `formComponentType` says which of the four is set."""

    form_component_type: str | None = None
    input: Input | None = None
    date_picker: DatePicker | None = None
    list_picker: ListPicker | None = None
    wheel_picker: WheelPicker | None = None


class FormPage(Node, frozen=True):
    """A page of a form."""

    title: str | None = None
    subtitle: str | None = None
    page_components: list[FormPageComponent] | None = None


class FormIntroduction(Node, frozen=True):
    """The first page of a form."""

    title: str | None = None
    subtitle: str | None = None
    image_url: str | None = None
    button_text: str | None = None


class FormAnswerComponent(Node, frozen=True):
    """What the guest put into one field."""

    content_type: str | None = None
    button_response: ButtonResponse | None = None


class FormAnswer(Node, frozen=True):
    """One answered field, by the id of its component."""

    id: str | None = None
    component: FormAnswerComponent | None = None


class Form(Node, frozen=True):
    """A form as shown (`formPages` …) or as answered (`response`, `originatingMessageId`)."""

    canned_response_id: str | None = None
    introduction: FormIntroduction | None = None
    form_pages: list[FormPage] | None = None
    received_message: Prompt | None = None
    reply_message: Prompt | None = None
    show_summary: bool | None = None
    originating_message_id: str | None = None
    response: list[FormAnswer] | None = None


class ContentActions(Node, frozen=True):
    """The actions of a generic template (deprecated by the vendor)."""

    command_name: str | None = None
    context: JsonObject | None = None
    textback: str | None = None
    url: str | None = None
    url_target: str | None = None


class GenericComponent(Node, frozen=True):
    """A button of a generic template (deprecated by the vendor)."""

    id: str | None = None
    text: str | None = None
    title: str | None = None
    actions: ContentActions | None = None


class Generic(Node, frozen=True):
    """A generic template (deprecated by the vendor in favour of `Card`)."""

    id: str | None = None
    title: str | None = None
    description: str | None = None
    image: str | None = None
    video: str | None = None
    actions: ContentActions | None = None
    components: list[GenericComponent] | None = None


class TextContent(Node, frozen=True):
    """A content element that is text alone."""

    body: str | None = None
    type: str | None = None


class Reaction(Node, frozen=True):
    """How many people reacted in one way; a social channel's word, not expected here."""

    reaction_type: str | None = None
    count: int | float | None = None


class Content(Node, frozen=True):
    """
    One content element: `contentType` names which field is set.

    The 24 types of the enum that a guest on web messaging never meets (`Story`, `PaymentRequest` …) are kept
    in `extra` under their own key.
    """

    content_type: str | None = None
    attachment: Attachment | None = None
    quick_reply: QuickReply | None = None
    quick_reply_v2: QuickReplyV2 | None = msgspec.field(default=None, name="quickReplyV2")
    button_response: ButtonResponse | None = None
    card: Card | None = None
    carousel: Carousel | None = None
    date_picker: DatePicker | None = None
    list_picker: ListPicker | None = None
    form: Form | None = None
    generic: Generic | None = None
    text: TextContent | None = None
    reactions: list[Reaction] | None = None


class Typing(Node, frozen=True):
    """`On` for `duration` milliseconds (5,000 when absent). There is no dependable `Off`."""

    type: str | None = None
    duration: int | float | None = None


class Presence(Node, frozen=True):
    """Join, Disconnect, Clear, SignIn, SessionExpired, Authenticate, AuthenticateCancel, AuthenticateFailure."""

    type: str | None = None
    received_message: Prompt | None = None
    reply_message: Prompt | None = None


class CoBrowse(Node, frozen=True):
    """A co-browsing offer."""

    type: str | None = None
    session_id: str | None = None
    session_join_token: str | None = None


class Video(Node, frozen=True):
    """A video offer."""

    type: str | None = None
    offering_id: str | None = None
    jwt: str | None = None


class Event(Node, frozen=True):
    """One event of an `Event` message: `eventType` names which field is set."""

    event_type: str | None = None
    typing: Typing | None = None
    presence: Presence | None = None
    co_browse: CoBrowse | None = None
    video: Video | None = None
    reactions: list[Reaction] | None = None


class FileType(Node, frozen=True):
    """A MIME type that may be uploaded; ``*/*`` is a wildcard."""

    type: str | None = None


class FileUploadMode(Node, frozen=True):
    """What may be uploaded, in kilobytes of 1,000 bytes (as the vendor's client counts them)."""

    file_types: list[FileType] | None = None
    max_file_size_kb: int | float | None = msgspec.field(default=None, name="maxFileSizeKB")


class AllowedMedia(Node, frozen=True):
    """Upload rules of a session."""

    inbound: FileUploadMode | None = None


class JourneyCustomer(Node, frozen=True):
    """Who the visitor is to the journey service."""

    id: str | None = None
    id_type: str | None = None


class JourneyCustomerSession(Node, frozen=True):
    """Which visit this is."""

    id: str | None = None
    type: str | None = None


class JourneyActionMap(Node, frozen=True):
    """The action map that led here."""

    id: str | None = None
    version: int | None = None


class JourneyAction(Node, frozen=True):
    """The action that led here."""

    id: str | None = None
    action_map: JourneyActionMap | None = None


class JourneyContext(Node, frozen=True):
    """Ties a session to predictive engagement."""

    customer: JourneyCustomer | None = None
    customer_session: JourneyCustomerSession | None = None
    triggering_action: JourneyAction | None = None


class AuthorizationData(Node, frozen=True):
    """`code` holds the JWT of the REST exchange, not the OAuth code."""

    code: str | None = None


# --- messages, both ways ---


class Message(Node, frozen=True):
    """
    A message: what a guest sends in `onMessage`, the body of a `StructuredMessage`, an entity of the history.

    `direction` is always the platform's view: `Inbound` is what the guest said, `Outbound` what he is told.
    """

    id: str | None = None
    type: str | None = None
    direction: str | None = None
    text: str | None = None
    status: str | None = None
    channel: Channel | None = None
    content: list[Content] | None = None
    events: list[Event] | None = None
    metadata: StringMap | None = None
    originating_entity: str | None = None
    originating_message_id: str | None = None
    tracing_id: str | None = None
    """In the schema's body; on the wire it stands on the envelope."""

    @property
    def key(self) -> str | None:
        """What to deduplicate by: `channel.messageId`, else `id`. Never the time, which is not unique."""
        return (self.channel.message_id if self.channel else None) or self.id

    def presence(self) -> list[str]:
        """The presence events it carries, in order; one message may carry several."""
        return [event.presence.type for event in self.events or () if event.presence and event.presence.type]


# --- client to server ---


class Request(Node, frozen=True, tag_field="action"):
    """What a guest's client sends. The session token travels in every one."""

    action: ClassVar[str]

    token: str | None = None
    tracing_id: str | None = None


class ConfigureSession(Request, frozen=True, tag="configureSession"):
    """Opens, resumes or (with `startNew`) replaces a session. The first request on a connection."""

    action: ClassVar[str] = "configureSession"

    deployment_id: str | None = None
    start_new: bool | None = None
    journey_context: JourneyContext | None = None
    resume_token: str | None = None


class ConfigureAuthenticatedSession(Request, frozen=True, tag="configureAuthenticatedSession"):
    """The same for a signed-in guest."""

    action: ClassVar[str] = "configureAuthenticatedSession"

    deployment_id: str | None = None
    start_new: bool | None = None
    journey_context: JourneyContext | None = None
    resume_token: str | None = None
    data: AuthorizationData | None = None


class OnMessage(Request, frozen=True, tag="onMessage"):
    """
    Sends a text, a structured answer or an event.

    `channel` here is the older place for custom attributes, ignored by the platform since 2026-06-05: read by the
    emulator, never written by us. `attachmentIds` is older still.
    """

    action: ClassVar[str] = "onMessage"

    message: Message | None = None
    time: str | None = None
    channel: Channel | None = None
    attachment_ids: list[str] | None = None


class OnAttachment(Request, frozen=True, tag="onAttachment"):
    """Asks for a URL to upload a file to."""

    action: ClassVar[str] = "onAttachment"

    attachment_id: str | None = None
    file_name: str | None = None
    file_type: str | None = None
    file_size: int | None = None
    file_md5: str | None = None
    errors_as_json: bool | None = None


class GetAttachment(Request, frozen=True, tag="getAttachment"):
    """Asks for a fresh download URL."""

    action: ClassVar[str] = "getAttachment"

    attachment_id: str | None = None


class DeleteAttachment(Request, frozen=True, tag="deleteAttachment"):
    """Withdraws a file that was uploaded and not sent."""

    action: ClassVar[str] = "deleteAttachment"

    attachment_id: str | None = None


class Echo(Request, frozen=True, tag="echo"):
    """The health check; at most two a minute and connection."""

    action: ClassVar[str] = "echo"

    message: Message | None = None


class GetJwt(Request, frozen=True, tag="getJwt"):
    """Asks for the key to the history over REST; good for about a minute."""

    action: ClassVar[str] = "getJwt"


class GetConfiguration(Request, frozen=True, tag="getConfiguration"):
    """Asks for the deployment's limits."""

    action: ClassVar[str] = "getConfiguration"

    deployment_id: str | None = None


class CloseSession(Request, frozen=True, tag="closeSession"):
    """Ends the session; with `closeAllConnections` on every connection of the guest."""

    action: ClassVar[str] = "closeSession"

    close_all_connections: bool | None = None


class UnknownRequest(Request, frozen=True, tag="unknown"):
    """An action that we do not know, or none: everything stands in `extra`, `action` included."""

    action: ClassVar[str] = "unknown"


REQUESTS: dict[str, type[Request]] = {
    request.action: request
    for request in (
        ConfigureSession,
        ConfigureAuthenticatedSession,
        OnMessage,
        OnAttachment,
        GetAttachment,
        DeleteAttachment,
        Echo,
        GetJwt,
        GetConfiguration,
        CloseSession,
    )
}


# --- server to client ---


class SessionResponse(Node, frozen=True):
    """
    The answer to a configure or a close.

    Only `connected` and `newSession` are seen in every capture. `expirationDate` is in seconds since the epoch.
    """

    connected: bool | None = None
    new_session: bool | None = None
    read_only: bool | None = None
    cleared_existing_session: bool | None = None
    allowed_media: AllowedMedia | None = None
    blocked_extensions: list[str] | None = None
    max_custom_data_bytes: int | float | None = None
    duration_seconds: int | float | None = None
    expiration_date: int | float | None = None
    auto_started: bool | None = None
    tracing_id: str | None = None


class PresignedUrlResponse(Node, frozen=True):
    """Where to PUT a file, with every header it demands; or, headers empty and size given, where to GET it."""

    attachment_id: str | None = None
    url: str | None = None
    headers: StringMap | None = None
    file_name: str | None = None
    file_size: int | None = None
    file_type: str | None = None
    tracing_id: str | None = None

    @property
    def is_download(self) -> bool:
        """The vendor's client tells the two apart in this way."""
        return not self.headers and self.file_size is not None


class AttachmentDeletedResponse(Node, frozen=True):
    """A withdrawn upload is gone."""

    attachment_id: str | None = None
    tracing_id: str | None = None


class UploadSuccessEvent(Node, frozen=True):
    """The end of an upload; HTTP 200 on the PUT is not."""

    attachment_id: str | None = None
    download_url: str | None = None
    timestamp: str | None = None
    tracing_id: str | None = None


class UploadFailureEvent(Node, frozen=True):
    """An upload failed. The envelope says 200."""

    attachment_id: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    timestamp: str | None = None
    tracing_id: str | None = None


class ErrorBody(Node, frozen=True):
    """An error as an object; `errorCode` outranks the envelope's `code`."""

    error_code: int | None = None
    error_message: str | None = None
    name: str | None = None
    message: str | None = None
    stack: str | None = None
    tracing_id: str | None = None


class ErrorMessage(ErrorBody, frozen=True):
    """The general error object (classes `Error` and `ErrorMessage`)."""


class GenerateUrlError(ErrorBody, frozen=True):
    """No upload URL. Seen with envelope code 400 and with 200."""

    attachment_id: str | None = None
    timestamp: str | None = None


class TooManyRequestsErrorMessage(ErrorBody, frozen=True):
    """A limit was passed; `retryAfter` is in seconds."""

    retry_after: int | float | None = None


class ConnectionClosedEvent(Node, frozen=True):
    """The gateway lets this connection go. The schema says `reasonCode`, the vendor's client reads `reason`."""

    reason: str | None = None
    reason_code: str | None = None
    tracing_id: str | None = None


class LogoutEvent(Node, frozen=True):
    """The signed-in guest was signed out everywhere."""

    tracing_id: str | None = None


class SessionExpiredEvent(Node, frozen=True):
    """The session is over; configuring again makes a new one."""

    tracing_id: str | None = None


class SessionClearedEvent(Node, frozen=True):
    """The conversation was wiped at the guest's request."""

    tracing_id: str | None = None


class JwtResponse(Node, frozen=True):
    """The key to the history; `exp` in seconds since the epoch."""

    jwt: str | None = None
    exp: int | float | None = None
    tracing_id: str | None = None


class GetConfigurationResponse(Node, frozen=True):
    """The deployment's limits."""

    allowed_media: AllowedMedia | None = None
    blocked_extensions: list[str] | None = None
    max_custom_data_bytes: int | float | None = None
    message_routing_enabled: bool | None = None
    session_duration_seconds: int | float | None = None
    tracing_id: str | None = None


class ResumeTokenResponse(Node, frozen=True):
    """In the schema; no client is known to use it."""

    resume_token: str | None = None
    exp: int | float | None = None
    tracing_id: str | None = None


class StringBody(msgspec.Struct, frozen=True):
    """A body that is plain text: class `string`, how most errors come."""

    text: str

    def __repr__(self) -> str:
        return f"StringBody({len(self.text)} characters)"


class UnknownBody(msgspec.Struct, frozen=True):
    """A body of a class we do not know, or one that is not what its class promises. Kept as it came."""

    data: Any

    def __repr__(self) -> str:
        return f"UnknownBody({type(self.data).__name__})"


Body = Node | StringBody | UnknownBody

#: `class` on the envelope to the type of `body`.
BODIES: dict[str, type[Node]] = {
    "SessionResponse": SessionResponse,
    "StructuredMessage": Message,
    "PresignedUrlResponse": PresignedUrlResponse,
    "AttachmentDeletedResponse": AttachmentDeletedResponse,
    "UploadFailureEvent": UploadFailureEvent,
    "UploadSuccessEvent": UploadSuccessEvent,
    "ConnectionClosedEvent": ConnectionClosedEvent,
    "LogoutEvent": LogoutEvent,
    "SessionExpiredEvent": SessionExpiredEvent,
    "SessionClearedEvent": SessionClearedEvent,
    "JwtResponse": JwtResponse,
    "GetConfigurationResponse": GetConfigurationResponse,
    "GenerateUrlError": GenerateUrlError,
    "TooManyRequestsErrorMessage": TooManyRequestsErrorMessage,
    "ResumeTokenResponse": ResumeTokenResponse,
    "Error": ErrorMessage,
    "ErrorMessage": ErrorMessage,
}
#: The class whose body is plain text.
STRING = "string"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the server sends.

    `class_` tells the body; `type` (`message` or `response`) does not: sources disagree about it for the same
    class, so nothing here depends on it. A frame without `type` or `class` is kept with an `UnknownBody`.
    """

    body: Body
    class_: str | None = None
    type: str | None = None
    code: int | None = None
    tracing_id: str | None = None
    extra: JsonObject = {}

    def __repr__(self) -> str:
        return f"Frame(class_={self.class_!r}, type={self.type!r}, code={self.code}, body={self.body!r})"


class Malformed(msgspec.Struct, frozen=True):
    """What came was not a JSON object. `size` in bytes; the bytes themselves may hold secrets and are dropped."""

    reason: str
    size: int
