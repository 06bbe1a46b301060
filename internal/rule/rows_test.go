package rule_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

var update = flag.Bool("update", false, "write the golden table from what the rules do now")

const golden = "testdata/rows.golden"

// TestRows runs every operation on every entity as every principal and compares what happened with one table, which
// people read in review. Nothing can be forgotten: entities come from the generated client.
func TestRows(t *testing.T) {
	w := newWorld(t)
	names := rule.Entities()
	slices.Sort(names)
	require.Equal(t, w.entities, names, "an entity without a rule, or a rule without an entity")
	truth := w.truth(t)

	var b strings.Builder
	b.WriteString("# entity | principal | sees: by id, in lists, counts, aggregates and over every edge alike | fetches as a node | creates | changes | deletes\n")
	b.WriteString("# alice is the owner and bob another; carol, who holds the roles, owns nothing. own: a row of the principal's; foreign: of another's\n")
	for _, entity := range w.entities {
		require.Contains(t, drafts, entity, "the fixture has no draft of this entity")
		for _, x := range w.who(t) {
			sees := w.sees(t, x, entity, truth)
			changes := w.changes(t, x, entity)
			fetches := w.fetches(t, x, entity)
			fmt.Fprintf(&b, "%-15s | %-20s | %s | %s | %s | %s | %s\n", entity, x.name, dash(sees), dash(fetches), w.creates(t, x, entity), dash(changes), dash(w.deletes(t, x, entity)))
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Empty(t, differences(string(want), b.String()), "run with -update and read the change as a change of who may do what")
}

// fetches is what Query.node gives of an entity: what is explained, with a reason for each row that is given and for
// each that is not.
func (w *world) fetches(t *testing.T, x who, entity string) string {
	t.Helper()
	if x.p == nil {
		require.True(t, rule.Fetchable(entity, nil).None())
		return string(errs.Unauthenticated)
	}
	p, err := rule.JudgedByID(x.ctx(), entity)
	require.NoError(t, err)
	require.Same(t, x.p, p)
	cond, args := rule.Fetchable(entity, p).SQL("x", 2)
	why := rule.Explain(entity, p)
	columns, more := why.SQL("x", 2+len(args))
	var ids []uuid.UUID
	for label, id := range w.ids[entity] {
		var may bool
		var holds []bool
		require.NoError(t, w.kit.DB.Pool.QueryRow(context.Background(), fmt.Sprintf(`SELECT COALESCE(%s, FALSE), %s FROM %s x WHERE x.id = $1`, cond, columns, uid.Tables[tag(entity)]),
			append(append([]any{id}, args...), more...)...).Scan(&may, &holds))
		allowed, reasons := why.Judge(holds)
		require.Equal(t, may, allowed, "%s explains %s %s: %v", x.name, entity, label, reasons)
		require.NotEmpty(t, reasons)
		for _, r := range reasons {
			require.Regexp(t, `^[A-Z].*\.$`, r)
		}
		if may {
			ids = append(ids, id)
		}
	}
	return w.show(ids)
}

// differences are the lines that one text has and the other has not.
func differences(want, got string) []string {
	var l []string
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			l = append(l, "- "+line)
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			l = append(l, "+ "+line)
		}
	}
	return l
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// links are what an edge of a row leads to: entity, row, edge.
type links map[string]map[uuid.UUID]map[string]linked

type linked struct {
	entity string
	ids    []uuid.UUID
}

// truth reads the links without the rules.
func (w *world) truth(t *testing.T) links {
	t.Helper()
	l := links{}
	ctx := unscoped(context.Background())
	for entity, c := range clients(w.kit.Client) {
		l[entity] = map[uuid.UUID]map[string]linked{}
		for _, id := range w.ids[entity] {
			l[entity][id] = map[string]linked{}
			for edge, q := range edges(t, c, id) {
				ids, err := call(q, "IDs", ctx)
				require.NoError(t, err)
				l[entity][id][edge] = linked{strings.TrimSuffix(q.Type().Elem().Name(), "Query"), ids.([]uuid.UUID)}
			}
		}
	}
	return l
}

// edges are the queries over all edges of a row, which need not be visible itself.
func edges(t *testing.T, c reflect.Value, id uuid.UUID) map[string]reflect.Value {
	t.Helper()
	m := map[string]reflect.Value{}
	row, err := call(c, "Get", unscoped(context.Background()), id)
	require.NoError(t, err)
	for i := range c.NumMethod() {
		name, ok := strings.CutPrefix(c.Type().Method(i).Name, "Query")
		if !ok || name == "" {
			continue
		}
		m[name] = c.Method(i).Call([]reflect.Value{reflect.ValueOf(row)})[0]
	}
	return m
}

// sees reads an entity in every way ent has and requires all of them to tell the same.
func (w *world) sees(t *testing.T, x who, entity string, truth links) string {
	t.Helper()
	ctx, c := x.ctx(), clients(w.kit.Client)[entity]
	query := func() reflect.Value { return c.MethodByName("Query").Call(nil)[0] }
	what := x.name + " reads " + entity
	list, err := call(query(), "IDs", ctx)
	if x.p == nil {
		w.seesNothing(t, c, entity)
		require.True(t, errs.Is(err, errs.Unauthenticated), "%s: %v", what, err)
		return string(errs.Unauthenticated)
	}
	require.NoError(t, err, what)
	ids := list.([]uuid.UUID)

	var byID []uuid.UUID
	for _, id := range w.ids[entity] {
		_, err := call(c, "Get", ctx, id)
		if err == nil {
			byID = append(byID, id)
		} else {
			require.True(t, ent.IsNotFound(err), "%s: %v", what, err)
		}
	}
	require.ElementsMatch(t, ids, byID, what+" by id")
	n, err := call(query(), "Count", ctx)
	require.NoError(t, err)
	require.Equal(t, len(ids), n, what+" by count")
	exist, err := call(query(), "Exist", ctx)
	require.NoError(t, err)
	require.Equal(t, len(ids) > 0, exist, what+" by existence")
	n, err = call(query().MethodByName("Aggregate").Call([]reflect.Value{reflect.ValueOf(ent.Count())})[0], "Int", ctx)
	require.NoError(t, err)
	require.Equal(t, len(ids), n, what+" by aggregate")
	var groups []struct {
		ID    uuid.UUID
		Count int
	}
	grouped := query().MethodByName("GroupBy").Call([]reflect.Value{reflect.ValueOf("id")})[0]
	grouped = grouped.MethodByName("Aggregate").Call([]reflect.Value{reflect.ValueOf(ent.Count())})[0]
	_, err = call(grouped, "Scan", ctx, &groups)
	require.NoError(t, err)
	require.Len(t, groups, len(ids), what+" by groups")
	if _, ok := c.Type().MethodByName("Query"); ok && query().MethodByName("Paginate").IsValid() {
		w.pages(t, ctx, query(), len(ids), what)
	}
	w.overEdges(t, x, entity, ids, truth)
	return w.show(ids)
}

// seesNothing is an anonymous caller: refused, whichever way.
func (w *world) seesNothing(t *testing.T, c reflect.Value, entity string) {
	t.Helper()
	ctx := context.Background()
	for _, id := range w.ids[entity] {
		_, err := call(c, "Get", ctx, id)
		require.True(t, errs.Is(err, errs.Unauthenticated))
		for _, q := range edges(t, c, id) {
			_, err := call(q, "IDs", ctx)
			require.True(t, errs.Is(err, errs.Unauthenticated))
		}
	}
	q := c.MethodByName("Query").Call(nil)[0]
	for _, m := range []string{"Count", "Exist", "All", "FirstID"} {
		_, err := call(q, m, ctx)
		require.True(t, errs.Is(err, errs.Unauthenticated), "%s %s: %v", entity, m, err)
	}
}

// pages reads a connection with its total.
func (w *world) pages(t *testing.T, ctx context.Context, q reflect.Value, want int, what string) {
	t.Helper()
	m := q.MethodByName("Paginate")
	in := []reflect.Value{reflect.ValueOf(ctx)}
	for i := 1; i < m.Type().NumIn()-1; i++ {
		in = append(in, reflect.Zero(m.Type().In(i)))
	}
	out := m.Call(in)
	err, _ := out[1].Interface().(error)
	require.NoError(t, err, what)
	require.Equal(t, want, int(out[0].Elem().FieldByName("TotalCount").Int()), what+" by totalCount")
	require.Equal(t, want, out[0].Elem().FieldByName("Edges").Len(), what+" by page")
}

// overEdges follows every edge that leads away from any row: from rows that are hidden too, and eagerly from those that
// are not. What it finds is what is linked and visible.
func (w *world) overEdges(t *testing.T, x who, entity string, seen []uuid.UUID, truth links) {
	t.Helper()
	ctx := x.ctx()
	visible := func(edge string, to linked) []uuid.UUID {
		out := []uuid.UUID{}
		for _, id := range to.ids {
			if ok := w.visible(t, ctx, x, to.entity); !slices.Contains(ok, id) {
				continue
			}
			if p := authz.From(ctx); entity == "Role" && edge == "Users" && !p.Can("users:read") && id != p.UserID {
				continue // a role names nobody: there its holders are as hard to come by as by id
			}
			out = append(out, id)
		}
		return out
	}
	c := clients(w.kit.Client)[entity]
	for id, row := range truth[entity] {
		for edge, q := range edges(t, c, id) {
			got, err := call(q, "IDs", ctx)
			require.NoError(t, err)
			require.ElementsMatch(t, visible(edge, row[edge]), got, "%s from %s %s over %s", x.name, entity, w.labels[id], edge)
		}
	}
	var names []string
	for _, row := range truth[entity] {
		for edge := range row {
			names = append(names, edge)
		}
		break
	}
	for _, edge := range names {
		q := c.MethodByName("Query").Call(nil)[0]
		q.MethodByName("With" + edge).Call(nil)
		rows, err := call(q, "All", ctx)
		require.NoError(t, err)
		for i := range reflect.ValueOf(rows).Len() {
			row := reflect.ValueOf(rows).Index(i).Elem()
			id := row.FieldByName("ID").Interface().(uuid.UUID)
			require.Contains(t, seen, id)
			require.ElementsMatch(t, visible(edge, truth[entity][id][edge]), loaded(row.FieldByName("Edges").FieldByName(edge)), "%s loads %s of %s %s", x.name, edge, entity, w.labels[id])
		}
	}
}

// visible is what a plain list gives, once for each principal and entity.
func (w *world) visible(t *testing.T, ctx context.Context, x who, entity string) []uuid.UUID {
	t.Helper()
	key := x.name + " " + entity
	if ids, ok := w.seen[key]; ok {
		return ids
	}
	ids, err := call(clients(w.kit.Client)[entity].MethodByName("Query").Call(nil)[0], "IDs", ctx)
	require.NoError(t, err)
	w.seen[key] = ids.([]uuid.UUID)
	return w.seen[key]
}

func loaded(v reflect.Value) []uuid.UUID {
	ids := []uuid.UUID{}
	one := func(v reflect.Value) { ids = append(ids, v.Elem().FieldByName("ID").Interface().(uuid.UUID)) }
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			one(v.Index(i))
		}
	} else if !v.IsNil() {
		one(v)
	}
	return ids
}

var errRollback = errors.New("rolled back by the test")

// attempt runs a write as x in a unit of work that is rolled back.
func (w *world) attempt(t *testing.T, x who, fn func(ctx context.Context, c *ent.Client) error) error {
	t.Helper()
	var result error
	err := w.kit.Store.Do(x.ctx(), func(ctx context.Context, tx *uow.Tx) error {
		result = fn(ctx, tx.Client)
		return errRollback
	})
	require.ErrorIs(t, err, errRollback)
	return result
}

// refused sorts a write's error: true for what the rules refuse. A database's constraint means that the rules allow it.
func refused(t *testing.T, x who, what string, err error) bool {
	t.Helper()
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return false
	case errors.As(err, &pg):
		require.Contains(t, []string{"23503", "23001"}, pg.Code, "%s %s: %v", x.name, what, err) // a row that is needed elsewhere
		return false
	case x.p == nil:
		require.True(t, errs.Is(err, errs.Unauthenticated), "%s %s: %v", x.name, what, err)
	default:
		require.True(t, errs.Is(err, errs.Forbidden) || ent.IsNotFound(err), "%s %s: %v", x.name, what, err)
	}
	return true
}

func (w *world) creates(t *testing.T, x who, entity string) string {
	t.Helper()
	var s []string
	for _, o := range []struct {
		name  string
		owner uuid.UUID
	}{{"own", x.mine(w)}, {"foreign", w.bob}} {
		err := w.attempt(t, x, func(ctx context.Context, c *ent.Client) error {
			return drafts[entity](c, uid.New(tag(entity)), o.owner, w.of[o.owner]).Exec(ctx)
		})
		if !refused(t, x, "creates "+entity, err) {
			require.NoError(t, err, "%s creates %s %s", x.name, o.name, entity)
			s = append(s, o.name)
		}
	}
	return dash(strings.Join(s, ","))
}

func (w *world) changes(t *testing.T, x who, entity string) string {
	t.Helper()
	var ids []uuid.UUID
	for _, label := range w.all(entity) {
		id := w.ids[entity][label]
		err := w.attempt(t, x, func(ctx context.Context, c *ent.Client) error {
			b := clients(c)[entity].MethodByName("UpdateOneID").Call([]reflect.Value{reflect.ValueOf(id)})[0]
			w.touch(t, b, entity)
			_, err := call(b, "Exec", ctx)
			return err
		})
		if !refused(t, x, "changes "+entity, err) {
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	w.changesAll(t, x, entity, len(ids))
	return w.show(ids)
}

// changesAll changes without naming rows: it reaches those that can be changed one by one, and no others.
func (w *world) changesAll(t *testing.T, x who, entity string, want int) {
	t.Helper()
	var n int
	err := w.attempt(t, x, func(ctx context.Context, c *ent.Client) error {
		b := clients(c)[entity].MethodByName("Update").Call(nil)[0]
		w.touch(t, b, entity)
		v, err := call(b, "Save", ctx)
		n, _ = v.(int)
		return err
	})
	if refused(t, x, "changes all "+entity, err) {
		n = 0
	}
	require.Equal(t, want, n, "%s changes all %s", x.name, entity)
}

func (w *world) touch(t *testing.T, b reflect.Value, entity string) {
	t.Helper()
	if f, ok := touched[entity]; ok {
		_, err := call(b.MethodByName("Mutation").Call(nil)[0], "SetField", f.field, f.value)
		require.NoError(t, err)
	}
}

func (w *world) deletes(t *testing.T, x who, entity string) string {
	t.Helper()
	var ids []uuid.UUID
	for _, label := range w.all(entity) {
		id := w.ids[entity][label]
		err := w.attempt(t, x, func(ctx context.Context, c *ent.Client) error {
			_, err := call(clients(c)[entity].MethodByName("DeleteOneID").Call([]reflect.Value{reflect.ValueOf(id)})[0], "Exec", ctx)
			return err
		})
		if !refused(t, x, "deletes "+entity, err) {
			ids = append(ids, id)
		}
	}
	var n int
	err := w.attempt(t, x, func(ctx context.Context, c *ent.Client) error {
		v, err := call(clients(c)[entity].MethodByName("Delete").Call(nil)[0], "Exec", ctx)
		n, _ = v.(int)
		return err
	})
	if refused(t, x, "deletes all "+entity, err) || len(ids) == 0 {
		require.Zero(t, n, "%s deletes all %s", x.name, entity)
	} else if err == nil {
		require.Equal(t, len(ids), n, "%s deletes all %s", x.name, entity)
	}
	return w.show(ids)
}
