package openai

import (
	"encoding/json"
	"regexp"
	"strings"
)

// unescaper joins a character outside the basic plane that a server cut in two: servers written in languages with
// UTF-16 strings send "\ud83d" in one chunk and "\ude00" in the next, and each alone decodes to U+FFFD.
type unescaper struct{ held string }

var highSurrogate = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}$`)

// next gives the text of a chunk from its decoded and its raw form (a JSON string with its quotes, or empty).
func (u *unescaper) next(decoded, raw string) string {
	if len(raw) < 2 || raw[0] != '"' {
		return decoded
	}
	body := u.held + raw[1:len(raw)-1]
	tail := highSurrogate.FindString(body)
	if before := strings.TrimSuffix(body, tail); tail != "" && (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1 {
		tail = "" // an escaped backslash and the plain letters after it
	}
	if u.held == "" && tail == "" {
		return decoded
	}
	body, u.held = strings.TrimSuffix(body, tail), tail
	var s string
	if json.Unmarshal([]byte(`"`+body+`"`), &s) != nil {
		return decoded
	}
	return s
}

// flush gives the replacement character for a half that never got its other half.
func (u *unescaper) flush() string {
	if u.held == "" {
		return ""
	}
	u.held = ""
	return "\uFFFD"
}
