//go:build unix

package account_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

const wrong = "not the password at all"

// attempt gives how a sign-in ended, and the pause when it was refused for one.
func attempt(ctx context.Context, s *account.Service, login, pw string) (errs.Code, time.Duration) {
	_, err := s.Login(ctx, account.LoginInput{Login: login, Password: pw})
	if err == nil {
		return "", 0
	}
	e, ok := errs.As(err)
	if !ok {
		return errs.Code("fault: " + err.Error()), 0
	}
	return e.Code, e.RetryAfter
}

func (r *rig) attempts(t *testing.T, ctx context.Context, login, pw string, want errs.Code) time.Duration {
	t.Helper()
	code, d := attempt(ctx, r.Service, login, pw)
	require.Equal(t, want, code, "%s", login)
	if want == errs.RateLimited {
		require.Positive(t, d)
	}
	return d
}

// steady stops the rig's clock, so that pauses are exact.
func (r *rig) steady(t *testing.T, change func(*account.Config)) *account.Service {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Microsecond)
	c := r.config
	c.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return at.Add(r.ahead) }
	if change != nil {
		change(&c)
	}
	s, err := account.New(c)
	require.NoError(t, err)
	r.Service = s
	return s
}

// elsewhere is a different network for each n.
func elsewhere(n int) context.Context { return from(fmt.Sprintf("198.18.%d.9", n), "Firefox") }

func TestLogin_PauseDoubles(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice", "analyst")
	r.steady(t, nil)
	for range 4 {
		r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
	}
	r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated) // the fifth fills the counter
	want := time.Second
	for range 12 {
		d := r.attempts(t, laptop, "alice", password, errs.RateLimited)
		require.Equal(t, want, d, "the right password is refused as well, and says nothing")
		require.Equal(t, d, r.attempts(t, laptop, "alice", wrong, errs.RateLimited), "a refused attempt extends nothing")
		r.pass(d - time.Millisecond)
		require.Equal(t, time.Millisecond, r.attempts(t, laptop, "alice", password, errs.RateLimited))
		r.pass(time.Millisecond)
		r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
		want = min(2*want, 15*time.Minute)
	}
	require.Equal(t, 15*time.Minute, want)
	r.pass(15 * time.Minute)
	r.attempts(t, laptop, "alice", password, "")
	r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
	r.attempts(t, laptop, "alice", password, "")
}

func TestLogin_PauseIsOfOneNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		from, same, other string
	}{
		"IPv4":   {"192.0.2.7", "192.0.2.200", "192.0.3.7"},
		"Mapped": {"::ffff:192.0.2.7", "192.0.2.9", "::ffff:192.0.3.7"},
		"IPv6":   {"2001:db8:1:100::1", "2001:db8:1:1ff:9::2", "2001:db8:1:200::1"},
		"None":   {"", "no address", "192.0.2.7"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.user(t, "alice")
			r.steady(t, nil)
			for range 5 {
				r.attempts(t, from(c.from, "x"), "alice", wrong, errs.Unauthenticated)
			}
			r.attempts(t, from(c.same, "y"), "alice", password, errs.RateLimited)
			r.attempts(t, from(c.other, "x"), "alice", password, "")
			r.attempts(t, from(c.same, "y"), "alice", password, errs.RateLimited) // a success elsewhere lifts nothing here
			r.pass(time.Second)
			r.attempts(t, from(c.same, "y"), "alice", password, "")
		})
	}
}

func TestLogin_SpellingsOfOneNameShareCounters(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	r.steady(t, nil)
	for i := range 5 {
		r.attempts(t, laptop, []string{"alice", "ALICE", " Alice "}[i%3], wrong, errs.Unauthenticated)
	}
	r.attempts(t, laptop, "aLiCe", password, errs.RateLimited)
	r.attempts(t, laptop, "alice", password, errs.RateLimited)
	r.attempts(t, laptop, "admin", password, "")
}

// TestLogin_UnknownIsPausedAlike: what an attacker sees of a name says nothing about whether an account has it.
func TestLogin_UnknownIsPausedAlike(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	r.sql(t, `DELETE FROM sessions`) // the account is known nowhere
	r.steady(t, nil)
	type seen struct {
		code    errs.Code
		message string
		after   time.Duration
	}
	watch := func(login string, network int) (l []seen) {
		for i := range 60 {
			_, err := r.Login(elsewhere(network+i/7), account.LoginInput{Login: login, Password: wrong})
			e, ok := errs.As(err)
			require.True(t, ok, "%v", err)
			l = append(l, seen{e.Code, e.Message, e.RetryAfter})
			r.pass((e.RetryAfter / 2).Round(time.Millisecond))
		}
		return l
	}
	known, unknown := watch("alice", 0), watch("nobody", 100)
	require.Equal(t, known, unknown)
	require.Contains(t, known, seen{errs.RateLimited, "There were too many failed sign-ins. Wait for extensions.retryAfterMs, then try again.", time.Second})
	require.Equal(t, known, watch("a name that none can have", 200))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM login_throttles t WHERE position('alice' IN t::text) > 0 OR position('198.18' IN t::text) > 0`))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM login_throttles WHERE octet_length(key) <> 32 OR octet_length(subject) <> 32`))
}

// TestLogin_StuffingPausesTheNetwork: one password each at many accounts.
func TestLogin_StuffingPausesTheNetwork(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	r.steady(t, nil)
	for i := range 25 {
		r.attempts(t, elsewhere(1), fmt.Sprintf("name%d", i), wrong, errs.Unauthenticated)
	}
	require.Equal(t, time.Second, r.attempts(t, elsewhere(1), "alice", password, errs.RateLimited))
	r.attempts(t, elsewhere(2), "alice", password, "")
	r.attempts(t, elsewhere(1), "alice", password, errs.RateLimited) // a success elsewhere lifts nothing of the network
	r.pass(time.Second)
	r.attempts(t, elsewhere(1), "alice", password, "")
	r.attempts(t, elsewhere(1), "name1", wrong, errs.Unauthenticated)
	require.Equal(t, 2*time.Second, r.attempts(t, elsewhere(1), "alice", password, errs.RateLimited), "nor does one here")
	require.Equal(t, 1, r.audited(t, "RATE_LIMIT_EXCEEDED", `details->>'counter' = 'network' AND NOT success`), "once a minute")
	r.pass(time.Minute)
	r.attempts(t, elsewhere(1), "name1", wrong, errs.Unauthenticated)
	r.attempts(t, elsewhere(1), "alice", password, errs.RateLimited)
	require.Equal(t, 2, r.audited(t, "RATE_LIMIT_EXCEEDED", `details->>'counter' = 'network'`))
}

// TestLogin_DistributedGuessing pauses the name, but not where its owner signs in from.
func TestLogin_DistributedGuessing(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice").User
	r.steady(t, nil)
	guess := func(n int) {
		for i := range n {
			r.attempts(t, elsewhere(i), "alice", wrong, errs.Unauthenticated)
		}
	}
	guess(25)
	require.Equal(t, time.Second, r.attempts(t, elsewhere(99), "alice", password, errs.RateLimited))
	require.Equal(t, 1, r.audited(t, "ACCOUNT_LOCKED", `user_id = $1 AND details->>'failures' = '25'`, alice.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE id = $1 AND failed_login_count = 25 AND locked_until IS NOT NULL`, alice.ID))

	neighbour := from("192.0.2.99", "another browser")
	r.attempts(t, neighbour, "alice", wrong, errs.Unauthenticated) // judged, and counted
	require.Equal(t, 2*time.Second, r.attempts(t, elsewhere(99), "alice", password, errs.RateLimited))
	require.Equal(t, 1, r.audited(t, "ACCOUNT_LOCKED", `TRUE`), "a pause that goes on is one episode")
	r.attempts(t, neighbour, "alice", password, "")
	require.Zero(t, r.Count(t, `SELECT failed_login_count FROM users WHERE id = $1 AND locked_until IS NULL`, alice.ID))
	r.attempts(t, elsewhere(99), "alice", password, "")

	guess(25) // elsewhere(99) is known by now
	r.attempts(t, elsewhere(99), "alice", password, "")
	guess(24)
	r.attempts(t, elsewhere(24), "alice", wrong, errs.Unauthenticated)
	r.pass(31 * 24 * time.Hour) // forgotten: the networks, and the failures with them
	r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
	require.Equal(t, 1, r.Count(t, `SELECT max(failures) FROM login_throttles WHERE last_at > $1`, time.Now().Add(24*time.Hour)))
	guess(24)
	r.attempts(t, laptop, "alice", password, errs.RateLimited)
	require.Equal(t, 4, r.audited(t, "ACCOUNT_LOCKED", `TRUE`))
}

// A pause of one name tells nothing of another: not that they belong to one account, nor that there is one.
func TestLogin_NamesAreCountedApart(t *testing.T) {
	r := newRig(t)
	kim := r.user(t, "kim")
	r.steady(t, nil)
	for _, name := range []string{"kim", "absent"} {
		for range 5 {
			r.attempts(t, laptop, name+"@example.org", wrong, errs.Unauthenticated)
		}
		r.attempts(t, laptop, name+"@example.org", wrong, errs.RateLimited)
		r.attempts(t, laptop, name, wrong, errs.Unauthenticated)
	}
	_, err := r.UnlockUser(testkit.As(r.admin), kim.User.ID)
	require.NoError(t, err)
	r.attempts(t, laptop, "kim@example.org", password, "")
}

func TestLogin_CountersAreForgotten(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	r.steady(t, nil)
	for range 4 {
		r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
	}
	r.pass(75*time.Minute - time.Second)
	require.NoError(t, r.Sweep(context.Background()))
	require.Equal(t, 3, r.Count(t, `SELECT count(*) FROM login_throttles`))
	r.pass(2 * time.Second)
	r.attempts(t, laptop, "alice", wrong, errs.Unauthenticated)
	require.Equal(t, 1, r.Count(t, `SELECT max(failures) FROM login_throttles`))
	r.attempts(t, laptop, "alice", password, "")
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM login_throttles`), "the network's own stays")
	r.pass(76 * time.Minute)
	require.NoError(t, r.Sweep(context.Background()))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM login_throttles`))
}

func TestUnlockUser(t *testing.T) {
	r := newRig(t)
	alice, bob := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst")
	r.steady(t, nil)
	for i := range 30 {
		code, _ := attempt(elsewhere(i/5), r.Service, "alice", wrong)
		require.Contains(t, []errs.Code{errs.Unauthenticated, errs.RateLimited}, code)
	}
	for range 5 {
		r.attempts(t, elsewhere(50), "bob", wrong, errs.Unauthenticated)
	}
	r.attempts(t, elsewhere(0), "alice", password, errs.RateLimited)
	r.attempts(t, elsewhere(99), "alice", password, errs.RateLimited)

	_, err := r.UnlockUser(testkit.As(bob.Principal), alice.User.ID)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'unlockUser'`, bob.User.ID))
	_, err = r.UnlockUser(context.Background(), alice.User.ID)
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.UnlockUser(testkit.As(r.admin), uid.New(uid.User))
	requireCode(t, errs.NotFound, err)
	_, err = r.UnlockUser(testkit.As(r.admin), uid.New(uid.Role))
	requireCode(t, errs.BadUserInput, err)
	require.Zero(t, r.audited(t, "ACCOUNT_UNLOCKED", `TRUE`))

	u, err := r.UnlockUser(testkit.As(r.admin), alice.User.ID)
	require.NoError(t, err)
	require.Nil(t, u.LockedUntil)
	require.Zero(t, u.FailedLoginCount)
	require.Equal(t, 1, r.audited(t, "ACCOUNT_UNLOCKED", `user_id = $1 AND resource_id = $2 AND success`, r.admin.UserID, alice.User.ID))
	r.attempts(t, elsewhere(0), "alice", password, "")
	r.attempts(t, elsewhere(99), "alice", password, "")
	r.attempts(t, elsewhere(50), "bob", password, errs.RateLimited) // another's
}

// TestLogin_TwoReplicasCountTogether: failures at the same instant on two replicas are all counted.
func TestLogin_TwoReplicasCountTogether(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice").User
	var shared account.Config
	replicas := []*account.Service{r.steady(t, func(c *account.Config) { c.Settings.LockoutFailures = 60; shared = *c }), nil}
	var err error
	replicas[1], err = account.New(shared)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			code, _ := attempt(laptop, replicas[i%2], []string{"alice", "Alice"}[i/2%2], wrong)
			if code != errs.Unauthenticated {
				t.Errorf("%s", code)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 3, r.Count(t, `SELECT count(*) FROM login_throttles WHERE failures = 60`))
	for _, s := range replicas {
		code, d := attempt(laptop, s, "alice", password)
		require.Equal(t, errs.RateLimited, code)
		require.Equal(t, time.Second, d)
	}
	require.Equal(t, 1, r.audited(t, "RATE_LIMIT_EXCEEDED", `user_id = $1`, alice.ID))
}

// TestLogin_Burst: guesses that were all sent before the first was judged get no more answers than one after another.
func TestLogin_Burst(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	r.steady(t, nil)
	var judged, refused atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			switch code, d := attempt(laptop, r.Service, "alice", wrong); {
			case code == errs.Unauthenticated:
				judged.Add(1)
			case code == errs.RateLimited && d > 0:
				refused.Add(1)
			default:
				t.Errorf("%s %v", code, d)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 200, judged.Load()+refused.Load())
	require.Less(t, judged.Load(), int64(20), "five, and those that were being judged meanwhile")
	r.attempts(t, laptop, "alice", password, errs.RateLimited)
	r.pass(15 * time.Minute)
	r.attempts(t, laptop, "alice", password, "")
}

// TestLogin_Storm: a thousand people sign in at once. Each gets in or is told when to come back; nothing hangs and
// other work goes on.
func TestLogin_Storm(t *testing.T) {
	r := newRig(t)
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("person%d", i))
		r.user(t, names[i], "analyst")
	}
	hasher, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5})
	require.NoError(t, err)
	r.config.Hasher = hasher
	r.Service, err = account.New(r.config)
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(laptop, time.Minute)
	defer cancel()
	var in, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			code, d := attempt(ctx, r.Service, names[i%len(names)], password)
			switch {
			case code == "":
				in.Add(1)
			case code == errs.RateLimited && d > 0 && d <= time.Minute:
				refused.Add(1)
			default:
				t.Errorf("%s %v", code, d)
			}
		})
	}
	stormed := make(chan struct{})
	go func() { wg.Wait(); close(stormed) }()
	session := r.admin.SessionID
	for asked := 0; ; asked++ { // other queries are answered all along
		began := time.Now()
		p, err := r.LoadPrincipal(ctx, session)
		require.NoError(t, err)
		require.NotEqual(t, uuid.Nil, p.UserID)
		require.Less(t, time.Since(began), 20*time.Second)
		select {
		case <-stormed:
			require.Positive(t, asked)
			require.EqualValues(t, 1000, in.Load()+refused.Load())
			require.Positive(t, in.Load())
			require.Equal(t, 0, r.audited(t, "LOGIN_FAILED", `TRUE`))
			require.Zero(t, r.Count(t, `SELECT count(*) FROM login_throttles`), "who was sent away for want of a turn did not fail")
			t.Logf("%d in, %d sent away", in.Load(), refused.Load())
			return
		default:
		}
	}
}

// TestGuesses_AtOnce: of guesses that are sent at the same instant no more are judged than one after the other.
func TestGuesses_AtOnce(t *testing.T) {
	const guesses = 30
	for name, guess := range map[string]func(r *rig, x enrolled, wrongCode string) error{
		"CodeAtLogin": func(r *rig, _ enrolled, code string) error {
			_, err := r.Login(laptop, account.LoginInput{Login: "alice", Password: password, TOTPCode: code})
			return err
		},
		"PasswordAgain": func(r *rig, x enrolled, _ string) error {
			_, err := r.ChangePassword(as(x.Signed), wrong, "another battery staple horse")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			alice := r.enrol(t, r.user(t, "alice"))
			r.steady(t, nil)
			code := r.wrong(t, alice)
			var (
				wg              sync.WaitGroup
				judged, refused atomic.Int32
			)
			for range guesses {
				wg.Go(func() {
					switch e, _ := errs.As(guess(r, alice, code)); {
					case e == nil:
					case e.Code == errs.RateLimited:
						refused.Add(1)
					default:
						judged.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 5, judged.Load())
			require.EqualValues(t, guesses-5, refused.Load())
		})
	}
}

// TestStepUp_Renamed: whoever is signed in can change their name, which begins no new count of their guesses.
func TestStepUp_Renamed(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice"))
	for range 5 {
		requireCode(t, errs.BadUserInput, r.StepUp(as(alice.Signed), r.wrong(t, alice)))
	}
	requireCode(t, errs.RateLimited, r.StepUp(as(alice.Signed), r.wrong(t, alice)))
	name := "alice.renamed"
	_, err := r.UpdateUser(as(alice.Signed), alice.User.ID, account.UpdateUserInput{Username: &name})
	require.NoError(t, err)
	renamed := alice.Signed
	renamed.Principal, err = r.SignedPrincipal(t.Context(), alice.User.ID)
	require.NoError(t, err)
	require.Equal(t, name, renamed.Principal.Username)
	requireCode(t, errs.RateLimited, r.StepUp(as(alice.Signed), r.wrong(t, alice)))
}
