package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A synset is one meaning: its lemmas (lower-cased, words of a compound joined by _), its gloss and its relations.
type synset struct {
	lemmas []string
	gloss  string
	rel    map[string][]string // pointer symbol of wninput(5WN) to synset keys
}

// A wordNet is the database of wndb(5WN). A synset's key is its part of speech and offset, as "n00001740".
type wordNet struct {
	order  []string
	sets   map[string]*synset
	senses map[string][]string // lemma to its synsets, each part of speech's most frequent first
	exc    [][2]string         // irregular form, base form
}

var poses = []struct{ file, letter string }{{"noun", "n"}, {"verb", "v"}, {"adj", "a"}, {"adv", "r"}}

func readWordNet(dir string) (*wordNet, error) {
	w := &wordNet{sets: map[string]*synset{}, senses: map[string][]string{}}
	for _, p := range poses {
		if err := eachLine(filepath.Join(dir, "data."+p.file), func(l string) error { return w.data(p.letter, l) }); err != nil {
			return nil, err
		}
		if err := eachLine(filepath.Join(dir, "index."+p.file), func(l string) error { return w.index(p.letter, l) }); err != nil {
			return nil, err
		}
		if err := eachLine(filepath.Join(dir, p.file+".exc"), func(l string) error {
			if f := strings.Fields(l); len(f) >= 2 && !strings.Contains(l, "_") {
				w.exc = append(w.exc, [2]string{f[0], f[1]})
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// data reads "offset lexfile type w_cnt (word lex_id)… p_cnt (symbol offset pos source/target)… | gloss".
func (w *wordNet) data(pos, line string) error {
	head, gloss, ok := strings.Cut(line, " | ")
	if !ok || strings.HasPrefix(line, " ") {
		return nil // the licence
	}
	f := strings.Fields(head)
	n, err := strconv.ParseInt(f[3], 16, 32)
	if err != nil {
		return fmt.Errorf("word count in %q: %w", head, err)
	}
	s := &synset{gloss: strings.TrimSpace(gloss), rel: map[string][]string{}}
	i := 4
	for ; n > 0; n-- {
		lemma, _, _ := strings.Cut(strings.ToLower(f[i]), "(") // adjectives carry a marker as "(a)"
		s.lemmas = append(s.lemmas, lemma)
		i += 2
	}
	m, err := strconv.Atoi(f[i])
	if err != nil {
		return fmt.Errorf("pointer count in %q: %w", head, err)
	}
	for i++; m > 0; m-- {
		s.rel[f[i]] = append(s.rel[f[i]], strings.Replace(f[i+2], "s", "a", 1)+f[i+1])
		i += 4
	}
	key := pos + f[0]
	w.sets[key] = s
	w.order = append(w.order, key)
	return nil
}

// index reads "lemma pos synset_cnt p_cnt symbol… sense_cnt tagsense_cnt offset…".
func (w *wordNet) index(pos, line string) error {
	if strings.HasPrefix(line, " ") {
		return nil
	}
	f := strings.Fields(line)
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return fmt.Errorf("synset count in %q: %w", line, err)
	}
	for _, off := range f[len(f)-n:] {
		w.senses[f[0]] = append(w.senses[f[0]], pos+off)
	}
	return nil
}

// rank is the place of the meaning among the lemma's meanings of that part of speech, from 0.
func (w *wordNet) rank(lemma, key string) int {
	r := 0
	for _, k := range w.senses[lemma] {
		if k == key {
			return r
		}
		if k[0] == key[0] {
			r++
		}
	}
	return r
}

func eachLine(path string, do func(string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	sc := bufio.NewScanner(f)
	sc.Buffer(make([]byte, 1<<16), 1<<24)
	for sc.Scan() {
		if err := do(sc.Text()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return sc.Err()
}
