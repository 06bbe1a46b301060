# shellcheck shell=bash disable=SC2154 # here and cache are the caller's
# Go, Node and a browser: where they are, and whether they are new enough. Sourced by
# setup.sh (which provides say, fail, quiet, as_root, $work and $cache, and the
# apt of postgres.sh) and by paths.sh, which only finds.

readonly node_oldest=20 # playwright-core and the tests' model server
readonly node_package=22
readonly npm_package=10 # of Node 22

# go_find: the folder of the go command; sudo loses it from PATH.
go_find() {
  local p
  p=$(command -v go || true)
  if [[ -n $p ]]; then printf '%s\n' "${p%/*}"; return; fi
  for p in /usr/local/go/bin /usr/lib/go/bin /opt/homebrew/bin /usr/local/bin "${HOME:-/}/go/bin" "${HOME:-/}/sdk"/go*/bin; do
    if [[ -x $p/go ]]; then printf '%s\n' "$p"; return; fi
  done
  return 1
}

# at_least HAVE WANT: compares dotted versions.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

go_check() {
  local bin want have
  want=$(sed -n 's/^go \([0-9.]*\)$/\1/p' "$here/../go.mod")
  bin=$(go_find) || fail "Go is not installed. Install Go $want or newer and run make again."
  have=$(readlink -f "$bin/go"); have=${have%/bin/go}
  have=$(head -n 1 "$have/VERSION" 2>/dev/null || true)
  if [[ -n $have ]] && at_least "${have#go}" "$want"; then return; fi
  # An older Go fetches the toolchain go.mod names, where it may.
  (cd "$here/.." && "$bin/go" version >/dev/null 2>&1) ||
    fail "this Go is older than $want, which go.mod asks for, and could not fetch that version. Install Go $want or newer and run make again."
}

node_good() { # node_good BIN-FOLDER
  local v
  v=$("$1/node" --version 2>/dev/null) || return 1
  v=${v#v}
  ((${v%%.*} >= node_oldest))
}

# node_find: the folder of a Node that is new enough, and that of an npm where
# PATH has none, with a colon between them.
node_find() {
  local p npm
  npm=$(command -v npm || true)
  p=$(command -v node || true)
  if [[ -n $npm && -n $p ]] && node_good "${p%/*}"; then printf '%s\n' "${p%/*}"; return; fi
  for p in "$cache"/node/node_modules/node-*/bin; do
    node_good "$p" || continue
    if [[ -n $npm ]]; then printf '%s\n' "$p"; return; fi
    npm=${p%/node-*/bin}/.bin
    if [[ -x $npm/npm ]]; then printf '%s\n' "$p:$npm"; return; fi
  done
  return 1
}

# node_ensure: npm's own packages of Node, and of npm where there is none. A
# first npm to fetch them with is Debian's: installed where we may, else
# unpacked for as long as that takes. Without Node only the playground is
# missing, so a failure here is told, and fails the set-up only where tests
# need it.
node_ensure() {
  (set +e; node_bring) || tail -n 5 "$log" >&2
  node_find >/dev/null && return
  if [[ ${SETUP_FOR_TESTS:-} == 1 ]]; then
    fail "Node $node_oldest or newer with npm is needed for the tests of web clients. Install it and run make test again."
  fi
  say "no Node $node_oldest or newer with npm: the program is built without the playground. Install Node and run make again to have it."
}

# browser_find mirrors browser() of e2e/client_test.go.
browser_find() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

# browser_ensure: Chromium, where it may be installed. Tests without it fail and say so; the rest of them run.
browser_ensure() {
  if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    say "installing Chromium for the browser tests"
    (set +e; browser_bring) || tail -n 5 "$log" >&2
  fi
  browser_find >/dev/null || say "no Chromium on PATH: the browser tests will fail. Install it and run make test again."
}

browser_bring() {
  quiet as_root apt-get -q update
  quiet as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-upgrade --no-install-recommends chromium fonts-dejavu-core
}

node_bring() {
  local os arch
  local -a npm=(npm) more=()
  if ! command -v npm >/dev/null && command -v apt-get >/dev/null; then
    if as_root true 2>/dev/null; then
      say "installing Node and npm"
      quiet as_root apt-get -q update
      quiet as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-upgrade --no-install-recommends nodejs npm ca-certificates
    else
      npm_unpack; more=("npm@$npm_package")
    fi
  fi
  node_find >/dev/null && return
  command -v "${npm[0]}" >/dev/null || return 0
  os=$(uname -s | tr '[:upper:]' '[:lower:]'); arch=$(uname -m)
  case $arch in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; esac
  say "fetching Node $node_package"
  quiet "${npm[@]}" install --prefix "$cache/node" --no-audit --no-fund --no-save "node-$os-$arch@$node_package" "${more[@]}"
  chmod -R go+rX "$cache/node"
}

# npm_unpack: Debian's npm in the scratch folder, as the caller's npm. Its Node
# reads parts of itself from /usr/share/nodejs, so they are laid over /usr/share
# in a namespace of its own, which most systems let anybody have.
npm_unpack() {
  local tree=$work/npm t
  [[ $tree != *[:,\\]* ]] || return 0 # no overlay can name it
  local -a names
  [[ -v apt ]] || apt_private
  mapfile -t names < <(apt_closure 'libc6|libc-bin|perl.*|libperl.*|.*-dev|gcc.*|g\+\+.*|cpp.*|binutils.*|make|python3.*|libpython3.*|gyp' nodejs npm)
  apt_unpack "$tree" "${names[@]}"
  t=$(multiarch)
  # shellcheck disable=SC2016 # the inner shell's own
  npm=(unshare --user --map-current-user --mount --keep-caps sh -ec 'mount -t overlay -o "lowerdir=$0/usr/share:/usr/share" overlay /usr/share; exec "$@"' "$tree"
       env "LD_LIBRARY_PATH=$tree/usr/lib/$t:$tree/lib/$t" "NODE_PATH=/usr/share/nodejs:$tree/usr/lib/nodejs:$tree/usr/lib/$t/nodejs"
       "$tree/usr/bin/node" /usr/share/nodejs/npm/bin/npm-cli.js)
}
