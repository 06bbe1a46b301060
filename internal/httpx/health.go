package httpx

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cdsa.dev/cdsa/internal/errs"
)

// Check is one thing that must work for this replica to serve.
type Check struct {
	Name string // as "postgres"; shown to everyone
	Run  func(ctx context.Context) error
}

const (
	checkTimeout = 2 * time.Second
	readyKept    = 500 * time.Millisecond // anyone may ask, so the answer is not made anew each time
)

// readiness answers /readyz: 200 when every check passes and the server is not draining, else 503. It names the
// checks and never says why one failed; that goes to the log.
type readiness struct {
	checks   []Check
	log      *slog.Logger
	draining *atomic.Bool

	mu     sync.Mutex
	at     time.Time
	states map[string]string
	ok     bool
}

type readyBody struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

func (c *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	states, ok := c.run(r.Context())
	switch {
	case c.draining.Load():
		writeJSON(w, http.StatusServiceUnavailable, readyBody{"draining", states})
	case !ok:
		writeJSON(w, http.StatusServiceUnavailable, readyBody{"unavailable", states})
	default:
		writeJSON(w, http.StatusOK, readyBody{"ok", states})
	}
}

func (c *readiness) run(ctx context.Context) (map[string]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < readyKept {
		return c.states, c.ok
	}
	// One answer serves many askers: that one of them leaves is no failure.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	failed := make([]error, len(c.checks))
	done := make(chan int, len(c.checks)) // room for all: a check that ignores its context must not be waited for
	for i, check := range c.checks {
		go func() {
			failed[i] = guarded(ctx, check)
			done <- i
		}()
	}
	states := make(map[string]string, len(c.checks))
	for _, check := range c.checks {
		states[check.Name] = "timeout"
	}
	passed := 0
	for range c.checks {
		select {
		case i := <-done:
			if states[c.checks[i].Name] = "ok"; failed[i] == nil {
				passed++
				continue
			}
			states[c.checks[i].Name] = "failed"
			c.log.WarnContext(ctx, "not ready", "check", c.checks[i].Name, "error", failed[i])
		case <-ctx.Done():
			c.log.WarnContext(ctx, "not ready: a check does not answer")
		}
	}
	c.at, c.states, c.ok = time.Now(), states, passed == len(c.checks)
	return c.states, c.ok
}

func guarded(ctx context.Context, c Check) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v)
		}
	}()
	return c.Run(ctx)
}

// healthz says that the process answers. It asks nothing else, so that a restart is never caused by a database.
func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, readyBody{Status: "ok"})
}

func writeJSON(w http.ResponseWriter, status int, v readyBody) {
	b, err := json.Marshal(v)
	if err != nil { // strings only
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has gone away is not an event
}

// operators guards what is for those who run the server: with a token, whoever has it; without, programs on this
// machine that come directly. The Host is looked at because a web page can point a name of its own at 127.0.0.1.
func (h *Handler) operators(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" {
			given, err := bearer(r)
			got := sha256.Sum256([]byte(given))
			if err != nil || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				Refuse(w, r, errs.New(errs.Unauthenticated, "This page needs the operator's token."))
				return
			}
		} else if !h.direct(r) {
			Refuse(w, r, errs.New(errs.Forbidden, "This page answers programs on the server's own machine only, or those that hold the operator's token."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// direct says whether a request comes from a program on this machine and for itself. A trusted proxy never speaks for
// itself, whatever headers it sets or leaves out.
func (h *Handler) direct(r *http.Request) bool {
	peer, ok := peerAddr(r)
	if !ok || !peer.IsLoopback() || contains(h.cfg.TrustedProxies, peer) || r.Header.Get("Origin") != "" {
		return false
	}
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && a.IsLoopback()
}

func profiler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/debug/pprof/", pprof.Index)
	m.HandleFunc("/debug/pprof/cmdline", http.NotFound) // arguments may hold what is not for a profile
	m.HandleFunc("/debug/pprof/profile", pprof.Profile)
	m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return m
}
