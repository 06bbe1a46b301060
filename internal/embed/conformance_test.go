package embed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/embed/testkit"
)

func TestConformance(t *testing.T) {
	l, err := embed.NewLocal()
	require.NoError(t, err)
	testkit.Conform(t, l)
}
