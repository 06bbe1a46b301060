#!/usr/bin/env bash
# Builds web/dist when its sources are newer. Without Node the program is built
# without the playground and says so on /.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -f web/package.json ]] || exit 0
stamp=web/dist/.built
newer=$(find web -path web/node_modules -prune -o -path web/dist -prune -o -type f ! -name '*.go' -newer "$stamp" -print -quit 2>/dev/null || echo first)
[[ -f $stamp && -z $newer ]] && exit 0
if ! command -v npm >/dev/null; then
  echo 'build: no Node here, so no playground in the program. make setup tells how to have it.' >&2
  exit 0
fi
echo 'build: the playground (half a minute the first time)' >&2
scripts/npm.sh web
npm --prefix web run --silent build
mkdir -p web/dist
touch "$stamp"
