# shellcheck shell=bash disable=SC2154 # work, cache and log are the caller's
# PostgreSQL with pgvector: find it, or bring it. Sourced by setup.sh, which
# provides say, fail, quiet, as_root, $work (a scratch folder) and $cache.
#
# Order: what the machine has; a private tree in the cache for ordinary users
# (it disturbs nothing and needs no rights); packages where we are root or
# `sudo -n` answers. Mirrors come from the machine's own apt sources.

readonly pg_oldest=15 # CREATE DATABASE … STRATEGY and wal_compression=lz4 are of 15

# pg_version BIN: the major version of the server in that folder.
pg_version() {
  local v
  case $1 in
    */usr/lib/postgresql/*/bin) v=${1%/bin}; printf '%s' "${v##*/}" ;;
    *) v=$("$1/postgres" --version 2>/dev/null) || return 1
       v=${v#*) }; v=${v%%[!0-9]*}; printf '%s' "${v}" ;;
  esac
}

# pg_has_vector BIN: true where that server would find the vector extension.
pg_has_vector() {
  local share lib v root
  case $1 in
    */usr/lib/postgresql/*/bin) # Debian's layout, moved or not: no process needed
      root=${1%/usr/lib/postgresql/*}; v=${1%/bin}; v=${v##*/}
      share=$root/usr/share/postgresql/$v; lib=$root/usr/lib/postgresql/$v/lib ;;
    *)
      share=$("$1/pg_config" --sharedir 2>/dev/null) || return 1
      lib=$("$1/pg_config" --pkglibdir 2>/dev/null) || return 1 ;;
  esac
  [[ -e $share/extension/vector.control ]] && [[ -e $lib/vector.so || -e $lib/vector.dylib ]]
}

# pg_candidates: server folders, the machine's own first. internal/pglocal
# looks in the same places in the same order (find.go).
pg_candidates() {
  local p
  if [[ ${CDSA_SETUP_PRIVATE:-} != 1 ]]; then
    [[ -z ${CDSA_PG_BIN:-} ]] || printf '%s\n' "$CDSA_PG_BIN"
    for p in /usr/lib/postgresql/*/bin; do printf '%s\n' "$p"; done | sort -t/ -k5,5nr
    p=$(command -v initdb || true)
    if [[ -n $p ]]; then p=$(readlink -f "$p"); printf '%s\n' "${p%/*}"; fi
    for p in /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do printf '%s\n' "$p"; done
  fi
  for p in "$cache"/postgres/*/usr/lib/postgresql/*/bin /var/cache/cdsa/postgres/*/usr/lib/postgresql/*/bin; do printf '%s\n' "$p"; done
}

# pg_find: prints the first server that has pgvector.
pg_find() {
  local bin v
  while IFS= read -r bin; do
    [[ -x $bin/initdb && -x $bin/postgres ]] || continue
    v=$(pg_version "$bin") || continue
    ((${v:-0} >= pg_oldest)) || continue
    if pg_has_vector "$bin"; then printf '%s\n' "$bin"; return 0; fi
  done < <(pg_candidates)
  return 1
}

# apt_private: package lists and a cache of our own, so that no rights are
# needed and the machine's lists stay as they are.
apt_private() {
  mkdir -p "$work"/apt/{lists/partial,cache/archives/partial,debs}
  apt=(-q -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
       -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3
       -o Debug::NoLocking=1)
  say "reading the package lists"
  quiet apt-get "${apt[@]}" update
}

apt_has() { apt-cache "${apt[@]}" show --no-all-versions "$1" >/dev/null 2>&1; }

# apt_default_version: the server the machine's distribution would install.
apt_default_version() {
  apt-cache "${apt[@]}" depends postgresql 2>/dev/null |
    sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

# apt_closure SKIP PACKAGE…: those packages and what they lack on this machine,
# without the names that match SKIP.
apt_closure() {
  local skip=$1; shift
  {
    printf '%s\n' "$@"
    apt-get "${apt[@]}" -s install --no-install-recommends "$@" 2>>"$log" | awk '/^Inst/{print $2}'
  } | sort -u | grep -Ev "^($skip)\$"
}

# apt_unpack DIR PACKAGE…: fetched and unpacked into DIR; nothing is installed.
apt_unpack() {
  local dir=$1 deb; shift
  rm -rf "$work/apt/debs"; mkdir -p "$work/apt/debs" "$dir"
  say "fetching $# package(s)"
  (cd "$work/apt/debs" && quiet apt-get "${apt[@]}" download "$@")
  for deb in "$work"/apt/debs/*.deb; do quiet dpkg -x "$deb" "$dir"; done
}

# Left out of a private tree: the machine's own C library (a second one beside
# the loader of the first crashes), JIT (we run with jit=off) and the
# packaging scripts, which are perl.
readonly pg_skip='libc6|libc-bin|libllvm.*|libz3.*|llvm.*|postgresql-common.*|postgresql-client-common|ssl-cert|perl.*|libperl.*|libjson.*|ucf|openssl.*|tzdata|logrotate|adduser|netbase|locales|sysvinit-utils|libgdbm.*|sensible-utils|cron.*|init-system-helpers'

# multiarch: the folder of Debian's libraries for this machine's kind.
multiarch() { dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || uname -m | sed 's/$/-linux-gnu/'; }

is_debian12() { (. /etc/os-release; [[ $ID == debian && ${VERSION_ID:-} == 12 ]]); }

no_pgvector() {
  fail "this system's package sources have no pgvector for PostgreSQL. Install PostgreSQL $pg_oldest or newer with pgvector and run make again, set DATABASE_URL to a server that has it, or use docker/compose.yaml, which brings one."
}

# vector_source: pgvector's sources, unpacked in $work/vector. Debian 12 has no
# package of it; Debian 13's source package builds against 15. apt checks it
# against the archive's signature.
vector_source() {
  local base o
  # shellcheck disable=SC2016 # apt fills these in
  base=$(apt-get "${apt[@]}" indextargets --format '$(REPO_URI)|$(CODENAME)|$(COMPONENT)' 'Identifier: Packages' |
    awk -F'|' '$2 == "bookworm" && $3 == "main" {print $1; exit}')
  [[ -n $base ]] || fail "the machine's apt sources name no Debian 12 main archive; add one and run make again, or use docker/compose.yaml."
  mkdir -p "$work"/src/{lists/partial,cache/archives/partial,parts,get} "$work/vector"
  printf 'Types: deb-src\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$base" >"$work/src/pgvector.sources"
  o=("${apt[@]}" -o "Dir::Etc::sourcelist=$work/src/pgvector.sources" -o "Dir::Etc::sourceparts=$work/src/parts"
     -o "Dir::State::Lists=$work/src/lists" -o "Dir::Cache=$work/src/cache")
  say "fetching pgvector's source"
  quiet apt-get "${o[@]}" update
  (cd "$work/src/get" && quiet apt-get "${o[@]}" source --download-only --only-source pgvector)
  quiet tar -xzf "$work"/src/get/pgvector_*.orig.tar.gz -C "$work/vector" --strip-components=1
}

# vector_build VERSION POSTGRES: compiles pgvector for that server into
# $work/vector, with the machine's compiler or an unpacked one.
vector_build() {
  local v=$1 postgres=$2 dev=$work/dev libc libm
  local -a names cc=(gcc) link=(-lm)
  vector_source
  apt_unpack "$dev" "postgresql-server-dev-$v" # its headers; installed whole it brings a gigabyte
  if ! printf '#include <stdio.h>\n' | gcc -fPIC -shared -x c - -o "$work/probe.so" >/dev/null 2>&1; then
    mapfile -t names < <(apt_closure 'libc6|libc-bin|perl.*' gcc libc6-dev)
    apt_unpack "$dev" "${names[@]}"
    local t; t=$(multiarch)
    export LD_LIBRARY_PATH="$dev/usr/lib/$t:$dev/lib/$t"
    export PATH="$dev/usr/bin:$PATH"
    libc=$(ldd "$postgres" | awk '/libc\.so\.6/{print $3}'); libm=$(ldd "$postgres" | awk '/libm\.so\.6/{print $3}')
    cc=(gcc "--sysroot=$dev"); link=(-nostdlib "$libc" "$libm" -lgcc)
  fi
  say "compiling pgvector"
  (
    cd "$work/vector"
    local -a flags=(-O2 -fPIC -ftree-vectorize -fassociative-math -fno-signed-zeros -fno-trapping-math
      -fno-strict-aliasing -fwrapv -D_GNU_SOURCE
      "-I$dev/usr/include/postgresql/$v/server" "-I$dev/usr/include/postgresql/internal")
    printf '%s\0' src/*.c | quiet xargs -0 -P "$(nproc)" -I{} "${cc[@]}" "${flags[@]}" -c {} -o {}.o
    quiet "${cc[@]}" -shared -o vector.so src/*.o "${link[@]}"
    local version; version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" vector.control)
    cp sql/vector.sql "sql/vector--$version.sql"
  )
  unset LD_LIBRARY_PATH
}

# vector_install ROOT VERSION [PREFIX…]: the built files where that server looks.
vector_install() {
  local root=$1 v=$2; shift 2
  quiet "$@" install -m 644 "$work/vector/vector.so" "$root/usr/lib/postgresql/$v/lib/"
  quiet "$@" install -m 644 "$work"/vector/sql/vector--*.sql "$work/vector/vector.control" "$root/usr/share/postgresql/$v/extension/"
}

# pg_private: a server with pgvector unpacked under $cache/postgres, run from
# there with LD_LIBRARY_PATH; PostgreSQL finds its folders when moved.
pg_private() {
  local v tree=$work/tree
  local -a names
  apt_private
  v=$(apt_default_version)
  ((${v:-0} >= pg_oldest)) || no_pgvector
  local -a want=("postgresql-$v" "postgresql-client-$v" libpq5)
  if apt_has "postgresql-$v-pgvector"; then want+=("postgresql-$v-pgvector")
  elif ! is_debian12; then no_pgvector; fi
  mapfile -t names < <(apt_closure "$pg_skip" "${want[@]}")
  apt_unpack "$tree" "${names[@]}"
  if ! pg_has_vector "$tree/usr/lib/postgresql/$v/bin"; then
    vector_build "$v" "$tree/usr/lib/postgresql/$v/bin/postgres"
    vector_install "$tree" "$v"
  fi
  rm -rf "$tree/usr/lib/postgresql/$v/lib/bitcode" "$tree/usr/share/doc" "$tree/usr/share/man" "$tree/usr/share/locale"
  chmod -R go+rX,go-w "$tree" # the unprivileged account root drops to reads it
  mkdir -p "$cache/postgres"
  rm -rf "$cache/postgres/$v"
  mv "$tree" "$cache/postgres/$v"
  say "PostgreSQL $v with pgvector is in $cache/postgres/$v"
}

# pg_packages: into the system, for root and for those whom `sudo -n` lets.
pg_packages() {
  local v bin
  apt_private
  v=
  for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr); do
    if [[ -x $bin/initdb ]] && (("$(pg_version "$bin")" >= pg_oldest)); then v=$(pg_version "$bin"); break; fi
  done
  local -a want=()
  if [[ -z $v ]]; then
    v=$(apt_default_version)
    ((${v:-0} >= pg_oldest)) || no_pgvector
    want+=("postgresql-$v")
  fi
  if apt_has "postgresql-$v-pgvector"; then want+=("postgresql-$v-pgvector")
  elif ! is_debian12; then no_pgvector; fi
  if ((${#want[@]})); then
    say "installing ${want[*]}"
    quiet as_root apt-get -q update
    # Without this a cluster comes up on 5432 that nobody asked for.
    if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
      as_root mkdir -p /etc/postgresql-common
      printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    # --no-upgrade: a server that runs here is not restarted.
    quiet as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-upgrade --no-install-recommends \
      -o Dpkg::Options::=--force-confold "${want[@]}"
  fi
  if ! pg_has_vector "/usr/lib/postgresql/$v/bin"; then
    vector_build "$v" "/usr/lib/postgresql/$v/bin/postgres"
    vector_install "" "$v" as_root
  fi
}

# pg_ensure: the whole of it.
pg_ensure() {
  local made
  pg_find >/dev/null && return 0
  if command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    say "PostgreSQL with pgvector is missing; bringing it (once)"
    if [[ ${CDSA_SETUP_PRIVATE:-} == 1 ]]; then pg_private
    elif [[ $(id -u) == 0 ]]; then pg_packages
    else
      set +e # not `if (…)`: a condition would switch errexit off inside
      (set -e; pg_private)
      made=$?
      set -e
      if ((made != 0)); then
        sudo -n true 2>/dev/null || exit 1
        say "no private tree could be made; installing packages"
        pg_packages
      fi
    fi
  elif command -v brew >/dev/null; then
    say "installing postgresql@17 and pgvector with Homebrew"
    quiet brew install postgresql@17 pgvector
  else
    no_pgvector
  fi
  pg_find >/dev/null || fail "PostgreSQL with pgvector was installed but is not found. Set CDSA_PG_BIN to the folder of its initdb, or use docker/compose.yaml."
}
