// Package docker tests what docker/ promises, as far as it goes without an
// engine: the image's build command gives a static binary, the compose file is
// whole, and its database script gives the roles that the server expects.
package docker

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/config"
)

// TestDockerfile_Build runs the very command of the Dockerfile.
func TestDockerfile_Build(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/cdsa (\S+)$`).FindSubmatch(dockerfile)
	require.NotNil(t, found, "the Dockerfile's go build line")
	out := filepath.Join(t.TempDir(), "cdsa")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", string(found[1])+" -o "+out+" "+string(found[2]))
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "VERSION=docker-test", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))

	f, err := elf.Open(out)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "a loader is asked for: not static")
	}
	libs, err := f.ImportedLibraries()
	require.NoError(t, err)
	require.Empty(t, libs)

	if runtime.GOOS == "linux" {
		version, err := exec.CommandContext(t.Context(), out, "version").CombinedOutput()
		require.NoError(t, err, string(version))
		require.Contains(t, string(version), "docker-test")
	}
}

func TestDockerfile_RunsAsNobodySpecial(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	_, last, ok := strings.Cut(string(dockerfile), "\nFROM scratch\n")
	require.True(t, ok, "the image starts from nothing")
	require.Contains(t, last, "\nUSER 65532:65532\n")
	require.NotContains(t, last, "RUN ")
	require.Regexp(t, `\nHEALTHCHECK .*CMD \["/cdsa", "health"\]\n`, last, "TestCompose_Runs of e2e runs it")
}

// service is what the test reads of a compose service.
type service struct {
	Image       string
	Environment map[string]string
	Secrets     []any
	Volumes     []string
	Ports       []string
	Privileged  bool
	Healthcheck struct{ Test []string }
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
}

// TestCompose_StartsInProduction reads the server's settings as the container would find them.
func TestCompose_StartsInProduction(t *testing.T) {
	raw, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var compose struct{ Services map[string]service }
	require.NoError(t, yaml.Unmarshal(raw, &compose))
	script, err := os.ReadFile("make-secrets.sh")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "make-secrets.sh"), script, 0o700))
	said, err := exec.CommandContext(t.Context(), filepath.Join(dir, "make-secrets.sh")).CombinedOutput()
	require.NoError(t, err, string(said))
	var env []string
	for name, value := range compose.Services["server"].Environment {
		value = strings.ReplaceAll(value, "/run/signing", filepath.Join(dir, "secrets", "signing"))
		env = append(env, name+"="+strings.ReplaceAll(value, "/run/secrets", filepath.Join(dir, "secrets")))
	}
	cfg, err := config.Load(env)
	require.NoError(t, err)
	require.True(t, cfg.InProduction())
}

func TestCompose(t *testing.T) {
	raw, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var compose struct {
		Services map[string]service
		Volumes  map[string]any
		Secrets  map[string]struct{ File string }
	}
	require.NoError(t, yaml.Unmarshal(raw, &compose))
	require.Len(t, compose.Services, 3)
	made := t.TempDir()
	makeSecrets(t, made)
	require.Equal(t, "pgvector/pgvector:pg16", compose.Services["db"].Image)

	for name, s := range compose.Services {
		require.False(t, s.Privileged, name)
		for key, value := range s.Environment {
			require.False(t, strings.HasSuffix(key, "PASSWORD") || strings.HasSuffix(key, "_KEY") || strings.Contains(value, "://"),
				"%s of %s belongs in a secret", key, name)
			if file, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
				require.Contains(t, s.Secrets, file, "%s reads it", name)
			}
		}
		for _, secret := range s.Secrets {
			source, ok := secret.(string)
			if !ok {
				source, ok = secret.(map[string]any)["source"].(string)
			}
			require.True(t, ok, name)
			require.Contains(t, compose.Secrets, source, name)
		}
		for _, v := range s.Volumes {
			switch from, _, _ := strings.Cut(v, ":"); {
			case strings.HasPrefix(from, "./secrets/"):
				require.DirExists(t, filepath.Join(made, from), "make-secrets.sh makes it")
			case strings.HasPrefix(from, "./"):
				require.FileExists(t, from)
			default:
				require.Contains(t, compose.Volumes, from)
			}
		}
		for _, p := range s.Ports {
			require.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s publishes %s to the network", name, p)
		}
		for other, on := range s.DependsOn {
			require.Equal(t, "service_healthy", on.Condition)
			require.NotEmpty(t, compose.Services[other].Healthcheck.Test, other)
		}
	}
	for name, s := range compose.Services {
		require.NotEmpty(t, s.Healthcheck.Test, name)
	}
	for name, s := range compose.Secrets {
		require.Equal(t, "./secrets/"+name, s.File)
		require.FileExists(t, filepath.Join(made, "secrets", name), "make-secrets.sh makes it")
	}
}

// makeSecrets runs a copy of make-secrets.sh, so that it writes into dir.
func makeSecrets(t *testing.T, dir string) {
	t.Helper()
	script, err := os.ReadFile("make-secrets.sh")
	require.NoError(t, err)
	path := filepath.Join(dir, "make-secrets.sh")
	require.NoError(t, os.WriteFile(path, script, 0o700))
	out, err := exec.CommandContext(t.Context(), "bash", path).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestMakeSecrets(t *testing.T) {
	dir := t.TempDir()
	makeSecrets(t, dir)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, "secrets", name))
		require.NoError(t, err)
		return string(b)
	}
	first := read("db_app_password")
	require.Len(t, first, 64)
	require.NotEqual(t, first, read("db_owner_password"))
	require.Contains(t, read("database_url"), first)
	info, err := os.Stat(filepath.Join(dir, "secrets"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(dir, "secrets", "signing"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode().Perm(), "the container's account looks into it, behind the folder above")
	key := read("signing/signing_key")

	makeSecrets(t, dir)
	require.Equal(t, first, read("db_app_password"), "what is there stays")
	require.Equal(t, key, read("signing/signing_key"))

	old := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(old, "secrets"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(old, "secrets", "signing_key"), []byte(key), 0o400))
	makeSecrets(t, old)
	moved, err := os.ReadFile(filepath.Join(old, "secrets", "signing", "signing_key"))
	require.NoError(t, err)
	require.Equal(t, key, string(moved), "the key of before keeps everybody signed in")
}
