// Command gendoc writes docs/errors.md from the table of codes. Run from the repository's root.
package main

import (
	"fmt"
	"os"
	"strings"

	"cdsa.dev/cdsa/internal/errs"
)

func main() {
	var b strings.Builder
	b.WriteString("# Errors\n\nGenerated from `internal/errs`. Every error has `message`, a sentence for a person, and `extensions.code`; `extensions.requestId` finds it in the server's log.\n\n| code | meaning |\n|---|---|\n")
	for _, r := range errs.Table {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Code, r.Meaning)
	}
	b.WriteString("\nThe protocol's own: `GRAPHQL_PARSE_FAILED` and `GRAPHQL_VALIDATION_FAILED` for documents that are not valid, `PERSISTED_QUERY_NOT_FOUND` for an unknown persisted query.\n")
	if err := os.WriteFile("docs/errors.md", []byte(b.String()), 0o644); err != nil { //nolint:gosec // a public document
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}
