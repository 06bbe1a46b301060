#!/usr/bin/env bash
# Makes docker/secrets: a random value each, once. What is there stays, so it
# can be repeated; the folder is yours alone, and git and the image leave it out.
set -euo pipefail
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets
umask 077
mkdir -p "$dir/signing"
# A folder of its own, which compose mounts whole: a container keeps the file it was given, and would not see the one
# that `cdsa keys rotate` puts in its place.
chmod 0755 "$dir/signing"
if [[ -e $dir/signing_key ]]; then mv "$dir/signing_key" "$dir/signing/signing_key"; fi # where it was once

# put NAME VALUE: 0444, for the accounts inside the containers; the folder's
# mode 0700 keeps others on this machine out.
put() {
  [[ -e $dir/$1 ]] && return
  printf '%s' "$2" >"$dir/$1.new"
  chmod 0444 "$dir/$1.new"
  mv "$dir/$1.new" "$dir/$1"
}
hex() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; } # 256 bits
b64() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; } # as CDSA_SIGNING_KEY and CDSA_CURSOR_KEY want it

for name in db_root_password db_owner_password db_app_password nats_password; do put "$name" "$(hex)"; done
put signing/signing_key "$(b64 32)"
put cursor_key "$(b64 64)"
put audit_key "$(b64 32)"
put identity_key "$(b64 32)"
put database_url "postgres://cdsa_app:$(cat "$dir/db_app_password")@db:5432/cdsa"
put migrate_url "postgres://cdsa_owner:$(cat "$dir/db_owner_password")@db:5432/cdsa"
put nats_url "nats://cdsa:$(cat "$dir/nats_password")@nats:4222"
put nats_auth "authorization { user: cdsa, password: \"$(cat "$dir/nats_password")\" }"
echo "secrets are in docker/secrets"
