package event

import "syscall"

// bootID names this start of the machine, empty when unknown.
func bootID() string {
	s, err := syscall.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return s
}
