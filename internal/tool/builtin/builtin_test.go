package builtin

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool/builtin/httprequest"
	"cdsa.dev/cdsa/internal/tool/builtin/searchdocuments"
	"cdsa.dev/cdsa/internal/tool/canonical"
)

type nowhere struct{}

func (nowhere) Search(context.Context, uuid.UUID, string, int, []uuid.UUID) ([]searchdocuments.Passage, error) {
	return nil, nil
}

func TestNew(t *testing.T) {
	r, err := New(Config{Now: time.Now, Searcher: nowhere{}})
	require.NoError(t, err)
	risks := map[string]enum.RiskLevel{"search_documents": enum.RiskLevelLow, "calculator": enum.RiskLevelLow, "current_time": enum.RiskLevelLow, "http_request": enum.RiskLevelHigh}
	require.Len(t, r.All(), len(risks))
	for _, b := range r.All() {
		require.Equal(t, risks[b.Name], b.RiskLevel, b.Name)
		require.Equal(t, b.Name == "http_request", b.Hints.OpenWorld, b.Name)
		require.Equal(t, b.Name == "calculator", b.Pure, b.Name)
		require.Equal(t, false, b.Schema["additionalProperties"], b.Name)
		for _, schema := range []map[string]any{b.Schema, b.OutputSchema} { // storable as they are
			_, err := canonical.Marshal(schema)
			require.NoError(t, err, b.Name)
		}
	}
	for _, bad := range []Config{{}, {Now: time.Now}, {Searcher: nowhere{}}, {Now: time.Now, Searcher: nowhere{}, HTTP: httprequest.Config{Allow: []string{"x"}}}} {
		_, err := New(bad)
		require.Error(t, err)
	}
}
