package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
)

const redacted = "[redacted]"

// Secret is a value that is never printed: not by fmt, not by slog, not as JSON.
type Secret struct {
	text string
	file string // where it was read from; "" when it was given itself
}

// NewSecret wraps a value, for tests and for wiring.
func NewSecret(s string) Secret { return Secret{text: s} }

// Reveal gives the value to the one place that uses it.
func (s Secret) Reveal() string { return s.text }

// IsSet says whether there is a value.
func (s Secret) IsSet() bool { return s.text != "" }

// Key decodes a secret of the form base64.
func (s Secret) Key() ([]byte, error) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(s.text); err == nil {
			return b, nil
		}
	}
	return nil, errors.New("is not base64")
}

func (s Secret) mask() string {
	if s.text == "" {
		return ""
	}
	return redacted
}

// String hides the value.
func (s Secret) String() string { return s.mask() }

// GoString hides the value.
func (s Secret) GoString() string { return s.mask() }

// Format hides the value under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.mask())) }

// MarshalText hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.mask()) }

// Bytes is a size: a whole number, or one with KiB, MiB or GiB behind it.
type Bytes int64

var units = []struct {
	name  string
	shift uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// ParseBytes reads a size.
func ParseBytes(s string) (Bytes, error) {
	number, shift := strings.TrimSpace(s), uint(0)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, shift = strings.TrimSpace(n), u.shift
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, errors.New("is not a size such as 512KiB or 2MiB")
	}
	return Bytes(n << shift), nil
}

// String writes the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%(1<<u.shift) == 0 {
			return strconv.FormatInt(int64(b>>u.shift), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
