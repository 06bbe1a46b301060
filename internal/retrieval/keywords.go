package retrieval

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"

	"cdsa.dev/cdsa/internal/embed"
)

// terms gives the words of s in order, lower-cased.
func terms(s string) iter.Seq[string] { return embed.Words(s) }

// Keywords gives the n words that a passage is most about, most important first: what occurs often, long words
// before short ones, in one of their forms. For document_chunks.search_keywords. Never nil.
func Keywords(s string, n int) []string {
	type word struct {
		forms map[string]int
		count int
	}
	words := map[string]*word{}
	for w := range terms(s) {
		if runes(w) < 3 || functionWords[w] || strings.Trim(w, "0123456789") == "" && len(w) < 4 {
			continue
		}
		k := stem(w)
		if words[k] == nil {
			words[k] = &word{forms: map[string]int{}}
		}
		words[k].count++
		words[k].forms[w]++
	}
	type scored struct {
		form  string
		score float64
	}
	all := make([]scored, 0, len(words))
	for _, w := range words {
		best := ""
		for f, c := range w.forms {
			if best == "" || c > w.forms[best] || c == w.forms[best] && (len(f) < len(best) || len(f) == len(best) && f < best) {
				best = f
			}
		}
		all = append(all, scored{best, float64(w.count) * math.Log2(1+float64(min(runes(best), 12)))})
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.form, b.form))
	})
	out := make([]string, 0, n)
	for _, w := range all[:min(len(all), max(n, 0))] {
		out = append(out, w.form)
	}
	return out
}

// stem takes common English endings off, so that a question's "invoices" and a text's "invoiced" meet. It is coarse:
// only equality of stems means something.
func stem(w string) string {
	if len(w) < 4 || w[len(w)-1] >= 0x80 {
		return w
	}
	for _, e := range endings {
		n := len(w) - len(e.cut)
		if n < e.least || w[n:] != e.cut {
			continue
		}
		w = w[:n] + e.put
		break
	}
	if n := len(w); n > 4 && w[n-1] == w[n-2] && strings.IndexByte("bdgmnprt", w[n-1]) >= 0 {
		w = w[:n-1]
	}
	if len(w) > 3 && w[len(w)-1] == 'e' {
		w = w[:len(w)-1]
	}
	if len(w) > 3 && w[len(w)-1] == 'y' {
		w = w[:len(w)-1] + "i"
	}
	return w
}

var endings = []struct {
	cut, put string
	least    int // letters that must remain
}{
	{"ations", "", 4}, {"ation", "", 4}, {"ingly", "", 3}, {"ments", "", 4}, {"ment", "", 4}, {"ness", "", 4}, {"ies", "y", 2}, {"ied", "y", 2},
	{"sses", "ss", 1}, {"ings", "", 3}, {"ing", "", 3}, {"edly", "", 3}, {"ed", "", 3}, {"ers", "", 4}, {"er", "", 4}, {"ions", "", 4},
	{"ion", "", 4}, {"es", "", 3}, {"ly", "", 4}, {"ss", "ss", 1}, {"us", "us", 1}, {"s", "", 3},
}

// functionWords are English words that say nothing about a passage's subject.
var functionWords = wordSet(`a about above after again against all also am an and any are arent as at be because been before being below between both
	but by can cannot cant could did didnt do does doesnt doing dont down during each either else ever few for from further had has have having he her here hers
	him himself his how however i if in into is isnt it its itself just let may me might more most must my myself neither no nor not now of off on
	once one only or other our ours out over own per please same shall she should so some such tell than that the their theirs them themselves then
	there these they this those through thus to too under until up upon us very was wasnt we were what when where whether which while who whom whose why will with
	within without would you your yours yourself`)
