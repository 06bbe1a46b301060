// Package process runs other programs for tests, as processes that do not outlive them. It is for tests alone.
package process

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	buildLimit  = 15 * time.Minute // of a cold cache on a busy machine
	listenLimit = 30 * time.Second
)

// NATS is a nats-server with JetStream, of the version that go.mod names. A test drives it from one goroutine.
type NATS struct {
	URL string

	address string
	bin     string
	dir     string
	cmd     *exec.Cmd // nil: killed
}

// StartNATS builds it and runs it on a free port until the test ends.
func StartNATS(tb testing.TB) *NATS {
	tb.Helper()
	n := &NATS{dir: tb.TempDir()}
	n.bin = filepath.Join(n.dir, "nats-server")
	ctx, cancel := context.WithTimeout(tb.Context(), buildLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", n.bin, "github.com/nats-io/nats-server/v2").CombinedOutput()
	require.NoError(tb, err, "%s", out)
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	n.address = ln.Addr().String()
	n.URL = "nats://" + n.address
	require.NoError(tb, ln.Close())
	tb.Cleanup(func() { n.Kill() })
	n.Start(tb)
	return n
}

// Start runs it, again on the same port and with what it had stored.
func (n *NATS) Start(tb testing.TB) {
	tb.Helper()
	host, port, err := net.SplitHostPort(n.address)
	require.NoError(tb, err)
	log, err := os.OpenFile(filepath.Join(n.dir, "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, log.Close()) }()
	cmd := exec.Command(n.bin, "-a", host, "-p", port, "-js", "-sd", filepath.Join(n.dir, "store")) //nolint:noctx // Kill ends it
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(tb, Start(cmd))
	n.cmd = cmd
	require.Eventually(tb, func() bool {
		c, err := net.DialTimeout("tcp", n.address, time.Second) //nolint:noctx // bounded
		return err == nil && c.Close() == nil
	}, listenLimit, 20*time.Millisecond, "nats-server does not listen")
}

// Kill ends the process as a crash does.
func (n *NATS) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended; its exit code is of no interest
	_ = n.cmd.Wait()
	n.cmd = nil
}
