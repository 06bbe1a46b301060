//go:build unix

// Floor is what the server is measured against: net/http and pgx, the same SQL work by hand, JSON by append. It verifies
// bearer tokens with the server's keys and encrypts audit rows as the server does; it has no GraphQL, no policies, no
// limits. It is for `make bench` alone and listens where it is told, on loopback. Its requests:
//
//	POST /session   {"id"}                          one conversation
//	POST /sessions  {"first","last"}                conversations with their last messages, calls and tools
//	POST /audit     {"action","first"}              audit rows, newest first; the reading is audited
//	POST /send      {"sessionId","content"}         a message and its empty answer
//	GET  /socket                                    a websocket that only listens
//	POST /broadcast a frame's text, as it is        to every socket
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return err
	}
	pc, err := pgxpool.ParseConfig(cfg.Database.URL.Reveal())
	if err != nil {
		return errors.New("DATABASE_URL is malformed")
	}
	pc.MaxConns = int32(cfg.Database.MaxConns)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := &floor{pool: pool, known: map[string]caller{}, sockets: newSockets()}
	if err := f.openKeys(cfg); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", cfg.Server.ListenAddr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /session", f.handle(f.session))
	mux.Handle("POST /sessions", f.handle(f.sessions))
	mux.Handle("POST /audit", f.handle(f.auditLogs))
	mux.Handle("POST /send", f.handle(f.send))
	mux.HandleFunc("GET /socket", f.sockets.join)
	mux.HandleFunc("POST /broadcast", f.sockets.broadcast)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	fmt.Println("ready")
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// floor is read-only after the start but for what it knows of tokens and sockets.
type floor struct {
	pool   *pgxpool.Pool
	audit  *audit.Recorder
	tokens *auth.Tokens

	mu      sync.RWMutex
	known   map[string]caller
	sockets *sockets
}

// caller is whose token it is: verified once, then remembered until it expires.
type caller struct {
	id        pgtype.UUID
	principal *authz.Principal
	expires   time.Time
}

func (f *floor) openKeys(cfg *config.Config) error {
	material, err := cfg.SigningKey(auth.GenerateSigningKey)
	if err != nil {
		return err
	}
	keyring, err := auth.ParseKeyring(material)
	if err != nil {
		return err
	}
	if f.tokens, err = auth.NewTokens(keyring, auth.TokenConfig{}); err != nil {
		return err
	}
	key, err := cfg.AuditKey()
	if err != nil {
		return err
	}
	f.audit, err = audit.New(f.pool, key)
	return err
}

func (f *floor) caller(ctx context.Context, header string) (caller, error) {
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return caller{}, errors.New("no token")
	}
	f.mu.RLock()
	c, ok := f.known[token]
	f.mu.RUnlock()
	if ok && time.Now().Before(c.expires) {
		return c, nil
	}
	claims, err := f.tokens.Verify(token)
	if err != nil {
		return caller{}, err
	}
	var name string
	if err := f.pool.QueryRow(ctx, `SELECT username FROM users WHERE id = $1`, claims.UserID).Scan(&name); err != nil {
		return caller{}, err
	}
	c = caller{id: pgID(claims.UserID), principal: authz.NewUser(claims.UserID, name, claims.SessionID, false, claims.ExpiresAt), expires: claims.ExpiresAt}
	f.mu.Lock()
	f.known[token] = c
	f.mu.Unlock()
	return c, nil
}

// request is every request's body; each route reads its own fields.
type request struct {
	ID, SessionID uuid.UUID
	First, Last   int
	Action        string
	Content       string
}

type route func(ctx context.Context, c caller, in request, out []byte) ([]byte, error)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

const maxBody = 1 << 20

func (f *floor) handle(do route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := f.caller(r.Context(), r.Header.Get("Authorization"))
		if err != nil {
			http.Error(w, "sign in first", http.StatusUnauthorized)
			return
		}
		var in request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil {
			http.Error(w, "malformed", http.StatusBadRequest)
			return
		}
		buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
		defer buffers.Put(buf)
		out, err := do(r.Context(), c, in, (*buf)[:0])
		if errors.Is(err, pgx.ErrNoRows) {
			out, err = append((*buf)[:0], `{"data":{"node":null}}`...), nil
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		*buf = out
		w.Header().Set("Content-Type", "application/graphql-response+json; charset=utf-8")
		_, _ = w.Write(out) // the client may be gone
	})
}

func pgID(u uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: u, Valid: true} }
