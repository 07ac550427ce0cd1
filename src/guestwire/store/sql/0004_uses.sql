-- What gateways count and no journal tells of, written down before it leaves, for minutes: whoever relays next goes by it.

CREATE TABLE uses (
    at REAL NOT NULL,
    destination TEXT NOT NULL,
    guest_ref TEXT NOT NULL,                        -- '': of nobody in particular
    kind TEXT NOT NULL                              -- message | connect | first_connect | history | typing | call
) STRICT;
CREATE INDEX uses_by_time ON uses (at);
