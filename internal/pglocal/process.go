//go:build unix

package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// retryFor bounds the wait for the remains of a cluster that was killed: its
// backends hold the shared memory for about two seconds more.
const retryFor = 10 * time.Second

// maxLog is the size in bytes at which postgres.log starts afresh.
const maxLog = 8 << 20

// process is a child whose end is known by a closed channel.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// spawn starts cmd from a thread that lives as long as the child: the
// parent-death signal is sent when the thread that forked ends.
func spawn(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// end asks for a fast shutdown (SIGINT), then for an immediate one (SIGQUIT).
func (p *process) end(ctx context.Context) error {
	p.signal(syscall.SIGINT)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(6 * time.Second): // postgres itself kills its backends after 5 s
		p.signal(syscall.SIGKILL)
		<-p.done
	}
	return fmt.Errorf("the database was stopped hard: %w", context.Cause(ctx))
}

func (p *process) signal(s os.Signal) {
	// The only failure is that the process has ended, which done tells.
	_ = p.cmd.Process.Signal(s)
}

// command is a program of the server, without our environment (it holds secrets).
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.cfg.BinDir, name), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=" + locale()}
	if lib := libraryPath(c.cfg.BinDir); lib != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib)
	}
	cmd.SysProcAttr = childAttr(c.cred)
	return cmd
}

// launch starts postgres and returns when it is ready. recovered tells that
// the remains of a killed program were found.
func (c *Cluster) launch(ctx context.Context) (recovered bool, err error) {
	if c.places, err = openPlaces(c.path("data"), c.path("socket"), c.cfg.Dir); err != nil {
		return false, err
	}
	log, err := c.openLog()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the child has its own
	recovered = exists(c.path("data/postmaster.pid"))
	for deadline := time.Now().Add(retryFor); ; {
		if err := stopOrphan(ctx, c.cfg.BinDir, c.path("data")); err != nil {
			return recovered, err
		}
		said, err := log.Seek(0, io.SeekEnd)
		if err != nil {
			return recovered, fmt.Errorf("database log: %w", err)
		}
		err = c.attempt(ctx, log)
		if err == nil {
			return recovered, nil
		}
		reason := lastWords(log.Name(), said)
		if !occupied(reason) || time.Now().After(deadline) || ctx.Err() != nil {
			return recovered, fmt.Errorf("the database did not start: %w: %s", err, reason)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return recovered, err
		}
	}
}

// attempt starts postgres once and waits until it is ready or has ended.
func (c *Cluster) attempt(ctx context.Context, log *os.File) error {
	cmd := c.command(context.WithoutCancel(ctx), "postgres", c.settings()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = c.places.files
	proc, err := spawn(cmd)
	if err != nil {
		return err
	}
	for {
		if ready(c.path("data/postmaster.pid"), proc.cmd.Process.Pid) {
			c.proc = proc
			return nil
		}
		select {
		case <-proc.done:
			return exited(proc.err)
		case <-ctx.Done():
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return errors.Join(context.Cause(ctx), proc.end(stopCtx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// exited names the unusual: a postgres that ends at once and says it went well.
func exited(err error) error {
	if err == nil {
		return errors.New("postgres ended at once")
	}
	return err
}

// ready tells whether line 8 of postmaster.pid says so, for that process. A
// dial would succeed too early, while the log is still replayed.
func ready(pidFile string, pid int) bool {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return false // not yet written
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

// leftPid is the process a postmaster.pid names, 0 where there is none.
func leftPid(data string) (int, error) {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read postmaster.pid: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 2 {
		return 0, nil // half written: postgres judges it
	}
	return pid, nil
}

// occupied tells that postgres refused because of what an earlier one left.
func occupied(reason string) bool {
	return strings.Contains(reason, "already exists") || strings.Contains(reason, "shared memory block")
}

// lastWords is what postgres logged after offset: the end, in one line. At a
// start that is about files and settings, never about data.
func lastWords(path string, offset int64) string {
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) <= offset {
		return "it said nothing"
	}
	b = b[offset:]
	if len(b) > 600 {
		b = b[len(b)-600:]
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

func (c *Cluster) openLog() (*os.File, error) {
	path := c.path("postgres.log")
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the database log: %w", err)
	}
	return f, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// awaitGone waits until there is no such process any more.
func awaitGone(ctx context.Context, pid int, limit time.Duration, alive func() bool) error {
	for deadline := time.Now().Add(limit); alive(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d, a database left by an earlier run, does not stop: end it and start again", pid)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
