package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
)

// Message is what a client may send.
type Message struct {
	Type    string
	ID      string          // of subscribe and complete
	Init    map[string]any  // of connection_init; nil without a payload
	Payload json.RawMessage // of subscribe
}

// The messages of a client.
const (
	ConnectionInit = "connection_init"
	PingMessage    = "ping"
	PongMessage    = "pong"
	Subscribe      = "subscribe"
	Complete       = "complete"
)

// maxID bounds what is echoed with every answer.
const maxID = 256 // bytes

// A malformed message. The sentence is the reason of close 4400 and repeats nothing the client sent.
//
//nolint:staticcheck // sentences for a person, shown as they are
var (
	errUTF8    = errors.New("The message is not valid UTF-8.")
	errObject  = errors.New("The message is not a JSON object.")
	errType    = errors.New("The message has no known type.")
	errID      = errors.New("The id must be a string of 1 to 256 bytes.")
	errPayload = errors.New("The payload must be an object.")
	errParams  = errors.New("The payload needs a query string; variables and extensions must be objects.")
)

// Parse reads a message strictly: exact keys, known type, id and payload of the right kind. The error's text may be
// shown to the client.
func Parse(b []byte) (Message, error) {
	var m Message
	if !utf8.Valid(b) {
		return m, errUTF8
	}
	fields, err := object(b)
	if err != nil || fields == nil {
		return m, errObject
	}
	if json.Unmarshal(fields["type"], &m.Type) != nil {
		return m, errType
	}
	switch m.Type {
	case ConnectionInit:
		if m.Init, err = values(fields["payload"]); err != nil {
			return m, errPayload
		}
	case PingMessage, PongMessage:
		if _, err := object(fields["payload"]); err != nil {
			return m, errPayload
		}
	case Subscribe, Complete:
		if !isString(fields["id"]) || json.Unmarshal(fields["id"], &m.ID) != nil || m.ID == "" || len(m.ID) > maxID {
			return m, errID
		}
		m.Payload = fields["payload"]
	default:
		return m, errType
	}
	return m, nil
}

// Params reads the payload of a subscribe message. The error's text may be shown to the client.
func Params(payload []byte) (*graphql.RawParams, error) {
	f, err := object(payload)
	if err != nil || !isString(f["query"]) {
		return nil, errParams
	}
	return params(f)
}

// Request reads the body of a request over HTTP: the same shape, but with a persisted query the query may be absent.
func Request(body []byte) (*graphql.RawParams, error) {
	f, err := object(bytes.TrimPrefix(body, []byte("\ufeff"))) // RFC 8259 section 8.1 lets a parser ignore it
	if err != nil || f == nil {
		return nil, errParams
	}
	if q := f["query"]; q != nil && !isString(q) {
		return nil, errParams
	}
	if f["query"] == nil && isNull(f["extensions"]) {
		return nil, errParams
	}
	return params(f)
}

func params(f map[string]json.RawMessage) (*graphql.RawParams, error) {
	p := &graphql.RawParams{}
	var err error
	if p.Query, err = str(f["query"]); err != nil {
		return nil, errParams
	}
	if p.OperationName, err = str(f["operationName"]); err != nil {
		return nil, errParams
	}
	if p.Variables, err = values(f["variables"]); err != nil {
		return nil, errParams
	}
	if p.Extensions, err = values(f["extensions"]); err != nil {
		return nil, errParams
	}
	return p, nil
}

// HasNUL says whether a string of the request holds a NUL, which no text column takes.
func HasNUL(p *graphql.RawParams) bool {
	return strings.IndexByte(p.Query, 0) >= 0 || strings.IndexByte(p.OperationName, 0) >= 0 || nul(p.Variables)
}

func nul(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.IndexByte(v, 0) >= 0
	case map[string]any:
		for k, x := range v {
			if strings.IndexByte(k, 0) >= 0 || nul(x) {
				return true
			}
		}
	case []any:
		for _, x := range v {
			if nul(x) {
				return true
			}
		}
	}
	return false
}

func isNull(b json.RawMessage) bool {
	return len(b) == 0 || string(b) == "null"
}

func isString(b json.RawMessage) bool {
	return len(b) > 0 && b[0] == '"'
}

func str(b json.RawMessage) (string, error) {
	if isNull(b) {
		return "", nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, err
}

// object splits a JSON object by its exact keys; nil for null or nothing.
func object(b []byte) (map[string]json.RawMessage, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var m map[string]json.RawMessage
	err := json.Unmarshal(b, &m)
	return m, err
}

// Variables reads a JSON object with its numbers kept as text; nil for null or nothing.
func Variables(b []byte) (map[string]any, error) { return values(b) }

func values(b []byte) (map[string]any, error) {
	if isNull(b) {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errObject
	}
	return m, nil
}
