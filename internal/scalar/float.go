// Package scalar writes GraphQL's scalars where gqlgen's own way will not do. It cannot fail but for numbers that JSON
// does not have. Safe for concurrent use.
package scalar

import (
	"context"
	"errors"
	"io"
	"math"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
)

// ErrNoNumber says of an infinity or NaN that JSON has no number for it.
var ErrNoNumber = errors.New("scalar: JSON has no infinite numbers and no NaN")

// Float is GraphQL's Float.
type Float = float64

// AppendFloat writes f as JavaScript does: digits alone up to 21 of them, so that 2e7 is 20000000. f must be finite.
func AppendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

// MarshalFloat writes a Float; ErrNoNumber.
func MarshalFloat(f float64) graphql.ContextMarshaler {
	return graphql.ContextWriterFunc(func(_ context.Context, w io.Writer) error {
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return ErrNoNumber
		}
		_, err := w.Write(AppendFloat(make([]byte, 0, 24), f))
		return err
	})
}

// UnmarshalFloat reads a Float as gqlgen does.
func UnmarshalFloat(ctx context.Context, v any) (float64, error) {
	return graphql.UnmarshalFloatContext(ctx, v)
}
