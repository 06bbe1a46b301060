//go:build unix

package account_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/uid"
)

// TestLogin_UnknownLikeOldHashes: after the cost of a hash was changed, accounts differ in the time of a sign-in until
// each has signed in again. Names without an account differ in the same proportions, each always alike.
func TestLogin_UnknownLikeOldHashes(t *testing.T) {
	r := newRig(t)
	dear, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 8 * 1024, Iterations: 6})
	require.NoError(t, err)
	old, err := dear.Hash(t.Context(), password)
	require.NoError(t, err)
	for i := range 3 { // the administrator is a quarter
		r.sql(t, `INSERT INTO users (id, created_at, updated_at, email, username, hashed_password) VALUES ($1, now(), now(), $2::text || '@example.org', $2, $3)`,
			uid.New(uid.User), fmt.Sprint("person", i), old)
	}
	unreadable := uid.New(uid.User)
	r.sql(t, `INSERT INTO users (id, created_at, updated_at, email, username, hashed_password) VALUES ($1, now(), now(), 'u@example.org', 'unreadable', '$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWQ')`, unreadable)

	r.pass(account.DummyEvery)

	const asked = 1000
	settings := func(s *account.Service, name string) string {
		hash, err := s.DummyFor(laptop, name)
		require.NoError(t, err)
		return hash[:strings.Index(hash, ",p=")]
	}
	count := func(s *account.Service) map[string]int {
		n := map[string]int{}
		for i := range asked {
			n[settings(s, fmt.Sprint("nobody", i))]++
		}
		return n
	}
	const present, former = "$argon2id$v=19$m=7168,t=5", "$argon2id$v=19$m=8192,t=6"
	n := count(r.Service)
	require.Len(t, n, 2)
	require.InDelta(t, 3*asked/4, n[former], 80)

	other, err := account.New(r.config)
	require.NoError(t, err)
	for i := range 50 {
		name := fmt.Sprint("nobody", i)
		require.Equal(t, settings(r.Service, name), settings(other, strings.ToUpper(name)), "one name, one time, on every replica")
	}

	before := map[string]string{}
	for i := range asked {
		before[fmt.Sprint("nobody", i)] = settings(r.Service, fmt.Sprint("nobody", i))
	}
	r.login(t, "person0") // which makes a new hash
	require.Equal(t, n, count(r.Service), "the table is not read again at each sign-in")
	r.pass(account.DummyEvery)
	n = count(r.Service)
	require.InDelta(t, asked/2, n[former], 80)
	for name, was := range before {
		if was == present {
			require.Equal(t, present, settings(r.Service, name), "no account goes back to former settings")
		}
	}
	_, err = r.Login(laptop, account.LoginInput{Login: "nobody1", Password: password})
	requireCode(t, "UNAUTHENTICATED", err)
}
