package gqlhttp

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"

	"cdsa.dev/cdsa/internal/errs"
)

// maxJSONDepth bounds objects inside objects of a request; encoding/json itself stops at 10,000.
const maxJSONDepth = 100

// Decode reads one request, {"query", "operationName", "variables", "extensions"}, from JSON: the body of a POST or
// the payload of a subscribe message. Numbers stay json.Number. BAD_USER_INPUT for anything that is not UTF-8, not one
// JSON object, wrongly typed, carries NUL or a number beyond float64; RESOURCE_EXHAUSTED when nested too deep. The
// sentences never quote the input.
func Decode(body []byte) (graphql.RawParams, error) {
	var p graphql.RawParams
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // RFC 8259 section 8.1 lets a parser ignore it
	if decodeFast(body, &p) && utf8.Valid(body) {
		return p, complete(&p)
	}
	p, err := decodeSlow(body)
	if err != nil {
		return graphql.RawParams{}, err
	}
	return p, complete(&p)
}

func complete(p *graphql.RawParams) error {
	if p.Query == "" && p.Extensions["persistedQuery"] == nil {
		return errs.Input("query", "The request has no query. Send the GraphQL document as the string \"query\".")
	}
	return nil
}

// decodeSlow is the judge of what a request may be; decodeFast only agrees with it sooner.
func decodeSlow(body []byte) (graphql.RawParams, error) {
	var p graphql.RawParams
	if !utf8.Valid(body) {
		return p, errs.New(errs.BadUserInput, "The request is not valid UTF-8.")
	}
	if jsonDepth(body) > maxJSONDepth {
		return p, errs.New(errs.ResourceExhausted, "The request is nested deeper than %d levels. Send flatter data.", maxJSONDepth)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return p, errs.New(errs.BadUserInput, "The request is not one JSON object. Send {\"query\": …} and nothing after it.")
	}
	var err error
	if p.Query, err = stringField(fields, "query"); err != nil {
		return p, err
	}
	if p.OperationName, err = stringField(fields, "operationName"); err != nil {
		return p, err
	}
	if p.Variables, err = objectField("variables", fields["variables"]); err != nil {
		return p, err
	}
	p.Extensions, err = objectField("extensions", fields["extensions"])
	return p, err
}

func stringField(fields map[string]json.RawMessage, name string) (string, error) {
	raw := fields[name]
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", errs.Input(name, "%q must be a string.", name)
	}
	return s, cleanText(name, s)
}

// objectField reads variables or extensions; raw may be empty or null, which is absent.
func objectField(name string, raw []byte) (map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if raw[0] != '{' || d.Decode(&m) != nil || d.More() {
		return nil, errs.Input(name, "%q must be a JSON object.", name)
	}
	return m, cleanValue(name, m)
}

// cleanText refuses what Postgres cannot store.
func cleanText(name, s string) error {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return errs.Input(name, "%q contains a NUL character or is not valid UTF-8. Remove it.", name)
	}
	return nil
}

func cleanValue(name string, v any) error {
	switch v := v.(type) {
	case string:
		return cleanText(name, v)
	case json.Number:
		if len(v) > 64 || !isFloat64(v) {
			return errs.Input(name, "%q contains a number that is too large or too long.", name)
		}
	case []any:
		for _, e := range v {
			if err := cleanValue(name, e); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if err := cleanText(name, k); err != nil {
				return err
			}
			if err := cleanValue(name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func isFloat64(n json.Number) bool {
	_, err := n.Float64()
	return err == nil
}

// jsonDepth counts brackets outside strings, without judging the rest.
func jsonDepth(b []byte) int {
	depth, most, inString := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}

// decodeFast reads the plain form that clients send: known keys once each, strings with one-letter escapes, short
// integers. False means unusual, not wrong; p is then unspecified.
func decodeFast(body []byte, p *graphql.RawParams) bool {
	d := scanner{b: body}
	if !d.token('{') {
		return false
	}
	var seen [4]bool
	for {
		key, ok := d.text()
		if !ok || !d.token(':') {
			return false
		}
		v, ok := d.value(2)
		if !ok {
			return false
		}
		i, ok := assign(p, key, v)
		if !ok || seen[i] {
			return false
		}
		seen[i] = true
		if d.token(',') {
			d.space()
			continue
		}
		if !d.token('}') {
			return false
		}
		d.space()
		return d.i == len(d.b)
	}
}

func assign(p *graphql.RawParams, key string, v any) (int, bool) {
	ok := true
	switch key {
	case "query":
		p.Query, ok = v.(string)
		return 0, ok
	case "operationName":
		if v != nil {
			p.OperationName, ok = v.(string)
		}
		return 1, ok
	case "variables":
		if v != nil {
			p.Variables, ok = v.(map[string]any)
		}
		return 2, ok
	case "extensions":
		if v != nil {
			p.Extensions, ok = v.(map[string]any)
		}
		return 3, ok
	}
	return 0, false
}

// scanner is decodeFast's place in the body.
type scanner struct {
	b []byte
	i int
}

func (d *scanner) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// token takes c and the space around it.
func (d *scanner) token(c byte) bool {
	d.space()
	if d.i >= len(d.b) || d.b[d.i] != c {
		return false
	}
	d.i++
	d.space()
	return true
}

var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// text copies a string out of the body, which belongs to a pool.
func (d *scanner) text() (string, bool) {
	if d.i >= len(d.b) || d.b[d.i] != '"' {
		return "", false
	}
	start := d.i + 1
	escapes := 0
	for i := start; i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			d.i = i + 1
			if escapes == 0 {
				return string(d.b[start:i]), true
			}
			return unescape(d.b[start:i], escapes), true
		case c < 0x20:
			return "", false
		case c == '\\':
			i++
			if i >= len(d.b) || unescaped[d.b[i]] == 0 {
				return "", false
			}
			escapes++
		}
	}
	return "", false
}

func unescape(raw []byte, escapes int) string {
	var s strings.Builder
	s.Grow(len(raw) - escapes)
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			s.Write(raw)
			break
		}
		s.Write(raw[:i])
		s.WriteByte(unescaped[raw[i+1]])
		raw = raw[i+2:]
	}
	return s.String()
}

func (d *scanner) value(depth int) (any, bool) {
	if d.i >= len(d.b) || depth > 32 {
		return nil, false
	}
	switch d.b[d.i] {
	case '"':
		s, ok := d.text()
		return s, ok
	case '{':
		return d.object(depth)
	case '[':
		return d.array(depth)
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	}
	return d.integer()
}

func (d *scanner) object(depth int) (any, bool) {
	d.token('{')
	m := map[string]any{}
	if d.token('}') {
		return m, true
	}
	for {
		k, ok := d.text()
		if !ok || !d.token(':') {
			return nil, false
		}
		if m[k], ok = d.value(depth + 1); !ok {
			return nil, false
		}
		if !d.token(',') {
			return m, d.token('}')
		}
	}
}

func (d *scanner) array(depth int) (any, bool) {
	d.token('[')
	s := []any{}
	if d.token(']') {
		return s, true
	}
	for {
		v, ok := d.value(depth + 1)
		if !ok {
			return nil, false
		}
		s = append(s, v)
		if !d.token(',') {
			return s, d.token(']')
		}
	}
}

func (d *scanner) word(w string) bool {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return false
	}
	d.i += len(w)
	return true
}

// integer takes up to fifteen digits, which every reader of JSON understands alike.
func (d *scanner) integer() (any, bool) {
	start := d.i
	if d.b[d.i] == '-' {
		d.i++
	}
	digits := d.i
	for d.i < len(d.b) && d.b[d.i] >= '0' && d.b[d.i] <= '9' {
		d.i++
	}
	n := d.i - digits
	if n == 0 || n > 15 || n > 1 && d.b[digits] == '0' {
		return nil, false
	}
	if d.i < len(d.b) && strings.IndexByte(".eE", d.b[d.i]) >= 0 {
		return nil, false
	}
	return json.Number(d.b[start:d.i]), true
}
