package quote

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestSentences(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" \n ", nil},
		{"One. Two! Three?", []string{"One.", "Two!", "Three?"}},
		{"See e.g. section 3. of it. Version 1.2.3 is out.", []string{"See e.g. section 3. of it.", "Version 1.2.3 is out."}},
		{"A heading\n\nA sentence over\ntwo lines.", []string{"A heading", "A sentence over\ntwo lines."}},
		{`He said "stop." Then left.`, []string{`He said "stop."`, "Then left."}},
		{"数据保留九十天。备份另行规定。", []string{"数据保留九十天。", "备份另行规定。"}},
		{"no end", []string{"no end"}},
	} {
		var got []string
		for _, s := range Sentences(tc.text) {
			got = append(got, tc.text[s[0]:s[1]])
		}
		require.Equal(t, tc.want, got, tc.text)
	}
}

func TestLexical(t *testing.T) {
	passage := "Retention\n\nThis chapter is about many things. Personal data is retained for 90 days. Backups are kept longer."
	for query, want := range map[string]string{
		"How long is personal data retained?": "Personal data is retained for 90 days.",
		"What about backups?":                 "Backups are kept longer.",
		"zebra":                               "This chapter is about many things.",
	} {
		start, end := Lexical(query, passage)
		require.Equal(t, want, passage[start:end], query)
	}
	for passage, want := range map[string]string{
		"# Staff handbook\n\n15. The office opens at nine.\n\n15.": "15. The office opens at nine.",
		"Section 3\n\n15.\n\nThe office opens at nine.":            "The office opens at nine.",
		"# Only a heading": "# Only a heading",
		"15.":              "15.",
	} {
		for _, query := range []string{"zebra", "What is 15?"} {
			start, end := Lexical(query, passage)
			require.Equal(t, want, passage[start:end], query)
		}
	}
	japanese := "賃料は毎月支払う。契約の解約は三か月前に通知する。"
	start, end, found := Best("解約の条件は？", japanese)
	require.Equal(t, "契約の解約は三か月前に通知する。", japanese[start:end])
	require.Positive(t, found)
	_, _, score := Best("zebra", passage)
	require.Zero(t, score)
	long := strings.Repeat("Größe ", 500)
	start, end = Lexical("Größe", long)
	require.LessOrEqual(t, end-start, MaxBytes)
	require.True(t, strings.HasSuffix(long[start:end], "Größe"))
}

func FuzzLexical(f *testing.F) {
	f.Add("who", "A b. C.\n\nD 😀. e.g. x")
	f.Add("\xff", "\xff. \xe2\x82 a.")
	f.Fuzz(func(t *testing.T, query, passage string) {
		start, end := Lexical(query, passage)
		require.True(t, 0 <= start && start <= end && end <= len(passage))
		require.LessOrEqual(t, end-start, MaxBytes)
		if utf8.ValidString(passage) {
			require.True(t, utf8.ValidString(passage[start:end]))
		}
		last := 0
		for _, s := range Sentences(passage) {
			require.True(t, last <= s[0] && s[0] < s[1] && s[1] <= len(passage))
			last = s[1]
		}
	})
}
