-- The keys that access tokens were ever signed with, by their thumbprints: which of the replicas that begin to sign with
-- a new one records it.
CREATE TABLE signing_keys (
    kid      text PRIMARY KEY,
    signs_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT, INSERT ON signing_keys TO cdsa_app;

-- What an API token began, and what it is limited to, for whichever worker takes it up.
CREATE TABLE delegations (
    reply_id     uuid UNIQUE REFERENCES chat_messages (id) ON DELETE CASCADE,
    execution_id uuid UNIQUE REFERENCES tool_executions (id) ON DELETE CASCADE,
    session_id   uuid   NOT NULL,
    scopes       text[] NOT NULL,
    CHECK (num_nonnulls(reply_id, execution_id) = 1)
);

GRANT SELECT, INSERT ON delegations TO cdsa_app;
