package calculator

import (
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/tool"
)

const (
	maxLength = 1_000 // characters
	maxDepth  = 128   // signs, powers and, each counting twice, parentheses inside one another
	maxArgs   = 100
)

// parser evaluates as it reads, by recursive descent.
type parser struct {
	src   []rune
	pos   int // of the next character
	depth int
}

func parse(expression string) (value, error) {
	if !utf8.ValidString(expression) || utf8.RuneCountInString(expression) > maxLength {
		return value{}, tool.Fail("The expression must be text of at most %d characters.", maxLength)
	}
	p := &parser{src: []rune(normalise.Replace(expression))}
	v, err := p.sum()
	if err != nil {
		return value{}, err
	}
	if c := p.peek(); c != 0 {
		return value{}, p.unexpected(c)
	}
	return v, nil
}

// normalise lets the signs that people and models write stand for the operators. Places in errors count what comes out.
var normalise = strings.NewReplacer("**", "^", "×", "*", "·", "*", "÷", "/", "−", "-", "–", "-", "√", "sqrt", "π", "pi")

// peek gives the next character after white space, 0 at the end.
func (p *parser) peek() rune {
	for p.pos < len(p.src) && unicode.IsSpace(p.src[p.pos]) {
		p.pos++
	}
	if p.pos == len(p.src) {
		return 0
	}
	if p.src[p.pos] == 0 {
		return unicode.ReplacementChar // a NUL in the text is not its end
	}
	return p.src[p.pos]
}

func (p *parser) eat(c rune) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

// fail makes an error at the next character.
func (p *parser) fail(format string, args ...any) error { return failAt(p.pos, format, args...) }

func failAt(pos int, format string, args ...any) error {
	return tool.Fail("At character %d: "+format, append([]any{pos + 1}, args...)...)
}

func (p *parser) unexpected(c rune) error {
	switch {
	case c == 0:
		return p.fail("the expression ends too early.")
	case c == ',':
		return p.fail("a comma only separates the arguments of a function; write numbers without it.")
	case c == '(' || unicode.IsLetter(c) || unicode.IsDigit(c):
		return p.fail("an operator such as * is missing.")
	default:
		return p.fail("this character is not part of an expression.")
	}
}

func (p *parser) sum() (value, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return value{}, p.fail("the expression is nested too deeply.")
	}
	v, err := p.product()
	for err == nil {
		p.peek()
		at := p.pos
		var w value
		switch {
		case p.eat('+'):
			if w, err = p.product(); err == nil {
				v, err = v.add(w, at)
			}
		case p.eat('-'):
			if w, err = p.product(); err == nil {
				v, err = v.add(w.neg(), at)
			}
		default:
			return v, nil
		}
	}
	return value{}, err
}

func (p *parser) product() (value, error) {
	v, err := p.signed()
	for err == nil {
		p.peek()
		at := p.pos
		var w value
		switch {
		case p.eat('*'):
			if w, err = p.signed(); err == nil {
				v, err = v.mul(w, at)
			}
		case p.eat('/'):
			if w, err = p.signed(); err == nil {
				v, err = v.div(w, at)
			}
		case p.eat('%'):
			if w, err = p.signed(); err == nil {
				v, err = v.rem(w, at)
			}
		default:
			return v, nil
		}
	}
	return value{}, err
}

// signed reads signs, which bind less than ^ does.
func (p *parser) signed() (value, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return value{}, p.fail("the expression is nested too deeply.")
	}
	switch {
	case p.eat('-'):
		v, err := p.signed()
		return v.neg(), err
	case p.eat('+'):
		return p.signed()
	default:
		return p.power()
	}
}

func (p *parser) power() (value, error) {
	v, err := p.atom()
	if err != nil {
		return value{}, err
	}
	p.peek()
	at := p.pos
	if !p.eat('^') {
		return v, nil
	}
	w, err := p.signed()
	if err != nil {
		return value{}, err
	}
	return v.pow(w, at)
}

func (p *parser) atom() (value, error) {
	c := p.peek()
	switch {
	case p.eat('('):
		v, err := p.sum()
		if err == nil && !p.eat(')') {
			err = p.closing()
		}
		return v, err
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	case unicode.IsLetter(c):
		return p.name()
	case c == ')' || strings.ContainsRune("*/%^", c):
		return value{}, p.fail("a number is missing before this.")
	}
	return value{}, p.unexpected(c)
}

// closing is the error where a parenthesis should have closed.
func (p *parser) closing() error {
	if c := p.peek(); c != 0 {
		return p.unexpected(c)
	}
	return p.fail("a closing parenthesis is missing.")
}

func (p *parser) number() (value, error) {
	start := p.pos
	digits := func() (n int) {
		for p.pos < len(p.src) && p.src[p.pos] >= '0' && p.src[p.pos] <= '9' {
			p.pos, n = p.pos+1, n+1
		}
		return n
	}
	n := digits()
	if p.pos < len(p.src) && p.src[p.pos] == '.' {
		p.pos++
		n += digits()
	}
	if n == 0 {
		return value{}, failAt(start, "a number needs a digit.")
	}
	if mark := p.pos; p.pos < len(p.src) && (p.src[p.pos] == 'e' || p.src[p.pos] == 'E') {
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		switch n := digits(); {
		case n == 0:
			p.pos = mark // 2e is not a number and e: the missing operator is reported
		case n > 4:
			return value{}, failAt(start, tooLarge)
		}
	}
	r, ok := new(big.Rat).SetString(string(p.src[start:p.pos]))
	if !ok {
		return value{}, failAt(start, "this is not a number.")
	}
	return exactly(r, start)
}

func (p *parser) name() (value, error) {
	start := p.pos
	for p.pos < len(p.src) && (unicode.IsLetter(p.src[p.pos]) || p.src[p.pos] >= '0' && p.src[p.pos] <= '9') {
		p.pos++
	}
	name := strings.ToLower(string(p.src[start:p.pos]))
	if v, ok := constants[name]; ok {
		return v, nil
	}
	f, ok := functions[name]
	if !ok {
		return value{}, failAt(start, "this name is unknown; known are sqrt, abs, min, max, round, floor, ceil, ln, log, exp, sin, cos, tan, pi and e.")
	}
	if !p.eat('(') {
		return value{}, p.fail("the argument of %s must stand in parentheses.", name)
	}
	var args []value
	for {
		v, err := p.sum()
		if err != nil {
			return value{}, err
		}
		if args = append(args, v); len(args) > maxArgs {
			return value{}, p.fail("a function takes at most %d arguments.", maxArgs)
		}
		if !p.eat(',') {
			break
		}
	}
	if !p.eat(')') {
		return value{}, p.closing()
	}
	if len(args) < f.min || len(args) > f.max {
		return value{}, failAt(start, "%s takes another number of arguments.", name)
	}
	return f.call(args, start)
}
