-- Statements of the SQLite store, by name. Python never builds SQL out of pieces.

-- name: find_guest
SELECT guest_ref FROM guests WHERE destination = ? AND guest_hash = ?

-- name: add_guest
INSERT INTO guests (guest_ref, destination, guest_hash, guest_key, token) VALUES (?, ?, ?, ?, ?)

-- name: find_by_key
SELECT id, guest_ref, payload_digest FROM messages WHERE destination = ? AND key_hash = ?

-- name: part_ids
SELECT id FROM parts WHERE message_id = ? ORDER BY position

-- name: add_message
INSERT INTO messages (id, guest_ref, destination, key_hash, payload_digest, enters_at, expires_at, priority, delivery,
                      created_at, held_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_part
INSERT INTO parts (id, message_id, guest_ref, position, lane_seq, state, next_at, body, size, queued_at, changed_at)
VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)

-- name: note
INSERT INTO journal (at, event, guest_ref, part_id, detail) VALUES (?, ?, ?, ?, ?)

-- name: entering
-- Messages whose time has come, in the order of that time.
SELECT id, guest_ref FROM messages WHERE enters_at <= ? AND held_by IS NULL ORDER BY enters_at, id LIMIT 1000

-- name: next_entering
SELECT min(enters_at) FROM messages WHERE enters_at IS NOT NULL AND held_by IS NULL

-- name: held
-- In the order in which they were stored: message ids rise.
SELECT id, guest_ref, enters_at FROM messages WHERE held_by = ? ORDER BY id LIMIT ?

-- name: let_go
UPDATE messages SET held_by = NULL WHERE id = ?

-- name: batch
SELECT digest, rows FROM batches WHERE path = ?

-- name: set_batch
INSERT INTO batches (path, digest, rows, at) VALUES (?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, rows = excluded.rows, at = excluded.at

-- name: entered
UPDATE messages SET enters_at = NULL WHERE id = ?

-- name: enter_part
-- Its age counts from here: a message for next week is not too old to be tried again when its week comes.
UPDATE parts SET lane_seq = ?1, next_at = ?2, queued_at = ?2, changed_at = ?2 WHERE id = ?3

-- name: part
SELECT message_id, guest_ref, state, attempt, fence, gateway_id, channel_message_id, sent_at FROM parts WHERE id = ?

-- name: accept
UPDATE parts
SET state = 'accepted', gateway_id = ?, channel_message_id = ?, gateway_time = ?, changed_at = ?, ended_at = ?,
    reason = NULL
WHERE id = ?

-- name: requeue
UPDATE parts
SET state = 'queued', attempt = attempt - ?, next_at = ?, changed_at = ?, reason = ?,
    possible_duplicates = possible_duplicates + ?
WHERE id = ?

-- name: suspect
UPDATE parts SET state = 'checking', next_at = ?, changed_at = ?, reason = ? WHERE id = ?

-- name: finish
UPDATE parts SET state = ?, changed_at = ?, ended_at = ?, reason = ? WHERE id = ?

-- name: siblings
SELECT id FROM parts WHERE message_id = ? AND id <> ? AND state = 'queued' ORDER BY position

-- name: head
-- Without a join: the two look-ups take half the time of one statement that does both.
SELECT id, state, attempt, next_at, queued_at, changed_at, body, message_id FROM parts
WHERE guest_ref = ? AND lane_seq IS NOT NULL AND state IN ('queued', 'sending', 'checking', 'parked')
ORDER BY lane_seq LIMIT 1

-- name: terms
SELECT delivery, expires_at, priority FROM messages WHERE id = ?

-- name: begin
UPDATE parts SET state = 'sending', attempt = attempt + 1, fence = ?, sent_at = ?, changed_at = ? WHERE id = ?

-- name: lane
UPDATE guests SET next_at = ?, priority = ? WHERE guest_ref = ? AND (next_at IS NOT ? OR priority <> ?)

-- name: anchor
UPDATE guests SET anchor = ? WHERE guest_ref = ?

-- name: session
UPDATE guests SET session_state = ?, session_expires_at = ? WHERE guest_ref = ?

-- name: token
UPDATE guests SET token = ?, anchor = NULL WHERE guest_ref = ?

-- name: pause
UPDATE guests SET paused_until = ?, paused_reason = ? WHERE guest_ref = ?

-- name: due
SELECT guest_ref FROM guests WHERE next_at <= ? ORDER BY next_at, guest_ref LIMIT ?

-- name: next_due
SELECT min(next_at) FROM guests WHERE next_at > ?

-- name: guest
SELECT destination, token, session_state, anchor, paused_until, priority, next_at FROM guests WHERE guest_ref = ?

-- name: left_sending
SELECT id, guest_ref, attempt FROM parts WHERE state = 'sending'

-- name: taken
-- A part with a channel_message_id has a gateway_id too; saying so is what lets the index be used.
SELECT id FROM parts
WHERE guest_ref = ?1 AND gateway_id IS NOT NULL AND (gateway_id = ?2 OR channel_message_id = ?2) LIMIT 1

-- name: hear
INSERT INTO replies (guest_ref, gateway_id, at, kind, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (guest_ref, gateway_id) DO NOTHING

-- name: journal
SELECT seq, at, event, guest_ref, part_id, detail FROM journal WHERE seq > ? ORDER BY seq LIMIT ?

-- name: journal_of_part
SELECT seq, at, event, guest_ref, part_id, detail FROM journal WHERE part_id = ? ORDER BY seq

-- name: journal_seq
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0)

-- name: replies
SELECT seq, guest_ref, body FROM replies WHERE seq > ?1 AND body IS NOT NULL AND (?2 IS NULL OR guest_ref = ?2)
ORDER BY seq LIMIT ?3

-- name: message_parts
SELECT p.id, p.message_id, p.guest_ref, m.destination, p.state, p.attempt, p.possible_duplicates, p.gateway_id,
       p.gateway_time, p.queued_at, p.sent_at, p.ended_at, p.next_at, p.reason, p.size, p.body
FROM parts p JOIN messages m ON m.id = p.message_id
WHERE p.message_id = ?
ORDER BY p.position

-- name: list_parts
SELECT p.id, p.message_id, p.guest_ref, m.destination, p.state, p.attempt, p.possible_duplicates, p.gateway_id,
       p.gateway_time, p.queued_at, p.sent_at, p.ended_at, p.next_at, p.reason, p.size, p.body
FROM parts p JOIN messages m ON m.id = p.message_id
WHERE (?1 IS NULL OR p.state = ?1) AND (?2 IS NULL OR p.guest_ref = ?2)
ORDER BY p.seq DESC LIMIT ?3

-- name: message_of
-- A message by its own id or by the id of one of its parts; a prefix of either will do.
SELECT DISTINCT message_id FROM parts WHERE message_id GLOB ?1 || '*' OR id GLOB ?1 || '*' LIMIT 2

-- name: guest_key
SELECT guest_key FROM guests WHERE guest_ref = ?

-- name: states
SELECT state, count(*), sum(possible_duplicates) FROM parts GROUP BY state

-- name: open_by_destination
SELECT m.destination, p.state, count(*), min(p.queued_at)
FROM parts p JOIN messages m ON m.id = p.message_id
WHERE p.state IN ('queued', 'sending', 'checking', 'parked')
GROUP BY m.destination, p.state

-- name: message_states
SELECT state, count(*) FROM parts WHERE message_id = ? GROUP BY state

-- name: destination
SELECT transport, fingerprint FROM destinations WHERE name = ?

-- name: destinations
SELECT name FROM destinations ORDER BY name

-- name: add_destination
INSERT INTO destinations (name, transport, fingerprint) VALUES (?, ?, ?)

-- name: meta
SELECT value FROM meta WHERE key = ?

-- name: set_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
