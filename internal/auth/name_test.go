package auth

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

func refuses(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := errs.As(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, errs.BadUserInput, e.Code)
	require.Contains(t, e.Fields, field)
}

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"alice@example.org": "alice@example.org", " Alice@Example.ORG\n": "alice@example.org", "a+b.c_d@x-y.example": "a+b.c_d@x-y.example",
		"admin@localhost": "admin@localhost", "o'neil@xn--mnchen-3ya.example": "o'neil@xn--mnchen-3ya.example",
	} {
		got, err := NormalizeEmail("email", in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", "@", "alice", "alice@", "@example.org", "a@b@c", "a b@example.org", ".a@example.org", "a.@example.org", "a..b@example.org",
		"a@.org", "a@org.", "a@-x.org", "a@x-.org", "a@exa_mple.org", "a@[127.0.0.1]", `"a"@example.org`, "<a@example.org>", "A <a@example.org>",
		"a@example.org\r\nBcc: b@example.org", "a\x00@example.org", "a@example.org\x00", "\u0430lice@example.org", "alice@ex\u0430mple.org",
		"\u212aelvin@example.org", "\uff41@example.org", "a@example\u3002org", "a,b@example.org",
		strings.Repeat("a", 65) + "@example.org", "a@" + strings.Repeat("b", 64) + ".org", "a@" + strings.Repeat("b.", 130) + "org", strings.Repeat("a", 10<<20),
	} {
		_, err := NormalizeEmail("input.email", in)
		refuses(t, err, "input.email")
	}
}

func TestNormalizeUsername(t *testing.T) {
	for in, want := range map[string]string{"alice": "alice", "Alice.B_c-9": "alice.b_c-9", "0ab": "0ab", strings.Repeat("x", 64): strings.Repeat("x", 64)} {
		got, err := NormalizeUsername("username", in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", "ab", strings.Repeat("x", 65), "alice@example.org", "al ice", " alice", "alice\n", "\u0430lice", "alic\u00e9", "\u212aelvin", "ali\u200dce",
		".alice", "alice-", "system:indexer", "alice\x00", "ali\xffce", "a/b", "<b>x</b>",
	} {
		_, err := NormalizeUsername("input.username", in)
		refuses(t, err, "input.username")
	}
}

func TestNormalizeFullName(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "  Ada   Lovelace ": "Ada Lovelace", "Zo\u0065\u0308": "Zo\u00eb", "\u5f20\u4f1f": "\u5f20\u4f1f", "\u0645\u06cc\u200c\u062e": "\u0645\u06cc\u200c\u062e",
	} {
		got, err := NormalizeFullName("fullName", in)
		require.NoError(t, err, "%q", in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"Ada\nLovelace", "Ada\r\nSubject: x", "Ada\x00", "\u202eadA", "A\ufeffda", "Ada\u2028x", "\xff", strings.Repeat("x", 201), strings.Repeat("x", 10<<20)} {
		_, err := NormalizeFullName("input.fullName", in)
		refuses(t, err, "input.fullName")
	}
}

func TestNormalizeRoleName(t *testing.T) {
	for in, want := range map[string]string{"A": "a", "Night Watch": "night watch", "a.b_c-9": "a.b_c-9", strings.Repeat("X", 64): strings.Repeat("x", 64)} {
		got, err := NormalizeRoleName("name", in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", " ", " x", "x ", "a  b", "-x", "x.", "\u0430dmin", "adm\u200bin", "\uff41dmin", "\u212aeeper", "admin\n", "admin\x00", "a\tb",
		"system:x", "a/b", "<b>x</b>", "a\u00a0b", "\xff", strings.Repeat("x", 65), strings.Repeat("x", 10<<20),
	} {
		_, err := NormalizeRoleName("input.name", in)
		refuses(t, err, "input.name")
	}
}

func TestNormalizeDescription(t *testing.T) {
	got, err := NormalizeDescription("description", "  Looks   on. ")
	require.NoError(t, err)
	require.Equal(t, "Looks on.", got)
	for _, in := range []string{"a\r\nb", "a\x00", "\u202ea", "\xff", strings.Repeat("x", 501), strings.Repeat("x", 10<<20)} {
		_, err := NormalizeDescription("input.description", in)
		refuses(t, err, "input.description")
	}
}

func TestNormalizeLogin(t *testing.T) {
	for in, want := range map[string]struct {
		login   string
		isEmail bool
		ok      bool
	}{
		"Alice": {"alice", false, true}, " alice ": {"alice", false, true}, "A@Example.org": {"a@example.org", true, true}, "x": {"", false, false}, "a@@b": {"", true, false},
	} {
		login, isEmail, ok := NormalizeLogin(in)
		require.Equal(t, want.ok, ok, in)
		require.Equal(t, want.isEmail, isEmail, in)
		require.Equal(t, want.login, login, in)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"alice@example.org", "Alice.B", "Ada Lovelace", "\u212a@x", "a\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := NormalizeEmail("f", s); err == nil {
			again, err := NormalizeEmail("f", e)
			require.NoError(t, err)
			require.Equal(t, e, again, "normalising twice changes nothing")
			require.Equal(t, 1, strings.Count(e, "@"))
		}
		if u, err := NormalizeUsername("f", s); err == nil {
			again, err := NormalizeUsername("f", u)
			require.NoError(t, err)
			require.Equal(t, u, again)
			require.NotContains(t, u, "@", "a username is never taken for an e-mail address")
		}
		if n, err := NormalizeRoleName("f", s); err == nil {
			again, err := NormalizeRoleName("f", n)
			require.NoError(t, err)
			require.Equal(t, n, again)
		}
		if n, err := NormalizeFullName("f", s); err == nil {
			require.True(t, utf8.ValidString(n))
			again, err := NormalizeFullName("f", n)
			require.NoError(t, err)
			require.Equal(t, n, again)
		}
	})
}
