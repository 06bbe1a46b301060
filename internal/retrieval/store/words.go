package store

import (
	"strings"
	"unicode"

	"cdsa.dev/cdsa/internal/bigram"
)

// words is a query as websearch_to_tsquery is to read it.
type words struct {
	text string
	// literal: the user wrote a phrase in quotes or excluded a word, and is taken at their word.
	literal bool
	// lone: there is a letter of a script without spaces that stands alone, and begins the bigrams it is in.
	lone bool
}

// readWords keeps of the query's signs what the user means: "a phrase", -without, and what stands inside a word. A dash
// between words, or a single quote of inches, would else exclude the next word or make a phrase of the rest.
func readWords(query string) words {
	var w words
	var b strings.Builder
	rs := []rune(query)
	quotes := strings.Count(query, `"`) / 2 * 2 // the last of an odd number opens nothing
	inside := false
	for i := 0; i < len(rs); i++ {
		switch r := rs[i]; {
		case r == '"' && quotes > 0:
			quotes--
			inside = !inside
			w.literal = true
			b.WriteRune(r)
		case r == '"':
			b.WriteByte(' ')
		case r == '-' && !inside:
			before, after := ' ', ' '
			if i > 0 {
				before = rs[i-1]
			}
			if i+1 < len(rs) {
				after = rs[i+1]
			}
			switch {
			case unicode.IsSpace(before) && (unicode.IsLetter(after) || after == '"' && quotes > 1):
				w.literal = true
				b.WriteByte('-')
			case wordRune(before) && wordRune(after) && !bigram.Is(before) && !bigram.Is(after):
				b.WriteByte('-')
			default:
				b.WriteByte(' ')
			}
		case bigram.Is(r):
			end := i + 1
			for end < len(rs) && bigram.Is(rs[end]) {
				end++
			}
			w.lone = w.lone || end == i+1
			writeRun(&b, rs[i:end], inside)
			i = end - 1
		case unicode.IsSpace(r), 0x3000 <= r && r <= 0x303F, 0xFF00 <= r && r <= 0xFF65 && !wordRune(r): // some locales take their signs for letters
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	w.text = b.String()
	return w
}

// writeRun writes a run as the phrase of its bigrams.
func writeRun(b *strings.Builder, rs []rune, inside bool) {
	pairs := strings.Join(bigram.Of(rs), " ")
	if !inside && len(rs) > 2 {
		pairs = `"` + pairs + `"`
	}
	if !strings.HasSuffix(b.String(), "-") && !strings.HasSuffix(b.String(), `"`) {
		b.WriteByte(' ')
	}
	b.WriteString(pairs + " ")
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// asked gives the SQL of the query by a text search configuration, of which placeholder stands for the text: as it was
// written, with all of its words wherever they stand, and with any of them. Postgres makes a phrase of what is one word
// to people and several to it, as XK-4471 or O'Hara; only strict asks for their order.
func (w words) asked(cfg, placeholder string) (strict, all, anyOf string) {
	strict = "websearch_to_tsquery('" + cfg + "', " + placeholder + ")"
	if w.lone {
		strict = "regexp_replace(" + strict + "::text, '''([" + bigram.Class + "])''', '''\\1'':*', 'g')::tsquery"
	}
	if w.literal {
		return strict, strict, strict
	}
	return strict, "regexp_replace(" + strict + "::text, ' <(-|\\d+)> ', ' & ', 'g')::tsquery",
		"regexp_replace(" + strict + "::text, ' (&|<(-|\\d+)>) ', ' | ', 'g')::tsquery"
}
