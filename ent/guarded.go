package ent

import (
	"slices"

	"cdsa.dev/cdsa/ent/document"
)

// lightDocumentColumns is all of a document but its text and bytes: what a derived field needs at most.
var lightDocumentColumns = slices.DeleteFunc(slices.Clone(document.Columns), func(c string) bool {
	return c == document.FieldContent || c == document.FieldOriginal
})
