"""
The life of a part, as a table: what may happen to it in which state, and what it is then.

                      .------------------- accepted (a fact holds from every state) ------------------------.
                      |                                                                                     v
    QUEUED --begin--> SENDING --unknown, crashed--> CHECKING        receipts:  ACCEPTED --> DELIVERED --> READ
      ^  |               |                              |                          '------------'-----> FAILED
      |  |               '-- again --> QUEUED <-- again-'
      |  '-- give up, too old, cancel --> DEAD, EXPIRED, CANCELLED
      '---- release ---- PARKED <---- park ----- QUEUED, SENDING, CHECKING

What is easy to get wrong:

* *Checking* never becomes *expired*: whether it arrived is an open question, and age does not answer it.
* The gateway's word is a fact. It holds from every state, those that had ended included, and is never taken back: on a
  part that is taken already it changes nothing, and neither does a receipt that comes late, early or twice.
* Out of a backup nothing is believed: what was queued in it may have been sent since, and is *checking* too.
* A receipt moves only what is taken. One that comes first *is* the proof that it was taken: *accepted* happens before.
* Nothing leaves *dead*, *expired* and *cancelled* but by the gateway's word. Replaying a dead message makes a new one.

Which relay may say so (fence, attempt) is the store's to ask; here stands what anybody may say at all.
"""

from __future__ import annotations

import enum
from typing import Final

from guestwire.model import OPEN_STATES, TAKEN_STATES, PartState


class PartEvent(enum.StrEnum):
    """Something that happens to a part. The value is its word on the page and in the diagram."""

    BEGIN = "begin"
    AGAIN = "again"
    UNKNOWN = "unknown"
    CRASHED = "crashed"
    RESTORED = "restored"
    PARK = "park"
    GIVE_UP = "give up"
    TOO_OLD = "too old"
    RELEASE = "release"
    CANCEL = "cancel"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


#: What each of them is, for the page.
MEANINGS: Final[dict[PartEvent, str]] = {
    PartEvent.BEGIN: "an attempt is written ahead; its bytes leave after that commit",
    PartEvent.AGAIN: "it will be sent again: it surely did not arrive, was throttled, or nothing could say and at "
    "least once is wanted",
    PartEvent.UNKNOWN: "bytes left, and nothing proves whether they arrived",
    PartEvent.CRASHED: "the process that sent it died before it knew; found at the next start",
    PartEvent.RESTORED: "the store was made of a backup: it may have been sent since",
    PartEvent.PARK: "a person has to look: the outcome is unknown and at most once is wanted, its content or file "
    "cannot be read, another part of its message has ended, or `retry.poison` wants that in place of giving up",
    PartEvent.GIVE_UP: "refused, out of attempts, or older than `retry.max_age_s`; or its file cannot go",
    PartEvent.TOO_OLD: "older than the caller wanted it to be, and not begun",
    PartEvent.RELEASE: "a person lets it go on",
    PartEvent.CANCEL: "a person, or the caller, does not want it any more",
    PartEvent.ACCEPTED: "the gateway took it: an echo, an answer, the history or a receipt says so",
    PartEvent.DELIVERED: "the far side reports that it was delivered",
    PartEvent.READ: "the far side reports that it was read",
    PartEvent.FAILED: "the far side reports that it could not be delivered",
}

_S = PartState
_E = PartEvent

#: What the far side says. On what is known already it changes nothing.
FACTS: Final = (_E.ACCEPTED, _E.DELIVERED, _E.READ, _E.FAILED)


def _stays(state: PartState) -> dict[PartEvent, PartState]:
    return dict.fromkeys(FACTS, state)


TRANSITIONS: Final[dict[PartState, dict[PartEvent, PartState]]] = {
    _S.QUEUED: {
        _E.BEGIN: _S.SENDING,
        _E.RESTORED: _S.CHECKING,
        _E.PARK: _S.PARKED,
        _E.GIVE_UP: _S.DEAD,
        _E.TOO_OLD: _S.EXPIRED,
        _E.CANCEL: _S.CANCELLED,
        # A late echo of an attempt that was given up for lost.
        _E.ACCEPTED: _S.ACCEPTED,
    },
    _S.SENDING: {
        _E.AGAIN: _S.QUEUED,
        _E.UNKNOWN: _S.CHECKING,
        _E.CRASHED: _S.CHECKING,
        _E.RESTORED: _S.CHECKING,
        _E.PARK: _S.PARKED,
        _E.GIVE_UP: _S.DEAD,
        _E.ACCEPTED: _S.ACCEPTED,
    },
    _S.CHECKING: {
        _E.AGAIN: _S.QUEUED,
        _E.PARK: _S.PARKED,
        _E.GIVE_UP: _S.DEAD,
        _E.ACCEPTED: _S.ACCEPTED,
    },
    _S.PARKED: {
        _E.RELEASE: _S.QUEUED,
        _E.CANCEL: _S.CANCELLED,
        _E.ACCEPTED: _S.ACCEPTED,
    },
    _S.ACCEPTED: {
        **_stays(_S.ACCEPTED),
        _E.DELIVERED: _S.DELIVERED,
        _E.READ: _S.READ,
        _E.FAILED: _S.FAILED,
    },
    _S.DELIVERED: {
        **_stays(_S.DELIVERED),
        _E.READ: _S.READ,
        _E.FAILED: _S.FAILED,
    },
    _S.READ: _stays(_S.READ),
    _S.FAILED: _stays(_S.FAILED),
    # The gateway had it all the same; the journal says that it had ended.
    _S.DEAD: {_E.ACCEPTED: _S.ACCEPTED},
    _S.EXPIRED: {_E.ACCEPTED: _S.ACCEPTED},
    _S.CANCELLED: {_E.ACCEPTED: _S.ACCEPTED},
}

#: What brings a part into a state at which its relay stops.
ENDINGS: Final[dict[PartState, PartEvent]] = {
    _S.DEAD: _E.GIVE_UP,
    _S.EXPIRED: _E.TOO_OLD,
    _S.PARKED: _E.PARK,
}

#: The gateway's word alone leads out of these.
ENDED_STATES: Final = frozenset(PartState) - OPEN_STATES - TAKEN_STATES


def after(state: PartState, event: PartEvent) -> PartState | None:
    """Return the state that follows, or None where the event cannot happen to a part in this state."""
    return TRANSITIONS[state].get(event)
