package transport

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/outbox"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

const typeEventStream = "text/event-stream"

// eventStream is the graphql.Transport of graphql-sse, distinct connections mode. Authentication is that of HTTP and
// comes in the request's context.
type eventStream struct{ s *Server }

// arrival is when the judging of the request's token began, so that a revocation during it is not missed; where nobody
// noted it, now.
func arrival(ctx context.Context) time.Time {
	if at := authz.RequestFrom(ctx).Arrived; !at.IsZero() {
		return at
	}
	return time.Now()
}

type connKey struct{}

// ConnContext is for http.Server.ConnContext: with it, event streams bound what a client that does not read hides in
// the kernel, as websockets always do.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Supports GET and POST whose Accept prefers an event stream to JSON. Clients that list it beside JSON for all their
// operations are answered by the transports of plain HTTP.
func (t eventStream) Supports(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	if !slices.ContainsFunc(r.Header["Accept"], mentionsStream) { // most requests; what follows takes longer than it looks
		return false
	}
	stream, json := 0.0, 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		typ, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		switch typ {
		case typeEventStream:
			stream = max(stream, q)
		case "application/json", "application/graphql-response+json":
			json = max(json, q)
		}
	}
	return stream > json
}

// mentionsStream says whether an Accept header has the type of event streams in it somewhere, in any case.
func mentionsStream(accept string) bool {
	for i := 0; i+len(typeEventStream) <= len(accept); i++ {
		if accept[i]|0x20 == typeEventStream[0] && strings.EqualFold(accept[i:i+len(typeEventStream)], typeEventStream) {
			return true
		}
	}
	return false
}

// Do answers with a stream, or with JSON and a status where the request itself is wrong.
func (t eventStream) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	if err := t.s.admit(r.Context()); err != nil {
		if limited, ok := errs.As(err); ok {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((limited.RetryAfter+time.Second-1)/time.Second), 10))
		}
		refuseWith(w, http.StatusTooManyRequests, t.s.answer(r.Context(), exec, err))
		return
	}
	params, status, e := t.s.request(w, r)
	if e != nil {
		refuse(w, status, e)
		return
	}
	st := newStream(t.s, exec, r.Context())
	defer st.close()
	p := authz.From(r.Context())
	if !t.s.enter(st, nil) {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, errs.New(errs.ResourceExhausted, busy))
		return
	}
	defer t.s.leave(st)
	holds, err := t.s.adopt(st.ctx, st, p, arrival(r.Context()))
	switch {
	case err != nil:
		t.s.cfg.Log.Warn("an event stream was not opened: its caller's rights could not be read", "request_id", authz.RequestFrom(r.Context()).ID, "error", err)
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusServiceUnavailable, errs.New(errs.UpstreamUnavailable, "%s", unsure))
		return
	case !holds:
		refuse(w, http.StatusUnauthorized, errs.New(errs.Unauthenticated, "%s", changed))
		return
	case st.expired(time.Now()):
		refuse(w, http.StatusUnauthorized, errs.New(errs.Unauthenticated, "The access token has expired. Refresh it and connect again."))
		return
	}
	ticket := &realtime.Ticket{Position: t.s.cfg.Hub.Position()}
	ctx := realtime.WithTicket(graphql.StartOperationTrace(st.ctx), ticket)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		ctx = realtime.WithLastEventID(ctx, id)
	}
	oc, list := exec.CreateOperationContext(ctx, params)
	ctx = graphql.WithOperationContext(ctx, oc)
	if len(list) == 0 && r.Method == http.MethodGet && oc.Operation.Operation == ast.Mutation {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, errs.New(errs.BadUserInput, "Mutations need POST."))
		return
	}
	if err := open(w, r); err != nil {
		t.s.cfg.Log.Error("event stream not possible", "request_id", authz.RequestFrom(ctx).ID, "error", err)
		return
	}
	if len(list) > 0 {
		st.last(exec.DispatchError(ctx, list))
	} else {
		t.s.work.run(func() { st.run(ctx, oc, ticket) })
	}
	st.serve(w, r.Context().Done())
}

// open sends the head of the answer at once, so that the client knows that it is connected.
func open(w http.ResponseWriter, r *http.Request) error {
	if c, ok := r.Context().Value(connKey{}).(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(outbox.KernelBuffer) // a hint: without it the client is only cut off later
	}
	rc := http.NewResponseController(w)
	for _, err := range []error{rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})} {
		if err != nil && !errors.Is(err, http.ErrNotSupported) { // the server's deadlines are meant for short answers
			return err
		}
	}
	h := w.Header()
	h.Set("Content-Type", typeEventStream+"; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy's buffer would hold events back
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(wire.KeepAlive); err != nil {
		return err
	}
	return rc.Flush()
}

// request reads the operation. The error goes with the HTTP status.
func (s *Server) request(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, int, *errs.Error) {
	start := graphql.Now()
	var p *graphql.RawParams
	var size, status int // bytes read
	var e *errs.Error
	if r.Method == http.MethodGet {
		if s.crossSite(r) {
			return nil, http.StatusForbidden, errs.New(errs.Forbidden, "Requests from this site are refused. Ask the operator to allow its origin.")
		}
		size = len(r.URL.RawQuery)
		p, status, e = fromURL(r.URL)
	} else {
		p, size, status, e = s.fromBody(w, r)
	}
	if e == nil && wire.HasNUL(p) {
		status, e = http.StatusBadRequest, errs.New(errs.BadUserInput, "Text must not hold a NUL character.")
	}
	if e != nil {
		s.debit(r.Context(), size)
		return nil, status, e
	}
	p.Headers = r.Header
	p.ReadTime = graphql.TraceTiming{Start: start, End: graphql.Now()}
	return p, 0, nil
}

func fromURL(u *url.URL) (*graphql.RawParams, int, *errs.Error) {
	bad := func(what string) (*graphql.RawParams, int, *errs.Error) {
		return nil, http.StatusBadRequest, errs.New(errs.BadUserInput, "%s", what)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("The URL's query is not valid.")
	}
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if !utf8.ValidString(q.Get(name)) {
			return bad("The parameters are not valid UTF-8.")
		}
	}
	p := &graphql.RawParams{Query: q.Get("query"), OperationName: q.Get("operationName")}
	if p.Query == "" && q.Get("extensions") == "" {
		return bad("The parameter query is missing.")
	}
	if p.Variables, err = wire.Variables([]byte(q.Get("variables"))); err != nil {
		return bad("The parameter variables must be a JSON object.")
	}
	if p.Extensions, err = wire.Variables([]byte(q.Get("extensions"))); err != nil {
		return bad("The parameter extensions must be a JSON object.")
	}
	return p, 0, nil
}

func (s *Server) fromBody(w http.ResponseWriter, r *http.Request) (p *graphql.RawParams, size, status int, e *errs.Error) {
	typ, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if cs := params["charset"]; err != nil || typ != "application/json" || cs != "" && !strings.EqualFold(cs, "utf-8") {
		return nil, 0, http.StatusUnsupportedMediaType, errs.New(errs.BadUserInput, "Send the operation as application/json in UTF-8.")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, 0, http.StatusRequestEntityTooLarge, errs.New(errs.ResourceExhausted, "The request is larger than %d bytes. Send less.", s.cfg.MaxBody)
	case err != nil:
		return nil, 0, http.StatusBadRequest, errs.Wrap(err, errs.BadUserInput, "The request did not arrive whole. Send it again.")
	case !utf8.Valid(b):
		return nil, len(b), http.StatusBadRequest, errs.New(errs.BadUserInput, "The request is not valid UTF-8.")
	}
	p, err = wire.Request(b)
	if err != nil {
		return nil, len(b), http.StatusBadRequest, errs.New(errs.BadUserInput, "The body must be a JSON object with a query string; variables and extensions must be objects.")
	}
	return p, len(b), 0, nil
}

func unauthenticated(sentence string) *graphql.Response {
	return &graphql.Response{Errors: gqlerror.List{present(errs.New(errs.Unauthenticated, "%s", sentence))}}
}
