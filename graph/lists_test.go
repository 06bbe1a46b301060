//go:build unix

package graph_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/uid"
)

var schema = generated.NewExecutableSchema(generated.Config{}).Schema()

// TestLists_Statements asks every list of the schema, with every field and edge of its rows and of the rows below them,
// for a short and a long page: both take as many statements.
func TestLists_Statements(t *testing.T) {
	r := newRig(t)
	for _, f := range schema.Query.Fields {
		if !strings.HasSuffix(f.Type.Name(), "Connection") {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			typ := nodeOf(f)
			for _, who := range []string{"admin", "auditor", "superuser"} {
				if who == "auditor" && (f.Name == "searchResults") {
					continue // not theirs
				}
				p := r.people[who]
				r.sameCount(t, p, list(f.Name, plain(typ)))
				for _, edge := range edges(typ) {
					r.sameCount(t, p, list(f.Name, edge(plain)))
					r.sameCount(t, p, list(f.Name, edge(func(below string) string {
						l := []string{"id"}
						for _, e := range edges(below) {
							l = append(l, e(plain))
						}
						return strings.Join(l, " ")
					})))
				}
			}
		})
	}
}

func list(field, node string) string {
	page := "last: %d"
	if field == "auditLogs" {
		page += ", where: {action: DOCUMENT_READ}" // the questions themselves are recorded
	}
	return "{ " + field + "(" + page + ") { edges { node { " + node + " } } } }"
}

// nodeOf is the type of a connection's rows.
func nodeOf(f *ast.FieldDefinition) string { return strings.TrimSuffix(f.Type.Name(), "Connection") }

// plain is all of a type that has no selection of its own, but for decisions.
func plain(typ string) string { return "id " + plainAs("", typ) }

// plainAs is plain with a prefix to the names, which in one selection must not mean fields of different types.
func plainAs(prefix, typ string) string {
	var l []string
	for _, f := range schema.Types[typ].Fields {
		if k := schema.Types[f.Type.Name()].Kind; len(f.Arguments) == 0 && (k == ast.Scalar || k == ast.Enum) {
			l = append(l, prefix+f.Name+": "+f.Name)
		}
	}
	switch typ {
	case "User":
		l = append(l, `a: hasRole(name: "analyst") b: hasRole(name: "auditor") c: hasPermission(resource: "tools", action: "read") d: hasPermission(resource: "audit", action: "read")`)
	case "ChatMessage":
		l = append(l, "citations { quote document { id title chunkCount content } other: document { status } }")
	case "ToolApproval":
		l = append(l, "decisions { approved comment approver { id username permissions } }")
	}
	return strings.Join(l, " ")
}

// edges are a type's edges, to be completed by what is asked of the rows they lead to.
func edges(typ string) (l []func(of func(typ string) string) string) {
	for _, f := range schema.Types[typ].Fields {
		name := f.Name
		switch target := schema.Types[f.Type.Name()]; {
		case strings.HasSuffix(target.Name, "Connection"):
			l = append(l, func(of func(string) string) string {
				return fmt.Sprintf("%s(first: 2) { totalCount edges { node { %s } } }", name, of(nodeOf(f)))
			})
		case target.Fields.ForName("id") != nil:
			l = append(l, func(of func(string) string) string { return fmt.Sprintf("%s { %s }", name, of(target.Name)) })
		case target.Name == "ApprovalDecision":
			l = append(l, func(of func(string) string) string { return "decisions { approver { " + of("User") + " } }" })
		}
	}
	return l
}

// TestLists_Hits: so does a search, whatever is asked of the hits.
func TestLists_Hits(t *testing.T) {
	r := newRig(t)
	p := r.people["analyst"]
	var found struct {
		SearchDocuments struct{ Hits []struct{ Rank int } }
	}
	r.ask(t, p, fmt.Sprintf(`{ searchDocuments(input: {query: "otter", searchType: KEYWORD, limit: %d}) { hits { rank } } }`, many), &found)
	require.Len(t, found.SearchDocuments.Hits, many)
	for field, typ := range map[string]string{"document": "Document", "chunk": "DocumentChunk", "result": "SearchResult"} {
		of := []string{"id " + plain(typ)}
		for _, edge := range edges(typ) {
			of = append(of, "id "+edge(plain))
		}
		for _, selection := range of {
			query := `{ searchDocuments(input: {query: "otter", searchType: KEYWORD, limit: %d}) { hits { rank ` + field + " { " + selection + " } } } }"
			r.sameCount(t, p, query)
		}
	}
}

// TestLists_Nodes: so do rows of all kinds that are asked for by their ids.
func TestLists_Nodes(t *testing.T) {
	r := newRig(t)
	var of, ids []string
	for typ, def := range schema.Types {
		if def.Kind != ast.Object || !slices.Contains(def.Interfaces, "Node") {
			continue
		}
		of = append(of, "... on "+typ+" { "+plainAs(strings.ToLower(typ), typ)+" }")
	}
	require.Len(t, of, 20)
	slices.Sort(of)
	for _, table := range uid.Tables {
		rows, err := r.DB.Owner.Query(t.Context(), "SELECT id::text FROM "+table+" ORDER BY id DESC LIMIT 4")
		require.NoError(t, err)
		l, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Len(t, l, 4, table)
		ids = append(ids, l...)
	}
	p := r.people["auditor"]
	query := func(ids []string) string {
		return `{ nodes(ids: ["` + strings.Join(ids, `", "`) + `"]) { __typename id ` + strings.Join(of, " ") + " } }"
	}
	type nodes struct{ Nodes []map[string]any }
	var all nodes
	var one []string // of each table
	for i := 0; i < len(ids); i += 4 {
		one = append(one, ids[i])
	}
	few := r.ask(t, p, query(one), nil)
	many := r.ask(t, p, query(ids), &all)
	require.Len(t, many, len(few), "four of each take no more than one")
	seen := 0
	for i, id := range ids {
		var alone nodes
		r.ask(t, p, query([]string{id}), &alone)
		require.Equal(t, alone.Nodes[0], all.Nodes[i], id)
		if all.Nodes[i] != nil {
			seen++
		}
	}
	require.Greater(t, seen, 40)
	require.Less(t, seen, len(ids), "what is hidden is null, in its place")
}

// TestLists_Twice: two selections of one edge are answered each by itself.
func TestLists_Twice(t *testing.T) {
	r := newRig(t)
	const query = `{ toolExecutions(last: 3) { edges { node { %s } } } }`
	a := `a: user { id username toolExecutions(first: 1, where: {statusIn: [FAILED]}) { totalCount edges { node { id } } } }`
	b := `b: user { id email toolExecutions(first: 2) { totalCount edges { node { id } } } }`
	type page struct {
		ToolExecutions struct {
			Edges []struct{ Node map[string]any }
		}
	}
	var both, first, second page
	r.ask(t, r.people["admin"], fmt.Sprintf(query, a+" "+b), &both)
	r.ask(t, r.people["admin"], fmt.Sprintf(query, a), &first)
	r.ask(t, r.people["admin"], fmt.Sprintf(query, b), &second)
	require.Len(t, both.ToolExecutions.Edges, 3)
	for i, e := range both.ToolExecutions.Edges {
		require.Equal(t, first.ToolExecutions.Edges[i].Node["a"], e.Node["a"])
		require.Equal(t, second.ToolExecutions.Edges[i].Node["b"], e.Node["b"])
	}
}
