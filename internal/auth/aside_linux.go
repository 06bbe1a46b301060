package auth

import (
	"runtime"
	"syscall"
)

// asideNice is the niceness of the thread: against others it has a tenth of a share of a CPU, and all of one
// that nobody else wants.
const asideNice = 10

// aside runs f on a thread of low priority and waits for it: many who choose passwords take what queries leave. It can do
// nothing for argon2id, which works in goroutines of its own: hashproc does.
func aside(f func()) {
	done := make(chan any, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, so that nothing else runs on it
		defer func() { done <- recover() }()
		// Of this thread alone: Linux has no priorities of processes. It can only fail where nothing is worse for it.
		if was, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil && 20-was < asideNice { // 20 less the niceness
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, asideNice)
		}
		f()
	}()
	if v := <-done; v != nil {
		panic(v)
	}
}
