package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/uid"
)

func TestKeyWatch(t *testing.T) {
	material, err := auth.GenerateSigningKey()
	require.NoError(t, err)
	ring, err := auth.ParseKeyring(material)
	require.NoError(t, err)
	tokens, err := auth.NewTokens(ring, auth.TokenConfig{})
	require.NoError(t, err)
	var log bytes.Buffer
	var noted []string
	var readErr, noteErr error
	ended := 0
	w := &keyWatch{
		tokens: tokens, log: slog.New(slog.NewTextHandler(&log, nil)),
		read:  func() ([]byte, error) { return material, readErr },
		note:  func(_ context.Context, kid string) error { noted = append(noted, kid); return noteErr },
		ended: func() { ended++ },
	}
	sweep := func() {
		t.Helper()
		require.NoError(t, w.sweep(context.Background()))
	}
	first := ring.SigningKeyID(time.Now())
	noteErr = errors.New("the database is away")
	require.Error(t, w.sweep(context.Background()))
	noteErr = nil
	for range 3 {
		sweep()
	}
	require.Equal(t, []string{first, first}, noted, "until it is on record, and then no more")

	token, _, _, err := tokens.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now())
	require.NoError(t, err)
	r, err := auth.Rotate(material, time.Now())
	require.NoError(t, err)
	material = r.Material
	sweep()
	require.Equal(t, []string{r.KeyID, first}, tokens.Keyring().KeyIDs(time.Now()))
	require.Len(t, noted, 2, "it does not sign yet")
	require.Zero(t, ended)

	log.Reset()
	for _, bad := range [][]byte{nil, []byte("hunter2"), r.Material[:len(r.Material)-40]} {
		material = bad
		for range 3 {
			sweep()
		}
		_, err = tokens.Verify(token)
		require.NoError(t, err)
	}
	readErr = errors.New("the file is gone")
	for range 3 {
		sweep()
	}
	readErr = nil
	require.Equal(t, 4, strings.Count(log.String(), "\n"), "once each:\n%s", log.String())
	require.NotContains(t, log.String(), "hunter2")

	gone, err := auth.Replace(r.Material, time.Now())
	require.NoError(t, err)
	material = gone.Material
	sweep()
	require.Equal(t, gone.KeyID, noted[len(noted)-1])
	require.Equal(t, 1, ended)
	_, err = tokens.Verify(token)
	require.Error(t, err)
}
