package httprequest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/tool"
)

func TestOutput_Fill(t *testing.T) {
	big := strings.Repeat("é", maxRead/2) // whole characters
	for name, c := range map[string]struct {
		raw, contentType string
		body, encoding   string
		truncated        bool
	}{
		"Empty":              {"", "text/html", "", "text", false},
		"Text":               {"héllo", "text/plain; charset=utf-8", "héllo", "text", false},
		"JSON":               {`{"a":1}`, "application/json", `{"a":1}`, "text", false},
		"ProblemJSON":        {`{}`, "application/vnd.x+json", `{}`, "text", false},
		"Latin1":             {"h\xe9llo", "text/plain; charset=ISO-8859-1", "héllo", "text", false},
		"BOM":                {"\ufeffabc", "text/plain", "abc", "text", false},
		"UndeclaredText":     {"abc", "", "abc", "text", false},
		"UndeclaredBinary":   {"\x00\xff", "", "AP8=", "base64", false},
		"WronglyDeclared":    {"\xff\xfe", "text/plain", "//4=", "base64", false},
		"NULInText":          {"a\x00b", "text/plain", "YQBi", "base64", false},
		"UnknownCharset":     {"abc", "text/plain; charset=klingon", "YWJj", "base64", false},
		"Image":              {"abc", "image/png", "YWJj", "base64", false},
		"BrokenContentType":  {"abc", ";;", "YWJj", "base64", false},
		"LongText":           {big, "text/plain", strings.Repeat("é", keptText/2), "text", true},
		"LongTextEscaped":    {strings.Repeat("\x01", keptText), "text/plain", strings.Repeat("\x01", keptText/6), "text", true},
		"CutWithinCharacter": {"a" + big + "xx", "text/plain", "a" + strings.Repeat("é", (keptText-1)/2), "text", true},
		"LongBinary":         {strings.Repeat("\xff", keptBytes+1), "image/png", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xff", keptBytes))), "base64", true},
	} {
		t.Run(name, func(t *testing.T) {
			var o output
			o.fill([]byte(c.raw), c.contentType)
			require.Equal(t, c.encoding, o.Encoding)
			require.True(t, c.body == o.Body, "%.80q", o.Body)
			require.Equal(t, c.truncated, o.Truncated)
			require.Equal(t, min(len(c.raw), maxRead), o.Bytes)
			b, err := json.Marshal(o)
			require.NoError(t, err)
			require.Less(t, len(b), tool.MaxResult)
		})
	}
}

func TestDropPartialRune(t *testing.T) {
	for _, s := range []string{"", "a", "é", "€", "😀", "a😀"} {
		for cut := range len(s) + 1 {
			got := dropPartialRune([]byte(s[:cut]))
			require.True(t, utf8.Valid(got))
			require.LessOrEqual(t, cut-len(got), 3)
		}
		require.Equal(t, s, string(dropPartialRune([]byte(s))))
	}
	require.Equal(t, "\xff", string(dropPartialRune([]byte("\xff"))), "what is not UTF-8 stays so")
}
