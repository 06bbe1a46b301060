//go:build !linux

// Bench measures CPU time by /proc.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: needs Linux: it reads CPU time from /proc")
	os.Exit(2)
}
