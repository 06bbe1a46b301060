package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHashing: passwords are hashed by one child of the server, which nothing leaves behind.
func TestHashing(t *testing.T) {
	s := startServer(t)
	signIn(t, s)
	first := hashers(t, s)
	require.Len(t, first, 1)
	s.kill(t)
	require.Eventually(t, func() bool { return !hashes(first[0]) }, 2*time.Second, 10*time.Millisecond)

	s.start(t)
	require.Empty(t, hashers(t, s), "none before it is needed")
	signIn(t, s)
	signIn(t, s)
	second := hashers(t, s)
	require.Len(t, second, 1)
	env, err := os.ReadFile(filepath.Join("/proc", second[0], "environ"))
	require.NoError(t, err)
	require.Regexp(t, `^GOMAXPROCS=\d+\x00$`, string(env))
	require.NoError(t, s.stop())
	require.False(t, hashes(second[0]), "a server that ended cleanly waited for it")
	log, err := os.ReadFile(s.logFile)
	require.NoError(t, err)
	require.NotContains(t, string(log), "passwords are hashed in the server's own process")
}

func signIn(t *testing.T, s *server) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"query":     `mutation ($in: LoginInput!) { login(input: $in) { accessToken } }`,
		"variables": map[string]any{"in": map[string]string{"login": adminEmail, "password": password}},
	})
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/graphql", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var got struct {
		Data struct{ Login struct{ AccessToken string } }
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
	require.NotEmpty(t, got.Data.Login.AccessToken)
}

// hashers are the processes of that name whose parent is s.
func hashers(t *testing.T, s *server) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	var pids []string
	for _, f := range all {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		pid := filepath.Base(filepath.Dir(f))
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // state, parent
		if len(rest) > 1 && rest[1] == strconv.Itoa(s.cmd.Process.Pid) && hashes(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hashes tells whether the process is there and one of those; what has ended and waits for its parent has no arguments.
func hashes(pid string) bool {
	args, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	return err == nil && string(args) == "cdsa\x00hash-passwords\x00"
}
