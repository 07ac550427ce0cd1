"""What the world consists of: sessions, their connections and conversations, entries of histories, files."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from guestwire.emulator.ids import Draws
from guestwire.emulator.limits import Window
from guestwire.protocol.frames import Message
from guestwire.protocol.gateway import GatewaySession


def sha256(token: str) -> str:
    """The only form in which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


#: Through which door a guest came.
Platform = Literal["WebMessaging", "Open", "Contract"]


class AgentError(ValueError):
    """The agent's side asked for something that cannot be; the text is a sentence for whoever asked."""


class Close(NamedTuple):
    """End the connection with a closing handshake."""

    code: int


class Abort:
    """End the connection without a word: the transport is cut."""


ABORT = Abort()

#: What a connection has to do next: bytes of a text frame to write, or its end.
Output = bytes | Close | Abort


class Connection:
    """
    One WebSocket, as the world sees it.

    `outputs` is what its owner has to carry out, in order; `silent` connections neither answer pings nor write.
    """

    def __init__(self, number: int, gateway: GatewaySession, requests: Window, health_checks: Window) -> None:
        self.number = number
        self.gateway = gateway
        self.requests = requests
        self.health_checks = health_checks
        self.session: Session | None = None
        self.outputs: list[Output] = []
        self.touched = False
        self.open = True
        self.silent: Literal["", "deaf", "mute"] = ""
        """``deaf``: what comes in is lost. ``mute``: it is processed and never answered."""
        self.held: list[bytes] = []
        """Echoes that wait for the next frame: `reorder_echo`."""

    def __repr__(self) -> str:
        return f"<Connection {self.number} {self.gateway!r}>"


class Conversation(msgspec.Struct, kw_only=True):
    """What an agent has on the screen: from the first message (or Join) to the disconnect."""

    id: str
    session: Session
    started_at: float
    ended_at: float | None = None
    attributes: dict[str, str] = {}
    """Custom attributes of all its messages, later ones over earlier ones: participant data."""
    messages: int = 0
    """Messages both ways, without events."""
    human: str | None = None
    """The name of the person it was handed over to; None while the bot has it."""
    kept: int = 0
    """Entries of it that are still kept; 0 and ended: forgotten."""


class Entry(msgspec.Struct, kw_only=True, eq=False):
    """One line of a history, and what only the agent's side and the auditor know of it."""

    session: Session
    conversation: Conversation
    body: Message
    tracing_id: str | None
    custom_attributes: dict[str, str]
    received_at: float
    """When the request arrived, seconds since the epoch by the emulator's clock."""
    status: str = ""
    """What a receipt made of it; empty: nothing has come."""
    receipts: list[dict[str, Any]] = []
    """Receipts for what an agent said, as the guest's side sent them."""

    @property
    def is_message(self) -> bool:
        """Join, Disconnect and typing are no messages."""
        return self.body.type != "Event"


class Session:
    """A guest's session: what the token opens. The token itself is never kept; its SHA-256 is."""

    platform: Platform = "WebMessaging"
    life_s: float | None = None
    """How long silence may last, in seconds; None: as `session_duration_s` says."""

    def __init__(
        self,
        key: SessionKey,
        expires_at: float,
        *,
        messages: Window,
        configures: Window,
        history_reads: Window,
        name: tuple[object, ...],
    ) -> None:
        self.key = key
        #: For what the guest's requests cause, at once.
        self.draws = Draws(*name, "guest")
        #: For what the bot causes, later: apart, so that its timing does not shift the guest's ids.
        self.agent_draws = Draws(*name, "agent")
        self.expires_at = expires_at
        self.read_only = False
        self.authenticated = False
        self.login: Login | None = None
        self.messages = messages
        self.configures = configures
        self.history_reads = history_reads
        self.connections: list[Connection] = []
        self.conversation: Conversation | None = None
        self.history: deque[Entry] = deque()
        self.deliver_at = 0.0
        """No echo is due before the one of the message before it."""
        self.by_tracing_id: dict[str, Entry] = {}
        self.by_message_id: dict[str, Entry] = {}

    def __repr__(self) -> str:
        return f"<Session {self.key.token_sha256[:8]}>"

    @property
    def guest(self) -> str:
        """A name to call the guest by."""
        return f"guest {self.key.token_sha256[:6]}"

    def addressed(self, body: Message) -> Message:
        """Complete what an agent says with what this channel writes on its envelopes."""
        return body


class Login:
    """One sign-in of one person; ends when it is revoked."""

    def __init__(self) -> None:
        self.revoked = False
        self.sessions: set[SessionKey] = set()

    def __repr__(self) -> str:
        return f"<Login of {len(self.sessions)} sessions{', revoked' if self.revoked else ''}>"


class SessionKey(NamedTuple):
    """What names a session."""

    deployment_id: str
    token_sha256: str


class File(msgspec.Struct, kw_only=True):
    """An upload, from the request for its URL on."""

    id: str
    session: SessionKey
    name: str
    type: str
    size: int
    md5: str | None
    secret: str
    """Of the upload URL's path."""
    headers: dict[str, str]
    """What the PUT must carry, besides Content-Type."""
    url_expires_at: float
    state: Literal["presigned", "uploaded", "ready", "failed", "sent"] = "presigned"
    content: bytes = b""
    ready_at: float = 0.0
    downloads: dict[str, float] = {}
    """Secret of each download URL, and when it expires."""


class Jwt(NamedTuple):
    """What a key to the history opens, and until when."""

    session: Session
    expires_at: float


class Tally(msgspec.Struct, kw_only=True):
    """What has happened since the start, or the last reset."""

    connections_opened: int = 0
    upgrades_refused: int = 0
    requests: Counter[str] = msgspec.field(default_factory=Counter)
    messages_accepted: int = 0
    messages_outbound: int = 0
    echoes_sent: int = 0
    throttles: Counter[str] = msgspec.field(default_factory=Counter)
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    faults_fired: Counter[str] = msgspec.field(default_factory=Counter)
    history_reads: int = 0
    sessions_created: int = 0
    sessions_expired: int = 0
    evictions: int = 0
    uploads: int = 0
    dropped_messages: int = 0
    dropped_sessions: int = 0
    dropped_files: int = 0
    overloads: int = 0
    slow_readers: int = 0


class Scheduled(NamedTuple):
    """Something due later; `place` keeps what is due at once in order."""

    due: float
    place: int
    action: Callable[[float], Any]


class Logged(NamedTuple):
    """One request, for auditors."""

    at: float
    connection: int
    token_sha256: str
    action: str
    answered: str | int


class Problem(NamedTuple):
    """Why a request is refused: a code of the error table, and the words."""

    code: int
    text: str
