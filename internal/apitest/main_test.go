//go:build unix

// Package apitest holds the whole API together: the real server on a real database, called as its clients call it, by
// everyone who may call it. It counts: every operation of the schema has a row in each table here, or a test fails.
//
// Tests share one server (shared) unless they break something. What all of them must never see is watched in one
// place: an error that shows the machinery fails the test that got it, and a log with a password, a token or an
// address fails the package.
package apitest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden tables from what the server does now")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	p := &packageTB{}
	defer p.end()
	shared = sync.OnceValue(func() *world { return newWorld(p, startServer(p)) })
	code := m.Run()
	p.failed = p.failed || code != 0
	p.end()
	if code == 0 && p.failed {
		return 1
	}
	return code
}

// shared is the server of the package and who and what there is on it.
var shared func() *world

// packageTB is what outlives single tests: it ends with the package.
type packageTB struct {
	testing.TB // nil: only what is below is used
	mu         sync.Mutex
	cleanups   []func()
	failed     bool
}

func (p *packageTB) Helper()                           {}
func (p *packageTB) Name() string                      { return "TestAPI" }
func (p *packageTB) Failed() bool                      { return p.failed }
func (p *packageTB) Context() context.Context          { return context.Background() }
func (p *packageTB) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (p *packageTB) Errorf(format string, args ...any) { p.failed = true; p.Logf(format, args...) }
func (p *packageTB) FailNow()                          { p.failed = true; panic("the shared server cannot be started") }
func (p *packageTB) Fatalf(format string, args ...any) { p.Errorf(format, args...); p.FailNow() }

func (p *packageTB) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

func (p *packageTB) TempDir() string {
	dir, err := os.MkdirTemp("", "apitest")
	if err != nil {
		p.Fatalf("%v", err)
	}
	p.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			p.Errorf("%v", err)
		}
	})
	return dir
}

func (p *packageTB) end() {
	for len(p.cleanups) > 0 {
		last := p.cleanups[len(p.cleanups)-1]
		p.cleanups = p.cleanups[:len(p.cleanups)-1]
		last()
	}
}
