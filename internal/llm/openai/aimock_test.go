package openai

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/llmtest"
)

func TestConformance(t *testing.T) {
	base := aimock(t)
	model := func(name string) llm.Model {
		m, err := New(Config{Name: name, BaseURL: base, APIKey: "test", MaxRetries: -1})
		require.NoError(t, err)
		return m
	}
	llmtest.Run(t, llmtest.Models{Model: model("fast"), Slow: model("slow")})

	t.Run("TwoCalls", func(t *testing.T) {
		a, err := llm.Collect(model("fast").Stream(t.Context(), llmtest.Ask("two at once")))
		require.NoError(t, err)
		require.Equal(t, "Both.", a.Text)
		require.Equal(t, []llm.ToolCall{
			{ID: "call_a", Name: "calculator", Arguments: map[string]any{"expression": "1+1"}},
			{ID: "call_b", Name: "echo", Arguments: map[string]any{"text": "two"}},
		}, a.ToolCalls)
		require.Equal(t, llm.FinishToolCalls, a.Finish.Reason)
	})
	t.Run("BrokenArguments", func(t *testing.T) {
		a, err := llm.Collect(model("fast").Stream(t.Context(), llmtest.Ask("broken arguments")))
		require.NoError(t, err)
		require.Len(t, a.ToolCalls, 1)
		require.Empty(t, a.ToolCalls[0].Arguments)
		require.NotEmpty(t, a.ToolCalls[0].Invalid)
		e, ok := llm.AsError(a.ToolCalls[0].Err())
		require.True(t, ok)
		require.Equal(t, llm.KindToolArguments, e.Kind)
	})
	t.Run("Busy", func(t *testing.T) {
		_, err := llm.Collect(model("fast").Stream(t.Context(), llmtest.Ask("too busy")))
		e, ok := llm.AsError(err)
		require.True(t, ok)
		require.Equal(t, llm.KindRateLimited, e.Kind)
		require.True(t, e.Retryable())
		require.NotContains(t, err.Error(), "SECRET-IN-ERROR")
	})
	t.Run("Length", func(t *testing.T) {
		a, err := llm.Collect(model("fast").Stream(t.Context(), llmtest.Ask("cut short")))
		require.NoError(t, err)
		require.Equal(t, llm.FinishLength, a.Finish.Reason)
	})
}

// aimock starts the stand-in server and gives its base URL. It fails where node or npm is missing: a test of the
// adapter that silently does not run would be worth nothing.
func aimock(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("This test needs node 20 or later on the PATH: install Node.js and run it again.")
	}
	fixtures, err := filepath.Abs(filepath.Join("testdata", "aimock", "fixtures.json"))
	require.NoError(t, err)
	// Chunks of 3 UTF-16 units, so that characters outside the basic plane are cut in two.
	cmd := exec.Command(node, installed(t), "--port", "0", "--host", "127.0.0.1", "--fixtures", fixtures, "--chunk-size", "3", "--strict")
	cmd.Env = append(os.Environ(), "AIMOCK_STRICT_TURN_INDEX=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	urls := make(chan string, 1)
	go func() {
		defer close(urls)
		var log strings.Builder
		for s := bufio.NewScanner(out); s.Scan(); {
			log.WriteString(s.Text() + "\n")
			if _, url, ok := strings.Cut(s.Text(), "listening on "); ok {
				urls <- strings.TrimSpace(url)
			}
		}
		if t.Failed() {
			fmt.Println("aimock said:\n" + log.String())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range urls {
		}
		_ = cmd.Wait() // killed: the error says only that
	})
	select {
	case url, ok := <-urls:
		require.True(t, ok, "aimock ended before it listened")
		return url + "/v1"
	case <-time.After(30 * time.Second):
		t.Fatal("aimock did not listen within 30 seconds")
	}
	return ""
}

// installed puts the pinned package into the user's cache, once for each lock file, and gives its program.
func installed(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Fatal("This test needs npm on the PATH: install it with Node.js and run it again.")
	}
	lock, err := os.ReadFile(filepath.Join("testdata", "aimock", "package-lock.json"))
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "cdsa-test", "aimock-"+hex.EncodeToString(sum[:8]))
	program := filepath.Join("node_modules", "@copilotkit", "aimock", "dist", "cli.js")
	if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
		return filepath.Join(dir, program)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "aimock-")
	require.NoError(t, err)
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		b, err := os.ReadFile(filepath.Join("testdata", "aimock", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(fresh, name), b, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ci := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts")
	ci.Dir = fresh
	if out, err := ci.CombinedOutput(); err != nil {
		t.Fatalf("npm ci could not install the stand-in model server: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil { // another process was quicker
		if _, gone := os.Stat(filepath.Join(dir, program)); gone != nil {
			require.NoError(t, err)
		}
		require.NoError(t, os.RemoveAll(fresh))
	}
	return filepath.Join(dir, program)
}
