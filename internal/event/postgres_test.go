package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cluster is one private Postgres for the tests of this package, on a unix socket, started by the first that needs it.
type cluster struct {
	once sync.Once
	dir  string
	cmd  *exec.Cmd
	err  error
	next atomic.Int64
}

var pg cluster

func TestMain(m *testing.M) {
	if mode := os.Getenv("EVENT_TEST_CHILD"); mode != "" {
		child(mode)
		return
	}
	code := m.Run()
	pg.stop()
	os.Exit(code)
}

// unprivileged is whom Postgres runs as when the tests run as root, which it refuses.
func unprivileged() (*syscall.SysProcAttr, int, int, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, os.Getuid(), os.Getgid(), nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, 0, 0, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, uid, gid, errors.Join(err1, err2)
}

func pgBinary(name string) (string, error) {
	if found, err := filepath.Glob(filepath.Join("/usr/lib/postgresql", "*", "bin", name)); err == nil && len(found) > 0 {
		slices.Sort(found)
		return found[len(found)-1], nil
	}
	return exec.LookPath(name)
}

func (c *cluster) start() error {
	attr, uid, gid, err := unprivileged()
	if err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "event-pg"); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(c.dir, 0o755), os.Chown(c.dir, uid, gid)); err != nil {
		return err
	}
	initdb, err := pgBinary("initdb")
	if err != nil {
		return err
	}
	data := filepath.Join(c.dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "test", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	cmd.SysProcAttr, cmd.Dir = attr, c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return c.postgres(attr)
}

func (c *cluster) postgres(attr *syscall.SysProcAttr) error {
	bin, err := pgBinary("postgres")
	if err != nil {
		return err
	}
	c.cmd = exec.Command(bin, "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=60")
	var out bytes.Buffer
	c.cmd.SysProcAttr, c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = attr, c.dir, &out, &out
	if err := c.cmd.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			err = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("postgres does not answer: %w", err), c.cmd.Process.Kill(), c.cmd.Wait(), errors.New(out.String()))
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (c *cluster) stop() {
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Signal(syscall.SIGINT)
		_ = c.cmd.Wait()
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

func (c *cluster) url(db string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=test", db, url.QueryEscape(c.dir))
}

// newPool gives a database with an empty outbox.
func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pg.once.Do(func() { pg.err = pg.start() })
	if pg.err != nil {
		t.Fatalf("no Postgres for the test: %v", pg.err)
	}
	admin, err := pgx.Connect(t.Context(), pg.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("event_%d", pg.next.Add(1))
	_, err = admin.Exec(t.Context(), "CREATE DATABASE "+name)
	if err := errors.Join(err, admin.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), pg.url(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), OutboxDDL); err != nil {
		t.Fatal(err)
	}
	return pool
}
