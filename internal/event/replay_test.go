package event

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestReplay(t *testing.T) {
	b := openBus(t, Config{MaxBytes: 1 << 20})
	want := map[string][]uint64{}
	for i := range 1000 {
		s := []string{"chat.a", "chat.b", "approval"}[i%3]
		want[s] = append(want[s], mustPublish(t, b, s, "", "x"))
	}
	read := func(subjects []string, after, upto uint64) ([]uint64, error) {
		var got []uint64
		for m, err := range b.Replay(t.Context(), subjects, after, upto) {
			if err != nil {
				return got, err
			}
			got = append(got, m.Seq)
		}
		return got, nil
	}
	for name, c := range map[string]struct {
		subjects    []string
		after, upto uint64
		n           int
		first, last uint64
	}{
		"All":       {[]string{">"}, 0, ^uint64(0), 1000, 1, 1000},
		"One":       {[]string{"chat.b"}, 0, 1000, 333, 2, 998},
		"Window":    {[]string{"chat.a"}, 100, 109, 3, 103, 109},
		"Two":       {[]string{"chat.a", "approval", "chat.a"}, 998, 1000, 2, 999, 1000},
		"Wildcard":  {[]string{"chat.*"}, 997, 2000, 2, 998, 1000},
		"Nothing":   {[]string{"chat.a"}, 1000, 1000, 0, 0, 0},
		"NoSuch":    {[]string{"chat.z"}, 0, 1000, 0, 0, 0},
		"Backwards": {[]string{"chat.a"}, 900, 100, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(c.subjects, c.after, c.upto)
			if err != nil || len(got) != c.n {
				t.Fatalf("%d messages, %v; want %d", len(got), err, c.n)
			}
			for i, s := range got {
				if i > 0 && s <= got[i-1] {
					t.Fatalf("%d after %d", s, got[i-1])
				}
			}
			if c.n > 0 && (got[0] != c.first || got[c.n-1] != c.last) {
				t.Errorf("from %d to %d, want %d to %d", got[0], got[c.n-1], c.first, c.last)
			}
		})
	}
	t.Run("Stop", func(t *testing.T) {
		for range b.Replay(t.Context(), []string{">"}, 0, 1000) {
			break
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range b.Replay(ctx, []string{">"}, 0, 1000) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("Future", func(t *testing.T) {
		if _, err := read([]string{"a"}, 1001, 2000); !errors.Is(err, ErrCursorExpired) {
			t.Errorf("a position beyond the end: %v", err)
		}
	})
	t.Run("Expired", func(t *testing.T) {
		big := strings.Repeat("y", 60_000)
		for range 40 { // beyond MaxBytes
			mustPublish(t, b, "big", "", big)
		}
		first, err := b.First(t.Context())
		if err != nil || first <= 1000 {
			t.Fatalf("first = %d, %v", first, err)
		}
		if _, err := read([]string{"big"}, first-2, 2000); !errors.Is(err, ErrCursorExpired) {
			t.Errorf("one message lost: %v", err)
		}
		got, err := read([]string{"big"}, first-1, 2000)
		if err != nil || len(got) == 0 || got[0] != first {
			t.Errorf("nothing lost: %v, %v", got, err)
		}
	})
}

func TestReplay_Crowd(t *testing.T) {
	b := openBus(t, Config{})
	for range 300 {
		mustPublish(t, b, "chat.a", "", "x")
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			n := 0
			for _, err := range b.Replay(t.Context(), []string{"chat.a"}, 0, 300) {
				if err != nil {
					t.Error(err)
					return
				}
				n++
			}
			if n != 300 {
				t.Errorf("%d messages", n)
			}
		})
	}
	wg.Wait()
}

func TestReplay_SlowReaders(t *testing.T) {
	b := openBus(t, Config{})
	for range 2 * replayBatch {
		mustPublish(t, b, "chat.a", "", "x")
	}
	hold, reading := make(chan struct{}), make(chan struct{}, 2*maxReplays)
	var wg sync.WaitGroup
	read := func(stop func(n int)) {
		n := 0
		for _, err := range b.Replay(t.Context(), []string{"chat.a"}, 0, ^uint64(0)) {
			if err != nil {
				t.Error(err)
				return
			}
			n++
			stop(n)
		}
		if n != 2*replayBatch {
			t.Errorf("%d messages", n)
		}
	}
	for range 2 * maxReplays {
		wg.Go(func() {
			read(func(n int) {
				if n == 1 {
					reading <- struct{}{}
					<-hold
				}
			})
		})
	}
	for range 2 * maxReplays {
		<-reading
	}
	read(func(int) {})
	close(hold)
	wg.Wait()
}

func BenchmarkBus_Replay(b *testing.B) {
	bus, err := Open(b.Context(), Config{StoreDir: b.TempDir(), Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}()
	for i := range 5000 {
		if _, err := bus.PublishAsync(fmt.Sprint("chat.", i%100), "", make([]byte, 120)); err != nil {
			b.Fatal(err)
		}
	}
	last, err := bus.Publish(b.Context(), "end", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() { // 50 messages of one subject
		for _, err := range bus.Replay(b.Context(), []string{"chat.7"}, 0, last) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
