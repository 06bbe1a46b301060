package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/bigram"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/pgtest"
)

func TestReadWords(t *testing.T) {
	for query, want := range map[string]words{
		"What does XK-4471 mean?":      {"What does XK-4471 mean?", false, false},
		"termination - hotel":          {"termination   hotel", false, false},
		"termination -- hotel":         {"termination    hotel", false, false},
		"--verbose":                    {"  verbose", false, false},
		"below -40 degrees":            {"below  40 degrees", false, false},
		"Ein- und Ausgang":             {"Ein  und Ausgang", false, false},
		"log -files":                   {"log -files", true, false},
		"-files":                       {"-files", true, false},
		`"old log" -attorney`:          {`"old log" -attorney`, true, false},
		`log -"old files"`:             {`log -"old files"`, true, false},
		`a 19" monitor`:                {"a 19  monitor", false, false},
		`"a - b"`:                      {`"a - b"`, true, false},
		"解約":                           {" 解約 ", false, false},
		"解約の条件は？":                      {` "解約 約の の条 条件 件は"  `, false, false},
		`"解約の" -条件書`:                   {`"解約 約の " -"条件 件書" `, true, false},
		"税":                            {" 税 ", false, true},
		"PDFの変換":                       {`PDF "の変 変換" `, false, false},
		"A-社":                          {"A  社 ", false, true},
		strings.Repeat("-", 5) + "end": {"     end", false, false},
	} {
		require.Equal(t, want, readWords(query), query)
	}
}

func FuzzReadWords(f *testing.F) {
	f.Add(`a -b "c d" 解約 "`)
	f.Fuzz(func(t *testing.T, query string) {
		w := readWords(query)
		require.True(t, utf8.ValidString(w.text))
		require.Zero(t, strings.Count(w.text, `"`)%2, "%q of %q", w.text, query)
	})
}

// People ask with hyphens, apostrophes and dashes: none of them keeps the words from being looked for.
func TestSearch_WordsOfAQuestion(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	var filler strings.Builder
	for i := range 80 {
		fmt.Fprintf(&filler, "Paragraph %d says what the words of this manual mean, how they are meant and why that means much to the reader of the manual. %s\n\n", i,
			strings.Repeat("It goes on about other matters at some length. ", 6))
	}
	at := filler.Len() / 2
	at += strings.Index(filler.String()[at:], "\n\n") + 2
	long := filler.String()[:at] + "The pump controller shows XK-4471 when the outlet is blocked. " + filler.String()[at:]
	w.document(ann, "manual", long, nil)
	w.document(ann, "people", "The contract was signed by Liam O'Hara-Müller on 2024-03-01 in a well-known hotel.", nil)
	w.document(ann, "terms", "The termination of the lease needs a notice of three months to the owner.", nil)
	words := func(kind enum.SearchType, query string) []Hit {
		var out []Hit
		for _, h := range w.search(w.params(ann, kind, query)) {
			if h.KeywordRank != nil {
				out = append(out, h)
			}
		}
		return out
	}
	best := func(kind enum.SearchType, query string) Hit {
		t.Helper()
		for _, h := range words(kind, query) {
			if *h.KeywordRank == 1 {
				return h
			}
		}
		require.Fail(t, "no passage by its words", query)
		return Hit{}
	}
	require.Contains(t, best(enum.SearchTypeHybrid, "What does XK-4471 mean?").Content, "XK-4471")
	require.Contains(t, best(enum.SearchTypeHybrid, "What does it mean when the controller says XK-4471?").Content, "XK-4471")
	for query, title := range map[string]string{
		"Which e-mail did O'Hara get":           "people",
		"Who was in the doctor's hotel":         "people",
		"What was signed on 2024-03-01?":        "people",
		"termination - hotel":                   "terms",
		"What is the non-refundable notice for": "terms",
	} {
		found := false
		for _, h := range words(enum.SearchTypeHybrid, query) {
			found = found || h.Title == title
		}
		require.True(t, found, query)
	}
	require.Equal(t, "people", best(enum.SearchTypeKeyword, "O'Hara").Title)
	require.Equal(t, "people", best(enum.SearchTypeKeyword, "O'Hara - hotel").Title)
	require.Empty(t, words(enum.SearchTypeHybrid, `"the lease of termination"`), "a phrase is taken at its word")
	for _, h := range words(enum.SearchTypeHybrid, "notice -termination") {
		require.NotEqual(t, "terms", h.Title, "so is an exclusion")
	}
}

func TestSearch_UnspacedScripts(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	w.document(ann, "ja", "賃貸借契約の解約の申し入れは、三か月前までに書面で行うものとする。所得税は別に定める。", nil)
	w.document(ann, "zh", "合同终止后三十天内退还押金。", nil)
	w.document(ann, "ko", "계약 해지를 신청하려면 서면으로 통지해야 한다.", nil)
	w.document(ann, "th", "ผู้เช่าต้องชำระค่าเช่าทุกวันที่หนึ่งของเดือน", nil)
	w.document(ann, "en", "The tenant gives notice (解約) three months before. Everything else is as the law has it for the tenant.", nil)
	find := func(kind enum.SearchType, query string) []string {
		var out []string
		for _, h := range w.search(w.params(ann, kind, query)) {
			if h.KeywordRank != nil {
				out = append(out, h.Title)
			}
		}
		return out
	}
	for query, want := range map[string][]string{
		"解約": {"ja", "en"}, "解約の申し入れ": {"ja"}, `"解約の申"`: {"ja"}, "税": {"ja"}, "所得税": {"ja"}, "約解": nil, "押金": {"zh"}, "해지": {"ko"}, "ค่าเช่า": {"th"},
		"解約 tenant": {"en"}, "申し入れ -三か月": nil,
	} {
		require.ElementsMatch(t, want, find(enum.SearchTypeKeyword, query), query)
	}
	require.Contains(t, find(enum.SearchTypeHybrid, "解約の条件は何ですか？"), "ja")
	require.Contains(t, find(enum.SearchTypeHybrid, "押金什么时候退？"), "zh")
}

// The database cuts what Go cuts.
func TestSearchText(t *testing.T) {
	ctx, db := context.Background(), pgtest.New(t).Pool
	rows, err := db.Query(ctx, "SELECT i FROM generate_series(1, 262143) i WHERE (i < 55296 OR i > 57343) AND search_text('a' || chr(i)) <> 'a' || chr(i)")
	require.NoError(t, err)
	defer rows.Close()
	theirs := map[rune]bool{}
	for rows.Next() {
		var i rune
		require.NoError(t, rows.Scan(&i))
		theirs[i] = true
	}
	require.NoError(t, rows.Err())
	for r := rune(1); r < 0x40000; r++ {
		require.Equal(t, bigram.Is(r), theirs[r], "%U", r)
	}
	var got string
	require.NoError(t, db.QueryRow(ctx, "SELECT search_text('the 解約の申 x, 税。')").Scan(&got))
	require.Equal(t, "the  解約 約の の申 申  x,  税 。", got)
}
