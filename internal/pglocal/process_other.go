//go:build unix && !linux

package pglocal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childAttr: a process group of its own, so that Ctrl-C is ours to handle.
// There is no parent-death signal here: the next Start stops what was left.
func childAttr(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred, Setpgid: true}
}

// places are the data and socket folders, as postgres and clients name them.
type places struct {
	files              []*os.File
	data, socket, dial string
}

// maxSocketPath is sun_path of unix(4) on BSDs without its closing zero.
const maxSocketPath = 103

// openPlaces moves the socket to a short private folder under the temporary
// one where its own path is too long or not dialable.
func openPlaces(data, socket, dir string) (places, error) {
	if len(socket)+len("/.s.PGSQL.5432.lock") > maxSocketPath || !dialable(socket) {
		sum := sha256.Sum256([]byte(dir))
		socket = filepath.Join(os.TempDir(), "cdsa-"+hex.EncodeToString(sum[:6]))
		if err := os.MkdirAll(socket, 0o700); err != nil {
			return places{}, fmt.Errorf("make the socket folder: %w", err)
		}
		info, err := os.Lstat(socket)
		if err != nil {
			return places{}, fmt.Errorf("socket folder: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(st.Uid) != os.Getuid() {
			return places{}, fmt.Errorf("%s is not a private folder of ours: remove it, or choose a shorter CDSA_DATA_DIR", socket)
		}
	}
	return places{data: data, socket: socket, dial: socket}, nil
}

func (p places) close() error { return nil }

// stopOrphan ends a postgres that survived its program: one that
// postmaster.pid names and whose arguments name this folder.
func stopOrphan(ctx context.Context, _, data string) error {
	pid, err := leftPid(data)
	if err != nil || pid == 0 {
		return err
	}
	alive := func() bool { // false too for another's process that has the number now
		out, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
		return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), data)
	}
	if !alive() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the database an earlier run left: %w", err)
	}
	return awaitGone(ctx, pid, 30*time.Second, alive)
}
