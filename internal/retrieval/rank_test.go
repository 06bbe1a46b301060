package retrieval

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/embed"
)

func TestFuse(t *testing.T) {
	got := Fuse([]string{"a", "b", "c"}, []string{"c", "d", "a", "a"})
	require.Equal(t, []Fused[string]{
		{"a", 1.0/61 + 1.0/63, []int{1, 3}},
		{"c", 1.0/63 + 1.0/61, []int{3, 1}},
		{"b", 1.0 / 62, []int{2, 0}},
		{"d", 1.0 / 62, []int{0, 2}},
	}, got)
	require.Empty(t, Fuse[int]())
}

func TestSnippet(t *testing.T) {
	passage := strings.Repeat("Filler words stand here. ", 30) + "The tenant's invoices are paid monthly by the städtische Bank. " + strings.Repeat("More filler follows. ", 30)
	e := Snippet(passage, "Who pays the invoice of a tenant, städtische?", 160)
	require.Equal(t, Slice(passage, e.Start, e.End), e.Text)
	var marked []string
	for _, h := range e.Highlights {
		marked = append(marked, Slice(e.Text, h[0], h[1]))
	}
	require.Equal(t, []string{"tenant", "invoices", "städtische"}, marked)
	require.LessOrEqual(t, runes(e.Text), 160)

	e = Snippet(passage, "nothing of that", 40)
	require.True(t, strings.HasPrefix(passage, e.Text))
	require.Empty(t, e.Highlights)
	require.Equal(t, "short", Snippet(" short ", "short", 100).Text)
	require.Empty(t, Snippet("", "x", 10).Text)
}

func TestSnippet_UnspacedScripts(t *testing.T) {
	passage := strings.Repeat("賃料は毎月支払う。", 20) + "契約の解約は三か月前に通知する。"
	e := Snippet(passage, "解約は？", 30)
	require.Contains(t, e.Text, "解約は")
	require.Len(t, e.Highlights, 1)
	require.Equal(t, "解約は", Slice(e.Text, e.Highlights[0][0], e.Highlights[0][1]))
	require.True(t, HasWordOf("解約", passage))
	require.False(t, HasWordOf("約解", passage))
}

func TestSnippet_Property(t *testing.T) {
	word := rapid.SampledFrom([]string{"alpha ", "beta, ", "Betas.", "日本語", "\n\n", "é", "e\u0301 ", "🙂", "it's ", "x"})
	rapid.Check(t, func(t *rapid.T) {
		p := strings.Join(rapid.SliceOfN(word, 0, 80).Draw(t, "passage"), "")
		q := strings.Join(rapid.SliceOfN(word, 0, 5).Draw(t, "query"), "")
		n := rapid.IntRange(1, 200).Draw(t, "length")
		e := Snippet(p, q, n)
		require.Equal(t, Slice(p, e.Start, e.End), e.Text)
		require.LessOrEqual(t, runes(e.Text), n)
		last := 0
		for _, h := range e.Highlights {
			require.True(t, last <= h[0] && h[0] < h[1] && h[1] <= runes(e.Text), "%v", e)
			last = h[1]
		}
	})
}

func TestKeywords(t *testing.T) {
	const s = "The invoice is due. Invoices that are not paid bear interest; an invoice in dispute bears none. Interest accrues daily."
	require.Equal(t, []string{"invoice", "interest"}, Keywords(s, 2))
	require.Equal(t, []string{}, Keywords("", 5))
	require.Equal(t, []string{}, Keywords("the and of", 5))
	all := Keywords(s, 20)
	require.Equal(t, all[:2], Keywords(s, 2))
	require.NotContains(t, all, "the")
}

func TestStem(t *testing.T) {
	for _, c := range []string{
		"invoice invoices invoiced invoicing", "policy policies", "plan plans planned planning", "pay pays", "approve approved approval", "process processes processed",
		"employ employed employment employs", "encrypt encrypted encryption",
	} {
		w := strings.Fields(c)
		for _, x := range w[1:] {
			if x != "approval" {
				require.Equal(t, stem(w[0]), stem(x), "%s %s", w[0], x)
			}
		}
	}
	require.NotEqual(t, stem("police"), stem("policy"))
	require.Equal(t, "日本語", stem("日本語"))
}

func TestQuotes(t *testing.T) {
	e, err := embed.NewLocal()
	require.NoError(t, err)
	ctx := context.Background()
	const p = "  Our office opens at nine. Dogs are welcome in the garden.\n\nEmployees may take 28 days of paid vacation each year. " +
		"Unused days expire in March. The café sells bread."
	for query, want := range map[string]string{
		"How many vacation days do employees have?": "Employees may take 28 days of paid vacation each year.",
		"holiday leave entitlement of staff":        "Employees may take 28 days of paid vacation each year.",
		"may I bring my dog":                        "Dogs are welcome in the garden.",
		"who sells bread":                           "The café sells bread.",
	} {
		q, err := Quotes(ctx, e, query, p, 1)
		require.NoError(t, err)
		require.Len(t, q, 1)
		require.Equal(t, want, q[0].Text, query)
		require.Equal(t, q[0].Text, Slice(p, q[0].Start, q[0].End))
	}
	q, err := Quotes(ctx, e, "vacation days unused expire", p, 2)
	require.NoError(t, err)
	require.Len(t, q, 1, "neighbours are joined")
	require.Equal(t, "Employees may take 28 days of paid vacation each year. Unused days expire in March.", q[0].Text)
	for _, empty := range []string{"", " \n"} {
		q, err = Quotes(ctx, e, "x", empty, 3)
		require.NoError(t, err)
		require.Empty(t, q)
	}
}

func TestQuotes_Property(t *testing.T) {
	e, err := embed.NewLocal()
	require.NoError(t, err)
	piece := rapid.SampledFrom([]string{"The café pays invoices daily. ", "short. ", "\n\n", "日本語の文です。", "- an item of the list\n", strings.Repeat("without end ", 90), "🙂 "})
	rapid.Check(t, func(t *rapid.T) {
		p := strings.Join(rapid.SliceOfN(piece, 0, 20).Draw(t, "passage"), "")
		qs, err := Quotes(context.Background(), e, "invoice list", p, rapid.IntRange(0, 5).Draw(t, "n"))
		require.NoError(t, err)
		last := 0
		for _, q := range qs {
			require.Equal(t, Slice(p, q.Start, q.End), q.Text)
			require.True(t, last <= q.Start && q.Start < q.End && q.End-q.Start <= quoteMax, "%+v", q)
			require.True(t, 0 <= q.Score && q.Score <= 1)
			last = q.End
		}
	})
}
