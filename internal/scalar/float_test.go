package scalar_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/scalar"
)

func TestFloat(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 20 << 20: "20971520", 2e7: "20000000", -2e7: "-20000000", 1 << 53: "9007199254740992", 1e20: "100000000000000000000",
		0.1: "0.1", 1.5: "1.5", 1e-6: "0.000001", 1e21: "1e+21", 2.5e-7: "2.5e-07", math.MaxFloat64: "1.7976931348623157e+308",
	} {
		var b strings.Builder
		require.NoError(t, scalar.MarshalFloat(f).MarshalGQLContext(t.Context(), &b))
		require.Equal(t, want, b.String())
		back, err := strconv.ParseFloat(b.String(), 64)
		require.NoError(t, err)
		require.Equal(t, f, back)
	}
	for _, f := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		require.ErrorIs(t, scalar.MarshalFloat(f).MarshalGQLContext(t.Context(), &strings.Builder{}), scalar.ErrNoNumber)
	}
}
