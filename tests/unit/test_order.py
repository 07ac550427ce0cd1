"""Replies in order, as far as waiting a moment can bring them in order."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from guestwire.model import GatewayMessageId, GuestRef, Reply
from guestwire.policy.order import Reorder, time_of

WINDOW_S = 1.0


def reply(number: int, guest: str, at: float | None, received_at: float) -> Reply:
    """A reply that arrived."""
    stamp = None if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()
    return Reply(
        gateway_id=GatewayMessageId(str(number)),
        kind="text",
        at=stamp,
        guest_ref=GuestRef(guest),
        seq=number,
        received_at=received_at,
    )


ARRIVALS = st.lists(
    st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 20)), st.floats(0, 0.7)), max_size=25
)


def handed_out(arrivals: list[tuple[str, int | None, float]]) -> list[Reply]:
    """What comes out, in its order, when somebody looks at every arrival and at every end of a wait."""
    waiting, out, now = Reorder(WINDOW_S), [], 0.0
    for number, (guest, at, pause_s) in enumerate(arrivals):
        now += pause_s
        out += waiting.release(now)
        waiting.push(reply(number, guest, None if at is None else float(at), now))
    return out + waiting.flush()


@given(ARRIVALS)
def test_nothing_is_lost_and_nothing_comes_twice(arrivals: list[tuple[str, int | None, float]]) -> None:
    """Every reply that went in comes out, once."""
    assert sorted(reply.seq for reply in handed_out(arrivals)) == list(range(len(arrivals)))


@given(ARRIVALS)
def test_each_guest_s_replies_rise_but_for_those_that_are_flagged(
    arrivals: list[tuple[str, int | None, float]],
) -> None:
    """By the gateway's time; one that is older than what went out before it has `late` set, and no other has."""
    newest: dict[str, float] = {}
    for found in handed_out(arrivals):
        at = time_of(found.at)
        if at is None:
            continue
        assert found.late is (at < newest.get(found.guest_ref, float("-inf")))
        newest[found.guest_ref] = max(at, newest.get(found.guest_ref, float("-inf")))


@given(ARRIVALS)
def test_what_comes_within_the_window_is_never_late(arrivals: list[tuple[str, int | None, float]]) -> None:
    """If everything arrives within one window, everything goes out in order."""
    together = [(guest, at, 0.0) for guest, at, _ in arrivals]
    assert not any(found.late for found in handed_out(together))


@given(ARRIVALS)
def test_nobody_waits_longer_than_the_window(arrivals: list[tuple[str, int | None, float]]) -> None:
    """When its wait is over, a reply goes out, whatever else is missing."""
    waiting, now = Reorder(WINDOW_S), 0.0
    for number, (guest, at, pause_s) in enumerate(arrivals):
        now += pause_s
        waiting.push(reply(number, guest, None if at is None else float(at), now))
        waiting.release(now)
        assert (waiting.next_at or float("inf")) > now


def test_times_that_are_none() -> None:
    """Whatever the gateway calls a time; what is none orders nothing."""
    assert time_of("2026-11-22T10:00:00.000Z") == 1795341600.0
    assert time_of("2026-11-22T10:00:00") == 1795341600.0
    for wrong in (None, "", "yesterday", "2026-13-45T99:99:99Z", "\x00"):
        assert time_of(wrong) is None
