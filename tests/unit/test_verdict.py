"""What becomes of a message: all findings at once, masks, parts, whoever waits."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import guestwire
from guestwire import Destination, Draft, Finding, Limits, Message, RemoteFile
from guestwire.answers import quick_reply
from guestwire.checking import ANYWHERE
from guestwire.clock import SystemClock
from guestwire.errors import ConfigError
from guestwire.model import GuestKey
from guestwire.policy.content import Content
from guestwire.policy.verdict import Rule, Verdict, judge
from guestwire.rulebook import LOOK_EVERY_S, Rulebook, find_rules
from guestwire.settings import Secret
from guestwire.settings.policy import Patterns, Personal, Policy, Words
from guestwire.testing import FakeClock

FAMILY = "👨‍👩‍👧"  # 18 bytes, 5 characters
CONTRACT = Destination(
    name="rest",
    transport="rest-contract",
    url="http://127.0.0.1",
    client_id="client",
    client_secret=Secret("secret"),
    allow_links=("files.example",),
)


def verdict(text: str, policy: Policy | None = None, *rules: Rule, to: Destination = ANYWHERE, **draft: Any) -> Verdict:
    """What becomes of a text."""
    said = Draft(destination=to.name, guest=GuestKey("anna"), text=text, **draft)
    return judge(said, to, Content(policy or Policy()), rules, now=1.0)


def to_anywhere(**changes: Any) -> Destination:
    """Web messaging with other limits."""
    return Destination(name="anywhere", url=ANYWHERE.url, deployment_id=ANYWHERE.deployment_id, **changes)


def rules_of(found: Verdict) -> list[tuple[str, str]]:
    """Rule and action of each finding."""
    return [(finding.rule, finding.action) for finding in found.findings]


# --- findings ---


def test_everything_is_said_at_once() -> None:
    """Limits, policy and the program's own rules, whichever of them rejects."""

    def no_shouting(draft: Draft, _limits: Limits) -> Iterable[Finding]:
        if draft.text.isupper():
            yield Finding("shop.shouting", "text", "is all capitals", "say it more quietly", action="warn")

    policy = Policy(lists={"words": Words(words=("blocked",))})
    found = verdict("BLOCKED <SCRIPT>", policy, no_shouting, priority=10)
    assert {rule for rule, _ in rules_of(found)} == {"priority.range", "list.words", "script.element", "shop.shouting"}
    assert found.is_rejected
    assert not found.bodies
    assert [finding.rule for finding in found.reasons] == ["priority.range", "list.words", "script.element"]


def test_a_warning_rejects_nothing() -> None:
    """It is told, and the message goes out as it is."""
    found = verdict("card 4111 1111 1111 1111")
    assert rules_of(found) == [("personal.card", "warn")]
    assert [body.text for body in found.bodies] == ["card 4111 1111 1111 1111"]


@pytest.mark.parametrize("returns", [None, 5, ["text"], [Finding], [{"rule": "x"}]])
def test_a_rule_that_fails_rejects(returns: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows what it would have said. Neither the log nor the finding quotes the text."""
    found = verdict("secret words", None, lambda _draft, _limits: returns)
    assert [finding.rule for finding in found.reasons] == ["rule.failed"]

    def raises(draft: Draft, _limits: Limits) -> Iterable[Finding]:
        raise ValueError(draft.text)

    with caplog.at_level(logging.ERROR):
        found = verdict("secret words", None, raises)
    assert [finding.rule for finding in found.reasons] == ["rule.failed"]
    assert "secret" not in caplog.text + str(found.findings)
    assert "raises" in caplog.text


# --- masks ---


def test_what_is_redacted_never_reaches_a_body() -> None:
    """Text and captions; each kind has its own mask."""
    policy = Policy(
        personal=Personal(card="redact", email="redact"),
        patterns={"order": Patterns(patterns=(r"NL-\d+",), action="redact")},
    )
    found = verdict("a@b.example paid NL-123 with 4111 1111 1111 1111", policy)
    assert [body.text for body in found.bodies] == ["[e-mail] paid [removed] with [card]"]
    file = RemoteFile(url="https://files.example/a.png", size=5, caption="of a@b.example")
    found = verdict("x", policy, to=CONTRACT, remote_files=(file,), conversation="c")
    assert found.bodies[0].remote_files[0].caption == "of [e-mail]"


def test_an_answer_is_not_masked() -> None:
    """Masked it would be none of the options that were offered; it is told all the same."""
    policy = Policy(personal=Personal(email="redact"))
    found = verdict("", policy, answer=quick_reply("a@b.example", None))
    assert rules_of(found) == [("personal.email", "warn")]
    assert found.bodies[0].answer is not None


# --- length ---


def test_a_long_text_becomes_parts_of_one_message() -> None:
    """Attributes and files go with the first."""
    text = "one two three. " * 600
    found = verdict(text, attributes={"topic": "order"})
    assert "".join(body.text for body in found.bodies) == text
    assert [body.attributes for body in found.bodies] == [{"topic": "order"}, {}, {}]
    assert all(len(body.text.encode()) <= 4096 for body in found.bodies)


def test_text_is_counted_in_the_unit_that_is_set() -> None:
    """Bytes of UTF-8 or characters: a picture of a family is 18 of these and 5 of those."""
    for unit, fits in (("bytes", 18), ("characters", 5)):
        for limit, expected in ((fits, 1), (fits - 1, 2)):
            limits = Limits(max_text=limit, text_unit="bytes" if unit == "bytes" else "characters")
            found = verdict(FAMILY, to=to_anywhere(limits=limits))
            assert (len(found.bodies) > 1) == (expected > 1), (unit, limit)


def test_length_is_measured_on_what_is_sent() -> None:
    """A mask may be longer than what it stands for."""
    policy = Policy(lists={"words": Words(words=("ab",), action="redact")})
    to = to_anywhere(limits=Limits(max_text=20), long_text="reject")
    assert not verdict("ab ab ab", to=to).is_rejected
    assert [one.rule for one in verdict("ab ab ab", policy, to=to).reasons] == ["text.too_long"]


def test_who_wants_no_parts_says_so() -> None:
    """Refused, or cut short with a warning."""
    assert [one.rule for one in verdict("a" * 5_000, to=to_anywhere(long_text="reject")).reasons] == ["text.too_long"]
    found = verdict("word " * 1_000, to=to_anywhere(long_text="truncate"))
    assert rules_of(found) == [("text.truncated", "warn")]
    assert [body.text[-1] for body in found.bodies] == ["…"]


def test_markers_count() -> None:
    """Each part says which it is."""
    found = verdict("word " * 1_000, to=to_anywhere(part_markers=True))
    assert [body.text[:6] for body in found.bodies] == ["(1/2) ", "(2/2) "]
    assert all(len(body.text) <= 4096 for body in found.bodies)


def test_more_parts_than_anybody_would_read_are_refused() -> None:
    """Each of them is a message to an agent."""
    assert [one.rule for one in verdict("word " * 50_000).reasons] == ["text.too_many_parts"]


def test_markup_is_not_cut() -> None:
    """Half an element is none."""
    html = "<p>" + "word " * 1_000 + "</p>"
    found = verdict(html, to=CONTRACT, content_type="text/html", conversation="c")
    assert [one.rule for one in found.reasons] == ["text.too_long"]


# --- guestwire.check ---


def test_check_needs_neither_store_nor_network(tmp_path: Path) -> None:
    """A message, the limits of a way out, a policy file."""
    assert guestwire.check(Message(guest="1", text="hello")) == ()
    policy = tmp_path / "policy.toml"
    policy.write_text('[lists.words]\nwords = ["hello"]\n')
    found = guestwire.check(Message(guest="1", text="hello"), Limits(max_text=2), policy=policy)
    assert [finding.rule for finding in found] == ["list.words"]
    found = guestwire.check(Message(guest="1", text="hello"), CONTRACT)
    assert [finding.rule for finding in found] == ["conversation.missing"]


# --- the rulebook ---


def test_a_policy_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file, or a list beside it. One that cannot be used is told, and the old one stays."""
    file, words = tmp_path / "policy.toml", tmp_path / "words.txt"
    words.write_text("# ours\nblocked\n\n")
    file.write_text('version = "1"\n[lists.words]\nfiles = ["words.txt"]\n')
    clock = FakeClock()
    book = Rulebook(clock, file)

    def finds(text: str) -> bool:
        clock.advance(LOOK_EVERY_S)
        return bool(book.content.look(text))

    assert finds("blocked")
    assert not finds("other")
    words.write_text("blocked\nother\n")
    assert finds("other")
    file.write_text('version = "2"\n[lists.words]\nwords = ["new"')
    with caplog.at_level(logging.ERROR):
        assert finds("other")
    assert "line 3" in caplog.text
    file.write_text('version = "2"\n[lists.words]\nwords = ["new one"]\n')
    assert finds("new one")
    assert not finds("other")
    assert book.content.policy.version == "2"
    file.unlink()
    assert finds("new one")


def test_rules_are_found_by_name() -> None:
    """And those that are not are told."""
    assert find_rules(["tests.unit.test_verdict:a_rule"]) == (a_rule,)
    for name in ("tests.unit.test_verdict:none", "no.such.module:x", "tests.unit.test_verdict:FAMILY"):
        with pytest.raises(ConfigError, match="GW-C023"):
            find_rules([name])


def a_rule(_draft: Draft, _limits: Limits) -> Iterable[Finding]:
    """Finds nothing."""
    return ()


def test_the_default_policy_needs_no_file() -> None:
    """It is made when it is first asked for."""
    assert Rulebook(SystemClock()).content.policy.name == "default"
