"""
The life of one guest connection, as a table that binds both sides.

A *session* lives at the gateway, for days, under the guest's token. A *connection* is one WebSocket that is attached to
it for a while. What follows is the life of a connection; the same table drives `GuestSession` (our half) and
`GatewaySession` (the emulator's half), because every transition is caused by something that both sides see cross
the wire.

                                     .---------- configure (step-up, start new) ---------.
                                     v                                                   |
    CLOSED --opened--> OPEN --configure--> CONFIGURING --session--> CONFIGURED ----------+
                                     |            |                    |   ^             |
                                     |            '--read-only------.  |   |             |
                                     |                              v  v   |             |
                                     |                           READ_ONLY-'-------------'
                                     |                               |
                                     '--refused--> OPEN              '--close--> ENDED --configure--> CONFIGURING

    from everywhere: expired -> EXPIRED, evicted/logged out/cleared -> RELEASED, lost -> CLOSED

What is easy to get wrong:

* A connection may be configured more than once. Starting a new conversation after a read-only one is `closeSession`,
  its `SessionResponse` (`connected: false`), then `configureSession` with `startNew`, all on the same socket; stepping
  up to a signed-in guest is a second configure too.
* Configuring on a read-only session gives the old session back, read-only. It does not roll over by itself.
* `EXPIRED` keeps the socket: configuring again makes a new session, silently (`newSession: true`).
* `RELEASED` is the gateway's decision against *this connection*. With three connections a session, reconnecting at
  once would evict another client of the same guest, who would evict us in turn, for ever.
* A read-only session refuses messages (409) but answers history, clear and close.

Source: state diagrams and StateMachineImpl of the vendor's mobile client, 2.14.0; what it leaves undefined is marked in
docs/parity.md.
"""

from __future__ import annotations

import enum


class ConnectionState(enum.Enum):
    """Where a connection stands."""

    CLOSED = "closed"
    OPEN = "open"
    CONFIGURING = "configuring"
    CONFIGURED = "configured"
    READ_ONLY = "read_only"
    ENDED = "ended"
    """Closed by `closeSession`; the socket is still there."""
    EXPIRED = "expired"
    RELEASED = "released"


class Step(enum.Enum):
    """Something that both sides see happen."""

    OPENED = "the WebSocket is open"
    CONFIGURE = "a configure request crosses"
    SESSION = "a SessionResponse: connected, writable"
    SESSION_READ_ONLY = "a SessionResponse: connected, read-only"
    SESSION_ENDED = "a SessionResponse: not connected"
    CONFIGURE_REFUSED = "an error answers the configure request"
    MESSAGE = "a message request crosses"
    REQUEST = "any other request crosses"
    DISCONNECTED = "Presence Disconnect with metadata.readOnly 'true'"
    EXPIRED = "SessionExpiredEvent, or code 4006 or 4007"
    RELEASED = "ConnectionClosedEvent, LogoutEvent or SessionClearedEvent"
    LOST = "the WebSocket is gone"


_C = ConnectionState
_S = Step

#: From anywhere: the far side, or the network, decides.
_ALWAYS = {_S.EXPIRED: _C.EXPIRED, _S.RELEASED: _C.RELEASED, _S.LOST: _C.CLOSED}

TRANSITIONS: dict[ConnectionState, dict[Step, ConnectionState]] = {
    _C.CLOSED: {
        _S.OPENED: _C.OPEN,
        _S.LOST: _C.CLOSED,
    },
    _C.OPEN: {
        _S.CONFIGURE: _C.CONFIGURING,
        **_ALWAYS,
    },
    _C.CONFIGURING: {
        _S.SESSION: _C.CONFIGURED,
        _S.SESSION_READ_ONLY: _C.READ_ONLY,
        _S.SESSION_ENDED: _C.ENDED,
        _S.CONFIGURE_REFUSED: _C.OPEN,
        **_ALWAYS,
    },
    _C.CONFIGURED: {
        _S.MESSAGE: _C.CONFIGURED,
        _S.REQUEST: _C.CONFIGURED,
        _S.CONFIGURE: _C.CONFIGURING,
        _S.DISCONNECTED: _C.READ_ONLY,
        # A second SessionResponse: the answer to closeSession, or a repeat.
        _S.SESSION: _C.CONFIGURED,
        _S.SESSION_READ_ONLY: _C.READ_ONLY,
        _S.SESSION_ENDED: _C.ENDED,
        **_ALWAYS,
    },
    _C.READ_ONLY: {
        _S.REQUEST: _C.READ_ONLY,
        _S.CONFIGURE: _C.CONFIGURING,
        _S.DISCONNECTED: _C.READ_ONLY,
        _S.SESSION: _C.CONFIGURED,
        _S.SESSION_READ_ONLY: _C.READ_ONLY,
        _S.SESSION_ENDED: _C.ENDED,
        **_ALWAYS,
    },
    _C.ENDED: {
        _S.CONFIGURE: _C.CONFIGURING,
        _S.SESSION_ENDED: _C.ENDED,
        **_ALWAYS,
    },
    _C.EXPIRED: {
        _S.CONFIGURE: _C.CONFIGURING,
        **_ALWAYS,
    },
    _C.RELEASED: {
        **_ALWAYS,
        # Nothing revives a released connection; late frames change nothing.
        _S.EXPIRED: _C.RELEASED,
    },
}


class LocalProtocolError(Exception):
    """We were about to break the protocol: a bug in the caller, never the far side's doing."""


def after(state: ConnectionState, step: Step) -> ConnectionState | None:
    """Return the state that follows, or None where the table has no such step."""
    return TRANSITIONS[state].get(step)
