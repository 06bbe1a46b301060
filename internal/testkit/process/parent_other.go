//go:build !linux

package process

import "os/exec"

// Start starts a process; only Linux can tie it to this one.
func Start(cmd *exec.Cmd) error { return cmd.Start() }
