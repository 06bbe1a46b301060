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
