package eventcursor

import (
	"bytes"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"cdsa.dev/cdsa/internal/errs"
)

// What gqlgen binds a scalar to.
var (
	_ graphql.Marshaler   = Cursor("")
	_ graphql.Unmarshaler = (*Cursor)(nil)
)

func TestCursor(t *testing.T) {
	var c Cursor
	if err := c.UnmarshalGQL("aZ09-_"); err != nil || c != "aZ09-_" {
		t.Fatalf("%q, %v", c, err)
	}
	var b bytes.Buffer
	c.MarshalGQL(&b)
	if b.String() != `"aZ09-_"` {
		t.Errorf("marshalled %s", b.String())
	}
	for _, v := range []any{nil, 1, true, "", "a b", "a=", "é", "\x00", strings.Repeat("a", MaxLen+1), []any{"a"}, map[string]any{}} {
		before := c
		if err := c.UnmarshalGQL(v); !errs.Is(err, errs.BadUserInput) || c != before {
			t.Errorf("%v: %v, %q", v, err, c)
		}
	}
}
