//go:build !linux

package auth

// aside runs f. Elsewhere than on Linux threads have no priorities of their own.
func aside(f func()) { f() }
