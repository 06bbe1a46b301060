//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/internal/pglocal"
)

// server is the cluster of this process.
type server struct {
	cluster *pglocal.Cluster
	dir     string
	admin   *pgxpool.Pool // superuser, on the database postgres
	keeping sync.Mutex
}

var (
	mu      sync.Mutex
	current *server
	failed  error // of the first start: every later test says the same at once
)

func running(ctx context.Context) (*server, error) {
	mu.Lock()
	defer mu.Unlock()
	if current == nil && failed == nil {
		current, failed = launch(ctx)
	}
	return current, failed
}

func launch(ctx context.Context) (*server, error) {
	bin, err := pglocal.FindBin()
	if err != nil {
		return nil, err
	}
	cache, err := openCache()
	if err != nil {
		return nil, err
	}
	template, err := cache.template(ctx, bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cache.dir, "run-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the test's cluster: %w", err)
	}
	cluster, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, BinDir: bin, Throwaway: true, CopyFrom: template})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	admin, err := pgxpool.New(ctx, cluster.URL(pglocal.Superuser, "postgres"))
	if err != nil {
		return nil, errors.Join(err, cluster.Stop(ctx))
	}
	return &server{cluster: cluster, dir: dir, admin: admin}, nil
}

// Close stops this process's cluster and removes its files, unless a test left
// a database in it. Only a TestMain that looks for leaked goroutines needs it:
// the cluster ends with the process anyway, and the next one clears up.
func Close(ctx context.Context) error {
	mu.Lock()
	defer mu.Unlock()
	s := current
	current = nil
	if s == nil {
		return nil
	}
	s.admin.Close()
	if err := s.cluster.Stop(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(s.keptFile()); err == nil {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (s *server) clone(ctx context.Context, name, template string) error {
	// A copy of files is the fastest where nothing is synced to disk.
	sql := fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s STRATEGY file_copy",
		pgx.Identifier{name}.Sanitize(), pgx.Identifier{template}.Sanitize(), pglocal.Owner)
	conn, err := s.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect as superuser: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("clone the template: %w", err)
	}
	return pglocal.Grant(ctx, conn.Conn(), name)
}

func (s *server) drop(ctx context.Context, name string) error {
	_, err := s.admin.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	if err != nil {
		return fmt.Errorf("drop the database of the test: %w", err)
	}
	return nil
}

func (s *server) keptFile() string { return filepath.Join(s.dir, "kept") }

// keep notes a database that a failed test leaves for a person to look at.
func (s *server) keep(name string) (err error) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	f, err := os.OpenFile(s.keptFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(name + "\n")
	return err
}
