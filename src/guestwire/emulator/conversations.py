"""
`Conversations`: the routes by which conversations and messages are read, and by which an agent's software answers.

They read the one ledger, whichever way a guest came. `history_lag_s` applies to what a conversation and a bulk request
show; a message that is asked for by its id is there at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guestwire.emulator import normalized
from guestwire.emulator.calls import Answer, Call, Refusal, bad_request, json_of, refusal
from guestwire.emulator.desk import Desk
from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.ledger import Ledger
from guestwire.emulator.records import AgentError, Conversation, Entry
from guestwire.emulator.restguest import RestGuest, guest_id_of
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import Event, Message, Typing

#: Ids of one bulk request.
MAX_BULK = 100
#: Longest text of an agent, characters (limits page).
MAX_AGENT_TEXT = 2000
_MESSENGER = {"WebMessaging": "webmessaging", "Open": "open", "Contract": "open"}


class Conversations:
    """Reading, and the agent's side over REST. Times are in seconds since the epoch."""

    def __init__(self, settings: EmulatorSettings, ledger: Ledger, desk: Desk) -> None:
        self._settings = settings
        self._ledger = ledger
        self._desk = desk
        self.organization_id = settings.organization_id or Draws(settings.seed, "organization").uuid()
        self._agent_id = Draws(settings.seed, "agent").uuid()

    # --- reading ---

    def organization(self, call: Call) -> Answer:
        """GET ``/api/v2/organizations/me``."""
        return Answer(
            200,
            {
                "id": self.organization_id,
                "name": "Emulated organization",
                "defaultLanguage": "en-us",
                "state": "active",
                "version": 1,
                "selfUri": "/api/v2/organizations/me",
            },
        )

    def conversation(self, call: Call) -> Answer:
        """GET ``/api/v2/conversations/messages/{conversationId}``."""
        conversation = self._conversation(call)
        shown = [entry for entry in self._entries(conversation) if self._is_shown(entry, call.now)]
        return Answer(200, self._view(conversation, shown))

    def bulk(self, call: Call) -> Answer:
        """POST ``…/{conversationId}/messages/bulk``: a list of ids."""
        ids = json_of(call, self._settings.max_request_bytes)
        conversation = self._conversation(call)
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise bad_request("should be array of string")
        if len(ids) > MAX_BULK:
            raise Refusal(400, "constraint.validation", f"should NOT have more than {MAX_BULK} items")
        found = [self._ledger.by_id.get(each) for each in ids]
        entities = [
            self._data(entry)
            for entry in found
            if entry is not None and entry.conversation is conversation and self._is_shown(entry, call.now)
        ]
        return Answer(200, {"entities": entities})

    def details(self, call: Call) -> Answer:
        """GET ``/api/v2/conversations/messages/{messageId}/details``."""
        return Answer(200, self._data(self._entry(call)))

    def message(self, call: Call) -> Answer:
        """GET ``/api/v2/conversations/messages/{conversationId}/messages/{messageId}``."""
        entry = self._entry(call)
        if entry.conversation.id != call.names["conversationId"]:
            raise refusal(404)
        return Answer(200, self._data(entry))

    # --- the agent ---

    def say(self, call: Call) -> Answer:
        """POST ``…/communications/{communicationId}/messages``: what an agent's software says."""
        data = json_of(call, self._settings.max_request_bytes)
        conversation = self._conversation(call, live=True)
        kinds = [
            name for name in ("textBody", "mediaIds", "messagingTemplate") if isinstance(data, dict) and data.get(name)
        ]
        if len(kinds) != 1:
            raise bad_request("Exactly one of textBody, mediaIds and messagingTemplate must be given.")
        text = data.get("textBody")
        if kinds != ["textBody"] or not isinstance(text, str):
            raise bad_request("The emulator's agents say textBody; media and templates are not emulated over REST.")
        if len(text) > MAX_AGENT_TEXT:
            raise Refusal(400, "constraint.validation", f"textBody has more than {MAX_AGENT_TEXT} characters.")
        entry = self._act(conversation, Message(type="Text", text=text), call.now)
        return Answer(200, {**self._data(entry), "status": "queued"})

    def typing(self, call: Call) -> Answer:
        """POST ``…/communications/{communicationId}/typing``."""
        data = json_of(call, self._settings.max_request_bytes)
        conversation = self._conversation(call, live=True)
        typing = data.get("typing") if isinstance(data, dict) else None
        if not isinstance(typing, dict) or typing.get("type") not in ("On", "Off"):
            raise bad_request()
        duration = typing.get("duration")
        if duration is not None and type(duration) is not int:
            raise bad_request()
        event = Event(event_type="Typing", typing=Typing(type=typing["type"], duration=duration))
        self._act(conversation, Message(type="Event", events=[event]), call.now)
        return Answer(204)

    def patch_participant(self, call: Call) -> Answer:
        """PATCH ``…/{conversationId}/participants/{participantId}``: ``state`` disconnected ends the conversation."""
        data = json_of(call, self._settings.max_request_bytes)
        conversation = self._conversation(call, live=True)
        if not isinstance(data, dict) or str(data.get("state", "")).lower() != "disconnected":
            raise bad_request("The emulator's participants can be disconnected, and nothing else.")
        try:
            self._desk.disconnect(conversation.session, None, call.now)
        except AgentError as error:
            raise Refusal(409, "general.conflict", str(error)) from error
        return Answer(204)

    def _act(self, conversation: Conversation, body: Message, now: float) -> Entry:
        try:
            return self._desk.say(conversation.session, body, "Human", None, now)
        except AgentError as error:
            raise Refusal(409, "general.conflict", str(error)) from error

    # --- finding ---

    def _conversation(self, call: Call, *, live: bool = False) -> Conversation:
        conversation = self._ledger.conversations.get(call.names["conversationId"])
        if conversation is None:
            raise refusal(404)
        named = call.names.get("communicationId") or call.names.get("participantId")
        if named is not None and named != self._participant_id(conversation, "agent"):
            raise refusal(404)
        if live and conversation.session.conversation is not conversation:
            raise Refusal(409, "general.conflict", "The conversation has ended.")
        return conversation

    def _entry(self, call: Call) -> Entry:
        entry = self._ledger.by_id.get(call.names["messageId"])
        if entry is None or not entry.is_message:
            raise refusal(404)
        return entry

    def _entries(self, conversation: Conversation) -> list[Entry]:
        return [
            entry for entry in conversation.session.history if entry.conversation is conversation and entry.is_message
        ]

    def _is_shown(self, entry: Entry, now: float) -> bool:
        return entry.received_at <= now - self._settings.history_lag_s

    def _participant_id(self, conversation: Conversation, purpose: str) -> str:
        return Draws(self._settings.seed, conversation.id, purpose).uuid()

    # --- showing ---

    def _view(self, conversation: Conversation, entries: list[Entry]) -> dict[str, Any]:
        begun = iso_time(conversation.started_at)
        ended = {} if conversation.ended_at is None else {"endTime": iso_time(conversation.ended_at)}
        state = "connected" if conversation.ended_at is None else "disconnected"
        participants = [
            {
                "id": self._participant_id(conversation, purpose),
                "name": conversation.session.guest if purpose == "customer" else conversation.human or "Agent",
                "purpose": purpose,
                "state": state,
                "direction": "inbound",
                "type": _MESSENGER[conversation.session.platform],
                "startTime": begun,
                "connectedTime": begun,
                **ended,
                "attributes": conversation.attributes if purpose == "customer" else {},
                "messages": [self._line(entry) for entry in entries if _purpose(entry) == purpose],
            }
            for purpose in ("customer", "agent")
        ]
        return {
            "id": conversation.id,
            "startTime": begun,
            **ended,
            "participants": participants,
            "selfUri": f"/api/v2/conversations/messages/{conversation.id}",
        }

    def _line(self, entry: Entry) -> dict[str, Any]:
        """One of a participant's messages: by reference, without what was said."""
        line: dict[str, Any] = {
            "messageId": entry.body.id,
            "messageURI": _uri(entry),
            "messageStatus": _status(entry),
            "messageSegmentCount": 1,
            "messageTime": iso_time(entry.received_at),
            "media": [],
            "stickers": [],
            "messageMetadata": {"type": entry.body.type},
        }
        failed = next((receipt for receipt in reversed(entry.receipts) if receipt["status"] == "Failed"), None)
        if failed is not None:
            reason = (failed.get("reasons") or [{}])[0]
            line["errorInfo"] = {"status": 400, "code": reason.get("code"), "message": reason.get("message")}
        return line

    def _data(self, entry: Entry) -> dict[str, Any]:
        """One message in full: MessageData."""
        inbound, session = entry.body.direction == "Inbound", entry.session
        guest = guest_id_of(entry.body) if isinstance(session, RestGuest) else session.guest
        ours = session.channel_id if isinstance(session, RestGuest) else session.key.deployment_id
        channel = entry.body.channel
        return {
            "id": entry.body.id,
            "providerMessageId": (channel.message_id if channel else None) or entry.body.id,
            "timestamp": iso_time(entry.received_at),
            "fromAddress": guest if inbound else ours,
            "toAddress": ours if inbound else guest,
            "direction": "inbound" if inbound else "outbound",
            "messengerType": _MESSENGER[session.platform],
            "status": _status(entry),
            "normalizedMessage": normalized.of(entry.body),
            "normalizedReceipts": entry.receipts,
            **self._author(entry),
            "conversationId": entry.conversation.id,
            "selfUri": _uri(entry),
        }

    def _author(self, entry: Entry) -> Mapping[str, Any]:
        return {"createdBy": {"id": self._agent_id}} if entry.body.originating_entity == "Human" else {}


def _purpose(entry: Entry) -> str:
    return "customer" if entry.body.direction == "Inbound" else "agent"


def _status(entry: Entry) -> str:
    return entry.status or ("received" if entry.body.direction == "Inbound" else "sent")


def _uri(entry: Entry) -> str:
    return f"/api/v2/conversations/messages/{entry.conversation.id}/messages/{entry.body.id}"
