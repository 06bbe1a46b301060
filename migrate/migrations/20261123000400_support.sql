-- Events wait here, written in the transaction that made them true, until the relay has the bus's acknowledgement.
-- Payloads are ids, never row contents. The checks keep out rows that the bus would refuse for ever.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject    text        NOT NULL CHECK (length(subject) <= 200 AND subject ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'),
    payload    bytea       NOT NULL CHECK (octet_length(payload) <= 65536),
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
-- The relay finds unsent rows by mark, never by a high-water mark: a late commit has a low id.
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;

-- Keys that make a subject's personal fields in audit rows readable; erasing a key erases them without touching a row.
CREATE TABLE subject_keys (
    subject_id uuid PRIMARY KEY,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- No audit row is changed by anyone but the retention job's function, which a later migration adds.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE ON audit_logs FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_logs_no_truncate BEFORE TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER secret_access_logs_append_only BEFORE UPDATE OR DELETE ON secret_access_logs FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER secret_access_logs_no_truncate BEFORE TRUNCATE ON secret_access_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Vectors are read whole and often: kept in the row, uncompressed, the exact scan costs half.
ALTER TABLE document_chunks ALTER COLUMN embedding SET STORAGE PLAIN;

-- The join tables' keys begin with the user and the role; the other way round needs indexes of its own.
CREATE INDEX user_roles_role_id ON user_roles (role_id);
CREATE INDEX role_permissions_permission_id ON role_permissions (permission_id);
