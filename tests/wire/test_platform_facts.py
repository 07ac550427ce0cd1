"""The table of the platform's facts: what we write and read stands in it, and what it requires we write."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.answers import Answer, Choice
from guestwire.model import GuestKey, PartBody, PartId, Profile, RemoteFile
from guestwire.protocol import contract, openmessaging, platform
from guestwire.protocol.openmessaging import Address, Call
from guestwire.settings import Destination
from tests.wire import derive_facts, derive_platform_facts
from tests.wire.derive_platform_facts import TIME
from tests.wire.strategies import texts

FACTS = derive_platform_facts.read_csv()
TABLE = {(fact.frame, fact.path): fact for fact in FACTS}
MESSAGES = {fact.frame for fact in FACTS}

requires_oracle = pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside examples are not on this machine",
)

# --- what we write, held against the table ---

words = texts.filter(bool)
maybe = st.none() | words
times = st.floats(min_value=0, max_value=4e9)
addresses = st.builds(
    Address,
    st.just("3b0a6e1c-5d0f-4b57-9a3e-7f0c2d9e1a11"),
    words.map(GuestKey),
    st.sampled_from(["Opaque", "Email", "Phone"]),
)
profiles = st.builds(Profile, nickname=maybe, first_name=maybe, last_name=maybe, email=maybe, image=maybe)
files = st.builds(
    RemoteFile,
    url=st.just("https://cdn.example.com/a.png"),
    name=texts,
    type=st.sampled_from(["", "image/png", "video/mp4", "audio/ogg", "application/pdf", "odd"]),
    size=st.none() | st.integers(0, 10**9),
    caption=texts,
)
attributes = st.dictionaries(texts, texts, max_size=3)
#: What the rules let through: text, files by address, or one choice of three kinds that says what it answers.
said = st.builds(
    PartBody,
    text=words,
    attributes=attributes,
    remote_files=st.lists(files, max_size=2).map(tuple),
    profile=st.none() | profiles,
)
answers = st.builds(
    PartBody,
    answer=st.builds(
        Answer,
        kind=st.sampled_from(sorted(openmessaging.ANSWER_TYPES)),
        choices=st.tuples(st.builds(Choice, texts, texts)),
        to=words,
        text=maybe,
    ),
    attributes=attributes,
    profile=st.none() | profiles,
)


def mistakes(message: str, value: Any) -> list[str]:
    """Say what of a value the table does not know, what it has another type for, and what it requires in vain."""
    found = [f"{path}: unknown" for _, path, _ in derive_platform_facts.paths(message, "", value)
             if (message, path) not in TABLE]  # fmt: skip
    found += list(_misfits(message, "", value))
    return found


def _misfits(message: str, path: str, value: Any) -> Iterator[str]:
    fact = TABLE.get((message, path))
    if fact is not None and not fits(fact.type, value):
        yield f"{path}: {fact.type}"
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _misfits(message, f"{path}.{key}" if path else key, inner)
        here = f"{path}." if path else ""
        for other in FACTS:
            name = other.path.removeprefix(here)
            is_child = other.frame == message and other.path.startswith(here) and not re.search(r"[.\[]", name)
            if is_child and other.required == "yes" and name not in value:
                yield f"{other.path}: required"
    elif isinstance(value, list):
        for inner in value:
            yield from _misfits(message, f"{path}[]", inner)


def fits(kind: str, value: Any) -> bool:
    """Whether a value is what a fact says."""
    if kind.startswith("string: "):
        return value in kind.removeprefix("string: ").split("|")
    if kind.startswith("["):
        return isinstance(value, list) and all(fits(kind[1:-1], inner) for inner in value)
    if kind == "map<string>":
        return isinstance(value, dict) and all(isinstance(inner, str) for inner in value.values())
    if kind == TIME:
        return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value))
    wanted: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "object": dict,
        "any": object,
    }
    return isinstance(value, wanted[kind]) and not (kind != "boolean" and isinstance(value, bool))


@given(addresses, said, times, st.booleans())
def test_a_message_is_in_the_schema(where: Address, body: PartBody, at: float, prefetch: bool) -> None:
    """Whatever a guest says: no field that nobody knows, every field that is required, each of its type."""
    call = openmessaging.message_call(where, PartId("part-1"), body, at=at, prefetch=prefetch)
    assert mistakes("OpenInboundNormalizedMessage", call.plain) == []
    assert mistakes("request query", dict(call.query)) == []


@given(addresses, answers, times)
def test_an_answer_is_in_the_schema(where: Address, body: PartBody, at: float) -> None:
    """The same of a structured answer, which has a route and a schema of its own."""
    call = openmessaging.message_call(where, PartId("part-1"), body, at=at, prefetch=True)
    assert call.path.endswith("/inbound/open/structured/response")
    assert mistakes("OpenInboundStructuredResponseMessage", call.plain) == []
    assert call.query == ()


@given(addresses, words, times, st.sampled_from(["Delivered", "Failed"]), st.booleans())
def test_events_and_receipts_are_in_the_schema(
    where: Address, reply_id: str, at: float, status: str, has_reason: bool
) -> None:
    """The same of typing and of receipts, with every reason that there is."""
    assert mistakes("OpenInboundNormalizedEvent", openmessaging.typing_call(where, at=at).plain) == []
    for reason in sorted(openmessaging.RECEIPT_REASONS) if has_reason else [None]:
        call = openmessaging.receipt_call(where, reply_id, status, at=at, reason=reason)
        assert mistakes("OpenInboundNormalizedReceipt", call.plain) == []


@given(
    words.map(GuestKey),
    said,
    st.sampled_from(["text/plain", "text/html"]),
    words,
    st.booleans(),
    times,
)
def test_the_contract_is_kept(
    guest: GuestKey, body: PartBody, content_type: str, conversation: str, read_receipt: bool, now: float
) -> None:
    """The same of the tutorial contract."""
    body = PartBody(
        body.text,
        remote_files=body.remote_files,
        content_type=content_type,  # type: ignore[arg-type]
        conversation=conversation,
        read_receipt=read_receipt,
    )
    assert mistakes("contract request", contract.message_call(guest, body, now=now).plain) == []


@given(st.lists(words, min_size=1, max_size=5))
def test_what_is_asked_when_looking_back_is_in_the_schema(ids: list[str]) -> None:
    """Asking for messages takes a bare list of ids."""
    assert mistakes("bulk request", openmessaging.bulk_call("c1", ids).plain) == []
    assert openmessaging.conversation_call("c1").plain is None


def test_a_request_for_a_token_is_in_the_table() -> None:
    """Its two headers and its one parameter, and no scope."""
    headers, body = platform.token_request("id", "secret")
    sent = {name: value.partition(" ")[0] for name, value in headers.items()}
    name, _, value = body.decode().partition("=")
    assert mistakes("token request", {**sent, name: value}) == []


def test_a_mistake_would_be_found() -> None:
    """An unknown field, a missing one, a wrong word, a time in another form: the check above sees each."""
    where = Address("i", GuestKey("g"), "Opaque")
    good = openmessaging.message_call(where, PartId("p"), PartBody("hi"), at=0.0, prefetch=False).plain
    channel = good["channel"]
    name = "OpenInboundNormalizedMessage"
    assert mistakes(name, good) == []
    assert mistakes(name, {**good, "type": "Text"}) == ["type: unknown"]
    assert mistakes(name, {"text": "hi"}) == ["channel: required"]
    assert mistakes(name, {**good, "text": 5}) == ["text: string"]
    assert mistakes(name, {"channel": {**channel, "time": "1970-01-01T00:00:00Z"}}) == [f"channel.time: {TIME}"]
    odd = {**channel["from"], "idType": "emal"}
    assert mistakes(name, {"channel": {**channel, "from": odd}}) == ["channel.from.idType: string: Email|Phone|Opaque"]
    assert mistakes(name, {"channel": {**channel, "from": {}}}) == [
        "channel.from.id: required",
        "channel.from.idType: required",
    ]
    assert mistakes(name, {**good, "content": [{"attachment": {"url": "u", "mime": "m"}}]}) == [
        "content[].attachment.mediaType: required"
    ]
    assert mistakes(name, {**good, "metadata": {"a": {"b": "c"}}}) == ["metadata: map<string>"]


# --- what we read ---


def keys_read(module: types.ModuleType) -> set[str]:
    """Return the keys that a module looks up by name."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
        elif (
            isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Constant)
        ):
            found.add(node.slice.value)
    return {key for key in found if isinstance(key, str)}


@pytest.mark.parametrize("module", [platform, openmessaging, contract], ids=lambda module: module.__name__)
def test_no_key_is_read_that_nobody_knows(module: types.ModuleType) -> None:
    """A key that our code looks up stands in the table, as a field or a header of some message."""
    known = {re.sub(r"(\[\])+$", "", fact.path).rpartition(".")[2] for fact in FACTS}
    keys = keys_read(module)
    assert len(keys) > 3
    assert keys - known == set()


def test_the_words_we_know_are_those_of_the_schema() -> None:
    """Reasons, types of answers and of ids, permitted parameters: ours are the schema's."""

    def listed(message: str, path: str) -> set[str]:
        return set(TABLE[message, path].type.removeprefix("string: ").split("|"))

    receipt, answer = "OpenInboundNormalizedReceipt", "OpenInboundStructuredResponseMessage"
    assert listed(receipt, "reasons[].code") == openmessaging.RECEIPT_REASONS
    assert listed(receipt, "status") >= {"Delivered", "Failed"}
    assert listed(answer, "buttonResponse.type") == set(openmessaging.ANSWER_TYPES.values())
    hint = Destination.__annotations__["id_type"]
    assert all(word in str(hint) for word in listed(answer, "channel.from.idType"))
    for name in platform._TELLING:
        assert ("ErrorBody", f"messageParams.{name}") in TABLE
    assert ("webhook headers", openmessaging.SIGNATURE_HEADER) in TABLE


def test_the_fields_an_error_may_name_are_those_of_requests() -> None:
    """What a quoted word in an error may be without being somebody's: a field that a request has, and little more."""
    asked = {
        part.removesuffix("[]")
        for fact in FACTS
        if fact.frame.startswith("OpenInbound") or fact.frame == "contract request"
        for part in fact.path.split(".")
    }
    assert platform._FIELDS - asked == {"anyOf"}


# --- the table itself ---


def test_facts_are_sorted_unique_and_sourced() -> None:
    """Each field stands in the table once, with known sources, and a confidence that is the best of theirs."""
    assert sorted(TABLE) == [(fact.frame, fact.path) for fact in FACTS]
    for fact in FACTS:
        sources = fact.source.split()
        assert sources, fact
        levels = [derive_platform_facts.CONFIDENCE[source] for source in sources]
        assert fact.confidence == min(levels, key="HML".index), fact
        assert fact.required in {"yes", "no"}, fact


def test_the_table_holds_no_prose_and_no_path_of_a_machine() -> None:
    """The table of facts is field names, types and source keys; nothing else of anybody's text is in it."""
    for fact in FACTS:
        assert "/" not in fact.path + fact.source, fact
        assert ". " not in "".join(fact), fact
        assert len(fact.path) < 120, fact


def test_what_is_required_has_what_holds_it() -> None:
    """The object that a required field stands in is a field of the table too."""
    for fact in FACTS:
        holder = re.sub(r"(\[\])+$", "", fact.path.rpartition(".")[0])
        assert not holder or (fact.frame, holder) in TABLE, fact


@requires_oracle
def test_the_table_is_what_the_outside_material_says() -> None:
    """The committed facts equal what the SDK's models and the examples give today."""
    models, folder = derive_platform_facts.sdk(), derive_facts.oracle()
    assert folder is not None
    if models is None or not importlib.metadata.version("PureCloudPlatformClientV2").startswith("269."):
        pytest.skip("the table is made of version 269 of the SDK, which is not installed here")
    derived = derive_platform_facts.write_csv(derive_platform_facts.derive(models, folder))
    assert derived == derive_platform_facts.FACTS.read_text("utf-8")


@requires_oracle
def test_every_example_is_of_a_message_or_not_ours() -> None:
    """No example is forgotten, and every field of ours that one holds is a fact."""
    folder = derive_facts.oracle()
    assert folder is not None
    seen = set()
    for name, data in derive_platform_facts.fixtures(folder):
        if derive_platform_facts.NOT_OURS.fullmatch(name):
            continue
        seen.add(name)
        for message, path, _ in derive_platform_facts.fixture_paths(name, data):
            assert (message, path) in TABLE or not derive_platform_facts.is_read(path), (name, path)
    assert seen == set(derive_platform_facts.FIXTURES)
    assert {message for message, _ in derive_platform_facts.FIXTURES.values()} <= MESSAGES


@requires_oracle
def test_what_is_required_is_what_the_field_tables_say() -> None:
    """A field that the outside field tables call required is required in ours, and one they call optional is not."""
    folder = derive_facts.oracle()
    assert folder is not None
    text = (folder / "platform-api.md").read_text("utf-8")
    checked = 0
    for name in sorted(MESSAGES):
        paragraph = re.search(rf"^\*\*{name}\*\* \(#\d+\): (.*)$", text, re.MULTILINE)
        if paragraph is None:
            continue
        ours = {fact.path.rpartition(".")[2]: fact.required for fact in FACTS if fact.frame == name}
        for field, mark in re.findall(r"`(\w+)` ([RO])\b", paragraph[1]):
            if field != "id":  # optional in a button, required in a receipt
                assert ours[field] == {"R": "yes", "O": "no"}[mark], (name, field)
                checked += 1
    assert checked >= 18


@requires_oracle
@pytest.mark.parametrize(
    "name",
    [
        "open_inbound_message_min",
        "open_inbound_message_attachment_only",
        "open_inbound_message_full",
        "open_inbound_event_typing",
        "open_inbound_receipt_delivered",
        "open_inbound_receipt_failed",
        "open_inbound_structured_response",
    ],
)
def test_the_outside_requests_pass_the_same_check(name: str) -> None:
    """The examples of others are in the schema by the check that ours have to pass."""
    folder = derive_facts.oracle()
    assert folder is not None
    data = dict(derive_platform_facts.fixtures(folder))[name]
    assert mistakes(derive_platform_facts.FIXTURES[name][0], data) == []


def test_calls_show_no_content() -> None:
    """What may end in a log names the route alone."""
    where = Address("i", GuestKey("ann@example.com"), "Email")
    call = openmessaging.message_call(where, PartId("p"), PartBody("secret text"), at=0.0, prefetch=True)
    assert isinstance(call, Call)
    for shown in (repr(call), repr(where)):
        assert "ann" not in shown
        assert "secret" not in shown
