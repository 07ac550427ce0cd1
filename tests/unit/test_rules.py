"""What may be accepted at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.errors import Rejected
from guestwire.model import Draft, GuestKey
from guestwire.policy.rules import check_draft
from guestwire.settings import Limits

LIMITS = Limits()
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"  # one picture, 5 characters, 18 bytes


def findings(limits: Limits = LIMITS, **changes: Any) -> list[tuple[str, str]]:
    """Return rule and path of what is wrong with a good message after some changes."""
    values: dict[str, Any] = {"destination": "web", "guest": GuestKey("42"), "text": "hello", **changes}
    return [(finding.rule, finding.path) for finding in check_draft(Draft(**values), limits)]


def test_a_good_message_has_no_findings() -> None:
    """The shortest message, and one that uses everything, are accepted."""
    assert findings() == []
    assert findings(attributes={"topic": "order"}, key="k", not_before=1.0, expires_at=2.0, priority=0) == []


@pytest.mark.parametrize(
    ("changes", "rule", "path"),
    [
        ({"guest": ""}, "guest.empty", "guest"),
        ({"guest": " \t"}, "guest.empty", "guest"),
        ({"guest": "g" * 513}, "guest.too_long", "guest"),
        ({"guest": "4\x002"}, "text.nul", "guest"),
        ({"guest": "4\ud8002"}, "text.surrogate", "guest"),
        ({"key": ""}, "key.empty", "key"),
        ({"key": "k" * 513}, "key.too_long", "key"),
        ({"key": "k\x00"}, "text.nul", "key"),
        ({"key": "k\udfff"}, "text.surrogate", "key"),
        ({"text": ""}, "text.empty", "text"),
        ({"text": " \n\t\u2003"}, "text.empty", "text"),
        ({"text": "a\x00b"}, "text.nul", "text"),
        ({"text": "a\ud83d"}, "text.surrogate", "text"),
        ({"attributes": {"": "x"}}, "attributes.name_empty", "attributes"),
        ({"attributes": {"topic": "a\x00"}}, "text.nul", "attributes.topic"),
        ({"attributes": {"topic": "a\udc00"}}, "text.surrogate", "attributes.topic"),
        ({"attributes": {"topic": "a" * 2048}}, "attributes.too_large", "attributes"),
        ({"priority": -1}, "priority.range", "priority"),
        ({"priority": 10}, "priority.range", "priority"),
        ({"not_before": 5.0, "expires_at": 5.0}, "expires_at.before_start", "expires_at"),
    ],
)
def test_each_rule_names_itself_and_its_field(changes: dict[str, Any], rule: str, path: str) -> None:
    """One thing wrong is one finding, with the stable name of its rule and the path of its field."""
    assert findings(**changes) == [(rule, path)]


@pytest.mark.parametrize(
    "changes",
    [
        {"guest": "g" * 512},
        {"key": "k" * 512},
        {"text": "a" * 4096},
        {"text": "ä" * 2048},
        {"text": FAMILY},
        {"attributes": {"t": "a" * 2000}},
        {"priority": 9},
        {"not_before": 5.0, "expires_at": 5.1},
        {"expires_at": 1.0},
    ],
)
def test_the_border_itself_is_accepted(changes: dict[str, Any]) -> None:
    """The last value that fits, fits."""
    assert findings(**changes) == []


def test_everything_wrong_is_said_at_once() -> None:
    """Nobody mends one field to be told of the next."""
    found = findings(guest="", key="", text="", attributes={"": "\x00"}, priority=77, not_before=2.0, expires_at=1.0)
    assert {path for _, path in found} >= {"guest", "key", "text", "attributes", "priority", "expires_at"}
    assert len(found) == len(set(found)) == 7


def test_a_finding_quotes_no_content() -> None:
    """Neither text nor guest nor the value of an attribute stands in a finding."""
    draft = Draft(
        destination="web",
        guest=GuestKey("canary\x00" * 200),
        text="canary\ud800" * 2000,
        key="canary\x00" * 200,
        attributes={"topic": "canary\x00" * 900},
    )
    found = check_draft(draft, LIMITS)
    assert len(found) >= 7
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "name", ["a\x00b", "a\ud800b", "a\x1b[31mb", "a\nGW-R001 forged", "\N{RIGHT-TO-LEFT OVERRIDE}x", "n" * 5000]
)
def test_a_strange_attribute_name_cannot_leave_its_field(name: str) -> None:
    """The path of a finding is short, printable and one line; the error can be printed and written as JSON."""
    found = check_draft(Draft(destination="web", guest=GuestKey("42"), text="hello", attributes={name: "\x00"}), LIMITS)
    assert found
    for finding in found:
        assert finding.path.isprintable()
        assert len(finding.path) < 500
    str(Rejected(found)).encode()
    msgspec.json.encode(found)


#: What a draft takes for one: of the years 1 to 9999, in seconds.
MOMENTS = st.floats(-62_135_596_800, 253_402_300_799)
any_text = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Lo"]), max_size=30),
    st.text(max_size=3).map(lambda text: text * 3000),
)


@given(
    guest=any_text,
    text=any_text,
    key=st.none() | any_text,
    attributes=st.dictionaries(any_text, any_text, max_size=4),
    not_before=st.none() | MOMENTS,
    expires_at=st.none() | MOMENTS,
    priority=st.integers(-(2**63), 2**63 - 1),
    unit=st.sampled_from(["bytes", "characters"]),
)
@settings(deadline=None)
def test_any_text_is_judged_and_none_raises(
    guest: str,
    text: str,
    key: str | None,
    attributes: Mapping[str, str],
    not_before: float | None,
    expires_at: float | None,
    priority: int,
    unit: str,
) -> None:
    """Whatever is handed in gets findings that can be shown; without any, it can be encoded and fits."""
    draft = Draft(
        destination="web",
        guest=GuestKey(guest),
        text=text,
        key=key,
        attributes=dict(attributes),
        not_before=not_before,
        expires_at=expires_at,
        priority=priority,
    )
    found = check_draft(draft, Limits(text_unit="bytes" if unit == "bytes" else "characters"))
    str(Rejected(found)).encode()
    assert all(finding.path and finding.text and finding.fix for finding in found)
    if not found:
        assert text.strip()
        msgspec.json.encode(draft)
