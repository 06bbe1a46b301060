-- The keys that access tokens were ever signed with, by their thumbprints: which of the replicas that begin to sign with
-- a new one records it.
CREATE TABLE signing_keys (
    kid      text PRIMARY KEY,
    signs_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT, INSERT ON signing_keys TO cdsa_app;
