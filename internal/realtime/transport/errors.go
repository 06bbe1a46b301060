package transport

import (
	"context"
	"fmt"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/ratelimit"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

const internalFault = "Something went wrong on the server. Quote the request id to its operator."

// present makes a GraphQL error that is safe without any presenter: what is not an *errs.Error gets the fixed sentence.
func present(err error) *gqlerror.Error {
	e, ok := errs.As(err)
	if !ok {
		e = errs.Wrap(err, errs.Internal, internalFault)
	}
	return &gqlerror.Error{Err: e, Message: e.Message, Extensions: map[string]any{"code": string(e.Code)}}
}

// answer passes err through the server's presenter. It never panics.
func (s *Server) answer(ctx context.Context, exec graphql.GraphExecutor, err error) (r *graphql.Response) {
	if _, ok := errs.As(err); !ok {
		s.cfg.Log.Error("operation failed", "request_id", authz.RequestFrom(ctx).ID, "error", err)
	}
	plain := &graphql.Response{Errors: gqlerror.List{present(err)}}
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Log.Error("panic while presenting an error", "request_id", authz.RequestFrom(ctx).ID, "type", fmt.Sprintf("%T", p))
			r = plain
		}
	}()
	if r = exec.DispatchError(ctx, plain.Errors); r == nil || len(r.Errors) == 0 {
		return plain
	}
	return r
}

// recovered makes the answer of a panic, by the server's recover function where the executor lends it.
func (s *Server) recovered(ctx context.Context, exec graphql.GraphExecutor, p any) *graphql.Response {
	s.cfg.Log.Error("panic in an operation", "request_id", authz.RequestFrom(ctx).ID, "type", fmt.Sprintf("%T", p))
	return s.answer(ctx, exec, errs.New(errs.Internal, internalFault))
}

// tooLong is the error of an operation that was ended for holding a worker, or by its deadline.
func tooLong() *errs.Error {
	e := errs.New(errs.UpstreamUnavailable, "The operation took too long. Try again, or ask for less.")
	e.Retryable = true
	return e
}

// refuse answers a request over plain HTTP.
func refuse(w http.ResponseWriter, status int, e *errs.Error) {
	refuseWith(w, status, &graphql.Response{Errors: gqlerror.List{present(e)}})
}

func refuseWith(w http.ResponseWriter, status int, r *graphql.Response) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(wire.AppendBody(nil, r)) // the client is gone if it fails
}

// admit gives an error to a caller who has nothing left to pay a refusal with.
func (s *Server) admit(ctx context.Context) error {
	if s.cfg.Budgets == nil {
		return nil
	}
	return s.cfg.Budgets.Admit(ctx)
}

// debit charges a request that was refused for what it holds, for the bytes that were read to find it.
func (s *Server) debit(ctx context.Context, bytes int) {
	if s.cfg.Budgets != nil {
		s.cfg.Budgets.Debit(ctx, ratelimit.RefusedPoints(bytes, 0))
	}
}
