"""The table that binds both sides."""

from __future__ import annotations

from guestwire.protocol import states
from guestwire.protocol.states import TRANSITIONS, ConnectionState, Step, after

C, S = ConnectionState, Step

#: Written down again from the state diagrams of the vendor's client, not from the table.
ALLOWED = {
    C.CLOSED: {S.OPENED, S.LOST},
    C.OPEN: {S.CONFIGURE, S.EXPIRED, S.RELEASED, S.LOST},
    C.CONFIGURING: {
        S.SESSION, S.SESSION_READ_ONLY, S.SESSION_ENDED, S.CONFIGURE_REFUSED, S.EXPIRED, S.RELEASED, S.LOST,
    },
    C.CONFIGURED: set(S) - {S.OPENED, S.CONFIGURE_REFUSED},
    C.READ_ONLY: set(S) - {S.OPENED, S.CONFIGURE_REFUSED, S.MESSAGE},
    C.ENDED: {S.CONFIGURE, S.SESSION_ENDED, S.EXPIRED, S.RELEASED, S.LOST},
    C.EXPIRED: {S.CONFIGURE, S.EXPIRED, S.RELEASED, S.LOST},
    C.RELEASED: {S.EXPIRED, S.RELEASED, S.LOST},
}  # fmt: skip


def test_the_table_allows_what_the_diagrams_show() -> None:
    """Each state allows the steps that the vendor's diagrams give it, and no others."""
    assert {state: set(steps) for state, steps in TRANSITIONS.items()} == ALLOWED


def test_a_connection_can_be_lost_in_every_state() -> None:
    """The network asks nobody."""
    for state in ConnectionState:
        assert after(state, Step.LOST) is ConnectionState.CLOSED


def test_every_state_can_be_reached() -> None:
    """From a closed connection every state can be reached, and each step is used somewhere."""
    reached = {ConnectionState.CLOSED}
    while more := {target for state in reached for target in TRANSITIONS[state].values()} - reached:
        reached |= more
    assert reached == set(ConnectionState)
    assert {step for steps in TRANSITIONS.values() for step in steps} == set(Step)


def test_a_step_has_one_meaning() -> None:
    """What a step leads to depends on the state only where the essay says so."""
    targets = {step: {steps[step] for steps in TRANSITIONS.values() if step in steps} for step in Step}
    assert targets[S.OPENED] == {C.OPEN}
    assert targets[S.CONFIGURE] == {C.CONFIGURING}
    assert targets[S.SESSION] == {C.CONFIGURED}
    assert targets[S.SESSION_READ_ONLY] == targets[S.DISCONNECTED] == {C.READ_ONLY}
    assert targets[S.SESSION_ENDED] == {C.ENDED}
    assert targets[S.CONFIGURE_REFUSED] == {C.OPEN}
    assert targets[S.LOST] == {C.CLOSED}
    assert targets[S.RELEASED] == {C.RELEASED}
    assert targets[S.EXPIRED] == {C.EXPIRED, C.RELEASED}


def test_a_released_connection_is_left_only_by_losing_it() -> None:
    """Nothing revives a connection that the gateway let go."""
    assert set(TRANSITIONS[C.RELEASED].values()) == {C.RELEASED, C.CLOSED}


def test_the_essay_names_every_state() -> None:
    """The diagram over the table speaks of the states that the table has."""
    essay = states.__doc__ or ""
    for state in ConnectionState:
        assert state.name in essay, state
