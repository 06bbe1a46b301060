package agent

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/llm"
)

func FuzzUTF16(f *testing.F) {
	for _, s := range []string{"", "abc", "Größe", "数据", "😀", "👩‍👩‍👧", "a\xffb"} {
		f.Add(s, 2)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		require.Equal(t, len(utf16.Encode([]rune(s))), UTF16Len(s))
		a, b := cutUTF16(s, n)
		require.Equal(t, s, a+b)
		if utf8.ValidString(s) {
			require.True(t, utf8.ValidString(a) && utf8.ValidString(b))
		}
		if n >= 0 && n <= UTF16Len(s) {
			require.InDelta(t, n, UTF16Len(a), 1)
		}
		clean := CleanText(s)
		require.True(t, utf8.ValidString(clean))
		require.NotContains(t, clean, "\x00")
		require.GreaterOrEqual(t, EstimateTokens(s), 0)
	})
}

// Counts of cl100k_base and o200k_base lie within the bounds given.
func TestEstimateTokens(t *testing.T) {
	for s, bounds := range map[string][2]int{
		"": {0, 0},
		"The retention period for personal records is seven years.": {10, 14},
		"Die Aufbewahrungsfrist beträgt neunzig Tage.":              {9, 17},
		"数据保留九十天":                                                   {6, 12},
		"😀😀":                                                        {2, 6},
		"1234567890":                                                {4, 4},
		`{"query":"retention"}`:                                     {5, 10},
		strings.Repeat(" ", 1000):                                   {0, 2},
		strings.Repeat("\n", 1000):                                  {1, 20},
		strings.Repeat("a", 10_000):                                 {1250, 2600},
	} {
		n := EstimateTokens(s)
		require.True(t, bounds[0] <= n && n <= bounds[1], "%.40q: %d", s, n)
	}
}

func TestNewCalls(t *testing.T) {
	first := NewCalls(nil, 1, 4, []llm.ToolCall{{ID: "x", Name: "a"}, {ID: "x", Name: "b"}, {Name: "c"}, {ID: strings.Repeat("i", 65), Name: "no such name!"}})
	second := NewCalls(first, 2, 9, []llm.ToolCall{
		{ID: "x", Name: "d", Arguments: map[string]any{"deep": []any{map[string]any{"k": "a\x00"}}}},
		{ID: "x-2", Name: "e", Arguments: map[string]any{"ok": "a"}},
	})
	ids := map[string]bool{}
	for _, c := range append(first, second...) {
		require.NotEmpty(t, c.ID)
		require.LessOrEqual(t, len(c.ID), 64)
		require.False(t, ids[c.ID], c.ID)
		ids[c.ID] = true
		require.NotNil(t, c.Arguments)
	}
	require.Equal(t, "unknown_tool", first[3].Name)
	require.Equal(t, 4, first[0].Offset)
	require.Equal(t, 2, second[0].Step)
	require.NotEmpty(t, second[0].Invalid)
	require.Empty(t, second[0].Arguments)
	require.Empty(t, second[1].Invalid)
}
