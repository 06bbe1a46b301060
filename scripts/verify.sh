#!/usr/bin/env bash
# Fails when committed output is not what its sources give: generated code,
# migrations, formatting, go.sum. Changes made before it started are left out,
# so it can run in a dirty tree; in CI the tree is clean.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0
bad() { echo "verify: $*" >&2; status=1; }

# state: one line a file that differs from HEAD, with its content's hash.
state() {
  { git diff --name-only --no-renames HEAD; git ls-files --others --exclude-standard; } | sort -u |
    while IFS= read -r f; do
      if [[ -f $f ]]; then printf '%s %s\n' "$(git hash-object -- "$f")" "$f"; else printf 'deleted %s\n' "$f"; fi
    done
}

before=$(state)
echo 'verify: go generate (two minutes or so)' >&2
go generate ./...
after=$(state)
if [[ $before != "$after" ]]; then
  bad 'these files are not what go generate writes; run make generate and commit them:'
  diff <(printf '%s\n' "$before") <(printf '%s\n' "$after") | awk '/^[<>]/{print "  " $3}' | sort -u >&2 || true
fi

echo 'verify: migrations against the ent schema' >&2
go run ./migrate/diff check || bad 'the migrations are not the schema; run make migration NAME=…'

unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
[[ -z $unformatted ]] || bad "gofmt would change: ${unformatted//$'\n'/ }"

go mod verify >/dev/null || bad 'a module of the cache is not what go.sum says'
go mod tidy -diff >/dev/null || bad 'go.mod or go.sum is not tidy; run go mod tidy'

((status == 0)) && echo 'verify: clean' >&2
exit "$status"
