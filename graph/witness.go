package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
)

// scribe writes what a superuser gets past the permissions, and that the audit log is read, before either is given; an
// operation whose record cannot be written fails.
type scribe struct{ rec *audit.Recorder }

// Bypassed records that rows or fields of an entity were opened by the superuser bypass.
func (s scribe) Bypassed(ctx context.Context, b authz.Bypass) error {
	return s.rec.Record(ctx, audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: b.Entity,
		Details: map[string]any{"entity": b.Entity, "permissions": b.Permissions, "field": s.Place(ctx)}})
}

// Viewed records that the audit log was read, by whichever field; one's own activity alone is not that.
func (s scribe) Viewed(ctx context.Context, entity string) (bool, error) {
	if fc := graphql.GetFieldContext(ctx); fc != nil && fc.Object == "Query" && fc.Field.Name == "viewerActivity" && !namesAuditLogs(ctx, fc) {
		return false, nil
	}
	return true, s.rec.Record(ctx, audit.Entry{Action: enum.AuditActionAuditLogViewed, Resource: entity})
}

// Place is the field being resolved.
func (s scribe) Place(ctx context.Context) string { return fieldName(ctx) }

// namesAuditLogs says whether the field's selection reads audit logs below it.
func namesAuditLogs(ctx context.Context, fc *graphql.FieldContext) bool {
	return anyField(graphql.GetOperationContext(ctx), fc.Field.SelectionSet, func(f *ast.Field) bool { return f.Name == "auditLogs" })
}
