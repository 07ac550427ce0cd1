-- Statements of the SQLite store, by name. Python never builds SQL out of pieces.

-- name: find_guest
SELECT guest_ref FROM guests WHERE destination = ? AND guest_hash = ?

-- name: add_guest
INSERT INTO guests (guest_ref, destination, guest_hash, guest_key, token) VALUES (?, ?, ?, ?, ?)

-- name: find_by_key
SELECT id, guest_ref, payload_digest FROM messages WHERE destination = ? AND key_hash = ?

-- name: part_ids
SELECT id FROM parts WHERE message_id = ? ORDER BY position

-- name: parts_entering
-- Of a JSON list of messages, in its order.
SELECT p.id, p.guest_ref FROM json_each(?) j CROSS JOIN parts p ON p.message_id = j.value ORDER BY j.id, p.position

-- name: add_message
INSERT INTO messages (id, guest_ref, destination, key_hash, payload_digest, enters_at, expires_at, priority, delivery,
                      created_at, held_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_part
INSERT INTO parts (id, message_id, guest_ref, position, lane_seq, state, next_at, body, blob, size, queued_at, changed_at)
VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)

-- name: note
INSERT INTO journal (seq, at, event, guest_ref, part_id, detail) VALUES (?, ?, ?, ?, ?, ?)

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
SELECT message_id, guest_ref, state, attempt, fence, gateway_id, channel_message_id, sent_at, possible_duplicates
FROM parts WHERE id = ?

-- name: parts
-- The same of a JSON list of parts.
SELECT p.id, message_id, guest_ref, state, attempt, fence, gateway_id, channel_message_id, sent_at, possible_duplicates
FROM json_each(?) j CROSS JOIN parts p ON p.id = j.value

-- name: others_in_check
SELECT 1 FROM parts
WHERE guest_ref = ? AND ended_at IS NULL AND state = 'checking' AND id <> ? LIMIT 1

-- name: accept
UPDATE parts
SET state = 'accepted', gateway_id = ?, channel_message_id = ?, gateway_time = ?, changed_at = ?, ended_at = ?,
    reason = NULL, parked_for = NULL, conversation_id = ?
WHERE id = ?

-- name: requeue
UPDATE parts
SET state = 'queued', attempt = attempt - ?, next_at = ?, changed_at = ?, reason = ?,
    possible_duplicates = possible_duplicates + ?
WHERE id = ?

-- name: suspect
UPDATE parts SET state = 'checking', next_at = ?, changed_at = ?, reason = ? WHERE id = ?

-- name: finish
UPDATE parts SET state = ?, changed_at = ?, ended_at = ?, reason = ?, parked_for = ? WHERE id = ?

-- name: set_aside
UPDATE parts SET lane_seq = NULL WHERE id = ?

-- name: standing
SELECT id, guest_ref, state, attempt, parked_for, upload_id, body FROM parts WHERE message_id = ? ORDER BY position

-- name: was_unknown
-- An attempt of it had an unknown outcome, or the message that it is a replay of had one.
SELECT 1 FROM parts p
WHERE p.id = ?1 AND (p.possible_duplicates > 0
   OR EXISTS (SELECT 1 FROM journal j WHERE j.part_id = ?1 AND j.event = 'part.checking'))

-- name: release
-- One that has not entered its lane yet still waits for its time.
UPDATE parts
SET state = 'queued', lane_seq = iif((SELECT enters_at FROM messages WHERE id = message_id) IS NULL, coalesce(lane_seq, ?1), NULL),
    next_at = ?2, age_from = ?2, changed_at = ?2, tries_from = attempt,
    parked_for = NULL, reason = NULL, possible_duplicates = possible_duplicates + ?3
WHERE id = ?4

-- name: doubt
UPDATE parts SET possible_duplicates = 1 WHERE id = ?

-- name: never_enters
UPDATE messages SET enters_at = NULL, held_by = NULL WHERE id = ?

-- name: replay_message
INSERT INTO messages (id, guest_ref, destination, payload_digest, priority, delivery, replay_of, traceparent, created_at)
SELECT ?1, guest_ref, destination, payload_digest, priority, delivery, id, traceparent, ?2 FROM messages WHERE id = ?3

-- name: replay_of
SELECT id FROM messages WHERE replay_of = ?

-- name: choose
-- A walk over all parts: for people, who choose seldom. What was replayed is not replayed again.
SELECT p.message_id FROM parts p JOIN messages m ON m.id = p.message_id
WHERE p.state IN (SELECT value FROM json_each(?1)) AND p.changed_at >= ?2
  AND (?3 IS NULL OR m.destination = ?3) AND (?4 IS NULL OR p.guest_ref = ?4)
  AND NOT EXISTS (SELECT 1 FROM messages r WHERE r.replay_of = m.id)
GROUP BY p.message_id ORDER BY min(p.seq) LIMIT ?5

-- name: siblings
-- In check, and not the head of its lane: that of a restored store.
SELECT id FROM parts WHERE message_id = ? AND id <> ? AND state IN ('queued', 'checking') ORDER BY position

-- name: heads
-- Of a JSON list of lanes, all in one look-up: a third of the time of one each. Two errands break the order and never hold
-- a message up: a sign-in is what it may be waiting for, and a receipt is about something else.
SELECT g.value, p.id, p.state, p.attempt, p.next_at, p.queued_at, p.changed_at, p.body, p.message_id, p.lane_seq, p.blob,
       p.upload_id, p.tries_from, p.age_from, m.delivery, m.expires_at, m.priority,
       EXISTS (SELECT 1 FROM errands e WHERE e.guest_ref = p.guest_ref AND e.state = 'queued' AND e.seq < p.lane_seq
                                         AND e.kind NOT IN ('sign_in', 'receipt'))
FROM json_each(?) g
CROSS JOIN parts p ON p.seq = (
    SELECT seq FROM parts
    WHERE guest_ref = g.value AND lane_seq IS NOT NULL AND ended_at IS NULL
    ORDER BY lane_seq LIMIT 1)
CROSS JOIN messages m ON m.id = p.message_id

-- name: terms
SELECT delivery, expires_at, priority FROM messages WHERE id = ?

-- name: begin
UPDATE parts SET state = 'sending', attempt = attempt + 1, fence = ?, sent_at = ?, changed_at = ? WHERE id = ?

-- name: lane
UPDATE guests SET next_at = ?, priority = ? WHERE guest_ref = ? AND (next_at IS NOT ? OR priority <> ?)

-- name: anchor
UPDATE guests SET anchor = coalesce(?1, anchor), conversation_id = coalesce(?2, conversation_id) WHERE guest_ref = ?3

-- name: session
UPDATE guests SET session_state = ?, session_expires_at = ? WHERE guest_ref = ?

-- name: token
UPDATE guests SET token = ?, anchor = NULL, auth = NULL, seen_at = NULL WHERE guest_ref = ?

-- name: pause
UPDATE guests SET paused_until = ?, paused_reason = ? WHERE guest_ref = ?

-- name: due
-- The plus: SQLite (3.54) parses a statement anew for every value, many times its work, where ORDER BY, or min(), stands
-- beside a column that a bare variable is compared with.
SELECT guest_ref FROM guests WHERE destination = +? AND next_at <= ? ORDER BY next_at, guest_ref LIMIT ?

-- name: next_due
SELECT min(next_at) FROM guests WHERE destination = +? AND next_at > ?

-- name: later
SELECT guest_ref FROM guests WHERE destination = ? AND next_at > ?

-- name: realign
UPDATE parts SET next_at = ?, queued_at = ?, changed_at = ? WHERE id = ?

-- name: guest
SELECT destination, token, session_state, anchor, paused_until, priority, next_at, auth, is_followed,
       seen_at, guest_key, conversation_id
FROM guests
WHERE guest_ref = ?

-- name: left_sending
SELECT id, guest_ref, attempt FROM parts WHERE state = 'sending'

-- name: taken
-- A part with a channel_message_id has a gateway_id too; saying so is what lets the index be used.
SELECT id FROM parts
WHERE guest_ref = ?1 AND gateway_id IS NOT NULL AND (gateway_id = ?2 OR channel_message_id = ?2) LIMIT 1

-- name: copied
SELECT id, body, queued_at, possible_duplicates, gateway_id, channel_message_id FROM parts
WHERE guest_ref = ?1 AND gateway_id IS NOT NULL AND possible_duplicates > 0 AND body IS NOT NULL

-- name: seen_twice
SELECT count(*) FROM journal WHERE part_id = ? AND event = 'part.duplicate_seen'

-- name: found_in_history
SELECT 1 FROM journal
WHERE part_id = ? AND event = 'part.accepted' AND json_extract(detail, '$.source') = 'history' LIMIT 1

-- name: hear
INSERT INTO replies (guest_ref, gateway_id, at, kind, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (guest_ref, gateway_id) DO NOTHING RETURNING seq

-- name: has_heard
SELECT 1 FROM replies WHERE guest_ref = ? AND gateway_id = ? AND at <= ?

-- name: defer
UPDATE parts SET next_at = ?, changed_at = ?, reason = ? WHERE id = ? AND state = 'queued'

-- name: upload
UPDATE parts SET upload_id = ?1 WHERE id = ?2 AND (?1 IS NULL OR state = 'queued')

-- name: part_file
SELECT guest_ref, body FROM parts WHERE id = ?

-- name: add_blob
INSERT INTO blobs (digest, guest_ref, size, type, refs) VALUES (?, ?, ?, ?, 1)
ON CONFLICT (digest) DO UPDATE SET refs = refs + 1

-- name: blobs
SELECT digest FROM blobs

-- name: add_errand
INSERT INTO errands (seq, guest_ref, kind, body) VALUES (?, ?, ?, ?)

-- name: errands
SELECT seq, kind, body FROM errands WHERE guest_ref = +? AND state = 'queued' ORDER BY seq

-- name: errands_of_guest
SELECT seq, kind, state, body, ended_at FROM errands WHERE guest_ref = ? ORDER BY seq

-- name: errand
SELECT guest_ref, kind, state, result FROM errands WHERE seq = ?

-- name: end_errand
-- What it was asked with (the code of a sign-in) is of no use any more, and is not kept.
UPDATE errands SET state = ?, body = ?, result = ?, ended_at = ? WHERE seq = ? AND state = 'queued'

-- name: waiting_guests
-- Whom a relay has to know of at its start, beside those whose lanes are due.
SELECT DISTINCT guest_ref FROM errands WHERE state = 'queued'
UNION SELECT guest_ref FROM guests WHERE is_followed

-- name: follow
UPDATE guests SET is_followed = ? WHERE guest_ref = ?

-- name: auth
UPDATE guests SET auth = ? WHERE guest_ref = ?

-- name: seen
UPDATE guests SET seen_at = ? WHERE guest_ref = ?

-- name: unseen
-- Guests with a session whose replies were last complete before a moment. NULL: nobody knows.
SELECT guest_ref FROM guests
WHERE session_state = 'live' AND coalesce(seen_at, 0) < ?1 AND (session_expires_at IS NULL OR session_expires_at > ?2)
ORDER BY coalesce(seen_at, 0) LIMIT ?3

-- name: errand_guests
SELECT DISTINCT e.guest_ref FROM errands e JOIN guests g ON g.guest_ref = e.guest_ref
WHERE e.state = 'queued' AND g.destination = ? LIMIT ?

-- name: cursor
SELECT seq FROM cursors WHERE sink = ?

-- name: set_cursor
INSERT INTO cursors (sink, seq) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET seq = max(seq, excluded.seq)

-- name: acknowledge
INSERT INTO acknowledged (sink, seq) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: acknowledged
SELECT seq FROM acknowledged WHERE sink = ? AND seq > ? ORDER BY seq

-- name: forget_acknowledged
DELETE FROM acknowledged WHERE sink = ? AND seq <= ?

-- name: unacknowledged
SELECT count(*), min(at) FROM replies
WHERE seq > coalesce((SELECT seq FROM cursors WHERE sink = ?1), 0) AND body IS NOT NULL
  AND seq NOT IN (SELECT seq FROM acknowledged WHERE sink = ?1)

-- name: next_reply
SELECT min(seq) FROM replies WHERE seq > ? AND body IS NOT NULL

-- name: list_guests
SELECT g.guest_ref, g.destination, g.guest_key, g.session_state, g.session_expires_at, g.paused_until, g.paused_reason,
       g.is_followed, g.auth IS NOT NULL, coalesce(m.n, 0), coalesce(r.n, 0), coalesce(p.open, 0),
       max(coalesce(p.at, 0), coalesce(r.at, 0)) AS last_at
FROM guests g
LEFT JOIN (SELECT guest_ref, count(*) AS n FROM messages
           WHERE ?2 IS NULL OR guest_ref = ?2 GROUP BY guest_ref) m ON m.guest_ref = g.guest_ref
LEFT JOIN (SELECT guest_ref, count(*) AS n, max(at) AS at FROM replies
           WHERE ?2 IS NULL OR guest_ref = ?2 GROUP BY guest_ref) r ON r.guest_ref = g.guest_ref
LEFT JOIN (SELECT guest_ref, sum(state IN ('queued', 'sending', 'checking', 'parked')) AS open, max(queued_at) AS at
           FROM parts WHERE ?2 IS NULL OR guest_ref = ?2 GROUP BY guest_ref) p ON p.guest_ref = g.guest_ref
WHERE (?1 IS NULL OR g.destination = ?1) AND (?2 IS NULL OR g.guest_ref = ?2)
ORDER BY last_at DESC LIMIT ?3

-- name: transcript_parts
-- What was set aside was said as well, and stands in no lane.
SELECT seq, id, state, queued_at, gateway_time, body FROM parts
WHERE guest_ref = ? AND (lane_seq IS NOT NULL OR parked_for IS NOT NULL)
ORDER BY coalesce(lane_seq, seq)

-- name: journal
SELECT seq, at, event, guest_ref, part_id, detail FROM journal WHERE seq > ? ORDER BY seq LIMIT ?

-- name: journal_at
SELECT at FROM journal WHERE seq <= ? ORDER BY seq DESC LIMIT 1

-- name: attempts
-- Those that gateways counted, each at its end.
SELECT g.destination, j.guest_ref, j.event, j.at, j.detail FROM journal j JOIN guests g ON g.guest_ref = j.guest_ref
WHERE j.seq > ?1 AND j.at > ?2 AND j.at < ?3
  AND j.event IN ('part.accepted', 'part.throttled', 'part.requeued', 'part.checking', 'part.dead', 'part.parked')

-- name: spend
INSERT INTO uses (at, destination, guest_ref, kind) VALUES (?, ?, ?, ?)

-- name: spent
SELECT destination, guest_ref, kind, at FROM uses WHERE at > ? AND at < ?

-- name: forget_uses
DELETE FROM uses WHERE at < ? OR at > ?

-- name: journal_of_part
SELECT seq, at, event, guest_ref, part_id, detail FROM journal WHERE part_id = ? ORDER BY seq

-- name: journal_of_guest
-- A walk over a stretch of the journal: for people, who look seldom.
SELECT seq, at, event, guest_ref, part_id, detail FROM journal WHERE seq >= ? AND seq <= ? AND guest_ref = ? ORDER BY seq

-- name: journal_seq
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'journal'), 0)

-- name: replies
SELECT seq, guest_ref, gateway_id, at, body FROM replies WHERE seq > ?1 AND body IS NOT NULL AND (?2 IS NULL OR guest_ref = ?2)
ORDER BY seq LIMIT ?3

-- name: message_parts
SELECT p.id, p.message_id, p.guest_ref, m.destination, p.state, p.attempt, p.possible_duplicates, p.gateway_id,
       p.gateway_time, p.queued_at, p.sent_at, p.ended_at, p.next_at, p.reason, p.size, p.body, p.parked_for, m.replay_of
FROM parts p JOIN messages m ON m.id = p.message_id
WHERE p.message_id = ?
ORDER BY p.position

-- name: list_parts
SELECT p.id, p.message_id, p.guest_ref, m.destination, p.state, p.attempt, p.possible_duplicates, p.gateway_id,
       p.gateway_time, p.queued_at, p.sent_at, p.ended_at, p.next_at, p.reason, p.size, p.body, p.parked_for, m.replay_of
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

-- name: read_receipt
UPDATE guests SET read_receipt = ?1 WHERE guest_ref = ?2 AND read_receipt <> ?1

-- name: wants_receipts
SELECT read_receipt FROM guests WHERE guest_ref = ?

-- name: reply_receipt
SELECT guest_ref, gateway_id, receipt FROM replies WHERE seq = ?

-- name: set_reply_receipt
UPDATE replies SET receipt = ? WHERE seq = ?

-- name: add_receipt
INSERT INTO receipts (guest_ref, gateway_id, channel_message_id, status, part_id, at, gateway_time, reasons)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1

-- name: part_named
-- By our own name for it, or the gateway's.
SELECT id, state FROM parts WHERE guest_ref = ?1 AND id = ?2
UNION ALL
SELECT id, state FROM parts WHERE guest_ref = ?1 AND gateway_id = ?3 AND gateway_id IS NOT NULL
LIMIT 1

-- name: waiting_receipts
-- In any order: they are joined, not assigned.
SELECT status, gateway_time, reasons FROM receipts WHERE guest_ref = ? AND gateway_id = ? AND part_id IS NULL

-- name: place_receipts
UPDATE receipts SET part_id = ? WHERE guest_ref = ? AND gateway_id = ? AND part_id IS NULL

-- name: received
UPDATE parts SET state = ?, changed_at = ?, reason = coalesce(?, reason) WHERE id = ?

-- name: guest_destination
SELECT d.transport FROM guests g JOIN destinations d ON d.name = g.destination WHERE g.guest_ref = ?

-- name: open_parts
SELECT p.id, p.guest_ref, p.state, p.attempt, p.reason, p.lane_seq, m.enters_at, m.held_by
FROM parts p JOIN messages m ON m.id = p.message_id
WHERE p.state IN ('queued', 'sending', 'checking', 'parked') ORDER BY p.seq

-- name: mistrust
-- Its tries and its age count from here: whoever tried before was another store.
UPDATE parts
SET state = 'checking', next_at = ?1, changed_at = ?1, age_from = ?1, tries_from = attempt, reason = ?2, upload_id = NULL
WHERE id = ?3

-- name: queued_errands
SELECT seq, guest_ref, kind FROM errands WHERE state = 'queued' ORDER BY seq

-- name: guests
SELECT guest_ref FROM guests

-- name: forget_parts
DELETE FROM parts WHERE guest_ref = ?

-- name: forget_messages
DELETE FROM messages WHERE guest_ref = ?

-- name: forget_replies
DELETE FROM replies WHERE guest_ref = ?

-- name: forget_errands
DELETE FROM errands WHERE guest_ref = ?

-- name: forget_receipts
DELETE FROM receipts WHERE guest_ref = ?

-- name: forget_blobs
DELETE FROM blobs WHERE guest_ref = ?

-- name: forget_guest
DELETE FROM guests WHERE guest_ref = ?

-- name: have_numbers
INSERT INTO sqlite_sequence (name, seq)
SELECT 'replies', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'replies')

-- name: skip_numbers
UPDATE sqlite_sequence SET seq = seq + ? WHERE name IN ('journal', 'replies')

-- name: readers
-- Whoever has acknowledged anything, and up to where.
SELECT sink, seq FROM cursors
UNION SELECT DISTINCT sink, 0 FROM acknowledged a WHERE NOT EXISTS (SELECT 1 FROM cursors c WHERE c.sink = a.sink)

-- name: first_unread_replies
SELECT at FROM replies
WHERE seq > ?2 AND body IS NOT NULL AND seq NOT IN (SELECT seq FROM acknowledged WHERE sink = ?1) ORDER BY seq LIMIT 1

-- name: missed_replies
SELECT max(seq), count(*) FROM replies
WHERE seq > ?2 AND at < ?3 AND body IS NOT NULL AND seq NOT IN (SELECT seq FROM acknowledged WHERE sink = ?1)

-- name: first_unread_journal
SELECT at FROM journal WHERE seq > ?2 AND ?1 IS NOT NULL ORDER BY seq LIMIT 1

-- name: missed_journal
SELECT max(seq), count(*) FROM journal WHERE seq > ?2 AND at < ?3 AND ?1 IS NOT NULL

-- name: stretch_of_parts
SELECT seq, body IS NOT NULL, ended_at, blob FROM parts WHERE seq > ? ORDER BY seq LIMIT ?

-- name: empty_part
UPDATE parts SET body = NULL, blob = NULL WHERE seq = ? AND body IS NOT NULL AND ended_at IS NOT NULL

-- name: drop_file
UPDATE blobs SET refs = refs - 1 WHERE digest = ?

-- name: stretch_of_replies
SELECT seq, at, length(body) FROM replies WHERE seq > ? ORDER BY seq LIMIT ?

-- name: empty_reply
UPDATE replies SET body = NULL WHERE seq = ? AND body IS NOT NULL

-- name: forget_reply
DELETE FROM replies WHERE seq = ?

-- name: stretch_of_errands
SELECT seq, ended_at, result IS NOT NULL FROM errands WHERE seq > ? ORDER BY seq LIMIT ?

-- name: empty_errand
UPDATE errands SET result = NULL WHERE seq = ? AND result IS NOT NULL

-- name: forget_errand
DELETE FROM errands WHERE seq = ? AND state <> 'queued'

-- name: stretch_of_receipts
SELECT guest_ref, gateway_id, channel_message_id, status, at FROM receipts
WHERE (guest_ref, gateway_id, channel_message_id, status) > (?, ?, ?, ?)
ORDER BY guest_ref, gateway_id, channel_message_id, status LIMIT ?

-- name: forget_receipt
DELETE FROM receipts WHERE guest_ref = ? AND gateway_id = ? AND channel_message_id = ? AND status = ?

-- name: stretch_of_messages
-- With the number of its parts that have not ended so long ago, or still hold something.
SELECT m.id, (SELECT count(*) FROM parts p
              WHERE p.message_id = m.id AND (p.ended_at IS NULL OR p.ended_at >= ?2 OR p.body IS NOT NULL))
FROM messages m WHERE m.id > ?1 ORDER BY m.id LIMIT ?3

-- name: forget_message_parts
DELETE FROM parts WHERE message_id = ?

-- name: forget_message
DELETE FROM messages WHERE id = ?

-- name: stretch_of_files
SELECT digest, refs FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?

-- name: forget_file
DELETE FROM blobs WHERE digest = ? AND refs <= 0

-- name: stretch_of_batches
SELECT path, at FROM batches WHERE path > ? ORDER BY path LIMIT ?

-- name: forget_batch
DELETE FROM batches WHERE path = ?

-- name: stretch_of_journal
SELECT j.seq, j.at, length(j.detail),
       EXISTS (SELECT 1 FROM parts p WHERE p.id = j.part_id AND p.ended_at IS NULL)
FROM journal j WHERE j.seq > ? ORDER BY j.seq LIMIT ?

-- name: forget_entry
DELETE FROM journal WHERE seq = ?
