package agent

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// UTF16Len is the length of s in UTF-16 code units, the unit of ChatTokenDelta.offset: what s.length is to a browser.
// A byte that is not valid UTF-8 counts as the replacement character it becomes in JSON.
func UTF16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// cutUTF16 cuts s after n UTF-16 code units, or at its end; never inside a character.
func cutUTF16(s string, n int) (before, after string) {
	for i, r := range s {
		if n <= 0 {
			return s[:i], s[i:]
		}
		n--
		if r > 0xFFFF {
			n--
		}
	}
	return s, ""
}

// CleanText is what of a model's text can be stored: valid UTF-8 without NUL.
func CleanText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// EstimateTokens is about how many tokens a text is to a model, erring to the high side, without any model's
// vocabulary (the usual ones take 30 MB of memory each, half of what an idle server may use). A Latin word is one
// token for its first 6 letters and one for every 4 more, digits one for every 3, other alphabets one for every 2,
// ideographs one each, emoji and the like 2, a punctuation mark one, a run of line breaks one; spaces are free.
// Prose comes out up to some 30 % high against the common vocabularies, JSON up to twice.
func EstimateTokens(s string) int {
	n, run, kind, newline := 0, 0, other, false
	flush := func() {
		n += kind.tokens(run)
		run, kind = 0, other
	}
	for _, r := range s {
		k := kindOf(r)
		if k != kind {
			flush()
		}
		switch {
		case k != other:
			kind = k
			run++
		case r == '\n' && newline, r != '\n' && unicode.IsSpace(r):
		case r < 0x80 || ideograph(r):
			n++
		default:
			n += 2
		}
		newline = r == '\n'
	}
	flush()
	return n
}

// script is how the letters of a word share tokens.
type script int

const (
	other script = iota // no letter or digit of an alphabet
	latin
	digits
	alphabet
)

func kindOf(r rune) script {
	switch {
	case r >= '0' && r <= '9':
		return digits
	case r < 0x80 && unicode.IsLetter(r):
		return latin
	case r >= 0x80 && unicode.IsLetter(r) && !ideograph(r):
		return alphabet
	}
	return other
}

func ideograph(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

// tokens of a run of letters.
func (s script) tokens(run int) int {
	switch {
	case run == 0:
		return 0
	case s == latin:
		return 1 + (max(run-6, 0)+3)/4
	case s == digits:
		return (run + 2) / 3
	}
	return (run + 1) / 2
}
