package httpx

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// LogHandler adds request_id and principal_id to every record that is logged with a request's context. It costs
// nothing until something is logged.
type LogHandler struct{ inner slog.Handler }

// NewLogHandler wraps a handler; one that is wrapped already stays as it is.
func NewLogHandler(inner slog.Handler) slog.Handler {
	if _, ok := inner.(LogHandler); ok {
		return inner
	}
	return LogHandler{inner}
}

// Enabled asks the handler inside.
func (h LogHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// Handle adds what the context knows.
func (h LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := authz.RequestFrom(ctx).ID; id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	switch p := authz.From(ctx); {
	case p.IsSystem():
		r.AddAttrs(slog.String("principal_id", p.Username))
	case p != nil:
		r.AddAttrs(slog.String("principal_id", p.UserID.String()))
	}
	return h.inner.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h LogHandler) WithAttrs(a []slog.Attr) slog.Handler { return LogHandler{h.inner.WithAttrs(a)} }

// WithGroup keeps the wrapping.
func (h LogHandler) WithGroup(name string) slog.Handler { return LogHandler{h.inner.WithGroup(name)} }

const maxLogged = 200 // bytes of a path

// finish ends a request: a panic becomes a 500, the metrics are counted, one line is logged.
func (h *Handler) finish(x *response, r *http.Request) {
	v := recover()
	if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // net/http compares the same way
		h.logPanic(x, r, v)
		if !x.started() {
			Refuse(x, r, errs.New(errs.Internal, "Something went wrong on the server. Quote the request id to its operator."))
			v = nil
		} else {
			v = http.ErrAbortHandler // half an answer is cut off, so that it is not taken for a whole one
		}
	}
	if x.status == 0 {
		x.status = http.StatusOK
	}
	now := time.Now()
	if !x.hijacked {
		x.renew(now) // net/http writes what is still buffered
	}
	h.metrics.observe(x, r, now.Sub(x.began))
	h.logAccess(x, r, now.Sub(x.began))
	if v != nil {
		panic(v)
	}
}

func (h *Handler) logAccess(x *response, r *http.Request, took time.Duration) {
	level := slog.LevelInfo
	switch x.route {
	case "GET /healthz", "GET /readyz", "GET /metrics":
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if !h.cfg.Logger.Enabled(ctx, level) {
		return
	}
	h.cfg.Logger.LogAttrs(ctx, level, "request",
		slog.String("method", cut(r.Method, 16)), slog.String("path", cut(r.URL.Path, maxLogged)), slog.Int("status", x.status),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.Int64("bytes", x.bytes))
}

// logPanic logs where it happened and of what type. The value itself may hold anything a request held; only the
// runtime's own errors (nil pointer, index out of range) are known not to.
func (h *Handler) logPanic(x *response, r *http.Request, v any) {
	ctx := r.Context()
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	h.cfg.Logger.ErrorContext(ctx, "panic in a handler", "panic", what, "route", x.route, "stack", string(debug.Stack()))
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
