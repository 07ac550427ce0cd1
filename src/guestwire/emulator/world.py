"""
`World`: what is true at the emulated platform. No socket, no clock, no loop; every verb takes `now`.

The world owns sessions, conversations and histories and one `GatewaySession` per connection. Its owner (the app) calls
`upgrade`, `receive`, `lost`, the agent's verbs and the history's, then carries out the `outputs` of the connections in
`delivery.take_touched()`, and calls `delivery.run_due` no later than `delivery.next_due()`.

Order. A message is *accepted* the moment its request is processed: from then on agents see it, and the order of
acceptance is the order in which they see. Its echo comes later, to the connections that were attached at acceptance (a
setting adds later ones), one after the other within a session. The platform promises no order; this emulator keeps it
so that what breaks it is a fault that was asked for.

The token is a secret: only its SHA-256 is kept here, shown or logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import deque
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from guestwire.emulator import answers
from guestwire.emulator.agents import Script, disconnect_event
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.faults import NOTHING, FaultBook, Firing, Occurrence
from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.limits import NoWindow, Window
from guestwire.emulator.records import (
    ABORT,
    Close,
    Connection,
    Conversation,
    Entry,
    File,
    Jwt,
    Logged,
    Problem,
    Session,
    SessionKey,
    Tally,
)
from guestwire.emulator.rules import BAD_REQUEST, attachment_ids_of, attributes_of, message_id_of, message_problem
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.uploads import Uploads
from guestwire.protocol import codec
from guestwire.protocol.frames import (
    STRING,
    AttachmentDeletedResponse,
    Body,
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    ConnectionClosedEvent,
    DeleteAttachment,
    Echo,
    Event,
    GenerateUrlError,
    GetAttachment,
    GetConfiguration,
    GetJwt,
    JwtResponse,
    LogoutEvent,
    Malformed,
    Message,
    OnAttachment,
    OnMessage,
    Presence,
    PresignedUrlResponse,
    Request,
    SessionClearedEvent,
    StringBody,
    UploadFailureEvent,
    UploadSuccessEvent,
)
from guestwire.protocol.gateway import Asked, GatewaySession, Refused

#: Longest session token (vendor's FAQ).
MAX_TOKEN = 2048
#: Remembered for deduplication, per session and kind.
_MAX_REMEMBERED = 10_000


def sha256(token: str) -> str:
    """The only form in which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


class AgentError(ValueError):
    """The agent's side asked for something that cannot be; the text is a sentence for whoever asked."""


class World:
    """
    The platform behind the sockets.

    Args:
        settings: How it behaves.
        script: The bot; None for none.

    `base_url` must be set before files are uploaded: their URLs begin with it.
    """

    def __init__(self, settings: EmulatorSettings, script: Script | None = None) -> None:
        self.settings = settings
        self.base_url = ""
        self.connections: dict[int, Connection] = {}
        self.delivery = Delivery()
        self._script = script
        self._begin()

    def _begin(self) -> None:
        settings = self.settings
        self.draws = Draws(settings.seed)
        self.deployment_id = settings.deployment_id or Draws(settings.seed, "deployment").uuid()
        self._generations: dict[str, int] = {}
        self.faults = FaultBook(settings.seed)
        self.tally = Tally()
        self.sessions: dict[SessionKey, Session] = {}
        self.conversations: dict[str, Conversation] = {}
        self.entries: deque[Entry] = deque()
        self.log: deque[Logged] = deque(maxlen=settings.request_log)
        self.uploads = Uploads(settings, self.draws, self.tally, lambda: self.base_url)
        self._connects = self._window(settings.connects_per_minute, 60.0)
        self._jwts: dict[str, Jwt] = {}
        self._signed_in: dict[str, SessionKey | None] = {}
        self.delivery.forget()
        self._numbers = itertools.count(1)

    def reset(self) -> None:
        """Begin again with the same settings and seed; every connection is closed."""
        for connection in list(self.connections.values()):
            self._close(connection)
        self._begin()

    def _window(self, limit: int, span_s: float) -> Window:
        return Window(limit, span_s) if self.settings.limits == "documented" else NoWindow()

    # --- connections ---

    def upgrade(self, deployment_id: str, origin: str | None, own_host: str, now: float) -> Connection | int:
        """
        Decide about a WebSocket upgrade.

        Args:
            deployment_id: From the query.
            origin: The header, with or without scheme; None if missing.
            own_host: The host that the request was sent to.
            now: Seconds since the epoch.

        Returns:
            The connection, or the HTTP status that refuses it.
        """
        answer = self._upgrade(deployment_id, origin, own_host, now)
        if isinstance(answer, int):
            self.tally.upgrades_refused += 1
            self.log.append(Logged(now, 0, "", "connect", answer))
            return answer
        self.tally.connections_opened += 1
        self.connections[answer.number] = answer
        self.log.append(Logged(now, answer.number, "", "connect", "ok"))
        return answer

    def _upgrade(self, deployment_id: str, origin: str | None, own_host: str, now: float) -> Connection | int:
        refusal = self.strike(Occurrence("upgrade", path="/v1")).get("refuse_upgrade")
        if refusal:
            return int(refusal["status"])
        if deployment_id.lower() != self.deployment_id.lower() or self.settings.deployment_status != "Active":
            return 403
        if not self._origin_allowed(origin, own_host):
            return 403
        if not self._connects.admit(now):
            self.tally.throttles["connects_per_minute"] += 1
            return 429
        connection = Connection(
            next(self._numbers),
            GatewaySession(errors_carry_tracing_id=self.settings.errors_carry_tracing_id),
            self._window(self.settings.requests_per_minute, 60.0),
            self._window(self.settings.health_checks_per_minute, 60.0),
        )
        connection.gateway.connection_opened()
        return connection

    def _origin_allowed(self, origin: str | None, own_host: str) -> bool:
        settings = self.settings
        if not settings.allowed_origins:
            return True
        if not origin:
            return settings.missing_origin_allowed
        host = host_of(origin)
        return (settings.own_origin_allowed and host == host_of(own_host)) or host in map(
            host_of, settings.allowed_origins
        )

    def lost(self, connection: Connection) -> None:
        """The WebSocket is gone, whoever ended it."""
        if connection.open:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        connection.open = False
        connection.held.clear()
        self.connections.pop(connection.number, None)
        self._detach(connection)
        connection.gateway.connection_lost()

    def _detach(self, connection: Connection) -> None:
        session, connection.session = connection.session, None
        if session is not None and connection in session.connections:
            session.connections.remove(connection)

    def _close(self, connection: Connection, code: int | None = None) -> None:
        self.delivery.flush(connection)
        self.delivery.output(connection, Close(code or self.settings.server_close_code))
        self._end(connection)

    def _abort(self, connection: Connection) -> None:
        self.delivery.output(connection, ABORT)
        self._end(connection)

    def overrun(self, connection: Connection) -> None:
        """The client does not read what it is sent: give it up."""
        self.tally.slow_readers += 1
        self.lost(connection)

    # --- requests ---

    def receive(self, connection: Connection, data: bytes | str, now: float) -> None:
        """Take one text frame. Never raises."""
        if not connection.open or connection.silent == "deaf":
            return
        self.delivery.run_due(now)
        request = codec.decode_request(data)
        action = "malformed" if isinstance(request, Malformed) else request.action
        self.tally.requests[action] += 1
        token_sha256 = self._sha256_of(connection, request)
        if self.delivery.pending > self.settings.max_pending:
            self.tally.overloads += 1
            self._abort(connection)
            self.log.append(Logged(now, connection.number, token_sha256, action, "dropped"))
            return
        answered = self._process(connection, request, token_sha256, now)
        self.log.append(Logged(now, connection.number, token_sha256, action, answered))

    def _sha256_of(self, connection: Connection, request: Request | Malformed) -> str:
        session = connection.session
        token = None if isinstance(request, Malformed) else request.token
        if session is not None and (token is None or token == connection.gateway.token):
            return session.key.token_sha256
        return sha256(token) if token else ""

    def _process(
        self, connection: Connection, request: Request | Malformed, token_sha256: str, now: float
    ) -> str | int:
        """Carry a request through faults, limits and state to its answer. Returns what the log says."""
        gateway = connection.gateway
        firing = NOTHING
        refused = 0
        if len(self.faults) and not isinstance(request, Malformed):
            firing = self.strike(_occurrence(request, token_sha256))
            fate = self._strike_before(connection, request, firing, now) if firing else None
            if fate:
                return fate
        session = connection.session
        if not isinstance(request, Malformed) and self._throttled(connection, request, token_sha256, now):
            pass
        elif session is not None and now >= session.expires_at and not _configures(request):
            # Expiry is told lazily: on the first request after it (vendor's client, uml/sessionDuration).
            self._expire(session)
            return 4006
        else:
            gateway.receive_request(request)
        for event in gateway.events():
            if isinstance(event, Asked):
                self._answer(connection, event.request, now, firing)
            else:
                self._count_error(event.code)
                refused = event.code
        refused = self._count_refusals(connection) or refused
        self._finish(connection, request, firing, now)
        return refused or "ok"

    def _count_refusals(self, connection: Connection) -> int:
        """Count the errors that the connection has just answered with. Returns the last code, or 0."""
        code = 0
        for event in connection.gateway.events():
            if isinstance(event, Refused):
                code = self._count_error(event.code)
        return code

    def _count_error(self, code: int) -> int:
        self.tally.errors[str(code)] += 1
        return code

    def _finish(self, connection: Connection, request: Request | Malformed, firing: Firing, now: float) -> None:
        """Send the answers; a fault may have its own idea of them."""
        ruin = firing.accepting()
        if ruin is None and not firing:
            self.delivery.flush(connection)
            return
        frames = connection.gateway.frames_to_send()
        if ruin is None:
            for data in frames:
                self.delivery.ship(lambda data=data: [(connection, data)], firing, now, now)  # type: ignore[misc]
        elif ruin.kind == "drop_after_accept":
            self._abort(connection)
        elif ruin.kind == "close_with":
            self._close(connection, ruin["code"])
        elif ruin.kind == "silent_peer":
            connection.silent = "mute"
        elif not isinstance(request, Malformed):
            self._send_error(connection, request, ruin["code"], ruin["text"], ruin["tracing_id"])

    # --- faults ---

    def strike(self, occurrence: Occurrence) -> Firing:
        """Let the faults know of an occurrence; those that fire are counted."""
        firing = self.faults.strike(occurrence)
        for kind in firing.kinds():
            self.tally.faults_fired[kind] += 1
        return firing

    def _strike_before(self, connection: Connection, request: Request, firing: Firing, now: float) -> str | int | None:
        """Carry out what keeps a request from being processed. Returns what the log says, or None to go on."""
        malformed = firing.get("malformed_frame")
        if malformed:
            self.delivery.write(connection, str(malformed["text"]).encode())
        fault = firing.get("throttle")
        if fault:
            self._throttle(connection, request, "fault", fault["retry_after_s"])
            self.delivery.flush(connection)
            return self._count_refusals(connection)
        if firing.get("expire_session") and connection.session is not None:
            connection.session.expires_at = now
            self._expire(connection.session)
            return 4006
        if firing.get("drop_before_accept"):
            self._abort(connection)
            return "dropped"
        return self._strike_unless_accepting(connection, request, firing)

    def _strike_unless_accepting(self, connection: Connection, request: Request, firing: Firing) -> str | int | None:
        if firing.accepting():
            return None
        fault = firing.get("error_frame")
        if fault:
            self._send_error(connection, request, fault["code"], fault["text"], fault["tracing_id"])
            return self._count_error(fault["code"])
        fault = firing.get("close_with")
        if fault:
            self._close(connection, fault["code"])
            return "dropped"
        if firing.get("silent_peer"):
            connection.silent = "deaf"
            return "dropped"
        return None

    def _send_error(
        self, connection: Connection, request: Request, code: int, text: str, with_tracing_id: bool | None
    ) -> None:
        if with_tracing_id is None:
            with_tracing_id = self.settings.errors_carry_tracing_id
        self.delivery.write(
            connection,
            answers.encode(
                StringBody(text), request.tracing_id if with_tracing_id else None, "response", class_=STRING, code=code
            ),
        )

    # --- limits ---

    def _throttled(self, connection: Connection, request: Request, token_sha256: str, now: float) -> bool:
        limit = self._passed_limit(connection, request, token_sha256, now)
        if limit is None:
            return False
        self._throttle(connection, request, limit, None)
        return True

    def _passed_limit(self, connection: Connection, request: Request, token_sha256: str, now: float) -> str | None:
        """The limit that a request passes, if any. Every request counts against the connection's own first."""
        if not connection.requests.admit(now):
            return "requests_per_minute"
        if isinstance(request, OnMessage):
            session = connection.session
            if session is not None and not session.messages.admit(now):
                return "messages_per_second"
        elif isinstance(request, Echo):
            if not connection.health_checks.admit(now):
                return "health_checks_per_minute"
        elif _configures(request):
            known = self.sessions.get(SessionKey(self.deployment_id, token_sha256))
            if known is not None and not known.configures.admit(now):
                return "configures_per_minute"
        return None

    def _throttle(self, connection: Connection, request: Request, limit: str, retry_after_s: float | None) -> None:
        self.tally.throttles[limit] += 1
        wait_s = self.settings.retry_after_s if retry_after_s is None else retry_after_s
        connection.gateway.throttle(request, wait_s)

    # --- answers ---

    def _answer(self, connection: Connection, request: Request, now: float, firing: Firing) -> None:
        if _configures(request):
            self._configure(connection, request, now)  # type: ignore[arg-type]
            return
        session = connection.session
        if session is None:
            connection.gateway.refuse(request, 4007, "session not found error message")
            return
        match request:
            case OnMessage():
                self._take_message(connection, session, request, now, firing)
            case Echo():
                connection.gateway.answer(request.tracing_id, answers.health(self.settings, session, request))
            case GetJwt():
                connection.gateway.answer(request.tracing_id, self._grant_jwt(session, now))
            case GetConfiguration():
                connection.gateway.answer(request.tracing_id, answers.configuration(self.settings))
            case CloseSession():
                self._close_session(connection, session, request)
            case OnAttachment():
                self._presign(connection, session, request, now)
            case GetAttachment():
                self._answer_download(connection, session, request, now)
            case DeleteAttachment():
                self._answer_delete(connection, session, request)

    def _configure(
        self, connection: Connection, request: ConfigureSession | ConfigureAuthenticatedSession, now: float
    ) -> None:
        token = request.token or ""
        key = SessionKey(self.deployment_id, sha256(token))
        session = self.sessions.get(key)
        if session is not None and now >= session.expires_at:
            self._expire(session, quiet=connection)
            session = None
        problem = self._configure_problem(request, session, key)
        if problem:
            connection.gateway.refuse_session(request, *problem)
            return
        previous = session
        if session is not None and request.start_new:
            self._replace(session, keep=connection)
            session = None
        is_new = session is None
        if session is None:
            session = self._new_session(key, previous, now)
        stepped_up = self._sign_in(connection, session, request, now)
        self._attach(connection, session)
        connection.gateway.grant_session(
            request, answers.session_response(self.settings, session, is_new=is_new, stepped_up=stepped_up)
        )

    def _configure_problem(
        self, request: ConfigureSession | ConfigureAuthenticatedSession, session: Session | None, key: SessionKey
    ) -> Problem | None:
        if (request.deployment_id or "").lower() != self.deployment_id.lower() or len(request.token or "") > MAX_TOKEN:
            return BAD_REQUEST
        if isinstance(request, ConfigureSession):
            downgrade = session is not None and session.authenticated
            return Problem(4017, "Cannot downgrade an authenticated session") if downgrade else None
        if not self.settings.auth_enabled:
            return Problem(403, "HTTP authorization error")
        code = request.data.code if request.data else None
        if code not in self._signed_in:
            return Problem(401, "User is unauthorized")
        self._signed_in[code] = key
        return None

    def _new_session(self, key: SessionKey, previous: Session | None, now: float) -> Session:
        settings = self.settings
        session = Session(
            key,
            now + settings.session_duration_s,
            messages=previous.messages if previous else self._window(settings.messages_per_second, 1.0),
            configures=previous.configures if previous else self._window(settings.configures_per_minute, 60.0),
            history_reads=previous.history_reads if previous else self._window(settings.history_per_minute, 60.0),
            name=(settings.seed, key.token_sha256, self._generation(key)),
        )
        if previous is None:
            session.configures.admit(now)
        self.sessions[key] = session
        if len(self.sessions) > settings.max_sessions:
            idle = next((old for old in self.sessions.values() if not old.connections and old is not session), None)
            if idle is not None:
                del self.sessions[idle.key]
                self.tally.dropped_sessions += 1
        return session

    def _generation(self, key: SessionKey) -> object:
        """The how-many-eth session of its token this is: one more part of the name of its draws."""
        self.tally.sessions_created += 1
        generation = self._generations.get(key.token_sha256, 0) + 1
        if generation == 1 and len(self._generations) >= self.settings.max_sessions:
            return f"of all {self.tally.sessions_created}"  # no room to count per token: still never twice the same
        self._generations[key.token_sha256] = generation
        return generation

    def _attach(self, connection: Connection, session: Session) -> None:
        if connection.session is session:
            return
        self._detach(connection)
        connection.session = session
        session.connections.append(connection)
        while len(session.connections) > self.settings.connections_per_session:
            self.tally.evictions += 1
            self._let_go(session.connections[0])

    def _let_go(self, connection: Connection, body: ConnectionClosedEvent | LogoutEvent | None = None) -> None:
        """Tell a connection that it is not wanted any more, and close it."""
        connection.gateway.release(body)
        self._close(connection)

    def _replace(self, session: Session, keep: Connection) -> None:
        """
        Make way for a new session of the same token.

        What becomes of the token's other connections is not published; being let go of is the one thing they
        can understand.
        """
        self._end_conversation(session)
        for other in [other for other in session.connections if other is not keep]:
            self._let_go(other)
        self._detach(keep)
        self.sessions.pop(session.key, None)

    def _expire(self, session: Session, quiet: Connection | None = None) -> None:
        """End a session for good; `quiet` finds out by its own configure request that it is new."""
        self.tally.sessions_expired += 1
        self._end_conversation(session)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
        for connection in list(session.connections):
            self._detach(connection)
            if connection is not quiet:
                connection.gateway.expire()
                self.delivery.flush(connection)

    def _sign_in(
        self,
        connection: Connection,
        session: Session,
        request: ConfigureSession | ConfigureAuthenticatedSession,
        now: float,
    ) -> bool:
        """Note that the guest is signed in. Returns whether that was a step up from an anonymous session."""
        if isinstance(request, ConfigureSession) or session.authenticated:
            return False
        session.authenticated = True
        if connection.session is not session:
            return False
        for other in [other for other in session.connections if other is not connection]:
            self._let_go(other, ConnectionClosedEvent(reason="signedIn", reason_code="signedIn"))
        signed_in = Message(type="Event", events=[Event(event_type="Presence", presence=Presence(type="SignIn"))])
        body = answers.inbound(signed_in, session, session.draws, now)
        connection.gateway.push(body)
        return True

    def _close_session(self, connection: Connection, session: Session, request: CloseSession) -> None:
        others = [other for other in session.connections if other is not connection]
        if request.close_all_connections:
            for other in others:
                self._let_go(other)
        self._detach(connection)
        connection.gateway.end_session(request.tracing_id, answers.closed_response(self.settings))

    # --- messages from the guest ---

    def _take_message(
        self, connection: Connection, session: Session, request: OnMessage, now: float, firing: Firing
    ) -> None:
        found = self._attachments(session, request, now)
        problem = found if isinstance(found, Problem) else message_problem(self.settings, session, request)
        if problem:
            connection.gateway.refuse(request, *problem)
            return
        message = request.message
        assert message is not None and not isinstance(found, Problem)  # noqa: S101, PT018 - `message_problem` saw to it
        if "Clear" in message.presence():
            self._clear(session, request, message, now)
            return
        body = answers.inbound(
            message, session, session.draws, now, [self.uploads.attached(file, now) for file in found]
        )
        known = self._known(session, request)
        if known is not None:
            body = known.body
        elif message.type == "Event" and not message.presence():
            self._prolong(session, now)
            if not self.settings.echo_typing:
                return
        else:
            self._accept(session, request, body, now)
            for file in found:
                file.state = "sent"
        due = self._ship_echo(connection, session, request.tracing_id, body, firing, now)
        if known is None and message.type != "Event":
            self._react(session, message.text or "", due)
        elif known is None and "Join" in message.presence():
            self._react(session, None, due)

    def _attachments(self, session: Session, request: OnMessage, now: float) -> list[File] | Problem:
        """The files that a message refers to, in whichever place."""
        ids = attachment_ids_of(request)
        if len(ids) > 1:
            return BAD_REQUEST  # one at a time: the vendor's schema says so of `content`
        files = []
        for file_id in ids:
            file = self.uploads.owned(session.key, file_id, now)
            if isinstance(file, Problem):
                return file
            files.append(file)
        return files

    def _known(self, session: Session, request: OnMessage) -> Entry | None:
        """The entry that this message repeats, where a setting says that the platform would notice."""
        if self.settings.dedupe_tracing_id and request.tracing_id in session.by_tracing_id:
            return session.by_tracing_id[request.tracing_id or ""]
        message_id = message_id_of(request)
        if self.settings.dedupe_message_id and message_id is not None:
            return session.by_message_id.get(message_id)
        return None

    def _accept(self, session: Session, request: OnMessage, body: Message, now: float) -> Entry:
        """From here on the message is true: agents see it, history will show it."""
        attributes = attributes_of(self.settings, request)
        conversation = self._conversation(session, now)
        conversation.attributes.update(attributes)
        entry = Entry(
            session=session,
            conversation=conversation,
            body=body,
            tracing_id=request.tracing_id,
            custom_attributes=attributes,
            received_at=now,
        )
        self._record(entry)
        self._prolong(session, now)
        if entry.is_message:
            self.tally.messages_accepted += 1
            _remember(session.by_tracing_id, request.tracing_id if self.settings.dedupe_tracing_id else None, entry)
            _remember(session.by_message_id, message_id_of(request) if self.settings.dedupe_message_id else None, entry)
        return entry

    def _ship_echo(
        self,
        connection: Connection,
        session: Session,
        tracing_id: str | None,
        body: Message,
        firing: Firing,
        now: float,
    ) -> float:
        """Send a guest's own message back to all his connections. Returns when, in seconds since the epoch."""
        stripped = firing.get("echo_without_tracing_id")
        if stripped:
            tracing_id = None
            if stripped["strip_metadata"]:
                correlation = (body.metadata or {}).get("correlationId", "")
                body = msgspec.structs.replace(body, metadata={"correlationId": correlation})
        data = answers.encode(body, tracing_id)
        shared = tracing_id is None or self.settings.echo_tracing_id_to_other_connections
        for_others = data if shared else answers.encode(body, None)
        excluded = connection if firing.accepting() else None
        attached = list(session.connections)
        due = max(session.deliver_at, now + session.draws.delay_s(self.settings.echo_delay_ms))
        session.deliver_at = due

        def targets() -> list[tuple[Connection, bytes]]:
            self.tally.echoes_sent += 1
            current = session.connections if self.settings.echo_to_later_connections else attached
            return [(each, data if each is connection else for_others) for each in current if each is not excluded]

        self.delivery.ship(targets, firing, due, now)
        return due

    def _clear(self, session: Session, request: OnMessage, message: Message, now: float) -> None:
        """Echo, SessionClearedEvent, wipe, ConnectionClosedEvent (vendor's client, uml/clearConversation)."""
        body = answers.inbound(message, session, session.draws, now)
        data = answers.encode(body, request.tracing_id)
        self._end_conversation(session)
        for connection in list(session.connections):
            self.delivery.write(connection, data)
            connection.gateway.release(SessionClearedEvent())
            self._let_go(connection)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]

    # --- conversations ---

    def _conversation(self, session: Session, now: float) -> Conversation:
        if session.conversation is None:
            conversation = Conversation(id=session.draws.uuid(), session=session, started_at=now)
            session.conversation = self.conversations[conversation.id] = conversation
        return session.conversation

    def _end_conversation(self, session: Session, now: float | None = None) -> None:
        conversation, session.conversation = session.conversation, None
        if conversation is not None:
            conversation.ended_at = now if now is not None else session.expires_at

    def _prolong(self, session: Session, now: float) -> None:
        """Any message either way keeps a session alive."""
        session.expires_at = now + self.settings.session_duration_s

    def _record(self, entry: Entry) -> None:
        self.entries.append(entry)
        entry.session.history.append(entry)
        entry.conversation.kept += 1
        entry.conversation.messages += entry.is_message
        while len(self.entries) > self.settings.max_messages:
            self._forget(self.entries.popleft())

    def _forget(self, oldest: Entry) -> None:
        # A session's oldest entry is also its history's first, for both grow by the same appends.
        oldest.session.history.popleft()
        self.tally.dropped_messages += 1
        conversation = oldest.conversation
        conversation.kept -= 1
        if conversation.kept == 0 and conversation.session.conversation is not conversation:
            self.conversations.pop(conversation.id, None)

    # --- the agent's side ---

    def _react(self, session: Session, text: str | None, due: float) -> None:
        """Let the bot answer; `due` is when the guest hears of his own message."""
        if self._script is None or session.read_only:
            return
        name = self._script.name
        for action in self._script.react(text, session.guest, session.agent_draws):
            body, mode = action.body, action.disconnect

            def act(now: float, body: Message | None = body, mode: Any = mode) -> None:
                with contextlib.suppress(AgentError):  # the conversation ended before the bot's turn
                    if body is None:
                        self.disconnect(session, mode, now)
                    else:
                        self.say(session, body, "Bot", name, now)

            self.delivery.at(due + action.delay_s, act)

    def say(
        self, session: Session, body: Message, author: Literal["Bot", "Human"], nickname: str | None, now: float
    ) -> Entry:
        """
        Say something to a guest, on every connection he has. Nothing is kept for connections to come.

        Raises:
            AgentError: The conversation is over.
        """
        self._require_live(session, now)
        body, entry = self._outbound(session, body, author, nickname, now)
        data = answers.encode(body, None)
        for connection in session.connections:
            self.delivery.write(connection, data)
        return entry

    def _require_live(self, session: Session, now: float) -> None:
        if session.read_only or now >= session.expires_at or self.sessions.get(session.key) is not session:
            raise AgentError("the conversation is over: the session is read-only, expired or replaced")

    def _outbound(
        self, session: Session, body: Message, author: str, nickname: str | None, now: float
    ) -> tuple[Message, Entry]:
        body = answers.outbound(body, author, nickname, session.agent_draws, now)
        entry = Entry(
            session=session,
            conversation=self._conversation(session, now),
            body=body,
            tracing_id=None,
            custom_attributes={},
            received_at=now,
        )
        self._prolong(session, now)
        typing_only = entry.body.type == "Event" and not body.presence()
        if not typing_only:  # the REST enum of events knows no Typing
            self._record(entry)
        self.tally.messages_outbound += entry.is_message
        return body, entry

    def disconnect(self, session: Session, mode: Literal["send", "read_only"] | None, now: float) -> Entry:
        """
        End the conversation from the agent's side.

        Args:
            session: Whose.
            mode: ``read_only``: the guest may not write any more. ``send``: his next message begins another
                conversation. None: as `conversation_disconnect` says; when that is off, without `readOnly`.
            now: Seconds since the epoch.

        Raises:
            AgentError: The conversation is over already.
        """
        self._require_live(session, now)
        if mode is None and self.settings.conversation_disconnect != "off":
            mode = self.settings.conversation_disconnect
        body, entry = self._outbound(session, disconnect_event(mode), "Human", None, now)
        session.read_only = mode == "read_only"
        for connection in list(session.connections):
            connection.gateway.push_disconnect(body, read_only=session.read_only)
            self.delivery.flush(connection)
        self._end_conversation(session, now)
        return entry

    # --- history and sign-in, over REST ---

    def _grant_jwt(self, session: Session, now: float) -> JwtResponse:
        expires_at = int(now + self.settings.jwt_life_s)
        if len(self._jwts) > 10_000:
            self._jwts = {jwt: grant for jwt, grant in self._jwts.items() if grant.expires_at > now}
        jwt = session.draws.jwt(expires_at)
        self._jwts[jwt] = Jwt(session, expires_at)
        return JwtResponse(jwt=jwt, exp=expires_at)

    def session_of_jwt(self, jwt: str, now: float) -> Session | None:
        """The session whose history a key opens; None for a wrong or old key, or one of a session that is gone."""
        grant = self._jwts.get(jwt)
        if grant is None or now >= grant.expires_at or self.sessions.get(grant.session.key) is not grant.session:
            return None
        return None if now >= grant.session.expires_at else grant.session

    def sign_in(self) -> str:
        """Exchange any OAuth code for a JWT: who the guest is, is none of the emulator's business."""
        jwt = self.draws.jwt(0)
        self._signed_in[jwt] = None
        if len(self._signed_in) > self.settings.max_sessions:
            del self._signed_in[next(iter(self._signed_in))]
        return jwt

    def sign_out(self, jwt: str) -> bool:
        """Sign a guest out everywhere: `LogoutEvent` on all his connections. False for an unknown JWT."""
        if jwt not in self._signed_in:
            return False
        key = self._signed_in.pop(jwt)
        session = self.sessions.get(key) if key else None
        for connection in list(session.connections) if session else ():
            self._let_go(connection, LogoutEvent())
        return True

    # --- files ---

    def _presign(self, connection: Connection, session: Session, request: OnAttachment, now: float) -> None:
        file = self.uploads.presign(session.key, request, now)
        if isinstance(file, Problem):
            self._refuse_upload(connection, request, file)
            return
        body = PresignedUrlResponse(
            attachment_id=file.id,
            url=self.uploads.upload_url(file),
            headers=file.headers,
            file_name=file.name,
            file_type=file.type,
        )
        connection.gateway.answer(request.tracing_id, body)

    def _refuse_upload(self, connection: Connection, request: OnAttachment, problem: Problem) -> None:
        if not request.errors_as_json:
            connection.gateway.refuse(request, *problem)
            return
        body = GenerateUrlError(
            error_code=problem.code, error_message=problem.text, attachment_id=request.attachment_id
        )
        connection.gateway.refuse_with(request, problem.code, body, envelope_code=self.settings.generate_url_error_code)

    def _answer_download(self, connection: Connection, session: Session, request: GetAttachment, now: float) -> None:
        file = self.uploads.owned(session.key, request.attachment_id, now)
        if isinstance(file, Problem):
            connection.gateway.refuse(request, *file)
            return
        body = PresignedUrlResponse(
            attachment_id=file.id,
            headers={},
            url=self.uploads.download_url(file, now),
            file_name=file.name,
            file_size=len(file.content),
            file_type=file.type,
        )
        connection.gateway.answer(request.tracing_id, body)

    def _answer_delete(self, connection: Connection, session: Session, request: DeleteAttachment) -> None:
        problem = self.uploads.withdraw(session.key, request.attachment_id)
        if problem:
            connection.gateway.refuse(request, *problem)
        else:
            connection.gateway.answer(
                request.tracing_id, AttachmentDeletedResponse(attachment_id=request.attachment_id)
            )

    def uploaded(self, file: File, content: bytes, now: float) -> None:
        """A PUT is complete. Its event follows, on whatever connections the session has by then."""
        self.uploads.store(file, content)
        self.delivery.at(
            now + self.draws.delay_s(self.settings.upload_event_delay_ms), lambda at: self._tell_upload(file, at)
        )

    def _tell_upload(self, file: File, now: float) -> None:
        if not self.uploads.known(file):
            return
        problem = self.uploads.examine(file, now)
        body: Body
        if problem:
            body = UploadFailureEvent(
                attachment_id=file.id,
                error_code=problem.code,
                error_message=problem.text,
                timestamp=iso_time(now),
            )
        else:
            url = self.uploads.download_url(file, now)
            body = UploadSuccessEvent(attachment_id=file.id, download_url=url, timestamp=iso_time(now))
        session = self.sessions.get(file.session)
        data = answers.encode(body, None, class_=type(body).__name__)
        for connection in session.connections if session else ():
            self.delivery.write(connection, data)


def host_of(origin: str) -> str:
    """The host of an Origin header, which official clients send with and without a scheme."""
    return (urlsplit(origin if "//" in origin else f"//{origin}").hostname or "").lower()


def _configures(request: Request | Malformed) -> bool:
    return isinstance(request, ConfigureSession | ConfigureAuthenticatedSession)


def _occurrence(request: Request, token_sha256: str) -> Occurrence:
    message = request.message if isinstance(request, OnMessage) else None
    return Occurrence(
        "request",
        action=request.action,
        is_message=message is not None and message.type != "Event",
        text=(message.text if message else None) or "",
        token_sha256=token_sha256,
        tracing_id=request.tracing_id,
    )


def _remember(known: dict[str, Entry], name: str | None, entry: Entry) -> None:
    if name is None:
        return
    known[name] = entry
    if len(known) > _MAX_REMEMBERED:
        del known[next(iter(known))]
