package main

// An edge draws a word towards another.
type edge struct {
	to     int
	weight float32
}

// retrofit draws the vectors of words that WordNet relates towards each other while holding each to what fastText
// learnt: Faruqui et al. 2015, "Retrofitting Word Vectors to Semantic Lexicons". Antonyms are no relation here.
func (wn *wordNet) retrofit(v *vocab) {
	edges := wn.edges(v)
	start := make([][]float32, len(v.rows))
	for i, r := range v.rows {
		start[i] = append([]float32(nil), r.Vector...)
	}
	for range 10 {
		for i, es := range edges {
			if len(es) == 0 {
				continue
			}
			var sum float32
			for _, e := range es {
				sum += e.weight
			}
			x := v.rows[i].Vector
			copy(x, start[i])
			for _, e := range es {
				add(x, v.rows[e.to].Vector, retrofitPull*e.weight/sum)
			}
			scale(x, 1/norm(x))
		}
	}
}

// retrofitPull is the pull of all of a word's relations together, against 1 for what fastText learnt.
const retrofitPull = 1.0

// pulls weighs the relations, by their symbols in wninput(5WN).
var pulls = []struct {
	symbol string
	weight float32
}{{"+", 1}, {"\\", 1}, {"<", 1}, {"&", 0.5}, {"@", 0.3}, {"~", 0.1}, {"*", 0.3}, {">", 0.3}, {"^", 0.3}, {"%p", 0.1}, {"#p", 0.1}}

// edges gives each word's relations: a synonym counts 1, a derived form 1, a similar or broader word less, all
// the less the rarer the meaning; an irregular form counts as its base.
func (wn *wordNet) edges(v *vocab) [][]edge {
	out := make([][]edge, len(v.rows))
	join := func(a, b string, w float32) {
		i, ok1 := v.index[a]
		j, ok2 := v.index[b]
		if ok1 && ok2 && i != j {
			out[i] = append(out[i], edge{j, w})
		}
	}
	for _, k := range wn.order {
		s := wn.sets[k]
		for _, a := range s.lemmas {
			near := 1 / float32(1+wn.rank(a, k))
			for _, b := range s.lemmas {
				join(a, b, near/float32(1+wn.rank(b, k)))
			}
			for _, r := range pulls {
				for _, t := range s.rel[r.symbol] {
					if wn.sets[t] == nil {
						continue
					}
					for _, b := range wn.sets[t].lemmas {
						join(a, b, near*r.weight/float32(1+wn.rank(b, t)))
					}
				}
			}
		}
	}
	for _, e := range wn.exc {
		join(e[0], e[1], 4)
		join(e[1], e[0], 1)
	}
	return out
}
