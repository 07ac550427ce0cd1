"""
`Registry`: which session a token opens, and which connections it has.

Here is decided how sessions begin, are resumed, replaced, signed in, expire and end, and how connections are let go.
"""

from __future__ import annotations

import itertools

import msgspec

from guestwire.emulator import answers
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.limits import window
from guestwire.emulator.records import ABORT, Close, Connection, Login, Session, SessionKey, Tally, sha256
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.signin import PERSON, SignIn
from guestwire.protocol.frames import (
    CloseSession,
    ConfigureAuthenticatedSession,
    ConfigureSession,
    ConnectionClosedEvent,
    Event,
    LogoutEvent,
    Message,
    Presence,
    SessionClearedEvent,
)
from guestwire.protocol.gateway import GatewaySession


class Registry:
    """All sessions and connections of the deployment. Times are in seconds since the epoch."""

    def __init__(
        self,
        settings: EmulatorSettings,
        deployment_id: str,
        delivery: Delivery,
        ledger: Ledger,
        signin: SignIn,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._deployment_id = deployment_id
        self._delivery = delivery
        self._ledger = ledger
        self._signin = signin
        self._tally = tally
        self._generations: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self.connections: dict[int, Connection] = {}
        self.sessions: dict[SessionKey, Session] = {}

    # --- connections ---

    def connect(self) -> Connection:
        """Take in a WebSocket whose upgrade was granted."""
        settings = self._settings
        connection = Connection(
            next(self._numbers),
            GatewaySession(errors_carry_tracing_id=settings.errors_carry_tracing_id),
            window(settings, settings.requests_per_minute, 60.0),
            window(settings, settings.health_checks_per_minute, 60.0),
        )
        connection.gateway.connection_opened()
        self.connections[connection.number] = connection
        self._tally.connections_opened += 1
        return connection

    def end(self, connection: Connection) -> None:
        """Forget a connection that is gone, or about to be."""
        connection.open = False
        connection.held.clear()
        self.connections.pop(connection.number, None)
        self.detach(connection)
        connection.gateway.connection_lost()

    def close(self, connection: Connection, code: int | None = None) -> None:
        """End a connection with a close frame; `code` None: as the setting says."""
        self._delivery.flush(connection)
        self._delivery.output(connection, Close(code or self._settings.server_close_code))
        self.end(connection)

    def abort(self, connection: Connection) -> None:
        """End a connection without a word."""
        self._delivery.output(connection, ABORT)
        self.end(connection)

    def let_go(self, connection: Connection, body: ConnectionClosedEvent | LogoutEvent | None = None) -> None:
        """Tell a connection that it is not wanted any more, and close it."""
        connection.gateway.release(body)
        self.close(connection)

    def detach(self, connection: Connection) -> None:
        """Part a connection from its session; both go on."""
        session, connection.session = connection.session, None
        if session is not None and connection in session.connections:
            session.connections.remove(connection)
            self._ledger.tell_conversation(session)

    def _attach(self, connection: Connection, session: Session) -> None:
        if connection.session is session:
            return
        self.detach(connection)
        connection.session = session
        session.connections.append(connection)
        self._ledger.tell_conversation(session)
        while len(session.connections) > self._settings.connections_per_session:
            self.evict(session)

    def evict(self, session: Session) -> None:
        """Let the oldest connection go."""
        self._tally.evictions += 1
        self.let_go(session.connections[0])

    # --- how sessions begin ---

    def session_of(self, token: str) -> Session | None:
        """The session that a token opens, expired or not."""
        return self.sessions.get(SessionKey(self._deployment_id, sha256(token)))

    def configure(
        self, connection: Connection, request: ConfigureSession | ConfigureAuthenticatedSession, now: float
    ) -> None:
        """Answer a configure: open, resume or replace a session, and attach the connection to it."""
        key = SessionKey(self._deployment_id, sha256(request.token or ""))
        session = self.sessions.get(key)
        if session is not None and now >= session.expires_at:
            self.expire(session, quiet=connection)
            session = None
        problem = self._signin.problem(request, session, now)
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
        stepped_up = self._sign_in(connection, session, self._signin.login_of(request, now), now)
        self._attach(connection, session)
        connection.gateway.grant_session(
            request, answers.session_response(self._settings, session, is_new=is_new, stepped_up=stepped_up)
        )

    def _new_session(self, key: SessionKey, previous: Session | None, now: float) -> Session:
        settings = self._settings
        session = Session(
            key,
            now + settings.session_duration_s,
            messages=previous.messages if previous else window(settings, settings.messages_per_second, 1.0),
            configures=previous.configures if previous else window(settings, settings.configures_per_minute, 60.0),
            history_reads=previous.history_reads if previous else window(settings, settings.history_per_minute, 60.0),
            name=(settings.seed, key.token_sha256, self.generation(key)),
        )
        if previous is None:
            session.configures.admit(now)
        self.keep(session)
        return session

    def keep(self, session: Session) -> None:
        """Let a session be known; one too many costs an idle one."""
        self.sessions[session.key] = session
        if len(self.sessions) > self._settings.max_sessions:
            idle = next((old for old in self.sessions.values() if not old.connections and old is not session), None)
            if idle is not None:
                del self.sessions[idle.key]
                self._tally.dropped_sessions += 1

    def generation(self, key: SessionKey) -> object:
        """The how-many-eth session of its token this is: one more part of the name of its draws."""
        self._tally.sessions_created += 1
        generation = self._generations.get(key.token_sha256, 0) + 1
        if generation == 1 and len(self._generations) >= self._settings.max_sessions:
            return f"of all {self._tally.sessions_created}"  # no room to count per token: still never twice the same
        self._generations[key.token_sha256] = generation
        return generation

    def _sign_in(self, connection: Connection, session: Session, login: Login | None, now: float) -> bool:
        """Note that the guest is signed in. Returns whether that was a step up from an anonymous session."""
        if login is None:
            return False
        session.login = login
        login.sessions.add(session.key)
        if session.authenticated:
            return False
        session.authenticated = True
        if connection.session is not session:
            return False
        for other in [other for other in session.connections if other is not connection]:
            self.let_go(other, ConnectionClosedEvent(reason="signedIn", reason_code="signedIn"))
        signed_in = Message(type="Event", events=[Event(event_type="Presence", presence=Presence(type="SignIn"))])
        body = answers.inbound(signed_in, session, session.draws, now)
        channel = body.channel and msgspec.structs.replace(body.channel, from_=PERSON)
        connection.gateway.push(msgspec.structs.replace(body, channel=channel))
        return True

    # --- how they end ---

    def _replace(self, session: Session, keep: Connection) -> None:
        """
        Make way for a new session of the same token.

        What becomes of the token's other connections is not published; being let go of is the one thing they
        can understand.
        """
        self._ledger.end_conversation(session)
        for other in [other for other in session.connections if other is not keep]:
            self.let_go(other)
        self.detach(keep)
        self.sessions.pop(session.key, None)

    def expire(self, session: Session, quiet: Connection | None = None) -> None:
        """End a session for good; `quiet` finds out by its own configure request that it is new."""
        self._tally.sessions_expired += 1
        self._forget(session)
        for connection in list(session.connections):
            self.detach(connection)
            if connection is not quiet:
                connection.gateway.expire()
                self._delivery.flush(connection)

    def clear(self, session: Session) -> None:
        """Wipe a session and let its connections go: what follows the echo of a clear."""
        self._forget(session)
        for connection in list(session.connections):
            connection.gateway.release(SessionClearedEvent())
            self.let_go(connection)

    def _forget(self, session: Session) -> None:
        self._ledger.end_conversation(session)
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]

    def log_out(self, login: Login) -> None:
        """Tell every connection of every session of a login that it is over."""
        sessions = (self.sessions.get(key) for key in login.sessions)
        for session in [session for session in sessions if session is not None and session.login is login]:
            for connection in list(session.connections):
                self.let_go(connection, LogoutEvent())

    def close_session(self, connection: Connection, session: Session, request: CloseSession) -> None:
        """Answer a `closeSession`."""
        others = [other for other in session.connections if other is not connection]
        if request.close_all_connections:
            for other in others:
                self.let_go(other)
        self.detach(connection)
        connection.gateway.end_session(request.tracing_id, answers.closed_response(self._settings))
