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
	"unsafe"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Memo remembers the selections of one document. It lives as long as the document.
type Memo struct {
	found sync.Map

	mu   sync.Mutex // of adding
	room int64      // bytes that may yet be remembered
}

// perByte is how many bytes of selections are remembered for a byte of text: a fragment can be selected at every alias, and
// documents are cached by their text's length.
const perByte = 16

// NewMemo makes the memo of a document; nil, which remembers nothing, for one with directives, whose selections depend on
// variables.
func NewMemo(text string) *Memo {
	if strings.Contains(text, "@") {
		return nil
	}
	return &Memo{room: int64(perByte * len(text))}
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
	v, ok := m.found.Load(at)
	if !ok {
		fields := graphql.CollectFields(op, f.Selections, on)
		if v = m.add(at, &found{f.Selections, fields}); v == nil {
			return fields
		}
	}
	if was := v.(*found); slices.Equal(was.of, f.Selections) { //nolint:forcetypeassert // nothing else is stored
		return was.fields
	}
	return graphql.CollectFields(op, f.Selections, on)
}

// add remembers what was found at a place, and gives what is remembered of it; nil when there is no room. The first stays:
// gqlgen's own cache knows a selection by its address alone, so what was once handed out must not go while an operation runs.
func (m *Memo) add(at place, f *found) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.found.Load(at); ok {
		return v
	}
	n := size(f.fields)
	if n > m.room {
		return nil
	}
	m.room -= n
	m.found.Store(at, f)
	return f
}

// size is roughly what remembering takes, in bytes.
func size(fields []graphql.CollectedField) int64 {
	n := unsafe.Sizeof(found{}) + unsafe.Sizeof(place{}) + uintptr(len(fields))*unsafe.Sizeof(graphql.CollectedField{})
	for i := range fields {
		n += uintptr(len(fields[i].Selections)) * unsafe.Sizeof(ast.Selection(nil))
	}
	return int64(n)
}
