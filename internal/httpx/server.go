package httpx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ServerConfig sets the limits of connections. Zero values take the defaults.
type ServerConfig struct {
	Logger         *slog.Logger
	HeaderTimeout  time.Duration // to receive request headers, default 5 s
	IdleTimeout    time.Duration // of a kept connection, default 2 min
	MaxHeaderBytes int           // default 32 KiB
}

// NewServer makes the http.Server of a handler. It has no ReadTimeout and no WriteTimeout on purpose: Handler sets
// deadlines per request, so that a body must come in time and a peer must read, while a stream may last.
func NewServer(h http.Handler, c ServerConfig) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cmp.Or(c.HeaderTimeout, 5*time.Second),
		IdleTimeout:       cmp.Or(c.IdleTimeout, 2*time.Minute),
		MaxHeaderBytes:    cmp.Or(c.MaxHeaderBytes, 32<<10),
		// net/http names peers' addresses in what it logs.
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
}

// Serve serves until ctx ends, then stops: draining is called at once (Handler.Drain), new connections are refused,
// requests under way have grace to end, of which the last quarter with their contexts cancelled, and what is left
// is cut off. Hijacked connections are their owner's to close, by srv.RegisterOnShutdown or their context. It gives
// nil after a clean stop, and an error when serving failed or something had to be cut off.
func Serve(ctx context.Context, srv *http.Server, ln net.Listener, grace time.Duration, draining func()) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return base }
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	if draining != nil {
		draining()
	}
	limit, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	hurry := time.AfterFunc(grace*3/4, cancel)
	defer hurry.Stop()
	err := srv.Shutdown(limit)
	if err != nil {
		err = srv.Shutdown(limit) // it looks only every half second; this is one more look, at the end
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were cut off after %v: %w", grace, err), srv.Close())
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
