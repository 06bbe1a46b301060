package rule

import (
	"context"
	"fmt"

	"entgo.io/ent"
	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

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

// For is the ent policy of an entity: reads are filtered to what the principal may see, writes are denied unless
// allowed. It panics at start for an entity without a rule.
func For(entity string) ent.Policy {
	if _, ok := table[entity]; !ok {
		panic("rule: no rule for " + entity)
	}
	return policy{entity}
}

type policy struct{ entity string }

// EvalQuery filters. It refuses only when there is no principal at all: one refused edge would null a whole answer.
func (po policy) EvalQuery(ctx context.Context, q ent.Query) error {
	p, err := authz.Signed(ctx)
	if err != nil {
		return err
	}
	scope := Visible(po.entity, p)
	if scope.All() {
		return nil
	}
	iq, err := intercept.NewQuery(q)
	if err != nil {
		return fmt.Errorf("policy of %s: %w", po.entity, err)
	}
	iq.WhereP(scope.selector())
	return nil
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
	w.WhereP(scope.selector())
	return nil
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

// MayReadDocument says whether p may read the content of a document with these columns, in memory; the same as Readable.
func MayReadDocument(p *authz.Principal, owner uuid.UUID, isPublic bool, required *string) bool {
	switch {
	case p == nil:
		return false
	case p == authz.Indexer || p == authz.Dispatcher:
		return true
	case p.UserID == uuid.Nil:
		return false
	}
	return owner == p.UserID || isPublic || required != nil && p.Holds(*required)
}
