"""Reading conversations over REST, and the agent's side of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.test_emulator_kit import raw_guest
from tests.contract.test_emulator_rest_kit import MESSAGES, Rest, fixture, hook, needs_fixtures, open_messaging, shape


async def messages_of(client: Rest, conversation_id: str) -> dict[str, list[Any]]:
    """The ids that a conversation shows, by participant."""
    answer = await client.ask("GET", f"{MESSAGES}/{conversation_id}")
    assert answer.status == 200
    return {each["purpose"]: [line["messageId"] for line in each["messages"]] for each in answer.json["participants"]}


async def test_a_conversation_shows_who_said_what() -> None:
    """Each participant has the messages that he sent, by id, with time and status; attributes are the customer's."""
    async with open_messaging() as (genesys, client):
        body = {"channel": {"from": {"id": "g", "idType": "Phone"}, "time": "2026-03-04T05:06:07Z"}, "text": "hello"}
        body["channel"]["metadata"] = {"customAttributes": {"plan": "gold"}}  # type: ignore[index]
        said = (await client.ask("POST", f"{client.inbound()}?prefetchConversationId=true", body)).json
        answered = genesys.say("hi")
        conversation = (await client.ask("GET", f"{MESSAGES}/{said['conversationId']}")).json
        customer, agent = conversation["participants"]
        assert (customer["purpose"], agent["purpose"]) == ("customer", "agent")
        assert customer["attributes"] == {"plan": "gold"}
        assert [(line["messageId"], line["messageStatus"]) for line in customer["messages"]] == [
            (said["id"], "received")
        ]
        assert [(line["messageId"], line["messageStatus"]) for line in agent["messages"]] == [(answered, "sent")]
        assert "endTime" not in conversation
        genesys.disconnect()
        conversation = (await client.ask("GET", f"{MESSAGES}/{said['conversationId']}")).json
        assert "endTime" in conversation
        assert {each["state"] for each in conversation["participants"]} == {"disconnected"}


@needs_fixtures
async def test_a_message_in_full_has_the_fields_of_the_fixture() -> None:
    """What an agent said, with the guest's receipt for it, is spelled as outside sources have MessageData."""
    async with open_messaging() as (genesys, client):
        body = fixture("open_inbound_message_full")
        del body["content"]
        await client.ask("POST", client.inbound(), body)
        said = genesys.say("Hello, how can I help?", nickname="Ann")
        receipt = {**fixture("open_inbound_receipt_delivered"), "id": said}
        await client.ask("POST", client.inbound("receipt"), receipt)
        answer = await client.ask("GET", f"{MESSAGES}/{said}/details")
        expected = shape(fixture("agent_message_response_MessageData"))
        assert shape(answer.json) == expected
        assert (answer.json["status"], answer.json["normalizedReceipts"][0]["status"]) == (
            "delivery-success",
            "Delivered",
        )


async def test_a_message_is_found_by_its_id() -> None:
    """With details or below its conversation; an unknown id, or another conversation's, is not."""
    async with open_messaging() as (genesys, client):
        said = (await client.say("hello", message_id="ext-1")).json
        other = (await client.say("other", "guest-43")).json
        full = (await client.ask("GET", f"{MESSAGES}/{said['id']}/details")).json
        assert full["providerMessageId"] == full["normalizedMessage"]["channel"]["messageId"] == "ext-1"
        assert (full["direction"], full["fromAddress"], full["toAddress"]) == (
            "inbound",
            "guest-42",
            genesys.integration_id,
        )
        found = await client.ask("GET", f"{MESSAGES}/{said['conversationId']}/messages/{said['id']}")
        assert found.json == full
        assert (await client.ask("GET", full["selfUri"])).json == full
        for wrong in (
            f"{said['conversationId']}/messages/{other['id']}",
            f"{said['conversationId']}/messages/{'0' * 32}",
            f"{'0' * 32}/details",
            "0000",
        ):
            assert (await client.ask("GET", f"{MESSAGES}/{wrong}")).status == 404


async def test_what_lags_and_what_does_not() -> None:
    """Conversation and bulk show a message `history_lag_s` after its acceptance; by its id it is there at once."""
    async with open_messaging(history_lag_s=5) as (genesys, client):
        said = (await client.say("hello")).json
        conversation_id = said["conversationId"]
        bulk = f"{MESSAGES}/{conversation_id}/messages/bulk"
        assert (await messages_of(client, conversation_id))["customer"] == []
        assert (await client.ask("POST", bulk, [said["id"]])).json == {"entities": []}
        assert (await client.ask("GET", f"{MESSAGES}/{said['id']}/details")).status == 200
        genesys.advance(5)
        assert (await messages_of(client, conversation_id))["customer"] == [said["id"]]
        (entity,) = (await client.ask("POST", bulk, [said["id"]])).json["entities"]
        assert entity["normalizedMessage"]["text"] == "hello"


async def test_bulk_takes_a_hundred_ids() -> None:
    """Unknown ids and other conversations' are left out; more than a hundred, and what is no list, is refused."""
    async with open_messaging(limits="off") as (_, client):
        said = [(await client.say(f"m{number}")).json for number in range(3)]
        other = (await client.say("other", "guest-43")).json["id"]
        path = f"{MESSAGES}/{said[0]['conversationId']}/messages/bulk"
        ids = [said[2]["id"], "nonsense", other, said[0]["id"]]
        answer = await client.ask("POST", path, ids)
        assert [each["id"] for each in answer.json["entities"]] == [said[2]["id"], said[0]["id"]]
        assert (await client.ask("POST", path, ["x"] * 100)).status == 200
        assert (await client.ask("POST", path, ["x"] * 101)).status == 400
        wrongs: list[Any] = [{}, [1], "x"]
        for wrong in wrongs:
            assert (await client.ask("POST", path, wrong)).status == 400
        assert (await client.ask("POST", f"{MESSAGES}/other/messages/bulk", ids)).status == 404


async def test_what_guests_of_the_websocket_said_can_be_read_too() -> None:
    """The same routes show their conversations, under `webmessaging`."""
    async with open_messaging(echo_delay_ms=0) as (genesys, client), raw_guest(genesys) as guest:
        said = (await guest.say("hello"))["body"]["id"]
        (conversation,) = genesys.conversations()
        assert (await messages_of(client, conversation["conversation_id"]))["customer"] == [said]
        full = (await client.ask("GET", f"{MESSAGES}/{said}/details")).json
        assert (full["messengerType"], full["normalizedMessage"]["text"]) == ("webmessaging", "hello")


async def test_a_failed_receipt_shows_as_an_error() -> None:
    """`messageStatus` and `errorInfo` tell what the guest's side said became of it."""
    async with open_messaging() as (genesys, client):
        conversation_id = (await client.say("hello")).json["conversationId"]
        body = {
            "id": genesys.say("hi"),
            "channel": {"to": {"id": "guest-42"}, "time": "2026-03-04T05:06:07.089Z"},
            "status": "Failed",
            "reasons": [{"code": "InvalidDestination", "message": "recipient unknown"}],
        }
        assert (await client.ask("POST", client.inbound("receipt"), body)).status == 202
        agent = (await client.ask("GET", f"{MESSAGES}/{conversation_id}")).json["participants"][1]
        assert agent["messages"][0]["messageStatus"] == "delivery-failed"
        assert agent["messages"][0]["errorInfo"]["message"] == "recipient unknown"


# --- the agent ---


async def communication(client: Rest, conversation_id: str) -> str:
    """The path below which an agent speaks."""
    participants = (await client.ask("GET", f"{MESSAGES}/{conversation_id}")).json["participants"]
    agent = next(each["id"] for each in participants if each["purpose"] == "agent")
    return f"{MESSAGES}/{conversation_id}/communications/{agent}"


async def test_an_agent_answers_over_rest() -> None:
    """It stands in the ledger, goes to the webhook, and is answered with the message in full."""
    async with (
        hook() as webhook,
        open_messaging(webhook_url=webhook.url, open_typing_enabled=True) as (genesys, client),
    ):
        conversation_id = (await client.say("hello")).json["conversationId"]
        path = await communication(client, conversation_id)
        answer = await client.ask("POST", f"{path}/messages", {"textBody": "hi"})
        assert (answer.status, answer.json["status"], answer.json["direction"]) == (200, "queued", "outbound")
        assert [seen["text"] for seen in genesys.messages()] == ["hello", "hi"]
        typing = {"typing": {"type": "On", "duration": 5000}}
        assert (await client.ask("POST", f"{path}/typing", typing)).status == 204
        got = [(await webhook.next()).json for _ in range(2)]
        assert (got[0]["id"], got[0]["text"]) == (answer.json["id"], "hi")
        assert got[1]["events"] == [{"eventType": "Typing", "typing": {"type": "On", "duration": 5000}}]


@needs_fixtures
async def test_agents_of_the_fixtures() -> None:
    """The fixtures' requests are taken; the answer has the fields of the fixture's."""
    async with open_messaging() as (_, client):
        path = await communication(client, (await client.say("hello")).json["conversationId"])
        answer = await client.ask("POST", f"{path}/messages", fixture("agent_message_text"))
        assert (await client.ask("POST", f"{path}/typing", fixture("agent_typing"))).status == 204
        expected = shape(fixture("agent_message_response_MessageData"))
        assert set(answer.json) == set(expected)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"textBody": ""},
        {"textBody": 5},
        {"textBody": "x" * 2001},
        {"textBody": "x", "mediaIds": ["y"]},
        {"mediaIds": ["y"]},
    ],
)
async def test_what_an_agent_cannot_say(body: Any) -> None:
    """Exactly one kind, text of at most 2,000 characters."""
    async with open_messaging() as (genesys, client):
        path = await communication(client, (await client.say("hello")).json["conversationId"])
        assert (await client.ask("POST", f"{path}/messages", body)).status == 400
        for typing in ({}, {"typing": {"type": "Perhaps"}}, {"typing": {"type": "On", "duration": "5"}}):
            assert (await client.ask("POST", f"{path}/typing", typing)).status == 400
        assert len(genesys.messages()) == 1


async def test_an_agent_ends_the_conversation() -> None:
    """`state` disconnected ends it; afterwards nobody speaks in it, and the guest's next message begins another."""
    async with open_messaging() as (genesys, client):
        conversation_id = (await client.say("hello")).json["conversationId"]
        path = await communication(client, conversation_id)
        participant = f"{MESSAGES}/{conversation_id}/participants/{path.rpartition('/')[2]}"
        assert (await client.ask("PATCH", participant, {"state": "connected"})).status == 400
        assert (await client.ask("PATCH", participant, {"state": "disconnected"})).status == 204
        assert (await client.ask("PATCH", participant, {"state": "disconnected"})).status == 409
        assert (await client.ask("POST", f"{path}/messages", {"textBody": "hi"})).status == 409
        assert genesys.conversations()[0]["ended_at"] is not None
        assert (await client.say("again")).json["conversationId"] != conversation_id
        assert (await client.ask("POST", f"{MESSAGES}/{conversation_id}/communications/x/messages", {})).status == 404


async def test_permission_to_speak() -> None:
    """An agent's software needs one of two permissions."""
    missing = "conversation:message:create,conversation:webmessaging:create"
    async with open_messaging(missing_permissions=missing) as (_, client):
        path = await communication(client, (await client.say("hello")).json["conversationId"])
        answer = await client.ask("POST", f"{path}/messages", {"textBody": "hi"})
        assert (answer.status, answer.json["code"]) == (403, "missing.any.permissions")


@needs_fixtures
async def test_permission_in_the_words_of_the_fixture() -> None:
    """As the fixture has it."""
    missing = "conversation:message:create,conversation:webmessaging:create"
    async with open_messaging(missing_permissions=missing) as (_, client):
        path = await communication(client, (await client.say("hello")).json["conversationId"])
        answer = (await client.ask("POST", f"{path}/messages", {"textBody": "hi"})).json
        assert {**answer, "contextId": ""} == {**fixture("error_403_missing_any_permissions"), "contextId": ""}
