package httpx

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cdsa.dev/cdsa/internal/errs"
)

// allowedHeaders are what the server reads, and what Apollo Client and tracers send unasked.
const allowedHeaders = "Authorization, Content-Type, Accept, X-Request-Id, Last-Event-ID, GraphQL-Require-Preflight, Apollo-Require-Preflight, " +
	"Apollographql-Client-Name, Apollographql-Client-Version, X-Apollo-Operation-Name, Traceparent, Tracestate, Baggage"

// headers are fixed ones of an answer, made once: every answer shares their values, so that nobody may change one in place.
type headers []struct {
	key    string
	values []string
}

func (h headers) set(to http.Header) {
	for i := range h {
		to[h[i].key] = h[i].values
	}
}

// apiHeaders are for answers that no browser shows or keeps. They are few because every answer pays for them.
var apiHeaders = headers{
	{"X-Content-Type-Options", []string{"nosniff"}}, {"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}}, {"Cache-Control", []string{"no-store"}},
}

// pageHeaders are for the playground: its own scripts and workers, the inline styles its editor writes, and its
// connections to this server, by websocket too.
var pageHeaders = headers{
	{"X-Content-Type-Options", []string{"nosniff"}}, {"X-Frame-Options", []string{"DENY"}}, {"Referrer-Policy", []string{"no-referrer"}},
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}}, {"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=()"}},
	{"Content-Security-Policy", []string{"default-src 'self'; style-src 'self' 'unsafe-inline'; " +
		"worker-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; font-src 'self' data:; object-src 'none'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"}},
}

// Origins is the list of web origins that may call from a browser, besides the server's own.
type Origins map[string]bool

// NewOrigins takes serialised origins, as https://app.example.org.
func NewOrigins(list []string) Origins {
	o := Origins{}
	for _, s := range list {
		o[strings.ToLower(s)] = true
	}
	return o
}

// Allows says whether the request comes from no web page at all, from this server's own or from a listed one. The
// websocket's handshake asks the same question.
func (o Origins) Allows(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	return len(values) == 1 && (sameOrigin(values[0], r.Host) || o[strings.ToLower(values[0])])
}

// sameOrigin compares hosts only: behind a proxy that ends TLS the scheme is not known here.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Host, host)
}

// cors lets listed origins in and answers their preflights. A page of any other origin is refused outright. No
// cookies are used, so Access-Control-Allow-Credentials is never sent.
func (h *Handler) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd["Vary"] = varyOrigin
		origin := r.Header.Get("Origin")
		if !h.origins.Allows(r) {
			h.noteOrigin(r)
			Refuse(w, r, errs.New(errs.Forbidden, "Pages of this origin may not call the server. Its operator can allow them by CDSA_ALLOWED_ORIGINS."))
			return
		}
		if origin != "" && !sameOrigin(origin, r.Host) {
			hd.Set("Access-Control-Allow-Origin", origin)
			hd.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			hd.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
			hd.Set("Access-Control-Allow-Methods", "GET, POST")
			hd.Set("Access-Control-Allow-Headers", allowedHeaders)
			hd.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var varyOrigin = []string{"Origin"}

// noteOrigin tells the operator what a browser hides from the page's author, once a minute at most.
func (h *Handler) noteOrigin(r *http.Request) {
	now, last := time.Now().Unix(), h.originNoted.Load()
	if now-last < 60 || !h.originNoted.CompareAndSwap(last, now) {
		return
	}
	origin := r.Header.Get("Origin")
	h.cfg.Logger.WarnContext(r.Context(), "a page of an origin that CDSA_ALLOWED_ORIGINS does not list was refused", "origin", origin[:min(len(origin), 200)])
}

func isMultipart(r *http.Request) bool {
	value := r.Header.Get("Content-Type")
	if value == "application/json" { // nearly always, and parsing takes longer than all else here
		return false
	}
	kind, _, err := mime.ParseMediaType(value)
	return err == nil && kind == "multipart/form-data"
}
