package httprequest

import (
	"bytes"
	"encoding/base64"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

const (
	maxRead   = 1 << 20   // bytes of an answer that are read
	keptText  = 160 << 10 // bytes of JSON that text may take, well within tool.MaxResult
	keptBytes = 96 << 10  // bytes of anything else before base64
	keptValue = 1_024     // bytes of a header's value
)

// fill puts the body into the result: text where it is text, else base64, cut to what may be kept.
func (o *output) fill(raw []byte, contentType string) {
	if len(raw) > maxRead {
		raw, o.Truncated = raw[:maxRead], true
	}
	o.Bytes = len(raw)
	if s, ok := text(raw, contentType, o.Truncated); ok {
		short := fit(s, keptText)
		o.Body, o.Encoding, o.Truncated = short, "text", o.Truncated || len(short) < len(s)
		return
	}
	if len(raw) > keptBytes {
		raw, o.Truncated = raw[:keptBytes], true
	}
	o.Body, o.Encoding = base64.StdEncoding.EncodeToString(raw), "base64"
}

// text decodes what is declared as text, or is not declared and looks like it.
func text(raw []byte, contentType string, cut bool) (string, bool) {
	kind, params, err := mime.ParseMediaType(contentType)
	if contentType != "" && (err != nil || !textual(kind)) {
		return "", false
	}
	if cs := strings.ToLower(params["charset"]); cs != "" && cs != "utf-8" && cs != "us-ascii" {
		enc, err := htmlindex.Get(cs)
		if err != nil {
			return "", false
		}
		if raw, err = enc.NewDecoder().Bytes(raw); err != nil {
			return "", false
		}
	}
	if cut {
		raw = dropPartialRune(raw)
	}
	if !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 {
		return "", false
	}
	return string(bytes.TrimPrefix(raw, []byte("\ufeff"))), true
}

// dropPartialRune takes off a character that was cut in two.
func dropPartialRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

func textual(kind string) bool {
	switch kind {
	case "application/json", "application/xml", "application/javascript", "application/ecmascript", "application/x-www-form-urlencoded", "application/yaml",
		"application/x-yaml", "application/toml", "application/sql", "application/graphql", "application/x-ndjson", "application/problem+json":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") || strings.HasSuffix(kind, "+yaml")
}

// fit cuts s between characters so that its JSON has at most limit bytes.
func fit(s string, limit int) string {
	for i, r := range s {
		switch {
		case r < ' ':
			limit -= 6
		case r == '"' || r == '\\':
			limit -= 2
		default:
			limit -= utf8.RuneLen(r)
		}
		if limit < 0 {
			return s[:i]
		}
	}
	return s
}

// headerText makes a header's value fit to be kept.
func headerText(v string) string {
	v = strings.ToValidUTF8(strings.ReplaceAll(v, "\x00", ""), "\ufffd")
	return fit(v, keptValue)
}
