"""What a guest says, in the encodings that the platform was seen to take; and back again, as the history shows it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.answers import Answer, Choice
from guestwire.model import PartBody, PartId
from guestwire.protocol import codec, writing
from guestwire.protocol.frames import OnMessage
from guestwire.protocol.reading import entity_of

PART = PartId("part-1")
OURS = {"id": "part-1", "attempt": "1"}


def written(body: PartBody, upload_id: str | None = None) -> dict[str, Any]:
    """A part as JSON of the wire."""
    return codec.write(writing.message_of(PART, body, attempt=1, upload_id=upload_id))


def button(kind: str, text: str, payload: str, **more: str) -> dict[str, Any]:
    """A ButtonResponse as the wire has it."""
    return {"contentType": "ButtonResponse", "buttonResponse": {"type": kind, "text": text, "payload": payload, **more}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # The vendor's browser client, as read and live-tested by a third party.
        (
            Answer(kind="quick_reply", choices=(Choice("Yes", "cookie1"),), to="m1", text="Yes"),
            {
                "type": "Structured",
                "text": "Yes",
                "content": [button("QuickReply", "Yes", "cookie1")],
                "metadata": OURS,
            },
        ),
        # The vendor's mobile client: preparePostbackMessage.
        (
            Answer(kind="button", choices=(Choice("Book Now", "I want it"),), to="m1", text="Book Now"),
            {
                "type": "Structured",
                "text": "Book Now",
                "content": [button("Button", "Book Now", "I want it")],
                "metadata": OURS,
            },
        ),
        # Browser: no top-level text, the picker named in the metadata; mobile: in the button.
        (
            Answer(kind="date", choices=(Choice("30 Jun 17:30", "2025-06-30T17:30:00.000Z"),), to="m1"),
            {
                "type": "Structured",
                "content": [
                    button("DatePicker", "30 Jun 17:30", "2025-06-30T17:30:00.000Z", originatingMessageId="m1")
                ],
                "metadata": {**OURS, "parentMessageId": "m1"},
            },
        ),
        (
            Answer(kind="list", choices=(Choice("One", "1"), Choice("Two", "2")), to="m1", text="chosen"),
            {
                "type": "Structured",
                "text": "chosen",
                "content": [
                    button("ListPicker", "One", "1", originatingMessageId="m1"),
                    button("ListPicker", "Two", "2", originatingMessageId="m1"),
                ],
                "metadata": {**OURS, "parentMessageId": "m1"},
            },
        ),
        (
            Answer(kind="form", choices=(Choice("Ann", "Ann", "name"),), to="m1", text="Done", form="c1"),
            {
                "type": "Structured",
                "text": "Done",
                "content": [
                    {
                        "contentType": "Form",
                        "form": {
                            "originatingMessageId": "m1",
                            "cannedResponseId": "c1",
                            "response": [{"id": "name", "component": button("Form", "Ann", "Ann")}],
                        },
                    }
                ],
                "metadata": OURS,
            },
        ),
    ],
    ids=["quick reply", "postback", "date", "list", "form"],
)
def test_an_answer_is_written_as_the_vendor_s_clients_write_it(answer: Answer, expected: dict[str, Any]) -> None:
    """Field by field the encodings of guest-api's third chapter; nothing more, nothing less."""
    assert written(PartBody(answer=answer)) == expected


def test_a_file_is_referred_to_by_its_id() -> None:
    """With a text or without one: one item of content, as the schema allows; attributes in the nested form."""
    attachment = {"contentType": "Attachment", "attachment": {"id": "abcd-1234"}}
    assert written(PartBody(), "abcd-1234") == {"type": "Text", "content": [attachment], "metadata": OURS}
    assert written(PartBody("Hello world", {"A": "B"}), "abcd-1234") == {
        "type": "Text",
        "text": "Hello world",
        "content": [attachment],
        "channel": {"metadata": {"customAttributes": {"A": "B"}}},
        "metadata": OURS,
    }


def test_events_of_a_guest() -> None:
    """Join, Clear and typing, as in the vendor's fixtures; typing has no duration when it comes from a guest."""
    assert codec.write(writing.join({"A": "B"})) == {
        "type": "Event",
        "events": [{"eventType": "Presence", "presence": {"type": "Join"}}],
        "channel": {"metadata": {"customAttributes": {"A": "B"}}},
    }
    assert codec.write(writing.clear()) == {
        "type": "Event",
        "events": [{"eventType": "Presence", "presence": {"type": "Clear"}}],
    }
    assert codec.write(writing.typing()) == {
        "type": "Event",
        "events": [{"eventType": "Typing", "typing": {"type": "On"}}],
    }


TEXTS = st.text(min_size=1, max_size=20)
CHOICES = st.builds(Choice, TEXTS, TEXTS, st.one_of(st.none(), TEXTS))
ANSWERS = st.builds(
    Answer,
    kind=st.sampled_from(["quick_reply", "button", "date", "list", "form"]),
    choices=st.lists(CHOICES, min_size=1, max_size=3).map(tuple),
    to=st.one_of(st.none(), TEXTS),
    text=st.one_of(st.none(), TEXTS),
    form=st.one_of(st.none(), TEXTS),
)


@given(
    st.builds(PartBody, text=st.text(max_size=20), answer=st.one_of(st.none(), ANSWERS)), st.one_of(st.none(), TEXTS)
)
def test_what_we_wrote_is_recognised_in_the_history(body: PartBody, upload_id: str | None) -> None:
    """The marks of a part are those of its entry in the history, whatever it says: a check can tell it from others."""
    request = OnMessage(
        token="t", tracing_id=PART, message=writing.message_of(PART, body, attempt=1, upload_id=upload_id)
    )
    sent = codec.decode_request(codec.encode_request(request))
    assert isinstance(sent, OnMessage)
    assert sent.message is not None
    entity = entity_of({**codec.write(sent.message), "direction": "Inbound", "id": "x"})
    assert entity is not None
    assert entity.marks == writing.marks_of(body, upload_id)
