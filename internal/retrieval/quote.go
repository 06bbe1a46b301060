package retrieval

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"cdsa.dev/cdsa/internal/embed"
)

// Quote is a passage's part that answers a query. Text is exactly the passage's code points Start to End.
type Quote struct {
	Start, End int // code points into the passage
	Text       string
	Score      float64 // 0..1, half words in common and half likeness of meaning
}

// Bounds of a quote.
const (
	quoteMax     = 600 // code points; a longer sentence is cut between words
	quoteLeast   = 20  // shorter sentences, as "See below.", are quoted only when there is no other
	quoteChoices = 64  // sentences looked at
)

// Quotes gives the n sentences of the passage that answer the query best, in the order of the passage; neighbours are joined while they fit a quote. None
// for a passage without text. The error is the embedder's.
func Quotes(ctx context.Context, e embed.Embedder, query, passage string, n int) ([]Quote, error) {
	choices := candidates(passage)
	if len(choices) == 0 || n < 1 {
		return nil, nil
	}
	texts := []string{query}
	for _, c := range choices {
		texts = append(texts, c.Text)
	}
	vectors, err := e.Embed(ctx, texts)
	if err != nil {
		return nil, err
	}
	want := queryStems(query)
	for i := range choices {
		found := map[string]bool{}
		for _, m := range matches(choices[i].Text, want) {
			found[m.stem] = true
		}
		lexical := float64(len(found)) / float64(max(len(want), 1))
		choices[i].Score = lexical/2 + max(0, embed.Cosine(vectors[0], vectors[i+1]))/2
	}
	slices.SortStableFunc(choices, func(a, b Quote) int { return cmp.Compare(b.Score, a.Score) })
	choices = choices[:min(n, len(choices))]
	slices.SortFunc(choices, func(a, b Quote) int { return cmp.Compare(a.Start, b.Start) })
	return join(passage, choices), nil
}

// candidates gives the sentences of the passage without the white space around them.
func candidates(passage string) []Quote {
	var long, short []Quote
	pos := position{s: passage}
	for _, s := range sentences(passage) {
		text := strings.TrimSpace(passage[s.start:s.end])
		if text == "" {
			continue
		}
		a := s.start + strings.Index(passage[s.start:s.end], text)
		if b := byteOffset(text, quoteMax); b < len(text) {
			if i := strings.LastIndexAny(text[:b], " \n\t"); i > b/2 {
				b = i
			}
			text = strings.TrimSpace(text[:b])
		}
		q := Quote{Start: pos.rune(a), Text: text}
		q.End = q.Start + runes(text)
		if runes(text) < quoteLeast {
			short = append(short, q)
		} else if long = append(long, q); len(long) == quoteChoices {
			break
		}
	}
	if len(long) == 0 {
		return short[:min(len(short), quoteChoices)]
	}
	return long
}

// join makes one quote of neighbours with only white space between them.
func join(passage string, qs []Quote) []Quote {
	out := qs[:1]
	for _, q := range qs[1:] {
		last := &out[len(out)-1]
		between := Slice(passage, last.End, q.Start)
		if strings.TrimSpace(between) == "" && q.End-last.Start <= quoteMax {
			last.Text += between + q.Text
			last.End, last.Score = q.End, max(last.Score, q.Score)
			continue
		}
		out = append(out, q)
	}
	return out
}
