package retrieval

import (
	"context"
	"mime"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

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
// empty, decide between plain text, Markdown and HTML; whether it is text at all is decided by the bytes. The content type's charset
// parameter counts where the bytes are not UTF-8.
// BAD_USER_INPUT on the field "file" for what cannot be read, RESOURCE_EXHAUSTED for what is too large, and the
// context's error.
func Extract(ctx context.Context, data []byte, filename, contentType string) (*Text, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, tooLarge(MaxBytes)
	}
	k := kindOf(data, filename, contentType)
	s, err := decode(data, k, contentType)
	if err != nil {
		return nil, err
	}
	t := &Text{Content: s}
	switch k {
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

// refuseBinary refuses formats that are known not to be text, and bytes with more than one control character in a hundred. Many a
// format is known by a few letters, such as MZ or BZh, that a text may begin with.
func refuseBinary(data []byte) error {
	m := mimetype.Detect(data)
	if m.Is("text/rtf") || m.Is("application/postscript") || m.Is("application/pdf") {
		return unreadable(m)
	}
	bad := 0
	for _, b := range data {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' && b != '\f' && b != 0x1B {
			bad++
		}
	}
	if bad == 0 && utf8.Valid(data) {
		return nil
	}
	for p := m; p != nil; p = p.Parent() {
		if p.Is("text/plain") {
			return nil
		}
	}
	if bad*100 > len(data) || !m.Is("application/octet-stream") {
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
