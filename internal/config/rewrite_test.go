//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewriteSigningKey(t *testing.T) {
	add := func(b []byte) ([]byte, error) { return append(b, " and more"...), nil }
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	link := filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(secret, []byte("hunter2\n"), 0o640))
	require.NoError(t, os.Symlink(secret, link))
	load := func(env ...string) *Config {
		c, err := Load(append([]string{"CDSA_DATA_DIR=" + dir}, env...))
		require.NoError(t, err)
		return c
	}

	t.Run("SecretFile", func(t *testing.T) {
		c := load("CDSA_SIGNING_KEY_FILE=" + link)
		require.Equal(t, link, c.SigningKeyFile())
		require.NoError(t, c.RewriteSigningKey(add))
		b, err := c.ReadSigningKey()
		require.NoError(t, err)
		require.Equal(t, "hunter2 and more", string(b), "read anew, through the link")
		info, err := os.Lstat(link)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays one")
		info, err = os.Stat(secret)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	})
	t.Run("DevFile", func(t *testing.T) {
		c := load()
		require.Error(t, c.RewriteSigningKey(add), "there is none yet")
		_, err := c.SigningKey(func() ([]byte, error) { return []byte("made"), nil })
		require.NoError(t, err)
		require.NoError(t, c.RewriteSigningKey(add))
		b, err := c.ReadSigningKey()
		require.NoError(t, err)
		require.Equal(t, "made and more", string(b))
		require.NoError(t, os.Chmod(c.SigningKeyFile(), 0o644))
		_, err = c.ReadSigningKey()
		require.ErrorContains(t, err, "only its owner")
	})
	t.Run("InTheEnvironment", func(t *testing.T) {
		c := load("CDSA_SIGNING_KEY=hunter2")
		require.Empty(t, c.SigningKeyFile())
		require.ErrorContains(t, c.RewriteSigningKey(add), "CDSA_SIGNING_KEY_FILE")
		_, err := c.ReadSigningKey()
		require.Error(t, err)
		require.Empty(t, (&Config{Env: Production}).SigningKeyFile(), "production makes none by itself")
	})
	t.Run("FailsWhole", func(t *testing.T) {
		c := load("CDSA_SIGNING_KEY_FILE=" + secret)
		before, err := os.ReadFile(secret)
		require.NoError(t, err)
		require.Error(t, c.RewriteSigningKey(func([]byte) ([]byte, error) { return nil, errors.New("no") }))
		require.ErrorContains(t, c.RewriteSigningKey(func([]byte) ([]byte, error) {
			return nil, c.RewriteSigningKey(add) // while the first is at it
		}), "another process")
		after, err := os.ReadFile(secret)
		require.NoError(t, err)
		require.Equal(t, before, after)
		left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	})
}
