package rule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// TestScope_SQL holds the two forms of a rule to each other, and documents to a third one, on random rows and principals:
// hand-written SQL narrowed by Scope.SQL reads what ent reads under the policy.
func TestScope_SQL(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		err := w.kit.Store.Do(unscoped(context.Background()), func(ctx context.Context, tx *uow.Tx) error {
			w.random(rt, ctx, tx.Client)
			for range 4 {
				p := w.principal(rt)
				for _, entity := range w.entities {
					scope := rule.Visible(entity, p)
					// An argument before the scope's own shows that they are numbered from first.
					cond, args := scope.SQL("x", 2)
					rows, err := tx.PG.Query(ctx, fmt.Sprintf(`SELECT x.id FROM %s x WHERE $1 = 1 AND %s`, uid.Tables[tag(entity)], cond), append([]any{1}, args...)...)
					require.NoError(rt, err, "%s: %s", entity, cond)
					var want []uuid.UUID
					for rows.Next() {
						var id uuid.UUID
						require.NoError(rt, rows.Scan(&id))
						want = append(want, id)
					}
					require.NoError(rt, rows.Err())
					got, err := call(clients(tx.Client)[entity].MethodByName("Query").Call(nil)[0], "IDs", who{p: p}.ctx())
					require.NoError(rt, err)
					require.ElementsMatch(rt, want, got, "%s as %+v", entity, p)
					require.Equal(rt, scope.None(), cond == "FALSE")
				}
				w.checkDocuments(rt, ctx, tx.Client, p)
			}
			return errRollback
		})
		require.ErrorIs(rt, err, errRollback)
	})
}

// checkDocuments compares the judgement in memory with what the database gives.
func (w *world) checkDocuments(rt *rapid.T, ctx context.Context, c *ent.Client, p *authz.Principal) {
	as := who{p: p}.ctx()
	chunks, err := c.DocumentChunk.Query().All(ctx)
	require.NoError(rt, err)
	visible, err := c.DocumentChunk.Query().IDs(as)
	require.NoError(rt, err)
	for _, k := range chunks {
		may := rule.MayReadDocument(p, k.OwnerID, k.IsPublic, k.RequiredPermission)
		require.Equal(rt, may, slices.Contains(visible, k.ID), "a passage of %s, public %v, permission %v as %+v", w.labels[k.OwnerID], k.IsPublic, k.RequiredPermission, p)
	}
	documents, err := c.Document.Query().All(ctx)
	require.NoError(rt, err)
	listed, err := c.Document.Query().IDs(as)
	require.NoError(rt, err)
	for _, d := range documents {
		may := rule.MayReadDocument(p, d.UploadedBy, d.IsPublic, d.RequiredPermission)
		require.Equal(rt, may || p.Can("audit:read") && p.Can("documents:read"), slices.Contains(listed, d.ID))
		require.Equal(rt, rule.MaySeeDocument(p, d.UploadedBy, d.IsPublic, d.RequiredPermission), slices.Contains(listed, d.ID))
		read, err := rule.MayReadContent(as, d.UploadedBy, d.IsPublic, d.RequiredPermission)
		require.NoError(rt, err)
		require.Equal(rt, may, read)
	}
	calls, err := c.ToolExecution.Query().All(ctx)
	require.NoError(rt, err)
	seen, err := c.ToolExecution.Query().IDs(as)
	require.NoError(rt, err)
	for _, x := range calls {
		require.Equal(rt, slices.Contains(seen, x.ID), rule.MaySeeExecution(p, x.UserID, x.RequiresApproval), "a call, gated %v, as %+v", x.RequiresApproval, p)
	}
	requests, err := c.ToolApproval.Query().All(ctx)
	require.NoError(rt, err)
	seen, err = c.ToolApproval.Query().IDs(as)
	require.NoError(rt, err)
	for _, a := range requests {
		require.Equal(rt, slices.Contains(seen, a.ID), rule.MaySeeApproval(p, a.UserID), "a request as %+v", p)
	}
}

// random adds rows whose visibility depends on more than who asks.
func (w *world) random(rt *rapid.T, ctx context.Context, c *ent.Client) {
	owner := rapid.SampledFrom([]uuid.UUID{w.alice, w.bob, w.carol})
	perm := rapid.Ptr(rapid.SampledFrom(names()), true)
	for range rapid.IntRange(0, 6).Draw(rt, "documents") {
		o, public, permission := owner.Draw(rt, "owner"), rapid.Bool().Draw(rt, "public"), perm.Draw(rt, "permission")
		in := w.of[o]
		in.model, in.document = w.ids["EmbeddingModel"]["it"], uid.New(uid.Document)
		require.NoError(rt, document(c, in.document, o).SetIsPublic(public).SetNillableRequiredPermission(permission).Exec(ctx))
		require.NoError(rt, chunk(c, uid.New(uid.DocumentChunk), o, in).SetIsPublic(public).SetNillableRequiredPermission(permission).Exec(ctx))
	}
	for range rapid.IntRange(0, 4).Draw(rt, "calls") {
		o := owner.Draw(rt, "owner")
		in := w.of[o]
		in.tool = w.ids["Tool"]["it"]
		in.gated = uid.New(uid.ToolExecution)
		require.NoError(rt, execution(c, in.gated, o, in).SetRequiresApproval(rapid.Bool().Draw(rt, "gated")).Exec(ctx))
		require.NoError(rt, drafts["ToolApproval"](c, uid.New(uid.ToolApproval), o, in).Exec(ctx))
	}
	for range rapid.IntRange(0, 4).Draw(rt, "secrets") {
		o := owner.Draw(rt, "owner")
		in := w.of[o]
		in.secret = uid.New(uid.Secret)
		require.NoError(rt, secret(c, in.secret, o).SetNillableRequiredPermission(perm.Draw(rt, "permission")).Exec(ctx))
		require.NoError(rt, drafts["SecretVersion"](c, uid.New(uid.SecretVersion), o, in).Exec(ctx))
	}
}

func names() []string {
	l := []string{"", "nobody:holds"}
	for _, p := range authz.Permissions {
		l = append(l, p.Name())
	}
	return l
}

func (w *world) principal(rt *rapid.T) *authz.Principal {
	perms := rapid.SliceOfNDistinct(rapid.SampledFrom(names()), 0, 6, rapid.ID).Draw(rt, "holds")
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 0:
		return authz.NewSystem("system:random", perms...)
	case 1:
		return rapid.SampledFrom(authz.Workers()).Draw(rt, "system")
	}
	id := rapid.SampledFrom([]uuid.UUID{w.alice, w.bob, w.carol, uuid.Nil}).Draw(rt, "user")
	p := authz.NewUser(id, "random", uid.New(uid.Session), rapid.IntRange(0, 7).Draw(rt, "superuser") == 0, later(), perms...)
	if rapid.Bool().Draw(rt, "agent") {
		p = p.AsAgent()
	}
	return p
}

func TestVisible_Unknown(t *testing.T) {
	p := authz.NewSystem("system:all", names()...)
	require.True(t, rule.Visible("Nothing", p).None())
	for _, entity := range rule.Entities() {
		require.True(t, rule.Visible(entity, nil).None())
	}
	cond, args := rule.Visible("Nothing", p).SQL("x", 1)
	require.Equal(t, "FALSE", cond)
	require.Empty(t, args)
	require.Panics(t, func() { rule.For("Nothing") })
	require.True(t, rule.Readable(nil, "owner_id").None())
	require.False(t, rule.MayReadDocument(nil, uuid.Nil, true, nil))
}

// TestBypass_Witnessed: what a superuser gets past the permissions is recorded, once, and refused where it cannot be.
func TestBypass_Witnessed(t *testing.T) {
	root := authz.NewUser(uid.New(uid.User), "root", uid.New(uid.Session), true, later(), "secrets:read")
	scribe := &scribe{}
	ctx := authz.WithWitness(authz.With(context.Background(), root), authz.NewWitness(scribe))
	for _, c := range []struct {
		entity string
		want   []string // recorded besides what was before
	}{
		{"User", nil}, {"ChatMessage", []string{"chat:read"}}, {"ChatMessage", nil}, {"Role", []string{"roles:read"}},
		{"Secret", []string{"audit:read", "secrets:write"}}, {"DocumentChunk", []string{"documents:read"}}, {"SearchResult", []string{"search:execute"}},
	} {
		before := len(scribe.seen)
		p, err := rule.Judged(ctx, c.entity)
		require.NoError(t, err)
		require.Same(t, root, p)
		if c.want == nil {
			require.Len(t, scribe.seen, before, c.entity)
			continue
		}
		require.Equal(t, authz.Bypass{Entity: c.entity, Permissions: c.want}, scribe.seen[len(scribe.seen)-1])
	}
	_, err := rule.JudgedByID(ctx, "User")
	require.NoError(t, err)
	require.Equal(t, authz.Bypass{Entity: "User", Permissions: []string{"users:read"}}, scribe.seen[len(scribe.seen)-1])

	alone := authz.With(context.Background(), root)
	for _, entity := range rule.Entities() {
		p, err := rule.Judged(alone, entity)
		require.NoError(t, err)
		require.Equal(t, rule.Visible(entity, root.Plain()).All(), rule.Visible(entity, p).All(), "%s: no witness, no bypass", entity)
	}
	scribe.err = errors.New("the log is full")
	_, err = rule.Judged(authz.WithWitness(alone, authz.NewWitness(scribe)), "Role")
	require.ErrorIs(t, err, scribe.err)
	ok, err := authz.May(authz.WithWitness(alone, authz.NewWitness(scribe)), "User", "users:read")
	require.ErrorIs(t, err, scribe.err)
	require.False(t, ok)
}

type scribe struct {
	seen []authz.Bypass
	err  error
}

func (s *scribe) Bypassed(_ context.Context, b authz.Bypass) error {
	if s.err == nil {
		s.seen = append(s.seen, b)
	}
	return s.err
}
func (s *scribe) Viewed(context.Context, string) (bool, error) { return true, s.err }
func (s *scribe) Place(context.Context) string                 { return "Query.test" }
