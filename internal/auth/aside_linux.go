package auth

import (
	"runtime"
	"syscall"
)

// hashNice is the niceness of a thread that hashes: against others it has a tenth of a share of a CPU, and all of one
// that nobody else wants.
const hashNice = 10

// aside runs f on a thread of low priority and waits for it: a login storm takes what queries leave.
func aside(f func()) {
	done := make(chan any, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, so that nothing else runs on it
		defer func() { done <- recover() }()
		// Of this thread alone: Linux has no priorities of processes. It can only fail where nothing is worse for it.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, hashNice)
		f()
	}()
	if v := <-done; v != nil {
		panic(v)
	}
}
