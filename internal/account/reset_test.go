//go:build unix

package account_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uow"
)

const freshPassword = "seven herons over the weir"

func TestResetPassword(t *testing.T) {
	r := newMailRig(t)
	alice, bob := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst")
	second := r.login(t, "alice")
	r.sql(t, `UPDATE users SET failed_login_count = 7, full_name = 'Alice "A" Ä.', is_verified = TRUE, totp_enabled_at = now() WHERE username = 'alice'`)
	r.sql(t, `UPDATE sessions SET kind = 'API_TOKEN' WHERE id = $1`, second.Session.ID)
	require.NoError(t, r.RequestPasswordReset(laptop, " ALICE@example.org\n"))
	other := r.work(t)[0]
	require.Equal(t, "alice@example.org", other.To)
	require.Equal(t, `Alice "A" Ä.`, other.Name)
	require.Equal(t, "Set a new password", other.Subject)
	tok := r.asks(t, "alice@example.org")
	require.Equal(t, 2, r.audited(t, "PASSWORD_RESET_REQUESTED", `user_id = $1 AND resource_id = $1 AND success`, alice.User.ID))
	require.Zero(t, r.Count(t, `SELECT (SELECT count(*) FROM mailed_tokens m WHERE m::text LIKE '%' || right($1, 43) || '%') + (SELECT count(*) FROM river_job j WHERE j::text LIKE '%' || right($1, 43) || '%')`, tok), "the token is stored nowhere")

	requireCode(t, errs.BadUserInput, r.ResetPassword(laptop, tok, "alice@example.org"))
	requireCode(t, errs.BadUserInput, r.ResetPassword(laptop, tok, "short"))
	requireCode(t, errs.BadUserInput, r.ResetPassword(laptop, tok, strings.Repeat("long", 1<<20)))
	r.pass(30*time.Minute - 10*time.Second)
	before := time.Now().Add(29 * time.Minute)
	require.NoError(t, r.ResetPassword(laptop, tok, freshPassword), "a weak password does not spend the link")

	require.False(t, r.stands(t, alice))
	require.False(t, r.stands(t, second))
	require.True(t, r.stands(t, bob))
	require.True(t, r.wasRevoked(alice.User.ID))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND (is_active OR revoked_at IS NULL)`, alice.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE id = $1 AND failed_login_count = 0 AND locked_until IS NULL AND totp_enabled_at IS NOT NULL
		AND is_verified AND password_changed_at > $2 AND tokens_valid_after = password_changed_at`, alice.User.ID, before), "the second factor stays")
	r.sql(t, `UPDATE users SET totp_enabled_at = NULL WHERE id = $1`, alice.User.ID)
	require.False(t, r.signsIn(t, "alice", password))
	require.True(t, r.signsIn(t, "alice", freshPassword))
	require.Equal(t, 1, r.audited(t, "PASSWORD_RESET_COMPLETED", `user_id = $1 AND (details->>'ended')::int = 2`, alice.User.ID))

	for _, used := range []string{tok, token(t, other)} {
		requireCode(t, errs.Expired, r.ResetPassword(laptop, used, "another password entirely"))
	}
	require.True(t, r.signsIn(t, "alice", freshPassword))
}

// TestResetPassword_Verifies: who gets mail at an address has shown that it is theirs.
func TestResetPassword_Verifies(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst")
	r.sql(t, `UPDATE users SET full_name = 'Your account is blocked, call 555' WHERE username = 'alice'`)
	require.NoError(t, r.RequestPasswordReset(laptop, "alice@example.org"))
	l := r.work(t)[0]
	require.Empty(t, l.Name, "what a stranger may have typed is not put into somebody's mailbox")
	require.NotContains(t, l.Text, "555")
	require.NoError(t, r.ResetPassword(laptop, token(t, l), freshPassword))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE username = 'alice' AND is_verified`))
}

// TestResetPassword_Unproven: a factor that was enrolled before anybody showed that the address is theirs may be that of
// somebody who registered it in their place. It goes with the first proof, and never after one.
func TestResetPassword_Unproven(t *testing.T) {
	r := newMailRig(t)
	thief := r.user(t, "alice", "analyst")
	r.enrol(t, thief)
	_, program, err := r.CreateAPIToken(as(thief), account.CreateAPITokenInput{Name: "x", Permissions: []string{"documents:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: password})
	require.NoError(t, err)
	require.NoError(t, r.ResetPassword(laptop, r.asks(t, "alice@example.org"), freshPassword))
	require.Equal(t, 1, r.audited(t, "MFA_REMOVED", `user_id = $1 AND details->>'reason' = 'unverified'`, thief.User.ID))
	require.False(t, r.stands(t, thief))
	_, err = r.LoadPrincipal(context.Background(), program.ID)
	requireCode(t, errs.Unauthenticated, err)
	require.True(t, r.signsIn(t, "alice", freshPassword), "no code is asked for")

	// Who knows the password and not the factor moves the account to a mailbox of theirs: the factor stays.
	bob := r.user(t, "bob", "analyst")
	r.sql(t, `UPDATE users SET is_verified = TRUE WHERE id = $1`, bob.User.ID)
	r.enrol(t, bob)
	to, with := "bob.elsewhere@example.org", password
	_, err = r.UpdateUser(as(bob), bob.User.ID, account.UpdateUserInput{Email: &to, Password: &with})
	require.NoError(t, err)
	r.work(t)
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE id = $1 AND NOT is_verified`, bob.User.ID))
	require.NoError(t, r.ResetPassword(laptop, r.asks(t, to), freshPassword))
	_, err = r.Login(laptop, account.LoginInput{Login: "bob", Password: freshPassword})
	require.Equal(t, "CODE_MISSING", failure(t, errs.MFARequired, err).State)
	require.Equal(t, 1, r.audited(t, "MFA_REMOVED", `TRUE`))
}

// TestMailed_RefusalsRecorded: an old link is somebody's failed attempt, and made-up ones together are one row.
func TestMailed_RefusalsRecorded(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	requireVerify := func() string {
		t.Helper()
		require.NoError(t, r.RequestEmailVerification(as(alice)))
		return token(t, r.work(t)[0])
	}
	verify, late := requireVerify(), requireVerify()
	require.NoError(t, r.VerifyEmail(laptop, verify))
	reset, other := r.asks(t, "alice@example.org"), r.asks(t, "alice@example.org")
	require.NoError(t, r.ResetPassword(laptop, reset, freshPassword))
	for _, c := range []struct {
		action, why string
		do          func() error
	}{
		{"EMAIL_VERIFIED", "used", func() error { return r.VerifyEmail(laptop, verify) }},
		{"EMAIL_VERIFIED", "revoked", func() error { return r.VerifyEmail(laptop, late) }},
		{"PASSWORD_RESET_COMPLETED", "used", func() error { return r.ResetPassword(laptop, reset, freshPassword) }},
		{"PASSWORD_RESET_COMPLETED", "revoked", func() error { return r.ResetPassword(laptop, other, freshPassword) }},
	} {
		requireCode(t, errs.Expired, c.do())
		require.Equal(t, 1, r.audited(t, c.action, `user_id = $1 AND resource_id = $1 AND NOT success AND error_message = 'EXPIRED' AND details = jsonb_build_object('reason', $2::text)`, alice.User.ID, c.why), "%s %s", c.action, c.why)
	}

	ctx := context.Background()
	unknown := func() int { return r.audited(t, "LOGIN_FAILED", `details->>'reason' = 'unknown_token'`) }
	for i := range 30 {
		where := from(fmt.Sprintf("203.0.113.%d", i), "curl")
		requireCode(t, errs.Expired, r.VerifyEmail(where, "cdsa_ev_made up"))
		requireCode(t, errs.Expired, r.VerifyEmail(where, forge(t, r.config.IdentityKey, "cdsa_ev_", "VERIFY", uuid.New())))
		requireCode(t, errs.Expired, r.ResetPassword(where, "", freshPassword))
		r.refuseRefresh(t, where, "cdsa_rt_"+strings.Repeat("A", 43))
		r.refuseRefresh(t, where, "x")
	}
	r.refuseRefresh(t, laptop, "x")
	require.Zero(t, unknown(), "never inside the request")
	require.NoError(t, r.Sweep(ctx))
	require.Equal(t, 2, unknown(), "a network, not a token")
	require.Equal(t, 1, r.audited(t, "LOGIN_FAILED", `NOT success AND user_id IS NULL AND details = '{"reason": "unknown_token", "verify": 60, "reset": 30, "refresh": 60}'`))
	r.refuseRefresh(t, laptop, "x")
	require.NoError(t, r.Sweep(ctx))
	require.Equal(t, 2, unknown(), "once a minute")
	r.pass(time.Minute)
	require.NoError(t, r.Sweep(ctx))
	require.Equal(t, 3, unknown(), "what came meanwhile is not lost")
	r.pass(time.Minute)
	require.NoError(t, r.Sweep(ctx))
	require.Equal(t, 3, unknown())

	// From many networks at once: told apart up to a bound, and a few rows at a time.
	for i := range 1500 {
		r.refuseRefresh(t, from(fmt.Sprintf("10.%d.%d.1", i/256, i%256), "curl"), "x")
	}
	require.NoError(t, r.Sweep(ctx))
	require.Equal(t, 3+20, unknown())
	for range 60 {
		require.NoError(t, r.Sweep(ctx))
	}
	require.Equal(t, 3+1000+1, unknown())
	require.Equal(t, 1, r.audited(t, "LOGIN_FAILED", `details = '{"reason": "unknown_token", "refresh": 500}' AND ip_address IS NULL`), "the rest share one")
}

// TestResetPassword_OneAnswer: whatever is wrong with a link, the answer is the same and nothing changes.
func TestResetPassword_OneAnswer(t *testing.T) {
	r := newMailRig(t)
	for _, name := range []string{"expired", "used", "revoked", "inactive", "erased", "moved", "fine", "deleted"} {
		r.user(t, name, "analyst")
	}
	links := map[string]string{}
	for _, name := range []string{"used", "revoked", "inactive", "erased", "moved", "fine"} {
		links[name] = r.asks(t, name+"@example.org")
	}
	require.NoError(t, r.ResetPassword(laptop, links["used"], freshPassword))
	r.sql(t, `UPDATE mailed_tokens SET revoked_at = now() WHERE user_id = (SELECT id FROM users WHERE username = 'revoked')`)
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'inactive'`)
	r.sql(t, `UPDATE users SET erased_at = now() WHERE username = 'erased'`)
	r.sql(t, `UPDATE users SET email = 'moved.away@example.org' WHERE username = 'moved'`)
	fine := links["fine"]
	id := r.ID(t, `SELECT id FROM mailed_tokens WHERE user_id = (SELECT id FROM users WHERE username = 'fine')`)
	require.Equal(t, fine, forge(t, r.config.IdentityKey, "cdsa_rs_", "RESET", id), "what this test forges is what the server makes")
	delete(links, "fine")
	links["empty"], links["prefix"], links["short"], links["long"] = "", "cdsa_rs_", fine[:len(fine)-1], fine+"A"
	links["padded"], links["newline"], links["inside"] = fine+"=", fine+"\n", fine[:40]+"\n"+fine[40:]
	links["huge"] = "cdsa_rs_" + strings.Repeat("A", 1<<20)
	links["otherKey"] = forge(t, []byte("another key of thirty-two bytes!!"), "cdsa_rs_", "RESET", id)
	links["otherKind"], links["verifyAsReset"], links["inviteAsReset"] = forge(t, r.config.IdentityKey, "cdsa_ev_", "VERIFY", id), forge(t, r.config.IdentityKey, "cdsa_rs_", "VERIFY", id), forge(t, r.config.IdentityKey, "cdsa_rs_", "INVITE", id)
	links["unknown"] = forge(t, r.config.IdentityKey, "cdsa_rs_", "RESET", uuid.New())
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(fine, "cdsa_rs_"))
	require.NoError(t, err)
	for bit := range len(raw) * 8 {
		flipped := append([]byte{}, raw...)
		flipped[bit/8] ^= 1 << (bit % 8)
		links[fmt.Sprintf("bit%d", bit)] = "cdsa_rs_" + base64.RawURLEncoding.EncodeToString(flipped)
	}
	var words string
	for name, link := range links {
		e := failure(t, errs.Expired, r.ResetPassword(laptop, link, freshPassword))
		if words == "" {
			words = e.Message
		}
		require.Equal(t, words, e.Message, name)
		require.Empty(t, e.Fields)
	}
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE password_changed_at IS NOT NULL`), "the used one's")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE used_at IS NOT NULL AND user_id <> (SELECT id FROM users WHERE username = 'used')`))

	gone := r.asks(t, "deleted@example.org")
	r.sql(t, `UPDATE mailed_tokens SET user_id = NULL WHERE email = 'deleted@example.org'`)
	requireCode(t, errs.Expired, r.ResetPassword(laptop, gone, freshPassword))
	// To the microsecond.
	r.sql(t, `UPDATE mailed_tokens SET expires_at = created_at + interval '30 minutes'`)
	late := r.asks(t, "expired@example.org")
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE expires_at - created_at = interval '30 minutes' AND user_id = (SELECT id FROM users WHERE username = 'expired')`))
	at := r.frozen(t, `SELECT expires_at FROM mailed_tokens WHERE user_id = (SELECT id FROM users WHERE username = 'expired')`)
	r.config.Now = func() time.Time { return at.Add(time.Microsecond) }
	r.remake(t)
	requireCode(t, errs.Expired, r.ResetPassword(laptop, late, freshPassword))
	r.config.Now = func() time.Time { return at }
	r.remake(t)
	requireCode(t, errs.Expired, r.ResetPassword(laptop, late, freshPassword))
	r.config.Now = func() time.Time { return at.Add(-time.Microsecond) }
	r.remake(t)
	require.NoError(t, r.ResetPassword(laptop, late, freshPassword))
}

// frozen reads a time.
func (r *mailRig) frozen(t *testing.T, query string) (at time.Time) {
	t.Helper()
	require.NoError(t, r.DB.Pool.QueryRow(context.Background(), query).Scan(&at))
	return at
}

// TestResetPassword_Once: of many who present a link at the same instant, one passes.
func TestResetPassword_Once(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst")
	tok := r.asks(t, "alice@example.org")
	var wg sync.WaitGroup
	results := make([]error, 12)
	for i := range results {
		wg.Go(func() { results[i] = r.ResetPassword(laptop, tok, fmt.Sprintf("%s, number %d", freshPassword, i)) })
	}
	wg.Wait()
	won := -1
	for i, err := range results {
		if err == nil {
			require.Equal(t, -1, won, "two passed")
			won = i
			continue
		}
		requireCode(t, errs.Expired, err)
	}
	require.GreaterOrEqual(t, won, 0)
	require.True(t, r.signsIn(t, "alice", fmt.Sprintf("%s, number %d", freshPassword, won)))
	require.Equal(t, 1, r.audited(t, "PASSWORD_RESET_COMPLETED", `success`))
}

// tracedStore is a store whose statements go through a pool.
func tracedStore(t *testing.T, like *uow.Store, pool *pgxpool.Pool) *uow.Store {
	t.Helper()
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return &uow.Store{DB: db, Audit: like.Audit, Jobs: like.Jobs}
}

// statements counts, by tracer, what a call asks of the database.
type statements struct {
	mu   sync.Mutex
	list []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(d.SQL, "PGNotifyMany") { // the queue wakes its workers once in a while, whoever asks
		s.list = append(s.list, d.SQL)
	}
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestRequestPasswordReset_OneAnswer: nobody learns whether there is an account.
func TestRequestPasswordReset_OneAnswer(t *testing.T) {
	r := newMailRig(t)
	for _, name := range []string{"alice", "inactive", "erased", "flooded"} {
		r.user(t, name, "analyst")
	}
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'inactive'`)
	r.sql(t, `UPDATE users SET erased_at = now() WHERE username = 'erased'`)
	for range 4 {
		require.NoError(t, r.RequestPasswordReset(laptop, "flooded@example.org"))
	}
	require.Len(t, r.work(t), 3, "three an hour")

	// The service's own pool is traced; its units of work go through the same statements of this package.
	seen := &statements{}
	conf := r.DB.Pool.Config()
	conf.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(context.Background(), conf)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	r.config.Pool, r.config.Store = pool, tracedStore(t, r.Store, pool)
	r.remake(t)
	var first []string
	for i, email := range []string{"alice@example.org", "nobody@example.org", "inactive@example.org", "erased@example.org", "flooded@example.org", "not an address", "", "alice", "a\x00@example.org", strings.Repeat("a", 1<<20)} {
		require.NoError(t, r.RequestPasswordReset(laptop, email)) // the audit key of a subject is made at the first time
		seen.list = nil
		require.NoError(t, r.RequestPasswordReset(laptop, email))
		if i == 0 {
			first = seen.list
			require.Greater(t, len(first), 6)
		}
		require.Equal(t, first, seen.list, "%.40q", email)
	}
	mails := r.work(t)
	require.Len(t, mails, 2)
	for _, m := range mails {
		require.Equal(t, "alice@example.org", m.To)
	}
	require.Zero(t, r.Count(t, `SELECT count(*) FROM audit_logs l WHERE l::text LIKE '%example.org%' AND action LIKE 'PASSWORD_RESET%'`))
	require.Equal(t, 12, r.audited(t, "PASSWORD_RESET_REQUESTED", `user_id IS NULL AND resource_id IS NULL`))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE user_id IS NULL AND (email IS NOT NULL OR kind <> 'RESET')`))
	r.pass(time.Hour + time.Second)
	require.NoError(t, r.RequestPasswordReset(laptop, "flooded@example.org"))
	require.Len(t, r.work(t), 1, "a bound, not a lock")
}

// TestRequestPasswordReset_Network: one place cannot have mails sent to everyone.
func TestRequestPasswordReset_Network(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst")
	for i := range 30 {
		require.NoError(t, r.RequestPasswordReset(from(fmt.Sprintf("203.0.113.%d", i), "curl"), fmt.Sprintf("nobody%d@example.org", i)))
	}
	rows := r.Count(t, `SELECT count(*) FROM mailed_tokens`)
	require.Equal(t, 30, rows)
	require.NoError(t, r.RequestPasswordReset(from("203.0.113.200", "curl"), "alice@example.org"))
	require.NoError(t, r.RequestPasswordReset(from("::ffff:203.0.113.201", "curl"), "alice@example.org"))
	require.Empty(t, r.work(t))
	require.Equal(t, rows, r.Count(t, `SELECT count(*) FROM mailed_tokens`))
	require.Equal(t, 2, r.audited(t, "PASSWORD_RESET_REQUESTED", `details->>'mailed' = 'false' AND user_id IS NOT NULL`))
	_, err := r.Register(from("203.0.113.9", "curl"), account.RegisterInput{Email: "carol@example.org", Username: "carol", Password: freshPassword})
	require.NoError(t, err)
	require.Empty(t, r.work(t), "registration counts as well")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens m WHERE m::text LIKE '%203.0.113%'`), "no address is kept")

	require.NoError(t, r.RequestPasswordReset(from("198.51.100.1", "curl"), "alice@example.org"))
	require.Len(t, r.work(t), 1, "other places are not in the way")
	for _, ip := range []string{"2001:db8:1:2::1", "2001:db8:1:ff::2", "not an address", ""} {
		require.NoError(t, r.RequestPasswordReset(from(ip, ""), "nobody@example.org"))
	}
	require.Equal(t, 2+2, r.Count(t, `SELECT count(DISTINCT network) FROM mailed_tokens`), "a household's addresses are one place")
}

// TestRequestPasswordReset_Stranger: what strangers ask for does not use up what the rightful person may ask for where they
// usually are, and no account is mailed without bound.
func TestRequestPasswordReset_Stranger(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst") // who signed in from the laptop's network
	r.user(t, "bob", "analyst")
	ask := func(ip, who string, mails int) {
		t.Helper()
		for range 5 {
			require.NoError(t, r.RequestPasswordReset(from(ip, "curl"), who+"@example.org"))
		}
		require.Len(t, r.work(t), mails)
	}
	ask("203.0.113.1", "alice", 3)
	ask("203.0.113.77", "alice", 0) // the same network
	ask("192.0.2.200", "alice", 3)
	ask("198.51.100.1", "alice", 3)
	ask("203.0.114.1", "alice", 1) // ten in all
	ask("203.0.115.1", "alice", 0)
	ask("203.0.115.1", "bob", 3) // another's account
	r.pass(time.Hour + time.Second)

	flood := func() {
		for i := range 12 {
			require.NoError(t, r.RequestPasswordReset(from(fmt.Sprintf("203.0.%d.1", i%4), "curl"), "alice@example.org"))
		}
		require.Len(t, r.work(t), 10)
	}
	flood()
	ask("203.0.9.1", "alice", 0)
	ask("192.0.2.9", "alice", 3) // where she signed in within 30 days
	r.pass(31 * 24 * time.Hour)
	flood()
	ask("192.0.2.9", "alice", 0) // she has not been there since
}

func TestSendMailed(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst")
	ctx := context.Background()
	ask := func() uuid.UUID {
		r.pass(2 * time.Hour)
		require.NoError(t, r.RequestPasswordReset(laptop, "alice@example.org"))
		return r.ID(t, `SELECT id FROM mailed_tokens ORDER BY created_at DESC LIMIT 1`)
	}
	for name, spoil := range map[string]string{
		"used": `UPDATE mailed_tokens SET used_at = now() WHERE id = $1`, "revoked": `UPDATE mailed_tokens SET revoked_at = now() WHERE id = $1`,
		"expired": `UPDATE mailed_tokens SET expires_at = created_at WHERE id = $1`, "userless": `UPDATE mailed_tokens SET user_id = NULL WHERE id = $1`,
		"swept": `DELETE FROM mailed_tokens WHERE id = $1`, "moved": `UPDATE users SET email = 'a2@example.org' WHERE $1::uuid IS NOT NULL AND username = 'alice'`,
		"inactive": `UPDATE users SET is_active = FALSE WHERE $1::uuid IS NOT NULL AND username = 'alice'`,
	} {
		r.letters = nil
		r.sql(t, `UPDATE users SET email = 'alice@example.org', is_active = TRUE WHERE username = 'alice'`)
		id := ask()
		require.NoError(t, r.SendMailed(ctx, id))
		require.Len(t, r.letters, 1, name)
		r.sql(t, spoil, id)
		require.NoError(t, r.SendMailed(ctx, id))
		require.Len(t, r.letters, 1, "%s: nothing is mailed", name)
	}
	require.NoError(t, r.SendMailed(ctx, uuid.New()))
	r.sql(t, `UPDATE users SET email = 'alice@example.org', is_active = TRUE WHERE username = 'alice'`)
	id := ask()
	r.fail = errors.New("the post is on strike")
	require.ErrorIs(t, r.SendMailed(ctx, id), r.fail, "the queue tries again")
	r.fail = nil
	r.config.Mail = nil
	r.remake(t)
	require.NoError(t, r.SendMailed(ctx, id), "mails are off")
	require.NoError(t, r.RequestPasswordReset(laptop, "alice@example.org"))
}

func TestSweep_Mailed(t *testing.T) {
	r := newMailRig(t)
	r.user(t, "alice", "analyst")
	require.NoError(t, r.RequestPasswordReset(laptop, "alice@example.org"))
	sweep := func() int {
		require.NoError(t, r.Sweep(context.Background()))
		return r.Count(t, `SELECT count(*) FROM mailed_tokens`)
	}
	require.Equal(t, 1, sweep())
	r.pass(30*time.Minute + 24*time.Hour - time.Minute - time.Second)
	require.Equal(t, 1, sweep())
	r.pass(time.Minute + 2*time.Second)
	require.Equal(t, 0, sweep())
	require.NoError(t, r.RequestPasswordReset(laptop, "alice@example.org"))
	r.sql(t, `UPDATE mailed_tokens SET expires_at = now() - interval '30 days'`)
	require.Equal(t, 1, sweep(), "once a minute")
	r.pass(time.Minute)
	require.Equal(t, 0, sweep())
}

func TestChangePassword(t *testing.T) {
	r := newMailRig(t)
	alice, bob := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst")
	second := r.login(t, "alice")
	mfaAt := time.Now().Add(-time.Minute).UTC().Truncate(time.Microsecond)
	r.sql(t, `UPDATE sessions SET mfa_at = $2 WHERE id = $1`, alice.Session.ID, mfaAt)
	link := r.asks(t, "alice@example.org")
	ctx := authz.With(laptop, alice.Principal)

	_, err := r.ChangePassword(laptop, password, freshPassword)
	requireCode(t, errs.Unauthenticated, err)
	for fresh, why := range map[string]string{password: "the same", "alice@example.org": "own", "short": "short", "password1234": "weak"} {
		_, err = r.ChangePassword(ctx, password, fresh)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.newPassword", why)
	}
	program := *alice.Principal
	program.APIToken = true
	_, err = r.ChangePassword(authz.With(laptop, &program), password, freshPassword)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'changePassword'`, alice.User.ID))
	require.True(t, r.stands(t, alice))

	s, err := r.ChangePassword(ctx, password, freshPassword)
	require.NoError(t, err)
	require.False(t, r.stands(t, alice))
	require.False(t, r.stands(t, second))
	require.True(t, r.stands(t, bob))
	require.True(t, r.stands(t, s), "the new session is not cut off with the old ones")
	require.NotEqual(t, alice.Session.ID, s.Session.ID)
	require.True(t, mfaAt.Equal(*s.Session.MfaAt))
	require.Equal(t, s.Session.ID, s.Principal.SessionID)
	require.True(t, r.wasRevoked(alice.User.ID))
	require.Equal(t, 1, r.audited(t, "PASSWORD_CHANGED", `user_id = $1 AND (details->>'ended')::int = 2`, alice.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users u JOIN sessions s ON s.user_id = u.id WHERE s.id = $1 AND s.created_at >= u.tokens_valid_after AND u.password_changed_at IS NOT NULL`, s.Session.ID))
	again, err := r.Refresh(laptop, s.RefreshToken)
	require.NoError(t, err, "and can be refreshed")
	require.True(t, r.stands(t, again))
	_, err = r.Refresh(laptop, alice.RefreshToken)
	requireCode(t, errs.Unauthenticated, err)
	require.False(t, r.signsIn(t, "alice", password))
	require.True(t, r.signsIn(t, "alice", freshPassword))
	requireCode(t, errs.Expired, r.ResetPassword(laptop, link, "another password entirely"))
	_, err = r.ChangePassword(ctx, freshPassword, "another password entirely")
	requireCode(t, errs.Unauthenticated, err)
}

// TestChangePassword_WrongPassword needs reauthenticate.
func TestChangePassword_WrongPassword(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	_, err := r.ChangePassword(authz.With(laptop, alice.Principal), "not the password at all", freshPassword)
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.currentPassword")
	require.True(t, r.stands(t, alice))
	require.True(t, r.signsIn(t, "alice", password))
}

func TestChangePassword_NoPassword(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	r.sql(t, `UPDATE users SET hashed_password = '' WHERE username = 'alice'`)
	_, err := r.ChangePassword(testkit.As(alice.Principal), "", freshPassword)
	require.Equal(t, "NO_PASSWORD", failure(t, errs.FailedPrecondition, err).State)
	require.NoError(t, r.ResetPassword(laptop, r.asks(t, "alice@example.org"), freshPassword), "a link sets the first one")
	require.True(t, r.signsIn(t, "alice", freshPassword))
}

// TestChangePassword_AtOnce: one change wins, and its session is the only one that stands.
func TestChangePassword_AtOnce(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	ctx := authz.With(laptop, alice.Principal)
	var wg sync.WaitGroup
	signed, results := make([]account.Signed, 6), make([]error, 6)
	for i := range results {
		wg.Go(func() {
			signed[i], results[i] = r.ChangePassword(ctx, password, fmt.Sprintf("%s, number %d", freshPassword, i))
		})
	}
	wg.Wait()
	won := 0
	for i, err := range results {
		if err == nil {
			won++
			require.True(t, r.stands(t, signed[i]))
			require.True(t, r.signsIn(t, "alice", fmt.Sprintf("%s, number %d", freshPassword, i)))
			continue
		}
		e, ok := errs.As(err)
		require.True(t, ok, "%v", err)
		require.Contains(t, []errs.Code{errs.Conflict, errs.Unauthenticated, errs.BadUserInput}, e.Code)
	}
	require.Equal(t, 1, won)
}

func TestVerifyEmail(t *testing.T) {
	r := newMailRig(t)
	s, err := r.Register(laptop, account.RegisterInput{Email: "Dora@example.org", Username: "dora", Password: password, FullName: "Buy now at evil.example"})
	require.NoError(t, err)
	l := r.work(t)
	require.Len(t, l, 1)
	require.Equal(t, mail.Verify, l[0].Kind)
	require.Equal(t, "dora@example.org", l[0].To)
	require.Empty(t, l[0].Name)
	require.NotContains(t, l[0].Text, "evil")
	first := token(t, l[0])
	ctx := authz.With(laptop, s.Principal)
	require.NoError(t, r.RequestEmailVerification(ctx))
	second := token(t, r.work(t)[0])
	require.Equal(t, 1, r.audited(t, "EMAIL_VERIFICATION_REQUESTED", `user_id = $1`, s.User.ID))

	requireCode(t, errs.Expired, r.VerifyEmail(laptop, r.asks(t, "dora@example.org")))
	requireCode(t, errs.Expired, r.VerifyEmail(laptop, "cdsa_ev_guess"))
	requireCode(t, errs.Expired, r.ResetPassword(laptop, second, freshPassword))
	require.NoError(t, r.VerifyEmail(laptop, second))
	require.Equal(t, 1, r.audited(t, "EMAIL_VERIFIED", `user_id = $1`, s.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE username = 'dora' AND is_verified`))
	require.True(t, r.stands(t, s))
	for _, tok := range []string{first, second} {
		requireCode(t, errs.Expired, r.VerifyEmail(laptop, tok))
	}
	require.Equal(t, "VERIFIED", failure(t, errs.FailedPrecondition, r.RequestEmailVerification(ctx)).State)
}

func TestVerifyEmail_Refused(t *testing.T) {
	r := newMailRig(t)
	s := r.user(t, "alice", "analyst")
	ctx := authz.With(laptop, s.Principal)
	requireCode(t, errs.Unauthenticated, r.RequestEmailVerification(laptop))
	program := *s.Principal
	program.APIToken = true
	requireCode(t, errs.Forbidden, r.RequestEmailVerification(authz.With(laptop, &program)))
	var tokens []string
	for range 5 {
		require.NoError(t, r.RequestEmailVerification(ctx))
		tokens = append(tokens, token(t, r.work(t)[0]))
	}
	require.Equal(t, time.Hour, failure(t, errs.RateLimited, r.RequestEmailVerification(ctx)).RetryAfter)
	r.sql(t, `UPDATE users SET email = 'alice2@example.org' WHERE username = 'alice'`)
	requireCode(t, errs.Expired, r.VerifyEmail(laptop, tokens[0]))
	r.sql(t, `UPDATE users SET email = 'alice@example.org', is_active = FALSE WHERE username = 'alice'`)
	requireCode(t, errs.Expired, r.VerifyEmail(laptop, tokens[1]))
	r.sql(t, `UPDATE users SET is_active = TRUE WHERE username = 'alice'`)
	r.pass(24*time.Hour + time.Second)
	requireCode(t, errs.Expired, r.VerifyEmail(laptop, tokens[2]))
	require.Equal(t, 0, r.Count(t, `SELECT count(*) FROM users WHERE username = 'alice' AND is_verified`))
	require.NoError(t, r.RequestEmailVerification(ctx))
	var wg sync.WaitGroup
	tok, results := token(t, r.work(t)[0]), make([]error, 8)
	for i := range results {
		wg.Go(func() { results[i] = r.VerifyEmail(laptop, tok) })
	}
	wg.Wait()
	passed := 0
	for _, err := range results {
		if err == nil {
			passed++
		}
	}
	require.Equal(t, 1, passed)
	require.Equal(t, 1, r.audited(t, "EMAIL_VERIFIED", `success`))
}

func TestCreateUser_MailsVerification(t *testing.T) {
	r := newMailRig(t)
	for i := range 35 { // an administrator's work is not bounded by where they sit
		_, err := r.CreateUser(authz.With(laptop, r.admin), account.CreateUserInput{Email: fmt.Sprintf("u%d@example.org", i), Username: fmt.Sprintf("user%d", i), Password: freshPassword})
		require.NoError(t, err)
	}
	require.Len(t, r.work(t), 35)
}
