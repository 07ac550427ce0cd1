"""The demo's judge: what agents see, held against the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from guestwire.cli.batchfile import Row
from guestwire.cli.demo import DRIZZLE, _say, drizzle, judge
from guestwire.emulator.faults import parse_fault
from guestwire.model import Draft, GuestKey

ROWS = [
    Row(number, Draft(destination="emulator", guest=GuestKey(guest), text=f"m{number}"), False, {})
    for number, guest in enumerate(["ann", "bob", "ann", "bob", "ann"], 1)
]
NAMES = ["t1", "t2", "t3", "t4", "t5"]


def shown(*names: str, **texts: str) -> list[dict[str, Any]]:
    """What an agent sees, by tracing id; texts only where they differ from the file's."""
    return [
        {"direction": "Inbound", "tracing_id": name, "text": texts.get(name, name.replace("t", "m"))} for name in names
    ]


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (shown(*NAMES), {}),
        (shown("t2", "t1", "t4", "t3", "t5"), {}),  # guests go side by side
        (shown("t1", "t2", "t3", "t4"), {"lost": 1, "shown": 4}),
        (shown(), {"lost": 5, "shown": 0}),
        (shown("t1", "t2", "t2", "t3", "t4", "t4", "t4", "t5"), {"duplicates": 3}),
        (shown("t1", "t2", "t5", "t4", "t3"), {"out_of_order": 1}),
        (shown("t5", "t4", "t3", "t2", "t1"), {"out_of_order": 3}),
        (shown(*NAMES, t3="M3"), {"changed": 1}),
        (shown("t1", "t2", "t3", "t4", "t5", "t1"), {"duplicates": 1}),  # a late copy disorders nothing
        ([*shown(*NAMES), *shown("other")], {}),
        ([*shown(*NAMES), {"direction": "Outbound", "tracing_id": "t1", "text": "reply"}], {}),
    ],
)
def test_the_verdict_counts_what_is_wrong(seen: list[dict[str, Any]], wrong: dict[str, int]) -> None:
    """Lost, doubled, out of order inside a guest, changed; everything else is clean."""
    verdict = judge(ROWS, NAMES, seen)
    found = {name: getattr(verdict, name) for name in ("lost", "duplicates", "out_of_order", "changed")}
    assert found == {"lost": 0, "duplicates": 0, "out_of_order": 0, "changed": 0} | {
        name: count for name, count in wrong.items() if name != "shown"
    }
    assert verdict.messages == 5
    assert verdict.shown == wrong.get("shown", 5)
    assert verdict.is_clean is not bool(wrong)


@pytest.mark.parametrize("messages", [1, 60, 357])
def test_the_drizzle_is_drawn_from_its_seed(messages: int) -> None:
    """Same seed, same mishaps; each at a message of its own, and each one that the emulator knows."""
    faults = drizzle(7, messages)
    assert faults == drizzle(7, messages)
    assert faults != drizzle(8, messages)
    assert len({fault["match"]["nth"] for fault in faults}) == len(faults) == sum(DRIZZLE.values())
    assert {kind: sum(fault["kind"] == kind for fault in faults) for kind in DRIZZLE} == DRIZZLE
    for fault in faults:
        parse_fault(fault, "f1")


@pytest.mark.parametrize("seen", [shown(*NAMES), shown("t1", "t1")])
def test_the_table_says_it_for_people(seen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """With the other client's column beside ours, the verdict in words, and what to try next."""
    verdict = judge(ROWS, NAMES, seen)
    figures = {
        **msgspec.to_builtins(verdict),
        "faults": {"throttle": 6},
        "unknown": 2,
        "settled": {"late echo": 2},
        **dict.fromkeys(("throttled", "reconnects", "echo_p50_ms", "echo_p95_ms", "seconds", "seed"), 1),
        "tutorial_client": msgspec.to_builtins(judge(ROWS, NAMES, shown("t1", "t1"))),
    }
    _say(figures, verdict, as_json=False, path=Path("day\x1b.csv"))
    said = capsys.readouterr().out
    assert f"lost{verdict.lost}4" in said.replace(" ", "")
    assert ("Nothing lost, nothing doubled" in said) is verdict.is_clean
    assert "guestwire init" in said
    assert "\x1b" not in said
