#!/usr/bin/env bash
# Runs every test and closes with one line, `N passed, N failed, N skipped`,
# counted from what ran. Called by `make test`, which set up and built first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
status=0

mapfile -t npm_dirs < <(git ls-files '*package-lock.json' | sed 's|/*package-lock.json$||; s|^$|.|' | grep -v '^web$' || true)
((${#npm_dirs[@]} == 0)) || scripts/npm.sh "${npm_dirs[@]}"

# -vet=off: make lint vets. -count=1: results of a run of before say nothing about this machine.
go test -json -count=1 -vet=off -timeout 25m ./... | go run ./scripts/testreport -counts "$counts" || status=1

# e2e/package.json may have tests of its own beside those Go drives.
if [[ -f e2e/package.json ]] && grep -q '"test"' e2e/package.json; then
  echo 'test: e2e (npm)'
  if npm --prefix e2e test --silent; then echo '1 0 0' >>"$counts"; else echo '0 1 0' >>"$counts"; status=1; fi
fi
awk '{p += $1; f += $2; s += $3} END {printf "%d passed, %d failed, %d skipped\n", p, f, s; exit p == 0 || f > 0}' "$counts" || status=1
exit "$status"
