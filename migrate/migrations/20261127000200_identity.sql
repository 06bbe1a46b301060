-- Whose rights changed, written in the transaction that changed them. Every replica reads what is new each half second,
-- so that a revocation reaches it when the bus is silent. The subject is a user, a login session or a role.
CREATE TABLE revocations (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject uuid        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revocations_at ON revocations (at);

-- Failed sign-ins, by a keyed hash of the account's name, of the network, or of both: no name and no address is kept.
CREATE TABLE login_throttles (
    key           bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    failures      integer     NOT NULL CHECK (failures > 0),
    last_at       timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
);
CREATE INDEX login_throttles_last_at ON login_throttles (last_at);

-- What was mailed to somebody, to be presented once. The token itself is made from the id with the server's key and
-- stored nowhere. A reset that was asked for an address without an account has no user.
CREATE TABLE mailed_tokens (
    id         uuid PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('RESET', 'VERIFY', 'INVITE')),
    user_id    uuid        REFERENCES users (id) ON DELETE CASCADE,
    email      citext,
    roles      text[]      NOT NULL DEFAULT '{}',
    invited_by uuid        REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX mailed_tokens_user_id ON mailed_tokens (user_id, kind);
CREATE INDEX mailed_tokens_invited_by ON mailed_tokens (invited_by);
CREATE INDEX mailed_tokens_expires_at ON mailed_tokens (expires_at);
CREATE INDEX mailed_tokens_open_invitations ON mailed_tokens (created_at) WHERE kind = 'INVITE' AND used_at IS NULL AND revoked_at IS NULL;

GRANT SELECT, INSERT, DELETE ON revocations TO cdsa_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_throttles, mailed_tokens TO cdsa_app;
