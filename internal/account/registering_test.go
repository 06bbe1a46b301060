//go:build unix

package account_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent/auditlog"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/testkit/idp"
)

// registers opens an account of a name.
func (r *rig) registers(ctx context.Context, name string) error {
	_, err := r.Register(ctx, account.RegisterInput{Email: name + "@example.org", Username: name, Password: password})
	return err
}

// TestRegister_Flood: a network that registers as fast as it can keeps nobody of another network from signing in.
func TestRegister_Flood(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice")
	hasher, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5, Concurrent: 1, Queue: 8})
	require.NoError(t, err)
	r.config.Hasher = hasher
	r.config.Settings.Registrations = 1_000_000
	r.Service, err = account.New(r.config)
	require.NoError(t, err)

	flood, stop := context.WithCancel(from("198.51.100.9", "flood"))
	var wg sync.WaitGroup
	crowded := make(chan struct{}, 1)
	for i := range 20 {
		wg.Go(func() {
			for n := 0; flood.Err() == nil; n++ {
				if errs.Is(r.registers(flood, fmt.Sprintf("flood%dx%d", i, n)), errs.RateLimited) {
					select {
					case crowded <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	<-crowded // the queue is full
	for range 15 {
		r.attempts(t, laptop, "alice", password, "")
	}
	stop()
	wg.Wait()
}

// TestRegister_Network: the attempts of one network are bounded, on all replicas together, and end with the hour; another
// network has its own.
func TestRegister_Network(t *testing.T) {
	r := newRig(t)
	r.configure(t, func(c *account.Config) { c.Settings.Registrations = 3 })
	other, err := account.New(r.config)
	require.NoError(t, err)
	require.NoError(t, r.registers(from("198.51.100.9", "x"), "one"))
	_, err = other.Register(from("198.51.100.77", "x"), account.RegisterInput{Email: "two@example.org", Username: "two", Password: password})
	require.NoError(t, err)
	requireCode(t, errs.Conflict, r.registers(from("198.51.100.9", "x"), "one"))
	for range 3 {
		e := failure(t, errs.RateLimited, r.registers(from("198.51.100.9", "x"), "three"))
		require.Greater(t, e.RetryAfter, 50*time.Minute)
		require.LessOrEqual(t, e.RetryAfter, time.Hour)
	}
	require.Equal(t, 1, r.audited(t, "RATE_LIMIT_EXCEEDED", `details->>'of' = 'register'`))
	require.NoError(t, r.registers(laptop, "elsewhere"))
	r.attempts(t, from("198.51.100.9", "x"), "one", password, "")
	r.pass(time.Hour)
	require.NoError(t, r.registers(from("198.51.100.9", "x"), "three"))
}

// TestRegister_LeavesNothing: a registration that is refused leaves no key of a person who is not there.
func TestRegister_LeavesNothing(t *testing.T) {
	r := newRig(t)
	require.NoError(t, r.registers(laptop, "alice"))
	keys := r.Count(t, `SELECT count(*) FROM subject_keys`)
	for range 5 {
		requireCode(t, errs.Conflict, r.registers(laptop, "alice"))
	}
	require.Equal(t, keys, r.Count(t, `SELECT count(*) FROM subject_keys`))
}

// TestAccounts_HaveKeys: whoever makes an account makes the key of its audit rows with it, so that the first failed
// sign-in at a new account writes no more than one at no account. The rows that made it can be read.
func TestAccounts_HaveKeys(t *testing.T) {
	hasKey := func(r *rig, username string) {
		t.Helper()
		require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM subject_keys k JOIN users u ON u.id = k.subject_id WHERE u.username = $1`, username), username)
	}
	h := newHouse(t, nil)
	r := h.rig
	hasKey(r, "admin")
	u, err := r.CreateUser(testkit.As(r.admin), account.CreateUserInput{Email: "made@example.org", Username: "made", Password: password})
	require.NoError(t, err)
	hasKey(r, u.Username)
	keys := r.Count(t, `SELECT count(*) FROM subject_keys`)
	r.attempts(t, laptop, "made", wrong, errs.Unauthenticated)
	require.Equal(t, keys, r.Count(t, `SELECT count(*) FROM subject_keys`))
	require.NoError(t, r.registers(laptop, "registered"))
	hasKey(r, "registered")
	s, err := h.exchange(idp.Person{"sub": "1", "email": "fed@example.org", "email_verified": true})
	require.NoError(t, err)
	hasKey(r, s.User.Username)
	fresh, err := audit.New(r.DB.Pool, []byte("0123456789abcdef0123456789abcdef")) // another process, with the kit's key
	require.NoError(t, err)
	rows, err := r.Client.AuditLog.Query().Where(auditlog.UserID(s.User.ID), auditlog.ActionEQ(enum.AuditActionUserCreated)).All(testkit.As(r.admin))
	require.NoError(t, err)
	require.Len(t, rows, 1)
	who, err := fresh.Open(t.Context(), rows[0])
	require.NoError(t, err)
	require.Equal(t, s.User.Username, *who.Username)
	keys = r.Count(t, `SELECT count(*) FROM subject_keys`)
	_, err = r.CreateUser(testkit.As(r.admin), account.CreateUserInput{Email: "made@example.org", Username: "again", Password: password})
	requireCode(t, errs.Conflict, err)
	require.Equal(t, keys, r.Count(t, `SELECT count(*) FROM subject_keys`))
}
