package event

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// child is the test binary started again to be killed.
func child(mode string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	switch mode {
	case "publish": // publishes for ever, telling each acknowledged sequence
		b, err := Open(ctx, Config{StoreDir: os.Getenv("EVENT_TEST_DIR"), Key: testKey})
		fail(err)
		for {
			seq, err := b.Publish(ctx, "s", "", []byte(strings.Repeat("x", 100)))
			fail(err)
			fmt.Println(seq)
		}
	case "relay": // commits and relays for ever, telling each commit
		b, err := Open(ctx, Config{URL: os.Getenv("EVENT_TEST_NATS")})
		fail(err)
		pool, err := pgxpool.New(ctx, os.Getenv("EVENT_TEST_PG"))
		fail(err)
		r := NewRelay(pool, b, quick)
		go func() { fail(r.Run(ctx)) }()
		for {
			id, err := Append(ctx, pool, "s", "x")
			fail(err)
			r.Wake()
			fmt.Println(id)
		}
	}
}

// killAfter starts a child and kills it when it has told n numbers; the last one told comes back.
func killAfter(t *testing.T, n int, env ...string) (last uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil || last < uint64(n) {
		t.Fatalf("the child ended with %v after %d", err, last)
	}
	return last
}

// kill -9 of a process with an embedded bus: every acknowledged event is still there, in the same stream.
func TestEmbedded_Kill(t *testing.T) {
	dir := t.TempDir()
	last := killAfter(t, 300, "EVENT_TEST_CHILD=publish", "EVENT_TEST_DIR="+dir)
	began := time.Now()
	b := openBus(t, Config{StoreDir: dir})
	t.Logf("reopened after kill -9 in %v", time.Since(began))
	if b.Position() < last {
		t.Fatalf("reopened at %d, %d was acknowledged", b.Position(), last)
	}
	if n := len(streamed(t, b)); uint64(n) != b.Position() {
		t.Errorf("%d messages up to %d", n, b.Position())
	}
	again := killAfterClose(t, b, dir)
	if b = openBus(t, Config{StoreDir: dir}); b.Position() < again {
		t.Errorf("reopened at %d, %d was acknowledged", b.Position(), again)
	}
}

func killAfterClose(t *testing.T, b *Bus, dir string) uint64 {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return killAfter(t, 50, "EVENT_TEST_CHILD=publish", "EVENT_TEST_DIR="+dir)
}

// kill -9 of a process that commits and relays: another process publishes the rest, each row once.
func TestRelay_Kill(t *testing.T) {
	n, pool := startNATS(t), newPool(t)
	b := openBus(t, Config{URL: n.url()})
	rec := new(recorder).follow(t, b)
	var last uint64
	for range 3 {
		last = killAfter(t, 100, "EVENT_TEST_CHILD=relay", "EVENT_TEST_NATS="+n.url(), "EVENT_TEST_PG="+pool.url)
	}
	left := count(t, pool, "sent_at IS NULL")
	r := NewRelay(pool.Pool, b, quick)
	run(t, r)
	eventually(t, "everything sent", func() bool { return count(t, pool, "sent_at IS NULL") == 0 })
	want := count(t, pool, "true")
	if uint64(want) < last {
		t.Errorf("%d rows, %d were committed", want, last)
	}
	seen := map[string]bool{}
	for _, m := range rec.waitFor(t, want) {
		seen[m.ID] = true
	}
	if stored := len(streamed(t, b)); stored != want || len(seen) != want {
		t.Errorf("%d rows, %d stored, %d distinct", want, stored, len(seen))
	}
	t.Logf("%d rows, %d left unsent by the killed, %+v", want, left, r.Stats())
}
