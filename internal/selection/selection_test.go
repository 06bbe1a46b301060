package selection

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

var schema = gqlparser.MustLoadSchema(&ast.Source{Input: `
	interface Node { id: ID! next: Node }
	type A implements Node { id: ID! name: String next: Node }
	type B implements Node { id: ID! size: Int next: Node }
	type Query { node: Node other: Node }
`})

// operation is a new one of a document that others may share.
func operation(doc *ast.QueryDocument, m *Memo, vars map[string]any) *graphql.OperationContext {
	op := &graphql.OperationContext{Doc: doc, Operation: doc.Operations[0], Variables: vars}
	Set(op, m)
	return op
}

// names is what is selected on an A or a B and below its next, on both.
func names(op *graphql.OperationContext, of func(*graphql.OperationContext, graphql.CollectedField, []string) []graphql.CollectedField) string {
	var b strings.Builder
	root := graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Query"})
	for _, f := range root {
		for _, typ := range []string{"A", "B"} {
			b.WriteString(" " + f.Alias + " on " + typ + ":")
			for _, sub := range of(op, f, []string{typ, "Node"}) {
				b.WriteString(" " + sub.Alias)
				if sub.Name != "next" {
					continue
				}
				for _, below := range []string{"A", "B"} {
					b.WriteString(" (" + below)
					for _, last := range of(op, sub, []string{below, "Node"}) {
						b.WriteString(" " + last.Alias)
					}
					b.WriteString(")")
				}
			}
		}
	}
	return b.String()
}

func collected(op *graphql.OperationContext, f graphql.CollectedField, on []string) []graphql.CollectedField {
	return graphql.CollectFields(op, f.Selections, on)
}

// TestFields: what is remembered is what gqlgen would find, for selections that are merged from several places, differently
// by type, and for operations at once.
func TestFields(t *testing.T) {
	for _, text := range []string{
		`{ node { id ... on A { name } ... on B { size } } }`,
		`{ node { id } node { ... on A { n: name } } other { ... on B { s: size } } }`,
		`{ node { next { id } ... on A { next { ... on A { name } } } ... on B { next { ... on B { size } } } } }`,
		`{ ...q } fragment q on Query { node { ...n } other { ...n } } fragment n on Node { id ... on A { next { ...m } } next { i: id } } fragment m on Node { ... on B { size } }`,
		`query { a: node { ... on Node { id } } b: node { ... on Node { x: id } } }`,
	} {
		doc, err := gqlparser.LoadQuery(schema, text)
		require.Empty(t, err)
		want := names(operation(doc, nil, nil), collected)
		m := NewMemo(text)
		require.NotNil(t, m)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					if got := names(operation(doc, m, nil), Fields); got != want {
						t.Errorf("%s: %s, not %s", text, got, want)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestFields_Directives: what depends on variables is not remembered.
func TestFields_Directives(t *testing.T) {
	const text = `query($with: Boolean!) { node { id ... on A @include(if: $with) { name } } }`
	doc, err := gqlparser.LoadQuery(schema, text)
	require.Empty(t, err)
	m := NewMemo(text)
	require.Nil(t, m)
	require.Equal(t, " node on A: id name node on B: id", names(operation(doc, m, map[string]any{"with": true}), Fields))
	require.Equal(t, " node on A: id node on B: id", names(operation(doc, m, map[string]any{"with": false}), Fields))
}

// TestFields_Remembers: a document is looked at once.
func TestFields_Remembers(t *testing.T) {
	const text = `{ node { id ... on A { name } } }`
	doc, err := gqlparser.LoadQuery(schema, text)
	require.Empty(t, err)
	m := NewMemo(text)
	var first []graphql.CollectedField
	for range 2 {
		op := operation(doc, m, nil)
		root := graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Query"})
		got := Fields(op, root[0], []string{"A", "Node"})
		if first == nil {
			first = got
		}
		require.Same(t, &first[0], &got[0])
	}
}

// TestFields_OneForAll: who looks at once gets one answer, which stays for as long as the document does.
func TestFields_OneForAll(t *testing.T) {
	const text = `{ node { id ... on A { name } } }`
	doc, err := gqlparser.LoadQuery(schema, text)
	require.Empty(t, err)
	for range 500 {
		m := NewMemo(text)
		var got [8]*graphql.CollectedField
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				op := operation(doc, m, nil)
				root := graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Query"})
				got[i] = &Fields(op, root[0], []string{"A", "Node"})[0]
			})
		}
		wg.Wait()
		for _, p := range got {
			require.Same(t, got[0], p)
		}
	}
}

// TestFields_Bounded: a fragment at many aliases is not remembered as often.
func TestFields_Bounded(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "a%d: node { ...f } ", i)
	}
	text := "{ " + b.String() + "} fragment f on Node { next { " + strings.Repeat("id ", 800) + "} }"
	doc, err := gqlparser.LoadQuery(schema, text)
	require.Empty(t, err)
	m := NewMemo(text)
	want := names(operation(doc, nil, nil), collected)
	require.Equal(t, want, names(operation(doc, m, nil), Fields))
	var kept int64
	m.found.Range(func(_, v any) bool {
		kept += size(v.(*found).fields)
		return true
	})
	require.NotZero(t, kept)
	require.LessOrEqual(t, kept, int64(perByte*len(text)))
}
