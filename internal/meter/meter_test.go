package meter_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/meter"
)

func TestMeter(t *testing.T) {
	require.Nil(t, meter.From(t.Context()))
	m := meter.From(meter.With(t.Context(), 10))
	require.NoError(t, m.Read(10))
	require.False(t, m.Full())
	require.True(t, errs.Is(m.Read(1), errs.ResourceExhausted))
	require.True(t, m.Full())

	require.NoError(t, m.Write(6), "what is written is counted apart")
	require.Equal(t, 4, m.Room())
	require.True(t, errs.Is(m.Write(5), errs.ResourceExhausted))
	require.Equal(t, 4, m.Room(), "what is refused is not counted")
	require.NoError(t, m.Write(4))
}

// TestMeter_None: background work has no meter and is not bounded.
func TestMeter_None(t *testing.T) {
	m := meter.From(context.Background())
	require.NoError(t, m.Read(1<<40))
	require.NoError(t, m.Write(1<<40))
	require.False(t, m.Full())
	require.Positive(t, m.Room())
	m.Alone()()
}

func TestMeter_Alone(t *testing.T) {
	m := meter.From(meter.With(t.Context(), 10))
	var inside, together atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				release := m.Alone()
				if inside.Add(1) > 1 {
					together.Add(1)
				}
				runtime.Gosched()
				inside.Add(-1)
				release()
			}
		})
	}
	wg.Wait()
	require.Zero(t, together.Load())
}

func TestSize(t *testing.T) {
	text := "four"
	for _, c := range []struct {
		v    any
		want int
	}{
		{text, 6}, {&text, 6}, {(*string)(nil), 4}, {7, 4}, {[]string{text, text}, 16},
		{map[string]any{"a": text, "b": []any{text, map[string]any{"c": text}}}, 2 + 5 + 6 + 5 + 2 + 7 + 1 + 13},
		{[]map[string]any{{"a": text}}, 16},
	} {
		require.Equal(t, c.want, meter.Size(c.v), "%v", c.v)
	}
}
