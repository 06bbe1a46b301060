-- The transaction that wrote a revocation: a reader finds exactly what was committed since its last snapshot, however
-- late it was committed and whatever any clock says.
ALTER TABLE revocations ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX revocations_xid ON revocations (xid);

-- A person's sessions in use, among all that refreshes left behind.
CREATE INDEX sessions_in_use ON sessions (user_id) WHERE is_active;
-- The newest session of each family by when the family ended: what the sweep starts from.
CREATE INDEX sessions_ended ON sessions (least(expires_at, revoked_at)) WHERE replaced_by IS NULL;
