package rule

import (
	"context"
	"fmt"
	"slices"

	"entgo.io/ent"
	"entgo.io/ent/dialect/sql"

	"cdsa.dev/cdsa/ent/intercept"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// Entities lists the entities that have a rule.
func Entities() []string {
	var names []string
	for n := range table {
		names = append(names, n)
	}
	return names
}

// Needs is the permission that an entity takes before any row of it is seen, "" where some rows are open to all.
func Needs(entity string) string {
	if n := table[entity].needs; n != openTo {
		return n
	}
	return ""
}

// For is the ent policy of an entity: reads are filtered to what the principal may see, writes are denied unless
// allowed. It panics at start for an entity without a rule, or with one that does not say which permission it needs.
func For(entity string) ent.Policy {
	r, ok := table[entity]
	if !ok || r.read == nil || r.needs != openTo && !authz.Known(r.needs) {
		panic("rule: no rule, or half a rule, for " + entity)
	}
	return policy{entity}
}

type policy struct{ entity string }

// EvalQuery filters. It refuses only when there is no principal at all, or when what must be recorded cannot be: one
// refused edge would null a whole answer.
func (po policy) EvalQuery(ctx context.Context, q ent.Query) error {
	p, err := Judged(ctx, po.entity)
	if err != nil {
		return err
	}
	scope, through := Visible(po.entity, p), table[po.entity].through
	if scope.All() && through == "" {
		return nil
	}
	iq, err := intercept.NewQuery(q)
	if err != nil {
		return fmt.Errorf("policy of %s: %w", po.entity, err)
	}
	if !scope.All() {
		iq.WhereP(scope.Selector())
	}
	if through != "" {
		iq.WhereP(po.enumerated(ctx, through))
	}
	return nil
}

// enumerated narrows a query that comes through a join table to what may be fetched by id: nothing that the caller sees
// names those rows.
func (po policy) enumerated(ctx context.Context, through string) func(*sql.Selector) {
	return func(sel *sql.Selector) {
		if _, joined := sel.JoinedTableView(through); !joined {
			return
		}
		p, err := JudgedByID(ctx, po.entity)
		if err != nil {
			sel.AddError(err)
			return
		}
		Fetchable(po.entity, p).Selector()(sel)
	}
}

type writeKey struct{}

// Writing marks the context of a unit of work. Only package uow may call it: a write outside one leaves no audit row.
func Writing(ctx context.Context) context.Context { return context.WithValue(ctx, writeKey{}, true) }

// EvalMutation denies unless the principal holds a permission for it, inside a unit of work, on rows of theirs.
func (po policy) EvalMutation(ctx context.Context, m ent.Mutation) error {
	p, err := authz.Signed(ctx)
	if err != nil {
		return err
	}
	if ctx.Value(writeKey{}) == nil {
		return fmt.Errorf("policy of %s: write outside a unit of work", po.entity)
	}
	r := table[po.entity]
	if p, err = r.writer(ctx, po.entity, p, m.Op().Is(ent.OpCreate)); err != nil {
		return err
	}
	if m.Op().Is(ent.OpCreate) {
		if !holdsAny(p, r.create) {
			return forbidden(po.entity)
		}
		if r.owner != "" && !p.IsSystem() {
			if v, ok := m.Field(r.owner); !ok || v != ent.Value(p.UserID) {
				return forbidden(po.entity)
			}
		}
		return nil
	}
	if r.appendOnly || !holdsAny(p, r.write) || m.Op().Is(ent.OpDelete|ent.OpDeleteOne) && !r.deletable {
		return forbidden(po.entity)
	}
	scope := r.change(p)
	if scope.All() {
		return nil
	}
	w, ok := m.(interface {
		WhereP(...func(*sql.Selector))
	})
	if !ok {
		return fmt.Errorf("policy of %s: mutation cannot be narrowed", po.entity)
	}
	w.WhereP(scope.Selector())
	return nil
}

// writer is p, as whom a write is to be judged: a superuser whose bypass allows more than their roles do is recorded, or
// judged by their roles where there is no witness.
func (r *entityRule) writer(ctx context.Context, entity string, p *authz.Principal, creates bool) (*authz.Principal, error) {
	if !p.Superuser {
		return p, nil
	}
	plain := p.Plain()
	needed := r.write
	if creates {
		needed = r.create
	}
	lacking := []string{}
	if !holdsAny(plain, needed) {
		lacking = slices.DeleteFunc(slices.Clone(needed), func(perm string) bool { return !authz.Known(perm) })
	}
	if !creates && r.change != nil {
		if scope := r.change(p); !scope.same(r.change(plain)) {
			lacking = append(lacking, scope.lacking(p)...)
		}
	}
	if len(lacking) == 0 {
		return p, nil
	}
	slices.Sort(lacking)
	ok, err := authz.WitnessFrom(ctx).Bypass(ctx, authz.Bypass{Entity: entity, Permissions: slices.Compact(lacking)})
	if err != nil {
		return nil, err
	}
	if !ok {
		return plain, nil
	}
	return p, nil
}

// holdsAny lets a superuser pass for what people may hold, not for what single background workers do.
func holdsAny(p *authz.Principal, permissions []string) bool {
	for _, perm := range permissions {
		if p.Holds(perm) || p.Can(perm) && authz.Known(perm) {
			return true
		}
	}
	return false
}

func forbidden(entity string) error {
	return errs.New(errs.Forbidden, "You may not change this %s.", entity)
}
