// Package retrieval turns documents into passages that can be found, quoted and cited: Extract reads a file's text,
// Split cuts it into chunks, Fuse merges rankings, Snippet and Quotes show why a chunk was found. Package
// retrieval/store keeps and searches the chunks in Postgres.
//
// Everything here is a pure function of its arguments (Quotes asks the embedder it is given): no I/O, no clock, no
// logs, safe for concurrent use, and linear in the size of the text. It refuses binary formats and what is too
// large, with an *errs.Error that says so; no error repeats a document's content.
//
// An offset is a count of Unicode code points into the extracted text, so that clients in any language find the
// same place and Postgres' substr(text, start+1, end-start) gives the passage.
package retrieval

import (
	"slices"
	"unicode/utf8"
)

// Text is what Extract read.
type Text struct {
	Content  string // valid UTF-8 without NUL; line ends as in the file
	MIME     string // "text/plain", "text/markdown" or "text/html"
	Language string // ISO 639-1 code of a guess: "en", "de", "fr" or "es"; empty when in doubt
	// Pages holds the offset of each page's first code point, the first being 0; nil when the file has no pages.
	Pages    []int
	Headings []Heading // by offset
}

// Heading is a title within the text.
type Heading struct {
	Offset int // of the heading's line
	Level  int // 1 is the highest
	Text   string
}

// Page gives the number of the page that holds the offset, counted from 1; nil when there are no pages.
func (t *Text) Page(offset int) *int {
	if len(t.Pages) == 0 {
		return nil
	}
	n, found := slices.BinarySearch(t.Pages, offset)
	if found {
		n++
	}
	n = max(n, 1)
	return &n
}

// heading gives the nearest heading at or before the offset, empty when there is none.
func (t *Text) heading(offset int) string {
	n, found := slices.BinarySearchFunc(t.Headings, offset, func(h Heading, o int) int { return h.Offset - o })
	if found {
		return t.Headings[n].Text
	}
	if n == 0 {
		return ""
	}
	return t.Headings[n-1].Text
}

// Slice gives the code points start to end of s, cut to what there is.
func Slice(s string, start, end int) string {
	a := byteOffset(s, start)
	return s[a : a+byteOffset(s[a:], end-max(start, 0))]
}

// byteOffset gives where in s the n-th code point begins, len(s) when there are fewer.
func byteOffset(s string, n int) int {
	if n <= 0 {
		return 0
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// runeOffsets turns increasing byte offsets into s to code point offsets, in one pass.
func runeOffsets(s string, at []int) []int {
	out := make([]int, len(at))
	last, n := 0, 0
	for i, b := range at {
		n += runes(s[last:b])
		last, out[i] = b, n
	}
	return out
}
