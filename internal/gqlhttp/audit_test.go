package gqlhttp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAudits runs the audits of the npm package graphql-http: every MUST, SHOULD and MAY must hold.
func TestAudits(t *testing.T) {
	dir := auditPackage(t)
	f := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "audit.mjs", f.url)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "node must be installed to run the audits: %s", stderr.String())
	ran := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); ran++ {
		var audit struct{ ID, Name, Status, Reason string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &audit))
		require.Equal(t, "ok", audit.Status, "%s %s: %s", audit.ID, audit.Name, audit.Reason)
	}
	require.GreaterOrEqual(t, ran, 60, "the package has some sixty audits")
}

// auditPackage installs the pinned packages once, under a name made of the lock file.
func auditPackage(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("testdata/audit/package-lock.json")
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err, "npm packages need a cache directory")
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "cdsa-test", "graphql-http-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "installed")); err != nil {
		require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
		tmp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
		require.NoError(t, err)
		defer os.RemoveAll(tmp)
		copyFiles(t, tmp, "package.json", "package-lock.json", ".npmrc")
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = tmp
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "npm must be installed and able to fetch graphql-http: %s", out)
		require.NoError(t, os.WriteFile(filepath.Join(tmp, "installed"), nil, 0o644))
		if err := os.Rename(tmp, dir); err != nil { // another run was first
			require.FileExists(t, filepath.Join(dir, "installed"))
		}
	}
	// The script itself may change without the lock: each run has its own copy beside the packages.
	run := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(dir, "node_modules"), filepath.Join(run, "node_modules")))
	copyFiles(t, run, "package.json", "audit.mjs")
	return run
}

func copyFiles(t *testing.T, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join("testdata", "audit", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, name), b, 0o644))
	}
}
