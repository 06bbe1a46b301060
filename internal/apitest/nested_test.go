//go:build unix

package apitest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"
)

// TestNestedPages selects, in a page within a page, every column and derived field there is: what is read for the
// directives and what is asked for must not get into each other's way.
func TestNestedPages(t *testing.T) {
	w := shared()
	x := w.person(t, "admin")
	id := x.newDocument(t, "Nested", "A nested document.", false)
	w.indexed(t, id)
	x.ask(t)
	x.answered(t, x.say(t, x.newChat(t), "/calculator 2+2"))
	x.search(t, "Where does the otter swim?")
	s := schema(t)
	for edge, f := range edgesOf(s, "User") {
		inner := s.Types[s.Types[s.Types[f.Type.Name()].Fields.ForName("edges").Type.Name()].Fields.ForName("node").Type.Name()]
		t.Run(edge, func(t *testing.T) {
			var all []string
			for _, c := range inner.Fields {
				if len(c.Arguments) > 0 || s.Types[c.Type.Name()].Kind == ast.Object {
					continue
				}
				all = append(all, c.Name)
				x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { totalCount edges { node { %s } } } } }`, edge, c.Name), nil, nil)
			}
			x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { edges { node { %s } } } } }`, edge, strings.Join(all, " ")), nil, nil)
			for inside, g := range edgesOf(s, inner.Name) {
				x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { edges { node { %s(last: 2) { pageInfo { hasPreviousPage startCursor } } } } } } }`, edge, inside), nil, nil)
				x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { edges { node { %s %s(last: 2) { totalCount edges { node { id %s } } } } } } } }`,
					edge, strings.Join(all, " "), inside, scalars(s, g)), nil, nil)
			}
		})
	}
}

// edgesOf are a type's connections.
func edgesOf(s *ast.Schema, typ string) map[string]*ast.FieldDefinition {
	m := map[string]*ast.FieldDefinition{}
	for _, f := range s.Types[typ].Fields {
		if strings.HasSuffix(f.Type.Name(), "Connection") {
			m[f.Name] = f
		}
	}
	return m
}

// scalars are the fields of a connection's rows that need no selection.
func scalars(s *ast.Schema, f *ast.FieldDefinition) string {
	node := s.Types[s.Types[s.Types[f.Type.Name()].Fields.ForName("edges").Type.Name()].Fields.ForName("node").Type.Name()]
	var l []string
	for _, c := range node.Fields {
		if k := s.Types[c.Type.Name()].Kind; len(c.Arguments) == 0 && (k == ast.Scalar || k == ast.Enum) {
			l = append(l, c.Name)
		}
	}
	return strings.Join(l, " ")
}
