"""
`Guests`: those who come over REST, Open Messaging's and the tutorial contract's, in the same ledger as everybody.

The platform threads Open Messaging by (integration, ``from.id``): one conversation until the agent ends it or
`threading_window_s` passes in silence. The tutorial contract addresses a conversation, which begins when it is first
named. Either guest is a `Session` without connections; what agents say goes out as a webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guestwire.emulator.desk import Desk
from guestwire.emulator.ids import Draws
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.records import Conversation, Entry, Platform, SessionKey, Tally, sha256
from guestwire.emulator.registry import Registry
from guestwire.emulator.restguest import RestGuest
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import Message

#: A session of the tutorial contract never ends by itself, in seconds.
_FOR_EVER_S = 1e12


class Guests:
    """All guests over REST. Times are in seconds since the epoch."""

    def __init__(
        self, settings: EmulatorSettings, registry: Registry, ledger: Ledger, desk: Desk, tally: Tally
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._ledger = ledger
        self._desk = desk
        self._tally = tally
        self.integration_id = settings.integration_id or Draws(settings.seed, "integration").uuid()

    # --- who ---

    def over_open(self, sender: Mapping[str, Any], now: float) -> RestGuest:
        """The Open Messaging guest with this `from`, known or new."""
        key = SessionKey(f"Open/{self.integration_id}", sha256(str(sender["id"])))
        return self._guest(key, "Open", self.integration_id, sender, self._settings.threading_window_s, now)

    def over_contract(self, conversation_id: str, sender: Mapping[str, Any], now: float) -> RestGuest | None:
        """The guest of a conversation of the tutorial contract; None if it is another channel's."""
        taken = self._ledger.conversations.get(conversation_id)
        if taken is not None and taken.session.platform != "Contract":
            return None
        key = SessionKey("Contract", sha256(conversation_id))
        return self._guest(key, "Contract", conversation_id, sender, _FOR_EVER_S, now)

    def _guest(
        self,
        key: SessionKey,
        platform: Platform,
        channel_id: str,
        sender: Mapping[str, Any],
        life_s: float,
        now: float,
    ) -> RestGuest:
        found = self._registry.sessions.get(key)
        if found is not None and now >= found.expires_at:
            self._registry.expire(found)
            found = None
        if not isinstance(found, RestGuest):
            name = (self._settings.seed, platform, channel_id, key.token_sha256, self._registry.generation(key))
            found = RestGuest(key, platform, channel_id, sender, life_s, name)
            self._registry.keep(found)
        found.sender = sender
        self._ledger.prolong(found, now)
        return found

    # --- what they say ---

    def accept(self, guest: RestGuest, body: Message, attributes: Mapping[str, str], now: float) -> Entry:
        """From here on the message is true: agents see it, and the bot hears it."""
        guest.read_only = False  # ended by an agent: over REST the next message begins anew
        if guest.platform == "Contract":
            conversation = self._reopened(guest, now)
        else:
            conversation = self._ledger.conversation(guest, now)
        conversation.attributes.update(attributes)
        entry = Entry(
            session=guest,
            conversation=conversation,
            body=body,
            tracing_id=None,
            custom_attributes=dict(attributes),
            received_at=now,
        )
        self._ledger.record(entry)
        self._tally.messages_accepted += 1
        self._desk.react(guest, body, now + guest.agent_draws.delay_s(self._settings.echo_delay_ms))
        return entry

    def _reopened(self, guest: RestGuest, now: float) -> Conversation:
        """The conversation that the tutorial contract names goes on, also after an agent has ended it."""
        known = self._ledger.conversations.get(guest.channel_id)
        if known is None or guest.conversation is known:
            return self._ledger.conversation(guest, now, guest.channel_id)
        known.session, known.ended_at, guest.conversation = guest, None, known
        self._ledger.tell_conversation(guest)
        return known
