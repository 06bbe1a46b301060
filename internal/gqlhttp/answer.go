package gqlhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp/document"
	"cdsa.dev/cdsa/internal/ratelimit"
)

// maxPooled is the largest buffer kept for the next request, bytes.
const maxPooled = 1 << 20

// buffers holds a request's body and its answer.
type buffers struct {
	in  bytes.Buffer
	out []byte
}

var bufferPool = sync.Pool{New: func() any { return &buffers{out: make([]byte, 0, 16<<10)} }}

func borrow() *buffers { return bufferPool.Get().(*buffers) }

func (b *buffers) release() {
	if b.in.Cap() <= maxPooled && cap(b.out) <= maxPooled {
		b.in.Reset()
		b.out = b.out[:0]
		bufferPool.Put(b)
	}
}

// endpoint is what the transports share.
type endpoint struct {
	Settings
	present graphql.ErrorPresenterFunc
	recover graphql.RecoverFunc
}

// exchange is one request and its answer.
type exchange struct {
	*endpoint
	w     http.ResponseWriter
	r     *http.Request
	exec  graphql.GraphExecutor
	media media
	buf   *buffers
	wrote bool
}

// serve runs f with the answer's type negotiated, a buffer borrowed and panics turned into INTERNAL_SERVER_ERROR.
func (e *endpoint) serve(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor, f func(*exchange)) {
	x := &exchange{endpoint: e, w: w, r: r, exec: exec, buf: borrow()}
	defer x.buf.release()
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) || x.wrote {
				panic(v)
			}
			x.refuse(http.StatusInternalServerError, e.recover(r.Context(), v))
		}
	}()
	h := w.Header()
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	var ok bool
	if x.media, ok = negotiate(r.Header["Accept"]); !ok {
		x.refuse(http.StatusNotAcceptable, errs.New(errs.BadUserInput,
			"This endpoint answers application/graphql-response+json or application/json. Accept one of them."))
		return
	}
	f(x)
}

var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
)

// refuse answers a request that is not well formed as HTTP or as an envelope.
func (x *exchange) refuse(status int, err error) {
	x.write(status, &graphql.Response{Errors: gqlerror.List{x.present(x.r.Context(), err)}})
}

// refuseInput is refuse for what is the request's own fault: its caller pays for the bytes that were read to find it.
func (x *exchange) refuseInput(status, bytes int, err error) {
	if x.Budgets != nil {
		x.Budgets.Debit(x.r.Context(), ratelimit.RefusedPoints(bytes, 0))
	}
	x.refuse(status, err)
}

// admit says whether the caller has anything left to pay a refusal with; false means that the answer is sent, and nothing
// of the body was looked at.
func (x *exchange) admit() bool {
	if x.Budgets == nil {
		return true
	}
	err := x.Budgets.Admit(x.r.Context())
	if err == nil {
		return true
	}
	if n := x.r.ContentLength; n < 0 || n > serverDrains {
		x.drain()
	}
	x.requestError(&graphql.Response{Errors: gqlerror.List{x.present(x.r.Context(), err)}})
	return false
}

// run executes a request. refuseOp may turn an operation away before anything of it runs.
func (x *exchange) run(p *graphql.RawParams, start graphql.TraceTiming, refuseOp func(ast.Operation) (int, error)) {
	p.Headers = x.r.Header
	p.ReadTime = start
	p.ReadTime.End = graphql.Now()
	ctx := graphql.StartOperationTrace(x.r.Context())
	oc, list := x.exec.CreateOperationContext(ctx, p)
	if len(list) != 0 {
		x.requestError(x.exec.DispatchError(graphql.WithOperationContext(ctx, oc), list))
		return
	}
	if status, err := refuseOp(oc.Operation.Operation); err != nil {
		x.refuse(status, err)
		return
	}
	next, ctx := x.exec.DispatchOperation(ctx, oc)
	resp := next(ctx)
	switch {
	case resp == nil: // the executor has no answer once its context is done
		err := context.Cause(ctx)
		if err == nil {
			err = fmt.Errorf("operation %s gave no response", oc.Operation.Operation)
		}
		x.refuse(http.StatusServiceUnavailable, err)
	case len(resp.Data) == 0:
		x.requestError(resp)
	default:
		x.write(http.StatusOK, resp)
	}
}

// refuseSubscription turns away what these transports cannot stream.
func refuseSubscription(op ast.Operation) (int, error) {
	if op == ast.Subscription {
		return http.StatusBadRequest, errs.New(errs.BadUserInput,
			"Subscriptions are served over websocket (graphql-transport-ws) or server-sent events (Accept: text/event-stream).")
	}
	return 0, nil
}

// requestError answers a well-formed request that did not come to execution: 200 under application/json, for clients
// that read no other status, and the status of its code under application/graphql-response+json.
func (x *exchange) requestError(resp *graphql.Response) {
	resp.Data = nil
	status := http.StatusOK
	if x.media == mediaResponse {
		status = statusOf(resp.Errors)
	}
	if len(resp.Errors) > 0 {
		if ms, ok := resp.Errors[0].Extensions["retryAfterMs"].(int64); ok {
			x.w.Header()["Retry-After"] = []string{strconv.FormatInt((ms+999)/1000, 10)}
		}
	}
	x.write(status, resp)
}

func statusOf(list gqlerror.List) int {
	if len(list) == 0 {
		return http.StatusInternalServerError
	}
	code, _ := list[0].Extensions["code"].(string)
	switch errs.Code(code) {
	case errs.Unauthenticated:
		return http.StatusUnauthorized
	case errs.Forbidden:
		return http.StatusForbidden
	case errs.RateLimited:
		return http.StatusTooManyRequests
	case errs.UpstreamUnavailable:
		return http.StatusServiceUnavailable
	case errs.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// write sends the answer. The finished data is copied as it is, never parsed again.
func (x *exchange) write(status int, resp *graphql.Response) {
	b := append(x.buf.out[:0], '{')
	if len(resp.Errors) > 0 {
		b = appendJSON(append(b, `"errors":`...), resp.Errors)
	}
	if len(resp.Data) > 0 {
		b = append(comma(b), `"data":`...)
		b = append(b, resp.Data...)
	}
	if len(resp.Extensions) > 0 {
		b = appendExtensions(append(comma(b), `"extensions":`...), resp.Extensions)
	}
	b = append(b, '}')
	x.buf.out = b
	h := x.w.Header()
	h["Content-Type"] = contentTypes[x.media]
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	x.wrote = true
	x.w.WriteHeader(status)
	// A failed write means the client has gone: there is nobody left to tell.
	_, _ = x.w.Write(b)
}

func comma(b []byte) []byte {
	if len(b) > 1 {
		return append(b, ',')
	}
	return b
}

// appendExtensions writes the budget, which every answer has and most have alone, without a marshaller.
func appendExtensions(b []byte, ext map[string]any) []byte {
	budget, ok := ext[document.CostExtension].(*ratelimit.Budget)
	if !ok || len(ext) > 1 {
		return appendJSON(b, ext)
	}
	b = append(b, `{"`+document.CostExtension+`":`...)
	return append(budget.AppendJSON(b), '}')
}

// appendJSON panics on what cannot be marshalled: an extension's fault, answered by serve.
func appendJSON(b []byte, v any) []byte {
	j, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("answer cannot be marshalled: %w", err))
	}
	return append(b, j...)
}
