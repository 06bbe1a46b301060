package embed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/embed/embedtest"
)

func TestConformance(t *testing.T) {
	l, err := embed.NewLocal()
	require.NoError(t, err)
	embedtest.Conform(t, l)
}
