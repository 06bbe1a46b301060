package retrieval

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// strength says how good a place is to cut after a sentence.
type strength int

const (
	sentenceEnd strength = iota
	lineEnd              // an item of a list, a row
	paragraphEnd
)

// A sentence is a run of the text with the white space after it; the sentences of a text tile it.
type sentence struct {
	start, end int // bytes
	after      strength
}

// sentences cuts s, in one pass. A sentence ends at a terminator before white space when what follows may begin
// another, at a blank line or form feed, and before a line that begins a list item.
func sentences(s string) []sentence {
	var out []sentence
	start, content := 0, false // content: something besides white space since start
	cut := func(end int, k strength) {
		if content {
			out = append(out, sentence{start, end, k})
			start, content = end, false
		} else if len(out) > 0 { // white space belongs to the sentence before
			out[len(out)-1].end = end
			out[len(out)-1].after = max(out[len(out)-1].after, k)
			start = end
		}
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n' || r == '\f' || r == '\u2029':
			end, k := lineBreak(s, i)
			if k >= lineEnd {
				cut(end, k)
			}
			i = end
			continue
		case terminator(r):
			end, ok := endsAt(s, start, i, r)
			content = true
			if ok {
				cut(end, sentenceEnd)
			}
			i = end
			continue
		case !unicode.IsSpace(r):
			content = true
		}
		i += n
	}
	cut(len(s), paragraphEnd)
	if len(out) == 0 && len(s) > 0 {
		return []sentence{{0, len(s), paragraphEnd}}
	}
	return out
}

// lineBreak looks at white space from the line end at i: two line ends or a form feed end a paragraph, a list item
// after it ends a line. It gives where the white space before the next line's content ends.
func lineBreak(s string, i int) (end int, k strength) {
	lines := 0
	k = sentenceEnd
	for ; i < len(s); i++ {
		switch s[i] {
		case '\n':
			lines++
		case '\f':
			k = paragraphEnd
		case ' ', '\t', '\r':
		default:
			if strings.HasPrefix(s[i:], "\u2029") {
				k, i = paragraphEnd, i+2
				continue
			}
			switch {
			case lines > 1:
				k = paragraphEnd
			case k == sentenceEnd && listItem(s[i:]):
				k = lineEnd
			}
			return i, k
		}
	}
	return i, paragraphEnd
}

// listItem says whether a line begins like "- ", "* ", "• ", "12. ", "(a) ", "# " or "| ".
func listItem(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	if strings.ContainsRune("-*+•–|", r) {
		return n < len(s) && s[n] == ' '
	}
	if r == '#' {
		t := strings.TrimLeft(s[:min(len(s), 8)], "#")
		return t != "" && t[0] == ' '
	}
	i := 0
	if r == '(' {
		i = 1
	}
	from := i
	for i < len(s) && i < from+3 && (s[i] >= '0' && s[i] <= '9' || i == from && s[i] >= 'a' && s[i] <= 'z') {
		i++
	}
	return i > from && i+1 < len(s) && (s[i] == ')' || s[i] == '.') && s[i+1] == ' '
}

func terminator(r rune) bool {
	switch r {
	case '.', '!', '?', '…', '。', '！', '？', '｡', '।', '؟':
		return true
	}
	return false
}

// endsAt says whether the terminator at i ends the sentence that began at start, and where to go on.
func endsAt(s string, start, i int, r rune) (next int, ends bool) {
	j := i + utf8.RuneLen(r)
	for j < len(s) { // "?!", closing quotes and brackets
		c, n := utf8.DecodeRuneInString(s[j:])
		if !terminator(c) && !strings.ContainsRune("\"'”’»)]】」』", c) {
			break
		}
		j += n
	}
	if strings.ContainsRune("。！？｡", r) {
		return j, true // no space follows in these scripts
	}
	if j == len(s) {
		return j, true
	}
	signs, space := j, j
	for j < len(s) && (s[j] == ' ' || s[j] == '\t') {
		j++
	}
	if j < len(s) && (s[j] == '\n' || s[j] == '\r') {
		space-- // a line end counts as space; leave it to lineBreak
	}
	if j == space || r == '.' && (abbreviation(s[start:i]) || lowerNext(s[j:])) {
		return signs, false
	}
	return j, true
}

func lowerNext(s string) bool {
	for _, r := range s {
		if unicode.IsSpace(r) {
			continue
		}
		return unicode.IsLower(r)
	}
	return false
}

// abbreviation says whether the text before a full stop ends in a word that has one: "Dr", "e.g", an initial or the
// number of an item at its beginning.
func abbreviation(s string) bool {
	i := strings.LastIndexAny(s[max(0, len(s)-16):], " \n\t(\"“") + max(0, len(s)-16) + 1
	if len(s) > 16 && i == len(s)-16 {
		return false // a long word
	}
	w := s[i:]
	if n := runes(w); n == 1 && unicode.IsUpper([]rune(w)[0]) {
		return true
	}
	if strings.TrimSpace(s[:i]) == "" && w != "" && strings.Trim(w, "0123456789.") == "" {
		return true
	}
	return abbreviations[strings.ToLower(w)]
}

var abbreviations = wordSet(`mr mrs ms dr prof st sr jr vs etc e.g i.e eg ie cf al fig figs no nos vol pp p ch sec art arts inc ltd co corp dept
	est approx ca resp u.s u.k a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun gen col lt sgt rev hon`)

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}
