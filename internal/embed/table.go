package embed

import (
	"encoding/binary"
	"errors"
	"iter"
	"math"
)

// magic begins a model file. The rest, little-endian: uint32 dim, words, slots, buckets, minn, maxn, text (bytes);
// words+1 uint32 ends of words in the text; slots uint32, an open-addressed hash table of word number + 1 (0 is
// empty); words float32 scales; words x dim int8; buckets float32 scales; buckets x dim int8; the text.
// A component is its int8 times the row's scale; a word's scale contains its weight.
const magic = "CDSAEMB1"

const headSize = len(magic) + 7*4

// A table is a model file, read in place.
type table struct {
	dim, words, slots, buckets, minn, maxn int

	ends, slot, scale, vec, bscale, bvec, text string
}

var errModel = errors.New("the file is damaged")

func openTable(f string) (*table, error) {
	if len(f) < headSize || f[:len(magic)] != magic {
		return nil, errModel
	}
	n := func(i int) int { return int(u32(f[len(magic):], i)) }
	t := &table{dim: n(0), words: n(1), slots: n(2), buckets: n(3), minn: n(4), maxn: n(5)}
	if t.dim < 1 || t.dim > 128 || t.words < 1 || t.words > 1<<20 || t.slots <= t.words || t.slots > 1<<22 ||
		t.slots&(t.slots-1) != 0 || t.buckets < 1 || t.buckets > 1<<20 || t.minn < 1 || t.maxn < t.minn || n(6) > 1<<26 {
		return nil, errModel
	}
	rest := f[headSize:]
	for _, p := range []struct {
		part *string
		size int
	}{
		{&t.ends, 4 * (t.words + 1)}, {&t.slot, 4 * t.slots}, {&t.scale, 4 * t.words}, {&t.vec, t.words * t.dim},
		{&t.bscale, 4 * t.buckets}, {&t.bvec, t.buckets * t.dim}, {&t.text, n(6)},
	} {
		if len(rest) < p.size {
			return nil, errModel
		}
		*p.part, rest = rest[:p.size], rest[p.size:]
	}
	if rest != "" {
		return nil, errModel
	}
	return t, nil
}

// word gives the i-th word.
func (t *table) word(i int) string { return t.text[u32(t.ends, i):u32(t.ends, i+1)] }

// find gives a word's number. The table has empty slots, so the search ends.
func (t *table) find(w string) (int, bool) {
	for s := int(wordHash(w)); ; s++ {
		i := int(u32(t.slot, s&(t.slots-1))) - 1
		if i < 0 {
			return 0, false
		}
		if t.word(i) == w {
			return i, true
		}
	}
}

func (t *table) addWord(v []float32, i int) { addRow(v, t.vec[i*t.dim:(i+1)*t.dim], f32(t.scale, i)) }

// addGuess adds the vectors of w's n-grams.
func (t *table) addGuess(v []float32, w string) {
	for b := range NGrams(w, t.minn, t.maxn, t.buckets) {
		addRow(v, t.bvec[b*t.dim:(b+1)*t.dim], f32(t.bscale, b))
	}
}

// NGrams gives the buckets, from 0 to buckets-1, of w's runs of minn to maxn characters, its bounds marked by < and >.
func NGrams(w string, minn, maxn, buckets int) iter.Seq[int] {
	return func(yield func(int) bool) {
		w := "<" + w + ">"
		for i := range w {
			h, n := uint32(2166136261), 0
			for _, r := range w[i:] {
				h = (h ^ uint32(r)) * 16777619
				if n++; n > maxn {
					break
				}
				if n >= minn && !yield(int((h^h>>15)%uint32(buckets))) {
					return
				}
			}
		}
	}
}

// addRow adds row times scale. The conversion keeps the compiler from fusing, so that every processor rounds alike.
func addRow(v []float32, row string, scale float32) {
	v = v[:len(row)]
	for i := range v {
		v[i] += float32(float32(int8(row[i])) * scale)
	}
}

// wordHash is FNV-1a, 32 bits, spread.
func wordHash(w string) uint32 {
	h := uint32(2166136261)
	for i := range len(w) {
		h = (h ^ uint32(w[i])) * 16777619
	}
	return h ^ h>>15
}

func u32(s string, i int) uint32 {
	s = s[4*i : 4*i+4]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func f32(s string, i int) float32 { return math.Float32frombits(u32(s, i)) }

// A Row is a word, empty for an n-gram bucket, and its vector, weight included.
type Row struct {
	Word   string
	Vector []float32
}

// Pack writes a model file, for package train. Words are distinct; buckets are in the order of their hash.
func Pack(words, buckets []Row, minn, maxn int) ([]byte, error) {
	slots := 1
	for slots < 2*len(words) {
		slots *= 2
	}
	dim := len(words[0].Vector)
	var text []byte
	ends := make([]uint32, 1, len(words)+1)
	slot := make([]uint32, slots)
	for i, r := range words {
		text = append(text, r.Word...)
		ends = append(ends, uint32(len(text)))
		s := int(wordHash(r.Word))
		for ; slot[s&(slots-1)] != 0; s++ {
		}
		slot[s&(slots-1)] = uint32(i + 1)
	}
	out := []byte(magic)
	for _, n := range []int{dim, len(words), slots, len(buckets), minn, maxn, len(text)} {
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	for _, part := range [][]uint32{ends, slot} {
		for _, n := range part {
			out = binary.LittleEndian.AppendUint32(out, n)
		}
	}
	for _, rows := range [][]Row{words, buckets} {
		out = appendRows(out, rows, dim)
	}
	out = append(out, text...)
	_, err := openTable(string(out))
	return out, err
}

func appendRows(out []byte, rows []Row, dim int) []byte {
	scales := make([]float32, len(rows))
	for i, r := range rows {
		for _, x := range r.Vector[:dim] {
			scales[i] = max(scales[i], float32(math.Abs(float64(x)))/127)
		}
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(scales[i]))
	}
	for i, r := range rows {
		for _, x := range r.Vector[:dim] {
			q := 0.0
			if scales[i] > 0 {
				q = math.Round(float64(x) / float64(scales[i]))
			}
			out = append(out, byte(int8(q)))
		}
	}
	return out
}
