package ratelimit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/ratelimit"
)

// rig is some replicas with one clock. What one tells, the others hear when the test says so.
type rig struct {
	replicas []*ratelimit.Limiter
	mu       sync.Mutex
	now      time.Time
	mail     [][]byte
	notes    []ratelimit.Note
	fail     error // of Record
}

func newRig(t testing.TB, points, refill, replicas int, change ...func(*ratelimit.Config)) *rig {
	t.Helper()
	r := &rig{now: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)}
	for range replicas {
		c := ratelimit.Config{
			Points: points, Refill: refill, Secret: []byte("a secret of thirty-two bytes ok!"),
			Tell: func(m []byte) { r.mail = append(r.mail, bytes.Clone(m)) },
			Record: func(_ context.Context, n ratelimit.Note) error {
				if r.fail == nil {
					r.notes = append(r.notes, n)
				}
				return r.fail
			},
			Now: func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now },
		}
		for _, f := range change {
			f(&c)
		}
		l, err := ratelimit.New(c)
		require.NoError(t, err)
		r.replicas = append(r.replicas, l)
	}
	return r
}

func (r *rig) pass(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.now = r.now.Add(d) }

// share has every replica tell and all hear, the tellers as well.
func (r *rig) share() {
	for _, l := range r.replicas {
		l.Tell()
	}
	for _, m := range r.mail {
		for _, l := range r.replicas {
			l.Heard(m)
		}
	}
	r.mail = nil
}

func person() context.Context {
	return authz.With(context.Background(), authz.NewUser(uuid.New(), "alice", uuid.New(), false, time.Time{}))
}

func at(ip string) context.Context {
	return authz.WithRequest(context.Background(), authz.Request{ID: "r1", IP: ip})
}

// spend takes n operations of one point and gives how many were let through.
func spend(l *ratelimit.Limiter, ctx context.Context, n int) (let int) {
	for range n {
		if _, err := l.Charge(ctx, 0); err == nil {
			let++
		}
	}
	return let
}

func TestCharge(t *testing.T) {
	r := newRig(t, 100, 10, 1)
	l, ctx := r.replicas[0], person()
	b, err := l.Charge(ctx, 1250)
	require.NoError(t, err)
	require.Equal(t, ratelimit.Budget{Limit: 100, Cost: 13, Remaining: 87, ResetAt: r.now.Add(1300*time.Millisecond + time.Millisecond)}, b)
	require.Equal(t, 87, spend(l, ctx, 200))

	b, err = l.Charge(ctx, 450)
	e, ok := errs.As(err)
	require.True(t, ok)
	require.Equal(t, errs.RateLimited, e.Code)
	require.Equal(t, 500*time.Millisecond, e.RetryAfter, "five points at ten a second")
	require.Zero(t, b.Cost)
	r.pass(e.RetryAfter - time.Millisecond)
	_, err = l.Charge(ctx, 450)
	require.True(t, errs.Is(err, errs.RateLimited), "refusals take nothing and give nothing")
	r.pass(time.Millisecond)
	b, err = l.Charge(ctx, 450)
	require.NoError(t, err, "it is as was said")
	require.Zero(t, b.Remaining)

	r.pass(time.Hour)
	b, err = l.Charge(ctx, 1_000_000)
	require.NoError(t, err, "no operation is beyond everybody's means for ever")
	require.Equal(t, 100, b.Cost)
	r.pass(-time.Hour) // a clock that is set back gives nothing
	require.Zero(t, spend(l, ctx, 1))
}

func TestDebit(t *testing.T) {
	require.Equal(t, 1, ratelimit.RefusedPoints(2047, 9))
	require.Equal(t, 4, ratelimit.RefusedPoints(4096, 10))
	r := newRig(t, 100, 10, 2)
	l, ctx := r.replicas[0], person()
	require.NoError(t, l.Admit(ctx))
	l.Debit(ctx, 30)
	b, err := l.Charge(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, 69, b.Remaining, "Admit took nothing")
	l.Debit(ctx, 70)
	e, ok := errs.As(l.Admit(ctx))
	require.True(t, ok)
	require.Equal(t, errs.RateLimited, e.Code)
	require.Equal(t, 200*time.Millisecond, e.RetryAfter, "a point of debt and the one that is needed")
	r.pass(e.RetryAfter)
	require.NoError(t, l.Admit(ctx), "it is as was said")
	l.Debit(ctx, 1_000_000)
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 1, "a refusal by Admit is one like any other")

	r.share()
	r.pass(10*time.Second + 200*time.Millisecond)
	for i, l := range r.replicas {
		require.NoError(t, l.Admit(ctx), "replica %d: debt is at most one full budget", i)
		require.LessOrEqual(t, spend(l, ctx, 10), 2, "replica %d was told", i)
	}
}

func TestCharge_WhoseBudget(t *testing.T) {
	user, session, token := uuid.New(), uuid.New(), uuid.New()
	as := func(session uuid.UUID, apiToken bool) context.Context {
		p := authz.NewUser(user, "alice", session, false, time.Time{})
		p.APIToken = apiToken
		return authz.With(at("192.0.2.1"), p)
	}
	for name, c := range map[string]struct {
		a, b context.Context
		same bool
	}{
		"TwoSessions":   {as(session, false), as(uuid.New(), false), true},
		"TokenAndOwner": {as(token, true), as(session, false), false},
		"TwoTokens":     {as(token, true), as(uuid.New(), true), false},
		"TokenTwice":    {as(token, true), as(token, true), true},
		"TwoPeople":     {person(), person(), false},
		"Network":       {at("192.0.2.1"), at("192.0.2.250"), true},
		"Networks":      {at("192.0.2.1"), at("192.0.3.1"), false},
		"Mapped":        {at("192.0.2.1"), at("::ffff:192.0.2.9"), true},
		"IPv6":          {at("2001:db8:0:100::1"), at("2001:db8:0:1ff:2::"), true},
		"IPv6Other":     {at("2001:db8:0:100::1"), at("2001:db8:0:200::1"), false},
		"NoAddress":     {at(""), at("x"), true},
		"SignedInThere": {at("192.0.2.1"), as(session, false), false},
		"UserAsNetwork": {as(token, false), as(user, true), false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newRig(t, 10, 1, 1).replicas[0]
			require.Equal(t, 10, spend(l, c.a, 10))
			want := 10
			if c.same {
				want = 0
			}
			require.Equal(t, want, spend(l, c.b, 10))
		})
	}
}

func TestNotes(t *testing.T) {
	r := newRig(t, 10, 1, 1)
	l, alice := r.replicas[0], authz.WithRequest(person(), authz.Request{ID: "first"})
	spend(l, alice, 40)
	spend(l, at("192.0.2.1"), 11)
	r.fail = errors.New("the database is away")
	require.Error(t, l.Record(context.Background()))
	require.Error(t, l.Record(context.Background()))
	r.fail = nil
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 2, "what could not be written is not lost")
	require.Equal(t, authz.From(alice), r.notes[0].Principal)
	require.Equal(t, "first", r.notes[0].Request.ID)
	require.Equal(t, 1, r.notes[0].Refused)
	require.Nil(t, r.notes[1].Principal)
	r.pass(time.Minute - time.Millisecond)
	spend(l, alice, 100)
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 2, "once a minute")
	r.pass(time.Millisecond)
	spend(l, alice, 1)
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 3)
	require.Equal(t, 29+90+1, r.notes[2].Refused, "those in between are counted")

	for i := range 1100 { // more than are kept
		spend(l, at(fmt.Sprintf("10.%d.%d.1", i/250, i%250)), 11)
	}
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 1003)
	spend(l, at("10.4.99.1"), 1)
	require.NoError(t, l.Record(context.Background()))
	require.Len(t, r.notes, 1004, "there was no room for it: it comes with the next refusal")
	require.Equal(t, 2, r.notes[1003].Refused)
}

// TestShare_Precision: a caller who spreads over replicas gets what the package comment says.
func TestShare_Precision(t *testing.T) {
	const points, refill, replicas, rounds = 1000, 100, 3, 240
	for name, c := range map[string]struct {
		bus        bool
		least, max int
	}{
		"BusUp":   {true, points + rounds/2*refill - points, replicas*points + rounds/2*refill},
		"BusDown": {false, replicas * (rounds/2*refill - 1), replicas * (points + rounds/2*refill)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, points, refill, replicas)
			ctx := person()
			let := 0
			for range rounds { // of half a second, asking for all there is
				for range 1200 {
					let += spend(r.replicas[rand.IntN(replicas)], ctx, 1)
				}
				if c.bus {
					r.share()
				}
				r.pass(time.Second / 2)
			}
			t.Logf("%d points in %v; one replica would have given %d", let, rounds/2*time.Second, points+rounds/2*refill)
			require.GreaterOrEqual(t, let, c.least)
			require.LessOrEqual(t, let, c.max)
		})
	}
}

func TestShare_OnlyWhatMatters(t *testing.T) {
	r := newRig(t, 1000, 1, 2)
	ctx := person()
	spend(r.replicas[0], ctx, 10) // a hundredth
	r.share()
	require.Equal(t, 1000, spend(r.replicas[1], ctx, 2000))
	r = newRig(t, 1000, 1, 2)
	spend(r.replicas[0], ctx, 10)
	r.share()
	spend(r.replicas[0], ctx, 1)
	r.share()
	require.Equal(t, 989, spend(r.replicas[1], ctx, 2000), "small amounts add up")
	r.replicas[0].Tell()
	require.Empty(t, r.mail, "and are told once")
}

func TestShare_Bounded(t *testing.T) {
	r := newRig(t, 100, 1, 2)
	people := make([]context.Context, 5000)
	for i := range people {
		people[i] = person()
		spend(r.replicas[0], people[i], 50)
	}
	for range 3 {
		r.replicas[0].Tell()
	}
	require.Len(t, r.mail, 3)
	for _, m := range r.mail {
		require.LessOrEqual(t, len(m), 64<<10)
	}
	r.share()
	for _, ctx := range people {
		require.Equal(t, 50, spend(r.replicas[1], ctx, 100), "everyone's turn came")
	}
}

func TestHeard_Nonsense(t *testing.T) {
	r := newRig(t, 100, 1, 2)
	ctx := person()
	spend(r.replicas[0], ctx, 90)
	r.replicas[0].Tell()
	good := r.mail[0]
	for n := range len(good) {
		r.replicas[1].Heard(good[:n])
	}
	r.replicas[1].Heard(append([]byte{9}, good[1:]...)) // another version
	r.replicas[1].Heard(bytes.Repeat(good, 5000))
	odd := bytes.Clone(good)
	odd[17] = 200 // a kind that is none
	r.replicas[1].Heard(odd)
	require.Equal(t, 100, spend(r.replicas[1], ctx, 200))
	huge := bytes.Clone(good)
	copy(huge[len(huge)-4:], "\xff\xff\xff\xff")
	r.replicas[1].Heard(huge)
	r.pass(150 * time.Second)
	require.Equal(t, 50, spend(r.replicas[1], ctx, 200), "a debt is never more than one budget")
}

// FuzzHeard: whatever comes over the bus, nobody gets more than a full budget or owes more than one.
func FuzzHeard(f *testing.F) {
	r := newRig(f, 100, 1, 1)
	ctx := person()
	spend(r.replicas[0], ctx, 90)
	r.replicas[0].Tell()
	f.Add(r.mail[0])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, m []byte) {
		r := newRig(t, 100, 1, 1)
		r.replicas[0].Heard(m)
		require.LessOrEqual(t, spend(r.replicas[0], ctx, 200), 100)
		r.pass(200 * time.Second)
		require.Equal(t, 100, spend(r.replicas[0], ctx, 200))
	})
}

// TestHeard_HoldsNoAddress: what goes over the bus names no network.
func TestHeard_HoldsNoAddress(t *testing.T) {
	r := newRig(t, 100, 1, 2)
	spend(r.replicas[0], at("192.0.2.7"), 90)
	r.replicas[0].Tell()
	require.NotContains(t, string(r.mail[0]), string([]byte{192, 0, 2}))
	r.share()
	require.Equal(t, 10, spend(r.replicas[1], at("192.0.2.200"), 100))
}

// TestMemory: strangers do not displace those who signed in, and no number of either is remembered for ever.
func TestMemory(t *testing.T) {
	l := newRig(t, 10, 1, 1, func(c *ratelimit.Config) { c.Keys = 6400 }).replicas[0]
	alice := person()
	spend(l, alice, 10)
	for i := range 100_000 {
		spend(l, at(fmt.Sprintf("%d.%d.%d.1", 1+i>>16, i>>8&255, i&255)), 1)
	}
	require.Zero(t, spend(l, alice, 5))
	for range 100_000 {
		spend(l, person(), 1)
	}
	require.Equal(t, 5, spend(l, alice, 5), "the oldest is forgotten")
	require.LessOrEqual(t, l.Remembered(), 2*6400)
}

// TestParallel: however many ask at once, a budget is spent once.
func TestParallel(t *testing.T) {
	r := newRig(t, 1000, 1, 2)
	ctx := person()
	var wg sync.WaitGroup
	let := make([]int, 16)
	for i := range let {
		wg.Go(func() {
			let[i] = spend(r.replicas[0], ctx, 500)
			r.replicas[0].Tell()
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range let {
		sum += n
	}
	require.Equal(t, 1000, sum)
	r.share()
	require.Zero(t, spend(r.replicas[1], ctx, 1))
}

// TestDefaults_Dev: a developer's server lets one caller make 200 operations a second, not the smallest ones, all day.
func TestDefaults_Dev(t *testing.T) {
	cfg, err := config.Load(nil)
	require.NoError(t, err)
	r := newRig(t, cfg.Limits.RatePoints, cfg.Limits.RateRefill, 1)
	ctx := person()
	for range 200 * 3600 {
		_, err := r.replicas[0].Charge(ctx, 1800)
		require.NoError(t, err)
		r.pass(time.Second / 200)
	}
}

func TestBudget_JSON(t *testing.T) {
	b := ratelimit.Budget{Limit: 8000, Cost: 2, Remaining: 7998, ResetAt: time.Date(2026, 1, 2, 3, 4, 5, 67e6, time.UTC)}
	const want = `{"limit":8000,"cost":2,"remaining":7998,"resetAt":"2026-01-02T03:04:05.067Z"}`
	require.Equal(t, want, string(b.AppendJSON(nil)))
	j, err := json.Marshal(map[string]any{"cost": &b})
	require.NoError(t, err)
	require.Equal(t, `{"cost":`+want+`}`, string(j))
}

func TestNew_Refuses(t *testing.T) {
	record := func(context.Context, ratelimit.Note) error { return nil }
	for _, c := range []ratelimit.Config{
		{Refill: 1, Secret: make([]byte, 32), Record: record}, {Points: 1, Secret: make([]byte, 32), Record: record},
		{Points: 1, Refill: 1, Secret: make([]byte, 31), Record: record}, {Points: 1, Refill: 1, Secret: make([]byte, 32)},
	} {
		_, err := ratelimit.New(c)
		require.Error(t, err)
	}
}

func TestCharge_AllocatesNothing(t *testing.T) {
	l := newRig(t, 1e9, 1e9, 1).replicas[0]
	for name, ctx := range map[string]context.Context{"SignedIn": person(), "Anonymous": at("192.0.2.1")} {
		n := testing.AllocsPerRun(1000, func() {
			if _, err := l.Charge(ctx, 300); err != nil {
				t.Error(err)
			}
			if err := l.Admit(ctx); err != nil {
				t.Error(err)
			}
			l.Debit(ctx, 1)
		})
		require.Zero(t, n, name)
	}
}

func BenchmarkCharge(b *testing.B) {
	for name, ctx := range map[string]context.Context{"SignedIn": person(), "Anonymous": at("192.0.2.1")} {
		b.Run(name, func(b *testing.B) {
			l := newRig(b, 1e9, 1e9, 1, func(c *ratelimit.Config) { c.Now = nil }).replicas[0]
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Charge(ctx, 300); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
