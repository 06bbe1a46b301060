package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cdsa.dev/cdsa/internal/errs"
)

// Bounds of an account's names.
const (
	maxEmail      = 254 // RFC 5321 section 4.5.3.1.3, less the angle brackets
	maxEmailLocal = 64  // RFC 5321 section 4.5.3.1.1
	minUsername   = 3
	maxUsername   = 64
	maxFullName   = 200 // code points
	// of roles
	maxRoleName    = 64
	maxDescription = 500 // code points
)

// NormalizeEmail gives the one stored form of an address: trimmed and in lower case. Only ASCII is taken (an
// international domain in its xn-- form), so that no two addresses look the same; quoted local parts and address
// literals are refused. BAD_USER_INPUT on field.
func NormalizeEmail(field, s string) (string, error) {
	bad := errs.Input(field, "This is not an e-mail address. Write it as name@example.org.")
	if len(s) > maxEmail+16 {
		return "", errs.Input(field, "The e-mail address is longer than %d characters.", maxEmail)
	}
	s = lowerASCII(strings.Trim(s, " \t\r\n"))
	if len(s) > maxEmail {
		return "", errs.Input(field, "The e-mail address is longer than %d characters.", maxEmail)
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > maxEmailLocal || !dotted(local, isAtext) {
		return "", bad
	}
	if !dotted(domain, isLDH) {
		return "", bad
	}
	for label := range strings.SplitSeq(domain, ".") {
		if len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", bad
		}
	}
	return s, nil
}

// NormalizeUsername gives the one stored form of a username: 3 to 64 ASCII letters, digits, dots, underscores and
// hyphens, in lower case, a letter or digit at both ends. Other scripts are refused because their look-alikes would
// let one person pass for another. BAD_USER_INPUT on field.
func NormalizeUsername(field, s string) (string, error) {
	if n := len(s); n < minUsername || n > maxUsername {
		return "", errs.Input(field, "The username needs %d to %d characters.", minUsername, maxUsername)
	}
	s = lowerASCII(s)
	for i := range len(s) {
		if !alnum(s[i]) && !strings.ContainsRune("._-", rune(s[i])) {
			return "", errs.Input(field, "The username may hold letters a to z, digits, dots, underscores and hyphens.")
		}
	}
	if !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return "", errs.Input(field, "The username begins and ends with a letter or a digit.")
	}
	return s, nil
}

// NormalizeLogin gives the stored form of what was typed into a login form, an e-mail address when it holds an @.
// ok is false when no account can have it; the caller then answers as for a wrong password, in the same time.
func NormalizeLogin(s string) (login string, isEmail, ok bool) {
	var err error
	if strings.Contains(s, "@") {
		login, err = NormalizeEmail("login", s)
		return login, true, err == nil
	}
	login, err = NormalizeUsername("login", strings.Trim(s, " \t\r\n"))
	return login, false, err == nil
}

// NormalizeFullName trims a person's name, puts it in NFC and joins runs of spaces. It may be in any script and
// may be empty. Control characters, line breaks and marks that turn the direction of writing are refused: a name
// goes into mails and audit rows. BAD_USER_INPUT on field.
func NormalizeFullName(field, s string) (string, error) {
	return line(field, "name", s, maxFullName)
}

// NormalizeDescription does the same for what is said of a role, in up to 500 characters. BAD_USER_INPUT on field.
func NormalizeDescription(field, s string) (string, error) {
	return line(field, "description", s, maxDescription)
}

// line is one line of text in any script, of at most limit code points.
func line(field, what, s string, limit int) (string, error) {
	if len(s) > 8*limit {
		return "", errs.Input(field, "The %s is longer than %d characters.", what, limit)
	}
	if !utf8.ValidString(s) {
		return "", errs.Input(field, "The %s is not valid text.", what)
	}
	for _, r := range s {
		joiner := r == '\u200c' || r == '\u200d' // needed in Persian and in Indic scripts
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) || unicode.Is(unicode.Cf, r) && !joiner {
			return "", errs.Input(field, "The %s holds a control character.", what)
		}
	}
	s = norm.NFC.String(strings.Join(strings.Fields(s), " "))
	if utf8.RuneCountInString(s) > limit {
		return "", errs.Input(field, "The %s is longer than %d characters.", what, limit)
	}
	return s, nil
}

// NormalizeRoleName gives the one stored form of a role's name: 1 to 64 ASCII letters, digits, spaces, dots,
// underscores and hyphens, in lower case, a letter or digit at both ends, single spaces. In other scripts a role could
// look like a seeded one. BAD_USER_INPUT on field.
func NormalizeRoleName(field, s string) (string, error) {
	if n := len(s); n == 0 || n > maxRoleName {
		return "", errs.Input(field, "The role's name needs 1 to %d characters.", maxRoleName)
	}
	s = lowerASCII(s)
	for i := range len(s) {
		if !alnum(s[i]) && strings.IndexByte(" ._-", s[i]) < 0 {
			return "", errs.Input(field, "The role's name may hold letters a to z, digits, spaces, dots, underscores and hyphens.")
		}
	}
	if !alnum(s[0]) || !alnum(s[len(s)-1]) || strings.Contains(s, "  ") {
		return "", errs.Input(field, "The role's name begins and ends with a letter or a digit and has single spaces.")
	}
	return s, nil
}

// dotted says whether s is non-empty parts of allowed bytes with single dots between them.
func dotted(s string, allowed func(byte) bool) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		if s[i] != '.' && !allowed(s[i]) {
			return false
		}
	}
	return true
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// isAtext is atext of RFC 5322 section 3.2.3, in lower case.
func isAtext(c byte) bool { return alnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 }

func isLDH(c byte) bool { return alnum(c) || c == '-' }

// lowerASCII leaves other scripts alone: strings.ToLower maps the Kelvin sign to k.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
