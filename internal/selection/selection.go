// Package selection finds what fields an operation selects on an object, for look-ahead: once for a document, not once
// for each of the operations that send it.
//
// What it gives is what graphql.CollectFields gives, is shared between operations and must not be changed. Everything
// here is safe for concurrent use.
package selection

import (
	"slices"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Memo remembers the selections of one document. It lives as long as the document, and grows with its fields.
type Memo struct{ found sync.Map }

// NewMemo makes the memo of a document; nil, which remembers nothing, for one with directives, whose selections depend on
// variables.
func NewMemo(text string) *Memo {
	if strings.Contains(text, "@") {
		return nil
	}
	return &Memo{}
}

const extension = "Selection"

// Set gives an operation its document's memo.
func Set(op *graphql.OperationContext, m *Memo) {
	if m != nil {
		op.Stats.SetExtension(extension, m)
	}
}

// place is a field's selection on one type of object.
type place struct {
	field *ast.Field
	on    string
}

// found is what is selected there. A field that is named several times has several selections, and not on every type all.
type found struct {
	of     ast.SelectionSet
	fields []graphql.CollectedField
}

// Fields gives the fields selected below f, on an object that is of all types of on; the first names it.
func Fields(op *graphql.OperationContext, f graphql.CollectedField, on []string) []graphql.CollectedField {
	m, _ := op.Stats.GetExtension(extension).(*Memo)
	if m == nil {
		return graphql.CollectFields(op, f.Selections, on)
	}
	at := place{f.Field, on[0]}
	if v, ok := m.found.Load(at); ok {
		if was := v.(*found); slices.Equal(was.of, f.Selections) { //nolint:forcetypeassert // nothing else is stored
			return was.fields
		}
		return graphql.CollectFields(op, f.Selections, on)
	}
	fields := graphql.CollectFields(op, f.Selections, on)
	m.found.Store(at, &found{f.Selections, fields})
	return fields
}
