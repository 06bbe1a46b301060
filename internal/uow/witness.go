package uow

import (
	"context"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
)

// scribe records what a superuser gets past the permissions in a unit of work: among its own audit rows, so that it is
// committed with what it allowed or not at all, and no second connection is waited for while one is held.
type scribe struct {
	outer *authz.Witness // of the operation; nil in background work
	t     *Tx
}

// witness is the unit of work's own.
func witness(outer *authz.Witness, t *Tx) *authz.Witness {
	return authz.NewWitness(scribe{outer, t})
}

// Bypassed adds the audit row, unless the operation has recorded the same; once committed, the operation need not.
func (s scribe) Bypassed(ctx context.Context, b authz.Bypass) error {
	if s.outer.Knows(b) {
		return nil
	}
	s.t.After(func() { s.outer.Note(b) })
	details := map[string]any{"entity": b.Entity, "permissions": b.Permissions}
	if place := s.Place(ctx); place != "" {
		details["field"] = place
	}
	s.t.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: b.Entity, Details: details})
	return nil
}

// Viewed records nothing: what a unit of work reads it reads to decide, and shows none of it.
func (s scribe) Viewed(context.Context, string) (bool, error) { return true, nil }

// Place is the operation's.
func (s scribe) Place(ctx context.Context) string { return s.outer.Place(ctx) }
