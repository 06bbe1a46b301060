//go:build !linux

package hashproc

import "syscall"

// lowerPriority makes the process nice. It can only fail where it is nicer already.
func lowerPriority() error {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
	return nil
}
