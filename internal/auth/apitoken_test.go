package auth

import (
	"context"
	"errors"
	"strings"
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

func apiToken(tb testing.TB) (token, hash string) {
	tb.Helper()
	token, hash, err := NewAPIToken()
	require.NoError(tb, err)
	return token, hash
}

// reckoned gives a token of the form with a right check sum: anyone can make one.
func reckoned(body string) string {
	check := checkOf(APITokenPrefix + body)
	return APITokenPrefix + body + string(check[:])
}

func TestAPIToken(t *testing.T) {
	seen := map[string]bool{}
	letters := map[byte]int{}
	for range 500 {
		token, hash := apiToken(t)
		require.Regexp(t, `^cdsa_pat_[0-9A-Za-z]{49}$`, token)
		require.False(t, seen[token])
		seen[token] = true
		got, err := ParseAPIToken(token)
		require.NoError(t, err)
		require.Equal(t, hash, got)
		require.Len(t, hash, 43)
		require.NotContains(t, hash, token[9:20])
		for i := 9; i < 52; i++ {
			letters[token[i]]++
		}
	}
	require.Len(t, letters, 62)
	for c, n := range letters { // 347 expected, standard deviation 18
		require.InDelta(t, 347, n, 130, "%c", c)
	}
	require.Equal(t, "cdsa_pat_00000000000000000000000000000000000000000002TQUSQ", reckoned(strings.Repeat("0", 43)), "scanners have learned this check sum")
}

func TestParseAPIToken_Refuses(t *testing.T) {
	token, _ := apiToken(t)
	swap := func(i int) string {
		c := byte('0')
		if token[i] == c {
			c = '1'
		}
		return token[:i] + string(c) + token[i+1:]
	}
	for name, bad := range map[string]string{
		"Empty": "", "Prefix": APITokenPrefix, "Short": token[:57], "Long": token + "0", "Body": swap(20), "Check": swap(57), "FirstOfBody": swap(9),
		"Case": APITokenPrefix + swapCase(token[9:]), "OtherPrefix": "cdsa_rt_x" + token[9:], "Space": " " + token[:57], "Line": token[:57] + "\n",
		"Nul": token[:57] + "\x00", "Dash": reckoned(strings.Repeat("-", 43)), "Wide": reckoned(strings.Repeat("０", 14) + "0"), "Huge": token + strings.Repeat("0", 10<<20),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAPIToken(bad)
			require.True(t, errs.Is(err, errs.Unauthenticated), "%v", err)
			if len(bad) > 20 {
				e, _ := errs.As(err)
				require.NotContains(t, e.Message+e.Unwrap().Error(), bad[9:20])
			}
		})
	}
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// door is an authenticator over made-up sessions and API tokens.
type door struct {
	*Authenticator
	tokens *Tokens
	cache  *PrincipalCache
	found  atomic.Int64 // look-ups of API tokens

	mu       sync.Mutex
	sessions map[uuid.UUID]*authz.Principal
	byHash   map[string]uuid.UUID
	fault    error
}

func newDoor(tb testing.TB) *door {
	tb.Helper()
	d := &door{tokens: newTokens(tb, keyring(tb), TokenConfig{}), sessions: map[uuid.UUID]*authz.Principal{}, byHash: map[string]uuid.UUID{}}
	d.cache = NewPrincipalCache(func(_ context.Context, id uuid.UUID) (*authz.Principal, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if p := d.sessions[id]; p != nil {
			return p, nil
		}
		return nil, errs.New(errs.Unauthenticated, "Your session has ended. Sign in again.")
	}, PrincipalCacheConfig{TTL: time.Hour})
	d.Authenticator = NewAuthenticator(d.tokens, d.cache).AcceptAPITokens(func(_ context.Context, hash string) (uuid.UUID, error) {
		d.found.Add(1)
		d.mu.Lock()
		defer d.mu.Unlock()
		if id, ok := d.byHash[hash]; ok {
			return id, nil
		}
		if d.fault != nil {
			return uuid.Nil, d.fault
		}
		return uuid.Nil, errs.New(errs.Unauthenticated, "There is no such token.")
	})
	return d
}

// user opens a session, of an API token or by signing in.
func (d *door) user(tb testing.TB, program bool) (token string, session uuid.UUID) {
	tb.Helper()
	user, session := uid.New(uid.User), uid.New(uid.Session)
	p := authz.NewUser(user, "alice", session, false, time.Now().Add(time.Hour), "chat:read")
	if p.APIToken = program; program {
		var hash string
		token, hash = apiToken(tb)
		d.byHash[hash] = session
	} else {
		var err error
		token, _, _, err = d.tokens.Issue(user, session, time.Now())
		require.NoError(tb, err)
	}
	d.sessions[session] = p
	return token, session
}

func TestAuthenticator_APIToken(t *testing.T) {
	d := newDoor(t)
	token, session := d.user(t, true)
	for range 3 {
		p, err := d.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, session, p.SessionID)
		require.True(t, p.APIToken)
	}
	require.Equal(t, int64(1), d.found.Load(), "a known token asks no one")

	d.mu.Lock()
	delete(d.sessions, session)
	d.mu.Unlock()
	d.cache.Forget(session)
	_, err := d.Authenticate(t.Context(), token)
	require.True(t, errs.Is(err, errs.Unauthenticated))
	require.ErrorContains(t, err, "API token", "and not: sign in again")

	before := d.found.Load()
	for _, typo := range []string{token[:57] + "?", APITokenPrefix, APITokenPrefix + "x"} {
		_, err := d.Authenticate(t.Context(), typo)
		require.True(t, errs.Is(err, errs.Unauthenticated))
	}
	require.Equal(t, before, d.found.Load(), "what this server cannot have made asks no one")
	for range 3 {
		_, err = d.Authenticate(t.Context(), reckoned(strings.Repeat("x", 43)))
		require.True(t, errs.Is(err, errs.Unauthenticated))
	}
	require.Equal(t, 1, d.known.len(), "only genuine tokens are remembered")
	_, err = NewAuthenticator(d.tokens, d.cache).Authenticate(t.Context(), token)
	require.True(t, errs.Is(err, errs.Unauthenticated), "fails closed when not wired")
}

// TestAuthenticator_OtherKind: neither kind of token opens a session of the other.
func TestAuthenticator_OtherKind(t *testing.T) {
	d := newDoor(t)
	jwt, person := d.user(t, false)
	pat, program := d.user(t, true)
	d.sessions[person].APIToken, d.sessions[program].APIToken = true, false
	for _, token := range []string{jwt, pat} {
		p, err := d.Authenticate(t.Context(), token)
		require.Nil(t, p)
		require.True(t, errs.Is(err, errs.Unauthenticated))
	}
}

func TestAuthenticator_APITokenUntold(t *testing.T) {
	d := newDoor(t)
	for name, fault := range map[string]error{"Fault": errors.New("password=hunter2"), "Nil": nil} {
		d.fault = fault
		d.byHash = map[string]uuid.UUID{}
		token, hash := apiToken(t)
		if fault == nil {
			d.byHash[hash] = uuid.Nil
		}
		p, err := d.Authenticate(t.Context(), token)
		require.Nil(t, p, name)
		e, ok := errs.As(err)
		require.True(t, ok)
		require.Equal(t, errs.UpstreamUnavailable, e.Code, name)
		require.True(t, e.Retryable)
		require.NotContains(t, e.Message, "hunter2")
	}
}

// TestAuthenticator_MadeUpTokens: a flood of tokens with right check sums takes a few look-ups at a time, and waits no
// longer than a look-up may take.
func TestAuthenticator_MadeUpTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most atomic.Int64
		release := make(chan struct{})
		a := NewAuthenticator(newTokens(t, keyring(t), TokenConfig{}), nil).AcceptAPITokens(func(ctx context.Context, _ string) (uuid.UUID, error) {
			most.Store(max(most.Load(), at.Add(1)))
			defer at.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return uuid.Nil, errors.Join(ctx.Err(), errors.New("slow"))
		})
		var wg sync.WaitGroup
		began := time.Now()
		for range 50 {
			token, _ := apiToken(t)
			wg.Go(func() {
				_, err := a.Authenticate(context.Background(), token)
				if !errs.Is(err, errs.UpstreamUnavailable) {
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, most.Load(), int64(findAtOnce))
		require.LessOrEqual(t, time.Since(began), findTimeout+time.Second)
		close(release)
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	for name, program := range map[string]bool{"JWT": false, "APIToken": true} {
		b.Run(name, func(b *testing.B) {
			d := newDoor(b)
			token, _ := d.user(b, program)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Authenticate(context.Background(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
