//go:build unix

// Package pgtest gives every test a private database in a real PostgreSQL:
// migrated, with the server's roles, cloned from a template in a few hundredths
// of a second, dropped when the test passes and kept when it fails.
//
// A test process has one cluster (package pglocal, fsync off), started by the
// first New from a copy of a cached, migrated one, and gone with the process.
// The cache lies below the user's cache folder and is keyed by server and
// migrations; any number of processes may use it at once. Nothing here is for
// use outside tests, and no test needs a server, a variable or a flag to be
// set: a machine without PostgreSQL and pgvector fails the test and says so.
package pgtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxvec "github.com/pgvector/pgvector-go/pgx"

	"cdsa.dev/cdsa/internal/pglocal"
)

// startLimit bounds making the cluster and its template, on a busy machine.
const startLimit = 3 * time.Minute

// DB is a database of one test.
type DB struct {
	Name string
	// Pool is what the server has: connections as cdsa_app, vector types known.
	Pool *pgxpool.Pool
	// Owner connects as cdsa_owner, which migrations run as.
	Owner *pgxpool.Pool
	// URL, OwnerURL and SuperuserURL are for programs under test and faults.
	URL, OwnerURL, SuperuserURL string
}

var databases atomic.Int64

// New returns a database with the migrations applied. It ends with the test.
func New(tb testing.TB) *DB {
	tb.Helper()
	return clone(tb, pglocal.Database)
}

// NewBare returns a database with the extensions and roles but no tables: for
// tests of the migrations themselves.
func NewBare(tb testing.TB) *DB {
	tb.Helper()
	return clone(tb, "template1")
}

func clone(tb testing.TB, template string) *DB {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := running(ctx)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	db := &DB{Name: databaseName(tb.Name(), databases.Add(1))}
	if err := s.clone(ctx, db.Name, template); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	db.URL = s.cluster.URL(pglocal.App, db.Name)
	db.OwnerURL = s.cluster.URL(pglocal.Owner, db.Name)
	db.SuperuserURL = s.cluster.URL(pglocal.Superuser, db.Name)
	db.Pool = pool(ctx, tb, db.URL)
	db.Owner = pool(ctx, tb, db.OwnerURL)
	tb.Cleanup(func() { db.end(tb, s) })
	return db
}

func pool(ctx context.Context, tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { return pgxvec.RegisterTypes(ctx, conn) }
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return p
}

// end closes the pools and drops the database, or keeps it when the test failed.
func (db *DB) end(tb testing.TB, s *server) {
	tb.Helper()
	for name, p := range map[string]*pgxpool.Pool{"Pool": db.Pool, "Owner": db.Owner} {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			p.Close()
		}()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			tb.Errorf("pgtest: a connection of %s was never returned (rows not closed, or a transaction left open)", name)
		}
	}
	if tb.Failed() {
		if err := s.keep(db.Name); err != nil {
			tb.Logf("pgtest: %v", err)
		}
		tb.Logf("pgtest: kept for a day: go run ./internal/pgtest/open %s, then psql with database %s", s.dir, db.Name)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.drop(ctx, db.Name); err != nil {
		tb.Errorf("pgtest: %v", err)
	}
}

var unsafeName = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName tells which test it is of, within PostgreSQL's 63 bytes.
func databaseName(test string, n int64) string {
	name := strings.Trim(unsafeName.ReplaceAllString(strings.ToLower(test), "_"), "_")
	return fmt.Sprintf("%.50s_%d", name, n)
}
