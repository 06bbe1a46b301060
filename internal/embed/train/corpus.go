package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"cdsa.dev/cdsa/internal/embed"
)

// commonSenses is how many meanings of a word count in lines of relations: the rare ones of a frequent word mislead.
const commonSenses = 3

// corpus writes one line a context: each meaning's words with its gloss, each meaning's words with those of the
// meanings around it, and the paragraphs of the documentation.
func corpus(out io.Writer, wordnet, docs string) error {
	wn, err := readWordNet(wordnet)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	for _, key := range wn.order {
		s := wn.sets[key]
		names := wn.common(key)
		for def := range strings.SplitSeq(s.gloss, "; \"") { // the definition, then quoted examples
			line(w, names, words(def))
		}
		line(w, names, names, wn.around(s, "+", "&", "\\", "<"), wn.around(s, "@", "@i"))
		line(w, names, wn.around(s, "~"))
		line(w, names, wn.around(s, "%p", "#p", "%m", "#m", "%s", "#s", ";c", "*", ">", "^"))
	}
	if err := htmlText(w, docs); err != nil {
		return err
	}
	return w.Flush()
}

// common gives the words of the meaning's lemmas that have it among their common ones.
func (wn *wordNet) common(key string) []string {
	var out []string
	for _, l := range wn.sets[key].lemmas {
		if wn.rank(l, key) < commonSenses {
			out = append(out, words(strings.ReplaceAll(l, "_", " "))...)
		}
	}
	return out
}

// around gives the words of the meanings s points to, at most 24.
func (wn *wordNet) around(s *synset, symbols ...string) []string {
	var out []string
	for _, sym := range symbols {
		for _, k := range s.rel[sym] {
			if wn.sets[k] != nil && len(out) < 24 {
				out = append(out, wn.common(k)...)
			}
		}
	}
	return out
}

func words(s string) []string { return slices.Collect(embed.Words(s)) }

func line(w *bufio.Writer, parts ...[]string) {
	all := slices.Concat(parts...)
	if len(all) < 2 || len(parts[len(parts)-1]) == 0 {
		return
	}
	fmt.Fprintln(w, strings.Join(all, " "))
}

// htmlText writes each block of text of the directory's HTML pages, in the order of their names.
func htmlText(w *bufio.Writer, dir string) error {
	root := os.DirFS(dir)
	return fs.WalkDir(root, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".html" {
			return err
		}
		page, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		z := html.NewTokenizer(bytes.NewReader(page))
		var b strings.Builder
		for {
			t := z.Next()
			if t == html.ErrorToken {
				line(w, words(b.String()))
				if errors.Is(z.Err(), io.EOF) {
					return nil
				}
				return z.Err()
			}
			if t == html.TextToken {
				b.Write(z.Text())
			}
			if t == html.StartTagToken || t == html.EndTagToken {
				if name, _ := z.TagName(); block[string(name)] {
					line(w, words(b.String()))
					b.Reset()
				}
			}
		}
	})
}

var block = map[string]bool{"p": true, "div": true, "li": true, "pre": true, "td": true, "th": true, "dt": true, "dd": true, "h1": true, "h2": true, "h3": true, "h4": true, "title": true}
