package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"

	zxcvbn "github.com/nbutton23/zxcvbn-go"

	"cdsa.dev/cdsa/internal/errs"
)

// MinNewPassword is the least length, in code points, of a password that is chosen now.
const MinNewPassword = 10

const (
	minScore = 2 // of zxcvbn's 0..4: about 10^8 guesses
	// zxcvbn's time grows with the cube of the length (180 ms at 84 substitutable characters, measured), so only a
	// prefix is scored. A long password with a weak beginning is refused, which errs on the safe side.
	scoredRunes = 28
)

// CheckPassword says whether a person may choose this password. own is what an attacker knows of them (e-mail,
// username, full name): a password made of it is refused. BAD_USER_INPUT on field, with a sentence that says what
// to do.
func CheckPassword(field, password string, own ...string) error {
	p, err := normalPassword(password)
	if err != nil {
		e, _ := errs.As(err)
		return errs.Input(field, "%s", e.Message)
	}
	if utf8.RuneCountInString(p) < MinNewPassword {
		return errs.Input(field, "The password needs at least %d characters.", MinNewPassword)
	}
	known := ownWords(own)
	lower := strings.ToLower(p)
	for _, w := range known {
		if w == lower {
			return errs.Input(field, "Choose a password that is not your name or e-mail address.")
		}
	}
	if r := []rune(p); len(r) > scoredRunes {
		p = string(r[:scoredRunes])
	}
	if zxcvbn.PasswordStrength(p, known).Score < minScore {
		return errs.Input(field, "This password is easy to guess. Use several unrelated words, or let a password manager make one.")
	}
	return nil
}

// ownWords is every value and every word of it, in lower case: the dictionary an attacker would start with.
func ownWords(own []string) []string {
	words := []string{"cdsa"}
	for _, s := range own {
		s = strings.ToLower(strings.TrimSpace(s))
		if s == "" || len(s) > 512 {
			continue
		}
		words = append(words, s)
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(w) > 2 {
				words = append(words, w)
			}
		}
		if local, _, ok := strings.Cut(s, "@"); ok {
			words = append(words, local)
		}
	}
	return words
}
