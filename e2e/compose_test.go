package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/testkit/process"
)

// composed is the server of docker/compose.yaml.
type composed struct {
	Environment map[string]string
	Secrets     []string
	Volumes     []string
	Healthcheck struct{ Test []string }
}

// container gives the paths of a container of s as an engine mounts them from the compose file's folder: a folder is
// the same folder, a file is the file that was there at the start, whatever is put in its place later.
func (s composed) container(t *testing.T, from string) func(path string) string {
	t.Helper()
	root := t.TempDir()
	mount := func(source, target string) {
		source, target = filepath.Join(from, source), filepath.Join(root, target)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o700))
		info, err := os.Stat(source)
		require.NoError(t, err)
		if info.IsDir() {
			require.NoError(t, os.Symlink(source, target))
		} else {
			require.NoError(t, os.Link(source, target))
		}
	}
	for _, name := range s.Secrets {
		mount("secrets/"+name, "run/secrets/"+name)
	}
	for _, v := range s.Volumes {
		if parts := strings.Split(v, ":"); strings.HasPrefix(parts[0], "./") {
			mount(parts[0], parts[1])
		}
	}
	return func(path string) string { return filepath.Join(root, path) }
}

// TestCompose_Runs runs the program with the settings and paths of the compose file: its healthcheck tells when the bus
// or the program is gone, and a signing key that is put into the folder is taken without a restart.
func TestCompose_Runs(t *testing.T) {
	raw, err := os.ReadFile("../docker/compose.yaml")
	require.NoError(t, err)
	var compose struct{ Services map[string]yaml.RawMessage }
	require.NoError(t, yaml.Unmarshal(raw, &compose))
	var s composed
	require.NoError(t, yaml.Unmarshal(compose.Services["server"], &s))
	dir := t.TempDir()
	script, err := os.ReadFile("../docker/make-secrets.sh")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "make-secrets.sh"), script, 0o600))
	said, err := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "make-secrets.sh")).CombinedOutput()
	require.NoError(t, err, "%s", said)
	inside := s.container(t, dir)

	db, bus := pgtest.New(t), process.StartNATS(t)
	env := []string{"DATABASE_URL=" + db.URL, "CDSA_MIGRATE_URL=" + db.OwnerURL, "NATS_URL=" + bus.URL}
	for name, value := range s.Environment {
		if strings.HasPrefix(value, "/") {
			value = inside(value)
			require.FileExists(t, value)
		}
		switch name {
		case "DATABASE_URL_FILE", "CDSA_MIGRATE_URL_FILE", "NATS_URL_FILE": // of machines that are not here
		default:
			env = append(env, name+"="+value)
		}
	}
	server := startServer(t, env...)
	health := func() (code int, said string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.Equal(t, []string{"CMD", "/cdsa", "health"}, s.Healthcheck.Test)
		cmd := exec.CommandContext(ctx, binary, s.Healthcheck.Test[2:]...)
		cmd.Env = server.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, sentence := health()
	require.Equal(t, "the server is ready\n", sentence)
	require.Zero(t, code)

	keys := func() (n int) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.url+"/.well-known/jwks.json", nil)
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		var d struct{ Keys []any }
		require.NoError(t, json.NewDecoder(res.Body).Decode(&d))
		return len(d.Keys)
	}
	require.Equal(t, 1, keys())
	rotate := exec.CommandContext(t.Context(), binary, "keys", "rotate")
	rotate.Env = []string{"CDSA_SIGNING_KEY_FILE=" + filepath.Join(dir, "secrets/signing/signing_key")} // as README has it
	said, err = rotate.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Eventually(t, func() bool { return keys() == 2 }, stopLimit, 50*time.Millisecond, "the key in the folder is not taken")

	bus.Kill()
	require.Eventually(t, func() bool { code, sentence = health(); return code == 1 }, stopLimit, 50*time.Millisecond)
	require.Equal(t, "cdsa: the server is not ready: unavailable, events failed\n", sentence)
	server.kill(t)
	code, sentence = health()
	require.Equal(t, 1, code)
	require.Regexp(t, `^cdsa: nothing answers at \S+: is the server running\?\n$`, sentence)
}
