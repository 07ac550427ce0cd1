"""
`Ledger`: what was said, and in which conversation. It knows no connection.

The order of its entries is the order of acceptance: what agents see. Each session's history is a part of it.
"""

from __future__ import annotations

from collections import deque

from guestwire.emulator import views
from guestwire.emulator.feed import Feed
from guestwire.emulator.records import Conversation, Entry, Session, Tally
from guestwire.emulator.rules import message_id_of
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import Message, OnMessage

#: Remembered for deduplication, per session and kind.
_MAX_REMEMBERED = 10_000


class Ledger:
    """Entries and conversations of the deployment. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings, tally: Tally, feed: Feed) -> None:
        self._settings = settings
        self._tally = tally
        self._feed = feed
        self.entries: deque[Entry] = deque()
        self.by_id: dict[str, Entry] = {}
        self.conversations: dict[str, Conversation] = {}

    # --- conversations ---

    def conversation(self, session: Session, now: float, conversation_id: str | None = None) -> Conversation:
        """The guest's conversation; it begins with the first thing said by either side. Its id is drawn, or given."""
        if session.conversation is None:
            conversation = Conversation(id=conversation_id or session.draws.uuid(), session=session, started_at=now)
            session.conversation = self.conversations[conversation.id] = conversation
            self.tell_conversation(session)
        return session.conversation

    def end_conversation(self, session: Session, now: float | None = None) -> None:
        """End it, if there is one; without `now` it ended when the session did."""
        conversation, session.conversation = session.conversation, None
        if conversation is not None:
            conversation.ended_at = now if now is not None else session.expires_at
            self._feed.tell("conversation", lambda: views.conversation_view(conversation))

    def tell_conversation(self, session: Session) -> None:
        """Tell who follows that something about it has changed."""
        conversation = session.conversation
        if conversation is not None:
            self._feed.tell("conversation", lambda: views.conversation_view(conversation))

    def prolong(self, session: Session, now: float) -> None:
        """Any message either way keeps a session alive."""
        session.expires_at = now + (session.life_s or self._settings.session_duration_s)

    # --- entries ---

    def record(self, entry: Entry) -> None:
        """From here on it is true: agents see it, history will show it."""
        self.entries.append(entry)
        self.by_id[entry.body.id or ""] = entry
        entry.session.history.append(entry)
        entry.conversation.kept += 1
        entry.conversation.messages += entry.is_message
        self.tell(entry)
        while len(self.entries) > self._settings.max_messages:
            self._forget(self.entries.popleft())

    def tell(self, entry: Entry) -> None:
        """Tell who follows what was said."""
        if entry.is_message:
            self._feed.tell("message", lambda: views.message_view(entry))
        else:
            self.tell_event(entry.conversation, entry.body)

    def tell_event(self, conversation: Conversation, body: Message) -> None:
        """Tell who follows of typing or presence."""
        self._feed.tell("event", lambda: views.event_view(conversation, body))

    def _forget(self, oldest: Entry) -> None:
        # A session's oldest entry is also its history's first, for both grow by the same appends.
        oldest.session.history.popleft()
        self.by_id.pop(oldest.body.id or "", None)
        self._tally.dropped_messages += 1
        conversation = oldest.conversation
        conversation.kept -= 1
        if conversation.kept == 0 and conversation.session.conversation is not conversation:
            self.conversations.pop(conversation.id, None)

    # --- deduplication ---

    def known(self, session: Session, request: OnMessage) -> Entry | None:
        """The entry that this message repeats, where a setting says that the platform would notice."""
        if self._settings.dedupe_tracing_id and request.tracing_id in session.by_tracing_id:
            return session.by_tracing_id[request.tracing_id or ""]
        return self.known_id(session, message_id_of(request))

    def known_id(self, session: Session, message_id: str | None) -> Entry | None:
        """The same for a provider's id alone."""
        if self._settings.dedupe_message_id and message_id is not None:
            return session.by_message_id.get(message_id)
        return None

    def remember(self, request: OnMessage, entry: Entry) -> None:
        """Note by what a repetition of this message would be known."""
        session = entry.session
        _remember(session.by_tracing_id, request.tracing_id if self._settings.dedupe_tracing_id else None, entry)
        self.remember_id(message_id_of(request), entry)

    def remember_id(self, message_id: str | None, entry: Entry) -> None:
        """Note a provider's id."""
        _remember(entry.session.by_message_id, message_id if self._settings.dedupe_message_id else None, entry)


def _remember(known: dict[str, Entry], name: str | None, entry: Entry) -> None:
    if name is None:
        return
    known[name] = entry
    if len(known) > _MAX_REMEMBERED:
        del known[next(iter(known))]
