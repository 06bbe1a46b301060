// Package transport carries GraphQL over the two transports that stay open: graphql-transport-ws over a websocket, and
// server-sent events (graphql-sse, distinct connections). Queries and mutations work over both.
//
// A websocket is one read goroutine with small buffers and no state of the HTTP request; messages are parsed and
// operations dispatched on a pool of goroutines that come and go, and a subscription that filled its realtime.Ticket is
// executed on the hub's worker. Nothing here waits for a peer (package outbox).
//
// It refuses: a foreign origin, an operation before connection_ack, more than Config.MaxOperations at once, messages
// above Config.MaxMessage, sockets above Config.MaxSockets. A principal's expiry and a change of their rights (Revoke,
// RevokeUser, RevokeAll) end a websocket with 4403 and an event stream with an UNAUTHENTICATED error; where it cannot be
// told what they may do, a websocket ends with 1013 and a stream without a word, and clients come back. Panics end the
// operation. Nothing of a message, an operation or a token is logged.
package transport

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/ratelimit"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/outbox"
)

// Config of a server; zero values are the defaults given.
type Config struct {
	Hub *realtime.Hub // required

	// Init judges connection_init: the connection's context (made from the one given), the principal or nil for
	// anonymous, or an error. An *errs.Error closes with 4403 and its sentence; any other is a fault of ours, is logged
	// and closes with 1013, after which clients try again. Default: all are anonymous.
	Init func(ctx context.Context, payload map[string]any) (context.Context, *authz.Principal, error)
	// Standing reads what login sessions may do now; one that does not stand is missing. Whoever Revoke and its siblings
	// name is ended unless their rights are what they were. Default: none stand.
	Standing func(ctx context.Context, sessions []uuid.UUID) (map[uuid.UUID]*authz.Principal, error)
	// Operation makes the context of one operation over a websocket, for request ids.
	Operation func(context.Context) context.Context
	// Budgets pay for requests that are refused before they are operations; those are charged by the GraphQL handler, from
	// the same budgets. Nil: there are none.
	Budgets *ratelimit.Limiter
	// Origins are allowed besides the server's own, as scheme://host[:port]. Requests without Origin are native clients.
	Origins []string
	Log     *slog.Logger

	InitTimeout time.Duration // to connection_init; 10 s
	Heartbeat   time.Duration // between pings; 15 s
	Silence     time.Duration // without a byte, after which a peer is taken for gone; 40 s
	KeepAlive   time.Duration // between comments of an event stream; 12 s

	MaxOperations int   // of a socket at once; 256
	MaxMessage    int64 // bytes; 1 MiB
	MaxSockets    int   // sockets and streams at once; 20,000
	MaxBody       int64 // bytes of an event stream's request; 2 MiB
	Outbox        outbox.Limits
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.InitTimeout, 10*time.Second)
	set(&c.Heartbeat, 15*time.Second)
	set(&c.Silence, 40*time.Second)
	set(&c.KeepAlive, 12*time.Second)
	if c.MaxOperations <= 0 {
		c.MaxOperations = 256
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = 1 << 20
	}
	if c.MaxSockets <= 0 {
		c.MaxSockets = 20_000
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 2 << 20
	}
	if c.Outbox == (outbox.Limits{}) {
		c.Outbox = outbox.DefaultLimits
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Init == nil {
		c.Init = func(ctx context.Context, _ map[string]any) (context.Context, *authz.Principal, error) {
			return ctx, nil, nil
		}
	}
	if c.Standing == nil {
		c.Standing = func(context.Context, []uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
			return map[uuid.UUID]*authz.Principal{}, nil
		}
	}
	if c.Operation == nil {
		c.Operation = func(ctx context.Context) context.Context { return ctx }
	}
}

// peer is an open socket or stream.
type peer interface {
	tick(now time.Time) // once a second, from one goroutine
	revoke()            // the principal's rights have ended
	suspend()           // it is not known whether they have
	shutdown()          // the server ends
}

// Server knows every open socket and stream. Make it with New, add WebSocket and SSE to the GraphQL handler, end it
// with Close.
type Server struct {
	cfg     Config
	origins map[string]bool
	work    pool
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup // the ticker, the one who checks, and one for each peer

	mu       sync.Mutex
	closed   bool
	peers    map[peer]*authz.Principal
	sessions map[uuid.UUID]time.Time // revoked lately: a peer that is being judged meanwhile must not slip through
	users    map[uuid.UUID]time.Time
	everyone time.Time
	distrust time.Time     // what was judged before is not relied on at all
	doubts   []doubt       // to be checked, the oldest first
	pending  map[peer]bool // those in doubts
	doubted  chan struct{} // capacity 1

	operations atomic.Int64
	sharing    sharing
}

// New makes a server and starts its clock.
func New(cfg Config) *Server {
	cfg.defaults()
	s := &Server{
		cfg: cfg, origins: originSet(cfg.Origins), peers: map[peer]*authz.Principal{},
		sessions: map[uuid.UUID]time.Time{}, users: map[uuid.UUID]time.Time{}, pending: map[peer]bool{}, doubted: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.work.init()
	s.wg.Go(s.clock)
	s.wg.Go(s.inquire)
	return s
}

// WebSocket is the transport of graphql-transport-ws. Add it before the transports of plain HTTP.
func (s *Server) WebSocket() graphql.Transport { return webSocket{s} }

// SSE is the transport of graphql-sse. Add it before the transports of plain HTTP.
func (s *Server) SSE() graphql.Transport { return eventStream{s} }

// Stats are for metrics.
type Stats struct{ Peers, Operations int64 }

// Stats counts what is open now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Peers: int64(len(s.peers)), Operations: s.operations.Load()}
}

// room says whether enter would succeed now.
func (s *Server) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && len(s.peers) < s.cfg.MaxSockets
}

const goingAway = "The server is going away. Connect again."

// ending says whether Close was called.
func (s *Server) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// enter makes room for a peer; false when the server is full or closed. Each success needs a leave.
func (s *Server) enter(c peer, p *authz.Principal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.peers) >= s.cfg.MaxSockets {
		return false
	}
	s.wg.Add(1)
	s.peers[c] = p
	return true
}

func (s *Server) leave(c peer) {
	s.mu.Lock()
	delete(s.peers, c)
	s.mu.Unlock()
	s.wg.Done()
}

// clock sees to timeouts, heartbeats and expiry, one goroutine for all peers.
func (s *Server) clock() {
	every := min(time.Second, s.cfg.InitTimeout/4, s.cfg.Heartbeat/4, s.cfg.Silence/4)
	t := time.NewTicker(max(every, 5*time.Millisecond))
	defer t.Stop()
	var peers []peer
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-t.C:
			peers = s.open(peers[:0], now)
			for _, c := range peers {
				c.tick(now)
			}
			clear(peers)
		}
	}
}

func (s *Server) open(to []peer, now time.Time) []peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.peers {
		to = append(to, c)
	}
	for _, m := range []map[uuid.UUID]time.Time{s.sessions, s.users} {
		for id, at := range m {
			if now.Sub(at) > remember {
				delete(m, id)
			}
		}
	}
	return to
}

// Close ends every socket with 1001 and every stream, refuses new ones, and waits until all their work has ended. It is
// idempotent. http.Server.Shutdown does not know of websockets: call both.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	var peers []peer
	for c := range s.peers {
		peers = append(peers, c)
	}
	s.mu.Unlock()
	for _, c := range peers {
		c.shutdown()
	}
	s.cancel()
	s.wg.Wait()
	s.work.close()
}
