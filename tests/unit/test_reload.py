"""New settings while a relay runs: what holds at once, what after a restart, and that windows keep their count."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from guestwire.policy.pace import Key, Limit, Pace
from guestwire.policy.reload import (
    LIVE,
    LIVE_RELAY,
    Changes,
    changed_destination,
    changed_destinations,
    changed_relay,
)
from guestwire.settings import Destination, Limits, RelaySettings, RetrySettings, known_keys
from guestwire.settings.values import Secret

ID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"
WEB = Destination(name="web", region="eu-west-1", deployment_id=ID)


def web(**changes: object) -> Destination:
    """The destination, but for what is changed."""
    return msgspec.structs.replace(WEB, **changes)


def test_how_much_and_how_patiently_holds_at_once() -> None:
    """Limits and retries are taken over; the rest of the destination stays what it was."""
    new = web(limits=Limits(messages_per_s=2), retry=RetrySettings(max_attempts=3), max_new_guests_per_min=9)
    merged, changes = changed_destination(WEB, new)
    assert merged == new
    assert changes == Changes(
        live=(
            "destinations.web.max_new_guests_per_min",
            "destinations.web.limits.messages_per_s",
            "destinations.web.retry.max_attempts",
        )
    )


def test_where_and_as_whom_needs_a_restart() -> None:
    """Named, without their values, and not taken over; what can hold beside them does."""
    new = web(
        origin="https://shop.example",
        proxy=Secret("http://user:canary@proxy.example:3128"),
        limits=Limits(max_sessions=7, messages_per_s=2),
    )
    merged, changes = changed_destination(WEB, new)
    assert merged == web(limits=Limits(messages_per_s=2))
    assert changes.live == ("destinations.web.limits.messages_per_s",)
    assert changes.restart == (
        "destinations.web.origin",
        "destinations.web.proxy",
        "destinations.web.limits.max_sessions",
    )
    assert "canary" not in repr(changes)


def test_a_destination_that_leads_elsewhere_takes_nothing_before_a_restart() -> None:
    """Limits of another place are not for this one: no pacing towards an emulator must not reach Genesys Cloud."""
    new = Destination(name="web", url="http://127.0.0.1:8700", deployment_id=ID, pace=False)
    merged, changes = changed_destination(WEB, new)
    assert merged == WEB
    assert changes.live == ()
    assert {"destinations.web.region", "destinations.web.url", "destinations.web.pace"} <= set(changes.restart)


def test_a_destination_more_or_less_needs_a_restart() -> None:
    """Both are named; those that stay are looked at as ever."""
    other = Destination(name="other", region="eu-west-1", deployment_id=ID)
    third = Destination(name="third", region="eu-west-1", deployment_id=ID)
    merged, changes = changed_destinations({"web": WEB, "other": other}, {"web": web(pace=True), "third": third})
    assert merged == {"web": WEB, "other": other}
    assert changes == Changes(restart=("destinations.other", "destinations.third"))


def test_the_relays_own_patience_holds_at_once() -> None:
    """What was handed to connections does not."""
    merged, changes = changed_relay(RelaySettings(), RelaySettings(settle_s=1.0, ping_after_s=3.0))
    assert merged == RelaySettings(settle_s=1.0)
    assert changes == Changes(live=("relay.settle_s",), restart=("relay.ping_after_s",))


def test_the_same_settings_change_nothing() -> None:
    """Said as nothing."""
    assert changed_destinations({"web": WEB}, {"web": WEB}) == ({"web": WEB}, Changes())
    assert changed_relay(RelaySettings(), RelaySettings()) == (RelaySettings(), Changes())


numbers = st.sampled_from([0.1, 0.5, 1.0, 3.0, 5.0, 300.0])


@st.composite
def retries(draw: st.DrawFn) -> RetrySettings:
    """Any retries that can be set."""
    low, middle, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return RetrySettings(
        preset=draw(st.sampled_from(["default", "tutorial"])),
        max_attempts=draw(st.sampled_from([1, 3, 8])),
        floor_s=draw(st.sampled_from([0.0, low])),
        base_s=draw(st.sampled_from([low, middle])),
        cap_s=high,
        trip_after=draw(st.sampled_from([1, 5])),
        poison=draw(st.sampled_from(["park_and_continue", "stop_guest"])),
    )


def any_limits() -> st.SearchStrategy[Limits]:
    """Limits, as far as they bound each other."""
    return st.builds(
        Limits,
        requests_per_min=st.integers(20, 60),
        reserve_per_min=st.integers(0, 19),
        max_sessions=st.integers(1, 3),
        max_in_flight=st.integers(1, 3),
    )


@given(before=st.tuples(retries(), any_limits()), after=st.tuples(retries(), any_limits()))
def test_whatever_is_set_some_of_it_holds_at_once(
    before: tuple[RetrySettings, Limits], after: tuple[RetrySettings, Limits]
) -> None:
    """What holds makes sense by itself, and what differs from the new settings is what was named."""
    old, new = (web(retry=each[0], limits=each[1]) for each in (before, after))
    merged, changes = changed_destination(old, new)
    assert sorted(changes.restart) == sorted(changed_destination(merged, new)[1].restart)
    assert changed_destination(merged, new)[1].live == ()
    assert changed_destination(old, merged)[1] == Changes(live=changes.live)


def test_what_holds_at_once_is_a_setting() -> None:
    """No key that was renamed stays behind in the lists."""
    names = {*(f"destinations.*.{key}" for key in LIVE), *(f"relay.{key}" for key in LIVE_RELAY)}
    assert names <= set(known_keys())


KEYS: tuple[Key, ...] = (("a", "x"), ("b", "x"))
limits = st.lists(
    st.builds(Limit, name=st.sampled_from("ab"), count=st.integers(1, 3), period_s=st.just(4.0)),
    max_size=2,
    unique_by=lambda limit: limit.name,
)


@given(steps=st.lists(st.tuples(st.sampled_from(["take", "answer", "unused", "retune"]), limits), max_size=40))
def test_places_are_given_back_whatever_limits_come_and_go(
    steps: list[tuple[str, list[Limit]]],
) -> None:
    """After every answer no window counts anything as in flight, and none below nothing."""
    pace = Pace([Limit("a", 2, 4.0)])
    slots = []
    for now, (step, wanted) in enumerate(steps):
        if step == "take":
            slots.append(pace.take(KEYS, float(now)))
        elif step == "retune":
            pace.retune(wanted)
        elif slots and step == "answer":
            slots.pop().answered(float(now))
        elif slots:
            slots.pop().unused()
    for slot in slots:
        slot.unused()
    pace.retune([Limit("a", 1, 4.0), Limit("b", 1, 4.0)])
    assert pace.admits(KEYS, len(steps) + 5.0) is None
    taken = pace.take(KEYS, len(steps) + 5.0)
    assert pace.admits(KEYS, len(steps) + 5.0) is not None
    taken.unused()


def test_a_lower_limit_counts_what_was_used() -> None:
    """Whoever lowers a limit is kept to it from that moment on, with the uses of before."""
    pace = Pace([Limit("a", 5, 10.0)])
    for now in range(4):
        pace.take((("a", "x"),), float(now)).answered(float(now))
    pace.retune([Limit("a", 2, 10.0)])
    held = pace.admits((("a", "x"),), 4.0)
    assert held is not None
    assert held.until == 12.0
    assert pace.binding(4.0) == "a"
    assert pace.held_until("a") == 12.0
    pace.retune([])
    assert pace.admits((("a", "x"),), 4.0) is None
