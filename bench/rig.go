//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/internal/pglocal"
)

// rig is the private database and the processes that are measured. Close ends all of them and removes the folder.
type rig struct {
	dir     string
	bin     string // the server's program
	cluster *pglocal.Cluster
	pgPID   int
	db      *pgxpool.Pool // as the owner of the tables
	server  *child
	floor   *child
	relay   *pgxpool.Conn // holds the relay's lock: the server's relay stands still
}

// child is a process that bench started.
type child struct {
	cmd  *exec.Cmd
	url  string
	done chan struct{}
	log  *tail
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func openRig(ctx context.Context, bin string) (*rig, error) {
	dir, err := os.MkdirTemp("", "cdsa-bench-")
	if err != nil {
		return nil, err
	}
	// The database may run as another account, which has to reach its folder.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // nothing is listed, only passed through
		return nil, err
	}
	r := &rig{dir: dir, bin: bin}
	if r.cluster, err = pglocal.Start(ctx, pglocal.Config{Dir: filepath.Join(dir, "postgres")}); err != nil {
		return nil, errors.Join(err, r.close(ctx))
	}
	b, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if err == nil {
		r.pgPID, err = strconv.Atoi(strings.SplitN(string(b), "\n", 2)[0])
	}
	if err == nil {
		r.db, err = pgxpool.New(ctx, r.cluster.URL(pglocal.Owner, pglocal.Database))
	}
	if err == nil {
		err = r.build(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.close(ctx))
	}
	return r, nil
}

func (r *rig) build(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(r.dir, "floor"), "./bench/floor").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the floor: %w\n%s", err, out)
	}
	return nil
}

func (r *rig) close(ctx context.Context) error {
	var errs []error
	for _, c := range []*child{r.server, r.floor} {
		if c != nil {
			errs = append(errs, c.stop())
		}
	}
	if r.relay != nil {
		r.relay.Release()
	}
	if r.db != nil {
		r.db.Close()
	}
	if r.cluster != nil {
		errs = append(errs, r.cluster.Stop(context.WithoutCancel(ctx)))
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// settings are the same for both: database and keys. The server does no background work but relaying events.
func (r *rig) settings(addr string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir, "TZ=UTC", "CDSA_LISTEN_ADDR=" + addr, "CDSA_DATA_DIR=" + filepath.Join(r.dir, "data"),
		"DATABASE_URL=" + r.cluster.URL(pglocal.App, pglocal.Database), "CDSA_MIGRATE_URL=" + r.cluster.URL(pglocal.Owner, pglocal.Database),
		"CDSA_WORKERS=false", "CDSA_LOG_LEVEL=warn", "CDSA_PPROF=true",
		"CDSA_RATE_POINTS=1000000000", "CDSA_RATE_REFILL=1000000000",
	}
}

func (r *rig) startServer(ctx context.Context) (err error) {
	r.server, err = r.start(ctx, r.bin, "serve")
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	return r.server.ready(ctx, r.server.url+"/livez")
}

func (r *rig) startFloor(ctx context.Context) (err error) {
	r.floor, err = r.start(ctx, filepath.Join(r.dir, "floor"))
	if err != nil {
		return fmt.Errorf("start the floor: %w", err)
	}
	return r.floor.ready(ctx, r.floor.url+"/")
}

func (r *rig) start(_ context.Context, program string, args ...string) (*child, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program, args...), url: "http://" + addr, done: make(chan struct{}), log: &tail{}}
	c.cmd.Env, c.cmd.Dir = r.settings(addr), r.dir
	c.cmd.Stdout, c.cmd.Stderr = io.Discard, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is told by its log
		close(c.done)
	}()
	return c, nil
}

// ready waits until the process answers anything at all.
func (c *child) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			return res.Body.Close()
		}
		select {
		case <-c.done:
			return fmt.Errorf("it ended: %s", c.log)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w; it said: %s", ctx.Err(), c.log)
		case <-t.C:
		}
	}
}

func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("a process did not stop and was killed"), c.cmd.Process.Kill())
	}
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// tail keeps the end of what a process says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, p...); len(t.b) > tailSize {
		t.b = append([]byte{}, t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// relayLock is package event's: whoever holds it is the relay.
const relayLock int64 = 0x4e5fdbd03e978122

// holdRelay keeps the server that is started next from relaying events until letRelay.
func (r *rig) holdRelay(ctx context.Context) (err error) {
	if r.relay, err = r.db.Acquire(ctx); err != nil {
		return err
	}
	_, err = r.relay.Exec(ctx, `SELECT pg_advisory_lock($1)`, relayLock)
	return err
}

func (r *rig) letRelay(ctx context.Context) error {
	defer r.relay.Release()
	var held bool
	err := r.relay.QueryRow(ctx, `SELECT pg_advisory_unlock($1)`, relayLock).Scan(&held)
	r.relay = nil
	if err == nil && !held {
		err = errors.New("the relay's lock was not held")
	}
	if err != nil {
		return err
	}
	return r.relayedAll(ctx)
}

// statements counts what the server sends to the database while do runs, by the database's own log.
func (r *rig) statements(ctx context.Context, do func() error) (int, error) {
	super, err := pgxpool.New(ctx, r.cluster.URL(pglocal.Superuser, pglocal.Database))
	if err != nil {
		return 0, err
	}
	defer super.Close()
	set := func(v string) error {
		if _, err := super.Exec(ctx, "ALTER SYSTEM SET log_statement = "+v); err != nil {
			return err
		}
		if _, err := super.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
			return err
		}
		return pause(ctx, 500*time.Millisecond) // backends see it before their next command
	}
	path := filepath.Join(r.dir, "postgres", "postgres.log")
	size := func() (int64, error) {
		i, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		return i.Size(), nil
	}
	if err := set("'all'"); err != nil {
		return 0, err
	}
	from, err := size()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	to, err := size()
	if err != nil {
		return 0, err
	}
	if err := set("'none'"); err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	n := 0
	lines := bufio.NewScanner(io.NewSectionReader(f, from, to-from))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := lines.Text()
		// The relay polls the outbox all the time; all else is the requests'.
		if (strings.Contains(l, "execute ") || strings.Contains(l, "statement: ")) && !strings.Contains(l, "outbox") && !strings.Contains(l, "pg_advisory") {
			n++
		}
	}
	return n, lines.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
