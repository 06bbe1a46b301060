package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tiny writes a WordNet of two related nouns and a verb, in the formats of wndb(5WN), and one page of documentation.
func tiny(t *testing.T) (wordnet, docs string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"data.noun": "  1 licence\n00000010 06 n 02 car 0 motor_car 0 001 @ 00000020 n 0000 | a road vehicle; \"he drove the car\"  \n" +
			"00000020 06 n 01 vehicle 0 001 ~ 00000010 n 0000 | a thing that carries people  \n",
		"index.noun": "  1 licence\ncar n 1 1 @ 1 1 00000010  \nmotor_car n 1 1 @ 1 0 00000010  \nvehicle n 1 1 ~ 1 1 00000020  \n",
		"data.verb":  "00000030 38 v 01 drive 0 001 + 00000010 n 0101 01 + 02 00 | move a vehicle  \n",
		"index.verb": "drive v 1 1 + 1 1 00000030  \n",
		"data.adj":   "", "index.adj": "", "data.adv": "", "index.adv": "",
		"noun.exc": "vehicula vehicle\n", "verb.exc": "drove drive\n", "adj.exc": "", "adv.exc": "",
		"docs/a.html": "<html><title>The manual</title><p>Start the <b>engine</b> now.</p><p>x</p></html>",
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "docs"), 0o700))
	for name, s := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(s), 0o600))
	}
	return dir, filepath.Join(dir, "docs")
}

func TestCorpus(t *testing.T) {
	wordnet, docs := tiny(t)
	var b bytes.Buffer
	require.NoError(t, corpus(&b, wordnet, docs))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for _, want := range []string{
		"car motor car a road vehicle", "car motor car he drove the car", "vehicle a thing that carries people",
		"vehicle car motor car", "drive move a vehicle", "the manual", "start the engine now",
	} {
		require.Contains(t, lines, want)
	}
	require.NotContains(t, lines, "x")
}

func TestPack(t *testing.T) {
	wordnet, docs := tiny(t)
	var text, vec strings.Builder
	require.NoError(t, corpus(&text, wordnet, docs))
	fmt.Fprintln(&vec, "6 4")
	for i, w := range []string{"car", "vehicle", "drive", "road", "people", "engine", "x9"} {
		fmt.Fprintf(&vec, "%s %d %d %d 1\n", w, i%3, i*i%5-2, 3-i)
	}
	in, vectors, out := filepath.Join(wordnet, "corpus"), filepath.Join(wordnet, "vec"), filepath.Join(wordnet, "out")
	require.NoError(t, os.WriteFile(in, []byte(text.String()), 0o600))
	require.NoError(t, os.WriteFile(vectors, []byte(vec.String()), 0o600))
	require.NoError(t, run([]string{"pack", wordnet, in, vectors, out}))
	first, err := os.ReadFile(out)
	require.NoError(t, err)
	for _, w := range []string{"car", "drove", "vehicula"} {
		require.Contains(t, string(first), w)
	}
	require.NotContains(t, string(first), "x9")
	require.NoError(t, run([]string{"pack", wordnet, in, vectors, out}))
	second, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, first, second, "the same bytes each time")
	require.Error(t, run([]string{"pack"}))
}
