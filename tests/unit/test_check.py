"""Whether a lost attempt arrived, as far as the history can say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestwire.model import Entity, GatewayMessageId, PartBody, PartId
from guestwire.policy.check import (
    Absent,
    Found,
    LookAgain,
    Progress,
    Unsettleable,
    after_anchor,
    find,
    judge,
    judge_unreadable,
    normalized,
)

P1, P2 = PartId("p1"), PartId("p2")


def entity(name: str, text: str | None = "hello", part_id: PartId | None = None) -> Entity:
    """Make an entry; its second name is the first in capitals."""
    return Entity(GatewayMessageId(name), name.upper(), text, None, part_id)


def nobodys(_: Entity) -> bool:
    """No entry belongs to a part."""
    return False


def names(entities: list[Entity]) -> list[str]:
    """Return what the platform calls them."""
    return [str(entry.gateway_id) for entry in entities]


# --- the anchor ---


@pytest.mark.parametrize(
    ("anchor", "fresh"),
    [("b", ["d", "c"]), ("B", ["d", "c"]), ("d", []), (None, ["d", "c", "b", "a"]), ("z", ["d", "c", "b", "a"])],
)
def test_only_what_is_newer_than_the_anchor_is_looked_at(anchor: str | None, fresh: list[str]) -> None:
    """The anchor is found under either of its names; without one everything is fresh."""
    history = [entity(name) for name in "dcba"]
    assert names(after_anchor(history, anchor)) == fresh


def test_a_file_of_unknown_id_is_any_file_with_these_words() -> None:
    """Out of a backup: an entry with a file and the same text; not one with two, none, or other words."""
    plain, other = entity("a"), msgspec.structs.replace(entity("b", "good bye"), marks=("u1",))
    two, one = (
        msgspec.structs.replace(entity(name), marks=marks) for name, marks in (("c", ("u1", "u2")), ("d", ("u3",)))
    )
    assert find(P1, PartBody("hello"), [two, other, plain], nobodys, None) is None
    assert find(P1, PartBody("hello"), [one, two, other, plain], nobodys, None) is one


def test_an_entry_without_a_second_name_is_no_anchor_by_accident() -> None:
    """`None` as a name and `None` as an anchor do not meet."""
    history = [Entity(GatewayMessageId(name), None, "hello", None, None) for name in "ba"]
    assert names(after_anchor(history, None)) == ["b", "a"]


def test_pages_that_shift_repeat_entries() -> None:
    """An entry that came in while the pages were read pushes others onto the next page: each counts once."""
    pages = [entity(name) for name in ("d", "c", "c", "b", "d", "b", "a")]
    assert names(after_anchor(pages, "a")) == ["d", "c", "b"]


# --- finding ---


def test_our_own_id_wins_over_the_text() -> None:
    """Where the history gives our metadata back, it decides; an older entry with the same text does not."""
    history = [entity("c", "other", P1), entity("b", "hello")]
    assert find(P1, PartBody("hello"), history, nobodys) == history[0]


def test_an_entry_of_another_part_is_no_match_by_text() -> None:
    """Same words, another id of ours in the metadata: it is the other one's."""
    assert find(P1, PartBody("hello"), [entity("b", "hello", P2)], nobodys) is None


def test_of_equal_texts_the_oldest_free_one_is_ours() -> None:
    """The same words twice by one guest: the earlier entry belongs to the earlier part, and is never given twice."""
    history = [entity("c"), entity("b"), entity("a", "before")]
    taken: set[str] = set()
    given_to = []
    for part in (P1, P2, PartId("p3")):
        found = find(part, PartBody("hello"), history, lambda entry: entry.gateway_id in taken)
        given_to.append(found and found.gateway_id)
        if found is not None:
            taken.add(found.gateway_id)
    assert given_to == ["b", "c", None]


def test_copies_of_before_are_no_proof() -> None:
    """Where so many copies of earlier parts may stand there, only one entry more than those can be ours."""
    history = [entity("c"), entity("b"), entity("a", "before")]
    found = [find(P1, PartBody("hello"), history, nobodys, doubles=doubles) for doubles in range(4)]
    assert [each and each.gateway_id for each in found] == ["b", "c", None, None]
    assert find(P1, PartBody("hello"), [entity("d", "hello", P1), *history], nobodys, doubles=3) is not None


def test_an_entry_that_is_taken_is_not_ours_even_with_our_id() -> None:
    """What already belongs to a part is out of the question."""
    assert find(P1, PartBody("hello"), [entity("b", "hello", P1)], lambda entry: True) is None


def test_of_two_attempts_that_arrived_the_earlier_is_taken() -> None:
    """A part that was sent twice and shown twice became the older of the two."""
    history = [entity("c", "hello", P1), entity("b", "hello", P1)]
    assert find(P1, PartBody("hello"), history, nobodys) == history[1]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("one\r\ntwo", "one\ntwo"),
        ("  hello \n", "hello"),
        ("\u212bngstr\u00f6m", "\u00c5ngstro\u0308m"),
    ],
)
def test_a_text_may_come_back_in_another_form(sent: str, shown: str) -> None:
    """Composed or not, CRLF or LF, with or without blanks around it: the same words are the same text."""
    history = [entity("b", shown)]
    assert find(P1, PartBody(sent), history, nobodys) == history[0]


@pytest.mark.parametrize("shown", ["Hello", "hello!", "hel lo", "", None])
def test_other_words_are_no_match(shown: str | None) -> None:
    """Case, punctuation and inner blanks matter; an entry without text matches nothing."""
    assert find(P1, PartBody("hello"), [entity("b", shown)], nobodys) is None


@given(text=st.text())
@settings(deadline=None)
def test_normalizing_is_done_once(text: str) -> None:
    """A normalized text is its own normal form."""
    assert normalized(normalized(text)) == normalized(text)


@given(
    texts=st.lists(st.sampled_from(["yes", "no", "ok"]), max_size=12),
    lost=st.sets(st.integers(0, 11)),
    metadata=st.booleans(),
    data=st.data(),
)
@settings(deadline=None)
def test_checking_one_after_another_assigns_each_entry_rightly(
    texts: list[str], lost: set[int], metadata: bool, data: st.DataObject
) -> None:
    """
    A lane sends its parts in order; some never arrive, every answer is lost, every part is checked.

    However often words repeat, each part that arrived gets an entry with its words and none gets two; a part that
    did not arrive gets none. (It is checked before the next is sent, so nothing newer can be mistaken for it.)
    """
    history: list[Entity] = []
    assigned: dict[str, int] = {}
    anchor: str | None = None
    for number, text in enumerate(texts):
        part = PartId(f"p{number}")
        if number not in lost:
            history.insert(0, entity(f"e{number}", text, part if metadata else None))
        shifted = data.draw(st.integers(0, min(2, len(history))))
        pages = history[:shifted] + history
        found = find(part, PartBody(text), after_anchor(pages, anchor), lambda entry: entry.gateway_id in assigned)
        assert (found is None) == (number in lost)
        if found is not None:
            assert found.gateway_id == f"e{number}"
            assigned[found.gateway_id] = number
            anchor = data.draw(st.sampled_from([str(found.gateway_id), str(found.channel_message_id)]))


# --- judging ---


def test_found_is_believed_at_the_first_read() -> None:
    """An entry that is there is there, however early one looks."""
    found = entity("b")
    assert judge(found, Progress(100.0, (100.0,)), settle_s=5.0) == Found(found)


@pytest.mark.parametrize(
    ("reads", "verdict"),
    [
        ((), LookAgain(105.0)),
        ((100.0,), LookAgain(105.0)),
        ((100.0, 104.9), LookAgain(105.0)),
        ((105.0,), LookAgain(110.0)),
        ((100.0, 105.0), LookAgain(110.0)),
        ((105.0, 109.9), LookAgain(110.0)),
        ((105.0, 110.0), Absent(2)),
        ((100.0, 106.0, 111.0), Absent(3)),
        ((500.0,), LookAgain(505.0)),
        ((100.0, 101.0, 102.0, 103.0), LookAgain(105.0)),
    ],
)
def test_absent_needs_two_late_reads(reads: tuple[float, ...], verdict: object) -> None:
    """Lost at second 100: one read at 105 or later, another at least 5 s after that; earlier ones do not count."""
    assert judge(None, Progress(100.0, reads), settle_s=5.0) == verdict


@given(
    lost_at=st.floats(0, 4e9),
    settle_s=st.floats(0.01, 600),
    delays=st.lists(st.floats(0, 700), min_size=1, max_size=30),
)
@settings(deadline=None)
def test_absent_is_never_believed_early(lost_at: float, settle_s: float, delays: list[float]) -> None:
    """Whoever looks when told to ends after two reads in time; whoever looks more often ends no sooner."""
    progress, now = Progress(lost_at), lost_at
    for delay in delays:
        now += delay
        progress = Progress(lost_at, (*progress.read_at, now))
        verdict = judge(None, progress, settle_s=settle_s)
        if isinstance(verdict, Absent):
            first = next(at for at in progress.read_at if at >= lost_at + settle_s)
            assert now >= first + settle_s
            break
        assert isinstance(verdict, LookAgain)
        assert verdict.at > now
    obedient = Progress(lost_at, (lost_at + settle_s,))
    again = judge(None, obedient, settle_s=settle_s)
    assert isinstance(again, LookAgain)
    assert judge(None, Progress(lost_at, (*obedient.read_at, again.at)), settle_s=settle_s) == Absent(2)


def test_a_history_that_cannot_be_read_settles_nothing() -> None:
    """It is tried again until `check_for_s` after the loss; then no history can say, with the reason."""
    progress = Progress(100.0, failures=1)
    assert judge_unreadable("HTTP 500", progress, now=101.0, check_for_s=600.0, retry_s=2.0) == LookAgain(103.0)
    assert judge_unreadable("HTTP 500", progress, now=699.9, check_for_s=600.0, retry_s=2.0) == LookAgain(701.9)
    verdict = judge_unreadable("HTTP 500", progress, now=700.0, check_for_s=600.0, retry_s=2.0)
    assert isinstance(verdict, Unsettleable)
    assert "HTTP 500" in verdict.reason
    assert "600 s" in verdict.reason


@pytest.mark.parametrize(
    ("went_out", "came_back", "is_found"),
    [
        (1000.5, 1000.5, True),
        (1000.5004, 1000.5, True),  # milliseconds, rounded down
        (1000.5, 990.5, False),
        (1000.5, 1000.0, True),  # a platform that keeps whole seconds
        (1000.5, 999.0, False),
        (1000.5, None, True),
        (None, 990.5, True),
    ],
)
def test_the_same_words_at_another_time_are_another_message(
    went_out: float | None, came_back: float | None, is_found: bool
) -> None:
    """A guest says "yes" twice; where the time that went out comes back, it tells the two apart."""
    entity = Entity(GatewayMessageId("m1"), None, "yes", None, None, said_at=came_back)
    found = find(PartId("p"), PartBody("yes"), [entity], lambda _: False, said_at=went_out)
    assert (found is entity) is is_found
