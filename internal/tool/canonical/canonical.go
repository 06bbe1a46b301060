// Package canonical writes JSON in the one form of RFC 8785 (JCS), so that equal values have equal bytes and a hash
// can bind an approval to exactly what an approver saw.
//
// It refuses what I-JSON (RFC 7493) refuses: duplicate keys, lone surrogates, invalid UTF-8, numbers that are not
// finite; and beyond it any integer that a double cannot carry unchanged (9007199254740993), because two different
// arguments must never have one hash. Errors are plain and never quote the value. Functions keep no state.
package canonical

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of arrays and objects, in both directions.
const MaxDepth = 64

// What can be wrong with a value; every error of the package wraps one of them.
var (
	ErrNumber    = errors.New("a number is not finite, or is too precise for a double; send it as a string")
	ErrText      = errors.New("a string is not valid Unicode")
	ErrDuplicate = errors.New("an object has the same key twice")
	ErrDepth     = fmt.Errorf("arrays and objects are nested more than %d deep", MaxDepth)
	ErrType      = errors.New("a value is of a type that JSON does not have")
	ErrSyntax    = errors.New("this is not JSON")
)

// Marshal writes v as RFC 8785 JSON. v consists of nil, bool, string, any Go integer, float64, float32, json.Number,
// []any and map[string]any.
func Marshal(v any) ([]byte, error) { return write(nil, v, 0) }

// Normalize copies v into nil, bool, string, float64, []any and map[string]any alone, under the rules of Marshal.
// What it returns is what Marshal writes, so an executor that is given it acts on exactly what was hashed.
func Normalize(v any) (any, error) {
	b, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

func write(b []byte, v any, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return writeString(b, v)
	case []any:
		return writeArray(b, v, depth)
	case map[string]any:
		return writeObject(b, v, depth)
	}
	f, err := number(v)
	if err != nil {
		return nil, err
	}
	return writeNumber(b, f), nil
}

func writeArray(b []byte, v []any, depth int) ([]byte, error) {
	var err error
	b = append(b, '[')
	for i, e := range v {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = write(b, e, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func writeObject(b []byte, v map[string]any, depth int) ([]byte, error) {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareUTF16)
	var err error
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = writeString(b, k); err != nil {
			return nil, err
		}
		b = append(b, ':')
		if b, err = write(b, v[k], depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// compareUTF16 orders by UTF-16 code units (RFC 8785 section 3.2.3), which differs from the order of bytes where
// one string has a character above U+FFFF and the other one of U+E000..U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			return slices.Compare(utf16.AppendRune(nil, x), utf16.AppendRune(nil, y))
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

func writeString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, ErrText
	}
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c >= '\b' && c <= '\r' && c != '\v':
			b = append(b, '\\', "btn_fr"[c-'\b'])
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"'), nil
}

// writeNumber lays out the shortest digits as ECMA-262 Number::toString does.
func writeNumber(b []byte, f float64) []byte {
	if f == 0 {
		return append(b, '0') // minus zero too
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exp, _ := strings.Cut(s, "e")
	b = append(b, mantissa...)
	b = append(b, 'e', exp[0])
	return append(b, strings.TrimLeft(exp[1:], "0")...)
}

func number(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return finite(v)
	case float32:
		return finite(float64(v))
	case json.Number:
		return literal(string(v))
	case int:
		return literal(strconv.Itoa(v))
	case int64:
		return literal(strconv.FormatInt(v, 10))
	case uint64:
		return literal(strconv.FormatUint(v, 10))
	case int8, int16, int32, uint, uint8, uint16, uint32:
		return literal(fmt.Sprint(v))
	default:
		return 0, ErrType
	}
}

func finite(f float64) (float64, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, ErrNumber
	}
	return f, nil
}

// literal reads a JSON number. A fraction is rounded, as everywhere; an integer written out must survive, which it
// does when it is a safe integer (RFC 7493 section 2.2) or the double prints the same digits again.
func literal(s string) (float64, error) {
	if !isNumber(s) {
		return 0, ErrSyntax
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, ErrNumber
	}
	if strings.ContainsAny(s, ".eE") {
		mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
		if f == 0 && strings.ContainsAny(mantissa, "123456789") {
			return 0, ErrNumber // too small: it would silently become nothing
		}
		return f, nil
	}
	if math.Abs(f) <= 1<<53-1 || string(writeNumber(nil, f)) == s {
		return f, nil
	}
	return 0, ErrNumber
}
