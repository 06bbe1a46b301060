// Package wire is the text of both protocols: websocket frames and messages of graphql-transport-ws, events of
// graphql-sse. It only appends and parses; it does no I/O and keeps no state. The appending functions grow b and
// return it, as append does.
package wire

import (
	"encoding/binary"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// Whole frames and messages that never change.
var (
	Ping = []byte{0x89, 0} // a websocket ping frame without payload, RFC 6455 section 5.5.2
	Ack  = text(`{"type":"connection_ack"}`)
	Pong = text(`{"type":"pong"}`)
)

func text(s string) []byte { return append(AppendHeader(nil, len(s)), s...) }

// AppendHeader appends the header of an unmasked text frame of n bytes, RFC 6455 section 5.2.
func AppendHeader(b []byte, n int) []byte {
	const finText = 0x81
	switch {
	case n < 126:
		return append(b, finText, byte(n))
	case n < 1<<16:
		return append(b, finText, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, finText, 127), uint64(n))
}

// CloseFrame is a close frame; reason is cut at the 123 bytes a control frame holds, at a rune's start.
func CloseFrame(code int, reason string) []byte {
	const most = 123
	if len(reason) > most {
		cut := most
		for cut > 0 && reason[cut]&0xC0 == 0x80 {
			cut--
		}
		reason = reason[:cut]
	}
	b := []byte{0x88, byte(2 + len(reason)), byte(code >> 8), byte(code)}
	return append(b, reason...)
}

// Quote is s as JSON text.
func Quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return `""`
	}
	return string(b)
}

const (
	idKey        = `{"id":`
	nextPart     = `,"type":"next","payload":`
	errorPart    = `,"type":"error","payload":`
	completePart = `,"type":"complete"}`
)

// AppendNext appends a whole next frame. id is JSON text.
func AppendNext(b []byte, id string, r *graphql.Response) []byte {
	if plain(r) { // the common answer is written without a second copy
		n := len(idKey) + len(id) + len(nextPart) + len(dataKey) + len(r.Data) + 2
		b = AppendHeader(b, n)
		b = append(b, idKey...)
		b = append(b, id...)
		b = append(b, nextPart...)
		b = append(b, dataKey...)
		b = append(b, r.Data...)
		return append(b, '}', '}')
	}
	return appendMessage(b, id, nextPart, AppendBody(nil, r))
}

// AppendError appends a whole error frame. id is JSON text.
func AppendError(b []byte, id string, errs gqlerror.List) []byte {
	return appendMessage(b, id, errorPart, marshal(errs))
}

// AppendComplete appends a whole complete frame. id is JSON text.
func AppendComplete(b []byte, id string) []byte {
	b = AppendHeader(b, len(idKey)+len(id)+len(completePart))
	b = append(b, idKey...)
	b = append(b, id...)
	return append(b, completePart...)
}

func appendMessage(b []byte, id, part string, payload []byte) []byte {
	b = AppendHeader(b, len(idKey)+len(id)+len(part)+len(payload)+1)
	b = append(b, idKey...)
	b = append(b, id...)
	b = append(b, part...)
	b = append(b, payload...)
	return append(b, '}')
}

const dataKey = `{"data":`

// plain says whether the answer is data and nothing else. Extensions may be an empty map that is not nil.
func plain(r *graphql.Response) bool {
	return len(r.Data) > 0 && len(r.Errors) == 0 && len(r.Extensions) == 0 && r.HasNext == nil && r.Label == "" && len(r.Path) == 0
}

// AppendBody appends the answer as JSON. Without data there is no data key: a request error never says "data": null.
func AppendBody(b []byte, r *graphql.Response) []byte {
	if plain(r) {
		b = append(b, dataKey...)
		b = append(b, r.Data...)
		return append(b, '}')
	}
	if r.HasNext != nil || r.Label != "" || len(r.Path) > 0 {
		return append(b, marshal(r)...)
	}
	b = append(b, '{')
	if len(r.Errors) > 0 {
		b = append(append(b, `"errors":`...), marshal(r.Errors)...)
		b = append(b, ',')
	}
	if len(r.Data) > 0 {
		b = append(append(b, `"data":`...), r.Data...)
		b = append(b, ',')
	}
	if len(r.Extensions) > 0 {
		b = append(append(b, `"extensions":`...), marshal(r.Extensions)...)
		b = append(b, ',')
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}')
}

// marshal falls back to a fixed error: an extension that does not marshal must not end the process or go unanswered.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err == nil {
		return b
	}
	const lost = `{"message":"The answer could not be written. Quote the request id to the operator.","extensions":{"code":"INTERNAL_SERVER_ERROR"}}`
	switch v.(type) {
	case gqlerror.List:
		return []byte("[" + lost + "]")
	case map[string]any:
		return []byte("{}")
	}
	return []byte(`{"errors":[` + lost + `]}`)
}
