package pgarray_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgarray"
)

func TestStrings(t *testing.T) {
	for _, want := range []pgarray.Strings{nil, {}, {"a"}, {"", "NULL", `a"b\c`, "x,y", "{}", "ü"}} {
		v, err := want.Value()
		require.NoError(t, err)
		var got pgarray.Strings
		require.NoError(t, got.Scan(v))
		require.Equal(t, []string(append(pgarray.Strings{}, want...)), []string(append(pgarray.Strings{}, got...)))
		require.NoError(t, got.Scan([]byte(v.(string))))
		require.Len(t, got, len(want))
	}
	var none pgarray.Strings
	require.NoError(t, none.Scan(nil))
	require.Nil(t, none)
}
