package event

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEmbedded_Reopen(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, Config{StoreDir: dir})
	secret := "the quick brown fox signs the merger"
	var last uint64
	for range 50 {
		last = mustPublish(t, b, "chat.fox", "", secret)
	}
	mustPublish(t, b, "chat.fox", "id", "x")
	last++
	inc := b.Incarnation()
	if _, err := Open(t.Context(), Config{StoreDir: dir, Key: testKey}); err == nil {
		t.Fatal("a second server opened the same store")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		c, err := os.ReadFile(p)
		if bytes.Contains(c, []byte("quick brown")) || bytes.Contains(c, []byte("chat.fox")) {
			t.Errorf("%s holds plain text", filepath.Base(p))
		}
		return err
	})
	if err != nil || files < 4 {
		t.Fatalf("%d files in the store, %v", files, err)
	}
	began := time.Now()
	b = openBus(t, Config{StoreDir: dir})
	t.Logf("reopened in %v", time.Since(began))
	if b.Incarnation() != inc || b.Position() != last {
		t.Errorf("reopened at %d of %d, want %d of %d", b.Position(), b.Incarnation(), last, inc)
	}
	if seq := mustPublish(t, b, "chat.fox", "id", "x"); seq != last {
		t.Errorf("the duplicate window did not survive: %d, want %d", seq, last)
	}
}

func TestEmbedded_Damage(t *testing.T) {
	blocks := func(t *testing.T, dir string) []string {
		found, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no message blocks: %v", err)
		}
		return found
	}
	edit := func(t *testing.T, p string, f func([]byte) []byte) {
		c, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(t *testing.T, dir string) []byte{
		"OtherKey": func(*testing.T, string) []byte { return bytes.Repeat([]byte{9}, KeySize) },
		"TruncatedEnd": func(t *testing.T, dir string) []byte {
			for _, p := range blocks(t, dir) {
				edit(t, p, func(b []byte) []byte { return b[:len(b)/2] })
			}
			return testKey
		},
		"FlippedMiddle": func(t *testing.T, dir string) []byte {
			for _, p := range blocks(t, dir) {
				edit(t, p, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b })
			}
			return testKey
		},
		"NoMarker": func(t *testing.T, dir string) []byte {
			if err := os.Remove(filepath.Join(dir, "marker.json")); err != nil {
				t.Fatal(err)
			}
			return testKey
		},
		"OtherBootAfterCrash": func(t *testing.T, dir string) []byte {
			edit(t, filepath.Join(dir, "marker.json"), func(b []byte) []byte {
				return bytes.Replace(bytes.Replace(b, []byte(bootID()), []byte("other"), 1), []byte(`"clean":true`), []byte(`"clean":false`), 1)
			})
			return testKey
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := openBus(t, Config{StoreDir: dir})
			for range 100 {
				mustPublish(t, b, "a", "", strings.Repeat("x", 200))
			}
			inc := b.Incarnation()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			var logged bytes.Buffer
			b = openBus(t, Config{StoreDir: dir, Key: damage(t, dir), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			if b.Incarnation() == inc {
				t.Fatalf("a damaged store was taken for the same stream, position %d", b.Position())
			}
			if !strings.Contains(logged.String(), "starting a fresh stream") {
				t.Errorf("nothing was said: %s", logged.String())
			}
			if seq := mustPublish(t, b, "a", "", "x"); seq != 1 {
				t.Errorf("the fresh stream begins at %d", seq)
			}
		})
	}
}

func TestEmbedded_BlocksLost(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, Config{StoreDir: dir})
	for range 10 {
		mustPublish(t, b, "a", "", "x")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks: %v", err)
	}
	for _, p := range blocks {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	b = openBus(t, Config{StoreDir: dir})
	if seq := mustPublish(t, b, "a", "", "x"); seq != 11 {
		t.Fatalf("sequence %d was given twice", seq)
	}
	for _, err := range b.Replay(t.Context(), []string{"a"}, 5, 11) {
		if !errors.Is(err, ErrCursorExpired) {
			t.Errorf("a cursor into the lost part: %v", err)
		}
	}
}
