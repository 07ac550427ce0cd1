"""Windows of a token: shared by whoever uses it, with a reserve for what is no message."""

from __future__ import annotations

from typing import Any

import pytest

from guestwire.policy.pace import Limit, Pace
from guestwire.routes import session_limits, token_limits, token_owner
from guestwire.settings import Destination, Limits, Secret

UUID = "3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50"


def kiosk(**changes: Any) -> Destination:
    """An Open Messaging destination."""
    known: dict[str, Any] = {"name": "kiosk", "transport": "openmessaging", "integration_id": UUID}
    known |= {"region": "eu-west-1", "client_id": "c1", "client_secret": Secret("s")}
    return Destination(**(known | changes))


def counts(limits: list[Limit]) -> dict[str, int]:
    """Limits by name."""
    return {limit.name: limit.count for limit in limits}


def test_a_token_has_five_messages_a_second_less_a_reserve() -> None:
    """300 requests a minute, of which 15 are kept for receipts, typing and checks."""
    assert counts(token_limits([kiosk()])) == {
        "typing": 1,
        "max_in_flight": 64,
        "others_in_flight": 4,
        "requests_per_min": 300,
        "messages_per_min": 285,
        "messages_per_s": 300,
    }


def test_without_a_reserve_messages_may_have_the_whole_minute() -> None:
    """Zero is zero: no default takes its place, and the other limits of the way out stay what they are."""
    found = counts(token_limits([kiosk(limits=Limits.of("openmessaging", reserve_per_min=0))]))
    assert found["messages_per_min"] == found["requests_per_min"] == 300
    assert found["messages_per_s"] == 300
    bare = counts(token_limits([kiosk(limits=Limits(reserve_per_min=0))]))
    assert bare["messages_per_min"] == bare["requests_per_min"] == Limits().requests_per_min


def test_the_tutorial_contract_has_a_hundred_a_second() -> None:
    """As the tutorial says."""
    found = counts(token_limits([Destination(name="t", transport="rest-contract", url="http://127.0.0.1:1")]))
    assert found["messages_per_s"] == 100


def test_without_pacing_only_the_width_counts() -> None:
    """For load tests of a gateway of one's own. Nobody is told more often that a guest types."""
    own = kiosk(region=None, url="http://127.0.0.1:1", pace=False, limits=Limits(max_in_flight=7))
    assert counts(token_limits([own])) == {"typing": 1, "max_in_flight": 7, "others_in_flight": 4}


def test_of_two_that_share_a_token_the_smaller_limits_count() -> None:
    """The platform counts both together; one that is not paced does not set the other free."""
    narrow = kiosk(name="narrow", limits=Limits(requests_per_min=20, reserve_per_min=5, max_in_flight=200))
    own = {"region": None, "url": "http://127.0.0.1:1"}
    unpaced = kiosk(name="unpaced", pace=False, limits=Limits(max_in_flight=3), **own)
    assert counts(token_limits([kiosk(), narrow])) == {
        "typing": 1,
        "max_in_flight": 64,
        "others_in_flight": 4,
        "requests_per_min": 20,
        "messages_per_min": 15,
        "messages_per_s": 5,
    }
    assert counts(token_limits([narrow, unpaced]))["requests_per_min"] == 20
    assert counts(token_limits([narrow, unpaced]))["max_in_flight"] == 3


def test_destinations_of_one_token_have_one_owner_that_does_not_give_it_away() -> None:
    """A token that is given in place of a client is counted all the same."""
    given = {"client_id": None, "client_secret": None, "access_token": Secret("secret-token-0123456789")}
    owner = token_owner(kiosk(**given))
    assert owner == token_owner(kiosk(name="other", **given))
    assert "secret-token" not in owner


def test_destinations_of_one_client_have_one_owner() -> None:
    """The platform counts by token; another region is another platform."""
    assert token_owner(kiosk()) == token_owner(kiosk(name="other"))
    assert token_owner(kiosk()) != token_owner(kiosk(region="eu-west-2"))
    assert token_owner(kiosk()) != token_owner(kiosk(client_id="c2"))


def test_web_messaging_keeps_its_windows() -> None:
    """By guest, not by token."""
    web = Destination(name="web", region="eu-west-1", deployment_id=UUID)
    assert counts(session_limits(web))["requests_per_min"] == 60


@pytest.mark.parametrize(("used", "flying", "room"), [(0, 0, 3), (1, 1, 1), (0, 3, 0), (3, 0, 0)])
def test_room_is_what_the_narrowest_window_leaves(used: int, flying: int, room: int) -> None:
    """Used places count until their time is over, those in flight until they are answered."""
    pace = Pace([Limit("a", 3, 60.0), Limit("b", 100, 60.0)])
    keys = (("a", "x"), ("b", "x"))
    for _ in range(used):
        pace.take(keys, 0.0).answered(0.0)
    for _ in range(flying):
        pace.take(keys, 0.0)
    assert pace.room(keys, 1.0) == room


def test_a_width_has_no_time() -> None:
    """A limit without a period counts what is in flight, and nothing else."""
    pace = Pace([Limit("in_flight", 2, 0.0)])
    key = (("in_flight", "x"),)
    first, _ = pace.take(key, 0.0), pace.take(key, 0.0)
    assert pace.room(key, 0.0) == 0
    held = pace.admits(key, 0.0)
    assert held is not None
    assert held.until == float("inf")
    first.answered(0.0)
    assert pace.room(key, 0.0) == 1
    assert pace.admits(key, 0.0) is None
