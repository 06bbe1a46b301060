package hashproc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProcess_Apart looks at the child from outside, at work: no environment, no folder, a session of its own, pipes
// alone, and every thread nice.
func TestProcess_Apart(t *testing.T) {
	t.Setenv("CDSA_SIGNING_KEY", "secret")
	p, _ := process(t, "child-right")
	hashAll(t, p, 1, cheap, func() {}) // it has come up
	hashAll(t, p, 4, slow, func() {
		p.awaitUsing(t, 4)
		pid := p.pid()
		proc := filepath.Join("/proc", strconv.Itoa(pid))
		env, err := os.ReadFile(proc + "/environ")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("GOMAXPROCS=%d\x00", runtime.GOMAXPROCS(0)), string(env))
		args, err := os.ReadFile(proc + "/cmdline")
		require.NoError(t, err)
		require.Equal(t, "cdsa\x00child-right\x00", string(args))
		dir, err := os.Readlink(proc + "/cwd")
		require.NoError(t, err)
		require.Equal(t, "/", dir)
		stat, err := os.ReadFile(proc + "/stat")
		require.NoError(t, err)
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
		require.Equal(t, []string{strconv.Itoa(os.Getpid()), strconv.Itoa(pid), strconv.Itoa(pid)}, f[1:4], "parent, group, session")

		for _, fd := range []string{"0", "1", "2"} {
			to, err := os.Readlink(proc + "/fd/" + fd)
			require.NoError(t, err)
			require.Contains(t, to, "pipe:")
		}

		threads, err := os.ReadDir(proc + "/task")
		require.NoError(t, err)
		require.Greater(t, len(threads), 2)
		for _, th := range threads {
			id, err := strconv.Atoi(th.Name())
			require.NoError(t, err)
			n, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
			if err == syscall.ESRCH {
				continue
			}
			require.NoError(t, err)
			require.GreaterOrEqual(t, 20-n, niceness)
		}
		group, err := os.ReadFile(proc + "/autogroup")
		if err == nil && len(group) > 0 {
			require.Contains(t, string(group), fmt.Sprint("nice ", niceness))
		}
	})
}
