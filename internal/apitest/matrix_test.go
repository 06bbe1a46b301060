//go:build unix

package apitest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMatrix calls every operation as everyone and compares what happened with one table that people read in review.
func TestMatrix(t *testing.T) {
	w := shared()
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s", "# operation")
	for _, x := range w.people {
		fmt.Fprintf(&b, " %-16s", x.name)
	}
	b.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		fmt.Fprintf(&b, "%-34s", name)
		for _, x := range w.people {
			fmt.Fprintf(&b, " %-16s", operations[name].run(t, w, x).outcome())
		}
		b.WriteString("\n")
	}
	compare(t, "testdata/matrix.golden", strings.ReplaceAll(b.String(), " \n", "\n"))
}

// compare holds got to a golden file, or writes it.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	var differ []string
	for _, l := range w {
		if !slices.Contains(g, l) {
			differ = append(differ, "- "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			differ = append(differ, "+ "+l)
		}
	}
	require.Empty(t, differ, "run with -update, and read the change as a change of who may do what")
}
