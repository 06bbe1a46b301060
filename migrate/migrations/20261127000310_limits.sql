-- The counters of one account, so that they can be lifted together: a keyed hash as well. Null for a network's own.
-- noted_at is when a refusal by the counter was last written to the audit log.
ALTER TABLE login_throttles
    ADD COLUMN subject  bytea CHECK (octet_length(subject) = 32),
    ADD COLUMN noted_at timestamptz;
CREATE INDEX login_throttles_subject ON login_throttles (subject) WHERE subject IS NOT NULL;
