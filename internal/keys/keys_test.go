package keys

import (
	"bytes"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoad_OneKeyForAll(t *testing.T) {
	dir := t.TempDir()
	got := make([]Master, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			m, err := Load(dir)
			if err != nil {
				t.Error(err)
			}
			got[i] = m
		})
	}
	wg.Wait()
	for _, m := range got {
		require.Equal(t, got[0], m)
	}
	require.NotEqual(t, Master{}, got[0])
}

func TestParse(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, Size/2)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
		m, err := Parse(enc.EncodeToString(raw) + "\n")
		require.NoError(t, err)
		require.Equal(t, raw, m[:])
	}
	for _, bad := range []string{"", "x", base64.StdEncoding.EncodeToString(raw[:31]), "!!!"} {
		_, err := Parse(bad)
		require.ErrorContains(t, err, "32 bytes")
	}
}

func TestDerive_LabelsDiffer(t *testing.T) {
	var m Master
	require.Len(t, m.Derive("a", 64), 64)
	require.Equal(t, m.Derive("a", 32), m.Derive("a", 32))
	require.NotEqual(t, m.Derive("a", 32), m.Derive("b", 32))
}
