package embed

import (
	"context"
	_ "embed" // the model file
	"fmt"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// LocalModel is what Local.Model gives; it changes whenever a vector would.
const LocalModel = "cdsa-local-1"

// The shares of an unknown word's two halves: what its n-grams suggest it means, and its spelling. Chosen on the
// development pairs of local_test.go.
const (
	guessShare    = 0.5
	spellingShare = 0.87 // sqrt(1 - 0.5²)
	spellingDims  = 160
)

//go:embed local.bin
var localFile string // a string stays in the binary's read-only pages; nothing is copied to the heap

var openLocal = sync.OnceValues(func() (*table, error) { return openTable(localFile) })

// Local embeds in process: the weighted sum of word vectors (see MODEL.md), about a microsecond a word. What it
// does not know - names, codes, other scripts - it compares by spelling, in dimensions of its own.
type Local struct{ t *table }

// NewLocal opens the embedded model; it reads the header only. An error means a damaged build.
func NewLocal() (*Local, error) {
	t, err := openLocal()
	if err != nil {
		return nil, fmt.Errorf("local embedding model: %w", err)
	}
	return &Local{t}, nil
}

// Model names the model.
func (l *Local) Model() string { return LocalModel }

// Dimensions is the word vectors' dimensions and those for spelling.
func (l *Local) Dimensions() int { return l.t.dim + spellingDims }

// Embed gives one vector a text. Its only error is the context's.
func (l *Local) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	out := make([][]float32, len(texts))
	for i, s := range texts {
		v, err := l.embed(ctx, s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (l *Local) embed(ctx context.Context, text string) ([]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if IsBlank(text) {
		return Blank(), nil
	}
	v := make([]float32, Size)
	n := 0
	for w := range Words(norm.NFKC.String(text)) {
		l.add(v, w)
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if n == 0 { // only signs, as "???" or emoji
		l.spell(v[l.t.dim:], text)
	}
	if !Normalise(v) { // what cancelled out is told apart by spelling alone
		clear(v)
		l.spell(v[l.t.dim:], text)
		if !Normalise(v) {
			return Blank(), nil
		}
	}
	return v, nil
}

// add adds a word to v: by meaning if it or its base form is known, else half by guess and half by spelling.
func (l *Local) add(v []float32, w string) {
	if i, ok := l.known(w); ok {
		l.t.addWord(v, i)
		return
	}
	guess := make([]float32, 0, 128)[:l.t.dim]
	clear(guess)
	if latin(w) {
		l.guess(guess, w)
	}
	if Normalise(guess) {
		for i, x := range guess {
			v[i] += float32(x * guessShare)
		}
	}
	l.spell(v[l.t.dim:], w)
}

// guess adds what an unknown word may mean: what stands behind a prefix, the two words of a compound, or else what
// words with the same n-grams mean.
func (l *Local) guess(v []float32, w string) {
	for _, p := range prefixes {
		if len(w) >= len(p)+4 && w[:len(p)] == p {
			if i, ok := l.known(w[len(p):]); ok {
				l.t.addWord(v, i)
				return
			}
		}
	}
	for n := len(w) - 4; n >= 3; n-- {
		a, ok1 := l.t.find(w[:n])
		b, ok2 := l.known(w[n:])
		if ok1 && ok2 {
			l.t.addWord(v, a)
			l.t.addWord(v, b)
			return
		}
	}
	l.t.addGuess(v, w)
}

var prefixes = []string{"anti", "auto", "counter", "cyber", "de", "dis", "hyper", "inter", "micro", "mis", "multi", "non", "over", "pre", "re", "sub", "super", "un", "under"}

// known finds a word, or its base form by the detachment rules of WordNet's morphy(7WN).
func (l *Local) known(w string) (int, bool) {
	if i, ok := l.t.find(w); ok {
		return i, true
	}
	for _, r := range detach {
		n := len(w) - len(r[0])
		if n < 3 || w[n:] != r[0] {
			continue
		}
		if i, ok := l.t.find(w[:n] + r[1]); ok {
			return i, true
		}
		if n > 3 && r[1] == "" && w[n-1] == w[n-2] { // planned, planning
			if i, ok := l.t.find(w[:n-1]); ok {
				return i, true
			}
		}
	}
	return 0, false
}

var detach = [][2]string{
	{"ies", "y"}, {"es", "e"}, {"es", ""}, {"s", ""}, {"ied", "y"}, {"ed", "e"}, {"ed", ""}, {"ing", "e"}, {"ing", ""},
	{"er", "e"}, {"er", ""}, {"est", "e"}, {"est", ""}, {"ily", "y"}, {"ly", ""}, {"ness", ""}, {"ise", "ize"}, {"isation", "ization"},
}

// spell adds the signed hashes of w's n-grams to v, scaled to spellingShare: of 2 and 3 characters, and the whole.
func (l *Local) spell(v []float32, w string) {
	var acc [spellingDims]float32
	rs := make([]rune, 0, 64)
	rs = append(rs, '<')
	for _, r := range w {
		if !unicode.IsSpace(r) {
			rs = append(rs, r)
		}
		if len(rs) > 4096 {
			break
		}
	}
	rs = append(rs, '>')
	for i := range rs {
		h := uint64(14695981039346656037) // FNV-1a, as below
		for j := i; j < min(i+3, len(rs)); j++ {
			h = fnvRune(h, rs[j])
			if j > i || i > 0 && i < len(rs)-1 {
				drop(acc[:], h, 1)
			}
		}
	}
	h := uint64(14695981039346656037)
	for _, r := range rs {
		h = fnvRune(h, r)
	}
	whole := float32(len(rs)) / 2
	drop(acc[:], h, whole)
	drop(acc[:], h*0x9e3779b97f4a7c15, whole)
	if Normalise(acc[:]) {
		for i, x := range acc {
			v[i] += float32(x * spellingShare)
		}
	}
}

func fnvRune(h uint64, r rune) uint64 {
	for range 4 {
		h = (h ^ uint64(r&0xff)) * 1099511628211
		r >>= 8
	}
	return h
}

func drop(v []float32, h uint64, x float32) {
	h ^= h >> 29 // FNV's low bits alone mix badly
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	if h>>31&1 == 1 {
		x = -x
	}
	v[h%uint64(len(v))] += x
}

func latin(w string) bool {
	n := 0
	for _, r := range w {
		if !unicode.Is(unicode.Latin, r) {
			return false
		}
		n++
	}
	return n >= 4 && utf8.ValidString(w)
}
