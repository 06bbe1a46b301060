package auth

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAside(t *testing.T) {
	nice := func() int {
		n, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0) // the system call gives 20 less the niceness
		require.NoError(t, err)
		return 20 - n
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own := nice()
	var within int
	aside(func() { within = nice() })
	require.Equal(t, max(own, asideNice), within)
	require.Equal(t, own, nice(), "the caller's own thread stays as it is")
	require.PanicsWithValue(t, "a fault", func() { aside(func() { panic("a fault") }) })
}
