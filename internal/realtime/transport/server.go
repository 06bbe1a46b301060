// Package transport carries GraphQL over the two transports that stay open: graphql-transport-ws over a websocket, and
// server-sent events (graphql-sse, distinct connections). Queries and mutations work over both.
//
// A websocket is one read goroutine with small buffers and no state of the HTTP request; messages are parsed and
// operations dispatched on a pool of goroutines that come and go, and a subscription that filled its realtime.Ticket is
// executed on the hub's worker. Nothing here waits for a peer (package outbox).
//
// It refuses: a foreign origin, an operation before connection_ack, more than Config.MaxOperations at once, messages
// above Config.MaxMessage, sockets above Config.MaxSockets. A principal's expiry, Revoke and RevokeUser end a websocket
// with 4403 and an event stream with an UNAUTHENTICATED error. Panics end the operation. Nothing of a message, an
// operation or a token is logged.
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
	// Operation makes the context of one operation over a websocket, for request ids.
	Operation func(context.Context) context.Context
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
	if c.Operation == nil {
		c.Operation = func(ctx context.Context) context.Context { return ctx }
	}
}

// peer is an open socket or stream.
type peer interface {
	tick(now time.Time) // once a second, from one goroutine
	revoke()            // the principal's rights have ended
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
	wg      sync.WaitGroup // the ticker, and one for each peer

	mu       sync.Mutex
	closed   bool
	peers    map[peer]*authz.Principal
	sessions map[uuid.UUID]time.Time // revoked lately: a peer that is being judged meanwhile must not slip through
	users    map[uuid.UUID]time.Time
	everyone time.Time // when everybody was revoked

	operations atomic.Int64
	sharing    sharing
}

// New makes a server and starts its clock.
func New(cfg Config) *Server {
	cfg.defaults()
	s := &Server{
		cfg: cfg, origins: originSet(cfg.Origins), peers: map[peer]*authz.Principal{},
		sessions: map[uuid.UUID]time.Time{}, users: map[uuid.UUID]time.Time{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.work.init()
	s.wg.Go(s.clock)
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

// Revoke ends what a login session has open, and what it is opening. To be called after the revocation is committed,
// on every replica. It does not wait.
func (s *Server) Revoke(sessionID uuid.UUID) {
	s.revoke(s.sessions, sessionID, func(p *authz.Principal) bool { return p.SessionID == sessionID })
}

// RevokeUser ends what a user has open: their rights have changed or ended. To be called after the change is committed,
// on every replica. Whoever may still come back does so with the new rights. It does not wait.
func (s *Server) RevokeUser(userID uuid.UUID) {
	s.revoke(s.users, userID, func(p *authz.Principal) bool { return p.UserID == userID })
}

// RevokeAll ends what anybody who is known has open: no credential that was taken until now may be relied on. To be called
// after it stopped being taken. Whoever may still come back does so. It does not wait.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	s.everyone = time.Now()
	var hit []peer
	for c, p := range s.peers {
		if p != nil {
			hit = append(hit, c)
		}
	}
	s.mu.Unlock()
	for _, c := range hit {
		c.revoke()
	}
}

func (s *Server) revoke(mark map[uuid.UUID]time.Time, id uuid.UUID, match func(*authz.Principal) bool) {
	s.mu.Lock()
	mark[id] = time.Now()
	var hit []peer
	for c, p := range s.peers {
		if p != nil && match(p) {
			hit = append(hit, c)
		}
	}
	s.mu.Unlock()
	for _, c := range hit {
		c.revoke()
	}
}

// remember is how long a revocation outlives its moment: longer than any judging of a connection takes.
const remember = time.Minute

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

// adopt makes p the peer's principal; judged is when the judging of p began. false: p was revoked meanwhile.
func (s *Server) adopt(c peer, p *authz.Principal, judged time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil {
		return true
	}
	if !s.everyone.IsZero() && !judged.After(s.everyone) {
		return false
	}
	if _, gone := s.sessions[p.SessionID]; gone { // a session does not come back
		return false
	}
	if at, changed := s.users[p.UserID]; changed && !judged.After(at) {
		return false
	}
	if _, open := s.peers[c]; open {
		s.peers[c] = p
	}
	return true
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
