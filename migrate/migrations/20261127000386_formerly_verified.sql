-- Accounts an earlier address of which was verified: a password reset at a later one keeps their second factor. Of accounts
-- that have one by now it is not known, so theirs stays.
CREATE TABLE formerly_verified (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE
);

INSERT INTO formerly_verified SELECT id FROM users WHERE NOT is_verified AND totp_enabled_at IS NOT NULL;

GRANT SELECT, INSERT ON formerly_verified TO cdsa_app;
