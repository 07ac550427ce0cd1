"""The words as values: ids that rise, states that add up, an entity's two names."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.answers import Answer, Choice
from guestwire.errors import Rejected
from guestwire.model import (
    OPEN_STATES,
    TAKEN_STATES,
    Accepted,
    Attachment,
    Draft,
    Entity,
    Failed,
    GatewayMessageId,
    GuestKey,
    IdMaker,
    Outcome,
    PartState,
    Refused,
    RemoteFile,
    Throttled,
    Unknown,
)

moments = st.floats(min_value=0, max_value=2**47 / 1000, allow_nan=False)


@given(times=st.lists(moments, min_size=1, max_size=50))
@settings(deadline=None)
def test_ids_rise_whatever_the_clock_does(times: list[float]) -> None:
    """A later id of one maker is greater than an earlier one, as text too, also when the clock is set back."""
    make = IdMaker()
    ids = [make(now) for now in times]
    assert ids == sorted(set(ids))


@given(now=moments, filler=st.sampled_from([b"\x00", b"\xff", b"\x5a"]))
@settings(deadline=None)
def test_ids_are_uuids_of_version_7(now: float, filler: bytes) -> None:
    """Version, variant and the millisecond are where RFC 9562 wants them, for every draw of random bytes."""
    made = uuid.UUID(IdMaker(lambda size: filler * size)(now))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(now * 1000)


def test_counting_up_within_a_millisecond_does_not_overflow() -> None:
    """From the highest draw on, ten thousand ids of one millisecond rise and keep their version and variant."""
    make = IdMaker(lambda size: b"\xff" * size)
    ids = [make(1.0) for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {(uuid.UUID(made).version, uuid.UUID(made).variant) for made in ids[-10:]} == {(7, uuid.RFC_4122)}


def test_two_makers_do_not_meet() -> None:
    """Ids of two processes differ although their clocks agree."""
    one, other = IdMaker(), IdMaker()
    assert not {one(1.0) for _ in range(100)} & {other(1.0) for _ in range(100)}


def test_every_state_is_open_taken_or_over() -> None:
    """The two sets do not meet, and what is in neither has ended without the gateway."""
    assert not OPEN_STATES & TAKEN_STATES
    assert set(PartState) - OPEN_STATES - TAKEN_STATES == {PartState.DEAD, PartState.EXPIRED, PartState.CANCELLED}


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(GatewayMessageId("g"), "c", "2026-01-01T00:00:00Z", "history"),
        Throttled("connection", 1.5, "slow"),
        Refused(4002, "no"),
        Failed("later"),
        Unknown("?"),
    ],
)
def test_outcomes_survive_being_written_down(outcome: Outcome) -> None:
    """Each outcome is told from the others by its tag."""
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


def test_an_entity_is_called_by_either_name_and_by_nothing() -> None:
    """The platform names an entry twice; `None` names nobody, also where an entry lacks its second name."""
    entity = Entity(GatewayMessageId("a"), None, "text", None, None)
    named = Entity(GatewayMessageId("a"), "b", "text", None, None)
    assert entity.is_called("a")
    assert not entity.is_called(None)
    assert named.is_called("b")
    assert not named.is_called("c")


def test_values_cannot_be_changed() -> None:
    """A draft that was checked is the draft that is stored."""
    draft = Draft(destination="web", guest=GuestKey("42"), text="hello")
    with pytest.raises(AttributeError):
        draft.text = "other"  # type: ignore[misc]
    assert draft.attributes is not Draft(destination="web", guest=GuestKey("42"), text="hello").attributes


class Derived(str):
    """Nothing that the store can write."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guest", None),
        ("text", 5),
        ("text", Derived("canary")),
        ("text", [["canary"]]),
        ("attributes", {"a": 1}),
        ("attributes", {Derived("a"): "canary"}),
        ("attachments", ["canary"]),
        ("remote_files", (Attachment("canary.pdf", b"x"),)),
        ("answer", Answer(kind="button", choices=(Choice(5, None),))),  # type: ignore[arg-type]
        ("answer", "canary"),
        ("content_type", "image/png"),
        ("not_before", float("nan")),
        ("expires_at", float("inf")),
        ("expires_at", 1e300),
        ("expires_at", True),
        ("priority", "5"),
        ("priority", True),
        ("priority", 2**63),
        ("read_receipt", 1),
        ("delivery", "twice"),
    ],
)
def test_a_draft_of_wrong_types_is_refused_when_it_is_made(field: str, value: object) -> None:
    """By the name of the field, and without its value: the store would meet it where nobody can say any more why."""
    values: dict[str, Any] = {"destination": "web", "guest": "42", "text": "hello", field: value}
    with pytest.raises(Rejected) as caught:
        Draft(**values)
    assert [(finding.rule, finding.path) for finding in caught.value.findings] == [("draft.type", field)]
    assert "canary" not in str(caught.value)


def test_files_of_wrong_types_are_refused_when_they_are_made() -> None:
    """Content has to be bytes; a size has to be one that can be written down."""
    for values in ((5, b"x"), ("a.pdf", "x"), ("a.pdf", bytearray(b"x"))):
        with pytest.raises(Rejected, match="must be"):
            Attachment(*values)
    for size in (-1, 2**63, True):
        with pytest.raises(Rejected, match="number of bytes"):
            RemoteFile(url="https://files.example/a.png", size=size)


@pytest.mark.parametrize("at", [-62_135_596_800, 0, 253_402_300_799.9])
def test_a_moment_is_one_of_a_calendar(at: float) -> None:
    """From the year 1 to the year 9999."""
    assert Draft(destination="web", guest=GuestKey("42"), text="hello", not_before=at).not_before == at


@pytest.mark.parametrize("url", ["https://[::1", "https://\u2100.example/a.png", "", "https://files.example"])
def test_an_address_that_is_none_names_no_file(url: str) -> None:
    """Whether it is one is said by the rules, all of them at once."""
    assert (RemoteFile(url=url).file_name, RemoteFile(url=url).mime) == ("", "application/octet-stream")
