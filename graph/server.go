package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/google/uuid"

	"entgo.io/contrib/entgql"

	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp"
	"cdsa.dev/cdsa/internal/realtime/transport"
)

// NewHandler is the GraphQL endpoint: what comes first sees an operation first.
func NewHandler(r *Resolver, settings gqlhttp.Settings, streams *transport.Server) *handler.Server {
	srv := handler.New(generated.NewExecutableSchema(generated.Config{Resolvers: r, Directives: directives(r.Audit)}))
	srv.Use(extension.Introspection{}) // who may use it, settings decides
	srv.AroundOperations(func(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
		ctx = withPosition(ctx, r.Position())
		if authz.From(ctx) == nil {
			ctx = authz.WithSlot(ctx)
		}
		return next(ctx)
	})
	settings.ValidCursor = validCursor
	settings.Install(srv)
	srv.AddTransport(streams.WebSocket())
	srv.AddTransport(streams.SSE())
	for _, t := range settings.Transports() {
		srv.AddTransport(t)
	}
	return srv
}

// validCursor refuses what is no cursor before entgql takes it for one.
func validCursor(_, cursor string) error {
	var c entgql.Cursor[uuid.UUID]
	if err := c.UnmarshalGQL(cursor); err != nil || c.ID == uuid.Nil {
		return errs.Input("after", "This is not a cursor of this list. Pass one exactly as it was received, or none.")
	}
	return nil
}
