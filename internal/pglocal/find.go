//go:build unix

package pglocal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version with CREATE DATABASE … STRATEGY and
// wal_compression = lz4. scripts/postgres.sh has the same number.
const oldest = 15

// ErrNoServer tells that this machine has no PostgreSQL with pgvector.
var ErrNoServer = errors.New("this machine has no PostgreSQL 15 or newer with pgvector: run make setup, or set DATABASE_URL to a server that has it")

// debianBin matches Debian's layout, moved or not: the tree's root, then the version.
var debianBin = regexp.MustCompile(`^(.*)/usr/lib/postgresql/(\d+)/bin$`)

// FindBin returns the folder of the first PostgreSQL that has pgvector: the
// system's, newest first, then the private trees that scripts/setup.sh makes.
// scripts/postgres.sh looks in the same places in the same order. Fails with
// ErrNoServer.
func FindBin() (string, error) {
	for _, dir := range candidates() {
		if usable(dir) {
			return dir, nil
		}
	}
	return "", ErrNoServer
}

func candidates() []string {
	dirs := newestFirst("/usr/lib/postgresql/*/bin")
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	dirs = append(dirs, newestFirst("/usr/pgsql-*/bin")...)
	dirs = append(dirs, newestFirst("/opt/homebrew/opt/postgresql@*/bin")...)
	dirs = append(dirs, newestFirst("/usr/local/opt/postgresql@*/bin")...)
	if c, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, newestFirst(filepath.Join(c, "cdsa/postgres/*/usr/lib/postgresql/*/bin"))...)
	}
	return append(dirs, newestFirst("/var/cache/cdsa/postgres/*/usr/lib/postgresql/*/bin")...)
}

var number = regexp.MustCompile(`\d+`)

// newestFirst globs and sorts by the last number in each path.
func newestFirst(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil // only a malformed pattern, and ours are constants
	}
	last := func(s string) int {
		all := number.FindAllString(s, -1)
		if len(all) == 0 {
			return 0
		}
		n, err := strconv.Atoi(all[len(all)-1])
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(last(b), last(a)) })
	return found
}

func usable(bin string) bool {
	for _, p := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			return false
		}
	}
	v, err := version(bin)
	if err != nil || v < oldest {
		return false
	}
	share, lib, err := installDirs(bin)
	if err != nil {
		return false
	}
	return exists(filepath.Join(share, "extension/vector.control")) &&
		(exists(filepath.Join(lib, "vector.so")) || exists(filepath.Join(lib, "vector.dylib")))
}

// version returns the major version of the server in bin.
func version(bin string) (int, error) {
	if m := debianBin.FindStringSubmatch(bin); m != nil {
		return strconv.Atoi(m[2])
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	_, v, ok := strings.Cut(string(out), ") ")
	if !ok {
		return 0, fmt.Errorf("postgres --version answered without a version")
	}
	return strconv.Atoi(number.FindString(v))
}

// installDirs returns the folders with extension/*.control and the libraries.
func installDirs(bin string) (share, lib string, err error) {
	if m := debianBin.FindStringSubmatch(bin); m != nil { // no process needed
		return m[1] + "/usr/share/postgresql/" + m[2], m[1] + "/usr/lib/postgresql/" + m[2] + "/lib", nil
	}
	ask := func(what string) string {
		out, askErr := exec.Command(filepath.Join(bin, "pg_config"), what).Output()
		err = errors.Join(err, askErr)
		return strings.TrimSpace(string(out))
	}
	share, lib = ask("--sharedir"), ask("--pkglibdir")
	return share, lib, err
}

// libraryPath is the LD_LIBRARY_PATH of a private tree, "" for an installed server.
func libraryPath(bin string) string {
	m := debianBin.FindStringSubmatch(bin)
	if m == nil || m[1] == "" {
		return ""
	}
	var dirs []string
	for _, pattern := range []string{"/usr/lib/*-linux-gnu*", "/lib/*-linux-gnu*"} {
		found, err := filepath.Glob(m[1] + pattern)
		if err == nil {
			dirs = append(dirs, found...)
		}
	}
	return strings.Join(dirs, ":")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
