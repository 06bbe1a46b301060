package archtest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"entgo.io/ent/entc"
	"entgo.io/ent/entc/gen"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/ent/migrate"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

func graph(t *testing.T) *gen.Graph {
	t.Helper()
	g, err := entc.LoadGraph("../../ent/schema", &gen.Config{Package: "cdsa.dev/cdsa/ent"})
	require.NoError(t, err)
	return g
}

// TestSchemaGraph_Counts: the source document's statistics.
func TestSchemaGraph_Counts(t *testing.T) {
	g := graph(t)
	require.Len(t, g.Nodes, 20)
	require.Len(t, migrate.Tables, 22)
	ends := 0
	for _, n := range g.Nodes {
		ends += len(n.Edges)
	}
	require.GreaterOrEqual(t, ends, 45)
}

func TestSchemaGraph_EveryFieldIsCommented(t *testing.T) {
	for _, n := range graph(t).Nodes {
		for _, f := range append([]*gen.Field{n.ID}, n.Fields...) {
			require.NotEmpty(t, f.Comment(), "%s.%s has no comment", n.Name, f.Name)
		}
		for _, e := range n.Edges {
			require.NotEmpty(t, e.Comment(), "%s.%s has no comment", n.Name, e.Name)
		}
	}
}

func TestSchemaGraph_EveryEntityHasARuleAndATag(t *testing.T) {
	names := map[string]bool{}
	for _, n := range rule.Entities() {
		names[n] = true
	}
	byType := map[string]uid.Tag{}
	for tag, typ := range uid.Types {
		byType[typ] = tag
	}
	for _, n := range graph(t).Nodes {
		require.True(t, names[n.Name], "%s has no row rule", n.Name)
		tag, ok := byType[n.Name]
		require.True(t, ok, "%s has no tag", n.Name)
		require.Equal(t, n.Table(), uid.Tables[tag])
		require.NotZero(t, n.NumPolicy(), "%s has no policy", n.Name)
	}
	require.Len(t, names, 20)
}

// sdl is the whole GraphQL schema as written and generated.
func sdl(t *testing.T) *ast.Schema {
	t.Helper()
	entries, err := os.ReadDir("../../graph/schema")
	require.NoError(t, err)
	var sources []*ast.Source
	for _, e := range entries {
		b, err := os.ReadFile("../../graph/schema/" + e.Name())
		require.NoError(t, err)
		sources = append(sources, &ast.Source{Name: e.Name(), Input: string(b)})
	}
	s, gerr := gqlparser.LoadSchema(sources...)
	if gerr != nil {
		t.Fatal(gerr)
	}
	return s
}

// TestSDL_EveryRootFieldIsGuarded: no field of Query, Mutation and Subscription is bare, and every permission named exists.
func TestSDL_EveryRootFieldIsGuarded(t *testing.T) {
	s := sdl(t)
	n := 0
	for _, root := range []*ast.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, f := range root.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			n++
			guards := 0
			for _, d := range f.Directives {
				switch d.Name {
				case "public", "authenticated":
					guards++
				case "hasPermission":
					guards++
					name := d.Arguments.ForName("resource").Value.Raw + ":" + d.Arguments.ForName("action").Value.Raw
					require.True(t, authz.Known(name), "%s.%s asks for the unknown permission %s", root.Name, f.Name, name)
				}
			}
			require.Equal(t, 1, guards, "%s.%s needs exactly one of @public, @authenticated, @hasPermission", root.Name, f.Name)
			require.NotEmpty(t, f.Description, "%s.%s has no description", root.Name, f.Name)
		}
	}
	require.Greater(t, n, 40)
}

// TestSDL_MutationsNameTheirAudit: the accounting test reads the action from here.
func TestSDL_MutationsNameTheirAudit(t *testing.T) {
	action := regexp.MustCompile(`[A-Z]+(_[A-Z]+)+`)
	known := map[string]bool{}
	for _, v := range enum.AuditAction("").Values() {
		known[v] = true
	}
	for _, f := range sdl(t).Mutation.Fields {
		var found []string
		for _, a := range action.FindAllString(f.Description, -1) {
			if known[a] {
				found = append(found, a)
			}
		}
		if f.Name == "logout" { // one word
			require.Contains(t, f.Description, "LOGOUT")
			continue
		}
		require.NotEmpty(t, found, "%s names no audit action", f.Name)
	}
}

// TestSDL_HidesSensitiveColumns: in types, inputs, filters and orders alike.
func TestSDL_HidesSensitiveColumns(t *testing.T) {
	s := sdl(t)
	sensitive := map[string]bool{}
	for _, n := range graph(t).Nodes {
		for _, f := range n.Fields {
			if f.Sensitive() {
				sensitive[strings.ToLower(n.Name+"."+strings.ReplaceAll(f.Name, "_", ""))] = true
			}
		}
	}
	require.GreaterOrEqual(t, len(sensitive), 10)
	for name, d := range s.Types {
		entity := strings.TrimSuffix(name, "WhereInput")
		for _, f := range d.Fields {
			for column := range sensitive {
				typ, col, _ := strings.Cut(column, ".")
				if strings.ToLower(entity) == typ {
					require.NotContains(t, strings.ToLower(f.Name), col, "%s.%s shows a sensitive column", name, f.Name)
				}
			}
		}
	}
	for _, n := range []string{"hashedPassword", "encryptedValue", "wrappedKey", "totpSecret", "recoveryCodes"} {
		for name, d := range s.Types {
			for _, f := range d.Fields {
				require.NotEqual(t, strings.ToLower(n), strings.ToLower(f.Name), name)
			}
		}
	}
}

// TestSDL_FiltersAreNotOverEdges: a filter over an edge is under no policy.
func TestSDL_FiltersAreNotOverEdges(t *testing.T) {
	for name, d := range sdl(t).Types {
		if !strings.HasSuffix(name, "WhereInput") {
			continue
		}
		for _, f := range d.Fields {
			require.NotRegexp(t, `^has[A-Z].*With$`, f.Name, name)
		}
	}
}

func TestDatabase_EveryForeignKeyHasAnIndex(t *testing.T) {
	db := pgtest.New(t)
	rows, err := db.Owner.Query(t.Context(), `
		SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
		WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
			SELECT 1 FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL)`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var table, column string
		require.NoError(t, rows.Scan(&table, &column))
		t.Errorf("%s.%s is a foreign key without an index", table, column)
	}
	require.NoError(t, rows.Err())
}

func TestDatabase_EveryEnumHasACheck(t *testing.T) {
	db := pgtest.New(t)
	for _, n := range graph(t).Nodes {
		for _, f := range n.EnumFields() {
			var ok bool
			err := db.Owner.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::regclass AND conname LIKE $2)`, n.Table(), n.Table()+"_"+f.StorageKey()+"_%").Scan(&ok)
			require.NoError(t, err)
			require.True(t, ok, "%s.%s has no CHECK", n.Table(), f.StorageKey())
		}
	}
}

// TestDatabase_ServerOwnsNothing: the server's role cannot change an audit row, nor can the owner.
func TestDatabase_ServerOwnsNothing(t *testing.T) {
	db := pgtest.New(t)
	var owned int
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)`).Scan(&owned))
	require.Zero(t, owned)
	id := uid.New(uid.AuditLog)
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO audit_logs (id, created_at, action, success, actor_kind) VALUES ($1, now(), 'LOGOUT', true, 'USER')`, id)
	require.NoError(t, err)
	for _, q := range []string{`UPDATE audit_logs SET success = false`, `DELETE FROM audit_logs`, `TRUNCATE audit_logs`, `DROP TABLE audit_logs`, `ALTER TABLE audit_logs DISABLE TRIGGER ALL`} {
		_, err := db.Pool.Exec(t.Context(), q)
		require.ErrorContains(t, err, "42501", "the server may not: %s", q)
	}
	for _, q := range []string{`UPDATE audit_logs SET success = false`, `DELETE FROM audit_logs`, `TRUNCATE audit_logs`} {
		_, err := db.Owner.Exec(t.Context(), q)
		require.ErrorContains(t, err, "never changed", "the trigger refuses: %s", q)
	}
}
