package oidc_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/testkit/idp"
)

const redirect = "https://cdsa.example.org/"

var (
	verifier = strings.Repeat("v", 43)
	request  = idp.Request{RedirectURI: redirect, Verifier: verifier, Nonce: "n1"}
)

func person(more ...any) idp.Person {
	p := idp.Person{"sub": "s1", "email": "ada@example.org", "email_verified": true, "preferred_username": "ada", "name": "Ada L", "groups": []string{"staff", "unknown"}}
	for i := 0; i+1 < len(more); i += 2 {
		p[more[i].(string)] = more[i+1]
	}
	return p
}

type rig struct {
	*idp.Provider
	set *oidc.Set
	p   *oidc.Provider
	log *strings.Builder
}

func newRig(t *testing.T, change func(*oidc.Settings, *oidc.Config)) *rig {
	t.Helper()
	r := &rig{Provider: idp.New(), log: &strings.Builder{}}
	t.Cleanup(r.Provider.Close)
	r.open(t, change)
	return r
}

func (r *rig) open(t *testing.T, change func(*oidc.Settings, *oidc.Config)) {
	t.Helper()
	s := oidc.Settings{
		Name: "corp", Issuer: r.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, Scopes: []string{"openid", "email"},
		RolesClaim: "groups", Roles: map[string]string{"staff": "analyst", "boss": "admin", "chief": "admin"},
	}
	c := oidc.Config{PlainHTTP: true, Timeout: 5 * time.Second, RetryAfter: time.Nanosecond, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&s, &c)
	}
	c.Providers = []oidc.Settings{s}
	r.set = oidc.New(c)
	t.Cleanup(r.set.Close)
	r.p, _ = r.set.Find("corp")
	require.NotNil(t, r.p)
}

func (r *rig) exchange(code string, change ...func(*oidc.Grant)) (oidc.Identity, error) {
	g := oidc.Grant{Code: code, Verifier: verifier, RedirectURI: redirect, Nonce: "n1"}
	for _, f := range change {
		f(&g)
	}
	return r.p.Exchange(context.Background(), g)
}

func requireRefused(t *testing.T, reason string, err error) {
	t.Helper()
	var refused *oidc.Refused
	require.ErrorAs(t, err, &refused)
	require.Equal(t, reason, refused.Reason, "%v", err)
}

func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	e, ok := errs.As(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, errs.UpstreamUnavailable, e.Code)
	require.True(t, e.Retryable)
}

func TestProvider_Exchange(t *testing.T) {
	r := newRig(t, nil)
	id, err := r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	require.Equal(t, oidc.Identity{Issuer: r.URL, Subject: "s1", Email: "ada@example.org", EmailVerified: true, Username: "ada", Name: "Ada L", Roles: []string{"analyst"}}, id)
	require.Equal(t, []string{"admin", "analyst"}, r.p.Managed())
	require.Zero(t, r.Requests("/userinfo"), "the ID token had it all")

	listed := r.set.Listed()
	require.Len(t, listed, 1)
	u, err := url.Parse(listed[0].AuthorizationURL)
	require.NoError(t, err)
	require.Equal(t, r.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, url.Values{"tenant": {"a"}, "client_id": {idp.ClientID}, "response_type": {"code"}, "scope": {"openid email"}}, u.Query())

	t.Run("PublicClient", func(t *testing.T) {
		r := newRig(t, func(s *oidc.Settings, _ *oidc.Config) { s.ClientSecret = "" })
		_, err := r.exchange(r.Code(person(), request))
		require.NoError(t, err)
	})
	t.Run("SecretInForm", func(t *testing.T) {
		r := newRig(t, nil)
		r.Bend(idp.Bends{Discovery: func(d map[string]any) { d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }, Serve: func(_ http.ResponseWriter, q *http.Request) bool {
			_, _, basic := q.BasicAuth()
			require.False(t, basic)
			return false
		}})
		r.open(t, nil)
		_, err := r.exchange(r.Code(person(), request))
		require.NoError(t, err)
	})
	t.Run("NoNonce", func(t *testing.T) {
		without := request
		without.Nonce = ""
		_, err := r.exchange(r.Code(person(), without), func(g *oidc.Grant) { g.Nonce = "" })
		require.NoError(t, err)
	})
}

func TestProvider_Exchange_Claims(t *testing.T) {
	for name, c := range map[string]struct {
		claim string
		roles map[string]string
		value any
		path  string
		want  []string
	}{
		"List":      {claim: "groups", value: []any{"boss", "chief", 7, "staff"}, path: "groups", want: []string{"admin", "analyst"}},
		"Text":      {claim: "groups", value: "boss", path: "groups", want: []string{"admin"}},
		"Keys":      {claim: "groups", value: map[string]any{"boss": map[string]any{}}, path: "groups", want: []string{"admin"}},
		"Path":      {claim: "realm", value: map[string]any{"roles": []string{"staff"}}, path: "realm.roles", want: []string{"analyst"}},
		"DottedURL": {claim: "https://example.org/roles", value: []string{"staff"}, path: "https://example.org/roles", want: []string{"analyst"}},
		"DottedIn":  {claim: "x.y", value: map[string]any{"z": "staff"}, path: "x.y.z", want: []string{"analyst"}},
		"Number":    {claim: "groups", value: 7, path: "groups"},
		"Case":      {claim: "groups", value: []string{"BOSS", "Staff"}, path: "groups"},
		"Missing":   {claim: "else", value: "boss", path: "groups"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(s *oidc.Settings, _ *oidc.Config) { s.RolesClaim = c.path })
			p := person(c.claim, c.value)
			if c.claim != "groups" {
				delete(p, "groups")
			}
			id, err := r.exchange(r.Code(p, request))
			require.NoError(t, err)
			require.Equal(t, c.want, id.Roles)
		})
	}
}

func TestProvider_Exchange_UserInfo(t *testing.T) {
	without := func(names ...string) idp.Bends {
		return idp.Bends{Claims: func(c map[string]any) {
			for _, n := range names {
				delete(c, n)
			}
		}}
	}
	t.Run("OK", func(t *testing.T) {
		r := newRig(t, nil)
		r.Bend(without("email", "email_verified", "groups"))
		id, err := r.exchange(r.Code(person(), request))
		require.NoError(t, err)
		require.Equal(t, "ada@example.org", id.Email)
		require.True(t, id.EmailVerified)
		require.Equal(t, []string{"analyst"}, id.Roles)
	})
	t.Run("VerifiedOfOneSource", func(t *testing.T) {
		r := newRig(t, nil)
		r.Bend(without("groups", "email_verified"))
		id, err := r.exchange(r.Code(person(), request))
		require.NoError(t, err)
		require.False(t, id.EmailVerified, "the address of the ID token was not verified there")
		r.Bend(idp.Bends{Claims: func(c map[string]any) { delete(c, "email"); c["email_verified"] = true }})
		p := person()
		delete(p, "email_verified")
		id, err = r.exchange(r.Code(p, request))
		require.NoError(t, err)
		require.False(t, id.EmailVerified)
	})
	t.Run("OtherSubject", func(t *testing.T) {
		r := newRig(t, nil)
		b := without("email")
		b.UserInfo = func(c map[string]any) { c["sub"] = "s2" }
		r.Bend(b)
		_, err := r.exchange(r.Code(person(), request))
		requireRefused(t, oidc.ReasonSubject, err)
	})
	t.Run("Down", func(t *testing.T) {
		r := newRig(t, nil)
		b := without("email")
		b.Serve = func(w http.ResponseWriter, q *http.Request) bool {
			if q.URL.Path == "/userinfo" {
				http.Error(w, "ada@example.org", http.StatusInternalServerError)
			}
			return q.URL.Path == "/userinfo"
		}
		r.Bend(b)
		_, err := r.exchange(r.Code(person(), request))
		requireUnavailable(t, err)
	})
}

// TestProvider_Exchange_Attacks: each is a provider, a thief or a client that does one thing wrong.
func TestProvider_Exchange_Attacks(t *testing.T) {
	claims := func(f func(map[string]any)) idp.Bends { return idp.Bends{Claims: f} }
	set := func(name string, value any) idp.Bends { return claims(func(c map[string]any) { c[name] = value }) }
	otherKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	for name, c := range map[string]struct {
		bends  func(r *rig) idp.Bends
		grant  func(*oidc.Grant)
		reason string
	}{
		"WrongVerifier":  {grant: func(g *oidc.Grant) { g.Verifier = strings.Repeat("w", 43) }, reason: oidc.ReasonCode},
		"WrongRedirect":  {grant: func(g *oidc.Grant) { g.RedirectURI += "x" }, reason: oidc.ReasonCode},
		"UnknownCode":    {grant: func(g *oidc.Grant) { g.Code = "made up" }, reason: oidc.ReasonCode},
		"WrongNonce":     {grant: func(g *oidc.Grant) { g.Nonce = "n2" }, reason: oidc.ReasonNonce},
		"NonceNotGiven":  {grant: func(g *oidc.Grant) { g.Nonce = "" }, reason: oidc.ReasonNonce},
		"NonceLeftOut":   {bends: func(*rig) idp.Bends { return claims(func(c map[string]any) { delete(c, "nonce") }) }, reason: oidc.ReasonNonce},
		"OtherIssuer":    {bends: func(*rig) idp.Bends { return set("iss", "https://id.example.com") }, reason: oidc.ReasonIDToken},
		"IssuerSlash":    {bends: func(r *rig) idp.Bends { return set("iss", r.URL+"/") }, reason: oidc.ReasonIDToken},
		"NoIssuer":       {bends: func(*rig) idp.Bends { return claims(func(c map[string]any) { delete(c, "iss") }) }, reason: oidc.ReasonIDToken},
		"OtherAudience":  {bends: func(*rig) idp.Bends { return set("aud", "another") }, reason: oidc.ReasonIDToken},
		"NoAudience":     {bends: func(*rig) idp.Bends { return claims(func(c map[string]any) { delete(c, "aud") }) }, reason: oidc.ReasonIDToken},
		"AudiencesNoAzp": {bends: func(*rig) idp.Bends { return set("aud", []string{idp.ClientID, "another"}) }, reason: oidc.ReasonIDToken},
		"OtherParty":     {bends: func(*rig) idp.Bends { return set("azp", "another") }, reason: oidc.ReasonIDToken},
		"PartyNoText":    {bends: func(*rig) idp.Bends { return set("azp", 7) }, reason: oidc.ReasonIDToken},
		"Expired":        {bends: func(*rig) idp.Bends { return set("exp", time.Now().Add(-time.Second).Unix()) }, reason: oidc.ReasonIDToken},
		"NoExpiry":       {bends: func(*rig) idp.Bends { return claims(func(c map[string]any) { delete(c, "exp") }) }, reason: oidc.ReasonIDToken},
		"NotYet":         {bends: func(*rig) idp.Bends { return set("nbf", time.Now().Add(time.Hour).Unix()) }, reason: oidc.ReasonIDToken},
		"NoSubject":      {bends: func(*rig) idp.Bends { return claims(func(c map[string]any) { delete(c, "sub") }) }, reason: oidc.ReasonIDToken},
		"SubjectTooLong": {bends: func(*rig) idp.Bends { return set("sub", strings.Repeat("s", 256)) }, reason: oidc.ReasonIDToken},
		"SubjectNUL":     {bends: func(*rig) idp.Bends { return set("sub", "s\x001") }, reason: oidc.ReasonIDToken},
		"OtherToken":     {bends: func(*rig) idp.Bends { return set("at_hash", "LDktKdoQak3Pk0cnXxCltA") }, reason: oidc.ReasonIDToken},
		"Distributed":    {bends: func(*rig) idp.Bends { return set("_claim_names", map[string]string{"groups": "elsewhere"}) }, reason: oidc.ReasonIDToken},
		"None": {bends: func(*rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string { return b64([]byte(`{"alg":"none"}`)) + "." + b64(c) + "." }}
		}, reason: oidc.ReasonIDToken},
		"NoneOddCase": {bends: func(*rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string { return b64([]byte(`{"alg":"nOnE"}`)) + "." + b64(c) + "." }}
		}, reason: oidc.ReasonIDToken},
		"HS256OfSecret": {bends: func(*rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string {
				return idp.SignWith(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat(idp.ClientSecret, 2))}, c)
			}}
		}, reason: oidc.ReasonIDToken},
		"HS256OfPublic": {bends: func(r *rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string {
				return idp.SignWith(jose.SigningKey{Algorithm: jose.HS256, Key: r.PublicKey()}, c)
			}}
		}, reason: oidc.ReasonIDToken},
		"OtherKey": {bends: func(*rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string {
				return idp.SignWith(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: otherKey, KeyID: "k1"}}, c)
			}}
		}, reason: oidc.ReasonIDToken},
		"KeyInHeader": {bends: func(*rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string { return embedded(t, otherKey, c) }}
		}, reason: oidc.ReasonIDToken},
		"SignatureCut": {bends: func(r *rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string { s := r.Sign(c); return s[:strings.LastIndex(s, ".")+1] }}
		}, reason: oidc.ReasonIDToken},
		"PayloadSwapped": {bends: func(r *rig) idp.Bends {
			return idp.Bends{Sign: func(c []byte) string {
				s := strings.Split(r.Sign([]byte(`{}`)), ".")
				return s[0] + "." + b64(c) + "." + s[2]
			}}
		}, reason: oidc.ReasonIDToken},
		"NoToken": {bends: func(*rig) idp.Bends { return idp.Bends{Sign: func([]byte) string { return "" }} }, reason: oidc.ReasonIDToken},
		"Garbage": {bends: func(*rig) idp.Bends { return idp.Bends{Sign: func([]byte) string { return "eyJ.x" }} }, reason: oidc.ReasonIDToken},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			if c.bends != nil {
				r.Bend(c.bends(r))
			}
			var change []func(*oidc.Grant)
			if c.grant != nil {
				change = append(change, c.grant)
			}
			code := r.Code(person(), request)
			_, err := r.exchange(code, change...)
			requireRefused(t, c.reason, err)
			for _, private := range []string{code, "ada@example.org", "s1", idp.ClientSecret, verifier} {
				require.NotContains(t, err.Error(), private)
				require.NotContains(t, r.log.String(), private)
			}
		})
	}
	t.Run("Replayed", func(t *testing.T) {
		r := newRig(t, nil)
		code := r.Code(person(), request)
		_, err := r.exchange(code)
		require.NoError(t, err)
		_, err = r.exchange(code)
		requireRefused(t, oidc.ReasonCode, err)
	})
	t.Run("ClockAhead", func(t *testing.T) {
		r := newRig(t, func(_ *oidc.Settings, c *oidc.Config) { c.Now = func() time.Time { return time.Now().Add(time.Hour) } })
		_, err := r.exchange(r.Code(person(), request))
		requireRefused(t, oidc.ReasonIDToken, err)
	})
}

// embedded signs with a key that the token itself brings along.
func embedded(t *testing.T, key *ecdsa.PrivateKey, claims []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	require.NoError(t, err)
	jws, err := signer.Sign(claims)
	require.NoError(t, err)
	s, err := jws.CompactSerialize()
	require.NoError(t, err)
	return s
}

// TestProvider_Unavailable: whatever a provider does, the answer comes in time, says to try again, and quotes nothing.
func TestProvider_Unavailable(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached another host", r.Method, r.URL.Path)
	}))
	defer elsewhere.Close()
	at := func(path string, f http.HandlerFunc) idp.Bends {
		return idp.Bends{Serve: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				f(w, r)
			}
			return r.URL.Path == path
		}}
	}
	document := func(name string, value any) idp.Bends {
		return idp.Bends{Discovery: func(d map[string]any) { d[name] = value }}
	}
	const wellKnown = "/.well-known/openid-configuration"
	long := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`))
	}
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm(); <-r.Context().Done() } // the end of a request is seen once its body is read
	fail := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "ada@example.org "+strings.Repeat("x", 5000), http.StatusBadGateway)
	}
	for name, b := range map[string]idp.Bends{
		"DiscoveryFails":      at(wellKnown, fail),
		"DiscoveryLong":       at(wellKnown, long),
		"DiscoveryRedirected": at(wellKnown, away),
		"DiscoveryHangs":      at(wellKnown, hang),
		"OtherIssuer":         document("issuer", "https://id.example.com"),
		"ScriptEndpoint":      document("authorization_endpoint", "javascript:alert(1)"),
		"PlainEndpoint":       document("token_endpoint", "http://id.example.com/token"),
		"PlainKeys":           document("jwks_uri", "http://id.example.com/keys"),
		"NoTokenEndpoint":     document("token_endpoint", nil),
		"PlainUserInfo":       document("userinfo_endpoint", "http://id.example.com/userinfo"),
		"OnlyHS256":           document("id_token_signing_alg_values_supported", []string{"HS256", "none"}),
		"TokenFails":          at("/token", fail),
		"TokenLong":           at("/token", long),
		"TokenRedirected":     at("/token", away),
		"TokenHangs":          at("/token", hang),
		"TokenNoJSON": at("/token", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("<html>"))
		}),
		"UnknownClient": at("/token", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		}),
		"KeysFail":       at("/keys", fail),
		"KeysLong":       at("/keys", long),
		"KeysRedirected": at("/keys", away),
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{Provider: idp.New(), log: &strings.Builder{}}
			defer r.Provider.Close()
			r.Bend(b)
			r.open(t, func(_ *oidc.Settings, c *oidc.Config) { c.Timeout = 300 * time.Millisecond })
			begun := time.Now()
			_, err := r.exchange(r.Code(person(), request))
			requireUnavailable(t, err)
			require.Less(t, time.Since(begun), 5*time.Second)
			r.set.Close()
			require.NotContains(t, r.log.String(), verifier)
			require.Less(t, r.log.Len(), 3000)
		})
	}
}

// TestSet_Recovers: a provider that was down at the start is found later; a listing never waits for it.
func TestSet_Recovers(t *testing.T) {
	r := &rig{Provider: idp.New(), log: &strings.Builder{}}
	defer r.Provider.Close()
	var down atomic.Bool
	down.Store(true)
	release := make(chan struct{})
	r.Bend(idp.Bends{Serve: func(w http.ResponseWriter, q *http.Request) bool {
		if down.Load() {
			<-release
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load()
	}})
	r.open(t, nil)
	require.Empty(t, r.set.Listed(), "it does not wait for what hangs")
	close(release)
	_, err := r.exchange("code")
	requireUnavailable(t, err)
	down.Store(false)
	require.Eventually(t, func() bool { return len(r.set.Listed()) == 1 }, 10*time.Second, time.Millisecond)
	_, err = r.exchange(r.Code(person(), request))
	require.NoError(t, err)
	down.Store(true)
	require.Len(t, r.set.Listed(), 1, "what is known stays known")
}

// TestSet_Backoff: a provider that is down is not asked by every visitor.
func TestSet_Backoff(t *testing.T) {
	r := &rig{Provider: idp.New(), log: &strings.Builder{}}
	defer r.Provider.Close()
	r.Bend(idp.Bends{Serve: func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}})
	r.open(t, func(_ *oidc.Settings, c *oidc.Config) { c.RetryAfter = time.Hour })
	for range 20 {
		_, err := r.exchange("code")
		requireUnavailable(t, err)
		require.Empty(t, r.set.Listed())
	}
	require.Equal(t, 1, r.Requests("/.well-known/openid-configuration"))
}

func TestSet_Nil(t *testing.T) {
	var s *oidc.Set
	require.Empty(t, s.Listed())
	_, ok := s.Find("corp")
	require.False(t, ok)
	s.Close()
}

func TestSet_Close(t *testing.T) {
	r := newRig(t, nil)
	r.set.Close()
	r.set.Close()
}
