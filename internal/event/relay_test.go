package event

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// quick lets a test's relays compete and poll fast.
var quick = RelayConfig{Poll: 50 * time.Millisecond, Retry: 20 * time.Millisecond, StepAside: 300 * time.Millisecond}

// run starts a relay; the returned function stops it and waits.
func run(t *testing.T, r *Relay) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Errorf("relay: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func mustAppend(t *testing.T, q Execer, subject string, payload any) int64 {
	t.Helper()
	id, err := Append(t.Context(), q, subject, payload)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func count(t *testing.T, pool outbox, where string) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE "+where).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// streamed reads all stored messages.
func streamed(t *testing.T, b *Bus) []Message {
	t.Helper()
	var all []Message
	for m, err := range b.Replay(t.Context(), []string{">"}, 0, ^uint64(0)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestAppend(t *testing.T) {
	pool := newPool(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, tx, "chat.a", map[string]string{"id": "1"})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, pool, "true"); n != 0 {
		t.Errorf("%d rows after a rollback", n)
	}
	mustAppend(t, pool, "chat.a", map[string]string{"id": "1"})
	mustAppend(t, pool, "chat.a", []byte{0, 0xff})
	mustAppend(t, pool, "chat.a", []byte(nil))
	batch := &pgx.Batch{}
	if err := Queue(batch, "chat.a", "s"); err != nil {
		t.Fatal(err)
	}
	if err := pool.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := unsent(t.Context(), pool, nil, time.Minute, 10)
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, want := range []string{`{"id":"1"}`, "\x00\xff", "", `"s"`} {
		if string(rows[i].payload) != want || rows[i].old {
			t.Errorf("row %d: %q old=%v", i, rows[i].payload, rows[i].old)
		}
	}
	for _, subject := range []string{"", "a b", "a.*", "a..b", "a\n", strings.Repeat("x", 201)} {
		if _, err := Append(t.Context(), pool, subject, "x"); err == nil {
			t.Errorf("Append accepted the subject %q", subject)
		}
		if _, err := pool.Exec(t.Context(), `INSERT INTO outbox (subject, payload) VALUES ($1, '')`, subject); err == nil {
			t.Errorf("the table accepted the subject %q", subject)
		}
	}
	if _, err := Append(t.Context(), pool, "a", make([]byte, MaxPayload+1)); err == nil {
		t.Error("Append accepted a payload that is too large")
	}
	if _, err := Append(t.Context(), pool, "a", func() {}); err == nil {
		t.Error("Append accepted a function")
	}
}

func TestRelay_WakeAndLatency(t *testing.T) {
	n, pool := startNATS(t), newPool(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	slow := RelayConfig{Poll: time.Hour, Retry: 20 * time.Millisecond} // only a wake-up can be the cause
	leader, follower := NewRelay(pool.Pool, a, slow), NewRelay(pool.Pool, b, slow)
	run(t, leader)
	eventually(t, "a leader", func() bool { return leader.Stats().Leading })
	run(t, follower)
	rec := new(recorder).follow(t, a)
	for i, r := range []*Relay{leader, follower, leader, follower} {
		mustAppend(t, pool, "s", "x")
		r.Wake()
		rec.waitFor(t, i+1)
	}
	if s := follower.Stats(); s.Leading || s.Published != 0 {
		t.Errorf("the follower's counters: %+v", s)
	}
	eventually(t, "marks", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
	if s := leader.Stats(); s.Published != 4 || s.Duplicates != 0 {
		t.Errorf("the leader's counters: %+v", s)
	}
}

func TestRelay_PollAlone(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	rec := new(recorder).follow(t, b)
	run(t, NewRelay(pool.Pool, b, quick))
	mustAppend(t, pool, "s", "x")
	rec.waitFor(t, 1)
}

// A transaction that took its id early and commits late is not passed over.
func TestRelay_LateCommit(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	r := NewRelay(pool.Pool, b, quick)
	run(t, r)
	rec := new(recorder).follow(t, b)
	early, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := mustAppend(t, early, "s", "early")
	for range 10 {
		mustAppend(t, pool, "s", "late")
	}
	rec.waitFor(t, 10)
	eventually(t, "marks", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
	if err := early.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Wake()
	if m := rec.waitFor(t, 11); string(m[10].Data) != `"early"` || id != 1 {
		t.Errorf("last message %s, id %d", m[10].Data, id)
	}
}

func TestRelay_Flush(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	r := NewRelay(pool.Pool, b, RelayConfig{Batch: 4})
	for i := range 10 {
		mustAppend(t, pool, "chat.a", i)
		mustAppend(t, pool, "chat.b", i)
	}
	seq, err := r.Flush(t.Context(), "chat.a")
	if err != nil || seq != 10 {
		t.Fatalf("Flush = %d, %v", seq, err)
	}
	if n := count(t, pool, "subject = 'chat.a' AND sent_at IS NULL"); n != 0 {
		t.Errorf("%d rows unmarked", n)
	}
	if n := count(t, pool, "subject = 'chat.b' AND sent_at IS NULL"); n != 10 {
		t.Errorf("%d rows of another subject are left, want 10", n)
	}
	for i, m := range streamed(t, b) {
		if m.Subject != "chat.a" || string(m.Data) != fmt.Sprint(i) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	if again, err := r.Flush(t.Context(), "chat.a"); err != nil || again != 10 {
		t.Errorf("Flush with nothing to do = %d, %v", again, err)
	}
	if _, err := r.Flush(t.Context(), "chat.b"); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Published != 20 || s.Duplicates != 0 || s.Failures != 0 {
		t.Errorf("counters %+v", s)
	}
}

// Published but not marked, as after a kill between the two: inside the duplicate window the bus tells, beyond it the relay
// looks.
func TestRelay_UnmarkedIsNotRepeated(t *testing.T) {
	for name, age := range map[string]string{"Recent": "0 s", "Old": "90 min"} {
		t.Run(name, func(t *testing.T) {
			pool, b := newPool(t), openBus(t, Config{})
			for i := range 5 {
				mustAppend(t, pool, fmt.Sprint("s.", i%2), i)
			}
			if _, err := pool.Exec(t.Context(), `UPDATE outbox SET created_at = created_at - $1::interval`, age); err != nil {
				t.Fatal(err)
			}
			rows, err := unsent(t.Context(), pool, nil, time.Minute, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range rows[:3] {
				id := x.messageID()
				if age != "0 s" { // the window has forgotten it: the bus itself would store it again
					if x.old != true {
						t.Fatal("the row is not old")
					}
				}
				if _, err := b.Publish(t.Context(), x.subject, id, x.payload); err != nil {
					t.Fatal(err)
				}
			}
			r := NewRelay(pool.Pool, b, quick)
			if age != "0 s" {
				found, err := r.storedBefore(t.Context(), rows)
				if err != nil || len(found) != 3 || found[rows[2].messageID()] != 3 {
					t.Fatalf("found %v, %v", found, err)
				}
			}
			run(t, r)
			eventually(t, "marks", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
			if n := len(streamed(t, b)); n != 5 {
				t.Errorf("%d messages for 5 rows", n)
			}
			if s := r.Stats(); s.Published != 2 || s.Duplicates != 3 {
				t.Errorf("counters %+v", s)
			}
		})
	}
}

// A table that was made anew gives the same ids; its rows are other rows.
func TestRelay_RecreatedTable(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	r := NewRelay(pool.Pool, b, quick)
	for range 2 {
		if id := mustAppend(t, pool, "s", "x"); id != 1 {
			t.Fatalf("id %d", id)
		}
		if _, err := r.Flush(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		pool.recreate(t)
	}
	if n := len(streamed(t, b)); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestRelay_BusRestart(t *testing.T) {
	n, pool := startNATS(t), newPool(t)
	b := openBus(t, Config{URL: n.url()})
	r := NewRelay(pool.Pool, b, quick)
	run(t, r)
	rec := new(recorder).follow(t, b)
	mustAppend(t, pool, "s", 0)
	rec.waitFor(t, 1)
	n.stop()
	for i := range 20 {
		mustAppend(t, pool, "s", 1+i)
		r.Wake()
	}
	if _, err := r.Flush(t.Context(), "s"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Flush without a bus: %v", err)
	}
	eventually(t, "failures and stepping aside", func() bool { return r.Stats().Failures > 5 })
	n.start()
	for i, m := range rec.waitFor(t, 21) {
		if string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Data)
		}
	}
	eventually(t, "marks", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
}

// The leader's connection is cut: it leads again or another does, and nothing is lost.
func TestRelay_ConnectionCut(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	r1, r2 := NewRelay(pool.Pool, b, quick), NewRelay(pool.Pool, b, quick)
	run(t, r1)
	run(t, r2)
	rec := new(recorder).follow(t, b)
	for i := range 3 {
		eventually(t, "one leader", func() bool { return r1.Stats().Leading != r2.Stats().Leading })
		mustAppend(t, pool, "s", i)
		rec.waitFor(t, i+1)
		if _, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, pool, "s", "after the cut")
		eventually(t, "marks", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
		rec.waitFor(t, 2*i+2)
	}
	if n := len(streamed(t, b)); n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
}

func TestRelay_Sweep(t *testing.T) {
	pool, b := newPool(t), openBus(t, Config{})
	if _, err := pool.Exec(t.Context(), `INSERT INTO outbox (subject, payload, sent_at)
		SELECT 's', '', CASE WHEN i <= 2500 THEN now() - interval '1 hour' ELSE now() END FROM generate_series(1, 2600) i`); err != nil {
		t.Fatal(err)
	}
	cfg := quick
	cfg.Sweep = 10 * time.Millisecond
	r := NewRelay(pool.Pool, b, cfg)
	run(t, r)
	eventually(t, "deletion", func() bool { return r.Stats().Deleted == 2500 })
	if n := count(t, pool, "true"); n != 100 {
		t.Errorf("%d rows left, want 100", n)
	}
}

// Writers commit in random order with pauses, relays race and die, processes flush: each committed row is stored exactly once, no
// rolled-back one, and the rows of one writer's subject keep their order.
func TestRelay_Property(t *testing.T) {
	n, pool := startNATS(t), newPool(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	cfg := quick
	cfg.Batch = 7
	relays := []*Relay{NewRelay(pool.Pool, a, cfg), NewRelay(pool.Pool, b, cfg)}
	rec := new(recorder).follow(t, a)
	run(t, relays[0])
	run(t, relays[1])
	const writers, each = 4, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { write(t, pool, relays, w, each) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cut := make(chan struct{})
	go func() { // the leader is killed again and again
		defer close(cut)
		for ctx.Err() == nil {
			_, err := pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdsa-relay'
				AND datname = current_database() AND random() < 0.5`)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			pause(ctx, 60*time.Millisecond)
		}
	}()
	wg.Wait()
	cancel()
	<-cut
	eventually(t, "everything sent", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
	want := count(t, pool, "true")
	msgs := rec.waitFor(t, want)
	if stored := streamed(t, b); len(stored) != want || len(msgs) != want {
		t.Fatalf("%d rows, %d stored, %d delivered", want, len(stored), len(msgs))
	}
	next, seen := map[string]int{}, map[string]bool{}
	for _, m := range msgs {
		var i int
		if _, err := fmt.Sscan(string(m.Data), &i); err != nil {
			t.Fatal(err)
		}
		if i <= next[m.Subject]-1 || seen[m.ID] {
			t.Fatalf("%s: %d after %d", m.Subject, i, next[m.Subject]-1)
		}
		next[m.Subject], seen[m.ID] = i+1, true
	}
	t.Logf("%d rows, relays %+v and %+v", want, relays[0].Stats(), relays[1].Stats())
}

func write(t *testing.T, pool outbox, relays []*Relay, w, each int) {
	subject := fmt.Sprint("w.", w)
	for i := range each {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := Append(t.Context(), tx, subject, i); err != nil {
			t.Error(err)
			return
		}
		pause(t.Context(), rand.N(3*time.Millisecond))
		end := tx.Commit
		if rand.N(10) == 0 {
			end = tx.Rollback
		}
		if err := end(t.Context()); err != nil {
			t.Error(err)
			return
		}
		switch r := relays[rand.N(len(relays))]; rand.N(3) {
		case 0:
			r.Wake()
		case 1:
			if _, err := r.Flush(t.Context(), subject); err != nil {
				t.Error(err)
			}
		}
	}
}
