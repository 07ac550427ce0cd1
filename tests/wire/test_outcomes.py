"""
Everything that a wire can say about a message, one by one: each leads to one outcome, and only what is known to have
been turned away before it was processed may be sent again without a look.

`codes.csv` holds the codes that somebody outside this project has written down, with the source of each.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from guestwire.model import Accepted, Failed, Outcome, Refused, Throttled, Unknown
from guestwire.policy.connect import judge_upgrade
from guestwire.protocol import contract, openmessaging
from guestwire.protocol.codes import CLOSE_CODES, CODES, Proof, closing, outcome_of
from guestwire.protocol.events import Answered
from guestwire.protocol.frames import OnMessage
from guestwire.protocol.platform import STATUSES, Barred, Says, refusal_of
from tests.wire import derive_facts
from tests.wire.pair import SessionPair

CODES_CSV = Path(__file__).with_name("codes.csv")
OUTCOMES = (Accepted, Throttled, Refused, Failed, Unknown)
NOW = 1_772_600_000.0


def facts(kind: str) -> set[int]:
    """The codes of a kind that somebody outside has written down."""
    with CODES_CSV.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["source"] and row["confidence"] in ("H", "M", "L") for row in rows)
    return {int(row["code"]) for row in rows if row["kind"] == kind}


requires_oracle = pytest.mark.skipif(
    derive_facts.oracle() is None,
    reason="GUESTWIRE_ORACLE is not set: the outside material is not on this machine",
)


# --- codes of the Guest API ---


def test_every_code_of_the_guest_api_is_decided() -> None:
    """A code that somebody has written down has a row of ours, and no row is of our own invention."""
    assert set(CODES) == facts("frame")


@requires_oracle
def test_the_facts_hold_every_code_of_the_outside_table() -> None:
    """A code that the outside table of errors grows is missed here first."""
    folder = derive_facts.oracle()
    assert folder is not None
    section = (folder / "guest-api.md").read_text("utf-8").partition("\n## 5. ")[2].partition("\n## ")[0]
    found: set[int] = set()
    for cell in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE):
        if "HTTP" in cell or "xx" in cell or "599" in cell:
            continue  # ranges of HTTP: they are no rows
        for first, last in re.findall(r"(\d{3,4})(?:\s*[-–]\s*(\d{3,4}))?", cell):
            found |= set(range(int(first), int(last or first) + 1))
    assert len(found) > 25
    assert found == facts("frame")


@given(st.integers(-1, 70_000) | st.sampled_from(sorted(CODES)), st.text(max_size=300), st.none() | st.floats())
def test_any_code_leads_to_one_outcome(code: int, text: str, retry_after_s: float | None) -> None:
    """Known or not, whatever its text and its wait: a value, and *sent again* only where the table proves it."""
    outcome = outcome_of(code, text, retry_after_s)
    assert isinstance(outcome, OUTCOMES)
    known = CODES.get(code)
    if known is None or known.proof is Proof.NOTHING:
        assert isinstance(outcome, Unknown)
    elif known.proof is Proof.THROTTLED:
        assert isinstance(outcome, Throttled)
        assert outcome.retry_after_s >= 1.0
    else:
        assert isinstance(outcome, Failed | Refused)


# --- close codes ---


def test_every_registered_close_code_has_its_name() -> None:
    """Those of the RFC and of IANA's registry, and no others."""
    assert set(CLOSE_CODES) == facts("close")


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (0, "0, no code"),
        (999, "999, no code"),
        (1000, "1000, normal closure"),
        (1012, "1012, service restart"),
        (1016, "1016, unassigned"),
        (2999, "2999, unassigned"),
        (3001, "3001, of a library"),
        (3999, "3999, of a library"),
        (4000, "4000, of the gateway's own"),
        (4999, "4999, of the gateway's own"),
        (5000, "5000, no code"),
        (65535, "65535, no code"),
    ],
)
def test_any_close_code_has_a_name(code: int, named: str) -> None:
    """The borders of the ranges are those of RFC 6455, 7.4.2."""
    assert closing(code) == named


@pytest.mark.parametrize("code", [*sorted(CLOSE_CODES), 0, 999, 1016, 2999, 3001, 3999, 4000, 4321, 4999, 5000, 65535])
def test_no_close_code_proves_anything(code: int) -> None:
    """A message on its way has an unknown outcome, once; what was idle has none; the reason names the code."""
    pair = SessionPair()
    pair.open()
    pair.owner.hold.add(OnMessage)
    pair.send("part-1")
    (answer,) = [
        event for event in pair.lose(f"closed by the gateway ({closing(code)})") if isinstance(event, Answered)
    ]
    assert isinstance(answer.outcome, Unknown)
    assert closing(code) in answer.outcome.reason
    assert not [event for event in pair.lose() if isinstance(event, Answered)]


# --- HTTP ---

DOCUMENTED = {"id": "m1", "channel": {"time": "2026-01-01T00:00:00Z"}, "to": {"id": "c1"}}
BODIES: dict[str, bytes] = {
    "documented": json.dumps(DOCUMENTED).encode(),
    "an error": b'{"code":"bad.request","message":"no","status":400}',
    "a permission": b'{"code":"missing.permissions","messageParams":{"permissions":"[a:b:c]"}}',
    "HTML": b"<!DOCTYPE html><html></html>",
    "cut off": json.dumps(DOCUMENTED).encode()[:20],
    "nothing": b"",
    "a list": b"[]",
}
HEADERS: dict[str, dict[str, str]] = {"none": {}, "a time": {"Retry-After": "7"}, "words": {"Retry-After": "soon"}}
#: Which answers accept a message, by way out.
ACCEPTS = {"openmessaging": ({200, 202}, openmessaging.accepted_of), "rest-contract": ({200}, contract.accepted_of)}


def judged(way: str, status: int, headers: dict[str, str], body: bytes, *, trust: bool) -> Outcome | Barred:
    """What an answer proves, as the transport asks: first whether it accepts, then what it refuses."""
    table = CIMultiDict(headers)
    accepted = ACCEPTS[way][1](status, table, body)
    return accepted or refusal_of(status, table, body, now=NOW, trust_unavailable=trust)


def expected(way: str, status: int, body: str, headers: str, *, trust: bool) -> Any:
    """What reliability demands, said once more in other words than the code's."""
    if body == "documented" and status in ACCEPTS[way][0]:
        return Accepted
    if status in (400, 409, 413, 415):
        return Refused
    if status == 429:
        return Throttled
    if status in (401, 404):
        return Barred
    if status == 403:
        return Barred if body in ("a permission", "HTML", "cut off", "nothing", "a list") else Refused
    if status == 503 and trust and headers != "none":
        return Failed
    return Unknown


@pytest.mark.parametrize("way", ACCEPTS)
@pytest.mark.parametrize("trust", [True, False], ids=["503 believed", "503 not believed"])
def test_every_answer_leads_to_one_outcome(way: str, trust: bool) -> None:
    """Each status from 100 to 599, with every kind of body, with and without a time to come back."""
    for status in range(100, 600):
        for kind, body in BODIES.items():
            for told, headers in HEADERS.items():
                found = judged(way, status, headers, body, trust=trust)
                wanted = expected(way, status, kind, told, trust=trust)
                assert (status, kind, told, type(found)) == (status, kind, told, wanted)
                if isinstance(found, Throttled | Failed):
                    assert found.retry_after_s == (7.0 if told == "a time" else 5.0)


def test_what_the_table_does_not_name_proves_nothing() -> None:
    """And every status that it names is one that somebody outside has written down."""
    assert set(STATUSES) <= facts("status")
    assert Says.NOTHING not in STATUSES.values()
    assert facts("status") - set(STATUSES) == {408, 500, 504}


def test_every_answer_to_an_upgrade_is_judged() -> None:
    """No message is on its way then: either the address is wrong, and one probe a minute asks, or it is tried again."""
    shut = {status for status in range(100, 600) if judge_upgrade(status, "gateway.example") is not None}
    assert shut == {400, 401, 403, 404, 410, 426, *range(300, 400)}
