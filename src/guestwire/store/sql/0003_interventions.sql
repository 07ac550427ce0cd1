-- What people decide: a part that waits for one says why, a released one has its tries anew, a dead one is replayed once.

ALTER TABLE parts ADD COLUMN parked_for TEXT;       -- policy | poison | unknown; NULL: it is not parked
ALTER TABLE parts ADD COLUMN tries_from INTEGER NOT NULL DEFAULT 0; -- attempts before the last release: they do not count
ALTER TABLE parts ADD COLUMN age_from REAL;         -- when it was released last; NULL: its age counts from queued_at

UPDATE parts SET parked_for = iif(reason LIKE 'outcome unknown:%', 'unknown', 'poison') WHERE state = 'parked';

-- The lane: its parts that have not ended, in order of entry. By their end and not by their state, so that an attempt that
-- is begun does not touch the index.
DROP INDEX parts_in_lane;
CREATE UNIQUE INDEX parts_in_lane ON parts (guest_ref, lane_seq) WHERE ended_at IS NULL;

CREATE UNIQUE INDEX messages_by_replay ON messages (replay_of) WHERE replay_of IS NOT NULL;
