// Command train makes the local embedding model; run.sh calls its two steps around fastText. It is not part of
// the server. Its input is a WordNet 3.0 database directory and a directory of HTML documentation, both from
// Debian packages; see ../MODEL.md.
//
//	train corpus WORDNET HTML > corpus.txt
//	train pack   WORDNET corpus.txt words.vec local.bin
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "corpus" {
		return corpus(os.Stdout, args[1], args[2]) //nolint:gosec // G602: the length is checked above
	}
	if len(args) == 5 && args[0] == "pack" {
		return pack(args[1], args[2], args[3], args[4]) //nolint:gosec // G602: the length is checked above
	}
	return fmt.Errorf("want: corpus WORDNET HTML, or pack WORDNET corpus.txt words.vec local.bin")
}
