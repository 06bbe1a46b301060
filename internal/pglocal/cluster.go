//go:build unix

package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What every cluster holds. The names are part of the migrations' grants.
const (
	Superuser = "cdsa_root"
	Owner     = "cdsa_owner"
	App       = "cdsa_app"
	Database  = "cdsa"
)

// ErrInUse tells that another process runs the cluster of this folder.
var ErrInUse = errors.New("another process runs the database of this folder: stop it, or choose another folder with CDSA_DATA_DIR")

// Config says where and how. Only Dir is required.
type Config struct {
	// Dir holds the cluster: data/, socket/, postgres.log and lock. Created if
	// absent, with mode 0700.
	Dir string
	// BinDir is the folder of initdb and postgres; empty: FindBin.
	BinDir string
	// Logger receives start, stop and recovery, never SQL. Nil: discarded.
	Logger *slog.Logger
	// Throwaway trades all durability for speed: for tests, never for data.
	Throwaway bool
	// CopyFrom is the Dir of a stopped cluster that a new one starts as a copy of.
	CopyFrom string
}

// Cluster is a running server. It ends with Stop, or with this process.
type Cluster struct {
	cfg    Config
	log    *slog.Logger
	cred   *syscall.Credential
	lock   *os.File
	places places
	proc   *process
	stop   sync.Once
	err    error // of Stop
}

// Start brings up the cluster of cfg.Dir, creating it the first time, and
// returns when it answers: in about 0.1 s when it was stopped cleanly, 2 s the
// first time, and after a crash when PostgreSQL has replayed its log. ctx
// bounds the start alone. Fails with ErrInUse, ErrNoServer, or an error that
// ends with what postgres said.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	begun := time.Now()
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.release())
	}
	recovered, err := c.launch(ctx)
	if err != nil {
		return nil, errors.Join(err, c.release())
	}
	if err := c.bootstrap(ctx); err != nil {
		return nil, errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
	}
	c.log.Info("database started", "took", time.Since(begun).Round(time.Millisecond), "recovered", recovered)
	return c, nil
}

// prepare takes the folder and makes sure that data/ is a whole cluster.
func (c *Cluster) prepare(ctx context.Context) error {
	dir, err := filepath.Abs(c.cfg.Dir)
	if err != nil {
		return fmt.Errorf("database folder: %w", err)
	}
	c.cfg.Dir = dir
	if c.cfg.BinDir == "" {
		if c.cfg.BinDir, err = FindBin(); err != nil {
			return err
		}
	}
	cred, mine, err := account(dir)
	if err != nil {
		return err
	}
	c.cred = cred
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the database folder: %w", err)
	}
	if c.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return err
	}
	if mine {
		if err := errors.Join(chown(dir, cred), chown(c.lock.Name(), cred)); err != nil {
			return fmt.Errorf("give the database folder to its owner: %w", err)
		}
	}
	if err := private(c.path("socket"), cred); err != nil {
		return fmt.Errorf("make the socket folder: %w", err)
	}
	if exists(c.path("data")) {
		return nil
	}
	return c.create(ctx)
}

func (c *Cluster) path(name string) string { return filepath.Join(c.cfg.Dir, name) }

// lockFile takes the lock of a folder for as long as the file is open.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// URL is the connection string of a role and database: for pgx, psql and, on
// this machine, any process of the same account. It holds no secret.
func (c *Cluster) URL(role, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + database}
	u.RawQuery = url.Values{"host": {c.places.dial}, "port": {"5432"}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// dialable says whether a socket folder can stand in a connection string: a
// comma parts two hosts, and a space becomes a plus sign that libpq and pgx
// do not read back.
func dialable(path string) bool { return !strings.ContainsAny(path, " ,") }

// Done is closed when postgres has ended, asked or not.
func (c *Cluster) Done() <-chan struct{} { return c.proc.done }

// Stop ends the cluster: open transactions are rolled back, committed ones are
// on disk. When ctx ends first postgres is made to abort, which the next Start
// recovers from. Safe to repeat.
func (c *Cluster) Stop(ctx context.Context) error {
	c.stop.Do(func() {
		begun := time.Now()
		c.err = errors.Join(c.proc.end(ctx), c.release())
		c.log.Info("database stopped", "took", time.Since(begun).Round(time.Millisecond))
	})
	return c.err
}

func (c *Cluster) release() error {
	err := c.places.close()
	if c.lock != nil {
		err = errors.Join(err, c.lock.Close())
	}
	return err
}

// copyTree copies the files of a stopped cluster, for the account alone.
func copyTree(from, to string, cred *syscall.Credential) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return private(target, cred)
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a plain file", rel)
		}
		return errors.Join(copyFile(path, target), chown(target, cred))
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
