package retrieval

import (
	"bytes"
	"context"
	"encoding/binary"
	"mime"
	"path"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
	"golang.org/x/text/encoding/charmap"

	"cdsa.dev/cdsa/internal/errs"
)

// Bounds of a file, in bytes. HTML takes some ten times its size to parse.
const (
	MaxBytes     = 20 << 20
	MaxHTMLBytes = 8 << 20
)

type kind int

const (
	plainKind kind = iota
	markdownKind
	htmlKind
)

// Extract reads the text of a file. The name's extension and the declared content type, either of which may be
// empty, decide between plain text, Markdown and HTML; whether it is text at all is decided by the bytes.
// BAD_USER_INPUT on the field "file" for what cannot be read, RESOURCE_EXHAUSTED for what is too large, and the
// context's error.
func Extract(ctx context.Context, data []byte, filename, contentType string) (*Text, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, tooLarge(MaxBytes)
	}
	s, err := decode(data)
	if err != nil {
		return nil, err
	}
	t := &Text{Content: s}
	switch kindOf(data, filename, contentType) {
	case htmlKind:
		if len(s) > MaxHTMLBytes {
			return nil, tooLarge(MaxHTMLBytes)
		}
		t.MIME = "text/html"
		if err := readHTML(ctx, t, s); err != nil {
			return nil, err
		}
	case markdownKind:
		t.MIME = "text/markdown"
		t.Headings = markdownHeadings(s)
	default:
		t.MIME = "text/plain"
		t.Pages = formFeeds(s)
		t.Headings = plainHeadings(s)
	}
	if strings.TrimFunc(t.Content, func(r rune) bool { return unicode.IsSpace(r) || r == utf8.RuneError }) == "" {
		return nil, errs.Input("file", "There is no text in this file. Choose a file with text in it.")
	}
	t.Language = language(t.Content)
	return t, ctx.Err()
}

func tooLarge(n int) error {
	return errs.New(errs.ResourceExhausted, "A document of this kind may have at most %d MB. Split it into smaller files.", n>>20)
}

// decode gives the bytes as UTF-8, or refuses what is not text. UTF-8 and UTF-16 are told by their byte order mark
// or shape; the rest is taken as Windows-1252, which contains Latin-1. NUL and what is invalid become U+FFFD.
func decode(data []byte) (string, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xEF, 0xBB, 0xBF}):
		data = data[3:]
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return fromUTF16(data[2:], binary.LittleEndian), nil
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return fromUTF16(data[2:], binary.BigEndian), nil
	}
	if order := shapeOfUTF16(data); order != nil {
		return fromUTF16(data, order), nil
	}
	if err := refuseBinary(data); err != nil {
		return "", err
	}
	if !utf8.Valid(data) && mostlyHighASCII(data) {
		latin, err := charmap.Windows1252.NewDecoder().Bytes(data)
		if err == nil {
			data = latin
		}
	}
	return clean(string(data)), nil
}

// mostlyHighASCII says whether the invalid bytes are too many for damaged UTF-8: more than the valid sequences.
func mostlyHighASCII(data []byte) bool {
	valid, invalid := 0, 0
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			invalid++
		} else if n > 1 {
			valid++
		}
		data = data[n:]
	}
	return invalid > valid
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func fromUTF16(data []byte, order binary.ByteOrder) string {
	var b strings.Builder
	b.Grow(len(data) / 2)
	for len(data) >= 2 {
		r := rune(order.Uint16(data))
		data = data[2:]
		if utf16.IsSurrogate(r) && len(data) >= 2 {
			if p := utf16.DecodeRune(r, rune(order.Uint16(data))); p != utf8.RuneError {
				r, data = p, data[2:]
			}
		}
		b.WriteRune(r) // a lone surrogate becomes U+FFFD
	}
	return clean(b.String())
}

// shapeOfUTF16 tells UTF-16 without a mark by the NULs that Latin letters have in one half of their bytes.
func shapeOfUTF16(data []byte) binary.ByteOrder {
	head := data[:min(len(data), 4096)&^1]
	var nul [2]int
	for i, b := range head {
		if b == 0 {
			nul[i&1]++
		}
	}
	switch half := len(head) / 2; {
	case half < 2:
		return nil
	case nul[1] > half*6/10 && nul[0] < half/20+1:
		return binary.LittleEndian
	case nul[0] > half*6/10 && nul[1] < half/20+1:
		return binary.BigEndian
	}
	return nil
}

// refuseBinary refuses formats that are known not to be text, and bytes with more than one control character in a hundred.
func refuseBinary(data []byte) error {
	m := mimetype.Detect(data)
	if m.Is("text/rtf") || m.Is("application/postscript") {
		return unreadable(m)
	}
	for p := m; p != nil; p = p.Parent() {
		if p.Is("text/plain") {
			return nil
		}
	}
	if !m.Is("application/octet-stream") {
		return unreadable(m)
	}
	bad := 0
	for _, b := range data {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' && b != '\f' && b != 0x1B {
			bad++
		}
	}
	if bad*100 > len(data) {
		return unreadable(m)
	}
	return nil
}

func unreadable(m *mimetype.MIME) error {
	name, _, _ := mime.ParseMediaType(m.String())
	if name == "" || name == "application/octet-stream" {
		return errs.Input("file", "This file is not text. Upload plain text, Markdown or HTML.")
	}
	return errs.Input("file", "Files of type %s cannot be read. Upload plain text, Markdown or HTML.", name)
}

// kindOf trusts the name's extension first, then the declared type, then the look of the bytes.
func kindOf(data []byte, filename, contentType string) kind {
	switch strings.ToLower(path.Ext(filename)) {
	case ".md", ".markdown", ".mdown", ".mkd":
		return markdownKind
	case ".html", ".htm", ".xhtml":
		return htmlKind
	case ".txt", ".text", ".log", ".csv", ".tsv":
		return plainKind
	}
	declared, _, _ := mime.ParseMediaType(contentType) // a bad one is as none
	switch declared {
	case "text/markdown", "text/x-markdown":
		return markdownKind
	case "text/html", "application/xhtml+xml":
		return htmlKind
	case "text/plain", "text/csv":
		return plainKind
	}
	if mimetype.Detect(data).Is("text/html") {
		return htmlKind
	}
	return plainKind
}

// formFeeds gives the pages of plain text: a form feed ends a page. The last, if nothing follows it, begins none.
func formFeeds(s string) []int {
	at := []int{0}
	last := len(strings.TrimRightFunc(s, unicode.IsSpace))
	for i := range last {
		if s[i] == '\f' {
			at = append(at, i+1)
		}
	}
	if len(at) == 1 {
		return nil
	}
	return runeOffsets(s, at)
}
