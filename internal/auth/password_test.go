package auth

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

// cheap is the least that NewHasher takes: 7 MiB, five passes.
var cheap = HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5}

func hasher(t *testing.T, c HasherConfig) *Hasher {
	t.Helper()
	h, err := NewHasher(c)
	require.NoError(t, err)
	return h
}

func TestHasher_Verify(t *testing.T) {
	h := hasher(t, cheap)
	const pass = "ein gutes Pa\u00dfwort \u00e9"
	enc, err := h.Hash(t.Context(), pass)
	require.NoError(t, err)
	require.Contains(t, enc, "$argon2id$v=19$m=7168,t=5,p=1$")
	again, err := h.Hash(t.Context(), pass)
	require.NoError(t, err)
	require.NotEqual(t, enc, again, "every hash has its own salt")

	for name, c := range map[string]struct {
		password string
		want     bool
	}{
		"Same":               {pass, true},
		"Decomposed":         {"ein gutes Pa\u00dfwort e\u0301", true},
		"NoBreakSpace":       {"ein\u00a0gutes Pa\u00dfwort \u00e9", true},
		"OtherCase":          {strings.ToUpper(pass), false},
		"TrailingSpace":      {pass + " ", false},
		"CompatibilityForms": {"\uff45in gutes Pa\u00dfwort \u00e9", false},
	} {
		t.Run(name, func(t *testing.T) {
			ok, rehash, err := h.Verify(t.Context(), c.password, enc)
			require.NoError(t, err)
			require.Equal(t, c.want, ok)
			require.False(t, rehash)
		})
	}
}

func TestHasher_Bounds(t *testing.T) {
	h := hasher(t, cheap)
	for name, p := range map[string]string{
		"Empty": "", "Short": "1234567", "Long": strings.Repeat("\u00e9", MaxPassword+1), "TenMegabytes": strings.Repeat("a", 10<<20),
		"NUL": "12345678\x00", "Newline": "1234567\n8", "InvalidUTF8": "12345678\xff",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Hash(t.Context(), p)
			e, ok := errs.As(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, errs.BadUserInput, e.Code)
			require.Contains(t, e.Fields, "password")
			require.Less(t, len(e.Message), 200)
		})
	}
	dummy, err := h.Dummy("")
	require.NoError(t, err)
	_, _, err = h.Verify(t.Context(), strings.Repeat("a", 10<<20), dummy)
	require.True(t, errs.Is(err, errs.BadUserInput))
	_, err = h.Hash(t.Context(), strings.Repeat("\u00e9", MaxPassword))
	require.NoError(t, err)
}

func TestHasher_Rehash(t *testing.T) {
	old := hasher(t, cheap)
	enc, err := old.Hash(t.Context(), "a long password")
	require.NoError(t, err)
	h := hasher(t, HasherConfig{})
	require.True(t, h.NeedsRehash(enc))
	require.False(t, old.NeedsRehash(enc))
	ok, rehash, err := h.Verify(t.Context(), "a long password", enc)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, rehash)
	ok, rehash, err = h.Verify(t.Context(), "a wrong password", enc)
	require.NoError(t, err)
	require.False(t, ok)
	require.False(t, rehash, "a wrong password must not cause a write")
}

// TestHasher_Dummy: a dummy costs what the hashes cost that it stands for, when the settings were raised or lowered since.
func TestHasher_Dummy(t *testing.T) {
	h := hasher(t, cheap)
	for _, c := range []HasherConfig{cheap, {}, {MemoryKiB: 8 * 1024, Iterations: 7}} {
		stored, err := hasher(t, c).Hash(t.Context(), "a long password")
		require.NoError(t, err)
		dummy, err := h.Dummy(stored)
		require.NoError(t, err)
		want, _, _, err := decode(stored)
		require.NoError(t, err)
		got, _, _, err := decode(dummy)
		require.NoError(t, err)
		require.Equal(t, want, got)
		ok, _, err := h.Verify(t.Context(), "a long password", dummy)
		require.NoError(t, err)
		require.False(t, ok)
	}
	dummy, err := h.Dummy("")
	require.NoError(t, err)
	require.False(t, h.NeedsRehash(dummy))
	_, err = h.Dummy("$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWQ")
	require.Error(t, err)
}

func TestHasher_StoredHashIsNotTrusted(t *testing.T) {
	h := hasher(t, cheap)
	for name, enc := range map[string]string{
		"Empty": "", "Plain": "a long password", "Bcrypt": "$2a$10$abcdefghijklmnopqrstuv",
		"FourTerabytes": "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWQ",
		"NoLanes":       "$argon2id$v=19$m=7168,t=5,p=0$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWQ",
		"ManyPasses":    "$argon2id$v=19$m=7168,t=4294967295,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWQ",
		"NoKey":         "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$",
		"ShortKey":      "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+d",
		"LongKey":       "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("RdescudvJCsgt3ub", 10),
		"NoSalt":        "$argon2id$v=19$m=7168,t=5,p=1$$RdescudvJCsgt3ub+b+dWQ",
	} {
		t.Run(name, func(t *testing.T) {
			ok, _, err := h.Verify(t.Context(), "a long password", enc)
			require.Error(t, err)
			require.False(t, ok)
			_, client := errs.As(err)
			require.False(t, client, "a broken row is a fault of the server")
			if enc != "" {
				require.NotContains(t, err.Error(), enc)
			}
		})
	}
}

// TestHasher_StoredForm: hashes go to and fro between this and others' implementations.
func TestHasher_StoredForm(t *testing.T) {
	h := hasher(t, cheap)
	const pass = "a long password"
	ours, err := h.Hash(t.Context(), pass)
	require.NoError(t, err)
	ok, p, err := argon2id.CheckHash(pass, ours)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, h.params, *p)
	for _, p := range []Params{h.params, {Memory: 8 << 10, Iterations: 3, Parallelism: 2, SaltLength: 8, KeyLength: 16}} {
		theirs, err := argon2id.CreateHash(pass, &p)
		require.NoError(t, err)
		ok, rehash, err := h.Verify(t.Context(), pass, theirs)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, p != h.params, rehash)
		ok, _, err = h.Verify(t.Context(), pass+"!", theirs)
		require.NoError(t, err)
		require.False(t, ok)
	}
	// Of the reference implementation's command, with its salt.
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok, _, err = h.Verify(t.Context(), "password", reference)
	require.NoError(t, err)
	require.True(t, ok)
	read, salt, key, err := decode(reference)
	require.NoError(t, err)
	require.Equal(t, reference, encode(read, salt, key))
}

// held derives when it is let go.
type held struct{ begun, release chan struct{} }

func (d held) Derive(password string, salt []byte, p Params) []byte {
	d.begun <- struct{}{}
	<-d.release
	return InProcess{}.Derive(password, salt, p)
}

// TestHasher_TurnLasts: whoever goes away while a hash runs does not make room for another beside it.
func TestHasher_TurnLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := held{make(chan struct{}), make(chan struct{})}
		c := cheap
		c.Concurrent, c.Deriver = 1, d
		h := hasher(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, ctx := range []context.Context{ctx, t.Context()} {
			wg.Go(func() {
				enc, err := h.Hash(ctx, "a long password")
				if err != nil || h.NeedsRehash(enc) {
					t.Errorf("%q, %v", enc, err)
				}
			})
			synctest.Wait()
		}
		<-d.begun
		cancel()
		synctest.Wait()
		select {
		case <-d.begun:
			t.Error("two at once")
		default:
		}
		d.release <- struct{}{}
		<-d.begun
		d.release <- struct{}{}
		wg.Wait()
	})
}

func TestNewHasher_RefusesWeakness(t *testing.T) {
	for _, c := range []HasherConfig{{MemoryKiB: 1024}, {MemoryKiB: 19 * 1024, Iterations: 1}, {MemoryKiB: 2 << 20}, {Parallelism: 200}} {
		_, err := NewHasher(c)
		require.Error(t, err, "%+v", c)
	}
}

func TestHasher_BoundedWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hasher(t, HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5, Concurrent: 1, Queue: 2})
		release, err := h.turn(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 2)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := h.Hash(ctx, "a long password")
				got <- err
			})
		}
		synctest.Wait()
		_, err = h.Hash(ctx, "a long password")
		e, ok := errs.As(err)
		require.True(t, ok)
		require.Equal(t, errs.RateLimited, e.Code)
		require.Positive(t, e.RetryAfter)
		cancel()
		wg.Wait()
		require.ErrorIs(t, <-got, context.Canceled)
		require.ErrorIs(t, <-got, context.Canceled)
		release()
		_, err = h.Hash(t.Context(), "a long password")
		require.NoError(t, err, "the places were given back")
	})
}

func TestCheckPassword(t *testing.T) {
	own := []string{"alice.example@example.org", "alice", "Alice van der Berg"}
	for name, c := range map[string]struct {
		password string
		ok       bool
	}{
		"Words":           {"correct horse battery staple", true},
		"Manager":         {"q7!Kd92vTz#p", true},
		"Cyrillic":        {"надёжный и длинный пароль", true},
		"NineCharacters":  {"q7!Kd92vT", false},
		"Common":          {"password123", false},
		"Keyboard":        {"qwertyuiop", false},
		"Repeated":        {"aaaaaaaaaaaaaaaa", false},
		"OwnEmail":        {"alice.example@example.org", false},
		"OwnEmailUpper":   {"ALICE.EXAMPLE@EXAMPLE.ORG", false},
		"OwnLocalPart":    {"alice.example", false},
		"OwnName":         {"alice van der berg", false},
		"ControlInside":   {"q7!Kd92vTz#p\n", false},
		"TenMegabytes":    {strings.Repeat("q7!Kd92vTz#p", 1<<20), false},
		"LongLeetIsQuick": {strings.Repeat("a@5$40|1", 30), true},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckPassword("input.password", c.password, own...)
			if c.ok {
				require.NoError(t, err)
				return
			}
			e, isClient := errs.As(err)
			require.True(t, isClient)
			require.Equal(t, errs.BadUserInput, e.Code)
			require.Contains(t, e.Fields, "input.password")
			require.NotContains(t, e.Message, c.password)
		})
	}
}

func BenchmarkHasher_Verify(b *testing.B) {
	h, err := NewHasher(HasherConfig{})
	require.NoError(b, err)
	dummy, err := h.Dummy("")
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := h.Verify(b.Context(), "a long password", dummy)
		require.NoError(b, err)
	}
}
