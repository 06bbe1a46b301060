package hashproc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lowerPriority makes all threads nice: Linux has no priorities of processes. New threads inherit; one that was being
// made meanwhile is found by another look.
func lowerPriority() error {
	for again := true; again; {
		again = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("thread %q: %w", t.Name(), err)
			}
			was, err := syscall.Getpriority(syscall.PRIO_PROCESS, id) // 20 less the niceness
			if err == nil && 20-was < niceness {
				again = true
				err = syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness)
			}
			if err != nil && !errors.Is(err, syscall.ESRCH) { // that one has ended
				return err
			}
		}
	}
	// Where the kernel groups by sessions, niceness counts within a group alone, and the group has its own. Most machines
	// of services have no such file, or forbid it.
	_ = os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
	return nil
}
