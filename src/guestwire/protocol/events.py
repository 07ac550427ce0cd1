"""What a guest's session learns, as values: the vocabulary of `GuestSession.events()`."""

from __future__ import annotations

import msgspec

from guestwire.model import Outcome, PartId
from guestwire.protocol.frames import Frame, Message


class Media(msgspec.Struct, frozen=True):
    """
    What this session takes, as its answer said. None: it did not say, so nothing is held against it here.

    Sizes in kilobytes of 1,000 bytes, as the vendor's client counts them; extensions with their dot, in lower case.
    """

    max_file_kb: float | None = None
    types: tuple[str, ...] | None = None
    blocked_extensions: tuple[str, ...] = ()
    max_attributes_bytes: int | None = None


class Configured(msgspec.Struct, frozen=True):
    """The session is there. `new_session` after a loss means that the old one, with its history, is gone."""

    new_session: bool
    read_only: bool
    expires_at: float | None
    media: Media
    duration_s: float | None = None
    """How long the session lives from each message on."""
    signed_in: bool = False
    """The configure carried the JWT of a person who is known."""
    cleared_others: bool = False
    """Signing in has ended other sessions of this person."""


class ConfigureRefused(msgspec.Struct, frozen=True):
    """The gateway does not let this session in. `outcome` is Refused where no retry can help."""

    outcome: Outcome
    code: int | None


class Answered(msgspec.Struct, frozen=True):
    """One attempt has its outcome. Also for an echo that comes late, on another connection of the session."""

    part_id: PartId
    outcome: Outcome


class Heard(msgspec.Struct, frozen=True):
    """The platform says something to the guest: text, structured content, typing, presence."""

    message: Message


class ConversationEnded(msgspec.Struct, frozen=True):
    """The agent's side disconnected; `read_only` says whether the guest may go on writing."""

    read_only: bool


class JwtGranted(msgspec.Struct, frozen=True):
    """The key to the history. A secret; `expires_at` in seconds since the epoch."""

    jwt: str
    expires_at: float

    def __repr__(self) -> str:
        return f"JwtGranted(jwt=***, expires_at={self.expires_at})"


class HealthChecked(msgspec.Struct, frozen=True):
    """The session lives; `expires_at` where the gateway said."""

    expires_at: float | None


class Joined(msgspec.Struct, frozen=True):
    """The flow knows that the guest is there; `outcome` says if it really does."""

    outcome: Outcome


class Cleared(msgspec.Struct, frozen=True):
    """What became of the wish to forget the conversation; where it was taken, `Released` follows."""

    outcome: Outcome


class Typed(msgspec.Struct, frozen=True):
    """The gateway answered that the guest is typing; an `outcome` other than Accepted says that it does not want it."""

    outcome: Outcome


class UploadGranted(msgspec.Struct, frozen=True):
    """Where a file may be put, and with which headers. The address is a secret."""

    file_id: str
    url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"UploadGranted({self.file_id})"


class DownloadGranted(msgspec.Struct, frozen=True):
    """Where a file may be fetched, for about ten minutes. The address is a secret."""

    file_id: str
    url: str

    def __repr__(self) -> str:
        return f"DownloadGranted({self.file_id})"


class FileDone(msgspec.Struct, frozen=True):
    """
    A file has reached the platform, or was deleted there (`outcome` None); or why not.

    Also unasked: an upload may end on another connection than the one it began on.
    """

    file_id: str
    outcome: Outcome | None


class SessionEnded(msgspec.Struct, frozen=True):
    """`closeSession` was answered; or, with an outcome, it was not."""

    outcome: Outcome | None = None


class Expired(msgspec.Struct, frozen=True):
    """The session is over. Configuring again makes a new one."""

    reason: str


class Released(msgspec.Struct, frozen=True):
    """The gateway lets go of this connection; reconnecting at once is wrong (see `states`)."""

    cause: str
    """``evicted``, ``signed_in``, ``logged_out`` or ``cleared``."""


class JwtRefused(msgspec.Struct, frozen=True):
    """No key to the history."""

    outcome: Outcome


class PeerSilent(msgspec.Struct, frozen=True):
    """No pong, no frame: drop the socket."""

    silent_s: float


class Other(msgspec.Struct, frozen=True):
    """A frame for whoever understands it: uploads, configuration."""

    frame: Frame


class Unexpected(msgspec.Struct, frozen=True):
    """The far side did something outside the protocol. Reported, survived, never raised."""

    what: str
    """Without content: class, code, sizes."""


SessionEvent = (
    Configured
    | ConfigureRefused
    | Answered
    | Heard
    | ConversationEnded
    | JwtGranted
    | JwtRefused
    | HealthChecked
    | Joined
    | Cleared
    | Typed
    | UploadGranted
    | DownloadGranted
    | FileDone
    | SessionEnded
    | Expired
    | Released
    | PeerSilent
    | Other
    | Unexpected
)
