package embed

import (
	"iter"
	"unicode"
	"unicode/utf8"
)

// maxWord bounds a word in bytes; what is longer is cut into several, so that a run of letters without end costs
// no more than its length.
const maxWord = 64

// Words gives the words of text in order: lower-cased runs of letters, marks and digits. A possessive 's is
// dropped, as are single quotes. The training corpus was cut by this very function, so a change here needs a new model.
// A yielded word is valid UTF-8 of 1 to 64 bytes.
func Words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var buf [maxWord + utf8.UTFMax]byte
		b := buf[:0]
		flush := func() bool {
			w := b
			b = buf[:0]
			return len(w) == 0 || yield(string(w))
		}
		for i, r := range text {
			switch {
			case IsWord(r):
				b = utf8.AppendRune(b, unicode.ToLower(r))
				if len(b) >= maxWord && !flush() {
					return
				}
			case (r == '\'' || r == '’') && len(b) > 0 && apostrophe(text[i+utf8.RuneLen(r):]):
			default:
				if len(b) > 1 && possessive(text[:i]) {
					b = b[:len(b)-1]
				}
				if !flush() {
					return
				}
			}
		}
		if len(b) > 1 && possessive(text) {
			b = b[:len(b)-1]
		}
		flush()
	}
}

// IsWord says whether r is part of a word.
func IsWord(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// apostrophe says whether an apostrophe before rest stands inside a word.
func apostrophe(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return IsWord(r)
}

// possessive says whether text ends in 's.
func possessive(text string) bool {
	n := len(text)
	if n < 3 || text[n-1] != 's' {
		return false
	}
	r, _ := utf8.DecodeLastRuneInString(text[:n-1])
	return r == '\'' || r == '’'
}
