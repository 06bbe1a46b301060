//go:build !linux

package e2e

import "os/exec"

// startWithParent starts a process; only Linux can tie it to this one.
func startWithParent(cmd *exec.Cmd) error { return cmd.Start() }
