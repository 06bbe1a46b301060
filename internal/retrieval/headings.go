package retrieval

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// maxHeading bounds a heading, in code points; what is longer is cut.
const maxHeading = 200

// markdown finds headings and what may hide a line that looks like one. Without quotes, lists and inlines the parser is linear in any input:
// with them 40,000 times ">" takes it six seconds.
var markdown = parser.NewParser(parser.WithBlockParsers(
	util.Prioritized(parser.NewSetextHeadingParser(), 100),
	util.Prioritized(parser.NewThematicBreakParser(), 200),
	util.Prioritized(parser.NewCodeBlockParser(), 500),
	util.Prioritized(parser.NewATXHeadingParser(), 600),
	util.Prioritized(parser.NewFencedCodeBlockParser(), 700),
	util.Prioritized(parser.NewHTMLBlockParser(), 900),
	util.Prioritized(parser.NewParagraphParser(), 1000),
))

var emphasis = strings.NewReplacer("*", "", "`", "")

// markdownHeadings finds the headings of Markdown source; the text stays the source, so that offsets and quotes hold.
func markdownHeadings(s string) []Heading {
	src := []byte(s)
	var out []Heading
	var at []int
	for n := markdown.Parse(text.NewReader(src)).FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok || h.Lines().Len() == 0 {
			continue
		}
		title := strings.Trim(emphasis.Replace(string(h.Lines().Value(src))), " \t\r\n#_")
		if title == "" {
			continue
		}
		start := h.Lines().At(0).Start
		start = strings.LastIndexByte(s[:start], '\n') + 1
		at = append(at, start)
		out = append(out, Heading{Level: h.Level, Text: oneLine(title)})
	}
	for i, o := range runeOffsets(s, at) {
		out[i].Offset = o
	}
	return out
}

var numbered = regexp.MustCompile(`^(?:(?i:chapter|section|article|part|appendix|annex)\s+[0-9IVXLC]+\b|[0-9]{1,3}(?:\.[0-9]{1,3}){0,4}[.)]?\s+\p{Lu})`)

// plainHeadings guesses the headings of plain text: a short line alone between blank lines that is numbered, or
// all in capitals.
func plainHeadings(s string) []Heading {
	var out []Heading
	var at []int
	blankBefore := true
	for pos := 0; pos < len(s); {
		end := len(s)
		if i := strings.IndexByte(s[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		line := strings.TrimSpace(s[pos:end])
		if line != "" && blankBefore && blankLine(s[end:]) {
			if level := headingLevel(line); level > 0 {
				at = append(at, pos)
				out = append(out, Heading{Level: level, Text: oneLine(line)})
			}
		}
		blankBefore = line == ""
		pos = end
	}
	for i, o := range runeOffsets(s, at) {
		out[i].Offset = o
	}
	return out
}

// blankLine says whether s begins with an empty line or is at its end.
func blankLine(s string) bool {
	head := s[:min(len(s), 128)]
	rest := strings.TrimLeft(head, " \t\r")
	return rest == "" || rest[0] == '\n' || rest[0] == '\f'
}

// headingLevel gives 0 for a line that is no heading.
func headingLevel(line string) int {
	n := runes(line)
	if n < 3 || n > 80 || strings.HasSuffix(line, ",") || strings.HasSuffix(line, ";") {
		return 0
	}
	if numbered.MatchString(line) {
		first, _, _ := strings.Cut(line, " ")
		return min(2+strings.Count(strings.TrimRight(first, ".)"), "."), 6)
	}
	upper, letters := 0, 0
	for _, r := range line {
		if unicode.IsLetter(r) {
			letters++
			if unicode.IsUpper(r) {
				upper++
			}
		}
	}
	if letters >= 3 && upper == letters {
		return 1
	}
	return 0
}

// oneLine joins a title's lines and cuts it at maxHeading.
func oneLine(s string) string {
	return strings.TrimSpace(Slice(strings.Join(strings.Fields(s), " "), 0, maxHeading))
}
