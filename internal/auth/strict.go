package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// What Issue writes, and nothing else is read: a key named by the token itself (jwk, jku, x5u, x5c), an extension that
// must be understood (crit) or a second spelling of a name has no place to stand.
var (
	headerNames = []string{"alg", "typ", "kid"}
	claimNames  = []string{"iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"}
)

// strictlyWritten says whether header and claims are JSON objects in which each known name stands at most once, exactly
// so written, and nothing stands behind. A decoder that takes the last of two, or SUB for sub, would let two readers of
// one token read two things.
func strictlyWritten(token string) bool {
	if strings.ContainsAny(token, "\r\n") { // which the decoder passes over: one token would have many spellings
		return false
	}
	header, rest, _ := strings.Cut(token, ".")
	claims, _, _ := strings.Cut(rest, ".")
	return strictPart(header, headerNames) && strictPart(claims, claimNames)
}

func strictPart(part string, names []string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && strictObject(b, names)
}

func strictObject(b []byte, names []string) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	seen := make([]string, 0, len(names))
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || !slices.Contains(names, name) || slices.Contains(seen, name) {
			return false
		}
		seen = append(seen, name)
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return false
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}
