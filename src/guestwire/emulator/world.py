"""
`World`: what is true at the emulated platform. No socket, no clock, no loop; every verb takes `now`.

Here a request goes through faults and limits to its answer. What else is decided has rooms of its own: which session a
token opens (`registry`), who is signed in (`signin`), what was said (`ledger`), what agents do (`desk`), files
(`files`, `uploads`), who is told of it (`feed`), what comes in over REST (`platform`) and goes back by `webhooks`.

The owner (the app) calls `upgrade`, `receive`, `lost`, the desk's verbs and the history's, then carries out the
`outputs` of the connections in `delivery.take_touched()`, and calls `delivery.run_due` no later than
`delivery.next_due()`.

Order. A message is *accepted* the moment its request is processed: from then on agents see it, and the order of
acceptance is the order in which they see. Its echo comes later, to the connections that were attached at acceptance (a
setting adds later ones), one after the other within a session. The platform promises no order; this emulator keeps it
so that what breaks it is a fault that was asked for.

The token is a secret: only its SHA-256 is kept here, shown or logged.
"""

from __future__ import annotations

from collections import deque

import msgspec

from guestwire.emulator import answers, views
from guestwire.emulator.agents import Script
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.desk import Desk
from guestwire.emulator.faults import NOTHING, FaultBook, Firing, Occurrence
from guestwire.emulator.feed import Feed
from guestwire.emulator.files import Files
from guestwire.emulator.hosts import host_of
from guestwire.emulator.ids import Draws
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.limits import window
from guestwire.emulator.platform import platform
from guestwire.emulator.records import (
    Connection,
    Conversation,
    Entry,
    Jwt,
    Logged,
    Problem,
    Session,
    SessionKey,
    Tally,
    sha256,
)
from guestwire.emulator.registry import Registry
from guestwire.emulator.rules import attributes_of, message_problem
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.signin import SignIn
from guestwire.emulator.uploads import Uploads
from guestwire.emulator.webhooks import Webhooks
from guestwire.protocol import codec
from guestwire.protocol.frames import (
    STRING,
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    DeleteAttachment,
    Echo,
    GetAttachment,
    GetConfiguration,
    GetJwt,
    JwtResponse,
    Malformed,
    Message,
    OnAttachment,
    OnMessage,
    Request,
    StringBody,
)
from guestwire.protocol.gateway import Asked, Refused


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
        self.script = script
        self.delivery = Delivery()
        self.feed = Feed()
        self._begin()

    def _begin(self) -> None:
        settings, delivery = self.settings, self.delivery
        delivery.forget()
        self.draws = draws = Draws(settings.seed)
        self.deployment_id = settings.deployment_id or Draws(settings.seed, "deployment").uuid()
        self.faults = FaultBook(settings.seed)
        self.tally = tally = Tally()
        self.log: deque[Logged] = deque(maxlen=settings.request_log)
        self.ledger = Ledger(settings, tally, self.feed)
        self.signin = SignIn(settings, self.deployment_id, draws)
        self.registry = Registry(settings, self.deployment_id, delivery, self.ledger, self.signin, tally)
        self.uploads = Uploads(settings, draws, tally, lambda: self.base_url)
        self.files = Files(settings, self.uploads, self.registry, delivery, draws)
        self.webhooks = webhooks = Webhooks(settings, delivery, self.strike)
        self.desk = Desk(settings, self.script, self.registry, self.ledger, self.uploads, delivery, tally, webhooks)
        self.platform = platform(settings, self.registry, self.ledger, self.desk, delivery, webhooks, self.log, tally)
        self._connects = window(settings, settings.connects_per_minute, 60.0)
        self._jwts: dict[str, Jwt] = {}

    def reset(self) -> None:
        """Begin again with the same settings and seed; every connection is closed."""
        for connection in list(self.connections.values()):
            self.registry.close(connection)
        self._begin()
        self.feed.tell("reset", lambda: {"deployment_id": self.deployment_id})

    # --- what there is ---

    @property
    def connections(self) -> dict[int, Connection]:
        """Every open connection, by its number."""
        return self.registry.connections

    @property
    def sessions(self) -> dict[SessionKey, Session]:
        """Every session that has not ended, or not been found to have expired."""
        return self.registry.sessions

    @property
    def conversations(self) -> dict[str, Conversation]:
        """Every conversation that is kept, oldest first."""
        return self.ledger.conversations

    @property
    def entries(self) -> deque[Entry]:
        """Everything that was said, in visible order."""
        return self.ledger.entries

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
        return self.registry.connect()

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
            self.registry.end(connection)

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
            self.registry.abort(connection)
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
            self.registry.expire(session)
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
            self.registry.abort(connection)
        elif ruin.kind == "close_with":
            self.registry.close(connection, ruin["code"])
        elif ruin.kind == "silent_peer":
            connection.silent = "mute"
        elif not isinstance(request, Malformed):
            self._send_error(connection, request, ruin["code"], ruin["text"], ruin["tracing_id"])

    # --- faults ---

    def strike(self, occurrence: Occurrence) -> Firing:
        """Let the faults know of an occurrence; those that fire are counted."""
        firing = self.faults.strike(occurrence)
        for fault in firing:
            self.tally.faults_fired[fault.kind] += 1
            self.feed.tell("fault", lambda fault=fault: views.fault_view(fault, occurrence))  # type: ignore[misc]
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
            self.registry.expire(connection.session)
            return 4006
        if firing.get("drop_before_accept"):
            self.registry.abort(connection)
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
            self.registry.close(connection, fault["code"])
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
            self.registry.configure(connection, request, now)  # type: ignore[arg-type]
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
                self.registry.close_session(connection, session, request)
            case OnAttachment():
                self.files.presign(connection, session, request, now)
            case GetAttachment():
                self.files.answer_download(connection, session, request, now)
            case DeleteAttachment():
                self.files.answer_delete(connection, session, request)

    # --- messages from the guest ---

    def _take_message(
        self, connection: Connection, session: Session, request: OnMessage, now: float, firing: Firing
    ) -> None:
        found = self.files.referred_to(session, request, now)
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
        known = self.ledger.known(session, request)
        if known is not None:
            body = known.body
        elif message.type == "Event" and not message.presence():
            self.ledger.prolong(session, now)
            if session.conversation is not None:
                self.ledger.tell_event(session.conversation, body)
            if not self.settings.echo_typing:
                return
        else:
            self._accept(session, request, body, now)
            for file in found:
                file.state = "sent"
        due = self._ship_echo(connection, session, request.tracing_id, body, firing, now)
        if known is None and message.type != "Event":
            self.desk.react(session, body, due)
        elif known is None and "Join" in message.presence():
            self.desk.react(session, None, due)

    def _accept(self, session: Session, request: OnMessage, body: Message, now: float) -> Entry:
        """From here on the message is true: agents see it, history will show it."""
        attributes = attributes_of(self.settings, request)
        conversation = self.ledger.conversation(session, now)
        conversation.attributes.update(attributes)
        entry = Entry(
            session=session,
            conversation=conversation,
            body=body,
            tracing_id=request.tracing_id,
            custom_attributes=attributes,
            received_at=now,
        )
        self.ledger.record(entry)
        self.ledger.prolong(session, now)
        if entry.is_message:
            self.tally.messages_accepted += 1
            self.ledger.remember(request, entry)
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
        """Echo, SessionClearedEvent, ConnectionClosedEvent, wipe (vendor's client, uml/clearConversation)."""
        body = answers.inbound(message, session, session.draws, now)
        data = answers.encode(body, request.tracing_id)
        for connection in session.connections:
            self.delivery.write(connection, data)
        self.registry.clear(session)

    # --- the key to the history ---

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
