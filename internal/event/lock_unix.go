//go:build unix

package event

import (
	"os"
	"syscall"
)

// flock takes the file without waiting; the lock dies with the process.
func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
