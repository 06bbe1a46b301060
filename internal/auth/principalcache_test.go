package auth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

func someone(session uuid.UUID) *authz.Principal {
	return authz.NewUser(uid.New(uid.User), "alice", session, false, time.Time{}, "chat:read")
}

func TestPrincipalCache_TTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := uid.New(uid.Session)
		loads := 0
		c := NewPrincipalCache(func(ctx context.Context, sid uuid.UUID) (*authz.Principal, error) {
			require.Same(t, authz.Authenticator, authz.From(ctx), "the load runs under its own name")
			loads++
			return someone(sid), nil
		}, PrincipalCacheConfig{})
		ctx := authz.With(t.Context(), someone(uid.New(uid.Session)))
		for range 5 {
			p, err := c.Principal(ctx, id)
			require.NoError(t, err)
			require.Equal(t, id, p.SessionID)
		}
		require.Equal(t, 1, loads)
		<-time.After(time.Second - 1)
		_, err := c.Principal(ctx, id)
		require.NoError(t, err)
		require.Equal(t, 1, loads)
		<-time.After(1)
		_, err = c.Principal(ctx, id)
		require.NoError(t, err)
		require.Equal(t, 2, loads, "an answer is never older than the TTL")
	})
}

func TestPrincipalCache_SharedLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var loads atomic.Int32
		c := NewPrincipalCache(func(_ context.Context, sid uuid.UUID) (*authz.Principal, error) {
			loads.Add(1)
			<-gate
			return someone(sid), nil
		}, PrincipalCacheConfig{})
		id := uid.New(uid.Session)
		leaving, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Principal(leaving, id)
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				p, err := c.Principal(t.Context(), id)
				require.NoError(t, err)
				require.NotNil(t, p)
			})
		}
		synctest.Wait()
		leave() // the one that began the load
		synctest.Wait()
		close(gate)
		wg.Wait()
		require.EqualValues(t, 1, loads.Load())
	})
}

func TestPrincipalCache_Negative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := NewPrincipalCache(func(context.Context, uuid.UUID) (*authz.Principal, error) {
			loads++
			return nil, errs.New(errs.Unauthenticated, "The session was revoked.")
		}, PrincipalCacheConfig{})
		id := uid.New(uid.Session)
		for range 3 {
			p, err := c.Principal(t.Context(), id)
			require.Nil(t, p)
			require.True(t, errs.Is(err, errs.Unauthenticated))
		}
		require.Equal(t, 1, loads)
		<-time.After(time.Second)
		_, err := c.Principal(t.Context(), id)
		require.Error(t, err)
		require.Equal(t, 2, loads)
		c.ForgetUser(uid.New(uid.User)) // whose it was is unknown: forgotten too
		_, err = c.Principal(t.Context(), id)
		require.Error(t, err)
		require.Equal(t, 3, loads)
	})
}

func TestPrincipalCache_FailsClosed(t *testing.T) {
	id := uid.New(uid.Session)
	stranger := someone(uid.New(uid.Session))
	for name, load := range map[string]LoadFunc{
		"StoreDown": func(context.Context, uuid.UUID) (*authz.Principal, error) {
			return nil, errors.New("connection refused")
		},
		"NothingAtAll": func(context.Context, uuid.UUID) (*authz.Principal, error) { return nil, nil },
		"OtherSession": func(context.Context, uuid.UUID) (*authz.Principal, error) { return stranger, nil },
		"System":       func(context.Context, uuid.UUID) (*authz.Principal, error) { return authz.Seeder, nil },
		"BothAtOnce": func(context.Context, uuid.UUID) (*authz.Principal, error) {
			return someone(id), errors.New("half read")
		},
		"Panic": func(context.Context, uuid.UUID) (*authz.Principal, error) { panic("row") },
		"Denied": func(context.Context, uuid.UUID) (*authz.Principal, error) {
			return nil, errs.New(errs.Forbidden, "No.")
		},
	} {
		t.Run(name, func(t *testing.T) {
			loads := 0
			c := NewPrincipalCache(func(ctx context.Context, id uuid.UUID) (*authz.Principal, error) { loads++; return load(ctx, id) }, PrincipalCacheConfig{})
			for range 2 {
				p, err := c.Principal(t.Context(), id)
				require.Nil(t, p)
				e, ok := errs.As(err)
				require.True(t, ok)
				require.Equal(t, errs.UpstreamUnavailable, e.Code)
				require.True(t, e.Retryable)
			}
			require.Equal(t, 2, loads, "a fault is not remembered")
		})
	}
}

func TestPrincipalCache_LoadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewPrincipalCache(func(ctx context.Context, _ uuid.UUID) (*authz.Principal, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, PrincipalCacheConfig{Timeout: 3 * time.Second})
		began := time.Now()
		_, err := c.Principal(t.Context(), uid.New(uid.Session))
		require.True(t, errs.Is(err, errs.UpstreamUnavailable))
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

// A load that read the row before the revocation must not be kept after it.
func TestPrincipalCache_ForgetDuringLoad(t *testing.T) {
	id := uid.New(uid.Session)
	p := someone(id)
	for name, forget := range map[string]func(*PrincipalCache){
		"Forget":     func(c *PrincipalCache) { c.Forget(id) },
		"ForgetUser": func(c *PrincipalCache) { c.ForgetUser(p.UserID) },
		"ForgetAll":  func(c *PrincipalCache) { c.ForgetAll() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				var revoked atomic.Bool
				c := NewPrincipalCache(func(context.Context, uuid.UUID) (*authz.Principal, error) {
					if revoked.Load() {
						return nil, errs.New(errs.Unauthenticated, "The session was revoked.")
					}
					<-gate
					return p, nil
				}, PrincipalCacheConfig{})
				early := make(chan error, 1)
				go func() { _, err := c.Principal(t.Context(), id); early <- err }()
				synctest.Wait()
				revoked.Store(true)
				forget(c)
				_, err := c.Principal(t.Context(), id)
				require.True(t, errs.Is(err, errs.Unauthenticated), "asked after the revocation")
				close(gate)
				require.NoError(t, <-early)
				synctest.Wait()
				_, err = c.Principal(t.Context(), id)
				require.True(t, errs.Is(err, errs.Unauthenticated), "the stale load was not kept")
			})
		})
	}
}

func TestPrincipalCache_SlowLoadIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var loads atomic.Int32
		c := NewPrincipalCache(func(_ context.Context, sid uuid.UUID) (*authz.Principal, error) {
			if loads.Add(1) == 1 {
				<-gate
			}
			return someone(sid), nil
		}, PrincipalCacheConfig{})
		id := uid.New(uid.Session)
		done := make(chan struct{})
		go func() { _, _ = c.Principal(t.Context(), id); close(done) }()
		synctest.Wait()
		<-time.After(time.Second)
		_, err := c.Principal(t.Context(), id)
		require.NoError(t, err)
		require.EqualValues(t, 2, loads.Load())
		close(gate)
		<-done
	})
}

func TestPrincipalCache_ForgetAndBound(t *testing.T) {
	loads := map[uuid.UUID]int{}
	alice := uid.New(uid.User)
	c := NewPrincipalCache(func(_ context.Context, sid uuid.UUID) (*authz.Principal, error) {
		loads[sid]++
		return authz.NewUser(alice, "alice", sid, false, time.Time{}), nil
	}, PrincipalCacheConfig{Size: 8, TTL: time.Hour})
	a, b := uid.New(uid.Session), uid.New(uid.Session)
	ask := func(id uuid.UUID) {
		_, err := c.Principal(t.Context(), id)
		require.NoError(t, err)
	}
	ask(a)
	ask(b)
	c.Forget(a)
	ask(a)
	ask(b)
	require.Equal(t, 2, loads[a])
	require.Equal(t, 1, loads[b])
	c.ForgetUser(uid.New(uid.User))
	ask(a)
	require.Equal(t, 2, loads[a])
	c.ForgetUser(alice)
	ask(a)
	require.Equal(t, 3, loads[a])
	for range 100 {
		ask(uid.New(uid.Session))
		require.LessOrEqual(t, len(c.young)+len(c.old), 8)
	}
}

func TestAuthenticator(t *testing.T) {
	user, session := uid.New(uid.User), uid.New(uid.Session)
	tk := newTokens(t, keyring(t), TokenConfig{})
	var standing error
	pc := NewPrincipalCache(func(context.Context, uuid.UUID) (*authz.Principal, error) {
		if standing != nil {
			return nil, standing
		}
		return authz.NewUser(user, "alice", session, false, time.Time{}, "chat:read"), nil
	}, PrincipalCacheConfig{})
	a := NewAuthenticator(tk, pc)

	p, err := a.Authenticate(t.Context(), "")
	require.NoError(t, err)
	require.Nil(t, p)

	token, _, exp, err := tk.Issue(user, session, time.Now())
	require.NoError(t, err)
	p, err = a.Authenticate(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, user, p.UserID)
	require.Equal(t, exp, p.ExpiresAt)
	require.True(t, p.Can("chat:read"))

	stolen, _, _, err := tk.Issue(uid.New(uid.User), session, time.Now())
	require.NoError(t, err)
	p, err = a.Authenticate(t.Context(), stolen)
	require.Nil(t, p)
	require.True(t, errs.Is(err, errs.Unauthenticated))

	p, err = a.Authenticate(t.Context(), "x")
	require.Nil(t, p)
	require.True(t, errs.Is(err, errs.Unauthenticated))

	standing = errs.New(errs.Unauthenticated, "The session was revoked.")
	pc.Forget(session)
	p, err = a.Authenticate(t.Context(), token)
	require.Nil(t, p)
	require.True(t, errs.Is(err, errs.Unauthenticated))

	standing = errors.New("connection refused")
	pc.Forget(session)
	p, err = a.Authenticate(t.Context(), token)
	require.Nil(t, p)
	require.True(t, errs.Is(err, errs.UpstreamUnavailable))
}

func TestParseBearer(t *testing.T) {
	token, err := ParseBearer("", false)
	require.NoError(t, err)
	require.Empty(t, token)
	for _, in := range []string{"Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "} {
		token, err := ParseBearer(in, true)
		require.NoError(t, err, in)
		require.Equal(t, "a.b.c", token)
	}
	for _, in := range []string{"", "Bearer", "Bearer ", "Basic YTpi", "a.b.c", "Bearer a b", "Bearer a, Bearer b", "Bearer\ta.b.c"} {
		token, err := ParseBearer(in, true)
		require.Empty(t, token)
		require.True(t, errs.Is(err, errs.Unauthenticated), in)
	}
}
