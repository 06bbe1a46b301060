package rule

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
)

// Visible is the rows of an entity, by its Go name, that p may see: with the entity's own permission those that its
// rule opens, without it only those that need none. Unknown entities and a nil principal see nothing.
func Visible(entity string, p *authz.Principal) Scope {
	r, ok := table[entity]
	if p == nil || !ok {
		return Scope{}
	}
	return r.visible(p)
}

func (r *entityRule) visible(p *authz.Principal) Scope {
	var s Scope
	switch {
	case r.needs == openTo:
		s = r.read(p)
	case p.Can(r.needs):
		s = r.read(p).needing(r.needs)
	}
	if r.besides != nil {
		s = or(s, r.besides(p))
	}
	return s
}

// Fetchable is the rows of an entity that p may fetch by id: those p may see, fewer only of User.
func Fetchable(entity string, p *authz.Principal) Scope {
	r, ok := table[entity]
	if p == nil || !ok {
		return Scope{}
	}
	if r.fetch != nil {
		return r.fetch(p)
	}
	return r.visible(p)
}

// Judged is the context's principal as whom rows of the entity are to be judged, by Visible or by Readable. A
// superuser whose bypass opens more than their roles do is recorded, or is judged by their roles where there is no
// witness to record it; reading rows whose reading is itself recorded, is. UNAUTHENTICATED without a principal.
func Judged(ctx context.Context, entity string) (*authz.Principal, error) {
	return judged(ctx, entity, Visible)
}

// JudgedByID is Judged for Fetchable.
func JudgedByID(ctx context.Context, entity string) (*authz.Principal, error) {
	return judged(ctx, entity, Fetchable)
}

func judged(ctx context.Context, entity string, rows func(string, *authz.Principal) Scope) (*authz.Principal, error) {
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if table[entity].watched {
		if err := authz.WitnessFrom(ctx).View(ctx, entity); err != nil {
			return nil, err
		}
	}
	if !p.Superuser {
		return p, nil
	}
	scope := rows(entity, p)
	if scope.same(rows(entity, p.Plain())) {
		return p, nil
	}
	ok, err := authz.WitnessFrom(ctx).Bypass(ctx, authz.Bypass{Entity: entity, Permissions: scope.lacking(p)})
	if err != nil {
		return nil, err
	}
	if !ok {
		return p.Plain(), nil
	}
	return p, nil
}

// lacking are the permissions that open the scope and that no role gives p, sorted.
func (s Scope) lacking(p *authz.Principal) []string {
	l := []string{}
	for i := range s.parts {
		for _, perm := range []string{s.parts[i].need, s.parts[i].perm} {
			if perm != "" && !p.Holds(perm) && !slices.Contains(l, perm) {
				l = append(l, perm)
			}
		}
	}
	slices.Sort(l)
	return l
}

// MayReadDocument says whether p may read the content of a document with these columns, in memory; the same as Readable.
func MayReadDocument(p *authz.Principal, owner uuid.UUID, isPublic bool, required *string) bool {
	switch {
	case p == nil || !p.Can(needDocuments):
		return false
	case p == authz.Indexer || p == authz.Dispatcher:
		return true
	case p.UserID == uuid.Nil:
		return false
	}
	return owner == p.UserID || isPublic || required != nil && p.Holds(*required)
}

// MaySeeDocument says whether p may see that there is a document with these columns, in memory; the same as Visible.
func MaySeeDocument(p *authz.Principal, owner uuid.UUID, isPublic bool, required *string) bool {
	return MayReadDocument(p, owner, isPublic, required) || p.Can(needDocuments) && p.Can("audit:read")
}

// MaySeeExecution says whether p may see a tool call with these columns, in memory; the same as Visible.
func MaySeeExecution(p *authz.Principal, requester uuid.UUID, requiresApproval bool) bool {
	return p.Can(needExecutions) && (owns(p, requester) || requiresApproval && p.Can("approvals:decide") || p.Can("audit:read") || p.IsSystem())
}

// MaySeeApproval says whether p may see a request for approval with this requester, in memory; the same as Visible.
func MaySeeApproval(p *authz.Principal, requester uuid.UUID) bool {
	return p.Can(needApprovals) && (owns(p, requester) || p.Can("approvals:decide") || p.Can("audit:read") || p.IsSystem())
}

func owns(p *authz.Principal, owner uuid.UUID) bool { return p.UserID != uuid.Nil && p.UserID == owner }

// parameters are the calls, of those p may see, whose arguments p sees: the requester's, and what p must decide on. What
// a call gave is the requester's alone.
func parameters(p *authz.Principal) Scope {
	return or(ownRows(p, "user_id"), holding(p, "approvals:decide", where("it needs a decision", "{requires_approval}")))
}

// MaySeeParameters says whether the context's principal may see a call's parameters, once they may see the call.
func MaySeeParameters(ctx context.Context, requester uuid.UUID, requiresApproval bool) (bool, error) {
	p := authz.From(ctx)
	if p == nil || owns(p, requester) || !requiresApproval {
		return p != nil && owns(p, requester), nil
	}
	return authz.May(ctx, "ToolExecution", "approvals:decide")
}

// MaySeeResult says whether the context's principal may see what a call gave, once they may see the call.
func MaySeeResult(ctx context.Context, requester uuid.UUID) bool {
	p := authz.From(ctx)
	return p != nil && owns(p, requester)
}

// MayReadContent is MayReadDocument for the context's principal, with a superuser's bypass recorded.
func MayReadContent(ctx context.Context, owner uuid.UUID, isPublic bool, required *string) (bool, error) {
	p := authz.From(ctx)
	if MayReadDocument(p.Plain(), owner, isPublic, required) || !MayReadDocument(p, owner, isPublic, required) {
		return MayReadDocument(p.Plain(), owner, isPublic, required), nil
	}
	return authz.May(ctx, "Document", needDocuments)
}
