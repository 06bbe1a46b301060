package event

import (
	"bytes"
	"encoding/base64"
	"testing"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event/eventcursor"
)

func newCursors(t testing.TB, inc *uint64) *Cursors {
	t.Helper()
	c, err := NewCursors(bytes.Repeat([]byte("0123456789abcdef"), 4), func() uint64 { return *inc })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCursors(t *testing.T) {
	inc := uint64(17)
	c := newCursors(t, &inc)
	for _, seq := range []uint64{0, 1, 1 << 40, ^uint64(0)} {
		s := c.Seal(seq)
		if len(s) != 43 || s != c.Seal(seq) || s == c.Seal(seq+1) {
			t.Errorf("seal of %d: %q", seq, s)
		}
		got, state, err := c.Open(s)
		if got != seq || state != CursorOK || err != nil {
			t.Errorf("open of %d: %d %v %v", seq, got, state, err)
		}
	}
	s := c.Seal(5)
	inc = 18
	if _, state, err := c.Open(s); state != CursorExpired || err != nil {
		t.Errorf("another incarnation: %v, %v", state, err)
	}
	other, err := NewCursors(bytes.Repeat([]byte{1}, 64), func() uint64 { return inc })
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Open(s); !errs.Is(err, errs.BadUserInput) {
		t.Errorf("another key: %v", err)
	}
	if _, err := NewCursors(make([]byte, 32), nil); err == nil {
		t.Error("a key of 32 bytes was accepted")
	}
}

func TestCursors_Forged(t *testing.T) {
	inc := uint64(1)
	c := newCursors(t, &inc)
	raw, err := base64.RawURLEncoding.DecodeString(string(c.Seal(1)))
	if err != nil {
		t.Fatal(err)
	}
	var forged []eventcursor.Cursor
	for i := range raw {
		x := bytes.Clone(raw)
		x[i] ^= 1
		forged = append(forged, eventcursor.Cursor(base64.RawURLEncoding.EncodeToString(x)))
	}
	good := string(c.Seal(1))
	forged = append(forged, "", "A", "1", eventcursor.Cursor(good+"="), eventcursor.Cursor(good[1:]), eventcursor.Cursor(good+good), "\x00")
	for _, f := range forged {
		if _, _, err := c.Open(f); !errs.Is(err, errs.BadUserInput) {
			t.Errorf("%q: %v", f, err)
		}
	}
}

func FuzzCursors_Open(f *testing.F) {
	inc := uint64(1)
	c := newCursors(f, &inc)
	f.Add(string(c.Seal(7)))
	f.Add("")
	f.Add("not a cursor")
	f.Fuzz(func(t *testing.T, s string) {
		seq, _, err := c.Open(eventcursor.Cursor(s))
		if err == nil && string(c.Seal(seq)) != s {
			t.Errorf("%q opens as %d but is not its seal", s, seq)
		}
		if err != nil && !errs.Is(err, errs.BadUserInput) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func BenchmarkCursors_Seal(b *testing.B) {
	inc := uint64(1)
	c := newCursors(b, &inc)
	for b.Loop() {
		c.Seal(1)
	}
}
