package bigram

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	require.Equal(t, []string{"解約", "約の", "の条"}, Of([]rune("解約の条")))
	require.Equal(t, []string{"税"}, Of([]rune("税")))
	require.Empty(t, Of(nil))
}

func TestParts(t *testing.T) {
	require.Equal(t, []string{"plain"}, Parts("plain"))
	require.Equal(t, []string{"pdf", "の変", "変換", "2"}, Parts("pdfの変換2"))
}

func TestIs(t *testing.T) {
	for _, r := range "解約のキー々약𠀀ก" {
		require.True(t, Is(r), string(r))
	}
	for _, r := range "aéЖ3、。・ 　๑ａ-" {
		require.False(t, Is(r), string(r))
	}
}
