#!/usr/bin/env bash
# Runs once, when the volume is new, as the superuser: the roles, extensions and
# rights that internal/pglocal gives the embedded database.
set -euo pipefail
secrets=${CDSA_SECRETS:-/run/secrets}
# The passwords go by standard input: arguments can be read in the process list.
{
  printf "\\\\set owner_password '%s'\n" "$(cat "$secrets/db_owner_password")"
  printf "\\\\set app_password '%s'\n" "$(cat "$secrets/db_app_password")"
  cat <<'SQL'
SET log_statement = 'none';
CREATE ROLE cdsa_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE cdsa_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'app_password';
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS citext;
ALTER DATABASE cdsa OWNER TO cdsa_owner;
REVOKE ALL ON DATABASE cdsa FROM PUBLIC;
GRANT CONNECT ON DATABASE cdsa TO cdsa_app;
ALTER SCHEMA public OWNER TO cdsa_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO cdsa_app;
SQL
} | psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:?}" --dbname "${POSTGRES_DB:?}"
