// Package eventcursor is the GraphQL scalar EventCursor: a sealed position in the event stream, opaque here. Package event
// seals and opens it; this leaf exists so that generated GraphQL code can bind the scalar without importing the bus.
package eventcursor

import (
	"encoding/json"
	"io"

	"cdsa.dev/cdsa/internal/errs"
)

// MaxLen is the longest cursor accepted, in bytes; a real one has 43.
const MaxLen = 128

// Cursor is the sealed form, base64url without padding. The zero Cursor means "none was given".
type Cursor string

// MarshalGQL writes the cursor as a JSON string. A write error is the transport's to notice: gqlgen gives it no way back.
func (c Cursor) MarshalGQL(w io.Writer) {
	b, err := json.Marshal(string(c))
	if err != nil { // strings always marshal
		panic(err)
	}
	_, _ = w.Write(b)
}

// UnmarshalGQL takes a string of the cursor's alphabet. Errors: BAD_USER_INPUT. Whether it is genuine, event.Cursors.Open tells.
func (c *Cursor) UnmarshalGQL(v any) error {
	s, ok := v.(string)
	if !ok || s == "" || len(s) > MaxLen {
		return bad()
	}
	for i := range len(s) {
		if !alphabet(s[i]) {
			return bad()
		}
	}
	*c = Cursor(s)
	return nil
}

func alphabet(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}

func bad() error {
	return errs.Input("after", "This is not an event cursor of this server. Pass one exactly as it was received, or none.")
}
