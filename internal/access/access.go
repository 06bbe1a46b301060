// Package access answers whether, and by which rule, a user may see an object. It has no rules of its own: it asks package
// rule for the scopes that narrow that user's reads and has the database say which of their alternatives hold of the
// row. It gives nothing of the row itself, and does not tell callers of objects they may not know of. A Simulator is safe
// for concurrent use.
package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// Simulator answers. Every field is needed.
type Simulator struct {
	Pool  *pgxpool.Pool
	Audit *audit.Recorder
	// Load gives who a user would be once signed in, nil for one who can no longer sign in, NOT_FOUND for none.
	Load func(ctx context.Context, userID uuid.UUID) (*authz.Principal, error)
}

// Decision is whether a user may see an object, with a sentence for each rule that lets them, or for why none does.
type Decision struct {
	Allowed bool
	Reasons []string
}

// Simulate answers for a user and an object, as Query.node would decide for them now. The caller's permission to ask is
// the schema's to check; besides, they must be able to see the object themselves, or hold audit:read: for any other it
// is NOT_FOUND, as for one that does not exist. BAD_USER_INPUT for ids that are no user's or nothing's, NOT_FOUND for an
// unknown user. Audited as ACCESS_SIMULATED, with both ids, refusals included, before it is answered.
func (s *Simulator) Simulate(ctx context.Context, userID, nodeID uuid.UUID) (Decision, error) {
	if err := uid.Check(userID, uid.User, "userId"); err != nil {
		return Decision{}, err
	}
	tag, ok := uid.Of(nodeID)
	if !ok {
		return Decision{}, errs.Input("nodeId", "This is not the id of an object.")
	}
	d, err := s.decide(ctx, uid.Types[tag], uid.Tables[tag], userID, nodeID)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return Decision{}, err
	}
	e := audit.Entry{Action: enum.AuditActionAccessSimulated, Resource: uid.Types[tag], ResourceID: nodeID, Details: map[string]any{"userId": userID, "allowed": d.Allowed}}
	if err != nil {
		e.Failed, e.Error, e.Details = true, string(errs.NotFound), map[string]any{"userId": userID}
	}
	if rerr := s.Audit.Record(ctx, e); rerr != nil {
		return Decision{}, rerr
	}
	return d, err
}

func (s *Simulator) decide(ctx context.Context, entity, table string, userID, nodeID uuid.UUID) (Decision, error) {
	p, err := s.Load(ctx, userID)
	if err != nil {
		return Decision{}, err
	}
	caller, err := rule.JudgedByID(ctx, entity)
	if err != nil {
		return Decision{}, err
	}
	mine, args := rule.Fetchable(entity, caller).SQL("x", 2)
	why := rule.Explain(entity, p)
	theirs, more := why.SQL("x", 2+len(args))
	args = append(append([]any{nodeID}, args...), more...)
	var seen bool
	var holds []bool
	err = s.Pool.QueryRow(ctx, "SELECT COALESCE("+mine+", FALSE), "+theirs+" FROM "+table+" x WHERE x.id = $1", args...).Scan(&seen, &holds)
	if errors.Is(err, pgx.ErrNoRows) {
		return Decision{}, errs.Missing("object")
	}
	if err != nil {
		return Decision{}, fmt.Errorf("simulate access: %w", err)
	}
	if !seen {
		if seen, err = authz.May(ctx, entity, "audit:read"); err != nil {
			return Decision{}, err
		}
	}
	switch {
	case !seen:
		return Decision{}, errs.Missing("object")
	case p == nil:
		return Decision{Reasons: []string{"This account is deactivated or erased; it can no longer sign in."}}, nil
	}
	allowed, reasons := why.Judge(holds)
	return Decision{allowed, reasons}, nil
}
