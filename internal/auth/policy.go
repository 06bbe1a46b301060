package auth

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nbutton23/zxcvbn-go/frequency"
	"github.com/nbutton23/zxcvbn-go/match"
	"github.com/nbutton23/zxcvbn-go/matching"
	"github.com/nbutton23/zxcvbn-go/scoring"

	"cdsa.dev/cdsa/internal/errs"
)

// MinNewPassword is the least length, in code points, of a password that is chosen now.
const MinNewPassword = 10

const (
	minScore = 2 // of zxcvbn's 0..4: about 10^8 guesses
	// zxcvbn's time grows with the cube of the length, so only a prefix is scored. A long password with a weak beginning
	// is refused, which errs on the safe side.
	scoredRunes = 28
)

// CheckPassword says whether a person may choose this password. own is what an attacker knows of them (e-mail,
// username, full name): a password made of it is refused. BAD_USER_INPUT on field, with a sentence that says what
// to do. It takes milliseconds of CPU: on behalf of a request call Hasher.Choose, which waits for a turn.
func CheckPassword(field, password string, own ...string) error {
	p, known, err := plausible(field, password, own)
	if err != nil {
		return err
	}
	return strong(field, p, known)
}

// CheckPasswordForm is the part of CheckPassword that costs nothing.
func CheckPasswordForm(field, password string, own ...string) error {
	_, _, err := plausible(field, password, own)
	return err
}

// plausible is the part of CheckPassword that costs nothing; it gives what strong needs.
func plausible(field, password string, own []string) (p string, known []string, err error) {
	if p, err = normalPassword(password); err != nil {
		e, _ := errs.As(err)
		return "", nil, errs.Input(field, "%s", e.Message)
	}
	if utf8.RuneCountInString(p) < MinNewPassword {
		return "", nil, errs.Input(field, "The password needs at least %d characters.", MinNewPassword)
	}
	known = ownWords(own)
	if slices.Contains(known, strings.ToLower(p)) {
		return "", nil, errs.Input(field, "Choose a password that is not your name or e-mail address.")
	}
	return p, known, nil
}

func strong(field, p string, known []string) error {
	if r := []rune(p); len(r) > scoredRunes {
		p = string(r[:scoredRunes])
	}
	if score(p, known) < minScore {
		return errs.Input(field, "This password is easy to guess. Use several unrelated words, or let a password manager make one.")
	}
	return nil
}

// score is zxcvbn's but for letters written as signs and digits: zxcvbn tries every combination of them, which is a second
// of CPU for thirty characters that were chosen for it.
func score(p string, known []string) int {
	matches := matching.Omnimatch(p, known, matching.FilterL33tMatcher)
	for _, r := range readings(p) {
		matches = append(matches, matching.Omnimatch(r, known, looksNothingUp)...)
	}
	return scoring.MinimumEntropyMatchSequence(p, matches).Score
}

// looksNothingUp says of a matcher that it has no list of words.
func looksNothingUp(m match.Matcher) bool {
	_, list := frequency.Lists[m.ID]
	return !list
}

// What people write for letters; some of it is read in two ways.
var (
	signs   = map[rune]rune{'@': 'a', '(': 'c', '{': 'c', '[': 'c', '<': 'c', '!': 'i', '$': 's', '+': 't', '%': 'x'}
	digits  = map[rune]rune{'4': 'a', '8': 'b', '3': 'e', '6': 'g', '9': 'g', '0': 'o', '5': 's', '2': 'z'}
	twofold = map[rune][2]rune{'|': {'i', 'l'}, '1': {'i', 'l'}, '7': {'l', 't'}}
	bitOf   = map[rune]int{'|': 0, '1': 1, '7': 2} // which bit of a way of reading chooses
)

const (
	digitsBit   = 3  // leaves digits alone
	maxReadings = 16 // ways of reading
)

// readings gives the words that a password may be meant to be read as: each of its length, none twice.
func readings(p string) []string {
	var all []string
	for way := range maxReadings {
		r := strings.Map(func(c rune) rune {
			if to, ok := signs[c]; ok {
				return to
			}
			if c >= '0' && c <= '9' && way>>digitsBit&1 == 1 {
				return c
			}
			if to, ok := digits[c]; ok {
				return to
			}
			if to, ok := twofold[c]; ok {
				return to[way>>bitOf[c]&1]
			}
			return c
		}, p)
		if r != p && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
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
