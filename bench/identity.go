//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Marks of identity.
const (
	mostAuthentication = 0.15 // of a by-id query's CPU
	mostStormFactor    = 3.0  // of the p99 without a storm
)

// Rates of the login storm, a second.
const (
	queryRate   = 100
	attemptRate = 50
	stormTime   = 12 * time.Second
)

// identity is what signing in and being signed in cost others.
type identity struct {
	authentication time.Duration // CPU a request, process and database
	byID           time.Duration // of a by-id query, likewise
	quiet, storm   time.Duration // p99 of by-id queries
	attempts                     // of the storm
}

// attempts are the sign-ins of a storm that were answered.
type attempts struct {
	refused int             // for being too many
	hashed  []time.Duration // how long the others took, sorted
}

func (a attempts) median() time.Duration {
	if len(a.hashed) == 0 {
		return 0
	}
	return a.hashed[len(a.hashed)/2]
}

func (i identity) share() float64  { return float64(i.authentication) / float64(i.byID) }
func (i identity) factor() float64 { return float64(i.storm) / float64(i.quiet) }

// authenticated asks one public field without and with a token: the difference is what authentication costs.
func (r *rig) authenticated(tokens []string) workload {
	const query = `{ serverInfo { version } }`
	right := func(answer []byte) error {
		if !bytes.HasPrefix(answer, []byte(`{"data":{"serverInfo":{"version":"`)) {
			return fmt.Errorf("the answer is %.300s", answer)
		}
		return nil
	}
	w := workload{name: "authentication", what: "a public field with a token / without one", slice: sliceTime, pairs: slicePairs, most: 1 << 30, alone: true}
	w.next[floorSide] = func(int, int) call {
		c := graphQL("", query, nil)
		c.right = right
		return c
	}
	w.next[serverSide] = func(_, i int) call {
		c := graphQL(tokens[i%people], query, nil)
		c.right = right
		return c
	}
	return w
}

// cost is the CPU of a request on a side.
func (r result) cost(side int) time.Duration {
	process, data := r.sides[side].perCall()
	return process + data
}

// loginStorm measures by-id queries at a steady rate, alone and while people sign in, half of them with a wrong password.
func (r *rig) loginStorm(ctx context.Context, byID workload) (id identity, err error) {
	query := func(i int) call { return byID.next[serverSide](0, i) }
	if id.quiet, err = r.p99(ctx, query); err != nil {
		return id, err
	}
	storm, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		var serr error
		id.attempts, serr = r.signIns(storm)
		done <- serr
	}()
	id.storm, err = r.p99(ctx, query)
	stop()
	return id, errors.Join(err, <-done)
}

// paced calls do at a steady rate, each in a goroutine of its own, for stormTime or until ctx ends.
func paced(ctx context.Context, rate int, do func(i int)) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range rate * int(stormTime/time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wg.Go(func() { do(i) })
		}
	}
}

// p99 is of the times of by-id queries at a steady rate, as a client sees them.
func (r *rig) p99(ctx context.Context, next func(i int) call) (time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	paced(ctx, queryRate, func(i int) {
		var buf bytes.Buffer
		begun := time.Now()
		c := next(i)
		answer, err := post(ctx, r.server.url, c, &buf)
		d := time.Since(begun)
		if err == nil {
			err = c.right(answer)
		}
		mu.Lock()
		defer mu.Unlock()
		took, failed = append(took, d), errors.Join(failed, err)
	})
	if failed != nil || len(took) == 0 {
		return 0, errors.Join(errors.New("by-id queries at a steady rate"), failed)
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

// signIns signs people in until ctx ends. What hashing at low priority costs them is told too.
func (r *rig) signIns(ctx context.Context) (a attempts, err error) {
	var mu sync.Mutex
	const login = `mutation($input: LoginInput!) { login(input: $input) { expiresAt } }`
	paced(ctx, attemptRate, func(i int) {
		input := map[string]any{"login": name(i % people), "password": password}
		if i%2 == 1 {
			input["password"] = fmt.Sprintf("not the password %d", i)
		}
		var buf bytes.Buffer
		begun := time.Now()
		answer, perr := post(context.WithoutCancel(ctx), r.server.url, graphQL("", login, map[string]any{"input": input}), &buf)
		took := time.Since(begun)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case perr != nil:
			err = errors.Join(err, perr)
		case bytes.Contains(answer, []byte(`"code":"RATE_LIMITED"`)):
			a.refused++
		case bytes.Contains(answer, []byte(`"expiresAt":"`)), bytes.Contains(answer, []byte(`"code":"UNAUTHENTICATED"`)):
			a.hashed = append(a.hashed, took)
		default:
			err = errors.Join(err, fmt.Errorf("an attempt answered %.300s", answer))
		}
	})
	slices.Sort(a.hashed)
	return a, err
}
