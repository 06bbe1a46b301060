package wire

import (
	"strings"

	"github.com/99designs/gqlgen/graphql"
)

// Events of graphql-sse that never change. An event without a data line is dropped by EventSource, hence the empty one.
var (
	KeepAlive     = []byte(":\n\n")
	CompleteEvent = []byte("event: complete\ndata:\n\n")
)

// AppendNextEvent appends a next event. id becomes the client's Last-Event-ID; an id that does not fit on one line is
// left out.
func AppendNextEvent(b []byte, id string, r *graphql.Response) []byte {
	b = append(b, "event: next\n"...)
	if id != "" && !strings.ContainsAny(id, "\r\n\x00") {
		b = append(b, "id: "...)
		b = append(b, id...)
		b = append(b, '\n')
	}
	b = append(b, "data: "...)
	at := len(b)
	b = AppendBody(b, r)
	for i := at; i < len(b); i++ { // scalars marshalled by an encoder bring newlines; inside JSON strings there are none
		if b[i] == '\n' || b[i] == '\r' {
			b[i] = ' '
		}
	}
	return append(b, '\n', '\n')
}
