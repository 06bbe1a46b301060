package retrieval

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	jp "golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode/utf32"

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

func encoded(t *testing.T, e encoding.Encoding, s string) string {
	t.Helper()
	out, err := e.NewEncoder().String(s)
	require.NoError(t, err)
	return out
}

const (
	russian  = "Договор может быть расторгнут с уведомлением за три месяца."
	japanese = "契約は三か月前の通知により解約することができる。"
	chinese  = "合同可以提前三个月通知终止。"
)

func TestExtract_DeclaredEncodings(t *testing.T) {
	utf32le := utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)
	page := func(charset, text string) string {
		return "<html><head><meta charset=" + charset + "></head><body><p>" + text + "</p></body></html>"
	}
	for name, c := range map[string]struct{ in, name, contentType, want string }{
		"ContentType":     {encoded(t, charmap.Windows1251, russian), "", "text/plain; charset=windows-1251", russian},
		"ShiftJIS":        {encoded(t, jp.ShiftJIS, japanese), "a.txt", "text/plain; charset=Shift_JIS", japanese},
		"GB18030":         {encoded(t, simplifiedchinese.GB18030, chinese), "", "text/markdown; charset=GB18030", chinese},
		"Stateful":        {encoded(t, jp.ISO2022JP, japanese), "", "text/plain; charset=iso-2022-jp", japanese},
		"Meta":            {encoded(t, charmap.Windows1251, page("windows-1251", russian)), "a.html", "text/html", russian},
		"MetaOfUTF8":      {page("windows-1251", russian), "a.html", "", russian},
		"TypeBeforeMeta":  {encoded(t, charmap.KOI8R, page("windows-1251", russian)), "a.html", "text/html; charset=koi8-r", russian},
		"UnknownCharset":  {"naïve", "", "text/plain; charset=klingon", "naïve"},
		"UTF32LE":         {"\xFF\xFE\x00\x00" + encoded(t, utf32le, japanese), "a.txt", "", japanese},
		"UTF32BE":         {"\x00\x00\xFE\xFF" + encoded(t, utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM), russian), "a.txt", "", russian},
		"UTF32NoMark":     {encoded(t, utf32le, russian), "a.txt", "", russian},
		"Windows1252":     {encoded(t, charmap.Windows1252, "Größe: 20 °C, l’été à 3 m²; ¿qué?"), "a.txt", "", "Größe: 20 °C, l’été à 3 m²; ¿qué?"},
		"ShortWindows125": {encoded(t, charmap.Windows1252, "Größe"), "a.txt", "", "Größe"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, extract(t, c.in, c.name, c.contentType).Content) })
	}
	for name, in := range map[string]string{
		"ShiftJIS": encoded(t, jp.ShiftJIS, japanese), "EUCJP": encoded(t, jp.EUCJP, japanese), "GB18030": encoded(t, simplifiedchinese.GB18030, chinese),
		"Windows1251": encoded(t, charmap.Windows1251, russian), "KOI8R": encoded(t, charmap.KOI8R, russian), "Short": encoded(t, charmap.Windows1251, "Привет"),
		"Greek": encoded(t, charmap.ISO8859_7, "Η σύμβαση μπορεί να καταγγελθεί."), "Big5": encoded(t, traditionalchinese.Big5, "合約可以提前三個月終止"),
		"Polish": encoded(t, charmap.ISO8859_2, strings.Repeat("Umowę można wypowiedzieć z trzymiesięcznym okresem; wypowiedzenia są ważne, książka została złożona. ", 3)),
	} {
		t.Run("Refused"+name, func(t *testing.T) {
			_, err := Extract(context.Background(), []byte(in), "a.txt", "text/plain")
			require.True(t, errs.Is(err, errs.BadUserInput), "%v", err)
			require.ErrorContains(t, err, "Save it as UTF-8")
		})
	}
	_, err := Extract(context.Background(), []byte(encoded(t, charmap.Windows1251, russian)), "", "text/plain; charset=utf-8")
	require.ErrorContains(t, err, "Save it as UTF-8", "what is declared wrongly")
}

// Formats are known by a few letters, which a text may begin with.
func TestExtract_TextLikeFormats(t *testing.T) {
	for _, text := range []string{"MZ is a mark", "GIF89a is a format", "BZh begins bzip2", "fLaC is lossless", "8BPS is Photoshop", "OggS and RIFF", "Rar! it says", "ID3 tags", "PK is a name"} {
		for _, name := range []string{"a.txt", "a.md", ""} {
			require.Equal(t, text, extract(t, text, name, "").Content)
		}
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

func TestExtract_HTMLLayout(t *testing.T) {
	for in, want := range map[string]string{
		"<ul><li><p>Loose item</p></li><li><p>Another</p><p>with more</p></li></ul>":                                                 "- Loose item\n\n- Another\n\nwith more",
		"<ul>\n<li>\n  <div>one</div>\n</li>\n<li> two</li></ul>":                                                                    "- one\n\n- two",
		"<ol><li>first<li>second<ul><li>inner</ul><li value=7>seventh<li>eighth</ol>":                                                "1. first\n2. second\n\n- inner\n\n7. seventh\n8. eighth",
		"<ol start=4><li><p>four</p></ol><ol><li>one</ol>":                                                                           "4. four\n\n1. one",
		"<ul><li><ul><li>deep</ul></ul>":                                                                                             "- \n- deep",
		"<table><tr><th>k<th>v</tr>\n<tr>\n <td><p>Apple</p></td>\n <td>\n<p>3</p></td></tr><tr><td></td><td>b</td></tr></table>end": "k | v\nApple | 3\n| b\n\nend",
		"<table><tr><td>a</td><td></td><td>c</td></tr></table>":                                                                      "a |  | c",
		"<h1>Big<br>Title</h1>text":                                                                                                  "Big\nTitle\n\ntext",
	} {
		require.Equal(t, want, extract(t, in, "a.html", "").Content, in)
	}
	require.Equal(t, []Heading{{0, 1, "Big Title"}}, extract(t, "<h1>Big<br>Title</h1>text", "a.html", "").Headings)
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
