package retrieval

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkChunks is what Split promises.
func checkChunks(t require.TestingT, x *Text, chunks []Chunk) {
	rs := []rune(x.Content)
	covered := 0
	for i, c := range chunks {
		require.Equal(t, i, c.Index)
		require.True(t, 0 <= c.Start && c.Start < c.End && c.End <= len(rs), "chunk %d: %d..%d of %d", i, c.Start, c.End, len(rs))
		require.Equal(t, string(rs[c.Start:c.End]), c.Text)
		require.False(t, unicode.IsSpace(rs[c.Start]) || unicode.IsSpace(rs[c.End-1]))
		require.LessOrEqual(t, c.TokenCount, chunkMax)
		require.Equal(t, Tokens(c.Text), c.TokenCount)
		if i > 0 {
			require.Greater(t, c.Start, chunks[i-1].Start)
			require.Greater(t, c.End, chunks[i-1].End)
		}
		if c.Start > covered {
			require.Empty(t, strings.TrimSpace(string(rs[covered:c.Start])), "left out before chunk %d", i)
		}
		covered = c.End
		require.Equal(t, x.Page(c.Start), c.Page)
	}
	require.Empty(t, strings.TrimSpace(string(rs[covered:])), "left out at the end")
}

func TestSplit_Property(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"word ", "A sentence ends here. ", "\n", "\n\n", "\f", "# Title\n\n", "- item\n", "日本語。", "🇩🇪🇫🇷", "e\u0301\u0302", "👩‍👩‍👧", "\r\n", "Dr. No said 3.14! ",
		strings.Repeat("x", 700), strings.Repeat("字", 500), strings.Repeat("many words in a row ", 60), "1. One\n2. Two\n", " ", "\u2029", "\u00a0", "...", "\"Quote.\" ",
	})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(piece, 0, 60).Draw(t, "pieces"), "")
		x := &Text{Content: s, Pages: formFeeds(s), Headings: markdownHeadings(s)}
		checkChunks(t, x, Split(x))
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("")
	f.Add("One. Two.\n\nThree\f\u2029Four")
	f.Add(strings.Repeat("\u0301", 999))
	f.Add(strings.Repeat("🏽", 999))
	f.Fuzz(func(t *testing.T, s string) {
		s = clean(s)
		x := &Text{Content: s, Pages: formFeeds(s), Headings: plainHeadings(s)}
		checkChunks(t, x, Split(x))
		checkTiles(t, s)
	})
}

func checkTiles(tb testing.TB, s string) {
	tb.Helper()
	at := 0
	for _, x := range sentences(s) {
		require.Equal(tb, at, x.start)
		require.Greater(tb, x.end, x.start)
		at = x.end
	}
	require.Equal(tb, len(s), at)
}

func split(s string) []string {
	var out []string
	for _, x := range sentences(s) {
		out = append(out, strings.TrimSpace(s[x.start:x.end]))
	}
	return out
}

func TestSentences(t *testing.T) {
	for in, want := range map[string][]string{
		"One. Two! Three? Four":                   {"One.", "Two!", "Three?", "Four"},
		"Dr. A. Smith, e.g. here, paid $3.50.":    {"Dr. A. Smith, e.g. here, paid $3.50."},
		"He said \"Stop.\" Then he left.":         {"He said \"Stop.\"", "Then he left."},
		"A line\nwrapped. Another\n\nParagraph.":  {"A line\nwrapped.", "Another", "Paragraph."},
		"List:\n- one\n- two\n3. three":           {"List:", "- one", "- two", "3. three"},
		"これは文です。次の文。":                             {"これは文です。", "次の文。"},
		"see v1. and more":                        {"see v1. and more"},
		"Page one.\fPage two.":                    {"Page one.", "Page two."},
		"End.\nNext line.":                        {"End.", "Next line."},
		"  4. Conveying Verbatim Copies.\n\nYes.": {"4. Conveying Verbatim Copies.", "Yes."},
	} {
		require.Equal(t, want, split(in), in)
		checkTiles(t, in)
	}
}

func TestSplit_Structure(t *testing.T) {
	para := strings.Repeat("The lessee keeps the premises in good order. ", 12) // 108 tokens and more
	var b strings.Builder
	for i := range 6 {
		fmt.Fprintf(&b, "## Part %d\n\n%s\n\n%s\n\n", i, para, para)
	}
	x := extract(t, b.String(), "lease.md", "")
	chunks := Split(x)
	checkChunks(t, x, chunks)
	require.Len(t, chunks, 6)
	for i, c := range chunks {
		require.Equal(t, fmt.Sprintf("Part %d", i), c.Heading)
		require.True(t, strings.HasPrefix(c.Text, "## Part"), c.Text)
	}
}

func TestSplit_Overlap(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "Sentence number %d says something plain. ", i)
	}
	chunks := Split(&Text{Content: b.String()})
	for i := 1; i < len(chunks); i++ {
		shared := chunks[i-1].End - chunks[i].Start
		require.True(t, 20 < shared && shared < 400, "%d", shared)
		require.True(t, strings.HasPrefix(chunks[i].Text, "Sentence number"))
	}
}

func TestSplit_KeepsCharactersWhole(t *testing.T) {
	for _, unit := range []string{"e\u0301", "👩‍👩‍👧", "👍🏽", "한"} {
		for _, c := range Split(&Text{Content: strings.Repeat(unit, 1000)}) {
			require.True(t, strings.HasPrefix(c.Text, unit) && strings.HasSuffix(c.Text, unit), "%q", c.Text[:20])
		}
	}
}

func TestSplit_Nothing(t *testing.T) {
	require.Empty(t, Split(&Text{}))
	require.Empty(t, Split(&Text{Content: " \n\f\n "}))
}

func TestSplit_LicenceText(t *testing.T) {
	data, err := os.ReadFile("/usr/share/common-licenses/GPL-3")
	if err != nil {
		t.Skip("no GPL-3 text on this machine")
	}
	x := extract(t, string(data), "GPL-3", "")
	chunks := Split(x)
	checkChunks(t, x, chunks)
	require.Equal(t, "en", x.Language)
	sum := 0
	for _, c := range chunks {
		sum += c.TokenCount
	}
	t.Logf("%d chunks, %d tokens each, %d headings", len(chunks), sum/len(chunks), len(x.Headings))
	require.True(t, 120 < sum/len(chunks) && sum/len(chunks) <= 320)
	require.Greater(t, len(x.Headings), 15)
}

func TestSplit_Linear(t *testing.T) {
	took := func(n int) time.Duration {
		s := strings.Repeat("A plain sentence, of no interest. ", n)
		start := time.Now()
		Split(&Text{Content: s})
		return time.Since(start)
	}
	took(1000)
	small, large := took(10_000), took(80_000)
	require.Less(t, large, 40*small+time.Second, "8 times the text")
	for _, unit := range []string{"字", ".", "\n", "\u0301", "🇩🇪", "Dr. ", "'", "a", ". ", "1. ", ".)", " \n"} {
		start := time.Now()
		Split(&Text{Content: strings.Repeat(unit, 1<<18/len(unit)) + "end"})
		require.Less(t, time.Since(start), 5*time.Second, "%q", unit)
	}
}

func TestSlice(t *testing.T) {
	require.Equal(t, "éø", Slice("aéøb", 1, 3))
	require.Equal(t, "b", Slice("aéøb", 3, 99))
	require.Equal(t, "a", Slice("aéøb", -5, 1))
	require.Empty(t, Slice("aéøb", 9, 12))
	require.Empty(t, Slice("aéøb", 3, 1))
	require.True(t, utf8.ValidString(Slice("日本語", 1, 2)))
}
