"""The table of facts: complete on our side, true on theirs."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from guestwire.protocol import frames
from guestwire.protocol.frames import BODIES, REQUESTS, Frame, Node
from tests.wire import derive_facts
from tests.wire.derive_facts import Fact
from tests.wire.frames_table import FRAMES
from tests.wire.frames_table import REQUESTS as REQUEST_EXAMPLES
from tests.wire.pair import SessionPair

FACTS = derive_facts.read_csv()
PLACES = {(fact.frame, fact.path) for fact in FACTS}

#: What the schema has and our types do not name: it stays in `extra` of the value it came with.
OTHER_CHANNELS = "content of other channels (SMS, social, Apple); a guest on web messaging is not known to meet it"
KEPT_IN_EXTRA = {
    **{
        f"content[].{name}": OTHER_CHANNELS
        for name in (
            "interactiveApplication",
            "list",
            "location",
            "mention",
            "paymentRequest",
            "paymentResponse",
            "postback",
            "push",
            "richLink",
            "roadsideAssistance",
            "story",
            "template",
        )
    },
    "events[].typing.durationMs": "the vendor's browser client accepts it besides `duration`; never seen on the wire",
}

requires_oracle = pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside fixtures are not on this machine",
)


def node_paths(node: type[Node], prefix: str) -> Iterator[str]:
    """Yield the path of every field of a type and of the types within."""
    hints = typing.get_type_hints(node)
    for field in msgspec.structs.fields(node):
        if field.name == "extra":
            continue
        path = f"{prefix}.{field.encode_name}" if prefix else field.encode_name
        yield path
        for inner, suffix in _nodes_in(hints[field.name]):
            yield from node_paths(inner, path + suffix)


def _nodes_in(hint: Any) -> Iterator[tuple[type[Node], str]]:
    if isinstance(hint, type) and issubclass(hint, Node):
        yield hint, ""
    elif isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        for member in typing.get_args(hint):
            yield from _nodes_in(member)
    elif typing.get_origin(hint) is list:
        for inner, suffix in _nodes_in(typing.get_args(hint)[0]):
            yield inner, "[]" + suffix


def modelled() -> set[tuple[str, str]]:
    """Return frame and path of every field that our types name."""
    places = {("envelope", "body"), ("string", "body")}
    for field in msgspec.structs.fields(Frame):
        if field.name not in ("body", "extra"):
            places.add(("envelope", {"class_": "class", "tracing_id": "tracingId"}.get(field.name, field.name)))
    for action, request in REQUESTS.items():
        places.add((action, "action"))
        places |= {(action, path) for path in node_paths(request, "")}
    for class_, body in BODIES.items():
        places.add((class_, "body"))
        places |= {(class_, path) for path in node_paths(body, "body")}
    return places


def canonical(frame: str, path: str) -> tuple[str, str]:
    """
    Return where a field's fact stands.

    One type of ours, `Message`, serves both directions, so a field of it may be a fact of either.
    """
    if frame == "echo" and path.startswith("message."):
        frame = "onMessage"
    candidates = [(frame, path)]
    if frame == "onMessage" and path.startswith("message."):
        candidates.append(("StructuredMessage", "body" + path.removeprefix("message")))
    if frame == "StructuredMessage" and path.startswith("body."):
        candidates.append(("onMessage", "message" + path.removeprefix("body")))
    return next((place for place in candidates if place in PLACES), candidates[0])


def test_every_field_we_read_or_write_is_a_fact() -> None:
    """A field that our types name has been written down by somebody outside, with its source."""
    invented = sorted(place for place in modelled() if canonical(*place) not in PLACES)
    assert invented == []


def test_every_fact_is_modelled_or_kept_with_a_reason() -> None:
    """A field that the schema or a fixture has is named by our types, or is on the list of what stays in `extra`."""
    ours = modelled()
    frames_of_ours = {*REQUESTS, *BODIES, "envelope", "string"}
    missing = [
        f"{fact.frame}: {fact.path}"
        for fact in FACTS
        if fact.frame in frames_of_ours
        and (fact.frame, fact.path) not in ours
        and "metadata." not in fact.path.replace("metadata.customAttributes", "")
        and not is_kept(fact)
    ]
    assert missing == []


def is_kept(fact: Fact) -> bool:
    """Whether a fact is on the list of what stays in `extra`."""
    return any(re.search(rf"\.{re.escape(tail)}(\[\])?(\.|$)", fact.path) for tail in KEPT_IN_EXTRA)


def test_every_kept_field_exists() -> None:
    """The list of what stays in `extra` names nothing that nobody has."""
    for tail in KEPT_IN_EXTRA:
        assert any(fact.path.endswith(f".{tail}") for fact in FACTS), tail


def test_requests_and_classes_are_the_schema_s() -> None:
    """We know the actions and classes that the schema publishes, and name those we leave alone."""
    (action,) = [fact.type for fact in FACTS if (fact.frame, fact.path) == ("onMessage", "action")]
    assert action == "string: onMessage"
    (classes,) = [fact.type for fact in FACTS if (fact.frame, fact.path) == ("envelope", "class")]
    assert set(classes.removeprefix("string: ").split("|")) - set(BODIES) == {"string", "Unknown"}
    assert set(BODIES) - set(classes.removeprefix("string: ").split("|")) == {"ErrorMessage"}
    assert set(REQUESTS) == set(derive_facts.REQUESTS)


def test_required_fields_of_our_requests_are_written() -> None:
    """What the schema requires of a request, we write; `time` alone is left out, as every known client leaves it."""
    pair = SessionPair()
    pair.open()
    pair.send("part-1")
    pair.guest.join(pair.now)
    pair.guest.request_jwt(pair.now)
    pair.guest.close_session(pair.now, everywhere=False)
    pair.pump()
    written = {data["action"]: data for data in pair.written}
    assert set(written) == {"configureSession", "onMessage", "getJwt", "closeSession"}
    for action, data in written.items():
        required = {fact.path for fact in FACTS if fact.frame == action and fact.required == "yes"}
        top_level = {path for path in required if "." not in path and "[" not in path}
        assert top_level - set(data) <= {"time"}, action


def test_facts_are_sorted_unique_and_sourced() -> None:
    """Each field stands in the table once, with a known source and a confidence."""
    assert sorted(PLACES) == [(fact.frame, fact.path) for fact in FACTS]
    for fact in FACTS:
        assert fact.confidence in {"H", "M", "L"}, fact
        assert set(fact.source.split()) <= set(derive_facts._SOURCES), fact
        assert fact.required in {"yes", "no"}, fact


def test_the_table_holds_no_prose_and_no_path_of_a_machine() -> None:
    """The table of facts is field names, types and source keys; nothing else of anybody's text is in it."""
    for fact in FACTS:
        assert "/" not in fact.path + fact.source, fact
        assert ". " not in "".join(fact), fact
    assert max(len(fact.path) for fact in FACTS) < 120


def test_example_frames_use_known_fields_where_they_mean_to() -> None:
    """Our own examples name every class and action that we know, so that none is forgotten."""
    assert {example.get("class") for example in FRAMES.values() if isinstance(example.get("class"), str)} >= set(BODIES)
    actions = {example["action"] for example in REQUEST_EXAMPLES.values() if isinstance(example.get("action"), str)}
    assert actions >= set(REQUESTS)


@requires_oracle
def test_the_table_is_what_the_outside_material_says() -> None:
    """The committed facts equal what the schema and the fixtures give today."""
    folder = derive_facts.oracle()
    assert folder is not None
    assert derive_facts.write_csv(derive_facts.derive(folder)) == derive_facts.FACTS.read_text("utf-8")


@requires_oracle
def test_every_field_of_every_fixture_is_a_fact() -> None:
    """No fixture holds a field that the table lacks, apart from the placeholders its authors put in."""
    folder = derive_facts.oracle()
    assert folder is not None
    for name, data, _ in derive_facts.fixtures(folder):
        unknown = {(frame, path) for frame, path, _ in derive_facts.fixture_paths(name, data)} - PLACES
        assert unknown == set(), name


def test_every_type_of_a_field_fits_the_fact() -> None:
    """A field that the schema calls a string is read as one, and so on: else it would always land in `extra`."""
    kinds = {"string": "str", "boolean": "bool", "integer": "int", "number": "float"}
    checked = 0
    for class_, body in BODIES.items():
        hints = typing.get_type_hints(body)
        for field in msgspec.structs.fields(body):
            for fact in FACTS:
                if (fact.frame, fact.path) == (class_, f"body.{field.encode_name}"):
                    kind = kinds.get(fact.type.partition(":")[0])
                    if kind:
                        names = {getattr(member, "__name__", "") for member in typing.get_args(hints[field.name])}
                        assert kind in names, fact
                        checked += 1
    assert checked > 60
    assert frames.STRING == "string"
