#!/usr/bin/env bash
# Brings what CDSA needs and this machine lacks: PostgreSQL with pgvector,
# a Go that go.mod accepts (checked only), Node for the web bundle and, for
# the tests, Chromium.
# Safe to repeat; says nothing when there is nothing to do.
#
#   scripts/setup.sh             what `make setup` runs
#   CDSA_SETUP_PRIVATE=1         ignore the system's PostgreSQL, use a private tree
#   SETUP_FOR_TESTS=1             what `make test` runs: a missing Node is an error
set -euo pipefail
shopt -s nullglob
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
started=$SECONDS
work='' log=/dev/null

say() { printf 'setup: %3d s  %s\n' "$((SECONDS - started))" "$*" >&2; }

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# quiet CMD…: output to the log, which is shown when the command fails.
quiet() {
  "$@" >>"$log" 2>&1 && return
  local status=$?
  tail -n 20 "$log" >&2
  printf 'setup: this failed (status %d): %s\n' "$status" "${*:1:3}" >&2
  exit 1
}

# as_root CMD…: never waits for a password nobody sees.
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# The cache outlives checkouts. Root's is where the unprivileged account that
# runs the server can read it.
if [[ $(id -u) == 0 ]]; then cache=/var/cache/cdsa; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/cdsa; fi

# begin: scratch folder, log and lock, made only when there is work.
begin() {
  [[ -n $work ]] && return
  mkdir -p "$cache"
  if command -v flock >/dev/null; then
    exec 9>"$cache/setup.lock"
    flock -n 9 || { say "another set-up is running; waiting for it"; flock 9; }
  fi
  work=$(mktemp -d "$cache/work.XXXXXX")
  chmod 755 "$work"
  log=$work/log
  trap 'rm -rf "$work"' EXIT
}

# shellcheck source=scripts/postgres.sh
. "$here/postgres.sh"
# shellcheck source=scripts/toolchain.sh
. "$here/toolchain.sh"

go_check
if ! pg_find >/dev/null; then begin; pg_ensure; fi
if ! node_find >/dev/null; then begin; node_ensure; fi
if [[ ${SETUP_FOR_TESTS:-} == 1 ]] && ! browser_find >/dev/null; then begin; browser_ensure; fi
if [[ -n $work ]]; then say "ready"; fi
