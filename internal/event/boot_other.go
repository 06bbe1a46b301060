//go:build !linux && !darwin

package event

// bootID is unknown here: after an unclean stop the stream starts afresh.
func bootID() string { return "" }
