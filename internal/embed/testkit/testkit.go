// Package testkit is the contract of embed.Embedder as a test. For tests only.
package testkit

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/embed"
)

func all(tb testing.TB, e embed.Embedder, texts ...string) [][]float32 {
	tb.Helper()
	v, err := e.Embed(context.Background(), texts)
	require.NoError(tb, err)
	require.Len(tb, v, len(texts))
	return v
}

// RequireUnit fails the test unless v has the length and norm of every vector.
func RequireUnit(tb testing.TB, v []float32) {
	tb.Helper()
	require.Len(tb, v, embed.Size)
	var s float64
	for _, x := range v {
		require.False(tb, math.IsNaN(float64(x)) || math.IsInf(float64(x), 0))
		s += float64(x) * float64(x)
	}
	require.InDelta(tb, 1, s, 1e-5)
}

// Conform is the contract of Embedder.
func Conform(t *testing.T, e embed.Embedder) {
	t.Helper()
	texts := []string{"The quick brown fox", "", " \n\t", "Договор аренды", "日本語の文書", "🙂", "...", "a\x00b\xff", "The quick brown fox", strings.Repeat("word ", 3000)}
	for i := range 300 {
		texts = append(texts, fmt.Sprintf("text number %d about invoices", i))
	}
	vectors := all(t, e, texts...)
	t.Run("Shape", func(t *testing.T) {
		require.NotEmpty(t, e.Model())
		require.True(t, 1 <= e.Dimensions() && e.Dimensions() <= embed.Size)
		for i, v := range vectors {
			RequireUnit(t, v)
			if embed.IsBlank(texts[i]) {
				require.Equal(t, embed.Blank(), v)
				continue
			}
			for _, x := range v[e.Dimensions():] {
				require.Zero(t, x)
			}
		}
	})
	t.Run("Deterministic", func(t *testing.T) {
		require.Equal(t, vectors[0], vectors[8])
		require.Equal(t, vectors, all(t, e, texts...))
		require.NotEqual(t, vectors[3], vectors[4])
	})
	t.Run("AloneAsInBatch", func(t *testing.T) {
		for i := range 12 {
			require.Equal(t, vectors[i], all(t, e, texts[i])[0], "%q", texts[i])
		}
	})
	t.Run("None", func(t *testing.T) { require.Empty(t, all(t, e)) })
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		v, err := e.Embed(ctx, texts)
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, v)
	})
	t.Run("Concurrent", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, err := e.Embed(context.Background(), texts[:20])
				if err != nil {
					t.Error(err)
					return
				}
				for i, v := range got {
					if embed.Cosine(v, vectors[i]) < 0.999999 {
						t.Errorf("text %d differs", i)
					}
				}
			})
		}
		wg.Wait()
	})
}
