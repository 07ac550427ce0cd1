"""What a running relay says of itself: the figures, the file, and what of it is an obstacle."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire import vitals
from guestwire.cli.watching import vital_lines
from guestwire.policy.forecast import checks_s
from guestwire.policy.recent import RECENT_S, Recent
from guestwire.vitals import DestinationVitals, Trouble, Vitals, obstacles

WEB = DestinationVitals(
    trouble=None,
    breaker="closed",
    breaker_until=None,
    binding=None,
    binding_until=None,
    lanes=0,
    backlog=False,
    waiting=0,
    held=0,
    in_flight=0,
    checking=0,
    checks_s=None,
    last_min={},
    limits_held={},
    figures={},
)
WELL = Vitals(
    pid=7,
    fence=1,
    version="1",
    started_at=1.0,
    at=2.0,
    turned_at=2.0,
    stopping=False,
    in_flight=0,
    store=None,
    destinations={"web": WEB},
)


def with_web(**changes: object) -> Vitals:
    """A relay that is well but for what is changed about its destination."""
    return msgspec.structs.replace(WELL, destinations={"web": msgspec.structs.replace(WEB, **changes)})


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (WELL, []),
        (with_web(binding="messages_per_s", waiting=900, backlog=True, checking=5_000, checks_s=310.0), []),
        (with_web(trouble=Trouble("GW-A003", "no way")), [("destination", "web", "GW-A003", "no way")]),
        (with_web(breaker="open", breaker_until=9.0), [("destination", "web", "breaker_open", "its last attempts")]),
        (with_web(breaker="half_open"), [("destination", "web", "breaker_half_open", "its last attempts")]),
        (msgspec.structs.replace(WELL, stopping=True), [("relay", "", "stopping", "it was told")]),
        (msgspec.structs.replace(WELL, fence=0), [("relay", "", "starting", "it has not")]),
        (msgspec.structs.replace(WELL, store=Trouble("GW-S020", "full")), [("store", "", "GW-S020", "full")]),
    ],
)
def test_what_keeps_a_relay_from_sending_is_named(said: Vitals, found: list[tuple[str, str, str, str]]) -> None:
    """Trouble, a breaker that is not closed, a store that fails, a start or an end; waiting for a limit is none."""
    seen = obstacles(said)
    assert [(each.what, each.name, each.code) for each in seen] == [each[:3] for each in found]
    assert all(each.text.startswith(words[3]) for each, words in zip(seen, found, strict=True))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Whole, for this user alone, in place of what was there; and gone after a clean end."""
    vitals.write(tmp_path, with_web(lanes=1))
    vitals.write(tmp_path, WELL)
    assert vitals.read(tmp_path) == WELL
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    vitals.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []
    vitals.remove(tmp_path)
    assert vitals.read(tmp_path) is None


@pytest.mark.parametrize("age_s", [vitals.FRESH_S + 1, -vitals.FRESH_S - 60])
def test_what_is_old_is_not_believed(tmp_path: Path, age_s: float) -> None:
    """Nor what comes from the future: somebody has set the clock, and nothing is known of now."""
    vitals.write(tmp_path, WELL)
    at = time.time() - age_s
    os.utime(tmp_path / vitals.FILE_NAME, (at, at))
    assert vitals.read(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"pid": "x"}', b"\xff\xfe", b"{" * 100_000])
def test_what_is_no_report_is_none(tmp_path: Path, content: bytes) -> None:
    """A file of somebody else's making, or of another version, says nothing."""
    (tmp_path / vitals.FILE_NAME).write_bytes(content)
    assert vitals.read(tmp_path) is None


def test_a_link_or_a_pipe_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Neither read nor written through: whoever can put one there must not be able to point elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(msgspec.json.encode(WELL))
    (tmp_path / vitals.FILE_NAME).symlink_to(victim)
    assert vitals.read(tmp_path) is None
    (tmp_path / f"{vitals.FILE_NAME}.tmp").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        vitals.write(tmp_path, with_web(lanes=3))
    assert victim.read_bytes() == msgspec.json.encode(WELL)
    vitals.remove(tmp_path)
    os.mkfifo(tmp_path / vitals.FILE_NAME)
    assert vitals.read(tmp_path) is None


@given(events=st.lists(st.tuples(st.floats(0, 200), st.sampled_from("ab"))), now=st.integers(0, 300))
def test_the_last_minute_is_what_it_holds(events: list[tuple[float, str]], now: int) -> None:
    """Whatever happened in the last sixty seconds is counted, by whole seconds, and nothing of before."""
    recent = Recent()
    happened = sorted(event for event in events if event[0] < now + 1)
    for at, name in happened:
        recent.note(name, at)
    expected = [name for at, name in happened if int(at) > now - RECENT_S]
    assert recent.per_min(now) == {name: expected.count(name) for name in sorted(set(expected))}


def test_how_long_checks_take() -> None:
    """5,000 guests whose connections come at 1,000 a minute take five minutes at least; without a bound two pauses."""
    assert checks_s(0, per_min=1_000, requests=1, settle_s=5.0) == 10.0  # all of them have their sessions
    assert checks_s(5_000, per_min=1_000, requests=1, settle_s=5.0) == 310.0
    assert checks_s(5_000, per_min=None, requests=1, settle_s=5.0) == 10.0
    assert checks_s(30, per_min=300, requests=2, settle_s=5.0) == 22.0


def test_what_status_says_of_a_destination() -> None:
    """First what keeps its messages and until when, then how it goes; nothing of what is not so."""
    assert list(vital_lines(WEB, 100.0)) == ["busy      0 guests, 0 in line, 0 in flight"]
    busy = msgspec.structs.replace(
        WEB,
        trouble=Trouble("GW-A003", "no way\x1b[31m in"),
        breaker="open",
        breaker_until=112.0,
        held=3,
        binding="messages_per_s",
        binding_until=100.4,
        checking=5_000,
        checks_s=310.0,
        lanes=5_000,
        backlog=True,
        waiting=4_000,
        in_flight=1,
        last_min={"accepted": 2, "sent": 3},
    )
    assert list(vital_lines(busy, 100.0)) == [
        "trouble   no way\\x1b[31m in [GW-A003]",
        "breaker   open: the next try in 12.0 s, 3 guests behind it",
        "limit     messages_per_s binds; the next place in 0.4 s",
        "checks    5,000 unknown outcomes to look up, 5.2 min at least",
        "busy      5,000 guests and more, 4,000 in line, 1 in flight",
        "last min  2 accepted, 3 sent",
    ]
    probing = msgspec.structs.replace(busy, breaker="half_open", binding_until=None, trouble=None)
    assert list(vital_lines(probing, 100.0))[:2] == [
        "breaker   half open: one try is on its way, 3 guests behind it",
        "limit     messages_per_s binds; the next place as soon as an answer comes",
    ]
