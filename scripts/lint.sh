#!/usr/bin/env bash
# golangci-lint, pinned, built once into the cache; then shellcheck on our
# scripts where the machine has it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=v2.15.0
if [[ $(id -u) == 0 ]]; then cache=/var/cache/cdsa; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/cdsa; fi
bin=$cache/lint/$version
if [[ ! -x $bin/golangci-lint ]]; then
  echo "lint: building golangci-lint $version (once; some minutes)" >&2
  mkdir -p "$bin"
  GOBIN=$bin GOFLAGS='' go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
fi
status=0
"$bin/golangci-lint" run "$@" || status=1
if command -v shellcheck >/dev/null; then
  shellcheck -x scripts/*.sh .ci/run docker/*.sh || status=1
fi
exit "$status"
