package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/testkit/process"
)

const (
	readyLimit = 90 * time.Second // initdb, migrations and seeding on a busy machine
	stopLimit  = 30 * time.Second
)

// server is the program in a process of its own. A test drives it from one goroutine at a time.
type server struct {
	url     string
	env     []string
	logFile string
	cmd     *exec.Cmd
	done    chan struct{} // closed when cmd has ended
}

// mails is the folder that the server, a developer's, writes mails to.
func (s *server) mails() string { return filepath.Join(filepath.Dir(s.logFile), "data", "mail") }

// startServer runs the program on a free port with a data folder of its own. env comes on top: with DATABASE_URL and
// NATS_URL it is a replica of others. The log is shown when the test fails, and never holds what is confidential.
func startServer(t *testing.T, env ...string) *server {
	t.Helper()
	dir := t.TempDir()
	addr := freeAddr(t)
	s := &server{url: "http://" + addr, logFile: filepath.Join(dir, "server.log")}
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "CDSA_LISTEN_ADDR=" + addr, "CDSA_DATA_DIR=" + filepath.Join(dir, "data"),
		"CDSA_ADMIN_EMAIL=" + adminEmail, "CDSA_ADMIN_PASSWORD=" + password,
	}, env...)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server did not stop cleanly: %v", err)
		}
		s.checkLog(t)
	})
	s.start(t)
	return s
}

// freeAddr finds a port that a restart can use again, so that clients reconnect to where they were.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	return ln.Addr().String()
}

// start runs the program on the same data and waits until it is ready.
func (s *server) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	s.cmd = exec.Command(binary)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, log, log
	begun := time.Now()
	require.NoError(t, process.Start(s.cmd))
	s.done = make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // its exit code stays in ProcessState
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		t.Fatalf("the server is not ready: %v", err)
	}
	t.Logf("ready after %.1f s", time.Since(begun).Seconds())
}

func (s *server) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %s", s.cmd.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// kill ends the process as a crash does.
func (s *server) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGKILL))
	<-s.done
}

// stop asks the process to end and waits for it. A server that was not running is stopped.
func (s *server) stop() error {
	if s.cmd == nil || s.done == nil {
		return nil
	}
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.done:
	case <-time.After(stopLimit):
		err := s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("it was still there after %s (kill: %v)", stopLimit, err)
	}
	if !s.cmd.ProcessState.Success() {
		return fmt.Errorf("it ended with %s", s.cmd.ProcessState)
	}
	return nil
}

// canaries are what the tests say, type and hold; none of it belongs into a log.
var canaries = []string{password, "not the password", "@example.org", "eyJ", question, toolBody, "of the lighthouse", "of the harbour", "cdsa_rs_", "cdsa_ev_", "cdsa_in_", "GNU GENERAL PUBLIC LICENSE", "panic:", "goroutine "}

func (s *server) checkLog(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(s.logFile)
	if err != nil {
		t.Errorf("read the server's log: %v", err)
		return
	}
	log := string(b)
	for _, canary := range canaries {
		if at := strings.Index(log, canary); at >= 0 {
			line := log[strings.LastIndex(log[:at], "\n")+1:]
			line, _, _ = strings.Cut(line, "\n")
			t.Errorf("the server's log has %q: %s", canary, line)
		}
	}
	if t.Failed() {
		t.Logf("end of the server's log:\n%s", log[max(0, len(log)-8000):])
	}
}
