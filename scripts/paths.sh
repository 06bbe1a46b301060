#!/usr/bin/env bash
# Prints the folders of Go and Node, colon-separated, for PATH: make and CI put
# them first, so that `sudo make` and a machine with an old Node both work.
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $(id -u) == 0 ]]; then cache=/var/cache/cdsa; else cache=${XDG_CACHE_HOME:-${HOME:-/}/.cache}/cdsa; fi
# shellcheck source=scripts/toolchain.sh
. "$here/toolchain.sh"
go=$(go_find || true)
node=$(node_find || true)
printf '%s\n' "${go}${go:+${node:+:}}${node}"
