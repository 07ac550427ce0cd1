"""`Desk`: the agent's side of every conversation, be it a person's or the bot's."""

from __future__ import annotations

import contextlib
import functools
from typing import Literal

import msgspec

from guestwire.emulator import answers, normalized
from guestwire.emulator.agents import Action, Script, disconnect_event
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.records import AgentError, Entry, Session, Tally
from guestwire.emulator.registry import Registry
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.uploads import Handout, Uploads
from guestwire.emulator.webhooks import Webhooks
from guestwire.protocol.frames import Content, Message

Author = Literal["Bot", "Human"]


class Desk:
    """
    What agents say and do. Times are in seconds since the epoch.

    A conversation is the bot's, if there is one, until it is handed over: from then on the bot is silent in it, and
    who speaks is a person with a name.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        script: Script | None,
        registry: Registry,
        ledger: Ledger,
        uploads: Uploads,
        delivery: Delivery,
        tally: Tally,
        webhooks: Webhooks,
    ) -> None:
        self._webhooks = webhooks
        self._settings = settings
        self._script = script
        self._registry = registry
        self._ledger = ledger
        self._uploads = uploads
        self._delivery = delivery
        self._tally = tally

    # --- the bot ---

    def react(self, session: Session, heard: Message | None, due: float) -> None:
        """Let the bot answer what it heard (None: the guest joined), from `due` on, when the guest hears himself."""
        if self._script is None or session.read_only or _human(session):
            return
        for action in self._script.react(heard, session.guest, session.agent_draws, due):
            self._delivery.at(due + action.delay_s, functools.partial(self._act, session, action))

    def _act(self, session: Session, action: Action, now: float) -> None:
        if _human(session) and action.human is None:
            return  # handed over before the bot's turn
        with contextlib.suppress(AgentError):  # the conversation ended before the bot's turn
            if action.human is not None:
                self.hand_over(session, action.human, now)
            if action.disconnect is not None:
                self.disconnect(session, action.disconnect, now)
            elif action.body is not None:
                self.say(session, action.body, "Human" if action.human else "Bot", None, now, action.handout)

    def hand_over(self, session: Session, name: str, now: float) -> None:
        """
        Give the conversation to a person.

        Raises:
            AgentError: The conversation is over.
        """
        self._require_live(session, now)
        conversation = self._ledger.conversation(session, now)
        if conversation.human != name:
            conversation.human = name
            self._ledger.tell_conversation(session)

    # --- everybody ---

    def say(
        self,
        session: Session,
        body: Message,
        author: Author,
        nickname: str | None,
        now: float,
        handout: Handout | None = None,
    ) -> Entry:
        """
        Say something to a guest, on every connection he has. Nothing is kept for connections to come.

        Args:
            session: Whose.
            body: What: text, content, events, metadata.
            author: Who speaks.
            nickname: The name to show; None: the bot's, or that of whom the conversation was handed over to.
            now: Seconds since the epoch.
            handout: A file to send with it.

        Raises:
            AgentError: The conversation is over, or the file cannot be sent.
        """
        self._require_live(session, now)
        if handout is not None:
            file = self._uploads.hand_out(session.key, handout, now)
            content = Content(content_type="Attachment", attachment=self._uploads.attached(file, now))
            body = msgspec.structs.replace(body, content=[content, *(body.content or ())])
        entry = self.record(session, body, author, nickname, now)
        self.tell(entry, now)
        return entry

    def tell(self, entry: Entry, now: float) -> None:
        """Tell the guest what was said: on every connection he has, or by webhook."""
        session = entry.session
        if session.platform != "WebMessaging":
            payload = normalized.outbound(entry, typing=self._settings.open_typing_enabled)
            if payload is not None:
                self._webhooks.send(payload, session.key.token_sha256, now)
            return
        data = answers.encode(entry.body, None)
        for connection in session.connections:
            self._delivery.write(connection, data)

    def record(self, session: Session, body: Message, author: Author, nickname: str | None, now: float) -> Entry:
        """
        Make true what is said, without telling the guest.

        Raises:
            AgentError: The conversation is over.
        """
        self._require_live(session, now)
        if nickname is None:
            nickname = _human(session) if author == "Human" else self._script.name if self._script else None
        entry = Entry(
            session=session,
            conversation=self._ledger.conversation(session, now),
            body=session.addressed(answers.outbound(body, author, nickname, session.agent_draws, now)),
            tracing_id=None,
            custom_attributes={},
            received_at=now,
        )
        self._ledger.prolong(session, now)
        if entry.body.type == "Event" and not entry.body.presence():
            self._ledger.tell(entry)  # typing and offers: the REST enum of events knows none
        else:
            self._ledger.record(entry)
        self._tally.messages_outbound += entry.is_message
        return entry

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
        if mode is None and self._settings.conversation_disconnect != "off":
            mode = self._settings.conversation_disconnect
        entry = self.record(session, disconnect_event(mode), "Human", None, now)
        session.read_only = mode == "read_only"
        for connection in list(session.connections):
            connection.gateway.push_disconnect(entry.body, read_only=session.read_only)
            self._delivery.flush(connection)
        self._ledger.end_conversation(session, now)
        return entry

    def _require_live(self, session: Session, now: float) -> None:
        over = session.read_only or now >= session.expires_at
        if over or self._registry.sessions.get(session.key) is not session:
            raise AgentError("the conversation is over: the session is read-only, expired or replaced")


def _human(session: Session) -> str | None:
    return session.conversation.human if session.conversation else None
