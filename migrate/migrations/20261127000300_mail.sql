-- The network a mail was asked for from by someone who was not signed in: a keyed hash. No more than so many an hour.
ALTER TABLE mailed_tokens ADD COLUMN network bytea CHECK (octet_length(network) = 32);
CREATE INDEX mailed_tokens_network ON mailed_tokens (network, created_at) WHERE network IS NOT NULL;
-- One standing invitation for an address.
CREATE UNIQUE INDEX mailed_tokens_one_invitation ON mailed_tokens (email) WHERE kind = 'INVITE' AND used_at IS NULL AND revoked_at IS NULL;
