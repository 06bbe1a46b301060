//go:build unix

package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cdsa.dev/cdsa/internal/pglocal"
	"cdsa.dev/cdsa/migrate"
)

// format changes when a cached template of before would be wrong.
const format = "2"

const (
	keepFailed   = 24 * time.Hour     // a failed test's cluster
	keepTemplate = 7 * 24 * time.Hour // a template nobody used
	settling     = 2 * time.Minute    // a folder whose owner may not have locked it yet
)

// cache is a folder of stopped clusters (template-*) and running ones (run-*).
type cache struct{ dir string }

func openCache() (cache, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir() // no HOME: a bare container
	}
	c := cache{dir: filepath.Join(base, "cdsa", "pgtest")}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return cache{}, fmt.Errorf("make the test cache: %w", err)
	}
	c.sweep(time.Now())
	return c, nil
}

// template returns the folder of a stopped, migrated cluster, building it when
// this server or these migrations are new. One process builds, others wait.
func (c cache) template(ctx context.Context, bin string) (string, error) {
	schema, err := migrate.SQL()
	if err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{format, bin, modified(filepath.Join(bin, "postgres")), schema}, "\x00")))
	dir := filepath.Join(c.dir, "template-"+hex.EncodeToString(sum[:8]))
	unlock, err := lock(filepath.Join(c.dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer unlock()
	now := time.Now()
	if os.Chtimes(dir, now, now) == nil { // there, and marked as used
		return dir, nil
	}
	fresh, err := os.MkdirTemp(c.dir, "run-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the template: %w", err)
	}
	if err := build(ctx, fresh, bin); err != nil {
		return "", errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", fmt.Errorf("put the template in place: %w", err)
	}
	return dir, nil
}

func build(ctx context.Context, dir, bin string) error {
	cluster, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, BinDir: bin, Throwaway: true})
	if err != nil {
		return err
	}
	if _, err = migrate.Up(ctx, cluster.URL(pglocal.Owner, pglocal.Database)); err != nil {
		err = fmt.Errorf("migrate the template: %w", err)
	}
	return errors.Join(err, cluster.Stop(ctx))
}

// sweep removes what ended processes left. What cannot be removed now is left
// for the next: the cache only costs disk.
func (c cache) sweep(now time.Time) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		path, age := filepath.Join(c.dir, e.Name()), now.Sub(info.ModTime())
		switch {
		case strings.HasPrefix(e.Name(), "template-"):
			if age > keepTemplate {
				_ = os.RemoveAll(path)
			}
		case strings.HasPrefix(e.Name(), "run-"):
			if age > settling && (age > keepFailed || modified(filepath.Join(path, "kept")) == "") {
				removeIdle(path)
			}
		}
	}
}

// removeIdle removes a cluster's folder unless a process has its lock.
func removeIdle(dir string) {
	unlock, err := lock(filepath.Join(dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return // running
	}
	defer unlock()
	_ = os.RemoveAll(dir)
}

// lock takes a lock file; the returned function lets it go.
func lock(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a lock of the test cache: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the test cache: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing lets go; there is nothing written to lose
}

// modified is a file's time of change, "" where there is none.
func modified(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return info.ModTime().UTC().Format(time.RFC3339Nano)
}
