"""Deciding which faults strike: pure."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestwire.emulator.faults import KINDS, FaultBook, FaultError, Occurrence, decide, parse_fault

MESSAGE = Occurrence("request", action="onMessage", is_message=True, text="hello world", tracing_id="m1")


def test_decide_is_pure() -> None:
    """The same faults and occurrence give the same answer, and nothing given is changed."""
    faults = [parse_fault({"kind": "lose_echo", "times": 2}, "f1"), parse_fault({"kind": "throttle"}, "f2")]
    assert decide(faults, MESSAGE, 1) == decide(faults, MESSAGE, 1)
    assert [fault.fired for fault in faults] == [0, 0]


def test_times_and_nth() -> None:
    """A fault fires from its n-th occurrence on, as often as asked for."""
    book = FaultBook(1)
    book.inject({"kind": "throttle", "match": {"nth": 3}, "times": 2})
    assert [bool(book.strike(MESSAGE)) for _ in range(6)] == [False, False, True, True, False, False]
    (fault,) = book.describe()
    assert (fault["seen"], fault["fired"]) == (6, 2)


@given(seed=st.integers(0, 1000), probability=st.sampled_from([0.0, 0.3, 1.0]))
def test_draws_do_not_depend_on_other_faults(seed: int, probability: float) -> None:
    """A fault with a probability fires at the same occurrences whatever else is set up after it."""

    def run(*others: dict[str, Any]) -> list[bool]:
        book = FaultBook(seed)
        book.inject([{"kind": "lose_echo", "probability": probability}, *others])
        return [book.strike(MESSAGE).get("lose_echo") is not None for _ in range(30)]

    alone = run()
    assert alone == run({"kind": "duplicate_echo", "probability": 0.5}, {"kind": "delay_echo", "times": 3})
    if probability in (0.0, 1.0):
        assert set(alone) == {probability == 1.0}


def test_only_one_fate() -> None:
    """Of the faults that end a request the first fires; the next waits for its turn. Others combine."""
    book = FaultBook(1)
    book.inject([{"kind": "throttle"}, {"kind": "drop_before_accept"}, {"kind": "malformed_frame"}])
    assert list(book.strike(MESSAGE).kinds()) == ["throttle", "malformed_frame"]
    assert list(book.strike(MESSAGE).kinds()) == ["drop_before_accept"]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"text": "lo wo"}, True),
        ({"text": "Lo"}, False),
        ({"tracing_id": "m1"}, True),
        ({"tracing_id": "m2"}, False),
        ({"action": "onMessage"}, True),
        ({"action": "*"}, True),
        ({"action": "echo"}, False),
        ({"token_sha256": "x"}, False),
    ],
)
def test_match(match: dict[str, Any], fits: bool) -> None:
    """Every given condition must hold."""
    book = FaultBook(1)
    book.inject({"kind": "lose_echo", "match": match})
    assert bool(book.strike(MESSAGE)) is fits


def test_faults_without_an_action_are_about_messages() -> None:
    """Typing and other requests are left alone unless they are asked for."""
    book = FaultBook(1)
    book.inject({"kind": "lose_echo"})
    assert not book.strike(Occurrence("request", action="onMessage"))
    assert not book.strike(Occurrence("request", action="getJwt"))
    assert book.strike(MESSAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "throttle",
        {},
        {"kind": 5},
        {"kind": "throttel"},
        {"kind": "throttle", "match": {"txt": "x"}},
        {"kind": "throttle", "match": "x"},
        {"kind": "throttle", "probability": 2},
        {"kind": "throttle", "probability": True},
        {"kind": "throttle", "times": 0},
        {"kind": "throttle", "retry_after_s": "soon"},
        {"kind": "throttle", "status": 500},
        {"kind": "delay_echo", "delay_ms": -1},
        {"kind": "close_with", "code": 1.5},
        {"kind": "lose_echo", "keep": 1},
    ],
)
def test_wrong_faults_are_refused_whole(wrong: Any) -> None:
    """A fault that cannot be is refused with a sentence, and so is the list it stands in."""
    book = FaultBook(1)
    with pytest.raises(FaultError):
        book.inject([{"kind": "lose_echo"}, wrong])
    assert len(book) == 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "match", "times", "probability", "code"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_fault_or_a_sentence(data: Any) -> None:
    """Whatever is posted is set up or refused; nothing else happens."""
    with contextlib.suppress(FaultError):
        assert parse_fault(data, "f1").kind in KINDS


def test_every_kind_can_be_set_up_bare() -> None:
    """Each kind works without parameters."""
    book = FaultBook(1)
    assert book.inject([{"kind": kind} for kind in KINDS]) == [f"f{place}" for place in range(1, len(KINDS) + 1)]
    assert book.clear("f1") == 1
    assert book.clear() == len(KINDS) - 1
