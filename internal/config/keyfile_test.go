package config

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeyFile_OnceForAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "keys")
	const callers = 40
	got := make([]string, callers)
	failed := make([]error, callers)
	var made atomic.Int32
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			<-start
			b, err := KeyFile(dir, "k", func() ([]byte, error) { made.Add(1); return []byte(rand.Text()), nil })
			got[i], failed[i] = string(b), err
		})
	}
	close(start)
	wg.Wait()
	for i := range callers {
		require.NoError(t, failed[i])
		require.Equal(t, got[0], got[i], "everyone has the same key")
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
	info, err := os.Stat(filepath.Join(dir, "k"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	before := made.Load()
	_, err = KeyFile(dir, "k", func() ([]byte, error) { return nil, errors.New("must not be asked") })
	require.NoError(t, err)
	require.Equal(t, before, made.Load())
}

// Processes, not goroutines: each child prints the key it got.
func TestKeyFile_Processes(t *testing.T) {
	if dir := os.Getenv("KEYFILE_CHILD"); dir != "" {
		b, err := KeyFile(dir, "k", func() ([]byte, error) { return []byte(rand.Text()), nil })
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(os.Getenv("KEYFILE_OUT"), b, 0o600))
		return
	}
	dir, out := t.TempDir(), t.TempDir()
	var wg sync.WaitGroup
	const children = 4
	var failed [children]error
	for i := range children {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKeyFile_Processes$")
			cmd.Env = append(os.Environ(), "KEYFILE_CHILD="+filepath.Join(dir, "keys"), "KEYFILE_OUT="+filepath.Join(out, string(rune('a'+i))))
			failed[i] = cmd.Run()
		})
	}
	wg.Wait()
	want, err := os.ReadFile(filepath.Join(dir, "keys", "k"))
	require.NoError(t, err)
	for i := range children {
		require.NoError(t, failed[i])
		b, err := os.ReadFile(filepath.Join(out, string(rune('a'+i))))
		require.NoError(t, err)
		require.Equal(t, string(want), string(b))
	}
}

func TestKeyFile_Refuses(t *testing.T) {
	dir := t.TempDir()
	generate := func() ([]byte, error) { return []byte("fresh"), nil }
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open"), []byte("hunter2"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "open"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	require.NoError(t, os.Symlink(filepath.Join(dir, "open"), filepath.Join(dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for _, name := range []string{"open", "empty", "link", "folder"} {
		_, err := KeyFile(dir, name, generate)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := KeyFile(dir, "new", func() ([]byte, error) { return nil, errors.New("no randomness") })
	require.Error(t, err)
	_, err = os.Stat(filepath.Join(dir, "new"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfig_Keys(t *testing.T) {
	dir := t.TempDir()
	c, err := Load([]string{"CDSA_DATA_DIR=" + dir})
	require.NoError(t, err)
	cursor, err := c.CursorKey()
	require.NoError(t, err)
	require.Len(t, cursor, 64)
	again, err := c.CursorKey()
	require.NoError(t, err)
	require.Equal(t, cursor, again, "it lasts")
	bus, err := c.BusKey()
	require.NoError(t, err)
	require.Len(t, bus, 32)
	sign, err := c.SigningKey(func() ([]byte, error) { return []byte("pem"), nil })
	require.NoError(t, err)
	require.Equal(t, "pem", string(sign))

	p, err := Load(production("NATS_URL=nats://bus", "CDSA_DATA_DIR="+dir))
	require.NoError(t, err)
	cursor, err = p.CursorKey()
	require.NoError(t, err)
	require.Equal(t, byte(63), cursor[63])
	p.Keys = Keys{}
	_, err = p.CursorKey()
	require.ErrorContains(t, err, "production")
	_, err = p.SigningKey(func() ([]byte, error) { return nil, errors.New("must not be asked") })
	require.ErrorContains(t, err, "production")
}
