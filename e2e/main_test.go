// Package e2e starts the program as it is shipped and does the main job with the clients people use: Apollo Client,
// graphql-ws, graphql-sse, a browser. Everything is real: processes, sockets, PostgreSQL, NATS; only kill -9 is ours.
//
// The programs of clients/ make the assertions; Go starts and kills servers, and answers what a program asks of it.
// Nothing here skips: a machine without Node, npm or Chromium fails and says what to install. Tests talk to loopback.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cdsa.dev/cdsa/internal/pgtest"
)

const (
	password   = "correct horse e2e staple"
	adminEmail = "admin@example.org"
	slowly     = "CDSA_LLM_OFFLINE_DELAY=50ms"
	buildLimit = 15 * time.Minute // of a cold cache on a busy machine
)

// binary is the built program.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "cdsa-e2e-")
	if err != nil {
		return broken(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil && code == 0 {
			code = broken(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	if err := prepare(ctx, dir); err != nil {
		return broken(err)
	}
	code = m.Run()
	if err := pgtest.Close(context.Background()); err != nil && code == 0 {
		code = broken(err)
	}
	return code
}

func broken(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// prepare brings the clients' packages, the playground's bundle and the program up to date.
func prepare(ctx context.Context, dir string) error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is not on PATH: these tests run real web clients. Install Node 20 or newer with npm, or run make test, which finds it", name)
		}
	}
	binary = filepath.Join(dir, "cdsa")
	for _, args := range [][]string{
		{"scripts/npm.sh", "e2e/clients"},
		{"scripts/web.sh"},
		{"go", "build", "-buildvcs=false", "-o", binary, "."}, // with the flags of `go test`: its compiled packages are at hand
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
