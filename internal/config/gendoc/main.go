// Command gendoc writes docs/config.md. Run it from the repository root.
package main

import (
	"bytes"
	"log"
	"os"

	"cdsa.dev/cdsa/internal/config"
)

func main() {
	var b bytes.Buffer
	if err := config.WriteDoc(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.MkdirAll("docs", 0o750); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("docs/config.md", b.Bytes(), 0o644); err != nil { //nolint:gosec // a page for everyone
		log.Fatal(err)
	}
}
