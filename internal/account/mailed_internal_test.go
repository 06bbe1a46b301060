package account

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// FuzzParseMailed: no text is a token but the one that the server makes of an id.
func FuzzParseMailed(f *testing.F) {
	s := &Service{mailKey: []byte(strings.Repeat("k", 32))}
	id := uuid.MustParse("3b4cdb3c-6a5e-4a6e-9d0a-1f3a2a9a6f11")
	for _, k := range mailedKinds {
		tok := s.mailedToken(k, id)
		got, ok := s.parseMailed(k, tok)
		require.True(f, ok)
		require.Equal(f, id, got)
		for _, other := range mailedKinds {
			if other.name != k.name {
				_, ok := s.parseMailed(other, tok)
				require.False(f, ok)
				_, ok = s.parseMailed(other, other.prefix+strings.TrimPrefix(tok, k.prefix))
				require.False(f, ok)
			}
		}
		f.Add(tok)
		f.Add(tok + "=")
		f.Add(tok[:70] + "\n" + tok[70:])
	}
	f.Add("")
	f.Add("cdsa_rs_")
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range mailedKinds {
			if got, ok := s.parseMailed(k, text); ok {
				require.Equal(t, s.mailedToken(k, got), text)
			}
		}
	})
}
