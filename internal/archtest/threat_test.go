package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThreatModel_TestsExist: a threat is answered by tests, and a test that was renamed or removed answers nothing.
func TestThreatModel_TestsExist(t *testing.T) {
	doc, err := os.ReadFile("../../docs/threat-model.md")
	require.NoError(t, err)
	there := map[string]bool{}
	for _, pattern := range []string{"../*/*_test.go", "../*/*/*_test.go", "../../e2e/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			code, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(code, -1) {
				there[string(m[1])] = true
			}
		}
	}
	rows := regexp.MustCompile(`(?m)^\| [A-Z]\d+ \|.*\|([^|]*)\|$`).FindAllSubmatch(doc, -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(row[1], -1)
		require.NotEmpty(t, names, "a threat without a test: %s", row[0])
		for _, n := range names {
			require.True(t, there[string(n[1])], "there is no test %s: %s", n[1], row[0])
		}
	}
}
