package retrieval

import (
	"cmp"
	"slices"
	"strings"

	"cdsa.dev/cdsa/internal/bigram"
	"cdsa.dev/cdsa/internal/embed"
)

// FusionK is the constant of reciprocal rank fusion: Cormack, Clarke and Büttcher 2009.
const FusionK = 60

// Fused is an item and the sum of 1/(FusionK+rank) over the lists that have it.
type Fused[T comparable] struct {
	Item  T
	Score float64
	Ranks []int // by list, from 1; 0 where the list does not have it
}

// Fuse merges ranked lists, best first. Ties go to the better rank in the earlier list. An item repeated in a list
// counts where it stands first.
func Fuse[T comparable](lists ...[]T) []Fused[T] {
	place := map[T]int{}
	var out []Fused[T]
	for l, list := range lists {
		for r, item := range list {
			i, ok := place[item]
			if !ok {
				i = len(out)
				place[item] = i
				out = append(out, Fused[T]{Item: item, Ranks: make([]int, len(lists))})
			}
			if out[i].Ranks[l] == 0 {
				out[i].Ranks[l] = r + 1
				out[i].Score += 1 / float64(FusionK+r+1)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Fused[T]) int {
		c := cmp.Compare(b.Score, a.Score)
		for l := 0; c == 0 && l < len(lists); l++ {
			c = cmp.Compare(uint(a.Ranks[l])-1, uint(b.Ranks[l])-1) // 0 comes last
		}
		return c
	})
	return out
}

// Excerpt is a window of a passage around what matches a query, as plain text.
type Excerpt struct {
	Start, End int      // code points into the passage
	Text       string   // exactly those code points
	Highlights [][2]int // code points into Text, in order, not overlapping
}

// Snippet gives the window of at most length code points that holds most of the query's words, or the passage's
// beginning when it holds none. It begins and ends between words where it can.
func Snippet(passage, query string, length int) Excerpt {
	want := queryStems(query)
	marks := matches(passage, want)
	total := runes(passage)
	start := 0
	if total > length && len(marks) > 0 {
		start = bestWindow(marks, length, total)
	}
	end := min(start+length, total)
	a, b := byteOffset(passage, start), byteOffset(passage, end)
	if start > 0 {
		a += wordEdge(passage[a:b])
	}
	if end < total {
		if i := strings.LastIndexAny(passage[a:b], " \n\t"); i > (b-a)/2 {
			b = a + i
		}
	}
	text := strings.TrimSpace(passage[a:b])
	a += strings.Index(passage[a:b], text)
	e := Excerpt{Start: runes(passage[:a]), Text: text}
	e.End = e.Start + runes(text)
	for _, m := range marks {
		if m.start < e.Start || m.end > e.End {
			continue
		}
		if n := len(e.Highlights); n > 0 && m.start-e.Start < e.Highlights[n-1][1] { // pairs overlap
			e.Highlights[n-1][1] = max(e.Highlights[n-1][1], m.end-e.Start)
			continue
		}
		e.Highlights = append(e.Highlights, [2]int{m.start - e.Start, m.end - e.Start})
	}
	return e
}

// wordEdge gives where the first whole word of s begins, 0 if that is far.
func wordEdge(s string) int {
	if i := strings.IndexAny(s, " \n\t"); i >= 0 && i < len(s)/4 {
		return i + 1
	}
	return 0
}

type mark struct {
	start, end int // code points
	stem       string
}

// matches finds the words of s whose stems are wanted. In scripts without spaces words are pairs of neighbours, and overlap.
func matches(s string, want map[string]bool) []mark {
	if len(want) == 0 {
		return nil
	}
	var out []mark
	at, from, fromRune, unspaced := 0, -1, 0, false
	flush := func(end int) {
		if from >= 0 && unspaced {
			out = append(out, matchPairs([]rune(s[from:end]), fromRune, want)...)
		} else if from >= 0 {
			for w := range terms(s[from:end]) {
				if want[stem(w)] {
					out = append(out, mark{fromRune, fromRune + runes(s[from:end]), stem(w)})
					break
				}
			}
		}
		from = -1
	}
	for i, r := range s {
		if from >= 0 && (!embed.IsWord(r) || bigram.Is(r) != unspaced) {
			flush(i)
		}
		if from < 0 && embed.IsWord(r) {
			from, fromRune, unspaced = i, at, bigram.Is(r)
		}
		at++
	}
	flush(len(s))
	return out
}

func matchPairs(rs []rune, at int, want map[string]bool) []mark {
	var out []mark
	for i, r := range rs {
		if i+1 < len(rs) && want[string(rs[i:i+2])] {
			out = append(out, mark{at + i, at + i + 2, string(rs[i : i+2])})
		} else if want[string(r)] {
			out = append(out, mark{at + i, at + i + 1, string(r)})
		}
	}
	return out
}

// HasWordOf says whether the passage has a word of the query that carries meaning.
func HasWordOf(query, passage string) bool { return len(matches(passage, queryStems(query))) > 0 }

// bestWindow gives the start of the window with the most different words, then the most words, a little before the
// first of them.
func bestWindow(marks []mark, length, total int) int {
	best, bestScore := 0, -1
	count := map[string]int{}
	j := 0
	for i, m := range marks {
		for ; j < len(marks) && marks[j].end <= m.start+length*3/4; j++ {
			count[marks[j].stem]++
		}
		if score := len(count)*1000 + min(j-i, 999); score > bestScore {
			best, bestScore = m.start, score
		}
		if count[m.stem]--; count[m.stem] <= 0 {
			delete(count, m.stem)
		}
	}
	return max(0, min(best-length/4, total-length))
}

// queryStems gives the stems of the query's words that carry meaning; all of them when none does.
func queryStems(query string) map[string]bool {
	out, all := map[string]bool{}, map[string]bool{}
	n := 0
	for w := range terms(query) {
		for _, part := range bigram.Parts(w) {
			all[stem(part)] = true
			if !functionWords[part] {
				out[stem(part)] = true
			}
		}
		if n++; n == 256 {
			break
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}
