-- The server's role owns nothing. It reads and writes rows; append-only tables it can only add to.
-- A later migration grants what it adds, table by table: nothing is granted by default.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdsa_app') THEN
        CREATE ROLE cdsa_app NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role cdsa_app does not exist and this role may not create it: have an administrator run CREATE ROLE cdsa_app';
END
$$;
GRANT USAGE ON SCHEMA public TO cdsa_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO cdsa_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO cdsa_app;
REVOKE UPDATE, DELETE ON audit_logs, secret_access_logs, system_metrics FROM cdsa_app;
DO $$
BEGIN
    IF to_regclass('schema_revisions') IS NOT NULL THEN -- the replay that compares schemas has no such table
        REVOKE INSERT, UPDATE, DELETE ON schema_revisions FROM cdsa_app;
    END IF;
END
$$;
REVOKE INSERT, UPDATE, DELETE ON river_migration FROM cdsa_app;
