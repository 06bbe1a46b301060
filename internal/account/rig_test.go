//go:build unix

package account_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/seed"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

const password = "correct horse battery staple"

// rig is the service over a seeded database, with a clock that the test moves.
type rig struct {
	*testkit.Kit
	*account.Service
	config account.Config
	tokens *auth.Tokens

	mu      sync.Mutex
	ahead   time.Duration
	revoked map[uuid.UUID]bool
	admin   *authz.Principal
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Kit: testkit.New(t), revoked: map[uuid.UUID]bool{}}
	hasher, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5, Queue: 1000})
	require.NoError(t, err)
	material, err := auth.GenerateSigningKey()
	require.NoError(t, err)
	keys, err := auth.ParseKeyring(material)
	require.NoError(t, err)
	r.tokens, err = auth.NewTokens(keys, auth.TokenConfig{})
	require.NoError(t, err)
	_, err = seed.Run(context.Background(), r.Store, r.Client, seed.Input{AdminEmail: "admin@localhost", AdminPassword: password, HashPassword: hasher.Hash})
	require.NoError(t, err)
	r.config = account.Config{
		Store: r.Store, Client: r.Client, Pool: r.DB.Pool, Audit: r.Store.Audit, Hasher: hasher, Tokens: r.tokens,
		IdentityKey: []byte("a key of thirty-two bytes or more"), Registration: "open", SessionTTL: 30 * 24 * time.Hour,
		Revoked: func(id uuid.UUID) { r.mu.Lock(); r.revoked[id] = true; r.mu.Unlock() },
		Log:     slog.New(slog.DiscardHandler),
		Now:     func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return time.Now().Add(r.ahead) },
	}
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	r.admin = r.login(t, "admin").Principal
	return r
}

// pass moves the clock on.
func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead += d
}

func (r *rig) wasRevoked(id uuid.UUID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.revoked[id]
}

func (r *rig) login(t *testing.T, username string) account.Signed {
	t.Helper()
	s, err := r.Login(laptop, account.LoginInput{Login: username, Password: password})
	require.NoError(t, err)
	return s
}

// user inserts an account with the roles and the common password, and signs it in.
func (r *rig) user(t *testing.T, username string, roles ...string) account.Signed {
	t.Helper()
	r.sql(t, `INSERT INTO users (id, created_at, updated_at, email, username, hashed_password)
		SELECT $1, now(), now(), $2::text || '@example.org', $2, hashed_password FROM users WHERE username = 'admin'`, uid.New(uid.User), username)
	r.sql(t, `INSERT INTO user_roles SELECT u.id, r.id FROM users u, roles r WHERE u.username = $1 AND r.name = ANY($2)`, username, roles)
	return r.login(t, username)
}

func (r *rig) sql(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := r.DB.Pool.Exec(context.Background(), statement, args...)
	require.NoError(t, err)
}

// stands says whether the session of s still does.
func (r *rig) stands(t *testing.T, s account.Signed) bool {
	t.Helper()
	p, err := r.LoadPrincipal(context.Background(), s.Session.ID)
	if err != nil {
		require.True(t, errs.Is(err, errs.Unauthenticated), "%v", err)
		return false
	}
	require.Equal(t, s.User.ID, p.UserID)
	return true
}

func from(ip, userAgent string) context.Context {
	return authz.WithRequest(context.Background(), authz.Request{ID: "r1", IP: ip, UserAgent: userAgent})
}

// laptop is where everyone signs in from unless said otherwise.
var laptop = from("192.0.2.7", "Firefox")

func requireCode(t *testing.T, code errs.Code, err error) {
	t.Helper()
	_ = failure(t, code, err)
}

// failure gives the client's error, which must have the code.
func failure(t *testing.T, code errs.Code, err error) *errs.Error {
	t.Helper()
	e, ok := errs.As(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, e.Code, "%v", err)
	return e
}

// audited counts rows of an action; where is more conditions on l.
func (r *rig) audited(t *testing.T, action, where string, args ...any) int {
	t.Helper()
	return r.Count(t, `SELECT count(*) FROM audit_logs l WHERE action = '`+action+`' AND (`+where+`)`, args...)
}
