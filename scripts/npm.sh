#!/usr/bin/env bash
# scripts/npm.sh FOLDER…: the packages each folder's lock file names, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for dir in "$@"; do
  [[ -f $dir/package.json ]] || continue
  done_file=$dir/node_modules/.cdsa-installed
  [[ -f $done_file && ! $dir/package.json -nt $done_file && ! $dir/package-lock.json -nt $done_file ]] && continue
  [[ -f $dir/package-lock.json ]] || { echo "npm: $dir has no package-lock.json; commit one" >&2; exit 1; }
  echo "npm: packages of $dir" >&2
  npm --prefix "$dir" ci --no-audit --no-fund --silent
  touch "$done_file"
done
