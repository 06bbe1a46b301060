package process

import (
	"os/exec"
	"runtime"
	"syscall"
)

var starts = make(chan func())

// The thread that starts servers lives as long as the tests do: the kernel's signal to orphans is tied to it.
func init() {
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
}

// Start starts a process that does not outlive this one, however it ends.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	result := make(chan error)
	starts <- func() { result <- cmd.Start() }
	return <-result
}
