//go:build unix

package account_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/testkit/idp"
)

const (
	home  = "https://cdsa.example.org"
	app   = "https://app.example.org"
	proof = "0123456789abcdefghijklmnopqrstuvwxyz-._~ABC" // 43 characters
)

// house is the service with one provider, which maps staff to analyst and boss to admin.
type house struct {
	*rig
	idp *idp.Provider
}

func newHouse(t *testing.T, change func(*oidc.Settings)) *house {
	t.Helper()
	h := &house{rig: newRig(t), idp: idp.New()}
	t.Cleanup(h.idp.Close)
	s := oidc.Settings{
		Name: "corp", Issuer: h.idp.URL, ClientID: idp.ClientID, ClientSecret: idp.ClientSecret, Scopes: []string{"openid"},
		RolesClaim: "groups", Roles: map[string]string{"staff": "steward", "boss": "admin", "gone": "no such role"}, SignUp: true,
	}
	if change != nil {
		change(&s)
	}
	c := h.config
	c.OIDC = oidc.New(oidc.Config{Providers: []oidc.Settings{s}, PlainHTTP: true, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.OIDC.Close)
	c.Settings.PublicURL, c.Settings.RedirectOrigins = home, []string{app}
	var err error
	h.Service, err = account.New(c)
	require.NoError(t, err)
	return h
}

func (h *house) exchange(p idp.Person) (account.Signed, error) {
	code := h.idp.Code(p, idp.Request{RedirectURI: home + "/", Verifier: proof, Nonce: "n"})
	return h.ExchangeOIDCCode(laptop, account.ExchangeInput{Provider: "corp", Code: code, Verifier: proof, RedirectURI: home + "/", Nonce: "n"})
}

func (h *house) enter(t *testing.T, p idp.Person) account.Signed {
	t.Helper()
	s, err := h.exchange(p)
	require.NoError(t, err)
	return s
}

func (h *house) roles(t *testing.T, s account.Signed) (names []string) {
	t.Helper()
	err := h.DB.Pool.QueryRow(context.Background(), `SELECT array_agg(r.name ORDER BY r.name) FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = $1`, s.User.ID).Scan(&names)
	require.NoError(t, err)
	return names
}

// verified makes a local account whose address is verified.
func (h *house) verified(t *testing.T, username string, roles ...string) account.Signed {
	t.Helper()
	s := h.user(t, username, roles...)
	h.sql(t, `UPDATE users SET is_verified = TRUE WHERE id = $1`, s.User.ID)
	return s
}

func ada(groups ...string) idp.Person {
	return idp.Person{"sub": "ada-1", "email": "Ada@Example.org", "email_verified": true, "preferred_username": "Ada", "name": "Ada Lovelace", "groups": groups}
}

func with(p idp.Person, name string, value any) idp.Person {
	p[name] = value
	return p
}

func TestService_ExchangeOIDCCode(t *testing.T) {
	h := newHouse(t, nil)
	s := h.enter(t, ada("staff", "gone"))
	require.Equal(t, "ada@example.org", s.User.Email)
	require.Equal(t, "ada", s.User.Username)
	require.Equal(t, "Ada Lovelace", s.User.FullName)
	require.True(t, s.User.IsVerified)
	require.Empty(t, s.User.HashedPassword)
	require.Equal(t, h.idp.URL, *s.User.OidcIssuer)
	require.Equal(t, "ada-1", *s.User.OidcSubject)
	require.Equal(t, []string{"analyst", "steward"}, h.roles(t, s))
	require.Nil(t, s.Session.MfaAt)
	require.True(t, h.stands(t, s))
	require.Equal(t, 1, h.audited(t, "USER_CREATED", `user_id = $1 AND details->>'by' = 'corp'`, s.User.ID))
	require.Equal(t, 2, h.audited(t, "ROLE_ASSIGNED", `user_id = $1 AND details->>'by' = 'corp'`, s.User.ID))
	require.Equal(t, 1, h.audited(t, "LOGIN_SUCCEEDED", `user_id = $1 AND details->>'method' = 'oidc' AND details->>'provider' = 'corp'`, s.User.ID))

	again := h.enter(t, with(with(ada("staff"), "email", "other@example.org"), "email_verified", false))
	require.Equal(t, s.User.ID, again.User.ID, "the subject decides, whatever the address is by now")
	require.Equal(t, "ada@example.org", again.User.Email)
	require.True(t, h.stands(t, s), "another session stays")
	_, err := h.Refresh(laptop, again.RefreshToken)
	require.NoError(t, err)
	_, err = h.Login(laptop, account.LoginInput{Login: "ada", Password: password})
	requireCode(t, errs.Unauthenticated, err)
	require.Zero(t, h.audited(t, "OIDC_LINKED", `TRUE`))
}

func TestService_ExchangeOIDCCode_Link(t *testing.T) {
	link := func(t *testing.T, prepare func(h *house, ada account.Signed), p idp.Person, why string) {
		t.Helper()
		h := newHouse(t, nil)
		local := h.verified(t, "ada", "analyst")
		if prepare != nil {
			prepare(h, local)
		}
		s, err := h.exchange(p)
		if why == "" {
			require.NoError(t, err)
			require.Equal(t, local.User.ID, s.User.ID)
			require.Equal(t, 1, h.audited(t, "OIDC_LINKED", `resource_id = $1 AND user_id = $1 AND details->>'provider' = 'corp'`, local.User.ID))
			require.True(t, h.stands(t, s))
			return
		}
		e := failure(t, errs.Unauthenticated, err)
		require.NotContains(t, strings.ToLower(e.Message), "ada")
		require.Equal(t, 1, h.audited(t, "LOGIN_FAILED", `details->>'reason' = $1 AND details->>'method' = 'oidc' AND NOT success`, why))
		require.Zero(t, h.audited(t, "OIDC_LINKED", `TRUE`))
		require.Zero(t, h.Count(t, `SELECT count(*) FROM users WHERE oidc_subject = 'ada-1'`))
		require.Zero(t, h.Count(t, `SELECT count(*) FROM users WHERE username LIKE 'ada-%'`))
	}
	t.Run("OK", func(t *testing.T) { link(t, nil, ada(), "") })
	t.Run("NotVerifiedThere", func(t *testing.T) { link(t, nil, with(ada(), "email_verified", false), "unverified_email") })
	t.Run("VerifiedMissing", func(t *testing.T) {
		p := ada()
		delete(p, "email_verified")
		link(t, nil, p, "unverified_email")
	})
	t.Run("VerifiedOdd", func(t *testing.T) { link(t, nil, with(ada(), "email_verified", 1), "unverified_email") })
	t.Run("NotVerifiedHere", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET is_verified = FALSE WHERE id = $1`, s.User.ID)
		}, ada(), "unverified_email")
	})
	t.Run("SecondFactorHere", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET totp_enabled_at = now(), totp_secret = '\x00' WHERE id = $1`, s.User.ID)
		}, ada(), "second_factor_here")
	})
	t.Run("LinkedToAnotherSubject", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET oidc_issuer = $2, oidc_subject = 'ada-0' WHERE id = $1`, s.User.ID, h.idp.URL)
		}, ada(), "linked_elsewhere")
	})
	t.Run("LinkedToAnotherIssuer", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET oidc_issuer = 'https://id.example.com', oidc_subject = 'x' WHERE id = $1`, s.User.ID)
		}, ada(), "linked_elsewhere")
	})
	t.Run("Deactivated", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET is_active = FALSE WHERE id = $1`, s.User.ID)
		}, ada(), "inactive")
	})
	t.Run("Erased", func(t *testing.T) {
		link(t, func(h *house, s account.Signed) {
			h.sql(t, `UPDATE users SET erased_at = now() WHERE id = $1`, s.User.ID)
		}, ada(), "inactive")
	})
	t.Run("LookAlike", func(t *testing.T) { link(t, nil, with(ada(), "email", "аda@example.org"), "unverified_email") }) // Cyrillic а
	t.Run("NoAddress", func(t *testing.T) { link(t, nil, with(ada(), "email", ""), "unverified_email") })
	t.Run("TwoAddresses", func(t *testing.T) {
		link(t, nil, with(ada(), "email", "ada@example.org,eve@example.com"), "unverified_email")
	})
	t.Run("NoTextAddress", func(t *testing.T) {
		link(t, nil, with(ada(), "email", []string{"ada@example.org"}), "unverified_email")
	})
}

// Whoever registered the address of somebody else, and had them press the mailed link, is out once they sign in with
// their provider: nothing of what opened the account before does.
func TestService_ExchangeOIDCCode_LinkEndsWhatWasThere(t *testing.T) {
	h := newHouse(t, nil)
	thief := h.verified(t, "ada", "analyst")
	next := h.refresh(t, laptop, thief.RefreshToken)
	e, err := h.EnrollTOTP(as(thief), password)
	require.NoError(t, err)
	_, program, err := h.CreateAPIToken(as(thief), account.CreateAPITokenInput{Name: "x", Permissions: []string{"documents:read"}, ExpiresAt: h.config.Now().Add(time.Hour), Password: password})
	require.NoError(t, err)
	s := h.enter(t, ada("boss"))
	require.Equal(t, thief.User.ID, s.User.ID)
	require.Equal(t, []string{"admin", "analyst"}, h.roles(t, s))
	require.True(t, h.stands(t, s))
	require.False(t, h.stands(t, thief) || h.stands(t, next))
	_, err = h.LoadPrincipal(context.Background(), program.ID)
	requireCode(t, errs.Unauthenticated, err)
	for _, id := range []uuid.UUID{s.User.ID, next.Session.ID, program.ID} {
		require.True(t, h.wasRevoked(id), "open sockets hear of it")
	}
	h.refuseRefresh(t, laptop, next.RefreshToken)
	_, err = h.Login(laptop, account.LoginInput{Login: "ada", Password: password})
	requireCode(t, errs.Unauthenticated, err)
	_, err = h.ConfirmTOTP(as(thief), h.code(t, enrolled{secret: e.Secret}))
	require.Error(t, err)
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM users WHERE id = $1 AND hashed_password = '' AND totp_secret IS NULL`, s.User.ID))
	require.Equal(t, 1, h.audited(t, "OIDC_LINKED", `user_id = $1 AND (details->>'ended')::int = 2 AND details->>'password' = 'true'`, s.User.ID))
	require.True(t, h.stands(t, h.enter(t, ada("boss"))))
	require.True(t, h.stands(t, s), "the next sign-in ends nothing")
}

func TestService_ExchangeOIDCCode_Refused(t *testing.T) {
	t.Run("NoSignUp", func(t *testing.T) {
		h := newHouse(t, func(s *oidc.Settings) { s.SignUp = false })
		_, err := h.exchange(ada())
		requireCode(t, errs.Unauthenticated, err)
		require.Equal(t, 1, h.audited(t, "LOGIN_FAILED", `details->>'reason' = 'no_account' AND user_id IS NULL`))
	})
	for name, set := range map[string]string{"Deactivated": `is_active = FALSE`, "Erased": `erased_at = now()`} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			s := h.enter(t, ada())
			h.sql(t, `UPDATE users SET `+set+` WHERE id = $1`, s.User.ID)
			_, err := h.exchange(ada("boss"))
			requireCode(t, errs.Unauthenticated, err)
			require.Equal(t, []string{"analyst"}, h.roles(t, s), "nothing was given")
			require.Equal(t, 1, h.audited(t, "LOGIN_FAILED", `details->>'reason' = 'inactive' AND user_id = $1`, s.User.ID))
			require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, s.User.ID))
		})
	}
	t.Run("Replayed", func(t *testing.T) {
		h := newHouse(t, nil)
		in := account.ExchangeInput{Provider: "corp", Verifier: proof, RedirectURI: app + "/back?x=1"}
		in.Code = h.idp.Code(ada(), idp.Request{RedirectURI: in.RedirectURI, Verifier: proof})
		_, err := h.ExchangeOIDCCode(laptop, in)
		require.NoError(t, err)
		_, err = h.ExchangeOIDCCode(laptop, in)
		requireCode(t, errs.Unauthenticated, err)
		require.Equal(t, 1, h.audited(t, "LOGIN_FAILED", `details->>'reason' = 'code'`))
	})
	t.Run("BadToken", func(t *testing.T) {
		h := newHouse(t, nil)
		h.idp.Bend(idp.Bends{Claims: func(c map[string]any) { c["aud"] = "another" }})
		_, err := h.exchange(ada())
		requireCode(t, errs.Unauthenticated, err)
		require.Equal(t, 1, h.audited(t, "LOGIN_FAILED", `details->>'reason' = 'id_token'`))
		require.Zero(t, h.audited(t, "USER_CREATED", `details->>'by' = 'corp'`))
	})
	t.Run("Down", func(t *testing.T) {
		h := newHouse(t, nil)
		h.idp.Close()
		_, err := h.ExchangeOIDCCode(laptop, account.ExchangeInput{Provider: "corp", Code: "c", Verifier: proof, RedirectURI: home})
		require.True(t, failure(t, errs.UpstreamUnavailable, err).Retryable)
	})
	t.Run("NoProviders", func(t *testing.T) {
		_, err := newRig(t).ExchangeOIDCCode(laptop, account.ExchangeInput{Provider: "corp", Code: "c", Verifier: proof, RedirectURI: home})
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.provider")
	})
}

func TestService_ExchangeOIDCCode_Input(t *testing.T) {
	h := newHouse(t, nil)
	good := account.ExchangeInput{Provider: "corp", Code: "c", Verifier: proof, RedirectURI: home + "/"}
	for name, c := range map[string]struct {
		field  string
		change func(*account.ExchangeInput)
	}{
		"Provider":       {"input.provider", func(in *account.ExchangeInput) { in.Provider = "CORP" }},
		"NoCode":         {"input.code", func(in *account.ExchangeInput) { in.Code = "" }},
		"CodeControl":    {"input.code", func(in *account.ExchangeInput) { in.Code = "a\r\nb" }},
		"CodeLong":       {"input.code", func(in *account.ExchangeInput) { in.Code = strings.Repeat("c", 8193) }},
		"VerifierShort":  {"input.codeVerifier", func(in *account.ExchangeInput) { in.Verifier = proof[1:] }},
		"VerifierLong":   {"input.codeVerifier", func(in *account.ExchangeInput) { in.Verifier = strings.Repeat("v", 129) }},
		"VerifierChars":  {"input.codeVerifier", func(in *account.ExchangeInput) { in.Verifier = proof[1:] + "+" }},
		"VerifierBreak":  {"input.codeVerifier", func(in *account.ExchangeInput) { in.Verifier = proof + "\n" }},
		"NonceLong":      {"input.nonce", func(in *account.ExchangeInput) { in.Nonce = strings.Repeat("n", 513) }},
		"OtherOrigin":    {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "https://evil.example/" }},
		"Prefix":         {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + ".evil.example/" }},
		"User":           {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "https://cdsa.example.org@evil.example/" }},
		"UserInfo":       {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "https://x@cdsa.example.org/" }},
		"OtherPort":      {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + ":8443/" }},
		"Plain":          {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "http://cdsa.example.org/" }},
		"Case":           {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "https://CDSA.example.org/" }},
		"Fragment":       {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + "/#x" }},
		"Backslash":      {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + `\@evil.example/` }},
		"Relative":       {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "//cdsa.example.org/" }},
		"Script":         {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "javascript:alert(1)" }},
		"NoRedirect":     {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = "" }},
		"RedirectLong":   {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + "/" + strings.Repeat("r", 2048) }},
		"RedirectBreak":  {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = home + "/\r\nx" }},
		"RedirectSpaced": {"input.redirectUri", func(in *account.ExchangeInput) { in.RedirectURI = " " + home }},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			c.change(&in)
			_, err := h.ExchangeOIDCCode(laptop, in)
			require.Contains(t, failure(t, errs.BadUserInput, err).Fields, c.field)
		})
	}
	require.Zero(t, h.idp.Requests("/token"), "none of it reached the provider")
}

func TestService_ExchangeOIDCCode_Roles(t *testing.T) {
	h := newHouse(t, nil)
	s := h.enter(t, ada())
	require.Equal(t, []string{"analyst"}, h.roles(t, s))
	h.sql(t, `INSERT INTO user_roles SELECT $1, id FROM roles WHERE name = 'auditor'`, s.User.ID)

	h.enter(t, ada("staff", "boss"))
	require.Equal(t, []string{"admin", "analyst", "auditor", "steward"}, h.roles(t, s))
	require.True(t, h.wasRevoked(s.User.ID), "open sessions have the new rights at once")
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM revocations WHERE subject = $1`, s.User.ID))
	require.Equal(t, 1, h.audited(t, "ROLE_ASSIGNED", `user_id = $1 AND details->>'role' = 'admin' AND details->>'by' = 'corp'`, s.User.ID))

	h.enter(t, ada("staff", "boss"))
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM revocations WHERE subject = $1`, s.User.ID), "nothing changed, nothing was said")

	h.enter(t, ada())
	require.Equal(t, []string{"analyst", "auditor"}, h.roles(t, s), "what the provider does not manage stays")
	require.Equal(t, 2, h.audited(t, "ROLE_UNASSIGNED", `user_id = $1 AND success AND details->>'by' = 'corp'`, s.User.ID))

	t.Run("LastAdmin", func(t *testing.T) {
		h.enter(t, ada("boss"))
		h.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'admin'`)
		h.enter(t, ada("staff"))
		require.Equal(t, []string{"admin", "analyst", "auditor", "steward"}, h.roles(t, s))
		require.Equal(t, 1, h.audited(t, "ROLE_UNASSIGNED", `user_id = $1 AND NOT success AND details->>'role' = 'admin'`, s.User.ID))
		h.sql(t, `UPDATE users SET is_active = TRUE WHERE username = 'admin'`)
		h.enter(t, ada("staff"))
		require.Equal(t, []string{"analyst", "auditor", "steward"}, h.roles(t, s))
	})
	t.Run("NoDefaults", func(t *testing.T) {
		h := newHouse(t, func(s *oidc.Settings) { s.DefaultRoles = []string{} })
		require.Empty(t, h.roles(t, h.enter(t, ada())))
		require.Equal(t, []string{"admin"}, h.roles(t, h.enter(t, with(with(ada("boss"), "sub", "2"), "email", "b@example.org"))))
	})
	t.Run("Defaults", func(t *testing.T) {
		h := newHouse(t, func(s *oidc.Settings) { s.DefaultRoles = []string{"auditor", "no such role either"} })
		require.Equal(t, []string{"auditor"}, h.roles(t, h.enter(t, ada())))
	})
	t.Run("Unmanaged", func(t *testing.T) {
		h := newHouse(t, func(s *oidc.Settings) { s.RolesClaim, s.Roles = "", nil })
		require.Equal(t, []string{"analyst"}, h.roles(t, h.enter(t, ada("boss"))))
	})
}

// TestService_ExchangeOIDCCode_SecondFactor: of an account that is linked it is not asked for, and not given either.
func TestService_ExchangeOIDCCode_SecondFactor(t *testing.T) {
	h := newHouse(t, nil)
	s := h.verified(t, "ada", "analyst")
	h.enter(t, ada())
	h.sql(t, `UPDATE users SET totp_enabled_at = now(), totp_secret = 'x' WHERE id = $1`, s.User.ID)
	require.Nil(t, h.enter(t, ada()).Session.MfaAt)
}

func TestService_ExchangeOIDCCode_Usernames(t *testing.T) {
	h := newHouse(t, nil)
	for i, c := range []struct {
		suggested any
		want      string
	}{
		{"admin", "admin-2"}, {"Admin", "admin-3"}, {"jörg.müller@corp", "jorg.muller"}, {"Иван", "p3"}, {"аdmin", "dmin"}, {nil, "p5"}, {"a b\tc", "a.b.c"},
		{"--x--y--", "x.y"}, {"ok", "p8"}, {strings.Repeat("u", 90), strings.Repeat("u", 48)}, {"<script>", "script"}, {"\u212Aelvin", "kelvin"},
	} {
		local := fmt.Sprintf("p%d", i)
		want := c.want
		if len(want) < 3 { // the local part of the address is too short as well
			local += "x"
			want = local
		}
		p := with(with(with(ada(), "sub", local), "email", local+"@example.org"), "preferred_username", c.suggested)
		require.Equal(t, want, h.enter(t, p).User.Username, "%v", c.suggested)
	}
	s := h.enter(t, idp.Person{"sub": "y", "email": "y@example.org", "email_verified": true, "name": "Y\r\nBcc: x"})
	require.Equal(t, "user", s.User.Username)
	require.Empty(t, s.User.FullName)
	for range 12 {
		h.sql(t, `UPDATE users SET oidc_subject = gen_random_uuid()::text, email = gen_random_uuid()::text || '@example.org' WHERE oidc_subject = 'crowd'`)
		s := h.enter(t, with(with(with(ada(), "sub", "crowd"), "email", "crowd@example.org"), "preferred_username", "crowd"))
		require.True(t, strings.HasPrefix(s.User.Username, "crowd"))
	}
}

// TestService_ExchangeOIDCCode_Race: first sign-ins at the same moment make one account; so do role changes, without
// a deadlock.
func TestService_ExchangeOIDCCode_Race(t *testing.T) {
	h := newHouse(t, nil)
	var wg sync.WaitGroup
	failed := make(chan error, 100)
	for i := range 12 {
		wg.Go(func() {
			groups := []string{"staff", "boss"}[:1+i%2]
			if _, err := h.exchange(ada(groups...)); err != nil && !errs.Is(err, errs.Conflict) {
				failed <- err
			}
		})
		wg.Go(func() {
			_, err := h.AssignRole(authz.With(laptop, h.admin), h.admin.UserID, "steward")
			if err != nil {
				failed <- err
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a deadlock")
	}
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM users WHERE oidc_subject = 'ada-1'`))
	require.Equal(t, 1, h.audited(t, "USER_CREATED", `details->>'by' = 'corp'`))
}

// TestRoles_NamedByProviders: a claim gives the role that the operator named, and never another that took its name.
func TestRoles_NamedByProviders(t *testing.T) {
	h := newHouse(t, func(s *oidc.Settings) {
		s.Roles = map[string]string{"watch": "night watch", "later": "dawn watch"}
		s.DefaultRoles = []string{"newcomer"}
	})
	admin := testkit.As(h.admin)
	mapped, err := h.CreateRole(admin, "night watch", "", []string{"tools:read"})
	require.NoError(t, err, "the operator named it, somebody makes it")
	first, err := h.CreateRole(admin, "newcomer", "", nil)
	require.NoError(t, err)
	other, err := h.CreateRole(admin, "keepers", "", []string{"audit:read"})
	require.NoError(t, err)
	for name, err := range map[string]error{
		"away":        second(h.UpdateRole(admin, mapped.ID, ptr("day watch"), nil)),
		"awayDefault": second(h.UpdateRole(admin, first.ID, ptr("somebody"), nil)),
		"to":          second(h.UpdateRole(admin, other.ID, ptr("Dawn Watch"), nil)),
		"delete":      h.DeleteRole(admin, mapped.ID),
	} {
		require.Equal(t, "CONFIGURED", failure(t, errs.FailedPrecondition, err).State, name)
	}
	_, err = h.UpdateRole(admin, mapped.ID, nil, ptr("At night."))
	require.NoError(t, err)
	_, err = h.UpdateRole(admin, other.ID, ptr("curators"), nil)
	require.NoError(t, err)
	require.NoError(t, h.DeleteRole(admin, other.ID))
	s, err := h.exchange(idp.Person{"sub": "s1", "email": "ann@example.org", "email_verified": true, "groups": []string{"watch", "later"}})
	require.NoError(t, err)
	require.Equal(t, []string{"tools:read"}, s.Principal.Permissions())
}
