// Package httpx is everything between the socket and the API: routes, request ids, the client's address, the access
// log, bearer authentication, CORS, security headers, health, metrics and the server's time limits.
//
// It knows nothing of GraphQL beyond the form of an error, decides nothing about rows, and refuses to guess: a
// credential that is present but wrong answers 401 and never goes on as anonymous, a forwarded address is believed
// only from a configured proxy, and neither bodies, queries, tokens nor the values of panics are logged.
//
// A Handler is safe for concurrent use. Handlers behind it may hijack and stream: the time limits are set per
// request so that a websocket or an SSE stream lives as long as its peer reads.
package httpx

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdsa.dev/cdsa/internal/authz"
)

// Config wires a Handler. Authenticate and Logger are needed; the rest may be absent.
type Config struct {
	Logger *slog.Logger
	// Authenticate turns a bearer token ("" when there is none) into a principal; auth.Authenticator has it.
	Authenticate func(ctx context.Context, bearer string) (*authz.Principal, error)
	// Limit is asked after authentication, before the handler; its error is answered (RATE_LIMITED: 429).
	Limit func(r *http.Request, p *authz.Principal) error

	API    map[string]http.Handler // by ServeMux pattern: authenticated routes, as "/graphql"
	Public map[string]http.Handler // routes without authentication, as "/" for the playground

	Checks         []Check        // of /readyz
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	AllowedOrigins []string       // beyond the server's own, for CORS

	Collectors   []prometheus.Collector // more metrics than those of HTTP, Go and the process
	MetricsToken string                 // bearer token of /metrics; "": direct callers on this machine only
	PProf        bool                   // serve /debug/pprof/ to direct callers on this machine

	MaxBody     int64         // bytes of any body, a last barrier behind the transports' own limits; default 110 MiB
	BodyTimeout time.Duration // to receive a body; ten times that for multipart; default 30 s
}

// Handler is the whole HTTP side.
type Handler struct {
	cfg      Config
	mux      *http.ServeMux
	origins  Origins
	metrics  *metrics
	ready    *readiness
	draining atomic.Bool

	originNoted atomic.Int64 // Unix time
}

// New wires the routes.
func New(cfg Config) (*Handler, error) {
	if cfg.Logger == nil || cfg.Authenticate == nil {
		return nil, errors.New("httpx needs a logger and an authenticator")
	}
	cfg.Logger = slog.New(NewLogHandler(cfg.Logger.Handler()))
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 110 << 20
	}
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = 30 * time.Second
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), origins: NewOrigins(cfg.AllowedOrigins), metrics: newMetrics(cfg.Collectors)}
	h.ready = &readiness{checks: cfg.Checks, log: cfg.Logger, draining: &h.draining}
	for pattern, next := range cfg.API {
		h.route(pattern, apiHeaders, h.authenticated(next))
	}
	for pattern, next := range cfg.Public {
		h.route(pattern, pageHeaders, next)
	}
	h.route("GET /healthz", apiHeaders, http.HandlerFunc(healthz))
	h.route("GET /readyz", apiHeaders, h.ready)
	h.route("GET /metrics", apiHeaders, h.operators(cfg.MetricsToken, h.metrics.handler()))
	if cfg.PProf {
		h.route("/debug/pprof/", apiHeaders, h.operators("", profiler()))
	}
	if _, ok := cfg.Public["/"]; !ok {
		h.route("/", apiHeaders, http.NotFoundHandler())
	}
	return h, nil
}

// route registers a handler with the headers of its kind. CORS is for the API's routes alone.
func (h *Handler) route(pattern string, headers headers, next http.Handler) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if x, ok := w.(*response); ok {
			x.route = pattern
		}
		headers.set(w.Header())
		next.ServeHTTP(w, r)
	})
}

// Drain makes /readyz answer 503 so that a load balancer looks elsewhere; requests are still served.
func (h *Handler) Drain() { h.draining.Store(true) }

// ServeHTTP gives the request its id, address and time limits, serves it, and writes one line of log.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &response{ResponseWriter: w, began: time.Now()}
	x.ctx = authz.NewRequestContext(r.Context(), authz.Request{ID: requestID(r), IP: clientIP(r, h.cfg.TrustedProxies), UserAgent: userAgent(r), Arrived: x.began})
	x.Header()["X-Request-Id"] = []string{authz.RequestFrom(x.ctx).ID}
	r = r.WithContext(x.ctx)
	h.limitBody(x, r)
	h.metrics.inFlight.Inc()
	defer h.finish(x, r)
	h.mux.ServeHTTP(x, r)
}

// authenticated puts the caller's principal into the context, or answers 401.
func (h *Handler) authenticated(next http.Handler) http.Handler {
	return h.cors(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := bearer(r)
		if err != nil {
			Refuse(w, r, err)
			return
		}
		p, err := h.cfg.Authenticate(r.Context(), token)
		if err == nil && p == nil && token != "" {
			err = errors.New("the authenticator gave neither a principal nor an error")
		}
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		if p != nil {
			if x, ok := w.(*response); ok {
				x.ctx.Identify(p)
			} else {
				r = r.WithContext(authz.With(r.Context(), p))
			}
		}
		if h.cfg.Limit != nil {
			if err := h.cfg.Limit(r, p); err != nil {
				h.refuse(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	}))
}
