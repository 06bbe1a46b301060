package event

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFeed_TwoReplicas(t *testing.T) {
	n := startNATS(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	other := openBus(t, Config{URL: n.url(), Prefix: "other"})
	if a.Incarnation() != b.Incarnation() || a.Incarnation() == other.Incarnation() {
		t.Fatal("incarnations")
	}
	ra, rb, ro := new(recorder).follow(t, a), new(recorder).follow(t, b), new(recorder).follow(t, other)
	for i := range 50 {
		mustPublish(t, a, "chat.x", "", fmt.Sprint("a", i))
		mustPublish(t, b, "chat.x", "", fmt.Sprint("b", i))
	}
	ma, mb := ra.waitFor(t, 100), rb.waitFor(t, 100)
	for i := range ma {
		if ma[i].Seq != uint64(i+1) || mb[i].Seq != uint64(i+1) || !bytes.Equal(ma[i].Data, mb[i].Data) {
			t.Fatalf("message %d: %+v and %+v", i, ma[i], mb[i])
		}
	}
	if m, _ := ro.snapshot(); len(m) != 0 {
		t.Errorf("another prefix received %d messages", len(m))
	}
}

func TestFeed_ServerRestart(t *testing.T) {
	n := startNATS(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	rec := new(recorder).follow(t, a)
	for i := range 20 {
		mustPublish(t, b, "s", fmt.Sprint(i), "x")
	}
	rec.waitFor(t, 20)
	n.stop()
	eventually(t, "both notice", func() bool { return a.Healthy() != nil && b.Healthy() != nil })
	began := time.Now()
	if _, err := b.Publish(t.Context(), "s", "", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Publish without a server: %v", err)
	}
	if _, err := b.PublishAsync("s", "", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("PublishAsync without a server: %v", err)
	}
	if err := b.Signal("s", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Signal without a server: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("refusals took %v", d)
	}
	n.start()
	eventually(t, "both are back", func() bool { return a.Healthy() == nil && b.Healthy() == nil })
	for i := range 20 {
		mustPublish(t, b, "s", fmt.Sprint(20+i), "x")
	}
	msgs := rec.waitFor(t, 40)
	for i, m := range msgs {
		if m.ID != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.ID)
		}
	}
	if _, gaps := rec.snapshot(); len(gaps) != 0 {
		t.Errorf("gaps %v without a loss", gaps)
	}
}

func TestFeed_StreamReplaced(t *testing.T) {
	n := startNATS(t)
	a := openBus(t, Config{URL: n.url()})
	rec := new(recorder).follow(t, a)
	for range 5 {
		mustPublish(t, a, "s", "", "old")
	}
	rec.waitFor(t, 5)
	inc := a.Incarnation()
	n.stop()
	if err := os.RemoveAll(n.dir); err != nil {
		t.Fatal(err)
	}
	n.start()
	eventually(t, "a gap", func() bool { _, g := rec.snapshot(); return len(g) == 1 })
	eventually(t, "health", func() bool { return a.Healthy() == nil })
	if a.Incarnation() == inc {
		t.Error("the incarnation is the old one")
	}
	if _, g := rec.snapshot(); g[0] != 0 {
		t.Errorf("gap at %d", g[0])
	}
	mustPublish(t, a, "s", "", "new")
	if m := rec.waitFor(t, 6); m[5].Seq != 1 || string(m[5].Data) != "new" {
		t.Errorf("message %+v", m[5])
	}
}

func TestFeed_StreamDeleted(t *testing.T) {
	b := openBus(t, Config{})
	rec := new(recorder).follow(t, b)
	mustPublish(t, b, "s", "", "old")
	rec.waitFor(t, 1)
	if err := b.js.DeleteStream(t.Context(), streamName("cdsa")); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, b, "s", "", "new")
	eventually(t, "a gap", func() bool { _, g := rec.snapshot(); return len(g) > 0 })
	eventually(t, "the feed", func() bool { return b.Healthy() == nil })
	last := mustPublish(t, b, "s", "", "newer")
	eventually(t, "the newest", func() bool { return b.Position() == last })
}

func TestFeed_GapByExpiry(t *testing.T) {
	n := startNATS(t)
	cfg := Config{URL: n.url(), MaxBytes: 1 << 20}
	a, b := openBus(t, cfg), openBus(t, cfg)
	big := strings.Repeat("y", 60_000)
	for range 40 {
		mustPublish(t, b, "s", "", big)
	}
	first, err := b.First(t.Context())
	if err != nil || first < 2 {
		t.Fatalf("first = %d, %v", first, err)
	}
	rec := new(recorder).follow(t, a)
	msgs := rec.waitFor(t, 40-int(first)+1)
	_, gaps := rec.snapshot()
	if len(gaps) != 1 || gaps[0] != first-1 || msgs[0].Seq != first {
		t.Errorf("gaps %v, first message %d; first stored %d", gaps, msgs[0].Seq, first)
	}
}

func TestFeed_PanicIsAGap(t *testing.T) {
	b := openBus(t, Config{})
	gaps, got := make(chan uint64, 1), make(chan uint64, 1)
	err := b.Feed(t.Context(), func(m Message) {
		if string(m.Data) == "bad" {
			panic("no")
		}
		got <- m.Seq
	}, func(pos uint64) { gaps <- pos })
	if err != nil {
		t.Fatal(err)
	}
	bad := mustPublish(t, b, "s", "", "bad")
	good := mustPublish(t, b, "s", "", "good")
	if g, m := <-gaps, <-got; g != bad || m != good {
		t.Errorf("gap %d, message %d", g, m)
	}
}
