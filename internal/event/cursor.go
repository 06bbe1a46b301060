package event

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event/eventcursor"
)

// CursorState tells what an authentic cursor is still good for.
type CursorState int

const (
	// CursorOK means that the cursor is of the present stream. Replay may still find it expired.
	CursorOK CursorState = iota
	// CursorExpired means that the stream it belongs to is gone; the subscriber gets a GAP.
	CursorExpired
)

// cursorAAD separates cursors from anything else sealed under the same key.
var cursorAAD = []byte("cdsa event cursor 1")

const cursorPlain = 16 // bytes: incarnation, sequence, big endian

// Cursors seals positions of the stream, because a bare sequence would tell every client the activity of all. Sealing
// is deterministic (AES-SIV): one event has one cursor, so a frame can be shared between subscribers.
type Cursors struct {
	siv         *subtle.AESSIV
	incarnation func() uint64
}

// NewCursors takes a key of 64 bytes, the same on every replica, and the present incarnation (Bus.Incarnation).
func NewCursors(key []byte, incarnation func() uint64) (*Cursors, error) {
	siv, err := subtle.NewAESSIV(key)
	if err != nil {
		return nil, fmt.Errorf("event: cursor key: %w", err)
	}
	return &Cursors{siv: siv, incarnation: incarnation}, nil
}

// Seal makes the cursor of a sequence of the present stream.
func (c *Cursors) Seal(seq uint64) eventcursor.Cursor {
	var plain [cursorPlain]byte
	binary.BigEndian.PutUint64(plain[:8], c.incarnation())
	binary.BigEndian.PutUint64(plain[8:], seq)
	sealed, err := c.siv.EncryptDeterministically(plain[:], cursorAAD)
	if err != nil { // only for inputs near the address space's size
		panic(fmt.Sprintf("event: sealing a cursor: %v", err))
	}
	return eventcursor.Cursor(base64.RawURLEncoding.EncodeToString(sealed))
}

// Open gives the sequence inside a cursor of a client and whether its stream is the present one. Errors: BAD_USER_INPUT
// for anything this server did not seal.
func (c *Cursors) Open(cur eventcursor.Cursor) (uint64, CursorState, error) {
	forged := errs.Input("after", "This is not an event cursor of this server. Pass one exactly as it was received, or none.")
	if len(cur) > eventcursor.MaxLen {
		return 0, CursorExpired, forged
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(string(cur))
	if err != nil {
		return 0, CursorExpired, forged
	}
	plain, err := c.siv.DecryptDeterministically(sealed, cursorAAD)
	if err != nil || len(plain) != cursorPlain {
		return 0, CursorExpired, forged
	}
	seq := binary.BigEndian.Uint64(plain[8:])
	if binary.BigEndian.Uint64(plain[:8]) != c.incarnation() {
		return seq, CursorExpired, nil
	}
	return seq, CursorOK, nil
}
