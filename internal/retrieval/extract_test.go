package retrieval

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

func extract(tb testing.TB, data, name, contentType string) *Text {
	tb.Helper()
	x, err := Extract(context.Background(), []byte(data), name, contentType)
	require.NoError(tb, err)
	return x
}

func utf16le(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

func TestExtract_Encodings(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"UTF8":         {"naïve café", "naïve café"},
		"Mark":         {"\xEF\xBB\xBFabc", "abc"},
		"UTF16LE":      {"\xFF\xFE" + utf16le("naïve"), "naïve"},
		"UTF16BE":      {"\xFE\xFF\x00n\x00a\x00\xef", "naï"},
		"UTF16NoMark":  {utf16le("plain text"), "plain text"},
		"Surrogates":   {"\xFF\xFE" + "\x3D\xD8\x42\xDE" + "a\x00" + "\x3D\xD8", "🙂a\uFFFD"},
		"Latin1":       {"na\xefve caf\xe9 \x80", "naïve café €"},
		"DamagedUTF8":  {"naïve café Straße \xff", "naïve café Straße \uFFFD"},
		"NUL":          {strings.Repeat("some words ", 20) + "\x00end", strings.Repeat("some words ", 20) + "\uFFFDend"},
		"LineEndsKept": {"a\r\nb\rc\n", "a\r\nb\rc\n"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, extract(t, c.in, "a.txt", "").Content) })
	}
}

func TestExtract_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		code errs.Code
		says string
	}{
		"Empty":      {"", errs.BadUserInput, "no text"},
		"WhiteSpace": {" \n\t\f", errs.BadUserInput, "no text"},
		"PDF":        {"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", errs.BadUserInput, "application/pdf"},
		"PNG":        {"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", errs.BadUserInput, "image/png"},
		"Zip":        {"PK\x03\x04\x14\x00\x00\x00\x08\x00", errs.BadUserInput, "application/zip"},
		"RTF":        {`{\rtf1\ansi hello}`, errs.BadUserInput, "text/rtf"},
		"Binary":     {strings.Repeat("\x01\x02\xfeab\x03", 99), errs.BadUserInput, "not text"},
		"Large":      {strings.Repeat("word ", MaxBytes/5+1), errs.ResourceExhausted, "20 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Extract(context.Background(), []byte(c.data), "contract.txt", "text/plain")
			require.True(t, errs.Is(err, c.code), "%v", err)
			require.Contains(t, err.Error(), c.says)
		})
	}
	_, err := Extract(context.Background(), []byte("<p hidden>x</p>"), "a.html", "")
	require.True(t, errs.Is(err, errs.BadUserInput))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Extract(ctx, []byte("text"), "", "")
	require.ErrorIs(t, err, context.Canceled)
}

func TestExtract_Kind(t *testing.T) {
	const page = "<!DOCTYPE html><html><body><h1>Title</h1><p>Text</p></body></html>"
	for _, c := range []struct{ name, contentType, want string }{
		{"a.html", "", "text/html"}, {"", "text/html; charset=utf-8", "text/html"}, {"", "", "text/html"},
		{"a.txt", "text/html", "text/plain"}, {"README.MD", "text/plain", "text/markdown"}, {"", "text/markdown", "text/markdown"},
		{"", "nonsense/;;", "text/html"},
	} {
		require.Equal(t, c.want, extract(t, page, c.name, c.contentType).MIME, "%+v", c)
	}
	require.Equal(t, "text/plain", extract(t, `{"a": 1}`, "a.json", "application/json").MIME)
}

func TestExtract_Pages(t *testing.T) {
	x := extract(t, "één\ftwo words\fthree\f\n", "a.txt", "")
	require.Equal(t, []int{0, 4, 14}, x.Pages)
	for offset, page := range map[int]int{0: 1, 3: 1, 4: 2, 13: 2, 14: 3, 99: 3} {
		require.Equal(t, page, *x.Page(offset))
	}
	require.Nil(t, extract(t, "no pages", "", "").Page(3))
}

func TestExtract_Markdown(t *testing.T) {
	const src = "# Ünïcode *title* #\n\ntext\n\nSetext\n======\n\n```\n# not a heading\n```\n\n### Deep\n## \n"
	x := extract(t, src, "a.md", "")
	require.Equal(t, src, x.Content)
	require.Equal(t, []Heading{{0, 1, "Ünïcode title"}, {27, 1, "Setext"}, {67, 3, "Deep"}}, x.Headings)
	for i, line := range []string{"# Ünïcode", "Setext\n", "### Deep"} {
		require.True(t, strings.HasPrefix(Slice(src, x.Headings[i].Offset, 1<<20), line))
	}
}

func TestExtract_PlainHeadings(t *testing.T) {
	x := extract(t, "THE TITLE\n\nSome words here.\n\n  2.1 Scope of work\n\nMore words.\n12 apples\n\nArticle IV\n\nend", "", "")
	require.Equal(t, []Heading{{0, 1, "THE TITLE"}, {29, 3, "2.1 Scope of work"}, {73, 2, "Article IV"}}, x.Headings)
}

func TestExtract_HTML(t *testing.T) {
	x := extract(t, `<html><head><title>T</title><style>p{}</style></head><body>
<script>alert("no")</script><h1>Über <em>uns</em></h1>
<p>First   paragraph with <b>bold</b>text
and a<br>break.</p><p hidden>secret1<p style="color:red; DISPLAY : none !important">secret2</p>
<div aria-hidden="true">secret3</div><ul><li>one</li><li>two <i>2</i></li></ul>
<table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table>
<pre>  keep
   this</pre><img alt="a picture"><!-- secret4 --><noscript>secret5</noscript><h2>End &amp; out</h2>fin</body></html>`, "", "")
	require.Equal(t, "Über uns\n\nFirst paragraph with boldtext and a\nbreak.\n\n- one\n- two 2\n\nk | v\na | 1\n\n  keep\n   this\n\na picture\n\nEnd & out\n\nfin", x.Content)
	require.Len(t, x.Headings, 2)
	for _, h := range x.Headings {
		require.True(t, strings.HasPrefix(Slice(x.Content, h.Offset, 1<<20), h.Text), "%+v", h)
	}
}

func TestExtract_Language(t *testing.T) {
	for text, want := range map[string]string{
		"The tenant shall pay the rent on the first day of each month to the owner.":       "en",
		"Der Mieter zahlt die Miete am ersten Tag des Monats an den Eigentümer.":           "de",
		"Le locataire paie le loyer le premier jour du mois au propriétaire de la maison.": "fr",
		"El inquilino paga el alquiler el primer día del mes al propietario de la casa.":   "es",
		"家賃は毎月一日に支払う。":                                                                     "",
		"4711 0815 ABC":                                                                    "",
	} {
		require.Equal(t, want, extract(t, text, "", "").Language, text)
	}
}

// Each input would take a naive reader quadratic time or a deep stack.
func TestExtract_Hostile(t *testing.T) {
	for name, c := range map[string]struct{ unit, file string }{
		"Nested":   {"<div>", "a.html"},
		"Unclosed": {"<p><b>", "a.html"},
		"Anchors":  {"<table><a>", "a.html"},
		"Tags":     {"<a ", "a.html"},
		"Entities": {"&amp", "a.html"},
		"Quotes":   {">", "a.md"},
		"Brackets": {"![", "a.md"},
		"Lists":    {"- \n", "a.md"},
		"Setext":   {"a\n=\n", "a.md"},
		"Fences":   {"```\n", "a.md"},
		"Pages":    {"\f", "a.txt"},
		"Numbers":  {"1. A\n\n", "a.txt"},
		"Blank":    {" \n", "a.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			data := strings.Repeat(c.unit, 1<<18/len(c.unit)) + " end"
			start := time.Now()
			x, err := Extract(context.Background(), []byte(data), c.file, "")
			if err != nil {
				_, ok := errs.As(err)
				require.True(t, ok, "%v", err)
			} else {
				Split(x)
			}
			require.Less(t, time.Since(start), 5*time.Second)
		})
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte("# a\n\n\xff\x00b"), "a.md")
	f.Add([]byte("<p>a<h1>b</p><pre>\nc"), "a.html")
	f.Add([]byte("a\fb"), "a.txt")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		x, err := Extract(context.Background(), data, name, "")
		if err != nil {
			_, ok := errs.As(err)
			require.True(t, ok, "%v", err)
			return
		}
		require.True(t, utf8.ValidString(x.Content))
		require.NotContains(t, x.Content, "\x00")
		n := runes(x.Content)
		last := -1
		for _, h := range x.Headings {
			require.True(t, last < h.Offset && h.Offset < n, "%+v", x.Headings)
			last = h.Offset
		}
		checkChunks(t, x, Split(x))
	})
}
