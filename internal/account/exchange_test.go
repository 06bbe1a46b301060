//go:build unix

package account_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/testkit/idp"
)

// street is the service with two providers, good and evil, and a clock that stands unless the test moves it.
type street struct {
	*rig
	good, evil *idp.Provider
}

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{rig: newRig(t), good: idp.New(), evil: idp.New()}
	t.Cleanup(s.good.Close)
	t.Cleanup(s.evil.Close)
	s.open(t)
	return s
}

func (s *street) open(t *testing.T) {
	t.Helper()
	var list []oidc.Settings
	for name, p := range map[string]*idp.Provider{"good": s.good, "evil": s.evil} {
		list = append(list, oidc.Settings{Name: name, Issuer: p.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, Scopes: []string{"openid"}, SignUp: true})
	}
	set := oidc.New(oidc.Config{Providers: list, PlainHTTP: true, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(set.Close)
	s.steady(t, func(c *account.Config) { c.OIDC, c.Settings.PublicURL = set, home })
}

func at(provider string) string { return home + "/oidc/" + provider }

// answer is what a client has after a sign-in at good.
func (s *street) answer() account.ExchangeInput {
	code := s.good.Code(ada(), idp.Request{RedirectURI: at("good"), Verifier: proof, Nonce: "n"})
	return account.ExchangeInput{Provider: "good", Code: code, Verifier: proof, RedirectURI: at("good"), Nonce: "n"}
}

// TestService_ExchangeOIDCCode_MixUp: a client that believes to have signed in at evil brings good's answer. evil must
// not see the code, with which it could sign in as the victim.
func TestService_ExchangeOIDCCode_MixUp(t *testing.T) {
	s := newStreet(t)
	refused := func(t *testing.T, code errs.Code, change func(*account.ExchangeInput)) {
		t.Helper()
		in := s.answer()
		change(&in)
		before := s.evil.Requests("/token") + s.good.Requests("/token")
		written := s.audited(t, "LOGIN_FAILED", `details->>'reason' = 'issuer' AND details->>'provider' = $1`, in.Provider)
		_, err := s.ExchangeOIDCCode(laptop, in)
		if code == errs.BadUserInput {
			require.Contains(t, failure(t, code, err).Fields, "input.redirectUri")
		} else {
			requireCode(t, code, err)
			require.Equal(t, written+1, s.audited(t, "LOGIN_FAILED", `details->>'reason' = 'issuer' AND details->>'provider' = $1`, in.Provider))
		}
		require.Equal(t, before, s.evil.Requests("/token")+s.good.Requests("/token"), "the code went nowhere")
	}
	t.Run("OK", func(t *testing.T) {
		_, err := s.ExchangeOIDCCode(laptop, s.answer())
		require.NoError(t, err)
		in := s.answer()
		in.Issuer = &s.good.URL
		_, err = s.ExchangeOIDCCode(laptop, in)
		require.NoError(t, err)
	})
	t.Run("Address", func(t *testing.T) {
		refused(t, errs.BadUserInput, func(in *account.ExchangeInput) { in.Provider = "evil" })
		for _, address := range []string{home, home + "/", at("evil"), at("notgood"), at("good") + "/x", home + "/?x=/good", home + "/x%2Fgood", at("GOOD"), home + "/g%6fod"} {
			refused(t, errs.BadUserInput, func(in *account.ExchangeInput) { in.RedirectURI = address })
		}
	})
	t.Run("Issuer", func(t *testing.T) {
		refused(t, errs.Unauthenticated, func(in *account.ExchangeInput) {
			in.Provider, in.RedirectURI, in.Issuer = "evil", at("evil"), &s.good.URL
		})
		for _, iss := range []string{"", s.good.URL + "/", strings.ToUpper(s.good.URL), s.evil.URL} {
			refused(t, errs.Unauthenticated, func(in *account.ExchangeInput) { in.Issuer = &iss })
		}
	})
	t.Run("IssuerAnnounced", func(t *testing.T) {
		s.good.Bend(idp.Bends{Discovery: func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }})
		s.open(t)
		refused(t, errs.Unauthenticated, func(*account.ExchangeInput) {})
		in := s.answer()
		in.Issuer = &s.good.URL
		_, err := s.ExchangeOIDCCode(laptop, in)
		require.NoError(t, err)
	})
}

// TestService_ExchangeOIDCCode_Paused: codes that are no good pause the network they come from, and nobody else.
func TestService_ExchangeOIDCCode_Paused(t *testing.T) {
	junk := account.ExchangeInput{Provider: "good", Code: "junk", Verifier: proof, RedirectURI: at("good")}
	t.Run("OneNetwork", func(t *testing.T) {
		s := newStreet(t)
		s.user(t, "bob", "analyst")
		for range 25 {
			_, err := s.ExchangeOIDCCode(laptop, junk)
			requireCode(t, errs.Unauthenticated, err)
		}
		for range 10 {
			_, err := s.ExchangeOIDCCode(laptop, s.answer())
			require.Equal(t, time.Second, failure(t, errs.RateLimited, err).RetryAfter)
		}
		_, err := s.Login(laptop, account.LoginInput{Login: "bob", Password: password})
		requireCode(t, errs.RateLimited, err)
		require.Equal(t, 25, s.good.Requests("/token"), "a paused network reaches no provider")
		require.Equal(t, 25, s.audited(t, "LOGIN_FAILED", `details->>'reason' = 'code'`))
		require.Equal(t, 1, s.audited(t, "RATE_LIMIT_EXCEEDED", `details->>'counter' = 'network'`))
		require.Equal(t, 1, s.Count(t, `SELECT count(*) FROM login_throttles`), "no name is counted")

		_, err = s.ExchangeOIDCCode(elsewhere(1), s.answer())
		require.NoError(t, err)
		s.pass(time.Second)
		_, err = s.ExchangeOIDCCode(laptop, s.answer())
		require.NoError(t, err)
	})
	t.Run("WithoutAccount", func(t *testing.T) {
		s := newStreet(t)
		in := func() account.ExchangeInput {
			in := s.answer()
			in.Code = s.good.Code(with(ada(), "email_verified", false), idp.Request{RedirectURI: at("good"), Verifier: proof, Nonce: "n"})
			return in
		}
		for range 25 {
			_, err := s.ExchangeOIDCCode(laptop, in())
			requireCode(t, errs.Unauthenticated, err)
		}
		_, err := s.ExchangeOIDCCode(laptop, in())
		requireCode(t, errs.RateLimited, err)
	})
	t.Run("ManyNetworks", func(t *testing.T) {
		s := newStreet(t)
		for n := range 30 {
			_, err := s.ExchangeOIDCCode(elsewhere(n), junk)
			requireCode(t, errs.Unauthenticated, err)
		}
		_, err := s.ExchangeOIDCCode(laptop, s.answer())
		require.NoError(t, err)
	})
	t.Run("Burst", func(t *testing.T) {
		s := newStreet(t)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := s.ExchangeOIDCCode(laptop, junk); err == nil {
					t.Error("a made up code signed somebody in")
				}
			})
		}
		wg.Wait()
		require.GreaterOrEqual(t, s.good.Requests("/token"), 25)
		require.Less(t, s.good.Requests("/token"), 25+4, "those under way when the pause began")
	})
	t.Run("Left", func(t *testing.T) {
		s := newStreet(t)
		asked, goOn := make(chan struct{}), make(chan struct{})
		s.good.Bend(idp.Bends{Serve: func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				asked <- struct{}{}
				<-goOn
			}
			return false
		}})
		ctx, leave := context.WithCancel(laptop)
		done := make(chan error)
		go func() { _, err := s.ExchangeOIDCCode(ctx, junk); done <- err }()
		<-asked
		leave()
		close(goOn)
		require.Error(t, <-done)
		require.Equal(t, 1, s.audited(t, "LOGIN_FAILED", `details->>'reason' = 'code'`), "who leaves is counted")
		require.Equal(t, 1, s.Count(t, `SELECT count(*) FROM login_throttles WHERE failures = 1`))
	})
	t.Run("OwnWords", func(t *testing.T) {
		s := newStreet(t)
		for i, c := range []struct {
			status int
			body   string
			want   errs.Code
		}{
			{400, `{"error":"bad_verification_code"}`, errs.Unauthenticated},
			{400, `no`, errs.Unauthenticated},
			{400, `{"error":"invalid_client"}`, errs.UpstreamUnavailable},
			{403, `{"error":"blocked"}`, errs.UpstreamUnavailable},
		} {
			s.good.Bend(idp.Bends{Serve: func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(c.status)
					_, _ = fmt.Fprint(w, c.body)
				}
				return r.URL.Path == "/token"
			}})
			_, err := s.ExchangeOIDCCode(elsewhere(i), junk)
			requireCode(t, c.want, err)
		}
	})
}
