"""What each way out can carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guestwire.answers import Answer, Choice, quick_reply
from guestwire.errors import Rejected
from guestwire.model import Attachment, Draft, GuestKey, Profile, RemoteFile
from guestwire.policy.ways import check_message
from guestwire.settings import Destination, Secret

UUID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
NOW = 1_772_600_400.0
PICTURE = RemoteFile(url="https://files.example.com/a.png", size=1000)


def destination(way: str, **changes: Any) -> Destination:
    """A destination of one way out."""
    ids = {"webmessaging": {"deployment_id": UUID}, "openmessaging": {"integration_id": UUID}, "rest-contract": {}}
    known: dict[str, Any] = {"client_id": "c", "client_secret": Secret("s"), "url": "http://127.0.0.1:1"}
    return Destination(name="way", transport=way, **(known | ids[way] | changes))  # type: ignore[arg-type]


def rules(way: str, to: Destination | None = None, **draft: Any) -> list[str]:
    """Which findings a message has."""
    known: dict[str, Any] = {"destination": "way", "guest": GuestKey("42"), "text": "hello"}
    if way == "rest-contract":
        known["conversation"] = "conv-1"
    return [finding.rule for finding in check_message(Draft(**(known | draft)), to or destination(way), NOW)]


@pytest.mark.parametrize("way", ["webmessaging", "openmessaging", "rest-contract"])
def test_a_plain_text_goes_every_way(way: str) -> None:
    """The same message, whatever the wire."""
    assert rules(way) == []


@pytest.mark.parametrize(
    ("way", "draft", "rule"),
    [
        ("webmessaging", {"remote_files": (PICTURE,)}, "file.by_address"),
        ("webmessaging", {"profile": Profile(nickname="Ada")}, "profile.not_here"),
        ("webmessaging", {"content_type": "text/html"}, "content_type.not_here"),
        ("webmessaging", {"conversation": "c"}, "conversation.not_here"),
        ("openmessaging", {"attachments": (Attachment("a.txt", b"x"),)}, "file.by_content"),
        ("openmessaging", {"content_type": "text/html"}, "content_type.not_here"),
        ("openmessaging", {"conversation": "c"}, "conversation.not_here"),
        ("openmessaging", {"text": "", "answer": quick_reply("Yes")}, "answer.to"),
        (
            "openmessaging",
            {"text": "", "answer": Answer(kind="form", choices=(Choice("a", "a", "f"),), to="m1")},
            "answer.kind",
        ),
        (
            "openmessaging",
            {"text": "", "answer": Answer(kind="button", choices=(Choice("a", "a"), Choice("b", "b")), to="m1")},
            "answer.kind",
        ),
        ("rest-contract", {"conversation": None}, "conversation.missing"),
        ("rest-contract", {"conversation": " "}, "conversation.missing"),
        ("rest-contract", {"text": "", "answer": quick_reply("Yes")}, "answer.not_here"),
        ("rest-contract", {"profile": Profile(nickname="Ada")}, "profile.not_here"),
        ("rest-contract", {"attributes": {"a": "b"}}, "attributes.not_here"),
        ("rest-contract", {"attachments": (Attachment("a.txt", b"x"),)}, "file.by_content"),
        ("rest-contract", {"remote_files": (RemoteFile(url=PICTURE.url),)}, "link.no_size"),
        ("rest-contract", {"remote_files": (RemoteFile(url="https://a.example/a.zip", size=1),)}, "file.type"),
        ("rest-contract", {"remote_files": (RemoteFile(url=PICTURE.url, size=27_000_000),)}, "file.too_large"),
    ],
)
def test_what_a_way_out_has_no_place_for_is_a_finding(way: str, draft: dict[str, Any], rule: str) -> None:
    """Whoever set it believed that it would arrive."""
    assert rules(way, **draft) == [rule]


@pytest.mark.parametrize(
    ("way", "draft"),
    [
        ("openmessaging", {"text": "", "remote_files": (PICTURE,)}),
        ("openmessaging", {"profile": Profile(nickname="Ada"), "attributes": {"topic": "order"}}),
        ("openmessaging", {"text": "", "answer": Answer(kind="button", choices=(Choice("a", "a"),), to="m1")}),
        ("openmessaging", {"text": "é" * 4096}),
        ("rest-contract", {"content_type": "text/html", "text": "<b>hello</b>"}),
        ("rest-contract", {"remote_files": (PICTURE, PICTURE)}),
        ("rest-contract", {"remote_files": (RemoteFile(url=PICTURE.url, size=25 * 1024 * 1024),)}),
    ],
)
def test_what_it_has_a_place_for_passes(way: str, draft: dict[str, Any]) -> None:
    """Up to the very limits: 4,096 characters, 25 MB."""
    assert rules(way, **draft) == []


@pytest.mark.parametrize(
    ("id_type", "guest", "passes"),
    [
        ("Opaque", "anything at all", True),
        ("Email", "ada@example.com", True),
        ("Email", "ada", False),
        ("Email", "a b@example.com", False),
        ("Phone", "+13175550199", True),
        ("Phone", "3175550199", False),
    ],
)
def test_a_guest_is_what_id_type_says(id_type: str, guest: str, passes: bool) -> None:
    """The platform would refuse, or mistake, the others."""
    found = rules("openmessaging", destination("openmessaging", id_type=id_type), guest=GuestKey(guest))
    assert found == ([] if passes else ["guest.id_type"])


def test_all_findings_come_at_once() -> None:
    """The first one is not the last to be heard of."""
    found = rules("rest-contract", text="", conversation=None, attributes={"a": "b"}, remote_files=())
    assert found == ["text.empty", "conversation.missing", "attributes.not_here"]


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: Profile(nickname=4711), "profile.nickname"),  # type: ignore[arg-type]
        (lambda: RemoteFile(url=5), "attachments.url"),  # type: ignore[arg-type]
        (lambda: RemoteFile(url="https://a.example", caption=5), "attachments.caption"),  # type: ignore[arg-type]
        (lambda: RemoteFile(url="https://a.example", size=5.5), "attachments.size"),  # type: ignore[arg-type]
        (lambda: RemoteFile(url="https://a.example", size=True), "attachments.size"),
    ],
)
def test_a_number_where_a_text_belongs_is_refused_when_it_is_made(make: Callable[[], object], path: str) -> None:
    """Stored, it could not be read any more: a customer number as a nickname is an easy mistake."""
    with pytest.raises(Rejected) as caught:
        make()
    assert [finding.path for finding in caught.value.findings] == [path]


@pytest.mark.parametrize(
    ("draft", "path", "rule"),
    [
        ({"profile": Profile(nickname="\ud800")}, "profile.nickname", "text.surrogate"),
        ({"profile": Profile(first_name="a\x00b")}, "profile.first_name", "text.nul"),
        ({"profile": Profile(last_name="x" * 1025)}, "profile.last_name", "words.too_long"),
        (
            {"remote_files": (RemoteFile(url=PICTURE.url, caption="x" * 1025),)},
            "attachments[0].caption",
            "words.too_long",
        ),
        ({"remote_files": (RemoteFile(url=PICTURE.url, name="\ud800.png"),)}, "attachments[0].name", "text.surrogate"),
        ({"remote_files": (RemoteFile(url=PICTURE.url, type="image/png\r\nX: y"),)}, "attachments", "file.type"),
    ],
)
def test_the_words_beside_the_text_are_looked_at_too(draft: dict[str, Any], path: str, rule: str) -> None:
    """Nothing bounds them on the wire, and what no gateway takes goes nowhere."""
    message = Draft(destination="way", guest=GuestKey("42"), text="hello", **draft)
    found = check_message(message, destination("openmessaging"), NOW)
    assert (rule, path) in [(finding.rule, finding.path) for finding in found]
