package canonical

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads one JSON value into nil, bool, string, float64, []any and map[string]any, refusing duplicate keys and
// lone surrogates, which encoding/json lets pass. Errors: those of the package.
func Parse(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, ErrText
	}
	p := parser{s: string(b)}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.s != "" {
		return nil, ErrSyntax
	}
	return v, nil
}

type parser struct{ s string }

func (p *parser) space() { p.s = strings.TrimLeft(p.s, " \t\r\n") }

func (p *parser) eat(c byte) bool {
	if p.s == "" || p.s[0] != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

func (p *parser) word(w string) bool {
	rest, ok := strings.CutPrefix(p.s, w)
	p.s = rest
	return ok
}

func (p *parser) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	switch {
	case p.eat('{'):
		return p.object(depth)
	case p.eat('['):
		return p.array(depth)
	case p.eat('"'):
		return p.text()
	case p.word("null"):
		return nil, nil
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	}
	n := 0
	for n < len(p.s) && strings.IndexByte("+-.0123456789eE", p.s[n]) >= 0 {
		n++
	}
	lit := p.s[:n]
	p.s = p.s[n:]
	return literal(lit)
}

func (p *parser) object(depth int) (any, error) {
	m := map[string]any{}
	p.space()
	if p.eat('}') {
		return m, nil
	}
	for {
		p.space()
		if !p.eat('"') {
			return nil, ErrSyntax
		}
		k, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, dup := m[k]; dup {
			return nil, ErrDuplicate
		}
		p.space()
		if !p.eat(':') {
			return nil, ErrSyntax
		}
		p.space()
		if m[k], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		p.space()
		if p.eat('}') {
			return m, nil
		}
		if !p.eat(',') {
			return nil, ErrSyntax
		}
	}
}

func (p *parser) array(depth int) (any, error) {
	a := []any{}
	p.space()
	if p.eat(']') {
		return a, nil
	}
	for {
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		p.space()
		if p.eat(']') {
			return a, nil
		}
		if !p.eat(',') {
			return nil, ErrSyntax
		}
	}
}

// text reads the rest of a string whose opening quote is eaten.
func (p *parser) text() (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexFunc(p.s, func(r rune) bool { return r == '"' || r == '\\' || r < 0x20 })
		if i < 0 || p.s[i] < 0x20 {
			return "", ErrSyntax
		}
		b.WriteString(p.s[:i])
		quote := p.s[i] == '"'
		p.s = p.s[i+1:]
		if quote {
			return b.String(), nil
		}
		r, err := p.escape()
		if err != nil {
			return "", err
		}
		b.WriteRune(r)
	}
}

func (p *parser) escape() (rune, error) {
	if p.s == "" {
		return 0, ErrSyntax
	}
	c := p.s[0]
	p.s = p.s[1:]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, ErrSyntax
	}
	r, ok := p.hex4()
	if !ok {
		return 0, ErrSyntax
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	rest, ok := strings.CutPrefix(p.s, `\u`)
	if !ok {
		return 0, ErrText
	}
	p.s = rest
	low, ok := p.hex4()
	if !ok {
		return 0, ErrSyntax
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, ErrText
	}
	return r, nil
}

func (p *parser) hex4() (rune, bool) {
	if len(p.s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		d := strings.IndexByte("0123456789abcdef", p.s[i]|0x20)
		if d < 0 || (p.s[i] < '0') {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	p.s = p.s[4:]
	return r, true
}

// isNumber is the grammar of RFC 8259 section 6.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := len(s)
		s = strings.TrimLeft(s, "0123456789")
		return len(s) < n
	}
	if rest, zero := strings.CutPrefix(s, "0"); zero {
		s = rest
	} else if !digits() {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if s = rest; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}
