package graph

import (
	"context"
	"errors"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"entgo.io/contrib/entgql"

	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp"
	"cdsa.dev/cdsa/internal/realtime/transport"
)

// NewHandler is the GraphQL endpoint: what comes first sees an operation first.
func NewHandler(r *Resolver, settings gqlhttp.Settings, streams *transport.Server) http.Handler {
	settings.ValidCursor, settings.Translate = validCursor, foreignCursor
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: r, Directives: directives(r)})
	return settings.NewServer(schema, func(exec *executor.Executor) {
		exec.Use(extension.Introspection{}) // who may use it, settings decides
		exec.AroundOperations(r.around)
	}, streams.WebSocket(), streams.SSE())
}

// around gives an operation what its resolvers share.
func (r *Resolver) around(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	o := &operation{Context: ctx, position: r.Position(), witness: authz.NewWitness(scribe{r.Audit})}
	ctx = o
	if authz.From(ctx) == nil {
		ctx = authz.WithSlot(ctx)
	}
	respond := next(ctx)
	if graphql.GetOperationContext(ctx).Operation.Operation != ast.Subscription {
		return respond
	}
	return func(ctx context.Context) *graphql.Response { // one for each event
		defer o.rows.Forget()
		return respond(ctx)
	}
}

// validCursor refuses what is no cursor before entgql takes it for one.
func validCursor(_, cursor string) error {
	var c entgql.Cursor[uuid.UUID]
	if err := c.UnmarshalGQL(cursor); err != nil || c.ID == uuid.Nil {
		return errs.Input("after", "This is not a cursor of this list. Pass one exactly as it was received, or none.")
	}
	return nil
}

// foreignCursor says of a cursor that belongs to a list in another order what it is, wherever in the answer the list is:
// the database finds out.
func foreignCursor(ctx context.Context, err error) error {
	said := listError(err)
	fc := graphql.GetFieldContext(ctx)
	if said == err || fc == nil || fc.Field.Field == nil || !graphql.HasOperationContext(ctx) { //nolint:errorlint // the same value, not the same kind
		return err
	}
	oc := graphql.GetOperationContext(ctx)
	if !cursorIn(oc, ast.SelectionSet{fc.Field.Field}) {
		return err // the server's own fault
	}
	var at *gqlerror.Error
	if !errors.As(err, &at) {
		return said
	}
	return &gqlerror.Error{Err: said, Message: said.Error(), Path: at.Path, Locations: at.Locations}
}

// cursorIn says whether a page of the selection begins or ends at a cursor.
func cursorIn(oc *graphql.OperationContext, set ast.SelectionSet) bool {
	return anyField(oc, set, func(f *ast.Field) bool {
		for _, name := range []string{"after", "before"} {
			if a := f.Arguments.ForName(name); a != nil {
				if v, err := a.Value.Value(oc.Variables); err != nil || v != nil {
					return true
				}
			}
		}
		return false
	})
}

// anyField says whether is holds of a field anywhere in a selection.
func anyField(oc *graphql.OperationContext, set ast.SelectionSet, is func(*ast.Field) bool) bool {
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			if is(sel) || anyField(oc, sel.SelectionSet, is) {
				return true
			}
		case *ast.InlineFragment:
			if anyField(oc, sel.SelectionSet, is) {
				return true
			}
		case *ast.FragmentSpread:
			if f := oc.Doc.Fragments.ForName(sel.Name); f != nil && anyField(oc, f.SelectionSet, is) {
				return true
			}
		}
	}
	return false
}
