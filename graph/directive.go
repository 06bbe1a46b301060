package graph

import (
	"context"
	"errors"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/read"
	"cdsa.dev/cdsa/internal/rule"
)

// directives are the coarse permissions. A denial is audited before it is answered; a superuser's passing without the
// permission is audited too.
func directives(r *Resolver) generated.DirectiveRoot {
	rec := r.Audit
	return generated.DirectiveRoot{
		Public: func(ctx context.Context, _ any, next graphql.Resolver) (any, error) { return next(ctx) },
		Authenticated: func(ctx context.Context, _ any, next graphql.Resolver) (any, error) {
			p, err := authz.Signed(ctx)
			if err != nil {
				return nil, err
			}
			if p.APIToken {
				if permission, err := openToPrograms(p, fieldName(ctx)); err != nil {
					return nil, denied(ctx, rec, permission, err)
				}
			}
			return answer(ctx, next)
		},
		HasPermission: func(ctx context.Context, _ any, next graphql.Resolver, resource, action string) (any, error) {
			p, err := authz.Require(ctx, resource, action)
			if err != nil {
				return nil, denied(ctx, rec, resource+":"+action, err)
			}
			if name := resource + ":" + action; !p.Holds(name) {
				if err := rec.Record(ctx, audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Details: map[string]any{"permission": name, "field": fieldName(ctx)}}); err != nil {
					return nil, err
				}
			}
			return answer(ctx, next)
		},
		SelfOr:      selfOr,
		Redacted:    redacted,
		ReadersOnly: r.readersOnly,
	}
}

// openToPrograms refuses what an API token may not call of the fields that ask for no permission, and names what it lacks.
// Of mutations only these acts on one's own account are open; what is not named here is for people. Lists of one's own
// account take the permission that lists of everyone's take.
func openToPrograms(p *authz.Principal, field string) (lacks string, err error) {
	switch field {
	case "Mutation.logout", "Mutation.revokeSession", "Mutation.withdrawToolApproval": // the first two at most end the token
		return "", nil
	case "Query.sessions":
		lacks = "users:read"
	case "Query.viewerActivity":
		lacks = "audit:read"
	default:
		if strings.HasPrefix(field, "Mutation.") {
			return "interactive", errs.New(errs.Forbidden, "An API token cannot do this. Sign in and do it yourself.")
		}
	}
	if lacks != "" && !p.Holds(lacks) {
		return lacks, errs.New(errs.Forbidden, "An API token needs the permission %s to see this of its owner. Sign in, or use a token that has it.", lacks)
	}
	return "", nil
}

// answer runs the resolver and, where the hot lists' whole selection allows it, writes the result at once.
func answer(ctx context.Context, next graphql.Resolver) (any, error) {
	v, err := next(ctx)
	if err != nil {
		return v, err
	}
	return read.Answer(ctx, v), nil
}

// denied records a signed-in caller's denial; when that fails, the failure is the answer.
func denied(ctx context.Context, rec *audit.Recorder, permission string, err error) error {
	if authz.From(ctx) == nil {
		return err
	}
	code := errs.Forbidden
	if e, ok := errs.As(err); ok {
		code = e.Code // MFA_REQUIRED, of those who must enrol first
	}
	e := audit.Entry{Action: enum.AuditActionPermissionDenied, Failed: true, Error: string(code), Details: map[string]any{"permission": permission, "field": fieldName(ctx)}}
	if rerr := rec.Record(ctx, e); rerr != nil {
		return errors.Join(rerr, err)
	}
	return err
}

func fieldName(ctx context.Context) string {
	if fc := graphql.GetFieldContext(ctx); fc != nil {
		return fc.Object + "." + fc.Field.Name
	}
	return ""
}

// owner is whose row an object is.
func owner(obj any) uuid.UUID {
	switch o := obj.(type) {
	case *ent.User:
		return o.ID
	case *ent.Session:
		return o.UserID
	case *ent.ChatSession:
		return o.UserID
	case *ent.SecretAccessLog:
		return o.UserID
	}
	return uuid.Nil
}

// ofAccount says whether an object is of somebody's account, which a program of theirs is no owner of.
func ofAccount(obj any) bool {
	switch obj.(type) {
	case *ent.User, *ent.Session:
		return true
	}
	return false
}

func selfOr(ctx context.Context, obj any, next graphql.Resolver, permission string) (any, error) {
	p := authz.From(ctx)
	if p == nil || p.UserID == uuid.Nil {
		return nil, nil //nolint:nilnil // null without an error is the contract for what is hidden
	}
	if owner(obj) != p.UserID || p.APIToken && ofAccount(obj) {
		if !authz.Known(permission) { // "-" is held by no one, superusers included
			return nil, nil //nolint:nilnil // likewise
		}
		ok, err := authz.May(ctx, graphql.GetFieldContext(ctx).Object, permission)
		if err != nil || !ok {
			return nil, err
		}
	}
	return next(ctx)
}

// redactedValue stands for data the viewer may not see, so that null keeps meaning "none".
var redactedValue = map[string]any{"redacted": true}

// redacted shows a call's data to its requester, and its parameters to those who must decide on it.
func redacted(ctx context.Context, obj any, next graphql.Resolver) (any, error) {
	if x, ok := obj.(*ent.ToolExecution); ok {
		may, err := rule.MaySeeResult(ctx, x.UserID), error(nil)
		if graphql.GetFieldContext(ctx).Field.Name == "parameters" {
			may, err = rule.MaySeeParameters(ctx, x.UserID, x.RequiresApproval)
		}
		if err != nil {
			return nil, err
		}
		if may {
			return next(ctx)
		}
	}
	v, err := next(ctx)
	if err != nil || isNil(v) {
		return v, err
	}
	switch v.(type) {
	case string, *string:
		return ptr("redacted"), nil
	default:
		return redactedValue, nil
	}
}

func isNil(v any) bool {
	switch t := v.(type) {
	case nil:
		return true
	case *string:
		return t == nil
	case map[string]any:
		return t == nil
	}
	return false
}

// readersOnly shows a document's content to its readers. A document that came with an event, or of a mutation, has no text:
// it is read when it is asked for.
func (r *Resolver) readersOnly(ctx context.Context, obj any, next graphql.Resolver) (any, error) {
	d, ok := obj.(*ent.Document)
	if !ok {
		return nil, nil //nolint:nilnil // null without an error is the contract for what is hidden
	}
	if ok, err := rule.MayReadContent(ctx, d.UploadedBy, d.IsPublic, d.RequiredPermission); err != nil || !ok {
		return nil, err
	}
	if fc := graphql.GetFieldContext(ctx); fc.Field.Name == "content" && d.Content == nil && graphql.GetOperationContext(ctx).Operation.Operation != ast.Query {
		return r.content(ctx, d)
	}
	return next(ctx)
}

func (r *Resolver) content(ctx context.Context, d *ent.Document) (any, error) {
	texts, err := batch.Load(ctx, "content", d, func(ctx context.Context, documents []*ent.Document) (map[uuid.UUID]*string, error) {
		ids := make([]uuid.UUID, len(documents))
		for i, d := range documents {
			ids[i] = d.ID
		}
		found, err := r.Client.Document.Query().Where(document.IDIn(ids...)).Select(document.FieldID, document.FieldContent).All(ctx)
		texts := make(map[uuid.UUID]*string, len(found))
		for _, d := range found {
			texts[d.ID] = d.Content
		}
		return texts, err
	})
	if err != nil {
		return nil, err
	}
	return texts[d.ID], nil // nil: gone, or closed, since
}
