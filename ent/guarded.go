package ent

import (
	"slices"

	"cdsa.dev/cdsa/ent/document"
)

// lightDocumentColumns is all of a document but its text and bytes: what a derived field needs at most.
var lightDocumentColumns = slices.DeleteFunc(slices.Clone(document.Columns), func(c string) bool {
	return c == document.FieldContent || c == document.FieldOriginal
})

// readDocumentColumns is all of a document but its bytes.
var readDocumentColumns = append(slices.Clone(lightDocumentColumns), document.FieldContent)

// distinct names each column once: a guard may be selected as well, and a page within a page fails on a column it has twice.
func distinct(columns []string) []string {
	out := make([]string, 0, len(columns))
	for _, c := range columns {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
