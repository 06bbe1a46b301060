// Command gendoc writes docs/config.md. Run it from the repository root.
package main

import (
	"bytes"
	"fmt"
	"os"

	"cdsa.dev/cdsa/internal/config"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var b bytes.Buffer
	if err := config.WriteDoc(&b); err != nil {
		return err
	}
	if err := os.MkdirAll("docs", 0o755); err != nil { //nolint:gosec // a folder for everyone
		return err
	}
	return os.WriteFile("docs/config.md", b.Bytes(), 0o644) //nolint:gosec // a page for everyone
}
