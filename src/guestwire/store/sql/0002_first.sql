-- The first schema; what bore the number 1 was before the first release. Times are seconds since the Unix epoch, UTC.
-- "sealed": AES-256-GCM under the guest's key.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,   -- 'kind': emulator | live; 'boot': fence of the newest relay; 'keys': whose keys.db
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE destinations (
    name TEXT PRIMARY KEY,
    transport TEXT NOT NULL,
    fingerprint TEXT NOT NULL           -- of what decides where its messages go
) STRICT, WITHOUT ROWID;

CREATE TABLE guests (
    guest_ref TEXT PRIMARY KEY,         -- random; safe to show
    destination TEXT NOT NULL REFERENCES destinations (name),
    guest_hash BLOB NOT NULL,           -- keyed digest of the caller's key: found again, never read back
    guest_key BLOB NOT NULL,            -- sealed
    token BLOB NOT NULL,                -- sealed session token
    session_state TEXT NOT NULL DEFAULT 'none',
    session_expires_at REAL,
    anchor TEXT,                        -- newest inbound history entry that belongs to a part
    next_at REAL,                       -- when the head of the lane is due; NULL: nothing to do by itself
    priority INTEGER NOT NULL DEFAULT 5,
    paused_until REAL NOT NULL DEFAULT 0,
    paused_reason TEXT,
    auth BLOB,                          -- sealed; tokens of a guest who has signed in
    is_followed INTEGER NOT NULL DEFAULT 0, -- its session is kept open for ever
    seen_at REAL,                       -- when its replies were last complete; NULL: never, or no session
    conversation_id TEXT,               -- where its last accepted message went, where the platform said so
    read_receipt INTEGER NOT NULL DEFAULT 0 -- its replies are reported as delivered by themselves
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX guests_by_hash ON guests (destination, guest_hash);
CREATE INDEX guests_followed ON guests (guest_ref) WHERE is_followed;
CREATE INDEX guests_seen ON guests (coalesce(seen_at, 0)) WHERE session_state = 'live';
CREATE INDEX guests_ready ON guests (destination, next_at, guest_ref) WHERE next_at IS NOT NULL;

CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    guest_ref TEXT NOT NULL REFERENCES guests (guest_ref),
    destination TEXT NOT NULL,
    key_hash BLOB,                      -- keyed digest of the idempotency key
    payload_digest BLOB NOT NULL,       -- keyed; tells "same again" from "other content under the same key"
    enters_at REAL,                     -- not before; NULL once it has entered its lane
    held_by TEXT,                       -- the batch that has to be stored whole before this enters its lane
    expires_at REAL,
    priority INTEGER NOT NULL,
    delivery TEXT NOT NULL,
    replay_of TEXT,
    traceparent TEXT,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_key ON messages (destination, key_hash) WHERE key_hash IS NOT NULL;
CREATE INDEX messages_entering ON messages (enters_at, id) WHERE enters_at IS NOT NULL AND held_by IS NULL;
CREATE INDEX messages_held ON messages (held_by, id) WHERE held_by IS NOT NULL;

CREATE TABLE batches (
    path TEXT PRIMARY KEY,              -- of the file
    digest TEXT NOT NULL,               -- of its bytes; with the row's number the key of rows without an id
    rows INTEGER NOT NULL,
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE parts (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,            -- UUIDv7; the tracingId of every attempt
    message_id TEXT NOT NULL REFERENCES messages (id),
    guest_ref TEXT NOT NULL,
    position INTEGER NOT NULL,          -- within its message, from 0
    lane_seq INTEGER,                   -- journal number of its entry into the lane; NULL before
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,   -- boot number of the relay that began the last attempt
    next_at REAL NOT NULL,
    body BLOB,                          -- sealed; NULL after its retention
    blob TEXT,                          -- keyed digest of its file
    upload_id TEXT,                     -- of the file at the platform, once it is there
    size INTEGER NOT NULL,              -- bytes of UTF-8 of the text
    gateway_id TEXT,
    channel_message_id TEXT,
    gateway_time TEXT,                  -- as sent by the gateway
    conversation_id TEXT,
    possible_duplicates INTEGER NOT NULL DEFAULT 0,
    queued_at REAL NOT NULL,
    sent_at REAL,                       -- last attempt written ahead
    changed_at REAL NOT NULL,
    ended_at REAL,
    reason TEXT
) STRICT;
CREATE INDEX parts_by_message ON parts (message_id, position);
CREATE INDEX parts_by_gateway ON parts (guest_ref, gateway_id) WHERE gateway_id IS NOT NULL;
-- The lane: its open parts in order of entry.
CREATE UNIQUE INDEX parts_in_lane ON parts (guest_ref, lane_seq)
    WHERE state IN ('queued', 'sending', 'checking', 'parked');
-- At most one part of a guest is on its way, whatever the code above believes.
CREATE UNIQUE INDEX parts_sending ON parts (guest_ref) WHERE state = 'sending';

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    guest_ref TEXT,
    part_id TEXT,
    detail TEXT NOT NULL                -- JSON: ids, codes, reasons, durations; never text, never a secret
) STRICT;
CREATE INDEX journal_by_part ON journal (part_id, seq) WHERE part_id IS NOT NULL;

CREATE TABLE replies (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    guest_ref TEXT NOT NULL,
    gateway_id TEXT NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    body BLOB,                          -- sealed; NULL after its retention
    receipt TEXT                        -- delivered | read | failed: what became of it here; NULL: nothing was said
) STRICT;
CREATE UNIQUE INDEX replies_by_id ON replies (guest_ref, gateway_id);

-- What is to be done for a guest at the gateway that is no message. It has its turn among the lane's messages: `seq` is
-- the journal's number of its entry, as a part's `lane_seq` is.
CREATE TABLE errands (
    seq INTEGER PRIMARY KEY,
    guest_ref TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,                 -- sealed
    state TEXT NOT NULL DEFAULT 'queued', -- queued | done | failed
    result BLOB,                        -- sealed; what it brought, for whoever waits
    ended_at REAL
) STRICT;
CREATE INDEX errands_queued ON errands (guest_ref, seq) WHERE state = 'queued';

-- What far sides reported. One that comes before its message is accepted waits here for it.
CREATE TABLE receipts (
    guest_ref TEXT NOT NULL,
    gateway_id TEXT NOT NULL,           -- '': it has none
    channel_message_id TEXT NOT NULL,   -- ours, the part's id; '': it has none
    status TEXT NOT NULL,               -- as the wire has it
    part_id TEXT,                       -- NULL: of no part that is known
    at REAL NOT NULL,
    gateway_time TEXT,
    reasons TEXT NOT NULL,              -- JSON: codes
    PRIMARY KEY (guest_ref, gateway_id, channel_message_id, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    sink TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Replies that a sink has acknowledged before an older one.
CREATE TABLE acknowledged (
    sink TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,            -- keyed, per guest
    guest_ref TEXT NOT NULL,
    size INTEGER NOT NULL,
    type TEXT NOT NULL,
    refs INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
