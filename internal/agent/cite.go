package agent

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/cite"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm/quote"
)

// SearchTool is the tool whose results can be cited.
const SearchTool = "search_documents"

// Passage is a piece of a document found in this turn. Its JSON, but for N, is an element of search_documents' result.
type Passage struct {
	N           int              `json:"-"` // 1-based over the turn
	DocumentID  uuid.UUID        `json:"documentId"`
	ChunkID     *uuid.UUID       `json:"chunkId"`
	Title       string           `json:"title"`
	Start       int              `json:"start"` // Unicode code points into the document's text
	End         int              `json:"end"`
	Page        *int             `json:"page"`
	Text        string           `json:"text"` // exactly the document's text from Start to End
	Sensitivity enum.Sensitivity `json:"sensitivity"`
}

func (p Passage) same(o Passage) bool {
	return p.DocumentID == o.DocumentID && p.Start == o.Start && p.End == o.End
}

// Passages are those of all finished searches of the turn, in the order of the calls, numbered from 1. A passage found
// twice keeps its first number. Calls of one step must all have finished, or numbers would still change.
func Passages(calls []Call) []Passage {
	var out []Passage
	for _, c := range calls {
		found, _ := searchResult(c) // an unreadable result is told to the model by Results
		for _, p := range found {
			if !slices.ContainsFunc(out, p.same) {
				p.N = len(out) + 1
				out = append(out, p)
			}
		}
	}
	return out
}

// searchResult reads a finished search; ok is false for any other call and for a result that is none.
func searchResult(c Call) (found []Passage, ok bool) {
	if c.Name != SearchTool || c.Execution == nil || c.Execution.Status != enum.ToolExecutionStatusCompleted {
		return nil, false
	}
	var r struct {
		Passages json.RawMessage `json:"passages"` // null: none were found
	}
	var all []Passage
	if json.Unmarshal(c.Execution.Result, &r) != nil || json.Unmarshal(r.Passages, &all) != nil {
		return nil, false
	}
	for _, p := range all {
		// Offsets that do not measure the text would make every citation of it wrong.
		if p.DocumentID != uuid.Nil && p.Start >= 0 && p.End-p.Start == utf8.RuneCountInString(p.Text) && p.Text != "" {
			if p.ChunkID != nil && *p.ChunkID == uuid.Nil {
				p.ChunkID = nil
			}
			found = append(found, p)
		}
	}
	return found, true
}

// Citations finds what the answer cites: for each [n], the words quoted next to it where the passage has them, else
// the passage's sentence nearest to what the answer says there. A quote is always a substring of the passage. Numbers
// without a passage and brackets in code are no citations; the same place is cited once. best may be nil.
func Citations(answer string, passages []Passage, best quote.Func) []cite.Citation {
	if best == nil {
		best = quote.Lexical
	}
	var out []cite.Citation
	for _, m := range markers(answer, passages) {
		i := slices.IndexFunc(passages, func(p Passage) bool { return p.N == m.n })
		if i < 0 {
			continue
		}
		p := passages[i]
		start, end, ok := quoted(answer, m, p.Text)
		if !ok {
			start, end = best(statement(answer, m.start), p.Text)
		}
		if start < 0 || end > len(p.Text) || start >= end {
			start, end = 0, len(p.Text)
		}
		c := place(p, start, end)
		if !slices.ContainsFunc(out, func(o cite.Citation) bool {
			return o.DocumentID == c.DocumentID && o.Start == c.Start && o.End == c.End
		}) {
			out = append(out, c)
		}
	}
	return out
}

func place(p Passage, start, end int) cite.Citation {
	at := p.Start + utf8.RuneCountInString(p.Text[:start])
	return cite.Citation{
		DocumentID: p.DocumentID, ChunkID: p.ChunkID, Page: p.Page, Quote: p.Text[start:end],
		Start: at, End: at + utf8.RuneCountInString(p.Text[start:end]),
	}
}

// marker is one number of a bracket; start and end are the byte offsets of the whole bracket.
type marker struct{ n, start, end int }

var (
	bracket = regexp.MustCompile(`\[\^?(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]|【(\d{1,4})(?:†[^】]{0,40})?】`)
	number  = regexp.MustCompile(`\d+`)
	code    = regexp.MustCompile("(?s)```.*?(?:```|$)|`[^`\n]+`")
)

// maxMarkers bounds the work for one answer.
const maxMarkers = 400

func markers(answer string, passages []Passage) []marker {
	var out []marker
	inCode := code.FindAllStringIndex(answer, maxMarkers)
	for _, loc := range bracket.FindAllStringSubmatchIndex(answer, maxMarkers) {
		if slices.ContainsFunc(inCode, func(c []int) bool { return c[0] <= loc[0] && loc[0] < c[1] }) || copied(answer, loc, passages) {
			continue
		}
		for _, s := range number.FindAllString(answer[loc[0]:loc[1]], -1) {
			n, err := strconv.Atoi(s)
			if err == nil && n > 0 {
				out = append(out, marker{n, loc[0], loc[1]})
			}
			if answer[loc[0]] != '[' {
				break
			}
		}
	}
	return out
}

// copied says whether the bracket came out of a passage together with the text before it: documents have references too.
func copied(answer string, loc []int, passages []Passage) bool {
	const context = 16 // bytes
	from := loc[0] - context
	if from < 0 {
		return false
	}
	for from > 0 && !utf8.RuneStart(answer[from]) {
		from--
	}
	return slices.ContainsFunc(passages, func(p Passage) bool { return strings.Contains(p.Text, answer[from:loc[1]]) })
}

const (
	openQuotes  = "\"“„«”"
	closeQuotes = "\"”“»«"
	// maxQuoteBytes bounds the search for the beginning or the end of a quotation.
	maxQuoteBytes = 4000
	minQuoteRunes = 3
)

// quoted finds the quotation right before the marker, else the one right after it, in the passage.
func quoted(answer string, m marker, passage string) (start, end int, ok bool) {
	before := beforeMarkers(answer[max(0, m.start-maxQuoteBytes):m.start])
	if r, n := utf8.DecodeLastRuneInString(before); strings.ContainsRune(closeQuotes, r) && n > 0 {
		if start, end, ok = longest(openings(before[:len(before)-n]), passage); ok {
			return start, end, true
		}
	}
	after := strings.TrimLeftFunc(answer[m.end:min(len(answer), m.end+maxQuoteBytes)], func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(":,–-", r)
	})
	if r, n := utf8.DecodeRuneInString(after); strings.ContainsRune(openQuotes, r) && n > 0 {
		return longest(closings(after[n:]), passage)
	}
	return 0, 0, false
}

// beforeMarkers takes other markers and punctuation off the end of s.
func beforeMarkers(s string) string {
	const longestMarker = 64 // bytes
	for {
		s = strings.TrimRightFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(".,;:()–-", r) })
		i := max(strings.LastIndexByte(s, '['), strings.LastIndex(s, "【"))
		if i < 0 || len(s)-i > longestMarker {
			return s
		}
		if loc := bracket.FindStringIndex(s[i:]); loc == nil || loc[0] != 0 || i+loc[1] != len(s) {
			return s
		}
		s = s[:i]
	}
}

// maxCandidates bounds how many quotation marks are tried as the other end of a quotation.
const maxCandidates = 16

// openings are the spans from a quotation mark to the end of s.
func openings(s string) []string {
	var out []string
	for i := len(s); i > 0 && len(out) < maxCandidates; {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if strings.ContainsRune(openQuotes, r) {
			out = append(out, s[i:])
		}
		i -= n
	}
	return out
}

// closings are the spans from the beginning of s to a quotation mark.
func closings(s string) []string {
	var out []string
	for i, r := range s {
		if len(out) == maxCandidates {
			break
		}
		if strings.ContainsRune(closeQuotes, r) {
			out = append(out, s[:i])
		}
	}
	return out
}

// longest finds the longest of the spans that the passage has: a quotation may hold quotation marks itself.
func longest(spans []string, passage string) (start, end int, ok bool) {
	slices.SortStableFunc(spans, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range spans {
		if start, end, ok = find(s, passage); ok {
			return start, end, true
		}
	}
	return 0, 0, false
}

// find gives the byte offsets of span in passage: to the letter, else with any white space between the same words and
// without the ellipsis or full stop that models add at the ends.
func find(span, passage string) (start, end int, ok bool) {
	for _, trim := range []string{"", ".,;…"} {
		s := strings.Trim(strings.TrimSpace(span), trim)
		if utf8.RuneCountInString(s) < minQuoteRunes {
			return 0, 0, false
		}
		if i := strings.Index(passage, s); i >= 0 {
			return i, i + len(s), true
		}
		if start, end, ok = findWords(strings.Fields(s), passage); ok {
			return start, end, true
		}
	}
	return 0, 0, false
}

// findWords looks for the words in a row, with any white space between them.
func findWords(words []string, passage string) (start, end int, ok bool) {
	if len(words) < 2 {
		return 0, 0, false
	}
	for from := 0; ; {
		i := strings.Index(passage[from:], words[0])
		if i < 0 {
			return 0, 0, false
		}
		start = from + i
		end = start + len(words[0])
		matched := true
		for _, w := range words[1:] {
			rest := strings.TrimLeftFunc(passage[end:], unicode.IsSpace)
			if len(rest) == len(passage)-end || !strings.HasPrefix(rest, w) {
				matched = false
				break
			}
			end = len(passage) - len(rest) + len(w)
		}
		if matched {
			return start, end, true
		}
		from = start + 1
	}
}

// statement is the sentence of the answer that a marker at the byte offset at belongs to.
func statement(answer string, at int) string {
	before := answer[max(0, at-quote.MaxBytes):at]
	before = bracket.ReplaceAllString(before, " ")
	if s := quote.Sentences(before); len(s) > 0 {
		return before[s[len(s)-1][0]:s[len(s)-1][1]]
	}
	return before
}
