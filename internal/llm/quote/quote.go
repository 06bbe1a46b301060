// Package quote picks, without a model, the sentence of a passage that answers a query best. It only ever points
// into the passage, so that what is quoted is there to the letter. Pure; safe for concurrent use.
package quote

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/bigram"
)

// Func gives the byte offsets [start, end) of the best sentence or sentences of passage for query.
type Func func(query, passage string) (start, end int)

// MaxBytes bounds a quote: a longer sentence is cut at a word.
const MaxBytes = 600

// Lexical picks the sentence that shares most words with the query, rare and long ones weighing more; the first of equals.
func Lexical(query, passage string) (start, end int) {
	start, end, _ = Best(query, passage)
	return start, end
}

// Best is Lexical with its score: 0 means that no word of the query is there. Then it is the first sentence, not the heading above.
func Best(query, passage string) (start, end int, score float64) {
	words := Words(query)
	worth := -1 // of what is chosen, where no word is there: 0 signs and numbers, 1 a heading, 2 a sentence
	for _, s := range Sentences(passage) {
		text := passage[s[0]:s[1]]
		w := says(text)
		sc := Score(words, text)
		if w == 0 {
			sc = 0 // the number of an item is no answer
		}
		if sc > score || sc == 0 && score == 0 && w > worth {
			start, end, score, worth = s[0], s[1], sc, w
		}
	}
	return start, cut(passage, start, end), score
}

// says tells signs and numbers (0), a heading (1) and a sentence (2) apart: a heading is marked as one, or short and without an end.
func says(s string) int {
	switch {
	case !strings.ContainsFunc(s, unicode.IsLetter):
		return 0
	case strings.HasPrefix(s, "#"), !strings.ContainsAny(s, ".!?…。！？\n") && len(strings.Fields(s)) <= 8:
		return 1
	}
	return 2
}

// cut shortens [start, end) to MaxBytes, at a space where there is one.
func cut(s string, start, end int) int {
	if end-start <= MaxBytes {
		return end
	}
	e := start + MaxBytes
	for e > start && !utf8.RuneStart(s[e]) {
		e--
	}
	if i := strings.LastIndexFunc(s[start:e], unicode.IsSpace); i > MaxBytes/2 {
		e = start + i
	}
	return start + len(strings.TrimRightFunc(s[start:e], unicode.IsSpace))
}

// Sentences gives the byte offsets of the sentences of s, white space trimmed, empty ones left out. Blank lines end a
// sentence too, as after a heading.
func Sentences(s string) [][2]int {
	var out [][2]int
	begin := 0
	add := func(end int) {
		a, e := begin, end
		for a < e {
			r, n := utf8.DecodeRuneInString(s[a:e])
			if !unicode.IsSpace(r) {
				break
			}
			a += n
		}
		e = a + len(strings.TrimRightFunc(s[a:e], unicode.IsSpace))
		if strings.ContainsFunc(s[a:e], func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			out = append(out, [2]int{a, e})
		}
		begin = end
	}
	for i, r := range s {
		end := i + utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n := utf8.DecodeRuneInString(s[i:])
			end = i + n
		}
		switch {
		case r == '\n' && blankLine(s[end:]):
			add(end)
		case r == '。' || r == '！' || r == '？':
			add(end)
		case (r == '.' || r == '!' || r == '?') && !abbreviation(s[begin:i]):
			if rest := strings.TrimLeft(s[end:], `"'”’)]»`); rest == "" || startsSpace(rest) {
				add(len(s) - len(rest))
			}
		}
	}
	if begin < len(s) {
		add(len(s))
	}
	return out
}

func startsSpace(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}

func blankLine(rest string) bool {
	rest = strings.TrimLeft(rest, " \t\r\f")
	return strings.HasPrefix(rest, "\n")
}

// abbreviation says whether a full stop after s does not end a sentence: "e.g.", "No.", a single letter, "3.".
func abbreviation(s string) bool {
	i := strings.LastIndexFunc(s, unicode.IsSpace)
	w := strings.ToLower(strings.TrimLeft(s[i+1:], `("'“`))
	switch w {
	case "e.g", "i.e", "etc", "no", "nos", "art", "sec", "cf", "vs", "mr", "mrs", "ms", "dr", "prof", "inc", "ltd", "fig", "p", "pp", "para":
		return true
	}
	if strings.TrimSpace(s[:i+1]) == "" && w != "" && len(w) < 5 && strings.Trim(w, "0123456789.") == "" {
		return true // the number of an item
	}
	return utf8.RuneCountInString(w) == 1
}

// Score is how well a sentence answers the words of a query; 0 without a common word.
func Score(query map[string]float64, sentence string) float64 {
	have := Words(sentence)
	sum := 0.0
	for w, weight := range query {
		if _, ok := have[w]; ok {
			sum += weight
		}
	}
	if sum == 0 {
		return 0
	}
	// Of two sentences with the same words the shorter says more; a heading says less than a sentence.
	n := float64(len(have))
	if n < 4 {
		sum *= 0.6
	}
	return sum / (1 + n/60)
}

// Words gives the content words of s, lower-cased and stemmed by a hair, with their weight. Of scripts without spaces it gives
// each two neighbouring characters.
func Words(s string) map[string]float64 {
	out := map[string]float64{}
	for w := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if stop[w] {
			continue
		}
		for _, part := range bigram.Parts(w) {
			part = stem(part)
			out[part] = 1 + float64(min(utf8.RuneCountInString(part), 12))/8
		}
	}
	return out
}

func stem(w string) string {
	for _, suffix := range []string{"ations", "ation", "ings", "ing", "ies", "ions", "ion", "ed", "es", "s"} {
		if b, ok := strings.CutSuffix(w, suffix); ok && len(b) >= 4 {
			return b
		}
	}
	return strings.TrimSuffix(w, "e")
}

var stop = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`a an and are as at be been but by can could did do does for from had has have how i if in into is it its
		may me might must my no not of on or our say says shall should so some such tell than that the their them then there these they this
		those to us was we were what when where which who whom why will with would you your about document documents please
		der die das und ist ein eine was wie wer wo`) {
		m[w] = true
	}
	return m
}()
