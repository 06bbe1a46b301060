package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/embed"
)

const (
	vocabulary = 45_000 // words kept; with 96 dimensions this makes a file of some 7 MB
	buckets    = 16_384 // n-gram rows
	minn, maxn = 4, 6   // characters of an n-gram, bounds included
	rare       = 1e-3   // weight of a word is rare / (rare + its share of running text): Arora et al. 2017, SIF
	components = 1      // common directions removed: same paper
)

// pack turns fastText's text vectors into a model file.
func pack(wordnet, corpus, vec, out string) error {
	wn, err := readWordNet(wordnet)
	if err != nil {
		return err
	}
	all, err := readVectors(vec)
	if err != nil {
		return err
	}
	freq, total, err := frequencies(wn, corpus)
	if err != nil {
		return err
	}
	v := choose(wn, all, freq)
	wn.retrofit(v)
	center(v)
	texts := glosses(wn)
	for range components {
		c := common(v, texts, freq, total)
		for _, r := range v.rows {
			add(r.Vector, c, -float32(dot(r.Vector, c)))
		}
	}
	for _, r := range v.rows {
		scale(r.Vector, 1/norm(r.Vector))
	}
	grams := ngrams(v)
	for _, r := range v.rows {
		scale(r.Vector, weight(freq[r.Word], total))
	}
	f, err := embed.Pack(v.rows, grams, minn, maxn)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d words, %d n-gram rows, %d bytes\n", len(v.rows), len(grams), len(f))
	return os.WriteFile(out, f, 0o644) //nolint:gosec // G306: a file for a repository
}

// ngrams gives each bucket the mean of the words that have an n-gram in it: long where they agree, short where they do not.
func ngrams(v *vocab) []embed.Row {
	rows, count := make([]embed.Row, buckets), make([]float64, buckets)
	for i := range rows {
		rows[i].Vector = make([]float32, len(v.rows[0].Vector))
	}
	for _, r := range v.rows {
		for b := range embed.NGrams(r.Word, minn, maxn, buckets) {
			add(rows[b].Vector, r.Vector, 1)
			count[b]++
		}
	}
	for b, n := range count {
		if n > 0 {
			scale(rows[b].Vector, 1/n)
		}
	}
	return rows
}

func weight(count, total float64) float64 { return rare / (rare + count/total) }

// readVectors reads "word x…" lines; a first line of two numbers is a header.
func readVectors(path string) ([]embed.Row, error) {
	var rows []embed.Row
	err := eachLine(path, func(l string) error {
		f := strings.Fields(l)
		if len(f) <= 2 {
			return nil
		}
		r := embed.Row{Word: f[0]}
		for _, s := range f[1:] {
			x, err := strconv.ParseFloat(s, 32)
			if err != nil {
				return err
			}
			r.Vector = append(r.Vector, float32(x))
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// frequencies counts running English: WordNet's definitions and examples. A word seen only in the documentation
// counts a tenth of that, since the documentation's favourites are not English's.
func frequencies(wn *wordNet, corpus string) (map[string]float64, float64, error) {
	freq, total := map[string]float64{}, 0.0
	for _, k := range wn.order {
		for w := range embed.Words(wn.sets[k].gloss) {
			freq[w]++
			total++
		}
	}
	whole := map[string]float64{}
	err := eachLine(corpus, func(l string) error {
		for w := range strings.SplitSeq(l, " ") {
			whole[w]++
		}
		return nil
	})
	for w, n := range whole {
		freq[w] = max(freq[w], n/10)
	}
	return freq, total, err
}

type vocab struct {
	rows  []embed.Row
	index map[string]int
}

func (v *vocab) add(w string, x []float32) {
	if _, ok := v.index[w]; !ok {
		v.index[w] = len(v.rows)
		v.rows = append(v.rows, embed.Row{Word: w, Vector: slices.Clone(x)})
	}
}

// choose keeps the words of letters that occur most, and gives irregular forms the vector of their base.
func choose(wn *wordNet, all []embed.Row, freq map[string]float64) *vocab {
	var ok []embed.Row
	for _, r := range all {
		if plain(r.Word) && norm(r.Vector) > 0 {
			scale(r.Vector, 1/norm(r.Vector))
			ok = append(ok, r)
		}
	}
	slices.SortStableFunc(ok, func(a, b embed.Row) int {
		return cmp.Or(cmp.Compare(freq[b.Word], freq[a.Word]), strings.Compare(a.Word, b.Word))
	})
	v := &vocab{index: map[string]int{}}
	for _, r := range ok[:min(len(ok), vocabulary)] {
		v.add(r.Word, r.Vector)
	}
	for _, e := range wn.exc {
		if i, ok := v.index[e[1]]; ok && plain(e[0]) {
			v.add(e[0], v.rows[i].Vector)
		}
	}
	slices.SortFunc(v.rows, func(a, b embed.Row) int { return strings.Compare(a.Word, b.Word) })
	for i, r := range v.rows {
		v.index[r.Word] = i
	}
	return v
}

func plain(w string) bool {
	if len(w) > 28 {
		return false
	}
	for _, r := range w {
		if r < 'a' || r > 'z' {
			return false
		}
	}
	return true
}

// center subtracts the mean word vector.
func center(v *vocab) {
	mean := make([]float32, len(v.rows[0].Vector))
	for _, r := range v.rows {
		add(mean, r.Vector, 1/float32(len(v.rows)))
	}
	for _, r := range v.rows {
		add(r.Vector, mean, -1)
	}
}

// glosses gives the words of the definitions, as sample sentences.
func glosses(wn *wordNet) [][]string {
	var out [][]string
	for i, k := range wn.order {
		if i%4 == 0 {
			out = append(out, words(wn.sets[k].gloss))
		}
	}
	return out
}

// common is the first principal direction of the texts' vectors, by power iteration.
func common(v *vocab, texts [][]string, freq map[string]float64, total float64) []float32 {
	var xs [][]float32
	for _, t := range texts {
		x := make([]float32, len(v.rows[0].Vector))
		for _, w := range t {
			if i, ok := v.index[w]; ok {
				add(x, v.rows[i].Vector, float32(weight(freq[w], total)))
			}
		}
		if n := norm(x); n > 0 {
			scale(x, 1/n)
			xs = append(xs, x)
		}
	}
	c := make([]float32, len(xs[0]))
	c[0] = 1
	for range 50 {
		next := make([]float32, len(c))
		for _, x := range xs {
			add(next, x, float32(dot(x, c)))
		}
		scale(next, 1/norm(next))
		c = next
	}
	return c
}

func norm(x []float32) float64 { return math.Sqrt(dot(x, x)) }

func scale(x []float32, f float64) {
	for i := range x {
		x[i] *= float32(f)
	}
}

func add(x, y []float32, f float32) {
	for i := range x {
		x[i] += y[i] * f
	}
}

func dot(x, y []float32) float64 {
	var s float64
	for i := range x {
		s += float64(x[i]) * float64(y[i])
	}
	return s
}
