package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// childAttr: a process group of its own (Ctrl-C is ours to handle) and a fast
// shutdown when this process dies, kill -9 included.
func childAttr(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true, Pdeathsig: syscall.SIGINT}
}

// places are the data and socket folders: open, as postgres names them, and
// as a client dials them.
type places struct {
	files              []*os.File
	data, socket, dial string
}

// maxSocketPath is sun_path of unix(7) without its closing zero.
const maxSocketPath = 107

// openPlaces opens both. A child finds its ExtraFiles from descriptor 3 on.
func openPlaces(data, socket, _ string) (places, error) {
	p := places{data: "/proc/self/fd/3", socket: "/proc/self/fd/4", dial: socket}
	for _, dir := range []string{data, socket} {
		f, err := os.Open(dir)
		if err != nil {
			return places{}, errors.Join(fmt.Errorf("open the database folder: %w", err), p.close())
		}
		p.files = append(p.files, f)
	}
	if len(socket)+len("/.s.PGSQL.5432") > maxSocketPath || !dialable(socket) {
		p.dial = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.files[1].Fd())
	}
	return p, nil
}

func (p places) close() error {
	var err error
	for _, f := range p.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// stopOrphan ends a postgres that survived its program: one that
// postmaster.pid names and that works in this very folder.
func stopOrphan(ctx context.Context, _, data string) error {
	pid, err := leftPid(data)
	if err != nil || pid == 0 {
		return err
	}
	here, err := os.Stat(data)
	if err != nil {
		return fmt.Errorf("database folder: %w", err)
	}
	cwd := filepath.Join("/proc", strconv.Itoa(pid), "cwd")
	alive := func() bool { // false too for a zombie, and for another's process that has the number now
		there, err := os.Stat(cwd)
		return err == nil && os.SameFile(here, there)
	}
	if !alive() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the database an earlier run left: %w", err)
	}
	return awaitGone(ctx, pid, 30*time.Second, alive)
}
