"""`Message`: what a program hands in, and what it gives away about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from guestwire.message import Message
from guestwire.model import Delivery, Draft, GuestKey

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_everything_arrives_in_the_draft() -> None:
    """Each field has its place in the draft; times become seconds since the epoch, whatever zone they came in."""
    message = Message(
        guest="42",
        text="hello",
        attributes={"topic": "order"},
        key="k1",
        not_before=NOON,
        expires_at=NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(hours=1),
        priority=3,
        delivery=Delivery.AT_MOST_ONCE,
    )
    assert message.to_draft("web") == Draft(
        destination="web",
        guest=GuestKey("42"),
        text="hello",
        attributes={"topic": "order"},
        key="k1",
        not_before=NOON.timestamp(),
        expires_at=NOON.timestamp() + 3600,
        priority=3,
        delivery=Delivery.AT_MOST_ONCE,
    )


def test_defaults_decide_nothing() -> None:
    """Guest and text are all that is needed; the rest is left to the destination."""
    draft = Message(guest="42", text="hello").to_draft("web")
    assert draft == Draft(destination="web", guest=GuestKey("42"), text="hello")


@pytest.mark.parametrize("field", ["not_before", "expires_at"])
def test_a_time_without_a_zone_is_refused(field: str) -> None:
    """Nobody can know which noon was meant."""
    with pytest.raises(ValidationError, match="timezone"):
        Message.model_validate({"guest": "42", "text": "hello", field: NOON.replace(tzinfo=None)})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recipient", "x"),
        ("priority", 10),
        ("priority", -1),
        ("delivery", "twice"),
        ("attributes", {"n": 1}),
        ("text", None),
        ("text", b"\xff"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(field: str, value: object) -> None:
    """Unknown fields, ranges and types: the error names the field."""
    values: dict[str, Any] = {"guest": "42", "text": "hello", field: value}
    with pytest.raises(ValidationError) as caught:
        Message(**values)
    assert {str(error["loc"][0]) for error in caught.value.errors()} == {field}


def test_neither_repr_nor_error_shows_the_content() -> None:
    """A message in a log line, or the error about one, shows neither text nor guest nor attributes."""
    values: dict[str, Any] = {"guest": "canary-guest", "text": "canary-text", "attributes": {"a": "canary-attribute"}}
    assert "canary" not in repr(Message(**values))
    assert "canary" not in str(Message(**values))
    for wrong in ({"priority": 99}, {"txt": "canary-extra"}, {"attributes": {"a": 1, "b": "canary"}}, {"text": [1]}):
        with pytest.raises(ValidationError) as caught:
            Message(**{**values, **wrong})
        assert "canary" not in str(caught.value)
        assert "canary" not in repr(caught.value)


def test_a_message_cannot_be_changed() -> None:
    """What was checked is what is submitted; later changes to the caller's own dict do not reach the draft."""
    message = Message(guest="42", text="hello", attributes={"a": "1"})
    with pytest.raises(ValidationError):
        message.text = "other"
    draft = message.to_draft("web")
    message.attributes["a"] = "2"
    assert draft.attributes == {"a": "1"}


def test_the_schema_says_what_a_message_is() -> None:
    """The JSON Schema needs a guest, allows nothing unknown, and describes every field."""
    schema = Message.model_json_schema()
    assert schema["required"] == ["guest"]
    assert schema["additionalProperties"] is False
    assert all("description" in field for field in schema["properties"].values())
    assert schema["properties"]["priority"]["maximum"] == 9
