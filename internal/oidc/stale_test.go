package oidc_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/testkit/idp"
)

// later is a rig with a clock of its own, whose ID tokens outlive it all.
func later(t *testing.T, serve func(http.ResponseWriter, *http.Request) bool) (*rig, func(time.Duration)) {
	t.Helper()
	var ahead atomic.Int64
	r := newRig(t, func(_ *oidc.Settings, c *oidc.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Timeout = 2 * time.Second
	})
	r.Bend(idp.Bends{Claims: func(c map[string]any) { c["exp"] = time.Now().Add(100 * 24 * time.Hour).Unix() }, Serve: serve})
	return r, func(d time.Duration) { ahead.Add(int64(d)) }
}

// TestProvider_WithdrawnKey: after an hour the first sign-in already knows the provider's present keys, however long
// nobody signed in.
func TestProvider_WithdrawnKey(t *testing.T) {
	var withdrawn atomic.Bool
	r, pass := later(t, func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path != "/keys" || !withdrawn.Load() {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"keys":[]}`))
		return true
	})
	_, err := r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	withdrawn.Store(true)
	pass(7 * 24 * time.Hour)
	_, err = r.exchange(r.Code(person(), request))
	requireRefused(t, oidc.ReasonIDToken, err)
	require.Equal(t, 2, r.Requests("/.well-known/openid-configuration"))

	withdrawn.Store(false)
	pass(time.Hour - time.Minute)
	_, err = r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	require.Equal(t, 2, r.Requests("/.well-known/openid-configuration"), "within the hour it is not asked again")
}

// TestProvider_Stale: a provider whose discovery fails is used for four hours after the last one that did not.
func TestProvider_Stale(t *testing.T) {
	var down, hangs atomic.Bool
	r, pass := later(t, func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path != "/.well-known/openid-configuration" || !down.Load() {
			return false
		}
		if hangs.Load() {
			<-q.Context().Done()
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	down.Store(true)
	pass(4*time.Hour - time.Minute)
	_, err = r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	require.Equal(t, 2, r.Requests("/.well-known/openid-configuration"), "it was asked first")
	tokens := r.Requests("/token")
	pass(time.Minute)
	_, err = r.exchange(r.Code(person(), request))
	requireUnavailable(t, err)
	hangs.Store(true)
	begun := time.Now()
	_, err = r.exchange(r.Code(person(), request))
	requireUnavailable(t, err)
	require.Less(t, time.Since(begun), 4*time.Second)
	require.Equal(t, tokens, r.Requests("/token"), "no code was sent")
	require.Len(t, r.set.Listed(), 1)

	down.Store(false)
	require.Eventually(t, func() bool {
		_, err = r.exchange(r.Code(person(), request))
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}
