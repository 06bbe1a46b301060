// Package graph is the GraphQL API: a resolver translates arguments, calls one service and returns what it gave. Coarse
// permissions are the schema's directives; which rows are visible is decided by the ent policies.
package graph

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/access"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/chat"
	"cdsa.dev/cdsa/internal/dispatch"
	"cdsa.dev/cdsa/internal/document"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/read"
)

// Resolver holds what resolvers call. It is read-only after the start.
type Resolver struct {
	Client     *ent.Client
	Audit      *audit.Recorder
	Accounts   *account.Service
	OIDC       *oidc.Set
	Chats      *chat.Service
	Executions *execution.Service
	Approvals  *approval.Service
	Documents  *document.Service
	Models     *llm.Registry
	Cursors    *event.Cursors
	Position   func() uint64 // of the event stream
	Dispatch   *dispatch.Dispatcher
	Reads      *read.Reader
	Access     *access.Simulator
	Info       Info
}

// Info is what serverInfo tells that is fixed at start.
type Info struct {
	Version      string
	Registration string
}

// operation is the context of an operation, with what it carries in one piece.
type operation struct {
	context.Context
	position uint64 // of the event stream, before the operation read anything
	witness  *authz.Witness
	rows     batch.Scope // of the present response
}

type operationKey struct{}

// Value finds the operation and its rows.
func (o *operation) Value(key any) any {
	switch key.(type) {
	case operationKey:
		return o
	case authz.WitnessKey:
		return o.witness
	case batch.Key:
		return &o.rows
	}
	return o.Context.Value(key)
}

func (r *Resolver) position(ctx context.Context) uint64 {
	if o, ok := ctx.Value(operationKey{}).(*operation); ok {
		return o.position
	}
	return r.Position()
}

func ptr[T any](v T) *T { return &v }

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
