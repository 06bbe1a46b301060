package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is an event in test2json's form.
func line(action, pkg, test, output string) string {
	s := `{"Action":"` + action + `","Package":"` + pkg + `"`
	if test != "" {
		s += `,"Test":"` + test + `"`
	}
	if output != "" {
		s += `,"Output":"` + output + `\n"`
	}
	return s + "}\n"
}

func TestReport(t *testing.T) {
	for name, tc := range map[string]struct {
		in     string
		counts string
		ok     bool
		shows  string
	}{
		"Passed": {
			in: line("start", "p", "", "") + line("run", "p", "TestA", "") + line("pass", "p", "TestA", "") +
				line("run", "p", "TestB", "") + line("skip", "p", "TestB", "") + line("pass", "p", "", ""),
			counts: "1 0 1", ok: true, shows: "pass p",
		},
		"SlashInAName": {
			in: line("run", "p", "TestA", "") + line("run", "p", "TestA/Europe/Berlin", "") + line("pass", "p", "TestA/Europe/Berlin", "") +
				line("pass", "p", "TestA", "") + line("pass", "p", "", ""),
			counts: "1 0 0", ok: true, shows: "pass p",
		},
		"SubtestsAreCountedOnce": {
			in: line("run", "p", "TestA", "") + line("run", "p", "TestA/x", "") + line("run", "p", "TestA/y", "") +
				line("output", "p", "TestA/y", "the reason") + line("pass", "p", "TestA/x", "") + line("fail", "p", "TestA/y", "") +
				line("fail", "p", "TestA", "") + line("fail", "p", "", ""),
			counts: "1 1 0", shows: "the reason",
		},
		"Build": {
			in: `{"ImportPath":"p.test","Action":"build-output","Output":"undefined: x\n"}` + "\n" +
				`{"Action":"fail","Package":"p","FailedBuild":"p.test"}` + "\n",
			counts: "0 1 0", shows: "undefined: x",
		},
		"Panic": {
			in:     line("run", "p", "TestA", "") + line("output", "p", "TestA", "panic: boom") + line("fail", "p", "", ""),
			counts: "0 1 0", shows: "panic: boom",
		},
		"CutOff": {
			in:     line("run", "p", "TestA", ""),
			counts: "0 1 0", shows: "p (cut off)",
		},
		"Nothing": {in: line("skip", "p", "", ""), counts: "0 0 0"},
		"NotJSON": {in: "go: no such tool\n", counts: "0 0 0", shows: "go: no such tool"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			require.NoError(t, r.read(strings.NewReader(tc.in)))
			file := filepath.Join(t.TempDir(), "counts")
			require.NoError(t, r.appendCounts(file))
			got, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, tc.counts+"\n", string(got))
			require.Equal(t, tc.ok, r.close())
			require.Contains(t, out.String(), tc.shows)
		})
	}
}
