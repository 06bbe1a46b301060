//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// workload is one kind of work for both sides.
type workload struct {
	name, what string
	mark       float64                    // least ratio of server to floor; 0: there is none
	next       [2]func(slice, i int) call // floor, server
	slice      time.Duration
	pairs      int
	most       int  // calls in a slice
	alone      bool // both sides are the server's
	relayed    bool // the server's relay works for both sides; its CPU is counted to both
	after      func(ctx context.Context, calls int) error
}

const (
	floorSide = iota
	serverSide
)

// tally is what a side did with how much CPU.
type tally struct {
	calls         int
	process, data time.Duration
}

func (t tally) rate() float64 { return float64(t.calls) / (t.process + t.data).Seconds() }

func (t tally) perCall() (process, data time.Duration) {
	return t.process / time.Duration(t.calls), t.data / time.Duration(t.calls)
}

// result is a workload's measurement; pairs are the ratios slice by slice.
type result struct {
	workload
	sides [2]tally
	pairs []float64
}

func (r result) ratio() float64 { return r.sides[serverSide].rate() / r.sides[floorSide].rate() }

const warmUp = 400

// measure runs the sides in turn, in slices, the second pair in the other order and so on, so that what disturbs the
// machine disturbs both.
func (r *rig) measure(ctx context.Context, w workload) (result, error) {
	res := result{workload: w}
	base := [2]string{r.floor.url, r.server.url}
	if w.alone {
		base[floorSide] = r.server.url
	}
	for side := range base {
		n, err := drive(ctx, base[side], time.Minute, min(warmUp, w.most), func(i int) call { return w.next[side](0, i) })
		if err == nil && w.after != nil {
			err = w.after(ctx, n)
		}
		if err != nil {
			return res, fmt.Errorf("%s, warm-up: %w", w.name, err)
		}
	}
	for pair := range w.pairs {
		var now [2]tally
		for _, side := range [2][2]int{{floorSide, serverSide}, {serverSide, floorSide}}[pair%2] {
			t, err := r.runSlice(ctx, w, side, pair, base[side])
			if err != nil {
				return res, fmt.Errorf("%s: %w", w.name, err)
			}
			now[side] = t
			res.sides[side].calls += t.calls
			res.sides[side].process += t.process
			res.sides[side].data += t.data
		}
		res.pairs = append(res.pairs, now[serverSide].rate()/now[floorSide].rate())
	}
	return res, nil
}

func (r *rig) runSlice(ctx context.Context, w workload, side, pair int, base string) (t tally, err error) {
	pids := []int{r.floor.pid()}
	if side == serverSide || w.alone {
		pids = []int{r.server.pid()}
	}
	if w.relayed {
		pids = []int{r.floor.pid(), r.server.pid()}
	}
	processBefore, dataBefore, err := r.clocks(pids)
	if err != nil {
		return t, err
	}
	if t.calls, err = drive(ctx, base, w.slice, w.most, func(i int) call { return w.next[side](pair, i) }); err != nil {
		return t, err
	}
	if w.relayed {
		if err := r.relayedAll(ctx); err != nil {
			return t, err
		}
	}
	process, data, err := r.clocks(pids)
	if err != nil {
		return t, err
	}
	t.process, t.data = process-processBefore, data-dataBefore
	if w.after != nil {
		err = w.after(ctx, t.calls)
	}
	return t, err
}

// clocks reads the CPU time of processes and of the whole database.
func (r *rig) clocks(pids []int) (process, data time.Duration, err error) {
	for _, pid := range pids {
		d, err := cpu(pid)
		if err != nil {
			return 0, 0, err
		}
		process += d
	}
	data, err = treeCPU(r.pgPID)
	return process, data, err
}

// relayedAll waits until no event waits in the outbox.
func (r *rig) relayedAll(ctx context.Context) error {
	for {
		var waiting bool
		if err := r.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox WHERE sent_at IS NULL)`).Scan(&waiting); err != nil || !waiting {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
